//! The model of PostgreSQL: transactions in progress, row locks, snapshots, crashes that hand
//! out transaction ids again, restores.

mod ahead;
mod failure;
mod outside;

use std::collections::{BTreeMap, BTreeSet};

use dual_database::merge::{
    Admission, Bases, Change, Conflict, Tracked, Version, admit, conflicts, overwritten, written,
};
use dual_database::protocol::reconcile::{Unknown, given, is_nobodys, risen, unknown};
use dual_database::protocol::{Epoch, SetBack, Snapshot, Token};
use dual_database::stamp::{Stamp, Writer};
use dual_database::value::Value;

use crate::rules::{COLUMNS, Key, Loose, defaults, is_bad, loaded};
use crate::trap::{Trap, Traps};
use crate::truth::{Log, OpId, Truth, WriteId};

/// No file has this number.
pub const LIFE: u32 = 0;

#[derive(Clone, Debug)]
pub struct Row {
    pub version: Version,
    pub txid: u64,
    origin: u16,
}

/// What commits and backups hold.
#[derive(Clone, Debug, Default)]
pub struct Durable {
    pub rows: BTreeMap<Key, Row>,
    pub horizon: Stamp,
    pub purged: Option<u64>,
    pub log: Log,
    /// Births of rows that a file had before it met anybody, with the stamps that they were raised
    /// to: the plan of `init` has told a person of them. (Another file's copy of such a row may have
    /// been deleted and purged.)
    pub told: BTreeSet<(Key, Stamp)>,
    /// For the check: the deletes whose tombstones this server has purged. A restore to before
    /// the purge forgets them with everything else.
    pub buried: BTreeSet<OpId>,
    /// What a person has set back.
    pub set_backs: Vec<SetBack>,
    last_committed: u64,
    /// Capture is not as it was installed.
    pub drifted: bool,
    pub loose: Loose,
}

#[derive(Clone, Debug, Default)]
struct Transaction {
    overlay: BTreeMap<Key, Version>,
    write: WriteId,
}

/// A statement whose caller has gone.
#[derive(Clone, Debug)]
pub struct Late {
    pub write: WriteId,
    pub changes: Vec<(Key, Change)>,
    pub proposal: Stamp,
    pub writer: Writer,
}

/// Rows in the state before and after a write.
pub type Rows = Vec<(Key, Option<Version>, Version)>;

/// What a library's write has done.
#[derive(Clone, Debug)]
pub struct Answer {
    pub rows: Rows,
    pub txid: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Locked,
    Stale(Stamp),
    Ahead,
    /// The row exists, or does not: an answer to the caller.
    Precondition,
    /// The row was taken away past the triggers: no answer to anybody.
    Absent,
    /// It is not the server that the file follows any more.
    OtherEpoch,
}

/// What one poll has read.
#[derive(Clone, Debug)]
pub struct Poll {
    pub epoch: Epoch,
    pub snapshot: Snapshot,
    pub now: i64,
    pub horizon: Stamp,
    pub purged: Option<u64>,
    pub rows: BTreeMap<Key, Row>,
    pub drifted: bool,
}

/// What one pushed batch did.
#[derive(Clone, Debug, Default)]
pub struct Pushed {
    /// Rows whose tombstones may have been purged.
    pub gone: Vec<Key>,
    /// Rows that a constraint refused.
    pub refused: Vec<Key>,
    /// A pending write met one that it had not seen.
    pub conflicts: Vec<(Key, Conflict)>,
    /// Rows that were not known here, as they were offered and as they were taken: they may have
    /// got other stamps.
    pub given: Vec<(Key, Version, Version)>,
}

#[derive(Debug)]
pub struct Primary {
    pub data: Durable,
    /// The UNLOGGED table: the files' tokens, and under [`LIFE`] the server's own.
    pub tokens: BTreeMap<u32, Token>,
    next_txid: u64,
    open: BTreeMap<u64, Transaction>,
    slots: BTreeMap<u8, u64>,
    pub late: Vec<Late>,
    timeline: u32,
    system: u64,
    relations: u64,
    backup: Option<(Durable, u64, BTreeMap<u32, Token>)>,
    /// The files that worked on with the tokens that they had at the backup.
    went_on: BTreeSet<u32>,
    replica: (Durable, u64),
    /// Counts restarts: a connection belongs to one.
    pub incarnation: u64,
    pub up: bool,
    /// Milliseconds by its own clock.
    pub now: i64,
    /// That against the true time.
    pub skew: i64,
    pub accepts_bad: bool,
    /// A user's trigger cancels changes of that row.
    pub cancels: Option<Key>,
    traps: Traps,
}

impl Primary {
    pub fn new(rows: BTreeMap<Key, Version>, traps: Traps) -> Primary {
        let row = |version| Row { version, txid: 1, origin: 0 };
        let rows = rows.into_iter().map(|(key, version)| (key, row(version))).collect();
        let data = Durable { rows, last_committed: 1, ..Durable::default() };
        Primary {
            replica: (data.clone(), 2),
            data,
            tokens: BTreeMap::new(),
            next_txid: 2,
            open: BTreeMap::new(),
            slots: BTreeMap::new(),
            late: Vec::new(),
            timeline: 1,
            system: 1,
            relations: 1,
            backup: None,
            went_on: BTreeSet::new(),
            incarnation: 1,
            up: true,
            now: 0,
            skew: 0,
            accepts_bad: false,
            cancels: None,
            traps,
        }
    }

    /// What the sidecar and the table say together.
    pub fn seen(&self, key: Key) -> Option<Version> {
        match self.data.loose.get(&key) {
            None => self.version(key).cloned(),
            Some(None) => Some(Version::absent(COLUMNS)),
            Some(Some(row)) => {
                let known = self.version(key).cloned().map(Tracked::settled);
                Some(loaded(known.as_ref(), row, Writer::POSTGRES, 0, self.data.horizon).version)
            }
        }
    }

    pub fn version(&self, key: Key) -> Option<&Version> {
        self.data.rows.get(&key).map(|row| &row.version)
    }

    fn locked(&self, key: Key, by: Option<u64>) -> bool {
        self.open.iter().any(|(txid, open)| Some(*txid) != by && open.overlay.contains_key(&key))
    }

    fn new_txid(&mut self) -> u64 {
        self.next_txid += 1;
        self.next_txid - 1
    }

    fn put(&mut self, key: Key, version: Version, txid: u64, writer: Writer) {
        let version = version.stored(&defaults());
        self.data.loose.remove(&key);
        self.data.rows.insert(key, Row { version, txid, origin: writer.number() });
        self.data.last_committed = self.data.last_committed.max(txid);
    }

    /// A library's write, in one round trip.
    pub fn execute(&mut self, late: &Late, truth: &mut Truth) -> Result<Answer, Refusal> {
        let mut answer = Rows::new();
        for (key, change) in &late.changes {
            if self.locked(*key, None) {
                return Err(Refusal::Locked);
            }
            let existing = self.version(*key).cloned().map(Tracked::settled);
            let before = existing.as_ref().map(|row| row.version.clone());
            let alive = before.as_ref().is_some_and(Version::lives);
            let inserts = matches!(change, Change::Insert(_));
            match self.data.loose.get(key) {
                Some(None) if !inserts => return Err(Refusal::Absent),
                Some(Some(_)) => return Err(Refusal::Precondition),
                None if alive == inserts => return Err(Refusal::Precondition),
                _ => {}
            }
            if before.as_ref().is_some_and(Version::is_absent) && !inserts {
                return Err(Refusal::Absent);
            }
            if alive && self.cancels == Some(*key) {
                return Err(Refusal::Precondition);
            }
            let replaces = change.replaces(before.as_ref());
            let stamp = if self.traps.has(Trap::ServerClock) {
                self.traps.captured(self.now, replaces, late.writer)
            } else if self.traps.has(Trap::RaiseProposal) {
                late.proposal.max(replaces.next(late.writer))
            } else {
                match admit(before.as_ref(), change, late.proposal, self.data.horizon, self.now) {
                    Admission::Admit => late.proposal,
                    Admission::Stale { above } => return Err(Refusal::Stale(above)),
                    Admission::Ahead => return Err(Refusal::Ahead),
                }
            };
            let seen = self.traps.seen_by(existing.as_ref(), change).map(|row| &row.version);
            let unseen = self.data.horizon;
            let after = written(seen, change, stamp, unseen, &defaults());
            answer.push((*key, before, after));
        }
        let txid = self.new_txid();
        for (key, before, after) in &answer {
            truth.executed(late.write, *key, before.as_ref(), after);
            self.put(*key, after.clone(), txid, late.writer);
        }
        Ok(Answer { rows: answer, txid })
    }

    /// Executes the statements whose callers have gone, as far as the locks allow.
    pub fn run_late(&mut self, truth: &mut Truth) {
        for late in std::mem::take(&mut self.late) {
            if matches!(self.execute(&late, truth), Err(Refusal::Locked)) {
                self.late.push(late);
            }
        }
    }

    fn life(&self) -> Option<Token> {
        let life = self.tokens.get(&LIFE).copied();
        if self.traps.has(Trap::NoLife) || self.traps.has(Trap::NoToken) {
            Some(Token(0))
        } else {
            life
        }
    }

    pub fn epoch(&self, file: u32) -> Epoch {
        Epoch {
            token: self.tokens.get(&file).copied(),
            timeline: self.timeline,
            system: self.system,
            database: 1,
            relations: self.relations,
            installation: 1,
            life: self.life(),
        }
    }

    /// Reads the feed in one snapshot: everything, or what is new since `cursor`.
    pub fn poll(&self, file: u32, number: Writer, cursor: Option<&Snapshot>) -> Poll {
        let is_new = |row: &Row| match cursor {
            None => true,
            Some(cursor) if self.traps.has(Trap::CursorByMaximum) => row.txid >= cursor.xmax(),
            Some(cursor) => {
                let skipped = self.traps.has(Trap::SkipByOrigin) && row.origin == number.number();
                cursor.is_new(row.txid) && !skipped
            }
        };
        Poll {
            epoch: self.epoch(file),
            snapshot: Snapshot::new(self.next_txid, self.open.keys().copied().collect()),
            now: self.now,
            horizon: self.data.horizon,
            purged: self.data.purged,
            drifted: self.data.drifted,
            rows: self
                .data
                .rows
                .iter()
                .filter(|(_, row)| is_new(row))
                .map(|(key, row)| match self.data.loose.get(key) {
                    Some(None) => (*key, Row { version: Version::absent(COLUMNS), ..row.clone() }),
                    // Of what was loaded the feed does not know.
                    Some(Some(_)) | None => (*key, row.clone()),
                })
                .collect(),
        }
    }

    /// Merges a batch of a file in one transaction: locks first, then the stamps. `stale` are
    /// stamps that were read before the locks. In a full comparison (`lossless` says whether
    /// this server still has what it acknowledged) the file has decided about unknown rows.
    pub fn push(
        &mut self,
        batch: &BTreeMap<Key, Tracked>,
        number: Writer,
        stale: Option<&BTreeMap<Key, Version>>,
        comparison: Option<bool>,
        followed: &Epoch,
        truth: &mut Truth,
    ) -> Result<Pushed, Refusal> {
        // Looked at again in the transaction: what the server has lost may be noted while a
        // connection lasts.
        let epoch = Epoch { token: followed.token, ..self.epoch(LIFE) };
        if !epoch.is_server_of(followed) && !self.traps.has(Trap::PushUnlooked) {
            return Err(Refusal::OtherEpoch);
        }
        if batch.keys().any(|key| self.locked(*key, None)) {
            return Err(Refusal::Locked);
        }
        if batch.values().any(|row| row.is_refused_as_ahead(self.now)) {
            return Err(Refusal::Ahead);
        }
        self.mend(|key| batch.contains_key(&key), truth);
        let mut pushed = Pushed::default();
        let txid = self.new_txid();
        for (key, row) in batch {
            let existing = match stale {
                Some(stale) => stale.get(key).cloned(),
                None => self.seen(*key),
            };
            // It was there once: only a comparison decides.
            let lost = existing.as_ref().is_some_and(Version::is_absent);
            if lost && comparison.is_none() && row.bases.live.is_none() {
                pushed.gone.push(*key);
                continue;
            }
            let (merged, logged) = match &existing {
                Some(existing) => {
                    let mut logged = conflicts(&row.version, &row.bases, existing);
                    if comparison == Some(false) && !self.traps.has(Trap::SilentReconcile) {
                        logged.extend(overwritten(existing, &row.version, &row.bases));
                        logged.extend(overwritten(&row.version, existing, &Bases::default()));
                    }
                    logged.retain(|one| !is_nobodys(one, row, existing, &defaults()));
                    let intact = comparison.unwrap_or(true);
                    let own = self.traps.offered(row, existing, intact);
                    let merged = self.traps.merge(existing, &own);
                    // The file may have passed this row and dropped its tombstone since: it has to
                    // hear of it again. (A comparison takes in every row anyway.)
                    let beaten = comparison.is_none() && merged.version != row.version;
                    let news = merged.left_is_behind || beaten;
                    (news.then_some(merged.version), logged)
                }
                None => match (unknown(row, self.data.horizon), comparison) {
                    // Only a comparison decides about a row that was there once.
                    (Unknown::Delete, None) => {
                        pushed.gone.push(*key);
                        continue;
                    }
                    (Unknown::Give, None) if row.bases.live.is_none() => {
                        pushed.gone.push(*key);
                        continue;
                    }
                    // Purged since the comparison was planned: it has to be made again.
                    (Unknown::Delete, Some(_)) if !self.traps.has(Trap::HorizonByHighest) => {
                        pushed.gone.push(*key);
                        continue;
                    }
                    (Unknown::Delete, Some(_)) => (Some(row.version.clone()), Vec::new()),
                    (Unknown::GiveAndLog, _) => {
                        let (raised, logged) = risen(&row.version, self.data.horizon, self.now);
                        if logged.is_none() {
                            self.data.told.insert((*key, raised.live.stamp));
                        }
                        (Some(raised), logged.into_iter().collect())
                    }
                    (Unknown::Give, _) => {
                        (Some(given(&row.version, self.data.horizon)), Vec::new())
                    }
                },
            };
            let there = existing.as_ref().is_some_and(Version::lives);
            let changes = |version: &Version| {
                let values = |v: &Version| -> Vec<Value> {
                    v.columns.iter().map(|column| column.value.clone()).collect()
                };
                existing.as_ref().is_some_and(|was| {
                    was.live.value != version.live.value || values(was) != values(version)
                })
            };
            let cancelled =
                there && self.cancels == Some(*key) && merged.as_ref().is_some_and(changes);
            if cancelled && self.traps.has(Trap::CancelledCounts) {
                continue;
            }
            if cancelled || (merged.as_ref().is_some_and(is_bad) && !self.accepts_bad) {
                pushed.refused.push(*key);
                continue;
            }
            pushed.conflicts.extend(logged.iter().map(|conflict| (*key, *conflict)));
            self.log(*key, logged);
            if let Some(mut version) = merged {
                if self.traps.has(Trap::PushByServerClock) {
                    version.live.stamp = self.traps.captured(self.now, version.highest(), number);
                    let stamp = version.live.stamp;
                    version.columns.iter_mut().for_each(|column| column.stamp = stamp);
                }
                if existing.is_none() {
                    pushed.given.push((*key, row.version.clone(), version.clone()));
                }
                self.put(*key, version, txid, number);
            }
        }
        Ok(pushed)
    }

    fn log(&mut self, key: Key, conflicts: Vec<Conflict>) {
        if !self.traps.has(Trap::NoConflictLog) {
            self.data.log.extend(conflicts.into_iter().map(|conflict| (key, conflict)));
        }
    }

    /// Whether the cursor has not passed everything that was written.
    pub fn is_ahead_of(&self, cursor: &Snapshot) -> bool {
        !self.open.is_empty() || self.data.rows.values().any(|row| cursor.is_new(row.txid))
    }
}
