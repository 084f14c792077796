//! What clients do that know nothing of the library, and what comes past the triggers.

use dual_database::merge::{Change, Tracked, Version, written};
use dual_database::stamp::Writer;
use dual_database::value::Value;

use super::{Primary, Transaction};
use crate::rules::{COLUMNS, Key, Loaded, Loose, USERS, defaults, loaded, loosen};
use crate::trap::Trap;
use crate::truth::Truth;

impl Primary {
    /// An outside client's change in its transaction; false if it has to wait for a lock or
    /// changes nothing.
    pub fn outside(&mut self, slot: u8, key: Key, change: &Change, truth: &mut Truth) -> bool {
        let own = self.slots.get(&slot).copied();
        if !self.up || self.locked(key, own) {
            return false;
        }
        let in_overlay =
            own.and_then(|txid| self.open.get(&txid)).and_then(|open| open.overlay.get(&key));
        let loose = self.data.loose.get(&key).filter(|_| in_overlay.is_none());
        let existing = in_overlay.or_else(|| self.version(key)).cloned().map(Tracked::settled);
        let alive = existing.as_ref().is_some_and(|row| row.version.lives());
        let alive = loose.map_or(alive, Option::is_some);
        let loaded = matches!(loose, Some(Some(_)));
        if alive == matches!(change, Change::Insert(_)) || loaded {
            return false;
        }
        if alive && self.cancels == Some(key) {
            return false;
        }
        let seen = self.traps.seen_by(existing.as_ref(), change).map(|row| &row.version);
        // Nothing is known any more of what was purged: a birth lies above all of it.
        let unseen = self.data.horizon;
        let replaces = existing.as_ref().map_or(unseen, |row| change.replaces(Some(&row.version)));
        let stamp = self.traps.captured(self.now, replaces, Writer::POSTGRES);
        let version = written(seen, change, stamp, unseen, &defaults());
        let txid = match own {
            Some(txid) => txid,
            None => {
                let txid = self.new_txid();
                let write = truth.new_write();
                self.open.insert(txid, Transaction { write, ..Transaction::default() });
                self.slots.insert(slot, txid);
                txid
            }
        };
        if let Some(open) = self.open.get_mut(&txid) {
            open.overlay.insert(key, version);
        }
        true
    }

    /// Ends an outside client's transaction.
    pub fn end(&mut self, slot: u8, commit: bool, truth: &mut Truth) {
        let Some(txid) = self.slots.remove(&slot) else { return };
        let Some(open) = self.open.remove(&txid) else { return };
        if commit {
            for (key, version) in open.overlay {
                truth.executed(open.write, key, self.version(key), &version);
                self.put(key, version, txid, Writer::POSTGRES);
            }
            truth.acknowledge(open.write);
        }
    }

    /// A balance as the transaction in that slot sees it, with the row locked.
    pub fn read_locked(&self, slot: Option<u8>, key: Key) -> Option<Version> {
        let own = slot.and_then(|slot| self.slots.get(&slot)).copied();
        if !self.up || self.locked(key, own) {
            return None;
        }
        let overlay = own.and_then(|txid| self.open.get(&txid));
        overlay.and_then(|open| open.overlay.get(&key)).or_else(|| self.version(key)).cloned()
    }

    /// A change past the triggers, which are gone.
    pub fn drift(&mut self, key: Key, column: usize, value: &Value, truth: &mut Truth) {
        if !self.up || self.locked(key, None) {
            return;
        }
        let there = !self.data.loose.contains_key(&key);
        let Some(row) = self.data.rows.get_mut(&key).filter(|row| there && row.version.lives())
        else {
            return;
        };
        truth.drifted(key, column, &mut row.version, value);
        self.data.drifted = true;
    }

    /// Puts capture back as it was: that changes the epoch, for every file.
    pub fn prepare(&mut self, truth: &mut Truth) {
        if std::mem::take(&mut self.data.drifted) {
            self.relations += 1;
            self.mend(|_| true, truth);
        }
    }

    /// TRUNCATE of the users: waits for everybody who has touched the table.
    pub fn truncate(&mut self, truth: &mut Truth) {
        let busy = self.open.values().any(|open| open.overlay.keys().any(|key| *key < USERS));
        if !self.up || busy {
            return;
        }
        let cancels = self.cancels.take();
        for key in 0..USERS {
            // A row that was taken away past the triggers dies like the others; of one that came
            // past them nobody hears.
            self.data.loose.remove(&key);
            self.outside(u8::MAX, key, &Change::Delete, truth);
        }
        self.end(u8::MAX, true, truth);
        self.cancels = cancels;
    }

    /// What came past the triggers in these rows is noted: absence as such, a loaded row as a
    /// birth. Every file hears of it, and of a loss as of another epoch: what was lost may come
    /// back from a file while another one has gone on without having seen it.
    pub fn mend(&mut self, which: impl Fn(Key) -> bool, truth: &mut Truth) {
        let (mended, rest) =
            std::mem::take(&mut self.data.loose).into_iter().partition(|(key, _)| which(*key));
        self.data.loose = rest;
        let mended: Loose = mended;
        if mended.is_empty() {
            return;
        }
        let txid = self.new_txid();
        if mended.values().any(Option::is_none) && !self.traps.has(Trap::NoRelations) {
            self.relations += 1;
        }
        for (key, row) in mended {
            let known = self.version(key).cloned().map(Tracked::settled);
            let version = match &row {
                Some(_) if self.traps.has(Trap::LoadedUnseen) => {
                    self.data.loose.insert(key, row);
                    continue;
                }
                Some(row) => {
                    loaded(known.as_ref(), row, Writer::POSTGRES, self.now, self.data.horizon)
                        .version
                }
                None if self.traps.has(Trap::AbsenceIsDelete) => {
                    let known = known.as_ref().map(|row| &row.version);
                    let above = Change::Delete.replaces(known);
                    let stamp = self.traps.captured(self.now, above, Writer::POSTGRES);
                    written(known, &Change::Delete, stamp, self.data.horizon, &defaults())
                }
                None => Version::absent(COLUMNS),
            };
            if let Some(Loaded { write, .. }) = row {
                truth.noted(write, key, known.as_ref().map(|row| &row.version), &version);
            }
            self.put(key, version, txid, Writer::POSTGRES);
        }
    }

    /// Rows are taken away or come past the triggers.
    pub fn loosen(&mut self, rows: &[(Key, Option<Loaded>)], told: bool, truth: &mut Truth) {
        if !self.up || rows.iter().any(|(key, _)| self.locked(*key, None)) {
            return;
        }
        for (key, row) in rows {
            if self.seen(*key).is_some_and(|row| row.lives()) != row.is_some() {
                let known = self.data.rows.get_mut(key).map(|row| &mut row.version);
                loosen(&mut self.data.loose, known, *key, row.as_ref(), truth);
            }
        }
        self.data.drifted |= told;
    }
}
