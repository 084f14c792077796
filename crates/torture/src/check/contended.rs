//! (a) Rows that everybody writes: what stands was written by somebody; what was acknowledged
//! after it is in the conflict log; and so is, if it does not stand, what each side had last when
//! all had been cut off from each other.

use super::{Case, Findings, story};
use crate::heal::CUT_OFF;
use crate::ledger::{Entry, Intent, Op, Outcome};
use crate::tables::Kind;
use crate::worker::CONTENDED;

/// How late a call that was not answered may still be done, in microseconds: time-outs, and a
/// busy machine.
const LATE: u64 = 10_000_000;

/// The tables of which everybody writes the same rows.
const CONTESTED: [Kind; 3] = [Kind::Users, Kind::Pairs, Kind::Words];

const AFTER: &str = "(a) writes to rows of many writers, later than what stands";
const LAST: &str = "(a) last writes of each side, written apart";

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    findings.checked(AFTER, 0);
    findings.checked(LAST, 0);
    let keys = CONTESTED.iter().flat_map(|kind| (1..=CONTENDED).map(|label| kind.row(label)));
    for key in keys {
        let ops = case.by_key.get(&key).map(Vec::as_slice).unwrap_or_default();
        let row = case.postgres.rows.get(&key);
        let stands = row.and_then(|row| row.get("real_name").cloned().flatten());
        written_apart(case, findings, stands.as_ref(), ops);
        let winner = stands.as_ref().and_then(|text| ops.iter().find(|op| value(op) == Some(text)));
        let Some(winner) = winner else {
            if ops.iter().any(|op| op.is_acknowledged() && !case.losses.excuse(op)) {
                findings.violates(format!("(a) row {key} is {stands:?}, which nobody wrote"));
            }
            continue;
        };
        // Those that began after the one that stands had been answered.
        for op in ops.iter().filter(|op| op.is_acknowledged() && op.t0 > winner.t1) {
            // What stood in one store and was replaced there is in no log, but what replaced it is.
            let replaced = |later: &&&Op| later.t1 >= op.t0 && case.losses.meet(op, later);
            if ops.iter().filter(|later| case.has_lost(later)).any(|later| replaced(&later)) {
                findings.checked(AFTER, 1);
            } else if case.losses.excuse(op) {
                findings.excuse(AFTER, "the only store was destroyed");
            } else if case.losses.log_is_gone(op) {
                findings.excuse(AFTER, "the log may have gone with both its stores");
            } else {
                findings.violates(format!(
                    "(a) row {key}: {:?} was acknowledged and is in no conflict log, but what \
                     stands is older:{}",
                    value(op),
                    story(&[winner, op])
                ));
            }
        }
    }
}

/// Nobody knew of the others while all were cut off: what each side wrote last is in conflict with
/// what the others did, whichever was written first.
fn written_apart(case: &Case<'_>, findings: &mut Findings, stands: Option<&String>, ops: &[&Op]) {
    let cut = case.book.rest.iter().find_map(|(_, _, entry)| match entry {
        Entry::Fault { nemesis, t0, t1, .. } if nemesis == CUT_OFF => Some((*t0, *t1)),
        _ => None,
    });
    let Some((from, to)) = cut else { return };
    let sides = (0..case.files.len()).map(Some).chain([None]);
    for side in sides {
        let is_here = |op: &Op| match side {
            Some(_) => op.node == side && matches!(op.outcome, Outcome::Sqlite | Outcome::Both),
            None => matches!(op.outcome, Outcome::Postgres | Outcome::Both),
        };
        let here = ops.iter().filter(|op| op.t0 >= from && op.t1 <= to && is_here(op));
        let Some(begun) = here.map(|op| op.t0).max() else { continue };
        // Of calls at the same time, and of those that nobody answered, any may have been the last.
        let is_unknown = |op: &Op| {
            matches!(op.outcome, Outcome::Unknown { .. })
                && op.t0 + LATE >= from
                && (side.is_none() || op.node == side)
        };
        let last = ops.iter().filter(|op| op.t1 >= begun && (is_here(op) || is_unknown(op)));
        let last: Vec<&Op> = last.copied().collect();
        if last.iter().any(|op| value(op) == stands || case.has_lost(op)) {
            findings.checked(LAST, 1);
        } else if last.iter().any(|op| op.is_acknowledged() && case.losses.excuse(op)) {
            findings.excuse(LAST, "the only store was destroyed");
        } else {
            let side = side.map_or("PostgreSQL".into(), |node| format!("node {node}"));
            findings.violates(format!(
                "(a) {side} had written last what neither stands nor is in a conflict log; what \
                 stands is {stands:?}:{}",
                story(&last)
            ));
        }
    }
}

fn value(op: &Op) -> Option<&String> {
    match &op.intent {
        Intent::Upsert { real, .. } => real.as_ref(),
        _ => None,
    }
}
