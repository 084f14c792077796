//! (a) Rows that one writer alone writes: the last acknowledged value stands, or a later one
//! whose outcome its writer was not told.

use std::collections::BTreeSet;

use super::fate::{COLUMNS, Fate};
use super::{Case, Findings, story};
use crate::dump::Row;
use crate::ledger::Intent;
use crate::tables::{Kind, is_owned};

const ROWS: &str = "(a) rows of one writer";

/// What a row may be by now. A write that was acknowledged settles what it writes; one whose
/// outcome is not known adds a possibility, also after later ones: it may arrive late.
struct Possible {
    alive: BTreeSet<bool>,
    /// What each column may hold.
    columns: [BTreeSet<Option<String>>; 2],
    /// A delete may arrive yet.
    dying: bool,
    /// By the conflict log another value stands than the last acknowledged one of that column,
    /// and what that one had replaced is in no log.
    lost: [bool; 2],
}

impl Possible {
    fn nothing() -> Possible {
        Possible {
            alive: BTreeSet::from([false]),
            columns: [BTreeSet::from([None]), BTreeSet::from([None])],
            dying: false,
            lost: [false; 2],
        }
    }

    fn take(&mut self, fate: &Fate<'_>) {
        let done = fate.is_done();
        if !done && !fate.is_unknown() {
            return;
        }
        let names = fate.op.intent.names().unwrap_or_default();
        for at in [0, 1] {
            if names[at] && (done || fate.lost[at]) {
                self.lost[at] = fate.lost[at];
            }
        }
        if fate.row {
            self.alive = BTreeSet::from([true, false]);
        }
        match &fate.op.intent {
            Intent::Add { real, user } | Intent::Load { real, user } => {
                self.born([Some(real), Some(user)], fate)
            }
            Intent::Upsert { real, user } => {
                let values = [real.as_ref(), user.as_ref()];
                if self.alive.contains(&false) {
                    // It may be born by it: what it does not name is empty then.
                    let was = self.columns.clone();
                    self.born(values, fate);
                    for (at, was) in was.into_iter().enumerate() {
                        if values[at].is_none() {
                            self.columns[at].extend(was);
                        }
                    }
                } else {
                    self.set(values, fate);
                }
            }
            Intent::Update { real, user } => {
                self.set([real.as_ref(), user.as_ref()], fate);
                if done && !fate.row && !self.dying {
                    self.alive = BTreeSet::from([true]);
                }
            }
            Intent::Delete if done => *self = Possible::nothing(),
            Intent::Delete => {
                self.dying = true;
                self.alive.insert(false);
                self.columns.iter_mut().for_each(|column| {
                    column.insert(None);
                });
            }
            Intent::Transfer { .. } | Intent::Count { .. } | Intent::Refused | Intent::Correct => {}
        }
    }

    fn born(&mut self, values: [Option<&String>; 2], fate: &Fate<'_>) {
        let settles = fate.is_done() && !fate.row;
        if settles {
            self.alive = BTreeSet::from([true]);
            self.alive.extend(self.dying.then_some(false));
        } else {
            self.alive.insert(true);
        }
        for (at, value) in values.into_iter().enumerate() {
            if settles && !fate.lost[at] {
                self.columns[at].clear();
            }
            self.columns[at].insert(value.cloned());
        }
    }

    fn set(&mut self, values: [Option<&String>; 2], fate: &Fate<'_>) {
        for (at, value) in values.into_iter().enumerate() {
            let Some(value) = value else { continue };
            if fate.is_done() && !fate.row && !fate.lost[at] {
                self.columns[at].clear();
            }
            self.columns[at].insert(Some(value.clone()));
            if self.dying {
                self.columns[at].insert(None);
            }
        }
    }
}

/// Whether the writes allow that row. A column whose last value has lost holds some other one that
/// was written to it, or nothing.
fn fits(writes: &[Fate<'_>], row: Option<&Row>) -> bool {
    let mut possible = Possible::nothing();
    writes.iter().for_each(|fate| possible.take(fate));
    let Some(row) = row else { return possible.alive.contains(&false) };
    possible.alive.contains(&true)
        && [0, 1].into_iter().all(|at| {
            let stands = row.get(COLUMNS[at]).cloned().flatten();
            match &stands {
                Some(text) if possible.lost[at] => {
                    writes.iter().any(|fate| fate.op.intent.text(at) == Some(text))
                }
                None if possible.lost[at] => true,
                _ => possible.columns[at].contains(&stands),
            }
        })
}

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    for (key, ops) in &case.by_key {
        if !is_owned(*key) || matches!(ops[0].intent, Intent::Count { .. }) {
            continue;
        }
        let row = case.postgres.rows.get(key);
        if fits(&case.told(*key), row) {
            findings.checked(ROWS, 1);
        } else if fits(&case.logged(*key), row) {
            findings.excuse(ROWS, "a value has lost, by the conflict log");
        } else if fits(&case.lenient(*key), row) {
            findings.excuse(ROWS, "the only store was destroyed");
        } else if case.files.iter().any(|file| file.quarantine.contains(key)) {
            // Whether it may be there is asked of everything that is.
            findings.excuse(ROWS, "it waits in quarantine");
        } else {
            let stands = row.map(|row| COLUMNS.map(|column| row.get(column)));
            let name = Kind::of(*key).name();
            findings.violates(format!("(a) row {key} of {name} is {stands:?} after{}", story(ops)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Op, Outcome};
    use crate::worker::SPACE;

    fn op(intent: Intent, outcome: Outcome) -> Op {
        let (t0, t1, who) = (0, 1, "w1".to_owned());
        Op { who, node: Some(0), t0, t1, key: SPACE, intent, outcome, late: 0 }
    }

    fn row(real: &str, user: Option<&str>) -> Row {
        let real = ("real_name".to_owned(), Some(real.to_owned()));
        Row::from([real, ("username".to_owned(), user.map(str::to_owned))])
    }

    fn upsert(real: &str, outcome: Outcome) -> Op {
        op(Intent::Upsert { real: Some(real.into()), user: None }, outcome)
    }

    fn fits(ops: &[Op], row: Option<&Row>) -> bool {
        super::fits(&ops.iter().map(Fate::told).collect::<Vec<_>>(), row)
    }

    fn unknown() -> Outcome {
        Outcome::Unknown { why: String::new() }
    }

    #[test]
    fn what_was_acknowledged_last_has_to_stand() {
        let ops = [upsert("1", Outcome::Both), upsert("2", Outcome::Sqlite)];
        assert!(fits(&ops, Some(&row("2", None))));
        assert!(!fits(&ops, Some(&row("1", None))));
        assert!(!fits(&ops, None));
        let ops = [upsert("1", Outcome::Both), op(Intent::Delete, Outcome::Both)];
        assert!(fits(&ops, None) && !fits(&ops, Some(&row("1", None))));
    }

    #[test]
    fn what_is_not_known_may_stand_or_not() {
        let ops = [upsert("1", Outcome::Both), upsert("2", unknown())];
        assert!(fits(&ops, Some(&row("1", None))));
        assert!(fits(&ops, Some(&row("2", None))));
        let ops = [upsert("1", unknown()), upsert("2", Outcome::Both)];
        assert!(!fits(&ops, Some(&row("1", None))), "a later write beats it");
        let refused = op(Intent::Delete, Outcome::NotFound);
        assert!(fits(&[refused], None));
    }

    #[test]
    fn what_has_lost_makes_no_other_column_and_no_other_value_right() {
        let both = Intent::Add { real: "1".into(), user: "1".into() };
        let ops = [op(both, Outcome::Both), upsert("2", Outcome::Sqlite)];
        let mut writes: Vec<_> = ops.iter().map(Fate::told).collect();
        writes[1].lost = [true, false];
        let fits = super::fits;
        assert!(fits(&writes, Some(&row("1", Some("1")))));
        assert!(!fits(&writes, Some(&row("3", Some("1")))), "which nobody wrote");
        assert!(!fits(&writes, Some(&row("1", Some("2")))), "the other column");
        assert!(!fits(&writes, None), "nothing says that the row has lost");
        writes[1].row = true;
        assert!(fits(&writes, None));
    }
}
