//! What PostgreSQL makes of a push: each row is decided, then written in an order in which
//! constraints can take it.

use std::collections::{BTreeMap, BTreeSet};

use dual_database::merge::{
    Bases, Conflict, Register, RegisterId, Tracked, Version, conflicts, merge, overwritten,
};
use dual_database::protocol::Epoch;
use dual_database::protocol::reconcile::{Unknown, given, is_nobodys, risen, unknown};
use dual_database::stamp::{Writer, captured};
use dual_database::value::Value;

use super::primary::{Primary, PushEnd, Pushed};
use super::rows::{Entry, Id, PARENTS, Refusal, TABLES, defaults, entry, meaning, refusal};
use super::trap::Trap;

/// How often what may have failed for want of another row is tried again.
const RETRIES: usize = 6;

/// What is to stand of a row.
#[derive(Clone, Debug)]
struct Job {
    version: Version,
    noted: Vec<Entry>,
}

type Jobs = BTreeMap<Id, Job>;
type Failed = BTreeMap<Id, Refusal>;

enum Verdict {
    Gone,
    Stands(Option<Version>, Vec<Entry>),
    /// The file lacks something of what stands: the feed brings it again.
    Beats(Vec<Entry>),
}

impl Primary {
    /// Merges what a file pushes, in one transaction. `comparison` says in a comparison whether
    /// PostgreSQL has everything that it acknowledged.
    pub fn push(
        &mut self,
        rows: &[(Id, Tracked)],
        comparison: Option<bool>,
        followed: &Epoch,
        (file, tables): (usize, &[usize]),
    ) -> PushEnd {
        if !self.header(file, tables).epoch.is_server_of(followed) {
            return PushEnd::OtherServer;
        }
        if rows.iter().any(|(_, row)| row.is_refused_as_ahead(self.now)) {
            return PushEnd::Ahead;
        }
        let (mut pushed, mut jobs, mut again) = (Pushed::default(), Jobs::new(), Vec::new());
        for (id, row) in rows {
            match self.decide(*id, row, comparison) {
                Verdict::Gone => drop(pushed.gone.insert(*id)),
                Verdict::Stands(None, noted) => pushed.conflicts.extend(noted),
                Verdict::Stands(Some(version), noted) => {
                    jobs.insert(*id, Job { version, noted });
                }
                Verdict::Beats(noted) => {
                    pushed.conflicts.extend(noted);
                    again.push(*id);
                }
            }
        }
        pushed.refused = self.write(&mut jobs);
        let taken = jobs.into_iter().filter(|(id, _)| !pushed.refused.contains_key(id));
        pushed.conflicts.extend(taken.flat_map(|(_, job)| job.noted));
        let txid = self.txid;
        for id in again {
            if let Some(row) = self.rows.get_mut(&id) {
                row.txid = txid;
            }
        }
        self.log.extend(pushed.conflicts.iter().cloned());
        self.commits();
        PushEnd::Done(pushed)
    }

    fn decide(&self, id: Id, row: &Tracked, comparison: Option<bool>) -> Verdict {
        let Some(found) = self.version(id) else { return self.decide_unknown(id, row, comparison) };
        let mut logged = conflicts(&row.version, &row.bases, found);
        if comparison == Some(false) {
            logged.extend(overwritten(found, &row.version, &row.bases));
            logged.extend(overwritten(&row.version, found, &Bases::default()));
        }
        logged.sort_unstable();
        logged.dedup();
        logged.retain(|one| !is_nobodys(one, row, found, &defaults()));
        let own = match comparison.unwrap_or(true) {
            true => row.against(found),
            false => row.version.clone(),
        };
        let merged = merge(found, &own);
        let sides = [&row.version, found];
        let noted = logged.iter().map(|one| entry(id, *one, &sides)).collect();
        let version = merged.version.stored(&defaults());
        if merged.left_is_behind && version != *found {
            return Verdict::Stands(Some(version), noted);
        }
        match comparison.is_none() && version != row.version.clone().stored(&defaults()) {
            true => Verdict::Beats(noted),
            false => Verdict::Stands(None, noted),
        }
    }

    fn decide_unknown(&self, id: Id, row: &Tracked, comparison: Option<bool>) -> Verdict {
        let judged = match unknown(row, self.horizon) {
            Unknown::Delete if self.has(Trap::PurgeForgotten) => Unknown::Give,
            judged => judged,
        };
        match (judged, comparison) {
            (Unknown::Delete, _) => Verdict::Gone,
            (Unknown::Give, None) if row.bases.live.is_none() => Verdict::Gone,
            (Unknown::GiveAndLog, _) => {
                let (version, logged) = risen(&row.version, self.horizon, self.now);
                let noted = logged.map(|one| entry(id, one, &[&row.version]));
                let version = version.stored(&defaults());
                Verdict::Stands(Some(version), noted.into_iter().collect())
            }
            (Unknown::Give, _) => {
                let version = given(&row.version.clone().stored(&defaults()), self.horizon);
                Verdict::Stands(Some(version.stored(&defaults())), Vec::new())
            }
        }
    }

    /// Writes everything that constraints take, and says what they do not.
    fn write(&mut self, jobs: &mut Jobs) -> Failed {
        let all: BTreeSet<Id> = jobs.keys().copied().collect();
        let mut failed = self.pass(jobs, &all, false);
        if self.has(Trap::ChildrenFirst) || self.has(Trap::ParentsDieFirst) {
            return Failed::new();
        }
        failed = self.again(jobs, failed);
        if failed.values().any(|why| *why == Refusal::Unique) {
            failed = self.clear_taken(jobs, failed);
            failed = self.again(jobs, failed);
        }
        failed
    }

    fn again(&mut self, jobs: &Jobs, mut failed: Failed) -> Failed {
        for look in 0..RETRIES {
            let waits = |(_, why): &(&Id, &Refusal)| **why != Refusal::Check;
            let which: BTreeSet<Id> = failed.iter().filter(waits).map(|(id, _)| *id).collect();
            if which.is_empty() {
                break;
            }
            failed.retain(|id, _| !which.contains(id));
            let still = self.pass(jobs, &which, look % 2 == 0);
            let stuck = still.len() == which.len();
            failed.extend(still);
            if stuck && look > 0 {
                break;
            }
        }
        failed
    }

    /// Deletes from the last table to the first, then everything else from the first to the last.
    fn pass(&mut self, jobs: &Jobs, which: &BTreeSet<Id>, backwards: bool) -> Failed {
        let dies = |id: &Id| jobs.get(id).is_some_and(|job| !job.version.lives());
        let mut failed = Failed::new();
        let (deaths, births) = (self.has(Trap::ParentsDieFirst), self.has(Trap::ChildrenFirst));
        for at in 0..2 * TABLES {
            let dying = at < TABLES;
            let turned = if dying { !deaths } else { births };
            let table = if turned { TABLES - 1 - at % TABLES } else { at % TABLES };
            let here = |id: &&Id| id.table == table && dies(id) == dying;
            let mut group: Vec<Id> = which.iter().filter(here).copied().collect();
            if backwards {
                group.reverse();
            }
            for together in self.groups(jobs, &group) {
                self.attempt(jobs, &together, &mut failed);
            }
        }
        failed
    }

    /// A row that takes a badge which another one of them gives up goes together with it.
    fn groups(&self, jobs: &Jobs, which: &[Id]) -> Vec<Vec<Id>> {
        let had = |id: &Id| self.version(*id).and_then(|version| meaning(version, 1));
        let wants = |id: &Id| jobs.get(id).and_then(|job| meaning(&job.version, 1));
        let mut groups: Vec<Vec<Id>> = Vec::new();
        for id in which {
            let is_tied = |other: &Id| {
                let takes = |one: &Id, from: &Id| wants(one).is_some() && wants(one) == had(from);
                id.table == PARENTS && (takes(id, other) || takes(other, id))
            };
            let (tied, rest): (Vec<Vec<Id>>, Vec<Vec<Id>>) =
                groups.into_iter().partition(|group| group.iter().any(is_tied));
            groups = rest;
            groups.push(tied.into_iter().flatten().chain([*id]).collect());
        }
        groups.sort_by_key(|group| which.iter().position(|id| group.contains(id)));
        groups
    }

    /// All of them or none; then one by one.
    fn attempt(&mut self, jobs: &Jobs, together: &[Id], failed: &mut Failed) {
        let before = self.rows.clone();
        for id in together {
            if let Some(job) = jobs.get(id) {
                self.put(*id, job.version.clone());
            }
        }
        let found = |primary: &Primary, id: Id| {
            let was = |other: Id| match other == id {
                true => before.get(&id).map(|row| &row.version),
                false => primary.version(other),
            };
            jobs.get(&id).and_then(|job| refusal(id, &job.version, was))
        };
        let why = together.iter().find_map(|id| found(self, *id));
        if let (Some(why), [id]) = (why, together) {
            failed.insert(*id, why);
        }
        if why.is_some() {
            self.rows = before;
            if let [_, _, ..] = together {
                together.iter().for_each(|id| self.attempt(jobs, &[*id], failed));
            }
        } else if self.has(Trap::ParkedForGood) && together.len() > 1 {
            for id in together {
                if let Some(row) = self.rows.get_mut(id)
                    && let Some(badge) = row.version.columns.get_mut(1)
                {
                    badge.value = Value::Null;
                }
            }
        }
    }

    /// Who finds his badge taken goes without.
    fn clear_taken(&mut self, jobs: &mut Jobs, failed: Failed) -> Failed {
        let mut left = Failed::new();
        for (id, why) in failed {
            let Some(job) = jobs.get_mut(&id).filter(|_| why == Refusal::Unique) else {
                left.insert(id, why);
                continue;
            };
            let before = job.clone();
            if let Some(badge) = job.version.columns.get_mut(1) {
                let stamp = captured(self.now, badge.stamp, Writer::POSTGRES);
                let register = RegisterId::Column(1);
                let one = Conflict { register, winner: stamp, loser: badge.stamp };
                if !self.has(Trap::ClearedUnlogged) {
                    job.noted.push(entry(id, one, &[&before.version]));
                }
                *badge = Register { stamp, value: Value::Null };
            }
            left.extend(self.pass(jobs, &BTreeSet::from([id]), false));
            if left.contains_key(&id) {
                jobs.insert(id, before);
            }
        }
        left
    }
}
