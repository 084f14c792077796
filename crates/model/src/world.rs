//! The world of one history: PostgreSQL, the files, the processes, the time.

use std::collections::{BTreeMap, BTreeSet};

use dual_database::merge::{Bases, Change, Register, Tracked, Version};
use dual_database::protocol::{Break, Follow};
use dual_database::stamp::{Stamp, Writer};
use dual_database::value::Value;

use crate::file::File;
use crate::history::{Event, Fault, PROCESSES};
use crate::primary::Primary;
use crate::process::Process;
use crate::rng::Rng;
use crate::rules::{BANK_A, BANK_B, Key, Loaded, USERS, balance, defaults};
use crate::trap::Traps;
use crate::truth::Truth;

pub const FILES: usize = PROCESSES / 2;
const START_MS: i64 = 1_700_000_000_000;
pub const RETENTION_MS: i64 = 300;

pub struct World {
    pub traps: Traps,
    pub now: i64,
    pub primary: Primary,
    pub files: Vec<File>,
    pub processes: Vec<Process>,
    pub truth: Truth,
    /// Banks whose transfers have met a conflict: their sums prove nothing any more.
    pub tainted: BTreeSet<Key>,
    pub violation: Option<String>,
    /// PostgreSQL has lost transactions.
    pub lossy: bool,
    /// Rows that somebody has taken away past the triggers: of a life that went with them nobody
    /// can tell that it had ended an earlier one.
    pub removed: BTreeSet<Key>,
    /// Rows of which somebody has written a stamp into a sidecar; whether into a file's. What is
    /// settled there was never at PostgreSQL under that stamp: it wins over what is there without a word,
    /// as anything that somebody writes into the file.
    pub forged: BTreeSet<(Key, bool)>,
    /// Something has happened after which a file may have to compare everything.
    pub disturbed: bool,
    /// Somebody has come past the triggers of a side.
    pub passed: bool,
    pub writers: u16,
    pub identities: u32,
    pub breaks: usize,
    pub held: usize,
    pub polls: usize,
    pub sums: usize,
    tokens: Rng,
}

fn adopted(values: [Option<i64>; 3], stamp: Stamp) -> Version {
    let (defaults, value) =
        (defaults(), |value: Option<i64>| value.map_or(Value::Null, Value::Int));
    let columns = values.into_iter().enumerate().map(|(at, v)| {
        let value = value(v);
        let known = !defaults.says_nothing(at, &value);
        Register { stamp: if known { stamp } else { Stamp::ZERO }, value }
    });
    Version { live: Register { stamp, value: true }, columns: columns.collect() }
}

impl World {
    /// The world in which a seed's history begins: rows on both sides, not yet introduced.
    pub fn new(seed: u64, traps: Traps) -> World {
        let mut rng = Rng::new(seed ^ 0x5eed);
        let mut rows = BTreeMap::new();
        for key in BANK_A.into_iter().chain(BANK_B) {
            rows.insert(key, adopted([Some(100), None, Some(-1)], Stamp::ADOPTED_POSTGRES));
        }
        for key in 0..rng.below(4) {
            let row = adopted([Some(10), Some(20), Some(-1)], Stamp::ADOPTED_POSTGRES);
            rows.insert(Key::try_from(key).unwrap_or_default(), row);
        }
        let mut writers = 0;
        let mut writer = || {
            writers += 1;
            Writer::new(writers).unwrap_or(Writer::MAX)
        };
        let files: Vec<File> = (0..FILES)
            .map(|file| {
                let mut rows = BTreeMap::new();
                for key in 0..rng.below(3) {
                    let version = adopted([Some(11), None, Some(-1)], Stamp::ADOPTED_SQLITE);
                    let base = Some(Stamp::ZERO);
                    let bases = Bases { live: base, columns: vec![base; 3] };
                    let key = Key::try_from(key).unwrap_or_default();
                    rows.insert(key, Tracked { version, bases });
                }
                let id = u32::try_from(file + 1).unwrap_or_default();
                File::new(id, writer(), rows, rng.range(-20, 20))
            })
            .collect();
        let processes = (0..PROCESSES).map(|index| Process::new(index % FILES, writer())).collect();
        let mut world = World {
            traps,
            now: START_MS,
            primary: Primary::new(rows, traps),
            files,
            processes,
            truth: Truth::default(),
            tainted: BTreeSet::new(),
            violation: None,
            lossy: false,
            removed: BTreeSet::new(),
            forged: BTreeSet::new(),
            disturbed: false,
            passed: false,
            writers,
            identities: 0,
            breaks: 0,
            held: 0,
            polls: 0,
            sums: 0,
            tokens: Rng::new(seed),
        };
        // Nobody was told of them as written, but they can be replaced, and repeat a value.
        let there = world.primary.data.rows.iter().map(|(key, row)| (*key, &row.version));
        let here = world.files.iter().flat_map(|file| &file.now.rows);
        for (key, version) in there.chain(here.map(|(key, row)| (*key, &row.tracked.version))) {
            let write = world.truth.new_write();
            world.truth.executed(write, key, None, version);
        }
        // Half of the histories begin with everything introduced.
        if rng.once_in(2) {
            for process in 0..FILES {
                world.set_clocks();
                (0..3).for_each(|_| world.round(process));
            }
        }
        world
    }

    pub fn violate(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    pub fn fresh_token(&mut self) -> u64 {
        self.tokens.next()
    }

    pub fn taint(&mut self, key: Key, conflict: bool) {
        if conflict && let Some(bank) = bank_of(key) {
            self.tainted.insert(bank);
        }
    }

    fn taint_all(&mut self) {
        self.lossy = true;
        self.disturbed = true;
        self.tainted.extend([BANK_A[0], BANK_B[0]]);
    }

    /// Time passes, for each clock in its own way.
    pub fn pass(&mut self, ms: i64) {
        self.now += ms;
        self.files.iter_mut().for_each(|file| file.skew += ms * file.rate / 1_000);
    }

    fn set_clocks(&mut self) {
        self.primary.now = self.now + self.primary.skew;
        for process in &mut self.processes {
            let skew = self.files[process.file].skew;
            process.clock.clock_mut().0 = self.now + skew;
        }
    }

    /// Steps of the synchroniser until its round, and the one that it calls for, end.
    pub fn round(&mut self, process: usize) {
        for _ in 0..16 {
            self.advance(process, Fault::None);
            if self.processes[process].round.is_none() {
                break;
            }
        }
    }

    /// Does something that destroys a store's state, and excuses what had no other trace.
    fn destroy(&mut self, disk: Option<usize>, how: impl FnOnce(&mut World)) {
        let (before, logged) = (self.accounted(), self.logged());
        let buried = self.primary.data.buried.clone();
        how(self);
        self.truth.excuse_buried(buried.difference(&self.primary.data.buried).copied());
        let (after, still_logged) = (self.accounted(), self.logged());
        self.truth.excuse(before.difference(&after).copied(), disk);
        self.truth.excuse(logged.difference(&still_logged).copied(), disk);
        // Nothing that follows happens in the same millisecond as what was lost.
        self.pass(50);
    }

    pub fn accounted(&self) -> std::collections::HashSet<usize> {
        let data = &self.primary.data;
        let there = data.rows.iter().filter(|(key, _)| !data.loose.contains_key(key));
        let there = there.map(|(key, row)| (*key, &row.version));
        let here = self.files.iter().flat_map(|file| {
            file.now.rows.iter().filter(|(key, _)| !file.now.loose.contains_key(key))
        });
        let here = here.map(|(key, row)| (*key, &row.tracked.version));
        let logs = self.files.iter().map(|file| &file.now.log);
        let logs = logs.chain(std::iter::once(&self.primary.data.log));
        self.truth.accounted(&self.primary.data.buried, there.chain(here), logs)
    }

    /// The writes that are in a conflict log as losers, and what they had replaced.
    fn logged(&self) -> std::collections::HashSet<usize> {
        let logs = self.files.iter().map(|file| &file.now.log).chain([&self.primary.data.log]);
        let losers = logs.flatten().map(|(key, entry)| (*key, entry.register, entry.loser));
        let losers = losers.flat_map(|(key, register, stamp)| self.truth.of(key, register, stamp));
        self.truth.superseded(losers)
    }

    fn kill_all_of(&mut self, file: usize) {
        self.processes.iter_mut().filter(|process| process.file == file).for_each(Process::kill);
    }

    pub fn start(&mut self, index: usize) {
        let writer = self.fresh_writer();
        if let Some(process) = self.processes.get_mut(index).filter(|process| !process.alive) {
            *process = Process::new(process.file, writer);
        }
        self.set_clocks();
    }

    /// Lets one event happen.
    pub fn happen(&mut self, event: &Event) {
        self.set_clocks();
        self.goes_on(event);
        match event {
            Event::Wait(ms) => self.pass(*ms),
            Event::Call { process, key, change, fault } => {
                self.call(*process, *key, change, *fault)
            }
            Event::Transfer { process, from, amount, fault } => {
                self.transfer(*process, *from, *amount, *fault);
            }
            Event::Answer { process } => self.answer(*process),
            Event::Read { process, key } => self.read(*process, *key),
            Event::Advance { process, fault } => self.advance(*process, *fault),
            Event::Round { process } => self.round(*process),
            Event::Outside { slot, key, change } => {
                self.primary.outside(*slot, *key, change, &mut self.truth);
            }
            Event::OutsideTransfer { slot, from, amount } => {
                let (from, to) = (BANK_A[from % 3], BANK_A[(from + 1) % 3]);
                let read =
                    |key| self.primary.read_locked(Some(*slot), key).map(|row| balance(&row));
                if let (Some(less), Some(more)) = (read(from), read(to)) {
                    for (key, balance) in [(from, less - amount), (to, more + amount)] {
                        let change = Change::Update(vec![(0, Value::Int(balance))]);
                        self.primary.outside(*slot, key, &change, &mut self.truth);
                    }
                }
            }
            Event::OutsideEnd { slot, commit } => {
                self.primary.end(*slot, *commit, &mut self.truth);
            }
            Event::Truncate => self.primary.truncate(&mut self.truth),
            Event::Script { file, key, change } => {
                let file = &mut self.files[*file];
                file.outside(self.now, &[(*key, change.clone())], self.traps, &mut self.truth);
            }
            Event::ScriptTransfer { from, amount } => self.script_transfer(*from, *amount),
            Event::RunLate => self.primary.run_late(&mut self.truth),
            Event::Purge => {
                let horizon = Stamp::at(self.primary.now - RETENTION_MS, Writer::POSTGRES);
                self.primary.purge(horizon, &self.truth);
            }
            Event::Kill { process } => self.processes[*process].kill(),
            Event::Start { process } => self.start(*process),
            Event::Stop { process, stop } => self.processes[*process].stopped = *stop,
            Event::Crash { draw } => {
                self.disturbed = true;
                self.primary.crash(*draw);
            }
            Event::Up(up) => self.primary.up = *up,
            Event::Replicate => self.primary.replicate(),
            Event::FailOver => {
                self.taint_all();
                self.destroy(None, |world| world.primary.fail_over());
            }
            Event::BackUp => self.primary.back_up(),
            Event::Restore { kind } => {
                self.taint_all();
                // Of two copies of one file one would accept the token in a copy of the server, and
                // hide from the other that it is one: left out.
                let ids: BTreeSet<u32> = self.files.iter().map(|file| file.now.id).collect();
                let kind = if ids.len() < FILES { kind % 4 } else { *kind };
                self.destroy(None, |world| world.primary.restore(kind));
            }
            Event::Block { file, block } => self.files[*file].blocked = *block,
            Event::PowerCut { file } => {
                self.disturbed = true;
                self.kill_all_of(*file);
                self.destroy(Some(*file), |world| world.files[*file].power_cut());
            }
            Event::FileBackUp { file } => self.files[*file].back_up(),
            Event::FileRestore { file } => {
                self.disturbed = true;
                self.kill_all_of(*file);
                self.destroy(None, |world| world.files[*file].restore());
                self.truth.is_replaced(*file);
            }
            Event::FileCopy { from, to } => {
                self.disturbed = true;
                self.kill_all_of(*to);
                let content = self.files[*from].now.clone();
                self.destroy(None, |world| world.files[*to].replace_by(&content));
                self.truth.is_replaced(*to);
            }
            Event::ClockJump { file, skew } => self.files[*file].skew = *skew,
            Event::ClockDrift { file, rate } => self.files[*file].rate = *rate,
            Event::PrimaryClockJump { skew } => self.primary.skew = *skew,
            Event::SchemaDrift { file: None, key, column, value } => {
                (self.disturbed, self.passed) = (true, true);
                self.primary.drift(*key, *column, value, &mut self.truth);
            }
            Event::SchemaDrift { file: Some(file), key, column, value } => {
                self.passed = true;
                self.files[*file].drift(*key, *column, value, &mut self.truth);
            }
            Event::Remove { file, key, told } => self.loosen(*file, &[(*key, None)], *told),
            Event::Load { file, key, values, told } => {
                let row = Loaded { write: self.truth.new_write(), values: values.clone() };
                self.loosen(*file, &[(*key, Some(row))], *told);
            }
            Event::Replace { file } => {
                let rows: Vec<_> = (0..USERS).map(|key| (key, None)).collect();
                self.loosen(*file, &rows, true);
            }
            Event::Verify { process } => self.verify(*process),
            Event::Cancel { key } => self.primary.cancels = *key,
            Event::Ahead { file, key, column, ms } => {
                self.put_ahead(*file, Some((*key, *column)), *ms);
            }
            Event::HorizonAhead { file, ms } => self.put_ahead(*file, None, *ms),
            Event::SetBack => self.set_back(),
        }
        self.check_always();
    }

    fn put_ahead(&mut self, file: Option<usize>, place: Option<(Key, Option<usize>)>, ms: i64) {
        self.forged.extend(place.map(|(key, _)| (key, file.is_some())));
        match file {
            None => self.primary.put_ahead(place, ms, &mut self.truth),
            Some(file) => {
                let stamp = Stamp::at(self.primary.now + ms, Writer::POSTGRES);
                self.files[file].put_ahead(place, stamp, &mut self.truth);
            }
        }
    }

    /// A person sets back what lies in the future.
    pub fn set_back(&mut self) {
        let id = self.fresh_token().into();
        self.disturbed |= self.primary.set_back(id, &mut self.truth);
    }

    /// Rows are taken away or loaded past the triggers of one side. What only that side had of them
    /// is gone with them.
    fn loosen(&mut self, file: Option<usize>, rows: &[(Key, Option<Loaded>)], told: bool) {
        self.removed.extend(rows.iter().filter(|(_, row)| row.is_none()).map(|(key, _)| *key));
        self.destroy(None, |world| match file {
            Some(file) => world.files[file].loosen(rows, told, &mut world.truth),
            None => world.primary.loosen(rows, told, &mut world.truth),
        });
        self.passed = true;
        // A table that is prepared anew is another one for every file.
        self.disturbed |= file.is_none();
    }

    /// A process compares the values of both sides: what differs although everything was exchanged
    /// came past the triggers. It is no way for the synchroniser to find what itself has missed.
    pub fn verify(&mut self, index: usize) {
        self.round(index);
        let process = &self.processes[index];
        let file = process.file;
        let content = &self.files[file].now;
        let Follow::Following { epoch, snapshot } = &content.follow else { return };
        let idle = process.runs()
            && process.round.is_none()
            && process.connection == Some(self.primary.incarnation)
            && self.primary.up
            && !self.files[file].blocked
            && !content.is_pending()
            && self.primary.epoch(content.id).is_server_of(epoch)
            && !self.primary.is_ahead_of(snapshot)
            && self.primary.data.purged.is_none_or(|txid| snapshot.has_passed(txid));
        if !idle || self.equal(file) {
            return;
        }
        if !self.passed {
            self.violate(format!("file {file} differs after everything was exchanged"));
        }
        let mut content = self.files[file].now.clone();
        self.broken(&mut content, Break::CaptureGap);
        self.files[file].commit(content, true);
    }

    /// Whether every row that is not set aside is the same on both sides.
    fn equal(&self, file: usize) -> bool {
        let content = &self.files[file].now;
        let loose = content.loose.keys().chain(self.primary.data.loose.keys());
        let mut keys = content.rows.keys().chain(self.primary.data.rows.keys()).chain(loose);
        keys.all(|key| {
            let here = content.seen(*key).map(|row| row.version).filter(Version::lives);
            let there = self.primary.seen(*key).filter(Version::lives);
            let values = |row: &Option<Version>| {
                row.as_ref().map(|row| row.columns.iter().map(|c| c.value.clone()).collect())
            };
            let (here, there): (Option<Vec<Value>>, Option<Vec<Value>>) =
                (values(&here), values(&there));
            // A delete can be set aside as well as a row.
            let set_aside = content.quarantine.contains(key)
                && content.version(*key).is_some_and(|own| own.lives() == here.is_some());
            here == there || set_aside
        })
    }

    /// What every store has of a row, in lines.
    pub fn shown(&self, key: Key) -> String {
        let version = |version: &Version| {
            let live = format!("{}@{}", version.live.value, version.live.stamp.raw());
            let columns =
                version.columns.iter().map(|c| format!("{:?}@{}", c.value, c.stamp.raw()));
            std::iter::once(live).chain(columns).collect::<Vec<_>>().join(" ")
        };
        let data = &self.primary.data;
        let there = self.primary.version(key).map(version);
        let mut lines = vec![format!("    PostgreSQL {there:?} loose {:?}", data.loose.get(&key))];
        lines.extend(self.files.iter().enumerate().map(|(at, file)| {
            let row = file.now.rows.get(&key).map(|row| {
                format!("{} {:?} seq {}", version(&row.tracked.version), row.tracked.bases, row.seq)
            });
            let follow = match &file.now.follow {
                Follow::Following { .. } => "follows".to_owned(),
                Follow::Reconciling { cause, .. } => format!("{cause:?}"),
                Follow::Held { .. } => "held".to_owned(),
            };
            let loose = file.now.loose.get(&key);
            format!("    file {at} {follow} pushed {} {row:?} loose {loose:?}", file.now.pushed)
        }));
        lines.join("\n")
    }

    fn goes_on(&mut self, event: &Event) {
        let connected =
            |process: &usize| self.processes[*process].connection == Some(self.primary.incarnation);
        let who = match event {
            Event::Call { process, .. }
            | Event::Transfer { process, .. }
            | Event::Answer { process } => Some(*process),
            Event::Advance { process, .. } | Event::Round { process } if connected(process) => {
                Some(*process)
            }
            _ => None,
        };
        if let Some(process) = who {
            let file = self.processes[process].file;
            self.primary.goes_on(self.files[file].now.id);
        }
    }

    fn script_transfer(&mut self, from: usize, amount: i64) {
        let Some(file) = self.files.first_mut() else { return };
        let (from, to) = (BANK_B[from % 3], BANK_B[(from + 1) % 3]);
        let read = |key| file.now.version(key).map(balance);
        let (Some(less), Some(more)) = (read(from), read(to)) else { return };
        let set = |balance: i64| Change::Update(vec![(0, Value::Int(balance))]);
        let changes = [(from, set(less - amount)), (to, set(more + amount))];
        file.outside(self.now, &changes, self.traps, &mut self.truth);
    }
}

pub fn bank_of(key: Key) -> Option<Key> {
    [BANK_A, BANK_B].into_iter().find(|bank| bank.contains(&key)).map(|bank| bank[0])
}
