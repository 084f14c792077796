//! The path of a write: PostgreSQL in one round trip, then the file, then the answer; or one of
//! them, if the other is away. It follows `crates/model/src/write.rs`.
//!
//! | PostgreSQL | the file | the answer |
//! |---|---|---|
//! | has it | has it | in both |
//! | has it | lacks something of what was there | the feed is waited for, within the time allowed |
//! | has it | away, or refuses it | in PostgreSQL |
//! | refuses the data | untouched | the refusal |
//! | away | takes it, pending | in the file |
//! | refuses the row, which is in the file alone | takes it, and PostgreSQL if it fits now | in both, or in the file |
//! | answer lost | takes it under the same stamp, pending | in the file |
//! | answer lost | cannot tell, or is away | outcome unknown |
//! | has answered, but is not the server that the file follows since; its stamps lie in the future | has something else pending there | outcome unknown |
//! | away | away | unavailable, with both causes |
//!
//! PostgreSQL counts as away while it is *behind*: something is pending for it. A push is waited for,
//! half of the time allowed; a comparison is not (it may take minutes, or wait for a person), and
//! neither is a lock that somebody holds on the very row. It counts as away, too, while it is not
//! known what it has lost: after a crash, a promotion, a restored backup, until both have been
//! compared.

use std::sync::Arc;

use super::Written;
use super::core::{Core, Deadline, is_verdict, neither};
use super::local::{self, Precheck, Rows, Sent};
use super::options::WriteMode;
use super::plan::{Intent, WritePlan, already_exists, conflict, named, not_found};
use super::row_locks::RowLock;
use super::write_file::in_file;
use crate::merge::Change;
use crate::protocol::Record;
use crate::schema::RowId;
use crate::stamp::Stamp;
use crate::store::postgres::primary::{Refused, RemoteRow, WriteAnswer as Answer};
use crate::store::postgres::sqlstate;
use crate::store::sqlite::replica::Content;
use crate::sync::{Step, hooked};
use crate::{Error, Kind, Result, Store};

/// How often a row is looked for that was there and was not written, before that is taken for a
/// trigger's doing.
const LOOKS: usize = 5;

/// How often a proposal that came too low, or an upsert that met a race, is made again. Other
/// processes that change the same row all the time let one of them through each time.
const TRIES: usize = 30;

/// What became of a plan at PostgreSQL.
enum Attempt {
    Done {
        answer: Answer,
        changes: Vec<(RowId, Change)>,
        proposal: Stamp,
    },
    /// It was not executed, and will not be.
    Away(Error),
    /// Something of the file is pending for it, and could not be pushed first.
    Behind(Error),
    /// It may have been executed, or be executed yet.
    Lost {
        sent: Sent,
        cause: Error,
    },
}

impl Core {
    /// Does everything in the plan, or nothing of it. The rows afterwards are in the order of
    /// the intents.
    ///
    /// # Errors
    /// As for [`super::DualDatabase::add_user`] and [`super::DualDatabase::update_user`].
    pub async fn write(&self, plan: WritePlan) -> Result<Written<Rows>> {
        let deadline = self.deadline();
        let plan = Arc::new(plan);
        match self.mode {
            WriteMode::Both => self.write_both(&plan, deadline).await,
            WriteMode::RequireBoth => self.write_both_or_fail(&plan, deadline).await,
            WriteMode::LocalFirst => self.write_locally(&plan, deadline).await,
        }
    }

    async fn write_both(&self, plan: &Arc<WritePlan>, deadline: Deadline) -> Result<Written<Rows>> {
        let _turn = match self.turn(plan, deadline).await {
            Ok(turn) => turn,
            Err(cause) => return self.alone(plan, cause).await,
        };
        let look = self.look(plan, deadline).await;
        if look.is_here || plan.is_of_block() {
            return self.here_first(plan, deadline).await;
        }
        match self.at_primary(plan, look, deadline).await? {
            Attempt::Done { answer, changes, proposal } => {
                let sent = Sent::new(plan, changes, proposal);
                self.finish_in_file(plan, answer, sent, deadline).await
            }
            Attempt::Away(cause) => self.alone(plan, cause).await,
            Attempt::Behind(cause) => self.alone_or_beside(plan, cause, look, deadline).await,
            Attempt::Lost { sent, cause } => self.alone_after_loss(plan, sent, cause).await,
        }
    }

    /// Nothing is begun unless PostgreSQL can be reached; what is in one store only is an error.
    async fn write_both_or_fail(
        &self,
        plan: &Arc<WritePlan>,
        deadline: Deadline,
    ) -> Result<Written<Rows>> {
        let hint = "nothing was written: both stores are required";
        let _turn = self.turn(plan, deadline).await.map_err(|cause| cause.with_hint(hint))?;
        let look = self.look(plan, deadline).await;
        let written = if look.is_here {
            self.ready(plan.operation).map_err(|cause| cause.with_hint(hint))?;
            self.here_first(plan, deadline).await?
        } else {
            match self.at_primary(plan, look, deadline).await? {
                Attempt::Done { answer, changes, proposal } => {
                    let sent = Sent::new(plan, changes, proposal);
                    self.finish_in_file(plan, answer, sent, deadline).await?
                }
                Attempt::Away(cause) | Attempt::Behind(cause) => {
                    return Err(cause.with_hint(hint));
                }
                Attempt::Lost { sent, cause } => self.alone_after_loss(plan, sent, cause).await?,
            }
        };
        match written {
            Written::InBoth(_) => Ok(written),
            Written::InOne { stored_in, .. } => {
                let missing = stored_in.other();
                let message = format!("{stored_in} has it, {missing} has not confirmed it");
                Err(Error::new(Kind::Partial(missing), plan.operation, message)
                    .with_hint(format!("{missing} gets it by itself; do not repeat it")))
            }
        }
    }

    async fn write_locally(
        &self,
        plan: &Arc<WritePlan>,
        deadline: Deadline,
    ) -> Result<Written<Rows>> {
        let cause = match self.try_alone(plan).await {
            Ok(rows) => return Ok(in_file(rows)),
            Err(error) if is_verdict(&error) => return Err(error),
            Err(error) => error,
        };
        // It cannot take it, or cannot tell whether the row is there.
        let look = self.look(plan, deadline).await.regardless();
        match self.at_primary(plan, look, deadline).await? {
            Attempt::Done { answer, changes, proposal } => {
                let sent = Sent::new(plan, changes, proposal);
                self.finish_in_file(plan, answer, sent, deadline).await
            }
            Attempt::Away(primary) | Attempt::Behind(primary) => {
                Err(neither(plan.operation, primary, &cause))
            }
            Attempt::Lost { sent, cause } => self.alone_after_loss(plan, sent, cause).await,
        }
    }

    /// The rows of the plan, until the turn is dropped.
    ///
    /// # Errors
    /// Unavailable if other calls of this process changed them for the whole time-out.
    async fn turn(&self, plan: &WritePlan, deadline: Deadline) -> Result<RowLock<'_>> {
        deadline.bound(self.row_locks.take(plan.ids().into_iter())).await.ok_or_else(|| {
            let message = "other calls of this process changed the row for the whole time-out";
            Error::new(Kind::Unavailable(Store::Postgres), plan.operation, message)
        })
    }

    /// What the file knows; nothing if it cannot be read.
    async fn look(&self, plan: &Arc<WritePlan>, deadline: Deadline) -> Precheck {
        let look = || {
            let looked = Arc::clone(plan);
            let look = move |content: &Content<'_>| local::look(content, &looked);
            self.look_at_file(plan.operation, deadline, look)
        };
        hooked(self.shared.hook.as_ref(), Step::Look, look).await.unwrap_or_default()
    }

    /// # Errors
    /// The verdict on the call; nothing was done then.
    async fn at_primary(
        &self,
        plan: &WritePlan,
        look: Precheck,
        deadline: Deadline,
    ) -> Result<Attempt> {
        if let Err(cause) = self.ready(plan.operation) {
            return Ok(Attempt::Away(cause));
        }
        if look.locked {
            let message = "another session has the row locked";
            let cause = Error::new(Kind::Unavailable(Store::Postgres), plan.operation, message);
            return Ok(Attempt::Behind(cause));
        }
        if let Err(cause) = self.catch_up(plan.operation, look.behind, plan.ids(), deadline).await {
            return Ok(Attempt::Behind(cause));
        }
        let contact = match self.followed(plan.operation, look.file, deadline).await {
            Ok(contact) => contact,
            Err(cause) => return Ok(Attempt::Away(cause)),
        };
        let mut above = look.above;
        let mut alive = true;
        for attempt in 1..=TRIES {
            let proposal = self.propose(above);
            let changes = first_guess(plan, alive);
            let primary = match contact.primary() {
                Ok(primary) => primary,
                Err(cause) => return Ok(Attempt::Away(cause)),
            };
            let question = || primary.write(&changes, proposal, &plan.reads);
            let question = hooked(self.shared.hook.as_ref(), Step::Ask, question);
            let name = |id: &RowId| named(&self.shared.tables, id);
            match self.ask(plan.operation, deadline, question).await {
                Ok(Ok(answer)) => return Ok(Attempt::Done { answer, changes, proposal }),
                Ok(Err(Refused::Stale { above: found })) if !deadline.has_passed() => {
                    above = above.max(found);
                }
                Ok(Err(Refused::Stale { .. })) => break,
                Ok(Err(Refused::Ahead)) => {
                    let message = "the write lies too far ahead of PostgreSQL's clock";
                    let kind = Kind::Unavailable(Store::Postgres);
                    return Ok(Attempt::Away(Error::new(kind, plan.operation, message)));
                }
                Ok(Err(Refused::Missing(_))) if alive && is_upsert(plan) => alive = false,
                Ok(Err(Refused::Exists(_))) if !alive && is_upsert(plan) => alive = true,
                Ok(Err(Refused::Exists(id))) => {
                    return Err(already_exists(plan.operation, &name(&id)));
                }
                Ok(Err(Refused::Missing(id))) => return Err(not_found(plan.operation, &name(&id))),
                Ok(Err(Refused::Changed(id))) => return Err(conflict(plan.operation, &name(&id))),
                // Whether it lives the file may know: it gives it back.
                Ok(Err(Refused::Absent(id))) => {
                    self.look_for_gaps();
                    let message = format!("{} was taken away there past the triggers", name(&id));
                    let kind = Kind::Unavailable(Store::Postgres);
                    return Ok(Attempt::Behind(Error::new(kind, plan.operation, message)));
                }
                // A defect says nothing about what was done either.
                Err(cause) if cause.is_outcome_unknown() || cause.kind() == Kind::Internal => {
                    let sent = Sent::new(plan, changes, proposal);
                    return Ok(Attempt::Lost { sent, cause });
                }
                Err(cause) if attempt < most_tries(&cause) => {}
                Err(cause) if is_verdict(&cause) => return Err(cause),
                Err(cause) => return Ok(Attempt::Away(cause)),
            }
        }
        let message = "others change the row faster than this call can";
        let kind = Kind::Unavailable(Store::Postgres);
        Ok(Attempt::Away(Error::new(kind, plan.operation, message)))
    }

    /// It is done in the file: PostgreSQL refuses a row that the plan is about, and only the file has it; or a
    /// row has a number that is kept for the file. PostgreSQL gets it at once if nothing stands in the way.
    async fn here_first(&self, plan: &Arc<WritePlan>, deadline: Deadline) -> Result<Written<Rows>> {
        let rows = self.try_alone(plan).await?;
        let arrives = async {
            self.ready(plan.operation)?;
            self.exchange_followed(deadline.remaining() / 2).await?;
            let ids = plan.ids();
            let look = move |content: &Content<'_>| {
                if local::waits(content, &ids)? {
                    return Ok(None);
                }
                ids.iter().map(|id| local::stored(content, id)).collect::<Result<_>>().map(Some)
            };
            self.ask_file(plan.operation, look).await
        };
        Ok(match arrives.await {
            // A row that had to take another number is no more under that one; somebody else's may be.
            Ok(Some(arrived)) if plan.numbers.is_empty() || arrived == rows => {
                Written::InBoth(arrived)
            }
            Ok(_) | Err(_) => in_file(rows),
        })
    }

    /// PostgreSQL is there, but behind the file. If the file cannot take it either, PostgreSQL
    /// gets it before what is pending.
    async fn alone_or_beside(
        &self,
        plan: &Arc<WritePlan>,
        cause: Error,
        look: Precheck,
        deadline: Deadline,
    ) -> Result<Written<Rows>> {
        let failure = match self.try_alone(plan).await {
            Ok(rows) => return Ok(in_file(rows)),
            Err(error) if is_verdict(&error) => return Err(error),
            Err(error) => error,
        };
        let look = look.regardless();
        match self.at_primary(plan, look, deadline).await? {
            Attempt::Done { answer, .. } => {
                let rows = answer.rows.iter().map(|written| remote_record(&written.row)).collect();
                Ok(Written::InOne { value: rows, stored_in: Store::Postgres })
            }
            Attempt::Away(_) | Attempt::Behind(_) => Err(neither(plan.operation, cause, &failure)),
            Attempt::Lost { cause, .. } => Err(cause.with_source(failure)),
        }
    }
}

/// How often a statement is sent that was taken back because of somebody who was there at the
/// same moment: a deadlock, a serialization failure, or a row that came or went between two looks
/// at it (which the server cannot tell from a trigger that leaves rows out).
fn most_tries(error: &Error) -> usize {
    match sqlstate(error) {
        Some("40001" | "40P01") => TRIES,
        Some("DU007") => LOOKS,
        _ => 1,
    }
}

fn first_guess(plan: &WritePlan, alive: bool) -> Vec<(RowId, Change)> {
    let change = |intent: &Intent| match intent {
        Intent::Change(change) => change.clone(),
        Intent::Upsert { update, .. } if alive => Change::Update(update.clone()),
        Intent::Upsert { insert, .. } => Change::Insert(insert.clone()),
    };
    plan.intents.iter().map(|(id, intent)| (id.clone(), change(intent))).collect()
}

fn is_upsert(plan: &WritePlan) -> bool {
    plan.intents.iter().any(|(_, intent)| matches!(intent, Intent::Upsert { .. }))
}

/// The server's row, if it lives.
pub(super) fn remote_record(row: &RemoteRow) -> Option<Record> {
    Record::of(row.id.key.clone(), row.surrogate, row.version.clone())
}
