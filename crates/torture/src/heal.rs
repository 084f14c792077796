//! After the faults: everything is whole again, nobody writes, and both sides become equal by
//! themselves; then what was delivered is delivered once more.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::crew::{Member, lock};
use crate::dump::{Dump, differences, rows_that_differ};
use crate::ledger::now;
use crate::nemesis::Done;
use crate::node::Node;
use crate::operator::{approve, dual, is_held, pending, put_back};
use crate::proxy::Accept;
use crate::shell;
use crate::tables::{Kind, TABLE};
use crate::worker::at_rest;
use crate::world::World;

/// How long quiet may take. It bounds a failure, not a success.
const LIMIT: Duration = Duration::from_secs(240);
/// How long calls may go on after the last fault.
const REST: Duration = Duration::from_secs(60);
/// How long workers that were restarted may take to make a damaged file good.
const SALVAGE: Duration = Duration::from_secs(20);
/// How long a comparison waits for a person before one comes.
const PERSON: Duration = Duration::from_secs(3);
/// How often somebody looks whether a table or a column is missing.
const LOOKS: Duration = Duration::from_secs(8);

/// How long nodes and PostgreSQL go on apart before they heal.
const APART: Duration = Duration::from_secs(6);
/// The name of that fault.
pub const CUT_OFF: &str = "cut-off";
/// The name under which it is noted that an operator has restarted the workers of a damaged file.
pub const RESTARTED: &str = "restart-damaged";

/// What quiet has brought.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Quiet {
    /// How long both sides took to become equal.
    pub after: Option<Duration>,
    /// The end of PostgreSQL.
    pub postgres: Dump,
    /// The ends of the files.
    pub files: Vec<Dump>,
    /// What is wrong.
    pub violations: Vec<String>,
}

/// Whatever was done to them: PostgreSQL and the workers run.
pub fn make_whole(world: &World, quiet: &mut Quiet) {
    let mut servers = lock(&world.servers);
    if let Err(error) = servers.ensure_primary() {
        quiet.violations.push(format!("torture: PostgreSQL does not start: {error}"));
    }
    // A replica is not needed for quiet.
    let _ = servers.ensure_standby();
    world.lead(&servers);
    world.crew.iter().for_each(|member| world.start(member));
    world.nodes.iter().for_each(|node| restart_damaged(world, node));
    drop(servers);
    put_back(world);
}

/// Restarts the workers of a node whose file still cannot be read: who has it open has read its schema
/// long ago, and does not notice that its page is gone. What they have written since then is lost
/// with it. If all of them have been restarted already, they had to notice.
fn restart_damaged(world: &World, node: &Node) {
    let wrecked = node.wrecked.load(Ordering::SeqCst);
    let is_of = |member: &&Member| member.node == node.number;
    let members: Vec<_> = world.crew.iter().filter(is_of).collect();
    let since = members.iter().map(|member| member.since()).min().unwrap_or(u64::MAX);
    if since > wrecked || is_sound(world, node) {
        return;
    }
    let t0 = now();
    let guards: Vec<_> = members.iter().map(|member| lock(&member.trouble)).collect();
    members.iter().for_each(|member| member.kill());
    let lost_to = Some(now());
    members.iter().for_each(|member| world.start(member));
    drop(guards);
    let start = Instant::now();
    while !is_sound(world, node) && start.elapsed() < SALVAGE {
        std::thread::sleep(Duration::from_millis(200));
    }
    let target = format!("node {}", node.number);
    world.inflicted(RESTARTED, t0, Done { lost_from: Some(0), lost_to, ..Done::to(target) });
}

fn is_sound(world: &World, node: &Node) -> bool {
    let is_node = asked(world, node.number, "SELECT count(*) FROM dual_node;");
    is_node.as_deref() == Some("1") && Dump::of_file(&node.file, &world.joined()).is_some()
}

/// The last fault of every run: no node reaches PostgreSQL, and all go on writing. So the writes
/// at the end are not the last ones of one store alone. Gives when it began.
pub fn cut_off(world: &World) -> u64 {
    let since = now();
    for node in &world.nodes {
        node.set(|mode| {
            mode.accept = Accept::Refuse;
            mode.broken += 1;
        });
    }
    std::thread::sleep(APART);
    since
}

/// Waits until nobody writes, brings together what was cut off since then, and waits for quiet.
pub fn heal(world: &World, quiet: &mut Quiet, cut: u64) {
    for member in &world.crew {
        world.start(member);
        member.order("idle");
    }
    wait_for_rest(world, quiet);
    world.inflicted(CUT_OFF, cut, Done::to("everybody"));
    world.nodes.iter().for_each(Node::connect);
    let start = Instant::now();
    let (mut held, mut looked) = (None, Instant::now());
    let differing = loop {
        let found = compare(world);
        if let Some((postgres, files, differing)) = found {
            (quiet.postgres, quiet.files) = (postgres, files);
            if differing.is_empty() && drained(world) {
                quiet.after = Some(start.elapsed());
                break Vec::new();
            }
            if start.elapsed() > LIMIT {
                break differing;
            }
        } else if start.elapsed() > LIMIT {
            break vec!["a store cannot be read".into()];
        }
        if world.nodes.iter().any(|node| is_held(world, node.number)) {
            let since = *held.get_or_insert_with(Instant::now);
            if since.elapsed() > PERSON {
                approve(world);
                held = None;
            }
        } else {
            held = None;
        }
        // Somebody looks whether anything is missing that has to be typed.
        if looked.elapsed() > LOOKS {
            put_back(world);
            looked = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(300));
    };
    if quiet.after.is_none() {
        let (some, all) = (differing.iter().take(20), differing.len());
        quiet.violations.push(format!("(b, f) not equal after {LIMIT:?}: {all} differences"));
        quiet.violations.extend(some.map(|line| format!("(b) {line}")));
        if differing.is_empty() {
            quiet.violations.push("(f) equal, but something stays pending".into());
        }
    } else {
        verify(world, quiet);
    }
}

/// Nobody writes any more: no worker, and no program that a worker had started.
fn wait_for_rest(world: &World, quiet: &mut Quiet) {
    let ledgers = world.folder.join("ledgers");
    let start = Instant::now();
    let rests = |number| at_rest(&ledgers, number).exists();
    while start.elapsed() < REST {
        let working = world.crew.iter().any(|member| !rests(member.number));
        if !working && !has_programs(world) {
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    quiet.violations.push(format!("(j) a call is under way {REST:?} after the last fault"));
}

fn has_programs(world: &World) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else { return false };
    let folder = world.folder.as_os_str().as_encoded_bytes();
    processes.flatten().any(|process| {
        let read = |name| std::fs::read(process.path().join(name)).unwrap_or_default();
        read("cmdline").starts_with(b"dual\0")
            && read("environ").windows(folder.len()).any(|window| window == folder)
    })
}

type Compared = (Dump, Vec<Dump>, Vec<String>);

fn compare(world: &World) -> Option<Compared> {
    let tables = world.joined();
    let postgres = Dump::of_postgres(world.port(), &tables)?;
    let mut files = Vec::new();
    let mut differing = Vec::new();
    for node in &world.nodes {
        let file = Dump::of_file(&node.file, &tables)?;
        differing.extend(differences(&postgres, &file, node));
        for (kind, column) in lock(&world.columns).iter() {
            for (name, dump) in [("PostgreSQL".to_owned(), &postgres), (node.name(), &file)] {
                let mut rows = dump.rows.range(kind.row(0)..kind.row(TABLE));
                // Of a table without rows nothing is printed.
                if *kind != Kind::Users
                    && rows.next().is_some_and(|(_, row)| !row.contains_key(column))
                {
                    differing.push(format!("column {column} of {} is not in {name}", kind.name()));
                }
            }
        }
        files.push(file);
    }
    Some((postgres, files, differing))
}

fn asked(world: &World, node: usize, sql: &str) -> Option<String> {
    let answer = shell::sqlite(&world.nodes[node].file, "-list", sql).ok()?;
    answer.ok.then(|| answer.out.trim().to_owned())
}

/// Nothing is pending but what waits in quarantine; whether it may, [`differences`] says.
fn drained(world: &World) -> bool {
    let sql = format!("SELECT {};", pending(&world.joined()));
    (0..world.nodes.len()).all(|node| asked(world, node, &sql).as_deref() == Some("0"))
}

/// The product's own comparison has to agree with the one made here, which leaves out what is in
/// quarantine.
fn verify(world: &World, quiet: &mut Quiet) {
    let same = r#""different":0,"only_postgres":0,"only_sqlite":0,"#;
    let tables = world.joined().len();
    for node in 0..world.nodes.len() {
        let agrees = dual(world, node, &["verify", "--json"])
            .is_ok_and(|answer| answer.out.matches(same).count() == tables);
        if !agrees {
            quiet.violations.push(format!("(b) `dual verify` finds node {node} different"));
        }
    }
}

/// Everything is pushed once more, and everything is polled once more: nothing may change.
/// Nobody else has the files open any more.
pub fn deliver_again(world: &World, quiet: &mut Quiet) {
    let conflicts = quiet.postgres.conflicts;
    for node in 0..world.nodes.len() {
        // The cursor goes back to before the first transaction of this server.
        let forget = "UPDATE dual_node SET pushed = 0, follow = json_set(follow, \
                      '$.state.following.snapshot', '3:3:');";
        if asked(world, node, forget).is_none() {
            quiet.violations.push(format!("torture: node {node} cannot be set back"));
        }
        let synced = dual(world, node, &["sync", "--once", "--json"]);
        if !synced.as_ref().is_ok_and(|answer| {
            answer.out.contains("\"state\":\"done\"") || answer.out.contains("\"quarantined\"")
        }) {
            quiet
                .violations
                .push(format!("(c) node {node} does not synchronise again: {synced:?}"));
        }
    }
    let Some((postgres, files, differing)) = compare(world) else {
        quiet.violations.push("(c) a store cannot be read after the second delivery".into());
        return;
    };
    quiet.violations.extend(differing.into_iter().map(|line| format!("(c) {line}")));
    let changed = rows_that_differ(&quiet.postgres, &postgres, ["before", "after"]);
    let changed = changed.into_iter().take(20);
    quiet.violations.extend(changed.map(|line| format!("(c) delivered again: {line}")));
    if postgres.conflicts != conflicts {
        let now = postgres.conflicts;
        quiet
            .violations
            .push(format!("(c) the second delivery took conflicts from {conflicts} to {now}"));
    }
    (quiet.postgres, quiet.files) = (postgres, files);
}
