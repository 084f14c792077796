//! The full comparison: what each side gives and loses, and what it writes at its end.

use dual_database::merge::{Bases, Conflict, RegisterId, Tracked, overwritten};
use dual_database::sync::reconcile::{Guard, Unknown, loses, unexplained, unknown};
use dual_database::sync::{Break, Epoch, Event, Follow, Outcome};

use crate::primary::{Poll, Pushed};
use crate::process::{Batch, Round};
use crate::round::Step;
use crate::rules::Key;
use crate::trap::Trap;
use crate::truth::registers;
use crate::world::World;

/// Small, because the model's tables are.
const GUARD: Guard = Guard { percent: 1, rows: 2 };

impl World {
    /// Decides what a full comparison will do, and whether a person has to be asked.
    pub fn plan(&mut self, file: usize, poll: Poll) -> Step {
        let mut content = self.files[file].now.clone();
        let Follow::Reconciling { cause, approved, followed } = content.follow else {
            return Step::End(Outcome::More);
        };
        let mut rows = content.pending();
        let same_tables = |epoch: Epoch| epoch.relations == poll.epoch.relations;
        let anew = cause == Break::CaptureGap || !followed.is_some_and(same_tables);
        let (mut lost_here, mut lost_there) = (0, 0);
        for (key, row) in &content.rows {
            match poll.rows.get(key) {
                Some(there) => {
                    lost_here += usize::from(anew && loses(&row.tracked.version, &there.version));
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
                        lost_here += usize::from(row.tracked.version.live.value);
                        rows.remove(key);
                    }
                    Unknown::Give | Unknown::GiveAndLog => {
                        rows.insert(*key, row.tracked.clone());
                    }
                },
            }
        }
        let allowed = GUARD.allows(lost_here, content.rows.len())
            && GUARD.allows(lost_there, poll.rows.len());
        if !allowed && !approved && cause != Break::FirstContact {
            self.held += 1;
            self.follow(&mut content, Event::Held { losses: lost_here.max(lost_there) });
            self.files[file].commit(content, true);
            return Step::End(Outcome::Idle);
        }
        let (follow, upto) = (content.follow, content.seq);
        Step::Next(Box::new(Round::Give { poll, batch: Batch { rows, upto, stale: None }, follow }))
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
                row.tracked.repend(there, cause.primary_is_intact());
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
                        RegisterId::Live => bases.live.is_some(),
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
        self.take_in(&mut content, poll, cause.primary_is_intact());
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
