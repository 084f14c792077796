//! Reading the sidecar, and setting what a write of ours leaves in it. Everything in the
//! caller's transaction.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params_from_iter};

use super::layout::Layout;
use crate::merge::{Bases, Register};
use crate::schema::{Key, Table, behind};
use crate::stamp::{Stamp, Writer};
use crate::store::sqlite::{failed, from_sqlite};
use crate::value::Value;
use crate::{Error, Kind, Result, Store};

/// A row of a sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalEntry {
    /// The key.
    pub key: Key,
    /// Whether the row lives.
    pub live: Register<bool>,
    /// The stamps of the data columns in their declared order.
    pub columns: Vec<Stamp>,
    /// What is pending, in the same order.
    pub bases: Bases,
    /// The position of its last change here.
    pub seq: i64,
}

/// What the file knows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The writer number of its triggers.
    pub writer: Writer,
    /// The position of the last change.
    pub seq: i64,
    /// The purge horizon: the stamp of what an insert says nothing about.
    pub horizon: Stamp,
}

/// What the file knows of itself.
///
/// # Errors
/// Those of [`failed`], also if capture is not installed.
pub fn state(connection: &Connection) -> Result<State> {
    let operation = "read the state of the SQLite file";
    let sql = "SELECT writer, seq, horizon FROM dual_state";
    let (writer, seq, horizon): (u16, i64, i64) = connection
        .prepare_cached(sql)
        .and_then(|mut look| look.query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))))
        .map_err(|cause| failed(operation, cause))?;
    let writer = Writer::new(writer).ok_or_else(|| damaged(operation))?;
    Ok(State { writer, seq, horizon: stamp(horizon, operation)? })
}

/// Gives the file another number: it is a copy, and the original goes on under its own.
///
/// # Errors
/// Those of [`failed`].
pub fn renumber(connection: &Connection, writer: Writer) -> Result<()> {
    connection
        .execute("UPDATE dual_state SET writer = ?1", [writer.number()])
        .map(|_| ())
        .map_err(|cause| failed("give the SQLite file a number", cause))
}

/// Takes the rows that were adopted here as what PostgreSQL has adopted: for a table whose rows
/// all came from one load into both. Returns how many there are.
///
/// # Errors
/// Those of [`failed`].
pub fn agree_on_adopted(connection: &Connection, layout: &Layout) -> Result<usize> {
    let sql = format!(
        "UPDATE {} SET stamp = {}, seq = 0, live_base = NULL{} WHERE stamp = {} AND live = 1",
        layout.sidecar,
        Stamp::ADOPTED_POSTGRES.raw(),
        behind(", ", layout.each(", ", |r| format!("{} = NULL", r.base))),
        Stamp::ADOPTED_SQLITE.raw(),
    );
    connection.execute(&sql, []).map_err(|cause| failed("settle adopted rows", cause))
}

/// Says of the rows that were adopted here, and not exchanged yet, whose values stand where
/// PostgreSQL has others: the file's if `here`, else PostgreSQL's.
///
/// # Errors
/// Those of [`failed`].
pub fn prefer(connection: &Connection, layout: &Layout, here: bool) -> Result<()> {
    let (from, to) = match here {
        true => (Stamp::ADOPTED_SQLITE, Stamp::ADOPTED_PREFERRED),
        false => (Stamp::ADOPTED_PREFERRED, Stamp::ADOPTED_SQLITE),
    };
    let (from, to) = (from.raw(), to.raw());
    let set =
        |stamp: &str| format!("{stamp} = CASE {stamp} WHEN {from} THEN {to} ELSE {stamp} END");
    let sql = format!(
        "UPDATE {} SET {}{} WHERE live = 1 AND (stamp = {from}{})",
        layout.sidecar,
        set("stamp"),
        behind(", ", layout.each(", ", |r| set(&r.stamp))),
        behind(" OR ", layout.each(" OR ", |r| format!("{} = {from}", r.stamp))),
    );
    connection
        .execute(&sql, [])
        .map(|_| ())
        .map_err(|cause| failed("note whose values stand", cause))
}

/// The sidecar row of that key.
///
/// # Errors
/// Those of [`failed`].
pub fn entry(connection: &Connection, layout: &Layout, key: &Key) -> Result<Option<LocalEntry>> {
    Ok(read(connection, layout, &layout.own_key.is("", "=", 1), key)?.pop())
}

/// The sidecar rows that have changed since that position, in the order of their changes.
///
/// # Errors
/// Those of [`failed`].
pub fn changed_above(
    connection: &Connection,
    layout: &Layout,
    seq: i64,
) -> Result<Vec<LocalEntry>> {
    read(connection, layout, "seq > ?1 ORDER BY seq", seq)
}

/// Sets what a write of ours, just made in this transaction and captured like any other, leaves
/// in the sidecar: `entry`, as far as the row really is as the write wanted it, which is
/// `values` (the data columns in their order; nothing if it is dead). What a trigger of the
/// user's has made of it keeps the captured stamp and stays pending. Says whether all is as
/// wanted.
///
/// # Errors
/// Those of [`failed`].
pub fn write_sidecar(
    connection: &Connection,
    table: &Table,
    layout: &Layout,
    wanted: &LocalEntry,
    values: &[&Value],
) -> Result<bool> {
    let operation = "set the stamps of a write";
    let wrap = |cause| failed(operation, cause);
    let key = &wanted.key;
    let row = connection
        .prepare_cached(&layout.statements.values)
        .and_then(|mut look| {
            let read = look.query_row([key], |row| {
                let pairs = table.data_columns().zip(values).enumerate();
                let same = pairs.map(|(at, (c, value))| {
                    // What the column cannot hold is read as NULL, and is left alone.
                    let is = from_sqlite(&c.kind, row.get_ref(1 + at)?).unwrap_or(Value::Null);
                    Ok(is == **value)
                });
                same.collect::<rusqlite::Result<Vec<bool>>>()
            });
            read.optional()
        })
        .map_err(wrap)?;
    let captured = entry(connection, layout, key)?;
    let mut settled = wanted.clone();
    let mut exact = row.is_some() == wanted.live.value;
    match (&captured, row) {
        (Some(captured), _) if !exact => settled = captured.clone(),
        (Some(captured), Some(same)) if same.contains(&false) => {
            let writer = state(connection)?.writer;
            for at in (0..settled.columns.len()).filter(|at| same.get(*at) != Some(&true)) {
                exact = false;
                settled.seq = captured.seq;
                // The trigger has replaced what the write wanted: its stamp lies above.
                let wish = wanted.columns.get(at).copied().unwrap_or_default();
                let own = captured.columns.get(at).copied().unwrap_or(captured.live.stamp);
                if let Some(stamp) = settled.columns.get_mut(at) {
                    *stamp = own.max(wish.next(writer));
                }
                settled.bases.columns.resize(wanted.columns.len(), None);
                if let Some(base) = settled.bases.columns.get_mut(at) {
                    base.get_or_insert(wish);
                }
            }
        }
        _ => {}
    }
    put(connection, layout, &settled)?;
    Ok(exact)
}

/// Writes a sidecar row as it is given, whatever the data row is.
///
/// # Errors
/// Those of [`failed`].
pub fn put(connection: &Connection, layout: &Layout, entry: &LocalEntry) -> Result<()> {
    let mut numbers = vec![
        Some(i64::from(entry.live.value)),
        Some(entry.live.stamp.raw()),
        Some(entry.seq),
        entry.bases.live.map(Stamp::raw),
    ];
    for (at, stamp) in entry.columns.iter().enumerate() {
        numbers.push((*stamp != entry.live.stamp).then_some(stamp.raw()));
        numbers.push(entry.bases.column(at).map(Stamp::raw));
    }
    connection
        .prepare_cached(&layout.statements.put)
        .and_then(|mut put| {
            let numbers = numbers.iter().map(|number| number as &dyn ToSql);
            put.execute(params_from_iter(std::iter::once(&entry.key as &dyn ToSql).chain(numbers)))
        })
        .map(|_| ())
        .map_err(|cause| failed("write the sidecar", cause))
}

fn read(
    connection: &Connection,
    layout: &Layout,
    which: &str,
    value: impl ToSql,
) -> Result<Vec<LocalEntry>> {
    let operation = "read the sidecar";
    let sql = format!("{} WHERE {which}", layout.statements.entries);
    let wrap = |cause| failed(operation, cause);
    let mut statement = connection.prepare_cached(&sql).map_err(wrap)?;
    let mut rows = statement.query([value]).map_err(wrap)?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next().map_err(wrap)? {
        let number = |at: usize| row.get::<_, Option<i64>>(at).map_err(wrap);
        let optional = |at| number(at)?.map(|raw| stamp(raw, operation)).transpose();
        let needed = |at| optional(at)?.ok_or_else(|| damaged(operation));
        let mut entry = LocalEntry {
            key: row.get(0).map_err(wrap)?,
            live: Register { value: integer(row, 1).map_err(wrap)? != 0, stamp: needed(2)? },
            columns: Vec::new(),
            bases: Bases { live: optional(4)?, columns: Vec::new() },
            seq: integer(row, 3).map_err(wrap)?,
        };
        for at in 0..layout.registers.len() {
            entry.columns.push(needed(5 + 2 * at)?);
            entry.bases.columns.push(optional(6 + 2 * at)?);
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn integer(row: &Row<'_>, at: usize) -> rusqlite::Result<i64> {
    row.get(at)
}

pub(in crate::store::sqlite) fn stamp(raw: i64, operation: &'static str) -> Result<Stamp> {
    Stamp::from_raw(raw).ok_or_else(|| damaged(operation))
}

pub(in crate::store::sqlite) fn damaged(operation: &'static str) -> Error {
    Error::new(Kind::Schema(Store::Sqlite), operation, "the sidecar holds no valid stamp")
        .with_hint("somebody has written it: `dual repair --stamps` sets it back")
}
