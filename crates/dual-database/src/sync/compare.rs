//! The full comparison: both sides in the order of their keys, range by range, in constant
//! memory; of all tables, or of those alone that are apart from the others.
//!
//! The cursor that the file follows afterwards was read *before* the first range: what changes
//! while the ranges are read comes again with the next poll, and merging it twice does nothing.
//! The state is not kept in the file between two ranges: after a failure it is begun again, and what is
//! equal by then costs no write.
//!
//! While some tables are compared the others follow: their rounds go on between the ranges ([`apart`]).

mod apart;
mod settle;

use std::sync::Arc;

use tracing::{debug, info, warn};

pub(super) use self::apart::Apart;
use self::settle::{apply_range, write_uncaptured};
use super::gaps::report_gaps;
use super::numbers::{AT_ONCE, Asked};
use super::plan::{Counters, RangePlan, RangeTerms, plan};
use super::push;
use super::quarantine::QuarantineSet;
use super::round_state::{Flow, RoundState};
use super::rounds::{Rounds, follow, now_ms};
use crate::Result;
use crate::protocol::reconcile::Guard;
use crate::protocol::{Break, Epoch, Event, Follow, Snapshot};
use crate::schema::{Key, RowId};
use crate::stamp::Stamp;
use crate::store::postgres::primary::{Poll, PushEnd, Pushed, RemoteRow};
use crate::store::sqlite::replica::{Content, Durability};

/// Rows of each side that are looked at together.
pub(super) const RANGE: usize = 2_000;

/// So many where the others wait meanwhile.
const PIECE: usize = 500;

/// A comparison under way.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    /// The file's state as it began; anything else ends it, but for a cursor that has moved on beside a
    /// comparison of some tables.
    state: Follow,
    /// The how many-th time each of the tables had to be compared by itself as it began.
    marks: Vec<Option<i64>>,
    cause: Break,
    /// Who answers; the token may be rotated meanwhile by another process of the file.
    epoch: Epoch,
    /// What each table adds to that.
    relations: Vec<u64>,
    /// From where the file follows afterwards, or the tables alone until they have caught up with the others.
    snapshot: Snapshot,
    horizon: Stamp,
    /// Up to where the file forgets tombstones.
    forgotten: Stamp,
    /// The file's position as it began: what was pending up to here has been given at the end.
    upto: i64,
    /// The generation of the file that it began with.
    generation: u64,
    /// The first pass only counts what would be lost.
    counts: bool,
    counters: Counters,
    /// Of the table that it has come to.
    of_table: Counters,
    /// What would be lost in the tables in which that is too much.
    losses: usize,
    /// The tables that are compared.
    tables: Vec<usize>,
    /// The range: the how many-th of them, and the key after which it begins.
    at: usize,
    after: Option<Key>,
    there: Vec<RemoteRow>,
    /// The key with which PostgreSQL's part ends; `None`: with its table.
    remote_end: Option<Key>,
    plan: RangePlan,
    pushed: Pushed,
    /// What has changed in the tables since `snapshot`, if it is of some.
    meanwhile: Option<Box<Poll>>,
}

impl Rounds {
    /// Goes on with the comparison of some tables that is under way; or begins one: notes on both sides what
    /// came past the triggers, and reads who the server is.
    pub(super) async fn compare(&mut self) -> Result<Flow> {
        if let Some(comparison) = self.resume() {
            return self.read_meanwhile(comparison).await;
        }
        let choice = self.apart.choice();
        let chosen = choice.clone();
        let compared =
            self.read("begin a comparison", move |content| chosen.tables(content)).await?;
        self.apart.begins(&compared);
        let of = Arc::new(compared);
        let is_one = {
            let of = Arc::clone(&of);
            move |table: usize| of.contains(&table)
        };
        if !self.loose_local(&is_one).await?.is_none() {
            self.note_gaps(is_one.clone()).await?;
        }
        let (node, follow, tables, marks, is_empty, births, generation) = self
            .read("begin a comparison", move |content| {
                let (node, tables) = (content.node()?, choice.tables(content)?);
                let mut is_empty = true;
                for table in &tables {
                    // Not read: what it has for a stamp may be none, and is set back below.
                    is_empty &= !content.knows_any(*table)?;
                }
                let follow = content.follow_of(tables.iter().copied())?;
                let mut births = content.unsent(now_ms(), AT_ONCE)?;
                births.surrogates = content.unnumbered(true, AT_ONCE)?;
                let marks = content.marks(&tables)?;
                Ok((node, follow, tables, marks, is_empty, births, content.generation()))
            })
            .await?;
        let Follow::Reconciling { cause, approved, .. } = follow else {
            return Flow::more();
        };
        // What has come to be one of them since is looked at for gaps, too.
        if !tables.iter().all(|table| of.contains(table)) {
            return Flow::more();
        }
        let mut link = self.take_link("begin a comparison")?;
        if matches!(node.follow, Follow::Following { .. }) {
            self.hurry(&mut link);
        }
        let primary = self.primary(&link);
        primary.forget_future_ids().await?;
        report_gaps("PostgreSQL", primary.mend_some(is_one).await?);
        let sent_ms = now_ms();
        let header = primary.header().await?;
        self.shared.clock().measure(sent_ms, header.now_ms);
        // Behind a pooler a connection outlives its server; and one that has just found that it lacks
        // something is another one.
        if node.follow.break_at(&header.epoch, &node.tokens).is_some() {
            self.drop_link();
            return Flow::more();
        }
        if !births.is_empty() {
            // What refers to them is given: it must not find somebody else's row under their numbers.
            self.put_link(link);
            let (unsent, writer, followed) = (births, node.number, header.epoch);
            let asked = Asked { unsent, writer, followed, generation };
            return Flow::to(RoundState::Reserve(Box::new(asked)));
        }
        // After the header: what was set back since is another epoch.
        let set_back = primary.set_backs().await?;
        self.put_link(link);
        self.set_back_locally(set_back).await?;
        info!(?cause, tables = tables.len(), "comparing both sides");
        let unasked = matches!(cause, Break::FirstContact | Break::Rebuilt | Break::Backlog);
        let asks = !approved && !unasked && !is_empty;
        Flow::to(RoundState::ReadRemote(Box::new(Comparison {
            state: node.follow,
            marks,
            cause,
            epoch: header.epoch,
            relations: header.tables.clone(),
            forgotten: self.shared.retention.forgotten(&header),
            snapshot: header.snapshot,
            horizon: header.horizon,
            upto: node.seq,
            generation,
            counts: asks,
            counters: Counters::default(),
            of_table: Counters::default(),
            losses: 0,
            tables,
            at: 0,
            after: None,
            there: Vec::new(),
            remote_end: None,
            plan: RangePlan::default(),
            pushed: Pushed::default(),
            meanwhile: None,
        })))
    }

    /// Reads a range of PostgreSQL's rows.
    pub(super) async fn read_remote(&mut self, mut comparison: Box<Comparison>) -> Result<Flow> {
        let mut link = self.take_link("compare: read PostgreSQL")?;
        if comparison.is_of_some() {
            self.hurry(&mut link);
        }
        let (table, after) = (comparison.table(), comparison.after.as_ref());
        let (rows, bytes) = comparison.at_once();
        let range = self.primary(&link).range_within(table, after, rows, bytes).await?;
        self.put_link(link);
        let header = range.header;
        let same = header.epoch.is_server_of(&comparison.epoch);
        if !same || !header.snapshot.follows(&comparison.snapshot) {
            debug!(same, "the server is another one than when the comparison began");
            self.drop_link();
            return Flow::more();
        }
        comparison.epoch = header.epoch;
        comparison.forgotten = self.shared.retention.forgotten(&header);
        comparison.relations = header.tables;
        comparison.horizon = header.horizon;
        comparison.there = range.rows;
        comparison.remote_end = range.end;
        Flow::to(RoundState::ReadLocal(comparison))
    }

    /// Reads the same range of the file's rows, and plans.
    pub(super) async fn read_local(&mut self, comparison: Box<Comparison>) -> Result<Flow> {
        let read = self
            .read("compare: read SQLite", move |content| {
                // What has become pending since another process came to the end of it goes as a whole.
                if !comparison.is_of(content)? {
                    return Ok(None);
                }
                let mut comparison = comparison;
                let end = comparison.look(content)?;
                Ok(Some((comparison, end)))
            })
            .await?;
        let Some((mut comparison, end)) = read else { return Flow::more() };
        comparison.plan.end = end.clone();
        if comparison.counts || comparison.plan.is_empty() {
            self.next_range(comparison, end)
        } else if !comparison.plan.uncaptured.is_empty() {
            Flow::to(RoundState::Uncaptured(comparison))
        } else if comparison.plan.give.rows.is_empty() {
            Flow::to(RoundState::ApplyRange(comparison))
        } else {
            Flow::to(RoundState::Give(comparison))
        }
    }

    /// The range after this one, which ends with the key `end`, or with its table.
    fn next_range(&mut self, mut comparison: Box<Comparison>, end: Option<Key>) -> Result<Flow> {
        comparison.there = Vec::new();
        comparison.plan = RangePlan::default();
        comparison.pushed = Pushed::default();
        comparison.at += usize::from(end.is_none());
        if end.is_none() {
            // A small table does not drown in a large one.
            let of_table = std::mem::take(&mut comparison.of_table);
            if !of_table.is_allowed(Guard::default()) {
                comparison.losses += of_table.losses();
            }
        }
        comparison.after = end;
        if comparison.at >= comparison.tables.len() && comparison.counts {
            if comparison.losses > 0 {
                return Flow::to(RoundState::Hold(comparison));
            }
            comparison.counts = false;
            comparison.at = 0;
        }
        if comparison.is_of_some() {
            return self.lets_others(comparison);
        }
        Flow::to(match comparison.at < comparison.tables.len() {
            true => RoundState::ReadRemote(comparison),
            false => RoundState::Finish(comparison),
        })
    }

    /// Where the stamps do not tell what stands, it is written here, under a stamp of its own, and then
    /// given like anything else; the other value is logged, if somebody could miss it.
    pub(super) async fn uncaptured(&mut self, comparison: Box<Comparison>) -> Result<Flow> {
        let shared = self.shared.clone();
        let operation = "compare: settle what nobody captured";
        let work = move |content: &Content<'_>, comparison: &Comparison| {
            for (id, at, found) in &comparison.plan.uncaptured {
                if let Some(there) = comparison.there.get(*at) {
                    write_uncaptured(content, &shared, id, &there.version, found)?;
                }
            }
            Ok(())
        };
        match self.in_comparison(operation, Durability::Full, comparison, work).await? {
            Some(comparison) => Flow::to(RoundState::ReadLocal(comparison)),
            None => Flow::more(),
        }
    }

    /// Gives what PostgreSQL lacks of the range.
    pub(super) async fn give(&mut self, mut comparison: Box<Comparison>) -> Result<Flow> {
        let mut link = self.take_link("compare: give")?;
        if comparison.is_of_some() {
            self.hurry(&mut link);
        }
        let intact = comparison.cause.primary_is_intact();
        let (give, epoch) = (&comparison.plan.give, &comparison.epoch);
        let primary = self.primary(&link);
        let mut numbers = give.said(&self.shared.tables);
        numbers.extend(give.numbers.clone());
        let end = primary.push_numbered(&give.rows, Some(intact), Some(epoch), &numbers).await;
        self.put_link(link);
        match end? {
            PushEnd::OtherServer => {
                self.drop_link();
                Flow::more()
            }
            PushEnd::Ahead { now_ms } => {
                let is_apart = comparison.is_of_some();
                Flow::to(RoundState::Restamp { primary_ms: now_ms, is_apart })
            }
            // Purged since the range was planned.
            PushEnd::Done(pushed) if !pushed.gone.is_empty() => {
                debug!(rows = pushed.gone.len(), "a comparison met a purge, and begins again");
                Flow::more()
            }
            PushEnd::Done(pushed) => {
                self.has_given(&comparison.plan.give.rows);
                comparison.pushed = pushed;
                Flow::to(RoundState::ApplyRange(comparison))
            }
        }
    }

    /// The file's part of the range, in one transaction.
    pub(super) async fn apply_range(&mut self, comparison: Box<Comparison>) -> Result<Flow> {
        match self
            .in_comparison("compare: settle", Durability::Normal, comparison, apply_range)
            .await?
        {
            Some(comparison) => {
                let end = comparison.plan.end.clone();
                self.next_range(comparison, end)
            }
            None => {
                debug!("the file has moved on during a comparison");
                Flow::more()
            }
        }
    }

    /// A transaction of a comparison on the file; `None` if the file does not stand any more where it
    /// stood as that began.
    async fn in_comparison(
        &self,
        operation: &'static str,
        durability: Durability,
        comparison: Box<Comparison>,
        work: impl Fn(&Content<'_>, &Comparison) -> Result<()> + Send + Sync + 'static,
    ) -> Result<Option<Box<Comparison>>> {
        let comparison: Arc<Comparison> = comparison.into();
        let own = Arc::clone(&comparison);
        let is_settled = self
            .write_many(operation, durability, move |content| match own.is_of(content)? {
                true => work(content, &own).map(|()| true),
                false => Ok(false),
            })
            .await?;
        Ok(is_settled.then(|| Box::new(Arc::unwrap_or_clone(comparison))))
    }

    /// Both sides have been compared: the file follows from where the comparison began. What has changed since
    /// then comes again.
    pub(super) async fn finish(&mut self, comparison: Comparison) -> Result<Flow> {
        if comparison.is_of_some() {
            return self.finish_some(comparison).await;
        }
        let (cause, counters) = (comparison.cause, comparison.counters);
        let finished = self
            .write("finish a comparison", Durability::Full, move |content| {
                let mut node = content.node()?;
                let accepted = comparison.epoch.token.is_some_and(|t| node.tokens.accept(t));
                if !comparison.is_of(content)? || content.kept_besides()?.is_some() {
                    return Ok(false);
                }
                let Comparison { epoch, snapshot, tables, relations, .. } = comparison;
                if !accepted {
                    return Ok(false);
                }
                content.compared(&tables)?;
                content.relations_are(&relations)?;
                if !cause.primary_is_intact() {
                    content.forget_numbers()?;
                }
                node.follow = follow(&node.follow, Event::Reconciled { epoch, snapshot })?;
                node.pushed = node.pushed.max(comparison.upto);
                node.held_from = None;
                content.set_node(&node)?;
                content.passes_no_birth()?;
                content.purge(comparison.forgotten)?;
                Ok(true)
            })
            .await?;
        if finished {
            counters.tell(cause);
        } else {
            // The connection stays: to meet the server again would set another token, and make
            // the end of the other process's comparison impossible as it made this one's.
            debug!("the file has moved on, or its token, before a comparison ended");
        }
        Flow::more()
    }

    /// Too much would be lost: a person has to decide, service goes on.
    pub(super) async fn hold(&mut self, comparison: Comparison) -> Result<Flow> {
        let losses = comparison.losses;
        let held = self
            .write("hold a comparison", Durability::Full, move |content| {
                let mut node = content.node()?;
                if !comparison.is_of(content)? {
                    return Ok(false);
                }
                let is_of_some = comparison.is_of_some();
                if is_of_some {
                    // A person decides about all tables: they are all compared once more.
                    node.follow = follow(&node.follow, Event::Broken(comparison.cause))?;
                } else {
                    node.follow = follow(&node.follow, Event::Held { losses })?;
                    node.held_from.get_or_insert(node.seq);
                }
                content.set_node(&node)?;
                Ok(!is_of_some)
            })
            .await?;
        if !held {
            return Flow::more();
        }
        self.held = Some(losses);
        self.shared.health.works(crate::Store::Postgres);
        warn!(
            losses,
            "a comparison would delete or overwrite so many rows that it waits for a person: \
             `dual repair --prefer postgres|sqlite|newest`"
        );
        Flow::idle()
    }
}

impl Comparison {
    /// The table that it has come to.
    pub(super) fn table(&self) -> usize {
        self.tables.get(self.at).copied().unwrap_or_default()
    }

    /// Whether the file is the one with which it began, and stands where it stood: another process may have
    /// come to the end of it. And whether its tables have to be compared for nothing that was found since.
    fn is_of(&self, content: &Content<'_>) -> Result<bool> {
        if content.generation() != self.generation {
            return Ok(false);
        }
        let stands = match (&self.state, content.node()?.follow) {
            (Follow::Following { epoch: began, .. }, Follow::Following { epoch, .. }) => {
                epoch.is_server_of(began)
            }
            (began, follow) => *began == follow,
        };
        Ok(stands && content.marks(&self.tables)? == self.marks)
    }

    /// Reads the file's part of the range and plans it; says with which key the range ends, if
    /// not with its table. Of the two sides the one with more rows decides how far it goes.
    fn look(&mut self, content: &Content<'_>) -> Result<Option<Key>> {
        let (rows, bytes) = self.at_once();
        let within = (self.after.as_ref(), self.remote_end.as_ref());
        let (mut here, local_end) = content.range_within(self.table(), within, rows, bytes)?;
        let end = [self.remote_end.clone(), local_end].into_iter().flatten().min();
        if let Some(end) = &end {
            self.there.retain(|row| row.id.key <= *end);
            here.retain(|(id, _)| id.key <= *end);
        }
        let node = content.node()?;
        let there = self.there.iter().map(|row| row.id.clone());
        let quarantine =
            QuarantineSet::of(content, here.iter().map(|(id, _)| id.clone()).chain(there))?;
        let is_pending = |id: &RowId, row: &_| push::is_pending(row, id, &node, &quarantine);
        let intact = self.cause.primary_is_intact();
        let Some(local) = content.tables().get(self.table()) else { return Ok(None) };
        // Births that PostgreSQL has not been asked about are no part of it, and what it has under their
        // numbers waits.
        here.retain(|(id, row)| !content.is_unsent(id, &row.tracked));
        let terms = RangeTerms {
            intact,
            here: self.cause == Break::LocalGap,
            defaults: &local.defaults,
            horizon: self.horizon,
            seq: node.seq,
        };
        let (plan, counters) = plan(here, &self.there, terms, is_pending, |id| {
            quarantine.has(id, crate::Store::Sqlite)
        });
        if self.counts {
            self.counters.add(counters);
            self.of_table.add(counters);
        } else {
            self.counters.given += plan.give.rows.len();
            self.counters.taken += plan.take.len() + plan.drop.len();
            self.plan = plan;
        }
        Ok(end)
    }
}
