//! The synchroniser's rounds: connect, push, pull; or the full comparison, of which `compare.rs`
//! has the decisions.

use std::collections::BTreeMap;

use dual_database::protocol::reconcile::purgeable;
use dual_database::protocol::{
    Break, Event, Follow, Lease, Outcome, PollVerdict as Verdict, Token, Tokens, judge_poll,
};
use dual_database::stamp::{Stamp, Writer};

use crate::file::Content;
use crate::history::Fault;
use crate::primary::{LIFE, Poll, Pushed, Refusal};
use crate::process::{Batch, Round};
use crate::rules::Key;
use crate::trap::Trap;
use crate::truth::registers;
use crate::world::{RETENTION_MS, World};

/// How a step ended.
pub enum Step {
    Next(Box<Round>),
    End(Outcome),
}

impl World {
    /// One step of a process's synchroniser.
    pub fn advance(&mut self, index: usize, fault: Fault) {
        let Some(process) = self.processes.get_mut(index).filter(|process| process.runs()) else {
            return;
        };
        let file = process.file;
        let round = match process.round.take() {
            Some(round) => round,
            None if !process.armed => return,
            None => {
                let now = self.now + self.files[file].skew;
                let number = process.clock.writer().number();
                let lease = Lease::take(self.files[file].now.lease, number, now);
                if lease.is_none() || self.files[file].blocked {
                    return;
                }
                self.files[file].now.lease = lease;
                if process.connection.is_some() { Round::PushRead } else { Round::Connect }
            }
        };
        let remote = matches!(
            round,
            Round::Connect
                | Round::Rotate { .. }
                | Round::Push(_)
                | Round::Poll
                | Round::Compare
                | Round::Give { .. }
        );
        let process = &self.processes[index];
        let connected =
            matches!(round, Round::Connect) || process.connection == Some(self.primary.incarnation);
        let step = if remote && (!self.primary.up || !connected || fault == Fault::Refused) {
            self.processes[index].connection = None;
            Step::End(Outcome::Failed)
        } else if !remote && self.files[file].blocked {
            Step::End(Outcome::Failed)
        } else {
            if fault == Fault::Twice {
                drop(self.step(index, file, round.clone()));
            }
            self.step(index, file, round)
        };
        let step = if remote && matches!(fault, Fault::Lost | Fault::Delayed) {
            self.processes[index].connection = None;
            Step::End(Outcome::Failed)
        } else {
            step
        };
        let process = &mut self.processes[index];
        match step {
            Step::Next(round) => process.round = Some(*round),
            Step::End(outcome) => {
                process.pace = process.pace.next(outcome, 0).0;
                process.armed = outcome != Outcome::Failed || !self.traps.has(Trap::RetryNotArmed);
            }
        }
    }

    fn step(&mut self, index: usize, file: usize, round: Round) -> Step {
        match round {
            Round::Connect => self.connect(index, file),
            Round::Rotate { seen, fresh } => {
                let token = self.primary.tokens.entry(self.files[file].now.id);
                // Another process of the file may have been faster.
                let same = match &token {
                    std::collections::btree_map::Entry::Vacant(_) => seen.is_none(),
                    std::collections::btree_map::Entry::Occupied(token) => {
                        Some(*token.get()) == seen
                    }
                };
                if !same {
                    self.processes[index].connection = None;
                    return Step::End(Outcome::More);
                }
                token.insert_entry(fresh);
                // Not the file's: a copy of the file can give that one again.
                let life = Token(self.fresh_token().into());
                self.primary.tokens.entry(LIFE).or_insert(life);
                Step::Next(Box::new(Round::Confirm { fresh }))
            }
            Round::Confirm { fresh } => {
                let mut content = self.files[file].now.clone();
                content.tokens = content.tokens.confirm(fresh);
                self.files[file].commit(content, false);
                Step::Next(Box::new(Round::PushRead))
            }
            Round::PushRead => {
                if self.traps.has(Trap::StaleOffset) {
                    let mut content = self.files[file].now.clone();
                    let clock = &mut self.processes[index].clock;
                    content.restamp(clock.unix_ms(), clock, &mut self.truth);
                    self.files[file].commit(content, false);
                }
                self.push_read(file)
            }
            Round::Restamp { primary_ms } => {
                let mut content = self.files[file].now.clone();
                let clock = &mut self.processes[index].clock;
                content.restamp(primary_ms, clock, &mut self.truth);
                // On disk before it is pushed: after a power cut the write would get another,
                // higher stamp, and beat who has seen it under this one.
                self.files[file].commit(content, true);
                Step::Next(Box::new(Round::PushRead))
            }
            Round::Push(batch) => {
                let writer = self.processes[index].clock.writer();
                let (stale, truth) = (batch.stale.as_ref(), &mut self.truth);
                let epoch = match &self.files[file].now.follow {
                    Follow::Following { epoch, .. } if self.traps.has(Trap::PushReadForAnother) => {
                        epoch
                    }
                    _ => &batch.followed,
                };
                match self.primary.push(&batch.rows, writer, stale, None, epoch, truth) {
                    Err(Refusal::Ahead) => self.refused_as_ahead(),
                    Err(Refusal::OtherEpoch) => {
                        self.processes[index].connection = None;
                        Step::End(Outcome::More)
                    }
                    Err(_) => Step::End(Outcome::Failed),
                    Ok(pushed) => {
                        self.given(&pushed);
                        Step::Next(Box::new(Round::PushAcknowledge { batch, pushed }))
                    }
                }
            }
            Round::PushAcknowledge { batch, pushed } => {
                for (key, _) in &pushed.conflicts {
                    self.taint(*key, true);
                }
                let mut content = self.files[file].now.clone();
                self.acknowledge(&mut content, &batch, &pushed);
                self.files[file].commit(content, false);
                if pushed.gone.is_empty() {
                    Step::Next(Box::new(Round::Poll))
                } else {
                    Step::End(Outcome::More)
                }
            }
            Round::Poll => {
                self.processes[index].clock.correct(self.primary.now);
                let content = &self.files[file].now;
                let Follow::Following { snapshot, .. } = &content.follow else {
                    return Step::End(Outcome::More);
                };
                let writer = self.processes[index].clock.writer();
                let poll = self.primary.poll(content.id, writer, Some(snapshot));
                let (follow, tokens) = (content.follow.clone(), content.tokens);
                Step::Next(Box::new(Round::Apply { poll, follow, tokens }))
            }
            Round::Apply { poll, follow, tokens } => self.apply(file, &poll, &follow, &tokens),
            Round::Compare => {
                self.processes[index].clock.correct(self.primary.now);
                let writer = self.processes[index].clock.writer();
                self.primary.forget_future_ids();
                self.primary.mend(|_| true, &mut self.truth);
                self.mend_file(file);
                self.set_back_here(file);
                let content = &self.files[file].now;
                let epoch = self.primary.epoch(content.id);
                if content.follow.break_at(&epoch, &content.tokens).is_some() {
                    self.processes[index].connection = None;
                    return Step::End(Outcome::More);
                }
                Step::Next(Box::new(Round::Plan {
                    poll: self.primary.poll(self.files[file].now.id, writer, None),
                }))
            }
            Round::Plan { poll } => self.plan(file, poll),
            Round::Give { poll, batch, follow } => {
                let writer = self.processes[index].clock.writer();
                let Follow::Reconciling { cause, .. } = &follow else {
                    return Step::End(Outcome::More);
                };
                let intact = cause.primary_is_intact();
                let truth = &mut self.truth;
                let (rows, epoch) = (&batch.rows, &poll.epoch);
                match self.primary.push(rows, writer, None, Some(intact), epoch, truth) {
                    Err(Refusal::Ahead) => self.refused_as_ahead(),
                    Err(Refusal::OtherEpoch) => {
                        self.processes[index].connection = None;
                        Step::End(Outcome::More)
                    }
                    Err(_) => Step::End(Outcome::Failed),
                    Ok(pushed) => {
                        self.given(&pushed);
                        Step::Next(Box::new(Round::Finish { poll, batch, pushed, follow }))
                    }
                }
            }
            Round::Finish { poll, batch, pushed, follow } => {
                self.finish(file, &poll, &batch, &pushed, &follow)
            }
        }
    }

    /// Reads the epoch and proposes another token. A break goes to disk before PostgreSQL gets
    /// the token.
    fn connect(&mut self, index: usize, file: usize) -> Step {
        if !self.traps.has(Trap::DriftUnnoticed) {
            self.primary.prepare(&mut self.truth);
        }
        let mut content = self.files[file].now.clone();
        let epoch = self.primary.epoch(content.id);
        let process = &mut self.processes[index];
        process.clock.correct(self.primary.now);
        process.connection = Some(self.primary.incarnation);
        let read = self.traps.seen_epoch(epoch, &content.tokens);
        let cause = content.follow.break_at(&read, &content.tokens);
        let mut seen = epoch.token;
        if cause == Some(Break::OtherFile) {
            self.identities += 1;
            content.id = 1_000 + self.identities;
            content.number = self.fresh_writer();
            content.tokens = Tokens::default();
            seen = None;
        }
        // A file that follows nothing has no life to compare: another copy of it may have met the
        // loss first, and set the token that both share.
        let follows = matches!(content.follow, Follow::Following { .. });
        let cause = cause.map(|cause| if follows { cause } else { Break::OtherPrimary });
        if let Some(cause) = cause {
            self.broken(&mut content, cause);
        }
        let fresh = Token::after(content.tokens.current(), self.fresh_token().into());
        let fresh = content.tokens.proposal(seen, fresh);
        content.tokens = content.tokens.propose(seen, fresh);
        self.files[file].commit(content, true);
        Step::Next(Box::new(Round::Rotate { seen, fresh }))
    }

    pub fn broken(&mut self, content: &mut Content, cause: Break) {
        self.breaks += 1;
        let of_a_loss = matches!(cause, Break::OtherPrimary | Break::OtherFile | Break::Missing);
        if of_a_loss && !self.disturbed {
            self.violate(format!("a comparison that nothing has caused: {cause:?}"));
        }
        self.follow(content, Event::Broken(cause));
    }

    /// Moves a file's cursor; an impossible history is a violation.
    pub fn follow(&mut self, content: &mut Content, event: Event) {
        match content.follow.next(event) {
            Ok(follow) => content.follow = follow,
            Err(impossible) => self.violate(impossible.to_string()),
        }
    }

    fn refused_as_ahead(&self) -> Step {
        Step::Next(Box::new(Round::Restamp { primary_ms: self.primary.now }))
    }

    fn push_read(&mut self, file: usize) -> Step {
        let mut content = self.files[file].now.clone();
        if content.drifted && !self.traps.has(Trap::DriftUnnoticed) {
            content.drifted = false;
            self.broken(&mut content, Break::LocalGap);
            self.files[file].commit(content.clone(), true);
            self.mend_file(file);
            content = self.files[file].now.clone();
        }
        let followed = match content.follow {
            Follow::Reconciling { .. } => return Step::Next(Box::new(Round::Compare)),
            Follow::Held { .. } => return Step::End(Outcome::Idle),
            Follow::Following { epoch, .. } => epoch,
        };
        let rows = content.pending();
        let upto = content.seq;
        if rows.is_empty() {
            return Step::Next(Box::new(Round::Poll));
        }
        let stale = self.traps.has(Trap::StampsBeforeLocks).then(|| {
            let version = |key: &Key| self.primary.version(*key).map(|row| (*key, row.clone()));
            rows.keys().filter_map(version).collect::<BTreeMap<_, _>>()
        });
        let batch = Batch { rows, upto, stale, followed };
        if self.traps.has(Trap::PushedBeforeCommit) {
            self.acknowledge(&mut content, &batch, &Pushed::default());
        }
        self.files[file].commit(content, false);
        Step::Next(Box::new(Round::Push(batch)))
    }

    pub fn acknowledge(&self, content: &mut Content, batch: &Batch, pushed: &Pushed) {
        let drops = self.traps.has(Trap::QuarantineDropped);
        for (key, sent) in &batch.rows {
            if pushed.gone.contains(key) {
                continue;
            }
            // A row that has changed since is another process's batch: it says of itself whether
            // PostgreSQL takes it.
            let is_latest = content.rows.get(key).is_some_and(|row| row.seq <= batch.upto)
                || self.traps.has(Trap::LateAcknowledgement);
            if pushed.refused.contains(key) && !drops {
                if is_latest {
                    content.quarantine.insert(*key);
                }
                continue;
            }
            if is_latest {
                content.quarantine.remove(key);
            }
            if let Some(row) = content.rows.get_mut(key) {
                row.tracked.acknowledge(&sent.version);
            }
        }
        // PostgreSQL's log may be lost with the server before the other side is overwritten.
        if !self.traps.has(Trap::NoConflictLog) {
            content.log.extend(&pushed.conflicts);
        }
        if pushed.gone.is_empty() {
            content.pushed = content.pushed.max(batch.upto);
        } else if let Ok(follow) = content.follow.next(Event::Broken(Break::Missing)) {
            content.follow = follow;
        }
    }

    /// What came past the file's triggers is noted.
    fn mend_file(&mut self, file: usize) {
        let mut content = self.files[file].now.clone();
        self.mend(file, &mut content, |_, _| true);
        self.files[file].commit(content, true);
    }

    /// What PostgreSQL says was of the future is set back in the file.
    fn set_back_here(&mut self, file: usize) {
        let mut content = self.files[file].now.clone();
        content.set_back(&self.primary.data.set_backs, self.traps, &mut self.truth);
        self.files[file].commit(content, true);
    }

    /// The same for some rows, of which it is said whether they were loaded.
    pub fn mend(&mut self, file: usize, content: &mut Content, which: impl Fn(Key, bool) -> bool) {
        let before = content.clone();
        let now = self.now + self.files[file].skew;
        for (key, write) in content.mend(which, now, self.traps) {
            if let Some(after) = content.version(key) {
                self.truth.noted(write, key, before.version(key), after);
            }
        }
    }

    fn apply(&mut self, file: usize, poll: &Poll, follow: &Follow, before: &Tokens) -> Step {
        let mut content = self.files[file].now.clone();
        // Compare and swap: another process of this file has moved the cursor.
        let Follow::Following { epoch, snapshot } = follow else {
            return Step::End(Outcome::More);
        };
        let drifted = content.drifted && !self.traps.has(Trap::DriftUnnoticed);
        if content.follow != *follow || drifted {
            return Step::End(Outcome::More);
        }
        let seen = self.traps.seen_epoch(poll.epoch, &content.tokens);
        let purged = poll.purged.filter(|_| !self.traps.has(Trap::PurgeUnnoticed));
        let verdict = if poll.drifted && !self.traps.has(Trap::DriftUnnoticed) {
            Verdict::Broken(Break::CaptureGap)
        } else {
            let rotated = !self.traps.has(Trap::StaleTokenIsALoss);
            let before = if rotated { before } else { &content.tokens };
            let tokens = [before, &content.tokens];
            judge_poll(epoch, snapshot, tokens, &seen, &poll.snapshot, purged)
        };
        match verdict {
            Verdict::Broken(cause) => {
                self.broken(&mut content, cause);
                self.files[file].commit(content, true);
                // The next connection takes a new identity, if it has to, and a new token.
                for process in self.processes.iter_mut().filter(|process| process.file == file) {
                    process.connection = None;
                }
                return Step::End(Outcome::More);
            }
            Verdict::Overtaken => return Step::End(Outcome::More),
            Verdict::Apply => {}
        }
        let logged = self.take_in(file, &mut content, poll, true);
        let event = Event::Pulled { epoch: seen, snapshot: poll.snapshot.clone() };
        self.follow(&mut content, event);
        // What is logged here only is on disk before a push that knows of it: after a power cut
        // the own stamp in PostgreSQL would hide the conflict.
        self.files[file].commit(content, logged);
        self.polls += 1;
        Step::End(Outcome::Idle)
    }

    /// Takes in what was polled; says whether a conflict was logged.
    pub fn take_in(
        &mut self,
        file: usize,
        content: &mut Content,
        poll: &Poll,
        intact: bool,
    ) -> bool {
        // A row that came past the triggers is in the way of what comes.
        self.mend(file, content, |key, loaded| loaded && poll.rows.contains_key(&key));
        let mut logged = false;
        for (key, row) in &poll.rows {
            let met = content.absorb(*key, &row.version, intact, self.traps);
            self.taint(*key, met);
            logged |= met;
        }
        // One from the future is somebody's hand, or what was set back, and the file's own may be.
        let oldest = Stamp::at(poll.now - RETENTION_MS, Writer::POSTGRES);
        let is_believed = self.traps.has(Trap::HorizonBelieved);
        let horizon = if is_believed { poll.horizon } else { poll.horizon.min(oldest) };
        content.horizon = content.horizon.max(horizon);
        content
            .rows
            .retain(|_, row| row.tracked.bases.any() || !purgeable(&row.tracked.version, horizon));
        // What is gone has nothing left to refuse.
        content.quarantine.retain(|key| content.rows.contains_key(key));
        logged
    }

    fn given(&mut self, pushed: &Pushed) {
        for (key, offered, given) in &pushed.given {
            for ((register, was), (_, is)) in registers(offered).zip(registers(given)) {
                if was != is {
                    self.truth.restamped(*key, register, offered, is);
                }
            }
        }
    }

    pub fn fresh_writer(&mut self) -> Writer {
        self.writers += 1;
        Writer::new(self.writers).unwrap_or(Writer::MAX)
    }
}
