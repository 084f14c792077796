//! From the file to PostgreSQL: what is pending, in one transaction there, then what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing::{debug, info, warn};

use super::numbers::{AT_ONCE, Asked};
use super::quarantine::QuarantineSet;
use super::round_state::{Flow, RoundState};
use super::rounds::{Rounds, follow, now_ms};
use crate::merge::Tracked;
use crate::protocol::ConflictEntry;
use crate::protocol::{Break, Epoch, Event, Follow};
use crate::schema::{RowId, Table};
use crate::stamp::Writer;
use crate::store::postgres::primary::{LOCKED, NUMBER, PushEnd, Pushed};
use crate::store::sqlite::replica::{Content, Durability, LocalRow, Node, Pending, Side, Unsent};
use crate::{Error, Kind, Result};

/// Rows of a table that is apart which are looked at together, for stamps that are too far ahead.
const AT_A_TIME: usize = 2_000;

/// Rows on their way to PostgreSQL.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    /// As they were read.
    pub(super) rows: Vec<(RowId, Tracked)>,
    /// The position up to which they were read.
    pub(super) upto: i64,
    /// The generation of the file that they were read from: a position says nothing about
    /// another one.
    pub(super) generation: u64,
    /// The server for which they were read.
    pub(super) followed: Option<Epoch>,
    /// Rows that cannot be sent: the column whose value PostgreSQL cannot hold.
    pub(super) unreadable: Vec<(RowId, usize)>,
    /// The numbers of rows that PostgreSQL had: they are its own.
    pub(super) numbers: BTreeMap<RowId, i64>,
    /// The numbers of the others.
    born: BTreeMap<RowId, i64>,
}

impl Batch {
    pub(super) fn of(rows: Vec<(RowId, LocalRow)>, upto: i64) -> Batch {
        let mut batch = Batch { upto, ..Batch::default() };
        for (id, row) in rows {
            let number = row.surrogate.filter(|number| *number > 0);
            let number = number.map(|number| (id.clone(), number));
            match row.tracked.bases.live {
                None => batch.numbers.extend(number),
                Some(_) => batch.born.extend(number),
            }
            match row.unreadable {
                // It was taken away past the triggers: nothing of it is left to be sent.
                _ if row.tracked.version.is_absent() => {}
                Some(column) => batch.unreadable.push((id, column)),
                None => batch.rows.push((id, row.tracked)),
            }
        }
        batch
    }

    /// The numbers of births that PostgreSQL has said before.
    pub(super) fn said(&self, tables: &[Table]) -> BTreeMap<RowId, i64> {
        let asks = |id: &RowId| tables.get(id.table).is_some_and(Table::asks_for_surrogates);
        let said = self.born.iter().filter(|(id, _)| asks(id));
        said.map(|(id, number)| (id.clone(), *number)).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.unreadable.is_empty()
    }
}

/// The file before a push.
struct BeforePush {
    /// A table of which it keeps more than this process does.
    besides: Option<String>,
    node: Node,
    pending: Pending,
    /// The tables of which too much is pending for one transaction.
    exceeding: Vec<usize>,
    /// The writer numbers that the file uses.
    numbers: Vec<Writer>,
    /// Births under numbers that PostgreSQL has to be asked for first.
    births: Unsent,
    /// Conflicts that PostgreSQL has not heard of.
    unsent: bool,
    generation: u64,
}

impl Rounds {
    /// Reads what is pending in the tables that follow, in turn with other processes of the file; or finds that
    /// both sides have to be compared, or that a person is waited for.
    pub(super) async fn push_read(&mut self) -> Result<Flow> {
        let mut look = self.look().await?;
        if !look.pending.rows.is_empty() {
            self.wait_for_turn().await?;
            look = self.look().await?;
        }
        let BeforePush { besides, node, pending, exceeding, numbers, births, unsent, generation } =
            look;
        self.keeps_all(besides)?;
        if node.file != self.file {
            // Another process has given the file another identity, or it is another file.
            self.drop_link();
            return Flow::more();
        }
        self.looked = node.seq;
        self.held = None;
        if !numbers.iter().all(|number| self.claimed.contains(number)) {
            self.begun -= 1;
            return Flow::to(RoundState::Claim(numbers));
        }
        match node.follow {
            Follow::Reconciling { .. } => return Flow::to(RoundState::Compare),
            Follow::Held { losses, .. } => return self.wait_for_a_person(&node, losses).await,
            Follow::Following { .. } => self.held_since = None,
        }
        let followed = match &node.follow {
            Follow::Following { epoch, .. } => Some(*epoch),
            Follow::Reconciling { .. } | Follow::Held { .. } => None,
        };
        // Before a comparison, too: it gives what refers to them.
        if let Some(followed) = followed.filter(|_| !births.is_empty()) {
            self.begun -= 1;
            let (unsent, writer) = (births, node.number);
            let asked = Asked { unsent, writer, followed, generation };
            return Flow::to(RoundState::Reserve(Box::new(asked)));
        }
        if pending.rows.iter().any(|(_, row)| row.is_loose) {
            self.note_gaps(|_| true).await?;
            return Flow::more();
        }
        if !exceeding.is_empty() {
            self.compare_some(node.follow, exceeding, Break::Backlog, Durability::Normal).await?;
            info!("much has changed in tables of the file: they are gone through by ranges");
            return Flow::more();
        }
        let batch = Batch { generation, followed, ..Batch::of(pending.rows, pending.upto) };
        Flow::to(match batch.is_empty() {
            false if batch.rows.is_empty() => {
                RoundState::Acknowledge(Box::new((batch, Pushed::default())))
            }
            false => RoundState::Push(Box::new(batch)),
            true if unsent => RoundState::Forward,
            true => RoundState::Poll,
        })
    }

    async fn look(&mut self) -> Result<BeforePush> {
        self.begun += 1;
        let at_once = self.shared.at_once;
        self.read("read what is pending", move |content| {
            let besides = content.kept_besides()?;
            let node = content.node()?;
            let follows = matches!(node.follow, Follow::Following { .. });
            let exceeding = if follows { content.exceeding(at_once)? } else { Vec::new() };
            let pending = match follows && exceeding.is_empty() {
                true => content.to_push(now_ms())?,
                false => Pending::default(),
            };
            let mut births = content.unsent(now_ms(), AT_ONCE)?;
            births.surrogates = content.unnumbered(false, AT_ONCE)?;
            let unsent = !content.unsent_conflicts()?.is_empty();
            let (numbers, generation) = (content.numbers()?, content.generation());
            Ok(BeforePush {
                besides,
                node,
                pending,
                exceeding,
                numbers,
                births,
                unsent,
                generation,
            })
        })
        .await
    }

    /// Who has waited in vain does not wait again before it was free once: somebody who was
    /// stopped in the middle of his push is to delay one round of the others, not each.
    async fn wait_for_turn(&mut self) -> Result<()> {
        let most = if self.turn_missed { Duration::ZERO } else { self.shared.limits.lock / 2 };
        self.turn = None;
        self.turn = self.replica("push")?.push_turn(most).await;
        self.turn_missed = self.turn.is_none();
        Ok(())
    }

    /// Merges it at PostgreSQL, in one transaction.
    pub(super) async fn push(&mut self, batch: Batch) -> Result<Flow> {
        let link = self.take_link("push")?;
        let (followed, numbers) = (batch.followed.as_ref(), batch.said(&self.shared.tables));
        let end = self.primary(&link).push_numbered(&batch.rows, None, followed, &numbers).await;
        self.put_link(link);
        match end? {
            PushEnd::Ahead { now_ms } => {
                Flow::to(RoundState::Restamp { primary_ms: now_ms, is_apart: false })
            }
            PushEnd::Done(pushed) => Flow::to(RoundState::Acknowledge(Box::new((batch, pushed)))),
            // The next connection finds out what has become of it.
            PushEnd::OtherServer => {
                self.drop_link();
                Flow::more()
            }
        }
    }

    /// Gives other stamps to what PostgreSQL has refused as too far ahead of its clock. On disk
    /// before it is pushed: after a power cut the write would get another, higher stamp, and
    /// beat who has seen it under this one. A comparison of some tables that was refused for what nobody finds
    /// here would be refused at once again.
    pub(super) async fn restamp(&mut self, primary_ms: i64, is_apart: bool) -> Result<Flow> {
        let operation = "restamp";
        let shared = self.shared.clone();
        let restamped = self
            .write_many(operation, Durability::Full, move |content| {
                let mut restamped = 0_usize;
                let mut restamp = |id: &RowId, tracked: &mut Tracked| {
                    if !tracked.restamp(primary_ms, &mut *shared.clock()).is_empty() {
                        content.set_tracked(id, tracked)?;
                        restamped += 1;
                    }
                    Ok(())
                };
                for (id, mut row) in content.pending(now_ms(), true)?.rows {
                    restamp(&id, &mut row.tracked)?;
                }
                // The file's position has passed by what is pending in these.
                for table in content.apart()? {
                    let mut after = None;
                    loop {
                        let (rows, end) = content.range(table, after.as_ref(), None, AT_A_TIME)?;
                        for (id, mut row) in rows {
                            restamp(&id, &mut row.tracked)?;
                        }
                        let Some(end) = end else { break };
                        after = Some(end);
                    }
                }
                Ok(restamped)
            })
            .await?;
        if restamped == 0 && is_apart {
            let message =
                "PostgreSQL refuses rows as too far ahead of its clock, and the file has none";
            return Err(Error::new(Kind::Internal, operation, message));
        }
        warn!(rows = restamped, "the clock was far ahead of PostgreSQL's: rows were restamped");
        Flow::to(RoundState::PushRead)
    }

    /// Notes what PostgreSQL has now.
    pub(super) async fn acknowledge(&mut self, batch: Batch, pushed: Pushed) -> Result<Flow> {
        let (gone, conflicts) = (pushed.gone.len(), pushed.conflicts.len());
        let (rows, refused) = (batch.rows.len(), pushed.refused.len());
        let work = move |content: &Content<'_>| {
            if content.generation() != batch.generation {
                return Ok(None);
            }
            let sent = batch.rows.iter().map(|(id, _)| id.clone());
            let unreadable = batch.unreadable.iter().map(|(id, _)| id.clone());
            let quarantine = QuarantineSet::of(content, sent.chain(unreadable))?;
            acknowledged(content, &quarantine, &batch, &pushed)?;
            content.forget_given()?;
            let mut node = content.node()?;
            if pushed.gone.is_empty() {
                node.pushed = node.pushed.max(batch.upto);
            } else {
                content.forget_all_given()?;
                node.follow = follow(&node.follow, Event::Broken(Break::Missing))?;
            }
            content.set_node(&node)?;
            Ok(Some(!content.unsent_conflicts()?.is_empty()))
        };
        // Another file is at the path meanwhile: it pushes what it has itself.
        let Some(unsent) = self.write_many("acknowledge", Durability::Normal, work).await? else {
            return Flow::more();
        };
        if rows > 0 {
            debug!(rows, refused, conflicts, "pushed");
        }
        if gone > 0 {
            warn!(
                rows = gone,
                "PostgreSQL lacks rows that it once had: both sides will be compared"
            );
            return Flow::more();
        }
        Flow::to(if unsent { RoundState::Forward } else { RoundState::Poll })
    }

    /// Adds the file's own conflicts to PostgreSQL's log, where every node's are read.
    pub(super) async fn forward_conflicts(&mut self) -> Result<Flow> {
        let (unsent, generation) = self
            .read("read the conflict log", |content| {
                Ok((content.unsent_conflicts()?, content.generation()))
            })
            .await?;
        if unsent.is_empty() {
            return Flow::to(RoundState::Poll);
        }
        let (numbers, entries): (Vec<i64>, Vec<ConflictEntry>) = unsent.into_iter().unzip();
        let link = self.take_link("tell conflicts")?;
        self.primary(&link).add_conflicts(&entries).await?;
        self.put_link(link);
        info!(conflicts = numbers.len(), "conflicts were logged");
        Flow::to(RoundState::NoteForwarded { numbers, generation })
    }

    /// Notes that it has them. In a file that is at the path since, the numbers are those of other
    /// entries.
    pub(super) async fn note_forwarded(
        &mut self,
        numbers: Vec<i64>,
        generation: u64,
    ) -> Result<Flow> {
        self.write("note told conflicts", Durability::Normal, move |content| {
            if content.generation() != generation {
                return Ok(());
            }
            content.conflicts_sent(&numbers)
        })
        .await?;
        Flow::to(RoundState::Poll)
    }
}

/// What PostgreSQL has taken is no longer pending, what it refuses is set aside.
pub(super) fn acknowledged(
    content: &Content<'_>,
    quarantine: &QuarantineSet,
    batch: &Batch,
    pushed: &Pushed,
) -> Result<()> {
    let gone: BTreeSet<RowId> = pushed.gone.iter().cloned().collect();
    let refused: BTreeMap<RowId, (&str, &str)> = pushed
        .refused
        .iter()
        .map(|(id, code, why)| (id.clone(), (code.as_str(), why.as_str())))
        .collect();
    for (id, column) in &batch.unreadable {
        if content.row(id)?.is_some_and(|row| row.seq <= batch.upto) {
            quarantine.unreadable(content, id, Side::Postgres, *column)?;
        }
    }
    // Before anything that refers to them is no longer pending: it goes with them.
    for (id, (code, _)) in &refused {
        if *code == NUMBER {
            content.give_up_surrogate(id)?;
        }
    }
    for (id, sent) in &batch.rows {
        if gone.contains(id) {
            continue;
        }
        let Some(mut row) = content.row(id)? else { continue };
        // A birth that has come since was not sent, whatever was under its number.
        if content.is_unsent(id, &row.tracked) {
            continue;
        }
        // A row that has changed since is another process's batch: it says of itself whether
        // PostgreSQL takes it.
        let is_latest = row.seq <= batch.upto;
        match refused.get(id) {
            Some((code, reason)) => {
                // Who has the row locked, or its number, has it still, whatever has been written to it here.
                if is_latest || [LOCKED, NUMBER].contains(code) {
                    quarantine.set_aside(
                        content,
                        id,
                        Side::Postgres,
                        code,
                        (*reason).to_owned(),
                    )?;
                }
                continue;
            }
            None if is_latest => quarantine.release(content, id, Side::Postgres)?,
            None => {}
        }
        let before = row.tracked.clone();
        row.tracked.acknowledge(&sent.version);
        if row.tracked != before {
            content.set_tracked(id, &row.tracked)?;
        }
    }
    // PostgreSQL's log may be lost with the server before the other side is overwritten.
    let noted_ms = now_ms();
    let entries: Vec<ConflictEntry> = pushed
        .conflicts
        .iter()
        .map(|(id, conflict, winning, losing)| ConflictEntry {
            id: id.clone(),
            conflict: *conflict,
            winning: winning.clone(),
            losing: losing.clone(),
            noted_ms,
            reviewed: false,
        })
        .collect();
    content.log_conflicts(&entries)
}

/// Whether a row waits to be pushed.
pub(super) fn is_pending(
    row: &LocalRow,
    id: &RowId,
    node: &Node,
    quarantine: &QuarantineSet,
) -> bool {
    row.seq > node.pushed || quarantine.has(id, Side::Postgres)
}
