//! Writers that know nothing of us: `psql`, `pgbench`, the `sqlite3` shell.

mod tables;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::ledger::{Intent, Ledger, Outcome};
use crate::shell::{self, Answer};
use crate::worker::{CONTENDED, OWNED, REFUSED_AT, REFUSED_PHONE, SPACE};
use crate::world::World;

/// The number of `psql` among the writers.
pub const PSQL: i64 = 90;
/// The number of the first node's `sqlite3` shell.
pub const SQLITE: i64 = 80;
/// Where the counters of `pgbench` begin.
pub const COUNTERS: i64 = 60 * SPACE;
const COUNTER_ROWS: i64 = 10;
const BURST: u64 = 40;

/// Where somebody writes.
#[derive(Clone, Copy)]
enum Side {
    Postgres,
    File(usize),
}

/// One writer: where, as whom, with what luck.
struct Writer {
    world: Arc<World>,
    side: Side,
    number: i64,
    ledger: Ledger,
    random: StdRng,
    count: u64,
    numbers: tables::Numbers,
}

/// Starts them all; they end when the world is closed to them.
///
/// # Errors
/// A ledger cannot be made.
pub fn start(world: &Arc<World>) -> std::io::Result<Vec<std::thread::JoinHandle<()>>> {
    let mut threads = Vec::new();
    let mut sides = vec![(Side::Postgres, PSQL, "psql".to_owned())];
    for node in 0..world.nodes.len() {
        sides.push((Side::File(node), SQLITE + node as i64, format!("sqlite3-{node}")));
    }
    for (side, number, who) in sides {
        let node = match side {
            Side::Postgres => None,
            Side::File(node) => Some(node),
        };
        let ledger = Ledger::create(&world.folder.join("ledgers"), &who, node, 0)?;
        let random = StdRng::seed_from_u64(world.options.seed ^ (number as u64) << 32);
        let world = Arc::clone(world);
        let mut writer =
            Writer { world, side, number, ledger, random, count: 0, numbers: Default::default() };
        threads.push(std::thread::spawn(move || writer.work()));
    }
    if Command::new("pgbench").arg("--version").output().is_ok_and(|out| out.status.success()) {
        let ledger = Ledger::create(&world.folder.join("ledgers"), "pgbench", None, 0)?;
        let world = Arc::clone(world);
        threads.push(std::thread::spawn(move || count(&world, &ledger)));
    }
    Ok(threads)
}

impl Writer {
    fn work(&mut self) {
        while self.world.open.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(self.random.random_range(50..400)));
            self.count += 1;
            if self.random.random() {
                self.tables();
                continue;
            }
            let text = format!("w{}:{}", self.number, self.count);
            let own = SPACE * self.number;
            match self.random.random_range(0..20_u32) {
                0..5 => {
                    let key = self.random.random_range(1..=CONTENDED);
                    self.set(key, "real_name", &format!("{text}c"));
                }
                5..7 => {
                    let key = own + self.random.random_range(0..OWNED);
                    let sql = format!("DELETE FROM users WHERE user_id = {key} RETURNING user_id;");
                    self.run(key, Intent::Delete, &sql);
                }
                7 if matches!(self.side, Side::File(_)) => {
                    let key = own + REFUSED_AT + self.random.random_range(0..5);
                    let correct = self.random.random();
                    let phone = if correct { "corrected" } else { REFUSED_PHONE };
                    let intent = if correct { Intent::Correct } else { Intent::Refused };
                    self.run(key, intent, &upsert(key, "phone_number", phone));
                }
                8..10 => {
                    let key = own + self.random.random_range(0..OWNED);
                    let sql = format!(
                        "UPDATE users SET username = '{text}' WHERE user_id = {key} \
                         RETURNING user_id;"
                    );
                    self.run(key, Intent::Update { real: None, user: Some(text) }, &sql);
                }
                _ => {
                    let key = own + self.random.random_range(0..OWNED);
                    self.set(key, "real_name", &text);
                }
            }
        }
    }

    fn set(&self, key: i64, column: &str, text: &str) {
        let intent = Intent::Upsert { real: Some(text.to_owned()), user: None };
        self.run(key, intent, &upsert(key, column, text));
    }

    fn run(&self, key: i64, intent: Intent, sql: &str) {
        let n = self.ledger.start(key, intent);
        let answer = match self.side {
            Side::Postgres => shell::psql(self.world.port(), sql),
            Side::File(node) => shell::sqlite(&self.world.nodes[node].file, "-list", sql),
        };
        let outcome = match answer {
            Ok(answer) => self.told(&answer),
            Err(error) => Outcome::Unknown { why: error.to_string() },
        };
        self.ledger.end(n, outcome, 0);
    }

    fn told(&self, answer: &Answer) -> Outcome {
        match self.side {
            _ if answer.complaint.contains("constraint") => Outcome::Invalid,
            _ if !answer.ok => Outcome::Unknown { why: answer.complaint.trim().to_owned() },
            _ if answer.out.trim().is_empty() => Outcome::NotFound,
            Side::Postgres => Outcome::Postgres,
            Side::File(_) => Outcome::Sqlite,
        }
    }
}

fn upsert(key: i64, column: &str, text: &str) -> String {
    format!(
        "INSERT INTO users (user_id, {column}) VALUES ({key}, '{text}') \
         ON CONFLICT (user_id) DO UPDATE SET {column} = excluded.{column} RETURNING user_id;"
    )
}

/// Increments counters with `pgbench`, in bursts.
fn count(world: &World, ledger: &Ledger) {
    let script = world.folder.join("counters.sql");
    let text = format!(
        "\\set key random({COUNTERS}, {})\n\
         INSERT INTO users (user_id, referrer_id) VALUES (:key, 1) \
         ON CONFLICT (user_id) DO UPDATE SET referrer_id = users.referrer_id + 1;\n",
        COUNTERS + COUNTER_ROWS - 1
    );
    if std::fs::write(&script, text).is_err() {
        return;
    }
    while world.open.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_secs(4));
        let n = ledger.start(COUNTERS, Intent::Count { times: BURST });
        let mut command = Command::new("pgbench");
        command
            .args(["-n", "-c", "2", "-t", &(BURST / 2).to_string(), "-h", "127.0.0.1"])
            .args(["-U", "postgres", "-p", &world.port().to_string(), "-f"])
            .arg(&script)
            .arg("postgres")
            .env("PGCONNECT_TIMEOUT", "2")
            .env("PGOPTIONS", "-c search_path=public");
        let outcome = match shell::run(&mut command, "") {
            Ok(answer) => processed(&answer.out),
            Err(error) => Outcome::Unknown { why: error.to_string() },
        };
        ledger.end(n, outcome, 0);
    }
}

fn processed(report: &str) -> Outcome {
    let line = report
        .lines()
        .find_map(|line| line.strip_prefix("number of transactions actually processed: "));
    let number = line.and_then(|text| text.split('/').next()?.trim().parse().ok());
    match number {
        Some(times) => Outcome::Counted { times },
        None => Outcome::Unknown { why: "pgbench has not told how many".into() },
    }
}
