//! Columns of the file's tables that refer to the surrogate of one of ours. Where PostgreSQL's number
//! replaces another one, they go along: the file's own foreign keys are not enforced here, and
//! nothing else would move them.

use std::sync::{Mutex, PoisonError};

use super::super::failed;
use super::{Content, LocalTable};
use crate::Result;
use crate::schema::quoted;

const OPERATION: &str = "move references in the SQLite file";

/// The statements that move what refers to a table's surrogate, from `?1` to `?2`, for the version
/// of the file's schema for which they were made.
#[derive(Debug, Default)]
pub(super) struct References(Mutex<Option<(i64, Vec<String>)>>);

impl Content<'_> {
    /// Lets everything that is declared to refer to that number refer to the other one. Writes to
    /// a tracked table are captured, and arrive at PostgreSQL.
    pub(super) fn move_references(&self, table: usize, from: i64, to: i64) -> Result<()> {
        let local = self.local(table)?;
        for sql in self.references(local)? {
            self.execute(OPERATION, &sql, &[&from, &to])?;
        }
        Ok(())
    }

    fn references(&self, local: &LocalTable) -> Result<Vec<String>> {
        let wrap = |cause| failed(OPERATION, cause);
        let version = "SELECT schema_version FROM pragma_schema_version";
        let version: i64 = self
            .connection()
            .prepare_cached(version)
            .and_then(|mut look| look.query_row([], |row| row.get(0)))
            .map_err(wrap)?;
        let mut known = local.references.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, statements)) = &*known
            && *of == version
        {
            return Ok(statements.clone());
        }
        // Without a column a foreign key refers to the primary one.
        let sql = "SELECT DISTINCT m.name, f.\"from\" \
             FROM sqlite_schema AS m, pragma_foreign_key_list(m.name) AS f \
             WHERE m.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE \
               AND (f.\"to\" = ?2 COLLATE NOCASE OR f.\"to\" IS NULL AND ?2 COLLATE NOCASE IN \
                 (SELECT name FROM pragma_table_info(?1) WHERE pk = f.seq + 1))";
        let Some(surrogate) = local.table.surrogate() else { return Ok(Vec::new()) };
        let names = (local.table.name(), &surrogate.name);
        let mut look = self.connection().prepare(sql).map_err(wrap)?;
        let statements = look
            .query_map(names, |row| {
                let (name, column): (String, String) = (row.get(0)?, row.get(1)?);
                let (name, column) = (quoted(&name), quoted(&column));
                Ok(format!("UPDATE OR ABORT {name} SET {column} = ?2 WHERE {column} = ?1"))
            })
            .and_then(Iterator::collect::<rusqlite::Result<Vec<String>>>)
            .map_err(wrap)?;
        *known = Some((version, statements.clone()));
        Ok(statements)
    }
}
