//! What a run has shown: a table for people, `report.json` for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::check::Findings;
use crate::heal::{CUT_OFF, Quiet};
use crate::ledger::{Book, Entry, Outcome};
use crate::options::Options;
use crate::world::World;

/// More memory than this is a leak, in kilobytes.
const MEMORY: u64 = 250_000;
/// A longer write-ahead log than this is not checkpointed, in bytes.
const LOG: u64 = 64 << 20;

/// What a run has shown.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// What the run was drawn from.
    pub seed: u64,
    /// How long faults were injected, in seconds.
    pub seconds: u64,
    /// Writes that were attempted.
    pub writes: u64,
    /// How they were answered.
    pub answers: BTreeMap<String, u64>,
    /// Reads that were answered.
    pub reads: u64,
    /// Faults that were inflicted, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Faults that were left out.
    pub left_out: u64,
    /// Comparisons that the workers have begun, by their cause.
    pub comparisons: BTreeMap<String, u64>,
    /// How often a comparison that waited for a person was let go on.
    pub repairs: u64,
    /// The longest that a caller waited, in milliseconds, without what the machine took.
    pub longest_stall_ms: u64,
    /// How long a store was destroyed and not recovered from, in milliseconds.
    pub doubt_ms: u64,
    /// How long both sides took to become equal after the faults, in milliseconds.
    pub converged_ms: Option<u64>,
    /// Entries of the conflict log at the end.
    pub conflicts: u64,
    /// Rows of the sidecar, and keys that were ever written.
    pub sidecar: (u64, u64),
    /// The most memory that a worker used, in kilobytes.
    pub memory_kb: u64,
    /// The longest write-ahead log, in bytes.
    pub log_bytes: u64,
    /// What was checked, and how often.
    pub checked: BTreeMap<String, u64>,
    /// What was excused, and how often.
    pub excused: BTreeMap<String, u64>,
    /// Broken promises.
    pub violations: Vec<String>,
}

impl Report {
    /// Puts everything together.
    pub fn of(options: &Options, book: &Book, quiet: &Quiet, findings: Findings) -> Report {
        let mut report = Report {
            seed: options.seed,
            seconds: options.duration.as_secs(),
            writes: book.ops.len() as u64,
            longest_stall_ms: findings.longest_stall_ms,
            doubt_ms: findings.doubt_ms,
            converged_ms: quiet.after.map(|time| time.as_millis() as u64),
            conflicts: quiet.postgres.conflicts,
            ..Report::default()
        };
        let owned = |(name, times): (&str, u64)| (name.to_owned(), times);
        report.checked = findings.checked.into_iter().map(owned).collect();
        let excused = findings.excused.into_iter();
        report.excused =
            excused.map(|((what, why), times)| (format!("{what}: {why}"), times)).collect();
        report.violations.extend(quiet.violations.iter().cloned());
        report.violations.extend(findings.violations);
        for op in &book.ops {
            *report.answers.entry(answer(&op.outcome).into()).or_default() += 1;
        }
        for (_, _, entry) in &book.rest {
            match entry {
                Entry::Read { .. } => report.reads += 1,
                Entry::Fault { target, .. } if target == "nobody" => report.left_out += 1,
                Entry::Fault { nemesis, note, target, .. } => {
                    *report.faults.entry(nemesis.clone()).or_default() += 1;
                    if let Some(note) = note.as_ref().filter(|note| note.starts_with("NOT ")) {
                        report.violations.push(format!("(n) {nemesis} of {target}: {note}"));
                    }
                }
                Entry::Status { wal: Some(bytes), .. } => {
                    report.log_bytes = report.log_bytes.max(*bytes);
                }
                _ => {}
            }
        }
        let keys: std::collections::BTreeSet<i64> = book.ops.iter().map(|op| op.key).collect();
        // Counters are ten rows under one key; a bank is opened under its first account.
        let keys = keys.len() as u64 + 10 + 8 * u64::from(options.nodes * options.workers_per_node);
        let sidecar = quiet.files.iter().map(|file| file.sidecar).max().unwrap_or(0);
        report.sidecar = (sidecar.max(quiet.postgres.sidecar), keys);
        report
    }

    /// Adds what the processes have shown.
    pub fn add_processes(&mut self, world: &World, folder: &Path) {
        self.repairs = world.repairs.load(std::sync::atomic::Ordering::SeqCst);
        for member in &world.crew {
            let life = crate::crew::lock(&member.life);
            self.memory_kb = self.memory_kb.max(life.memory);
            self.violations.extend(life.deaths.iter().map(|death| format!("(l) ended: {death}")));
        }
        if self.memory_kb > MEMORY {
            self.violations.push(format!("(k) a worker used {} kB", self.memory_kb));
        }
        if self.log_bytes > LOG {
            self.violations.push(format!("(k) a log grew to {} bytes", self.log_bytes));
        }
        if self.sidecar.0 > self.sidecar.1 {
            let (rows, keys) = self.sidecar;
            self.violations.push(format!("(k) a sidecar has {rows} rows for {keys} keys"));
        }
        self.violations.extend(panics(&folder.join("logs")));
        self.comparisons = comparisons(&folder.join("logs"));
        let calm = ["cancelling-trigger", "settings", "short-commands", CUT_OFF];
        if self.faults.keys().all(|nemesis| calm.contains(&nemesis.as_str())) {
            let needless = self.comparisons.iter().filter(|(cause, _)| *cause != "FirstContact");
            self.violations.extend(
                needless
                    .map(|(cause, n)| format!("(n) {n} comparisons that nobody needed: {cause}")),
            );
        }
    }

    /// The table.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            let _ = writeln!(text, "{name:<22} {value}");
        };
        let list = |map: &BTreeMap<String, u64>| {
            let words: Vec<String> = map.iter().map(|(name, n)| format!("{name} {n}")).collect();
            words.join(", ")
        };
        line("seed", self.seed.to_string());
        line("faults for", format!("{} s", self.seconds));
        line("writes", format!("{}: {}", self.writes, list(&self.answers)));
        line("reads", self.reads.to_string());
        let faults: u64 = self.faults.values().sum();
        line("faults", format!("{faults}: {}", list(&self.faults)));
        line("left out", self.left_out.to_string());
        line("comparisons", list(&self.comparisons));
        line("repairs by a person", self.repairs.to_string());
        line("longest stall", format!("{} ms", self.longest_stall_ms));
        let converged = self.converged_ms.map_or("NEVER".into(), |ms| format!("{ms} ms"));
        line("equal after", converged);
        line("conflicts logged", self.conflicts.to_string());
        line("sidecar", format!("{} rows for at most {} keys", self.sidecar.0, self.sidecar.1));
        line("memory of a worker", format!("at most {} kB", self.memory_kb));
        line("write-ahead log", format!("at most {} bytes", self.log_bytes));
        line("in doubt for", format!("{} s", self.doubt_ms / 1_000));
        for (what, n) in &self.checked {
            let beside =
                |why: &String| why.strip_prefix(what).is_some_and(|why| why.starts_with(':'));
            let excused: u64 =
                self.excused.iter().filter(|(why, _)| beside(why)).map(|(_, n)| n).sum();
            line("checked", format!("{n} {what}; excused {excused}"));
        }
        self.excused.iter().for_each(|(what, n)| line("excused", format!("{n} {what}")));
        line("violations", self.violations.len().to_string());
        for violation in &self.violations {
            let _ = writeln!(text, "  {violation}");
        }
        text
    }
}

fn answer(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Both => "in both",
        Outcome::Postgres => "in PostgreSQL",
        Outcome::Sqlite => "in the file",
        Outcome::Counted { .. } => "counted",
        Outcome::AlreadyExists => "already exists",
        Outcome::NotFound => "not found",
        Outcome::Invalid => "refused",
        Outcome::Unknown { .. } => "not acknowledged",
    }
}

/// (l) Workers say on standard error that they have panicked.
fn panics(logs: &Path) -> Vec<String> {
    let mut found = Vec::new();
    look_through(logs, |name, line| {
        if line.contains("panicked at") {
            found.push(format!("(l) {name}: {line}"));
        }
    });
    found
}

/// (n) Workers say why they compare.
fn comparisons(logs: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    look_through(logs, |_, line| {
        if let Some((_, cause)) = line.split_once("comparing both sides cause=") {
            let cause = cause.split_whitespace().next().unwrap_or_default();
            *found.entry(cause.to_owned()).or_default() += 1;
        }
    });
    found
}

fn look_through(logs: &Path, mut look: impl FnMut(&str, &str)) {
    let Ok(files) = std::fs::read_dir(logs) else { return };
    for file in files.flatten() {
        let text = std::fs::read(file.path()).unwrap_or_default();
        let name = file.file_name().to_string_lossy().into_owned();
        String::from_utf8_lossy(&text).lines().for_each(|line| look(&name, line));
    }
}
