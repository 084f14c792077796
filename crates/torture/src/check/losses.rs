//! Which acknowledged writes may be gone: those that only a destroyed store had.
//!
//! A write begins in the stores that its answer names. It is known to have reached another one
//! once the product has said, after the write, that nothing is pending for it. A destruction
//! takes a store away from what has reached it since the backup that came back. A write that is
//! left in no store is excused; every other one is not.

use std::collections::{BTreeMap, BTreeSet};

use crate::heal::RESTARTED;
use crate::ledger::{Book, Entry, Intent, Op, Outcome};
use crate::schedule::Nemesis;
use crate::tables::Kind;

/// How long before a worker's SIGKILL a deleted file may have been held by it alone, in
/// microseconds: after that it was put back.
const PUT_BACK: u64 = 15_000_000;
/// How long an outside program may write into a file after it was deleted, in microseconds.
const INTO_THE_DELETED: u64 = 5_000_000;

/// How long after a fault of the file a process may go on without it, in microseconds.
const REOPENED: u64 = 10_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Home {
    Postgres,
    File(usize),
}

#[derive(Clone, Debug)]
enum Happening {
    /// The file had nothing pending for PostgreSQL.
    Pushed(usize),
    /// PostgreSQL had nothing pending for the file.
    Pulled(usize),
    /// A store lost what it had got since then; only from that sort of writers, only those rows.
    Lost { home: Home, from: u64, outsiders: bool, rows: Option<BTreeSet<i64>> },
    /// A row that came past the triggers is in every store.
    Arrived(i64),
    /// A row was taken away past the triggers: nobody knows of it until it has arrived again.
    Removed(i64, Home),
}

/// What was destroyed when, and what had been exchanged by then.
#[derive(Debug, Default)]
pub struct Losses {
    /// In the order of time.
    happenings: Vec<(u64, Happening)>,
    /// From a destruction until it was recovered from.
    doubts: Vec<(u64, u64)>,
    /// When the file of a node could perhaps not be read.
    unreadable: Vec<(u64, u64, usize)>,
    /// Times and places in which nothing captured what outsiders wrote.
    gaps: Vec<(u64, u64, Home, Option<Kind>)>,
    /// Rows that came back as they had been, from when to when.
    restored: Vec<(u64, u64, Home, BTreeSet<i64>)>,
    /// Those that told of themselves.
    nodes: BTreeSet<usize>,
}

impl Losses {
    /// From the ledgers.
    pub fn of(book: &Book) -> Losses {
        let mut losses = Losses::default();
        let mut kills: Vec<(u64, String)> = Vec::new();
        let mut quiet: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        let mut crews: BTreeMap<usize, BTreeSet<&str>> = BTreeMap::new();
        for (who, node, entry) in &book.rest {
            match entry {
                Entry::Status { t0, to_postgres, to_sqlite, sync, up, .. } => {
                    let Some(node) = *node else { continue };
                    losses.nodes.insert(node);
                    if who.starts_with('w') {
                        crews.entry(node).or_default().insert(who);
                    }
                    if sync != "following" || !up {
                        continue;
                    }
                    if *to_postgres == Some(0) {
                        losses.happenings.push((*t0, Happening::Pushed(node)));
                        if who.starts_with("observer") {
                            quiet.entry(node).or_default().push(*t0);
                        }
                    }
                    if *to_sqlite == Some(0) {
                        losses.happenings.push((*t0, Happening::Pulled(node)));
                    }
                }
                Entry::Fault { nemesis, target, t0, .. }
                    if matches!(nemesis.as_str(), "kill-worker" | "read-only")
                        && target != "nobody" =>
                {
                    kills.push((*t0, target.clone()));
                }
                Entry::Arrived { t, key } => losses.happenings.push((*t, Happening::Arrived(*key))),
                Entry::Removed { t, key, node } => {
                    let home = node.map_or(Home::Postgres, Home::File);
                    losses.happenings.push((*t, Happening::Removed(*key, home)));
                }
                _ => {}
            }
        }
        kills.sort_unstable();
        for (_, _, entry) in &book.rest {
            let Entry::Fault {
                nemesis, target, t0, t1, lost_from, lost_to, lost_rows, table, ..
            } = entry
            else {
                continue;
            };
            let table = table.as_deref().and_then(Kind::named);
            let home = match target.strip_prefix("node ") {
                Some(node) => node.parse().map_or(Home::Postgres, Home::File),
                None => Home::Postgres,
            };
            if matches!(nemesis.as_str(), "drop-triggers" | "replace-table" | "restore-table")
                && target != "nobody"
            {
                losses.gaps.push((*t0, *t1, home, table));
            }
            let touches =
                Nemesis::ALL.iter().any(|known| known.name() == nemesis && known.touches_file());
            if let (true, Home::File(node)) = (touches || nemesis == RESTARTED, home) {
                losses.unreadable.push((*t0, t1 + REOPENED, node));
            }
            let Some(from) = *lost_from else { continue };
            if nemesis == "delete-file" {
                let lost = Happening::Lost { home, from, outsiders: true, rows: None };
                losses.happenings.push((t1 + INTO_THE_DELETED, lost));
                // Once all have died that had it open. A read-only file kills some, and does not
                // tell whom.
                let mut left = match home {
                    Home::File(node) => crews.get(&node).cloned().unwrap_or_default(),
                    Home::Postgres => BTreeSet::new(),
                };
                let mut during = kills.iter().filter(|(at, victim)| {
                    (*t0..t1 + PUT_BACK).contains(at) && victim.ends_with(target.as_str())
                });
                let held = during.find(|(_, victim)| {
                    match victim.split_once(' ') {
                        Some((who, _)) if who.starts_with('w') => {
                            left.remove(who);
                        }
                        _ => left.clear(),
                    }
                    left.is_empty()
                });
                if let Some((at, _)) = held {
                    let lost = Happening::Lost { home, from: 0, outsiders: false, rows: None };
                    losses.happenings.push((*at, lost));
                }
            } else {
                let at = lost_to.unwrap_or(*t1);
                let rows: Option<BTreeSet<i64>> =
                    lost_rows.as_ref().map(|rows| rows.iter().copied().collect());
                if nemesis == "restore-table" {
                    losses.restored.push((from, at, home, rows.clone().unwrap_or_default()));
                }
                losses
                    .happenings
                    .push((at, Happening::Lost { home, from, outsiders: false, rows }));
            }
            // Recovered from once every file has had nothing pending, and follows.
            let ends = quiet.values().map(|times| times.iter().find(|at| **at > t1 + 3_000_000));
            let end = ends.map(|end| end.copied().unwrap_or(u64::MAX)).max().unwrap_or(u64::MAX);
            losses.doubts.push((from.max(t0.saturating_sub(1_000_000)), end));
        }
        losses.happenings.sort_by_key(|(at, _)| *at);
        losses
    }

    /// Whether only destroyed stores had it, or a row that came back from a dump has undone it.
    pub fn excuse(&self, op: &Op) -> bool {
        self.homes(op, u64::MAX).is_empty() || self.is_undone(op)
    }

    /// Who restores a table means what he restores: what came to it between the dump and its return,
    /// such as a delete, may be as it was.
    fn is_undone(&self, op: &Op) -> bool {
        let came = |home, to| self.homes(op, to).get(&home).copied();
        self.restored.iter().any(|(from, to, home, rows)| {
            let is_before = came(*home, *to).is_some_and(|at| at < *from);
            rows.contains(&op.key) && op.t0 <= *to && !is_before
        })
    }

    /// Whether `later` can have replaced `op` where that was at the time: in a store in which both
    /// were.
    pub fn meet(&self, op: &Op, later: &Op) -> bool {
        let homes = self.homes(op, later.t1);
        began_in(later).iter().any(|home| homes.contains_key(home))
    }

    /// The stores that have the write at that moment, and since when.
    fn homes(&self, op: &Op, until: u64) -> BTreeMap<Home, u64> {
        let homes = began_in(op);
        let is_outsider = op.who.starts_with("sqlite3") || op.who.starts_with("p");
        let unseen = |(from, to, home, table): &(u64, u64, Home, Option<Kind>)| {
            let of_table = table.is_none_or(|kind| kind == Kind::of(op.key));
            of_table && homes.contains(home) && op.t1 >= *from && op.t0 <= *to
        };
        if is_outsider && self.gaps.iter().any(unseen) {
            return BTreeMap::new();
        }
        let mut homes: BTreeMap<Home, u64> = homes.into_iter().map(|home| (home, op.t1)).collect();
        let mut is_known = !matches!(op.intent, Intent::Load { .. });
        let later = self.happenings.partition_point(|(at, _)| *at < op.t0);
        for (at, happening) in self.happenings[later..].iter().take_while(|(at, _)| *at <= until) {
            match happening {
                // What is refused waits for nothing, and stays where it is.
                Happening::Pushed(_) | Happening::Pulled(_) if op.intent == Intent::Refused => {}
                // Of what came past the triggers nobody has heard.
                Happening::Pushed(_) | Happening::Pulled(_) if !is_known => {}
                Happening::Pushed(node)
                    if homes.contains_key(&Home::File(*node)) && *at > op.t1 =>
                {
                    homes.entry(Home::Postgres).or_insert(*at);
                }
                Happening::Pulled(node) if homes.contains_key(&Home::Postgres) && *at > op.t1 => {
                    homes.entry(Home::File(*node)).or_insert(*at);
                }
                Happening::Lost { home, from, outsiders, rows } => {
                    if (!outsiders || is_outsider)
                        && rows.as_ref().is_none_or(|rows| rows.contains(&op.key))
                        && homes.get(home).is_some_and(|at| at >= from)
                    {
                        homes.remove(home);
                    }
                }
                Happening::Arrived(key) if *key == op.key && *at > op.t1 => {
                    is_known = true;
                    for home in self.homes_of_all() {
                        homes.entry(home).or_insert(*at);
                    }
                }
                Happening::Removed(key, home) if *key == op.key => {
                    is_known = false;
                    homes.remove(home);
                }
                Happening::Pushed(_)
                | Happening::Pulled(_)
                | Happening::Arrived(_)
                | Happening::Removed(..) => {}
            }
        }
        homes
    }

    fn homes_of_all(&self) -> impl Iterator<Item = Home> {
        self.nodes.iter().map(|node| Home::File(*node)).chain([Home::Postgres])
    }

    /// Whether the entry that says what the write has lost to may be gone: the push that met the
    /// conflict noted it at PostgreSQL and in the file, and both were destroyed.
    pub fn log_is_gone(&self, op: &Op) -> bool {
        let is_gone = |node: usize| {
            let pushed = self.happenings.iter().position(
                |(at, what)| matches!(what, Happening::Pushed(of) if *of == node && *at > op.t1),
            );
            let Some(first) = pushed else { return false };
            let noted = self.happenings[first].0;
            let is_lost = |store: Home| {
                self.happenings[first..].iter().any(|(_, what)| {
                    matches!(what, Happening::Lost { home, from, outsiders: false, rows: None }
                        if *home == store && noted >= *from)
                })
            };
            is_lost(Home::Postgres) && is_lost(Home::File(node))
        };
        match (&op.outcome, op.node) {
            (Outcome::Sqlite, Some(node)) => is_gone(node),
            // Anybody's push may have met what PostgreSQL had.
            _ => self.nodes.iter().any(|node| is_gone(*node)),
        }
    }

    /// Whether two writes of one writer, answered by different stores, were made on both sides at
    /// a time: the store of the second one is not known to have had the first. Who cannot read
    /// the file does not know what is pending in it, and goes on with PostgreSQL; that write is
    /// in both once the file can be opened.
    pub fn apart(&self, one: &Op, two: &Op) -> bool {
        let Some(node) = one.node else { return false };
        let has_passed = |what: &Happening| match (&one.outcome, what) {
            (Outcome::Postgres, Happening::Pulled(of))
            | (Outcome::Sqlite, Happening::Pushed(of)) => *of == node,
            _ => false,
        };
        let differ = match (&one.outcome, &two.outcome) {
            (Outcome::Postgres, Outcome::Sqlite) | (Outcome::Sqlite, Outcome::Postgres) => true,
            (Outcome::Sqlite, Outcome::Both) => self.unreadable(two.node, two.t0, two.t0),
            _ => false,
        };
        let between = |at: &u64| (one.t1..two.t0).contains(at);
        differ && !self.happenings.iter().any(|(at, what)| between(at) && has_passed(what))
    }

    /// When every store had what the others had, at the latest, after that write: its file had
    /// nothing pending, and then no file lacked anything.
    pub fn exchanged(&self, op: &Op) -> u64 {
        let Some(node) = op.node else { return u64::MAX };
        let pushed = self.pushed(node, op.t1);
        let pulled = self.nodes.iter().map(|node| self.pulled(*node, pushed));
        pulled.max().unwrap_or(u64::MAX)
    }

    /// When the file had nothing pending for PostgreSQL, at the latest, after that moment.
    pub fn pushed(&self, node: usize, t: u64) -> u64 {
        self.after(t, |what| matches!(what, Happening::Pushed(of) if *of == node))
    }

    /// When the file lacked nothing of PostgreSQL, at the latest, after that moment.
    pub fn pulled(&self, node: usize, t: u64) -> u64 {
        self.after(t, |what| matches!(what, Happening::Pulled(of) if *of == node))
    }

    fn after(&self, t: u64, is: impl Fn(&Happening) -> bool) -> u64 {
        let mut later = self.happenings.iter().filter(|(at, what)| *at > t && is(what));
        later.next().map_or(u64::MAX, |(at, _)| *at)
    }

    /// From destructions to their recoveries, those that end after that moment.
    pub fn doubts(&self, since: u64) -> impl Iterator<Item = (u64, u64)> {
        self.doubts.iter().filter(move |(_, to)| *to >= since).copied()
    }

    /// Whether the file of the node could perhaps not be read at some moment in between.
    pub fn unreadable(&self, node: Option<usize>, t0: u64, t1: u64) -> bool {
        let at = |(from, to, of): &(u64, u64, usize)| Some(*of) == node && t0 <= *to && t1 >= *from;
        self.unreadable.iter().any(at)
    }

    /// Whether a store was destroyed, and not yet recovered from, at some moment in between.
    pub fn doubt(&self, t0: u64, t1: u64) -> bool {
        self.doubts.iter().any(|(from, to)| t0 <= *to && t1 >= *from)
    }

    /// For how long a store was destroyed and not recovered from until that moment.
    pub fn doubted(&self, end: u64) -> u64 {
        let mut doubts = self.doubts.clone();
        doubts.sort_unstable();
        let mut until = 0;
        let length = |(from, to): (u64, u64)| {
            let from = from.max(until);
            until = until.max(to.min(end));
            until.saturating_sub(from)
        };
        doubts.into_iter().map(length).sum()
    }

    /// Whether anything was destroyed between those moments.
    pub fn destroyed_between(&self, t0: u64, t1: u64) -> bool {
        let lost = |happening: &Happening| matches!(happening, Happening::Lost { .. });
        self.happenings.iter().any(|(at, what)| (t0..=t1).contains(at) && lost(what))
    }
}

/// The stores in which a write begins; both, if nobody was told.
fn began_in(op: &Op) -> Vec<Home> {
    let file = op.node.map(Home::File);
    match op.outcome {
        Outcome::Both | Outcome::Unknown { .. } => {
            file.into_iter().chain([Home::Postgres]).collect()
        }
        Outcome::Sqlite => file.into_iter().collect(),
        _ => vec![Home::Postgres],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(outcome: Outcome, seconds: u64) -> Op {
        let (t0, t1) = (seconds * 1_000_000, seconds * 1_000_000 + 1);
        let intent = Intent::Transfer { to: 1, amount: 1 };
        Op { who: "w4".into(), node: Some(1), t0, t1, key: 0, intent, outcome, late: 0 }
    }

    /// Whether a transfer in the file alone at 5 s and one at that time, answered with both
    /// stores, are apart; the file was read-only until 10 s. Perhaps it had nothing pending at 8 s.
    fn are_apart(seconds: u64, pushed: bool) -> bool {
        let mut book = Book::default();
        let (nemesis, target) = ("read-only".to_owned(), "node 1".to_owned());
        let (t0, t1, lost_from, lost_to, note) = (6_000_000, 10_000_000, None, None, None);
        let lost_rows = None;
        let table = None;
        let fault =
            Entry::Fault { nemesis, target, t0, t1, lost_from, lost_to, lost_rows, table, note };
        book.rest.push(("nemesis".into(), None, fault));
        let (to_postgres, to_sqlite) = (Some(u64::from(!pushed)), None);
        let (t0, t1, sync, up) = (8_000_000, 8_000_000, "following".into(), true);
        let status = Entry::Status { t0, t1, to_postgres, to_sqlite, sync, up, wal: None };
        book.rest.push(("w4".into(), Some(1), status));
        Losses::of(&book).apart(&op(Outcome::Sqlite, 5), &op(Outcome::Both, seconds))
    }

    #[test]
    fn who_cannot_read_the_file_does_not_know_what_is_pending_in_it() {
        assert!(are_apart(12, false));
        assert!(!are_apart(12, true), "it had been pushed");
        assert!(!are_apart(40, false), "the file could be read");
    }

    /// A row that is loaded into the file of node 1 at 5 s; both nodes tell at 6 s and 9 s that nothing is
    /// pending. Whether it may be gone after these, too.
    fn is_gone(told: &[Entry]) -> bool {
        let mut book = Book::default();
        for (node, seconds) in [(0, 6), (1, 6), (0, 9), (1, 9)] {
            let (to_postgres, to_sqlite) = (Some(0), Some(0));
            let (t0, sync) = (seconds * 1_000_000, "following".into());
            let status =
                Entry::Status { t0, t1: t0, to_postgres, to_sqlite, sync, up: true, wal: None };
            book.rest.push(("w4".into(), Some(node), status));
        }
        book.rest.extend(told.iter().map(|entry| ("loader".into(), None, entry.clone())));
        let intent = Intent::Load { real: "1".into(), user: "1".into() };
        Losses::of(&book).excuse(&Op { intent, ..op(Outcome::Sqlite, 5) })
    }

    fn lost(target: &str, seconds: u64, rows: Option<Vec<i64>>) -> Entry {
        let (nemesis, target, t) =
            ("drop-table".to_owned(), target.to_owned(), seconds * 1_000_000);
        let (lost_from, lost_to, table, note) = (Some(0), Some(t), None, None);
        let (t0, t1, lost_rows) = (t, t, rows);
        Entry::Fault { nemesis, target, t0, t1, lost_from, lost_to, lost_rows, table, note }
    }

    #[test]
    fn of_what_came_past_the_triggers_nobody_knows_until_it_is_seen_everywhere() {
        let arrived = Entry::Arrived { t: 7_000_000, key: 0 };
        assert!(is_gone(&[lost("node 1", 8, None)]), "though nothing was pending");
        assert!(is_gone(&[lost("node 1", 8, Some(vec![0]))]));
        assert!(!is_gone(&[lost("node 1", 8, Some(vec![1]))]), "another row");
        assert!(!is_gone(&[arrived.clone(), lost("node 1", 8, None)]));
        let removed = |node| Entry::Removed { t: 7_500_000, key: 0, node };
        let all = [lost("node 0", 8, None), lost("node 1", 10, None)];
        let [one, two] = all;
        assert!(!is_gone(&[arrived.clone(), one.clone(), two.clone()]), "PostgreSQL has it");
        assert!(is_gone(&[arrived.clone(), removed(None), one, two]), "and then it has not");
        assert!(!is_gone(&[arrived, removed(None), lost("node 0", 8, None)]));
    }
}
