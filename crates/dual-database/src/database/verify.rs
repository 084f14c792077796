//! Looking whether both stores have the same, and making them so when a person has said how.

use std::time::Duration;

use super::{DualDatabase, RepairPreference, Verification};
use crate::sync::engine::Preference;
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
        let core = &self.core;
        let replica = core.replica("compare both stores")?;
        if core.shared.pool.tables().is_none() {
            core.shared.pool.prepare().await?;
        }
        let exchange = || async { core.exchange(PATIENCE).await.map(|_| ()) };
        Box::pin(verify::compare(&core.shared.pool, &replica, exchange)).await
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
        let running = self.core.synchroniser.read().await;
        let synchroniser = running.as_ref().ok_or_else(|| {
            Error::new(Kind::Interrupted, "repair", "the database is being closed")
        })?;
        Box::pin(synchroniser.repair(prefer)).await?;
        drop(running);
        self.verify().await
    }
}
