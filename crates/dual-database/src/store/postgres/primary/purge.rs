//! Forgetting: tombstones below the horizon, and transaction ids of another history.

use std::time::{Duration, Instant};

use tokio_postgres::types::Type;

use super::{Primary, RemoteTable};
use crate::Result;
use crate::schema::Key;
use crate::stamp::Stamp;
use crate::store::postgres::Parameter;
use crate::store::postgres::answer::{column, unexpected};

/// How many tombstones go in one transaction, which keeps writers waiting.
const CHUNK: usize = 5_000;

/// How many rows of a sidecar are looked at in one statement.
const RANGE: i64 = 50_000;

/// Where a purge goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PurgePosition {
    table: usize,
    after: Option<Key>,
}

impl Primary<'_> {
    /// Transaction ids from the future belong to another history: they become 0. Without any it
    /// locks nothing.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::commit`].
    pub async fn forget_future_ids(&self) -> Result<()> {
        let operation = "forget the transaction ids of another history";
        let (dual, future) = (self.session.schema(), "txid_snapshot_xmax(txid_current_snapshot())");
        let found: Vec<String> = self
            .tables
            .iter()
            .map(|table| {
                let sidecar = &table.layout.sidecar;
                format!("EXISTS (SELECT FROM {sidecar} WHERE txid >= {future})")
            })
            .chain([format!("EXISTS (SELECT FROM {dual}.installation WHERE purged >= {future})")])
            .collect();
        let sql = format!("SELECT {}", found.join(" OR "));
        let rows = self.session.ask(operation, &sql, &[]).await?;
        let any: bool = column(rows.first().ok_or_else(|| unexpected(operation))?, 0, operation)?;
        if !any {
            return Ok(());
        }
        // Nobody writes while it is decided: an update that waited for another transaction would
        // take that one's id for one from the future.
        let mut sql = format!("{};", self.sidecars_locked());
        for table in self.tables {
            let sidecar = &table.layout.sidecar;
            sql.push_str(&format!("UPDATE {sidecar} SET txid = 0 WHERE txid >= {future};"));
        }
        sql.push_str(&format!(
            "UPDATE {dual}.installation SET purged = NULL WHERE purged >= {future}"
        ));
        self.session.begin(operation).await?;
        let done = self.session.batch(operation, &sql).await;
        self.end(done, operation).await
    }

    /// Removes tombstones that are wholly below the horizon and whose transaction every running
    /// one has passed, and records the horizon and the highest of those transactions. Looks for
    /// them by ranges of keys and without a lock: no statement takes longer because the table is
    /// large. Writers wait only while some are removed. After `within` it says where it can go on.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::commit`]. What was removed before an error
    /// stays removed.
    pub async fn purge(
        &self,
        horizon: Stamp,
        from: PurgePosition,
        within: Duration,
    ) -> Result<(u64, Option<PurgePosition>)> {
        let begun = Instant::now();
        let (mut purged, mut mark) = (0, from);
        while let Some(table) = self.tables.get(mark.table) {
            let (gone, after) = self.purge_part(table, horizon, mark.after.as_ref()).await?;
            purged += gone;
            mark = match after {
                Some(_) => PurgePosition { after, ..mark },
                None => PurgePosition { table: mark.table + 1, after: None },
            };
            if begun.elapsed() >= within && mark.table < self.tables.len() {
                return Ok((purged, Some(mark)));
            }
        }
        Ok((purged, None))
    }

    /// One range of keys; says how many are gone and with which key it ends, if not with the table.
    async fn purge_part(
        &self,
        table: &RemoteTable,
        horizon: Stamp,
        after: Option<&Key>,
    ) -> Result<(u64, Option<Key>)> {
        let operation = "purge tombstones in PostgreSQL";
        let (sidecar, own) = (&table.layout.sidecar, &table.layout.own_key);
        let horizon = horizon.raw();
        let condition =
            "NOT live AND stamp < $1 AND txid < txid_snapshot_xmin(txid_current_snapshot())";
        let sql = format!(
            "SELECT (array_agg({given} ORDER BY {last}))[1], count(*), \
             array_agg({given}) FILTER (WHERE {condition}) FROM \
             (SELECT {key}, live, stamp, txid FROM {sidecar} WHERE $2 IS NULL OR {above} \
              ORDER BY {key} LIMIT {RANGE}) AS s",
            given = own.given(""),
            last = own.order("", " DESC"),
            key = own.list(""),
            above = own.above("", 2),
        );
        let parameters: [Parameter<'_>; 2] = [(&horizon, Type::INT8), (&after, own.one())];
        let rows = self.session.ask(operation, &sql, &parameters).await?;
        let row = rows.first().ok_or_else(|| unexpected(operation))?;
        let (last, count): (Option<Key>, i64) =
            (column(row, 0, operation)?, column(row, 1, operation)?);
        let keys: Option<Vec<Key>> = column(row, 2, operation)?;
        let after = last.filter(|_| count >= RANGE);
        let mut gone = 0;
        for keys in keys.unwrap_or_default().chunks(CHUNK) {
            gone += self.purge_keys(table, condition, horizon, keys.to_vec()).await?;
        }
        Ok((gone, after))
    }

    async fn purge_keys(
        &self,
        table: &RemoteTable,
        condition: &str,
        horizon: i64,
        keys: Vec<Key>,
    ) -> Result<u64> {
        let operation = "purge tombstones in PostgreSQL";
        let sql = format!(
            "WITH gone AS (DELETE FROM {sidecar} WHERE {among} AND {condition} \
               RETURNING txid), \
             noted AS (UPDATE {dual}.installation SET horizon = greatest(horizon, $1), \
               purged = greatest(purged, (SELECT max(txid) FROM gone)) \
               WHERE EXISTS (SELECT FROM gone)) \
             SELECT count(*) FROM gone",
            sidecar = table.layout.sidecar,
            among = table.layout.own_key.among("", "=", 2),
            dual = self.session.schema(),
        );
        let parameters: [Parameter<'_>; 2] =
            [(&horizon, Type::INT8), (&keys, table.layout.own_key.many())];
        self.session.begin(operation).await?;
        let work = async {
            self.session.batch(operation, &self.sidecars_locked()).await?;
            let rows = self.session.query(operation, &sql, &parameters).await?;
            let row = rows.first().ok_or_else(|| unexpected(operation))?;
            let count: i64 = column(row, 0, operation)?;
            u64::try_from(count).map_err(|_| unexpected(operation))
        };
        self.end(work.await, operation).await
    }

    /// Keeps everybody from writing: pushes hold `ROW EXCLUSIVE` while they decide, and
    /// captures while they are open.
    pub(super) fn sidecars_locked(&self) -> String {
        let names: Vec<&str> = self.tables.iter().map(|t| t.layout.sidecar.as_str()).collect();
        format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", names.join(", "))
    }
}
