//! Merging what a file pushes: one transaction for the whole batch.
//!
//! 1. The processes of one file take turns. Tables are locked as writers lock them, so that no purge and no change of capture comes in
//!    between; then the server's clock and the purge horizon are read. What lies too far ahead
//!    of that clock is refused, the batch with it.
//! 2. In parts, in the order of table and key: the data rows are locked in one statement, read
//!    with their stamps in the *next*. (A merge that waited for a lock and went on with the stamps
//!    that it had read before would put a value under somebody else's stamp.) Dead rows have
//!    nothing to lock: who loses a race for one is higher than what it then pulls, and pushes again.
//! 3. [`decide`] says what becomes of each: the model's `push`.
//! 4. [`apply`] writes, set by set, and gives the captured rows the merged stamps. What a
//!    constraint refuses is found by halving, under savepoints; the rest stands.
//! 5. Rows that stand as they are though the file lacks something of them get a new transaction id.
//! 6. Conflicts are logged in the same transaction, and it is committed.
//!
//! A lock of somebody else's is waited for only a moment; then the batch goes again without the
//! rows that are locked, which are refused as such: one row is not to delay the others for as
//! long as somebody leaves his transaction open.

mod apply;
mod attempt;
mod block;
mod circle;
mod decide;
mod refusal;
mod reserve;
mod statements;
mod surrogates;
mod unique;

use std::collections::{BTreeMap, BTreeSet};

pub use self::block::Kept;
pub use self::reserve::Reserved;

use self::apply::Applier;
use self::decide::{ServerView, Verdict, decide, unreadable};
use self::statements::CHUNK;
use super::conflicts::LoggedConflict;
use super::row::BY_KEY;
use super::{Header, Primary, PushEnd, Pushed, RemoteRow};
use crate::merge::{Tracked, Version};
use crate::protocol::Epoch;
use crate::schema::{Key, RowId};
use crate::store::postgres::answer::column;
use crate::store::postgres::capture::mend;
use crate::store::postgres::{Parameter, both, sqlstate};
use crate::{Error, Result};

const OPERATION: &str = "push to PostgreSQL";

/// The SQLSTATE of a row that is left out because another session has it locked.
pub(crate) const LOCKED: &str = "55P03";

/// The code of a row of which somebody else has the number that was said for it.
pub(crate) const NUMBER: &str = "number";

/// Why, for people.
const HELD: &str = "locked by another session";

/// How long a lock on a row is waited for, in milliseconds: at first, and where the rows that
/// are known to be locked are left out.
const LOCK_MS: [u32; 2] = [500, 100];

/// A row that is to be written, and what is known of it.
pub(super) struct Job<'b> {
    id: RowId,
    pushed: &'b Tracked,
    /// The number that it had here before, if it is to have that again.
    number: Option<i64>,
    /// That is one that was said for it before it was ever here.
    is_said: bool,
    existing: Option<RemoteRow>,
    /// What has to stand; `None`: as it is.
    version: Option<Version>,
    /// The file lacks something of what stands.
    beats: bool,
    noted: Vec<LoggedConflict>,
}

impl Job<'_> {
    fn before(&self) -> Option<&Version> {
        self.existing.as_ref().map(|row| &row.version)
    }

    fn after(&self) -> Option<&Version> {
        self.version.as_ref()
    }

    /// Whether the table has the row.
    fn is_there(&self) -> bool {
        self.existing.as_ref().is_some_and(|row| row.version.lives())
    }

    fn lives(&self) -> bool {
        self.after().is_some_and(|version| version.live.value)
    }

    fn is_inserted(&self) -> bool {
        self.lives() && !self.is_there()
    }

    fn dies(&self) -> bool {
        self.after().is_some() && !self.lives() && self.is_there()
    }

    fn stays(&self) -> bool {
        self.lives() && self.is_there()
    }

    /// Whether the row that stays is to be written.
    fn is_updated(&self) -> bool {
        self.stays() && !self.changed().is_empty()
    }

    /// The columns whose values become others. A value that could not be read is another one.
    fn changed(&self) -> Vec<usize> {
        let (Some(existing), Some(after)) = (&self.existing, self.after()) else {
            return Vec::new();
        };
        let is_other = |(at, new): (usize, &crate::merge::Register<_>)| {
            let old = existing.version.columns.get(at);
            let unread = existing.unreadable == Some(at);
            let other =
                old.is_none_or(|old| old.value != new.value || (unread && old.stamp != new.stamp));
            other.then_some(at)
        };
        after.columns.iter().enumerate().filter_map(is_other).collect()
    }
}

impl Primary<'_> {
    /// Merges a batch in one transaction, as the model's `push` does: locks first, then stamps,
    /// then the merge; what a constraint refuses is left out and reported. `comparison` says in
    /// a full comparison whether the server still has what it acknowledged; `followed` is the
    /// epoch in which the batch was made: in another one nothing is merged.
    ///
    /// A row that takes a unique value which somebody else holds leaves that column empty if it
    /// may be (under a stamp of PostgreSQL's above its own, and logged as a conflict), and is
    /// refused if not. New rows get their surrogate from PostgreSQL. A row of which the server
    /// lacks nothing is not touched, unless the file lacks something of it: then the feed brings
    /// it again (not in a comparison). Constraints are checked at once, deferred ones too.
    ///
    /// A row that another session has locked is refused with `LOCKED`, after a moment.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::commit`]. One that
    /// [`crate::store::postgres::is_retryable`] calls so (a deadlock, a lock on a whole table that
    /// was not given in time) says nothing about any row; nothing stands.
    pub async fn push(
        &self,
        batch: &[(RowId, Tracked)],
        comparison: Option<bool>,
        followed: Option<&Epoch>,
    ) -> Result<PushEnd> {
        self.push_numbered(batch, comparison, followed, &BTreeMap::new()).await
    }

    /// The same; rows that were here before and are not get the numbers again that they had, as
    /// far as those are free: others may refer to them.
    ///
    /// # Errors
    /// As for [`Primary::push`].
    pub(crate) async fn push_numbered(
        &self,
        batch: &[(RowId, Tracked)],
        comparison: Option<bool>,
        followed: Option<&Epoch>,
        numbers: &BTreeMap<RowId, i64>,
    ) -> Result<PushEnd> {
        // Large, and nested deeply: callers need not carry it about.
        let mut end = Box::pin(self.push_in(batch, comparison, followed, numbers, false)).await;
        if end.as_ref().is_err_and(is_locked) {
            self.session.rollback(OPERATION).await?;
            end = Box::pin(self.push_in(batch, comparison, followed, numbers, true)).await;
        }
        match end {
            Ok(end @ (PushEnd::Ahead { .. } | PushEnd::OtherServer)) => {
                self.leave(OPERATION).await;
                Ok(end)
            }
            end => self.end(end, OPERATION).await,
        }
    }

    async fn push_in(
        &self,
        batch: &[(RowId, Tracked)],
        comparison: Option<bool>,
        followed: Option<&Epoch>,
        numbers: &BTreeMap<RowId, i64>,
        leaves_locked: bool,
    ) -> Result<PushEnd> {
        let written = batch.iter().map(|(id, _)| id.table);
        let (server, epoch) = self.server(comparison, leaves_locked, written).await?;
        if followed.is_some_and(|followed| !epoch.is_server_of(followed)) {
            return Ok(PushEnd::OtherServer);
        }
        if batch.iter().any(|(_, row)| row.is_refused_as_ahead(server.now_ms)) {
            return Ok(PushEnd::Ahead { now_ms: server.now_ms });
        }
        let mut pushed = Pushed::default();
        let mut rows: Vec<&(RowId, Tracked)> = Vec::with_capacity(batch.len());
        for row in batch {
            let (id, tracked) = row;
            let table = self.tables.get(id.table);
            match table.map(|table| unreadable(&table.table, &tracked.version)) {
                Some(None) => rows.push(row),
                Some(Some(column)) => {
                    let reason = format!("column {column} holds what its type cannot hold");
                    pushed.refused.push((id.clone(), "unreadable".into(), reason));
                }
                None => {
                    pushed.refused.push((id.clone(), "unreadable".into(), "no such table".into()))
                }
            }
        }
        rows.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        let mut jobs = Vec::with_capacity(rows.len());
        for part in rows.chunk_by(|(one, _), (other, _)| one.table == other.table) {
            for chunk in part.chunks(CHUNK) {
                self.decide_all(chunk, server, &mut jobs, &mut pushed).await?;
            }
        }
        // Of a row that goes in this push another one takes the number: the same under another key. Where it is not let
        // go, that one gets a fresh number, and everything that refers to it follows.
        let leaving: BTreeSet<(usize, i64)> = jobs
            .iter()
            .filter(|job| job.dies())
            .filter_map(|job| Some((job.id.table, job.existing.as_ref()?.surrogate?)))
            .collect();
        for job in jobs.iter_mut().filter(|job| job.is_inserted()) {
            job.number = numbers.get(&job.id).copied();
            let asks = self.tables.get(job.id.table).is_some_and(|t| t.table.asks_for_surrogates());
            let is_born = asks && job.pushed.bases.live.is_some();
            let is_its_own = |number| !leaving.contains(&(job.id.table, number));
            job.is_said = is_born && job.number.is_some_and(is_its_own);
        }
        let applied = Box::pin(Applier::new(self, server, &mut jobs).run()).await?;
        pushed.gone.extend(applied.gone);
        pushed.surrogates = applied.surrogates;
        let passed_over = self.feed_again(&jobs).await?;
        let mut noted: Vec<LoggedConflict> = Vec::new();
        for (at, job) in jobs.into_iter().enumerate() {
            match applied.refused.get(&at) {
                Some(refusal) => {
                    let (code, reason) = (refusal.code.clone(), refusal.reason.clone());
                    pushed.refused.push((job.id, code, reason));
                }
                None if passed_over.contains(&job.id) => pushed.refused.push(locked(&job.id)),
                None => noted.extend(job.noted),
            }
        }
        self.note(&noted, OPERATION).await?;
        let told = |one: LoggedConflict| (one.id, one.conflict, one.winning, one.losing);
        pushed.conflicts = noted.into_iter().map(told).collect();
        Ok(PushEnd::Done(pushed))
    }

    /// Begins: locks on the tables that are written, so that nobody waits for a lock on another one; then
    /// the server's clock, horizon and epoch.
    async fn server(
        &self,
        comparison: Option<bool>,
        leaves_locked: bool,
        written: impl Iterator<Item = usize>,
    ) -> Result<(ServerView, Epoch)> {
        let written: BTreeSet<usize> = written.collect();
        let locks = written.into_iter().filter_map(|at| self.tables.get(at));
        let locks: Vec<String> = locks
            .map(|table| format!("{}, {}", table.layout.target, table.layout.sidecar))
            .collect();
        let locks = match locks.is_empty() {
            true => String::new(),
            false => format!("LOCK TABLE {} IN ROW EXCLUSIVE MODE; ", locks.join(", ")),
        };
        // Whatever writes through this file waits its turn: beside a push that is stuck another
        // process would push the half of a transaction whose other rows the first one has locked.
        let (_, file) = self.file.as_u64_pair();
        let prologue = format!(
            "SET CONSTRAINTS ALL IMMEDIATE; \
             SELECT pg_advisory_xact_lock({}); {locks}SET LOCAL lock_timeout = {}; {BY_KEY}",
            file.cast_signed(),
            LOCK_MS[usize::from(leaves_locked)],
        );
        let session = self.session;
        let (_, Header { now_ms, horizon, epoch, .. }) = both(
            both(session.begin(OPERATION), session.batch(OPERATION, &prologue)),
            self.header_in(),
        )
        .await?;
        Ok((ServerView { now_ms, horizon, comparison, leaves_locked }, epoch))
    }

    async fn decide_all<'b>(
        &self,
        rows: &[&'b (RowId, Tracked)],
        server: ServerView,
        jobs: &mut Vec<Job<'b>>,
        pushed: &mut Pushed,
    ) -> Result<()> {
        let Some(table) = rows.first().map(|(id, _)| id.table) else { return Ok(()) };
        let Some(remote) = self.tables.get(table) else { return Ok(()) };
        let keys: Vec<Key> = rows.iter().map(|(id, _)| id.key.clone()).collect();
        let (found, held) = self.locked_rows(table, &keys, server.leaves_locked).await?;
        let mut found = found.into_iter().peekable();
        for (id, tracked) in rows.iter().copied() {
            while found.next_if(|row| row.id < *id).is_some() {}
            let existing = found.next_if(|row| row.id == *id);
            if held.contains(id) {
                pushed.refused.push(locked(id));
                continue;
            }
            let job = Job {
                id: id.clone(),
                pushed: tracked,
                number: None,
                is_said: false,
                existing: None,
                version: None,
                beats: false,
                noted: Vec::new(),
            };
            match decide(id, tracked, existing.as_ref(), server, &remote.defaults) {
                Verdict::Gone => pushed.gone.push(id.clone()),
                Verdict::Stands(None, noted) if noted.is_empty() => {}
                Verdict::Stands(version, noted) => {
                    jobs.push(Job { existing, version, noted, ..job });
                }
                Verdict::Beats(noted) => jobs.push(Job { existing, beats: true, noted, ..job }),
            }
        }
        Ok(())
    }

    /// Rows that stand as they are, and of which the file lacks something, are new again. Says
    /// which could not be marked, because somebody else is changing them.
    async fn feed_again(&self, jobs: &[Job<'_>]) -> Result<BTreeSet<RowId>> {
        let beat = jobs.iter().filter(|job| job.beats).map(|job| job.id.clone());
        let mut left: BTreeSet<RowId> = beat.collect();
        let all: Vec<RowId> = left.iter().cloned().collect();
        for part in all.chunk_by(|one, other| one.table == other.table) {
            let Some(table) = part.first().and_then(|id| self.tables.get(id.table)) else {
                continue;
            };
            let sql = format!(
                "UPDATE {sidecar} SET txid = txid_current() WHERE ({key}) IN (SELECT {key} \
                 FROM {sidecar} WHERE {among} ORDER BY {key} FOR UPDATE SKIP LOCKED) \
                 RETURNING {given}",
                given = table.layout.own_key.given(""),
                sidecar = table.layout.sidecar,
                key = table.layout.own_key.list(""),
                among = table.layout.own_key.among("", "=", 1),
            );
            for chunk in part.chunks(CHUNK) {
                let keys: Vec<Key> = chunk.iter().map(|id| id.key.clone()).collect();
                let parameters: [Parameter<'_>; 1] = [(&keys, table.layout.own_key.many())];
                let told = self.session.query(OPERATION, &sql, &parameters).await?;
                let told: BTreeSet<Key> =
                    told.iter().map(|row| column(row, 0, OPERATION)).collect::<Result<_>>()?;
                chunk.iter().filter(|id| told.contains(&id.key)).for_each(|id| {
                    left.remove(id);
                });
            }
        }
        Ok(left)
    }

    /// Locks the data rows in key order, then, in a statement that begins when all locks are
    /// held, reads them with their stamps, in key order. Says besides which of them somebody else
    /// holds, if those are not waited for. What came past the triggers is noted before.
    async fn locked_rows(
        &self,
        at: usize,
        keys: &[Key],
        leaves_locked: bool,
    ) -> Result<(Vec<RemoteRow>, BTreeSet<RowId>)> {
        let Some(table) = self.tables.get(at) else { return Ok(Default::default()) };
        let lock = format!(
            "SELECT {given} FROM {target} AS u WHERE {among} ORDER BY {key} FOR UPDATE{skip}",
            target = table.layout.target,
            given = table.layout.key.given("u"),
            among = table.layout.key.among("u", "=", 1),
            key = table.layout.key.order("u", ""),
            skip = if leaves_locked { " SKIP LOCKED" } else { "" },
        );
        let own = &table.layout.own_key;
        let (among, order) = (own.among("s", "=", 1), own.order("s", ""));
        let read = format!("{} WHERE {among} ORDER BY {order}", table.select());
        let keys = keys.to_vec();
        let parameters = [(&keys as &(dyn tokio_postgres::types::ToSql + Sync), own.many())];
        let (ours, mut rows) = both(
            self.session.query(OPERATION, &lock, &parameters),
            self.rows(at, table, &read, &parameters, OPERATION),
        )
        .await?;
        let ours: BTreeSet<Key> =
            ours.iter().map(|row| column(row, 0, OPERATION)).collect::<Result<_>>()?;
        let known: BTreeSet<Key> = rows.iter().map(|row| row.id.key.clone()).collect();
        let loose = rows.iter().filter(|row| row.is_loose).map(|row| row.id.key.clone());
        let loose: Vec<Key> = loose.chain(ours.difference(&known).cloned()).collect();
        if !loose.is_empty() {
            mend(self.session, &table.layout, &loose).await?;
            rows = self.rows(at, table, &read, &parameters, OPERATION).await?;
        }
        // A row that has come between the two statements is looked at the next time, too.
        let held = |row: &&RemoteRow| row.version.lives() && !ours.contains(&row.id.key);
        let held = rows.iter().filter(|row| leaves_locked && held(row)).map(|row| row.id.clone());
        let held = held.collect();
        Ok((rows, held))
    }
}

/// Whether the error says that a lock was not given in time.
fn is_locked(error: &Error) -> bool {
    sqlstate(error) == Some(LOCKED)
}

/// A row that is refused because another session has it locked.
fn locked(id: &RowId) -> (RowId, String, String) {
    (id.clone(), LOCKED.to_owned(), HELD.to_owned())
}
