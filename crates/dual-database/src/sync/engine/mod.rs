//! The synchroniser on the real stores: the rounds of `../DESIGN.md`, and the task that runs
//! them in every process and lets the one with the lease work.

use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use crate::clock::Wall;
use crate::health::Health;
use crate::schema::Table;
use crate::stamp::StampClock;
use crate::store::postgres::{Limits, Settings};
use crate::store::sqlite::replica::{Replica, Settings as ReplicaSettings};
use crate::Result;

/// What the calls and the synchroniser of one process share.
#[derive(Debug)]
pub struct Shared {
    /// The tables that are kept together.
    pub tables: Arc<[Table]>,
    /// Where PostgreSQL is.
    pub postgres: Settings,
    /// How long it is waited for.
    pub limits: Limits,
    /// Where the file is.
    pub sqlite: ReplicaSettings,
    /// The open file; `None` while it cannot be opened.
    pub replica: RwLock<Option<Arc<Replica>>>,
    /// From which everything written here is stamped.
    pub clock: Mutex<StampClock<Wall>>,
    /// Which store answers.
    pub health: Health,
    /// Polling interval.
    pub poll: Duration,
}

/// Where an exchange left things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Rows that PostgreSQL lacks still.
    pub pending: u64,
    /// Rows that one side refuses.
    pub quarantined: u64,
    /// The cursor has caught up with what PostgreSQL had when it was asked.
    pub caught_up: bool,
    /// A full comparison waits for a person: so many rows would be lost.
    pub held: Option<usize>,
}

/// The running synchroniser of a process.
#[derive(Debug)]
pub struct Synchroniser {}

impl Synchroniser {
    /// Starts the task.
    #[must_use]
    pub fn start(shared: Arc<Shared>) -> Synchroniser {
        let _ = shared;
        todo!()
    }

    /// Something was written: push soon.
    pub fn ring(&self) {
        todo!()
    }

    /// Runs rounds until nothing is pending either way that was there at the call, or a side
    /// fails, or the time is up.
    ///
    /// # Errors
    /// Why a side could not be reached; unavailable when the time is up.
    pub async fn sync(&self, within: Duration) -> Result<Exchange> {
        let _ = within;
        todo!()
    }

    /// Ends the task after what is pending was pushed, at most that long.
    pub async fn close(self, within: Duration) {
        let _ = within;
        todo!()
    }
}
