//! The file's part of a write: what PostgreSQL has answered, or what it could not be asked, or what its
//! lost answer leaves open.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Written;
use super::core::{Core, Deadline, is_verdict, neither};
use super::local::{self, Direct, Rows, Sent};
use super::plan::WritePlan;
use super::write::remote_record;
use crate::store::postgres::primary::WriteAnswer as Answer;
use crate::store::sqlite::replica::{Content, Durability, is_busy};
use crate::sync::{Step, hooked};
use crate::{Error, Kind, Result, Store};

impl Core {
    /// PostgreSQL has it: the file's part.
    pub(super) async fn finish_in_file(
        &self,
        plan: &Arc<WritePlan>,
        answer: Answer,
        sent: Sent,
        deadline: Deadline,
    ) -> Result<Written<Rows>> {
        let answer = Arc::new(answer);
        let rows: Rows = answer.rows.iter().map(|written| remote_record(&written.row)).collect();
        let direct = |durability| {
            let answer = Arc::clone(&answer);
            let work = move |content: &Content<'_>| local::direct(content, &answer, durability);
            self.change_file(plan.operation, Some(Step::Take), durability, work)
        };
        let taken = match direct(Durability::Normal).await {
            Ok(Direct::Meets) => direct(Durability::Full).await,
            taken => taken,
        };
        let stands = match taken {
            Ok(Direct::Stands) => true,
            Ok(Direct::Refused | Direct::Meets) => false,
            Ok(Direct::Misses) => self.feed_brings(plan, answer.txid, deadline).await,
            Ok(Direct::OtherEpoch) => {
                // Pending, it arrives at the server that is followed next in any case.
                let previous = |answer: &Answer| match answer.rows.as_slice() {
                    [_] => Vec::new(),
                    rows => {
                        rows.iter().map(|row| (row.row.id.clone(), row.previous.clone())).collect()
                    }
                };
                let reads = previous(&answer);
                let now_ms = self.shared.clock().unix_ms();
                let is_ahead = sent.proposal.is_ahead_of(now_ms);
                let work = move |content: &Content<'_>| {
                    local::alone_as_sent(content, &sent, &reads, now_ms)
                };
                let step = Some(Step::Resume);
                let taken = self.change_file(plan.operation, step, Durability::Full, work).await;
                self.notify();
                if is_ahead && matches!(taken, Ok(None)) {
                    let message = "the file follows another server than the one that has answered";
                    let cause =
                        Error::new(Kind::Unavailable(Store::Postgres), plan.operation, message);
                    return Err(unknown(plan.operation, "the file cannot tell", cause));
                }
                matches!(taken, Ok(Some(_)))
            }
            Err(_) => false,
        };
        if stands {
            return Ok(Written::InBoth(rows));
        }
        self.notify();
        Ok(Written::InOne { value: rows, stored_in: Store::Postgres })
    }

    /// Lets the feed bring what the file lacks; says whether it has brought that transaction
    /// within the time that is left, and the file has taken it. It brings nothing of a table that is to be
    /// compared first, though the cursor passes that by.
    pub(super) async fn feed_brings(
        &self,
        plan: &WritePlan,
        txid: u64,
        deadline: Deadline,
    ) -> bool {
        if deadline.has_passed() || self.exchange_followed(deadline.remaining()).await.is_err() {
            return false;
        }
        let Ok(replica) = self.replica(plan.operation) else { return false };
        let ids = plan.ids();
        let passed = move |content: &Content<'_>| {
            let follow = content.follow_of(ids.iter().map(|id| id.table))?;
            Ok(local::has_passed(&follow, txid) && local::holds_all(content, &ids)?)
        };
        replica.read(plan.operation, passed).await.unwrap_or(false)
    }

    /// PostgreSQL is away: the file alone, pending.
    pub(super) async fn alone(&self, plan: &Arc<WritePlan>, cause: Error) -> Result<Written<Rows>> {
        match self.try_alone(plan).await {
            Ok(rows) => Ok(in_file(rows)),
            Err(error) if is_verdict(&error) => Err(error),
            Err(error) => Err(neither(plan.operation, cause, &error)),
        }
    }

    pub(super) async fn try_alone(&self, plan: &Arc<WritePlan>) -> Result<Rows> {
        let (shared, planned) = (Arc::clone(&self.shared), Arc::clone(plan));
        // The file can be lost after the commit: made again, it would find itself in the way.
        let made: Arc<Mutex<Option<Sent>>> = Arc::default();
        let work = move |content: &Content<'_>| {
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(sent) = &*made
                && let Some(rows) = local::arrived(content, sent)?
            {
                return Ok(rows);
            }
            let (rows, sent) = local::alone(content, &planned, &shared)?;
            *made = Some(sent);
            Ok(rows)
        };
        let step = Some(Step::Alone);
        let rows = self.change_file(plan.operation, step, Durability::Full, work).await?;
        self.notify();
        Ok(rows)
    }

    /// The answer was lost: the same changes under the same stamp.
    pub(super) async fn alone_after_loss(
        &self,
        plan: &Arc<WritePlan>,
        sent: Sent,
        cause: Error,
    ) -> Result<Written<Rows>> {
        let reads = plan.reads.clone();
        let now_ms = self.shared.clock().unix_ms();
        let work =
            move |content: &Content<'_>| local::alone_as_sent(content, &sent, &reads, now_ms);
        let step = Some(Step::Resume);
        let taken = self.change_file(plan.operation, step, Durability::Full, work).await;
        self.notify();
        match taken {
            Ok(Some(rows)) => Ok(in_file(rows)),
            Ok(None) => Err(unknown(plan.operation, "the file cannot tell", cause)),
            Err(error) if error.is_invalid_data() => {
                Err(unknown(plan.operation, "the file's own table refuses it", cause))
            }
            Err(error) => Err(unknown(plan.operation, &error.chain(), cause)),
        }
    }

    /// A transaction on the file, which waits for its turn no longer than for another process's
    /// lock. Once more if the file was deleted or replaced meanwhile: then it has been recovered. A
    /// breaker that is open is passed only where nobody else has the write.
    pub(super) async fn change_file<T: Send + 'static>(
        &self,
        operation: &'static str,
        step: Option<Step>,
        durability: Durability,
        work: impl Fn(&Content<'_>) -> Result<T> + Clone + Send + 'static,
    ) -> Result<T> {
        if durability == Durability::Normal && !self.shared.health.is_up(Store::Sqlite) {
            return Err(self.away(operation, Store::Sqlite));
        }
        let deadline = Deadline::after(Duration::from_secs(1));
        loop {
            let replica = self.replica(operation)?;
            let write = || {
                let again = work.clone();
                let work = move |content: &Content<'_>| again(content);
                replica.write_within(operation, durability, self.shared.sqlite.busy, work)
            };
            let written = match step {
                Some(step) => hooked(self.shared.hook.as_ref(), step, write).await,
                None => write().await,
            };
            match written {
                Ok(answer) => {
                    self.shared.health.works(Store::Sqlite);
                    return Ok(answer);
                }
                // The file is well, but cannot tell what only PostgreSQL knows.
                Err(error) if error.kind() == Kind::Unavailable(Store::Postgres) => {
                    return Err(error);
                }
                Err(error) if is_verdict(&error) || is_busy(&error) => return Err(error),
                Err(error)
                    if error.kind() == Kind::Unavailable(Store::Sqlite)
                        && !deadline.has_passed() =>
                {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => {
                    self.shared.health.failed(Store::Sqlite, &error);
                    return Err(error);
                }
            }
        }
    }
}

pub(super) fn in_file(rows: Rows) -> Written<Rows> {
    Written::InOne { value: rows, stored_in: Store::Sqlite }
}

fn unknown(operation: &'static str, why: &str, cause: Error) -> Error {
    let message = format!("PostgreSQL's answer was lost, and {why}: it may have been done or not");
    Error::new(Kind::OutcomeUnknown(Store::Postgres), operation, message)
        .with_hint("read the row when PostgreSQL is back")
        .with_source(cause)
}
