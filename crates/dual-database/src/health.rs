//! Whether each store answers: a breaker for each, and what went wrong lately.
//!
//! ```text
//!            an error about the store                 time is up (unattended only)
//!   closed ───────────────────────────► open ───────────────────────────────► half open
//!     ▲                                  ▲  │                                   │    │
//!     │          it works                │  │ it works                          │    │
//!     ├──────────────────────────────────┼──┘                                   │    │
//!     └──────────────────────────────────┼──────────────────────────────────────┘    │
//!                                        └──────────────── the trial fails ──────────┘
//! ```
//!
//! While a synchroniser runs it does the probing, and calls are never made to wait for a store
//! that is away. Without one a call in a while is let through as the probe.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{info, warn};

use crate::store::postgres::sqlstate;
use crate::store::sqlite::replica::is_damage;
use crate::{Error, Kind, Store};

/// How many errors are remembered.
const REMEMBERED: usize = 20;
/// The first wait before a call is let through as a probe, and the longest.
const PROBE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));

/// How a store stands for the calls of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It answers.
    Up,
    /// It does not, and is probed.
    Down {
        /// What sort of failure it is.
        kind: Kind,
        /// Why, in one sentence with its causes.
        reason: String,
        /// What a person can do.
        hint: Option<String>,
    },
    /// It is left as it is until a person has seen to it: its tables are not what is declared and
    /// additions do not mend it, it has not been joined yet, or it belongs to another
    /// installation.
    NeedsInit {
        /// What sort of obstacle it is.
        kind: Kind,
        /// What is in the way.
        reason: String,
        /// What a person can do.
        hint: Option<String>,
    },
}

impl StoreState {
    /// Down for that reason.
    #[must_use]
    pub fn down(error: &Error) -> StoreState {
        let hint = error.hint().map(str::to_owned);
        StoreState::Down { kind: error.kind(), reason: error.chain(), hint }
    }

    /// In need of a person for that reason.
    #[must_use]
    pub fn needs_init(error: &Error) -> StoreState {
        let hint = error.hint().map(str::to_owned);
        StoreState::NeedsInit { kind: error.kind(), reason: error.chain(), hint }
    }
}

/// Something that went wrong lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentError {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Where.
    pub store: Store,
    /// The chain of its causes, without values and secrets.
    pub message: String,
}

/// Both breakers. A call asks [`Health::is_up`] before it tries a store and reports what came
/// of it; every change of state is logged once, with its cause.
#[derive(Debug, Default)]
pub struct Health {
    postgres: Mutex<Breaker>,
    sqlite: Mutex<Breaker>,
    recent: Mutex<VecDeque<RecentError>>,
    changed: Notify,
    attended: AtomicBool,
}

#[derive(Debug, Default)]
struct Breaker {
    /// `None` while closed.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    state: StoreState,
    /// When a call is let through; doubled after each that fails.
    probe_at: Instant,
    wait: Duration,
}

impl Breaker {
    /// The next state after a failure; says whether it was closed, or is open for another reason.
    fn fail(&mut self, state: StoreState, now: Instant) -> bool {
        let wait = match &self.open {
            Some(open) => (open.wait * 2).min(PROBE.1),
            None => PROBE.0,
        };
        let same_sort = |open: &Open| {
            matches!(open.state, StoreState::Down { .. })
                == matches!(state, StoreState::Down { .. })
        };
        let is_news = !self.open.as_ref().is_some_and(same_sort);
        let jitter = wait.mul_f64(0.5 + rand::random::<f64>() / 2.0);
        self.open = Some(Open { state, probe_at: now + jitter, wait });
        is_news
    }

    /// Whether a call may try, `attended` by somebody who probes.
    fn admit(&mut self, attended: bool, now: Instant) -> bool {
        match &mut self.open {
            None => true,
            Some(open) if !attended && now >= open.probe_at => {
                // Half open: nobody else until this one has reported, or had the time to.
                open.probe_at = now + open.wait;
                true
            }
            Some(_) => false,
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Health {
    fn breaker(&self, store: Store) -> MutexGuard<'_, Breaker> {
        locked(match store {
            Store::Postgres => &self.postgres,
            Store::Sqlite => &self.sqlite,
        })
    }

    /// Whether calls may try the store now.
    #[must_use]
    pub fn is_up(&self, store: Store) -> bool {
        self.breaker(store).admit(self.attended.load(Ordering::Relaxed), Instant::now())
    }

    /// The state, for people.
    #[must_use]
    pub fn state(&self, store: Store) -> StoreState {
        self.breaker(store).open.as_ref().map_or(StoreState::Up, |open| open.state.clone())
    }

    /// A call or a probe has failed: opens the breaker if the error is about the store and not
    /// about the data.
    pub fn failed(&self, store: Store, error: &Error) {
        if !is_about(store, error) {
            return;
        }
        // A call that meets a table in the way knows less of it than who looks at all of them.
        if error.kind() == Kind::Schema(store) && !is_damage(error) {
            if !matches!(self.state(store), StoreState::NeedsInit { .. }) {
                self.needs_init(store, error);
            }
            return;
        }
        self.remember(store, error);
        self.open(store, StoreState::down(error));
    }

    /// The store can be used (for PostgreSQL: a round has gone through): closes the breaker. That
    /// the file can be written says nothing about its tables: see [`Health::joined`].
    pub fn works(&self, store: Store) {
        let waits = |open: &Open| matches!(open.state, StoreState::NeedsInit { .. });
        let needs_init = self.breaker(store).open.as_ref().is_some_and(waits);
        if store == Store::Postgres || !needs_init {
            self.joined(store);
        }
    }

    /// The store's tables were found as they are declared, and captured: closes the breaker.
    pub fn joined(&self, store: Store) {
        if self.breaker(store).open.take().is_some() {
            info!(%store, "the store is up");
        }
        self.changed.notify_waiters();
    }

    /// The same of what was told before: nobody looks at it but who is to close it.
    pub(crate) fn stays_in_need(&self, store: Store, error: &Error) {
        self.attend(true);
        self.breaker(store).fail(StoreState::needs_init(error), Instant::now());
    }

    /// The store's tables are in the way.
    pub fn needs_init(&self, store: Store, error: &Error) {
        self.remember(store, error);
        self.open(store, StoreState::needs_init(error));
    }

    /// The last errors, the newest first.
    #[must_use]
    pub fn recent(&self) -> Vec<RecentError> {
        locked(&self.recent).iter().rev().cloned().collect()
    }

    /// Waits until the store is up, at most that long; says whether it is.
    pub async fn wait_up(&self, store: Store, within: Duration) -> bool {
        let until = tokio::time::Instant::now() + within.min(crate::clock::FOREVER);
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.breaker(store).open.is_none() {
                return true;
            }
            if tokio::time::timeout_at(until, changed).await.is_err() {
                return self.breaker(store).open.is_none();
            }
        }
    }

    /// Somebody else probes from now on, or does no more.
    pub(crate) fn attend(&self, attended: bool) {
        self.attended.store(attended, Ordering::Relaxed);
    }

    /// Keeps an error for people, whatever it means for the store.
    pub(crate) fn remember(&self, store: Store, error: &Error) {
        let at_ms = crate::clock::now().as_millisecond();
        let message = error.chain();
        let mut recent = locked(&self.recent);
        // The same, again and again, would hide everything else.
        recent.retain(|known| known.store != store || known.message != message);
        if recent.len() >= REMEMBERED {
            recent.pop_front();
        }
        recent.push_back(RecentError { at_ms, store, message });
    }

    fn open(&self, store: Store, state: StoreState) {
        let text = match &state {
            StoreState::Down { reason, .. } => reason.clone(),
            StoreState::NeedsInit { reason, .. } => format!("needs `dual init`: {reason}"),
            StoreState::Up => return,
        };
        if self.breaker(store).fail(state, Instant::now()) {
            warn!(%store, reason = text, "the store is down");
        }
        self.changed.notify_waiters();
    }
}

/// Whether the error says something about the store as a whole. A lock that somebody holds on a
/// row, a deadlock and a failed serialization say nothing about anything else.
fn is_about(store: Store, error: &Error) -> bool {
    if sqlstate(error).is_some_and(|code| code == "55P03" || code.starts_with("40")) {
        return false;
    }
    match error.kind() {
        Kind::Unavailable(of) | Kind::NoSpace(of) | Kind::OutcomeUnknown(of) | Kind::Schema(of) => {
            of == store
        }
        Kind::AccessDenied | Kind::Configuration => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn away() -> Error {
        Error::new(Kind::Unavailable(Store::Postgres), "connect", "connection refused")
            .with_hint("start it")
    }

    #[test]
    fn errors_about_the_store_open_and_others_do_not() {
        let health = Health::default();
        assert!(health.is_up(Store::Postgres));
        for kind in [
            Kind::InvalidData,
            Kind::AlreadyExists,
            Kind::NotFound,
            Kind::Conflict,
            Kind::Unavailable(Store::Sqlite),
        ] {
            health.failed(Store::Postgres, &Error::new(kind, "write", "no"));
            assert!(health.is_up(Store::Postgres), "{kind:?}");
        }
        for kind in [
            Kind::Unavailable(Store::Postgres),
            Kind::NoSpace(Store::Postgres),
            Kind::AccessDenied,
            Kind::OutcomeUnknown(Store::Postgres),
        ] {
            health.failed(Store::Postgres, &Error::new(kind, "write", "no"));
            assert!(!health.is_up(Store::Postgres), "{kind:?}");
            health.works(Store::Postgres);
        }
        assert!(health.is_up(Store::Sqlite));
    }

    #[test]
    fn the_state_says_why_and_the_last_errors_are_kept_once_each() {
        let health = Health::default();
        for _ in 0..3 {
            health.failed(Store::Postgres, &away());
        }
        let StoreState::Down { reason, hint, .. } = health.state(Store::Postgres) else { panic!() };
        assert_eq!(reason, "connect: connection refused");
        assert_eq!(hint.as_deref(), Some("start it"));
        assert_eq!(health.recent().len(), 1);
        for number in 0..30 {
            let error =
                Error::new(Kind::Unavailable(Store::Sqlite), "write", format!("no {number}"));
            health.failed(Store::Sqlite, &error);
        }
        assert_eq!(health.recent().len(), REMEMBERED);
        assert_eq!(health.recent().first().map(|e| e.message.clone()), Some("write: no 29".into()));
        health.needs_init(Store::Sqlite, &away());
        assert!(matches!(health.state(Store::Sqlite), StoreState::NeedsInit { .. }));
    }

    #[test]
    fn unattended_one_call_in_a_while_is_the_probe() {
        let mut breaker = Breaker::default();
        let start = Instant::now();
        let state = || StoreState::down(&away());
        assert!(breaker.fail(state(), start));
        assert!(!breaker.fail(state(), start));
        assert!(!breaker.admit(false, start));
        let later = start + PROBE.1;
        assert!(!breaker.admit(true, later));
        assert!(breaker.admit(false, later));
        assert!(!breaker.admit(false, later));
    }

    #[tokio::test]
    async fn waiting_ends_when_it_works_or_the_time_is_up() {
        let health = std::sync::Arc::new(Health::default());
        health.failed(Store::Postgres, &away());
        assert!(!health.wait_up(Store::Postgres, Duration::from_millis(20)).await);
        let waiting = tokio::spawn({
            let health = health.clone();
            async move { health.wait_up(Store::Postgres, Duration::from_secs(10)).await }
        });
        tokio::task::yield_now().await;
        health.works(Store::Postgres);
        assert!(waiting.await.unwrap());
    }
}
