//! (i) A row that PostgreSQL refuses is in the quarantine of its file, once; a corrected one is
//! not.

use super::fate::Fate;
use super::{Case, Findings, story};
use crate::dump::may_wait;
use crate::ledger::Intent;

const ROWS: &str = "(i) rows that PostgreSQL may refuse";

/// What the last writes allow: refused, accepted, or not there.
#[derive(Debug, Default)]
struct Possible {
    refused: bool,
    accepted: bool,
    absent: bool,
}

fn possible(writes: &[Fate<'_>]) -> Possible {
    let mut possible = Possible { absent: true, ..Possible::default() };
    for fate in writes {
        if !fate.is_done() && !fate.is_unknown() {
            continue;
        }
        if fate.is_done() {
            possible = Possible::default();
        }
        match fate.op.intent {
            Intent::Refused => possible.refused = true,
            _ => possible.accepted = true,
        }
    }
    possible
}

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    for (node, file) in case.files.iter().enumerate() {
        for key in file.quarantine.iter().filter(|key| !may_wait(**key, case.postgres)) {
            findings.violates(format!(
                "(i) row {key}, which nothing refuses, stays in quarantine at node {node}"
            ));
        }
    }
    for (key, ops) in &case.by_key {
        let Some(node) =
            ops[0].node.filter(|_| matches!(ops[0].intent, Intent::Refused | Intent::Correct))
        else {
            continue;
        };

        let listed = case.files[node].quarantine.iter().filter(|aside| *aside == key).count();
        let here = case.files[node].rows.contains_key(key);
        let fits = |possible: &Possible| match (listed, case.postgres.rows.contains_key(key)) {
            (1, false) => possible.refused && here,
            // It was accepted before; what is refused is a later write to it.
            (1, true) => possible.refused,
            (0, true) => possible.accepted,
            (0, false) => possible.absent && !here,
            _ => false,
        };
        if fits(&possible(&case.told(*key))) {
            findings.checked(ROWS, 1);
            continue;
        }
        if fits(&possible(&case.lenient(*key))) {
            findings.excuse(ROWS, "the only store was destroyed");
            continue;
        }
        findings.violates(format!(
            "(i) row {key} is {listed} times in quarantine, at PostgreSQL: {}, in the file: {here}{}",
            case.postgres.rows.contains_key(key),
            story(ops)
        ));
    }
}
