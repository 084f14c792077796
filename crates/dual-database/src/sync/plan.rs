//! What a full comparison does with a range of keys; pure.

use tracing::info;

use super::push::Batch;
use crate::Store;
use crate::merge::{Defaults, merge};
use crate::protocol::Break;
use crate::protocol::reconcile::{
    Guard, Uncaptured, Unknown, adopted, loses, uncaptured, unexplained, unknown,
};
use crate::schema::{Key, RowId};
use crate::stamp::Stamp;
use crate::store::postgres::primary::RemoteRow;
use crate::store::sqlite::replica::LocalRow;

/// What is to be done with a range.
#[derive(Clone, Debug, Default)]
pub(super) struct RangePlan {
    /// For PostgreSQL.
    pub(super) give: Batch,
    /// For the file: positions in PostgreSQL's part of the range.
    pub(super) take: Vec<usize>,
    /// Rows of the file that were deleted and purged at PostgreSQL.
    pub(super) drop: Vec<RowId>,
    /// Columns of which the stamps do not tell whose value stands, with the position in PostgreSQL's
    /// part. They are settled before anything else, and the range is planned again.
    pub(super) uncaptured: Vec<(RowId, usize, Vec<Uncaptured>)>,
    /// The key with which the range ends; `None`: with its table.
    pub(super) end: Option<Key>,
}

impl RangePlan {
    /// Both sides are equal there.
    pub(super) fn is_empty(&self) -> bool {
        self.uncaptured.is_empty()
            && self.give.is_empty()
            && self.take.is_empty()
            && self.drop.is_empty()
    }
}

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// Rows that live.
    pub(super) rows_local: usize,
    pub(super) rows_remote: usize,
    /// Living rows that would be deleted or overwritten.
    pub(super) lost_local: usize,
    pub(super) lost_remote: usize,
    pub(super) given: usize,
    pub(super) taken: usize,
}

impl Counters {
    pub(super) fn add(&mut self, other: Counters) {
        self.rows_local += other.rows_local;
        self.rows_remote += other.rows_remote;
        self.lost_local += other.lost_local;
        self.lost_remote += other.lost_remote;
    }

    /// Whether it may happen unasked.
    pub(super) fn is_allowed(&self, guard: Guard) -> bool {
        guard.allows(self.lost_local, self.rows_local)
            && guard.allows(self.lost_remote, self.rows_remote)
    }

    pub(super) fn losses(&self) -> usize {
        self.lost_local.max(self.lost_remote)
    }

    /// Tells that it is over.
    pub(super) fn tell(&self, cause: Break) {
        let Counters { rows_local, rows_remote, given, taken, .. } = *self;
        info!(?cause, rows_local, rows_remote, given, taken, "both sides have been compared");
    }
}

/// Under which a range is planned.
#[derive(Clone, Copy, Debug)]
pub(super) struct RangeTerms<'d> {
    /// PostgreSQL has lost nothing.
    pub(super) intact: bool,
    /// Only the file's triggers were missing.
    pub(super) here: bool,
    /// Of the table's columns.
    pub(super) defaults: &'d Defaults,
    /// PostgreSQL's purge horizon.
    pub(super) horizon: Stamp,
    /// The file's position as it was read.
    pub(super) seq: i64,
}

/// Plans a range of which both sides were read in the order of their keys. `is_refused` says
/// which of PostgreSQL's rows the file has refused.
///
/// A row that only one side has is no loss to the other, and neither is one that was taken away past
/// the triggers: it comes back. What would be lost are values, and rows whose delete was captured.
///
/// What somebody wrote is no loss: neither what is pending on top of just what PostgreSQL has,
/// nor what PostgreSQL has that is newer. The exchange would have brought both without asking.
pub(super) fn plan(
    here: Vec<(RowId, LocalRow)>,
    there: &[RemoteRow],
    terms: RangeTerms<'_>,
    is_pending: impl Fn(&RowId, &LocalRow) -> bool,
    is_refused: impl Fn(&RowId) -> bool,
) -> (RangePlan, Counters) {
    let RangeTerms { intact, here: gap_is_local, defaults, horizon, seq } = terms;
    let mut plan = RangePlan::default();
    let mut counters = Counters {
        rows_local: here.iter().filter(|(_, row)| row.tracked.version.lives()).count(),
        rows_remote: there.iter().filter(|row| row.version.lives()).count(),
        ..Counters::default()
    };
    let mut give = Vec::new();
    let mut theirs = there.iter().enumerate().peekable();
    for (id, row) in here {
        while let Some((at, remote)) = theirs.next_if(|(_, remote)| remote.id < id) {
            plan.take.extend(Some(at).filter(|_| !remote.version.is_absent()));
        }
        let own = &row.tracked;
        let Some((at, remote)) = theirs.next_if(|(_, remote)| remote.id == id) else {
            match unknown(own, horizon) {
                // Nobody knows anything of it.
                _ if own.version.is_absent() => plan.drop.push(id),
                Unknown::Delete => {
                    counters.lost_local += usize::from(own.version.live.value);
                    plan.drop.push(id);
                }
                Unknown::Give | Unknown::GiveAndLog => give.push((id, row)),
            }
            continue;
        };
        let carried = row.unreadable.is_none() && remote.unreadable.is_none();
        let mut found = Vec::new();
        if carried && !intact && !is_refused(&id) {
            found.extend(uncaptured(own, &remote.version, gap_is_local, defaults));
            found.extend(adopted(own, &remote.version, horizon, defaults));
        }
        let loses_on = |side| found.iter().any(|one| one.loses && one.stands != side);
        counters.lost_local += usize::from(loses_on(Store::Sqlite));
        let lost_remote = loses_on(Store::Postgres);
        let mut kept = unexplained(own, &remote.version);
        // Of a column that is joined just now, nobody has set what it does not say: that is nothing to miss.
        for one in found.iter().filter(|one| !one.loses) {
            let pair = kept.columns.get_mut(one.column).zip(remote.version.columns.get(one.column));
            if let Some((ours, theirs)) = pair.filter(|(_, theirs)| theirs.stamp == Stamp::ZERO) {
                ours.clone_from(theirs);
            }
        }
        counters.lost_remote += usize::from(lost_remote || loses(&remote.version, &kept));
        let agrees = own.version == remote.version && row.surrogate == remote.surrogate;
        if !agrees || own.bases.any() || remote.unreadable.is_some() || is_refused(&id) {
            plan.take.push(at);
        }
        let offered = if intact { own.against(&remote.version) } else { own.version.clone() };
        if is_pending(&id, &row) || merge(&remote.version, &offered).left_is_behind {
            give.push((id.clone(), row));
        }
        if !found.is_empty() {
            plan.uncaptured.push((id, at, found));
        }
    }
    plan.take.extend(theirs.filter(|(_, remote)| !remote.version.is_absent()).map(|(at, _)| at));
    plan.give = Batch::of(give, seq);
    (plan, counters)
}
