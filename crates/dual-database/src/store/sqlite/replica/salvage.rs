//! Taking over what is pending in a copy of the file, or in one that was set aside.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::super::failed;
use super::place::SharedFile;
use super::{Content, LocalRow, Taken};
use crate::merge::{Absorbed, Bases, Conflict, Defaults, RegisterId, Tracked, merge as merged};
use crate::schema::{Key, KeyColumns, RowId, behind};
use crate::{Error, Kind, Result, Store};

const OPERATION: &str = "merge a salvaged SQLite file";

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SalvageReport {
    /// Rows that were found.
    found: u64,
    /// Rows that were taken over.
    pub taken: u64,
    /// Rows that could not be read, or that hold what cannot be carried.
    pub unreadable: u64,
    /// Rows that the file's own table refuses; they are in its quarantine.
    pub refused: u64,
}

impl SalvageReport {
    /// As many rows as are known to be lost; `None` if none was found at all.
    pub(super) fn lost(self) -> Option<u64> {
        (self.found > 0 || self.unreadable == 0).then_some(self.unreadable)
    }

    /// Nothing is left that only the other file has.
    pub(super) fn is_complete(self) -> bool {
        self.unreadable == 0 && self.refused == 0
    }
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Salvaged {
    Taken,
    /// It was there already.
    Known,
    Unreadable,
    Refused,
}

/// How much is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// What PostgreSQL may lack; it brings the rest.
    Pending,
    /// Everything: until PostgreSQL has been compared with, there is nothing else to read.
    Whole,
}

/// Takes over the rows and the conflict log of the file at `from`, in one transaction.
/// Repeating it changes nothing. If something pending is left, what was taken is forgotten there:
/// tried again much later, it would come back after it was deleted and purged.
///
/// # Errors
/// About the schema if it is none of ours; else those of [`failed`].
pub(super) fn merge(
    place: &SharedFile,
    into: &Connection,
    from: &Path,
    installation: Option<u128>,
    extent: Extent,
) -> Result<SalvageReport> {
    let wrap = |cause| failed(OPERATION, cause);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags).map_err(wrap)?;
    source.busy_timeout(place.busy()).map_err(wrap)?;
    let theirs = Content::new(&source, place.tables(), place.generation());
    let ours = Content::new(into, place.tables(), place.generation());
    // Of a damaged file the node may be what cannot be read; its rows are wanted all the same.
    let node = theirs.node();
    let other = node.as_ref().ok().and_then(|node| node.installation);
    if installation.is_some() && other.is_some() && other != installation {
        return Err(Error::new(
            Kind::Schema(Store::Sqlite),
            OPERATION,
            "it belongs to another installation",
        ));
    }
    let pushed = node.as_ref().map_or(0, |node| node.pushed);
    into.execute_batch("PRAGMA synchronous = FULL; BEGIN IMMEDIATE").map_err(wrap)?;
    let mut report = SalvageReport::default();
    let mut settled = Vec::new();
    let read = rows(&theirs, &ours, (extent, pushed), &mut report);
    let result = read.and_then(|ids| {
        settled = ids;
        if let Ok(entries) = theirs.conflicts(usize::MAX) {
            let entries: Vec<_> = entries.into_iter().rev().collect();
            ours.log_conflicts(&entries)?;
        }
        for damage in theirs.damage().unwrap_or_default() {
            ours.note_damage(&damage)?;
        }
        if let (Some(number), Ok(mut own)) = (other, ours.node())
            && own.installation.is_none()
        {
            own.installation = Some(number);
            ours.set_node(&own)?;
        }
        into.execute_batch("COMMIT").map_err(wrap)
    });
    if !into.is_autocommit() {
        into.execute_batch("ROLLBACK").map_err(wrap)?;
    }
    if result.is_ok()
        && extent == Extent::Pending
        && !report.is_complete()
        && let Err(cause) = forget(&theirs, &settled)
    {
        tracing::warn!(%cause, "what was taken of a salvage could not be forgotten in it");
    }
    result.map(|()| report)
}

fn forget(theirs: &Content<'_>, settled: &[RowId]) -> rusqlite::Result<()> {
    let transaction = theirs.connection().unchecked_transaction()?;
    for id in settled {
        if let Some(local) = theirs.tables().get(id.table) {
            let sql = format!(
                "DELETE FROM {} WHERE {}",
                local.layout.sidecar,
                local.layout.own_key.is("", "=", 1)
            );
            transaction.prepare_cached(&sql)?.execute([&id.key])?;
        }
    }
    transaction.commit()
}

/// Says which rows are settled.
fn rows(
    theirs: &Content<'_>,
    ours: &Content<'_>,
    (extent, pushed): (Extent, i64),
    report: &mut SalvageReport,
) -> Result<Vec<RowId>> {
    let mut settled = Vec::new();
    for (table, local) in ours.tables().iter().enumerate() {
        let layout = &local.layout;
        // Not by the index over `seq`, which may be what is damaged.
        let which = match extent {
            Extent::Whole => "1".to_owned(),
            Extent::Pending => format!(
                "+seq > {pushed} OR live_base IS NOT NULL{}",
                behind(" OR ", layout.each(" OR ", |r| format!("{} IS NOT NULL", r.base)))
            ),
        };
        let (keys, is_complete) =
            keys(theirs.connection(), &layout.sidecar, &layout.own_key, &which);
        report.unreadable += u64::from(!is_complete);
        report.found += keys.len() as u64;
        for key in keys {
            let id = RowId { table, key };
            let outcome = match theirs.row(&id) {
                Ok(Some(row)) => take_over(ours, &id, &row, pushed)?,
                Ok(None) => Salvaged::Known,
                Err(_) => Salvaged::Unreadable,
            };
            match outcome {
                Salvaged::Taken => report.taken += 1,
                Salvaged::Known => {}
                Salvaged::Unreadable => report.unreadable += 1,
                Salvaged::Refused => report.refused += 1,
            }
            if matches!(outcome, Salvaged::Taken | Salvaged::Known) {
                settled.push(id);
            }
        }
    }
    Ok(settled)
}

/// The keys that are wanted, from both ends up to where they can be read; and whether that is
/// all of them.
fn keys(source: &Connection, sidecar: &str, key: &KeyColumns, which: &str) -> (Vec<Key>, bool) {
    let mut keys = Vec::new();
    for direction in ["", " DESC"] {
        let (given, order) = (key.given(""), key.order("", direction));
        let sql = format!("SELECT {given} FROM {sidecar} WHERE {which} ORDER BY {order}");
        let mut scan = || -> rusqlite::Result<()> {
            let mut look = source.prepare(&sql)?;
            let mut rows = look.query([])?;
            while let Some(row) = rows.next()? {
                keys.push(row.get(0)?);
            }
            Ok(())
        };
        if scan().is_ok() {
            return (keys, true);
        }
    }
    keys.sort_unstable();
    keys.dedup();
    (keys, false)
}

fn take_over(ours: &Content<'_>, id: &RowId, theirs: &LocalRow, pushed: i64) -> Result<Salvaged> {
    if theirs.unreadable.is_some() {
        // What cannot be carried to PostgreSQL cannot be carried here either.
        return Ok(Salvaged::Unreadable);
    }
    if theirs.tracked.version.is_absent() {
        // The sidecar has it and the table has not: either that was noted as taken away, or it is the
        // table that cannot be read.
        return Ok(if theirs.is_loose { Salvaged::Unreadable } else { Salvaged::Known });
    }
    let before = ours.row(id)?;
    let defaults = &ours.local(id.table)?.defaults;
    let own = before.as_ref().map(|row| &row.tracked);
    let mut absorbed = absorb(own, &theirs.tracked, defaults);
    if !absorbed.changed {
        return Ok(Salvaged::Known);
    }
    absorbed.other_is_behind = theirs.seq > pushed || absorbed.row.bases.any();
    let other = &theirs.tracked.version;
    Ok(match ours.take(id, before.as_ref(), Some(other), &absorbed, theirs.surrogate)? {
        Taken::Done => Salvaged::Taken,
        Taken::Refused => Salvaged::Refused,
    })
}

/// Both rows as one: for each register the higher stamp with what is pending about it. Where a
/// pending write of the salvage has lost to one that it had not seen, that is a conflict.
fn absorb(own: Option<&Tracked>, salvaged: &Tracked, defaults: &Defaults) -> Absorbed {
    let Some(own) = own else {
        return Absorbed {
            row: salvaged.clone(),
            changed: true,
            other_is_behind: true,
            conflicts: Vec::new(),
        };
    };
    let (left, right) = (&own.version, &salvaged.version);
    let version = merged(left, right).version.stored(defaults);
    let base = |ours: bool, at: RegisterId| {
        let bases = if ours { &own.bases } else { &salvaged.bases };
        match at {
            RegisterId::Live | RegisterId::Number => bases.live,
            RegisterId::Column(at) => bases.column(at),
        }
    };
    let lives_here = version.live == left.live;
    let mut bases = Bases { live: base(lives_here, RegisterId::Live), columns: Vec::new() };
    let mut conflicts = Vec::new();
    for at in 0..version.columns.len() {
        let register = RegisterId::Column(at);
        // A dead row has the one stamp of its delete.
        let is_ours = match version.live.value {
            true => version.columns.get(at) == left.columns.get(at),
            false => lives_here,
        };
        bases.columns.push(base(is_ours, register));
        let pending = salvaged.bases.column(at);
        let differs =
            version.columns.get(at).map(|c| &c.value) != right.columns.get(at).map(|c| &c.value);
        let unseen = pending.is_some_and(|base| left.stamp_of(at) > base);
        if is_ours && right.live.value && unseen && (differs || !version.live.value) {
            let winner = if version.live.value { version.stamp_of(at) } else { version.live.stamp };
            conflicts.push(Conflict { register, winner, loser: right.stamp_of(at) });
        }
    }
    let row = Tracked { version, bases };
    Absorbed { changed: row != *own, other_is_behind: true, row, conflicts }
}
