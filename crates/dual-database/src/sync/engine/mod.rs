//! The synchroniser on the real stores: the rounds of `../DESIGN.md`, and the task that runs
//! them in every process and lets the one with the lease work.

mod step;

pub use step::{Fault, Step, StepHook};

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::Result;
use crate::clock::Wall;
use crate::health::Health;
use crate::schema::Table;
use crate::stamp::{StampClock, Writer};
use crate::store::postgres::{Limits, Settings};
use crate::store::sqlite::replica::{Replica, Settings as ReplicaSettings};

/// How long tombstones are kept, and how often those that are older are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// A file that has not exchanged anything for longer compares in full.
    pub keep: Duration,
    /// The pause between two purges.
    pub every: Duration,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            keep: Duration::from_secs(7 * 24 * 60 * 60),
            every: Duration::from_secs(60 * 60),
        }
    }
}

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
    /// The open file; `None` while it cannot be opened. Set by [`Shared::set_replica`].
    pub replica: RwLock<Option<Arc<Replica>>>,
    /// From which everything written here is stamped.
    pub clock: Mutex<StampClock<Wall>>,
    /// Which store answers.
    pub health: Health,
    /// Polling interval.
    pub poll: Duration,
    /// Tombstones.
    pub retention: Retention,
    /// Where PostgreSQL rings the doorbell, if not at the same address: behind a pooler in
    /// transaction mode LISTEN needs a direct one.
    pub doorbell: Option<Settings>,
    /// For tests: what happens to each step of a round.
    pub hook: Option<Arc<dyn StepHook>>,
}

impl Shared {
    /// What a process begins with: no file, a number that nobody has given to it, everything
    /// taken to be up. The rest as documented for each field.
    #[must_use]
    pub fn new(postgres: Settings, limits: Limits, sqlite: ReplicaSettings) -> Shared {
        let number = Writer::new(rand::random_range(1..=Writer::MAX.number()));
        Shared {
            tables: sqlite.tables.clone(),
            postgres,
            limits,
            sqlite,
            replica: RwLock::new(None),
            clock: Mutex::new(StampClock::new(Wall, number.unwrap_or(Writer::MAX))),
            health: Health::default(),
            poll: Duration::from_secs(1),
            retention: Retention::default(),
            doorbell: None,
            hook: None,
        }
    }

    /// The file is open: calls use it from now on, and what is written here carries the number
    /// that the process has taken in it.
    pub fn set_replica(&self, replica: Arc<Replica>) {
        self.clock().renumber(replica.process_number());
        *self.replica.write().unwrap_or_else(PoisonError::into_inner) = Some(replica);
    }

    /// The open file.
    #[must_use]
    pub fn replica(&self) -> Option<Arc<Replica>> {
        self.replica.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The process's clock.
    pub fn clock(&self) -> MutexGuard<'_, StampClock<Wall>> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

/// Which side is right where both differ and a person was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preference {
    /// The newer stamp of each column, as always; only the guard is passed.
    Newest,
    /// PostgreSQL.
    Postgres,
    /// The SQLite file.
    Sqlite,
}

/// The synchroniser of a process. Dropping it ends the task at once; what is pending stays so.
#[derive(Debug)]
pub struct Synchroniser {}

impl Synchroniser {
    /// Starts the task.
    #[must_use]
    pub fn start(shared: Arc<Shared>) -> Synchroniser {
        let _ = shared;
        todo!()
    }

    /// Without a task: only [`Synchroniser::sync`] exchanges anything. For programs that look
    /// and go.
    #[must_use]
    pub fn on_demand(shared: Arc<Shared>) -> Synchroniser {
        let _ = shared;
        todo!()
    }

    /// Something was written: push soon.
    pub fn ring(&self) {
        todo!()
    }

    /// Runs rounds until nothing is pending either way that was there at the call, or a side
    /// fails, or the time is up, or a comparison waits for a person.
    ///
    /// # Errors
    /// Why a side could not be reached; unavailable when the time is up.
    pub async fn sync(&self, within: Duration) -> Result<Exchange> {
        let _ = within;
        todo!()
    }

    /// A person has said which side is right: prepares a full comparison by that, and lets it
    /// pass the guard. [`Synchroniser::sync`] then makes both sides equal. What loses goes to
    /// the conflict log.
    ///
    /// # Errors
    /// Why a side could not be reached. It can be repeated.
    pub async fn repair(&self, prefer: Preference) -> Result<()> {
        let _ = prefer;
        todo!()
    }

    /// Ends the task after what is pending was pushed, at most that long.
    pub async fn close(self, within: Duration) {
        let _ = within;
        todo!()
    }
}
