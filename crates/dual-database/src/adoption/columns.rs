//! The columns in which rows of both sides differ: what becomes of each, by the rules of the
//! comparison that joins them ([`outlasts`]).

use std::sync::Arc;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::rows::{get, local_reads, remote_reads, unreadable};
use super::{Bond, LocalFile, OPERATION};
use crate::error::{Result, Store};
use crate::merge::Defaults;
use crate::protocol::reconcile::{Says, outlasts};
use crate::schema::{Dialect, Key, KeyColumns, LogicalType, Role, Table, behind, literal};
use crate::stamp::Stamp;
use crate::store::postgres::primary::digest_of;
use crate::store::postgres::{FoundTable, Parameter, Session, capture};
use crate::store::sqlite::capture::{Drift, Layout, drift, lacks};
use crate::store::sqlite::{FoundColumn, failed, from_sqlite};
use crate::value::canonical_bytes;
use crate::value::row_digest;

/// How the values of a column compare in the rows that both sides have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnCounts {
    /// The column.
    pub column: Arc<str>,
    /// Rows in which it differs: the sum of the next three.
    pub different: u64,
    /// Rows in which the file gets PostgreSQL's value, in the place of nothing, or of one that is
    /// known to be older.
    pub from_postgres: u64,
    /// Rows in which PostgreSQL gets the file's, likewise.
    pub from_sqlite: u64,
    /// Rows in which both have a value, and nothing tells which is right: one of the two goes to the
    /// conflict log.
    pub conflicts: u64,
}

/// What one side has in a column of a row.
#[derive(Clone, Copy)]
struct Cell {
    stamp: Stamp,
    says: Says,
    digest: [u8; 32],
    /// It was there before the file met this PostgreSQL.
    was_there: bool,
}

/// What is the same for all rows of a table.
pub(super) struct Columns<'a> {
    pub(super) counts: Vec<ColumnCounts>,
    file: &'a LocalFile,
    session: &'a Session,
    bond: Bond,
    prefer: Store,
    defaults: Defaults,
    kinds: Vec<LogicalType>,
    horizon: Stamp,
    local: String,
    remote: String,
    /// The type of an array of keys.
    many: Type,
}

impl<'a> Columns<'a> {
    /// Looks whether the sides keep stamps of the table already.
    pub(super) async fn new(
        (file, here): (&'a LocalFile, &[FoundColumn]),
        (session, there): (&'a Session, &FoundTable),
        table: &Table,
        (bond, prefer): (Bond, Store),
    ) -> Result<Columns<'a>> {
        let data = || table.columns().iter().filter(|column| column.role == Role::Data);
        let count = |column: &crate::schema::Column| ColumnCounts {
            column: Arc::clone(&column.name),
            ..ColumnCounts::default()
        };
        let horizon = horizon(session, table).await?;
        Ok(Columns {
            counts: data().map(count).collect(),
            file,
            session,
            bond,
            prefer,
            defaults: Defaults::new(table.defaults()),
            kinds: data().map(|column| column.kind.clone()).collect(),
            horizon: horizon.unwrap_or_default(),
            local: local_sql(file, table, here)?,
            remote: remote_sql(session, table, there, horizon.is_some()),
            many: KeyColumns::of(table, Dialect::Postgres).many(),
        })
    }

    /// Counts the columns of these rows, which both sides have; says in how many of them something
    /// is in conflict.
    pub(super) async fn count(&mut self, keys: &[Key]) -> Result<u64> {
        let parameters: [Parameter<'_>; 2] =
            [(&keys, self.many.clone()), (&self.horizon.raw(), Type::INT8)];
        let rows = self.session.query(OPERATION, &self.remote, &parameters).await?;
        let mut conflicting = 0;
        for row in rows {
            let (key, there) = remote_cells(&row)?;
            // Somebody may have changed it meanwhile.
            let Some(here) = self.local_cells(&key)? else { continue };
            let mut conflicts = false;
            for ((ours, theirs), counts) in here.iter().zip(&there).zip(&mut self.counts) {
                if ours.digest == theirs.digest {
                    continue;
                }
                counts.different += 1;
                let both = ours.says == Says::Something && theirs.says == Says::Something;
                if both && ours.was_there && self.bond != Bond::Joined {
                    counts.conflicts += 1;
                    conflicts = true;
                } else if stands(ours, theirs, self.horizon) == Store::Sqlite {
                    counts.from_sqlite += 1;
                } else {
                    counts.from_postgres += 1;
                }
            }
            conflicting += u64::from(conflicts);
        }
        Ok(conflicting)
    }

    /// The file's row, with the stamps that its columns have, or will have when it is taken in.
    fn local_cells(&self, key: &Key) -> Result<Option<Vec<Cell>>> {
        let wrap = |cause| failed(OPERATION, cause);
        let Some(connection) = self.file.connection() else { return Ok(None) };
        let mut look = connection.prepare_cached(&self.local).map_err(wrap)?;
        let mut rows = look.query([key]).map_err(wrap)?;
        let Some(row) = rows.next().map_err(wrap)? else { return Ok(None) };
        let mut cells = Vec::with_capacity(self.kinds.len());
        for (at, kind) in self.kinds.iter().enumerate() {
            let stored = row.get_ref(1 + 3 * at).map_err(wrap)?;
            let (says, digest) = match from_sqlite(kind, stored) {
                Ok(value) => {
                    let says = Says::of(&value, at, &self.defaults);
                    (says, row_digest([canonical_bytes(&value)]))
                }
                Err(_) => (Says::Something, row_digest([Some(unreadable(stored))])),
            };
            let number = |at: usize| row.get::<_, Option<i64>>(at).map_err(wrap);
            let kept = number(3 * at + 2)?.and_then(Stamp::from_raw);
            let is_pending = number(3 * at + 3)?.is_some();
            cells.push(self.cell(says, digest, kept, is_pending));
        }
        Ok(Some(cells))
    }

    fn cell(&self, says: Says, digest: [u8; 32], kept: Option<Stamp>, is_pending: bool) -> Cell {
        let adopted = match (says, self.prefer) {
            (Says::Something, Store::Postgres) => Stamp::ADOPTED_SQLITE,
            (Says::Something, Store::Sqlite) => Stamp::ADOPTED_PREFERRED,
            (Says::Nothing | Says::Default, _) => Stamp::ZERO,
        };
        let was_there = match (self.bond, kept) {
            (Bond::Joined, _) => false,
            (Bond::New | Bond::Rejoining { .. }, None) => true,
            (Bond::New, Some(stamp)) => stamp.is_adopted() || stamp == Stamp::ZERO,
            (Bond::Rejoining { .. }, Some(stamp)) => {
                !is_pending || stamp.is_adopted() || stamp == Stamp::ZERO
            }
        };
        let stamp = kept.filter(|_| !was_there).unwrap_or(adopted);
        Cell { stamp, says, digest, was_there }
    }
}

/// Whose value stands, where only one side has one, or the stamps tell.
fn stands(ours: &Cell, theirs: &Cell, horizon: Stamp) -> Store {
    let outlasts =
        ours.was_there && outlasts((ours.stamp, ours.says), (theirs.stamp, theirs.says), horizon);
    match outlasts || (ours.stamp, ours.says) > (theirs.stamp, theirs.says) {
        true => Store::Sqlite,
        false => Store::Postgres,
    }
}

/// The purge horizon, if PostgreSQL keeps stamps of all columns.
async fn horizon(session: &Session, table: &Table) -> Result<Option<Stamp>> {
    let layout = capture::Layout::new(table, "").within(session);
    let stamps: Vec<&str> = std::iter::once("\"stamp\"").chain(layout.stamps()).collect();
    let sidecar = layout.sidecar();
    let sql = "SELECT count(*) FROM pg_catalog.pg_attribute AS a \
               WHERE a.attrelid = to_regclass($1) AND NOT a.attisdropped \
               AND '\"' || replace(a.attname, '\"', '\"\"') || '\"' = ANY ($2)";
    let parameters: [Parameter<'_>; 2] = [(&sidecar, Type::TEXT), (&stamps, Type::TEXT_ARRAY)];
    let rows = session.query(OPERATION, sql, &parameters).await?;
    let there: i64 = rows.first().map_or(Ok(0), |row| get(row, 0))?;
    if usize::try_from(there) != Ok(stamps.len()) {
        return Ok(None);
    }
    let sql = format!("SELECT horizon FROM {}.installation", session.schema());
    let rows = session.query(OPERATION, &sql, &[]).await?;
    let horizon: Option<i64> = rows.first().map(|row| get(row, 0)).transpose()?;
    Ok(horizon.and_then(Stamp::from_raw))
}

/// Of the rows with the keys `$1`: key, for each data column what it says, its stamp and its digest.
/// `$2` is the purge horizon. A row of which nothing is kept has the stamps that it will be given.
fn remote_sql(session: &Session, table: &Table, found: &FoundTable, keeps: bool) -> String {
    let layout = capture::Layout::new(table, "").within(session);
    let (key, own) = (
        KeyColumns::of(table, Dialect::Postgres),
        KeyColumns::of_sidecar(table, Dialect::Postgres),
    );
    let (mut says, mut stamps, mut digests) = (Vec::new(), Vec::new(), Vec::new());
    let data = table.columns().iter().filter(|column| column.role == Role::Data);
    for (column, stamp) in data.zip(layout.stamps()) {
        let reads = remote_reads(column, found);
        let default = column.default.as_ref().map_or(String::new(), |value| {
            let value = literal(value, Dialect::Postgres);
            let is = column.kind.description().equals(Dialect::Postgres, &reads, &value);
            format!("WHEN {is} THEN 1 ")
        });
        let say = format!("CASE WHEN {reads} IS NULL THEN 0 {default}ELSE 2 END");
        let adopted =
            format!("CASE WHEN {say} = 2 THEN {} ELSE $2 END", Stamp::ADOPTED_POSTGRES.raw());
        stamps.push(match keeps {
            true => format!("coalesce(s.{stamp}, s.stamp, {adopted})"),
            false => adopted,
        });
        digests.push(digest_of([(&column.kind, reads)], session.takes_any_bytes()));
        says.push(say);
    }
    let sidecar = match keeps {
        true => format!(
            " LEFT JOIN {} AS s ON {} AND s.live AND s.stamp <> 0",
            layout.sidecar(),
            own.same("s", "=", &key, "u")
        ),
        false => String::new(),
    };
    format!(
        "SELECT {}, ARRAY[{}]::int[], ARRAY[{}]::bigint[], ''::bytea{} \
         FROM {} AS u{sidecar} WHERE {} ORDER BY {}",
        key.given("u"),
        says.join(", "),
        stamps.join(", "),
        behind(" || ", digests.join(" || ")),
        found.qualified(),
        key.among("u", "=", 1),
        key.order("u", ""),
    )
}

fn remote_cells(row: &Row) -> Result<(Key, Vec<Cell>)> {
    let (says, stamps): (Vec<i32>, Vec<i64>) = (get(row, 1)?, get(row, 2)?);
    let digests: Vec<u8> = get(row, 3)?;
    let (digests, _) = digests.as_chunks::<32>();
    let cell = |((says, stamp), digest): ((i32, i64), &[u8; 32])| {
        let says = match says {
            0 => Says::Nothing,
            1 => Says::Default,
            _ => Says::Something,
        };
        let stamp = Stamp::from_raw(stamp).unwrap_or_default();
        Cell { stamp, says, digest: *digest, was_there: false }
    };
    Ok((get(row, 0)?, says.into_iter().zip(stamps).zip(digests).map(cell).collect()))
}

/// Of the row with the key `?1`: each data column with its stamp and its base.
fn local_sql(file: &LocalFile, table: &Table, found: &[FoundColumn]) -> Result<String> {
    let layout = Layout::new(table);
    let keeps = match file.connection().as_deref() {
        Some(connection) => {
            drift(connection, &layout)? != Drift::Absent && !lacks(connection, &layout)?
        }
        None => false,
    };
    let data = table.columns().iter().filter(|column| column.role == Role::Data);
    let reads: Vec<String> = data
        .zip(layout.stamps())
        .map(|(column, (stamp, base))| {
            let reads = local_reads(column, found);
            match keeps {
                true => format!("{reads}, coalesce(s.{stamp}, s.stamp), s.{base}"),
                false => format!("{reads}, NULL, NULL"),
            }
        })
        .collect();
    let (key, own) =
        (KeyColumns::of(table, Dialect::Sqlite), KeyColumns::of_sidecar(table, Dialect::Sqlite));
    let sidecar = match keeps {
        true => format!(
            " LEFT JOIN {} AS s ON {} AND s.live = 1 AND s.stamp <> 0",
            layout.sidecar(),
            own.same("s", "=", &key, "u")
        ),
        false => String::new(),
    };
    Ok(format!(
        "SELECT 1{} FROM {} AS u{sidecar} WHERE {} AND {}",
        behind(", ", reads.join(", ")),
        file.read_as(table)?,
        key.is("u", "=", 1),
        key.is_carried("u"),
    ))
}
