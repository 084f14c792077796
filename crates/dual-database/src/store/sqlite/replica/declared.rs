//! Which tables the file keeps, beside those that this process knows of: another program may have joined
//! more since, or PostgreSQL may keep more.

use rusqlite::Connection;

use super::super::capture::{declared, is_only_noted, learn};
use super::{Content, paused};
use crate::schema::Table;
use crate::{Error, Kind, Result};

const OPERATION: &str = "look which tables the file keeps";

impl Content<'_> {
    /// A table of which the file keeps more than this process does, or that it leaves alone and this process
    /// does not. Who does not keep all must not say how far the file has come: one position is that of all
    /// tables, but for those that are left alone.
    ///
    /// # Errors
    /// About the schema if a declaration cannot be read; those of [`crate::store::sqlite::failed`].
    pub(crate) fn kept_besides(&self) -> Result<Option<String>> {
        let paused = paused(self.connection())?;
        let is_besides = |kept: &Table| {
            let is_kept = self.tables().iter().any(|local| local.table.covers(kept));
            // One that is open by itself exchanges nothing.
            is_kept == paused.iter().any(|one| *one.table == *kept.name())
        };
        let besides = declared(self.connection())?.into_iter().find(is_besides);
        Ok(besides.map(|table| table.name().to_owned()))
    }

    /// Those of these tables that the file does not declare as they are, or more of them.
    ///
    /// # Errors
    /// About the schema if a declaration cannot be read; those of [`crate::store::sqlite::failed`].
    pub(crate) fn undeclared(&self, mut tables: Vec<Table>) -> Result<Vec<Table>> {
        let kept = declared(self.connection())?;
        tables.retain(|table| !kept.iter().any(|kept| kept.covers(table)));
        Ok(tables)
    }

    /// Notes tables that PostgreSQL keeps and the file does not, for whoever opens it next.
    ///
    /// # Errors
    /// Those of [`crate::store::sqlite::failed`].
    pub(crate) fn learn(&self, tables: &[Table]) -> Result<()> {
        tables.iter().try_for_each(|table| learn(self.connection(), table))
    }
}

/// Whether the file declares the table by an earlier revision, so that it is captured by that one. To install
/// less of it than another program has is refused.
///
/// # Errors
/// [`outdated`]; those of [`crate::store::sqlite::failed`].
pub(super) fn is_later(connection: &Connection, table: &Table) -> Result<bool> {
    match declared(connection)?.iter().find(|kept| kept.name() == table.name()) {
        Some(kept) if !table.covers(kept) => Err(outdated(kept.name())),
        Some(kept) if kept.revision() < table.revision() => Ok(true),
        Some(_) => is_only_noted(connection, table),
        None => Ok(false),
    }
}

/// This program began before somebody has joined that.
pub(crate) fn outdated(name: &str) -> Error {
    let message =
        format!("the table {name} was joined, or has got columns, since this program began");
    Error::new(Kind::Conflict, OPERATION, message).with_hint(
        "it opens both sides once more by itself; if this stays, `dual status` says what is in the way",
    )
}
