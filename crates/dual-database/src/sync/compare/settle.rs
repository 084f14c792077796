//! What a comparison writes into the file.

use super::Comparison;
use crate::merge::{Bases, Change, Conflict, RegisterId, Version, overwritten};
use crate::protocol::ConflictEntry;
use crate::protocol::reconcile::{Uncaptured, Unknown, unknown};
use crate::schema::RowId;
use crate::stamp::Stamp;
use crate::store::sqlite::replica::{Content, Taken};
use crate::sync::push::acknowledged;
use crate::sync::quarantine::QuarantineSet;
use crate::sync::take_in::take_all;
use crate::sync::{Shared, log};
use crate::{Result, Store};

/// Writes what stands of these columns of a row, as a change that is made here now; or the row is set
/// aside, if the file's table refuses it.
pub(super) fn write_uncaptured(
    content: &Content<'_>,
    shared: &Shared,
    id: &RowId,
    there: &Version,
    found: &[Uncaptured],
) -> Result<()> {
    let Some(local) = content.row(id)? else { return Ok(()) };
    let own = &local.tracked.version;
    // What has a higher stamp by now was settled, or changed, since it was found.
    let found: Vec<&Uncaptured> =
        found.iter().filter(|one| own.stamp_of(one.column) <= there.stamp_of(one.column)).collect();
    if found.is_empty() {
        return Ok(());
    }
    let side = |one: &Uncaptured, stands: bool| {
        if (one.stands == Store::Sqlite) == stands { own } else { there }
    };
    let columns = found.iter().filter_map(|one| {
        let value = &side(one, true).columns.get(one.column)?.value;
        Some((one.column, value.clone()))
    });
    let stamp = shared.clock().propose(own.highest().max(there.highest()));
    let entries: Vec<ConflictEntry> = found
        .iter()
        .filter(|one| one.loses)
        .map(|one| {
            let register = RegisterId::Column(one.column);
            let (winner, loser) = (side(one, true), side(one, false));
            let conflict = Conflict { register, winner: stamp, loser: loser.stamp_of(one.column) };
            log::entry(id, conflict, Some(winner), loser)
        })
        .collect();
    match content.try_change(id, &Change::Update(columns.collect()), stamp)? {
        Taken::Done => content.log_conflicts(&entries),
        Taken::Refused => Ok(()),
    }
}

/// What was planned for a range, once PostgreSQL has taken its part.
pub(super) fn apply_range(content: &Content<'_>, comparison: &Comparison) -> Result<()> {
    let Comparison { plan, pushed, there, cause, horizon, .. } = comparison;
    let intact = cause.primary_is_intact();
    let given = plan.give.rows.iter().map(|(id, _)| id.clone());
    let unreadable = plan.give.unreadable.iter().map(|(id, _)| id.clone());
    let ids = given.chain(unreadable).chain(there.iter().map(|row| row.id.clone()));
    let quarantine = QuarantineSet::of(content, ids)?;
    acknowledged(content, &quarantine, &plan.give, pushed)?;
    for (id, ..) in &pushed.refused {
        if let Some(mut row) = content.row(id)? {
            let found = there.iter().find(|row| row.id == *id);
            row.tracked.mark_pending(found.map(|there| &there.version), intact);
            content.set_tracked(id, &row.tracked)?;
        }
    }
    for id in &plan.drop {
        drop_purged(content, id, *horizon, intact)?;
    }
    for row in plan.take.iter().filter_map(|at| there.get(*at)) {
        if !intact
            && row.unreadable.is_none()
            && let Some(local) = content.row(&row.id)?
        {
            let own = &local.tracked.version;
            let lost = overwritten(own, &row.version, &Bases::default()).into_iter();
            let lost = lost.map(|conflict| log::entry(&row.id, conflict, Some(&row.version), own));
            content.log_conflicts(&lost.collect::<Vec<_>>())?;
        }
    }
    take_all(content, &quarantine, plan.take.iter().filter_map(|at| there.get(*at)), intact)
}

/// A row that was deleted at PostgreSQL, and its tombstone purged there.
fn drop_purged(content: &Content<'_>, id: &RowId, horizon: Stamp, intact: bool) -> Result<()> {
    let Some(row) = content.row(id)? else { return Ok(()) };
    if row.tracked.version.is_absent() {
        return content.forget(id).map(|_| ());
    }
    if unknown(&row.tracked, horizon) != Unknown::Delete {
        return Ok(());
    }
    let (version, bases) = (&row.tracked.version, &row.tracked.bases);
    let is_pending = |register| match register {
        RegisterId::Live | RegisterId::Number => bases.live.is_some(),
        RegisterId::Column(column) => bases.column(column).is_some(),
    };
    let entries: Vec<ConflictEntry> = log::registers(version)
        .into_iter()
        .filter(|(register, _)| !intact || is_pending(*register))
        .map(|(register, loser)| {
            log::entry(id, Conflict { register, winner: horizon, loser }, None, version)
        })
        .collect();
    match content.forget(id)? {
        Taken::Done => content.log_conflicts(&entries),
        Taken::Refused => Ok(()),
    }
}
