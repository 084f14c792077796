//! Forgetting: tombstones below the horizon, and transaction ids of another history.

use tokio_postgres::types::Type;

use super::row::{column, unexpected};
use super::{Primary, RemoteTable};
use crate::Result;
use crate::stamp::Stamp;
use crate::store::postgres::Parameter;

/// How many tombstones go in one transaction, which keeps writers waiting.
const CHUNK: i64 = 20_000;

impl Primary<'_> {
    /// Transaction ids from the future belong to another history: they become 0. Without any it
    /// locks nothing.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::commit`].
    pub async fn forget_future_ids(&self) -> Result<()> {
        let operation = "forget the transaction ids of another history";
        let future = "txid_snapshot_xmax(txid_current_snapshot())";
        let found: Vec<String> = self
            .tables
            .iter()
            .map(|table| {
                let sidecar = &table.layout.sidecar;
                format!("EXISTS (SELECT FROM {sidecar} WHERE txid >= {future})")
            })
            .chain([format!("EXISTS (SELECT FROM dual.installation WHERE purged >= {future})")])
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
            "UPDATE dual.installation SET purged = NULL WHERE purged >= {future}"
        ));
        self.session.begin(operation).await?;
        match self.session.batch(operation, &sql).await {
            Ok(()) => self.session.commit(operation).await,
            Err(error) => Err(self.give_up(error, operation).await),
        }
    }

    /// Removes tombstones that are wholly below the horizon and whose transaction every running
    /// one has passed, and records the horizon and the highest of those transactions. Returns how
    /// many. Looks for them without a lock; writers wait only while they are removed, a part at
    /// a time.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::commit`]. What was removed before an error
    /// stays removed.
    pub async fn purge(&self, horizon: Stamp) -> Result<u64> {
        let mut purged = 0;
        for table in self.tables {
            loop {
                let gone = self.purge_part(table, horizon).await?;
                purged += gone;
                if gone == 0 {
                    break;
                }
            }
        }
        Ok(purged)
    }

    async fn purge_part(&self, table: &RemoteTable, horizon: Stamp) -> Result<u64> {
        let operation = "purge tombstones in PostgreSQL";
        let sidecar = &table.layout.sidecar;
        let horizon = horizon.raw();
        let condition =
            "NOT live AND stamp < $1 AND txid < txid_snapshot_xmin(txid_current_snapshot())";
        let sql = format!("SELECT key FROM {sidecar} WHERE {condition} LIMIT {CHUNK}");
        let rows = self.session.ask(operation, &sql, &[(&horizon, Type::INT8)]).await?;
        let keys: Vec<i64> =
            rows.iter().map(|row| column(row, 0, operation)).collect::<Result<_>>()?;
        if keys.is_empty() {
            return Ok(0);
        }
        let sql = format!(
            "WITH gone AS (DELETE FROM {sidecar} WHERE key = ANY ($2) AND {condition} \
               RETURNING txid), \
             noted AS (UPDATE dual.installation SET horizon = greatest(horizon, $1), \
               purged = greatest(purged, (SELECT max(txid) FROM gone)) \
               WHERE EXISTS (SELECT FROM gone)) \
             SELECT count(*) FROM gone"
        );
        let parameters: [Parameter<'_>; 2] = [(&horizon, Type::INT8), (&keys, Type::INT8_ARRAY)];
        self.session.begin(operation).await?;
        let work = async {
            self.session.batch(operation, &self.sidecars_locked()).await?;
            let rows = self.session.query(operation, &sql, &parameters).await?;
            let row = rows.first().ok_or_else(|| unexpected(operation))?;
            let count: i64 = column(row, 0, operation)?;
            u64::try_from(count).map_err(|_| unexpected(operation))
        };
        match work.await {
            Ok(count) => self.session.commit(operation).await.map(|()| count),
            Err(error) => Err(self.give_up(error, operation).await),
        }
    }

    /// Keeps everybody from writing: pushes hold `ROW EXCLUSIVE` while they decide, and
    /// captures while they are open.
    fn sidecars_locked(&self) -> String {
        let names: Vec<&str> = self.tables.iter().map(|t| t.layout.sidecar.as_str()).collect();
        format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", names.join(", "))
    }
}
