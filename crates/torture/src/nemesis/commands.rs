//! Short commands of the program beside the workers of a file.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Done, Skipped};
use crate::ledger::{Intent, Ledger, Outcome, now};
use crate::schedule::Event;
use crate::shell::{self, Answer};
use crate::worker::{OWNED, SPACE, answered};
use crate::world::World;

/// The number of the first node's commands among the writers.
const SHORT: i64 = 50;

pub(super) fn run(world: &World, event: &Event) -> Result<Done, Skipped> {
    let node = event.pick(world.nodes.len());
    let Ok(_guard) = world.nodes[node].commands.try_lock() else { return Err("they run already") };
    let number = SHORT + node as i64;
    let incarnation = u32::try_from(event.at_ms).unwrap_or(u32::MAX);
    let (ledgers, who) = (world.folder.join("ledgers"), format!("short-{node}"));
    let Ok(ledger) = Ledger::create(&ledgers, &who, Some(node), incarnation) else {
        return Err("there is no room for a ledger");
    };
    let start = Instant::now();
    let (mut count, mut key) = (0, 0);
    while count == 0 || start.elapsed() < event.lasts() {
        let text = format!("w{number}:{}", event.at_ms * 1_000 + count);
        let choice = event.choice.wrapping_add(count);
        if choice.is_multiple_of(6) || key == 0 {
            key = number * SPACE + ((event.choice + count * 7) % OWNED as u64) as i64;
        }
        let write = |intent, words: &[&str]| {
            let n = ledger.start(key, intent);
            let outcome = match dual(world, node, words) {
                Ok(answer) => answered(answer.code, answer.out.as_bytes()),
                Err(error) => Outcome::Unknown { why: error.to_string() },
            };
            ledger.end(n, outcome, 0);
        };
        match choice % 6 {
            0 => {
                let row =
                    format!(r#"{{"user_id": {key}, "real_name": "{text}", "username": "{text}"}}"#);
                write(Intent::Add { real: text.clone(), user: text }, &["user", "add", &row]);
            }
            1 | 3 => {
                let row = format!(r#"{{"real_name": "{text}"}}"#);
                let intent = Intent::Update { real: Some(text), user: None };
                write(intent, &["user", "update", &key.to_string(), &row]);
            }
            2 => {
                let _ = dual(world, node, &["user", "get", &key.to_string()]);
            }
            4 => {
                let words: &[&str] = match event.choice % 3 {
                    0 => &["verify"],
                    _ => &["sync", "--once"],
                };
                let _ = dual(world, node, words);
            }
            _ => {
                let _ = dual(world, node, &["status"]);
            }
        }
        count += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(Done { note: Some(format!("{count} commands")), ..Done::to(format!("node {node}")) })
}

/// The program, as the node's workers reach PostgreSQL. What it complains about is kept.
fn dual(world: &World, node: usize, words: &[&str]) -> std::io::Result<Answer> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg0("dual").args(words).arg("--json");
    command.env("DATABASE_URL", world.nodes[node].url());
    command.env("DATABASE_PATH", &world.nodes[node].file);
    let answer = shell::run(&mut command, "")?;
    let log = world.folder.join("logs").join(format!("short-{node}.log"));
    let said = format!("{} {words:?} {:?}\n{}", now(), answer.code, answer.complaint);
    File::options().create(true).append(true).open(log)?.write_all(said.as_bytes())?;
    Ok(answer)
}
