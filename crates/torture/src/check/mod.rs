//! What was acknowledged against what stands.

mod bank;
mod contended;
mod cursor;
mod losses;
mod owned;
mod quarantine;
mod reads;

use std::collections::{BTreeMap, BTreeSet};

use crate::dump::Dump;
use crate::ledger::{Book, Op, Outcome, Wish};
use losses::Losses;

/// What was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Broken promises.
    pub violations: Vec<String>,
    /// What is excused, and how often: a store that alone had something was destroyed.
    pub excused: BTreeMap<&'static str, u64>,
    /// How many things were checked, by sort.
    pub checked: BTreeMap<&'static str, u64>,
    /// The longest that a caller waited, in milliseconds.
    pub longest_stall_ms: u64,
}

impl Findings {
    fn violates(&mut self, text: String) {
        self.violations.push(text);
    }

    fn excuse(&mut self, what: &'static str) {
        *self.excused.entry(what).or_default() += 1;
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
    /// The values in all conflict logs that do not stand.
    losers: BTreeSet<&'a str>,
}

/// Checks everything.
pub fn check(book: &Book, postgres: &Dump, files: &[Dump]) -> Findings {
    let mut by_key: BTreeMap<i64, Vec<&Op>> = BTreeMap::new();
    for op in &book.ops {
        by_key.entry(op.key).or_default().push(op);
    }
    let dumps = files.iter().chain([postgres]);
    let losers = dumps.flat_map(|dump| dump.losers.iter().map(String::as_str)).collect();
    let case = Case { book, postgres, files, losses: Losses::of(book), by_key, losers };
    let mut findings = Findings::default();
    owned::check(&case, &mut findings);
    contended::check(&case, &mut findings);
    bank::check(&case, &mut findings);
    quarantine::check(&case, &mut findings);
    reads::check(&case, &mut findings);
    cursor::check(&case, &mut findings);
    findings
}

impl Case<'_> {
    /// The writes of a key, with those marked that have lost to another one by the conflict log.
    fn logged(&self, key: i64) -> Vec<Op> {
        self.softened(key, |_| false)
    }

    /// As [`Case::logged`], and with those taken for unknown that a destroyed store alone had.
    fn lenient(&self, key: i64) -> Vec<Op> {
        self.softened(key, |op| self.losses.excuse(op))
    }

    fn softened(&self, key: i64, is_gone: impl Fn(&Op) -> bool) -> Vec<Op> {
        let soften = |op: &&Op| {
            let mut op = (*op).clone();
            if op.is_acknowledged() && self.has_lost(&op) {
                op.outcome = Outcome::Unknown { why: SUPERSEDED.into() };
            } else if op.is_acknowledged() && is_gone(&op) {
                op.outcome = Outcome::Unknown { why: "its store was destroyed".into() };
            }
            op
        };
        self.by_key.get(&key).into_iter().flatten().map(soften).collect()
    }

    fn has_lost(&self, op: &Op) -> bool {
        let lost =
            |text: &Option<String>| text.as_deref().is_some_and(|text| self.losers.contains(text));
        match &op.wish {
            Wish::Upsert { real, user } | Wish::Update { real, user } => lost(real) || lost(user),
            Wish::Add { real, .. } => self.losers.contains(real.as_str()),
            _ => false,
        }
    }
}

/// Why an acknowledged write counts for nothing: another one stands, and the log has both. What
/// it had replaced itself is in no log.
const SUPERSEDED: &str = "superseded";

pub(crate) fn is_superseded(op: &Op) -> bool {
    matches!(&op.outcome, Outcome::Unknown { why } if why == SUPERSEDED)
}

/// The last writes of a key, for a person.
pub(crate) fn story(ops: &[&Op]) -> String {
    let lines = ops.iter().rev().take(8).rev().map(|op| {
        let t1 = if op.t1 == u64::MAX { "never".into() } else { op.t1.to_string() };
        format!("\n      {} {}..{t1} {:?} -> {:?}", op.who, op.t0, op.wish, op.outcome)
    });
    lines.collect()
}
