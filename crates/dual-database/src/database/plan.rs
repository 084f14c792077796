//! A call's changes before they meet a row.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock;
use crate::merge::{Change, Version};
use crate::schema::{Key, RowId, Table};
use crate::stamp::Stamp;
use crate::value::Value;
use crate::{Error, Kind, Result};

use super::number::NumberKept;
use super::patch::Checked;

/// What a caller wants of one row.
#[derive(Clone, Debug)]
pub(super) enum Intent {
    /// This change, or a refusal.
    Change(Change),
    /// The row as `insert` if it is not there; else these columns of it.
    Upsert { insert: Vec<Value>, update: Vec<(usize, Value)> },
}

impl Intent {
    /// The change for a row that lives, or does not; `None` if there is none.
    pub fn for_row(&self, alive: bool) -> Option<Change> {
        match self {
            Intent::Change(change @ Change::Insert(_)) => (!alive).then(|| change.clone()),
            Intent::Change(change) => alive.then(|| change.clone()),
            Intent::Upsert { update, .. } if alive => Some(Change::Update(update.clone())),
            Intent::Upsert { insert, .. } => Some(Change::Insert(insert.clone())),
        }
    }
}

/// Everything that one call does, in one transaction.
#[derive(Clone, Debug, Default)]
pub(super) struct WritePlan {
    /// The call, as a verb phrase.
    pub operation: &'static str,
    /// One intent for each row.
    pub intents: Vec<(RowId, Intent)>,
    /// What keeps the numbers of new rows, for those whose key was not named.
    pub numbers: BTreeMap<RowId, NumberKept>,
    /// The rows that were read to compute it, as they were; `None` if they did not live.
    pub reads: Vec<(RowId, Option<Version>)>,
}

impl WritePlan {
    /// The tables that it is about.
    pub fn tables(&self) -> BTreeSet<usize> {
        let changed = self.intents.iter().map(|(id, _)| id.table);
        changed.chain(self.reads.iter().map(|(id, _)| id.table)).collect()
    }

    /// Whether a number is one of the file's block: then the file has the rows first.
    pub fn is_of_block(&self) -> bool {
        self.numbers.values().any(|kept| !kept.is_asked)
    }

    /// The highest stamp of what keeps a number: the rows lie above.
    pub fn above_numbers(&self) -> Stamp {
        self.numbers.values().map(|kept| kept.by).max().unwrap_or_default()
    }

    /// The rows that it changes.
    pub fn ids(&self) -> Vec<RowId> {
        self.intents.iter().map(|(id, _)| id.clone()).collect()
    }
}

/// The whole new row: what was said, else the moment for the columns that keep it, else the
/// declared default; evaluated here, once, whichever store gets it first.
pub(super) fn new_row(table: &Table, said: &Checked) -> Vec<Value> {
    let now = jiff::tz::Offset::UTC.to_datetime(clock::now());
    let micros = now.subsec_nanosecond() / 1_000 * 1_000;
    let now = now.with().subsec_nanosecond(micros).build().unwrap_or(now);
    let mut values = table.defaults();
    for at in table.moments() {
        values[at] = Value::Timestamp(now);
    }
    for (at, value) in &said.columns {
        values[*at] = value.clone();
    }
    values
}

/// `table key`, for errors.
pub(super) fn named(tables: &[Table], id: &RowId) -> String {
    let table = tables.get(id.table).map_or("?", Table::name);
    format!("{table} {}", id.key)
}

/// The row is there already.
pub(super) fn already_exists(operation: &'static str, row: &str) -> Error {
    Error::new(Kind::AlreadyExists, operation, format!("{row} is there already"))
}

/// The row is not there.
pub(super) fn not_found(operation: &'static str, row: &str) -> Error {
    Error::new(Kind::NotFound, operation, format!("there is no {row}"))
}

/// What the row's intent answers where nothing can be done: a change of a row that is in the way,
/// or is missing.
pub(super) fn refusal(operation: &'static str, row: &str, alive: bool) -> Error {
    if alive { already_exists(operation, row) } else { not_found(operation, row) }
}

/// Somebody has changed a row that the transaction has read.
pub(super) fn conflict(operation: &'static str, row: &str) -> Error {
    let message = format!("{row} was changed by somebody else meanwhile");
    Error::new(Kind::Conflict, operation, message).with_hint("nothing was done; repeat it")
}

/// The key of a new row.
///
/// # Errors
/// Invalid data if it was not named.
pub(super) fn key_of(table: &Table, said: &Checked) -> Result<Key> {
    said.key.clone().ok_or_else(|| {
        let name = table.key_name();
        super::patch::refused(table, &name, "it has to be given: it is the key of a new row")
    })
}
