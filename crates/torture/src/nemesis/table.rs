//! Neighbours who drop, rename and replace the table, on either side.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::{Done, Skipped, side};
use crate::ledger::now;
use crate::operator::{KEPT, Side, apply};
use crate::schedule::Event;
use crate::worker::{OWNED, REFUSED_AT, SPACE};
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
struct HoldAll<'w> {
    _side: Hold<'w>,
    _others: Vec<MutexGuard<'w, ()>>,
}

fn hold_all(world: &World, side: Side) -> Result<HoldAll<'_>, Skipped> {
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
    let lock = match side {
        Side::Postgres => "BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE",
        Side::File(_) => "BEGIN IMMEDIATE",
    };
    let sql = format!("{lock}; SELECT 'gone', user_id FROM users; DROP TABLE users; COMMIT;");
    let lost_rows = Some(gone(&side.run(world, &sql).ok_or("that side is away")?));
    let lost_to = Some(now());
    std::thread::sleep(event.lasts());
    let made = side.has(world, "users") == Some(true) && identity(world, side) == before;
    let helped = apply(world, side);
    let note = match (made, helped) {
        (true, _) => Some("NOT LEFT ALONE: the table was made by a running service".into()),
        (_, false) => Some("NOT MADE by `dual init --apply`".into()),
        _ => None,
    };
    Ok(Done { lost_from: Some(0), lost_to, lost_rows, note, ..Done::to(side.name()) })
}

pub(super) fn rename(world: &World, event: &Event) -> Result<Done, Skipped> {
    let side = side(world, event);
    let _hold = hold(world, side)?;
    let before = identity(world, side);
    let to = |from: &str, to: &str| format!("ALTER TABLE {from} RENAME TO {to};");
    side.run(world, &to("users", KEPT)).ok_or("that side is away")?;
    std::thread::sleep(event.lasts());
    let both = ["users", KEPT].iter().all(|table| side.has(world, table) == Some(true));
    if both && identity(world, side) == before {
        let note = Some("NOT LEFT ALONE: the table was made by a running service".into());
        return Ok(Done { note, ..Done::to(side.name()) });
    }
    let start = Instant::now();
    let is_back = || {
        // A restored or promoted server, or a salvaged file, may never have had the other name.
        side.has(world, KEPT) == Some(false) || side.run(world, &to(KEPT, "users")).is_some()
    };
    while !is_back() {
        if start.elapsed() > AWAY {
            return Ok(Done { note: Some("NOT RENAMED BACK".into()), ..Done::to(side.name()) });
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(Done::to(side.name()))
}

/// Rows that another table of that name lacks: a third of those of workers and outsiders, but
/// neither banks nor counters.
fn left_out(event: &Event) -> String {
    format!(
        "(user_id % {SPACE} < {OWNED} AND user_id / {SPACE} NOT BETWEEN 60 AND 79 \
         AND user_id % 3 = {})",
        event.choice / 16 % 3
    )
}

pub(super) fn replace(world: &World, event: &Event) -> Result<Done, Skipped> {
    let side = side(world, event);
    let _hold = hold_all(world, side)?;
    let narrow = matches!(side, Side::File(_)) && (event.choice / 2).is_multiple_of(3);
    let whole = event.choice / 2 % 3 == 1;
    let left_out = match (narrow, whole) {
        // Of a row that is refused for a column nothing is left without it.
        (true, _) => format!("user_id % {SPACE} >= {REFUSED_AT}"),
        (_, true) => "0 = 1".to_owned(),
        _ => left_out(event),
    };
    let sql = match side {
        Side::Postgres => in_postgres(&left_out),
        Side::File(_) => {
            let made = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = 'users';";
            let made = side.run(world, made).ok_or("that side is away")?;
            in_file(&made, narrow, &left_out).ok_or("there is no table")?
        }
    };
    let printed = side.run(world, &sql).ok_or("that side is away")?;
    let lost_to = Some(now());
    let lost_rows = gone(&printed);
    std::thread::sleep(event.lasts());
    let helped = apply(world, side);
    let what = match narrow {
        true => "with four columns".to_owned(),
        false => format!("without {} rows", lost_rows.len()),
    };
    let note = if helped { what } else { format!("NOT CAPTURED by `dual init --apply`, {what}") };
    let (lost_from, lost_rows) = (Some(0), Some(lost_rows));
    Ok(Done { lost_from, lost_to, lost_rows, note: Some(note), ..Done::to(side.name()) })
}

/// The rows of which something is gone, as they were printed.
fn gone(printed: &str) -> Vec<i64> {
    printed.lines().filter_map(|line| line.strip_prefix("gone|")?.parse().ok()).collect()
}

fn in_postgres(left_out: &str) -> String {
    format!(
        "BEGIN; LOCK TABLE users IN ACCESS EXCLUSIVE MODE; \
         SELECT 'gone', user_id FROM users WHERE {left_out}; \
         CREATE TABLE users_new (LIKE users INCLUDING ALL); \
         INSERT INTO users_new SELECT * FROM users WHERE NOT {left_out}; \
         SELECT setval(pg_get_serial_sequence('users_new', 'id'), \
         (SELECT coalesce(max(id), 0) + 1 FROM users)); \
         DROP TABLE users; ALTER TABLE users_new RENAME TO users; COMMIT;"
    )
}

/// As the manual of SQLite has it, or with other columns.
fn in_file(made: &str, narrow: bool, left_out: &str) -> Option<String> {
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
            (left_out, "*", format!("CREATE TABLE users_new ({}", columns.trim_end()))
        }
    };
    Some(format!(
        "BEGIN IMMEDIATE; SELECT 'gone', user_id FROM users WHERE {gone}; {new}; \
         INSERT INTO users_new SELECT {columns} FROM users WHERE NOT {left_out}; \
         DROP TABLE users; ALTER TABLE users_new RENAME TO users; COMMIT;"
    ))
}
