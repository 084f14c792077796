//! The steps of a round, each one transaction on one side.

use std::collections::BTreeMap;

use dual_database::Store;
use dual_database::merge::Tracked;
use dual_database::protocol::{Break, Event, Follow, PollVerdict, Token, Tokens, judge_poll};

use super::World;
use super::file::Batch;
use super::primary::{Header, PushEnd, Pushed};
use super::process::{Flow, Polled, Process, Round};
use super::rows::{Id, TABLES};
use super::trap::Trap;

impl World {
    pub fn connect(&mut self, process: usize) -> Flow {
        if self.sees_besides(process) {
            return Flow::Outdated(Vec::new());
        }
        let Process { file: at, tables, .. } = &self.processes[process];
        let at = *at;
        let troubles = self.troubles(at, tables);
        if troubles.iter().any(|(_, side)| *side == Store::Postgres) {
            return if tables.len() > 1 { Flow::Outdated(troubles) } else { Flow::Drop };
        }
        let header = self.primary.header(at, tables);
        for table in 0..TABLES {
            // Whoever opens the file next keeps it.
            self.files[at].tables[table].declared |= self.primary.tracked[table];
        }
        Flow::to(Round::Propose(header, self.files[at].tokens))
    }

    pub fn propose(&mut self, process: usize, header: Header, known: Tokens) -> Flow {
        let at = self.processes[process].file;
        if self.sees_besides(process) {
            return Flow::Drop;
        }
        let file = &mut self.files[at];
        file.count_relations(&header.tables);
        let seen = header.epoch.token;
        let cause = file.follow.break_at(&header.epoch, &file.tokens);
        let follows = matches!(file.follow, Follow::Following { .. });
        // Another process of the file has rotated it since: what was read proves nothing.
        if cause.is_some() && file.tokens != known {
            return Flow::Drop;
        }
        if cause == Some(Break::OtherFile) {
            self.violate(format!("file {at} takes itself for a copy"));
        }
        let cause = cause.map(|cause| if follows { cause } else { Break::OtherPrimary });
        let file = &mut self.files[at];
        let fresh = Token::after(file.tokens.current(), self.rng.next().into());
        let fresh = file.tokens.proposal(seen, fresh);
        file.tokens = file.tokens.propose(seen, fresh);
        if let Some(cause) = cause {
            self.breaks(at, cause);
        }
        Flow::to(Round::Rotate { seen, fresh })
    }

    pub fn push_read(&mut self, process: usize) -> Flow {
        if self.sees_besides(process) {
            return Flow::Outdated(Vec::new());
        }
        let Process { file: at, tables, .. } = &self.processes[process];
        if tables.iter().any(|table| self.trouble[*at][*table]) {
            let troubles = self.troubles(*at, tables);
            return if tables.len() > 1 { Flow::Outdated(troubles) } else { Flow::Drop };
        }
        let file = &self.files[*at];
        match file.follow {
            Follow::Reconciling { .. } => return self.begin_comparison(process),
            Follow::Held { .. } => return Flow::End,
            Follow::Following { .. } => {}
        }
        let apart = file.apart(tables);
        let follow: Vec<usize> =
            tables.iter().filter(|one| !apart.contains(one)).copied().collect();
        let batch = file.to_push(&follow, self.now);
        match batch.rows.is_empty() {
            true => Flow::to(Round::Poll),
            false => Flow::to(Round::Push(batch)),
        }
    }

    pub fn push(&mut self, process: usize, mut batch: Batch) -> Flow {
        let Process { file: at, tables, .. } = &self.processes[process];
        let Some(followed) = batch.followed else { return Flow::Drop };
        if tables.iter().any(|table| self.primary.trouble[*table]) {
            return Flow::Drop;
        }
        let mut rest = Batch { rows: Vec::new(), ..batch.clone() };
        if self.primary.has(Trap::PushSplit)
            && let Some(first) = batch.rows.first().map(|(id, _)| id.table)
        {
            (batch.rows, rest.rows) = batch.rows.into_iter().partition(|(id, _)| id.table == first);
        }
        match self.primary.push(&batch.rows, None, &followed, (*at, tables)) {
            PushEnd::OtherServer => Flow::Drop,
            PushEnd::Ahead => Flow::to(Round::Restamp),
            PushEnd::Done(_) if !rest.rows.is_empty() => Flow::to(Round::Push(rest)),
            PushEnd::Done(pushed) => Flow::to(Round::Acknowledge(batch, pushed)),
        }
    }

    pub fn acknowledge(&mut self, process: usize, batch: Batch, pushed: Pushed) -> Flow {
        let Process { file: at, tables, .. } = &self.processes[process];
        let at = *at;
        let file = &mut self.files[at];
        file.acknowledge(&batch, &pushed, tables, self.now);
        if file.has(Trap::PausedCountsAsPushed) {
            let is_left = |id: &Id| !tables.contains(&id.table);
            let left = file.rows.iter_mut().filter(|(id, _)| is_left(id));
            left.for_each(|(_, local)| local.row = Tracked::settled(local.row.version.clone()));
        }
        if pushed.gone.is_empty() {
            file.pushed = file.pushed.max(batch.upto);
            Flow::to(Round::Poll)
        } else {
            self.breaks(at, Break::Missing);
            Flow::End
        }
    }

    /// Gives other stamps to what PostgreSQL has refused as too far ahead of its clock.
    pub fn restamp(&mut self, process: usize) -> Flow {
        let Process { file, clock, tables, .. } = &mut self.processes[process];
        let file = &mut self.files[*file];
        for (id, _) in file.to_push(tables, i64::MAX).rows {
            if let Some(local) = file.rows.get_mut(&id) {
                local.row.restamp(self.primary.now, clock);
            }
        }
        Flow::to(Round::PushRead)
    }

    pub fn poll(&mut self, process: usize) -> Flow {
        let Process { file: at, tables, .. } = &self.processes[process];
        let file = &self.files[*at];
        let Follow::Following { snapshot, .. } = &file.follow else { return Flow::End };
        let aside = |table: usize| file.tables[table].paused.is_some();
        let besides = |table: usize| self.primary.tracked[table] && !tables.contains(&table);
        if (0..TABLES).any(|table| besides(table) && !aside(table)) {
            // Whoever connects notes it in the file.
            return Flow::Drop;
        }
        let apart = file.apart(tables);
        let due = file.quarantine.iter().filter(|((id, _), _)| !apart.contains(&id.table));
        let due = due.filter(|((_, by), aside)| *by == Store::Sqlite && aside.retry <= self.now);
        let also: Vec<Id> = due.map(|((id, _), _)| *id).collect();
        let mut poll = self.primary.poll(*at, tables, snapshot, &also);
        let is_apart = |id: &Id| apart.contains(&id.table) && !file.has(Trap::TakenBefore);
        poll.rows.retain(|id, _| !is_apart(id));
        let polled = Polled { poll, also, apart };
        Flow::to(Round::Apply(Box::new(polled), file.follow.clone(), file.tokens))
    }

    pub fn apply(
        &mut self,
        process: usize,
        Polled { poll, also, apart: unread }: &Polled,
        state: &Follow,
        before: Tokens,
    ) -> Flow {
        let Process { file: at, tables, .. } = &self.processes[process];
        let (at, tables) = (*at, tables.clone());
        let (now, polled) = (self.now, &poll.header);
        if tables.iter().any(|table| self.trouble[at][*table]) || self.files[at].follow != *state {
            return Flow::End;
        }
        let counts = |table: &usize| self.files[at].tables[*table].relation.is_some();
        let is_another = self.sees_besides(process) || !tables.iter().all(counts);
        if is_another && !self.files[at].has(Trap::PollOfAnother) {
            return Flow::End;
        }
        let Follow::Following { epoch, snapshot } = state else { return Flow::End };
        if poll.drift.len() == tables.len() {
            self.breaks(at, Break::CaptureGap);
            return Flow::Drop;
        }
        if !poll.drift.is_empty() && !self.files[at].has(Trap::DriftSkipped) {
            for table in &poll.drift {
                self.files[at].compare_alone(*table, Break::CaptureGap);
            }
            self.paused(at);
            return Flow::Drop;
        }
        let tokens = [&before, &self.files[at].tokens];
        match judge_poll(epoch, snapshot, tokens, &polled.epoch, &polled.snapshot, polled.purged) {
            PollVerdict::Overtaken => return Flow::End,
            PollVerdict::Broken(cause) => {
                self.breaks(at, cause);
                return Flow::Drop;
            }
            PollVerdict::Apply => {}
        }
        // A table that has been compared since is one of the others now, and nothing of it was read.
        let apart = self.files[at].apart(&tables);
        if !unread.iter().all(|table| apart.contains(table)) {
            return Flow::End;
        }
        let is_taken =
            |id: &&Id| !apart.contains(&id.table) || self.files[at].has(Trap::TakenBefore);
        let forgotten = self.forgotten(polled);
        let mut by_table: BTreeMap<usize, Vec<Id>> = BTreeMap::new();
        let taken = poll.rows.keys().filter(is_taken);
        taken.for_each(|id| by_table.entry(id.table).or_default().push(*id));
        for ids in by_table.into_values() {
            let rows = ids.into_iter().filter_map(|id| Some((id, poll.rows.get(&id)?)));
            self.files[at].take_all(rows, true, &tables, now);
            if self.files[at].has(Trap::PollSplit) {
                self.look_at_pairs();
            }
        }
        // What the file has refused is there no more, not even as a tombstone.
        let file = &mut self.files[at];
        let is_read = |id: &&Id| !apart.contains(&id.table);
        for id in also.iter().filter(|id| !poll.rows.contains_key(id)).filter(is_read) {
            if !file.has(Trap::GhostStays) {
                file.release(*id, Store::Sqlite, &tables);
            }
        }
        let event = Event::Pulled { epoch: polled.epoch, snapshot: polled.snapshot.clone() };
        if !file.moves(event) {
            self.violate(format!("file {at}: a poll cannot be applied"));
            return Flow::Drop;
        }
        let follow: Vec<usize> = tables.into_iter().filter(|one| !apart.contains(one)).collect();
        file.purge(forgotten, &follow);
        self.polls += 1;
        if apart.is_empty() {
            return Flow::End;
        }
        match self.processes[process].apart.take() {
            Some(comparison) => Flow::to(Round::Compare(comparison)),
            None => self.begin_comparison(process),
        }
    }
}
