//! Looking whether both stores have the same, and making them so when a person has said how.

use std::time::Duration;

use super::{DualDatabase, RepairPreference, Verification};
use crate::sync::Preference;
use crate::{Error, Kind, Result, verify};

/// For how long a person waits for everything to be exchanged.
const PATIENCE: Duration = Duration::from_secs(10 * 60);

impl DualDatabase {
    /// Compares both stores, row by row and column by column, while others go on writing: what
    /// is pending is exchanged first, and a difference counts only if it stands after another
    /// exchange.
    ///
    /// # Errors
    /// Unavailable if a side does not answer: nothing can be said then.
    pub async fn verify(&self) -> Result<Verification> {
        let core = self.core();
        let replica = core.replica("compare both stores")?;
        if core.shared.pool.tables().is_none() {
            core.shared.pool.prepare().await?;
        }
        let exchange = || async { core.exchange(PATIENCE).await.map(|_| ()) };
        let compared = Box::pin(verify::compare(&core.shared.pool, &replica, exchange)).await?;
        let paused: Vec<_> = self.asides().into_iter().map(|aside| aside.why).collect();
        Ok(Verification { equal: compared.equal && paused.is_empty(), paused, ..compared })
    }

    /// Sets back the stamps that lie in the future by PostgreSQL's clock, or are none, on both sides: a
    /// clock was wrong for a while, or somebody has written them ([`Verification::is_ahead`]). Values
    /// stay as they are. A file that is away sets back what it holds when it comes. Then looks at both
    /// sides.
    ///
    /// # Errors
    /// About the configuration if PostgreSQL's clock and this machine's are further apart than a minute:
    /// nobody knows then what lies in the future. Unavailable if a side does not answer; it can be
    /// repeated.
    pub async fn repair_stamps(&self) -> Result<Verification> {
        self.as_it_is(|core| async move {
            let running = core.synchroniser.read().await;
            Box::pin(running.as_ref().ok_or_else(closing)?.set_back()).await
        })
        .await?;
        self.verify().await
    }

    /// Makes both sides equal where they differ and a person was asked: the side that `prefer`
    /// names is right, or the newer of each column. What loses goes to the conflict log. Then
    /// looks whether they are.
    ///
    /// # Errors
    /// Unavailable if a side does not answer; it can be repeated.
    pub async fn repair(&self, prefer: RepairPreference) -> Result<Verification> {
        let prefer = match prefer {
            RepairPreference::Postgres => Preference::Postgres,
            RepairPreference::Sqlite => Preference::Sqlite,
            RepairPreference::Newest => Preference::Newest,
        };
        self.as_it_is(move |core| async move {
            let running = core.synchroniser.read().await;
            Box::pin(running.as_ref().ok_or_else(closing)?.repair(prefer)).await
        })
        .await?;
        self.verify().await
    }
}

fn closing() -> Error {
    Error::new(Kind::Interrupted, "repair", "the database is being closed")
}
