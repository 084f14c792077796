//! (h) A worker reads what it has written, and never less than it has read, in each store; (j) no
//! call takes longer than its time-out budget.

use std::collections::{BTreeMap, BTreeSet};

use super::fate::{COLUMNS, Fate};
use super::{Case, Findings, story};
use crate::ledger::{Entry, Intent, Op, Outcome, Place};
use crate::options::TIMEOUT;
use crate::tables::Kind;

/// What a call may take besides both time-outs: the loss of a file is waited out for a second,
/// and machines are busy.
const SLACK_MS: u64 = 5_000;

const READS: &str = "(h, j) reads";

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    let budget_ms = 2 * TIMEOUT.as_millis() as u64 + SLACK_MS;
    let waited = |t0: u64, t1: u64, late: u64| (t1 - t0).saturating_sub(late) / 1_000;
    // Only workers that use the library tell of the product's status.
    let tells = |entry: &Entry| matches!(entry, Entry::Status { .. });
    let tellers = case.book.rest.iter().filter(|(_, _, entry)| tells(entry));
    let of_library: BTreeSet<&str> = tellers.map(|(who, _, _)| who.as_str()).collect();
    let mut read: BTreeMap<(i64, Place, &'static str), (u64, u64)> = BTreeMap::new();
    for op in case.book.ops.iter().filter(|op| op.t1 != u64::MAX && is_worker(&op.who)) {
        let ms = waited(op.t0, op.t1, op.late);
        findings.checked("(j) calls", 1);
        findings.longest_stall_ms = findings.longest_stall_ms.max(ms);
        // A transaction is made again up to six times, a program has to start and to exchange.
        let budget = match op.intent {
            Intent::Transfer { .. } => 6 * budget_ms,
            _ if Kind::of(op.key).is_of_family() => 6 * budget_ms,
            _ if !of_library.contains(op.who.as_str()) => 3 * budget_ms,
            _ => budget_ms,
        };
        if ms > budget {
            findings.violates(format!("(j) a call took {ms} ms:{}", story(&[op])));
        }
    }
    let mut reads: Vec<&Entry> = case.book.rest.iter().map(|(_, _, entry)| entry).collect();
    reads.retain(|entry| matches!(entry, Entry::Read { .. } | Entry::Unread { .. }));
    reads.sort_by_key(|entry| match entry {
        Entry::Read { t0, .. } | Entry::Unread { t0, .. } => *t0,
        _ => 0,
    });
    for entry in reads {
        let (Entry::Read { t0, t1, key, late, .. } | Entry::Unread { t0, t1, key, late, .. }) =
            entry
        else {
            continue;
        };
        let ms = waited(*t0, *t1, *late);
        findings.longest_stall_ms = findings.longest_stall_ms.max(ms);
        findings.checked(READS, 1);
        if ms > budget_ms {
            findings.violates(format!("(j) a read of row {key} took {ms} ms at {t0}"));
        }
        let Entry::Read { from, there, real, user, .. } = entry else { continue };
        let in_doubt = case.losses.doubt(*t0, *t1);
        for (column, value) in COLUMNS.into_iter().zip([real, user]) {
            let seen = value.as_deref().and_then(number).unwrap_or(0);
            // What was deleted meanwhile begins again.
            let Some(least) = least(case, &case.told(*key), (*t0, *t1), *from, column) else {
                read.remove(&(*key, *from, column));
                continue;
            };
            let before = read.get(&(*key, *from, column)).filter(|(_, at)| {
                !case
                    .writes(*key)
                    .any(|op| op.intent == Intent::Delete && op.t1 > *at && op.t0 < *t1)
                    && !case.losses.destroyed_between(*at, *t1)
            });
            let before = before.map_or(0, |(seen, _)| *seen);
            if seen >= least.max(before) {
                read.insert((*key, *from, column), (seen, *t1));
            } else if in_doubt
                || is_excused(case, *key, (*t0, *t1), (*from, column), (seen, before))
            {
                findings
                    .excuse(READS, "of what only a destroyed store had, or before it was compared");
            } else {
                let what = if seen < least { "own writes" } else { "monotonic reads" };
                let ops: Vec<&Op> = case.writes(*key).filter(|op| op.t0 < *t1).collect();
                findings.violates(format!(
                    "(h) {what}: row {key}, {column} from {from:?} at {t0}..{t1}: there {there}, \
                     {value:?}, not {} or later{}",
                    least.max(before),
                    story(&ops)
                ));
            }
        }
    }
}

/// Whether only writes are missing whose stores were destroyed, or that have lost to others by the
/// conflict log.
fn is_excused(
    case: &Case<'_>,
    key: i64,
    time: (u64, u64),
    (from, column): (Place, &str),
    (seen, before): (u64, u64),
) -> bool {
    let least = least(case, &case.lenient(key), time, from, column);
    least.is_none_or(|least| seen >= least.max(before))
}

fn is_worker(who: &str) -> bool {
    who.strip_prefix('w').is_some_and(|number| number.parse::<u32>().is_ok())
}

/// The number within a text that a worker wrote.
fn number(text: &str) -> Option<u64> {
    text.split_once(':')?.1.parse().ok()
}

/// The least that a read from that store may show: what the last write that is known to be there
/// has set. `None` if anything goes, because a delete or an unknown outcome came after it.
fn least(
    case: &Case<'_>,
    writes: &[Fate<'_>],
    (t0, t1): (u64, u64),
    from: Place,
    column: &str,
) -> Option<u64> {
    let mut least = Some(0);
    let at = COLUMNS.iter().position(|name| *name == column).unwrap_or(0);
    for fate in writes.iter().take_while(|fate| fate.op.t0 < t0) {
        let op = fate.op;
        if fate.row || fate.lost[at] {
            least = None;
            continue;
        }
        let is_there = match op.outcome {
            _ if fate.gone => false,
            Outcome::Both => op.t1 <= t0,
            Outcome::Postgres => op.t1 <= t0 && from == Place::Postgres,
            // What is pending is shown, whoever is asked, unless the file cannot be.
            Outcome::Sqlite if from == Place::Postgres => {
                op.t1 <= t0 && !case.losses.unreadable(op.node, t0, t1)
            }
            Outcome::Sqlite => op.t1 <= t0,
            Outcome::Unknown { .. } => false,
            _ => continue,
        };
        let named = |real: &Option<String>, user: &Option<String>| {
            let text = if column == "real_name" { real } else { user };
            text.as_deref().and_then(number)
        };
        least = match &op.intent {
            Intent::Delete if is_there => Some(0),
            Intent::Delete => None,
            Intent::Add { real, user } if is_there => {
                named(&Some(real.clone()), &Some(user.clone())).or(least)
            }
            Intent::Update { real, user } | Intent::Upsert { real, user } if is_there => {
                // After a delete nobody knows of, what is not named is empty.
                named(real, user).or(least)
            }
            _ => least,
        };
    }
    least
}
