//! (e) No transfer is half visible: the sum of a bank is the same in every look at either store.

use std::collections::{BTreeMap, BTreeSet};

use super::{Case, Findings};
use crate::ledger::{Entry, Intent, Op, Outcome};
use crate::options::TIMEOUT;
use crate::outside::COUNTERS;
use crate::schedule::Nemesis;
use crate::worker::{ACCOUNTS, BANK, DEPOSIT, SPACE};

const SUM: i64 = ACCOUNTS * DEPOSIT;

/// How long the file may wait for its lock before it notes what PostgreSQL already has, in
/// microseconds.
const NOTED: u64 = TIMEOUT.as_micros() as u64;

const SUMS: &str = "(e) sums of banks";
const END: &str = "(e) banks at the end";
const COUNTED: &str = "(a) increments by pgbench";

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    let opened: BTreeMap<i64, u64> = case
        .book
        .ops
        .iter()
        .filter(|op| {
            matches!(op.intent, Intent::Transfer { amount: 0, .. }) && op.is_acknowledged()
        })
        .map(|op| (op.key / SPACE, op.t1))
        .collect();
    let banks: BTreeMap<i64, Bank> =
        opened.keys().map(|bank| (*bank, Bank { breaks: breaks(case, *bank) })).collect();
    let sums = case.book.rest.iter().filter_map(|(_, _, entry)| match entry {
        Entry::Sum { t0, t1, store, bank, rows, sum, following } => {
            Some((*t0, *t1, store, *bank, *rows, *sum, *following))
        }
        _ => None,
    });
    let mut sums: Vec<_> = sums.collect();
    sums.sort_unstable();
    let asides = asides(case);
    let mut told = BTreeSet::new();
    let mut bases: BTreeMap<(i64, usize), i64> = BTreeMap::new();
    for (t0, t1, store, bank, rows, sum, following) in sums {
        let part = banks.get(&bank).map_or(Part::Whole, |bank| bank.part(t0, t1));
        let base = match part {
            Part::Whole => Some(SUM),
            Part::Broken => None,
            // The first look after it is what the others are measured by.
            Part::Again(which)
                if rows == ACCOUNTS
                    && following
                    && !case.losses.doubt(t0, t1)
                    && !asides.iter().any(|aside| aside.excuses(bank, store, t0, t1)) =>
            {
                Some(*bases.entry((bank, which)).or_insert(sum))
            }
            Part::Again(which) => bases.get(&(bank, which)).copied(),
        };
        if rows == ACCOUNTS && base == Some(sum) {
            findings.checked(SUMS, 1);
        } else if !following || case.losses.doubt(t0, t1) {
            findings.excuse(SUMS, "both sides were compared after a loss");
        } else if base.is_none() {
            findings.excuse(SUMS, "written on both sides at a time");
        } else if asides.iter().any(|aside| aside.excuses(bank, store, t0, t1)) {
            findings.excuse(SUMS, "a row of the bank was in quarantine, as locked");
        } else if told.insert((store.clone(), bank)) {
            findings.violates(format!(
                "(e) bank {bank} was {sum} in {rows} accounts at {t0}..{t1} in {store}, not {base:?}"
            ));
        }
    }
    for bank in opened.keys() {
        let first = bank * SPACE + BANK;
        let accounts = case.postgres.rows.range(first..first + ACCOUNTS);
        let held = |row: &crate::dump::Row| row.get("referrer_id")?.as_ref()?.parse::<i64>().ok();
        let sum: i64 = accounts.filter_map(|(_, row)| held(row)).sum();
        let ops = (first..first + ACCOUNTS).flat_map(|key| case.by_key.get(&key)).flatten();
        let part = banks.get(bank).map_or(Part::Whole, |bank| bank.part(u64::MAX, u64::MAX));
        let base = match part {
            Part::Whole => Some(SUM),
            Part::Broken => None,
            Part::Again(which) => bases.get(&(*bank, which)).copied(),
        };
        if base == Some(sum) {
            findings.checked(END, 1);
        } else if base.is_none() {
            findings.excuse(END, "written on both sides at a time");
        } else if ops.into_iter().any(|op| op.is_acknowledged() && case.losses.excuse(op)) {
            findings.excuse(END, "the only store of a transfer was destroyed");
        } else {
            findings.violates(format!("(e) bank {bank} holds {sum} at the end"));
        }
    }
    counters(case, findings);
}

/// A time in which a row of a bank was in quarantine because somebody had it locked at PostgreSQL:
/// the rest of its transaction is there without it.
struct Aside {
    bank: i64,
    /// From when PostgreSQL may have had the rest.
    from: u64,
    /// By when each store has the row, too. The file that set it aside is whole all the time.
    to: BTreeMap<String, u64>,
}

impl Aside {
    fn of(case: &Case<'_>, node: usize, key: i64, from: u64, to: u64) -> Aside {
        let pushed = case.losses.pushed(node, to);
        let others = (0..case.files.len()).filter(|other| *other != node);
        let pulled =
            others.map(|other| (format!("node {other}"), case.losses.pulled(other, pushed)));
        let to = pulled.chain([("postgres".to_owned(), pushed)]).collect();
        Aside { bank: key / SPACE, from: from.saturating_sub(NOTED), to }
    }

    fn excuses(&self, bank: i64, store: &str, t0: u64, t1: u64) -> bool {
        let to = self.to.get(store).copied();
        bank == self.bank && t1 >= self.from && to.is_some_and(|to| t0 <= to)
    }
}

fn asides(case: &Case<'_>) -> Vec<Aside> {
    let told = case.book.rest.iter().filter_map(|(_, _, entry)| match entry {
        Entry::Locked { t, node, key, aside } => Some((*node, *key, *t, *aside)),
        _ => None,
    });
    let of_bank = |key: i64| (BANK..BANK + ACCOUNTS).contains(&(key % SPACE));
    let mut told: Vec<_> = told.filter(|(_, key, ..)| of_bank(*key)).collect();
    // Each file's are in the order of time.
    told.sort_by_key(|(node, key, ..)| (*node, *key));
    let mut asides = Vec::new();
    for row in told.chunk_by(|one, two| (one.0, one.1) == (two.0, two.1)) {
        let (node, key, ..) = row[0];
        let mut since: Option<(u64, u64)> = None;
        for (_, _, t, aside) in row {
            match (since, aside) {
                (None, false) => {}
                (None, true) => since = Some((*t, *t)),
                (Some((from, _)), true) => since = Some((from, *t)),
                (Some((from, _)), false) => {
                    asides.push(Aside::of(case, node, key, from, *t));
                    since = None;
                }
            }
        }
        // Without an end the file itself was destroyed.
        asides.extend(since.map(|(from, to)| Aside::of(case, node, key, from, to)));
    }
    asides
}

/// A bank, by the times from which its sum says nothing to those at which it says something again.
struct Bank {
    breaks: Vec<(u64, u64)>,
}

/// What the sum of a bank has to be.
#[derive(Clone, Copy)]
enum Part {
    /// What it began with.
    Whole,
    /// Nothing is known.
    Broken,
    /// What it was after that break.
    Again(usize),
}

impl Bank {
    fn part(&self, t0: u64, t1: u64) -> Part {
        match self.breaks.iter().rposition(|(from, _)| t1 >= *from) {
            None => Part::Whole,
            Some(last)
                if t0 > self.breaks[..=last].iter().map(|(_, to)| *to).max().unwrap_or(0) =>
            {
                Part::Again(last)
            }
            Some(_) => Part::Broken,
        }
    }
}

/// When the sum of a bank changes: a transfer that PostgreSQL alone had was followed by one in the
/// file that lacked it, or the other way round. The two are in conflict, and the conflict log has to
/// say so. Once every store has had what the others had it stays again, until a store is destroyed:
/// then what the conflict has left may be decided anew.
fn breaks(case: &Case<'_>, bank: i64) -> Vec<(u64, u64)> {
    let first = bank * SPACE + BANK;
    if !case.fates.has_conflict(first..first + ACCOUNTS) {
        return Vec::new();
    }
    let ops = (first..first + ACCOUNTS).flat_map(|key| case.by_key.get(&key)).flatten();
    let mut ops: Vec<&Op> = ops.filter(|op| op.is_acknowledged()).copied().collect();
    ops.sort_by_key(|op| op.t0);
    let mut breaks = Vec::new();
    let mut last: BTreeMap<bool, &Op> = BTreeMap::new();
    for op in ops {
        let in_file = op.outcome == Outcome::Sqlite;
        if last.get(&!in_file).is_some_and(|before| case.losses.apart(before, op)) {
            breaks.push((op.t0, case.losses.exchanged(op)));
        }
        if op.outcome == Outcome::Both {
            last.clear();
        } else {
            last.insert(in_file, op);
        }
    }
    if let Some((since, _)) = breaks.first().copied() {
        breaks.extend(case.losses.doubts(since));
        breaks.sort_unstable();
    }
    breaks
}

/// (a) Increments: PostgreSQL has at least those that it has acknowledged.
fn counters(case: &Case<'_>, findings: &mut Findings) {
    let rows = case.postgres.rows.range(COUNTERS..COUNTERS + SPACE);
    let held = |row: &crate::dump::Row| row.get("referrer_id")?.as_ref()?.parse::<u64>().ok();
    let sum: u64 = rows.filter_map(|(_, row)| held(row)).sum();
    let ops = case.by_key.get(&COUNTERS).map(Vec::as_slice).unwrap_or_default();
    let (mut least, mut most, mut lost) = (0, 0, 0);
    let anew = counted_anew(case);
    for op in ops {
        if let Intent::Count { times } = op.intent {
            most += times;
        }
        if let Outcome::Counted { times } = op.outcome {
            least += times;
            // What counts on after a loss takes the place of what had come before it.
            let replaced = op.t0 < anew;
            if replaced || case.losses.excuse(op) || case.losses.doubt(op.t0, op.t1) {
                lost += times;
            }
        }
    }
    findings.checked(COUNTED, least - lost);
    if (least..=most).contains(&sum) {
        return;
    }
    if (least - lost..least).contains(&sum) {
        findings.excuse(COUNTED, "only a destroyed PostgreSQL had some");
    } else {
        findings.violates(format!(
            "(a) counters hold {sum}, not {least} to {most}; {lost} may have been lost"
        ));
    }
}

/// Until when increments may have gone because PostgreSQL's table was dropped and they began at 1 again
/// in the new one, before a file had given theirs back: the log then has what lost to that.
fn counted_anew(case: &Case<'_>) -> u64 {
    if !case.fates.has_conflict(COUNTERS..COUNTERS + SPACE) {
        return 0;
    }
    let dropped = case.book.rest.iter().filter_map(|(_, _, entry)| match entry {
        Entry::Fault { nemesis, target, t0, t1, .. }
            if nemesis == Nemesis::DropTable.name() && target == "PostgreSQL" =>
        {
            Some((*t0, *t1))
        }
        _ => None,
    });
    let ends = dropped.filter_map(|(t0, t1)| {
        case.losses.doubts(t0).filter(|(from, _)| *from <= t1).map(|(_, to)| to).max()
    });
    ends.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::check;
    use crate::dump::{Dump, Row};
    use crate::ledger::Book;

    const FIRST: i64 = SPACE + BANK;

    fn account(key: i64) -> (i64, Row) {
        (key, Row::from([("referrer_id".to_owned(), Some(DEPOSIT.to_string()))]))
    }

    fn status(t0: u64) -> Entry {
        let (to_postgres, to_sqlite) = (Some(0), Some(0));
        let sync = "following".into();
        Entry::Status { t0, t1: t0, to_postgres, to_sqlite, sync, up: true, wal: None }
    }

    /// What is told of one look that lacks a row of a bank, while the row `key` is set aside at
    /// 10 s and released at 11 s; both nodes tell at 12 s that nothing is pending.
    fn violations(key: i64, store: &str, seconds: u64) -> usize {
        let mut book = Book::default();
        let intent = Intent::Transfer { to: FIRST, amount: 0 };
        let (who, node, key_of) = ("w1".to_owned(), Some(0), FIRST);
        let op =
            Op { who, node, t0: 1, t1: 2, key: key_of, intent, outcome: Outcome::Both, late: 0 };
        book.ops.push(op);
        let at = seconds * 1_000_000;
        let (rows, sum) = (ACCOUNTS - 1, SUM - DEPOSIT);
        let store = store.to_owned();
        let look = Entry::Sum { t0: at, t1: at + 1, store, bank: 1, rows, sum, following: true };
        let mut tell = |node, entry| book.rest.push(("observer".to_owned(), node, entry));
        tell(None, look);
        for (t, aside) in [(10_000_000, true), (11_000_000, false)] {
            tell(Some(0), Entry::Locked { t, node: 0, key, aside });
        }
        (0..2).for_each(|node| tell(Some(node), status(12_000_000)));
        (0..2).for_each(|node| tell(Some(node), status(13_000_000)));
        let rows: BTreeMap<_, _> = (FIRST..FIRST + ACCOUNTS).map(account).collect();
        let dump = Dump { rows, ..Dump::default() };
        let found = check(&book, &dump, &[dump.clone(), dump.clone()]);
        found.violations.iter().filter(|text| text.starts_with("(e)")).count()
    }

    #[test]
    fn half_a_transfer_is_excused_by_a_locked_row_of_its_bank_while_it_lasts() {
        assert_eq!(violations(FIRST + 3, "postgres", 9), 0, "not noted yet");
        assert_eq!(violations(FIRST + 3, "postgres", 10), 0);
        assert_eq!(violations(FIRST + 3, "node 1", 12), 0, "not fetched yet");
        assert_eq!(violations(FIRST + 3, "postgres", 7), 1, "before");
        assert_eq!(violations(FIRST + 3, "postgres", 13), 1, "pushed since");
        assert_eq!(violations(FIRST + 3, "node 1", 14), 1, "fetched since");
        assert_eq!(violations(FIRST + 3, "node 0", 10), 1, "its own file is whole");
        assert_eq!(violations(FIRST + 3 + SPACE, "postgres", 10), 1, "another bank's row");
        assert_eq!(violations(SPACE + 3, "postgres", 10), 1, "a row of no bank");
    }
}
