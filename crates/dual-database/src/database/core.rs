//! What all calls of one database share: both stores, the synchroniser, the time allowed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{RwLock, Semaphore};
use tokio::time::Instant;

use super::options::{Prefer, WriteMode};
use super::row_locks::RowLocks;
use crate::clock::FOREVER;
use crate::health::StoreState;
use crate::protocol::{Event, Follow};
use crate::schema::Table;
use crate::stamp::Stamp;
use crate::store::sqlite::replica::{Content, Durability, Replica};
use crate::sync::{Exchange, Scope, Shared, Synchroniser};
use crate::{Error, Kind, Result, Store};

/// An open database, shared by its clones.
#[derive(Debug)]
pub(super) struct Core {
    pub shared: Arc<Shared>,
    /// As many as there are sessions: calls wait for theirs in their order.
    pub sessions: Semaphore,
    pub row_locks: RowLocks,
    /// `None` once it is closed.
    pub synchroniser: RwLock<Option<Synchroniser>>,
    pub closed: AtomicBool,
    pub mode: WriteMode,
    pub prefer: Prefer,
    pub timeout: Duration,
}

/// Until when a call waits for PostgreSQL.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline(Instant);

impl Deadline {
    pub fn after(time: Duration) -> Deadline {
        Deadline(Instant::now() + time.min(FOREVER))
    }

    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    pub fn has_passed(self) -> bool {
        self.remaining().is_zero()
    }

    /// Waits at most until then; `None` if it was in vain.
    pub async fn bound<T>(self, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.0, work).await.ok()
    }
}

impl Core {
    pub fn deadline(&self) -> Deadline {
        Deadline::after(self.timeout)
    }

    pub fn table(&self, table: usize) -> &Table {
        &self.shared.tables[table]
    }

    /// Whether calls may begin.
    ///
    /// # Errors
    /// Interrupted once the database was closed, by whichever of its clones.
    pub fn is_open(&self, operation: &'static str) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(Kind::Interrupted, operation, "the database is closed"));
        }
        Ok(())
    }

    /// The open file.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn replica(&self, operation: &'static str) -> Result<Arc<Replica>> {
        self.shared.replica().ok_or_else(|| self.away(operation, Store::Sqlite))
    }

    /// The error for a store that the breaker, or its absence, keeps calls from.
    pub fn away(&self, operation: &'static str, store: Store) -> Error {
        let state = self.shared.state(store);
        // Trying again does not help against a wrong address.
        let kind = match state {
            StoreState::Down { kind: Kind::Configuration, .. } => Kind::Configuration,
            _ => Kind::Unavailable(store),
        };
        let error = |why: &str| Error::new(kind, operation, why);
        match state {
            StoreState::Up => error(&format!("{store} is not open")),
            StoreState::Down { reason, hint: Some(hint), .. } => error(&reason).with_hint(hint),
            StoreState::Down { reason, hint: None, .. } => error(&reason),
            StoreState::NeedsInit { kind, reason, hint } => Error::new(kind, operation, reason)
                .with_hint(hint.unwrap_or_else(|| "run `dual init`".to_owned())),
        }
    }

    /// A stamp above `above`, and above everything that this process has seen and made.
    pub fn propose(&self, above: Stamp) -> Stamp {
        propose(&self.shared, above)
    }

    /// Something was written that the other side has to hear of.
    pub fn notify(&self) {
        // Not to be had only while it is being closed, and closing pushes.
        if let Ok(running) = self.synchroniser.try_read()
            && let Some(synchroniser) = running.as_ref()
        {
            synchroniser.notify();
        }
    }

    /// Something came past the triggers: the next round looks for more of it.
    pub fn look_for_gaps(&self) {
        self.shared.looks.store(true, Ordering::Release);
        self.notify();
    }

    /// What has been set aside, or waits for a person, is due at once. If the file cannot be
    /// asked, the exchange says so.
    pub async fn look_again(&self) {
        self.shared.looks.store(true, Ordering::Release);
        let operation = "look again at what waits";
        let Ok(replica) = self.replica(operation) else { return };
        let work = |content: &Content<'_>| {
            content.retry_all()?;
            let mut node = content.node()?;
            // Holder 0: somebody is repairing.
            let is_free = node.lease.is_none_or(|lease| lease.holder != 0);
            if is_free
                && matches!(node.follow, Follow::Held { losses: 1.., .. })
                && let Ok(next) = node.follow.next(Event::Reconsidered)
            {
                node.follow = next;
                content.set_node(&node)?;
            }
            Ok(())
        };
        if let Err(error) = replica.write(operation, Durability::Full, work).await {
            tracing::debug!(error = error.chain(), "what waits is not looked at again");
        }
    }

    /// Exchanges what is pending either way, at most that long.
    ///
    /// # Errors
    /// Why a side could not be reached; unavailable when the time is up.
    pub async fn exchange(&self, within: Duration) -> Result<Exchange> {
        self.exchange_all(within, Scope::Everything).await
    }

    /// The same, but for tables that have to be compared first: what a call waits for.
    ///
    /// # Errors
    /// Those of [`Core::exchange`].
    pub async fn exchange_followed(&self, within: Duration) -> Result<Exchange> {
        self.exchange_all(within, Scope::Followed).await
    }

    async fn exchange_all(&self, within: Duration, scope: Scope) -> Result<Exchange> {
        let running = self.synchroniser.read().await;
        match running.as_ref() {
            Some(synchroniser) => synchroniser.sync_all(within, scope).await,
            None => Err(Error::new(Kind::Interrupted, "exchange", "the database is closed")),
        }
    }
}

/// A stamp above `above`, and above everything that this process has seen and made.
pub(super) fn propose(shared: &Shared, above: Stamp) -> Stamp {
    shared.clock().propose(above)
}

/// Whether the error is a verdict on the call rather than a failure of the store.
pub(super) fn is_verdict(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::InvalidData
            | Kind::AlreadyExists
            | Kind::NotFound
            | Kind::Conflict
            | Kind::OutcomeUnknown(Store::Postgres)
            | Kind::Internal
    )
}

/// Neither store could do it: one error with both causes.
pub(super) fn neither(operation: &'static str, postgres: Error, sqlite: &Error) -> Error {
    // Nothing is asked of either while the file belongs to another installation.
    if postgres.is_configuration() && postgres.message() == sqlite.message() {
        return postgres;
    }
    let message =
        format!("neither store can be used: {}; and {}", postgres.chain(), sqlite.chain());
    let hints: Vec<&str> = postgres.hint().into_iter().chain(sqlite.hint()).collect();
    let hint = hints.join("; ");
    let kind = match postgres.is_configuration() || sqlite.is_configuration() {
        true => Kind::Configuration,
        false => Kind::Unavailable(Store::Postgres),
    };
    let error = Error::new(kind, operation, message);
    let error = error.with_source(postgres);
    if hint.is_empty() { error } else { error.with_hint(hint) }
}
