//! PostgreSQL: rows of all tables, who it is, what was purged and set back.

use std::collections::{BTreeMap, BTreeSet};

use dual_database::merge::{Change, Version, written};
use dual_database::protocol::reconcile::purgeable;
use dual_database::protocol::{Epoch, SetBack, Snapshot, Token};
use dual_database::stamp::{Stamp, Writer, captured};

use super::rows::{Entry, Id, Refusal, TABLES, adopted, defaults};
use super::trap::Trap;

/// A row and the transaction of its last change.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    pub version: Version,
    pub txid: u64,
}

/// Who the server is, as a process with some tables sees it.
#[derive(Clone, Debug)]
pub struct Header {
    pub epoch: Epoch,
    /// What each of the tables adds to that.
    pub tables: Vec<(usize, u64)>,
    pub snapshot: Snapshot,
    pub horizon: Stamp,
    pub purged: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct Poll {
    pub header: Header,
    pub rows: BTreeMap<Id, Version>,
    /// Tables that are not as capture was installed.
    pub drift: Vec<usize>,
}

/// What became of a push.
#[derive(Clone, Debug, Default)]
pub struct Pushed {
    pub refused: BTreeMap<Id, Refusal>,
    pub gone: BTreeSet<Id>,
    pub conflicts: Vec<Entry>,
}

pub enum PushEnd {
    Done(Pushed),
    OtherServer,
    Ahead,
}

#[derive(Clone, Debug)]
pub struct Primary {
    pub rows: BTreeMap<Id, Placed>,
    /// The next transaction.
    pub txid: u64,
    pub timeline: u32,
    pub tokens: BTreeMap<usize, Token>,
    pub life: Option<Token>,
    pub gaps: u64,
    pub tracked: [bool; TABLES],
    /// Somebody has changed it so that it cannot be followed.
    pub trouble: [bool; TABLES],
    pub horizon: Stamp,
    pub purged: Option<u64>,
    pub set_backs: Vec<SetBack>,
    pub log: Vec<Entry>,
    pub now: i64,
    pub trap: Option<Trap>,
}

impl Primary {
    pub fn new(tracked: [bool; TABLES], now: i64, trap: Option<Trap>) -> Primary {
        Primary {
            rows: BTreeMap::new(),
            txid: 10,
            timeline: 1,
            tokens: BTreeMap::new(),
            life: None,
            gaps: 0,
            tracked,
            trouble: [false; TABLES],
            horizon: Stamp::ZERO,
            purged: None,
            set_backs: Vec::new(),
            log: Vec::new(),
            now,
            trap,
        }
    }

    pub fn has(&self, trap: Trap) -> bool {
        self.trap == Some(trap)
    }

    pub fn version(&self, id: Id) -> Option<&Version> {
        self.rows.get(&id).map(|placed| &placed.version)
    }

    pub fn put(&mut self, id: Id, version: Version) {
        self.rows.insert(id, Placed { version, txid: self.txid });
    }

    /// The transaction is committed.
    pub fn commits(&mut self) {
        self.txid += 1;
    }

    /// What somebody does to a row, as the triggers capture it by a clock that may be `ahead`.
    pub fn change(&mut self, id: Id, change: &Change, ahead: i64) {
        let before = self.version(id).cloned();
        if !self.tracked[id.table] {
            return self.change_uncaptured(id, before, change);
        }
        let mut replaced = change.replaces(before.as_ref());
        if matches!(change, Change::Insert(_)) {
            replaced = replaced.max(self.horizon);
        }
        let stamp = captured(self.now + ahead, replaced, Writer::POSTGRES);
        let after = written(before.as_ref(), change, stamp, self.horizon, &defaults());
        self.put(id, after.stored(&defaults()));
    }

    fn change_uncaptured(&mut self, id: Id, before: Option<Version>, change: &Change) {
        let columns = before.map_or_else(Vec::new, |version| version.columns);
        let mut now: Vec<_> = columns.into_iter().map(|column| column.value).collect();
        match change {
            Change::Insert(values) => now.clone_from(values),
            Change::Update(set) => set.iter().for_each(|(at, value)| now[*at] = value.clone()),
            Change::Delete => return drop(self.rows.remove(&id)),
        }
        self.put(id, adopted(&now, Stamp::ADOPTED_POSTGRES));
    }

    pub fn header(&self, file: usize, tables: &[usize]) -> Header {
        let adds = |table: &usize| (*table, 1_000_003 * (*table as u64 + 1));
        let adds: Vec<(usize, u64)> = tables.iter().map(adds).collect();
        let relations = adds.iter().fold(self.gaps, |sum, (_, one)| sum.wrapping_add(*one));
        Header {
            epoch: Epoch {
                token: self.tokens.get(&file).copied(),
                timeline: self.timeline,
                system: 1,
                database: 1,
                relations,
                installation: 1,
                life: self.life,
            },
            tables: adds,
            snapshot: Snapshot::new(self.txid, Vec::new()),
            horizon: self.horizon,
            purged: self.purged,
        }
    }

    /// Sets the file's token if it is still the one `seen`.
    pub fn rotate(&mut self, file: usize, seen: Option<Token>, fresh: Token) -> bool {
        self.life.get_or_insert(Token(u128::from(self.timeline) << 64 | u128::from(self.txid)));
        let now = self.tokens.get(&file).copied();
        let may = now == seen || now == Some(fresh);
        if may {
            self.tokens.insert(file, fresh);
        }
        may
    }

    /// What is new in these tables, and what is asked for besides; of one in trouble nothing is read.
    pub fn poll(&self, file: usize, tables: &[usize], cursor: &Snapshot, also: &[Id]) -> Poll {
        let drift: Vec<usize> =
            tables.iter().filter(|table| self.trouble[**table]).copied().collect();
        let is_read = |id: &Id| tables.contains(&id.table) && !drift.contains(&id.table);
        let new = |id: &Id, row: &Placed| cursor.is_new(row.txid) || also.contains(id);
        let rows = self.rows.iter().filter(|(id, row)| is_read(id) && new(id, row));
        let rows = rows.map(|(id, row)| (*id, row.version.clone())).collect();
        Poll { header: self.header(file, tables), rows, drift }
    }

    /// Removes the tombstones of these tables that lie below the horizon.
    pub fn purge(&mut self, horizon: Stamp, tables: &[usize]) {
        let is_one =
            |id: &Id, row: &Placed| tables.contains(&id.table) && purgeable(&row.version, horizon);
        let gone = self.rows.iter().filter(|(id, row)| is_one(id, row));
        let Some(txid) = gone.map(|(_, row)| row.txid).max() else { return };
        self.rows.retain(|id, row| !is_one(id, row));
        self.horizon = self.horizon.max(horizon);
        self.purged = self.purged.max(Some(txid));
        self.commits();
    }

    /// Sets back what lies in the future in these tables.
    pub fn set_back(&mut self, tables: &[usize]) {
        let limit = SetBack::limit(self.now);
        let is_of = |id: &Id| tables.contains(&id.table);
        let stamps = self.rows.iter().filter(|(id, _)| is_of(id)).flat_map(|(_, row)| {
            let columns = row.version.columns.iter().map(|column| column.stamp);
            columns.chain([row.version.live.stamp]).collect::<Vec<_>>()
        });
        let highest = stamps.filter(|stamp| *stamp <= limit).max().unwrap_or_default();
        let one =
            SetBack::at(u128::from(self.txid) << 32 | u128::from(self.timeline), self.now, highest);
        let txid = self.txid;
        for (_, row) in self.rows.iter_mut().filter(|(id, _)| is_of(id)) {
            let version = one.version(&row.version);
            if version != row.version {
                *row = Placed { version, txid };
            }
        }
        self.gaps += 1;
        self.horizon = one.horizon(self.horizon);
        self.set_backs.push(one);
        self.commits();
    }
}
