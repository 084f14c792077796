//! Staged rows in COPY's text form, completed by what only SQLite has.

use bytes::{BufMut as _, Bytes, BytesMut};
use dual_database::error::Result;
use dual_database::schema::{Table, quoted};
use dual_database::store::sqlite::{Adoption, FoundRelation, SCHEMA, failed, from_sqlite};
use dual_database::value::Value;
use dual_database::value::plain_text;
use rusqlite::types::ValueRef;
use tokio::sync::mpsc;

use super::sqlite::Unfit;
use crate::columns::data_columns;
use crate::staging::{is_known, known_of, masks, stored_value};

/// About this much text goes to the server at a time.
const CHUNK: usize = 64 * 1024;

/// Reads the staged rows as COPY's text, a chunk at a time. A value of the store's file that
/// does not fit its column goes as NULL, and its row is returned.
pub(super) fn read_staged(
    connection: &rusqlite::Connection,
    table: &Table,
    complete: bool,
    chunks: &mpsc::Sender<(Bytes, u64)>,
) -> Result<Vec<Unfit>> {
    let operation = "read the staged rows";
    let wrap = |cause| failed(operation, cause);
    let key = quoted(&table.key().name);
    // The store's columns, as they will read once its table is adopted, come behind the staged
    // ones: SQLite adopts after PostgreSQL has been sent its rows.
    let statement =
        match complete.then(|| FoundRelation::read(connection, SCHEMA, table)).transpose()? {
            Some(FoundRelation::Table { columns, .. }) => {
                let reads: String = table
                    .data_columns()
                    .map(|column| format!(", {}", Adoption::reads_as(column, &columns)))
                    .collect();
                format!(
                    "SELECT s.*, u.{key}{reads} FROM staged AS s LEFT JOIN store.{} AS u \
                 ON u.{key} = s.{key} ORDER BY s.{key}",
                    quoted(table.name())
                )
            }
            _ => format!("SELECT s.*, NULL FROM staged AS s ORDER BY s.{key}"),
        };
    let numbers = 2 + masks(table).len();
    let staged_width = numbers + table.data_columns().count();
    let mut statement = connection.prepare(&statement).map_err(wrap)?;
    let mut rows = statement.query([]).map_err(wrap)?;
    let (mut chunk, mut count) = (BytesMut::with_capacity(CHUNK + 4096), 0_u64);
    let mut unfit: Vec<Unfit> = Vec::new();
    while let Some(row) = rows.next().map_err(wrap)? {
        let number: i64 = row.get(0).map_err(wrap)?;
        let known = known_of(row, table).map_err(wrap)?;
        let in_store = !matches!(row.get_ref(staged_width).map_err(wrap)?, ValueRef::Null);
        for index in 0..numbers {
            if index > 0 {
                chunk.put_u8(b'\t');
            }
            let whole: i64 = row.get(index).map_err(wrap)?;
            chunk.put_slice(whole.to_string().as_bytes());
        }
        for (index, (position, column)) in data_columns(table).enumerate() {
            let value = if in_store && !is_known(&known, position) {
                let stored = row.get_ref(staged_width + 1 + index).map_err(wrap)?;
                from_sqlite(&column.kind, stored).unwrap_or_else(|_| {
                    // One a row is enough to refuse it, and bounds the memory.
                    if unfit.last().is_none_or(|last| last.key != number) {
                        unfit.push(Unfit { key: number, position });
                    }
                    Value::Null
                })
            } else {
                stored_value(&column.kind, row.get_ref(numbers + index).map_err(wrap)?)
            };
            chunk.put_u8(b'\t');
            put_copy_text(&mut chunk, &value);
        }
        chunk.put_u8(b'\n');
        count += 1;
        if chunk.len() >= CHUNK && chunks.blocking_send((chunk.split().freeze(), count)).is_err() {
            return Ok(unfit); // The receiver has failed and tells why.
        }
    }
    if !chunk.is_empty() {
        let _ = chunks.blocking_send((chunk.freeze(), count));
    }
    Ok(unfit)
}

/// A value in COPY's text form (PostgreSQL manual, COPY, "Text Format").
fn put_copy_text(line: &mut BytesMut, value: &Value) {
    let Some(text) = plain_text(value) else { return line.put_slice(b"\\N") };
    for byte in text.as_bytes() {
        match byte {
            b'\\' => line.put_slice(b"\\\\"),
            b'\n' => line.put_slice(b"\\n"),
            b'\r' => line.put_slice(b"\\r"),
            b'\t' => line.put_slice(b"\\t"),
            other => line.put_u8(*other),
        }
    }
}
