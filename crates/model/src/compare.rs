//! The full comparison: what each side gives and loses, and what it writes at its end.

use dual_database::Store;
use dual_database::merge::{Bases, Conflict, RegisterId, Tracked, Version, overwritten};
use dual_database::protocol::reconcile::{
    Guard, Uncaptured, Unknown, adopted, loses, uncaptured, unexplained, unknown,
};
use dual_database::protocol::{Break, Event, Follow, Outcome};

use crate::file::Content;
use crate::primary::{Poll, Pushed};
use crate::process::{Batch, Round};
use crate::round::Step;
use crate::rules::{Key, defaults};
use crate::trap::Trap;
use crate::truth::registers;
use crate::world::World;

/// Small, because the model's tables are.
const GUARD: Guard = Guard { percent: 1, rows: 2 };

impl World {
    /// Decides what a full comparison will do, and whether a person has to be asked.
    pub fn plan(&mut self, file: usize, poll: Poll) -> Step {
        let mut content = self.files[file].now.clone();
        let Follow::Reconciling { cause, approved, .. } = content.follow else {
            return Step::End(Outcome::More);
        };
        let asked = content.clone();
        let (mut lost_here, mut lost_there) = self.settle_uncaptured(file, &mut content, &poll);
        let mut rows = content.pending();
        for (key, row) in &content.rows {
            match poll.rows.get(key) {
                Some(there) => {
                    let kept = unexplained(&row.tracked, &there.version);
                    lost_there += usize::from(loses(&there.version, &kept));
                    let own =
                        self.traps.offered(&row.tracked, &there.version, cause.primary_is_intact());
                    if self.traps.merge(&there.version, &own).left_is_behind {
                        rows.insert(*key, row.tracked.clone());
                    }
                }
                None => match self.judge_unknown(&row.tracked, poll.horizon) {
                    Unknown::Delete => {
                        lost_here += usize::from(row.tracked.version.lives());
                        rows.remove(key);
                    }
                    Unknown::Give | Unknown::GiveAndLog if row.tracked.version.is_absent() => {}
                    Unknown::Give | Unknown::GiveAndLog => {
                        rows.insert(*key, row.tracked.clone());
                    }
                },
            }
        }
        let living = |rows: &mut dyn Iterator<Item = bool>| rows.filter(|lives| *lives).count();
        let here = living(&mut asked.rows.values().map(|row| row.tracked.version.lives()));
        let there = living(&mut poll.rows.values().map(|row| row.version.lives()));
        let allowed = GUARD.allows(lost_here, here) && GUARD.allows(lost_there, there);
        let asks = !allowed && !approved && cause != Break::FirstContact;
        if asks && self.traps.has(Trap::NobodyIsAsked) {
            self.violate(format!("{lost_here} and {lost_there} rows are lost unasked"));
        } else if asks {
            content = asked;
            self.held += 1;
            self.follow(&mut content, Event::Held { losses: lost_here.max(lost_there) });
            self.files[file].commit(content, true);
            return Step::End(Outcome::Idle);
        }
        self.check_uncaptured(&asked, &content, &poll, cause);
        self.files[file].commit(content.clone(), true);
        let (follow, upto) = (content.follow, content.seq);
        let batch = Batch { rows, upto, stale: None, followed: poll.epoch };
        Step::Next(Box::new(Round::Give { poll, batch, follow }))
    }

    /// What has two values under one stamp is settled in the file, under a stamp of its own, and
    /// pushed like anything else. Says how many rows of the file and of PostgreSQL that overwrites.
    fn settle_uncaptured(
        &mut self,
        file: usize,
        content: &mut Content,
        poll: &Poll,
    ) -> (usize, usize) {
        let (mut lost_here, mut lost_there) = (0, 0);
        let Follow::Reconciling { cause, .. } = content.follow else { return (0, 0) };
        let here = cause == Break::LocalGap && !self.traps.has(Trap::GapLoses);
        if cause.primary_is_intact() || self.traps.has(Trap::SilentGap) {
            return (0, 0);
        }
        let Some(clock) = self.processes.iter_mut().find(|p| p.file == file) else {
            return (0, 0);
        };
        for (key, there) in &poll.rows {
            let Some(own) = content.tracked(*key).cloned() else { continue };
            let mut found = uncaptured(&own, &there.version, here, &defaults());
            found.extend(adopted(&own, &there.version, poll.horizon, &defaults()));
            if found.is_empty() {
                continue;
            }
            let above = own.version.highest().max(there.version.highest());
            let stamp = clock.clock.propose(above);
            let stands = |one: &Uncaptured| match one.stands {
                Store::Postgres => &there.version,
                Store::Sqlite => &own.version,
            };
            let falls = |one: &Uncaptured| match one.stands {
                Store::Postgres => &own.version,
                Store::Sqlite => &there.version,
            };
            let values = found.iter().map(|one| {
                let value = stands(one).columns[one.column].value.clone();
                (one.column, value)
            });
            content.claim(*key, &own, values.collect(), stamp);
            for one in &found {
                let register = RegisterId::Column(one.column);
                let loser = falls(one).stamp_of(one.column);
                self.truth.restamped(*key, register, stands(one), stamp);
                if one.loses {
                    content.log.insert((*key, Conflict { register, winner: stamp, loser }));
                    if let Some(bank) = crate::world::bank_of(*key) {
                        self.tainted.insert(bank);
                    }
                }
            }
            let of = |store| found.iter().any(|one| one.loses && one.stands != store);
            lost_here += usize::from(of(Store::Sqlite));
            lost_there += usize::from(of(Store::Postgres));
        }
        (lost_here, lost_there)
    }

    /// Of two values under one stamp the file's stands if only its triggers were missing, else
    /// PostgreSQL's, but for one that says nothing; the other one is in the log.
    fn check_uncaptured(&mut self, before: &Content, after: &Content, poll: &Poll, cause: Break) {
        if cause.primary_is_intact() {
            return;
        }
        for (key, there) in &poll.rows {
            let Some(own) = before.tracked(*key) else { continue };
            let here = cause == Break::LocalGap;
            let mut found = uncaptured(own, &there.version, here, &defaults());
            found.extend(adopted(own, &there.version, poll.horizon, &defaults()));
            for one in found {
                let (stands, falls) = match one.stands {
                    Store::Postgres => (&there.version, &own.version),
                    Store::Sqlite => (&own.version, &there.version),
                };
                let value = |version: &Version| version.columns[one.column].value.clone();
                let loser = falls.stamp_of(one.column);
                let logged = after.log.iter().any(|(row, entry)| {
                    row == key
                        && entry.loser == loser
                        && entry.register == RegisterId::Column(one.column)
                });
                let is_settled = after.version(*key).map(value) == Some(value(stands));
                if !is_settled || (one.loses && !logged) {
                    let column = one.column;
                    self.violate(format!("key {key}: column {column} was set past the triggers"));
                }
            }
        }
    }

    fn judge_unknown(&self, row: &Tracked, horizon: dual_database::stamp::Stamp) -> Unknown {
        if self.traps.has(Trap::HorizonByHighest) {
            let below = row.version.highest() < horizon && !row.bases.any();
            return if below { Unknown::Delete } else { Unknown::Give };
        }
        unknown(row, horizon)
    }

    pub fn finish(
        &mut self,
        file: usize,
        poll: &Poll,
        batch: &Batch,
        pushed: &Pushed,
        follow: &Follow,
    ) -> Step {
        let mut content = self.files[file].now.clone();
        let Follow::Reconciling { cause, .. } = follow else { return Step::End(Outcome::More) };
        if content.follow != *follow || !pushed.gone.is_empty() {
            return Step::End(Outcome::More);
        }
        self.acknowledge(&mut content, batch, pushed);
        for (key, _) in &pushed.conflicts {
            self.taint(*key, true);
        }
        let settled = self.traps.has(Trap::RefusedStaysSettled);
        let known = |key: &&Key| settled && poll.rows.contains_key(*key);
        for key in pushed.refused.iter().filter(|key| !known(key)) {
            if let Some(row) = content.rows.get_mut(key) {
                let there = poll.rows.get(key).map(|there| &there.version);
                row.tracked.mark_pending(there, cause.primary_is_intact());
            }
        }
        let unknown_here: Vec<Key> = content
            .rows
            .iter()
            .filter(|(key, row)| {
                !poll.rows.contains_key(key)
                    && !batch.rows.contains_key(key)
                    && self.judge_unknown(&row.tracked, poll.horizon) == Unknown::Delete
            })
            .map(|(key, _)| *key)
            .collect();
        for key in unknown_here {
            if let Some(row) = content.rows.remove(&key) {
                let winner = poll.horizon;
                let Tracked { version, bases } = &row.tracked;
                for (register, loser) in registers(version) {
                    let pending = match register {
                        RegisterId::Live | RegisterId::Number => bases.live.is_some(),
                        RegisterId::Column(column) => bases.column(column).is_some(),
                    };
                    if pending || !cause.primary_is_intact() {
                        content.log.insert((key, Conflict { register, winner, loser }));
                    }
                }
            }
        }
        if !cause.primary_is_intact() && !self.traps.has(Trap::SilentReconcile) {
            for (key, row) in &poll.rows {
                if let Some(local) = content.version(*key) {
                    let lost = overwritten(local, &row.version, &Bases::default());
                    self.taint(*key, !lost.is_empty());
                    content.log.extend(lost.into_iter().map(|conflict| (*key, conflict)));
                }
            }
        }
        self.take_in(file, &mut content, poll, cause.primary_is_intact());
        let event = Event::Reconciled { epoch: poll.epoch, snapshot: poll.snapshot.clone() };
        if poll.epoch.token.is_some_and(|token| content.tokens.accept(token)) {
            self.follow(&mut content, event);
        } else {
            self.processes.iter_mut().filter(|p| p.file == file).for_each(|p| p.connection = None);
        }
        self.files[file].commit(content, true);
        Step::End(Outcome::More)
    }
}
