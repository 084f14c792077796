//! One round after another, step by step: where it stands between two steps, and what a step
//! that failed leaves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tracing::debug;
use uuid::Uuid;

use super::compare::Apart;
use super::failure::{FailureNotes, Meaning, is_locked, meaning};
use super::growth::Looked;
use super::link::Link;
use super::quarantine::AGAIN;
use super::round_state::{Advance, Flow, RoundState};
use super::scrub::Scrubber;
use super::step::{Fault, Step, injected};
use super::{Exchange, Scope, Shared};
use crate::protocol::{Event, Follow, Tokens};
use crate::stamp::{Stamp, Writer};
use crate::store::postgres::primary::{Primary, PurgePosition};
use crate::store::sqlite::replica::{Content, Durability, PushTurn, Replica, is_endless};
use crate::{Error, Kind, Result, Store};

/// The longest that a statement may come to take.
pub(super) const LONGEST: Duration = Duration::from_secs(600);

/// The rounds of one process. At most one is under way, whoever drives it.
#[derive(Debug)]
pub(super) struct Rounds {
    pub(super) shared: Arc<Shared>,
    stand: Option<RoundState>,
    link: Option<Link>,
    /// The server at the other end of it is the file's, and has the file's token: a round that
    /// was given up before that begins with the look at the server.
    pub(super) met: bool,
    /// The file's identity at PostgreSQL, as it was read last.
    pub(super) file: Uuid,
    /// The file's tokens, as they were before PostgreSQL's was read last.
    pub(super) tokens: Tokens,
    /// The numbers that were claimed over this connection.
    pub(super) claimed: BTreeSet<Writer>,
    /// Word was left over this connection.
    pub(super) signed: bool,
    /// The version of the file's schema that was found to be as installed.
    pub(super) inspected: Option<i64>,
    /// Another table of the server's to which the search path leads instead of the tracked one.
    pub(super) shadowed: Option<String>,
    /// Rounds that have read what is pending.
    pub(super) begun: u64,
    /// The last of them that has exchanged everything there was.
    pub(super) caught_up: u64,
    /// The last of them that has exchanged everything there was in the tables that follow.
    pub(super) followed_up: u64,
    /// The comparison of the others.
    pub(super) apart: Apart,
    /// A comparison waits for a person.
    pub(super) held: Option<usize>,
    /// Since when this process has not looked whether it has to.
    pub(super) held_since: Option<Instant>,
    /// The position up to which the file was looked at.
    pub(super) looked: i64,
    /// How long a statement may take: as long as a call's, so that a server that swallows packets
    /// is noticed in time; more after one that has taken all of that, because what has piled up
    /// may be a million rows.
    pub(super) patience: Duration,
    /// When this process last began to look for tombstones to purge.
    pub(super) purged: Option<Instant>,
    /// When PostgreSQL was asked last whether it keeps more tables.
    pub(super) besides_at: Option<Instant>,
    /// When it was looked last whether tables have got columns.
    pub(super) columns: Looked,
    /// Where it goes on, and with which horizon.
    pub(super) purging: Option<(Stamp, PurgePosition)>,
    /// Held from the look at what is pending to the note that it has arrived.
    pub(super) turn: Option<PushTurn>,
    /// The last wait for it was in vain.
    pub(super) turn_missed: bool,
    /// What the background verification looks at.
    pub(super) scrubber: Scrubber,
    /// The file is the one that was read: it was not lost and brought back since.
    generation: u64,
    /// Whether something is noted in the file as failing.
    pub(super) noted: FailureNotes,
}

impl Rounds {
    pub(super) fn new(shared: Arc<Shared>) -> Rounds {
        let patience = shared.limits.statement;
        Rounds {
            shared,
            stand: None,
            link: None,
            met: false,
            file: Uuid::nil(),
            tokens: Tokens::default(),
            claimed: BTreeSet::new(),
            signed: false,
            inspected: None,
            shadowed: None,
            begun: 0,
            caught_up: 0,
            followed_up: 0,
            apart: Apart::default(),
            held: None,
            held_since: None,
            looked: 0,
            patience,
            purged: None,
            besides_at: None,
            columns: Looked::default(),
            purging: None,
            turn: None,
            turn_missed: false,
            scrubber: Scrubber::default(),
            generation: 0,
            noted: FailureNotes::default(),
        }
    }

    /// One step. Given up in the middle, it leaves both sides as a crash would.
    pub(super) async fn advance(&mut self) -> Advance {
        self.follow_the_file();
        let stand = match self.stand.take() {
            Some(stand) => stand,
            None if self.is_linked() => RoundState::Inspect,
            None => RoundState::Connect,
        };
        let (step, is_apart, table) = (stand.step(), self.is_apart(&stand), stand.table());
        let hook = self.shared.hook.clone();
        let fault = hook.as_ref().map_or(Fault::None, |hook| hook.fault(step));
        let began = Instant::now();
        // Boxed: the layouts of all steps in one another are too deep for the compiler.
        let mut result = match fault {
            Fault::None | Fault::Lost => self.step(stand).boxed().await,
            Fault::Refused | Fault::Fails(_) => Err(injected(step, fault)),
            Fault::Twice => match self.step(stand.clone()).boxed().await {
                Ok(_) => self.step(stand).boxed().await,
                failed => failed,
            },
        };
        if let Some(hook) = hook.filter(|_| !fault.is_refusal()) {
            hook.done(step);
        }
        if fault == Fault::Lost {
            result = result.and(Err(injected(step, fault)));
        }
        if !matches!(&result, Ok(Flow::Next(RoundState::Push(_) | RoundState::Acknowledge(_)))) {
            self.turn = None;
        }
        match result {
            Ok(flow) => {
                if step.store() == Store::Sqlite {
                    self.shared.health.works(Store::Sqlite);
                }
                match flow {
                    Flow::Next(stand) => {
                        self.stand = Some(stand);
                        Advance::Next
                    }
                    Flow::End(outcome) => {
                        self.passes(step).await;
                        Advance::End(outcome)
                    }
                }
            }
            Err(error) => {
                debug!(%step, error = error.chain(), "a step of the exchange failed");
                if step != Step::Connect && began.elapsed() >= self.patience {
                    self.patience = (self.patience * 2).min(LONGEST).max(self.patience);
                }
                // After any other failure it is not worth knowing in what state the session is.
                if step.store() == Store::Postgres && !is_locked(&error) {
                    self.link = None;
                }
                self.fails(step, &error).await;
                // A side that is away is away for all.
                if is_apart && meaning(step.store(), &error) == Meaning::Failing {
                    self.apart.fails(table);
                    return Advance::Apart(error);
                }
                Advance::Failed(error)
            }
        }
    }

    /// What was known of a file that was lost and brought back is read again: its position may
    /// have gone back, and its token with it.
    fn follow_the_file(&mut self) {
        let generation = self.shared.replica().map_or(self.generation, |file| file.generation());
        if std::mem::replace(&mut self.generation, generation) != generation {
            self.stand = None;
            self.apart = Apart::default();
            self.drop_link();
            self.inspected = None;
        }
    }

    /// Whether PostgreSQL has been met over the connection that is open.
    pub(super) fn is_linked(&self) -> bool {
        self.met && self.link.as_ref().is_some_and(Link::is_open)
    }

    /// The next step looks at a part of the background verification, if one is due and no round is
    /// under way; says whether it does.
    pub(super) fn turn_to_scrub(&mut self) -> bool {
        let is_due = self.stand.is_none() && self.is_scrub_due();
        if is_due {
            self.stand = Some(RoundState::Scrub);
        }
        is_due
    }

    /// The round goes on, or begins, with the first step after PostgreSQL has been met.
    pub(super) fn restart(&mut self) {
        self.stand = None;
    }

    /// A step that panicked leaves nothing behind it that could be trusted.
    pub(super) fn abandon(&mut self) {
        self.stand = None;
        self.apart = Apart::default();
        self.link = None;
    }

    /// Whether the step is one of a comparison of some tables, after the others have been exchanged.
    fn is_apart(&self, stand: &RoundState) -> bool {
        match stand {
            RoundState::ReadRemote(of)
            | RoundState::ReadLocal(of)
            | RoundState::Give(of)
            | RoundState::ApplyRange(of)
            | RoundState::Uncaptured(of)
            | RoundState::Finish(of)
            | RoundState::Hold(of) => of.is_of_some(),
            RoundState::Compare => self.followed_up == self.begun,
            RoundState::Restamp { is_apart, .. } => *is_apart,
            _ => false,
        }
    }

    async fn step(&mut self, stand: RoundState) -> Result<Flow> {
        match stand {
            RoundState::Connect => self.connect().await,
            RoundState::Propose(header) => self.propose(*header).await,
            RoundState::Rotate { seen, fresh } => self.rotate(seen, fresh).await,
            RoundState::Confirm { fresh } => self.confirm(fresh).await,
            RoundState::Inspect => self.inspect().await,
            RoundState::Gaps => self.gaps().await,
            RoundState::PushRead => self.push_read().await,
            RoundState::Claim(numbers) => self.claim(numbers).await,
            RoundState::Renumber { claimed, replaced } => self.renumber(claimed, replaced).await,
            RoundState::Reserve(asked) => self.reserve(*asked).await,
            RoundState::Number(answered) => self.number(answered.0, answered.1).await,
            RoundState::Compare => self.compare().await,
            RoundState::ReadRemote(comparison) => self.read_remote(comparison).await,
            RoundState::ReadLocal(comparison) => self.read_local(comparison).await,
            RoundState::Give(comparison) => self.give(comparison).await,
            RoundState::ApplyRange(comparison) => self.apply_range(comparison).await,
            RoundState::Uncaptured(comparison) => self.uncaptured(comparison).await,
            RoundState::Finish(comparison) => self.finish(*comparison).await,
            RoundState::Hold(comparison) => self.hold(*comparison).await,
            RoundState::Push(batch) => self.push(*batch).await,
            RoundState::Restamp { primary_ms, is_apart } => {
                self.restamp(primary_ms, is_apart).await
            }
            RoundState::Acknowledge(done) => self.acknowledge(done.0, done.1).await,
            RoundState::Forward => self.forward_conflicts().await,
            RoundState::NoteForwarded { numbers, generation } => {
                self.note_forwarded(numbers, generation).await
            }
            RoundState::Poll => self.poll().await,
            RoundState::Apply(polled) => self.apply(*polled).await,
            RoundState::KeepNumbers(lacking) => self.keep_numbers(*lacking).await,
            RoundState::NoteNumbers(kept) => self.note_numbers(kept.0, kept.1).await,
            RoundState::Scrub => self.scrub().await,
        }
    }

    /// Takes the connection for a step. It is put back when the step has ended well: if the
    /// caller gives up in the middle, nobody knows what the server is doing.
    pub(super) fn take_link(&mut self, operation: &'static str) -> Result<Link> {
        let mut link = self.link.take().filter(Link::is_open).ok_or_else(|| {
            Error::new(Kind::Unavailable(Store::Postgres), operation, "the connection has ended")
        })?;
        link.set_statement(&self.shared, self.patience);
        Ok(link)
    }

    /// Puts it back; not with a transaction that could not be ended, whose locks would stay.
    pub(super) fn put_link(&mut self, link: Link) {
        self.link = Some(link).filter(Link::is_idle);
    }

    pub(super) fn drop_link(&mut self) {
        self.link = None;
        self.claimed.clear();
        self.signed = false;
    }

    /// What the link's session can do for this file.
    pub(super) fn primary<'l>(&self, link: &'l Link) -> Primary<'l> {
        link.primary(self.file)
    }

    pub(super) fn replica(&self, operation: &'static str) -> Result<Arc<Replica>> {
        self.shared.replica().ok_or_else(|| {
            Error::new(Kind::Unavailable(Store::Sqlite), operation, "the file is not open")
        })
    }

    /// A transaction on the file.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        durability: Durability,
        work: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.replica(operation)?.write(operation, durability, work).await
    }

    /// A transaction of many rows. It is made again if a trigger without an end has taken it back:
    /// from then on the row is known, and set aside.
    pub(super) async fn write_many<T: Send + 'static>(
        &self,
        operation: &'static str,
        durability: Durability,
        work: impl Fn(&Content<'_>) -> Result<T> + Send + Sync + 'static,
    ) -> Result<T> {
        let (work, mut again) = (Arc::new(work), 0);
        loop {
            let work = Arc::clone(&work);
            let replica = self.replica(operation)?;
            match replica.write_many(operation, durability, move |content| work(content)).await {
                Err(error) if is_endless(&error) && again < AGAIN => again += 1,
                written => return written,
            }
        }
    }

    /// A look into the file.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.replica(operation)?.read(operation, work).await
    }

    /// Where things stand.
    pub(super) async fn exchange(&self, mark: u64, scope: Scope) -> Result<Exchange> {
        let (pending, quarantined, held) = self
            .read("read what is pending", move |content| {
                let apart = match scope {
                    Scope::Everything => Vec::new(),
                    Scope::Followed => content.apart()?,
                };
                let held = match content.node()?.follow {
                    Follow::Held { losses, .. } => Some(losses),
                    Follow::Following { .. } | Follow::Reconciling { .. } => None,
                };
                Ok((content.pending_besides(&apart)?, content.quarantined()?, held))
            })
            .await?;
        Ok(Exchange { pending, quarantined, caught_up: scope.reached(self) > mark, held })
    }
}

/// The cursor after `event`.
pub(super) fn follow(state: &Follow, event: Event) -> Result<Follow> {
    state
        .next(event)
        .map_err(|impossible| Error::new(Kind::Internal, "move the cursor", impossible.to_string()))
}

/// The machine's clock, in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    crate::clock::now().as_millisecond()
}
