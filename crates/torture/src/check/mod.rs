//! What was acknowledged against what stands.

mod bank;
mod contended;
mod cursor;
mod fate;
mod losses;
mod neighbours;
mod owned;
mod quarantine;
mod reads;
mod references;

use std::collections::BTreeMap;

use crate::dump::Dump;
use crate::ledger::{Book, Op};
use fate::{Fate, Fates};
use losses::Losses;

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Broken promises.
    pub violations: Vec<String>,
    /// What is excused, by the check that could not be made and why, and how often.
    pub excused: BTreeMap<(&'static str, &'static str), u64>,
    /// How many things were checked, by sort.
    pub checked: BTreeMap<&'static str, u64>,
    /// The longest that a caller waited, in milliseconds.
    pub longest_stall_ms: u64,
    /// How long a store was destroyed and not recovered from, in milliseconds.
    pub doubt_ms: u64,
}

impl Findings {
    fn violates(&mut self, text: String) {
        self.violations.push(text);
    }

    fn excuse(&mut self, what: &'static str, why: &'static str) {
        *self.excused.entry((what, why)).or_default() += 1;
    }

    fn checked(&mut self, what: &'static str, times: u64) {
        *self.checked.entry(what).or_default() += times;
    }
}

/// What the checks look at.
pub(crate) struct Case<'a> {
    book: &'a Book,
    postgres: &'a Dump,
    files: &'a [Dump],
    losses: Losses,
    by_key: BTreeMap<i64, Vec<&'a Op>>,
    fates: Fates<'a>,
}

/// Checks everything.
pub fn check(book: &Book, postgres: &Dump, files: &[Dump]) -> Findings {
    let mut by_key: BTreeMap<i64, Vec<&Op>> = BTreeMap::new();
    for op in &book.ops {
        by_key.entry(op.key).or_default().push(op);
    }
    let fates = Fates::of(files.iter().chain([postgres]));
    let case = Case { book, postgres, files, losses: Losses::of(book), by_key, fates };
    let end = book.ops.iter().map(|op| op.t0).max().unwrap_or(0);
    let doubt_ms = case.losses.doubted(end) / 1_000;
    let mut findings = Findings { doubt_ms, ..Findings::default() };
    owned::check(&case, &mut findings);
    contended::check(&case, &mut findings);
    bank::check(&case, &mut findings);
    quarantine::check(&case, &mut findings);
    reads::check(&case, &mut findings);
    cursor::check(&case, &mut findings);
    neighbours::check(&case, &mut findings);
    references::check(&case, &mut findings);
    findings
}

impl Case<'_> {
    /// The writes of a key as they were answered.
    fn told(&self, key: i64) -> Vec<Fate<'_>> {
        self.writes(key).map(Fate::told).collect()
    }

    /// With what has lost by the conflict log.
    fn logged(&self, key: i64) -> Vec<Fate<'_>> {
        self.writes(key).map(|op| self.fates.of_write(op)).collect()
    }

    /// As [`Case::logged`], and with what a destroyed store alone had.
    fn lenient(&self, key: i64) -> Vec<Fate<'_>> {
        let gone = |op: &Op| op.is_acknowledged() && self.losses.excuse(op);
        self.writes(key).map(|op| Fate { gone: gone(op), ..self.fates.of_write(op) }).collect()
    }

    /// Whether a value of the write has lost by the conflict log.
    fn has_lost(&self, op: &Op) -> bool {
        self.fates.of_write(op).lost != [false; 2]
    }

    fn writes(&self, key: i64) -> impl Iterator<Item = &Op> {
        self.by_key.get(&key).into_iter().flatten().copied()
    }
}

/// The last writes of a key, for a person.
pub(crate) fn story(ops: &[&Op]) -> String {
    let lines = ops.iter().rev().take(8).rev().map(|op| {
        let t1 = if op.t1 == u64::MAX { "never".into() } else { op.t1.to_string() };
        format!("\n      {} {}..{t1} {:?} -> {:?}", op.who, op.t0, op.intent, op.outcome)
    });
    lines.collect()
}
