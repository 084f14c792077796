//! What it takes to make one database of what is there: the plan of `dual init`, and doing it.
//!
//! The plan is made of [`crate::store::sqlite::Adoption`] and
//! [`crate::store::postgres::plan_table`], the same that decide whether opening adopts by
//! itself: additions are made unasked, an obstacle leaves both sides as they are until a person
//! has seen to it. Planning changes nothing.
//!
//! Of rows that both sides have PostgreSQL's stand, column by column; what the file had instead
//! goes to the conflict log. Rows of one side only go to the other.

mod rows;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

pub use rows::RowCounts;

use crate::error::{Error, Kind, Result, Store};
use crate::schema::{Making, Table};
use crate::store::postgres::capture::{Drift as RemoteDrift, Layout as RemoteLayout};
use crate::store::postgres::primary::{Planned, plan_known};
use crate::store::postgres::{Catalog, Limits, Session, Settings, capture};
use crate::store::sqlite::capture::{Drift, Layout};
use crate::store::sqlite::replica::{Replica, Settings as ReplicaSettings, refuse_taken_away};
use crate::store::sqlite::{Adoption, File, Found, define_functions, failed};
use crate::sync::engine::{Exchange, Shared, Synchroniser, other_installation};

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

/// What one side has of a table, and what is to be done there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SidePlan {
    /// Whether the table is there.
    pub exists: bool,
    /// Whether its writes are captured.
    pub captured: bool,
    /// What would be done, as phrases.
    pub steps: Vec<String>,
    /// What only a person can change, as clauses.
    pub obstacles: Vec<String>,
    /// What sort of obstacle the first one is: a missing right is none of the schema.
    pub kind: Option<Kind>,
    /// What that person could do.
    pub hint: Option<String>,
}

/// What is there of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePlan {
    /// The table.
    pub table: &'static str,
    /// PostgreSQL.
    pub postgres: SidePlan,
    /// The file.
    pub sqlite: SidePlan,
    /// The rows, as both sides would have them after the steps; `None` if there are obstacles.
    pub rows: Option<RowCounts>,
}

/// What there is, and what would be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The tables in their order.
    pub tables: Vec<TablePlan>,
}

impl Plan {
    /// Nothing is in the way: additions are enough.
    #[must_use]
    pub fn is_additive(&self) -> bool {
        let free = |side: &SidePlan| side.obstacles.is_empty();
        self.tables.iter().all(|table| free(&table.postgres) && free(&table.sqlite))
    }

    /// Both sides are captured and have nothing left to add.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let done = |side: &SidePlan| side.captured && side.steps.is_empty();
        self.is_additive()
            && self.tables.iter().all(|table| done(&table.postgres) && done(&table.sqlite))
    }

    /// The error that the obstacles are, if there are any.
    #[must_use]
    pub fn refusal(&self) -> Option<Error> {
        let sides = self.tables.iter().flat_map(|table| {
            let side = |store, side| (table.table, store, side);
            [side(Store::Postgres, &table.postgres), side(Store::Sqlite, &table.sqlite)]
        });
        let blocked: Vec<_> = sides.filter(|(_, _, side)| !side.obstacles.is_empty()).collect();
        let (_, store, first) = blocked.first()?;
        let clause = |(table, store, side): &(&str, Store, &SidePlan)| {
            format!("table {table} in {store}: {}", side.obstacles.join("; "))
        };
        let message = blocked.iter().map(clause).collect::<Vec<_>>().join("; ");
        let kind = first.kind.unwrap_or(Kind::Schema(*store));
        let error = Error::new(kind, "make one database of both", message);
        Some(
            error.with_hint(first.hint.clone().unwrap_or_else(|| {
                "nothing was changed; see the plan with `dual init`".to_owned()
            })),
        )
    }
}

/// Looks at both sides and changes nothing.
///
/// # Errors
/// Those of reaching PostgreSQL and of reading the file: both are needed. Configuration if the
/// file belongs to another installation.
pub async fn plan(stores: &Stores) -> Result<Plan> {
    let session = Session::open(&stores.postgres, &stores.limits).await?;
    session.begin_snapshot(OPERATION).await?;
    let file = LocalFile::open(&stores.sqlite)?;
    if is_elsewhere(&session, &file).await? {
        return Err(other_installation());
    }
    let mut tables = Vec::new();
    for table in stores.sqlite.tables.iter() {
        let (postgres, catalog) = remote(&session, table).await?;
        let (sqlite, found) = file.look(table)?;
        let rows = if postgres.obstacles.is_empty() && sqlite.obstacles.is_empty() {
            let remote = rows::Remote::new(&session, table, &catalog);
            Some(rows::compare(&remote, &rows::Local::new(&file, table, &found)).await?)
        } else {
            None
        };
        tables.push(TablePlan { table: table.name(), postgres, sqlite, rows });
    }
    session.rollback(OPERATION).await?;
    Ok(Plan { tables })
}

/// Does what the plan says, and exchanges everything, at most for `within`.
///
/// # Errors
/// [`Plan::refusal`], after which nothing was changed; those of opening the file, of preparing
/// PostgreSQL and of the exchange: it can be repeated.
pub async fn apply(stores: &Stores, within: Duration) -> Result<Exchange> {
    if let Some(refusal) = plan(stores).await?.refusal() {
        return Err(refusal);
    }
    let mut stores = stores.clone();
    stores.sqlite.making = Making::Everything;
    exchange(&stores, within).await
}

/// Opens both sides, adopting what additions mend, and runs push and pull to the end.
pub(crate) async fn exchange(stores: &Stores, within: Duration) -> Result<Exchange> {
    let replica = Replica::open(stores.sqlite.clone()).await?;
    let shared = Shared::new(stores.postgres.clone(), stores.limits, stores.sqlite.clone());
    shared.set_replica(Arc::new(replica));
    let synchroniser = Synchroniser::on_demand(Arc::new(shared));
    Box::pin(synchroniser.sync(within)).await
}

/// Whether the file is joined as it stands: its tables are as declared, and captured.
///
/// # Errors
/// About the schema if it is not, or if there is none; those of reading it.
pub(crate) fn joined(settings: &ReplicaSettings) -> Result<()> {
    let file = LocalFile::open(settings)?;
    let wants = |message: &str| {
        let error = Error::new(Kind::Schema(Store::Sqlite), "look at the SQLite file", message);
        Err(error.with_hint("`dual init` shows what is to be done, `dual init --apply` does it"))
    };
    if file.0.is_none() {
        return wants("the file is not there yet");
    }
    for table in settings.tables.iter() {
        if let Some(connection) = file.connection() {
            refuse_taken_away(&connection, table, &Layout::new(table))?;
        }
        let (side, _) = file.look(table)?;
        if let Some(obstacle) = side.obstacles.first() {
            return wants(obstacle);
        }
        if !side.captured || !side.steps.is_empty() {
            return wants("it is not joined with PostgreSQL yet, or not any more");
        }
    }
    Ok(())
}

/// Why a person should see the plan before the file, in which there are tables already, is
/// joined: something is in the way there, or the columns or rows of both sides differ. `None`
/// if the file is joined, or if joining it only adds.
///
/// # Errors
/// Those of [`plan`].
pub(crate) async fn reservation(stores: &Stores) -> Result<Option<Error>> {
    let is_known = match LocalFile::open(&stores.sqlite)?.connection() {
        None => true,
        Some(connection) => has_node(&connection)?,
    };
    if is_known {
        return Ok(None);
    }
    let plan = plan(stores).await?;
    let alters = |side: &SidePlan| side.steps.iter().any(|step| step.contains("column"));
    let reason = plan.tables.iter().find_map(|table| {
        let TablePlan { table: name, postgres, sqlite, rows } = table;
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

fn has_node(connection: &Connection) -> Result<bool> {
    let there = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'dual_node')";
    connection.query_row(there, [], |row| row.get(0)).map_err(|cause| failed(OPERATION, cause))
}

/// Whether the file has met another installation than this server's.
async fn is_elsewhere(session: &Session, file: &LocalFile) -> Result<bool> {
    let here: Option<String> = match file.connection().as_deref() {
        Some(connection) if has_node(connection)? => connection
            .query_row("SELECT installation FROM dual_node", [], |row| row.get(0))
            .map_err(|cause| failed(OPERATION, cause))?,
        _ => None,
    };
    let Some(here) = here else { return Ok(false) };
    let there = "SELECT to_regclass('dual.installation') IS NOT NULL";
    let rows = session.query(OPERATION, there, &[]).await?;
    if !rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
        // It joins whatever it finds first only if it has never met anybody.
        return Ok(true);
    }
    let rows = session.query(OPERATION, "SELECT id::text FROM dual.installation", &[]).await?;
    let id = rows.first().and_then(|row| row.try_get::<_, String>(0).ok());
    let id = id.and_then(|text| uuid::Uuid::parse_str(&text).ok());
    Ok(id.is_some_and(|id| id.as_u128().to_string() != here))
}

/// How far a file is part of the database, as far as it knows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has not met PostgreSQL, or cannot be looked at.
    Stranger,
    /// It is a node, and something waits to be exchanged.
    Waiting,
    /// It is a node and has given everything.
    Settled,
}

/// Looks at the file and changes nothing.
pub(crate) fn standing(settings: &ReplicaSettings) -> Standing {
    let look = || -> Option<Standing> {
        let file = LocalFile::open(settings).ok()?;
        let connection = file.connection()?;
        if !has_node(&connection).ok()? {
            return Some(Standing::Stranger);
        }
        let follows = "SELECT json_type(follow, '$.state.following') IS NOT NULL FROM dual_node";
        let mut settled: bool = connection.query_row(follows, [], |row| row.get(0)).ok()?;
        for table in settings.tables.iter() {
            let sql = format!(
                "SELECT EXISTS (SELECT 1 FROM {} WHERE seq > (SELECT pushed FROM dual_node))",
                Layout::new(table).sidecar()
            );
            settled &= !connection.query_row(&sql, [], |row| row.get::<_, bool>(0)).ok()?;
        }
        Some(if settled { Standing::Settled } else { Standing::Waiting })
    };
    look().unwrap_or(Standing::Stranger)
}

/// What PostgreSQL has of the table, and what would be done there if a person asks for it.
async fn remote(session: &Session, table: &Table) -> Result<(SidePlan, Catalog)> {
    let Planned { plan, catalog, .. } = plan_known(session, table, true).await?;
    let drift = capture::drift(session, &RemoteLayout::new(table, &plan.target)).await?;
    let refusal = plan.refusal(OPERATION);
    let mut side = SidePlan {
        exists: catalog.table.is_some(),
        captured: drift == RemoteDrift::None,
        steps: plan.steps.iter().map(|step| step.what.clone()).collect(),
        obstacles: plan.obstacles.iter().map(|obstacle| obstacle.what.clone()).collect(),
        kind: refusal.as_ref().map(Error::kind),
        hint: refusal.and_then(|error| error.hint().map(str::to_owned)),
    };
    if !side.captured {
        side.steps.push(format!("capture the writes to {}", plan.target));
    }
    Ok((side, catalog))
}

/// The file, if there is one, read and never written.
struct LocalFile(Option<Mutex<Connection>>);

impl LocalFile {
    fn open(settings: &ReplicaSettings) -> Result<LocalFile> {
        let wrap = |cause| failed(OPERATION, cause).about(settings.path.display());
        let file = File::look(&settings.path)?;
        if !file.existed {
            return Ok(LocalFile(None));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&file.path, flags).map_err(wrap)?;
        connection
            .busy_timeout(settings.busy)
            .and_then(|()| define_functions(&connection))
            .and_then(|()| connection.execute_batch("PRAGMA query_only = ON; BEGIN"))
            .map_err(wrap)?;
        Ok(LocalFile(Some(Mutex::new(connection))))
    }

    fn connection(&self) -> Option<MutexGuard<'_, Connection>> {
        self.0.as_ref().map(|one| one.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn look(&self, table: &Table) -> Result<(SidePlan, Found)> {
        let layout = Layout::new(table);
        let (found, drift) = match self.connection().as_deref() {
            None => (Found::Nothing, Drift::Absent),
            Some(connection) => (
                Found::read(connection, "main", table)?,
                crate::store::sqlite::capture::drift(connection, &layout)?,
            ),
        };
        let mut side = SidePlan {
            exists: !matches!(found, Found::Nothing),
            captured: drift == Drift::None,
            ..SidePlan::default()
        };
        match Adoption::plan("main", table, &found) {
            Ok(adoption) => {
                side.steps.extend(adoption.steps.into_iter().map(|step| step.what));
                if !side.captured {
                    side.steps.push(format!("capture the writes to {}", table.name()));
                }
            }
            Err(error) => {
                side.obstacles.push(error.message().to_owned());
                side.kind = Some(error.kind());
                side.hint = error.hint().map(str::to_owned);
            }
        }
        Ok((side, found))
    }
}
