//! Meeting PostgreSQL: who it is, whether the cursor still means anything there, the token that
//! both share, and the numbers under which this file writes.

use std::time::Instant;

use rand::random;
use tracing::{info, warn};
use uuid::Uuid;

use super::link::Link;
use super::round_state::{Flow, RoundState};
use super::rounds::{Rounds, follow, now_ms};
use crate::Result;
use crate::adoption::{other_installation, tracked_elsewhere};
use crate::protocol::{Break, Event, Follow, Token, Tokens};
use crate::stamp::Writer;
use crate::store::postgres::primary::Header;
use crate::store::sqlite::replica::{Content, Durability, Node};

impl Rounds {
    /// Opens a connection, brings the tables to the declared form, reads the epoch.
    pub(super) async fn connect(&mut self) -> Result<Flow> {
        self.drop_link();
        self.met = false;
        let (node, besides) = self
            .read("read the file's identity", |content| {
                Ok((content.node()?, content.kept_besides()?))
            })
            .await?;
        self.keeps_all(besides)?;
        (self.file, self.tokens) = (node.file, node.tokens);
        let link = Link::open(&self.shared).await?;
        let sent_ms = now_ms();
        let header = self.primary(&link).header().await?;
        self.shared.clock().measure(sent_ms, header.now_ms);
        self.shadowed.clone_from(&link.shadowed);
        self.besides_at = Some(Instant::now());
        let besides = link.besides.clone();
        let besides = self
            .read("look which tables the file keeps", move |content| content.undeclared(besides))
            .await?;
        if !besides.is_empty() {
            let work = move |content: &Content<'_>| content.learn(&besides);
            self.write("note which tables PostgreSQL keeps", Durability::Full, work).await?;
        }
        self.put_link(link);
        Flow::to(RoundState::Propose(Box::new(header)))
    }

    /// A break goes to disk before PostgreSQL gets the token: afterwards nothing else tells of it.
    pub(super) async fn propose(&mut self, header: Header) -> Result<Flow> {
        let (asked, tokens) = (self.file, self.tokens);
        let shadowed = self.shadowed.clone();
        let work = move |content: &Content<'_>| {
            let mut node = content.node()?;
            // Or another process leaves a table alone since.
            if node.file != asked || content.kept_besides()?.is_some() {
                return Ok(None);
            }
            // Another process of the file has rotated it since: what was read proves nothing.
            let rotated = node.tokens != tokens;
            belongs(&node, &header)?;
            if let Some(other) = shadowed.filter(|_| node.installation.is_none()) {
                return Err(tracked_elsewhere(&other));
            }
            if let Some(epoch) = node.follow.followed_mut() {
                content.count_relations(epoch, &header.tables)?;
            }
            let mut seen = header.epoch.token;
            let cause = node.follow.break_at(&header.epoch, &node.tokens);
            if cause.is_some() && rotated {
                return Ok(None);
            }
            if cause == Some(Break::OtherFile) {
                node.file = Uuid::now_v7();
                node.number = free_number(&content.numbers()?);
                node.tokens = Tokens::default();
                seen = None;
                content.new_identity(node.file, node.number)?;
            }
            // A file that follows nothing has no life to compare: another copy of it may have
            // met the loss first, and set the token that both share.
            let follows = matches!(node.follow, Follow::Following { .. });
            let cause = cause.map(|cause| if follows { cause } else { Break::OtherPrimary });
            if let Some(cause) = cause {
                if !cause.primary_is_intact() {
                    content.forget_all_given()?;
                }
                node.follow = follow(&node.follow, Event::Broken(cause))?;
            }
            let fresh = Token::after(node.tokens.current(), random());
            let fresh = node.tokens.proposal(seen, fresh);
            node.tokens = node.tokens.propose(seen, fresh);
            node.installation = Some(header.epoch.installation);
            content.set_node(&node)?;
            Ok(Some((seen, fresh, cause, node.file)))
        };
        let proposed = self.write("propose a token", Durability::Full, work).await?;
        // Another process of this file has given it another identity or token meanwhile.
        let Some((seen, fresh, cause, file)) = proposed else {
            self.drop_link();
            return Flow::more();
        };
        if std::mem::replace(&mut self.file, file) != file {
            info!("this file is a copy of another: it has taken an identity of its own");
        }
        if let Some(cause) = cause {
            warn!(?cause, "the cursor means nothing any more: both sides will be compared");
        }
        Flow::to(RoundState::Rotate { seen, fresh })
    }

    /// Sets the token, if no other process of the file was faster.
    pub(super) async fn rotate(&mut self, seen: Option<Token>, fresh: Token) -> Result<Flow> {
        let link = self.take_link("rotate the token")?;
        if !self.primary(&link).rotate(seen, fresh).await? {
            return Flow::more();
        }
        self.put_link(link);
        Flow::to(RoundState::Confirm { fresh })
    }

    /// Until here both tokens are accepted.
    pub(super) async fn confirm(&mut self, fresh: Token) -> Result<Flow> {
        self.write("confirm the token", Durability::Normal, move |content| {
            let mut node = content.node()?;
            node.tokens = node.tokens.confirm(fresh);
            content.set_node(&node)
        })
        .await?;
        self.met = true;
        Flow::to(RoundState::Inspect)
    }

    /// Claims the numbers of the file and its processes: two writers of one number could give
    /// one stamp to two writes.
    pub(super) async fn claim(&mut self, numbers: Vec<Writer>) -> Result<Flow> {
        let link = self.take_link("claim numbers")?;
        let replaced = self.primary(&link).claim_numbers(&numbers).await?;
        self.put_link(link);
        if replaced.is_empty() {
            self.claimed.extend(numbers);
            return Flow::to(RoundState::PushRead);
        }
        Flow::to(RoundState::Renumber { claimed: numbers, replaced })
    }

    /// Takes the numbers that were claimed instead of those that belong to somebody else.
    pub(super) async fn renumber(
        &mut self,
        claimed: Vec<Writer>,
        replaced: Vec<(Writer, Writer)>,
    ) -> Result<Flow> {
        let own = replaced.clone();
        self.write("take other numbers", Durability::Full, move |content| {
            own.iter().try_for_each(|(taken, by)| content.replace_number(*taken, *by))
        })
        .await?;
        let replacement = |number: Writer| {
            replaced.iter().find(|(taken, _)| *taken == number).map_or(number, |(_, by)| *by)
        };
        let mut clock = self.shared.clock();
        let number = replacement(clock.writer());
        clock.renumber(number);
        drop(clock);
        self.claimed.extend(claimed.into_iter().map(replacement));
        Flow::to(RoundState::PushRead)
    }
}

/// Changes whenever somebody changes a table, an index or a trigger of the file.
pub(super) fn schema_version(content: &Content<'_>) -> Result<i64> {
    let operation = "inspect capture";
    content
        .connection()
        .query_row("PRAGMA schema_version", [], |row| row.get(0))
        .map_err(|cause| crate::store::sqlite::failed(operation, cause))
}

/// A file that has met another installation is not mixed into this one.
///
/// # Errors
/// [`other_installation`].
pub(crate) fn belongs(node: &Node, header: &Header) -> Result<()> {
    match node.installation {
        Some(installation) if installation != header.epoch.installation => {
            Err(other_installation())
        }
        _ => Ok(()),
    }
}

/// A number that nobody in the file has; whether somebody else has it says PostgreSQL.
fn free_number(taken: &[Writer]) -> Writer {
    loop {
        let number = Writer::new(rand::random_range(1..=Writer::MAX.number()));
        if let Some(number) = number.filter(|number| !taken.contains(number)) {
            return number;
        }
    }
}
