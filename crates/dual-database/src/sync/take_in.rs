//! Taking PostgreSQL's rows into the file.

use super::quarantine::{NUMBER, QuarantineSet};
use crate::Result;
use crate::merge::{Defaults, Tracked};
use crate::store::postgres::primary::RemoteRow;
use crate::store::sqlite::replica::{Content, Merged, Side, Taken};

/// How often what may have been refused for want of room is tried again, as a push does.
const RETRIES: usize = 6;

/// Merges PostgreSQL's rows into the file. What cannot be carried, or the file's table refuses, is set aside;
/// but a row whose unique value another one of them gives up is written after it, and rows that exchange
/// theirs are written together.
///
/// # Errors
/// Those of [`Content::take`].
pub(super) fn take_all<'r>(
    content: &Content<'_>,
    quarantine: &QuarantineSet,
    rows: impl Iterator<Item = &'r RemoteRow>,
    intact: bool,
) -> Result<()> {
    let mut refused: Vec<&RemoteRow> = Vec::new();
    for row in rows {
        if take_in(content, quarantine, row, intact)? == Taken::Refused
            && content.lacks_room(&row.id)?
        {
            refused.push(row);
        }
    }
    for _ in 0..RETRIES {
        let before = refused.len();
        // Who makes room has come after it more often than not.
        refused.reverse();
        let mut still = Vec::new();
        for row in refused {
            if take_in(content, quarantine, row, intact)? == Taken::Refused {
                still.push(row);
            }
        }
        refused = still;
        if refused.is_empty() || refused.len() == before {
            break;
        }
    }
    for _ in 0..RETRIES {
        if refused.len() < 2 {
            break;
        }
        let merged = refused.iter().map(|row| merged(content, row, intact));
        let merged: Vec<Merged<'_>> = merged.collect::<Result<_>>()?;
        let still = content.take_together(&merged)?;
        if still.is_empty() {
            return merged.iter().try_for_each(|row| taken(content, quarantine, row));
        }
        // What holds these up is none of them; it need not hold up the others.
        let place = |at: usize| still.contains(&at);
        let kept = refused.iter().enumerate().filter(|(at, _)| !place(*at));
        refused = kept.map(|(_, row)| *row).collect();
    }
    Ok(())
}

/// Merges one of PostgreSQL's rows into the file; says whether the table takes it.
fn take_in(
    content: &Content<'_>,
    quarantine: &QuarantineSet,
    row: &RemoteRow,
    intact: bool,
) -> Result<Taken> {
    if let Some(column) = row.unreadable {
        quarantine.unreadable(content, &row.id, Side::Sqlite, column)?;
        return Ok(Taken::Done);
    }
    if content.tables().get(row.id.table).is_none() {
        return Ok(Taken::Done);
    }
    let before = content.captured(&row.id)?;
    if let Some(local) = before.as_ref().filter(|local| content.is_unsent(&row.id, &local.tracked))
    {
        if local.tracked.version.live.value {
            let reason = "the file has another row under this number, which has to take another";
            quarantine.set_aside(content, &row.id, Side::Sqlite, NUMBER, reason.into())?;
            return Ok(Taken::Done);
        }
        content.leave_number(&row.id, &local.tracked)?;
    }
    let named = before.filter(|local| local.tracked.is_named_unheard() && !row.version.live.value);
    if let Some(local) = named {
        return content.stand_above(&row.id, &local.tracked, row.version.live.stamp);
    }
    let merged = merged(content, row, intact)?;
    let Merged { id, before, incoming, absorbed, surrogate } = &merged;
    let done = content.take(id, before.as_ref(), Some(*incoming), absorbed, *surrogate)?;
    if done == Taken::Done {
        taken(content, quarantine, &merged)?;
    }
    Ok(done)
}

fn merged<'r>(content: &Content<'_>, row: &'r RemoteRow, intact: bool) -> Result<Merged<'r>> {
    let before = content.captured(&row.id)?;
    let existing = before.as_ref().map(|local| &local.tracked);
    let none = Defaults::default();
    let defaults = content.tables().get(row.id.table).map_or(&none, |local| &local.defaults);
    let absorbed = Tracked::absorb(existing, &row.version, intact, defaults);
    Ok(Merged { id: &row.id, before, incoming: &row.version, absorbed, surrogate: row.surrogate })
}

/// What a row that the table has taken was in quarantine for is mended.
fn taken(content: &Content<'_>, quarantine: &QuarantineSet, row: &Merged<'_>) -> Result<()> {
    quarantine.release(content, row.id, Side::Sqlite)?;
    // What PostgreSQL had refused of it has been replaced from there.
    let settled = !row.absorbed.row.bases.any() && !row.absorbed.other_is_behind;
    if settled { quarantine.release(content, row.id, Side::Postgres) } else { Ok(()) }
}
