//! The promises: what must hold at every moment, and after healing and quiet.

use std::collections::{BTreeMap, BTreeSet};

use dual_database::merge::{Change, Conflict, RegisterId, Version};
use dual_database::protocol::{Event as Cursor, Follow};
use dual_database::value::Value;

use crate::history::PROCESSES;
use crate::rules::{BANK_A, BANK_B, Key, Loose, TOTAL, USERS, balance, is_bad};
use crate::truth::registers;
use crate::world::{FILES, World};

impl World {
    /// What must hold after every event.
    pub fn check_always(&mut self) {
        for bank in [BANK_A, BANK_B] {
            if self.tainted.contains(&bank[0]) {
                continue;
            }
            self.sums += 1;
            let there = bank.map(|key| self.primary.version(key).map(balance));
            self.check_sum("PostgreSQL", bank[0], there);
            for file in 0..FILES {
                let here = bank.map(|key| self.files[file].now.version(key).map(balance));
                self.check_sum("a file", bank[0], here);
            }
        }
    }

    fn check_sum(&mut self, place: &str, bank: Key, balances: [Option<i64>; 3]) {
        // Before the first copy a file has none of the accounts.
        let sum: i64 = balances.iter().flatten().sum();
        let known = balances.iter().flatten().count();
        if (known, sum) != (3, TOTAL) && known != 0 {
            self.violate(format!("half of a transfer shows in {place}: bank {bank} holds {sum}"));
        }
    }

    /// Repairs everything, ends everything, and lets the processes work until it is quiet.
    /// Nobody writes any more.
    pub fn heal(&mut self, accept_bad: bool) {
        self.primary.up = true;
        self.primary.accepts_bad = accept_bad;
        self.primary.cancels = None;
        for slot in 0..3 {
            self.primary.end(slot, true, &mut self.truth);
        }
        for file in &mut self.files {
            file.blocked = false;
        }
        for process in 0..PROCESSES {
            self.processes[process].stopped = false;
            self.answer(process);
            self.answer(process);
        }
        self.primary.run_late(&mut self.truth);
        let silent: Vec<usize> = (0..FILES)
            .filter(|file| !self.processes.iter().any(|p| p.alive && p.file == *file))
            .collect();
        silent.into_iter().for_each(|file| self.start(file));
        // Who compares after stamps were set back may have to wait until PostgreSQL's clock has passed
        // what was stamped while it was ahead.
        let follows = |world: &World| {
            world.files.iter().all(|file| matches!(file.now.follow, Follow::Following { .. }))
        };
        for turn in 0..40 {
            if turn >= 12 && (self.primary.data.set_backs.is_empty() || follows(self)) {
                break;
            }
            self.pass(5_000);
            self.work();
            self.approve();
            (0..PROCESSES).for_each(|process| self.verify(process));
            // Once is enough, whoever was away.
            if turn == 2 && self.ahead().is_some() {
                self.set_back();
            }
        }
    }

    fn work(&mut self) {
        for index in 0..PROCESSES {
            let event = crate::history::Event::Round { process: index };
            self.happen(&event);
            self.happen(&event);
        }
    }

    /// Where something lies in the future, by PostgreSQL's clock.
    fn ahead(&self) -> Option<String> {
        let now = self.primary.now;
        let is_ahead = |version: &Version| registers(version).any(|(_, s)| s.is_ahead_of(now));
        if self.primary.is_any_ahead() {
            return Some("PostgreSQL".to_owned());
        }
        let mut files = self.files.iter().map(|file| &file.now).enumerate();
        let here = files.find(|(_, content)| {
            let mut rows = content.rows.values();
            content.horizon.is_ahead_of(now) || rows.any(|row| is_ahead(&row.tracked.version))
        });
        here.map(|(file, _)| format!("file {file}"))
    }

    /// After stamps were set back nothing lies in the future, and whoever writes wins.
    fn check_set_back(&mut self) {
        if let Some(place) = self.ahead() {
            return self.violate(format!("a stamp of the future stands in {place}"));
        }
        if self.primary.data.set_backs.is_empty() {
            return;
        }
        let aside = |key: &Key| self.files.iter().any(|file| file.now.quarantine.contains(key));
        let lives = |key: &Key| self.primary.seen(*key).is_some_and(|row| row.lives());
        let keys: Vec<Key> = (0..USERS).filter(|key| lives(key) && !aside(key)).collect();
        let fresh = Value::Int(9_999_999);
        for key in &keys {
            let change = Change::Update(vec![(0, fresh.clone())]);
            self.primary.outside(0, *key, &change, &mut self.truth);
            self.primary.end(0, true, &mut self.truth);
        }
        (0..3).for_each(|_| self.work());
        for key in keys {
            let is_there = |version: Option<&Version>| {
                version.is_some_and(|row| row.columns.first().is_some_and(|c| c.value == fresh))
            };
            let here = self.files.iter().all(|file| is_there(file.now.version(key)));
            if !here || !is_there(self.primary.version(key)) {
                self.violate(format!("key {key}: a write after the repair does not win"));
            }
        }
    }

    /// A person looks at what is held and lets the newest win.
    fn approve(&mut self) {
        for file in 0..FILES {
            let mut content = self.files[file].now.clone();
            if matches!(content.follow, Follow::Held { .. }) {
                self.follow(&mut content, Cursor::Approved);
                self.files[file].commit(content, true);
            }
        }
    }

    /// What must hold after healing and quiet.
    pub fn check_healed(&mut self) {
        self.check_always();
        for file in 0..FILES {
            self.check_equal(file);
        }
        let loose =
            |loose: &Loose| loose.iter().find(|(_, values)| values.is_some()).map(|(key, _)| *key);
        let here = self.files.iter().find_map(|file| loose(&file.now.loose));
        if let Some(key) = here.or_else(|| loose(&self.primary.data.loose)) {
            self.violate(format!("key {key}: nobody has heard of what came past the triggers"));
        }
        if self.violation.is_some() {
            return;
        }
        let rows: BTreeMap<Key, &Version> =
            self.primary.data.rows.iter().map(|(key, row)| (*key, &row.version)).collect();
        let logs = || self.files.iter().map(|file| &file.now.log).chain([&self.primary.data.log]);
        // A birth that may have been deleted and purged meanwhile is given, and logged as such.
        let raised = |key: Key, stamp| {
            let entry = Conflict { register: RegisterId::Live, winner: stamp, loser: stamp };
            let told = self.primary.data.told.contains(&(key, stamp));
            told || logs().any(|log| log.contains(&(key, entry)))
        };
        let set_aside = self.files.iter().flat_map(|file| {
            let keys = file.now.quarantine.iter();
            keys.filter_map(|key| Some((*key, file.now.version(*key)?)))
        });
        let excused = self.truth.accounted(&BTreeSet::new(), set_aside, logs());
        let forged = |key: Key, here: bool| {
            self.forged.contains(&(key, true)) || (!here && self.forged.contains(&(key, false)))
        };
        let told: BTreeMap<Key, &Version> = rows
            .into_iter()
            .filter(|(key, _)| !self.removed.contains(key) && !forged(*key, false))
            .collect();
        let undead = self.truth.undead(&told, !self.lossy, &excused, raised);
        let accounted = self.accounted();
        let lost = self.truth.lost(&accounted, |op| forged(op.key, true)).map(|op| {
            let (key, register, write) = (op.key, op.register, op.write);
            format!("key {key}: the acknowledged write {write} of {register:?} is lost")
        });
        if let Some(what) = lost.or(undead) {
            self.violate(what);
        }
        self.check_redelivery();
        self.check_set_back();
    }

    fn check_equal(&mut self, file: usize) {
        let content = &self.files[file].now;
        let mut wrong = None;
        if !matches!(content.follow, Follow::Following { .. }) {
            wrong = Some(format!("file {file} is not following: {:?}", content.follow));
        }
        if content.is_pending() {
            wrong = Some(format!("something is still pending in file {file}"));
        }
        let keys = content.rows.keys().chain(self.primary.data.rows.keys());
        for key in keys {
            let here = content.seen(*key).map(|row| row.version).filter(Version::lives);
            let there = self.primary.seen(*key).filter(Version::lives);
            let set_aside = content.quarantine.contains(key);
            if set_aside && !here.as_ref().is_some_and(is_bad) {
                wrong = Some(format!("key {key} of file {file} stays in quarantine"));
            }
            if here != there && !set_aside {
                wrong = Some(format!("key {key} differs: file {file} {here:?}, there {there:?}"));
            }
        }
        if let Some(what) = wrong {
            self.violate(what);
        }
    }

    /// Delivering everything once more changes nothing.
    fn check_redelivery(&mut self) {
        for file in 0..FILES {
            let mut content = self.files[file].now.clone();
            let before = (content.rows.len(), content.seq, content.log.len());
            // Of a row that was taken away on both sides nothing is delivered.
            let gone = self.files[file].now.loose.clone();
            let rows = self.primary.data.rows.iter().filter(|(key, _)| !gone.contains_key(key));
            for (key, row) in rows {
                let same = content.version(*key).cloned();
                content.absorb(*key, &row.version, true, self.traps);
                // A tombstone that was purged here only is put back; that is no change.
                if same.is_some_and(|same| Some(&same) != content.version(*key)) {
                    self.violation.get_or_insert(format!("key {key}: delivered twice, changed"));
                }
            }
            if (content.seq, content.log.len()) != (before.1, before.2) {
                self.violate(format!("file {file}: a repeated delivery was taken for news"));
            }
        }
    }
}
