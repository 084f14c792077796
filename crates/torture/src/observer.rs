//! Looks at both stores from outside all the time: sums of banks in one snapshot, cursors, and
//! whether a loss has been recovered from.
//!
//! A row that PostgreSQL has locked may be set aside for less time than there is between two looks.
//! So a trace is kept in the file itself, by triggers, and read with the next look.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;

use crate::crew::lock;
use crate::ledger::{Entry, Ledger, now, of_system_clock};
use crate::operator::pending;
use crate::shell;
use crate::worker::{ACCOUNTS, BANK, SPACE};
use crate::world::World;

const PAUSE: Duration = Duration::from_millis(300);
/// How long after a destruction its recovery is looked for, in microseconds: it has to be
/// noticed first.
const NOTICE: u64 = 3_000_000;
/// What makes the file write down which rows are set aside as locked, and when, by the system's
/// clock, which no fault moves.
fn trace() -> String {
    let table =
        "CREATE TABLE IF NOT EXISTS torture_locked (at INTEGER, key INTEGER, aside INTEGER);";
    let triggers = [
        ("aside", "INSERT", "new", 1),
        ("again", "UPDATE OF code", "new", 1),
        ("released", "DELETE", "old", 0),
    ];
    let triggers = triggers.map(|(name, event, row, aside)| {
        format!(
            "CREATE TRIGGER IF NOT EXISTS torture_{name} AFTER {event} ON dual_quarantine \
             WHEN {row}.name = 'users' AND {row}.code = '55P03' BEGIN INSERT INTO torture_locked VALUES \
             (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER), {row}.key, {aside}); END;"
        )
    });
    format!("{table} {}", triggers.join(" "))
}

/// A row was set aside as locked, or is no more.
struct Step {
    /// Milliseconds of the system's clock, and a number within one file.
    at: (u64, u64),
    key: i64,
    aside: bool,
}

/// What one look at a file has shown.
struct Look {
    following: bool,
    epoch: String,
    xmax: u64,
    pending: u64,
    locked: Vec<Step>,
    sums: Vec<(i64, i64, i64)>,
}

/// Starts the observers; they end when nobody watches any more.
///
/// # Errors
/// A ledger cannot be made.
pub fn start(world: &Arc<World>) -> std::io::Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    let book = world.folder.join("ledgers");
    let recovered = Arc::new(std::sync::Mutex::new(BTreeMap::new()));
    for node in 0..world.nodes.len() {
        let ledger = Ledger::create(&book, &format!("observer-{node}"), Some(node), 0)?;
        let (world, recovered) = (Arc::clone(world), Arc::clone(&recovered));
        threads.push(std::thread::spawn(move || {
            let mut traced = (0, 0);
            while world.watched.load(Ordering::SeqCst) {
                std::thread::sleep(PAUSE);
                let t0 = now();
                let Some(look) = look_at(&world, node, traced) else { continue };
                traced = look.locked.last().map_or(traced, |step| step.at);
                note(&ledger, node, t0, &look);
                let quiet = look.following && look.pending == 0;
                let mut recovered = lock(&recovered);
                let since = world.destroyed.load(Ordering::SeqCst);
                if quiet && since != 0 && t0 > since + NOTICE {
                    recovered.insert(node, since);
                    if recovered.values().filter(|of| **of == since).count() == world.nodes.len() {
                        world.destroyed.store(0, Ordering::SeqCst);
                    }
                }
            }
        }));
    }
    let ledger = Ledger::create(&book, "observer-postgres", None, 0)?;
    let all = Arc::clone(world);
    threads.push(std::thread::spawn(move || {
        while all.watched.load(Ordering::SeqCst) {
            std::thread::sleep(PAUSE);
            let t0 = now();
            if let Ok(answer) = shell::psql(all.port(), &format!("{};", sums()))
                && answer.ok
            {
                for line in answer.out.lines() {
                    note_sum(&ledger, "postgres", t0, true, parts(line));
                }
            }
        }
    }));
    let all = Arc::clone(world);
    threads.push(std::thread::spawn(move || {
        while all.watched.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_secs(1));
            for member in &all.crew {
                member.look();
                // One that has ended by itself is started again; that it has is a violation.
                if let Ok(_trouble) = member.trouble.try_lock() {
                    all.start(member);
                }
            }
        }
    }));
    Ok(threads)
}

/// One row for each bank: its number, its accounts, their sum.
fn sums() -> String {
    format!(
        "SELECT user_id / {SPACE}, count(*), sum(referrer_id) FROM users \
         WHERE user_id % {SPACE} BETWEEN {BANK} AND {} GROUP BY 1",
        BANK + ACCOUNTS - 1
    )
}

fn parts(line: &str) -> Option<(i64, i64, i64)> {
    let mut words = line.split('|').map(|word| word.parse().ok());
    Some((words.next()??, words.next()??, words.next()??))
}

/// A line of the trace.
fn step(line: &str) -> Option<Step> {
    let mut words = line.strip_prefix("locked|")?.split('|');
    let at = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Step { at, key: words.next()?.parse().ok()?, aside: words.next()? == "1" })
}

/// What the file shows, and what its trace has after that step.
fn look_at(world: &World, node: usize, traced: (u64, u64)) -> Option<Look> {
    // A file that is no node's yet gets no trace: the first question fails, and ends the program.
    let sql = format!(
        "SELECT 1 FROM dual_node WHERE 0; {} BEGIN; \
         SELECT follow FROM dual_node; SELECT {}; \
         SELECT 'locked', at, rowid, key, aside FROM torture_locked \
         WHERE (at, rowid) > {traced:?} ORDER BY at, rowid; {}; COMMIT;",
        trace(),
        pending(&world.joined()),
        sums()
    );
    let answer =
        shell::sqlite(&world.nodes[node].file, "-list", &sql).ok().filter(|answer| answer.ok)?;
    let mut lines = answer.out.lines();
    let state = serde_json::from_str::<Value>(lines.next()?).ok()?["state"].take();
    let pending = lines.next()?.parse().ok()?;
    let following = &state["following"];
    let snapshot = following["snapshot"].as_str().unwrap_or_default();
    let xmax = snapshot.split(':').nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    let (epoch, following) = (following["epoch"].to_string(), following.is_object());
    let lines: Vec<_> = lines.collect();
    let locked = lines.iter().filter_map(|line| step(line)).collect();
    let sums = lines.iter().filter_map(|line| parts(line)).collect();
    Some(Look { following, epoch, xmax, pending, locked, sums })
}

fn note(ledger: &Ledger, node: usize, t0: u64, look: &Look) {
    for sum in &look.sums {
        note_sum(ledger, &format!("node {node}"), t0, look.following, Some(*sum));
    }
    let sync = if look.following { "following" } else { "reconciling" };
    ledger.write(&Entry::Status {
        t0,
        t1: now(),
        to_postgres: Some(look.pending),
        to_sqlite: None,
        sync: sync.into(),
        up: true,
        wal: None,
    });
    for Step { at, key, aside } in &look.locked {
        let (t, key, aside) = (of_system_clock(at.0), *key, *aside);
        ledger.write(&Entry::Locked { t, node, key, aside });
    }
    if look.following {
        let epoch = look.epoch.clone();
        ledger.write(&Entry::Cursor { t: t0, node, epoch, xmax: look.xmax });
    }
}

fn note_sum(ledger: &Ledger, store: &str, t0: u64, following: bool, sum: Option<(i64, i64, i64)>) {
    let Some((bank, rows, sum)) = sum else { return };
    let store = store.to_owned();
    ledger.write(&Entry::Sum { t0, t1: now(), store, bank, rows, sum, following });
}
