//! A record as a staged row, and back.

use dual_database::schema::{LogicalType, Table};
use dual_database::store::sqlite::{from_sqlite, to_sqlite};
use dual_database::value::Value;
use rusqlite::types::{Value as Stored, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use super::Statements;
use crate::columns::{data_columns, key_position};
use crate::mapping::{Mapping, SheetRecord};

/// So many columns share a mask: what fits into a whole number of either store, its sign left
/// alone.
const MASKED: usize = 62;

/// The masks of a staged row, in which a bit says of a column that the source knows it.
pub(crate) fn masks(table: &Table) -> Vec<String> {
    let name = |mask| if mask == 0 { "known".to_owned() } else { format!("known_{mask}") };
    (0..table.columns().len().div_ceil(MASKED)).map(name).collect()
}

/// The place of a column's mask among them, and its bit there.
pub(crate) fn bit(position: usize) -> (usize, i64) {
    (position / MASKED, 1 << (position % MASKED))
}

/// Whether the staged row's source knows the column; `masks` are the row's.
pub(crate) fn is_known(masks: &[i64], position: usize) -> bool {
    let (mask, bit) = bit(position);
    masks.get(mask).is_some_and(|mask| mask & bit != 0)
}

pub(super) fn write_staged(
    connection: &Connection,
    table: &Table,
    statements: &Statements,
    mapping: &Mapping,
    key: i64,
    record: &SheetRecord,
) -> rusqlite::Result<()> {
    let mut known = vec![0_i64; masks(table).len()];
    for (position, _) in data_columns(table) {
        let (mask, bit) = bit(position);
        if let (Some(Some(_)), Some(mask)) = (record.values.get(position), known.get_mut(mask)) {
            *mask |= bit;
        }
    }
    let row = i64::try_from(record.row).unwrap_or(i64::MAX);
    // What a new row gets: another of its columns as the mapping says, then the constant.
    let mut complete = record.values.clone();
    mapping.complete_new(&mut complete);
    let values = data_columns(table).map(|(position, column)| {
        let value = complete.get(position).and_then(Option::as_ref).or(column.default.as_ref());
        value.map_or(Stored::Null, to_sqlite)
    });
    let numbers = [key, row].into_iter().chain(known).map(Stored::Integer);
    connection
        .prepare_cached(&statements.insert)?
        .execute(params_from_iter(numbers.chain(values)))?;
    Ok(())
}

pub(super) fn staged_record(
    connection: &Connection,
    table: &Table,
    statements: &Statements,
    key: i64,
) -> rusqlite::Result<Option<SheetRecord>> {
    connection
        .prepare_cached(&statements.select)?
        .query_row([key], |row| staged_of(row, table))
        .optional()
}

/// A row of `SELECT * FROM staged` as a record again.
fn staged_of(row: &Row<'_>, table: &Table) -> rusqlite::Result<SheetRecord> {
    let known = known_of(row, table)?;
    let first = 2 + known.len();
    let mut values = vec![None; table.columns().len()];
    if let Some(slot) = key_position(table).and_then(|at| values.get_mut(at)) {
        *slot = Some(Value::Int(row.get(0)?));
    }
    for (index, (position, column)) in data_columns(table).enumerate() {
        if is_known(&known, position)
            && let Some(slot) = values.get_mut(position)
        {
            *slot = Some(stored_value(&column.kind, row.get_ref(first + index)?));
        }
    }
    let number: i64 = row.get(1)?;
    Ok(SheetRecord { row: u64::try_from(number).unwrap_or(0), values })
}

/// The masks of a row of `SELECT * FROM staged`.
pub(crate) fn known_of(row: &Row<'_>, table: &Table) -> rusqlite::Result<Vec<i64>> {
    (0..masks(table).len()).map(|mask| row.get(2 + mask)).collect()
}

/// A value that we staged ourselves; it always decodes.
pub(crate) fn stored_value(kind: &LogicalType, stored: ValueRef<'_>) -> Value {
    from_sqlite(kind, stored).unwrap_or(Value::Null)
}
