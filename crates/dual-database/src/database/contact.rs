//! PostgreSQL as one call sees it.

use tokio::sync::SemaphorePermit;
use uuid::Uuid;

use super::core::{Core, Deadline, is_verdict};
use super::local::{Behind, waits};
use crate::health::StoreState;
use crate::protocol::Epoch;
use crate::schema::RowId;
use crate::store::postgres::primary::{Pooled, Primary};
use crate::store::sqlite::replica::Content;
use crate::{Error, Kind, Result, Store};

/// A session that one call has for itself, for one file.
#[derive(Debug)]
pub(super) struct Contact<'c> {
    session: Pooled,
    file: Uuid,
    /// Freed after the session was given back.
    _turn: SemaphorePermit<'c>,
}

impl Contact<'_> {
    /// What the session can do.
    ///
    /// # Errors
    /// About the schema before the tables have been looked at.
    pub fn primary(&self) -> Result<Primary<'_>> {
        self.session.primary(self.file)
    }
}

/// What a call says whose server is not to be asked.
fn in_doubt(operation: &'static str) -> Error {
    let message = "it is not the server that the file has followed: both are compared first";
    Error::new(Kind::Unavailable(Store::Postgres), operation, message)
}

impl Core {
    /// Whether calls may use PostgreSQL now.
    ///
    /// # Errors
    /// Why they may not.
    pub fn ready(&self, operation: &'static str) -> Result<()> {
        let sqlite = self.shared.state(Store::Sqlite);
        if matches!(sqlite, StoreState::NeedsInit { kind: Kind::Configuration, .. }) {
            // It belongs to another installation: nothing of the one may meet the other.
            Err(self.away(operation, Store::Sqlite))
        } else if self.shared.health.is_up(Store::Postgres) {
            Ok(())
        } else {
            Err(self.away(operation, Store::Postgres))
        }
    }

    /// A session with PostgreSQL.
    ///
    /// # Errors
    /// Those of opening one, and of what the tables need there; nothing was asked then.
    pub async fn contact(
        &self,
        operation: &'static str,
        file: Uuid,
        deadline: Deadline,
    ) -> Result<Contact<'_>> {
        // Not to be had in time means that there are many calls here, not that PostgreSQL fails.
        let Some(Ok(turn)) = deadline.bound(self.sessions.acquire()).await else {
            let message = "all connections of this process were busy for the whole time-out";
            return Err(Error::new(Kind::Unavailable(Store::Postgres), operation, message));
        };
        let session = async {
            if self.shared.pool.tables().is_none() {
                self.shared.prepare().await?;
            }
            self.shared.pool.get().await
        };
        // Boxed: what callers hold on their stacks stays small.
        let session = deadline.bound(Box::pin(session)).await.unwrap_or_else(|| {
            let message = "there was no connection to PostgreSQL within the time-out";
            Err(Error::new(Kind::Unavailable(Store::Postgres), operation, message))
        });
        match session {
            Ok(session) => Ok(Contact { session, file, _turn: turn }),
            Err(error) => {
                if matches!(error.kind(), Kind::Schema(_)) {
                    self.shared.health.needs_init(Store::Postgres, &error);
                } else {
                    self.shared.health.failed(Store::Postgres, &error);
                }
                Err(error)
            }
        }
    }

    /// A session with the PostgreSQL that the file follows. Who is at the other end of a new one
    /// is looked at once: a server that was promoted or restored may have lost what was
    /// acknowledged, and the synchroniser may not have met it yet.
    ///
    /// # Errors
    /// As for [`Core::contact`]; unavailable if both have to be compared first.
    pub async fn followed(
        &self,
        operation: &'static str,
        file: Uuid,
        deadline: Deadline,
    ) -> Result<Contact<'_>> {
        let mut contact = self.contact(operation, file, deadline).await?;
        if contact.session.is_new() {
            let epoch = self.ask(operation, deadline, contact.primary()?.header()).await?.epoch;
            if !self.trusts(operation, epoch).await {
                self.notify();
                self.exchange_followed(deadline.remaining() / 2).await?;
                if !self.trusts(operation, epoch).await {
                    return Err(in_doubt(operation));
                }
            }
            contact.session.confirm();
        }
        Ok(contact)
    }

    /// Whether the file says so; a file that cannot be asked has nothing to set against it.
    async fn trusts(&self, operation: &'static str, seen: Epoch) -> bool {
        let look = move |content: &Content<'_>| Ok(content.node()?.follow.trusts(&seen));
        self.ask_file(operation, look).await.unwrap_or(true)
    }

    /// Lets PostgreSQL have what is pending, in half of the time that is left, so that the other
    /// half is left for the call. What others write meanwhile does not count, unless it is about
    /// the rows `ids`; a comparison is not waited for.
    ///
    /// # Errors
    /// Why it is behind still.
    pub async fn catch_up(
        &self,
        operation: &'static str,
        behind: Behind,
        ids: Vec<RowId>,
        deadline: Deadline,
    ) -> Result<()> {
        let still =
            |message: &str| Err(Error::new(Kind::Unavailable(Store::Postgres), operation, message));
        match behind {
            Behind::Not => return Ok(()),
            Behind::Push => {}
            Behind::Comparison | Behind::Doubted => {
                return still("both stores have to be compared first");
            }
        }
        let exchange = self.exchange_followed(deadline.remaining() / 2).await?;
        if exchange.held.is_some() {
            return still("a comparison of both stores waits for `dual repair`");
        }
        if exchange.pending > 0
            && (ids.is_empty() || self.ask_file(operation, move |c| waits(c, &ids)).await?)
        {
            return still("not everything could be pushed to it first");
        }
        Ok(())
    }

    /// Asks PostgreSQL once, within the time that is left. After a failure of the connection
    /// the breaker knows of it.
    ///
    /// # Errors
    /// Those of the question; outcome unknown when the time is up.
    pub async fn ask<T>(
        &self,
        operation: &'static str,
        deadline: Deadline,
        question: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let answer = deadline.bound(Box::pin(question)).await.unwrap_or_else(|| {
            // What was asked may still run there: nobody else is to wait behind it.
            self.shared.pool.clear();
            let message = "PostgreSQL has not answered within the time-out";
            Err(Error::new(Kind::OutcomeUnknown(Store::Postgres), operation, message))
        });
        answer.inspect_err(|error| {
            if !is_verdict(error) || error.is_outcome_unknown() {
                self.shared.health.failed(Store::Postgres, error);
            }
        })
    }
}
