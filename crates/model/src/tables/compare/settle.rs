//! What a comparison makes of one table, as `sync/plan.rs` and `sync/compare/settle.rs` do of a range.

use dual_database::Store;
use dual_database::merge::{Bases, Change, Conflict, RegisterId, Tracked, merge, overwritten};
use dual_database::protocol::reconcile::{
    Uncaptured, Unknown, adopted, loses, uncaptured, unexplained, unknown,
};
use dual_database::protocol::{Break, Follow};

use super::{Comparison, Plan};
use crate::tables::World;
use crate::tables::file::{Batch, File};
use crate::tables::primary::Header;
use crate::tables::process::Process;
use crate::tables::rows::{Id, Refusal, defaults, entry, rival};
use crate::tables::trap::Trap;

impl World {
    /// Where the stamps do not tell what stands, it is written here, under a stamp of its own.
    pub(super) fn settle_uncaptured(&mut self, process: usize, comparison: &Comparison) {
        let Process { file, clock, .. } = &mut self.processes[process];
        let file = &mut self.files[*file];
        for (id, found) in &comparison.plan.uncaptured {
            let Some(there) = comparison.there.get(id) else { continue };
            let Some(local) = file.rows.get(id).cloned() else { continue };
            let own = &local.row.version;
            let late = |one: &&Uncaptured| own.stamp_of(one.column) <= there.stamp_of(one.column);
            let found: Vec<&Uncaptured> = found.iter().filter(late).collect();
            let side =
                |one: &Uncaptured, stands: bool| match (one.stands == Store::Sqlite) == stands {
                    true => own,
                    false => there,
                };
            let set =
                |one: &&Uncaptured| (one.column, side(one, true).columns[one.column].value.clone());
            let change = Change::Update(found.iter().map(set).collect());
            let stamp = clock.propose(own.highest().max(there.highest()));
            let row = Tracked::changed(Some(&local.row), &change, stamp, file.horizon, &defaults());
            if rival(*id, &row.version, |id| file.version(id)).is_some() {
                file.set_aside(*id, Store::Sqlite, Refusal::Unique, self.now);
                continue;
            }
            file.put(*id, row);
            for one in found.iter().filter(|one| one.loses) {
                let loser = side(one, false);
                let register = RegisterId::Column(one.column);
                let lost = Conflict { register, winner: stamp, loser: loser.stamp_of(one.column) };
                file.log.push(entry(*id, lost, &[loser]));
            }
        }
    }
}

impl Comparison {
    pub(super) fn table(&self) -> usize {
        self.tables.get(self.at).copied().unwrap_or_default()
    }

    /// Whether the file stands where it stood as it began, and nobody has come to the end of it.
    pub(super) fn is_of(&self, file: &File) -> bool {
        let stands = match (&self.state, &file.follow) {
            (Follow::Following { epoch: began, .. }, Follow::Following { epoch, .. }) => {
                epoch.is_server_of(began)
            }
            (began, follow) => began == follow,
        };
        stands && file.marks(&self.tables) == self.marks
    }

    /// Whether the server is the one with which it began.
    pub(super) fn read(&mut self, header: &Header) -> bool {
        let same = header.epoch.is_server_of(&self.epoch);
        let goes_on = same && header.snapshot.follows(&self.snapshot);
        self.epoch = header.epoch;
        self.relations.clone_from(&header.tables);
        goes_on
    }

    /// As `sync/plan.rs` does.
    pub(super) fn plans(&self, file: &File) -> Plan {
        let mut plan = Plan { seq: file.seq, ..Plan::default() };
        let (intact, table) = (self.cause.primary_is_intact(), self.table());
        let is_refused = |id: Id| file.quarantine.contains_key(&(id, Store::Sqlite));
        for (id, local) in file.rows.iter().filter(|(id, _)| id.table == table) {
            let own = &local.row;
            let Some(there) = self.there.get(id) else {
                let judged = match unknown(own, self.horizon) {
                    _ if file.has(Trap::PurgeForgotten) => Unknown::Give,
                    _ if file.has(Trap::AbsenceIsDelete) => Unknown::Delete,
                    judged => judged,
                };
                match judged {
                    Unknown::Delete => {
                        plan.lost_here += usize::from(own.version.live.value);
                        plan.drop.push(*id);
                    }
                    Unknown::Give | Unknown::GiveAndLog => plan.give.push((*id, own.clone())),
                }
                continue;
            };
            let mut found = Vec::new();
            if !intact && !is_refused(*id) {
                let here = self.cause == Break::LocalGap;
                found.extend(uncaptured(own, there, here, &defaults()));
                found.extend(adopted(own, there, self.horizon, &defaults()));
            }
            let loses_on = |side| found.iter().any(|one| one.loses && one.stands != side);
            plan.lost_here += usize::from(loses_on(Store::Sqlite));
            let kept = unexplained(own, there);
            plan.lost_there += usize::from(loses_on(Store::Postgres) || loses(there, &kept));
            if own.version != *there || own.bases.any() || is_refused(*id) {
                plan.take.push(*id);
            }
            let offered = if intact { own.against(there) } else { own.version.clone() };
            let behind = merge(there, &offered).left_is_behind;
            let by_position = file.has(Trap::GivenByPosition);
            if file.waits(*id, local.seq) || (behind && !by_position) {
                plan.give.push((*id, own.clone()));
            }
            if !found.is_empty() {
                plan.uncaptured.push((*id, found));
            }
        }
        if file.has(Trap::GivenByPosition) {
            plan.give.retain(|(id, _)| file.rows.get(id).is_some_and(|l| file.waits(*id, l.seq)));
        }
        plan.take.extend(self.there.keys().filter(|id| !file.rows.contains_key(id)));
        plan
    }

    /// The file's part, once PostgreSQL has taken its own.
    pub(super) fn settle(&self, file: &mut File, tables: &[usize], now: i64) {
        let intact = self.cause.primary_is_intact();
        let batch = Batch { rows: self.plan.give.clone(), upto: self.plan.seq, followed: None };
        file.acknowledge(&batch, &self.pushed, tables, now);
        for id in self.pushed.refused.keys() {
            if let Some(local) = file.rows.get_mut(id) {
                local.row.mark_pending(self.there.get(id), intact);
            }
        }
        for id in &self.plan.drop {
            self.drop_purged(file, *id, intact);
        }
        for id in &self.plan.take {
            let Some(found) = self.there.get(id) else { continue };
            if let Some(own) = file.version(*id).cloned().filter(|_| !intact) {
                let lost = overwritten(&own, found, &Bases::default());
                file.note(*id, &lost, &[&own, found]);
            }
        }
        let rows = self.plan.take.iter().filter_map(|id| Some((*id, self.there.get(id)?)));
        file.take_all(rows, intact, tables, now);
    }

    /// A row that was deleted at PostgreSQL, and its tombstone purged there.
    fn drop_purged(&self, file: &mut File, id: Id, intact: bool) {
        let Some(local) = file.rows.get(&id).cloned() else { return };
        let absent = file.has(Trap::AbsenceIsDelete);
        if unknown(&local.row, self.horizon) != Unknown::Delete && !absent {
            return;
        }
        let Tracked { version, bases } = &local.row;
        let live = (RegisterId::Live, version.live.stamp, bases.live.is_some());
        let columns =
            version.columns.iter().enumerate().map(|(at, column)| {
                (RegisterId::Column(at), column.stamp, bases.column(at).is_some())
            });
        let lost = columns.chain([live]).filter(|(.., pending)| !intact || *pending);
        let lost: Vec<Conflict> = lost
            .map(|(register, loser, _)| Conflict { register, winner: self.horizon, loser })
            .collect();
        file.note(id, &lost, &[version]);
        file.forget(id);
    }
}
