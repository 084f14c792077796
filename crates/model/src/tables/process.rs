//! A process of the product: what it keeps in memory, and the steps of its rounds.

use dual_database::Store;
use dual_database::protocol::{Break, Follow, Token, Tokens};
use dual_database::stamp::{StampClock, Writer};

use super::World;
use super::compare::Comparison;
use super::file::Batch;
use super::primary::{Header, Poll, Pushed};
use super::rows::{Id, TABLES};
use super::trap::Trap;
use crate::process::Wall;

/// Where a round stands.
#[derive(Clone, Debug)]
pub enum Round {
    Propose(Header, Tokens),
    Rotate { seen: Option<Token>, fresh: Token },
    Confirm(Token),
    PushRead,
    Push(Batch),
    Acknowledge(Batch, Pushed),
    Restamp,
    Poll,
    Apply(Box<Polled>, Follow, Tokens),
    Compare(Box<Comparison>),
}

/// What is polled: the rows that were asked for besides what is new, and the tables of which nothing was.
#[derive(Clone, Debug)]
pub struct Polled {
    pub poll: Poll,
    pub also: Vec<Id>,
    pub apart: Vec<usize>,
}

/// What a step leads to.
pub enum Flow {
    To(Box<Round>),
    /// The round is over.
    End,
    /// The connection is given up.
    Drop,
    /// It has to be opened once more, without what is known to be in trouble.
    Outdated(Vec<(usize, Store)>),
}

impl Flow {
    pub fn to(round: Round) -> Flow {
        Flow::To(Box::new(round))
    }
}

#[derive(Debug)]
pub struct Process {
    pub file: usize,
    /// The tables that it follows.
    pub tables: Vec<usize>,
    /// Why it has to be opened once more.
    pub outdated: Option<Vec<(usize, Store)>>,
    pub met: bool,
    pub round: Option<Round>,
    /// The comparison of some tables, while the others are exchanged.
    pub apart: Option<Box<Comparison>>,
    pub clock: StampClock<Wall>,
}

impl Process {
    pub fn new(file: usize, number: u16) -> Process {
        let writer = Writer::new(number).unwrap_or(Writer::MAX);
        Process {
            file,
            tables: Vec::new(),
            outdated: Some(Vec::new()),
            met: false,
            round: None,
            apart: None,
            clock: StampClock::new(Wall(0), writer),
        }
    }

    pub fn drop_link(&mut self) {
        self.met = false;
        self.round = None;
    }
}

impl World {
    /// What is in the way of these tables, on either side.
    pub fn troubles(&self, file: usize, tables: &[usize]) -> Vec<(usize, Store)> {
        let there = tables.iter().filter(|table| self.primary.trouble[**table]);
        let here = tables.iter().filter(|table| self.trouble[file][**table]);
        let there = there.map(|table| (*table, Store::Postgres));
        let here = here.filter(|table| !self.primary.trouble[**table]);
        there.chain(here.map(|table| (*table, Store::Sqlite))).collect()
    }

    /// Opens the database, or once more: leaves alone what is in trouble, takes back what is not any more.
    pub fn open(&mut self, process: usize) {
        let at = self.processes[process].file;
        let known = self.processes[process].outdated.take().unwrap_or_default();
        let following = self.files[at].tables;
        let kept = (0..TABLES).filter(|table| following[*table].declared);
        let (aside, mut tables): (Vec<usize>, Vec<usize>) =
            kept.partition(|table| following[*table].paused.is_some());
        let mut aside = match aside.is_empty() {
            true => Vec::new(),
            false => {
                let still = self.troubles(at, &aside);
                let mended = |table: &usize| still.iter().all(|(one, _)| one != table);
                tables.extend(aside.iter().copied().filter(mended));
                still
            }
        };
        let is_known = |table: &usize| known.iter().any(|(one, _)| one == table);
        if tables.iter().any(|table| !is_known(table)) {
            aside.extend(known.iter().filter(|(table, _)| tables.contains(table)));
            tables.retain(|table| !is_known(table));
        }
        tables.sort_unstable();
        let file = &mut self.files[at];
        for table in &tables {
            if !std::mem::replace(&mut file.tables[*table].captured, true)
                && !file.has(Trap::JoinedUncompared)
            {
                file.compare_alone(*table, Break::FirstContact);
            }
        }
        file.leave_alone(&aside, &tables);
        self.paused(at);
        let process = &mut self.processes[process];
        process.tables = tables;
        process.apart = None;
        process.drop_link();
    }

    /// One step of a process: done, refused, or done without anybody hearing of it.
    pub fn advance(&mut self, process: usize, refused: bool, lost: bool) {
        self.processes[process].clock.clock_mut().0 = self.now;
        if self.processes[process].outdated.is_some() {
            return self.open(process);
        }
        if refused {
            return self.processes[process].drop_link();
        }
        let flow = self.step(process);
        let process = &mut self.processes[process];
        match flow {
            _ if lost => process.drop_link(),
            Flow::To(round) => process.round = Some(*round),
            Flow::End => process.round = None,
            Flow::Drop => process.drop_link(),
            Flow::Outdated(known) => {
                process.drop_link();
                process.outdated = Some(known);
            }
        }
    }

    fn step(&mut self, process: usize) -> Flow {
        let Process { file, met, .. } = self.processes[process];
        match self.processes[process].round.take() {
            None if met => self.push_read(process),
            None => self.connect(process),
            Some(Round::Propose(header, tokens)) => self.propose(process, header, tokens),
            Some(Round::Rotate { seen, fresh }) => match self.primary.rotate(file, seen, fresh) {
                true => Flow::to(Round::Confirm(fresh)),
                false => Flow::Drop,
            },
            Some(Round::Confirm(fresh)) => {
                let tokens = &mut self.files[file].tokens;
                *tokens = tokens.confirm(fresh);
                self.processes[process].met = true;
                Flow::to(Round::PushRead)
            }
            Some(Round::PushRead) => self.push_read(process),
            Some(Round::Push(batch)) => self.push(process, batch),
            Some(Round::Acknowledge(batch, pushed)) => self.acknowledge(process, batch, pushed),
            Some(Round::Restamp) => self.restamp(process),
            Some(Round::Poll) => self.poll(process),
            Some(Round::Apply(poll, state, tokens)) => self.apply(process, &poll, &state, tokens),
            Some(Round::Compare(comparison)) => self.compare(process, comparison),
        }
    }

    pub fn sees_besides(&self, process: usize) -> bool {
        let Process { file, tables, .. } = &self.processes[process];
        let file = &self.files[*file];
        !file.has(Trap::PauseUnseen) && file.keeps_besides(tables)
    }
}
