//! A file: rows that an outside program numbers, children that refer to them, and what is pending.

use std::collections::{BTreeMap, BTreeSet};

use dual_database::merge::{Change, Defaults, Tracked};
use dual_database::protocol::Reservation;
use dual_database::stamp::{Stamp, Writer, captured};
use dual_database::value::Value;

use super::primary::Poll;
use super::{Child, Number, Trap, parent_of};

/// A row with the position of its last change.
#[derive(Clone, Debug)]
pub struct Local {
    pub row: Tracked,
    pub seq: u64,
}

#[derive(Clone, Debug)]
pub struct File {
    pub number: Writer,
    pub rows: BTreeMap<Number, Local>,
    pub children: BTreeMap<Child, Local>,
    /// Numbers of PostgreSQL's rows for which one of ours is in the way.
    pub aside: BTreeSet<Number>,
    /// PostgreSQL may have lost anything.
    pub compares: bool,
    pub seq: u64,
    pub pushed: u64,
    pub cursor: u64,
    /// The highest number that AUTOINCREMENT has given.
    pub highest: Number,
    /// Numbers that PostgreSQL keeps for inserts of the library, with the stamps of their tombstones.
    pub block: BTreeMap<Number, Stamp>,
    /// The library has added rows without a key.
    pub is_used: bool,
    pub moved: usize,
    pub skew: i64,
    pub trap: Option<Trap>,
}

/// What is on its way.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub rows: BTreeMap<Number, Tracked>,
    pub children: BTreeMap<Child, Tracked>,
    pub upto: u64,
}

impl File {
    pub fn new(number: Writer, skew: i64, trap: Option<Trap>) -> File {
        File {
            number,
            rows: BTreeMap::new(),
            children: BTreeMap::new(),
            aside: BTreeSet::new(),
            compares: false,
            seq: 0,
            pushed: 0,
            cursor: 0,
            highest: 0,
            block: BTreeMap::new(),
            is_used: false,
            moved: 0,
            skew,
            trap,
        }
    }

    /// Both sides are compared as a whole.
    pub fn compare(&mut self) {
        self.compares = true;
        self.cursor = 0;
        self.block.clear();
    }

    pub(super) fn has(&self, trap: Trap) -> bool {
        self.trap == Some(trap)
    }

    /// What an outside program does to a row.
    pub fn change(&mut self, number: Number, change: &Change, now: i64) {
        self.highest = self.highest.max(number);
        let before = self.rows.get(&number).map(|local| local.row.clone());
        let row = self.captured(before.as_ref(), change, now);
        let seen = self.has(Trap::DeadSeen);
        let row = if seen { row } else { row.over_tombstone(before.as_ref()) };
        self.rows.insert(number, Local { row, seq: self.seq });
    }

    /// The same to a child.
    pub fn change_child(&mut self, child: Child, parent: Number, now: i64) {
        let before = self.children.get(&child).map(|local| local.row.clone());
        let change = Change::Insert(vec![Value::Int(parent)]);
        let row = self.captured(before.as_ref(), &change, now);
        self.children.insert(child, Local { row, seq: self.seq });
    }

    fn captured(&mut self, before: Option<&Tracked>, change: &Change, now: i64) -> Tracked {
        self.seq += 1;
        let replaced = before.map_or(Stamp::ZERO, |row| row.replaces(change));
        let stamp = captured(now + self.skew, replaced, self.number);
        Tracked::changed(before, change, stamp, Stamp::ZERO, &Defaults::default())
    }

    /// The rows for which PostgreSQL has to be asked. What was deleted before anybody heard of it is
    /// nothing to anybody.
    pub fn unsent(&mut self) -> BTreeMap<Number, Tracked> {
        if !self.has(Trap::DeadAreSent) {
            let is_dead = |local: &Local| local.row.is_unsent() && !local.row.version.lives();
            let dead = self.rows.iter().filter(|(_, local)| is_dead(local));
            let dead: Vec<Number> = dead.map(|(number, _)| *number).collect();
            dead.into_iter().for_each(|number| self.leave(number));
        }
        let unsent = self.rows.iter().filter(|(_, local)| local.row.is_unsent());
        let unsent = unsent.filter(|(_, local)| local.row.version.lives());
        unsent.map(|(number, local)| (*number, local.row.clone())).collect()
    }

    pub fn pending(&self) -> Batch {
        let is_held = |row: &Tracked| {
            row.is_unsent() && !self.has(Trap::SentUnreserved) && !self.has(Trap::DeadAreSent)
        };
        let waits = |local: &Local| local.seq > self.pushed || self.compares;
        let rows = self.rows.iter().filter(|(_, local)| waits(local) && !is_held(&local.row));
        let children = self.children.iter().filter(|(_, local)| waits(local));
        Batch {
            rows: rows.map(|(number, local)| (*number, local.row.clone())).collect(),
            children: children.map(|(child, local)| (*child, local.row.clone())).collect(),
            upto: self.seq,
        }
    }

    /// Writes down what PostgreSQL has reserved, and moves what has to move, with what refers to it.
    pub fn note(&mut self, reserved: &BTreeMap<Number, Reservation>, now: i64) {
        for (number, reservation) in reserved {
            let Some(local) = self.rows.get(number) else { continue };
            let late = !local.row.is_unsent() && !self.has(Trap::LateAnswer);
            if late || !local.row.version.lives() {
                continue;
            }
            let mut row = local.row.reserved(reservation.stamp, self.number);
            if self.has(Trap::TombstoneSeen) {
                row.version = local.row.version.clone();
            }
            let to = reservation.number;
            if to != *number {
                if self.rows.get(&to).is_some_and(|other| other.row.version.lives()) {
                    // It is asked about again, and the other one first.
                    continue;
                }
                self.leave(*number);
                self.moved += 1;
                self.move_references(*number, to, now);
            }
            self.seq += 1;
            self.highest = self.highest.max(to);
            self.rows.insert(to, Local { row, seq: self.seq });
        }
    }

    /// An unsent birth leaves its number.
    fn leave(&mut self, number: Number) {
        let local = self.rows.remove(&number);
        if let Some(row) = local.and_then(|local| local.row.without_birth(&Defaults::default())) {
            self.rows.insert(number, Local { row, seq: 0 });
        }
    }

    /// What was set here refers to the row that was here; the rest has come from PostgreSQL, and means
    /// the row there.
    fn move_references(&mut self, from: Number, to: Number, now: i64) {
        if self.has(Trap::ReferencesStay) {
            return;
        }
        let all = self.has(Trap::AllReferencesMove);
        let here = |row: &Tracked| row.bases.column(0).is_some() || all;
        let refers =
            |local: &Local| here(&local.row) && parent_of(&local.row.version) == Some(from);
        let children: Vec<Child> =
            self.children.iter().filter(|(_, l)| refers(l)).map(|(child, _)| *child).collect();
        for child in children {
            let before = self.children.get(&child).map(|local| local.row.clone());
            let change = Change::Update(vec![(0, Value::Int(to))]);
            let row = self.captured(before.as_ref(), &change, now);
            self.children.insert(child, Local { row, seq: self.seq });
        }
    }

    pub fn acknowledge(&mut self, batch: &Batch) {
        for (number, sent) in &batch.rows {
            // A birth that has come since was not sent, whatever was under its number.
            let now = self.rows.get_mut(number);
            if let Some(local) = now.filter(|local| !local.row.is_unsent()) {
                local.row.acknowledge(&sent.version);
            }
        }
        for (child, sent) in &batch.children {
            if let Some(local) = self.children.get_mut(child) {
                local.row.acknowledge(&sent.version);
            }
        }
        self.compares = false;
        // A birth that came meanwhile has a position above it.
        self.pushed = self.pushed.max(batch.upto);
    }

    /// Whether one of the polled rows meets one that waits for its number: it is asked for first.
    pub fn is_in_the_way(&self, poll: &Poll) -> bool {
        let waits = |local: &Local| local.row.is_unsent() && local.row.version.lives();
        poll.rows.keys().any(|number| self.rows.get(number).is_some_and(waits))
    }

    /// Takes in what was polled; a row in whose place another one waits is set aside.
    pub fn apply(&mut self, poll: &Poll) {
        let none = Defaults::default();
        for (number, version) in &poll.rows {
            let merges = self.has(Trap::PulledInto) || self.has(Trap::SentUnreserved);
            let before = self.rows.get(number).map(|local| local.row.clone());
            let waits = before.as_ref().is_some_and(|row| row.is_unsent() && !merges);
            let before = match before {
                Some(row) if waits => row.without_birth(&none),
                before => before,
            };
            if waits && self.rows.get(number).is_some_and(|local| local.row.version.lives()) {
                self.aside.insert(*number);
                continue;
            }
            self.aside.remove(number);
            let absorbed = Tracked::absorb(before.as_ref(), version, true, &none);
            let seq = self.position(*number, absorbed.other_is_behind);
            self.rows.insert(*number, Local { row: absorbed.row, seq });
        }
        for (child, version) in &poll.children {
            let before = self.children.get(child).cloned();
            let row = before.as_ref().map(|local| &local.row);
            let absorbed = Tracked::absorb(row, version, true, &none);
            let mut seq = before.map_or(0, |local| local.seq);
            if absorbed.other_is_behind && seq <= self.pushed {
                self.seq += 1;
                seq = self.seq;
            }
            self.children.insert(*child, Local { row: absorbed.row, seq });
        }
        self.cursor = self.cursor.max(poll.upto);
    }

    fn position(&mut self, number: Number, behind: bool) -> u64 {
        let seq = self.rows.get(&number).map_or(0, |local| local.seq);
        if !behind || seq > self.pushed {
            return seq;
        }
        self.seq += 1;
        self.seq
    }
}
