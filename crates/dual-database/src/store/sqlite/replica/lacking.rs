//! Tables whose triggers, indexes, checks or generated columns need what only the application's own
//! connection has. Their rows wait in quarantine; everything else goes on.

use std::sync::Arc;

use rusqlite::Connection;

use super::super::failed;
use super::super::failure::is_lacking;
use super::{Content, LocalTable};
use crate::Error;
use crate::schema::quoted;

const OPERATION: &str = "look what the tables of the SQLite file need";

/// A table of the file that cannot be written here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// Its name.
    pub table: Arc<str>,
    /// What is missing, as SQLite says it.
    pub reason: String,
    /// What a person can do.
    pub hint: Option<String>,
}

impl Content<'_> {
    /// The tables that need what this connection lacks. Preparing a statement looks up everything
    /// that it would use; nothing is written.
    #[must_use]
    pub fn lacking(&self) -> Vec<Paused> {
        let paused = |local: &LocalTable| {
            let names = local.table.columns().iter().map(|column| &*column.name);
            let error = lacking(self.connection(), &local.layout.target, names)?;
            Some(Paused {
                table: local.table.shared_name(),
                reason: error.message().to_owned(),
                hint: error.hint().map(str::to_owned),
            })
        };
        self.tables().iter().filter_map(paused).collect()
    }
}

/// What a write to these columns of the table needs, and the connection has not. What else is in the
/// way of one, whoever writes meets.
pub(crate) fn lacking<'n>(
    connection: &Connection,
    target: &str,
    columns: impl Iterator<Item = &'n str>,
) -> Option<Error> {
    let sets: Vec<String> = columns.map(|name| format!("{0} = {0}", quoted(name))).collect();
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
