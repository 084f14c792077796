//! (a) Rows that everybody writes: what stands was written by somebody, and what was
//! acknowledged and does not stand was followed by a later write or is in the conflict log.

use super::{Case, Findings, story};
use crate::ledger::{Op, Outcome, Wish};
use crate::worker::CONTENDED;

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    for key in 1..=CONTENDED {
        let ops = case.by_key.get(&key).map(Vec::as_slice).unwrap_or_default();
        let row = case.postgres.rows.get(&key);
        let stands = row.and_then(|row| row.get("real_name").cloned().flatten());
        let winner = stands.as_ref().and_then(|text| ops.iter().find(|op| value(op) == Some(text)));
        findings.checked("(a) writes to rows of many writers", ops.len() as u64);
        let Some(winner) = winner else {
            if ops.iter().any(|op| op.is_acknowledged() && !case.losses.excuse(op)) {
                findings.violates(format!("(a) row {key} is {stands:?}, which nobody wrote"));
            }
            continue;
        };
        // Those that began after the one that stands had been answered.
        for op in ops.iter().filter(|op| op.is_acknowledged() && op.t0 > winner.t1) {
            // What stood in one store and was replaced there is in no log, but what replaced it is.
            let replaces = |later: &&&Op| {
                later.t0 >= op.t0 && (later.node == op.node || op.outcome != Outcome::Sqlite)
            };
            if ops.iter().filter(replaces).any(|later| case.has_lost(later)) {
                findings.checked("(a) superseded, in the conflict log", 1);
            } else if case.losses.excuse(op) {
                findings.excuse("writes to rows of many writers whose only store was destroyed");
            } else if case.losses.destroyed_after(op.t0) {
                findings.excuse("conflicts whose log may have gone with a destroyed store");
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

fn value(op: &Op) -> Option<&String> {
    match &op.wish {
        Wish::Upsert { real, .. } => real.as_ref(),
        _ => None,
    }
}
