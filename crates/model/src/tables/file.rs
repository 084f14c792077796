//! A file: rows with what is pending in them, and how each of its tables follows.

mod take;

use std::collections::{BTreeMap, BTreeSet};

use dual_database::Store;
use dual_database::merge::{Change, Conflict, Tracked, Version};
use dual_database::protocol::{Break, Epoch, Event, Follow, SetBack, Tokens};
use dual_database::stamp::{Stamp, Writer, captured};

use super::primary::Pushed;
use super::rows::{Entry, Id, Refusal, TABLES, adopted, defaults, entry};
use super::trap::Trap;

/// The pauses before a row is tried again: the least for one without its parent, for any other, for one
/// that the file refuses; and the longest.
const RETRY_MS: [i64; 4] = [1_000, 30_000, 300_000, 3_600_000];

/// A row with the position of its last change.
#[derive(Clone, Debug)]
pub struct Local {
    pub row: Tracked,
    pub seq: u64,
}

/// A row in quarantine.
#[derive(Clone, Copy, Debug)]
pub struct Aside {
    pub why: Refusal,
    pub since: i64,
    pub retry: i64,
}

/// How a table follows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Following {
    /// Somebody has told the file that it is kept.
    pub declared: bool,
    /// Its triggers are there.
    pub captured: bool,
    /// What it adds to the epoch that is followed.
    pub relation: Option<u64>,
    pub paused: Option<Store>,
    pub compare: Option<Break>,
    /// How often it had to be compared so far.
    pub marked: u64,
}

/// Rows on their way to PostgreSQL.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub rows: Vec<(Id, Tracked)>,
    pub upto: u64,
    /// The server for which they were read.
    pub followed: Option<Epoch>,
}

#[derive(Clone, Debug)]
pub struct File {
    pub number: Writer,
    pub rows: BTreeMap<Id, Local>,
    /// By row and by who refuses it.
    pub quarantine: BTreeMap<(Id, Store), Aside>,
    pub follow: Follow,
    pub tokens: Tokens,
    pub tables: [Following; TABLES],
    pub seq: u64,
    pub pushed: u64,
    /// What an insert lies above.
    pub horizon: Stamp,
    /// Up to where tombstones were forgotten.
    pub purged: Stamp,
    /// The decisions to set back that it has met.
    pub met: BTreeSet<u128>,
    pub log: Vec<Entry>,
    pub skew: i64,
    pub trap: Option<Trap>,
}

impl File {
    pub fn new(number: Writer, skew: i64, trap: Option<Trap>, kept: [bool; TABLES]) -> File {
        let following =
            |declared| Following { declared, captured: declared, ..Following::default() };
        File {
            number,
            rows: BTreeMap::new(),
            quarantine: BTreeMap::new(),
            follow: Follow::new(),
            tokens: Tokens::default(),
            tables: kept.map(following),
            seq: 0,
            pushed: 0,
            horizon: Stamp::ZERO,
            purged: Stamp::ZERO,
            met: BTreeSet::new(),
            log: Vec::new(),
            skew,
            trap,
        }
    }

    pub fn has(&self, trap: Trap) -> bool {
        self.trap == Some(trap)
    }

    pub fn version(&self, id: Id) -> Option<&Version> {
        self.rows.get(&id).map(|local| &local.row.version)
    }

    /// What an outside program does to a row.
    pub fn change(&mut self, id: Id, change: &Change, now: i64) {
        if !self.tables[id.table].captured {
            return self.change_uncaptured(id, change);
        }
        let before = self.rows.get(&id).map(|local| local.row.clone());
        let mut replaced = before.as_ref().map_or(Stamp::ZERO, |row| row.replaces(change));
        if matches!(change, Change::Insert(_)) {
            replaced = replaced.max(self.horizon);
        }
        let stamp = captured(now + self.skew, replaced, self.number);
        let row = Tracked::changed(before.as_ref(), change, stamp, self.horizon, &defaults());
        self.put(id, row);
    }

    /// The same in a table that nobody looks after yet: adopted, it will be as it is then.
    fn change_uncaptured(&mut self, id: Id, change: &Change) {
        let mut now: Vec<_> = self.version(id).map_or_else(Vec::new, |version| {
            version.columns.iter().map(|column| column.value.clone()).collect()
        });
        match change {
            Change::Insert(values) => now.clone_from(values),
            Change::Update(set) => set.iter().for_each(|(at, value)| now[*at] = value.clone()),
            Change::Delete => return drop(self.rows.remove(&id)),
        }
        let version = adopted(&now, Stamp::ADOPTED_SQLITE);
        let mut row = Tracked::settled(version);
        row.bases.live = Some(Stamp::ZERO);
        row.bases.columns = vec![Some(Stamp::ZERO); now.len()];
        self.put(id, row);
    }

    pub fn put(&mut self, id: Id, row: Tracked) {
        self.seq += 1;
        self.rows.insert(id, Local { row, seq: self.seq });
    }

    /// Moves the cursor; false, and nothing is done, if that cannot be.
    pub fn moves(&mut self, event: Event) -> bool {
        let next = self.follow.next(event);
        if let Ok(next) = next {
            self.follow = next;
            return true;
        }
        false
    }

    /// What is pending in these tables that has come behind the position is pending as if it were written now.
    pub fn waits_since(&mut self, tables: &[usize], upto: u64) {
        if self.has(Trap::PassedWithOthers) {
            return;
        }
        self.seq += 1;
        for (_, local) in self.rows.iter_mut().filter(|(id, _)| tables.contains(&id.table)) {
            if local.seq > upto {
                local.seq = if local.row.bases.any() { self.seq } else { upto };
            }
        }
    }

    /// What is to be pushed of these tables.
    pub fn to_push(&self, tables: &[usize], now: i64) -> Batch {
        let is_due = |id: &Id| {
            let aside = self.quarantine.get(&(*id, Store::Postgres));
            let forgotten =
                |aside: &&Aside| self.has(Trap::OrphanForgotten) && aside.why == Refusal::Orphan;
            aside.filter(|aside| !forgotten(aside)).is_some_and(|aside| aside.retry <= now)
        };
        let waits = |id: &Id, local: &Local| {
            tables.contains(&id.table) && (local.seq > self.pushed || is_due(id))
        };
        let rows = self.rows.iter().filter(|(id, local)| waits(id, local));
        let rows = rows.map(|(id, local)| (*id, local.row.clone())).collect();
        Batch { rows, upto: self.seq, followed: self.followed() }
    }

    /// Whether the row is to be pushed as it is.
    pub fn waits(&self, id: Id, seq: u64) -> bool {
        seq > self.pushed || self.quarantine.contains_key(&(id, Store::Postgres))
    }

    pub fn set_aside(&mut self, id: Id, by: Store, why: Refusal, now: i64) {
        let since = self.quarantine.get(&(id, by)).map_or(now, |aside| aside.since);
        let [orphan, other, here, most] = RETRY_MS;
        let least = match (by, why) {
            (Store::Sqlite, _) => here,
            (_, Refusal::Orphan) => orphan,
            _ => other,
        };
        let retry = now + (now - since).clamp(least, most);
        self.quarantine.insert((id, by), Aside { why, since, retry });
    }

    /// That side takes the row now; everything else in these tables that waits becomes due.
    pub fn release(&mut self, id: Id, by: Store, tables: &[usize]) {
        if self.quarantine.remove(&(id, by)).is_some() {
            let waits =
                self.quarantine.iter_mut().filter(|((id, _), _)| tables.contains(&id.table));
            waits.for_each(|(_, aside)| aside.retry = 0);
        }
    }

    /// Notes what PostgreSQL has taken, and what not.
    pub fn acknowledge(&mut self, batch: &Batch, pushed: &Pushed, tables: &[usize], now: i64) {
        for (id, sent) in &batch.rows {
            if pushed.gone.contains(id) {
                continue;
            }
            let Some(local) = self.rows.get(id) else { continue };
            let is_latest = local.seq <= batch.upto;
            match pushed.refused.get(id) {
                Some(why) if is_latest => self.set_aside(*id, Store::Postgres, *why, now),
                Some(_) => {}
                None if is_latest => self.release(*id, Store::Postgres, tables),
                None => {}
            }
            if !pushed.refused.contains_key(id)
                && let Some(local) = self.rows.get_mut(id)
            {
                local.row.acknowledge(&sent.version);
            }
        }
        self.log.extend(pushed.conflicts.iter().cloned());
    }

    pub fn note(&mut self, id: Id, conflicts: &[Conflict], sides: &[&Version]) {
        self.log.extend(conflicts.iter().map(|one| entry(id, *one, sides)));
    }

    /// A row that was deleted and purged at PostgreSQL, or of which nobody knows anything.
    pub fn forget(&mut self, id: Id) {
        self.rows.remove(&id);
        self.quarantine.remove(&(id, Store::Postgres));
        self.quarantine.remove(&(id, Store::Sqlite));
    }

    /// Forgets tombstones of these tables.
    pub fn purge(&mut self, horizon: Stamp, tables: &[usize]) {
        if self.purged >= horizon {
            return;
        }
        self.purged = horizon;
        self.horizon = self.horizon.max(horizon);
        self.rows.retain(|id, Local { row, .. }| {
            let is_old = !row.version.live.value && row.version.live.stamp < horizon;
            !(tables.contains(&id.table) && is_old && !row.bases.any())
        });
    }

    /// Sets back what was set back at PostgreSQL, each once.
    pub fn set_back(&mut self, all: &[SetBack], tables: &[usize]) {
        for one in all.iter().filter(|one| self.met.insert(one.id)) {
            let passes_by = self.trap == Some(Trap::SetBackPassesBy);
            for (id, local) in &mut self.rows {
                if tables.contains(&id.table) || !passes_by {
                    if self.trap == Some(Trap::MetIsPending) {
                        unmeet(&mut local.row);
                    }
                    local.row = one.tracked(&local.row, self.number);
                }
            }
            self.horizon = one.horizon(self.horizon);
            self.purged = self.purged.min(one.limit);
        }
    }
}

/// Lets what an insert that has not arrived has met look like what was set here.
fn unmeet(row: &mut Tracked) {
    for (base, column) in row.bases.columns.iter_mut().zip(&row.version.columns) {
        if *base == Some(column.stamp) {
            *base = Some(Stamp::MAX);
        }
    }
}
