//! One connection on which no wait is endless.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use futures_util::future::{join_all, join3};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::connect::{Connected, connect};
use super::copy::{CopyIn, CopyOut};
use super::failure::{Peer, ServerError, commit_unknown, leaves_commit_open, misuse};
use super::url::Settings;
use crate::{Error, Result};

/// A parameter of a statement with its type. Giving the type saves a round trip and a named
/// prepared statement, which would not survive a pooler.
pub type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// See [`Limits::idle`].
const IDLE: Duration = Duration::from_secs(10);
const MASSES: Duration = Duration::from_secs(60);

/// How long is waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For each address of a host: connection, TLS, password and the look at the server.
    pub connect: Duration,
    /// For one statement, in the server. A COPY counts as one statement. Zero: no limit.
    pub statement: Duration,
    /// For a lock, in the server.
    pub lock: Duration,
    /// By how much a wait here is longer than the server's own limit, so that the server, which
    /// can say why, is heard first.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect: Duration::from_secs(10),
            statement: Duration::from_secs(30),
            lock: Duration::from_secs(10),
            grace: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// How long an answer is waited for; then the server or the network is taken for dead.
    pub(super) fn answer(&self) -> Duration {
        if self.statement.is_zero() {
            return Duration::MAX;
        }
        self.statement.saturating_add(self.grace)
    }

    /// How long the server leaves a transaction open in which nothing happens: a program that was
    /// stopped, or a network that was cut, must not hold its locks. Time enough for what is done
    /// between two statements of a transaction; more for those that move masses of rows.
    fn idle(&self) -> Duration {
        match self.statement {
            Duration::ZERO => Duration::ZERO,
            statement if statement > MASSES => statement,
            _ => IDLE,
        }
    }
}

/// One statement of [`Session::transact`].
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The statement.
    pub sql: &'a str,
    /// Its parameters.
    pub parameters: &'a [Parameter<'a>],
}

/// What a [`Session::transact`] is allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing changes: a lost answer is no more than that.
    Read,
    /// It may have been committed though its answer was lost.
    Write,
}

/// `BEGIN`, with a commit that a crash of the server does not lose. Not for a transaction with one
/// snapshot: the question would take it, and a table may have to be locked before.
const DURABLE: &str = "BEGIN; SELECT set_config('synchronous_commit', 'on', true) \
     WHERE current_setting('synchronous_commit') = 'off'";

/// The life of a session, kept in an atomic so that copies can share it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Idle,
    InTransaction,
    /// A statement failed, was given up by its caller, or runs: COMMIT would not do what it
    /// says (the server answers a COMMIT of a failed transaction with success, rolling back).
    Doubtful,
    Dead,
}

/// A connection to a server that takes writes, version 12 or newer.
///
/// It can be given up at any moment: dropping it ends the connection, and the server rolls
/// back what was not committed. After a time-out of ours it is dead ([`Session::is_closed`]).
/// Inside a transaction the limits are set by `SET LOCAL`, so that they hold behind a pooler,
/// too; outside one only the limit on this side holds.
pub struct Session {
    client: Client,
    task: JoinHandle<()>,
    closing: Arc<OnceLock<ServerError>>,
    bell: Arc<Notify>,
    peer: Peer,
    limits: Limits,
    version: u32,
    state: AtomicU8,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({}, {})", self.peer.address, self.version)
    }
}

impl Session {
    /// Connects to the first host that takes writes.
    ///
    /// # Errors
    /// Unavailable (refused, silent, in recovery, read-only, host unknown), access denied,
    /// configuration (no such database, TLS, not PostgreSQL, older than 12).
    pub async fn open(settings: &Settings, limits: &Limits) -> Result<Session> {
        // Boxed: it is deep, inside of every call, and futures nest.
        let Connected { client, task, closing, bell, peer, version } =
            Box::pin(connect(settings, limits)).await?;
        let state = AtomicU8::new(State::Idle as u8);
        Ok(Session { client, task, closing, bell, peer, limits: *limits, version, state })
    }

    /// The server's version as in `server_version_num`: 150018 for 15.18.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The user as the server knows it.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.peer.user
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.peer.database
    }

    /// `host:port` of the server that answered.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.peer.address
    }

    /// Other limits for what follows; those of a transaction that is open stay on the server.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether nothing more can be done with it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state() == State::Dead || self.client.is_closed()
    }

    /// Whether a transaction is open.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        matches!(self.state(), State::InTransaction | State::Doubtful)
    }

    /// Runs statements without parameters, separated by `;`.
    ///
    /// # Errors
    /// As the server's SQLSTATE says; unavailable after a time-out or a lost connection.
    pub async fn batch(&self, operation: &'static str, sql: &str) -> Result<()> {
        self.run(operation, self.client.batch_execute(sql)).await
    }

    /// Runs a statement and returns its rows.
    ///
    /// # Errors
    /// As for [`Session::batch`].
    pub async fn query(
        &self,
        operation: &'static str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>> {
        self.run(operation, self.client.query_typed(sql, parameters)).await
    }

    /// Runs a statement and returns the number of rows that it changed.
    ///
    /// # Errors
    /// As for [`Session::batch`].
    pub async fn execute(
        &self,
        operation: &'static str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<u64> {
        self.run(operation, self.client.execute_typed(sql, parameters)).await
    }

    /// Starts `COPY … FROM STDIN`. Dropped without [`CopyIn::finish`], it is taken back and
    /// the transaction cannot be committed.
    ///
    /// # Errors
    /// As for [`Session::batch`].
    pub async fn copy_in(&self, operation: &'static str, sql: &str) -> Result<CopyIn<'_>> {
        let sink = self.run(operation, self.client.copy_in(sql)).await?;
        Ok(CopyIn::new(self, operation, sink))
    }

    /// Starts `COPY … TO STDOUT`.
    ///
    /// # Errors
    /// As for [`Session::batch`].
    pub async fn copy_out(&self, operation: &'static str, sql: &str) -> Result<CopyOut<'_>> {
        let stream = self.run(operation, self.client.copy_out(sql)).await?;
        Ok(CopyOut::new(self, operation, stream))
    }

    /// Begins a transaction with the limits, durable though the server's default may be not to
    /// wait for the disk (`synchronous_commit = off`), and with the text forms of values that COPY
    /// relies on (ISO dates, UTC, standard strings), whatever the server's defaults are.
    ///
    /// # Errors
    /// As for [`Session::batch`]; internal if one is open.
    pub async fn begin(&self, operation: &'static str) -> Result<()> {
        self.begin_as(operation, DURABLE).await
    }

    /// As [`Session::begin`], reading one snapshot throughout.
    ///
    /// # Errors
    /// As for [`Session::begin`].
    pub async fn begin_snapshot(&self, operation: &'static str) -> Result<()> {
        self.begin_as(operation, "BEGIN ISOLATION LEVEL REPEATABLE READ").await
    }

    async fn begin_as(&self, operation: &'static str, begin: &str) -> Result<()> {
        if self.in_transaction() {
            return misuse(operation, "a transaction is open already");
        }
        self.set(State::Doubtful);
        let sql = self.opening(begin);
        self.run(operation, self.client.batch_execute(&sql)).await?;
        self.set(State::InTransaction);
        Ok(())
    }

    /// What a transaction begins with.
    fn opening(&self, begin: &str) -> String {
        format!(
            "{begin}; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; \
             SET LOCAL idle_in_transaction_session_timeout = {}; \
             SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL timezone = 'UTC'; \
             SET LOCAL standard_conforming_strings = on; SET LOCAL extra_float_digits = 3",
            milliseconds(self.limits.statement),
            milliseconds(self.limits.lock),
            milliseconds(self.limits.idle()),
        )
    }

    /// A whole transaction in one round trip: everything is sent at once. If a statement fails,
    /// nothing was done, and the error is that of the first that did. Returns the rows of each.
    ///
    /// # Errors
    /// As for [`Session::query`] and [`Session::commit`]. An answer that was lost after a
    /// [`Access::Write`] was sent is [`crate::Kind::OutcomeUnknown`]; unavailable means that
    /// nothing reached the server.
    pub async fn transact(
        &self,
        operation: &'static str,
        access: Access,
        calls: &[Call<'_>],
    ) -> Result<Vec<Vec<Row>>> {
        if self.in_transaction() {
            return misuse(operation, "a transaction is open already");
        }
        if self.is_closed() {
            return Err(self.gone(operation));
        }
        self.set(State::Doubtful);
        let opening = self.opening(match access {
            Access::Read => "BEGIN READ ONLY",
            Access::Write => DURABLE,
        });
        // The driver sends at the first poll, and joined futures are polled in their order.
        let calls = calls.iter().map(|call| self.client.query_typed(call.sql, call.parameters));
        // Boxed, as above.
        let all = Box::pin(join3(
            self.client.batch_execute(&opening),
            join_all(calls),
            self.client.batch_execute("COMMIT"),
        ));
        let limit = self.limits.answer();
        let lost = |failure| match access {
            Access::Read => failure,
            Access::Write => commit_unknown(operation, failure),
        };
        let Ok((begun, answers, committed)) = tokio::time::timeout(limit, all).await else {
            self.kill();
            return Err(lost(self.peer.silent(operation, limit)));
        };
        let answers = begun.and_then(|()| answers.into_iter().collect());
        match (answers, committed) {
            (Ok(rows), Ok(())) => {
                self.set(State::Idle);
                Ok(rows)
            }
            // Nothing was done, whatever was answered to the rest.
            (Err(error), _) | (_, Err(error)) if !leaves_commit_open(&error) => {
                let failure = self.failed(operation, &error);
                if self.client.is_closed() {
                    self.kill()
                } else {
                    self.set(State::Idle)
                }
                Err(failure)
            }
            (Err(error), _) | (_, Err(error)) => {
                let failure = self.failed(operation, &error);
                self.kill();
                Err(lost(failure))
            }
        }
    }

    /// Waits until the server has sent a notification since the last call, or the connection
    /// has ended.
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Commits.
    ///
    /// # Errors
    /// [`crate::Kind::OutcomeUnknown`] if the answer was lost: it may have been done. Any other
    /// error means that it was not: refused by the server, or never sent.
    pub async fn commit(&self, operation: &'static str) -> Result<()> {
        match self.state() {
            State::InTransaction if !self.client.is_closed() => {}
            State::InTransaction | State::Dead => return Err(self.gone(operation)),
            State::Idle => return misuse(operation, "no transaction is open"),
            State::Doubtful => {
                return misuse(operation, "a statement of the transaction did not succeed");
            }
        }
        self.set(State::Doubtful);
        let limit = self.limits.answer();
        match tokio::time::timeout(limit, self.client.batch_execute("COMMIT")).await {
            Ok(Ok(())) => {
                self.set(State::Idle);
                Ok(())
            }
            Ok(Err(error)) => {
                let failure = self.failed(operation, &error);
                if leaves_commit_open(&error) {
                    self.kill();
                    return Err(commit_unknown(operation, failure));
                }
                // A refused COMMIT has ended the transaction.
                self.set(State::Idle);
                Err(failure)
            }
            Err(_) => {
                self.kill();
                Err(commit_unknown(operation, self.peer.silent(operation, limit)))
            }
        }
    }

    /// Rolls back; without an open transaction it does nothing.
    ///
    /// # Errors
    /// Unavailable if the connection is lost; then the server rolls back by itself.
    pub async fn rollback(&self, operation: &'static str) -> Result<()> {
        if self.state() == State::Idle {
            return Ok(());
        }
        self.run(operation, self.client.batch_execute("ROLLBACK")).await?;
        self.set(State::Idle);
        Ok(())
    }

    /// One wait within the limit. Whether it fails or its caller gives it up, an open
    /// transaction stays in doubt. Given up outside of one, the statement may still run: nobody
    /// else is to wait behind it.
    async fn run<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        let before = self.state();
        if before == State::Dead {
            return Err(self.gone(operation));
        }
        if before == State::InTransaction {
            self.set(State::Doubtful);
        }
        let mut running = Running { session: self, is_alone: before == State::Idle };
        let answer = self.wait(operation, work).await;
        running.is_alone = false;
        let answer = answer?;
        if before == State::InTransaction {
            self.set(State::InTransaction);
        }
        Ok(answer)
    }

    /// One wait within the limit, after which the connection is given up.
    pub(super) async fn wait<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        let limit = self.limits.answer();
        match tokio::time::timeout(limit, work).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failed(operation, &error)),
            Err(_) => {
                self.kill();
                Err(self.peer.silent(operation, limit))
            }
        }
    }

    pub(super) fn failed(&self, operation: &'static str, error: &tokio_postgres::Error) -> Error {
        self.peer.failure(operation, error, self.closing.get())
    }

    fn gone(&self, operation: &'static str) -> Error {
        match self.closing.get() {
            Some(server) => {
                server.clone().into_error(operation, &self.peer.user, &self.peer.database)
            }
            None => self.peer.lost(operation, "the connection was lost before"),
        }
    }

    /// A copy begins: until it is finished the transaction is in doubt.
    pub(super) fn doubt(&self) -> bool {
        let open = self.state() == State::InTransaction;
        if open {
            self.set(State::Doubtful);
        }
        open
    }

    /// What was in doubt has succeeded.
    pub(super) fn trust(&self) {
        if self.state() == State::Doubtful {
            self.set(State::InTransaction);
        }
    }

    fn kill(&self) {
        self.set(State::Dead);
        self.task.abort();
    }

    fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Idle,
            1 => State::InTransaction,
            2 => State::Doubtful,
            _ => State::Dead,
        }
    }

    fn set(&self, state: State) {
        self.state.store(state as u8, Ordering::Release);
    }
}

/// A statement that is waited for.
struct Running<'s> {
    session: &'s Session,
    /// No transaction is open, and there is no answer yet.
    is_alone: bool,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.is_alone {
            self.session.kill();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// As the server takes it: zero means "no limit" there, and so it does here.
fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
