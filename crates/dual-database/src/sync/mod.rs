//! The synchroniser on the real stores: the rounds of `DESIGN.md`, and the task that runs
//! them in every process and lets the one with the lease work.
//!
//! - `step`, `rounds`: the steps as data, where a round stands, what a failed step leaves;
//! - `failure`: what the failure of a step means, and where people see it;
//! - `link`, `connect`, `push`, `pull`: the steps of an ordinary round;
//! - `gaps`: what came past the triggers of either side; `scrub`: the background verification;
//! - `plan`, `compare`: the full comparison, by ranges; `repair`: what a person decides about it;
//! - `quarantine`, `log`: rows that are set aside, entries of the conflict log;
//! - `task`: when rounds run, and in which process.

mod block;
mod compare;
mod connect;
mod failure;
mod gaps;
mod growth;
mod link;
mod log;
mod numbers;
mod plan;
mod pull;
mod push;
mod quarantine;
mod repair;
mod round_state;
mod rounds;
mod scrub;
mod set_back;
mod step;
mod take_in;
mod task;

pub(crate) use connect::belongs;
pub(crate) use step::hooked;
pub use step::hooked_once;
pub use step::{Fault, Step, StepHook};

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use crate::adoption::{Troubles, joined};
use crate::clock::{FOREVER, Wall};
use crate::health::{Health, StoreState};
use crate::phase::timed;
use crate::schema::Table;
use crate::stamp::{Stamp, StampClock, Writer};
use crate::store::postgres::primary::{Header, Pool, Prepared};
use crate::store::postgres::{Limits, Settings};
use crate::store::sqlite::replica::{Replica, Settings as ReplicaSettings};
use crate::{Error, Kind, Result, Store};

use task::Core;

/// How many calls may use PostgreSQL at once; more wait for each other.
const SESSIONS: usize = 4;

/// How many rows of a table are held in memory and merged in one transaction, unless told.
const AT_ONCE: u32 = 50_000;

/// How long a full pass of the background verification takes, unless told.
const SCRUB: Duration = Duration::from_secs(24 * 60 * 60);

/// How long what is over is kept, and how often what is older is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Tombstones. A file that has not exchanged anything for longer compares in full.
    pub keep: Duration,
    /// Entries of the conflict logs, on both sides, whether somebody has reviewed them or not.
    pub conflicts: Duration,
    /// The pause between two purges.
    pub every: Duration,
}

impl Retention {
    /// Up to where a file forgets tombstones: no further than PostgreSQL has, and none that is younger than
    /// what is kept. PostgreSQL's horizon can be somebody's hand, or what was set back from the future: by
    /// it those, too, would go that alone know of a delete which the server may yet lose.
    pub(crate) fn forgotten(&self, header: &Header) -> Stamp {
        let keep = i64::try_from(self.keep.as_millis()).unwrap_or(i64::MAX);
        let oldest = header.now_ms.saturating_sub(keep);
        header.horizon.min(Stamp::at(oldest, Writer::POSTGRES))
    }

    /// Numbers that were kept for a file before that are handed out no more: PostgreSQL may have forgotten
    /// that it keeps them, whatever the clocks say.
    pub(crate) fn good_numbers(&self, now_ms: i64) -> Stamp {
        self.before(now_ms, 6)
    }

    /// Those that were kept before that do not count: an outage may last.
    pub(crate) fn lasting_numbers(&self, now_ms: i64) -> Stamp {
        self.before(now_ms, 4)
    }

    /// So many sevenths of the time for which tombstones are kept ago.
    fn before(&self, now_ms: i64, sevenths: u32) -> Stamp {
        let time = i64::try_from((self.keep / 7 * sevenths).as_millis()).unwrap_or(i64::MAX);
        Stamp::at(now_ms.saturating_sub(time), Writer::POSTGRES)
    }
}

impl Default for Retention {
    fn default() -> Retention {
        Retention {
            keep: Duration::from_secs(7 * 24 * 60 * 60),
            conflicts: Duration::from_secs(90 * 24 * 60 * 60),
            every: Duration::from_secs(60 * 60),
        }
    }
}

/// Whether what is open is what is to be kept.
#[derive(Clone, Debug)]
pub(crate) enum Outdated {
    /// It is.
    Not,
    /// Tables were joined since, or have got columns.
    Joined,
    /// Some of them cannot be followed as they are.
    Troubled(Troubles),
}

/// What the calls and the synchroniser of one process share.
#[derive(Debug)]
pub struct Shared {
    /// The tables that are kept together.
    pub tables: Arc<[Table]>,
    /// Where PostgreSQL is.
    pub postgres: Settings,
    /// How long a call waits for it.
    pub limits: Limits,
    /// The calls' sessions; it knows the tables once the synchroniser has met the server.
    pub pool: Pool,
    /// Where the file is.
    pub sqlite: ReplicaSettings,
    /// The open file; `None` while it cannot be opened. Set by [`Shared::set_replica`].
    pub replica: RwLock<Option<Arc<Replica>>>,
    /// Whether what is not joined yet is joined: tables, sidecars and triggers are made.
    pub adopt: bool,
    /// Whether columns that a joined table gets on one side are carried from then on.
    pub follow_schema: bool,
    /// Why the file is left alone until the next start. Set by [`Shared::leave_file`].
    pub(crate) left: OnceLock<StoreState>,
    /// From which everything written here is stamped.
    pub clock: Mutex<StampClock<Wall>>,
    /// Which store answers.
    pub health: Health,
    /// Polling interval.
    pub poll: Duration,
    /// Tombstones and conflicts.
    pub retention: Retention,
    /// How many rows of a table are exchanged in one transaction at most. If more are new on a
    /// side, both are compared by ranges.
    pub at_once: u32,
    /// Where PostgreSQL rings the doorbell, if not at the same address: behind a pooler in
    /// transaction mode LISTEN needs a direct one.
    pub doorbell: Option<Settings>,
    /// How long a full pass of the background verification takes; `None`: there is none.
    pub scrub_every: Option<Duration>,
    /// The next round looks for rows that came past the triggers: at the start, when somebody asks for
    /// an exchange, when a call has met one.
    pub looks: AtomicBool,
    /// Why this process exchanges nothing any more until it is opened once more.
    pub(crate) outdated: watch::Sender<Outdated>,
    /// For tests: what happens to each step.
    pub hook: Option<Arc<dyn StepHook>>,
}

impl Shared {
    /// What a process begins with: no file, a number that nobody has given to it, everything
    /// taken to be up. The rest as documented for each field.
    #[must_use]
    pub fn new(postgres: Settings, limits: Limits, sqlite: ReplicaSettings) -> Shared {
        let pool = Pool::new(postgres.clone(), limits, sqlite.tables.clone(), SESSIONS);
        let pool = pool.making(sqlite.making);
        let number = Writer::new(rand::random_range(1..=Writer::MAX.number()));
        Shared {
            tables: sqlite.tables.clone(),
            postgres,
            limits,
            pool,
            sqlite,
            replica: RwLock::new(None),
            adopt: true,
            follow_schema: true,
            left: OnceLock::new(),
            clock: Mutex::new(StampClock::new(Wall, number.unwrap_or(Writer::MAX))),
            health: Health::default(),
            poll: Duration::from_secs(1),
            retention: Retention::default(),
            at_once: AT_ONCE,
            doorbell: None,
            scrub_every: Some(SCRUB),
            looks: AtomicBool::new(true),
            outdated: watch::Sender::new(Outdated::Not),
            hook: None,
        }
    }

    /// The file is open: calls use it from now on, and what is written here carries the number
    /// that the process has taken in it.
    pub fn set_replica(&self, replica: Arc<Replica>) {
        self.clock().renumber(replica.process_number());
        *self.replica.write().unwrap_or_else(PoisonError::into_inner) = Some(replica);
    }

    /// Opens the file, and makes it if that is wanted; it is to be given to
    /// [`Shared::set_replica`].
    ///
    /// # Errors
    /// Those of [`Replica::open`]; about the schema if it is not joined and is not to be; why it
    /// is left alone.
    pub(crate) async fn open_file(&self) -> Result<Replica> {
        if let Some(StoreState::NeedsInit { kind, reason, .. }) = self.left.get() {
            return Err(Error::new(*kind, "open the SQLite file", reason.clone()));
        }
        if !self.adopt {
            joined(&self.sqlite)?;
        }
        let open = || timed("open the file", Replica::open(self.sqlite.clone()));
        hooked(self.hook.as_ref(), Step::Open, open).await
    }

    /// Sees to it that PostgreSQL has what the tables need. That the search path leads to another
    /// table than the joined one stops nothing, and people are told.
    ///
    /// # Errors
    /// Those of [`Pool::prepare`].
    pub(crate) async fn prepare(&self) -> Result<Prepared> {
        let prepared = Box::pin(self.pool.prepare()).await?;
        if let Some(other) = prepared.found.iter().find_map(|found| found.shadowed.as_deref()) {
            let message = format!(
                "the search path leads to {other}, which is another table than the joined one: \
                 that one is used on, and the other one is left alone"
            );
            let error = Error::new(Kind::Schema(Store::Postgres), "look at the tables", message);
            self.health.remember(Store::Postgres, &error);
        }
        Ok(prepared)
    }

    /// From now on the file is neither read nor written by this process: a person has to see to
    /// it first.
    pub(crate) fn leave_file(&self, why: &Error) {
        self.health.needs_init(Store::Sqlite, why);
        self.keep_left(why);
    }

    /// The same of what was told before.
    pub(crate) fn keep_left(&self, why: &Error) {
        let _ = self.left.set(StoreState::needs_init(why));
    }

    /// How a store stands for the calls.
    #[must_use]
    pub fn state(&self, store: Store) -> StoreState {
        match self.left.get() {
            Some(left) if store == Store::Sqlite => left.clone(),
            _ => self.health.state(store),
        }
    }

    /// What was found to be in the way of some of the tables.
    pub(crate) fn troubles(&self) -> Option<Troubles> {
        match &*self.outdated.borrow() {
            Outdated::Troubled(troubles) => Some(troubles.clone()),
            Outdated::Not | Outdated::Joined => None,
        }
    }

    /// A file that was put back by another program, or has come back, has what was joined meanwhile: who
    /// keeps less cannot open it again, and is to be opened once more.
    pub(crate) fn meets(&self, error: &Error) {
        if error.kind() == Kind::Conflict && !self.is_outdated() {
            self.outdated.send_replace(Outdated::Joined);
        }
    }

    /// Whether it exchanges nothing any more until it is opened once more.
    pub(crate) fn is_outdated(&self) -> bool {
        !matches!(*self.outdated.borrow(), Outdated::Not)
    }

    /// Whether its table is one that is left alone.
    pub(crate) fn is_alone(&self) -> bool {
        let is_aside =
            |table: &Table| self.sqlite.aside.iter().any(|one| *one.table == *table.name());
        self.tables.iter().any(is_aside)
    }

    /// Whether something of the tables, or a right, keeps a side from being used.
    pub(crate) fn is_in_the_way(&self) -> bool {
        let is_so = |state| match state {
            StoreState::NeedsInit { kind, .. } => kind != Kind::Configuration,
            StoreState::Down { kind, .. } => kind == Kind::AccessDenied,
            StoreState::Up => false,
        };
        [Store::Postgres, Store::Sqlite].into_iter().any(|store| is_so(self.state(store)))
    }

    /// The open file, unless it is left alone.
    #[must_use]
    pub fn replica(&self) -> Option<Arc<Replica>> {
        if self.left.get().is_some() {
            return None;
        }
        self.replica.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the open file out, so that it can be closed.
    pub(crate) fn take_replica(&self) -> Option<Arc<Replica>> {
        self.replica.write().unwrap_or_else(PoisonError::into_inner).take()
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

/// Of which tables an exchange is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All: also of those that have to be compared first.
    Everything,
    /// Of those that follow: a call waits for no comparison of others.
    Followed,
}

impl Scope {
    /// The last round that has exchanged all of them.
    fn reached(self, rounds: &rounds::Rounds) -> u64 {
        match self {
            Scope::Everything => rounds.caught_up,
            Scope::Followed => rounds.followed_up,
        }
    }
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
pub struct Synchroniser {
    core: Arc<Core>,
    task: Option<JoinHandle<()>>,
}

impl Synchroniser {
    /// Starts the task.
    #[must_use]
    pub fn start(shared: Arc<Shared>) -> Synchroniser {
        let core = Arc::new(Core::new(shared));
        let task = tokio::spawn(core.clone().run());
        Synchroniser { core, task: Some(task) }
    }

    /// Without rounds of its own: only [`Synchroniser::sync`] exchanges anything. For programs
    /// that look and go. Its number in the file is kept alive all the same.
    #[must_use]
    pub fn on_demand(shared: Arc<Shared>) -> Synchroniser {
        let core = Arc::new(Core::new(shared));
        let task = tokio::spawn(core.clone().live());
        Synchroniser { core, task: Some(task) }
    }

    /// Something was written: push soon.
    pub fn notify(&self) {
        self.core.notify();
    }

    /// Runs rounds until nothing is pending either way that was there at the call, or a side
    /// fails, or the time is up, or a comparison waits for a person. It can be given up at any
    /// moment.
    ///
    /// # Errors
    /// Why a side could not be reached; unavailable when the time is up.
    pub async fn sync(&self, within: Duration) -> Result<Exchange> {
        self.sync_all(within, Scope::Everything).await
    }

    /// The same of those tables.
    ///
    /// # Errors
    /// Those of [`Synchroniser::sync`].
    pub(crate) async fn sync_all(&self, within: Duration, scope: Scope) -> Result<Exchange> {
        bounded(within, "exchange", self.core.exchange(scope).boxed()).await
    }

    /// A person has said which side is right: prepares a full comparison by that, and lets it
    /// pass the guard. [`Synchroniser::sync`] then makes both sides equal. What loses goes to
    /// the conflict log.
    ///
    /// # Errors
    /// Why a side could not be reached; a conflict if another process was faster. It can be
    /// repeated.
    pub async fn repair(&self, prefer: Preference) -> Result<()> {
        self.core.rounds.lock().await.repair(prefer).boxed().await?;
        self.core.notify();
        Ok(())
    }

    /// Sets back the stamps that lie in the future, or are none, on both sides and for every file; says
    /// whether there were any. [`Synchroniser::sync`] then makes both sides equal.
    ///
    /// # Errors
    /// About the configuration if PostgreSQL's clock and this machine's do not agree; why a side could
    /// not be reached. It can be repeated.
    pub async fn set_back(&self) -> Result<bool> {
        let done = self.core.rounds.lock().await.set_back().boxed().await?;
        self.core.notify();
        Ok(done)
    }

    /// Ends the task, and lets another one have what it alone did; what is pending stays so.
    pub(crate) async fn stop(mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // It ends at its next wait; what it was doing is as after a crash.
            let _ = task.await;
        }
        if self.core.shared.state(Store::Sqlite) == StoreState::Up {
            self.core.step_down().await;
        }
        self.core.shared.health.attend(false);
    }

    /// Ends the task after what is pending was pushed, at most that long.
    pub async fn close(mut self, within: Duration) {
        let until = Instant::now() + within.min(FOREVER);
        if let Some(task) = self.task.take() {
            task.abort();
            // It ends at its next wait; what it was doing is as after a crash.
            let _ = timeout_at(until, task).await;
        }
        // What a call has just found away is not waited for again.
        let up = |store| self.core.shared.state(store) == StoreState::Up;
        if up(Store::Postgres) && up(Store::Sqlite) {
            let left = until.saturating_duration_since(Instant::now());
            if let Err(error) = self.sync(left).await {
                debug!(error = error.chain(), "not everything was exchanged before the end");
            }
        }
        if up(Store::Sqlite) {
            let _ = timeout_at(until, self.core.step_down()).await;
        }
        self.core.shared.health.attend(false);
    }
}

impl Drop for Synchroniser {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
            self.core.shared.health.attend(false);
        }
    }
}

async fn bounded<T>(
    within: Duration,
    operation: &'static str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    timeout(within, work).await.unwrap_or_else(|_| {
        let message = format!("not done within {} s", within.as_secs_f32());
        Err(Error::new(Kind::Unavailable(Store::Postgres), operation, message))
    })
}
