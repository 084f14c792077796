//! Neighbours who drop, rename and replace the table, on either side.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::{Done, Skipped, side, table_of};
use crate::ledger::now;
use crate::operator::{Side, apply, kept};
use crate::schedule::Event;
use crate::tables::Kind;
use crate::worker::{REFUSED_AT, SPACE};
use crate::world::World;

const BUSY: Skipped = "somebody else changes that table";
/// How long others are waited for.
const OTHERS: Duration = Duration::from_secs(15);
/// How long a side may be away before it is put back.
const AWAY: Duration = Duration::from_secs(60);

/// Keeps others from the table of a side, and from the file.
pub(super) struct Hold<'w> {
    _table: MutexGuard<'w, ()>,
    _file: Option<MutexGuard<'w, ()>>,
}

pub(super) fn hold(world: &World, side: Side) -> Result<Hold<'_>, Skipped> {
    let table = hold_table(world, side)?;
    let file = match side {
        Side::Postgres => None,
        Side::File(node) => Some(world.nodes[node].trouble.try_lock().map_err(|_| BUSY)?),
    };
    Ok(Hold { _table: table, _file: file })
}

/// Keeps others from the table of a side.
pub(super) fn hold_table(world: &World, side: Side) -> Result<MutexGuard<'_, ()>, Skipped> {
    let table = match side {
        Side::Postgres => &world.table,
        Side::File(node) => &world.nodes[node].table,
    };
    table.try_lock().map_err(|_| BUSY)
}

/// Keeps others from the tables of all sides, too: who types `dual init --apply` means that both are
/// as they should be.
pub(super) struct HoldAll<'w> {
    _side: Hold<'w>,
    _others: Vec<MutexGuard<'w, ()>>,
}

pub(super) fn hold_all(world: &World, side: Side) -> Result<HoldAll<'_>, Skipped> {
    let start = Instant::now();
    loop {
        let all = hold(world, side).and_then(|held| {
            let nodes = world.nodes.iter().filter(|node| side != Side::File(node.number));
            let tables = nodes.map(|node| &node.table);
            let tables = tables.chain((side != Side::Postgres).then_some(&world.table));
            let others: Result<Vec<_>, _> = tables.map(Mutex::try_lock).collect();
            Ok(HoldAll { _side: held, _others: others.map_err(|_| BUSY)? })
        });
        if all.is_ok() || start.elapsed() > OTHERS {
            return all;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Which file it is: one that is set aside as damaged is followed by another one.
fn identity(world: &World, side: Side) -> Option<u64> {
    let Side::File(node) = side else { return Some(0) };
    let path: &Path = &world.nodes[node].file;
    fs::metadata(path).ok().map(|found| found.ino())
}

pub(super) fn drop(world: &World, event: &Event) -> Result<Done, Skipped> {
    let side = side(world, event);
    let _hold = hold_all(world, side)?;
    let before = identity(world, side);
    let kind = table_of(event);
    let (name, label) = (kind.name(), kind.label());
    let (lock, drop) = match side {
        Side::Postgres => (format!("BEGIN; LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"), "CASCADE"),
        Side::File(_) => ("BEGIN IMMEDIATE".to_owned(), ""),
    };
    let sql =
        format!("{lock}; SELECT 'gone', {label} FROM {name}; DROP TABLE {name} {drop}; COMMIT;");
    let lost_rows = Some(gone(kind, &side.run(world, &sql).ok_or("that side is away")?));
    let lost_to = Some(now());
    std::thread::sleep(event.lasts());
    let made = side.has(world, name) == Some(true) && identity(world, side) == before;
    let helped = apply(world, side, kind);
    let note = match (made, helped) {
        (true, _) => Some("NOT LEFT ALONE: the table was made by a running service".into()),
        (_, false) => Some("NOT MADE by `dual init --apply`".into()),
        _ => None,
    };
    Ok(Done { lost_from: Some(0), lost_to, lost_rows, note, ..Done::to_table(side.name(), kind) })
}

pub(super) fn rename(world: &World, event: &Event) -> Result<Done, Skipped> {
    let side = side(world, event);
    let _hold = hold(world, side)?;
    let before = identity(world, side);
    let kind = table_of(event);
    let (name, kept) = (kind.name(), kept(kind));
    let to = |from: &str, to: &str| format!("ALTER TABLE {from} RENAME TO {to};");
    side.run(world, &to(name, &kept)).ok_or("that side is away")?;
    std::thread::sleep(event.lasts());
    let both = [name, &kept].iter().all(|table| side.has(world, table) == Some(true));
    if both && identity(world, side) == before {
        let note = Some("NOT LEFT ALONE: the table was made by a running service".into());
        return Ok(Done { note, ..Done::to_table(side.name(), kind) });
    }
    let start = Instant::now();
    let is_back = || {
        // A restored or promoted server, or a salvaged file, may never have had the other name.
        side.has(world, &kept) == Some(false) || side.run(world, &to(&kept, name)).is_some()
    };
    while !is_back() {
        if start.elapsed() > AWAY {
            let note = Some("NOT RENAMED BACK".into());
            return Ok(Done { note, ..Done::to_table(side.name(), kind) });
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(Done::to_table(side.name(), kind))
}

/// Rows that another table of that name lacks: a third of those of workers and outsiders, but
/// neither banks nor counters.
fn left_out(kind: Kind, event: &Event) -> String {
    let label = kind.label();
    format!(
        "({} AND {label} / {SPACE} NOT BETWEEN 60 AND 79 AND {label} % 3 = {})",
        kind.is_owned(""),
        event.choice / 16 % 3
    )
}

pub(super) fn replace(world: &World, event: &Event) -> Result<Done, Skipped> {
    let side = side(world, event);
    let _hold = hold_all(world, side)?;
    let kind = table_of(event);
    let is_file = matches!(side, Side::File(_));
    let narrow = kind == Kind::Users && is_file && (event.choice / 2).is_multiple_of(3);
    let whole = event.choice / 2 % 3 == 1;
    let left_out = match (narrow, whole) {
        // Of a row that is refused for a column nothing is left without it.
        (true, _) => format!("user_id % {SPACE} >= {REFUSED_AT}"),
        (_, true) => "0 = 1".to_owned(),
        _ => left_out(kind, event),
    };
    let sql = match side {
        Side::Postgres => in_postgres(kind, &left_out),
        Side::File(_) => {
            let made = format!(
                "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = '{}';",
                kind.name()
            );
            let made = side.run(world, &made).ok_or("that side is away")?;
            in_file(kind, &made, narrow, &left_out).ok_or("there is no table")?
        }
    };
    let printed = side.run(world, &sql).ok_or("that side is away")?;
    let lost_to = Some(now());
    let lost_rows = gone(kind, &printed);
    std::thread::sleep(event.lasts());
    let helped = apply(world, side, kind);
    let what = match narrow {
        true => "with four columns".to_owned(),
        false => format!("without {} rows", lost_rows.len()),
    };
    let note = if helped { what } else { format!("NOT CAPTURED by `dual init --apply`, {what}") };
    let (lost_from, lost_rows) = (Some(0), Some(lost_rows));
    let note = Some(note);
    Ok(Done { lost_from, lost_to, lost_rows, note, ..Done::to_table(side.name(), kind) })
}

/// The rows of which something is gone, as they were printed.
pub(super) fn gone(kind: Kind, printed: &str) -> Vec<i64> {
    let labels = printed.lines().filter_map(|line| line.strip_prefix("gone|")?.parse().ok());
    labels.map(|label| kind.row(label)).collect()
}

fn in_postgres(kind: Kind, left_out: &str) -> String {
    let (name, label) = (kind.name(), kind.label());
    let numbered = match kind {
        Kind::Users | Kind::Numbers => format!(
            "SELECT setval(pg_get_serial_sequence('{name}_new', 'id'), \
             (SELECT coalesce(max(id), 0) + 1 FROM {name} WHERE id < 1000000000)); "
        ),
        _ => String::new(),
    };
    format!(
        "BEGIN; LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE; \
         SELECT 'gone', {label} FROM {name} WHERE {left_out}; \
         CREATE TABLE {name}_new (LIKE {name} INCLUDING ALL); \
         INSERT INTO {name}_new SELECT * FROM {name} WHERE NOT {left_out}; {numbered}\
         DROP TABLE {name} CASCADE; ALTER TABLE {name}_new RENAME TO {name}; COMMIT;"
    )
}

/// As the manual of SQLite has it, or with other columns.
fn in_file(kind: Kind, made: &str, narrow: bool, left_out: &str) -> Option<String> {
    let (name, label) = (kind.name(), kind.label());
    let (gone, columns, new) = match narrow {
        true => (
            "1 = 1",
            "id, user_id, username, real_name",
            "CREATE TABLE users_new (id INTEGER PRIMARY KEY AUTOINCREMENT, \
             user_id INTEGER NOT NULL UNIQUE, username TEXT, real_name TEXT)"
                .to_owned(),
        ),
        false => {
            let (_, columns) = made.split_once('(')?;
            (left_out, "*", format!("CREATE TABLE {name}_new ({}", columns.trim_end()))
        }
    };
    Some(format!(
        "BEGIN IMMEDIATE; SELECT 'gone', {label} FROM {name} WHERE {gone}; {new}; \
         INSERT INTO {name}_new SELECT {columns} FROM {name} WHERE NOT {left_out}; \
         DROP TABLE {name}; ALTER TABLE {name}_new RENAME TO {name}; COMMIT;"
    ))
}
