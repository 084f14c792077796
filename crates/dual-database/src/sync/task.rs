//! The task: when rounds run, in which process, and what becomes of one that panics.
//!
//! ```text
//!            it holds the lease        notified, or PostgreSQL is down for this process
//!   waiting ────────────────────► round ◄──────────────────────────────────── waiting
//!   (leader)                        │                                        (another)
//!      ▲        idle: the polling interval; more: at once, a few times       ▲
//!      └────────── failed: a pause that doubles, with jitter ────────────────┘
//! ```

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, error, info, warn};
use uuid::Uuid;

use super::round_state::Advance;
use super::rounds::{Rounds, now_ms};
use super::{Exchange, Outdated, Scope, Shared};
use crate::health::StoreState;
use crate::protocol::{Lease, Outcome, Pace};
use crate::store::postgres::primary::Listener;
use crate::store::sqlite::replica::Durability;
use crate::{Error, Kind, Result, Store};

/// How often the leader looks whether another program has written into the file, and everybody
/// whether the lease is free.
const LOOK: Duration = Duration::from_millis(100);
const LEASE: Duration = Duration::from_millis(1_000);
/// Rounds without a pause; if there is still more then, somebody keeps writing, or rewriting, rows.
const AT_ONCE: u32 = 20;
/// How often a number in the file is kept alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What the handle and the task share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) shared: Arc<Shared>,
    pub(super) rounds: Mutex<Rounds>,
    wake: Notify,
    /// Something was written here.
    notified: AtomicBool,
    /// Something was written at PostgreSQL.
    news: AtomicBool,
}

/// What the task remembers between two rounds.
#[derive(Debug)]
struct Pacing {
    pace: Pace,
    /// The next round, and whether it was put off after a failure: then no notification brings it
    /// forward.
    next: Instant,
    backing_off: bool,
    at_once: u32,
    /// When the last round ended.
    ended: Instant,
    lease_at: Instant,
    leads: bool,
    heartbeat_at: Instant,
    /// The position of the file when the last round looked.
    looked: i64,
}

impl Core {
    pub(super) fn new(shared: Arc<Shared>) -> Core {
        let rounds = Mutex::new(Rounds::new(shared.clone()));
        Core {
            shared,
            rounds,
            wake: Notify::new(),
            notified: AtomicBool::new(false),
            news: AtomicBool::new(false),
        }
    }

    pub(super) fn notify(&self) {
        self.notified.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Listens to PostgreSQL's doorbell for as long as it is up. It only saves waiting: a server
    /// or a pooler that never rings is polled.
    async fn listen(&self) {
        while AssertUnwindSafe(self.hear()).catch_unwind().await.is_err() {
            error!("listening to the doorbell panicked: it goes on");
            sleep(LEASE).await;
        }
    }

    async fn hear(&self) {
        let settings = self.shared.doorbell.as_ref().unwrap_or(&self.shared.postgres);
        let mut pace = Pace::new(1_000);
        loop {
            self.shared.health.wait_up(Store::Postgres, Duration::MAX).await;
            let heard = async {
                let listener = Listener::open(settings, &self.shared.limits).await?;
                loop {
                    listener.notified().await?;
                    pace = pace.next(Outcome::Idle, 0).0;
                    // Every write rings, our own among them: one wakes the task until it has looked.
                    if !self.news.swap(true, Ordering::AcqRel) {
                        self.wake.notify_one();
                    }
                }
            };
            let Err::<(), _>(error) = heard.await else { return };
            debug!(error = Error::chain(&error), "the doorbell is not heard");
            let wait;
            (pace, wait) = pace.next(Outcome::Failed, rand::random());
            sleep(Duration::from_millis(wait)).await;
        }
    }

    /// One step of the rounds; a panic in it is an error like another. It goes on if the caller
    /// gives up: calls that wait for a while and go would else begin a long comparison again and
    /// again.
    async fn advance(self: &Arc<Core>) -> Advance {
        let core = self.clone();
        let step = tokio::spawn(async move {
            let mut rounds = core.rounds.lock().await;
            match AssertUnwindSafe(rounds.advance()).catch_unwind().await {
                Ok(advance) => advance,
                Err(_) => {
                    rounds.abandon();
                    error!("a step of the exchange panicked: it is begun again");
                    Advance::Failed(Error::new(Kind::Internal, "exchange", "a step panicked"))
                }
            }
        });
        step.await.unwrap_or_else(|_| {
            Advance::Failed(Error::new(Kind::Interrupted, "exchange", "the program is ending"))
        })
    }

    /// Rounds until one that began after the call has exchanged everything that is meant, or a comparison
    /// waits for a person.
    pub(super) async fn exchange(self: &Arc<Core>, scope: Scope) -> Result<Exchange> {
        self.open().await?;
        let mark = self.rounds.lock().await.begun;
        let mut more = 0;
        loop {
            match self.advance().await {
                Advance::Next if scope == Scope::Everything => {}
                // Who waits for the tables that follow waits for no comparison.
                Advance::Next => {
                    let rounds = self.rounds.lock().await;
                    if rounds.followed_up > mark && rounds.caught_up <= mark {
                        return rounds.exchange(mark, scope).await;
                    }
                }
                Advance::Apart(_) if scope == Scope::Followed => {}
                Advance::Failed(error) | Advance::Apart(error) => return Err(error),
                Advance::End(outcome) => {
                    let rounds = self.rounds.lock().await;
                    let caught_up = scope.reached(&rounds) > mark;
                    // What a pull has made pending is pushed too, unless there is no end of it.
                    more += u32::from(caught_up && outcome == Outcome::More);
                    let done = caught_up && (outcome != Outcome::More || more > AT_ONCE);
                    if done || (rounds.begun > mark && rounds.held.is_some()) {
                        return rounds.exchange(mark, scope).await;
                    }
                    let rests = rounds.apart.rests();
                    drop(rounds);
                    if rests {
                        sleep(LOOK).await;
                    }
                }
            }
        }
    }

    /// Opens the file if it is not open.
    async fn open(&self) -> Result<()> {
        if self.shared.replica().is_some() {
            return Ok(());
        }
        match self.shared.open_file().await {
            Ok(replica) => {
                self.shared.set_replica(Arc::new(replica));
                self.shared.health.joined(Store::Sqlite);
                info!("the file is open");
                Ok(())
            }
            Err(error) => {
                match error.kind() {
                    Kind::Schema(_) => self.shared.health.needs_init(Store::Sqlite, &error),
                    _ => self.shared.health.failed(Store::Sqlite, &error),
                }
                Err(error)
            }
        }
    }

    /// The task of a process, until it is aborted.
    pub(super) async fn run(self: Arc<Core>) {
        self.shared.health.attend(true);
        tokio::join!(self.listen(), self.turns());
    }

    async fn turns(self: &Arc<Core>) {
        let now = Instant::now();
        let poll = u64::try_from(self.shared.poll.as_millis()).unwrap_or(u64::MAX).max(1);
        // A file that could not be opened a moment ago is not waited for again at once.
        let absent = self.shared.replica().is_none();
        let mut turn = Pacing {
            pace: Pace::new(poll),
            next: if absent { now + LEASE } else { now },
            backing_off: absent,
            at_once: 0,
            ended: now,
            lease_at: now,
            leads: false,
            heartbeat_at: now,
            looked: 0,
        };
        loop {
            if AssertUnwindSafe(self.turn(&mut turn)).catch_unwind().await.is_err() {
                error!("the synchroniser panicked: it goes on");
                sleep(LEASE).await;
            }
        }
    }

    /// Waits for a reason to run a round, and runs it.
    async fn turn(self: &Arc<Core>, turn: &mut Pacing) {
        let wake = match turn.backing_off {
            true => turn.next,
            false => turn.next.min(Instant::now() + LOOK),
        };
        tokio::select! {
            () = sleep_until(wake) => {}
            () = self.wake.notified(), if !turn.backing_off => {}
        }
        if self.open().await.is_err() {
            self.look_at_primary().await;
            self.after(turn, Outcome::Failed);
            return;
        }
        self.keep_number(turn).await;
        self.lead(turn).await;
        let now = Instant::now();
        let is_down = turn.next <= now && !self.shared.health.is_up(Store::Postgres);
        // Several rings of the doorbell at a time are one.
        let heard =
            turn.leads && now >= turn.ended + LOOK && self.news.swap(false, Ordering::AcqRel);
        let due = heard || (turn.leads && turn.next <= now);
        if !due
            && !is_down
            && !self.notified.swap(false, Ordering::AcqRel)
            && !self.is_written(turn).await
        {
            // Not the leader: nothing is due, but the wait is over.
            if turn.next <= now {
                turn.next = now + self.shared.poll;
            }
            return;
        }
        self.notified.store(false, Ordering::Release);
        let outcome = self.round(turn).await;
        if outcome == Outcome::Failed {
            self.look_at_primary().await;
        }
        turn.looked = self.rounds.lock().await.looked;
        turn.ended = Instant::now();
        self.after(turn, outcome);
        if outcome == Outcome::Idle && turn.leads && self.rounds.lock().await.turn_to_scrub() {
            self.advance().await;
        }
    }

    /// Without the file no round comes to its end, and PostgreSQL would stay away for the calls
    /// though it is all that they have. What is pending is asked for by each of them again.
    async fn look_at_primary(&self) {
        let Shared { health, pool, .. } = &*self.shared;
        let is_down = matches!(health.state(Store::Postgres), StoreState::Down { .. });
        if !is_down || self.shared.state(Store::Sqlite) == StoreState::Up {
            return;
        }
        let look = async {
            if pool.tables().is_none() {
                self.shared.prepare().await?;
            }
            pool.get().await?.primary(Uuid::nil())?.header().await
        };
        match look.boxed().await {
            Ok(_) => health.works(Store::Postgres),
            Err(error) => health.failed(Store::Postgres, &error),
        }
    }

    /// The steps of one round. The lease is renewed while it takes long, and the process keeps its number.
    async fn round(self: &Arc<Core>, turn: &mut Pacing) -> Outcome {
        loop {
            match self.advance().await {
                Advance::Next => {
                    self.keep_number(turn).await;
                    self.lead(turn).await;
                }
                Advance::End(outcome) => return outcome,
                Advance::Failed(_) => return Outcome::Failed,
                // The others have been exchanged.
                Advance::Apart(_) => return Outcome::Idle,
            }
        }
    }

    fn after(&self, turn: &mut Pacing, outcome: Outcome) {
        let (pace, wait) = turn.pace.next(outcome, rand::random());
        let mut wait = Duration::from_millis(wait);
        turn.at_once = if outcome == Outcome::More { turn.at_once + 1 } else { 0 };
        if turn.at_once == AT_ONCE {
            warn!(
                "rows change with every exchange: somebody writes all the time, or triggers on both \
                 sides rewrite them"
            );
        }
        if turn.at_once >= AT_ONCE {
            wait = self.shared.poll;
        }
        turn.pace = pace;
        turn.backing_off = outcome == Outcome::Failed;
        turn.next = Instant::now() + wait;
    }

    /// Whether another program has written into the file since the last round.
    async fn is_written(&self, turn: &Pacing) -> bool {
        let Some(replica) = self.shared.replica().filter(|_| turn.leads) else { return false };
        let seq = replica.read("look at the file", |content| Ok(content.node()?.seq)).await;
        seq.is_ok_and(|seq| seq > turn.looked)
    }

    /// Takes the lease, or keeps it, if no other process has it.
    async fn lead(&self, turn: &mut Pacing) {
        if self.shared.is_outdated() {
            if std::mem::take(&mut turn.leads) {
                self.step_down().await;
            }
            return;
        }
        if Instant::now() < turn.lease_at {
            return;
        }
        turn.lease_at = Instant::now() + LEASE;
        let Some(replica) = self.shared.replica() else { return };
        let number = replica.process_number().number();
        let now_ms = now_ms();
        let take = move |lease| Lease::take(lease, number, now_ms);
        // A look first: the others must not take the write lock every second.
        let looked = replica
            .read("look at the lease", move |content| {
                Ok((take(content.node()?.lease).is_some(), content.kept_besides()?.is_some()))
            })
            .await;
        match &looked {
            Ok((_, true)) => {
                self.shared.outdated.send_replace(Outdated::Joined);
            }
            Ok((_, false)) => {}
            Err(error) => self.shared.meets(error),
        }
        let free = looked.map(|(free, has_more)| free && !has_more);
        let leads = match free {
            Ok(true) => {
                replica
                    .write("take the lease", Durability::Normal, move |content| {
                        let mut node = content.node()?;
                        let Some(lease) = take(node.lease) else { return Ok(false) };
                        node.lease = Some(lease);
                        content.set_node(&node)?;
                        Ok(true)
                    })
                    .await
            }
            other => other,
        };
        match &leads {
            Ok(_) => self.shared.health.works(Store::Sqlite),
            Err(error) => self.shared.health.failed(Store::Sqlite, error),
        }
        let leads = leads.unwrap_or(false);
        if leads != turn.leads {
            debug!(leads, "the lease of the synchroniser");
        }
        if leads && !turn.leads {
            turn.next = Instant::now();
        }
        turn.leads = leads;
    }

    /// Gives the lease back, so that another process need not wait for its end.
    pub(super) async fn step_down(&self) {
        self.shared.health.attend(false);
        let Some(replica) = self.shared.replica() else { return };
        let number = replica.process_number().number();
        let outcome = replica
            .write("give the lease back", Durability::Normal, move |content| {
                let mut node = content.node()?;
                if node.lease.is_some_and(|lease| lease.holder == number) {
                    node.lease = None;
                    content.set_node(&node)?;
                }
                Ok(())
            })
            .await;
        if let Err(error) = outcome {
            debug!(error = error.chain(), "the lease was not given back: it ends by itself");
        }
    }

    /// Keeps the number of a process without rounds of its own alive, until it is aborted.
    pub(super) async fn live(self: Arc<Core>) {
        loop {
            sleep(HEARTBEAT).await;
            self.renew_number().await;
        }
    }

    async fn keep_number(&self, turn: &mut Pacing) {
        if Instant::now() >= turn.heartbeat_at {
            turn.heartbeat_at = Instant::now() + HEARTBEAT;
            self.renew_number().await;
        }
    }

    /// Keeps the process's number in the file, and follows if it was replaced.
    async fn renew_number(&self) {
        let Some(replica) = self.shared.replica() else { return };
        if let Err(error) = replica.heartbeat().await {
            self.shared.health.failed(Store::Sqlite, &error);
        }
        let mut clock = self.shared.clock();
        if clock.writer() != replica.process_number() {
            clock.renumber(replica.process_number());
        }
    }
}
