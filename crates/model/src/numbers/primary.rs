//! PostgreSQL: a sequence, rows that others insert in transactions that stay open, children that refer to
//! them.

use std::collections::BTreeMap;

use dual_database::merge::{Tracked, Version, merge};
use dual_database::protocol::{NumberVerdict, NumberView, Reservation};
use dual_database::stamp::{Stamp, Writer, captured};

use super::{Child, Number, Trap, born, dead};

/// A row and the position of its last change.
#[derive(Clone, Debug)]
pub struct Placed {
    pub version: Version,
    pub at: u64,
}

/// What a file lacks, up to a position.
#[derive(Clone, Debug)]
pub struct Poll {
    pub rows: BTreeMap<Number, Version>,
    pub children: BTreeMap<Child, Version>,
    pub upto: u64,
}

#[derive(Clone, Debug, Default)]
pub struct Primary {
    pub rows: BTreeMap<Number, Placed>,
    pub children: BTreeMap<Child, Placed>,
    /// The last number that was handed out.
    pub handed_out: Number,
    /// Rows that are inserted and not committed, with their tokens.
    pub open: BTreeMap<Number, i64>,
    pub position: u64,
    pub now: i64,
    pub trap: Option<Trap>,
}

impl Primary {
    pub fn has(&self, trap: Trap) -> bool {
        self.trap == Some(trap)
    }

    /// The default of the key.
    pub fn next_number(&mut self) -> Number {
        self.handed_out += 1;
        self.handed_out
    }

    pub fn lives(&self, number: Number) -> bool {
        self.rows.get(&number).is_some_and(|row| row.version.lives())
    }

    /// A stamp of a trigger's.
    pub fn stamp(&self, replaced: Option<&Version>) -> Stamp {
        captured(self.now, replaced.map_or(Stamp::ZERO, Version::highest), Writer::POSTGRES)
    }

    pub fn put(&mut self, number: Number, version: Version) {
        self.position += 1;
        self.rows.insert(number, Placed { version, at: self.position });
    }

    pub fn put_child(&mut self, child: Child, version: Version) {
        self.position += 1;
        self.children.insert(child, Placed { version, at: self.position });
    }

    /// An insert of somebody's, committed; false if the number is in use.
    pub fn insert(&mut self, number: Number, token: i64) -> bool {
        if self.lives(number) {
            return false;
        }
        let before = self.rows.get(&number).map(|row| row.version.clone());
        let stamp = self.stamp(before.as_ref());
        self.put(number, born(&[token, 0], stamp));
        true
    }

    /// Keeps a number for each row of a file that asks for its own.
    pub fn reserve(
        &mut self,
        asked: &BTreeMap<Number, Tracked>,
        file: Writer,
    ) -> BTreeMap<Number, Reservation> {
        let before = self.handed_out;
        let highest = asked.keys().copied().max().unwrap_or_default();
        if !self.has(Trap::SequenceStays) {
            self.handed_out = before.max(highest);
        }
        let writes = !self.open.is_empty() && !self.has(Trap::InFlightUnseen);
        let mut answer = BTreeMap::new();
        for (number, row) in asked {
            let found = self.rows.get(number).map(|row| row.version.clone());
            let view = NumberView {
                is_there: found.as_ref().is_some_and(Version::lives),
                tombstone: found.as_ref().filter(|row| !row.live.value).map(|row| row.live.stamp),
                may_come: *number <= before && writes,
            };
            let seen = view.tombstone.filter(|_| self.has(Trap::TombstoneSeen));
            let reservation = match (view.judge(file), seen) {
                (NumberVerdict::Reserved(stamp), _) | (_, Some(stamp)) => {
                    Reservation { number: *number, stamp }
                }
                (NumberVerdict::Free, None) => self.keep(*number, file),
                (NumberVerdict::Taken, None) => {
                    let fresh = self.fresh();
                    let reservation = self.keep(fresh, file);
                    if self.has(Trap::UsedBeforeNoted) {
                        let row = row.reserved(reservation.stamp, file);
                        self.put(fresh, row.version);
                    }
                    reservation
                }
            };
            answer.insert(*number, reservation);
        }
        answer
    }

    /// A number that nobody has had.
    pub fn fresh(&mut self) -> Number {
        let mut fresh = self.next_number();
        while self.rows.contains_key(&fresh) || self.open.contains_key(&fresh) {
            fresh = self.next_number();
        }
        fresh
    }

    fn keep(&mut self, number: Number, file: Writer) -> Reservation {
        let stamp = captured(self.now, Stamp::ZERO, file);
        if !self.has(Trap::NothingKept) {
            self.put(number, dead(stamp));
        }
        Reservation { number, stamp }
    }

    /// Merges what a file pushes; false if somebody has one of the rows locked.
    pub fn push(
        &mut self,
        rows: &BTreeMap<Number, Tracked>,
        children: &BTreeMap<Child, Tracked>,
    ) -> bool {
        if rows.keys().any(|number| self.open.contains_key(number)) {
            return false;
        }
        let highest = rows.iter().filter(|(_, row)| row.version.lives()).map(|(at, _)| *at).max();
        if !self.has(Trap::SequenceStays) {
            self.handed_out = self.handed_out.max(highest.unwrap_or_default());
        }
        for (number, row) in rows {
            let found = self.rows.get(number).map(|row| row.version.clone());
            self.put(*number, merged(found.as_ref(), row));
        }
        for (child, row) in children {
            let found = self.children.get(child).map(|row| row.version.clone());
            self.put_child(*child, merged(found.as_ref(), row));
        }
        true
    }

    /// What is new, and what is asked for.
    pub fn poll(&self, cursor: u64, also: impl Fn(Number) -> bool) -> Poll {
        let new = |row: &Placed| row.at > cursor;
        let rows = self.rows.iter().filter(|(number, row)| new(row) || also(**number));
        let children = self.children.iter().filter(|(_, row)| new(row));
        Poll {
            rows: rows.map(|(number, row)| (*number, row.version.clone())).collect(),
            children: children.map(|(child, row)| (*child, row.version.clone())).collect(),
            upto: self.position,
        }
    }
}

fn merged(found: Option<&Version>, row: &Tracked) -> Version {
    match found {
        None => row.version.clone(),
        Some(found) => merge(found, &row.against(found)).version,
    }
    .stored(&Default::default())
}
