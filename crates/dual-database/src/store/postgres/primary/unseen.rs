//! How much of the feed lies ahead of a cursor, without reading it.

use tokio_postgres::types::Type;

use super::Primary;
use crate::Result;
use crate::protocol::Snapshot;
use crate::store::postgres::Parameter;
use crate::store::postgres::answer::{column, unexpected};

impl Primary<'_> {
    /// How many rows have changed since the cursor, the file's own writes included.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::query`].
    pub(crate) async fn count_unseen(&self, cursor: &Snapshot) -> Result<u64> {
        let operation = "count PostgreSQL's changes";
        let number = |txid: u64| i64::try_from(txid).unwrap_or(i64::MAX);
        let xmax = number(cursor.xmax());
        let open: Vec<i64> = cursor.in_progress().iter().copied().map(number).collect();
        let mut unseen = 0;
        for table in self.tables {
            let sql = format!("SELECT count(*) FROM ({}) AS unseen", table.layout.changed_since());
            let parameters: [Parameter<'_>; 2] = [(&xmax, Type::INT8), (&open, Type::INT8_ARRAY)];
            let rows = self.session.ask(operation, &sql, &parameters).await?;
            let row = rows.first().ok_or_else(|| unexpected(operation))?;
            let count: i64 = column(row, 0, operation)?;
            unseen += u64::try_from(count).unwrap_or_default();
        }
        Ok(unseen)
    }
}
