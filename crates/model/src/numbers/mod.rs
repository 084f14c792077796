//! Numbers that both sides hand out: two files with outside programs, PostgreSQL with others' open
//! transactions, children that refer to rows by their numbers.
//!
//! A world of its own beside the other one: there a key names a row, here it is what has to be told
//! apart. What decides is the product's code again. Each row has a token that nobody changes, by which
//! the check finds it wherever it went.

mod block;
mod calls;
mod file;
mod primary;
mod trap;

use std::collections::{BTreeMap, BTreeSet};

use dual_database::merge::{Change, Register, Tracked, Version};
use dual_database::protocol::Reservation;
use dual_database::stamp::{Stamp, Writer};
use dual_database::value::Value;

use self::block::Wanted;
use self::calls::Call;
use self::file::{Batch, File};
use self::primary::{Poll, Primary};
pub use self::trap::Trap;
use crate::rng::Rng;

type Number = i64;
type Child = i64;

const FILES: usize = 2;
const START_MS: i64 = 1_700_000_000_000;

/// What one history showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The first promise that did not hold.
    pub violation: Option<String>,
    /// Rows that were born.
    pub born: usize,
    /// Rows that took another number.
    pub moved: usize,
    /// Children whose row was looked for at the end.
    pub followed: usize,
}

/// Where a round of a process stands.
#[derive(Clone, Debug)]
enum Round {
    Reserve(BTreeMap<Number, Tracked>),
    Note(BTreeMap<Number, Reservation>),
    Push(Batch),
    Acknowledge(Batch),
    Poll,
    Apply(Poll, u64),
    KeepBlock(Wanted),
    NoteBlock(Wanted, BTreeMap<Number, Stamp>),
}

struct World {
    rng: Rng,
    primary: Primary,
    files: Vec<File>,
    /// Two for each file.
    rounds: Vec<Option<Round>>,
    now: i64,
    tokens: i64,
    children: Child,
    alive: BTreeSet<i64>,
    /// The row that a child was made for.
    meant: BTreeMap<Child, i64>,
    backup: Option<Primary>,
    /// Rows that PostgreSQL, or a file that it has reserved a number for, had at a restore: it gives their
    /// numbers again, and whose they are nothing tells.
    excused: BTreeSet<i64>,
    /// Calls of the library that add rows.
    calls: Vec<Call>,
    /// The numbers that they were told.
    promised: BTreeMap<i64, Number>,
    /// Rows that may take another number than was told: their file was away for longer than reservations are
    /// kept, or PostgreSQL or the file is one that was restored.
    loose: BTreeSet<i64>,
    /// Numbers that a file that was lost may have used.
    suspect: BTreeSet<(usize, Number)>,
    /// Copies of the files.
    saved: Vec<Option<File>>,
    copies: usize,
    violation: Option<String>,
}

fn born(values: &[i64], stamp: Stamp) -> Version {
    let column = |value: &i64| Register { stamp, value: Value::Int(*value) };
    let columns = values.iter().map(column).collect();
    Version { live: Register { stamp, value: true }, columns }
}

fn dead(stamp: Stamp) -> Version {
    Version { live: Register { stamp, value: false }, columns: Vec::new() }
}

fn integer(version: &Version, column: usize) -> Option<i64> {
    match version.columns.get(column)?.value {
        Value::Int(value) if version.lives() => Some(value),
        _ => None,
    }
}

fn parent_of(version: &Version) -> Option<Number> {
    integer(version, 0)
}

/// Runs the history of a seed.
#[must_use]
pub fn run(seed: u64, trap: Option<Trap>) -> Report {
    let mut world = World::new(seed, trap);
    for _ in 0..60 + world.rng.below(120) {
        world.happen();
    }
    world.heal();
    world.check();
    Report {
        violation: world.violation,
        born: usize::try_from(world.tokens).unwrap_or_default(),
        moved: world.files.iter().map(|file| file.moved).sum(),
        followed: world.meant.len(),
    }
}

impl World {
    fn new(seed: u64, trap: Option<Trap>) -> World {
        let mut rng = Rng::new(seed ^ 0x00ab_5eed);
        let writer = |at: usize| Writer::new(u16::try_from(at + 1).unwrap_or(1));
        let file = |at| File::new(writer(at).unwrap_or(Writer::MAX), rng.range(-20, 20), trap);
        World {
            files: (0..FILES).map(file).collect(),
            rng,
            primary: Primary { trap, now: START_MS, ..Primary::default() },
            rounds: vec![None; 2 * FILES],
            now: START_MS,
            tokens: 0,
            children: 0,
            alive: BTreeSet::new(),
            meant: BTreeMap::new(),
            backup: None,
            excused: BTreeSet::new(),
            calls: Vec::new(),
            promised: BTreeMap::new(),
            loose: BTreeSet::new(),
            suspect: BTreeSet::new(),
            saved: vec![None; FILES],
            copies: 0,
            violation: None,
        }
    }

    fn token(&mut self) -> i64 {
        self.tokens += 1;
        self.alive.insert(self.tokens);
        self.tokens
    }

    fn child(&mut self, token: Option<i64>) -> Child {
        self.children += 1;
        if let Some(token) = token {
            self.meant.insert(self.children, token);
        }
        self.children
    }

    fn happen(&mut self) {
        self.now += self.rng.range(0, 4);
        self.primary.now = self.now;
        if self.rng.once_in(3) {
            return self.calls_happen();
        }
        let file = self.rng.index(FILES);
        match self.rng.below(100) {
            0..16 => self.script_births(file),
            16..24 => self.script_adds(file),
            24..32 => self.script_changes(file),
            32..36 => self.script_deletes(file),
            36..46 => self.primary_births(),
            46..52 => self.primary_commits(),
            52..58 => self.primary_adds(),
            58..62 => self.primary_deletes(),
            62..64 => drop(self.rounds.get_mut(2 * file).and_then(Option::take)),
            64 if self.rng.once_in(3) => {
                let open = BTreeMap::new();
                self.backup = Some(Primary { open, ..self.primary.clone() });
            }
            65 if self.rng.once_in(3) => self.restore(),
            64..92 => {
                let (process, fault) = (self.rng.index(2 * FILES), self.rng.below(8));
                self.advance(process, fault == 0, fault == 1);
            }
            _ => (0..8).for_each(|_| self.advance(2 * file, false, false)),
        }
    }

    /// A program inserts a row, perhaps with a child, in one transaction.
    fn script_births(&mut self, file: usize) {
        let token = self.token();
        let number = self.files[file].highest.max(self.highest_in(file)) + 1;
        let change = Change::Insert(vec![Value::Int(token), Value::Int(0)]);
        self.files[file].change(number, &change, self.now);
        if self.rng.once_in(2) {
            let child = self.child(Some(token));
            self.files[file].change_child(child, number, self.now);
        }
    }

    fn highest_in(&self, file: usize) -> Number {
        let living = self.files[file].rows.iter().filter(|(_, local)| local.row.version.lives());
        living.map(|(number, _)| *number).max().unwrap_or_default()
    }

    fn one_of(&mut self, file: usize) -> Option<(Number, i64)> {
        let rows = self.files[file].rows.iter();
        let living: Vec<(Number, i64)> =
            rows.filter_map(|(at, local)| Some((*at, integer(&local.row.version, 0)?))).collect();
        living.get(self.rng.index(living.len())).copied()
    }

    /// A program adds a child to a row that it reads now, or has read a while ago: then nobody knows
    /// what the number means by now.
    fn script_adds(&mut self, file: usize) {
        let Some((number, token)) = self.one_of(file) else { return };
        let held = self.rng.once_in(6);
        let number = if held { 1 + self.rng.range(0, number) } else { number };
        let child = self.child(Some(token).filter(|_| !held));
        self.files[file].change_child(child, number, self.now);
    }

    fn script_changes(&mut self, file: usize) {
        let Some((number, _)) = self.one_of(file) else { return };
        let change = Change::Update(vec![(1, Value::Int(self.rng.range(1, 1_000)))]);
        self.files[file].change(number, &change, self.now);
    }

    fn script_deletes(&mut self, file: usize) {
        let Some((number, token)) = self.one_of(file) else { return };
        self.files[file].change(number, &Change::Delete, self.now);
        self.alive.remove(&token);
    }

    fn primary_births(&mut self) {
        let (token, number) = (self.token(), self.primary.next_number());
        if self.rng.once_in(3) {
            self.primary.open.insert(number, token);
            self.alive.remove(&token);
        } else {
            self.inserts(number, token);
        }
    }

    fn primary_commits(&mut self) {
        let Some((number, token)) = self.primary.open.pop_first() else { return };
        if !self.rng.once_in(4) {
            self.alive.insert(token);
            self.inserts(number, token);
        }
    }

    fn inserts(&mut self, number: Number, token: i64) {
        if !self.primary.insert(number, token) {
            self.violate(format!("PostgreSQL's own number {number} is in use"));
        }
        if self.rng.once_in(2) {
            let child = self.child(Some(token));
            let stamp = self.primary.stamp(None);
            self.primary.put_child(child, born(&[number], stamp));
        }
    }

    fn primary_one(&mut self) -> Option<(Number, i64, Version)> {
        let rows = self.primary.rows.iter();
        let living: Vec<_> = rows
            .filter_map(|(at, row)| Some((*at, integer(&row.version, 0)?, row.version.clone())))
            .collect();
        living.get(self.rng.index(living.len())).cloned()
    }

    fn primary_adds(&mut self) {
        let Some((number, token, version)) = self.primary_one() else { return };
        if self.rng.once_in(2) {
            let stamp = self.primary.stamp(Some(&version));
            let mut changed = version;
            changed.columns[1] = Register { stamp, value: Value::Int(self.rng.range(1, 1_000)) };
            self.primary.put(number, changed);
        } else {
            let child = self.child(Some(token));
            let stamp = self.primary.stamp(None);
            self.primary.put_child(child, born(&[number], stamp));
        }
    }

    fn primary_deletes(&mut self) {
        let Some((number, token, version)) = self.primary_one() else { return };
        let stamp = self.primary.stamp(Some(&version));
        self.primary.put(number, dead(stamp).stored(&Default::default()));
        self.alive.remove(&token);
    }

    /// PostgreSQL is as it was; every file gives it what it lacks.
    fn restore(&mut self) {
        let Some(backup) = self.backup.take() else { return };
        let there = self.primary.rows.values().map(|row| row.version.clone());
        let here = self.files.iter().flat_map(|file| file.rows.values());
        let here = here.filter(|local| !local.row.is_unsent());
        let known = there.chain(here.map(|local| local.row.version.clone()));
        self.excused.extend(known.filter_map(|version| integer(&version, 0)));
        // What was deleted may be back, and what was to be deleted there.
        self.excused.extend((1..=self.tokens).filter(|token| !self.alive.contains(token)));
        self.numbers_are_lost();
        self.calls_end(|_| true);
        let position = self.primary.position;
        self.primary = Primary { now: self.now, position, ..backup };
        self.rounds.iter_mut().for_each(|round| *round = None);
        let copies = self.saved.iter_mut().flatten();
        self.files.iter_mut().chain(copies).for_each(File::compare);
    }

    /// Before everybody has given back what a restored PostgreSQL has lost, it gives numbers again.
    fn excuse_given_twice(&mut self) {
        if !self.files.iter().any(|file| file.compares) {
            return;
        }
        let there = self.primary.rows.iter().map(|(at, row)| (*at, integer(&row.version, 0)));
        let here = self.files.iter().flat_map(|file| &file.rows);
        let here = here.filter(|(_, local)| !local.row.is_unsent());
        // A tombstone of a number that is given again takes the next row.
        let here = here.map(|(at, local)| (*at, integer(&local.row.version, 0).or(Some(0))));
        let mut tokens: BTreeMap<Number, BTreeSet<i64>> = BTreeMap::new();
        for (number, token) in there.chain(here) {
            tokens.entry(number).or_default().extend(token);
        }
        self.excused.extend(tokens.into_values().filter(|tokens| tokens.len() > 1).flatten());
    }

    /// One step of a process: done, refused, or done without anybody hearing of it.
    fn advance(&mut self, process: usize, refused: bool, lost: bool) {
        if refused {
            self.rounds[process] = None;
            return;
        }
        self.excuse_given_twice();
        let file = &mut self.files[process / 2];
        let next = match self.rounds[process].take() {
            None => {
                let unsent = file.unsent();
                let asks = !unsent.is_empty() && self.primary.trap != Some(Trap::SentUnreserved);
                Some(if asks { Round::Reserve(unsent) } else { Round::Push(file.pending()) })
            }
            Some(Round::Reserve(asked)) => {
                Some(Round::Note(self.primary.reserve(&asked, file.number)))
            }
            Some(Round::Note(reserved)) => {
                file.note(&reserved, self.now);
                // Read again: a child must not go before its row has its number.
                None
            }
            Some(Round::Push(batch)) => {
                let merged = self.primary.push(&batch.rows, &batch.children);
                merged.then_some(Round::Acknowledge(batch))
            }
            Some(Round::Acknowledge(batch)) => {
                file.acknowledge(&batch);
                Some(Round::Poll)
            }
            Some(Round::Poll) => {
                let asks = self.primary.trap != Some(Trap::NotAskedAgain);
                let aside = |number| asks && file.aside.contains(&number);
                Some(Round::Apply(self.primary.poll(file.cursor, aside), file.cursor))
            }
            Some(Round::Apply(poll, cursor)) => {
                // Once in a while a row that waits cannot move, and what it is in the way of is set
                // aside.
                let aside = self.rng.once_in(2);
                if file.cursor == cursor && (aside || !file.is_in_the_way(&poll)) {
                    file.apply(&poll);
                }
                file.wanted(self.now).map(Round::KeepBlock)
            }
            Some(Round::KeepBlock(wanted)) => {
                let kept = self.primary.keep_block(&wanted);
                Some(Round::NoteBlock(wanted, kept))
            }
            Some(Round::NoteBlock(wanted, kept)) => {
                file.note_block(&wanted, &kept);
                None
            }
        };
        self.rounds[process] = next.filter(|_| !lost);
    }

    /// Everything that is open ends, and everybody exchanges until nothing is left.
    fn heal(&mut self) {
        self.primary.open.clear();
        self.calls_end(|_| true);
        self.rounds.iter_mut().for_each(|round| *round = None);
        for _ in 0..20 {
            for process in [0, 2] {
                self.now += 10;
                self.primary.now = self.now;
                (0..24).for_each(|_| self.advance(process, false, false));
                self.rounds[process] = None;
            }
        }
    }

    fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    fn check(&mut self) {
        let there: BTreeMap<Number, Vec<i64>> =
            living(self.primary.rows.iter().map(|(at, row)| (*at, &row.version)));
        let children: BTreeMap<Child, Vec<i64>> =
            living(self.primary.children.iter().map(|(at, row)| (*at, &row.version)));
        for at in 0..FILES {
            let file = &self.files[at];
            let here = living(file.rows.iter().map(|(at, local)| (*at, &local.row.version)));
            let own = living(file.children.iter().map(|(at, local)| (*at, &local.row.version)));
            let rows = differing(&here, &there);
            if let Some(what) = rows.or_else(|| differing(&own, &children)) {
                self.violate(format!("file {at} differs: {what}"));
            }
        }
        let mut numbers: BTreeMap<i64, Vec<Number>> = BTreeMap::new();
        for (number, values) in &there {
            numbers.entry(values[0]).or_default().push(*number);
        }
        let excused = self.excused.clone();
        for token in (1..=self.tokens).filter(|token| !excused.contains(token)) {
            let found = numbers.get(&token).map_or(0, Vec::len);
            if found != usize::from(self.alive.contains(&token)) {
                self.violate(format!("row {token} is there {found} times: {there:?}"));
            }
        }
        for (token, number) in self.promised.clone() {
            let found = numbers.get(&token).and_then(|numbers| numbers.first());
            let is_final = excused.contains(&token) || self.loose.contains(&token);
            if found.is_some_and(|found| *found != number) && !is_final {
                self.violate(format!("row {token} was told {number}, and has {found:?}"));
            }
        }
        for (child, token) in self.meant.clone() {
            let refers = children.get(&child).map(|values| values[0]);
            let expected = numbers.get(&token).and_then(|numbers| numbers.first().copied());
            if expected.is_some() && refers != expected && !excused.contains(&token) {
                self.violate(format!("child {child} of {token} refers to {refers:?}: {there:?}"));
            }
        }
    }
}

/// The first row that is not the same here and there.
fn differing(here: &BTreeMap<i64, Vec<i64>>, there: &BTreeMap<i64, Vec<i64>>) -> Option<String> {
    let all: BTreeSet<&i64> = here.keys().chain(there.keys()).collect();
    let key = all.into_iter().find(|key| here.get(key) != there.get(key))?;
    Some(format!("{key} is {:?} here and {:?} there", here.get(key), there.get(key)))
}

fn living<'v>(rows: impl Iterator<Item = (i64, &'v Version)>) -> BTreeMap<i64, Vec<i64>> {
    let values = |version: &Version| {
        (0..version.columns.len()).filter_map(|column| integer(version, column)).collect()
    };
    rows.filter(|(_, version)| version.lives()).map(|(at, v)| (at, values(v))).collect()
}
