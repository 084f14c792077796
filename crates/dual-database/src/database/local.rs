//! The file's part of a write: alone, or after PostgreSQL has answered.

use std::collections::BTreeMap;

use super::core::propose;
use super::number::NumberKept;
use super::plan::{WritePlan, already_exists, conflict, named, refusal};
use crate::merge::{Change, Tracked, Version, has_what_was_read};
use crate::protocol::{Break, Follow, Quarantined, Record};
use crate::schema::RowId;
use crate::stamp::Stamp;
use crate::store::postgres::primary::{LOCKED, WriteAnswer};
use crate::store::sqlite::replica::{Content, Durability, LocalRow, Taken, is_unused};
use crate::sync::Shared;
use crate::{Error, Kind, Result, Store};

/// What PostgreSQL was sent before its answer was lost.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub changes: Vec<(RowId, Change)>,
    pub proposal: Stamp,
    /// What keeps the numbers of new rows.
    pub numbers: BTreeMap<RowId, NumberKept>,
}

impl Sent {
    pub fn new(plan: &WritePlan, changes: Vec<(RowId, Change)>, proposal: Stamp) -> Sent {
        Sent { changes, proposal, numbers: plan.numbers.clone() }
    }

    /// Makes a change in the file, pending. What PostgreSQL `was_sent` it may have, so that it is no birth to
    /// ask about, whatever its number is from.
    fn make(
        &self,
        content: &Content<'_>,
        id: &RowId,
        change: &Change,
        was_sent: bool,
    ) -> Result<()> {
        match (self.numbers.get(id), change) {
            (Some(kept), Change::Insert(values)) => {
                let kept = (kept.by, kept.is_asked || was_sent);
                content.add_numbered(id, values, self.proposal, kept)
            }
            _ => content.change(id, change, self.proposal),
        }
    }
}

/// What the file knows before a write.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Precheck {
    /// Something is pending for PostgreSQL.
    pub behind: Behind,
    /// A row that the write changes waits in the file, because somebody else has it locked there.
    pub locked: bool,
    /// A row that the write is about is in the file alone, because PostgreSQL refuses it.
    pub is_here: bool,
    /// The highest stamp that the write replaces here.
    pub above: Stamp,
    /// The file's identity at PostgreSQL.
    pub file: uuid::Uuid,
}

impl Precheck {
    /// The same, though PostgreSQL may be behind; not if it is in doubt, where it would answer
    /// "not found" about rows that it has lost.
    pub fn regardless(self) -> Precheck {
        let behind = match self.behind {
            Behind::Doubted => Behind::Doubted,
            Behind::Not | Behind::Push | Behind::Comparison => Behind::Not,
        };
        Precheck { behind, locked: false, is_here: false, ..self }
    }
}

/// How far PostgreSQL is behind the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Behind {
    /// It lacks nothing, but for what it refuses.
    #[default]
    Not,
    /// The next push gives it what it lacks.
    Push,
    /// Both sides have to be compared first, or a person has to decide: that may take long.
    Comparison,
    /// The same, and it may have lost what the file has: the file answers, whatever is pending.
    Doubted,
}

/// How far PostgreSQL is behind the file, for a call on these tables.
pub(super) fn behind(
    content: &Content<'_>,
    tables: impl IntoIterator<Item = usize>,
) -> Result<Behind> {
    Ok(match content.follow_of(tables)? {
        follow if follow.doubts_primary() => Behind::Doubted,
        Follow::Following { .. } if content.is_pending()? => Behind::Push,
        Follow::Following { .. } => Behind::Not,
        // Of a table that is apart from the others what is pending is not told by the file's position.
        _ if !content.apart()?.is_empty() => Behind::Comparison,
        _ if content.is_pending()? => Behind::Comparison,
        Follow::Reconciling { .. } | Follow::Held { .. } => Behind::Not,
    })
}

/// The same, for a call that only reads a table: of one that is apart from the others PostgreSQL can be asked
/// where nothing waits in the file. Not before it was ever exchanged: the file may have rows that nobody gave.
pub(super) fn behind_to_read(content: &Content<'_>, table: usize) -> Result<Behind> {
    let behind_all = behind(content, [table])?;
    if behind_all != Behind::Comparison || !content.apart()?.contains(&table) {
        return Ok(behind_all);
    }
    if content.is_first_contact(table)? || content.has_unmet(table)? {
        return Ok(Behind::Comparison);
    }
    behind(content, [])
}

/// How far PostgreSQL is behind the file in the tables that follow, and which do not.
pub(super) fn behind_followed(content: &Content<'_>) -> Result<(Behind, Vec<usize>)> {
    let apart = content.apart()?;
    let follow = (0..content.tables().len()).filter(|table| !apart.contains(table));
    Ok((behind(content, follow)?, apart))
}

/// Whether something of these rows is pending.
pub(super) fn waits(content: &Content<'_>, ids: &[RowId]) -> Result<bool> {
    for id in ids {
        if content.row(id)?.is_some_and(|row| row.tracked.bases.any()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Where a row is of which one side has not taken what the other one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeldBy {
    /// Nothing is set aside of it, or both sides have it, each in its way.
    Both,
    /// In the file alone: PostgreSQL refuses it.
    FileAlone,
    /// In PostgreSQL alone: the file cannot hold it, or PostgreSQL does not let it go.
    PostgresAlone,
}

impl HeldBy {
    /// Of which the file has `row`, and that is in quarantine as `aside` says. What somebody has
    /// locked at PostgreSQL is merely pending.
    pub fn of(row: Option<&LocalRow>, aside: &[Quarantined]) -> HeldBy {
        let living = row.map(|row| &row.tracked).filter(|row| row.version.lives());
        let refused = |entry: &Quarantined| entry.code != LOCKED;
        match living {
            None if aside.iter().any(refused) => HeldBy::PostgresAlone,
            Some(row) if row.bases.live.is_some() => {
                let refuses = |e: &Quarantined| e.refused_by == Store::Postgres && refused(e);
                if aside.iter().any(refuses) { HeldBy::FileAlone } else { HeldBy::Both }
            }
            _ => HeldBy::Both,
        }
    }

    fn read(content: &Content<'_>, id: &RowId) -> Result<HeldBy> {
        Ok(HeldBy::of(content.row(id)?.as_ref(), &content.aside(id)?))
    }
}

/// Whether the row is in the file alone.
pub(super) fn is_here(content: &Content<'_>, id: &RowId) -> Result<bool> {
    Ok(HeldBy::read(content, id)? == HeldBy::FileAlone)
}

/// Whether the file has what PostgreSQL has of the row, whatever is pending besides.
fn holds(content: &Content<'_>, id: &RowId) -> Result<bool> {
    let refused = content.aside(id)?.iter().any(|entry| entry.refused_by == Store::Sqlite);
    Ok(!refused && HeldBy::read(content, id)? != HeldBy::PostgresAlone)
}

/// The same of several, once the feed has passed the transaction that wrote them.
pub(super) fn holds_all(content: &Content<'_>, ids: &[RowId]) -> Result<bool> {
    ids.iter().try_fold(true, |all, id| Ok(all && holds(content, id)?))
}

/// Looks at the rows that a plan is about.
pub(super) fn look(content: &Content<'_>, plan: &WritePlan) -> Result<Precheck> {
    let mut look = Precheck { above: plan.above_numbers(), ..Precheck::default() };
    for (id, intent) in &plan.intents {
        let Some(row) = content.row(id)? else { continue };
        if row.tracked.bases.any() {
            let aside = content.aside(id)?;
            look.locked |= aside.iter().any(|entry| entry.code == LOCKED);
            look.is_here |= HeldBy::of(Some(&row), &aside) == HeldBy::FileAlone;
        }
        if let Some(change) = intent.for_row(row.tracked.version.lives()) {
            look.above = look.above.max(row.tracked.replaces(&change));
        }
    }
    for (id, _) in &plan.reads {
        look.is_here |= is_here(content, id)?;
    }
    let behind = behind(content, plan.tables())?;
    Ok(Precheck { behind, file: content.node()?.file, ..look })
}

/// The rows after a write, in the order of the intents; `None` for one that was deleted.
pub(super) type Rows = Vec<Option<Record>>;

/// The whole plan goes to the file alone, pending, under a stamp that is made here.
pub(super) fn alone(
    content: &Content<'_>,
    plan: &WritePlan,
    shared: &Shared,
) -> Result<(Rows, Sent)> {
    let name = |id: &RowId| named(&shared.tables, id);
    for (id, read) in &plan.reads {
        let row = content.row(id)?.filter(|row| row.tracked.version.lives());
        if !is_as_read(row.as_ref().map(|row| &row.tracked.version), read.as_ref()) {
            return Err(conflict(plan.operation, &name(id)));
        }
    }
    let mut above = plan.above_numbers();
    let mut changes = Vec::with_capacity(plan.intents.len());
    for (id, intent) in &plan.intents {
        let row = content.row(id)?;
        let alive = row.as_ref().is_some_and(|row| row.tracked.version.lives());
        let of_block = plan.numbers.get(id).filter(|kept| !kept.is_asked);
        if of_block.is_some_and(|kept| !is_unused(row.as_ref(), kept.by)) {
            return Err(already_exists(plan.operation, &name(id)));
        }
        if !alive && HeldBy::of(row.as_ref(), &content.aside(id)?) == HeldBy::PostgresAlone {
            return Err(elsewhere(plan.operation, &name(id)));
        }
        let Some(change) = intent.for_row(alive) else {
            return Err(if alive || knows(content, id, row.as_ref())? {
                refusal(plan.operation, &name(id), alive)
            } else {
                incomplete(plan.operation, &name(id))
            });
        };
        above = above.max(row.map_or(Stamp::ZERO, |row| row.tracked.replaces(&change)));
        changes.push((id.clone(), change));
    }
    let proposal = propose(shared, above);
    let sent = Sent::new(plan, changes, proposal);
    for (id, change) in &sent.changes {
        sent.make(content, id, change, false).map_err(|error| error.about(name(id)))?;
    }
    Ok((rows(content, &sent.changes)?, sent))
}

/// Whether nobody has written to the row since it was read: every stamp is the same.
fn is_as_read(row: Option<&Version>, read: Option<&Version>) -> bool {
    match (row, read) {
        (None, None) => true,
        (Some(row), Some(read)) => {
            let columns = row.columns.len().max(read.columns.len());
            row.live.stamp == read.live.stamp
                && (0..columns).all(|column| row.stamp_of(column) == read.stamp_of(column))
        }
        _ => false,
    }
}

/// PostgreSQL may have it: the same changes under the same stamp, so that pushing them is a
/// no-op if it has. `reads` are what they were computed from, `now_ms` is the clock's. `None` if the file cannot tell:
/// it lacks what was read or changed, or has moved past the stamp meanwhile.
pub(super) fn alone_as_sent(
    content: &Content<'_>,
    sent: &Sent,
    reads: &[(RowId, Option<Version>)],
    now_ms: i64,
) -> Result<Option<Rows>> {
    let befores = sent.changes.iter().map(|(id, _)| content.row(id)).collect::<Result<Vec<_>>>()?;
    for (id, read) in reads {
        let row = content.row(id)?;
        let local = row.as_ref().map(|row| &row.tracked.version);
        if !has_what_was_read(local, read.as_ref(), now_ms) {
            return Ok(None);
        }
    }
    let mut missing = Vec::new();
    for ((id, change), before) in sent.changes.iter().zip(&befores) {
        let before = before.as_ref().map(|row| &row.tracked);
        if before.is_some_and(|row| has_arrived(row, change, sent.proposal)) {
            continue;
        }
        let alive = before.is_some_and(|row| row.version.lives());
        if !alive && !holds(content, id)? {
            return Ok(None);
        }
        let superseded = before.is_some_and(|row| row.supersedes(change, sent.proposal, now_ms));
        if alive == matches!(change, Change::Insert(_)) || superseded {
            return Ok(None);
        }
        missing.push((id.clone(), change));
    }
    for (id, change) in missing {
        sent.make(content, &id, change, true)?;
    }
    rows(content, &sent.changes).map(Some)
}

fn has_arrived(row: &Tracked, change: &Change, stamp: Stamp) -> bool {
    match change {
        Change::Update(columns) => {
            columns.iter().all(|(column, _)| row.version.stamp_of(*column) == stamp)
        }
        Change::Insert(_) | Change::Delete => row.version.live.stamp == stamp,
    }
}

/// The rows, if all of that stands: the file that took it was lost before anybody could say so,
/// and has been brought back with it.
pub(super) fn arrived(content: &Content<'_>, sent: &Sent) -> Result<Option<Rows>> {
    for (id, change) in &sent.changes {
        let row = content.row(id)?;
        if !row.is_some_and(|row| has_arrived(&row.tracked, change, sent.proposal)) {
            return Ok(None);
        }
    }
    rows(content, &sent.changes).map(Some)
}

/// What became of PostgreSQL's answer in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direct {
    /// It stands there, or the feed had brought it before.
    Stands,
    /// The file lacks something of what was there before: the feed brings both.
    Misses,
    /// Something was pending that had not seen it, which is to be logged: to be done again with
    /// FULL. After a power cut nothing else would tell of the loser.
    Meets,
    /// The file does not take a row; it is in quarantine.
    Refused,
    /// The file does not follow the server that answered: the answer proves nothing about the
    /// one that is followed next.
    OtherEpoch,
}

/// Takes PostgreSQL's answer into the file, all of its rows or none.
pub(super) fn direct(
    content: &Content<'_>,
    answer: &WriteAnswer,
    durability: Durability,
) -> Result<Direct> {
    let node = content.node()?;
    let follow = content.follow_of(answer.rows.iter().map(|written| written.row.id.table))?;
    match &follow {
        Follow::Following { epoch, .. }
            if answer.epoch.break_from(epoch, &node.tokens).is_some() =>
        {
            return Ok(Direct::OtherEpoch);
        }
        Follow::Following { .. } if has_passed(&follow, answer.txid) => {
            return stands(content, answer);
        }
        Follow::Following { .. } => {}
        Follow::Reconciling { .. } | Follow::Held { .. } => return Ok(Direct::OtherEpoch),
    }
    let mut taken = Vec::with_capacity(answer.rows.len());
    for written in &answer.rows {
        let id = &written.row.id;
        if written.row.unreadable.is_some() {
            // The feed sets it aside.
            return Ok(Direct::Misses);
        }
        let before = content.captured(id)?;
        // A birth under a number that PostgreSQL has not been asked for is another row.
        if before.as_ref().is_some_and(|row| content.is_unsent(id, &row.tracked)) {
            return Ok(Direct::Misses);
        }
        let absorbed = Tracked::absorb_direct(
            before.as_ref().map(|row| &row.tracked),
            written.previous.as_ref(),
            &written.row.version,
            &content.tables()[id.table].defaults,
        );
        match absorbed {
            None => return Ok(Direct::Misses),
            Some(absorbed) => taken.push((id, before, absorbed, &written.row)),
        }
    }
    let meets = taken.iter().any(|(_, _, absorbed, _)| !absorbed.conflicts.is_empty());
    if meets && durability == Durability::Normal {
        return Ok(Direct::Meets);
    }
    for (id, before, absorbed, row) in taken {
        let there = Some(&row.version);
        // One that it refuses is set aside.
        let _: Taken = content.take(id, before.as_ref(), there, &absorbed, row.surrogate)?;
    }
    stands(content, answer)
}

/// Whether nothing of the answer is set aside.
fn stands(content: &Content<'_>, answer: &WriteAnswer) -> Result<Direct> {
    let ids: Vec<RowId> = answer.rows.iter().map(|written| written.row.id.clone()).collect();
    Ok(if holds_all(content, &ids)? { Direct::Stands } else { Direct::Refused })
}

/// Whether the cursor of the tables that stand so has passed that transaction.
pub(super) fn has_passed(follow: &Follow, txid: u64) -> bool {
    match follow {
        Follow::Following { snapshot, .. } => !snapshot.is_new(txid),
        Follow::Reconciling { .. } | Follow::Held { .. } => false,
    }
}

/// Whether a row that the file lacks is not there at all: the first copy has been made, or
/// there has never been a PostgreSQL to copy from.
pub(super) fn knows_all(content: &Content<'_>, table: usize) -> Result<bool> {
    Ok(match content.follow_of([table])? {
        Follow::Following { .. } => true,
        Follow::Reconciling { cause, .. } | Follow::Held { cause, .. } => match cause {
            Break::FirstContact => content.node()?.installation.is_none(),
            // What it lacks may have been taken away past its triggers.
            Break::Rebuilt | Break::LocalGap => false,
            _ => true,
        },
    })
}

/// Whether the file knows of that row, as it has it, that it is there or not.
pub(super) fn knows(content: &Content<'_>, id: &RowId, row: Option<&LocalRow>) -> Result<bool> {
    match row {
        Some(row) => Ok(!row.tracked.version.is_absent()),
        None => knows_all(content, id.table),
    }
}

/// What a call gets that the file alone would have to answer, if it does not know.
pub(super) fn incomplete(operation: &'static str, what: &str) -> Error {
    let message = format!("{what} is not in the file, which is not complete");
    Error::new(Kind::Unavailable(Store::Postgres), operation, message).with_hint(
        "the file is new, or was made anew, and gets what it lacks when PostgreSQL can be reached",
    )
}

/// What a call gets about a row of PostgreSQL's that the file does not hold.
pub(super) fn elsewhere(operation: &'static str, what: &str) -> Error {
    let message = format!("{what} is in PostgreSQL alone: it is in quarantine");
    Error::new(Kind::Unavailable(Store::Postgres), operation, message)
        .with_hint("`dual quarantine` says why; it can be used when PostgreSQL can be reached")
}

fn rows(content: &Content<'_>, changes: &[(RowId, Change)]) -> Result<Rows> {
    changes.iter().map(|(id, _)| stored(content, id)).collect()
}

/// The row of the file, if it lives.
pub(super) fn stored(content: &Content<'_>, id: &RowId) -> Result<Option<Record>> {
    Ok(content.row(id)?.and_then(|row| record(id, row)))
}

/// The row of the file, if it lives.
pub(super) fn record(id: &RowId, row: LocalRow) -> Option<Record> {
    Record::of(id.key.clone(), row.surrogate, row.tracked.version)
}
