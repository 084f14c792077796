//! From PostgreSQL to the file: what is new, in one transaction here, which moves the cursor.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::connect::schema_version;
use super::quarantine::QuarantineSet;
use super::round_state::{Flow, RoundState};
use super::rounds::{Rounds, follow, now_ms};
use super::take_in::take_all;
use crate::Result;
use crate::protocol::{
    Break, Event, Follow, PollVerdict as Verdict, SetBack, Snapshot, Tokens, judge_poll,
};
use crate::schema::RowId;
use crate::stamp::{Stamp, Writer};
use crate::store::postgres::primary::{Poll, PurgePosition, RemoteRow};
use crate::store::sqlite::replica::{Content, Durability, LocalRow, Side};

/// For how long a round looks for tombstones before it goes on with what is new.
const PURGE: Duration = Duration::from_secs(2);

/// How many old conflicts go in one transaction.
const AT_ONCE: usize = 5_000;

/// How often PostgreSQL is asked whether more tables are kept.
const BESIDES: Duration = Duration::from_secs(30);

/// What applying a poll came to.
enum Applied {
    /// Another process has moved the cursor, or the file's schema has changed.
    Overtaken,
    /// The epoch that is followed does not speak of the tables that are polled.
    OtherTables,
    /// Something is pending that what was polled may meet: to be done again with FULL.
    MayMeet,
    Broken(Break),
    /// Capture of some of the tables is not as installed.
    Drifted(Vec<usize>),
    Done {
        pending: bool,
        /// Of so many tables much has changed at PostgreSQL: they were passed by, and are compared.
        backlogs: usize,
        /// Some tables are apart from those that were taken in.
        has_apart: bool,
    },
}

/// What is polled.
#[derive(Clone, Debug)]
pub(super) struct Polled {
    pub(super) poll: Poll,
    /// The file's state as it was read for the poll.
    pub(super) state: Follow,
    /// Rows that were asked for besides what is new.
    pub(super) also: Vec<RowId>,
    /// Tables that were apart by then: nothing of them was read.
    pub(super) apart: Vec<usize>,
}

impl Rounds {
    /// Reads what is new since the cursor, and again what the file has refused.
    pub(super) async fn poll(&mut self) -> Result<Flow> {
        let (state, tokens, also, apart) = self
            .read("read the cursor", |content| {
                let node = content.node()?;
                Ok((node.follow, node.tokens, content.due_here(now_ms())?, content.apart()?))
            })
            .await?;
        self.tokens = tokens;
        let Follow::Following { snapshot, .. } = &state else {
            return Flow::more();
        };
        let link = self.take_link("poll")?;
        if self.besides_at.is_none_or(|at| at.elapsed() >= BESIDES) {
            self.besides_at = Some(Instant::now());
            let aside = self
                .read("look which tables are left alone", |content| content.left_alone())
                .await?;
            if self.primary(&link).keeps_besides(&aside).await? {
                // Whoever connects notes it in the file.
                return Flow::more();
            }
        }
        if self.grows(&link).await? {
            return Flow::more();
        }
        let sent_ms = now_ms();
        let most = Some(self.shared.at_once);
        let poll = self.primary(&link).poll_at_most(snapshot, &also, most, &apart).await?;
        self.shared.clock().measure(sent_ms, poll.header.now_ms);
        self.put_link(link);
        Flow::to(RoundState::Apply(Box::new(Polled { poll, state, also, apart })))
    }

    /// Takes it in: all tables that follow in one transaction, so that nobody sees half of somebody's.
    pub(super) async fn apply(&mut self, polled: Polled) -> Result<Flow> {
        let poll = &polled.poll;
        let (rows, inspected, tokens) = (poll.rows.len(), self.inspected, self.tokens);
        let before = polled.state.clone();
        let cursor = poll.header.snapshot.clone();
        // A conflict that is logged here only has to be on disk before a push that knows of it:
        // after a power cut the own stamp in PostgreSQL would hide it.
        let may_meet = rows > 0 && self.read("apply", meets).await?;
        let polled = Arc::new(polled);
        let mut durability = if may_meet { Durability::Full } else { Durability::Normal };
        let applied = loop {
            let polled = polled.clone();
            let forgotten = self.shared.retention.forgotten(&polled.poll.header);
            let applied = self
                .write_many("apply", durability, move |content| {
                    if schema_version(content).map(Some)? != inspected {
                        return Ok(Applied::Overtaken);
                    }
                    let is_any = !polled.poll.rows.is_empty();
                    if durability == Durability::Normal && is_any && meets(content)? {
                        return Ok(Applied::MayMeet);
                    }
                    apply(content, &polled, &tokens, forgotten)
                })
                .await?;
            match applied {
                Applied::MayMeet => durability = Durability::Full,
                applied => break applied,
            }
        };
        match applied {
            Applied::Overtaken | Applied::MayMeet => Flow::more(),
            // To connect is to say of which tables it speaks.
            Applied::OtherTables => {
                self.drop_link();
                Flow::more()
            }
            Applied::Drifted(tables) => {
                warn!(
                    tables = tables.len(),
                    "capture at PostgreSQL was not as installed: they will be compared"
                );
                self.write("note a break", Durability::Full, move |content| {
                    tables
                        .iter()
                        .try_for_each(|table| content.compare_alone(*table, Break::CaptureGap))
                })
                .await?;
                self.drop_link();
                Flow::more()
            }
            Applied::Broken(cause) => {
                self.break_off(before, cause).await?;
                warn!(?cause, "the cursor means nothing any more: both sides will be compared");
                // The next connection takes another identity, if it has to, and another token.
                self.drop_link();
                Flow::more()
            }
            Applied::Done { pending, backlogs, has_apart } => {
                if rows > 0 {
                    debug!(rows, "pulled");
                }
                if backlogs > 0 {
                    let tables = backlogs;
                    info!(
                        tables,
                        "much has changed in tables at PostgreSQL: they are gone through by ranges"
                    );
                }
                self.followed_up = self.begun;
                if !has_apart {
                    self.caught_up = self.begun;
                }
                self.patience = self.shared.limits.statement;
                // What has become pending since the push was read goes with the next round. While
                // PostgreSQL counts as down everybody writes into the file, and nobody who writes
                // all the time would ever see a round that leaves nothing.
                self.shared.health.works(crate::Store::Postgres);
                // The others are exchanged between any two of its steps.
                if has_apart && self.is_comparison_due() {
                    return Flow::to(RoundState::Compare);
                }
                if pending {
                    return Flow::more();
                }
                self.sign(&cursor).await?;
                self.purge().await?;
                match self.lacking_numbers().await? {
                    Some(lacking) => Flow::to(RoundState::KeepNumbers(Box::new(lacking))),
                    None => Flow::idle(),
                }
            }
        }
    }

    /// On disk before anything is done about it: capture that is installed again on PostgreSQL
    /// shows no gap any more.
    pub(super) async fn break_off(&self, state: Follow, cause: Break) -> Result<()> {
        self.write("note a break", Durability::Full, move |content| {
            let mut node = content.node()?;
            if node.follow == state {
                if !cause.primary_is_intact() {
                    content.forget_all_given()?;
                }
                node.follow = follow(&node.follow, Event::Broken(cause))?;
                content.set_node(&node)?;
            }
            Ok(())
        })
        .await
    }

    /// Lets these tables be compared by themselves; the others go on.
    pub(super) async fn compare_some(
        &self,
        state: Follow,
        tables: Vec<usize>,
        cause: Break,
        durability: Durability,
    ) -> Result<()> {
        self.write("note a break", durability, move |content| {
            if content.node()?.follow == state {
                tables.iter().try_for_each(|table| content.compare_alone(*table, cause))?;
            }
            Ok(())
        })
        .await
    }

    /// Leaves word at PostgreSQL, for people, that this file was here; once a connection.
    async fn sign(&mut self, cursor: &Snapshot) -> Result<()> {
        if !self.signed {
            let link = self.take_link("leave word")?;
            self.primary(&link).sign(Some(cursor)).await?;
            self.put_link(link);
            self.signed = true;
        }
        Ok(())
    }

    /// Once in a while the tombstones and the conflicts go that are older than what is kept. It
    /// takes a look at every row of the sidecars, so the file remembers when: programs come and
    /// go. What takes long goes on in the next rounds.
    async fn purge(&mut self) -> Result<()> {
        let Some((horizon, mark)) = self.due_purge().await? else { return Ok(()) };
        let link = self.take_link("purge")?;
        let (purged, mark) = self.primary(&link).purge(horizon, mark, PURGE).await?;
        self.put_link(link);
        self.purging = mark.map(|mark| (horizon, mark));
        if purged > 0 {
            debug!(tombstones = purged, "purged");
        }
        Ok(())
    }

    /// The purge that goes on, or is due.
    async fn due_purge(&mut self) -> Result<Option<(Stamp, PurgePosition)>> {
        // Whatever becomes of it, it is not begun twice.
        if let Some(purging) = self.purging.take() {
            return Ok(Some(purging));
        }
        let every = self.shared.retention.every;
        if self.purged.is_some_and(|then| then.elapsed() < every) {
            return Ok(None);
        }
        self.purged = Some(std::time::Instant::now());
        let (now_ms, every) = (now_ms(), milliseconds(every));
        // A moment in the future was noted before the clock was set back.
        let recently = move |then: i64| (0..every).contains(&(now_ms - then));
        if self.read("purge", |content| content.tidied_ms()).await?.is_some_and(recently) {
            return Ok(None);
        }
        self.write("purge", Durability::Normal, move |content| content.set_tidied_ms(now_ms))
            .await?;
        self.forget_conflicts(now_ms).await?;
        let now = self.shared.clock().unix_ms();
        let horizon = now.saturating_sub(milliseconds(self.shared.retention.keep));
        Ok(Some((Stamp::at(horizon, Writer::POSTGRES), PurgePosition::default())))
    }

    async fn forget_conflicts(&mut self, now_ms: i64) -> Result<()> {
        let keep = self.shared.retention.conflicts;
        let link = self.take_link("purge")?;
        let mut forgotten = self.primary(&link).forget_conflicts(keep).await?;
        self.put_link(link);
        let before_ms = now_ms.saturating_sub(milliseconds(keep));
        loop {
            let forget = move |content: &Content<'_>| content.forget_conflicts(before_ms, AT_ONCE);
            let some = self.write("purge", Durability::Normal, forget).await?;
            forgotten += some as u64;
            if some < AT_ONCE {
                break;
            }
        }
        if forgotten > 0 {
            debug!(conflicts = forgotten, "old conflicts were forgotten");
        }
        Ok(())
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Whether something waits here that a row of PostgreSQL's could meet.
fn meets(content: &Content<'_>) -> Result<bool> {
    Ok(content.is_pending()? || content.quarantined()? > 0)
}

/// `tokens` are those that the file had before the poll; tombstones are forgotten up to `forgotten`.
fn apply(
    content: &Content<'_>,
    polled: &Polled,
    tokens: &Tokens,
    forgotten: Stamp,
) -> Result<Applied> {
    let Polled { poll, state, also, apart: unread } = polled;
    let node = content.node()?;
    let Follow::Following { epoch, snapshot } = state else { return Ok(Applied::Overtaken) };
    if node.follow != *state {
        return Ok(Applied::Overtaken);
    }
    // Another process has left a table alone since, or taken one back, or joined one: what was read says
    // of other tables who the server is.
    if content.kept_besides()?.is_some() {
        return Ok(Applied::Overtaken);
    }
    if !content.counts_all()? {
        return Ok(Applied::OtherTables);
    }
    let header = &poll.header;
    let drifted: Vec<usize> = poll.drift.iter().map(|(table, _)| *table).collect();
    // Nothing was missed before the poll that noticed it, but everything may be since.
    if drifted.len() == content.tables().len() {
        return Ok(Applied::Broken(Break::CaptureGap));
    }
    if !drifted.is_empty() {
        return Ok(Applied::Drifted(drifted));
    }
    match judge_poll(
        epoch,
        snapshot,
        [tokens, &node.tokens],
        &header.epoch,
        &header.snapshot,
        header.purged,
    ) {
        Verdict::Overtaken => return Ok(Applied::Overtaken),
        Verdict::Broken(cause) => return Ok(Applied::Broken(cause)),
        Verdict::Apply => {}
    }
    // A table that has been compared since is one of the others now, and nothing of it was read.
    let apart = content.apart()?;
    if !unread.iter().all(|table| apart.contains(table)) {
        return Ok(Applied::Overtaken);
    }
    for table in poll.too_many.iter().filter(|table| !apart.contains(table)) {
        content.compare_alone(*table, Break::Backlog)?;
    }
    // One that is compared gets what is new when it has been: what stands of it the stamps do not tell before.
    let apart = content.apart()?;
    let rows = || poll.rows.iter().filter(|row| !apart.contains(&row.id.table));
    let limit = SetBack::limit(header.now_ms);
    let highest =
        poll.rows.iter().map(|row| row.version.highest()).fold(header.horizon, Stamp::max);
    if highest > limit {
        content.note_ahead(highest)?;
    }
    let quarantine = QuarantineSet::of(content, rows().map(|row| row.id.clone()))?;
    // Asked about first, a birth that has come since makes room for what PostgreSQL has under its number.
    let is_automatic = |row: &&RemoteRow| {
        content.tables().get(row.id.table).is_some_and(|local| local.table.has_automatic_key())
    };
    let asked = rows().filter(is_automatic);
    for row in asked.filter(|row| !quarantine.has(&row.id, Side::Postgres)) {
        if is_in_the_way(content, &row.id, content.row(&row.id)?.as_ref()) {
            return Ok(Applied::Overtaken);
        }
    }
    take_all(content, &quarantine, rows(), true)?;
    // What the file has refused is there no more, not even as a tombstone.
    if !also.is_empty() {
        let there: BTreeSet<&RowId> = poll.rows.iter().map(|row| &row.id).collect();
        let is_read = |id: &&RowId| !apart.contains(&id.table);
        let mut gone = also.iter().filter(|id| !there.contains(id)).filter(is_read);
        gone.try_for_each(|id| content.release(id, Side::Sqlite))?;
    }
    let event = Event::Pulled { epoch: header.epoch, snapshot: header.snapshot.clone() };
    // Taking rows in may have moved what the node knows of its position.
    let mut node = content.node()?;
    node.follow = follow(&node.follow, event)?;
    node.exchanged_ms = Some(now_ms());
    content.set_node(&node)?;
    content.purge(forgotten)?;
    let pending = content.is_pending()?;
    if !apart.is_empty() && !pending {
        content.passes_apart()?;
    }
    Ok(Applied::Done { pending, backlogs: poll.too_many.len(), has_apart: !apart.is_empty() })
}

/// Whether a birth stands there that PostgreSQL has not been asked about.
fn is_in_the_way(content: &Content<'_>, id: &RowId, row: Option<&LocalRow>) -> bool {
    row.is_some_and(|row| row.tracked.version.live.value && content.is_unsent(id, &row.tracked))
}
