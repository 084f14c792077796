//! The library's calls: PostgreSQL in one round trip, then the file, then the answer.

use dual_database::merge::{Change, Tracked, Version, has_what_was_read};
use dual_database::protocol::Follow;
use dual_database::value::Value;

use crate::history::Fault;
use crate::primary::{Late, Refusal};
use crate::process::Call;
use crate::rules::{BANK_A, Key, balance, defaults};
use crate::trap::Trap;
use crate::world::World;

/// A write that goes to the file alone: which, its changes, their stamp, and what they were
/// computed from.
type Alone = (usize, Vec<(Key, Change)>, dual_database::stamp::Stamp, Vec<(Key, Version)>);

impl World {
    /// Starts a call of the library on a user.
    pub fn call(&mut self, process: usize, key: Key, change: &Change, fault: Fault) {
        self.begin(process, vec![(key, change.clone())], fault, None);
    }

    /// Starts a transfer of the library: a transaction that reads two balances at PostgreSQL.
    pub fn transfer(&mut self, process: usize, from: usize, amount: i64, fault: Fault) {
        let (from, to) = (BANK_A[from % 3], BANK_A[(from + 1) % 3]);
        let rows = [from, to].map(|key| self.primary.read_locked(None, key).map(|row| (key, row)));
        let [Some(from), Some(to)] = rows else { return };
        let set = |balance: i64| Change::Update(vec![(0, Value::Int(balance))]);
        let changes =
            vec![(from.0, set(balance(&from.1) - amount)), (to.0, set(balance(&to.1) + amount))];
        // The statement has its locks: if its answer is lost, it is executed or it is not.
        let fault = if fault == Fault::Delayed { Fault::Lost } else { fault };
        self.begin(process, changes, fault, Some(vec![from, to]));
    }

    fn begin(
        &mut self,
        index: usize,
        changes: Vec<(Key, Change)>,
        fault: Fault,
        read: Option<Vec<(Key, Version)>>,
    ) {
        let Some(process) = self.processes.get_mut(index) else { return };
        if !process.runs() || process.call.is_some() {
            return;
        }
        let content = &self.files[process.file].now;
        let above = changes
            .iter()
            .map(|(key, change)| content.replaces(*key, change, self.traps))
            .fold(Default::default(), Ord::max);
        let mut proposal = process.clock.propose(above);
        let write = self.truth.new_write();
        let behind = content.is_pending() && !self.traps.has(Trap::WriteBeforePush);
        let mut lost = false;
        let away = !self.primary.up || fault == Fault::Refused || behind;
        if away && read.is_some() {
            return;
        }
        for _ in 0..if away { 0 } else { 3 } {
            let statement =
                Late { write, changes: changes.clone(), proposal, writer: process.clock.writer() };
            if fault == Fault::Delayed {
                self.primary.late.push(statement);
                lost = true;
                break;
            }
            match self.primary.execute(&statement, &mut self.truth) {
                Ok(answer) if fault != Fault::Lost => {
                    if fault == Fault::Twice {
                        self.primary.late.push(statement.clone());
                    }
                    let epoch = self.primary.epoch(content.id);
                    process.call = Some(Call::Answered { write, statement, answer, epoch });
                    return;
                }
                Ok(_) => lost = true,
                // The time-out of the client comes first; the server does not know.
                Err(Refusal::Locked) => {
                    self.primary.late.push(statement);
                    lost = true;
                }
                Err(Refusal::Stale(above)) => {
                    proposal = process.clock.propose(above);
                    continue;
                }
                Err(Refusal::Precondition) => return,
                Err(Refusal::Ahead | Refusal::Absent | Refusal::OtherEpoch) => {}
            }
            break;
        }
        let read = read.unwrap_or_default();
        process.call = Some(Call::Alone { write, changes, proposal, lost, read });
    }

    /// The file's part of the call, and the answer.
    pub fn answer(&mut self, index: usize) {
        let Some(process) = self.processes.get_mut(index).filter(|process| process.runs()) else {
            return;
        };
        let file = process.file;
        match process.call.take() {
            None => {}
            Some(Call::Uncommitted(content)) => self.files[file].commit(*content, true),
            Some(Call::Answered { write, statement, answer, epoch }) => {
                let content = &self.files[file].now;
                let follows = match &content.follow {
                    Follow::Following { epoch: followed, .. } => {
                        let seen = self.traps.seen_epoch(epoch, &content.tokens);
                        seen.break_from(followed, &content.tokens).is_none()
                    }
                    Follow::Reconciling { .. } | Follow::Held { .. } => false,
                };
                if follows || self.traps.has(Trap::AnswerOfAnotherEpoch) {
                    self.take_direct(file, &answer);
                } else {
                    // That PostgreSQL has it proves nothing about the one that is followed
                    // next: pending, it arrives in any case.
                    let changes = statement.changes;
                    let read =
                        answer.rows.into_iter().filter_map(|(key, was, _)| Some((key, was?)));
                    let read = if changes.len() > 1 { read.collect() } else { Vec::new() };
                    let proposal = statement.proposal;
                    let now_ms = self.processes[index].clock.unix_ms();
                    let is_taken = self.alone(index, true, (write, changes, proposal, read));
                    if !is_taken && proposal.is_ahead_of(now_ms) {
                        return;
                    }
                }
                self.truth.acknowledge(write);
                self.processes[index].armed = true;
            }
            Some(Call::Alone { write, changes, mut proposal, lost, read }) => {
                if !lost {
                    let content = &self.files[file].now;
                    let replaces = changes
                        .iter()
                        .map(|(key, change)| content.replaces(*key, change, self.traps));
                    let above = replaces.fold(Default::default(), Ord::max);
                    proposal = process.clock.propose(above);
                }
                self.alone(index, lost, (write, changes, proposal, read));
            }
        }
    }

    /// The direct write into the file, if the file misses nothing of what was there before.
    fn take_direct(&mut self, file: usize, answer: &crate::primary::Answer) {
        if self.files[file].blocked {
            return;
        }
        let mut content = self.files[file].now.clone();
        let is_here = |key| answer.rows.iter().any(|(row, ..)| *row == key);
        self.mend(file, &mut content, |key, loaded| loaded && is_here(key));
        self.files[file].commit(content.clone(), false);
        // The feed has brought it already, and what came after it: even its purged end.
        let passed = match &content.follow {
            Follow::Following { snapshot, .. } => !snapshot.is_new(answer.txid),
            Follow::Reconciling { .. } | Follow::Held { .. } => false,
        };
        if passed && !self.traps.has(Trap::AnswerAfterFeed) {
            return;
        }
        let mut logged = false;
        for (key, previous, after) in &answer.rows {
            let existing = content.tracked(*key);
            let absorbed = if self.traps.has(Trap::DirectWithoutPrevious) {
                let own = existing.map(|row| row.version.clone());
                let own = own.filter(|_| previous.is_some());
                let mut after = after.clone();
                // Only this write's columns.
                if let (Some(own), Some(previous)) = (own, previous) {
                    for (position, column) in after.columns.iter_mut().enumerate() {
                        if previous.stamp_of(position) == column.stamp {
                            column.stamp = own.stamp_of(position);
                            column.value = own.columns[position].value.clone();
                        }
                    }
                }
                existing.map(|_| self.traps.absorb(existing, &after, true))
            } else {
                Tracked::absorb_direct(existing, previous.as_ref(), after, &defaults())
            };
            let Some(absorbed) = absorbed else { return };
            let met = content.take(*key, absorbed, self.traps);
            self.taint(*key, met);
            logged |= met;
        }
        self.files[file].commit(content, logged);
    }

    /// The change goes to the file alone, pending; says whether it did, or had.
    fn alone(
        &mut self,
        index: usize,
        was_sent: bool,
        (write, changes, proposal, read): Alone,
    ) -> bool {
        let file = self.processes[index].file;
        if self.files[file].blocked {
            return false;
        }
        let mut before = self.files[file].now.clone();
        let is_here = |key| changes.iter().any(|(row, _)| *row == key);
        self.mend(file, &mut before, |key, loaded| loaded && is_here(key));
        self.files[file].commit(before.clone(), false);
        let mut content = before.clone();
        let now_ms = self.processes[index].clock.unix_ms();
        let misses = read
            .iter()
            .any(|(key, row)| !has_what_was_read(before.version(*key), Some(row), now_ms));
        if misses && !self.traps.has(Trap::FallbackWithoutPrevious) {
            return false;
        }
        for (key, change) in &changes {
            let arrived =
                before.tracked(*key).map(|row| &row.version).is_some_and(|version| match change {
                    Change::Update(columns) => {
                        columns.iter().all(|(column, _)| version.stamp_of(*column) == proposal)
                    }
                    Change::Insert(_) | Change::Delete => version.live.stamp == proposal,
                });
            if arrived {
                continue;
            }
            let alive = before.alive(*key);
            let superseded = before.replaces(*key, change, self.traps) >= proposal
                || before
                    .tracked(*key)
                    .is_some_and(|row| was_sent && row.supersedes(change, proposal, now_ms));
            // Lost and superseded, or without a row: nobody can say what became of it.
            if alive == matches!(change, Change::Insert(_)) || superseded {
                return false;
            }
            content.change(*key, change, proposal, self.traps);
        }
        for (key, _) in &changes {
            if let Some(after) = content.version(*key) {
                self.truth.executed(write, *key, before.version(*key), after);
            }
        }
        self.truth.acknowledge(write);
        self.truth.is_synced(file, write);
        let process = &mut self.processes[index];
        process.armed = true;
        if self.traps.has(Trap::AckBeforeCommit) {
            process.call = Some(Call::Uncommitted(Box::new(content)));
        } else {
            let full = !self.traps.has(Trap::NormalWhileAlone);
            self.files[file].commit(content, full);
        }
        true
    }

    /// Reads a user as the library does: "not found" in PostgreSQL is an answer.
    pub fn read(&mut self, index: usize, key: Key) {
        let Some(process) = self.processes.get(index) else { return };
        let content = &self.files[process.file].now;
        let pending = content.tracked(key).is_some_and(|row| row.bases.any());
        if !process.runs() || !self.primary.up || pending {
            return;
        }
        let there = self.primary.version(key).filter(|version| version.live.value);
        let found = match there {
            None if self.traps.has(Trap::NotFoundFallsThrough) => {
                content.version(key).filter(|version| version.live.value)
            }
            there => there,
        };
        let Some(dead) = self.primary.version(key).filter(|version| !version.live.value) else {
            return;
        };
        if found.is_some_and(|found| found.live.stamp < dead.live.stamp) {
            self.violate(format!("key {key}: a read found a row that had been deleted"));
        }
    }
}
