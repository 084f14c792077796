//! Columns and tables that somebody adds by hand while all run, and then has joined.

use std::time::{Duration, Instant};

use super::table::hold_all;
use super::{Done, Skipped, side, table_of};
use crate::crew::lock;
use crate::ledger::{Entry, Intent, Ledger, Outcome, now};
use crate::operator::{Side, approve, dual};
use crate::schedule::Event;
use crate::tables::Kind;
use crate::worker::SPACE;
use crate::world::World;

const AWAY: Skipped = "that side is away";
/// How long `dual init --apply` is typed again.
const HELPED: Duration = Duration::from_secs(60);
/// How long the rows of a new table may take to every store.
const SEEN: Duration = Duration::from_secs(45);
/// The number of who fills the new table among the writers.
const JOINER: i64 = 30;
const ROWS: i64 = 6;

/// A nullable column, on either side; joined, it is on both, and what is written to it arrives like anything
/// else.
pub(super) fn column(world: &World, event: &Event) -> Result<Done, Skipped> {
    let side = side(world, event);
    let _hold = hold_all(world, side)?;
    let kind = table_of(event);
    let (name, column) = (kind.name(), format!("joined_{}", event.at_ms));
    side.run(world, &format!("ALTER TABLE {name} ADD COLUMN {column} text;")).ok_or(AWAY)?;
    let node = if let Side::File(node) = side { node } else { event.pick(world.nodes.len()) };
    let is_there = |side: Side| side.has_column(world, name, &column);
    let joined = typed(world, node, &["init", "--apply", "--json"], || {
        is_there(Side::Postgres) && is_there(Side::File(node))
    });
    if !joined {
        let note = Some("NOT JOINED by `dual init --apply`".into());
        return Ok(Done { note, ..Done::to_table(side.name(), kind) });
    }
    lock(&world.columns).push((kind, column.clone()));
    // Nobody else writes to it: what is equal at the end has arrived.
    let writes = format!(
        "UPDATE {name} SET {column} = 'w{JOINER}:' || {} WHERE {};",
        kind.label(),
        kind.is_owned("")
    );
    let written = side.run(world, &writes).is_some();
    let note = Some(format!("{column}, {}", if written { "written to" } else { "left empty" }));
    Ok(Done { note, ..Done::to_table(side.name(), kind) })
}

/// A table of one side with rows, once in a run.
pub(super) fn table(world: &World, event: &Event) -> Result<Done, Skipped> {
    let kind = Kind::Late;
    let side = side(world, event);
    let hold = hold_all(world, side)?;
    if world.joined().iter().any(|(known, _)| *known == kind) {
        return Err("it is joined already");
    }
    let node = if let Side::File(node) = side { Some(node) } else { None };
    let incarnation = u32::try_from(event.at_ms).unwrap_or(u32::MAX);
    let ledgers = world.folder.join("ledgers");
    let Ok(ledger) = Ledger::create(&ledgers, "joiner", node, incarnation) else {
        return Err("there is no room for a ledger");
    };
    let mut sql = kind.ddl(side == Side::Postgres).unwrap_or_default();
    let mut started = Vec::new();
    for label in JOINER * SPACE..JOINER * SPACE + ROWS {
        let text = format!("w{JOINER}:{}", event.at_ms);
        sql.push_str(&format!(
            "INSERT INTO late (id, label, real_name, username) \
             VALUES ({label}, {label}, '{text}', '{text}') ON CONFLICT (id) \
             DO UPDATE SET real_name = excluded.real_name, username = excluded.username;"
        ));
        let intent = Intent::Load { real: text.clone(), user: text };
        started.push((kind.row(label), ledger.start(kind.row(label), intent)));
    }
    let made = side.run(world, &format!("BEGIN; {sql} COMMIT;")).is_some();
    let outcome = match side {
        _ if !made => Outcome::Unknown { why: "that side is away".into() },
        Side::Postgres => Outcome::Postgres,
        Side::File(_) => Outcome::Sqlite,
    };
    started.iter().for_each(|(_, n)| ledger.end(*n, outcome.clone(), 0));
    if !made {
        return Err(AWAY);
    }
    let words = ["init", "--tables", kind.name(), "--apply", "--json"];
    let joined = typed(world, node.unwrap_or(0), &words, || world.learn() == Kind::ALL.len());
    if !joined {
        let note = Some("NOT JOINED by `dual init --tables late --apply`".into());
        return Ok(Done { note, ..Done::to_table(side.name(), kind) });
    }
    drop(hold);
    let start = Instant::now();
    let rows = format!("SELECT count(*) FROM late WHERE label / {SPACE} = {JOINER};");
    let has_all =
        |side: Side| side.run(world, &rows).is_some_and(|found| found.trim() == ROWS.to_string());
    let mut sides = (0..world.nodes.len()).map(Side::File).chain([Side::Postgres]);
    while start.elapsed() < SEEN {
        if sides.clone().all(has_all) {
            let t = now();
            started.iter().for_each(|(key, _)| ledger.write(&Entry::Arrived { t, key: *key }));
            let note = Some(format!("everywhere after {} ms", start.elapsed().as_millis()));
            return Ok(Done { note, ..Done::to_table(side.name(), kind) });
        }
        std::thread::sleep(Duration::from_millis(300));
    }
    let missing = sides.find(|side| !has_all(*side)).map(Side::name);
    let note = Some(format!("not yet in {missing:?}"));
    Ok(Done { note, ..Done::to_table(side.name(), kind) })
}

/// Types that until it has helped.
fn typed(world: &World, node: usize, words: &[&str], has_helped: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < HELPED {
        let _ = dual(world, node, words);
        if has_helped() {
            return true;
        }
        // Nothing is joined before what waits for a person has been let go on.
        approve(world);
        std::thread::sleep(Duration::from_millis(500));
    }
    false
}
