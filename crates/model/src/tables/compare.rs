//! The comparison of a file with PostgreSQL: of all tables, or of those alone that have to be compared;
//! table by table, as the product goes by ranges.

mod settle;

use std::collections::BTreeMap;

use dual_database::merge::{Tracked, Version};
use dual_database::protocol::reconcile::{Guard, Uncaptured};
use dual_database::protocol::{Break, Epoch, Event, Follow, SetBack, Snapshot};
use dual_database::stamp::Stamp;

use super::World;
use super::primary::{PushEnd, Pushed};
use super::process::{Flow, Process, Round};
use super::rows::Id;
use super::trap::Trap;

/// A comparison under way.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The file's state as it began.
    state: Follow,
    marks: Vec<Option<u64>>,
    cause: Break,
    epoch: Epoch,
    relations: Vec<(usize, u64)>,
    snapshot: Snapshot,
    horizon: Stamp,
    forgotten: Stamp,
    upto: u64,
    set_backs: Vec<SetBack>,
    tables: Vec<usize>,
    /// The how many-th of them is compared.
    at: usize,
    asks: bool,
    step: Stage,
    there: BTreeMap<Id, Version>,
    /// Up to where the changes of some tables were read.
    caught_up: Option<Snapshot>,
    plan: Plan,
    pushed: Pushed,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    SetBack,
    Count,
    Read,
    Plan,
    Uncaptured,
    Give,
    Settle,
    /// What has changed in the tables of which some are compared.
    CatchUp,
    Finish,
}

/// What is to be done with a table.
#[derive(Clone, Debug, Default)]
struct Plan {
    give: Vec<(Id, Tracked)>,
    take: Vec<Id>,
    drop: Vec<Id>,
    uncaptured: Vec<(Id, Vec<Uncaptured>)>,
    lost_here: usize,
    lost_there: usize,
    /// The file's position as it was read.
    seq: u64,
}

impl World {
    pub fn begin_comparison(&mut self, process: usize) -> Flow {
        let Process { file: at, tables, .. } = &self.processes[process];
        let file = &self.files[*at];
        let compared = match file.follow {
            Follow::Following { .. } if file.has(Trap::ComparedTellsForAll) => {
                file.to_compare(tables).into_iter().take(1).collect()
            }
            Follow::Following { .. } => file.to_compare(tables),
            Follow::Reconciling { .. } | Follow::Held { .. } => tables.clone(),
        };
        let Follow::Reconciling { cause, approved, .. } = file.follow_of(&compared) else {
            return Flow::End;
        };
        if tables.iter().any(|table| self.primary.trouble[*table]) {
            return Flow::Drop;
        }
        let header = self.primary.header(*at, tables);
        if file.follow.break_at(&header.epoch, &file.tokens).is_some() {
            return Flow::Drop;
        }
        let is_empty = file.rows.keys().all(|id| !compared.contains(&id.table));
        let unasked = matches!(cause, Break::FirstContact | Break::Rebuilt | Break::Backlog);
        let comparison = Comparison {
            state: file.follow.clone(),
            marks: file.marks(&compared),
            cause,
            epoch: header.epoch,
            relations: header.tables.clone(),
            forgotten: self.forgotten(&header),
            snapshot: header.snapshot,
            horizon: header.horizon,
            upto: file.seq,
            set_backs: self.primary.set_backs.clone(),
            tables: compared,
            at: 0,
            asks: !approved && !unasked && !is_empty,
            step: Stage::SetBack,
            there: BTreeMap::new(),
            caught_up: None,
            plan: Plan::default(),
            pushed: Pushed::default(),
        };
        Flow::to(Round::Compare(Box::new(comparison)))
    }

    pub fn compare(&mut self, process: usize, mut comparison: Box<Comparison>) -> Flow {
        let Process { file: at, tables, .. } = &self.processes[process];
        let (at, tables) = (*at, tables.clone());
        let all = tables.clone();
        if tables.iter().any(|table| self.trouble[at][*table] || self.primary.trouble[*table]) {
            return Flow::Drop;
        }
        let is_one = comparison.is_of(&self.files[at]);
        let next = match comparison.step {
            Stage::SetBack => {
                self.files[at].set_back(&comparison.set_backs, &tables);
                if comparison.asks { Stage::Count } else { Stage::Read }
            }
            Stage::Count => match self.losses(at, &comparison) {
                0 => Stage::Read,
                losses => return self.hold(at, &comparison, losses),
            },
            Stage::Read => match comparison.read(&self.primary.header(at, &tables)) {
                false => return Flow::Drop,
                true => {
                    comparison.there = self.rows_of(comparison.table());
                    comparison.horizon = self.primary.horizon;
                    comparison.forgotten = self.forgotten(&self.primary.header(at, &tables));
                    Stage::Plan
                }
            },
            Stage::Plan if !is_one && !self.files[at].has(Trap::GivenPastTheEnd) => {
                return Flow::End;
            }
            Stage::Plan => {
                comparison.plan = comparison.plans(&self.files[at]);
                match (comparison.plan.uncaptured.is_empty(), comparison.plan.give.is_empty()) {
                    (false, _) => Stage::Uncaptured,
                    (_, false) => Stage::Give,
                    _ => Stage::Settle,
                }
            }
            Stage::Uncaptured if is_one => {
                self.settle_uncaptured(process, &comparison);
                Stage::Plan
            }
            Stage::Give => {
                let (intact, give) = (comparison.cause.primary_is_intact(), &comparison.plan.give);
                match self.primary.push(give, Some(intact), &comparison.epoch, (at, &tables)) {
                    PushEnd::OtherServer => return Flow::Drop,
                    PushEnd::Ahead => return Flow::to(Round::Restamp),
                    PushEnd::Done(pushed) if !pushed.gone.is_empty() => return Flow::End,
                    PushEnd::Done(pushed) => comparison.pushed = pushed,
                }
                Stage::Settle
            }
            Stage::Settle if is_one => {
                comparison.settle(&mut self.files[at], &tables, self.now);
                comparison.pushed = Pushed::default();
                comparison.at += 1;
                let is_last = comparison.at == comparison.tables.len();
                let is_of_some = matches!(comparison.state, Follow::Following { .. });
                comparison.step = match is_last {
                    true if is_of_some => Stage::CatchUp,
                    true => Stage::Finish,
                    false => Stage::Read,
                };
                if is_of_some {
                    // The others are exchanged before the next table.
                    self.processes[process].apart = Some(comparison);
                    return Flow::to(Round::PushRead);
                }
                return Flow::to(Round::Compare(comparison));
            }
            Stage::CatchUp => {
                let tables = &comparison.tables;
                let poll = self.primary.poll(at, &all, &comparison.snapshot, &[]);
                let is_purged =
                    poll.header.purged.is_some_and(|txid| !comparison.snapshot.has_passed(txid));
                let has_drifted = poll.drift.iter().any(|table| tables.contains(table));
                if !poll.header.epoch.is_server_of(&comparison.epoch) || is_purged || has_drifted {
                    return Flow::End;
                }
                let rows = poll.rows.into_iter().filter(|(id, _)| tables.contains(&id.table));
                comparison.there = rows.collect();
                comparison.caught_up = Some(poll.header.snapshot);
                Stage::Finish
            }
            Stage::Finish if is_one && !self.sees_besides(process) => {
                return self.finish(at, &comparison, &tables);
            }
            Stage::Uncaptured | Stage::Settle | Stage::Finish => return Flow::End,
        };
        comparison.step = next;
        Flow::to(Round::Compare(comparison))
    }

    fn rows_of(&self, table: usize) -> BTreeMap<Id, Version> {
        let rows = self.primary.rows.iter().filter(|(id, _)| id.table == table);
        rows.map(|(id, row)| (*id, row.version.clone())).collect()
    }

    /// What would be lost in the tables in which that is too much.
    fn losses(&self, at: usize, comparison: &Comparison) -> usize {
        let file = &self.files[at];
        let mut losses = 0;
        for table in 0..comparison.tables.len() {
            let mut one = comparison.clone();
            one.at = table;
            one.there = self.rows_of(one.table());
            let plan = one.plans(file);
            let here = file.rows.iter().filter(|(id, _)| id.table == one.table());
            let here = here.filter(|(_, local)| local.row.version.lives()).count();
            let there = one.there.values().filter(|version| version.lives()).count();
            let guard = Guard::default();
            if !guard.allows(plan.lost_here, here) || !guard.allows(plan.lost_there, there) {
                losses += plan.lost_here.max(plan.lost_there);
            }
        }
        losses
    }

    fn hold(&mut self, at: usize, comparison: &Comparison, losses: usize) -> Flow {
        if !comparison.is_of(&self.files[at]) {
            return Flow::End;
        }
        if matches!(comparison.state, Follow::Following { .. }) {
            // A person decides about all tables: they are all compared once more.
            self.asked(at, comparison.cause);
        } else {
            self.files[at].moves(Event::Held { losses });
            self.held += 1;
        }
        Flow::End
    }

    fn finish(&mut self, at: usize, comparison: &Comparison, tables: &[usize]) -> Flow {
        self.compared += 1;
        let file = &mut self.files[at];
        let accepted = comparison.epoch.token.is_some_and(|token| file.tokens.accept(token));
        if let Follow::Following { epoch, snapshot } = &file.follow {
            let is_up = comparison.caught_up.as_ref().is_some_and(|read| read.follows(snapshot));
            if comparison.epoch.is_server_of(epoch) && (is_up || file.has(Trap::NeverCatchesUp)) {
                if !file.has(Trap::NeverCatchesUp) {
                    let rows = comparison.there.iter().map(|(id, version)| (*id, version));
                    file.take_all(rows, true, tables, self.now);
                }
                file.waits_since(&comparison.tables, comparison.upto);
                file.compared(&comparison.tables);
                if file.has(Trap::CursorOfSome) {
                    let (epoch, read) = (comparison.epoch, comparison.caught_up.clone());
                    read.map(|snapshot| file.moves(Event::Pulled { epoch, snapshot }));
                }
            }
            return Flow::End;
        }
        if !accepted {
            return Flow::End;
        }
        file.compared(&comparison.tables);
        file.relations_are(&comparison.relations);
        let (epoch, snapshot) = (comparison.epoch, comparison.snapshot.clone());
        file.moves(Event::Reconciled { epoch, snapshot });
        file.pushed = file.pushed.max(comparison.upto);
        file.purge(comparison.forgotten, tables);
        // It may be another one since the last table was read.
        self.lossy[at] = !self.primary.header(at, tables).epoch.is_server_of(&comparison.epoch);
        Flow::End
    }
}
