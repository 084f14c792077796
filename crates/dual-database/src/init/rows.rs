//! The rows of both sides as they would read after the steps of the plan, page by page in the
//! order of their keys.

use rusqlite::types::ValueRef;
use tokio_postgres::types::Type;

use super::{LocalFile, OPERATION};
use crate::error::{Error, Kind, Result};
use crate::merge::canonical_bytes;
use crate::schema::{Dialect, LogicalType, Role, Table, literal, quoted};
use crate::store::postgres::primary::digest_of;
use crate::store::postgres::{Catalog, Parameter, Session};
use crate::store::sqlite::{Adoption, Found, carried, failed, from_sqlite};
use crate::value::row_digest;

/// So many rows of each side are held at once.
const PAGE: i64 = 5_000;

/// How the rows of both sides compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// Rows in PostgreSQL.
    pub postgres: u64,
    /// Rows in the file.
    pub sqlite: u64,
    /// Rows that only PostgreSQL has.
    pub only_postgres: u64,
    /// Rows that only the file has.
    pub only_sqlite: u64,
    /// Rows of both that differ in a column other than the surrogate.
    pub different: u64,
}

type Page = Vec<(i64, [u8; 32])>;

/// PostgreSQL's rows.
pub(super) struct Remote<'a> {
    session: &'a Session,
    /// `None` if there is no such table.
    sql: Option<String>,
}

impl<'a> Remote<'a> {
    pub(super) fn new(session: &'a Session, table: &Table, catalog: &Catalog) -> Remote<'a> {
        let sql = catalog.table.as_ref().map(|found| {
            let columns = compared(table).map(|column| {
                let reads = match found.column(column.name) {
                    Some(_) => format!("u.{}", quoted(column.name)),
                    None => {
                        let default = column.default.as_ref();
                        let value =
                            default.map_or("NULL".into(), |v| literal(v, Dialect::Postgres));
                        format!("{value}::{}", column.kind.sql(Dialect::Postgres))
                    }
                };
                (column.kind, reads)
            });
            let key = quoted(table.key().name);
            format!(
                "SELECT u.{key}::bigint, {} FROM {} AS u WHERE $1 IS NULL OR u.{key} > $1 \
                 ORDER BY u.{key} LIMIT $2",
                digest_of(columns),
                found.qualified()
            )
        });
        Remote { session, sql }
    }

    async fn page(&self, after: Option<i64>) -> Result<Page> {
        let Some(sql) = &self.sql else { return Ok(Page::new()) };
        let parameters: [Parameter<'_>; 2] = [(&after, Type::INT8), (&PAGE, Type::INT8)];
        let rows = self.session.query(OPERATION, sql, &parameters).await?;
        let unexpected = || {
            let message = "PostgreSQL answered in an unexpected form";
            Error::new(Kind::Internal, OPERATION, message)
        };
        rows.iter()
            .map(|row| {
                let key = row.try_get(0).map_err(|cause| unexpected().with_source(cause))?;
                let digest: Vec<u8> =
                    row.try_get(1).map_err(|cause| unexpected().with_source(cause))?;
                Ok((key, digest.try_into().map_err(|_| unexpected())?))
            })
            .collect()
    }
}

/// The file's rows.
pub(super) struct Local<'a> {
    file: &'a LocalFile,
    kinds: Vec<LogicalType>,
    sql: Option<String>,
}

impl<'a> Local<'a> {
    pub(super) fn new(file: &'a LocalFile, table: &Table, found: &Found) -> Local<'a> {
        let kinds = compared(table).map(|column| column.kind).collect();
        let sql = match found {
            Found::Table { columns, .. } => {
                let key = quoted(table.key().name);
                let reads: Vec<String> = compared(table)
                    .map(|column| {
                        let reads = Adoption::reads_as(column, columns);
                        match column.kind {
                            // Dates of other programs are brought into the canonical form.
                            LogicalType::Timestamp => format!(
                                "CASE typeof({reads}) WHEN 'text' \
                                 THEN coalesce(dual_timestamp({reads}), {reads}) ELSE {reads} END"
                            ),
                            kind => carried(&reads, kind),
                        }
                    })
                    .collect();
                Some(format!(
                    "SELECT u.{key}, {} FROM {} AS u \
                     WHERE (?1 IS NULL OR u.{key} > ?1) AND typeof(u.{key}) = 'integer' \
                     ORDER BY u.{key} LIMIT ?2",
                    reads.join(", "),
                    quoted(table.name())
                ))
            }
            Found::Nothing | Found::NotATable => None,
        };
        Local { file, kinds, sql }
    }

    fn page(&self, after: Option<i64>) -> Result<Page> {
        let wrap = |cause| failed(OPERATION, cause);
        let (Some(connection), Some(sql)) = (self.file.connection(), &self.sql) else {
            return Ok(Page::new());
        };
        let mut look = connection.prepare_cached(sql).map_err(wrap)?;
        let mut rows = look.query((after, PAGE)).map_err(wrap)?;
        let mut page = Page::new();
        while let Some(row) = rows.next().map_err(wrap)? {
            let mut texts: Vec<Option<Vec<u8>>> = Vec::with_capacity(self.kinds.len());
            for (at, kind) in self.kinds.iter().enumerate() {
                let stored = row.get_ref(at + 1).map_err(wrap)?;
                texts.push(match from_sqlite(*kind, stored) {
                    Ok(value) => canonical_bytes(&value).map(|bytes| bytes.into_owned()),
                    // Equals nothing that PostgreSQL can have.
                    Err(_) => Some(match stored {
                        ValueRef::Text(raw) | ValueRef::Blob(raw) => [b"?\xff", raw].concat(),
                        _ => b"?\xff".to_vec(),
                    }),
                });
            }
            let digest = row_digest(texts.iter().map(Option::as_deref));
            page.push((row.get(0).map_err(wrap)?, digest));
        }
        Ok(page)
    }
}

/// The columns that both sides should agree on: the surrogate is PostgreSQL's in any case.
fn compared(table: &Table) -> impl Iterator<Item = &crate::schema::Column> {
    table.columns().iter().filter(|column| column.role != Role::Surrogate)
}

/// Walks both sides once.
pub(super) async fn compare(remote: &Remote<'_>, local: &Local<'_>) -> Result<RowCounts> {
    let mut counts = RowCounts::default();
    let (mut there, mut here) = (Side::default(), Side::default());
    loop {
        if there.is_empty() {
            there.refill(remote.page(there.after).await?);
        }
        if here.is_empty() {
            here.refill(local.page(here.after)?);
        }
        let (one, other) = (there.next(), here.next());
        let takes = match (one, other) {
            (None, None) => return Ok(counts),
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some(one), Some(other)) => (one.0 <= other.0, other.0 <= one.0),
        };
        counts.postgres += u64::from(takes.0);
        counts.sqlite += u64::from(takes.1);
        match takes {
            (true, true) => counts.different += u64::from(one != other),
            (true, false) => counts.only_postgres += 1,
            (false, _) => counts.only_sqlite += 1,
        }
        if takes.0 {
            there.pass();
        }
        if takes.1 {
            here.pass();
        }
    }
}

#[derive(Default)]
struct Side {
    page: std::vec::IntoIter<(i64, [u8; 32])>,
    after: Option<i64>,
    ended: bool,
}

impl Side {
    fn is_empty(&self) -> bool {
        self.page.as_slice().is_empty() && !self.ended
    }

    fn refill(&mut self, page: Page) {
        self.ended = page.is_empty();
        self.page = page.into_iter();
    }

    fn next(&self) -> Option<(i64, [u8; 32])> {
        self.page.as_slice().first().copied()
    }

    fn pass(&mut self) {
        self.after = self.page.next().map(|(key, _)| key);
    }
}
