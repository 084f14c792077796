//! Whether what a neighbour does stops what it does not concern: a write on each side, and whether it
//! arrives on the other one meanwhile.

use std::time::{Duration, Instant};

use crate::ledger::{Entry, Intent, Ledger, Outcome, now};
use crate::operator::Side;
use crate::schedule::Event;
use crate::worker::SPACE;
use crate::world::World;

/// The number of the probe at PostgreSQL among the writers; those of the files follow.
const PROBE: i64 = 40;
/// How long a write may take to the other side while nothing is in its way.
const ARRIVES: Duration = Duration::from_secs(20);

/// Looks while the neighbour of that event is at work; `digit` is the last one of keys that nobody
/// hits. Nothing is told of a side that takes no write.
pub(super) fn probe(world: &World, event: &Event, digit: i64) {
    let node = event.pick(world.nodes.len());
    let t0 = now();
    let there = write(world, Side::Postgres, PROBE * SPACE + digit, event);
    let here = write(world, Side::File(node), (PROBE + 1 + node as i64) * SPACE + digit, event);
    let (Some(there), Some(here)) = (there, here) else { return };
    let start = Instant::now();
    let mut arrived = false;
    while !arrived && start.elapsed() < ARRIVES {
        std::thread::sleep(Duration::from_millis(200));
        arrived = has(world, Side::File(node), &there) && has(world, Side::Postgres, &here);
    }
    let nemesis = event.nemesis.name().to_owned();
    world.ledger.write(&Entry::Probe { t0, t1: now(), nemesis, node, arrived });
}

/// Writes there; gives the condition by which the write is known.
fn write(world: &World, side: Side, key: i64, event: &Event) -> Option<String> {
    let (who, node) = match side {
        Side::Postgres => ("probe".to_owned(), None),
        Side::File(node) => (format!("probe-{node}"), Some(node)),
    };
    let incarnation = u32::try_from(event.at_ms).unwrap_or(u32::MAX);
    let ledger = Ledger::create(&world.folder.join("ledgers"), &who, node, incarnation).ok()?;
    let text = format!("w{}:{}", key / SPACE, event.at_ms);
    let n = ledger.start(key, Intent::Upsert { real: Some(text.clone()), user: None });
    let sql = format!(
        "INSERT INTO users (user_id, real_name) VALUES ({key}, '{text}') \
         ON CONFLICT (user_id) DO UPDATE SET real_name = excluded.real_name;"
    );
    let is_done = side.run(world, &sql).is_some();
    let outcome = match side {
        _ if !is_done => Outcome::Unknown { why: "that side is away".into() },
        Side::Postgres => Outcome::Postgres,
        Side::File(_) => Outcome::Sqlite,
    };
    ledger.end(n, outcome, 0);
    is_done.then(|| format!("user_id = {key} AND real_name = '{text}'"))
}

fn has(world: &World, side: Side, condition: &str) -> bool {
    let sql = format!("SELECT count(*) FROM users WHERE {condition};");
    side.run(world, &sql).is_some_and(|found| found.trim() == "1")
}
