//! Tables whose triggers, indexes, checks or generated columns need what only the application's own
//! connection has. Their rows wait in quarantine; everything else goes on.

use super::super::failed;
use super::super::failure::is_lacking;
use super::{Content, LocalTable};
use crate::schema::quoted;
use crate::{Error, Result};

const OPERATION: &str = "look what the tables of the SQLite file need";

/// A table of the file that cannot be written here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// Its name.
    pub table: &'static str,
    /// What is missing, as SQLite says it.
    pub reason: String,
    /// What a person can do.
    pub hint: Option<String>,
}

impl Content<'_> {
    /// The tables that need what this connection lacks. Preparing a statement looks up everything
    /// that it would use; nothing is written.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn lacking(&self) -> Result<Vec<Paused>> {
        let mut paused = Vec::new();
        for local in self.tables() {
            if let Some(error) = self.lacking_of(local)? {
                let hint = error.hint().map(str::to_owned);
                let reason = error.message().to_owned();
                paused.push(Paused { table: local.table.name(), reason, hint });
            }
        }
        Ok(paused)
    }

    fn lacking_of(&self, local: &LocalTable) -> Result<Option<Error>> {
        let sets: Vec<String> =
            local.table.columns().iter().map(|c| format!("{0} = {0}", quoted(c.name))).collect();
        let update = format!("UPDATE {} SET {}", local.layout.target, sets.join(", "));
        for sql in [&local.statements.insert, &update, &local.statements.delete] {
            if let Err(cause) = self.connection().prepare(sql) {
                let error = failed(OPERATION, cause);
                return if is_lacking(error.message()) { Ok(Some(error)) } else { Err(error) };
            }
        }
        Ok(None)
    }
}
