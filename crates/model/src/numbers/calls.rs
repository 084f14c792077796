//! Calls of the library that add rows without a key, files that are brought back or copied, tombstones that
//! are purged.

use std::collections::BTreeSet;

use dual_database::merge::{Change, Defaults, Tracked};
use dual_database::protocol::Reservation;
use dual_database::stamp::{Stamp, Writer, captured};
use dual_database::value::Value;

use super::block::PURGED_MS;
use super::file::File;
use super::{FILES, Number, Round, Trap, World, born, integer};

/// A call that has a number for its row.
#[derive(Clone, Debug)]
pub struct Call {
    file: usize,
    process: Writer,
    token: i64,
    kept: Reservation,
    state: CallState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallState {
    /// The number is one of the block: the row goes to the file.
    FromBlock,
    /// PostgreSQL was asked for it.
    Asked,
    /// It was sent there under that stamp, and nothing was heard of it.
    Sent(Stamp),
}

impl World {
    pub fn calls_happen(&mut self) {
        match self.rng.below(24) {
            0..8 => self.call_begins(),
            8..19 => self.call_goes_on(),
            19 => {
                let at = self.rng.index(FILES);
                self.saved[at] = Some(self.files[at].clone());
            }
            20 => self.file_comes_back(),
            _ => self.purge(),
        }
    }

    fn call_begins(&mut self) {
        let (process, online) = (self.rng.index(2 * FILES), self.rng.once_in(2));
        self.call_of(process, online);
    }

    fn call_of(&mut self, process: usize, online: bool) {
        let file = process / 2;
        self.files[file].is_used = true;
        let process =
            u16::try_from(process + 100).ok().and_then(Writer::new).unwrap_or(Writer::MAX);
        let (kept, state) = if online {
            let kept = self.primary.keep_for(process, self.files[file].number);
            (Some(kept), CallState::Asked)
        } else {
            (self.files[file].take_number(self.now), CallState::FromBlock)
        };
        // Of an answer that is lost nobody hears again.
        if let Some(kept) = kept.filter(|_| !self.rng.once_in(10)) {
            let token = self.token();
            self.alive.remove(&token);
            self.calls.push(Call { file, process, token, kept, state });
        }
    }

    fn call_goes_on(&mut self) {
        if self.calls.is_empty() {
            return;
        }
        let at = self.rng.index(self.calls.len());
        let call = self.calls.swap_remove(at);
        let number = call.kept.number;
        let now = self.now + self.files[call.file].skew;
        match call.state {
            CallState::Asked if !self.rng.once_in(3) => {
                if self.primary.lives(number) {
                    return;
                }
                let found = self.primary.rows.get(&number).map(|row| row.version.clone());
                let below = found.as_ref().map_or(Stamp::ZERO, |row| row.highest());
                let stamp = captured(now, below.max(call.kept.stamp), call.process);
                let (arrives, heard) = (!self.rng.once_in(5), !self.rng.once_in(3));
                if arrives {
                    self.primary.put(number, born(&[call.token, 0], stamp));
                    self.is_born(&call);
                }
                if heard && arrives {
                    let after = born(&[call.token, 0], stamp);
                    self.files[call.file].takes(number, found.as_ref(), &after);
                } else {
                    self.calls.push(Call { state: CallState::Sent(stamp), ..call });
                }
            }
            CallState::Asked | CallState::FromBlock => {
                let stamp = Stamp::at(now, call.process);
                let asked = call.state == CallState::Asked;
                if self.files[call.file].born(call.kept, call.token, stamp, asked) {
                    self.is_born(&call);
                    if self.rng.once_in(2) {
                        let child = self.child(Some(call.token));
                        self.files[call.file].change_child(child, number, self.now);
                    }
                }
            }
            CallState::Sent(stamp) => {
                let values = vec![Value::Int(call.token), Value::Int(0)];
                let change = Change::Insert(values);
                let file = &mut self.files[call.file];
                let before = file.rows.get(&number).map(|local| local.row.clone());
                let has = before.as_ref().is_some_and(|row| row.version.live.stamp == stamp);
                let later = before.as_ref().is_some_and(|row| row.supersedes(&change, stamp, now));
                let asked = !file.has(Trap::SentIsUnasked);
                if !has && !later && file.born(call.kept, call.token, stamp, asked) {
                    self.is_born(&call);
                } else if !has {
                    // Nobody can say whether it was done.
                    self.excused.insert(call.token);
                }
            }
        }
    }

    fn is_born(&mut self, call: &Call) {
        // What has arrived may have been deleted since.
        if self.promised.insert(call.token, call.kept.number).is_none() {
            self.alive.insert(call.token);
        }
        if self.suspect.contains(&(call.file, call.kept.number)) {
            self.loose.insert(call.token);
        }
    }

    /// Nothing of what was under way is heard of again, and of these rows nothing is promised.
    pub fn calls_end(&mut self, of: impl Fn(usize) -> bool) {
        let ended = self.calls.iter().filter(|call| of(call.file)).map(|call| call.token);
        self.excused.extend(ended);
        self.calls.retain(|call| !of(call.file));
    }

    /// PostgreSQL may keep other numbers than the files believe.
    pub fn numbers_are_lost(&mut self) {
        let unsent = self.files.iter().flat_map(|file| file.rows.values());
        let unsent = unsent.filter(|local| local.row.is_unsent());
        self.loose.extend(unsent.filter_map(|local| integer(&local.row.version, 0)));
    }

    /// A file is lost, and a copy of it is put in its place: it goes on as the same, or PostgreSQL has met it
    /// since the copy was made, and it takes another identity.
    fn file_comes_back(&mut self) {
        let at = self.rng.index(FILES);
        let Some(saved) = self.saved[at].clone() else { return };
        self.calls_end(|file| file == at);
        for process in [2 * at, 2 * at + 1] {
            self.rounds[process] = None;
        }
        // What the lost one had for itself is gone, and what waits in the copy goes its way once more.
        let lost = std::mem::replace(&mut self.files[at], saved);
        let gone = (1..=self.tokens).filter(|token| !self.alive.contains(token));
        self.excused.extend(gone);
        let mut children = BTreeSet::new();
        for file in [&lost, &self.files[at]] {
            let rows = file.rows.values().filter(|local| local.row.bases.any());
            self.excused.extend(rows.filter_map(|local| integer(&local.row.version, 0)));
            let waits = file.children.iter().filter(|(_, local)| local.row.bases.any());
            children.extend(waits.map(|(child, _)| *child));
        }
        self.meant.retain(|child, _| !children.contains(child));
        if self.rng.once_in(2) {
            self.copies += 1;
            let file = &mut self.files[at];
            file.number =
                u16::try_from(10 + self.copies).ok().and_then(Writer::new).unwrap_or(Writer::MAX);
            if !file.has(Trap::BlockOfACopy) {
                file.block.clear();
            }
        } else {
            // The lost one may have used them.
            let block: Vec<Number> = self.files[at].block.keys().copied().collect();
            self.suspect.extend(block.into_iter().map(|number| (at, number)));
        }
        // What its processes do next, before anybody has heard of it.
        (0..2).for_each(|_| self.call_of(2 * at, false));
    }

    /// Tombstones that everybody has are forgotten, and those under which a file has a birth to ask about.
    fn purge(&mut self) {
        let old = self.now - PURGED_MS;
        let dead = self.primary.rows.iter().filter(|(_, row)| !row.version.live.value);
        let dead = dead.filter(|(_, row)| row.version.live.stamp.unix_ms() < old);
        for number in dead.map(|(number, _)| *number).collect::<Vec<_>>() {
            // No question is under way for days.
            let calls = |c: &Call| c.kept.number == number && c.state != CallState::FromBlock;
            let rounds = |round: &Option<Round>| match round {
                Some(Round::Reserve(asked)) => asked.contains_key(&number),
                Some(Round::Note(answered)) => answered.contains_key(&number),
                Some(Round::Push(batch)) => batch.rows.contains_key(&number),
                Some(Round::Apply(poll, _)) => poll.rows.contains_key(&number),
                _ => false,
            };
            let is_met = self.calls.iter().any(calls) || self.rounds.iter().any(rounds);
            let stays = |file: &File| {
                file.rows.get(&number).is_some_and(|local| {
                    !local.row.is_unsent() && (local.row.version.lives() || local.row.bases.any())
                })
            };
            let mut files = self.files.iter().chain(self.saved.iter().flatten());
            if is_met || files.any(stays) {
                continue;
            }
            self.primary.rows.remove(&number);
            for file in &mut self.files {
                match file.rows.get(&number).map(|local| local.row.clone()) {
                    Some(row) if row.is_unsent() => {
                        // It was away for too long: somebody else may get its number.
                        self.loose.extend(integer(&row.version, 0));
                    }
                    Some(_) => drop(file.rows.remove(&number)),
                    None => {}
                }
            }
            self.loose.extend(
                self.calls.iter().filter(|call| call.kept.number == number).map(|call| call.token),
            );
        }
    }
}

impl File {
    /// Takes PostgreSQL's answer, unless it misses something: then the feed brings it.
    fn takes(
        &mut self,
        number: Number,
        previous: Option<&dual_database::merge::Version>,
        after: &dual_database::merge::Version,
    ) {
        let before = self.rows.get(&number).cloned();
        if before.as_ref().is_some_and(|local| local.row.is_unsent()) {
            return;
        }
        let existing = before.as_ref().map(|local| &local.row);
        let none = Defaults::default();
        if let Some(taken) = Tracked::absorb_direct(existing, previous, after, &none) {
            let seq = before.as_ref().map_or(0, |local| local.seq);
            self.highest = self.highest.max(number);
            self.rows.insert(number, super::file::Local { row: taken.row, seq });
        }
    }
}
