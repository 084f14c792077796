//! Taking PostgreSQL's rows in, as `sync/take_in.rs` and `store/sqlite/replica/room.rs` do.

use dual_database::Store;
use dual_database::merge::{Register, Tracked, Version};
use dual_database::value::Value;

use super::{File, Local};
use crate::tables::rows::{Id, Refusal, defaults, rival};
use crate::tables::trap::Trap;

impl File {
    /// Merges PostgreSQL's rows. Those that the table refuses because others of them have not made room yet
    /// are tried again, and then all at once.
    pub fn take_all<'v>(
        &mut self,
        rows: impl Iterator<Item = (Id, &'v Version)>,
        intact: bool,
        tables: &[usize],
        now: i64,
    ) {
        let mut refused: Vec<(Id, &Version)> = Vec::new();
        for (id, found) in rows {
            if !self.take_in(id, found, intact, tables, now) {
                refused.push((id, found));
            }
        }
        if self.has(Trap::NoRoomHere) {
            return;
        }
        let mut before = usize::MAX;
        while refused.len() < before {
            before = refused.len();
            refused.retain(|(id, found)| !self.take_in(*id, found, intact, tables, now));
        }
        while refused.len() > 1 {
            let kept = self.clone();
            let parked: Vec<(Id, Option<Register<Value>>)> =
                refused.iter().map(|(id, _)| (*id, self.park(*id))).collect();
            let still: Vec<Id> = refused
                .iter()
                .filter(|(id, found)| {
                    let own = parked.iter().find(|(one, _)| one == id);
                    let own = own.and_then(|(_, badge)| badge.clone());
                    !self.take_parked(*id, found, own, (intact, tables, now))
                })
                .map(|(id, _)| *id)
                .collect();
            if still.is_empty() {
                return;
            }
            *self = kept;
            refused.retain(|(id, _)| !still.contains(id));
        }
    }

    /// Takes the badge from a row for a moment; gives what it was.
    fn park(&mut self, id: Id) -> Option<Register<Value>> {
        let badge = self.rows.get_mut(&id)?.row.version.columns.get_mut(1)?;
        let parked = Register { stamp: badge.stamp, value: Value::Null };
        Some(std::mem::replace(badge, parked))
    }

    fn take_parked(
        &mut self,
        id: Id,
        found: &Version,
        own: Option<Register<Value>>,
        (intact, tables, now): (bool, &[usize], i64),
    ) -> bool {
        if let (Some(own), Some(local)) = (own, self.rows.get_mut(&id))
            && let Some(badge) = local.row.version.columns.get_mut(1)
        {
            *badge = own;
        }
        self.take_in(id, found, intact, tables, now)
    }

    /// Merges one of PostgreSQL's rows; says whether the table takes it.
    fn take_in(
        &mut self,
        id: Id,
        found: &Version,
        intact: bool,
        tables: &[usize],
        now: i64,
    ) -> bool {
        let before = self.rows.get(&id).cloned();
        let row = before.as_ref().map(|local| &local.row);
        let absorbed = Tracked::absorb(row, found, intact, &defaults());
        if absorbed.changed || absorbed.other_is_behind {
            if rival(id, &absorbed.row.version, |id| self.version(id)).is_some() {
                self.set_aside(id, Store::Sqlite, Refusal::Unique, now);
                return false;
            }
            let mut seq = before.as_ref().map_or(0, |local| local.seq);
            if absorbed.other_is_behind && !self.waits(id, seq) {
                self.seq += 1;
                seq = self.seq;
            }
            self.rows.insert(id, Local { row: absorbed.row.clone(), seq });
        }
        let own = before.as_ref().map_or(found, |local| &local.row.version);
        self.note(id, &absorbed.conflicts, &[own, found]);
        self.release(id, Store::Sqlite, tables);
        if !absorbed.row.bases.any() && !absorbed.other_is_behind {
            self.release(id, Store::Postgres, tables);
        }
        true
    }
}
