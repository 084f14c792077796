//! Setting rows aside, and trying them again.

use std::collections::BTreeMap;

use super::rounds::now_ms;
use crate::Result;
use crate::protocol::Quarantined;
use crate::schema::{Dialect, LogicalType, RowId, Table, built_in, shell_word};
use crate::store::postgres::primary::LOCKED;
use crate::store::sqlite::replica::{Content, Side};
use crate::value::LONGEST;

/// The code of a value that the other side's type cannot hold.
pub(super) const UNREADABLE: &str = "unreadable";

/// The code of a row in whose place another one waits for its number.
pub(super) const NUMBER: &str = "number";

/// How often a transaction is made again that a trigger without an end has taken back: each time
/// another row is known that is set aside then, after a few all of its table.
pub(super) const AGAIN: usize = 10;

/// The first pause before a row is tried again by itself, and the longest, in milliseconds.
const RETRY_MS: (i64, i64) = (30_000, 3_600_000);

/// The same for one that refers to a row which PostgreSQL does not have: usually that one is on its way, from
/// here or from another file.
const ORPHAN_MS: (i64, i64) = (1_000, 3_600_000);

/// SQLSTATE `foreign_key_violation`.
const ORPHAN: &str = "23503";

/// SQLSTATE `numeric_value_out_of_range`.
const OUT_OF_RANGE: &str = "22003";

/// The same for one that somebody else has locked for a while.
const LOCKED_MS: (i64, i64) = (1_000, 15_000);

/// The quarantine of some rows, as a transaction found it.
#[derive(Debug)]
pub(super) struct QuarantineSet {
    now_ms: i64,
    known: BTreeMap<RowId, Vec<Quarantined>>,
}

impl QuarantineSet {
    /// Of these rows: there may be many others.
    pub(super) fn of(
        content: &Content<'_>,
        ids: impl Iterator<Item = RowId>,
    ) -> Result<QuarantineSet> {
        let mut known = BTreeMap::<RowId, Vec<Quarantined>>::new();
        for id in ids {
            let aside = content.aside(&id)?;
            if !aside.is_empty() {
                known.insert(id, aside);
            }
        }
        Ok(QuarantineSet { now_ms: now_ms(), known })
    }

    /// Whether that side refuses the row.
    pub(super) fn has(&self, id: &RowId, refused_by: Side) -> bool {
        self.entry(id, refused_by).is_some()
    }

    fn entry(&self, id: &RowId, refused_by: Side) -> Option<&Quarantined> {
        self.known.get(id)?.iter().find(|entry| entry.refused_by == refused_by)
    }

    /// Sets the row aside; again, with a longer pause: as long as it has been there, within
    /// bounds.
    pub(super) fn set_aside(
        &self,
        content: &Content<'_>,
        id: &RowId,
        refused_by: Side,
        code: &str,
        reason: String,
    ) -> Result<()> {
        let keyed = || {
            let table = &content.tables().get(id.table)?.table;
            let number = id.key.number()?;
            let (least, most) = table.key().kind.bounds()?;
            let is_outside = !(least..=most).contains(&number);
            is_outside.then(|| too_narrow(table, &table.key().name, &table.key().kind))?
        };
        let reason = match code {
            OUT_OF_RANGE => keyed().map_or(reason.clone(), |hint| reason + &hint),
            _ => reason,
        };
        let since_ms = self.entry(id, refused_by).map_or(self.now_ms, |entry| entry.since_ms);
        let (least, most) = match code {
            LOCKED => LOCKED_MS,
            ORPHAN => ORPHAN_MS,
            _ => RETRY_MS,
        };
        let pause = (self.now_ms - since_ms).clamp(least, most);
        content.set_aside(&Quarantined {
            id: id.clone(),
            refused_by,
            code: code.to_owned(),
            reason,
            since_ms,
            retry_ms: self.now_ms + pause,
        })
    }

    /// A row of `side` that the other one cannot hold.
    pub(super) fn unreadable(
        &self,
        content: &Content<'_>,
        id: &RowId,
        refused_by: Side,
        column: usize,
    ) -> Result<()> {
        let table = content.tables().get(id.table).map(|local| &local.table);
        let column = table.and_then(|table| table.data_column(column));
        let mut reason = match column {
            Some(column) => format!("the column `{}` holds what {refused_by} cannot", column.name),
            None => format!("its key is one that {refused_by} cannot hold"),
        };
        let most = LONGEST >> 20;
        match column.map(|column| &column.kind) {
            Some(kind) if kind.is_text() => reason.push_str(&format!(
                ", such as bytes that are no UTF-8, or a text longer than {most} MB: shorten it"
            )),
            Some(LogicalType::Bytes) => {
                reason.push_str(&format!(", such as more than {} MB: shorten it", most / 2));
            }
            Some(kind) => {
                // A text in the file is helped by no wider column.
                let is_number = refused_by == Side::Sqlite
                    || column.map_or(Ok(false), |one| content.has_whole(id, one))?;
                let name = column.map_or("", |column| &column.name);
                let table = table.filter(|_| is_number);
                reason.extend(table.and_then(|table| too_narrow(table, name, kind)));
            }
            None => {}
        }
        self.set_aside(content, id, refused_by, UNREADABLE, reason)
    }

    /// That side takes the row now.
    pub(super) fn release(&self, content: &Content<'_>, id: &RowId, side: Side) -> Result<()> {
        if self.has(id, side) { content.release(id, side) } else { Ok(()) }
    }
}

/// What helps where a whole number does not fit in the column that is declared for it.
fn too_narrow(table: &Table, column: &str, kind: &LogicalType) -> Option<String> {
    kind.bounds()?;
    // What the documented system has stays as it is.
    if table.label() == built_in().label() && built_in().column(column).is_some() {
        return None;
    }
    let (table, column) = (shell_word(table.name()), shell_word(column));
    let kind = kind.sql(Dialect::Postgres);
    Some(format!(
        ", it is declared {kind}: `dual schema apply {table} --widen {column}` makes it bigint"
    ))
}
