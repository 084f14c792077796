//! A row of the SQLite file: its version, and which of its registers PostgreSQL lacks.

use std::collections::BTreeMap;

use super::{
    Change, Conflict, Defaults, RegisterId, Version, conflicts, merge, misses_none, written,
};
use crate::stamp::{Clock, Stamp, StampClock, refused_as_ahead};

/// For each pending register the stamp that it replaced; `None` where nothing is pending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bases {
    /// Of `live`.
    pub live: Option<Stamp>,
    /// Of the columns in their order; what is missing at the end is not pending.
    pub columns: Vec<Option<Stamp>>,
}

impl Bases {
    /// The base of that column, if it is pending.
    #[must_use]
    pub fn column(&self, position: usize) -> Option<Stamp> {
        self.columns.get(position).copied().flatten()
    }

    /// Whether any register is pending.
    #[must_use]
    pub fn any(&self) -> bool {
        self.live.is_some() || self.columns.iter().any(Option::is_some)
    }

    /// Lets go of every pending register that is `settled`, given its stamp here and on the
    /// other side; what stays is pending on top of what the other side has.
    fn settle(&mut self, ours: &Version, theirs: &Version, settled: impl Fn(Stamp, Stamp) -> bool) {
        let decide = |base: &mut Option<Stamp>, ours: Stamp, theirs: Stamp| {
            if settled(ours, theirs) {
                *base = None;
            } else if let Some(base) = base {
                // Never downwards: what has been pulled meanwhile may be above it.
                *base = (*base).max(theirs);
            }
        };
        decide(&mut self.live, ours.live.stamp, theirs.live.stamp);
        for (position, base) in self.columns.iter_mut().enumerate() {
            decide(base, ours.stamp_of(position), theirs.stamp_of(position));
        }
    }
}

/// A row of the file with what is pending in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracked {
    /// The row and its stamps.
    pub version: Version,
    /// What PostgreSQL may lack of it.
    pub bases: Bases,
}

/// What taking in a version from the other side did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absorbed {
    /// The row afterwards.
    pub row: Tracked,
    /// Something was written; if not, the row is not to be touched at all.
    pub changed: bool,
    /// The other side lacks something that this one has: mark the row as changed.
    pub other_is_behind: bool,
    /// Pending registers that met a write which they had not seen, whichever won: to be logged
    /// in the same transaction. The bases know that write from then on, so that the push does
    /// not log it again.
    pub conflicts: Vec<Conflict>,
}

impl Tracked {
    /// A row with nothing pending.
    #[must_use]
    pub fn settled(version: Version) -> Tracked {
        Tracked { version, bases: Bases::default() }
    }

    /// The highest stamp that a change in this file replaces: what it is stamped with has to lie
    /// above it.
    ///
    /// What a pending delete has met on the other side counts though the tombstone does not show
    /// it: as long as the delete has not arrived, PostgreSQL still has that stamp, and a new
    /// insert below it would lose to the life that the delete has ended.
    #[must_use]
    pub fn replaces(&self, change: &Change) -> Stamp {
        let own = change.replaces(Some(&self.version));
        match change {
            Change::Insert(_) | Change::Delete => {
                let bases = self.bases.columns.iter().copied().chain([self.bases.live]);
                bases.flatten().fold(own, Stamp::max)
            }
            Change::Update(columns) => {
                let bases = columns.iter().filter_map(|(column, _)| self.bases.column(*column));
                bases.fold(own, Stamp::max)
            }
        }
    }

    /// Whether a change that was sent to PostgreSQL as `proposal` is not to be made here under that
    /// stamp: what it would replace is no older. A `proposal` of the future, by the clock that shows
    /// `now_unix_ms`, is above everything: then whatever is pending here may be the later.
    #[must_use]
    pub fn supersedes(&self, change: &Change, proposal: Stamp, now_unix_ms: i64) -> bool {
        let is_pending = || match change {
            Change::Insert(_) | Change::Delete => self.bases.any(),
            Change::Update(columns) => {
                columns.iter().any(|(column, _)| self.bases.column(*column).is_some())
            }
        };
        self.replaces(change) >= proposal || (proposal.is_ahead_of(now_unix_ms) && is_pending())
    }

    /// A change made in this file and pending: the registers that it sets remember the stamp
    /// that they had when PostgreSQL and the file last agreed.
    #[must_use]
    pub fn changed(
        existing: Option<&Tracked>,
        change: &Change,
        stamp: Stamp,
        unseen: Stamp,
        defaults: &Defaults,
    ) -> Tracked {
        let before = existing.map(|row| &row.version);
        let version = written(before, change, stamp, unseen, defaults);
        let mut bases = existing.map(|row| row.bases.clone()).unwrap_or_default();
        bases.columns.resize(version.columns.len().max(bases.columns.len()), None);
        let (live_before, is_new) =
            before.map_or((Stamp::ZERO, true), |row| (row.live.stamp, false));
        if is_new || version.live.stamp != live_before {
            bases.live.get_or_insert(live_before);
        }
        for (position, base) in bases.columns.iter_mut().enumerate() {
            let was = before.map_or(Stamp::ZERO, |row| row.stamp_of(position));
            if is_new || version.stamp_of(position) != was {
                base.get_or_insert(was);
            }
        }
        Tracked { version, bases }
    }

    /// The row as far as it counts against what PostgreSQL has.
    ///
    /// Where PostgreSQL shows a newer life, whatever is not pending here belonged to the old one
    /// and was known to it: it died with that life, even if its stamp is the higher (an update
    /// that a delete had beaten). Not to be asked of a PostgreSQL that may have lost
    /// transactions: there the stamps alone count.
    #[must_use]
    pub fn against(&self, primary: &Version) -> Version {
        let mut version = self.version.clone();
        if primary.live.stamp > version.live.stamp {
            let columns = version.columns.iter_mut().zip(&primary.columns).enumerate();
            for (position, (own, theirs)) in columns {
                if self.bases.column(position).is_none() {
                    *own = theirs.clone();
                }
            }
        }
        version
    }

    /// Takes in what PostgreSQL has: merges it, and what was pending and has lost is pending no
    /// more. `intact` says that PostgreSQL still has everything that it ever acknowledged.
    #[must_use]
    pub fn absorb(
        existing: Option<&Tracked>,
        incoming: &Version,
        intact: bool,
        defaults: &Defaults,
    ) -> Absorbed {
        let Some(existing) = existing else {
            return Absorbed {
                row: Tracked::settled(incoming.clone().stored(defaults)),
                // Of a row that was taken away there past the triggers there is nothing to take.
                changed: !incoming.is_absent(),
                other_is_behind: false,
                conflicts: Vec::new(),
            };
        };
        let conflicts = conflicts(&existing.version, &existing.bases, incoming);
        let own = if intact { existing.against(incoming) } else { existing.version.clone() };
        let version = merge(&own, incoming).version.stored(defaults);
        let mut bases = existing.bases.clone();
        if !version.live.value && version.live == incoming.live {
            // The row has died there, and what was pending in it with it.
            bases = Bases::default();
        }
        // Of a life that was not seen before nothing was seen above what is met of it now: the
        // base that an earlier life left may be the higher, and would hide what comes next.
        let known_life = existing.bases.live.unwrap_or(existing.version.live.stamp);
        if incoming.live.stamp > known_life && incoming.live.stamp != existing.version.live.stamp {
            for (position, base) in bases.columns.iter_mut().enumerate() {
                *base = base.map(|base| base.min(incoming.stamp_of(position)));
            }
        }
        // The own stamp coming back means that PostgreSQL has it, whatever became of the push. An
        // insert or delete that has not arrived keeps its columns, those too in which the life that
        // it ends is the higher: they remember what it has met.
        let unarrived = bases.live.is_some() && version.live.stamp > incoming.live.stamp;
        bases.settle(&existing.version, incoming, |ours, theirs| !unarrived && theirs >= ours);
        Absorbed {
            changed: version != existing.version || bases != existing.bases,
            other_is_behind: version != incoming.clone().stored(defaults),
            row: Tracked { version, bases },
            conflicts,
        }
    }

    /// Takes in what PostgreSQL answered to a direct write: `after`, which had been `previous`
    /// before it. Only the registers that the write has set are taken; the rest says nothing
    /// about what is pending here. `None` if the file misses something of what was there, or
    /// does not have the row: it waits for the feed.
    #[must_use]
    pub fn absorb_direct(
        existing: Option<&Tracked>,
        previous: Option<&Version>,
        after: &Version,
        defaults: &Defaults,
    ) -> Option<Absorbed> {
        if !misses_none(existing.map(|row| &row.version), previous) {
            return None;
        }
        let whole = previous.is_none_or(|previous| previous.live.stamp != after.live.stamp);
        if whole {
            return Some(Tracked::absorb(existing, after, true, defaults));
        }
        let existing = existing.filter(|row| row.version.live.value)?;
        let mut incoming = existing.version.clone();
        let is_set =
            |column| previous.is_some_and(|row| row.stamp_of(column) != after.stamp_of(column));
        for (position, (column, new)) in incoming.columns.iter_mut().zip(&after.columns).enumerate()
        {
            if is_set(position) {
                *column = new.clone();
            }
        }
        let mut absorbed = Tracked::absorb(Some(existing), &incoming, true, defaults);
        let Tracked { bases, .. } = &mut absorbed.row;
        bases.live = existing.bases.live;
        let unarrived = bases.live.is_some() && existing.version.live.stamp > after.live.stamp;
        for (position, base) in bases.columns.iter_mut().enumerate() {
            if !is_set(position) {
                *base = existing.bases.column(position);
            } else if unarrived {
                // Set in the life that the pending insert ends: see `absorb`.
                *base = Some(after.stamp_of(position));
            }
        }
        absorbed.changed = absorbed.row != *existing;
        absorbed.other_is_behind = false;
        Some(absorbed)
    }

    /// Whether PostgreSQL, whose clock shows `primary_unix_ms`, refuses the row because something
    /// pending in it lies too far ahead.
    #[must_use]
    pub fn is_refused_as_ahead(&self, primary_unix_ms: i64) -> bool {
        self.highest_bases()
            .into_iter()
            .any(|(stamp, base)| refused_as_ahead(stamp, base, primary_unix_ms))
    }

    /// The stamps that are pending, each with the highest that it replaced. Registers that share
    /// a stamp are judged together: they get one again, and it has to lie above all of that.
    fn highest_bases(&self) -> BTreeMap<Stamp, Stamp> {
        let mut bases = BTreeMap::<Stamp, Stamp>::new();
        for (_, stamp, base) in self.pending() {
            let highest = bases.entry(stamp).or_default();
            *highest = base.max(*highest);
        }
        bases
    }

    /// Gives new stamps to what PostgreSQL has refused as too far ahead, by the clock that it
    /// answered with: what had one stamp has one again. Says which register had which stamp and
    /// which it has now.
    pub fn restamp<C: Clock>(
        &mut self,
        primary_unix_ms: i64,
        clock: &mut StampClock<C>,
    ) -> Vec<(RegisterId, Stamp, Stamp)> {
        let fresh: BTreeMap<Stamp, Stamp> = self
            .highest_bases()
            .into_iter()
            .filter(|(stamp, base)| refused_as_ahead(*stamp, *base, primary_unix_ms))
            .map(|(old, base)| (old, clock.restamp(base, primary_unix_ms)))
            .collect();
        let restamped: Vec<_> = self
            .pending()
            .filter_map(|(register, old, _)| Some((register, old, *fresh.get(&old)?)))
            .collect();
        for (register, _, new) in &restamped {
            match register {
                RegisterId::Live | RegisterId::Number => self.version.live.stamp = *new,
                RegisterId::Column(column) => {
                    if let Some(column) = self.version.columns.get_mut(*column) {
                        column.stamp = *new;
                    }
                }
            }
        }
        restamped
    }

    /// The pending registers with their stamps and bases.
    fn pending(&self) -> impl Iterator<Item = (RegisterId, Stamp, Stamp)> + '_ {
        let live = self.bases.live.map(|base| (RegisterId::Live, self.version.live.stamp, base));
        let columns = self.version.columns.iter().zip(&self.bases.columns).enumerate();
        live.into_iter().chain(columns.filter_map(|(position, (column, base))| {
            Some((RegisterId::Column(position), column.stamp, (*base)?))
        }))
    }

    /// PostgreSQL has lost something of the row and could not take it back: what it lacks, given
    /// what it has, is pending from here on; of a row that it does not know, everything is.
    /// (Settled, what it lacks would neither be offered again nor meet a conflict.)
    ///
    /// Nothing tells whether the writers of what it lacks had seen what it has instead: somebody
    /// else may have given that back to it. So that counts as unseen, also against a base that
    /// lies above it, which PostgreSQL has lost too, or is a stamp that it may have given to two
    /// values, unless it is `intact`.
    pub fn mark_pending(&mut self, primary: Option<&Version>, intact: bool) {
        let lacks = |base: &mut Option<Stamp>, ours: Stamp, theirs: Stamp, taken: bool| {
            let told = intact || theirs.is_given_once();
            let seen = base.is_some_and(|base| base < theirs || (base == theirs && told));
            if !seen && (primary.is_none() || theirs < ours || taken) {
                *base = Some(theirs.just_below());
            }
        };
        let columns = self.version.columns.len();
        self.bases.columns.resize(columns.max(self.bases.columns.len()), None);
        let theirs = primary.map_or(Stamp::ZERO, |row| row.live.stamp);
        lacks(&mut self.bases.live, self.version.live.stamp, theirs, false);
        let dies = !self.version.live.value && self.bases.live.is_some();
        for (position, base) in self.bases.columns.iter_mut().enumerate() {
            let theirs = primary.map_or(Stamp::ZERO, |row| row.stamp_of(position));
            lacks(base, self.version.stamp_of(position), theirs, dies);
        }
    }

    /// PostgreSQL has taken `sent`. What has not changed since is no longer pending; what has
    /// been set again meanwhile is pending on top of what was sent.
    pub fn acknowledge(&mut self, sent: &Version) {
        self.bases.settle(&self.version, sent, |now, sent| now == sent);
    }
}

#[cfg(test)]
#[path = "pending_tests.rs"]
mod tests;
