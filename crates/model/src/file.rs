//! The model of a SQLite file: one writer, a sequence, commits that a power cut can undo.

use std::collections::{BTreeMap, BTreeSet};

use dual_database::merge::{Absorbed, Change, Tracked, Version};
use dual_database::protocol::{Follow, Lease, SetBack, Tokens};
use dual_database::stamp::{Stamp, StampClock, Writer};
use dual_database::value::Value;

use crate::process::Wall;
use crate::rules::{COLUMNS, Key, Loaded, Loose, defaults, loaded, loosen};
use crate::trap::{Trap, Traps};
use crate::truth::{Log, Truth, WriteId, restamped, stamp_ahead};

#[derive(Clone, Debug)]
pub struct Row {
    pub tracked: Tracked,
    pub seq: u64,
}

/// Everything in the file.
#[derive(Clone, Debug)]
pub struct Content {
    /// The file's identity at PostgreSQL.
    pub id: u32,
    /// The writer number of its triggers.
    pub number: Writer,
    pub rows: BTreeMap<Key, Row>,
    pub seq: u64,
    pub pushed: u64,
    pub follow: Follow,
    pub tokens: Tokens,
    pub horizon: Stamp,
    /// What was set back and is known here.
    pub set_backs: BTreeSet<u128>,
    pub log: Log,
    pub quarantine: BTreeSet<Key>,
    pub lease: Option<Lease>,
    /// Capture is not as it was installed.
    pub drifted: bool,
    pub loose: Loose,
}

impl Content {
    pub fn version(&self, key: Key) -> Option<&Version> {
        self.rows.get(&key).map(|row| &row.tracked.version)
    }

    /// What the sidecar says.
    pub fn tracked(&self, key: Key) -> Option<&Tracked> {
        self.rows.get(&key).map(|row| &row.tracked)
    }

    /// What the sidecar and the table say together.
    pub fn seen(&self, key: Key) -> Option<Tracked> {
        let known = self.tracked(key);
        match self.loose.get(&key) {
            None => known.cloned(),
            Some(None) => Some(Tracked::settled(Version::absent(COLUMNS))),
            Some(Some(row)) => Some(loaded(known, row, self.number, 0, self.horizon)),
        }
    }

    pub fn alive(&self, key: Key) -> bool {
        self.seen(key).is_some_and(|row| row.version.lives())
    }

    /// What came past the triggers is noted: absence as such, a loaded row as a birth. Says which
    /// births there were, and whose.
    pub fn mend(
        &mut self,
        which: impl Fn(Key, bool) -> bool,
        now: i64,
        traps: Traps,
    ) -> Vec<(Key, WriteId)> {
        let mut born = Vec::new();
        for (key, row) in std::mem::take(&mut self.loose) {
            if !which(key, row.is_some()) {
                self.loose.insert(key, row);
                continue;
            }
            let known = self.tracked(key);
            let dies = traps.has(Trap::AbsenceIsDelete);
            let tracked = match &row {
                Some(_) if traps.has(Trap::LoadedUnseen) => {
                    self.loose.insert(key, row);
                    continue;
                }
                Some(row) => loaded(known, row, self.number, now, self.horizon),
                None if dies => {
                    let above = known.map_or(Stamp::ZERO, |row| row.replaces(&Change::Delete));
                    let stamp = traps.captured(now, above, self.number);
                    Tracked::changed(known, &Change::Delete, stamp, self.horizon, &defaults())
                }
                None => Tracked::settled(Version::absent(COLUMNS)),
            };
            // What was refused of it is gone with it.
            self.quarantine.remove(&key);
            let is_news = row.is_some() || dies;
            self.seq += u64::from(is_news);
            self.rows.insert(key, Row { tracked, seq: if is_news { self.seq } else { 0 } });
            born.extend(row.map(|row| (key, row.write)));
        }
        born
    }

    /// The highest stamp that a change of the row here replaces.
    pub fn replaces(&self, key: Key, change: &Change, traps: Traps) -> Stamp {
        if traps.has(Trap::BirthBelowBase) {
            return change.replaces(self.version(key));
        }
        self.tracked(key).map_or(Stamp::ZERO, |row| row.replaces(change))
    }

    /// Rows that PostgreSQL may lack, those in quarantine included.
    pub fn pending(&self) -> BTreeMap<Key, Tracked> {
        let waits = |key: &Key, row: &Row| row.seq > self.pushed || self.quarantine.contains(key);
        let rows = self.rows.iter().filter(|(key, row)| waits(key, row));
        rows.filter_map(|(key, _)| Some((*key, self.seen(*key)?)))
            .filter(|(_, row)| !row.version.is_absent())
            .collect()
    }

    pub fn is_pending(&self) -> bool {
        let waits = |(key, row): (&Key, &Row)| {
            row.seq > self.pushed
                && !self.quarantine.contains(key)
                && self.seen(*key).is_some_and(|row| !row.version.is_absent())
        };
        self.rows.iter().any(waits)
    }

    /// A change made here and pending.
    pub fn change(&mut self, key: Key, change: &Change, stamp: Stamp, traps: Traps) {
        self.seq += 1;
        let seen = traps.seen_by(self.tracked(key), change);
        let unseen = self.horizon;
        let tracked = Tracked::changed(seen, change, stamp, unseen, &defaults());
        self.loose.remove(&key);
        self.rows.insert(key, Row { tracked, seq: self.seq });
    }

    /// What of a row that nobody captured is settled by a comparison: it is written here now.
    pub fn claim(&mut self, key: Key, own: &Tracked, columns: Vec<(usize, Value)>, stamp: Stamp) {
        self.seq += 1;
        let change = Change::Update(columns);
        let tracked = Tracked::changed(Some(own), &change, stamp, self.horizon, &defaults());
        self.loose.remove(&key);
        self.rows.insert(key, Row { tracked, seq: self.seq });
    }

    /// Takes in a version of PostgreSQL's; says whether it met a pending write that had not
    /// seen it.
    pub fn absorb(&mut self, key: Key, incoming: &Version, intact: bool, traps: Traps) -> bool {
        let absorbed = traps.absorb(self.seen(key).as_ref(), incoming, intact);
        self.take(key, absorbed, traps)
    }

    /// Writes what a merge has decided, with its entries in the conflict log.
    pub fn take(&mut self, key: Key, absorbed: Absorbed, traps: Traps) -> bool {
        if !traps.has(Trap::NoConflictLog) {
            self.log.extend(absorbed.conflicts.iter().map(|conflict| (key, *conflict)));
        }
        if absorbed.changed || absorbed.other_is_behind {
            let mut seq = self.rows.get(&key).map_or(0, |row| row.seq);
            let waits = seq > self.pushed || self.quarantine.contains(&key);
            if absorbed.other_is_behind && !waits {
                self.seq += 1;
                seq = self.seq;
            }
            self.loose.remove(&key);
            self.rows.insert(key, Row { tracked: absorbed.row, seq });
        }
        !absorbed.conflicts.is_empty()
    }

    /// Sets back what PostgreSQL says was of the future, once.
    pub fn set_back(&mut self, all: &[SetBack], traps: Traps, truth: &mut Truth) {
        for one in all {
            if traps.has(Trap::SetBackThereOnly) || !self.set_backs.insert(one.id) {
                continue;
            }
            for (key, row) in &mut self.rows {
                let before = row.tracked.clone();
                row.tracked = traps.set_back(one, &before, self.number);
                restamped(*key, &before.version, &row.tracked.version, truth);
            }
            self.horizon = one.horizon(self.horizon);
        }
    }

    /// Gives new stamps to what PostgreSQL refused as too far ahead of its clock.
    pub fn restamp(&mut self, primary_ms: i64, clock: &mut StampClock<Wall>, truth: &mut Truth) {
        for (key, row) in &mut self.rows {
            let before = row.tracked.version.clone();
            for (register, _, new) in row.tracked.restamp(primary_ms, clock) {
                truth.restamped(*key, register, &before, new);
            }
        }
    }
}

#[derive(Debug)]
pub struct File {
    pub now: Content,
    synced: Content,
    backup: Option<Content>,
    /// Somebody holds the write lock, or the disk is full.
    pub blocked: bool,
    /// Its machine's clock against the true time, in milliseconds.
    pub skew: i64,
    /// What it gains in a thousand.
    pub rate: i64,
}

impl File {
    pub fn new(id: u32, number: Writer, rows: BTreeMap<Key, Tracked>, skew: i64) -> File {
        let rows: BTreeMap<Key, Row> =
            rows.into_iter().map(|(key, tracked)| (key, Row { tracked, seq: 1 })).collect();
        let now = Content {
            id,
            number,
            rows,
            seq: 1,
            pushed: 0,
            follow: Follow::new(),
            tokens: Tokens::default(),
            horizon: Stamp::ZERO,
            set_backs: BTreeSet::new(),
            log: Log::new(),
            quarantine: BTreeSet::new(),
            lease: None,
            drifted: false,
            loose: Loose::new(),
        };
        File { synced: now.clone(), backup: None, now, blocked: false, skew, rate: 0 }
    }

    /// Commits: with `synchronous=FULL` everything so far survives a power cut.
    pub fn commit(&mut self, content: Content, full: bool) {
        self.now = content;
        if full {
            self.synced = self.now.clone();
        }
    }

    pub fn power_cut(&mut self) {
        self.now = self.synced.clone();
    }

    pub fn back_up(&mut self) {
        self.backup = Some(self.now.clone());
    }

    pub fn restore(&mut self) {
        if let Some(backup) = self.backup.clone() {
            self.commit(backup, true);
        }
    }

    /// A file manager puts a copy of another file here.
    pub fn replace_by(&mut self, other: &Content) {
        self.commit(other.clone(), true);
    }

    /// A change past the triggers, which are gone.
    pub fn drift(&mut self, key: Key, column: usize, value: &Value, truth: &mut Truth) {
        let mut content = self.now.clone();
        let there = content.alive(key) && !content.loose.contains_key(&key);
        let Some(row) = content.rows.get_mut(&key).filter(|_| there) else { return };
        if !self.blocked {
            truth.drifted(key, column, &mut row.tracked.version, value);
            content.drifted = true;
            self.commit(content, true);
        }
    }

    /// Somebody writes a stamp of the future into the sidecar, or the purge horizon.
    pub fn put_ahead(
        &mut self,
        place: Option<(Key, Option<usize>)>,
        stamp: Stamp,
        truth: &mut Truth,
    ) {
        let mut content = self.now.clone();
        match place {
            _ if self.blocked => return,
            None => content.horizon = stamp,
            Some((key, column)) => {
                if let Some(row) = content.rows.get_mut(&key) {
                    stamp_ahead(key, &mut row.tracked.version, column, stamp, truth);
                }
            }
        }
        self.commit(content, true);
    }

    /// Rows are taken away or come past the triggers.
    pub fn loosen(&mut self, rows: &[(Key, Option<Loaded>)], told: bool, truth: &mut Truth) {
        if self.blocked {
            return;
        }
        let mut content = self.now.clone();
        for (key, row) in rows {
            if content.alive(*key) != row.is_some() {
                let known = content.rows.get_mut(key).map(|row| &mut row.tracked.version);
                loosen(&mut content.loose, known, *key, row.as_ref(), truth);
            }
        }
        content.drifted |= told;
        self.commit(content, true);
    }

    /// A transaction of an outside client, with the file's triggers.
    pub fn outside(
        &mut self,
        now: i64,
        changes: &[(Key, Change)],
        traps: Traps,
        truth: &mut Truth,
    ) {
        if self.blocked {
            return;
        }
        let mut content = self.now.clone();
        let write = truth.new_write();
        for (key, change) in changes {
            let alive = content.alive(*key);
            let loaded = matches!(content.loose.get(key), Some(Some(_)));
            if (!alive && !matches!(change, Change::Insert(_))) || loaded {
                return;
            }
            let replaces = content.replaces(*key, change, traps);
            let stamp = traps.captured(now + self.skew, replaces, content.number);
            content.change(*key, change, stamp, traps);
        }
        for (key, _) in changes {
            if let Some(after) = content.version(*key) {
                truth.executed(write, *key, self.now.version(*key), after);
            }
        }
        truth.acknowledge(write);
        self.commit(content, true);
    }
}
