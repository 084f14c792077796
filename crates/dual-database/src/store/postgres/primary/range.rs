//! Parts of a table in key order, for a full comparison.

use tokio_postgres::types::Type;

use super::feed::locked;
use super::row::BY_KEY;
use super::{Primary, Range};
use crate::store::postgres::{Parameter, both};
use crate::{Error, Kind, Result};

const OPERATION: &str = "read a part of a table in PostgreSQL";

impl Primary<'_> {
    /// The sidecar's rows of a table with keys above `after`, in key order, at most `limit`;
    /// fewer mean that there are no more. One snapshot, taken as that of [`Primary::poll`].
    ///
    /// # Errors
    /// As for [`Primary::poll`]; internal if there is no such table.
    pub async fn range(&self, table: usize, after: Option<i64>, limit: usize) -> Result<Range> {
        let Some(remote) = self.tables.get(table) else {
            return Err(Error::new(Kind::Internal, OPERATION, "no such table"));
        };
        // By the sidecar's key alone: never sorted, never read whole.
        let prologue = format!(
            "{}; {BY_KEY}; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off",
            locked(std::slice::from_ref(remote))
        );
        let sql = format!("{} WHERE s.key >= $1 ORDER BY s.key LIMIT $2", remote.select());
        // Above the highest key there is nothing.
        let (from, limit) = match after.map(|key| key.checked_add(1)) {
            None => (i64::MIN, limit),
            Some(Some(from)) => (from, limit),
            Some(None) => (i64::MAX, 0),
        };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let parameters: [Parameter<'_>; 2] = [(&from, Type::INT8), (&limit, Type::INT8)];
        let outcome = Box::pin(both(
            both(self.session.begin_snapshot(OPERATION), self.session.batch(OPERATION, &prologue)),
            both(self.header_in(), self.rows(table, remote, &sql, &parameters, OPERATION)),
        ))
        .await;
        self.leave(OPERATION).await;
        let (_, (header, rows)) = outcome?;
        Ok(Range { header, rows })
    }
}
