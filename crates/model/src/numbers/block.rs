//! The library's inserts without a key in a file: its block of numbers, and rows that are born under them.

use std::collections::BTreeMap;

use dual_database::merge::{Defaults, Tracked};
use dual_database::protocol::Reservation;
use dual_database::stamp::{Stamp, Writer, captured};
use dual_database::value::Value;

use super::file::{File, Local};
use super::primary::Primary;
use super::{Number, Trap, dead};

/// How many numbers a file keeps.
const WANTED: usize = 4;
/// How long PostgreSQL keeps a tombstone; how long a number of a block is handed out, and how long it counts as
/// one that lasts, whatever the clocks say.
pub const PURGED_MS: i64 = 120;
const GOOD_MS: i64 = 80;
const YOUNG_MS: i64 = 50;

/// What a file wants of PostgreSQL.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub writer: Writer,
    pub fresh: usize,
    /// Those that it has.
    pub held: BTreeMap<Number, Stamp>,
}

impl File {
    fn is_within(&self, stamp: Stamp, time: i64, now: i64) -> bool {
        stamp.unix_ms() + time > now + self.skew
    }

    /// What its block lacks.
    pub fn wanted(&self, now: i64) -> Option<Wanted> {
        let young =
            self.block.values().filter(|stamp| self.is_within(**stamp, YOUNG_MS, now)).count();
        let held = self.block.clone();
        let wanted = Wanted { writer: self.number, fresh: WANTED.saturating_sub(young), held };
        (self.is_used && young * 2 < WANTED).then_some(wanted)
    }

    /// Writes down what PostgreSQL keeps.
    pub fn note_block(&mut self, wanted: &Wanted, kept: &BTreeMap<Number, Stamp>) {
        if self.number == wanted.writer {
            let is_new = |number: &Number| !wanted.held.contains_key(number);
            for (number, stamp) in kept {
                if is_new(number) || self.block.contains_key(number) {
                    self.block.insert(*number, *stamp);
                }
            }
        }
    }

    /// Hands out a number of the block: once, whatever becomes of it.
    pub fn take_number(&mut self, now: i64) -> Option<Reservation> {
        while let Some((number, stamp)) = self.block.pop_first() {
            let good = self.is_within(stamp, GOOD_MS, now) || self.has(Trap::BlockBeyondPurge);
            if good && self.is_unused(number) {
                return Some(Reservation { number, stamp });
            }
        }
        None
    }

    /// Whether nothing is known of the number but that it is kept for this file.
    fn is_unused(&self, number: Number) -> bool {
        self.rows.get(&number).is_none_or(|local| {
            let row = &local.row;
            let own = row.version.live.stamp.writer() == self.number;
            let own = own || self.has(Trap::BlockOfACopy);
            !row.version.lives() && !row.bases.any() && own
        })
    }

    /// A row of the library's, pending; false if there is one under its number.
    pub fn born(&mut self, kept: Reservation, token: i64, stamp: Stamp, asked: bool) -> bool {
        let before = self.rows.get(&kept.number).map(|local| local.row.clone());
        let is_taken = before.as_ref().is_some_and(|row| row.version.lives());
        if is_taken || !asked && !self.is_unused(kept.number) {
            return false;
        }
        let known = before.as_ref().map_or(kept.stamp, |row| row.version.live.stamp);
        let stamp = stamp.max(known.max(kept.stamp).next(stamp.writer()));
        let values = [Value::Int(token), Value::Int(0)];
        let of = (kept.stamp, asked || self.has(Trap::BlockIsTrusted));
        let row = Tracked::numbered(before.as_ref(), &values, stamp, of, &Defaults::default());
        self.seq += 1;
        self.highest = self.highest.max(kept.number);
        self.rows.insert(kept.number, Local { row, seq: self.seq });
        true
    }
}

impl Primary {
    /// Keeps numbers for a block.
    pub fn keep_block(&mut self, wanted: &Wanted) -> BTreeMap<Number, Stamp> {
        let stamp = captured(self.now, Stamp::ZERO, wanted.writer);
        let mut kept = BTreeMap::new();
        for (number, known) in wanted.held.iter().filter(|_| self.trap == Some(Trap::KeptOn)) {
            let row = self.rows.get(number).map(|row| row.version.live);
            if row.is_some_and(|live| !live.value && live.stamp == *known) {
                kept.insert(*number, stamp);
            }
        }
        kept.keys()
            .copied()
            .collect::<Vec<_>>()
            .into_iter()
            .for_each(|at| self.put(at, dead(stamp)));
        for _ in 0..wanted.fresh {
            let number = self.fresh();
            if !self.has(Trap::BlockNotKept) {
                self.put(number, dead(stamp));
            }
            kept.insert(number, stamp);
        }
        kept
    }

    /// The number for a row that a call adds: kept under the number of the process, so that no birth of the
    /// file takes it for its own.
    pub fn keep_for(&mut self, process: Writer, file: Writer) -> Reservation {
        let writer = if self.has(Trap::CallsAreBirths) { file } else { process };
        let number = self.fresh();
        let stamp = captured(self.now, Stamp::ZERO, writer);
        self.put(number, dead(stamp));
        Reservation { number, stamp }
    }
}
