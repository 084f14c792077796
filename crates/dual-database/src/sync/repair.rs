//! What a person decides about a comparison that waits, or asks for.
//!
//! The file's cursor is held meanwhile, so that no round takes part. Range by range one side is
//! made to win by the stamps, and what it overwrites goes to the conflict log; then the
//! comparison is let past the guard and does what it always does.
//!
//! Nothing is held before PostgreSQL has been met, and what fails lets go. After a crash in the
//! middle the hold (of 0 losses) falls as soon as the lease, which is nobody's meanwhile, has
//! ended.

use std::time::Instant;

use tracing::info;

use super::compare::RANGE;
use super::gaps::report_gaps;
use super::quarantine::QuarantineSet;
use super::round_state::{Advance, Flow};
use super::rounds::{Rounds, follow, now_ms};
use super::{Preference, Shared, log};
use crate::merge::{Absorbed, Bases, Change, Conflict, Register, RegisterId, Tracked, Version};
use crate::protocol::ConflictEntry;
use crate::protocol::{Break, Event, Follow, Lease};
use crate::schema::{Key, RowId};
use crate::stamp::Stamp;
use crate::store::postgres::primary::{Range, RemoteRow};
use crate::store::sqlite::replica::{Content, Durability, LocalRow, Node, Side, Taken};
use crate::{Error, Kind, Result};

/// A hold is looked at again after so many polling intervals.
const RECONSIDERED: u32 = 300;

/// While somebody repairs, the lease is nobody's: PostgreSQL's number runs no synchroniser.
fn nobodys_lease() -> Option<Lease> {
    Lease::take(None, 0, now_ms())
}

impl Rounds {
    /// Holds the cursor, makes the preferred side win, and approves the comparison. If it fails
    /// the cursor is let go again, under the guard.
    pub(super) async fn repair(&mut self, prefer: Preference) -> Result<()> {
        self.abandon();
        self.meet().await?;
        self.write("hold the cursor", Durability::Full, |content| {
            let mut node = content.node()?;
            if let Follow::Following { .. } = node.follow {
                node.follow = follow(&node.follow, Event::Broken(Break::CaptureGap))?;
            }
            if let Follow::Reconciling { cause, followed, .. } = node.follow {
                // What was approved before was another difference.
                node.follow = Follow::Reconciling { cause, approved: false, followed };
                node.follow = follow(&node.follow, Event::Held { losses: 0 })?;
            }
            node.held_from.get_or_insert(node.seq);
            node.lease = nobodys_lease();
            content.set_node(&node)
        })
        .await?;
        let settled = self.resolve_all(prefer).await;
        let event = if settled.is_ok() { Event::Approved } else { Event::Reconsidered };
        let end = self
            .write("let the cursor go", Durability::Full, move |content| {
                let mut node = content.node()?;
                node.lease = None;
                match node.follow {
                    // A hold that was there before waits on.
                    Follow::Held { losses: 1.., .. } if event == Event::Reconsidered => {}
                    _ => node.follow = follow(&node.follow, event)?,
                }
                content.set_node(&node)
            })
            .await;
        settled.and(end)?;
        info!(?prefer, "a person has approved the comparison");
        Ok(())
    }

    async fn resolve_all(&mut self, prefer: Preference) -> Result<()> {
        self.claim_all().await?;
        // What is compared are the tables: what came past the triggers counts like anything else.
        if !self.loose_local(|_| true).await?.is_none() {
            self.note_gaps(|_| true).await?;
        }
        let link = self.take_link("repair: look for gaps")?;
        let noted = self.primary(&link).mend().await;
        self.put_link(link);
        report_gaps("PostgreSQL", noted?);
        if prefer == Preference::Newest {
            return Ok(());
        }
        for table in 0..self.shared.tables.len() {
            let mut after: Option<Key> = None;
            loop {
                let link = self.take_link("repair: read PostgreSQL")?;
                let range = self.primary(&link).range(table, after.as_ref(), RANGE).await?;
                self.put_link(link);
                let shared = self.shared.clone();
                after = self
                    .write_many("repair: settle", Durability::Normal, move |content| {
                        resolve_range(content, &shared, &range, (table, after.as_ref()), prefer)
                    })
                    .await?;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Steps of a round until PostgreSQL has been met.
    pub(super) async fn meet(&mut self) -> Result<()> {
        loop {
            match self.advance().await {
                Advance::Failed(error) | Advance::Apart(error) => return Err(error),
                Advance::Next | Advance::End(_) if self.is_linked() => {
                    self.restart();
                    return Ok(());
                }
                Advance::Next | Advance::End(_) => {}
            }
        }
    }

    /// Steps of a round until the numbers are claimed: a held cursor ends it then.
    async fn claim_all(&mut self) -> Result<()> {
        loop {
            match self.advance().await {
                Advance::Next => {}
                Advance::Failed(error) | Advance::Apart(error) => return Err(error),
                Advance::End(_) if self.held.is_some() => return Ok(()),
                Advance::End(_) => return Err(let_go()),
            }
        }
    }

    /// A comparison waits for a person; or for nobody: what is left of a repair that broke off,
    /// and one that would lose little by now, are gone through with the guard alone.
    pub(super) async fn wait_for_a_person(&mut self, node: &Node, losses: usize) -> Result<Flow> {
        self.held = Some(losses);
        // It answers; what keeps calls from it is the cursor, which says why.
        self.shared.health.works(crate::Store::Postgres);
        let number = self.replica("wait for a person")?.process_number().number();
        let since = *self.held_since.get_or_insert_with(Instant::now);
        let due = match losses {
            0 => Lease::take(node.lease, number, now_ms()).is_some(),
            _ => since.elapsed() >= self.shared.poll * RECONSIDERED,
        };
        if !due {
            return Flow::idle();
        }
        self.held_since = Some(Instant::now());
        let seen = node.follow.clone();
        self.write("reconsider a comparison", Durability::Full, move |content| {
            let mut node = content.node()?;
            if node.follow == seen {
                node.follow = follow(&node.follow, Event::Reconsidered)?;
                content.set_node(&node)?;
            }
            Ok(())
        })
        .await?;
        self.held = None;
        Flow::more()
    }
}

/// Somebody else has moved the cursor in the middle of a repair.
fn let_go() -> Error {
    Error::new(Kind::Conflict, "repair", "another process has let the cursor go; repeat it")
}

/// One range of both sides; says with which key it ends, if not with the table.
fn resolve_range(
    content: &Content<'_>,
    shared: &Shared,
    range: &Range,
    (table, after): (usize, Option<&Key>),
    prefer: Preference,
) -> Result<Option<Key>> {
    let mut node = content.node()?;
    let Follow::Held { .. } = node.follow else { return Err(let_go()) };
    node.lease = nobodys_lease();
    content.set_node(&node)?;
    let mut there: Vec<&RemoteRow> = range.rows.iter().collect();
    let (mut here, local_end) = content.range(table, after, range.end.as_ref(), RANGE)?;
    let end = [range.end.clone(), local_end].into_iter().flatten().min();
    if let Some(end) = &end {
        there.retain(|row| row.id.key <= *end);
        here.retain(|(id, _)| id.key <= *end);
    }
    // Two rows under one number are not one: both wait until PostgreSQL was asked.
    let is_unsent = |row: &(RowId, LocalRow)| content.is_unsent(&row.0, &row.1.tracked);
    let births: Vec<RowId> = here.extract_if(.., |row| is_unsent(row)).map(|(id, _)| id).collect();
    there.retain(|row| !births.contains(&row.id));
    let from = node.held_from.unwrap_or(i64::MAX);
    let ids = here.iter().map(|(id, _)| id.clone()).chain(there.iter().map(|row| row.id.clone()));
    let quarantine = QuarantineSet::of(content, ids)?;
    let horizon = range.header.horizon;
    let mut theirs = there.into_iter().peekable();
    let one = |id: &RowId, local: Option<&LocalRow>, remote: Option<&RemoteRow>| match prefer {
        Preference::Sqlite => stamp_above(content, shared, id, local, remote, horizon),
        Preference::Postgres | Preference::Newest => {
            take_as_is(content, shared, &quarantine, id, (local, remote), (from, horizon))
        }
    };
    for (id, local) in here {
        while let Some(remote) = theirs.next_if(|remote| remote.id < id) {
            one(&remote.id, None, Some(remote))?;
        }
        let remote = theirs.next_if(|remote| remote.id == id);
        one(&id, Some(&local), remote)?;
    }
    theirs.try_for_each(|remote| one(&remote.id, None, Some(remote)))?;
    Ok(end)
}

/// The file's row becomes PostgreSQL's, stamps and all, but for what was written since the file's
/// position `from`, when the person was asked. A row that PostgreSQL does not have is deleted, for
/// everybody: another file would give it back. One that PostgreSQL cannot hold stays.
fn take_as_is(
    content: &Content<'_>,
    shared: &Shared,
    quarantine: &QuarantineSet,
    id: &RowId,
    (local, remote): (Option<&LocalRow>, Option<&RemoteRow>),
    (from, horizon): (i64, Stamp),
) -> Result<()> {
    let remote = remote.filter(|remote| !remote.version.is_absent());
    let later = local.filter(|local| local.seq > from && local.tracked.bases.any());
    if let Some(local) = later {
        let lives = |version: &Version| version.lives();
        let remote = remote.filter(|remote| lives(&remote.version));
        let is_part = local.tracked.bases.live.is_none() && lives(&local.tracked.version);
        // An insert, a delete and a row that is nowhere else stay as a whole.
        if !is_part || local.unreadable.is_some() || remote.is_none() {
            return Ok(());
        }
    }
    let Some(remote) = remote else {
        // PostgreSQL could never take it, and the log could not keep it.
        if local.is_some_and(|local| local.unreadable.is_some()) {
            return Ok(());
        }
        let Some(version) = local.map(|local| &local.tracked.version) else { return Ok(()) };
        if !version.lives() {
            return content.forget(id).map(|_| ());
        }
        let stamp = shared.clock().propose(version.highest().max(horizon));
        if content.try_change(id, &Change::Delete, stamp)? == Taken::Done {
            lose(content, id, version, None, stamp)?;
        }
        return Ok(());
    };
    if let Some(column) = remote.unreadable {
        return quarantine.unreadable(content, id, Side::Sqlite, column);
    }
    let own = local.map(|local| &local.tracked);
    let settled = match later {
        Some(local) => with_pending(remote.version.clone(), &local.tracked),
        None => Tracked::settled(remote.version.clone()),
    };
    if own == Some(&settled) && local.is_some_and(|local| local.surrogate == remote.surrogate) {
        return Ok(());
    }
    if let Some(own) = own {
        lose(content, id, &own.version, Some(&remote.version), Stamp::ZERO)?;
    }
    let absorbed = Absorbed {
        row: settled,
        changed: true,
        other_is_behind: later.is_some(),
        conflicts: Vec::new(),
    };
    if content.take(id, local, Some(&remote.version), &absorbed, remote.surrogate)? == Taken::Done {
        quarantine.release(content, id, Side::Postgres)?;
    }
    Ok(())
}

/// PostgreSQL's row with what is pending in the file's, where that is newer.
fn with_pending(theirs: Version, own: &Tracked) -> Tracked {
    let mut row = Tracked::settled(theirs);
    row.bases.columns = vec![None; row.version.columns.len()];
    for (at, column) in own.version.columns.iter().enumerate() {
        let base = own.bases.column(at);
        if let (Some(_), Some(there)) = (base, row.version.columns.get_mut(at))
            && column.stamp > there.stamp
        {
            there.clone_from(column);
            row.bases.columns[at] = base;
        }
    }
    row
}

/// The file's row gets stamps above PostgreSQL's and is pending as a whole; what only
/// PostgreSQL has is deleted, but for what the file cannot hold.
fn stamp_above(
    content: &Content<'_>,
    shared: &Shared,
    id: &RowId,
    local: Option<&LocalRow>,
    remote: Option<&RemoteRow>,
    horizon: Stamp,
) -> Result<()> {
    let own = local.map(|local| &local.tracked);
    let theirs = remote.map(|remote| &remote.version);
    let lives = |version: Option<&Version>| version.is_some_and(Version::lives);
    let mine = own.map(|own| &own.version);
    let values = |version: Option<&Version>| -> Vec<crate::value::Value> {
        version.map_or(Vec::new(), |v| v.columns.iter().map(|c| c.value.clone()).collect())
    };
    let differs = lives(mine) != lives(theirs) || (lives(mine) && values(mine) != values(theirs));
    // The file could never take it, and the log could not keep it.
    let is_beyond_it = remote.is_some_and(|remote| remote.unreadable.is_some())
        && mine.is_none_or(Version::is_absent);
    if !differs || is_beyond_it || local.is_some_and(|local| local.unreadable.is_some()) {
        return Ok(());
    }
    let Some(table) = content.tables().get(id.table) else { return Ok(()) };
    let known = mine.into_iter().chain(theirs).map(Version::highest);
    let stamp = shared.clock().propose(known.fold(horizon, Stamp::max));
    let change = match mine.filter(|version| version.lives()) {
        Some(version) => Change::Insert(values(Some(version))),
        None => Change::Delete,
    };
    // As if it had been written over what PostgreSQL has: every register is set, and what it
    // replaces there is its base.
    let mut version = match &change {
        Change::Insert(columns) => Version {
            live: Register { stamp, value: true },
            columns: columns.iter().map(|value| Register { stamp, value: value.clone() }).collect(),
        },
        Change::Update(_) | Change::Delete => {
            Version { live: Register { stamp, value: false }, columns: Vec::new() }
        }
    };
    version = version.stored(&table.defaults);
    let base = |theirs: Option<Stamp>| Some(theirs.unwrap_or_default());
    let bases = Bases {
        live: base(theirs.map(|version| version.live.stamp)),
        columns: (0..version.columns.len())
            .map(|column| base(theirs.map(|version| version.stamp_of(column))))
            .collect(),
    };
    if let Some(theirs) = theirs {
        lose(content, id, theirs, Some(&version), stamp)?;
    }
    let absorbed = Absorbed {
        row: Tracked { version, bases },
        changed: true,
        other_is_behind: true,
        conflicts: Vec::new(),
    };
    content.take(id, local, theirs, &absorbed, remote.and_then(|remote| remote.surrogate))?;
    Ok(())
}

/// Logs what a person has decided against: every register whose value is replaced.
fn lose(
    content: &Content<'_>,
    id: &RowId,
    loser: &Version,
    winner: Option<&Version>,
    stamp: Stamp,
) -> Result<()> {
    let entries: Vec<ConflictEntry> = match winner {
        None => log::registers(loser)
            .into_iter()
            .map(|(register, loser)| Conflict { register, winner: stamp, loser })
            .map(|conflict| log::entry(id, conflict, None, loser))
            .collect(),
        Some(winner) => replaced(loser, winner)
            .map(|conflict| log::entry(id, conflict, Some(winner), loser))
            .collect(),
    };
    content.log_conflicts(&entries)
}

/// The registers of a living row that `winner` has otherwise, whatever the stamps.
fn replaced<'v>(loser: &'v Version, winner: &'v Version) -> impl Iterator<Item = Conflict> + 'v {
    let died = loser.lives() && !winner.lives();
    let live = (loser.lives() != winner.lives()).then_some(Conflict {
        register: RegisterId::Live,
        winner: winner.live.stamp,
        loser: loser.live.stamp,
    });
    let columns = loser.columns.iter().zip(&winner.columns).enumerate();
    let columns =
        columns.filter(move |(_, (own, new))| loser.lives() && (own.value != new.value || died));
    live.into_iter().chain(columns.map(|(at, (own, new))| Conflict {
        register: RegisterId::Column(at),
        winner: new.stamp,
        loser: own.stamp,
    }))
}
