//! The model of a SQLite file: one writer, a sequence, commits that a power cut can undo.

use std::collections::{BTreeMap, BTreeSet};

use dual_database::merge::{Absorbed, Change, Tracked, Version};
use dual_database::stamp::{Stamp, StampClock, Writer};
use dual_database::sync::{Follow, Lease, Tokens};
use dual_database::value::Value;

use crate::process::Wall;
use crate::rules::{Key, defaults};
use crate::trap::{Trap, Traps};
use crate::truth::{Log, Truth};

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
    pub log: Log,
    pub quarantine: BTreeSet<Key>,
    pub lease: Option<Lease>,
    /// Capture is not as it was installed.
    pub drifted: bool,
}

impl Content {
    pub fn version(&self, key: Key) -> Option<&Version> {
        self.rows.get(&key).map(|row| &row.tracked.version)
    }

    pub fn tracked(&self, key: Key) -> Option<&Tracked> {
        self.rows.get(&key).map(|row| &row.tracked)
    }

    pub fn alive(&self, key: Key) -> bool {
        self.version(key).is_some_and(|version| version.live.value)
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
        rows.map(|(key, row)| (*key, row.tracked.clone())).collect()
    }

    pub fn is_pending(&self) -> bool {
        let waits =
            |(key, row): (&Key, &Row)| row.seq > self.pushed && !self.quarantine.contains(key);
        self.rows.iter().any(waits)
    }

    /// A change made here and pending.
    pub fn change(&mut self, key: Key, change: &Change, stamp: Stamp, traps: Traps) {
        self.seq += 1;
        let seen = traps.seen_by(self.tracked(key), change);
        let unseen = self.horizon;
        let tracked = Tracked::changed(seen, change, stamp, unseen, &defaults());
        self.rows.insert(key, Row { tracked, seq: self.seq });
    }

    /// Takes in a version of PostgreSQL's; says whether it met a pending write that had not
    /// seen it.
    pub fn absorb(&mut self, key: Key, incoming: &Version, intact: bool, traps: Traps) -> bool {
        let absorbed = traps.absorb(self.tracked(key), incoming, intact);
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
            self.rows.insert(key, Row { tracked: absorbed.row, seq });
        }
        !absorbed.conflicts.is_empty()
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
            log: Log::new(),
            quarantine: BTreeSet::new(),
            lease: None,
            drifted: false,
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
        let Some(row) = content.rows.get_mut(&key).filter(|row| row.tracked.version.live.value)
        else {
            return;
        };
        if !self.blocked {
            truth.drifted(key, column, &mut row.tracked.version, value);
            content.drifted = true;
            self.commit(content, true);
        }
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
            if !alive && !matches!(change, Change::Insert(_)) {
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
