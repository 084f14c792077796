//! Before and after the load: what both stores have is one database.
//!
//! The load itself knows nothing of stamps. On stores that nobody has captured yet it runs
//! without triggers, and all of its rows are taken in at once afterwards, as rows that were
//! there before; PostgreSQL and the file have the same values in them, so first contact finds
//! nothing that differs. On stores that are one database already it is an outside program like
//! any other, and the exchange afterwards finds equal values. Either way a crash in between
//! leaves nothing that the next start does not do.

use std::sync::Arc;
use std::time::Duration;

use dual_database::error::Result;
use dual_database::init::{FileStanding, Stores, exchange, standing, tracked_elsewhere};
use dual_database::schema::Making;
use dual_database::store::postgres::primary::Pool;
use dual_database::store::sqlite::capture::agree_on_adopted;
use dual_database::store::sqlite::failed;
use dual_database::store::sqlite::replica::{
    Content, Durability, Replica, Settings as ReplicaSettings,
};
use dual_database::sync::{Step, hooked_once};

use super::report::{Report, StoreOutcome};
use super::write::Target;
use super::{Event, Import, Observer};

/// How long what was pending before the load is waited for.
const BEFORE: Duration = Duration::from_secs(60);
/// How long the exchange after it may take.
const AFTER: Duration = Duration::from_secs(10 * 60);

impl Import {
    /// What is pending in stores that are one database already goes first: the load compares
    /// with what each store has. If a side is away, it is compared with what the other one has,
    /// and merged with the rest when it comes back.
    pub(super) async fn settle(&self, target: &Target) {
        let exchanged = async {
            let stores = self.stores(target).await;
            if standing(&stores.sqlite) == FileStanding::Waiting {
                exchange(&stores, BEFORE).await?;
            }
            Ok(())
        };
        if let Err(error) = self.exchanged(Step::ImportSettle, exchanged).await {
            tracing::info!(error = error.chain(), "what is pending could not be exchanged first");
        }
    }

    /// Puts capture on each store that was loaded, and exchanges until nothing is pending. The
    /// rows are in place by then: what fails here is done by whoever opens the database next.
    pub(super) async fn attach(&self, target: &Target, report: &Report, observer: &dyn Observer) {
        let stores = self.stores(target).await;
        let loaded = |outcome: &StoreOutcome| {
            !matches!(outcome, StoreOutcome::Away(_) | StoreOutcome::Planned(_))
        };
        let unchanged = |outcome: &StoreOutcome| matches!(outcome, StoreOutcome::Unchanged(_));
        if unchanged(&report.postgres)
            && unchanged(&report.sqlite)
            && standing(&stores.sqlite) == FileStanding::Settled
        {
            return;
        }
        let done = match (loaded(&report.postgres), loaded(&report.sqlite)) {
            (true, true) => {
                let name = self.staging.table.name();
                self.exchanged(Step::ImportUnite, first(&stores, name, report)).await
            }
            (true, false) => Box::pin(capture(&stores)).await.map(|()| None),
            (false, true) => Replica::open(stores.sqlite).await.map(|_| None),
            (false, false) => return,
        };
        match done {
            Ok(None) => {}
            Ok(Some(losses)) => observer.event(Event::Warning(&format!(
                "the rows are in place; the databases differ in {losses} rows besides: see \
                 `dual status`, then `dual repair`"
            ))),
            Err(error) => observer.event(Event::Warning(&format!(
                "the rows are in place, but the databases could not be made one yet: {}",
                error.chain()
            ))),
        }
    }

    /// That the search path leads to `other` instead of the joined table stops nothing, unless the file has
    /// never met this database: it may mean that one.
    ///
    /// # Errors
    /// Those of [`tracked_elsewhere`].
    pub(super) async fn told_of(
        &self,
        other: &str,
        target: &Target,
        observer: &dyn Observer,
    ) -> Result<()> {
        if standing(&self.stores(target).await.sqlite) == FileStanding::Stranger {
            return Err(tracked_elsewhere(other));
        }
        observer.event(Event::Warning(&format!(
            "the search path leads to {other}, which is another table than the joined one: that one is \
             used on, and the other one is left alone"
        )));
        Ok(())
    }

    async fn exchanged<T>(&self, step: Step, work: impl Future<Output = Result<T>>) -> Result<T> {
        hooked_once(self.hook.as_ref(), step, Box::pin(work)).await
    }

    /// Both stores with all tables that they keep, and that of the import.
    async fn stores(&self, target: &Target) -> Stores {
        let mut stores = Stores {
            postgres: target.postgres.clone(),
            limits: target.limits,
            sqlite: ReplicaSettings {
                path: target.sqlite.path.clone(),
                busy: target.busy,
                tables: Arc::default(),
                making: Making::Additions,
                extensions: target.sqlite.extensions.clone(),
                aside: [].into(),
            },
        };
        stores.keep_declared(target.limits.connect).await;
        let name = self.staging.table.name();
        let (tables, aside) = (&stores.sqlite.tables, &stores.sqlite.aside);
        // What was loaded into a table that is left alone is captured, and waits.
        if tables.iter().all(|table| table.name() != name)
            && aside.iter().all(|one| *one.table != *name)
        {
            let own = std::iter::once((*self.staging.table).clone());
            stores.sqlite.tables = tables.iter().cloned().chain(own).collect();
        }
        stores
    }
}

/// Exchanges everything; says how many rows a person has to decide about, if that is so.
///
/// If the file had no rows before, each of its rows came from this load, and PostgreSQL has the
/// same: they are not compared as what the file had for itself, which would give all of them to
/// PostgreSQL once more.
async fn first(stores: &Stores, name: &str, report: &Report) -> Result<Option<usize>> {
    let is_stranger = standing(&stores.sqlite) == FileStanding::Stranger;
    let all_new = match (&report.postgres, &report.sqlite) {
        (StoreOutcome::Done(_) | StoreOutcome::Unchanged(_), StoreOutcome::Done(plan)) => {
            is_stranger && plan.updated == 0 && plan.unchanged == 0
        }
        _ => false,
    };
    if let (true, StoreOutcome::Done(plan)) = (all_new, &report.sqlite) {
        let (replica, loaded) = (Replica::open(stores.sqlite.clone()).await?, plan.inserted);
        let name = name.to_owned();
        let settle = move |content: &Content<'_>| {
            let of_name = content.tables().iter().find(|local| local.table.name() == name);
            let Some(local) = of_name else { return Ok(()) };
            let count = format!("SELECT count(*) FROM {}", local.layout.sidecar());
            let rows: i64 = content
                .connection()
                .query_row(&count, [], |row| row.get(0))
                .map_err(|cause| failed("count the rows", cause))?;
            if u64::try_from(rows).ok() == Some(loaded) {
                agree_on_adopted(content.connection(), &local.layout)?;
            }
            Ok(())
        };
        replica.write("settle what was loaded", Durability::Full, settle).await?;
    }
    exchange(stores, AFTER).await.map(|exchange| exchange.held)
}

async fn capture(stores: &Stores) -> Result<()> {
    let tables = stores.sqlite.tables.clone();
    let pool = Pool::new(stores.postgres.clone(), stores.limits, tables, 1);
    pool.prepare().await.map(|_| ())
}
