//! Stamps that lie in the future, and what is purged.

use dual_database::merge::{Conflict, RegisterId};
use dual_database::protocol::reconcile::purgeable;
use dual_database::protocol::{SetBack, Snapshot};
use dual_database::stamp::{Stamp, Writer};

use super::{Primary, Row};
use crate::rules::Key;
use crate::truth::{Truth, registers, restamped, stamp_ahead};

impl Primary {
    /// Somebody writes a stamp into the sidecar, or the purge horizon.
    pub fn put_ahead(&mut self, place: Option<(Key, Option<usize>)>, ms: i64, truth: &mut Truth) {
        let stamp = Stamp::at(self.now + ms, Writer::POSTGRES);
        let Some((key, column)) = place.filter(|_| self.up) else {
            self.data.horizon = if self.up { stamp } else { self.data.horizon };
            return;
        };
        if !self.locked(key, None)
            && let Some(row) = self.data.rows.get_mut(&key)
        {
            stamp_ahead(key, &mut row.version, column, stamp, truth);
        }
    }

    /// A person sets back what lies in the future: in one transaction, for which everybody who
    /// writes is waited for.
    pub fn set_back(&mut self, id: u128, truth: &mut Truth) -> bool {
        if !self.up || !self.open.is_empty() {
            return false;
        }
        let rows = self.data.rows.iter();
        let stamps = rows.flat_map(|(_, row)| registers(&row.version).map(|(_, stamp)| stamp));
        let limit = SetBack::limit(self.now);
        let highest = stamps.filter(|stamp| *stamp <= limit).max().unwrap_or_default();
        let one = SetBack::at(id, self.now, highest);
        let txid = self.new_txid();
        for (key, row) in &mut self.data.rows {
            let version = one.version(&row.version);
            if version != row.version {
                restamped(*key, &row.version, &version, truth);
                let (was, is) = (row.version.live.stamp, version.live.stamp);
                let raised = Conflict { register: RegisterId::Live, winner: was, loser: was };
                if was != is && self.data.log.contains(&(*key, raised)) {
                    self.data.told.insert((*key, is));
                }
                *row = Row { version, txid, origin: 0 };
            }
        }
        self.data.last_committed = self.data.last_committed.max(txid);
        self.data.horizon = one.horizon(self.data.horizon);
        self.data.set_backs.push(one);
        self.relations += 1;
        true
    }

    /// Whether anything lies in the future.
    pub fn is_any_ahead(&self) -> bool {
        let is_ahead = |(_, stamp): (_, Stamp)| stamp.is_ahead_of(self.now);
        self.data.horizon.is_ahead_of(self.now)
            || self.data.rows.values().any(|row| registers(&row.version).any(is_ahead))
    }

    /// Ids that this history has not handed out yet belong to another one.
    pub fn forget_future_ids(&mut self) {
        for row in self.data.rows.values_mut().filter(|row| row.txid >= self.next_txid) {
            row.txid = 0;
        }
        self.data.purged = self.data.purged.filter(|txid| *txid < self.next_txid);
    }

    pub fn purge(&mut self, horizon: Stamp, truth: &Truth) {
        let snapshot = Snapshot::new(self.next_txid, self.open.keys().copied().collect());
        let locked: Vec<Key> =
            self.data.rows.keys().copied().filter(|key| self.locked(*key, None)).collect();
        let (mut gone, mut position) = (Vec::new(), self.data.purged);
        for (key, row) in &self.data.rows {
            let passed = snapshot.has_passed(row.txid) && !locked.contains(key);
            if self.up && passed && purgeable(&row.version, horizon) {
                gone.push(*key);
                position = position.max(Some(row.txid));
            }
        }
        if !gone.is_empty() {
            // Also those that this server still has: the files drop them by the horizon alone.
            for (key, row) in self.data.rows.iter().filter(|row| purgeable(&row.1.version, horizon))
            {
                self.data.buried.extend(truth.of(*key, RegisterId::Live, row.version.live.stamp));
            }
            gone.iter().for_each(|key| drop(self.data.rows.remove(key)));
            self.data.horizon = self.data.horizon.max(horizon);
            self.data.purged = position;
        }
    }
}
