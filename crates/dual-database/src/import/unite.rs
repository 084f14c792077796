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

use super::report::{Report, StoreOutcome};
use super::write::Target;
use super::{Event, Import, Observer};
use crate::error::Result;
use crate::init::{Stores, exchange, is_node};
use crate::store::postgres::primary::Pool;
use crate::store::sqlite::replica::{Replica, Settings as ReplicaSettings};

/// How long what was pending before the load is waited for.
const BEFORE: Duration = Duration::from_secs(60);
/// How long the exchange after it may take.
const AFTER: Duration = Duration::from_secs(10 * 60);

impl Import {
    /// What is pending in stores that are one database already goes first: the load compares
    /// with what each store has. If a side is away, it is compared with what the other one has,
    /// and merged with the rest when it comes back.
    pub(super) async fn settle(&self, target: &Target) {
        let stores = self.stores(target);
        if is_node(&stores.sqlite)
            && let Err(error) = Box::pin(exchange(&stores, BEFORE)).await
        {
            tracing::info!(error = error.chain(), "what is pending could not be exchanged first");
        }
    }

    /// Puts capture on each store that was loaded, and exchanges until nothing is pending. The
    /// rows are in place by then: what fails here is done by whoever opens the database next.
    pub(super) async fn unite(&self, target: &Target, report: &Report, observer: &dyn Observer) {
        let stores = self.stores(target);
        let loaded = |outcome: &StoreOutcome| {
            !matches!(outcome, StoreOutcome::Away(_) | StoreOutcome::Planned(_))
        };
        let done = match (loaded(&report.postgres), loaded(&report.sqlite)) {
            (true, true) => Box::pin(exchange(&stores, AFTER)).await.map(|exchange| exchange.held),
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

    fn stores(&self, target: &Target) -> Stores {
        let tables = Arc::from(vec![(*self.staging.table).clone()]);
        Stores {
            postgres: target.postgres.clone(),
            limits: target.limits,
            sqlite: ReplicaSettings { path: target.sqlite.path.clone(), busy: target.busy, tables },
        }
    }
}

async fn capture(stores: &Stores) -> Result<()> {
    let tables = stores.sqlite.tables.clone();
    let pool = Pool::new(stores.postgres.clone(), stores.limits, tables, 1);
    pool.prepare().await.map(|_| ())
}
