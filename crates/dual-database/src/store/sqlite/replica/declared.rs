//! Which tables the file keeps, beside those that this process knows of: another program may have joined
//! more since, or PostgreSQL may keep more.

use rusqlite::Connection;

use super::super::capture::{kept, learn};
use super::Content;
use crate::schema::{Kept, Table};
use crate::{Error, Kind, Result};

const OPERATION: &str = "look which tables the file keeps";

impl Content<'_> {
    /// A table of which the file keeps more than this process does. Who does not keep all must not say how far
    /// the file has come: one position is that of all tables.
    ///
    /// # Errors
    /// Those of [`crate::store::sqlite::failed`].
    pub(crate) fn kept_besides(&self) -> Result<Option<String>> {
        let is_besides = |(name, text): &Kept| {
            let known = self.tables().iter().find(|local| local.table.name() == name);
            !known
                .is_some_and(|local| text.as_ref().is_none_or(|text| local.table.covers_kept(text)))
        };
        let besides = kept(self.connection())?.into_iter().find(is_besides);
        Ok(besides.map(|(name, _)| name))
    }

    /// Notes tables that PostgreSQL keeps and this process does not, for whoever opens the file next.
    ///
    /// # Errors
    /// Those of [`crate::store::sqlite::failed`].
    pub(crate) fn learn(&self, tables: &[Table]) -> Result<()> {
        tables.iter().try_for_each(|table| learn(self.connection(), table))
    }
}

/// Refuses to install less of a table than another program has.
///
/// # Errors
/// [`outdated`]; those of [`crate::store::sqlite::failed`].
pub(super) fn not_less(connection: &Connection, table: &Table) -> Result<()> {
    let kept = kept(connection)?.into_iter().find(|(name, _)| name == table.name());
    match kept {
        Some((name, Some(text))) if !table.covers_kept(&text) => Err(outdated(&name)),
        _ => Ok(()),
    }
}

/// This program began before somebody has joined that.
pub(crate) fn outdated(name: &str) -> Error {
    let message =
        format!("the table {name} was joined, or has got columns, since this program began");
    Error::new(Kind::Conflict, OPERATION, message).with_hint(
        "start the program again: it exchanges nothing until then, and goes on with both stores",
    )
}
