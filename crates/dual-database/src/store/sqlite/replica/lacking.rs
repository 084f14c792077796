//! Tables whose triggers, indexes, checks or generated columns need what only the application's own
//! connection has. Their rows wait in quarantine; everything else goes on.

use std::sync::Arc;

use rusqlite::Connection;

use super::super::failure::is_lacking;
use super::super::{failed, readable};
use super::{Content, LocalTable};
use crate::schema::{Column, Dialect, Table};
use crate::{Error, Kind, Result, Store};

const OPERATION: &str = "look what the tables of the SQLite file need";

/// A table that is not followed as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// Its name.
    pub table: Arc<str>,
    /// The side that it cannot be followed on.
    pub store: Store,
    /// What is in the way, as that side says it.
    pub reason: String,
    /// What a person can do.
    pub hint: Option<String>,
}

impl Paused {
    pub(crate) fn new(table: &Table, store: Store, error: &Error) -> Paused {
        Paused {
            table: table.shared_name(),
            store,
            reason: error.message().to_owned(),
            hint: error.hint().map(str::to_owned),
        }
    }

    /// The error that it stands for.
    pub(crate) fn error(&self) -> Error {
        let message = format!("the table {} is left alone: {}", self.table, self.reason);
        let error = Error::new(Kind::Schema(self.store), "follow the table", message);
        match &self.hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

impl Content<'_> {
    /// The tables that need what this connection lacks. Preparing a statement looks up everything
    /// that it would use; nothing is written.
    #[must_use]
    pub fn lacking(&self) -> Vec<Paused> {
        let paused = |local: &LocalTable| {
            let columns = local.table.columns().iter();
            let error = lacking(self.connection(), &local.layout.target, columns)?;
            Some(Paused::new(&local.table, Store::Sqlite, &error))
        };
        self.tables().iter().filter_map(paused).collect()
    }

    /// The columns that are not declared, but for those that the file computes: the table's position, and the
    /// name.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn columns_besides(&self) -> Result<Vec<(usize, Arc<str>)>> {
        let wrap = |cause| failed(OPERATION, cause);
        let sql = "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0 ORDER BY cid";
        let mut look = self.connection().prepare_cached(sql).map_err(wrap)?;
        let mut besides = Vec::new();
        for (at, LocalTable { table, .. }) in self.tables().iter().enumerate() {
            let names = look.query_map([table.name()], |row| readable(row, 0));
            let names: Vec<String> = names.and_then(Iterator::collect).map_err(wrap)?;
            let new = names.into_iter().filter(|name| !table.has_judged(Dialect::Sqlite, name));
            besides.extend(new.map(|name| (at, Arc::from(name))));
        }
        Ok(besides)
    }
}

/// What a write to these columns of the table needs, and the connection has not. What else is in the
/// way of one, whoever writes meets.
pub(crate) fn lacking<'c>(
    connection: &Connection,
    target: &str,
    columns: impl Iterator<Item = &'c Column>,
) -> Option<Error> {
    let set = |column: &Column| format!("{0} = {0}", column.quoted(Dialect::Sqlite));
    let sets: Vec<String> = columns.map(set).collect();
    [
        format!("INSERT INTO {target} DEFAULT VALUES"),
        format!("UPDATE {target} SET {}", sets.join(", ")),
        format!("DELETE FROM {target}"),
    ]
    .iter()
    .filter_map(|sql| connection.prepare(sql).err())
    .map(|cause| failed(OPERATION, cause))
    .find(|error| is_lacking(error.message()))
}
