//! Every step that changes something, and every blow to it: not done; done, and the answer lost; done
//! twice; the process ended before it, and after it. Each in a process of its own, on a real PostgreSQL
//! and a real file.
//!
//! What the process was told is in a ledger. A process that lives has to come to its end by itself; after
//! one that was ended the next one goes on. Then both sides are equal, hold what was acknowledged, and
//! nothing twice.

mod import;
mod stages;
mod strike;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use dual_database::sync::Step;
use throwaway_postgres::{Database, shared};

use crate::scenario::scene::{postgres_rows, psql, sqlite, sqlite_rows};
use strike::Blow;

/// Generous: it bounds a failure, not a success.
const LIMIT: Duration = Duration::from_secs(40);

/// Under which circumstances a step is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Two stores with rows of their own are joined, then everybody writes.
    Ordinary,
    /// PostgreSQL is not there.
    Alone,
    /// Its answer is lost besides.
    Unheard,
    /// A row in the file lies ahead of PostgreSQL's clock.
    Ahead,
    /// The file's numbers belong to somebody else.
    Numbered,
    /// Both sides have given rows the same number.
    Born,
    /// A row is added without a key.
    Unkeyed,
    /// Too much would be lost.
    Held,
    /// What PostgreSQL refuses meets what comes from there.
    Met,
    /// The file's triggers were gone while somebody wrote.
    Uncaptured,
    /// Nobody writes, and the background verification has its turn.
    Quiet,
    /// Rows of a CSV file are loaded into both.
    Import,
}

impl Stage {
    const ALL: [Stage; 12] = [
        Stage::Ordinary,
        Stage::Alone,
        Stage::Unheard,
        Stage::Ahead,
        Stage::Numbered,
        Stage::Born,
        Stage::Unkeyed,
        Stage::Held,
        Stage::Met,
        Stage::Uncaptured,
        Stage::Quiet,
        Stage::Import,
    ];

    fn of(step: Step) -> Stage {
        match step {
            Step::Alone => Stage::Alone,
            Step::Resume => Stage::Unheard,
            Step::Restamp => Stage::Ahead,
            Step::Renumber => Stage::Numbered,
            Step::Reserve | Step::Number => Stage::Born,
            Step::AskNumber | Step::TakeNumber | Step::KeepNumbers | Step::NoteNumbers => {
                Stage::Unkeyed
            }
            Step::Hold => Stage::Held,
            Step::Forward | Step::NoteForwarded => Stage::Met,
            Step::Uncaptured => Stage::Uncaptured,
            Step::Scrub => Stage::Quiet,
            step if Step::IMPORT.contains(&step) => Stage::Import,
            _ => Stage::Ordinary,
        }
    }

    /// Whether the first process cannot bring both sides together.
    fn is_left_to_the_next(self) -> bool {
        matches!(self, Stage::Alone | Stage::Import)
    }

    /// How many conflicts there are, if that is known. A push whose answer was lost can find its own
    /// write under a later one of the same file: the log then has it as the loser.
    fn conflicts(self, step: Step, blow: Blow) -> Option<usize> {
        match self {
            Stage::Held | Stage::Born => None,
            _ if matches!((step, blow), (Step::Push | Step::Give, Blow::Lost)) => None,
            Stage::Met | Stage::Uncaptured => Some(1),
            _ => Some(0),
        }
    }
}

/// Both stores, and what is known of them from outside.
struct Place {
    database: Database<'static>,
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let database = shared().unwrap().database("steps").unwrap();
        Place { database, folder: tempfile::tempdir().unwrap() }
    }

    fn url(&self) -> String {
        self.database.url()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("users.db")
    }

    fn psql(&self, sql: &str) -> String {
        psql(&self.url(), sql)
    }

    /// What the processes were told, line by line.
    fn ledger(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.path().join("ledger")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// A process that goes through the stage and is struck, or goes on after one that was.
    fn process(&self, stage: Stage, strike: Option<(Step, Blow)>) -> Output {
        let (step, blow) = strike.unzip();
        let text = |it: Option<String>| it.unwrap_or_default();
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "steps::stages::inner_process", "--ignored", "--nocapture"])
            .env("STAGE", format!("{stage:?}"))
            .env("STEP", text(step.map(|step| format!("{step:?}"))))
            .env("BLOW", text(blow.map(|blow| format!("{blow:?}"))))
            .env("URL", self.url())
            .env("FOLDER", self.folder.path())
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

/// One blow to one step.
fn survives(step: Step, blow: Blow) {
    let (stage, place) = (Stage::of(step), Place::new());
    let what = format!("{step} {blow:?}");
    stages::prepare(stage, &place);
    let struck = place.process(stage, Some((step, blow)));
    let said = || {
        let [out, errors] = [&struck.stdout, &struck.stderr].map(|it| String::from_utf8_lossy(it));
        format!("{what}\n{out}\n{errors}\n{}", place.ledger().join("\n"))
    };
    assert_eq!(struck.status.success(), !blow.ends_the_process(), "{}", said());
    assert!(place.ledger().iter().any(|line| line == "struck"), "never met: {}", said());
    if blow.ends_the_process() || stage.is_left_to_the_next() {
        let next = place.process(stage, None);
        let errors = String::from_utf8_lossy(&next.stderr);
        assert!(next.status.success(), "the next process: {}\n{errors}", said());
    }
    check(&place, &what);
    match stage {
        Stage::Born => stages::check_born(&place, &what),
        Stage::Unkeyed => stages::check_unkeyed(&place, &what),
        _ => {}
    }
    if let Some(expected) = stage.conflicts(step, blow) {
        // Of the keys that the struck process alone writes there can be one with itself: an answer
        // that a busy machine has given too late, and then another change.
        let others = "FROM dual.conflict WHERE key NOT BETWEEN 10 AND 13";
        let told = format!("SELECT key || ': ' || winning || ' over ' || losing {others}");
        let conflicts = place.psql(&format!("SELECT count(*) {others}"));
        assert_eq!(conflicts, expected.to_string(), "{what}: {}", place.psql(&told));
    }
}

/// Both sides are equal, and hold what was acknowledged, once.
fn check(place: &Place, what: &str) {
    let rows = sqlite_rows(&place.file());
    let theirs = postgres_rows(&place.url());
    assert_eq!(theirs, rows, "{what}: PostgreSQL, and the file");
    let ids = "SELECT count(*) = count(DISTINCT id) AND coalesce(min(id), 1) > 0 FROM users";
    assert_eq!(place.psql(ids), "t", "{what}");
    let ledger = place.ledger();
    let names: Vec<(i64, &str)> = rows
        .lines()
        .map(|row| row.split('\t').collect::<Vec<_>>())
        .map(|row| (row[1].parse().unwrap(), row[3]))
        .collect();
    for (key, name) in expected(&ledger) {
        let found = names.iter().find(|(there, _)| *there == key).map(|(_, name)| *name);
        assert_eq!(found, name.as_deref(), "{what}: key {key} in\n{rows}");
    }
    // Each transaction adds one: none that was acknowledged is lost, and none counts twice.
    let [told, tried] =
        ["counted", "counting"].map(|word| ledger.iter().filter(|l| *l == word).count());
    let count = place.psql("SELECT coalesce(sum(referrer_id), 0) FROM users WHERE user_id = 11");
    let count: usize = count.parse().unwrap();
    assert!((told..=tried).contains(&count), "{what}: {count} of {told} to {tried}");
    let aside = "print(db.execute('SELECT count(*) FROM dual_quarantine').fetchone()[0])";
    assert_eq!(sqlite(&place.file(), aside), "0", "{what}: quarantine");
}

/// What was acknowledged last of each row, unless something was tried since and not acknowledged.
fn expected(ledger: &[String]) -> BTreeMap<i64, Option<String>> {
    let mut expected = BTreeMap::new();
    for line in ledger {
        let words: Vec<&str> = line.split(' ').collect();
        let key = || words[1].parse::<i64>().unwrap();
        match words.as_slice() {
            ["try", _] => drop(expected.remove(&key())),
            ["has", _, name] => drop(expected.insert(key(), Some((*name).to_owned()))),
            ["gone", _] => drop(expected.insert(key(), None)),
            _ => {}
        }
    }
    expected
}

/// Each of these steps with that blow.
fn all_survive(steps: &[Step], blow: Blow) {
    let survive = |step: &&Step| std::panic::catch_unwind(|| survives(**step, blow)).is_err();
    let failed: Vec<&Step> = steps.iter().filter(survive).collect();
    assert!(failed.is_empty(), "{blow:?}: {failed:?}");
}

/// Those of rounds and calls, and those of an import.
fn steps() -> Vec<Step> {
    [Step::ROUND, Step::CALL, Step::IMPORT].concat()
}

#[test]
fn steps_that_are_refused() {
    all_survive(&steps(), Blow::Refused);
}

#[test]
fn steps_whose_answer_is_lost() {
    all_survive(&steps(), Blow::Lost);
}

/// An import is repeated as a whole, after each of the other blows.
#[test]
fn steps_that_are_done_twice() {
    all_survive(&[Step::ROUND, Step::CALL].concat(), Blow::Twice);
}

#[test]
fn processes_that_end_before_a_step() {
    all_survive(&steps(), Blow::EndsBefore);
}

#[test]
fn processes_that_end_after_a_step() {
    all_survive(&steps(), Blow::EndsAfter);
}
