//! Parts of a table in key order, for a full comparison.

use tokio_postgres::types::Type;

use super::feed::locked;
use super::row::{BY_KEY, COLUMNS};
use super::{Primary, Range, RemoteRow};
use crate::schema::Key;
use crate::store::postgres::answer::column;
use crate::store::postgres::{Parameter, both};
use crate::value::PORTION;
use crate::{Error, Kind, Result};

const OPERATION: &str = "read a part of a table in PostgreSQL";

impl Primary<'_> {
    /// The sidecar's rows of a table with keys above `after`, in key order, at most `limit` and about a
    /// [`PORTION`]. One snapshot, taken as that of [`Primary::poll`].
    ///
    /// # Errors
    /// As for [`Primary::poll`]; internal if there is no such table.
    pub async fn range(&self, table: usize, after: Option<&Key>, limit: usize) -> Result<Range> {
        self.range_within(table, after, limit, PORTION).await
    }

    /// The same, at most about so many bytes of texts.
    ///
    /// # Errors
    /// As for [`Primary::range`].
    pub(crate) async fn range_within(
        &self,
        table: usize,
        after: Option<&Key>,
        limit: usize,
        most: usize,
    ) -> Result<Range> {
        let Some(remote) = self.tables.get(table) else {
            return Err(Error::new(Kind::Internal, OPERATION, "no such table"));
        };
        // By the sidecar's key alone: never sorted, never read whole.
        let prologue = format!(
            "{}{BY_KEY}; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off",
            locked(std::iter::once(remote))
        );
        // How far it goes is found without reading the texts.
        let key = &remote.layout.own_key;
        let above = match after {
            Some(_) => key.above("s", 2),
            None => "true".to_owned(),
        };
        let (bytes, joined) = (remote.layout.bytes("u"), remote.joined());
        let sql = format!(
            "SELECT {}, p.upto {joined} JOIN (SELECT {own}, {bytes} AS own, \
               (sum({bytes}) OVER (ORDER BY {own} ROWS UNBOUNDED PRECEDING))::bigint AS upto \
               {joined} WHERE {above} ORDER BY {own} LIMIT $1) AS p ON {same} \
             WHERE p.upto - p.own < {most} ORDER BY {end}",
            remote.select_list(),
            own = key.order("s", ""),
            same = key.same("p", "=", key, "s"),
            end = key.order("p", ""),
        );
        let rows = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut parameters: Vec<Parameter<'_>> = vec![(&rows, Type::INT8)];
        parameters.extend(after.map(|after| -> Parameter<'_> { (after, key.one()) }));
        let outcome = Box::pin(both(
            both(self.session.begin_snapshot(OPERATION), self.session.batch(OPERATION, &prologue)),
            both(self.header_in(), self.session.query(OPERATION, &sql, &parameters)),
        ))
        .await;
        self.leave(OPERATION).await;
        let (_, (header, found)) = outcome?;
        let bytes = found.last().map_or(Ok(0), |row| column::<i64>(row, COLUMNS, OPERATION))?;
        let is_full = found.len() >= limit || usize::try_from(bytes).is_ok_and(|n| n >= most);
        let rows = found.into_iter().map(|row| remote.decode(table, &row, OPERATION));
        let rows: Vec<RemoteRow> = rows.collect::<Result<_>>()?;
        let end = rows.last().map(|row| row.id.key.clone()).filter(|_| is_full);
        Ok(Range { header, rows, end })
    }
}
