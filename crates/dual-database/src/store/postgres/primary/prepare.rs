//! First contact: what the tables need on the server is looked at, and made if it is missing.

use std::sync::Arc;

use super::identity::{Identity, Known};
use super::{Primary, RemoteTable};
use crate::merge::Defaults;
use crate::protocol::Addition;
use crate::schema::{Column, Making, Role, Table};
use crate::store::postgres::adopt::plan_table;
use crate::store::postgres::capture::{
    Drift, Layout, SchemaStanding, declared, drift, install, is_renewable, not_kept_elsewhere,
    of_ours, ours_alone, permit, renew, schema_locked,
};
use crate::store::postgres::{Catalog, SchemaPlan, Session, is_confirmed};
use crate::{Error, Kind, Result, Store};

const OPERATION: &str = "prepare PostgreSQL";

/// What the server has, after [`prepare`].
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The tables in their order.
    pub tables: Arc<[RemoteTable]>,
    /// What was found and done, for each table.
    pub found: Vec<PreparedTable>,
    /// What the server keeps besides, as it is declared.
    pub besides: Vec<Table>,
}

/// What was found of a table, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedTable {
    /// How its capture was found.
    pub drift: Drift,
    /// What was changed, as phrases.
    pub steps: Vec<String>,
    /// Rows that were there before the product knew them.
    pub adopted: u64,
    /// Another table of that name, to which the search path leads instead of the tracked one.
    pub shadowed: Option<String>,
}

impl Prepared {
    /// Whether writes may have been missed, or values rewritten without any: a full comparison
    /// has to follow ([`crate::protocol::Break::CaptureGap`]). The epoch changes besides, for all
    /// files.
    #[must_use]
    pub fn has_gap(&self) -> bool {
        self.found.iter().any(|found| matches!(found.drift, Drift::Triggers | Drift::Columns))
    }
}

/// Looks for the tables and what stands beside them, and makes what is missing, as far as `making`
/// and the rights of this role allow it: the tables and columns, if additions are enough; the schema `dual`; the triggers, where
/// they are missing or others. Nothing is locked if nothing is missing. Can be repeated, and done by several nodes
/// at once: they wait for each other.
///
/// # Errors
/// About the schema if a table is in the way or was taken away, or the schema `dual` was made by a
/// newer version;
/// access denied, with the statement that the owner can run; else as for [`Session::commit`].
/// Nothing was changed then, but a sequence may stand higher.
pub async fn prepare(session: &Session, tables: &[Table], making: Making) -> Result<Prepared> {
    let outcome = match look(session, tables, making).await {
        Ok(surveys) if surveys.iter().all(|survey| survey.is_done(making)) => {
            finished(session, tables, surveys).await
        }
        Ok(_) if making == Making::Nothing => Err(not_joined()),
        Ok(_) => make(session, tables, making).await,
        Err(error) => Err(error),
    };
    if outcome.is_err() && !session.is_closed() {
        // What failed is what counts.
        let _ = session.rollback(OPERATION).await;
    }
    outcome
}

impl Primary<'_> {
    /// Whether the server keeps more than these tables, and those that are left alone.
    ///
    /// # Errors
    /// About the schema if a declaration cannot be read; else as for [`Session::query`].
    pub(crate) async fn keeps_besides(&self, aside: &[Table]) -> Result<bool> {
        self.session.begin_snapshot(OPERATION).await?;
        let kept = declared(self.session).await?;
        self.session.rollback(OPERATION).await?;
        let is_besides = |kept: &Table| {
            let own = self.tables.iter().map(|own| &own.table);
            !own.chain(aside).any(|own| own.covers(kept))
        };
        Ok(kept.iter().any(is_besides))
    }
}

/// What the server has, if nothing is missing; nothing is changed.
///
/// # Errors
/// As for [`prepare`].
pub(super) async fn complete(
    session: &Session,
    tables: &[Table],
    making: Making,
) -> Result<Option<Prepared>> {
    let surveys = look(session, tables, making).await?;
    match surveys.iter().all(|survey| survey.is_done(making)) {
        true => finished(session, tables, surveys).await.map(Some),
        false => Ok(None),
    }
}

/// Something is missing, and is not to be made.
pub(super) fn not_joined() -> Error {
    let message = "the tables are not joined with the SQLite file yet, or not any more";
    Error::new(Kind::Schema(Store::Postgres), "look at PostgreSQL", message)
        .with_hint("`dual init` shows what is to be done, `dual init --apply` does it")
}

struct Survey {
    plan: SchemaPlan,
    layout: Layout,
    found: PreparedTable,
    /// This role may install: else it may only run what is there.
    installs: bool,
    /// Another program has joined more of it since this one began: what it has made is left as it is.
    is_newer: bool,
}

impl Survey {
    /// Nothing is missing; who only looks does without a sequence that stands behind the rows.
    fn is_done(&self, making: Making) -> bool {
        let may_wait = |step: &Addition| making == Making::Nothing && step.sets_sequence();
        let is_there = self.plan.steps.iter().all(may_wait) && self.found.drift == Drift::None;
        self.plan.obstacles.is_empty() && (is_there || self.is_newer)
    }
}

async fn look(session: &Session, tables: &[Table], making: Making) -> Result<Vec<Survey>> {
    session.begin_snapshot(OPERATION).await?;
    let surveys = survey(session, tables, making).await?;
    session.rollback(OPERATION).await?;
    Ok(surveys)
}

async fn survey(session: &Session, tables: &[Table], making: Making) -> Result<Vec<Survey>> {
    let standing = SchemaStanding::read(session, tables).await?;
    standing.trusted(session)?;
    standing.kept_nowhere_else(session, tables).await?;
    standing.check(session)?;
    may_run(session, tables, &standing).await?;
    let kept = declared(session).await?;
    let mut surveys = Vec::with_capacity(tables.len());
    for table in tables {
        surveys.push(survey_of(session, table, making, &standing, &kept).await?);
    }
    Ok(surveys)
}

/// What is in the way of each of these tables that are joined, if anything is that is about the table; what
/// can be made is not.
///
/// # Errors
/// As for [`prepare`], of what is about all of them.
pub(crate) async fn obstacles(
    session: &Session,
    tables: &[Table],
    making: Making,
) -> Result<Vec<Option<Error>>> {
    session.begin_snapshot(OPERATION).await?;
    let standing = SchemaStanding::read(session, tables).await?;
    standing.trusted(session)?;
    standing.check(session)?;
    let kept = declared(session).await?;
    session.rollback(OPERATION).await?;
    let mut found = Vec::with_capacity(tables.len());
    for table in tables {
        // What is refused ends the transaction.
        session.begin_snapshot(OPERATION).await?;
        let survey = match may_run(session, std::slice::from_ref(table), &standing).await {
            Ok(()) => survey_of(session, table, making, &standing, &kept).await.map(drop),
            Err(error) => Err(error),
        };
        session.rollback(OPERATION).await?;
        found.push(match survey {
            Ok(()) => None,
            Err(error) if matches!(error.kind(), Kind::Schema(_) | Kind::AccessDenied) => {
                Some(error)
            }
            Err(error) => return Err(error),
        });
    }
    Ok(found)
}

async fn survey_of(
    session: &Session,
    table: &Table,
    making: Making,
    standing: &SchemaStanding,
    kept: &[Table],
) -> Result<Survey> {
    let asked = making.is_asked();
    let own = kept.iter().find(|one| one.name() == table.name());
    alone_under_its_label(table, kept)?;
    let revision = own.map_or(0, Table::revision);
    if own.is_some() && revision < table.revision() && !asked {
        return Err(later_in_the_file(table));
    }
    let Planned { mut plan, catalog, shadowed } = plan_known(session, table, asked).await?;
    if revision > table.revision() {
        // What is in the way of an earlier revision is for whoever has the later one to tell.
        plan.obstacles.clear();
    }
    if let Some(refusal) = plan.refusal(OPERATION) {
        return Err(refusal);
    }
    let layout = Layout::new(table, &plan.target).within(session);
    let is_newer = own.is_some_and(|own| !table.covers(own));
    let drift = if is_newer { Drift::None } else { drift(session, &layout).await? };
    if drift == Drift::Absent && !asked {
        declared_by_the_file_alone(table, &catalog, kept)?;
    }
    if drift != Drift::None {
        not_kept_elsewhere(session, &layout).await?;
        if !standing.installs && !is_renewable(session, &layout).await? {
            return Err(standing.for_the_owner(session, &layout.target));
        }
    }
    // What is installed goes on; to install is refused.
    if drift == Drift::Absent {
        ours_alone(session, table, catalog.rights.schema.as_deref()).await?;
    }
    let found = PreparedTable { drift, steps: Vec::new(), adopted: 0, shadowed };
    Ok(Survey { plan, layout, found, installs: standing.installs, is_newer })
}

/// Whoever can write the file could have columns of PostgreSQL's renamed or left out by what it says.
fn later_in_the_file(table: &Table) -> Error {
    let message = format!(
        "the SQLite file declares the table {} as somebody has changed it, and PostgreSQL as it was before",
        table.name()
    );
    Error::new(Kind::Schema(Store::Postgres), OPERATION, message)
        .with_hint("`dual init` shows what would become of it, `dual init --apply` does it")
}

/// Two tables under one label would share a sidecar.
fn alone_under_its_label(table: &Table, kept: &[Table]) -> Result<()> {
    let twin = kept.iter().find(|one| one.label() == table.label() && one.name() != table.name());
    let Some(twin) = twin else { return Ok(()) };
    let message = format!(
        "the SQLite file keeps {} under the number that {} has in PostgreSQL",
        table.name(),
        twin.name()
    );
    Err(Error::new(Kind::Schema(Store::Postgres), OPERATION, message).with_hint(
        "they were joined apart: `dual uninstall --file-only`, then `dual init --apply`, which compares",
    ))
}

/// Whoever can write the file could have any table of PostgreSQL's read into it: one that a person has not
/// joined here is not joined because the file says so.
fn declared_by_the_file_alone(table: &Table, catalog: &Catalog, kept: &[Table]) -> Result<()> {
    let is_numbered = table.label().parse::<u32>().is_ok();
    let is_known = kept.iter().any(|one| one.name() == table.name());
    if !is_numbered || is_known || catalog.table.is_none() {
        return Ok(());
    }
    let message = format!("the table {} is joined in the SQLite file, and not here", table.name());
    Err(Error::new(Kind::Schema(Store::Postgres), "look at PostgreSQL", message)
        .with_hint("`dual init` shows what would become of it, `dual init --apply` joins it"))
}

/// What is to be done for a table, and what there is of it.
pub(crate) struct Planned {
    pub plan: SchemaPlan,
    pub catalog: Catalog,
    /// Another table of that name, to which the search path leads instead.
    pub shadowed: Option<String>,
}

/// What is to be done for a table, given what was known of it: the one that was tracked is meant,
/// wherever the search path leads ([`PreparedTable::shadowed`]). Unless a person has asked for it, what
/// somebody has taken away is in the way.
///
/// # Errors
/// As for [`Session::query`].
pub(crate) async fn plan_known(
    session: &Session,
    table: &Table,
    is_asked: bool,
) -> Result<Planned> {
    let sidecar = Layout::new(table, "").within(session).sidecar().to_owned();
    let known = Known::read(session, table, &sidecar).await?;
    // What was renamed once is not renamed again: somebody may have given another column the old name since.
    let settled = table.without_former_names();
    let table = if known.revision == Some(table.revision()) { &settled } else { table };
    let mut catalog = known.catalog(session, table).await?;
    if let Identity::Dropped { schema: Some(schema), .. } = &known.identity {
        catalog.rights.schema = Some(schema.clone());
    }
    let mut plan = plan_table(table, &catalog);
    if session.takes_any_bytes() {
        plan.any_bytes(table);
    }
    if let (Identity::Untracked, Some(found)) = (&known.identity, &catalog.table) {
        plan.capture(found);
    }
    match &known.identity {
        _ if is_asked => {}
        Identity::Renamed { was, is } => plan.taken_away(
            was,
            &format!("the table was renamed to {is}"),
            "rename it back, or let `dual init --apply` make a new one and fill it from the SQLite file",
        ),
        Identity::Dropped { was, .. } => plan.taken_away(
            was,
            "the table was dropped",
            "let `dual init --apply` make it anew and fill it from the SQLite file",
        ),
        Identity::Untracked | Identity::There { .. } => {
            let gone = |column: &&Column| {
                let is_tracked = |stamps: &Vec<String>| match column.role {
                    Role::Data => stamps.iter().any(|label| **label == *column.label),
                    Role::Key | Role::Surrogate => true,
                };
                let tracked = known.columns.as_ref().is_some_and(is_tracked);
                let found = catalog.table.as_ref().and_then(|table| table.present(column));
                tracked && found.is_none()
            };
            let gone: Vec<&str> = table.columns().iter().filter(gone).map(|c| &*c.name).collect();
            if !gone.is_empty() {
                let what = format!("the column {} was dropped or renamed", gone.join(", "));
                plan.taken_away(
                    &plan.target.to_string(),
                    &what,
                    "rename it back, or let `dual init --apply` add it; where that then waits for a person, \
                     `dual repair --prefer sqlite` fills it from the SQLite file",
                );
            }
        }
    }
    Ok(Planned { plan, catalog, shadowed: known.shadowed })
}

/// Refuses a role that may not install and lacks a right to run what is installed.
///
/// # Errors
/// Access denied, with the statements that help.
pub(crate) async fn may_run(
    session: &Session,
    tables: &[Table],
    standing: &SchemaStanding,
) -> Result<()> {
    if standing.installs || !standing.is_installed {
        return Ok(());
    }
    let layouts = tables.iter().map(|table| Layout::new(table, "").within(session));
    permit(session, &of_ours(session.schema(), &layouts.collect::<Vec<_>>())).await
}

async fn make(session: &Session, tables: &[Table], making: Making) -> Result<Prepared> {
    session.begin(OPERATION).await?;
    is_confirmed(session, OPERATION).await?;
    session.batch(OPERATION, &schema_locked()).await?;
    // Somebody else may have made it while this waited.
    let mut surveys = survey(session, tables, making).await?;
    for survey in surveys.iter_mut().filter(|survey| !survey.is_newer) {
        for step in &survey.plan.steps {
            session.batch(OPERATION, &step.statement()).await?;
            survey.found.steps.push(step.what.clone());
        }
        // The steps may have changed the columns; a sequence that was set has not, and another
        // installation would be another epoch.
        if drift(session, &survey.layout).await? != Drift::None {
            survey.found.adopted = match survey.installs {
                true => install(session, &survey.layout).await?,
                false => renew(session, &survey.layout).await?,
            };
            survey.found.steps.push(format!("capture {}", survey.plan.target));
        }
    }
    session.commit(OPERATION).await?;
    finished(session, tables, surveys).await
}

async fn finished(session: &Session, tables: &[Table], surveys: Vec<Survey>) -> Result<Prepared> {
    session.begin_snapshot(OPERATION).await?;
    let mut besides = declared(session).await?;
    session.rollback(OPERATION).await?;
    besides.retain(|kept| !tables.iter().any(|table| table.covers(kept)));
    let (found, remote): (Vec<PreparedTable>, Vec<RemoteTable>) = tables
        .iter()
        .zip(surveys)
        .map(|(table, survey)| {
            let defaults = Defaults::new(table.defaults());
            let table = RemoteTable { table: table.clone(), layout: survey.layout, defaults };
            (survey.found, table)
        })
        .unzip();
    Ok(Prepared { tables: remote.into(), found, besides })
}
