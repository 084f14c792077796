//! What there is on both sides, and what would make one database of it. Changes nothing.
//!
//! The plan is made of [`crate::store::sqlite::Adoption`] and
//! [`crate::store::postgres::plan_table`], the same that decide whether opening adopts by
//! itself: additions are made unasked, an obstacle leaves both sides as they are until a person
//! has seen to it.
//!
//! Of rows that both sides have, what is known beats what nobody has set (NULL, a declared
//! default), column by column. Where both know something PostgreSQL's stands, unless a person says
//! otherwise ([`Joining::prefer`]), and the other goes to the conflict log. Rows of one side only go
//! to the other.

mod columns;
mod file;
mod growth;
mod narrow;
mod natural;
mod numbers;
mod plan;
mod rows;
mod schema;
mod survey;
mod trouble;

pub use columns::ColumnCounts;
pub use file::{FileStanding, standing};
pub(crate) use file::{LocalFile, joined};
pub(crate) use growth::{grown, remote_columns};
pub(crate) use numbers::different;
pub use plan::{Bond, Plan, SidePlan, TablePlan};
pub use rows::RowCounts;
pub use schema::{ColumnSchema, Confirmed, Revision, TableSchema, revision, schema};
pub use survey::{Choice, Chosen, ChosenColumn, Declared, Skipped, Survey, Width};
pub(crate) use trouble::{Kept, Troubles, troubles};

use self::columns::Columns;
use crate::error::{Error, Kind, Result, Store};
use crate::private;
use std::sync::Arc;
use std::time::Duration;

use crate::schema::{Table, built_in};
use crate::store::postgres::capture::{Drift, Layout};
use crate::store::postgres::primary::{Planned, Trial, may_run, plan_known, try_out};
use crate::store::postgres::{self, Limits, Session, Settings, capture};
use crate::store::sqlite::FoundRelation;
use crate::store::sqlite::replica::{Paused, Settings as ReplicaSettings};

const OPERATION: &str = "plan the first start";

/// Where both stores are.
#[derive(Clone, Debug)]
pub struct Stores {
    /// PostgreSQL.
    pub postgres: Settings,
    /// How long it is waited for.
    pub limits: Limits,
    /// The file, and the tables that are to be kept together.
    pub sqlite: ReplicaSettings,
}

/// What a person wants of the joining.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// Whose value stands where both sides have one, and nothing tells which is the newer.
    pub prefer: Store,
    /// Whether a file that was there before is copied beside itself, before anything of ours is in it,
    /// or before it leaves another installation.
    pub copy: bool,
    /// Whether a file that belongs to another installation is to leave it for this one: that one is no
    /// more, or its schema `dual` is. What waits in the file goes over, everything else is joined as if
    /// it had met nobody yet.
    pub rejoin: bool,
    /// Tables of which rows under one automatic number, if they are not equal, are two: those of the file get
    /// other numbers, as those do that were born while the sides were apart ([`Choice::different`]).
    pub different: Vec<String>,
}

impl Default for Joining {
    fn default() -> Joining {
        Joining { prefer: Store::Postgres, copy: true, rejoin: false, different: Vec::new() }
    }
}

/// Looks at both sides and changes nothing. What is to be done in PostgreSQL is tried, and taken back.
///
/// # Errors
/// Those of reaching PostgreSQL and of reading the file: both are needed. Configuration if the
/// file belongs to another installation, unless it is to leave that.
pub async fn plan(stores: &Stores, joining: Joining) -> Result<Plan> {
    let session = Session::open(&stores.postgres, &stores.limits).await?;
    let (mut plan, planned) = look(&session, stores, &joining).await?;
    let tables = stores.sqlite.tables.iter().zip(planned);
    for ((table, planned), TablePlan { postgres, .. }) in tables.zip(&mut plan.tables) {
        let is_anothers = postgres.obstacles.len() > planned.obstacles.len();
        if is_anothers || (postgres.captured && postgres.steps.is_empty()) {
            continue;
        }
        match try_out(&session, table, &planned).await? {
            Trial::Passed => {}
            Trial::Refused(errors) => errors.iter().for_each(|error| postgres.refused(error)),
            Trial::Untried(error) => postgres.untried = Some(error.message().to_owned()),
        }
    }
    Ok(plan)
}

/// The plan, of which nothing has been tried.
async fn look(
    session: &Session,
    stores: &Stores,
    joining: &Joining,
) -> Result<(Plan, Vec<postgres::SchemaPlan>)> {
    session.begin_snapshot(OPERATION).await?;
    let standing = capture::SchemaStanding::read(session, &stores.sqlite.tables).await?;
    standing.trusted(session)?;
    standing.kept_nowhere_else(session, &stores.sqlite.tables).await?;
    may_run(session, &stores.sqlite.tables, &standing).await?;
    let file = LocalFile::open(&stores.sqlite)?;
    let bond = bond(session, &file, &stores.sqlite.tables).await?;
    if matches!(bond, Bond::Rejoining { .. }) && !joining.rejoin {
        return Err(other_installation());
    }
    let aligned = natural::align(session, &file, &stores.sqlite.tables).await?;
    let (mut tables, mut planned) = (Vec::new(), Vec::new());
    for table in stores.sqlite.tables.iter() {
        let (postgres, remote) = remote(session, table, bond).await?;
        let (sqlite, found) = file.look(table)?;
        let catalog = remote.catalog;
        let rows = if postgres.obstacles.is_empty() && sqlite.obstacles.is_empty() {
            let remote = rows::RemoteRows::new(session, table, &catalog);
            let local = rows::LocalRows::new(&file, table, &found)?;
            let columns = match (&found, &catalog.table) {
                (FoundRelation::Table { columns, .. }, Some(there)) => {
                    let (here, there) = ((&file, columns.as_slice()), (session, there));
                    Some(Columns::new(here, there, table, (bond, joining.prefer)).await?)
                }
                _ => None,
            };
            Some(rows::compare(&remote, &local, columns, |_, _| ()).await?)
        } else {
            None
        };
        let is_apart = joining.different.iter().any(|name| name == table.name());
        let renumbered = rows.as_ref().filter(|_| is_apart).map_or(0, |rows| rows.different);
        let renumbered = aligned.get(table.name()).copied().unwrap_or(renumbered);
        let table = table.shared_name();
        tables.push(TablePlan { table, postgres, sqlite, rows, renumbered });
        planned.push(remote.plan);
    }
    session.rollback(OPERATION).await?;
    let exposed = private::exposed(&stores.sqlite.path);
    Ok((Plan { tables, bond, prefer: joining.prefer, exposed }, planned))
}

/// The tables that are kept together: what the file knows of it, or else PostgreSQL, if it is there; before
/// anything was joined the users of the documented system. PostgreSQL is waited for `within` that time. What
/// cannot be asked, or read, is for whoever opens it to tell. Not among them are those that the file says are
/// left alone.
pub async fn declared(stores: &Stores, within: Duration) -> Arc<[Table]> {
    kept(stores, within).await.tables.into()
}

/// The same, and those that are left alone.
pub async fn joined_tables(stores: &Stores, within: Duration) -> Vec<Table> {
    let Kept { tables, aside } = kept(stores, within).await;
    tables.into_iter().chain(aside.into_iter().map(|(table, _)| table)).collect()
}

/// The tables that the file declares, also those that are left alone.
///
/// # Errors
/// Those of reading the file.
fn noted(stores: &Stores) -> Result<Vec<Table>> {
    LocalFile::open(&stores.sqlite)?.declared()
}

/// Lets the stores keep what the file keeps, and that table, whatever was in its way; what is in trouble is left
/// alone.
///
/// # Errors
/// Those of reading the file.
pub(crate) async fn keep_with(stores: &mut Stores, name: &str) -> Result<()> {
    let kept = LocalFile::open(&stores.sqlite)?.kept()?;
    let aside = kept.aside.into_iter().filter(|(table, _)| table.name() != name);
    let mut kept = Kept { tables: noted(stores)?, aside: aside.collect() };
    kept.tables.retain(|table| kept.aside.iter().all(|(own, _)| own.name() != table.name()));
    stores.sqlite.tables = kept.tables.clone().into();
    kept.leave(&troubles(stores).await);
    stores.sqlite.tables = kept.tables.into();
    stores.sqlite.aside = kept.aside.into_iter().map(|(_, why)| why).collect();
    Ok(())
}

impl Stores {
    /// Lets it keep what is declared, and leave alone what the file says is left alone; PostgreSQL is waited for
    /// `within` that time, as by [`declared`].
    pub async fn keep_declared(&mut self, within: Duration) {
        let Kept { tables, aside } = kept(self, within).await;
        self.sqlite.tables = tables.into();
        self.sqlite.aside = aside.into_iter().map(|(_, why)| why).collect();
    }
}

/// The same, each by itself, with what is in the way.
pub(crate) async fn kept(stores: &Stores, within: Duration) -> Kept {
    let local = LocalFile::open(&stores.sqlite).and_then(|file| file.kept());
    let Kept { mut tables, aside } = local.unwrap_or_default();
    if tables.is_empty() && aside.is_empty() {
        let remote = async {
            let session = Session::open(&stores.postgres, &stores.limits).await?;
            session.begin_snapshot(OPERATION).await?;
            // Whoever made the schema could say in it which tables this program is to trust him with.
            let standing = capture::SchemaStanding::read(&session, &[built_in()]).await?;
            standing.trusted(&session)?;
            capture::declared(&session).await
        };
        let asked = tokio::time::timeout(within, remote).await;
        tables = asked.ok().and_then(Result::ok).unwrap_or_default();
    }
    if tables.is_empty() {
        tables.push(built_in());
    }
    Kept { tables, aside }
}

/// Which tables are to be kept, of those that both sides have: what only a table that nobody has named has
/// in its way leaves it out, and the others go on; one that is joined is left alone until that is mended. The
/// stores keep these from then on.
///
/// # Errors
/// Those of reaching PostgreSQL and of reading the file; access denied if the schema of ours is of somebody who
/// is not to be trusted; configuration if a table was named that neither side has or that cannot be kept, or if
/// there is none to keep.
pub async fn choose(stores: &mut Stores, choice: &Choice) -> Result<Survey> {
    let mut survey = survey::survey(stores, choice).await?;
    let alone = survey.skipped.iter().filter(|skipped| skipped.joined);
    let left_alone = |Skipped { table, reason, hint, .. }: &Skipped| Paused {
        table: Arc::clone(table),
        store: Store::Postgres,
        reason: reason.clone(),
        hint: Some(hint.clone()),
    };
    let mut aside: Vec<Paused> = alone.map(left_alone).collect();
    let is_asked_about =
        |chosen: &Chosen| !(chosen.required && chosen.joined) || chosen.table.has_automatic_key();
    let said = [&choice.same, &choice.different, &choice.widen];
    if survey.chosen.iter().any(is_asked_about) || said.iter().any(|said| !said.is_empty()) {
        let session = Session::open(&stores.postgres, &stores.limits).await?;
        session.begin_snapshot(OPERATION).await?;
        let file = LocalFile::open(&stores.sqlite)?;
        let before = survey.skipped.len();
        natural::decided(&session, &file, choice, &mut survey).await?;
        narrow::decided(&session, &file, choice, &mut survey).await?;
        numbers::decided(&session, &file, choice, &mut survey).await?;
        let asked = survey.skipped.iter().skip(before).filter(|skipped| skipped.joined);
        aside.extend(asked.map(left_alone));
        let mut kept = Vec::new();
        for chosen in std::mem::take(&mut survey.chosen) {
            match obstacle(&session, &file, &chosen).await? {
                None => kept.push(chosen),
                Some(paused) => {
                    let Paused { table, store, reason, hint } = paused.clone();
                    let hint = hint.unwrap_or_else(|| "mend that, and run it again".to_owned());
                    let reason = format!("{store}: {reason}");
                    survey.skipped.push(Skipped { table, reason, hint, joined: chosen.joined });
                    aside.extend(Some(paused).filter(|_| chosen.joined));
                }
            }
        }
        survey.chosen = kept;
        choice.are_all_kept(&survey)?;
        session.rollback(OPERATION).await?;
    }
    stores.sqlite.tables = survey.tables();
    stores.sqlite.aside = aside.into();
    Ok(survey)
}

/// What is in the way of a table that need not be kept.
async fn obstacle(
    session: &Session,
    file: &LocalFile,
    chosen: &survey::Chosen,
) -> Result<Option<Paused>> {
    if chosen.required {
        return Ok(None);
    }
    let (there, _) = remote(session, &chosen.table, Bond::Joined).await?;
    let (here, _) = file.look(&chosen.table)?;
    let sides = [(Store::Postgres, there), (Store::Sqlite, here)];
    Ok(sides.into_iter().find_map(|(store, side)| {
        let reason = side.obstacles.first()?;
        let (table, reason) = (chosen.table.shared_name(), reason.clone());
        Some(Paused { table, store, reason, hint: side.hint.clone() })
    }))
}

/// Why a person should see the plan before the file, in which there are tables already, is
/// joined: something is in the way there, or the columns or rows of both sides differ. `None`
/// if the file is joined, or if joining it only adds.
///
/// # Errors
/// Those of [`look`].
pub(crate) async fn reservation(stores: &Stores) -> Result<Option<Error>> {
    let file = LocalFile::open(&stores.sqlite)?;
    if file.connection().is_none() || file.is_node()? {
        return Ok(None);
    }
    let session = Session::open(&stores.postgres, &stores.limits).await?;
    let (plan, _) = look(&session, stores, &Joining::default()).await?;
    let alters = |side: &SidePlan| side.steps.iter().any(|step| step.contains("column"));
    let reason = plan.tables.iter().find_map(|table| {
        let TablePlan { table: name, postgres, sqlite, rows, .. } = table;
        let different = rows.as_ref().map_or(0, |rows| rows.different);
        if let Some(obstacle) = sqlite.obstacles.first() {
            Some(obstacle.clone())
        } else if !(postgres.exists && sqlite.exists) {
            None
        } else if alters(postgres) || alters(sqlite) {
            Some(format!("{name} has not the same columns on both sides"))
        } else {
            (different > 0).then(|| format!("{different} rows of {name} differ on both sides"))
        }
    });
    Ok(reason.map(|reason| {
        Error::new(Kind::Schema(Store::Sqlite), "join both sides", reason).with_hint(
            "`dual init` shows what would become of them, `dual init --apply` joins them",
        )
    }))
}

/// How the file stands towards this server.
async fn bond(session: &Session, file: &LocalFile, tables: &[Table]) -> Result<Bond> {
    let Some(here) = file.installation()? else { return Ok(Bond::New) };
    let id = match capture::has(session, "installation").await? {
        true => {
            let sql = format!("SELECT id::text FROM {}.installation", session.schema());
            let rows = session.query(OPERATION, &sql, &[]).await?;
            rows.first().and_then(|row| row.try_get::<_, String>(0).ok())
        }
        false => None,
    };
    let id = id.and_then(|text| uuid::Uuid::parse_str(&text).ok());
    Ok(match id.is_some_and(|id| id.as_u128() == here) {
        true => Bond::Joined,
        false => Bond::Rejoining { pending: file.pending(tables)? },
    })
}

/// What PostgreSQL has of the table, and what would be done there if a person asks for it.
async fn remote(session: &Session, table: &Table, bond: Bond) -> Result<(SidePlan, Planned)> {
    let planned = plan_known(session, table, true).await?;
    let Planned { plan, catalog, shadowed } = &planned;
    let layout = Layout::new(table, &plan.target).within(session);
    let drift = capture::drift(session, &layout).await?;
    capture::ours_alone(session, table, catalog.rights.schema.as_deref()).await?;
    if drift != Drift::None && catalog.table.is_some() {
        capture::not_kept_elsewhere(session, &layout).await?;
    }
    let refusal = plan.refusal(OPERATION);
    let mut side = SidePlan {
        exists: catalog.table.is_some(),
        captured: drift == Drift::None,
        steps: plan.steps.iter().map(|step| step.what.clone()).collect(),
        obstacles: plan.obstacles.iter().map(|obstacle| obstacle.what.clone()).collect(),
        kind: refusal.as_ref().map(Error::kind),
        hint: refusal.and_then(|error| error.hint().map(str::to_owned)),
        untried: None,
        lacks: None,
    };
    if !side.captured {
        side.steps.push(format!("capture the writes to {}", plan.target));
    }
    if let Some(other) = shadowed.as_ref().filter(|_| bond != Bond::Joined) {
        side.refused(&tracked_elsewhere(other));
    }
    Ok((side, planned))
}

/// The file has never met this database, and the table that is tracked there is not the one that it
/// means: two programs of one name, each with a schema of its own, must not be made one.
#[must_use]
pub fn tracked_elsewhere(other: &str) -> Error {
    let message = format!(
        "another table of that name is joined in this database already; here the search path leads to {other}"
    );
    Error::new(Kind::Configuration, "meet PostgreSQL", message).with_hint(
        "use a database of its own for each program, or a search_path that leads to the table that is \
         joined; or `dual uninstall` with the settings of the other program first",
    )
}

/// The file has met another installation.
pub(crate) fn other_installation() -> Error {
    Error::new(
        Kind::Configuration,
        "meet PostgreSQL",
        "the SQLite file belongs to another installation than this PostgreSQL database",
    )
    .with_hint(
        "check both addresses; if the database was made anew, or its schema dual is gone, \
         `dual init --rejoin` shows how the file joins it and keeps what waits in it; to begin \
         without that, choose another SQLite path, or `dual uninstall` on the file first",
    )
}
