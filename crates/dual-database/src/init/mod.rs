//! Making one database of what is there, as the plan of `dual init` says ([`plan`]).

mod copy;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crate::adoption::{
    Bond, Choice, Chosen, ChosenColumn, ColumnCounts, ColumnSchema, Confirmed, Declared,
    FileStanding, Joining, Plan, Revision, RowCounts, SidePlan, Skipped, Stores, Survey, TablePlan,
    TableSchema, Width, choose, declared, joined_tables, plan, revision, schema, standing,
    tracked_elsewhere,
};

use crate::adoption::{LocalFile, different, keep_with};
use crate::error::{Error, Kind, Result, Store};
use crate::schema::{Making, Table};
use crate::store::postgres::primary::{Pool, grant, known_role, script};
use crate::store::postgres::{Session, capture, is_confirmed};
use crate::store::sqlite::replica::{Content, Durability, Paused, Replica};
use crate::sync::{Exchange, Shared, Synchroniser};

/// How soon it is tried again where another program is in the middle of the same.
const AGAIN: Duration = Duration::from_millis(300);

/// What a role that may install can run, so that `runtime`, or else the role that is connected, can run what
/// it makes: one text for `psql`. Nothing is changed.
///
/// # Errors
/// Those of reaching PostgreSQL; configuration if it knows no such role; about the schema if a table is
/// in the way.
pub async fn sql(stores: &Stores, runtime: Option<&str>) -> Result<String> {
    let session = Session::open(&stores.postgres, &stores.limits).await?;
    script(&session, &stores.sqlite.tables, runtime).await
}

/// [`apply`], and then gives `runtime` the rights of a role that runs what is there and owns nothing.
///
/// # Errors
/// Those of [`apply`]; configuration if there is no such role, and access denied if this one may not
/// install: then nothing was changed.
pub async fn apply_for(
    stores: &Stores,
    joining: Joining,
    runtime: &str,
    within: Duration,
) -> Result<Joined> {
    let session = Session::open(&stores.postgres, &stores.limits).await?;
    session.begin_snapshot("look for the role that is to run it").await?;
    known_role(&session, runtime).await?;
    capture::SchemaStanding::read(&session, &[]).await?.owns(&session, "give the rights to run")?;
    drop(session);
    let joined = apply(stores, joining, within).await?;
    let session = Session::open(&stores.postgres, &stores.limits).await?;
    grant(&session, &stores.sqlite.tables, runtime).await?;
    Ok(joined)
}

/// Declares the table as a person has confirmed, on both sides, and exchanges everything, at most for `within`.
/// Other files, and programs that run, follow by themselves.
///
/// # Errors
/// Those of preparing PostgreSQL: then nothing was changed; of opening the file and of the exchange: it can be
/// repeated, and so does whoever opens the file next.
pub async fn redeclare(
    stores: &mut Stores,
    revision: &Revision,
    within: Duration,
) -> Result<Exchange> {
    let name = revision.table.name();
    if declared_at(stores, name).await? != revision.before {
        return Err(meanwhile(name));
    }
    let tables = [revision.table.clone()].into();
    let prepared = Pool::new(stores.postgres.clone(), stores.limits, tables, 1)
        .making(Making::Everything)
        .prepare()
        .await;
    prepared.map_err(|error| match error.kind() {
        Kind::AccessDenied => error.with_hint(
            "run it with the URL of the role that owns the table and what is ours in PostgreSQL",
        ),
        _ => error,
    })?;
    let declared = declared_at(stores, name).await?;
    if declared.map(|table| table.declaration()) != Some(revision.table.declaration()) {
        return Err(meanwhile(name));
    }
    // By itself, as what is left alone: nothing is exchanged, or taken over from elsewhere, without the others.
    let mut alone = stores.sqlite.clone();
    alone.aside = [Paused {
        table: revision.table.shared_name(),
        store: Store::Sqlite,
        reason: "it is being declared anew".to_owned(),
        hint: Some("`dual init --apply` goes on with it".to_owned()),
    }]
    .into();
    alone.tables = [revision.table.clone()].into();
    alone.making = Making::Retyped;
    drop(Replica::open(alone).await?);
    let end = Instant::now() + within;
    stores.sqlite.making = Making::Additions;
    loop {
        // Nothing else is joined, made anew or taken back by this.
        keep_with(stores, name).await?;
        match follow(stores, end.saturating_duration_since(Instant::now())).await {
            // A program that runs on the file is on its way to the same declaration.
            Err(error) if error.is_conflict() && Instant::now() < end => {
                tokio::time::sleep(AGAIN).await;
            }
            ended => return ended,
        }
    }
}

/// A program that runs was faster.
fn merged(table: &str) -> Error {
    let message =
        format!("another program has joined the table {table} before: rows of one number are one");
    Error::new(Kind::Conflict, "join both sides", message).with_hint(
        "`dual conflicts` shows what was lost by that; stop programs that run before you join",
    )
}

async fn declared_at(stores: &Stores, name: &str) -> Result<Option<Table>> {
    let session = Session::open(&stores.postgres, &stores.limits).await?;
    session.begin_snapshot("look how the table is declared").await?;
    capture::SchemaStanding::read(&session, &[]).await?.trusted(&session)?;
    let declared = capture::declared(&session).await?;
    Ok(declared.into_iter().find(|table| table.name() == name))
}

fn meanwhile(name: &str) -> Error {
    let message = format!("the table {name} was declared anew meanwhile");
    Error::new(Kind::Conflict, "declare a table anew", message)
        .with_hint("run it again: what it would do now may be another thing")
}

/// What became of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// What there was.
    pub plan: Plan,
    /// Where the file is as it was before, if it was copied.
    pub copy: Option<PathBuf>,
    /// The first exchange.
    pub exchange: Exchange,
}

/// Does what the plan says, and exchanges everything, at most for `within`.
///
/// # Errors
/// [`Plan::refusal`], what could not be tried just now, and that there is no room or right to copy the file: then nothing was changed;
/// those of opening the file, of preparing
/// PostgreSQL and of the exchange: it can be repeated.
pub async fn apply(stores: &Stores, joining: Joining, within: Duration) -> Result<Joined> {
    let plan = plan(stores, joining.clone()).await?;
    if let Some(refusal) = plan.refusal() {
        return Err(refusal);
    }
    // What nobody confirms is not begun, or half of it would stand in the file.
    let session = Session::open(&stores.postgres, &stores.limits).await?;
    session.begin("join both sides").await?;
    is_confirmed(&session, "join both sides").await?;
    drop(session);
    if let Some(untried) = plan.untried() {
        return Err(untried);
    }
    let leaves = matches!(plan.bond, Bond::Rejoining { .. });
    let is_ours = !leaves && LocalFile::open(&stores.sqlite)?.is_node()?;
    let copy = match joining.copy && !is_ours {
        true => copy::copy(stores.sqlite.path.clone(), stores.sqlite.busy).await?,
        false => None,
    };
    let mut stores = stores.clone();
    stores.sqlite.making = Making::Everything;
    // The file comes second: what PostgreSQL keeps a file learns, and not the other way about.
    Pool::new(stores.postgres.clone(), stores.limits, stores.sqlite.tables.clone(), 1)
        .making(Making::Everything)
        .prepare()
        .await?;
    let replica = Replica::open(stores.sqlite.clone()).await?;
    let prefer = joining.prefer;
    // What is written from here on is captured, and told by that.
    let different = different(&stores, &joining.different).await?;
    let work = move |content: &Content<'_>| {
        if leaves {
            content.unmeet()?;
        }
        for (table, keys) in &different {
            if !content.take_apart(table, keys)? {
                return Err(merged(table));
            }
        }
        content.prefer(prefer)
    };
    replica.write("note whose values stand", Durability::Full, work).await?;
    let exchange = exchange_with(&stores, replica, within).await?;
    Ok(Joined { plan, copy, exchange })
}

/// Opens both sides, adopting what additions mend, and runs push and pull to the end, at most for
/// `within`.
///
/// # Errors
/// Those of opening the file, of preparing PostgreSQL and of the exchange: it can be repeated.
pub async fn exchange(stores: &Stores, within: Duration) -> Result<Exchange> {
    let replica = Replica::open(stores.sqlite.clone()).await?;
    exchange_with(stores, replica, within).await
}

/// The same; columns that have come are left alone.
async fn follow(stores: &Stores, within: Duration) -> Result<Exchange> {
    let replica = Replica::open(stores.sqlite.clone()).await?;
    exchange_as(stores, replica, within, false).await
}

async fn exchange_with(stores: &Stores, replica: Replica, within: Duration) -> Result<Exchange> {
    exchange_as(stores, replica, within, true).await
}

async fn exchange_as(
    stores: &Stores,
    replica: Replica,
    within: Duration,
    follow_schema: bool,
) -> Result<Exchange> {
    let mut shared = Shared::new(stores.postgres.clone(), stores.limits, stores.sqlite.clone());
    shared.follow_schema = follow_schema;
    shared.set_replica(Arc::new(replica));
    let synchroniser = Synchroniser::on_demand(Arc::new(shared));
    Box::pin(synchroniser.sync(within)).await
}
