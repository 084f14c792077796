//! One connection on which no wait is endless.

mod limits;
mod path;
mod together;
mod transact;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use futures_util::future::join;
pub use limits::Limits;
use limits::milliseconds;
use path::kept;
pub(super) use path::switched;
pub use path::{OURS, USERS};
pub(super) use together::{both, every};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};
pub(crate) use transact::Access;
pub use transact::Call;
use transact::{DURABLE, SNAPSHOT};

use super::connect::{Connected, connect};
use super::copy::{CopyIn, CopyOut};
use super::failure::{Peer, ServerError, commit_unknown, leaves_commit_open, misuse, standby};
use super::schema_name::SchemaName;
use super::url::Settings;
use crate::{Error, Result};

/// A parameter of a statement with its type. Giving the type saves a round trip and a named
/// prepared statement, which would not survive a pooler.
pub(crate) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// The life of a session, kept in an atomic so that copies can share it.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum SessionState {
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
    notified: Arc<Notify>,
    peer: Peer,
    limits: Limits,
    version: u32,
    takes_any_bytes: bool,
    path: String,
    schema: SchemaName,
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
        let connected = Box::pin(connect(settings, limits)).await?;
        let Connected { client, task, closing, notified, peer, version, takes_any_bytes, path } =
            connected;
        let (limits, state) = (*limits, AtomicU8::new(SessionState::Idle as u8));
        Ok(Session {
            client,
            task,
            closing,
            notified,
            peer,
            limits,
            version,
            takes_any_bytes,
            path,
            schema: settings.schema().clone(),
            state,
        })
    }

    /// The server's version as in `server_version_num`: 150018 for 15.18.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Whether the database's encoding is SQL_ASCII: its texts are whatever bytes were written, and
    /// an answer with some that are no UTF-8 is refused whole (22021).
    #[must_use]
    pub fn takes_any_bytes(&self) -> bool {
        self.takes_any_bytes
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

    /// The schema in which everything of ours stands, as it stands in SQL.
    #[must_use]
    pub fn schema(&self) -> &str {
        self.schema.sql()
    }

    /// Its name.
    #[must_use]
    pub(crate) fn schema_name(&self) -> &str {
        self.schema.name()
    }

    /// `host:port` of the server that answered.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.peer.address
    }

    /// How long a statement may wait for a lock, as the server takes it in `lock_timeout`.
    #[must_use]
    pub fn patience(&self) -> String {
        milliseconds(self.limits.lock).to_string()
    }

    /// Other limits for what follows; those of a transaction that is open stay on the server.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Whether nothing more can be done with it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state() == SessionState::Dead || self.client.is_closed()
    }

    /// Whether a transaction is open.
    #[must_use]
    pub fn in_transaction(&self) -> bool {
        matches!(self.state(), SessionState::InTransaction | SessionState::Doubtful)
    }

    /// Runs statements without parameters, separated by `;`. Outside of a transaction they are read
    /// under the user's search path, and have to say everything by its full name (`session/path.rs`); so it is
    /// with the next two.
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
        self.begin_as(operation, SNAPSHOT).await
    }

    async fn begin_as(&self, operation: &'static str, begin: &str) -> Result<()> {
        if self.in_transaction() {
            return misuse(operation, "a transaction is open already");
        }
        self.set(SessionState::Doubtful);
        let sql = self.opening(begin);
        self.run(operation, self.client.batch_execute(&sql)).await.map_err(standby)?;
        self.set(SessionState::InTransaction);
        Ok(())
    }

    /// What a transaction begins with. Nothing of ours is worth being compiled (`jit`): it is by
    /// key, or read once; and what must not read a table whole looks so dear when it does, that
    /// a server before 18 would spend 200 ms on that in every new session. Rows that a policy hides
    /// are not gone: without `row_security` a statement that would not see them is refused (42501).
    /// The search path is ours ([`path`]).
    fn opening(&self, begin: &str) -> String {
        let path = kept(&self.path);
        // The other limits bound it; an adoption takes as long as it takes.
        let whole =
            if self.version >= 170_000 { "SET LOCAL transaction_timeout = 0; " } else { "" };
        format!(
            "{begin}; {path}; {whole}SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}; \
             SET LOCAL idle_in_transaction_session_timeout = {}; \
             SET LOCAL datestyle = 'ISO, YMD'; SET LOCAL timezone = 'UTC'; \
             SET LOCAL standard_conforming_strings = on; SET LOCAL extra_float_digits = 3; \
             SET LOCAL intervalstyle = 'postgres'; SET LOCAL bytea_output = 'hex'; SET LOCAL lc_monetary = 'C'; \
             SET LOCAL jit = off; SET LOCAL row_security = off",
            milliseconds(self.limits.statement),
            milliseconds(self.limits.lock),
            milliseconds(self.limits.idle()),
        )
    }

    /// Waits until the server has sent a notification since the last call, or the connection
    /// has ended.
    pub(super) async fn notification(&self) {
        self.notified.notified().await;
    }

    /// Commits.
    ///
    /// # Errors
    /// [`crate::Kind::OutcomeUnknown`] if the answer was lost: it may have been done. Any other
    /// error means that it was not: refused by the server, or never sent.
    pub async fn commit(&self, operation: &'static str) -> Result<()> {
        match self.state() {
            SessionState::InTransaction if !self.client.is_closed() => {}
            SessionState::InTransaction | SessionState::Dead => return Err(self.gone(operation)),
            SessionState::Idle => return misuse(operation, "no transaction is open"),
            SessionState::Doubtful => {
                return misuse(operation, "a statement of the transaction did not succeed");
            }
        }
        self.set(SessionState::Doubtful);
        let limit = self.limits.commit();
        let (client, path) = (&self.client, self.client.batch_execute(USERS));
        // If the first is refused, COMMIT rolls back.
        let work = join(path, client.batch_execute("COMMIT"));
        let answer = tokio::time::timeout(limit, work).await;
        match answer.map(|(pathed, committed)| pathed.and(committed)) {
            Ok(Ok(())) => {
                self.set(SessionState::Idle);
                Ok(())
            }
            Ok(Err(error)) => {
                let failure = self.failed(operation, &error);
                if leaves_commit_open(&error) {
                    self.kill();
                    return Err(commit_unknown(operation, failure));
                }
                // A refused COMMIT has ended the transaction.
                self.set(SessionState::Idle);
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
        if self.state() == SessionState::Idle {
            return Ok(());
        }
        self.run(operation, self.client.batch_execute("ROLLBACK")).await?;
        self.set(SessionState::Idle);
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
        if before == SessionState::Dead {
            return Err(self.gone(operation));
        }
        if before == SessionState::InTransaction {
            self.set(SessionState::Doubtful);
        }
        let mut running = Running { session: self, is_alone: before == SessionState::Idle };
        let answer = self.wait(operation, work).await;
        running.is_alone = false;
        let answer = answer?;
        if before == SessionState::InTransaction {
            self.set(SessionState::InTransaction);
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
        let open = self.state() == SessionState::InTransaction;
        if open {
            self.set(SessionState::Doubtful);
        }
        open
    }

    /// What was in doubt has succeeded.
    pub(super) fn trust(&self) {
        if self.state() == SessionState::Doubtful {
            self.set(SessionState::InTransaction);
        }
    }

    fn kill(&self) {
        self.set(SessionState::Dead);
        self.task.abort();
    }

    fn state(&self) -> SessionState {
        match self.state.load(Ordering::Acquire) {
            0 => SessionState::Idle,
            1 => SessionState::InTransaction,
            2 => SessionState::Doubtful,
            _ => SessionState::Dead,
        }
    }

    fn set(&self, state: SessionState) {
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
