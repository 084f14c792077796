//! Several tables that are kept together: transactions over two of them, references from children to
//! parents, unique values, and tables that are left alone for a while, each by itself.
//!
//! A world of its own beside the other one, which knows one table and everything that can happen to
//! it: here two files with two processes each follow three tables of one PostgreSQL. What decides is the
//! product's code; how a table is left alone, compared alone, joined, and in which order rows are written
//! is modelled after its transactions.

mod check;
mod compare;
mod file;
mod follow;
mod gap;
mod primary;
mod process;
mod push;
mod round;
mod rows;
mod scripts;
mod trap;
mod truth;

use std::collections::BTreeSet;

use dual_database::Store;
use dual_database::protocol::{Break, Event, Follow};
use dual_database::stamp::{Stamp, Writer};

use self::file::{File, Following};
use self::primary::{Header, Primary};
use self::process::Process;
use self::rows::{Entry, OTHERS, TABLES, all_ids};
pub use self::trap::Trap;
use self::truth::Truth;
use crate::rng::Rng;

const FILES: usize = 2;
const PROCESSES: usize = 2 * FILES;
const START_MS: i64 = 1_700_000_000_000;
/// How long tombstones are kept.
const KEEP_MS: i64 = 80;

/// What one history showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The first promise that did not hold.
    pub violation: Option<String>,
    /// Values that programs have set.
    pub written: usize,
    /// Polls that were applied.
    pub polls: usize,
    /// Tables that were left alone.
    pub paused: usize,
    /// Comparisons that came to their end.
    pub compared: usize,
    /// Comparisons that waited for a person.
    pub held: usize,
    /// Rows in quarantine at the end.
    pub aside: usize,
    /// Entries in the conflict logs.
    pub conflicts: usize,
}

struct World {
    rng: Rng,
    /// Draws what comes past the triggers of a file, in the histories in which anything does.
    gaps: Option<Rng>,
    primary: Primary,
    files: Vec<File>,
    processes: Vec<Process>,
    /// Tables of a file that somebody has changed so that they cannot be followed.
    trouble: Vec<[bool; TABLES]>,
    now: i64,
    primary_is_ahead: bool,
    backup: Option<Primary>,
    /// Logs of PostgreSQLs that are gone.
    lost_log: Vec<Entry>,
    /// The file has a reason to take PostgreSQL for another one.
    lossy: Vec<bool>,
    truth: Truth,
    polls: usize,
    pauses: usize,
    compared: usize,
    held: usize,
    violation: Option<String>,
}

/// Runs the history of a seed.
#[must_use]
pub fn run(seed: u64, trap: Option<Trap>) -> Report {
    let mut world = World::new(seed, trap);
    for _ in 0..80 + world.rng.below(160) {
        world.happen();
        world.look_at_pairs();
        if world.violation.is_some() {
            break;
        }
    }
    if world.violation.is_none() {
        world.heal();
    }
    let logs = world.files.iter().map(|file| file.log.len()).sum::<usize>();
    Report {
        violation: world.violation,
        written: world.truth.written.len(),
        polls: world.polls,
        paused: world.pauses,
        compared: world.compared,
        held: world.held,
        aside: world.files.iter().map(|file| file.quarantine.len()).sum(),
        conflicts: logs + world.primary.log.len(),
    }
}

impl World {
    fn new(seed: u64, trap: Option<Trap>) -> World {
        let mut rng = Rng::new(seed ^ 0x7ab1_e5ed);
        let joined = [true, true, rng.once_in(2)];
        let writer = |at: usize| Writer::new(u16::try_from(at + 1).unwrap_or(1));
        let file =
            |at| File::new(writer(at).unwrap_or(Writer::MAX), rng.range(-20, 20), trap, joined);
        let files: Vec<File> = (0..FILES).map(file).collect();
        let process = |at: usize| Process::new(at / 2, 11 + u16::try_from(at).unwrap_or(0));
        World {
            rng,
            gaps: seed.is_multiple_of(5).then(|| Rng::new(seed ^ 0x6a95)),
            primary: Primary::new(joined, START_MS, trap),
            files,
            processes: (0..PROCESSES).map(process).collect(),
            trouble: vec![[false; TABLES]; FILES],
            now: START_MS,
            primary_is_ahead: false,
            backup: None,
            lost_log: Vec::new(),
            lossy: vec![true; FILES],
            truth: Truth { seen: vec![BTreeSet::new(); FILES + 1], ..Truth::default() },
            polls: 0,
            pauses: 0,
            compared: 0,
            held: 0,
            violation: None,
        }
    }

    fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// Up to where a file forgets tombstones.
    fn forgotten(&self, header: &Header) -> Stamp {
        header.horizon.min(Stamp::at(self.now - KEEP_MS, Writer::POSTGRES))
    }

    /// The cursor of all tables means nothing any more.
    fn breaks(&mut self, at: usize, cause: Break) {
        if cause == Break::OtherPrimary && !self.lossy[at] {
            self.violate(format!("file {at} compares every table because of one"));
        }
        self.asked(at, cause);
    }

    fn asked(&mut self, at: usize, cause: Break) {
        self.truth.pairs.clear();
        self.files[at].moves(Event::Broken(cause));
    }

    /// What is under way in tables that are left alone, or compared, need not arrive whole.
    fn paused(&mut self, at: usize) {
        let following = self.files[at].tables;
        if self.files[at].followed().is_none() {
            self.truth.pairs.clear();
        }
        let is_one = |table: &usize| {
            following[*table].paused.is_some() || following[*table].compare.is_some()
        };
        self.truth.taint(&(0..TABLES).filter(is_one).collect::<Vec<_>>());
    }

    fn happen(&mut self) {
        self.now += self.rng.range(0, 4);
        self.primary.now = self.now;
        (0..FILES).for_each(|at| self.paused(at));
        self.gap();
        let (file, table) = (self.rng.index(FILES), self.rng.index(TABLES));
        let process = self.rng.index(PROCESSES);
        match self.rng.below(200) {
            0..34 => self.script(file),
            34..64 => self.script(FILES),
            64..70 => self.has_trouble(Store::Postgres, file, table),
            70..75 => self.has_trouble(Store::Sqlite, file, table),
            75 => self.backup = Some(self.primary.clone()),
            76 if self.rng.once_in(2) => self.restore(),
            77 => self.primary_is_ahead = self.rng.once_in(2),
            78..80 => self.repair(process),
            80..82 => self.purge(process),
            82 => self.person(file),
            83 => self.processes[process].outdated = Some(Vec::new()),
            84 => self.join(process),
            85 => self.now += self.rng.range(0, 40_000),
            86 => self.look_again(process),
            87..165 => {
                let fault = self.rng.below(10);
                self.advance(process, fault == 0, fault == 1);
            }
            _ => (0..10).for_each(|_| self.advance(process, false, false)),
        }
    }

    /// Somebody changes a table on one side, or mends it.
    fn has_trouble(&mut self, side: Store, file: usize, table: usize) {
        let trouble = match side {
            Store::Postgres => &mut self.primary.trouble[table],
            Store::Sqlite => &mut self.trouble[file][table],
        };
        *trouble = !*trouble && self.rng.once_in(2);
        self.pauses += usize::from(*trouble);
        // It may be on both sides, or go over to the other.
        self.truth.taint(&[table]);
    }

    /// A process that leaves tables alone looks whether one is mended, or has another reason.
    fn look_again(&mut self, process: usize) {
        let at = self.processes[process].file;
        if self.files[at].tables.iter().any(|following| following.paused.is_some()) {
            self.processes[process].outdated = Some(Vec::new());
        }
    }

    /// A server takes over that was a copy a while ago.
    fn restore(&mut self) {
        let Some(backup) = self.backup.take() else { return };
        let timeline = self.primary.timeline + 1;
        let lost = std::mem::replace(&mut self.primary, backup);
        self.primary.timeline = timeline;
        self.primary.tokens.clear();
        self.primary.life = None;
        self.primary.now = self.now;
        self.primary.trouble = lost.trouble;
        self.primary.tracked = lost.tracked;
        let differs = |id: &rows::Id| self.primary.rows.get(id) != lost.rows.get(id);
        self.truth.excused.extend(all_ids().filter(differs));
        // What is on its way was read from the one that is gone, or goes to it.
        self.truth.pairs.clear();
        self.lost_log.extend(lost.log);
        self.lossy.iter_mut().for_each(|lossy| *lossy = true);
        self.processes.iter_mut().for_each(Process::drop_link);
    }

    /// `repair --stamps`.
    fn repair(&mut self, process: usize) {
        let Process { file, tables, met, .. } = &self.processes[process];
        if !met || tables.iter().any(|table| self.primary.trouble[*table]) {
            return;
        }
        let in_part = self.primary.has(Trap::RepairedInPart);
        let is_kept = |table: usize| tables.contains(&table) || !self.primary.tracked[table];
        if !in_part && (self.files[*file].keeps_besides(tables) || !(0..TABLES).all(is_kept)) {
            return;
        }
        self.primary_is_ahead = false;
        self.primary.set_back(tables);
        self.lossy.iter_mut().for_each(|lossy| *lossy = true);
        self.processes[process].drop_link();
    }

    fn purge(&mut self, process: usize) {
        let Process { tables, met, .. } = &self.processes[process];
        if *met && tables.iter().all(|table| !self.primary.trouble[*table]) {
            let horizon = Stamp::at(self.now - KEEP_MS, Writer::POSTGRES);
            self.primary.purge(horizon, tables);
        }
    }

    /// A person lets the comparison go on that would lose so much.
    fn person(&mut self, file: usize) {
        if matches!(self.files[file].follow, Follow::Held { .. }) {
            self.files[file].moves(Event::Approved);
        }
    }

    /// The table that is not kept yet is joined, on PostgreSQL and in one file.
    fn join(&mut self, process: usize) {
        if self.primary.tracked[OTHERS] || self.primary.trouble[OTHERS] {
            return;
        }
        self.primary.tracked[OTHERS] = true;
        self.files[self.processes[process].file].tables[OTHERS].declared = true;
        self.processes[process].outdated = Some(Vec::new());
    }

    /// Everybody exchanges until nothing is left: first with the tables that are in trouble left alone, then
    /// with all of them.
    fn heal(&mut self) {
        self.primary_is_ahead = false;
        self.settle();
        let is_sound = |table: usize| {
            let files = self.trouble.iter().all(|trouble| !trouble[table]);
            let follows = |file: &File| {
                let Following { captured, paused, .. } = file.tables[table];
                captured && paused.is_none()
            };
            files
                && self.files.iter().all(follows)
                && !self.primary.trouble[table]
                && self.primary.tracked[table]
        };
        let sound: Vec<bool> = (0..TABLES).map(is_sound).collect();
        if sound.contains(&true) {
            self.check_rest([sound[0], sound[1], sound[2]]);
        }
        self.primary.trouble = [false; TABLES];
        self.trouble = vec![[false; TABLES]; FILES];
        self.join(0);
        self.settle();
        self.check_rest([true; TABLES]);
        self.check_truth();
    }

    fn settle(&mut self) {
        for round in 0..8 {
            for process in 0..PROCESSES {
                self.now += 7_200_000;
                self.primary.now = self.now;
                self.person(self.processes[process].file);
                self.look_again(process);
                let mut idle = 0;
                for _ in 0..60 {
                    self.advance(process, false, false);
                    // A round can end because another one has to begin.
                    idle += usize::from(self.processes[process].round.is_none());
                    if idle == 5 {
                        break;
                    }
                }
                if round < 7 {
                    self.processes[process].round = None;
                }
            }
        }
    }
}
