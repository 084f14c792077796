//! (n) What neighbours do not do: a row of one writer, whose writes were all answered by both stores, is
//! in no conflict log, and what a neighbour does not concern goes on while he is at work.

use super::{Case, Findings, story};
use crate::ledger::{Entry, Op, Outcome};
use crate::schedule::Nemesis;
use crate::tables::is_owned;

const ROWS: &str = "(n) rows of one writer, always in both, in no conflict log";

const FLOWS: &str = "(n) writes that a neighbour does not concern";

/// How long after another fault nothing has to flow yet, in microseconds.
const SETTLES: u64 = 15_000_000;

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    conflicts(case, findings);
    flows(case, findings);
}

fn flows(case: &Case<'_>, findings: &mut Findings) {
    for (_, _, entry) in &case.book.rest {
        let Entry::Probe { t0, t1, nemesis, node, arrived } = entry else { continue };
        let hinders = |entry: &Entry| match entry {
            Entry::Fault { nemesis, target, t0: from, t1: to, .. } => {
                target != "nobody" && may_stop(nemesis) && from <= t1 && to + SETTLES >= *t0
            }
            _ => false,
        };
        if *arrived {
            findings.checked(FLOWS, 1);
        } else if case.losses.doubt(*t0, *t1)
            || case.book.rest.iter().any(|(_, _, entry)| hinders(entry))
        {
            findings.excuse(FLOWS, "something else was in their way");
        } else {
            findings.violates(format!(
                "(n) {nemesis}: at {t0} a write did not go to the other side of node {node}"
            ));
        }
    }
}

/// Whether both sides may be kept apart by it, or wait for a person after it.
fn may_stop(nemesis: &str) -> bool {
    use Nemesis::{
        AddColumn, AddConstraint, CancellingTrigger, ChangeType, Settings, ShortCommands,
    };
    let harmless =
        [AddColumn, AddConstraint, CancellingTrigger, ChangeType, Settings, ShortCommands];
    !harmless.iter().any(|known| known.name() == nemesis)
}

fn conflicts(case: &Case<'_>, findings: &mut Findings) {
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
        if !is_owned(*key) || !ops.iter().all(is_plain) {
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
    use Nemesis::{ChangeType, ClockJump, DropTriggers, LoadPastTriggers};
    // A table that is left alone is compared afterwards.
    nemesis.destroys()
        || matches!(nemesis, ChangeType | ClockJump | DropTriggers | LoadPastTriggers)
}
