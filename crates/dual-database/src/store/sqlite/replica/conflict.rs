//! The conflict log of the file.

use rusqlite::Row;

use super::super::failed;
use super::Content;
use crate::Result;
use crate::merge::{Conflict, RegisterId};
use crate::protocol::{ConflictEntry, is_register, register_name};
use crate::schema::RowId;
use crate::stamp::Stamp;

const OPERATION: &str = "use the conflict log of the SQLite file";
const COLUMNS: &str =
    "number, name, key, register, winner, loser, winning, losing, noted, reviewed";

impl Content<'_> {
    /// Adds entries to the conflict log; those that are there stay.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn log_conflicts(&self, entries: &[ConflictEntry]) -> Result<()> {
        // What was there before anybody looked has the same stamp in every file, each time it joins.
        let sql = format!(
            "INSERT INTO dual_conflict \
             (name, key, register, winner, loser, winning, losing, noted, reviewed, sent) \
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0 WHERE NOT EXISTS \
             (SELECT 1 FROM dual_conflict WHERE name = ?1 AND key = ?2 AND register = ?3 \
              AND winner = ?4 AND loser = ?5 \
              AND (losing IS ?7 OR (winner <> loser AND loser > {})))",
            Stamp::ADOPTED_PREFERRED.raw()
        );
        for entry in entries {
            let table = &self.local(entry.id.table)?.table;
            self.execute(
                OPERATION,
                &sql,
                &[
                    &table.name(),
                    &entry.id.key,
                    &register_name(table, entry.conflict.register),
                    &entry.conflict.winner.raw(),
                    &entry.conflict.loser.raw(),
                    &entry.winning,
                    &entry.losing,
                    &entry.noted_ms,
                    &entry.reviewed,
                ],
            )?;
        }
        Ok(())
    }

    /// The conflict log, the newest first. Entries about tables and columns that are no longer
    /// declared are left out.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn conflicts(&self, limit: usize) -> Result<Vec<ConflictEntry>> {
        let sql = format!("SELECT {COLUMNS} FROM dual_conflict ORDER BY number DESC");
        Ok(self.entries(&sql, limit)?.into_iter().map(|(_, entry)| entry).collect())
    }

    /// Entries that PostgreSQL's log may lack, the oldest first and at most a thousand; marked as
    /// sent by [`Content::conflicts_sent`].
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn unsent_conflicts(&self) -> Result<Vec<(i64, ConflictEntry)>> {
        let sql = format!("SELECT {COLUMNS} FROM dual_conflict WHERE sent = 0 ORDER BY number");
        self.entries(&sql, 1_000)
    }

    /// Marks entries as known to PostgreSQL.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn conflicts_sent(&self, numbers: &[i64]) -> Result<()> {
        let sql = "UPDATE dual_conflict SET sent = 1 WHERE number = ?1";
        numbers.iter().try_for_each(|number| self.execute(OPERATION, sql, &[number]).map(|_| ()))
    }

    /// Removes entries that were noted before that moment, at most so many; never one that
    /// PostgreSQL has not heard of. Says how many.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn forget_conflicts(&self, before_ms: i64, most: usize) -> Result<usize> {
        let sql = "DELETE FROM dual_conflict WHERE number IN (SELECT number FROM dual_conflict \
                   WHERE sent = 1 AND noted < ?1 ORDER BY number LIMIT ?2)";
        self.execute(OPERATION, sql, &[&before_ms, &i64::try_from(most).unwrap_or(i64::MAX)])
    }

    /// How many entries no person has seen.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn unreviewed_conflicts(&self) -> Result<u64> {
        self.connection()
            .prepare_cached("SELECT count(*) FROM dual_conflict WHERE reviewed = 0")
            .and_then(|mut look| look.query_row([], |row| row.get::<_, i64>(0)))
            .map(|count| u64::try_from(count).unwrap_or(0))
            .map_err(|cause| failed(OPERATION, cause))
    }

    /// A person has seen all entries; says how many were new to them.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn review_conflicts(&self) -> Result<u64> {
        let sql = "UPDATE dual_conflict SET reviewed = 1 WHERE reviewed = 0";
        Ok(self.execute(OPERATION, sql, &[])? as u64)
    }

    /// At most so many of those that are about what is declared: others do not count, or they
    /// would stand in the way of what comes after them.
    fn entries(&self, sql: &str, limit: usize) -> Result<Vec<(i64, ConflictEntry)>> {
        let wrap = |cause| failed(OPERATION, cause);
        let mut look = self.connection().prepare_cached(sql).map_err(wrap)?;
        let mut rows = look.query([]).map_err(wrap)?;
        let mut entries = Vec::new();
        while entries.len() < limit
            && let Some(row) = rows.next().map_err(wrap)?
        {
            entries.extend(self.entry(row).map_err(wrap)?);
        }
        Ok(entries)
    }

    fn entry(&self, row: &Row<'_>) -> rusqlite::Result<Option<(i64, ConflictEntry)>> {
        let (name, register): (String, String) = (row.get(1)?, row.get(3)?);
        let stamp = |at| row.get(at).map(|raw: i64| Stamp::from_raw(raw).unwrap_or_default());
        let Some((at, local)) =
            self.position(&name).and_then(|at| Some((at, self.tables().get(at)?)))
        else {
            return Ok(None);
        };
        let columns = (0..local.defaults.len()).map(RegisterId::Column);
        let register = [RegisterId::Live, RegisterId::Number]
            .into_iter()
            .chain(columns)
            .find(|id| is_register(&local.table, *id, &register));
        let Some(register) = register else { return Ok(None) };
        let entry = ConflictEntry {
            id: RowId { table: at, key: row.get(2)? },
            conflict: Conflict { register, winner: stamp(4)?, loser: stamp(5)? },
            winning: row.get(6)?,
            losing: row.get(7)?,
            noted_ms: row.get(8)?,
            reviewed: row.get(9)?,
        };
        Ok(Some((row.get(0)?, entry)))
    }
}
