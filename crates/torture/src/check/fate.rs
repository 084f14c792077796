//! What has become of a write: whether it counts, by the conflict log and by what was destroyed.

use std::collections::{BTreeMap, BTreeSet};

use crate::dump::{Dump, Lost};
use crate::ledger::{Op, Outcome};

/// The columns that writers set, in the order of [`crate::ledger::Intent::names`].
pub(super) const COLUMNS: [&str; 2] = ["real_name", "username"];

/// A write, and what has become of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fate<'a> {
    /// The write.
    pub op: &'a Op,
    /// Whether its value has lost, for each column: another one stands, and the log has both. What
    /// it had replaced itself is in no log.
    pub lost: [bool; 2],
    /// Whether it has lost to the end of its row.
    pub row: bool,
    /// Whether a destroyed store alone had it.
    pub gone: bool,
}

impl<'a> Fate<'a> {
    /// As it was answered.
    pub fn told(op: &'a Op) -> Fate<'a> {
        Fate { op, lost: [false; 2], row: false, gone: false }
    }

    /// Whether it was acknowledged by a store that is still there.
    pub fn is_done(&self) -> bool {
        self.op.is_acknowledged() && !self.gone
    }

    /// Whether it may have been done or not.
    pub fn is_unknown(&self) -> bool {
        self.gone || matches!(self.op.outcome, Outcome::Unknown { .. })
    }
}

/// What has lost, by all conflict logs.
#[derive(Debug)]
pub(super) struct Fates<'a> {
    /// By key, column and value: whether it was the row's end that won.
    values: BTreeMap<(i64, &'a str, &'a str), bool>,
    /// Rows of which it was in conflict whether they are there.
    rows: BTreeSet<i64>,
}

impl<'a> Fates<'a> {
    /// From the dumps of all stores.
    pub fn of(dumps: impl Iterator<Item = &'a Dump>) -> Fates<'a> {
        let mut fates = Fates { values: BTreeMap::new(), rows: BTreeSet::new() };
        for Lost { key, register, losing, winning } in dumps.flat_map(|dump| &dump.lost) {
            match losing {
                Some(losing) => {
                    let to_nothing = fates.values.entry((*key, register, losing)).or_default();
                    *to_nothing |= winning.is_none();
                }
                None if register == "(row)" => {
                    fates.rows.insert(*key);
                }
                None => {}
            }
        }
        fates
    }

    /// Whether anything of one of these rows has lost.
    pub fn has_conflict(&self, keys: std::ops::Range<i64>) -> bool {
        let values = self.values.range((keys.start, "", "")..(keys.end, "", ""));
        values.count() > 0 || self.rows.range(keys).count() > 0
    }

    /// What has become of that write, by the log.
    pub fn of_write<'o>(&self, op: &'o Op) -> Fate<'o> {
        let mut fate = Fate::told(op);
        if !op.is_acknowledged() {
            return fate;
        }
        for at in [0, 1] {
            let text = op.intent.text(at);
            let to_nothing =
                text.and_then(|text| self.values.get(&(op.key, COLUMNS[at], text.as_str())));
            fate.lost[at] = to_nothing.is_some();
            fate.row |= to_nothing.is_some_and(|to| *to || self.rows.contains(&op.key));
        }
        fate
    }
}
