//! The comparison of some tables beside the others, which follow: it stands still between two pieces while a
//! round of the others goes through. What is compared already follows by a snapshot of its own until then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::debug;

use super::{Comparison, PIECE, RANGE};
use crate::Result;
use crate::merge::Tracked;
use crate::protocol::Follow;
use crate::schema::RowId;
use crate::store::postgres::primary::{Poll, RemoteRow};
use crate::store::sqlite::replica::{Content, Durability};
use crate::sync::link::Link;
use crate::sync::quarantine::QuarantineSet;
use crate::sync::round_state::{Flow, RoundState};
use crate::sync::rounds::Rounds;
use crate::sync::take_in::take_all;
use crate::value::PORTION;

/// For how long the others wait at most before it is their turn, but for the piece that is under way.
const TURN: Duration = Duration::from_millis(200);

/// So many bytes of texts make a piece, and so many given end a turn: they come back, all of them at once, when it
/// is read what has changed meanwhile, and are not to be taken for a mass.
const PIECE_BYTES: usize = PORTION / 4;

/// How long a lock on a table is waited for that is compared beside others.
const LOCK: Duration = Duration::from_millis(300);

/// How the end of such a comparison went.
enum Ended {
    /// The tables follow like the others.
    Done,
    /// The next range can be read.
    GoesOn,
    /// The cursor of the others has passed what was read last, or a birth is in the way, or capture is not as
    /// installed: it is read again after a round of the others.
    Again,
    /// It is to be begun anew.
    Over,
}

/// The comparison of some tables in a process, between two of its pieces.
#[derive(Debug, Default)]
pub(in crate::sync) struct Apart {
    under_way: Option<Box<Comparison>>,
    /// Since when it is its turn.
    since: Option<Instant>,
    /// How many bytes of texts it has given in this turn.
    given: usize,
    /// It has failed, and rests.
    rests: Option<Instant>,
    failures: u32,
    /// The tables with which it began last.
    tried: Vec<usize>,
    /// Those at which it has failed: the others come before them.
    stuck: Vec<usize>,
}

/// Which tables come next.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// Not these, while there are others.
    but: Vec<usize>,
    /// One by itself: something has failed, and the others are not to fail with it.
    alone: bool,
}

impl Choice {
    /// The tables that are compared next: those that are apart for one reason, or all.
    pub(super) fn tables(&self, content: &Content<'_>) -> Result<Vec<usize>> {
        if !matches!(content.node()?.follow, Follow::Following { .. }) {
            return Ok((0..content.tables().len()).collect());
        }
        let found = match content.to_compare(&self.but)? {
            None => content.to_compare(&[])?,
            found => found,
        };
        let mut tables = found.map(|(tables, _)| tables).unwrap_or_default();
        if self.alone {
            tables.truncate(1);
        }
        Ok(tables)
    }
}

impl Apart {
    pub(super) fn choice(&self) -> Choice {
        Choice { but: self.stuck.clone(), alone: self.has_failed() || !self.stuck.is_empty() }
    }

    /// It begins with these tables.
    pub(super) fn begins(&mut self, tables: &[usize]) {
        // There were no others: they take turns.
        if tables.iter().any(|table| self.stuck.contains(table)) {
            self.stuck.clear();
        }
        self.tried = tables.to_vec();
    }

    /// It has failed, for a reason of the compared tables alone: it is begun again later, and less and less
    /// often. `at` is the table at which that was, where it is known.
    pub(in crate::sync) fn fails(&mut self, at: Option<usize>) {
        let wait = Duration::from_millis(250) * (1 << self.failures.min(4));
        let mut stuck = std::mem::take(&mut self.stuck);
        stuck.extend(at.or(match *self.tried {
            [one] => Some(one),
            _ => None,
        }));
        *self = Apart {
            rests: Some(Instant::now() + wait),
            failures: self.failures.saturating_add(1),
            stuck,
            ..Apart::default()
        };
    }

    /// Whether it has failed, and has not got on since.
    pub(in crate::sync) fn has_failed(&self) -> bool {
        self.failures > 0
    }

    /// Whether it rests after a failure.
    pub(in crate::sync) fn rests(&self) -> bool {
        self.rests.is_some_and(|until| Instant::now() < until)
    }
}

impl Rounds {
    /// Whether some tables are to be compared now.
    pub(in crate::sync) fn is_comparison_due(&self) -> bool {
        !self.apart.rests()
    }

    /// What is under way.
    pub(super) fn resume(&mut self) -> Option<Box<Comparison>> {
        self.apart.since = Some(Instant::now());
        self.apart.given = 0;
        self.apart.under_way.take()
    }

    /// After a piece: the next one, or a round of the others.
    pub(super) fn lets_others(&mut self, comparison: Box<Comparison>) -> Result<Flow> {
        self.apart.failures = 0;
        let is_over = comparison.at >= comparison.tables.len();
        let has_time = self.apart.since.is_some_and(|since| since.elapsed() < TURN);
        if !is_over && has_time && self.apart.given < PIECE_BYTES {
            return Flow::to(RoundState::ReadRemote(comparison));
        }
        self.apart.under_way = Some(comparison);
        Flow::to(if is_over { RoundState::Compare } else { RoundState::PushRead })
    }

    /// It has given these rows.
    pub(super) fn has_given(&mut self, rows: &[(RowId, Tracked)]) {
        self.apart.given += rows.iter().map(|(_, row)| row.version.bytes()).sum::<usize>();
    }

    /// The others are not to wait for a lock on what is compared.
    pub(super) fn hurry(&self, link: &mut Link) {
        link.set_lock(&self.shared, self.patience, LOCK.min(self.shared.limits.lock));
    }

    /// Reads what has changed at PostgreSQL in the compared tables since that was read last, or since before
    /// their first range: the cursor of the others passes it by.
    pub(super) async fn read_meanwhile(&mut self, mut comparison: Box<Comparison>) -> Result<Flow> {
        let mut link = self.take_link("compare: read what has changed")?;
        self.hurry(&mut link);
        let others = (0..self.shared.tables.len()).filter(|at| !comparison.tables.contains(at));
        let others: Vec<usize> = others.collect();
        let most = Some(self.shared.at_once);
        let primary = self.primary(&link);
        let poll = primary.poll_at_most(&comparison.snapshot, &[], most, &others).await?;
        self.put_link(link);
        comparison.meanwhile = Some(Box::new(poll));
        Flow::to(RoundState::Finish(comparison))
    }

    /// Takes that in; after the last range the tables follow like the others from here on.
    pub(super) async fn finish_some(&mut self, comparison: Comparison) -> Result<Flow> {
        let (cause, counters) = (comparison.cause, comparison.counters);
        let shared = Arc::new(comparison);
        let own = Arc::clone(&shared);
        let ended = self
            .write_many("finish a comparison", Durability::Full, move |content| {
                catch_up(content, &own)
            })
            .await?;
        match ended {
            Ended::Done => {
                counters.tell(cause);
                Flow::more()
            }
            Ended::GoesOn => {
                let mut comparison = Box::new(Arc::unwrap_or_clone(shared));
                if let Some(poll) = comparison.meanwhile.take() {
                    comparison.snapshot = poll.header.snapshot;
                }
                Flow::to(RoundState::ReadRemote(comparison))
            }
            Ended::Again => {
                self.apart.under_way = Some(Box::new(Arc::unwrap_or_clone(shared)));
                Flow::to(RoundState::PushRead)
            }
            Ended::Over => {
                debug!("a comparison of some tables is begun anew");
                Flow::more()
            }
        }
    }
}

/// Takes in what has changed in what was compared of the tables, and at the end lets them be like the others.
fn catch_up(content: &Content<'_>, comparison: &Comparison) -> Result<Ended> {
    let Some(poll) = comparison.meanwhile.as_deref() else { return Ok(Ended::Over) };
    if !comparison.is_of(content)? || content.kept_besides()?.is_some() {
        return Ok(Ended::Over);
    }
    let Follow::Following { epoch, snapshot: cursor } = content.node()?.follow else {
        return Ok(Ended::Over);
    };
    let Poll { header, rows, too_many, drift } = poll;
    // Tombstones that nobody has heard of here were purged while the ranges were read; or so much has changed
    // that it takes ranges once more; or it is not what the triggers have seen.
    let is_purged = header.purged.is_some_and(|txid| !comparison.snapshot.has_passed(txid));
    if !header.epoch.is_server_of(&epoch) || is_purged || !too_many.is_empty() {
        return Ok(Ended::Over);
    }
    let is_over = comparison.at >= comparison.tables.len();
    let has_drifted = drift.iter().any(|(table, _)| comparison.tables.contains(table));
    if has_drifted || (is_over && !header.snapshot.follows(&cursor)) {
        return Ok(Ended::Again);
    }
    // What is not compared yet is read with its range.
    let rows: Vec<&RemoteRow> = rows.iter().filter(|row| comparison.has_passed(&row.id)).collect();
    let quarantine = QuarantineSet::of(content, rows.iter().map(|row| row.id.clone()))?;
    let is_birth = |id: &RowId| -> Result<bool> {
        let row = content.row(id)?;
        Ok(row.is_some_and(|row| {
            row.tracked.version.live.value && content.is_unsent(id, &row.tracked)
        }))
    };
    for row in &rows {
        if !quarantine.has(&row.id, crate::Store::Postgres) && is_birth(&row.id)? {
            return Ok(Ended::Again);
        }
    }
    take_all(content, &quarantine, rows.into_iter(), true)?;
    if !is_over {
        return Ok(Ended::GoesOn);
    }
    content.waits_since(&comparison.tables, comparison.upto)?;
    content.compared(&comparison.tables)?;
    content.passes_no_birth()?;
    Ok(Ended::Done)
}

impl Comparison {
    /// Whether the others follow meanwhile.
    pub(in crate::sync) fn is_of_some(&self) -> bool {
        matches!(self.state, Follow::Following { .. })
    }

    /// Whether the row lies in a range that was settled.
    fn has_passed(&self, id: &RowId) -> bool {
        let Some(place) = self.tables.iter().position(|table| *table == id.table) else {
            return false;
        };
        let is_before = || self.after.as_ref().is_some_and(|after| id.key <= *after);
        !self.counts && (place < self.at || (place == self.at && is_before()))
    }

    /// So many rows are looked at together, and so many bytes of texts.
    pub(super) fn at_once(&self) -> (usize, usize) {
        if self.is_of_some() { (PIECE, PIECE_BYTES) } else { (RANGE, PORTION) }
    }
}
