//! The parts of a table on both sides.

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result, Store};
use crate::schema::{Column, Dialect, Key, KeyColumns, RowId, quoted};
use crate::store::postgres::primary::Primary;
use crate::store::sqlite::replica::{Content, LocalTable, Replica};
use crate::store::sqlite::{failed, from_sqlite, stored};
use crate::value::canonical_bytes;
use crate::value::{RangeDigest, RangeHasher, row_digest};
use rusqlite::params_from_iter;
use rusqlite::types::{Value as Stored, ValueRef};

const OPERATION: &str = "compare a part of a table in the SQLite file";

/// The digests of a row's columns, in the order of the declaration.
pub(crate) type Digests = Vec<[u8; 32]>;

/// What of a part is in quarantine.
pub(crate) type SetAside = BTreeSet<OneSided>;

/// A row, or its delete, that the other side refuses.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OneSided {
    pub key: Key,
    /// Who has it.
    pub by: Store,
    /// Whether it is a row.
    pub lives: bool,
}

/// Rows with keys above `after` and up to `upto` (`None`: to the end).
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub table: usize,
    pub after: Option<Key>,
    pub upto: Option<Key>,
}

impl Part {
    fn contains(&self, id: &RowId) -> bool {
        id.table == self.table
            && self.after.clone().is_none_or(|after| id.key > after)
            && self.upto.clone().is_none_or(|upto| id.key <= upto)
    }
}

/// The rows of a part, on one side.
#[derive(Debug, Default)]
pub(crate) struct PartRows {
    /// By key.
    pub digests: Vec<(Key, Digests)>,
    /// Rows whose key is none that can go over.
    pub nameless: u64,
}

impl PartRows {
    pub(super) fn count(&self) -> u64 {
        u64::try_from(self.digests.len()).unwrap_or(u64::MAX).saturating_add(self.nameless)
    }
}

/// Both stores.
pub(crate) struct Sides<'a> {
    pub primary: Primary<'a>,
    pub replica: &'a Replica,
}

impl Sides<'_> {
    /// The part above `after` in which neither side has more than `rows` rows.
    pub(crate) async fn part(&self, table: usize, after: Option<&Key>, rows: i64) -> Result<Part> {
        let there = self.primary.key_after(table, after, rows).await?;
        let after = after.cloned();
        let from = after.clone();
        let here = self.file(move |content| key_after(content, table, from.as_ref(), rows)).await?;
        Ok(Part { table, after, upto: [there, here].into_iter().flatten().min() })
    }

    /// PostgreSQL's digest and the file's.
    pub(crate) async fn digests(&self, part: &Part) -> Result<(RangeDigest, RangeDigest)> {
        let part = part.clone();
        let there =
            self.primary.range_digest(part.table, part.after.as_ref(), part.upto.as_ref()).await?;
        let here = self
            .file(move |content| {
                let mut hasher = RangeHasher::default();
                each(content, &part, |_, texts| hasher.row_of(texts.iter().map(Option::as_deref)))?;
                Ok(hasher.finish())
            })
            .await?;
        Ok((there, here))
    }

    /// PostgreSQL's rows and the file's.
    pub(crate) async fn rows(&self, part: &Part) -> Result<(PartRows, PartRows)> {
        let part = part.clone();
        let digests = self
            .primary
            .column_digests(part.table, part.after.as_ref(), part.upto.as_ref())
            .await?;
        let here = self
            .file(move |content| {
                let mut rows = PartRows::default();
                let digest = |text: &Option<Vec<u8>>| row_digest([text.as_deref()]);
                each(content, &part, |key, texts| match key {
                    Some(key) => rows.digests.push((key, texts.iter().map(digest).collect())),
                    None => rows.nameless += 1,
                })?;
                Ok(rows)
            })
            .await?;
        Ok((PartRows { digests, nameless: 0 }, here))
    }

    /// How many keys of the table are in quarantine.
    pub(crate) async fn quarantined(&self, table: usize) -> Result<u64> {
        let entries = self.file(|content| content.quarantine()).await?;
        let of_table = entries.iter().filter(|one| one.id.table == table);
        Ok(u64::try_from(of_table.count()).unwrap_or(u64::MAX))
    }

    /// What of the part is in quarantine, when PostgreSQL has these rows of it.
    pub(crate) async fn set_aside(&self, part: &Part, there: &PartRows) -> Result<SetAside> {
        let wanted = part.clone();
        let mut set_aside = self
            .file(move |content| {
                let mut found = SetAside::new();
                let entries = content.quarantine()?;
                for one in entries.iter().filter(|one| wanted.contains(&one.id)) {
                    let lives = match one.refused_by {
                        Store::Postgres => {
                            content.row(&one.id)?.is_some_and(|row| row.tracked.version.lives())
                        }
                        Store::Sqlite => true,
                    };
                    found.insert(OneSided {
                        key: one.id.key.clone(),
                        by: one.refused_by.other(),
                        lives,
                    });
                }
                Ok(found)
            })
            .await?;
        let known: BTreeSet<Key> = there.digests.iter().map(|(key, _)| key.clone()).collect();
        let is_missing = |kept: &OneSided| kept.by == Store::Postgres && !known.contains(&kept.key);
        let missing: Vec<OneSided> =
            set_aside.iter().filter(|kept| is_missing(kept)).cloned().collect();
        for kept in missing {
            // Few: the file has a trigger of its own that keeps rows from being deleted.
            let row = self.primary.row(&RowId::new(part.table, &kept.key)).await?;
            if row.is_some_and(|row| !row.version.live.value) {
                set_aside.insert(OneSided { lives: false, ..kept });
            }
        }
        Ok(set_aside)
    }

    async fn file<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.replica.read(OPERATION, work).await
    }
}

fn local<'c>(content: &'c Content<'_>, table: usize) -> Result<&'c LocalTable> {
    let missing = || Error::new(Kind::Schema(Store::Sqlite), OPERATION, "no such table");
    content.tables().get(table).ok_or_else(missing)
}

fn key_after(
    content: &Content<'_>,
    table: usize,
    after: Option<&Key>,
    count: i64,
) -> Result<Option<Key>> {
    let wrap = |cause| failed(OPERATION, cause);
    let table = &local(content, table)?.table;
    let key = KeyColumns::of(table, Dialect::Sqlite);
    let sql = format!(
        "SELECT {} FROM {} WHERE {} AND {} ORDER BY {} LIMIT 1 OFFSET ?1",
        key.given(""),
        quoted(table.name()),
        key.bounded("", [after.is_some(), false], 2),
        key.is_carried(""),
        key.order("", ""),
    );
    let mut values = vec![Stored::Integer(count.saturating_sub(1).max(0))];
    values.extend(after.map(stored));
    let mut look = content.connection().prepare_cached(&sql).map_err(wrap)?;
    let mut rows = look.query(params_from_iter(values)).map_err(wrap)?;
    rows.next().map_err(wrap)?.map(|row| row.get(0)).transpose().map_err(wrap)
}

/// Tells key and canonical texts of each row of the part, in the order of the keys.
///
/// The table itself is read, not its sidecar: a row that came while there were no triggers counts
/// too. What cannot be carried becomes bytes that are no UTF-8, which no row of PostgreSQL has.
fn each(
    content: &Content<'_>,
    part: &Part,
    mut row: impl FnMut(Option<Key>, &[Option<Vec<u8>>]),
) -> Result<()> {
    let wrap = |cause| failed(OPERATION, cause);
    let table = &local(content, part.table)?.table;
    let (name, key) = (quoted(table.name()), KeyColumns::of(table, Dialect::Sqlite));
    let column =
        |column: &Column| column.kind.description().stored(&column.quoted(Dialect::Sqlite));
    let columns: Vec<String> = table.columns().iter().map(column).collect();
    let (after, upto) = (part.after.as_ref(), part.upto.as_ref());
    let bounds = key.bounded("", [after, upto].map(|bound| bound.is_some()), 1);
    // Rows whose key is none can be anywhere; the last part has them.
    let whole = key.is_carried("");
    let which = match upto {
        Some(_) => format!("{bounds} AND {whole}"),
        None => format!("({bounds} AND {whole} OR NOT ({whole}))"),
    };
    let sql = format!(
        "SELECT {}, CASE WHEN {whole} THEN {} END FROM {name} WHERE {which} ORDER BY {}",
        columns.join(", "),
        key.given(""),
        key.order("", ""),
    );
    let mut statement = content.connection().prepare_cached(&sql).map_err(wrap)?;
    let values = after.into_iter().chain(upto);
    let mut found = statement.query(params_from_iter(values)).map_err(wrap)?;
    let mut texts: Vec<Option<Vec<u8>>> = Vec::with_capacity(columns.len());
    while let Some(read) = found.next().map_err(wrap)? {
        texts.clear();
        for (at, column) in table.columns().iter().enumerate() {
            let stored = read.get_ref(at).map_err(wrap)?;
            texts.push(match from_sqlite(&column.kind, stored) {
                Ok(value) => canonical_bytes(&value).map(|bytes| bytes.into_owned()),
                Err(_) => Some(uncarried(stored)),
            });
        }
        // One that is none is told without it.
        let named = read.get(columns.len()).ok();
        row(named, &texts);
    }
    Ok(())
}

fn uncarried(stored: ValueRef<'_>) -> Vec<u8> {
    let mut bytes = b"?\xff".to_vec();
    match stored {
        ValueRef::Null => {}
        ValueRef::Integer(number) => bytes.extend(number.to_string().bytes()),
        ValueRef::Real(number) => bytes.extend(number.to_bits().to_be_bytes()),
        ValueRef::Text(raw) | ValueRef::Blob(raw) => bytes.extend(raw),
    }
    bytes
}
