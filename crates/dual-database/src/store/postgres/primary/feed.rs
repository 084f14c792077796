//! Reading the feed: what is new since a cursor, in one snapshot.

use tokio_postgres::types::Type;

use super::row::BY_KEY;
use super::{Poll, Primary, RemoteRow, RemoteTable};
use crate::Result;
use crate::protocol::Snapshot;
use crate::schema::{Key, RowId};
use crate::store::postgres::answer::{column, unexpected};
use crate::store::postgres::capture::Drift;
use crate::store::postgres::{Parameter, both, every};
use crate::value::PORTION;

const OPERATION: &str = "read PostgreSQL's changes";

impl Primary<'_> {
    /// What is new since the cursor, and the rows `also` (as far as they were ever seen), in
    /// one snapshot. Of a table in [`Poll::drift`] nothing is read: a poll that names one is not
    /// to be applied.
    ///
    /// The tables are locked (`ACCESS SHARE`, as any `SELECT` does) before the snapshot is
    /// taken: a TRUNCATE that commits in between would be seen through it, with the sidecar
    /// still saying that the rows live. Costs what has changed, however long a transaction is
    /// left open.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::query`]; unavailable if a lock is not given in
    /// time.
    pub async fn poll(&self, cursor: &Snapshot, also: &[RowId]) -> Result<Poll> {
        self.poll_at_most(cursor, also, None, &[]).await
    }

    /// As [`Primary::poll`]; but if more than `most` rows of a table are new, or more than
    /// [`PORTION`] of texts besides the largest, none of it is read ([`Poll::too_many`]). The tables `apart` are neither
    /// locked nor read; whether their capture is as installed is told all the same.
    ///
    /// # Errors
    /// As for [`Primary::poll`].
    pub(crate) async fn poll_at_most(
        &self,
        cursor: &Snapshot,
        also: &[RowId],
        most: Option<u32>,
        apart: &[usize],
    ) -> Result<Poll> {
        // Large, and nested deeply: callers need not carry it about.
        let outcome = Box::pin(self.poll_in(cursor, also, most, apart)).await;
        self.leave(OPERATION).await;
        outcome
    }

    /// Ends a transaction that has only read: what it gave stands, whatever becomes of it.
    pub(super) async fn leave(&self, operation: &'static str) {
        if let Err(error) = self.session.rollback(operation).await {
            tracing::debug!(%error, "the end of a reading transaction was not answered");
        }
    }

    async fn poll_in(
        &self,
        cursor: &Snapshot,
        also: &[RowId],
        most: Option<u32>,
        apart: &[usize],
    ) -> Result<Poll> {
        let session = self.session;
        let read = self.tables.iter().enumerate().filter(|(at, _)| !apart.contains(at));
        let read: Vec<(usize, &RemoteTable)> = read.collect();
        let prologue = format!("{}{BY_KEY}", locked(read.iter().map(|(_, table)| *table)));
        let drifts = every(self.tables.iter().map(|table| self.drift_of(table)));
        let excess = every(read.iter().map(|(_, table)| self.exceeds(table, cursor, most)));
        // Sent at once, answered in this order.
        let (_, (header, (drifts, excess))) = both(
            both(session.begin_snapshot(OPERATION), session.batch(OPERATION, &prologue)),
            both(self.header_in(), both(drifts, excess)),
        )
        .await?;
        let drift: Vec<_> =
            drifts.into_iter().enumerate().filter(|(_, drift)| *drift != Drift::None).collect();
        let drifted = |table: usize| drift.iter().any(|(other, _)| *other == table);
        let too_many = read.iter().zip(excess).filter(|(_, exceeds)| *exceeds);
        let too_many: Vec<usize> = too_many.map(|((at, _), _)| *at).collect();
        let whole = read.iter().map(|(at, _)| *at);
        let whole = whole.filter(|table| !too_many.contains(table) && !drifted(*table));
        let rows = every(whole.map(|table| self.changed(table, cursor, also))).await?;
        Ok(Poll { header, rows: rows.into_iter().flatten().collect(), too_many, drift })
    }

    async fn changed(
        &self,
        at: usize,
        cursor: &Snapshot,
        also: &[RowId],
    ) -> Result<Vec<RemoteRow>> {
        let Some(table) = self.tables.get(at) else { return Ok(Vec::new()) };
        let (xmax, open) = (number(cursor.xmax()), in_progress(cursor));
        let keys: Vec<Key> =
            also.iter().filter(|id| id.table == at).map(|id| id.key.clone()).collect();
        let mut sql = format!("{} WHERE s.txid >= $1 OR s.txid = ANY ($2)", table.select());
        let mut parameters: Vec<Parameter<'_>> =
            vec![(&xmax, Type::INT8), (&open, Type::INT8_ARRAY)];
        if !keys.is_empty() {
            sql.push_str(&format!(" OR {}", table.layout.own_key.among("s", "=", 3)));
            parameters.push((&keys, table.layout.own_key.many()));
        }
        self.rows(at, table, &sql, &parameters, OPERATION).await
    }

    /// Whether more than `most` rows are new, or more of texts than is held at once, besides the largest row: that
    /// one is no mass. Costs no more than counting so many.
    async fn exceeds(
        &self,
        table: &RemoteTable,
        cursor: &Snapshot,
        most: Option<u32>,
    ) -> Result<bool> {
        let Some(most) = most.map(i64::from) else { return Ok(false) };
        let (xmax, open) = (number(cursor.xmax()), in_progress(cursor));
        let sql = format!(
            "SELECT count(*) > $3 OR coalesce(sum(n.bytes) - max(n.bytes), 0) > {PORTION} FROM \
             (SELECT {} AS bytes {} WHERE s.txid >= $1 OR s.txid = ANY ($2) LIMIT $3 + 1) AS n",
            table.layout.bytes("u"),
            table.joined(),
        );
        let parameters: [Parameter<'_>; 3] =
            [(&xmax, Type::INT8), (&open, Type::INT8_ARRAY), (&most, Type::INT8)];
        let rows = self.session.query(OPERATION, &sql, &parameters).await?;
        column(rows.first().ok_or_else(|| unexpected(OPERATION))?, 0, OPERATION)
    }

    /// Runs a statement that begins with [`RemoteTable::select`].
    pub(super) async fn rows(
        &self,
        at: usize,
        table: &RemoteTable,
        sql: &str,
        parameters: &[Parameter<'_>],
        operation: &'static str,
    ) -> Result<Vec<RemoteRow>> {
        let rows = self.session.query(operation, sql, parameters).await?;
        rows.into_iter().map(|row| table.decode(at, &row, operation)).collect()
    }

    /// Whether capture is as it was installed, in one look.
    async fn drift_of(&self, table: &RemoteTable) -> Result<Drift> {
        let sql = format!(
            "SELECT k.name IS NOT NULL, \
             coalesce(f.target = k.target AND f.triggers = k.triggers, false), \
             coalesce(f.columns = k.columns, false) \
             FROM (SELECT $1::text AS name) AS n LEFT JOIN {}.tracked AS k ON k.name = n.name \
             LEFT JOIN ({}) AS f (target, triggers, columns) ON true",
            self.session.schema(),
            table.layout.fingerprint(),
        );
        let parameters: [Parameter<'_>; 1] = [(&table.layout.name(), Type::TEXT)];
        let rows = self.session.query(OPERATION, &sql, &parameters).await?;
        let Some(row) = rows.first() else { return Ok(Drift::Absent) };
        let (tracked, same, columns): (bool, bool, bool) =
            (column(row, 0, OPERATION)?, column(row, 1, OPERATION)?, column(row, 2, OPERATION)?);
        Ok(match (tracked, same, columns) {
            (false, ..) => Drift::Absent,
            (true, false, _) => Drift::Triggers,
            (true, true, false) => Drift::Columns,
            (true, true, true) => Drift::None,
        })
    }
}

/// Locks the tables, if there are any, as reading them does.
pub(super) fn locked<'t>(tables: impl Iterator<Item = &'t RemoteTable>) -> String {
    let targets: Vec<&str> = tables.map(|table| table.layout.target.as_str()).collect();
    match targets.is_empty() {
        true => String::new(),
        false => format!("LOCK TABLE {} IN ACCESS SHARE MODE; ", targets.join(", ")),
    }
}

fn in_progress(cursor: &Snapshot) -> Vec<i64> {
    cursor.in_progress().iter().copied().map(number).collect()
}

fn number(txid: u64) -> i64 {
    i64::try_from(txid).unwrap_or(i64::MAX)
}
