//! What has to hold: while it goes on, while tables are left alone, and at rest.

use std::collections::BTreeSet;

use dual_database::Store;
use dual_database::merge::{Conflict, RegisterId, Version};

use super::rows::{
    Entry, Id, PARENTS, Refusal, TABLES, all_ids, has_children, meaning, parent_of, refusal, rival,
    value, values,
};
use super::{FILES, World};

impl World {
    fn logged(&self) -> BTreeSet<i64> {
        let logs = self.files.iter().flat_map(|file| &file.log).chain(&self.primary.log);
        logs.chain(&self.lost_log).flat_map(|entry| entry.losing.iter().copied()).collect()
    }

    /// The rows of which an insert was raised above the purge horizon.
    fn raised(&self) -> BTreeSet<Id> {
        let logs = self.files.iter().flat_map(|file| &file.log).chain(&self.primary.log);
        let is_one = |entry: &&Entry| {
            let Conflict { register, winner, loser } = entry.conflict;
            register == RegisterId::Live && winner == loser
        };
        logs.chain(&self.lost_log).filter(is_one).map(|entry| entry.id).collect()
    }

    fn is_aside(&self, id: Id) -> bool {
        let refused = |file: &super::file::File| file.quarantine.keys().any(|(one, _)| *one == id);
        self.files.iter().any(refused)
    }

    /// Of a transaction over two tables nobody sees the half.
    pub fn look_at_pairs(&mut self) {
        for side in 0..=FILES {
            let shown: Vec<i64> = match side {
                FILES => self.primary.rows.values().flat_map(|row| values(&row.version)).collect(),
                file => {
                    let rows = self.files[file].rows.values();
                    rows.flat_map(|local| values(&local.row.version)).collect()
                }
            };
            self.truth.seen[side].extend(shown);
        }
        let halves: Vec<(usize, [i64; 2])> = (0..=FILES)
            .flat_map(|side| self.truth.pairs.iter().map(move |pair| (side, *pair)))
            .filter(|(side, pair)| {
                let seen = |value: &i64| self.truth.seen[*side].contains(value);
                seen(&pair[0]) != seen(&pair[1])
            })
            .collect();
        if halves.is_empty() {
            return;
        }
        let logged = self.logged();
        for (side, pair) in halves {
            let missing = pair.into_iter().find(|value| !self.truth.seen[side].contains(value));
            let Some(missing) = missing else { continue };
            let id = self.truth.of(missing).map(|(id, _)| id);
            let is_excused = logged.contains(&missing)
                || self.truth.replaced.contains(&missing)
                || id.is_none_or(|id| self.is_aside(id) || self.truth.excused.contains(&id));
            if !is_excused {
                self.violate(format!(
                    "side {side} shows the half of {pair:?}: not {missing} {id:?}"
                ));
            }
            self.truth.pairs.retain(|one| *one != pair);
        }
    }

    /// Everything that both sides keep together at this moment, but for these tables, is equal, and what is
    /// in quarantine has a reason to be there.
    pub fn check_rest(&mut self, tables: [bool; TABLES]) {
        for at in 0..FILES {
            for id in all_ids().filter(|id| tables[id.table]) {
                self.check_row(at, id);
            }
            let held: Vec<(Id, Store, Refusal)> = self.files[at]
                .quarantine
                .iter()
                .map(|((id, by), aside)| (*id, *by, aside.why))
                .filter(|(id, ..)| tables[id.table])
                .collect();
            for (id, by, why) in held {
                if !self.is_justified(at, id, by) {
                    self.violate(format!("file {at}: {id:?} stays in quarantine of {by}: {why:?}"));
                }
            }
        }
    }

    fn check_row(&mut self, at: usize, id: Id) {
        let file = &self.files[at];
        let of = |version: Option<&Version>| {
            let lives = version.filter(|version| version.lives());
            lives.map(|version| [value(version, 0), value(version, 1)])
        };
        let (here, there) = (of(file.version(id)), of(self.primary.version(id)));
        let aside = |id: Id| file.quarantine.keys().any(|(one, _)| *one == id);
        if here != there && !aside(id) {
            return self.violate(format!("file {at}: {id:?} is {here:?} here and {there:?} there"));
        }
        let parent = file.version(id).and_then(|version| parent_of(id, version));
        if let Some(parent) = parent
            && !file.version(parent).is_some_and(Version::lives)
            && !aside(id)
            && !aside(parent)
            && file.tables[PARENTS].paused.is_none()
        {
            self.violate(format!("file {at}: {id:?} has no parent {parent:?}"));
        }
    }

    /// Whether the side would refuse the row now.
    fn is_justified(&self, at: usize, id: Id, by: Store) -> bool {
        let file = &self.files[at];
        let there = |id| self.primary.version(id);
        match (by, file.version(id), there(id)) {
            (Store::Postgres, Some(own), _) => {
                refusal(id, own, there).is_some()
                    || (!own.lives() && has_children(id, there))
                    // What it wants to be there may be another mixture of both.
                    || there(id).is_some_and(|found| self.is_mixture_refused(id, own, found))
            }
            (Store::Sqlite, _, Some(found)) => {
                let mut wanted = rival(id, found, |id| file.version(id));
                // Who has what it wants may himself wait for somebody.
                for _ in all_ids() {
                    let Some(rival_id) = wanted else { break };
                    if file.quarantine.contains_key(&(rival_id, Store::Postgres)) {
                        return true;
                    }
                    let next = there(rival_id);
                    wanted = next.and_then(|next| rival(rival_id, next, |id| file.version(id)));
                }
                false
            }
            (Store::Postgres, None, _) | (Store::Sqlite, _, None) => false,
        }
    }

    fn is_mixture_refused(&self, id: Id, own: &Version, found: &Version) -> bool {
        let merged = dual_database::merge::merge(found, own).version;
        refusal(id, &merged, |id| self.primary.version(id)).is_some()
    }

    /// Nothing that somebody has set is lost without a word, and nothing that was replaced stands again.
    pub fn check_truth(&mut self) {
        let (logged, raised) = (self.logged(), self.raised());
        let stands: BTreeSet<i64> =
            self.primary.rows.values().flat_map(|row| values(&row.version)).collect();
        let written: Vec<(i64, (Id, usize))> =
            self.truth.written.iter().map(|(value, at)| (*value, *at)).collect();
        for (value, (id, column)) in written {
            if self.truth.excused.contains(&id) || self.is_aside(id) {
                continue;
            }
            let (stands, replaced) =
                (stands.contains(&value), self.truth.replaced.contains(&value));
            if !stands && !replaced && !logged.contains(&value) {
                self.violate(format!("{id:?}: {value} in column {column} is lost"));
            }
            // Of an insert below the horizon nothing tells whether it is one that was purged.
            if stands && replaced && !raised.contains(&id) {
                self.violate(format!(
                    "{id:?}: {value} in column {column} was replaced, and stands"
                ));
            }
        }
        for id in all_ids() {
            let Some(version) = self.primary.version(id).filter(|version| version.lives()) else {
                let is_known = self.truth.born.contains(&id) && !self.truth.excused.contains(&id);
                if is_known && !self.truth.deleted.contains(&id) && !self.is_aside(id) {
                    self.violate(format!("{id:?} is gone, and nobody has deleted it"));
                }
                continue;
            };
            let orphan = parent_of(id, version)
                .is_some_and(|parent| !self.primary.version(parent).is_some_and(Version::lives));
            let badge = meaning(version, 1).is_some()
                && rival(id, version, |id| self.primary.version(id)).is_some();
            if orphan || badge {
                self.violate(format!("PostgreSQL has {id:?} against its own constraints"));
            }
        }
    }
}
