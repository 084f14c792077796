//! A connection to PostgreSQL with the tables as they were found there.

use std::sync::Arc;
use std::time::Duration;

use tracing::info;
use uuid::Uuid;

use super::Shared;
use crate::Result;
use crate::schema::Table;
use crate::store::postgres::primary::{Primary, RemoteTable};
use crate::store::postgres::{Limits, Session};

/// A session of the synchroniser.
#[derive(Debug)]
pub(super) struct Link {
    session: Session,
    tables: Arc<[RemoteTable]>,
    /// Another table to which the search path leads instead of the tracked one.
    pub(super) shadowed: Option<String>,
    /// What the server keeps besides.
    pub(super) besides: Vec<Table>,
}

impl Link {
    /// Connects, and brings the server's tables to the declared form if additions do it. What
    /// capture may have missed changes the epoch, for every file.
    pub(super) async fn open(shared: &Shared) -> Result<Link> {
        let session = Session::open(&shared.postgres, &shared.limits).await?;
        let prepared = shared.prepare().await?;
        for (table, found) in prepared.tables.iter().zip(&prepared.found) {
            if !found.steps.is_empty() {
                let steps = found.steps.join("; ");
                info!(table = table.table.name(), adopted = found.adopted, steps, "prepared");
            }
        }
        let shadowed = prepared.found.iter().find_map(|found| found.shadowed.clone());
        Ok(Link { session, tables: prepared.tables, shadowed, besides: prepared.besides })
    }

    /// No transaction is open.
    pub(super) fn is_idle(&self) -> bool {
        self.is_open() && !self.session.in_transaction()
    }

    pub(super) fn is_open(&self) -> bool {
        !self.session.is_closed()
    }

    /// How long a statement may take from here on.
    pub(super) fn set_statement(&mut self, shared: &Shared, statement: Duration) {
        self.session.set_limits(Limits { statement, ..shared.limits });
    }

    /// Until the next step it waits for a lock no longer than that.
    pub(super) fn set_lock(&mut self, shared: &Shared, statement: Duration, lock: Duration) {
        self.session.set_limits(Limits { statement, lock, ..shared.limits });
    }

    /// Until the next step it waits for a statement, and for a lock, as long as that.
    pub(super) fn set_patience(&mut self, shared: &Shared, patience: Duration) {
        self.session.set_limits(Limits { statement: patience, lock: patience, ..shared.limits });
    }

    pub(super) fn primary(&self, file: Uuid) -> Primary<'_> {
        Primary { session: &self.session, tables: &self.tables, file }
    }
}
