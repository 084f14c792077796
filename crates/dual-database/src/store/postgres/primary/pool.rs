//! Sessions to one server, opened as they are needed, given back after use.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use uuid::Uuid;

use super::prepare::{complete, not_joined};
use super::{Prepared, Primary, RemoteTable, prepare};
use crate::phase::timed;
use crate::schema::{Making, Table};
use crate::store::postgres::{Limits, Session, Settings};
use crate::{Error, Kind, Result, Store};

/// After that long unused a session is closed: what lies between may have forgotten it.
const IDLE: Duration = Duration::from_secs(120);

/// For how long a table may take to be adopted: a million rows take 10 seconds.
const ADOPTION: Duration = Duration::from_secs(600);

/// Sessions to one server, at most so many at once; more wait.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    limits: Limits,
    declared: Arc<[Table]>,
    /// What is made on the server where something is missing.
    making: Making,
    permits: Arc<Semaphore>,
    state: Mutex<PoolState>,
}

#[derive(Debug, Default)]
struct PoolState {
    /// The one unused longest first.
    idle: VecDeque<Idle>,
    tables: Option<Arc<[RemoteTable]>>,
    /// Sessions of an earlier generation are not taken back.
    generation: u64,
}

#[derive(Debug)]
struct Idle {
    since: Instant,
    session: Arc<Session>,
    is_new: bool,
}

/// A session of a [`Pool`], given back when it is dropped, unless it is in doubt.
#[derive(Debug)]
pub struct Pooled {
    pool: Arc<Shared>,
    session: Arc<Session>,
    tables: Option<Arc<[RemoteTable]>>,
    generation: u64,
    is_new: bool,
    /// Freed after the session was given back.
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    /// A pool of at most `size` sessions. Nothing is opened yet.
    #[must_use]
    pub fn new(settings: Settings, limits: Limits, tables: Arc<[Table]>, size: usize) -> Pool {
        let permits = Arc::new(Semaphore::new(size.clamp(1, Semaphore::MAX_PERMITS)));
        let state = Mutex::default();
        let making = Making::default();
        Pool(Arc::new(Shared { settings, limits, declared: tables, making, permits, state }))
    }

    /// The same, empty, which makes so much on the server and no more: what is missing then cannot
    /// be used.
    #[must_use]
    pub fn making(&self, making: Making) -> Pool {
        let Shared { settings, limits, declared, permits, .. } = &*self.0;
        Pool(Arc::new(Shared {
            settings: settings.clone(),
            limits: *limits,
            declared: declared.clone(),
            making,
            permits: Arc::new(Semaphore::new(permits.available_permits())),
            state: Mutex::default(),
        }))
    }

    /// An unused session, or a new one.
    ///
    /// # Errors
    /// As for [`Session::open`]; unavailable if all stay busy for as long as a connection is
    /// waited for.
    pub async fn get(&self) -> Result<Pooled> {
        let pool = &self.0;
        let permit = pool.permits.clone().acquire_owned();
        let Ok(Ok(permit)) = tokio::time::timeout(pool.limits.connect, permit).await else {
            return Err(Error::new(
                Kind::Unavailable(Store::Postgres),
                "take a connection to PostgreSQL",
                format!("all are busy for {} s", pool.limits.connect.as_secs_f32()),
            ));
        };
        let (unused, tables, generation) = {
            let mut state = pool.state();
            state.idle.retain(|idle| idle.since.elapsed() < IDLE && !idle.session.is_closed());
            // The one used last: what is not needed grows old.
            let unused = state.idle.pop_back();
            (unused, state.tables.clone(), state.generation)
        };
        let (session, is_new) = match unused {
            Some(idle) => (idle.session, idle.is_new),
            None => (Arc::new(Session::open(&pool.settings, &pool.limits).await?), true),
        };
        Ok(Pooled { pool: pool.clone(), session, tables, generation, is_new, _permit: permit })
    }

    /// Sees to it that the server has what the tables need ([`prepare`]), and remembers what it
    /// has for the sessions that are taken from now on. On a connection of its own, which is
    /// given more time if something is missing: a look takes no longer than any other question.
    ///
    /// # Errors
    /// As for [`Session::open`] and [`prepare`]; about the schema if it only looks and something
    /// is missing.
    pub async fn prepare(&self) -> Result<Prepared> {
        let pool = &self.0;
        let mut session = Session::open(&pool.settings, &pool.limits).await?;
        let looked = complete(&session, &pool.declared, pool.making);
        let prepared = match timed("look at the tables", looked).await? {
            Some(prepared) => prepared,
            None if pool.making == Making::Nothing => return Err(not_joined()),
            None => {
                let statement = ADOPTION.max(pool.limits.statement);
                session.set_limits(Limits { statement, ..pool.limits });
                prepare(&session, &pool.declared, pool.making).await?
            }
        };
        pool.state().tables = Some(prepared.tables.clone());
        Ok(prepared)
    }

    /// The tables in their order; `None` before the first [`Pool::prepare`].
    #[must_use]
    pub fn tables(&self) -> Option<Arc<[RemoteTable]>> {
        self.0.state().tables.clone()
    }

    /// Closes what is unused, and what is in use when it is given back: after a failure of the
    /// server the others are likely to be dead, too.
    pub fn clear(&self) {
        let mut state = self.0.state();
        state.generation += 1;
        state.idle.clear();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pooled {
    /// Whether nobody has looked yet which server is at its other end.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.is_new
    }

    /// It is the right one: as long as the session stands, it stays so.
    pub fn confirm(&mut self) {
        self.is_new = false;
    }

    /// What can be done with it for a file.
    ///
    /// # Errors
    /// About the schema before the first [`Pool::prepare`].
    pub fn primary(&self, file: Uuid) -> Result<Primary<'_>> {
        let Some(tables) = &self.tables else {
            return Err(Error::new(
                Kind::Schema(Store::Postgres),
                "use PostgreSQL",
                "its tables have not been looked at yet",
            ));
        };
        Ok(Primary { session: &self.session, tables, file })
    }
}

impl Deref for Pooled {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        if self.session.is_closed() || self.session.in_transaction() {
            return;
        }
        let mut state = self.pool.state();
        if state.generation == self.generation {
            let (since, session) = (Instant::now(), self.session.clone());
            state.idle.push_back(Idle { since, session, is_new: self.is_new });
        }
    }
}
