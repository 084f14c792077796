//! A table that comes back from a dump of itself; and one whose column gets another type by hand, until
//! somebody gives it the old one again.

use std::process::Command;
use std::time::{Duration, Instant};

use super::probe::probe;
use super::table::{gone, hold, hold_all};
use super::{Done, Skipped, side, table_of};
use crate::ledger::now;
use crate::operator::{Side, apply};
use crate::schedule::Event;
use crate::shell;
use crate::tables::Kind;
use crate::world::World;

const AWAY: Skipped = "that side is away";
/// How long a side may be away before it is put back.
const BACK: Duration = Duration::from_secs(60);

/// What the table had at the dump stands again, and what came later is gone from that side.
pub(super) fn restore(world: &World, event: &Event) -> Result<Done, Skipped> {
    let side = side(world, event);
    let _hold = hold_all(world, side)?;
    let kind = not_users(event);
    let (name, label) = (kind.name(), kind.label());
    let lost_from = Some(now());
    let list = format!("SELECT 'gone', {label} FROM {name};");
    let before = gone(kind, &side.run(world, &list).ok_or(AWAY)?);
    let dump = match side {
        Side::Postgres => {
            let mut command = Command::new("pg_dump");
            command.args(["-h", "127.0.0.1", "-U", "postgres", "-d", "postgres"]);
            command.args(["-p", &world.port().to_string(), "-t", &format!("public.{name}")]);
            shell::run(&mut command, "").ok().filter(|dump| dump.ok).map(|dump| dump.out)
        }
        Side::File(_) => side.run(world, &format!(".dump {name}")).map(|dump| without_frame(&dump)),
    };
    let dump = dump.ok_or(AWAY)?;
    std::thread::sleep(event.lasts());
    let restored = match side {
        Side::Postgres => {
            let drop = format!(
                "BEGIN; LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE; {list} \
                 DROP TABLE {name} CASCADE; COMMIT;"
            );
            let printed = side.run(world, &drop).ok_or(AWAY)?;
            // Whatever there is already, such as the rule that comes with the table, is complained of.
            let _ = shell::psql(world.port(), &format!("\\unset ON_ERROR_STOP\n{dump}"));
            printed
        }
        Side::File(_) => {
            let sql = format!("BEGIN IMMEDIATE; {list} DROP TABLE {name};\n{dump}\nCOMMIT;");
            side.run(world, &sql).ok_or(AWAY)?
        }
    };
    let lost_to = Some(now());
    let mut lost = gone(kind, &restored);
    lost.extend(before);
    // Half of the people type what they know of tables that came back.
    let asked = (event.choice / 4).is_multiple_of(2) || side.has(world, name) != Some(true);
    let helped = !asked || apply(world, side, kind);
    let note = match (helped, asked) {
        (false, _) => "NOT CAPTURED by `dual init --apply`",
        (_, true) => "`dual init --apply` was typed",
        _ => "left to itself",
    };
    let (lost_rows, note) = (Some(lost), Some(note.to_owned()));
    Ok(Done { lost_from, lost_to, lost_rows, note, ..Done::to_table(side.name(), kind) })
}

/// One of the other tables: of a bank's accounts those that come from a dump belong to another sum.
fn not_users(event: &Event) -> Kind {
    match table_of(event) {
        Kind::Users => Kind::Pairs,
        kind => kind,
    }
}

/// The statements of a dump that make and fill the table, without the transaction around them.
fn without_frame(dump: &str) -> String {
    let frame = ["PRAGMA foreign_keys=OFF;", "BEGIN TRANSACTION;", "COMMIT;"];
    let lines =
        dump.lines().filter(|line| !frame.contains(line) && !line.contains("sqlite_sequence"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The table waits meanwhile; the others go on.
pub(super) fn retype(world: &World, event: &Event) -> Result<Done, Skipped> {
    let side = side(world, event);
    let _hold = hold(world, side)?;
    let kind = not_users(event);
    let change = |back: bool| match side {
        Side::Postgres => {
            let to = if back { "bigint" } else { "text" };
            format!("ALTER TABLE {} ALTER COLUMN label TYPE {to} USING label::{to};", kind.name())
        }
        Side::File(_) => {
            let words = ["note text", "note BLOB"];
            let [from, to] = if back { [words[1], words[0]] } else { words };
            format!(
                ".dbconfig defensive off\nPRAGMA writable_schema = ON; BEGIN IMMEDIATE; \
                 UPDATE sqlite_schema SET sql = replace(sql, '{from}', '{to}') \
                 WHERE type = 'table' AND name = '{}'; COMMIT; PRAGMA writable_schema = RESET; \
                 CREATE TABLE torture_retyped (a); DROP TABLE torture_retyped;",
                kind.name()
            )
        }
    };
    side.run(world, &change(false)).ok_or(AWAY)?;
    probe(world, event, 0);
    std::thread::sleep(event.lasts());
    let start = Instant::now();
    // A restored server or a salvaged file may never have had the other type: then this changes nothing.
    while side.run(world, &change(true)).is_none() {
        if start.elapsed() > BACK {
            let note = Some("NOT GIVEN its type again".into());
            return Ok(Done { note, ..Done::to_table(side.name(), kind) });
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(Done::to_table(side.name(), kind))
}
