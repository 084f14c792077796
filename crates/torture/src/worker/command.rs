//! A worker that calls the program `dual` for each write, as a shell script does.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::sync::oneshot::Receiver;

use std::sync::atomic::Ordering;

use super::{OWNED, SPACE, Shop};
use crate::ledger::{Entry, Intent, Outcome, now};

pub(super) fn work(shop: &Shop, mut end: Receiver<()>) -> io::Result<()> {
    let options = &shop.options;
    let salt = options.seed ^ (options.number as u64) << 32 ^ u64::from(options.incarnation);
    let mut random = StdRng::seed_from_u64(salt);
    let mut count = 0;
    shop.ledger.write(&Entry::Ready { t: now() });
    while end.try_recv().is_err_and(|why| why == tokio::sync::oneshot::error::TryRecvError::Empty) {
        std::thread::sleep(shop.pause().max(Duration::from_millis(400)));
        if !shop.works() {
            continue;
        }
        let key = SPACE * options.number + random.random_range(0..OWNED);
        count += 1;
        let text = shop.unique(count);
        let (intent, words) = match random.random_range(0..10_u32) {
            0..2 => (Intent::Delete, vec!["delete".into(), key.to_string()]),
            2..4 => {
                let row = json!({"user_id": key, "real_name": text, "username": text});
                (
                    Intent::Add { real: text.clone(), user: text },
                    vec!["add".into(), row.to_string()],
                )
            }
            4..6 => {
                let row = json!({"username": text}).to_string();
                let intent = Intent::Update { real: None, user: Some(text) };
                (intent, vec!["update".into(), key.to_string(), row])
            }
            _ => {
                let row = json!({"user_id": key, "real_name": text}).to_string();
                (Intent::Upsert { real: Some(text), user: None }, vec!["upsert".into(), row])
            }
        };
        shop.calls.fetch_add(1, Ordering::SeqCst);
        let n = shop.ledger.start(key, intent);
        let before = shop.machine.late();
        let outcome = run(shop, &words)?;
        shop.ledger.end(n, outcome, shop.machine.late().saturating_sub(before));
        shop.calls.fetch_sub(1, Ordering::SeqCst);
    }
    Ok(())
}

fn run(shop: &Shop, words: &[String]) -> io::Result<Outcome> {
    let options = &shop.options;
    let output = Command::new(std::env::current_exe()?)
        .arg0("dual")
        .arg("user")
        .args(words)
        .arg("--json")
        .env("DATABASE_URL", &options.url)
        .env("DATABASE_PATH", &options.file)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    Ok(answered(output.status.code(), &output.stdout))
}

/// What the program's document and its exit code say about a write.
pub fn answered(code: Option<i32>, document: &[u8]) -> Outcome {
    let answer: Value = serde_json::from_slice(document).unwrap_or_default();
    let stored = |side: &str| answer["stored"][side] == true;
    let unknown = |why: &Value| Outcome::Unknown { why: why.to_string() };
    match (code, stored("postgres"), stored("sqlite")) {
        (Some(0), true, true) => Outcome::Both,
        (Some(3), true, false) => Outcome::Postgres,
        (Some(3), false, true) => Outcome::Sqlite,
        _ => match answer["error"]["kind"].as_str() {
            Some("already_exists") => Outcome::AlreadyExists,
            Some("not_found") => Outcome::NotFound,
            Some("invalid_data") => Outcome::Invalid,
            Some(_) => unknown(&answer["error"]["message"]),
            None => unknown(&json!(format!("no document, ended with {code:?}"))),
        },
    }
}
