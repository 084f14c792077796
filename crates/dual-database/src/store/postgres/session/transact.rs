//! A whole transaction in one round trip.

use futures_util::future::{join_all, join4};
use tokio_postgres::Row;

use super::{Parameter, Session, SessionState, USERS};
use crate::Result;
use crate::store::postgres::failure::{commit_unknown, leaves_commit_open, misuse, standby};

/// One statement of `Session::transact`.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The statement.
    pub sql: &'a str,
    /// Its parameters.
    pub parameters: &'a [Parameter<'a>],
}

/// What a [`Session::transact`] is allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Nothing changes: a lost answer is no more than that.
    Read,
    /// It may have been committed though its answer was lost.
    Write,
    /// The same, but doing it twice is like doing it once: a lost answer is no more than that.
    Repeat,
}

/// `BEGIN`, with a commit that a crash of the server does not lose. Each statement has to see what was
/// committed before it, whatever the defaults of server, database and role are. The modes come after
/// BEGIN: a server in recovery refuses them, and what was sent behind them has to meet a transaction
/// that has failed, and not none. Not for a transaction
/// with one snapshot: the question would take it, and a table may have to be locked before.
pub(super) const DURABLE: &str = "BEGIN; \
     SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE, NOT DEFERRABLE; \
     SELECT pg_catalog.set_config('synchronous_commit', 'on', true) \
     WHERE pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off'";
/// One that changes nothing.
const READING: &str =
    "BEGIN; SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY, NOT DEFERRABLE";
/// One that sees one moment throughout.
pub(super) const SNAPSHOT: &str =
    "BEGIN; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE, NOT DEFERRABLE";

impl Session {
    /// Asks in a transaction of its own, in one round trip.
    ///
    /// # Errors
    /// As for [`Session::query`].
    pub async fn ask(
        &self,
        operation: &'static str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>> {
        self.alone(operation, Access::Read, Call { sql, parameters }).await
    }

    /// Changes something in a transaction of its own, in one round trip: what may be done twice.
    ///
    /// # Errors
    /// As for [`Session::query`].
    pub async fn repeat(
        &self,
        operation: &'static str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>> {
        self.alone(operation, Access::Repeat, Call { sql, parameters }).await
    }

    async fn alone(
        &self,
        operation: &'static str,
        access: Access,
        call: Call<'_>,
    ) -> Result<Vec<Row>> {
        let answers = self.transact(operation, access, &[call]).await?;
        Ok(answers.into_iter().next().unwrap_or_default())
    }

    /// A whole transaction in one round trip: everything is sent at once. If a statement fails,
    /// nothing was done, and the error is that of the first that did. Returns the rows of each.
    ///
    /// # Errors
    /// As for [`Session::query`] and [`Session::commit`]. An answer that was lost after a
    /// [`Access::Write`] was sent is [`crate::Kind::OutcomeUnknown`]; unavailable means that
    /// nothing reached the server.
    pub(crate) async fn transact(
        &self,
        operation: &'static str,
        access: Access,
        calls: &[Call<'_>],
    ) -> Result<Vec<Vec<Row>>> {
        if self.in_transaction() {
            return misuse(operation, "a transaction is open already");
        }
        if self.is_closed() {
            return Err(self.gone(operation));
        }
        self.set(SessionState::Doubtful);
        let opening = self.opening(match access {
            Access::Read => READING,
            Access::Write | Access::Repeat => DURABLE,
        });
        // The driver sends at the first poll, and joined futures are polled in their order.
        let calls = calls.iter().map(|call| self.client.query_typed(call.sql, call.parameters));
        // A message of its own: if a statement has failed it is refused, and COMMIT has to come all the
        // same.
        let path = async {
            match access {
                Access::Read => Ok(()),
                Access::Write | Access::Repeat => self.client.batch_execute(USERS).await,
            }
        };
        // Boxed, as above.
        let all = Box::pin(join4(
            self.client.batch_execute(&opening),
            join_all(calls),
            path,
            self.client.batch_execute("COMMIT"),
        ));
        let limit = self.limits.answer();
        let lost = |failure| match access {
            Access::Read | Access::Repeat => failure,
            Access::Write => commit_unknown(operation, failure),
        };
        let Ok((begun, answers, pathed, committed)) = tokio::time::timeout(limit, all).await else {
            self.kill();
            return Err(lost(self.peer.silent(operation, limit)));
        };
        let is_begun = begun.is_ok();
        let answers = begun.and_then(|()| answers.into_iter().collect());
        let answers = answers.and_then(|rows: Vec<_>| pathed.map(|()| rows));
        match (answers, committed) {
            (Ok(rows), Ok(())) => {
                self.set(SessionState::Idle);
                Ok(rows)
            }
            // Nothing was done, whatever was answered to the rest.
            (Err(error), _) | (_, Err(error)) if !leaves_commit_open(&error) => {
                let failure = self.failed(operation, &error);
                let failure = if is_begun { failure } else { standby(failure) };
                if self.client.is_closed() {
                    self.kill()
                } else {
                    self.set(SessionState::Idle)
                }
                Err(failure)
            }
            (Err(error), _) | (_, Err(error)) => {
                let failure = self.failed(operation, &error);
                self.kill();
                Err(lost(failure))
            }
        }
    }
}
