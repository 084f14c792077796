//! (n) Conflicts that nobody made: a row of one writer, whose writes were all answered by both stores,
//! is in no conflict log.

use super::{Case, Findings, story};
use crate::ledger::{Entry, Op, Outcome};
use crate::schedule::Nemesis;
use crate::worker::{OWNED, SPACE};

const ROWS: &str = "(n) rows of one writer, always in both, in no conflict log";

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    let makes = |entry: &Entry| match entry {
        Entry::Fault { nemesis, target, .. } => {
            target != "nobody"
                && Nemesis::ALL
                    .iter()
                    .any(|known| known.name() == nemesis && may_make_conflicts(*known))
        }
        _ => false,
    };
    if case.book.rest.iter().any(|(_, _, entry)| makes(entry)) {
        return;
    }
    let is_plain = |op: &&Op| {
        use Outcome::{AlreadyExists, Both, Invalid, NotFound};
        matches!(op.outcome, Both | AlreadyExists | NotFound | Invalid)
    };
    for (key, ops) in &case.by_key {
        if *key < SPACE || key % SPACE >= OWNED || !ops.iter().all(is_plain) {
            continue;
        }
        if case.fates.has_conflict(*key..key + 1) {
            findings.violates(format!("(n) row {key} is in a conflict log:{}", story(ops)));
        } else {
            findings.checked(ROWS, 1);
        }
    }
}

/// Whether one who writes alone, and in both stores, can be in conflict with himself.
fn may_make_conflicts(nemesis: Nemesis) -> bool {
    nemesis.destroys()
        || matches!(nemesis, Nemesis::DropTriggers | Nemesis::ClockJump | Nemesis::LoadPastTriggers)
}
