//! The rows of both sides as they would read after the steps of the plan, page by page in the
//! order of their keys.

use rusqlite::types::ValueRef;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSqlOwned, Type};

use super::columns::{ColumnCounts, Columns};
use super::{LocalFile, OPERATION};
use crate::error::{Error, Kind, Result};
use crate::schema::{Column, Dialect, Key, KeyColumns, LogicalType, Role, Table, literal, quoted};
use crate::store::postgres::primary::digest_of;
use crate::store::postgres::{Catalog, FoundTable, Parameter, Session};
use crate::store::sqlite::{Adoption, FoundColumn, FoundRelation, failed, from_sqlite};
use crate::value::canonical_bytes;
use crate::value::row_digest;

/// So many rows of each side are held at once, as digests.
const PAGE: i64 = 5_000;

/// So many rows that differ are looked at together, column by column.
const DIFFERENT: usize = 1_000;

/// How the rows of both sides compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Those of them in which something goes to the conflict log ([`ColumnCounts::conflicts`]).
    pub conflicting: u64,
    /// The columns in which rows of both differ, in their order.
    pub columns: Vec<ColumnCounts>,
}

/// How a row of the file stands to PostgreSQL's of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// They are not equal.
    Different,
    /// There is none.
    OnlySqlite,
}

type Page = Vec<(Key, [u8; 32])>;

/// PostgreSQL's rows.
pub(super) struct RemoteRows<'a> {
    session: &'a Session,
    /// `None` if there is no such table, or nothing in it.
    sql: Option<String>,
    /// The type of a parameter that is a key.
    key: Type,
}

impl<'a> RemoteRows<'a> {
    pub(super) fn new(session: &'a Session, table: &Table, catalog: &Catalog) -> RemoteRows<'a> {
        // Without a key there is no row.
        let keyed = |found: &&FoundTable| {
            table.key_columns().all(|column| found.column(&column.name).is_some())
        };
        let key = KeyColumns::of(table, Dialect::Postgres);
        let sql = catalog.table.as_ref().filter(keyed).map(|found| {
            let columns = compared(table).map(|column| (&column.kind, remote_reads(column, found)));
            format!(
                "SELECT {}, {} FROM {} AS u WHERE $1 IS NULL OR {} ORDER BY {} LIMIT $2",
                key.given("u"),
                digest_of(columns, session.takes_any_bytes()),
                found.qualified(),
                key.above("u", 1),
                key.order("u", ""),
            )
        });
        RemoteRows { session, sql, key: key.one() }
    }

    async fn page(&self, after: Option<&Key>) -> Result<Page> {
        let Some(sql) = &self.sql else { return Ok(Page::new()) };
        let parameters: [Parameter<'_>; 2] = [(&after, self.key.clone()), (&PAGE, Type::INT8)];
        let rows = self.session.query(OPERATION, sql, &parameters).await?;
        rows.iter()
            .map(|row| {
                let digest: Vec<u8> = get(row, 1)?;
                Ok((get(row, 0)?, digest.try_into().map_err(|_| unexpected())?))
            })
            .collect()
    }
}

/// The file's rows.
pub(super) struct LocalRows<'a> {
    file: &'a LocalFile,
    kinds: Vec<LogicalType>,
    sql: Option<String>,
}

impl<'a> LocalRows<'a> {
    pub(super) fn new(
        file: &'a LocalFile,
        table: &Table,
        found: &FoundRelation,
    ) -> Result<LocalRows<'a>> {
        let kinds = compared(table).map(|column| column.kind.clone()).collect();
        let sql = match found {
            FoundRelation::Table { columns, .. } => {
                let key = KeyColumns::of(table, Dialect::Sqlite);
                let reads: Vec<String> =
                    compared(table).map(|column| local_reads(column, columns)).collect();
                Some(format!(
                    "SELECT {}, {} FROM {} AS u WHERE (?1 IS NULL OR {}) AND {} \
                     ORDER BY {} LIMIT ?2",
                    key.given("u"),
                    reads.join(", "),
                    file.read_as(table)?,
                    key.above("u", 1),
                    key.is_carried("u"),
                    key.order("u", ""),
                ))
            }
            FoundRelation::Nothing | FoundRelation::NotATable => None,
        };
        Ok(LocalRows { file, kinds, sql })
    }

    fn page(&self, after: Option<&Key>) -> Result<Page> {
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
                texts.push(match from_sqlite(kind, stored) {
                    Ok(value) => canonical_bytes(&value).map(|bytes| bytes.into_owned()),
                    Err(_) => Some(unreadable(stored)),
                });
            }
            let digest = row_digest(texts.iter().map(Option::as_deref));
            page.push((row.get(0).map_err(wrap)?, digest));
        }
        Ok(page)
    }
}

/// The columns that both sides should agree on: the surrogate is PostgreSQL's in any case.
fn compared(table: &Table) -> impl Iterator<Item = &Column> {
    table.columns().iter().filter(|column| column.role != Role::Surrogate)
}

/// The SQL by which a row `u` of PostgreSQL's table reads in the column once that is there.
pub(super) fn remote_reads(column: &Column, found: &FoundTable) -> String {
    if let Some(there) = found.present(column) {
        return format!("u.{}", quoted(&there.name));
    }
    let default = column.default.as_ref();
    let value = default.map_or("NULL".into(), |value| literal(value, Dialect::Postgres));
    format!("{value}::{}", column.kind.sql(Dialect::Postgres))
}

/// The same of the file's. Dates of other programs are brought into the canonical form.
pub(super) fn local_reads(column: &Column, found: &[FoundColumn]) -> String {
    let reads = Adoption::reads_as(column, found);
    let description = column.kind.description();
    match description.tidied(&reads) {
        Some(tidied) => format!(
            "CASE typeof({reads}) WHEN 'text' THEN coalesce({tidied}, {reads}) ELSE {reads} END"
        ),
        None => description.stored(&reads),
    }
}

/// What equals nothing that PostgreSQL can have.
pub(super) fn unreadable(stored: ValueRef<'_>) -> Vec<u8> {
    match stored {
        ValueRef::Text(raw) | ValueRef::Blob(raw) => [b"?\xff", raw].concat(),
        _ => b"?\xff".to_vec(),
    }
}

pub(super) fn get<T: FromSqlOwned>(row: &Row, at: usize) -> Result<T> {
    row.try_get(at).map_err(|cause| unexpected().with_source(cause))
}

fn unexpected() -> Error {
    Error::new(Kind::Internal, OPERATION, "PostgreSQL answered in an unexpected form")
}

/// Walks both sides once. Of rows that differ `columns` looks at the columns, if both sides have a
/// table; `met` gets their keys, and those that only the file has.
pub(super) async fn compare(
    remote: &RemoteRows<'_>,
    local: &LocalRows<'_>,
    mut columns: Option<Columns<'_>>,
    mut met: impl FnMut(Met, &Key),
) -> Result<RowCounts> {
    let mut counts = RowCounts::default();
    let (mut there, mut here) = (Side::default(), Side::default());
    let mut different = Vec::new();
    loop {
        if there.is_empty() {
            there.refill(remote.page(there.after.as_ref()).await?);
        }
        if here.is_empty() {
            here.refill(local.page(here.after.as_ref())?);
        }
        let (one, other) = (there.next(), here.next());
        let takes = match (&one, &other) {
            (None, None) => break,
            (Some(_), None) => (true, false),
            (None, Some(_)) => (false, true),
            (Some(one), Some(other)) => (one.0 <= other.0, other.0 <= one.0),
        };
        counts.postgres += u64::from(takes.0);
        counts.sqlite += u64::from(takes.1);
        match takes {
            (true, true) if one != other => {
                one.iter().for_each(|(key, _)| met(Met::Different, key));
                different.extend(one.map(|(key, _)| key));
            }
            (true, true) => {}
            (true, false) => counts.only_postgres += 1,
            (false, _) => {
                other.iter().for_each(|(key, _)| met(Met::OnlySqlite, key));
                counts.only_sqlite += 1;
            }
        }
        if takes.0 {
            there.pass();
        }
        if takes.1 {
            here.pass();
        }
        if different.len() == DIFFERENT {
            counts.add(&different, columns.as_mut()).await?;
            different.clear();
        }
    }
    counts.add(&different, columns.as_mut()).await?;
    let differs = |column: &ColumnCounts| column.different > 0;
    counts.columns =
        columns.map_or(Vec::new(), |all| all.counts.into_iter().filter(differs).collect());
    Ok(counts)
}

impl RowCounts {
    async fn add(&mut self, different: &[Key], columns: Option<&mut Columns<'_>>) -> Result<()> {
        self.different += different.len() as u64;
        if let Some(columns) = columns.filter(|_| !different.is_empty()) {
            self.conflicting += columns.count(different).await?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Side {
    page: std::vec::IntoIter<(Key, [u8; 32])>,
    after: Option<Key>,
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

    fn next(&self) -> Option<(Key, [u8; 32])> {
        self.page.as_slice().first().cloned()
    }

    fn pass(&mut self) {
        self.after = self.page.next().map(|(key, _)| key);
    }
}
