//! Digests of parts of a table, to be compared with those of the other side.

use tokio_postgres::types::Type;

use super::row::BY_KEY;
use super::{Primary, RemoteTable};
use crate::schema::{Column, Key, LogicalType, quoted};
use crate::store::postgres::answer::{column, unexpected};
use crate::store::postgres::{Parameter, both};
use crate::value::RangeDigest;
use crate::{Error, Kind, Result};

const OPERATION: &str = "compare a part of a table in PostgreSQL";

impl Primary<'_> {
    /// Count and digest of the living rows with keys above `after` and up to `upto` (`None`: to
    /// the end), made of exactly the bytes that [`crate::value::RangeHasher`] documents.
    ///
    /// One statement sees one moment. A TRUNCATE shows as what it is, rows that are gone.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::query`]; internal if there is no such table.
    pub async fn range_digest(
        &self,
        table: usize,
        after: Option<&Key>,
        upto: Option<&Key>,
    ) -> Result<RangeDigest> {
        let Some(remote) = self.tables.get(table) else {
            return Err(Error::new(Kind::Internal, OPERATION, "no such table"));
        };
        let sql = remote.digest();
        let kind = remote.layout.key.one();
        let parameters: [Parameter<'_>; 2] = [(&after, kind.clone()), (&upto, kind)];
        let answer = both(
            both(self.session.begin(OPERATION), self.session.batch(OPERATION, BY_KEY)),
            self.session.query(OPERATION, &sql, &parameters),
        );
        let answer = answer.await;
        self.leave(OPERATION).await;
        let (_, rows) = answer?;
        let row = rows.first().ok_or_else(|| unexpected(OPERATION))?;
        let rows: i64 = column(row, 0, OPERATION)?;
        let digest: Vec<u8> = column(row, 1, OPERATION)?;
        Ok(RangeDigest {
            rows: u64::try_from(rows).map_err(|_| unexpected(OPERATION))?,
            digest: digest.try_into().map_err(|_| unexpected(OPERATION))?,
        })
    }
}

impl Primary<'_> {
    /// Key and, for each column, the [`crate::value::row_digest`] of it alone, of each living row
    /// with a key above `after` and up to `upto`, in key order.
    ///
    /// # Errors
    /// As for [`Primary::range_digest`].
    pub(crate) async fn column_digests(
        &self,
        table: usize,
        after: Option<&Key>,
        upto: Option<&Key>,
    ) -> Result<Vec<(Key, Vec<[u8; 32]>)>> {
        let Some(remote) = self.tables.get(table) else {
            return Err(Error::new(Kind::Internal, OPERATION, "no such table"));
        };
        let (target, key) = (&remote.layout.target, &remote.layout.key);
        let sql = format!(
            "SELECT {}, {} FROM {target} AS u WHERE {} ORDER BY {}",
            key.given("u"),
            remote.column_digests(),
            key.between("u", 1),
            key.order("u", ""),
        );
        let parameters: [Parameter<'_>; 2] = [(&after, key.one()), (&upto, key.one())];
        self.session.begin(OPERATION).await?;
        let answer = self.session.query(OPERATION, &sql, &parameters).await;
        self.leave(OPERATION).await;
        let read = |row: &tokio_postgres::Row| -> Result<(Key, Vec<[u8; 32]>)> {
            let digests: Vec<u8> = column(row, 1, OPERATION)?;
            let digests = digests.as_chunks().0.to_vec();
            Ok((column(row, 0, OPERATION)?, digests))
        };
        answer?.iter().map(read).collect()
    }

    /// The key of the living row that comes as the `count`-th above `after`, if there are so
    /// many.
    ///
    /// # Errors
    /// As for [`Primary::range_digest`].
    pub(crate) async fn key_after(
        &self,
        table: usize,
        after: Option<&Key>,
        count: i64,
    ) -> Result<Option<Key>> {
        let Some(remote) = self.tables.get(table) else {
            return Err(Error::new(Kind::Internal, OPERATION, "no such table"));
        };
        let (target, key) = (&remote.layout.target, &remote.layout.key);
        let sql = format!(
            "SELECT {} FROM {target} AS u WHERE $1 IS NULL OR {} ORDER BY {} OFFSET $2 LIMIT 1",
            key.given("u"),
            key.above("u", 1),
            key.order("u", ""),
        );
        let before = count.saturating_sub(1).max(0);
        let parameters: [Parameter<'_>; 2] = [(&after, key.one()), (&before, Type::INT8)];
        self.session.begin(OPERATION).await?;
        let answer = self.session.query(OPERATION, &sql, &parameters).await;
        self.leave(OPERATION).await;
        answer?.first().map(|row| column(row, 0, OPERATION)).transpose()
    }
}

impl RemoteTable {
    fn row_digest(&self) -> String {
        let columns = self.table.columns().iter();
        let columns = columns.map(|column| (&column.kind, format!("u.{}", quoted(&column.name))));
        digest_of(columns, self.layout.any_bytes)
    }

    /// Those of all columns, one after the other.
    fn column_digests(&self) -> String {
        let columns = self.table.columns().iter();
        let digest = |column: &Column| {
            let read = (&column.kind, format!("u.{}", quoted(&column.name)));
            digest_of([read], self.layout.any_bytes)
        };
        columns.map(digest).collect::<Vec<_>>().join(" || ")
    }

    fn digest(&self) -> String {
        let (target, key) = (&self.layout.target, &self.layout.key);
        format!(
            "SELECT count(*), sha256(coalesce(string_agg({row}, ''::bytea ORDER BY {order}), \
             ''::bytea)) FROM {target} AS u WHERE {between}",
            row = self.row_digest(),
            order = key.order("u", ""),
            between = key.between("u", 1),
        )
    }
}

/// The [`crate::value::row_digest`] of these expressions, as an expression; `any_bytes` as in
/// [`Session::takes_any_bytes`](crate::store::postgres::Session::takes_any_bytes).
pub(crate) fn digest_of<'c>(
    columns: impl IntoIterator<Item = (&'c LogicalType, String)>,
    any_bytes: bool,
) -> String {
    let canonical =
        |(kind, text): (&LogicalType, String)| kind.description().canonical(&text, any_bytes);
    let pieces: Vec<String> = columns.into_iter().map(|column| piece(&canonical(column))).collect();
    format!("sha256(convert_to({}, 'UTF8'))", pieces.join(" || "))
}

/// A field: its length in bytes and its text, or that there is none.
fn piece(text: &str) -> String {
    format!("coalesce(octet_length(convert_to({text}, 'UTF8')) || ':' || ({text}), '-')")
}
