//! (a) Rows that one writer alone writes: the last acknowledged value stands, or a later one
//! whose outcome its writer was not told.

use std::collections::BTreeSet;

use super::{Case, Findings, is_superseded, story};
use crate::dump::Row;
use crate::ledger::{Op, Outcome, Wish};
use crate::worker::{OWNED, SPACE};

/// What a row may be by now. A write that was acknowledged settles what it writes; one whose
/// outcome is not known adds a possibility, also after later ones: it may arrive late.
struct Possible {
    alive: BTreeSet<bool>,
    real: BTreeSet<Option<String>>,
    user: BTreeSet<Option<String>>,
    /// A delete may arrive yet.
    dying: bool,
    /// Of both columns: by the conflict log another write stands than the last acknowledged one,
    /// and what that one had replaced is in no log.
    lost: [bool; 2],
}

impl Possible {
    fn nothing() -> Possible {
        let none = || BTreeSet::from([None]);
        Possible {
            alive: BTreeSet::from([false]),
            real: none(),
            user: none(),
            dying: false,
            lost: [false; 2],
        }
    }

    fn take(&mut self, op: &Op) {
        let done = op.is_acknowledged();
        let unknown = matches!(op.outcome, Outcome::Unknown { .. });
        if let (true, Some(names)) = (done || is_superseded(op), op.wish.names()) {
            for (lost, _) in self.lost.iter_mut().zip(names).filter(|(_, named)| *named) {
                *lost = !done;
            }
            if !done {
                self.alive = BTreeSet::from([true, false]);
            }
        }
        if !done && !unknown {
            return;
        }
        match &op.wish {
            Wish::Add { real, user } => self.born(Some(real), Some(user), done),
            Wish::Upsert { real, user } => {
                if self.alive.contains(&false) {
                    // It may be born by it: what it does not name is empty then.
                    let was = (self.real.clone(), self.user.clone());
                    self.born(real.as_ref(), user.as_ref(), done);
                    if self.alive.contains(&true) && real.is_none() {
                        self.real.extend(was.0);
                    }
                    if self.alive.contains(&true) && user.is_none() {
                        self.user.extend(was.1);
                    }
                } else {
                    self.set(real.as_ref(), user.as_ref(), done);
                }
            }
            Wish::Update { real, user } => {
                self.set(real.as_ref(), user.as_ref(), done);
                if done && !self.dying {
                    self.alive = BTreeSet::from([true]);
                }
            }
            Wish::Delete if done => *self = Possible::nothing(),
            Wish::Delete => {
                self.dying = true;
                self.alive.insert(false);
                self.real.insert(None);
                self.user.insert(None);
            }
            Wish::Transfer { .. } | Wish::Count { .. } | Wish::Refused | Wish::Correct => {}
        }
    }

    fn born(&mut self, real: Option<&String>, user: Option<&String>, done: bool) {
        if done {
            self.alive = BTreeSet::from([true]);
            self.alive.extend(self.dying.then_some(false));
            (self.real, self.user) =
                (BTreeSet::from([real.cloned()]), BTreeSet::from([user.cloned()]));
        } else {
            self.alive.insert(true);
            self.real.insert(real.cloned());
            self.user.insert(user.cloned());
        }
    }

    fn set(&mut self, real: Option<&String>, user: Option<&String>, done: bool) {
        for (set, value) in [(&mut self.real, real), (&mut self.user, user)] {
            let Some(value) = value else { continue };
            if done {
                set.clear();
            }
            set.insert(Some(value.clone()));
            if self.dying {
                set.insert(None);
            }
        }
    }

    fn fits(&self, row: Option<&Row>) -> bool {
        let Some(row) = row else { return self.alive.contains(&false) };
        let is = |set: &BTreeSet<Option<String>>, column| {
            set.contains(&row.get(column).cloned().flatten())
        };
        self.alive.contains(&true)
            && (self.lost[0] || is(&self.real, "real_name"))
            && (self.lost[1] || is(&self.user, "username"))
    }
}

fn fits<'o>(ops: impl Iterator<Item = &'o Op>, row: Option<&Row>) -> bool {
    let mut possible = Possible::nothing();
    ops.for_each(|op| possible.take(op));
    possible.fits(row)
}

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    for (key, ops) in &case.by_key {
        if *key < SPACE || key % SPACE >= OWNED || matches!(ops[0].wish, Wish::Count { .. }) {
            continue;
        }
        findings.checked("(a) rows of one writer", 1);
        let row = case.postgres.rows.get(key);
        if fits(ops.iter().copied(), row) {
            continue;
        }
        if fits(case.logged(*key).iter(), row) {
            findings.checked("(a) superseded, in the conflict log", 1);
            continue;
        }
        if fits(case.lenient(*key).iter(), row) {
            findings.excuse("rows of one writer whose only store was destroyed");
            continue;
        }
        let stands = row.map(|row| (row.get("real_name"), row.get("username")));
        findings.violates(format!("(a) row {key} is {stands:?} after{}", story(ops)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(wish: Wish, outcome: Outcome) -> Op {
        let (t0, t1, who) = (0, 1, "w1".to_owned());
        Op { who, node: Some(0), t0, t1, key: SPACE, wish, outcome, late: 0 }
    }

    fn row(real: &str, user: Option<&str>) -> Row {
        let real = ("real_name".to_owned(), Some(real.to_owned()));
        Row::from([real, ("username".to_owned(), user.map(str::to_owned))])
    }

    fn upsert(real: &str, outcome: Outcome) -> Op {
        op(Wish::Upsert { real: Some(real.into()), user: None }, outcome)
    }

    fn unknown() -> Outcome {
        Outcome::Unknown { why: String::new() }
    }

    #[test]
    fn what_was_acknowledged_last_has_to_stand() {
        let ops = [upsert("1", Outcome::Both), upsert("2", Outcome::Sqlite)];
        assert!(fits(ops.iter(), Some(&row("2", None))));
        assert!(!fits(ops.iter(), Some(&row("1", None))));
        assert!(!fits(ops.iter(), None));
        let ops = [upsert("1", Outcome::Both), op(Wish::Delete, Outcome::Both)];
        assert!(fits(ops.iter(), None) && !fits(ops.iter(), Some(&row("1", None))));
    }

    #[test]
    fn what_is_not_known_may_stand_or_not() {
        let ops = [upsert("1", Outcome::Both), upsert("2", unknown())];
        assert!(fits(ops.iter(), Some(&row("1", None))));
        assert!(fits(ops.iter(), Some(&row("2", None))));
        let ops = [upsert("1", unknown()), upsert("2", Outcome::Both)];
        assert!(!fits(ops.iter(), Some(&row("1", None))), "a later write beats it");
        let refused = op(Wish::Delete, Outcome::NotFound);
        assert!(fits([refused].iter(), None));
    }
}
