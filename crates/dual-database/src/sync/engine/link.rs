//! A connection to PostgreSQL with the tables as they were found there.

use uuid::Uuid;

use super::Shared;
use crate::Result;
use crate::store::postgres::Session;
use crate::store::postgres::primary::{Primary, RemoteTable};

/// A session of the synchroniser.
#[derive(Debug)]
pub(super) struct Link {
    session: Session,
    tables: Vec<RemoteTable>,
}

impl Link {
    /// Connects, and brings the server's tables to the declared form if additions do it.
    pub(super) async fn open(shared: &Shared) -> Result<Link> {
        let session = Session::open(&shared.postgres, &shared.limits).await?;
        let tables = todo!("prepare");
        Ok(Link { session, tables })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.session.is_closed()
    }

    pub(super) fn primary(&self, file: Uuid) -> Primary<'_> {
        Primary { session: &self.session, tables: &self.tables, file }
    }
}
