//! Surrogates of rows that PostgreSQL does not have yet, or has not been compared with: it says them before
//! anything is given, so that what refers to a row refers to the same one there.

use rusqlite::OptionalExtension as _;
use rusqlite::types::Value as Stored;

use super::super::failed;
use super::{Content, Side, Taken};
use crate::Result;
use crate::protocol::Surrogate;
use crate::schema::{Key, RowId};

const OPERATION: &str = "number rows of the SQLite file";

impl Content<'_> {
    /// The rows that have to be asked about, at most so many of a table: those that have changed since the last push,
    /// or all. To one without a number nothing refers: it gets PostgreSQL's with the row.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn unnumbered(&self, all: bool, most: usize) -> Result<Vec<(RowId, i64)>> {
        let wrap = |cause| failed(OPERATION, cause);
        let mut found = Vec::new();
        for (table, local) in self.tables().iter().enumerate() {
            let layout = &local.layout;
            let Some(number) =
                layout.surrogate.as_ref().filter(|_| local.table.asks_for_surrogates())
            else {
                continue;
            };
            let since = match all {
                true => "",
                false => " AND s.seq > (SELECT pushed FROM dual_node)",
            };
            let sql = format!(
                "SELECT {}, u.{number} FROM {} AS s JOIN {} AS u ON {} \
                 WHERE typeof(u.{number}) = 'integer' AND s.live = 1 AND s.live_base IS NOT NULL{since} AND NOT EXISTS \
                   (SELECT 1 FROM dual_given AS g WHERE g.name = ?1 AND g.number = u.{number}) LIMIT ?2",
                layout.own_key.given("s"),
                layout.sidecar,
                layout.target,
                layout.is_of("s"),
            );
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let mut look = self.connection().prepare_cached(&sql).map_err(wrap)?;
            let keys = look
                .query_map((local.table.name(), most), |row| Ok((row.get(0)?, row.get(1)?)))
                .and_then(Iterator::collect::<rusqlite::Result<Vec<(Key, i64)>>>)
                .map_err(wrap)?;
            found.extend(keys.into_iter().map(|(key, own)| (RowId { table, key }, own)));
        }
        Ok(found)
    }

    /// Gives the row the number that PostgreSQL says, with everything in the file that refers to it. It keeps its own
    /// where there is none; where who has that in PostgreSQL is dead here: it is the same row under another key, and
    /// what refers to it there means it; and if the file does not let it change. Says whether it has changed.
    ///
    /// # Errors
    /// Those of [`failed`] that are not about the row.
    pub(crate) fn take_surrogate(&self, id: &RowId, said: Option<&Surrogate>) -> Result<bool> {
        let Some(before) = self.captured(id)? else { return Ok(false) };
        // PostgreSQL has it since, or it was deleted meanwhile.
        if !before.tracked.version.lives() || before.tracked.bases.live.is_none() {
            return Ok(false);
        }
        let Some(own) = before.surrogate else { return Ok(false) };
        // Another process was asked for it, too.
        if self.is_given(id.table, own)? {
            return Ok(false);
        }
        let holder = said.and_then(|said| said.holder.clone());
        let keeps = match holder.map(|key| self.row(&RowId { table: id.table, key })).transpose()? {
            Some(Some(holder)) => !holder.tracked.version.lives(),
            _ => false,
        };
        let number = said.and_then(|said| said.number).filter(|_| !keeps).unwrap_or(own);
        let moves = number != own;
        if moves && self.attempt(id, || self.move_surrogate(id, own, number))? == Taken::Refused {
            self.release(id, Side::Sqlite)?;
            self.note_given(id.table, own)?;
            return Ok(false);
        }
        self.note_given(id.table, number)?;
        Ok(moves)
    }

    /// Somebody else has the number that PostgreSQL has said for the row: it gets a provisional one, with everything
    /// in the file that refers to it and is pending, so that it is asked about again before either is pushed.
    ///
    /// # Errors
    /// Those of [`failed`] that are not about the row.
    pub(crate) fn give_up_surrogate(&self, id: &RowId) -> Result<()> {
        let Some(row) = self.captured(id)? else { return Ok(()) };
        let is_born = row.tracked.version.lives() && row.tracked.bases.live.is_some();
        let Some(own) = row.surrogate.filter(|_| is_born) else { return Ok(()) };
        let name = self.local(id.table)?.table.name();
        let sql = "DELETE FROM dual_given WHERE name = ?1 AND number = ?2";
        self.execute(OPERATION, sql, &[&name, &own])?;
        let Some(other) = self.provisional(id.table)? else { return Ok(()) };
        if self.attempt(id, || self.move_surrogate(id, own, other))? == Taken::Refused {
            self.release(id, Side::Sqlite)?;
        }
        Ok(())
    }

    fn move_surrogate(&self, id: &RowId, from: i64, to: i64) -> Result<()> {
        self.clear(id, to)?;
        self.set_surrogate(id, to)?;
        self.move_pending_references(id.table, &Stored::Integer(from), &Stored::Integer(to))
    }

    fn set_surrogate(&self, id: &RowId, number: i64) -> Result<()> {
        let layout = &self.local(id.table)?.layout;
        let Some(column) = &layout.surrogate else { return Ok(()) };
        let sql = format!(
            "UPDATE OR ABORT {} SET {column} = ?2 WHERE {}",
            layout.target,
            layout.key.is("", "=", 1)
        );
        match self.execute(OPERATION, &sql, &[&id.key, &number])? {
            0 => Err(super::change::left_out(OPERATION)),
            _ => Ok(()),
        }
    }

    /// Whoever else has that number gets a provisional one. If PostgreSQL has not heard of him either, what has come
    /// from there with that number means the row that is to have it.
    pub(super) fn clear(&self, id: &RowId, number: i64) -> Result<()> {
        let local = self.local(id.table)?;
        let (Some(column), Some(numbering)) =
            (&local.layout.surrogate, &local.statements.numbering)
        else {
            return Ok(());
        };
        let key = &local.layout.key;
        let sql = format!(
            "SELECT {} FROM {} AS u WHERE u.{column} = ?2 AND NOT ({})",
            key.given("u"),
            local.layout.target,
            key.is("u", "IS", 1),
        );
        let holder = self.connection().prepare_cached(&sql).and_then(|mut look| {
            look.query_row((&id.key, number), |row| row.get::<_, Option<Key>>(0)).optional()
        });
        let Some(holder) = holder.map_err(|cause| failed(OPERATION, cause))? else { return Ok(()) };
        let holder = holder.map(|key| self.row(&RowId { table: id.table, key })).transpose()?;
        let is_heard = holder.flatten().is_some_and(|row| row.tracked.bases.live.is_none());
        let Some(other) = self.provisional(id.table)? else { return Ok(()) };
        if self.execute(OPERATION, &numbering.vacate, &[&number, &id.key, &other])? == 0 {
            return Err(super::change::left_out(OPERATION));
        }
        match is_heard {
            true => self.move_references(id.table, number, other),
            false => self.move_pending_references(
                id.table,
                &Stored::Integer(number),
                &Stored::Integer(other),
            ),
        }
    }

    fn is_given(&self, table: usize, number: i64) -> Result<bool> {
        let name = self.local(table)?.table.name();
        let sql = "SELECT EXISTS (SELECT 1 FROM dual_given WHERE name = ?1 AND number = ?2)";
        self.connection()
            .prepare_cached(sql)
            .and_then(|mut look| look.query_row((name, number), |row| row.get(0)))
            .map_err(|cause| failed(OPERATION, cause))
    }

    fn note_given(&self, table: usize, number: i64) -> Result<()> {
        let name = self.local(table)?.table.name();
        let sql = "INSERT OR IGNORE INTO dual_given (name, number) VALUES (?1, ?2)";
        self.execute(OPERATION, sql, &[&name, &number]).map(|_| ())
    }

    /// Forgets them all: another server, or another file, may give them to others. Rows that PostgreSQL does not have
    /// are asked about again.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn forget_all_given(&self) -> Result<()> {
        self.execute(OPERATION, "DELETE FROM dual_given", &[]).map(|_| ())
    }

    /// Forgets which numbers were given to rows that PostgreSQL has by now, or that are gone.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn forget_given(&self) -> Result<()> {
        for local in self.tables().iter().filter(|local| local.table.asks_for_surrogates()) {
            let layout = &local.layout;
            let Some(number) = &layout.surrogate else { continue };
            let sql = format!(
                "DELETE FROM dual_given WHERE name = ?1 AND NOT EXISTS \
                   (SELECT 1 FROM {} AS u JOIN {} AS s ON {} \
                    WHERE u.{number} = dual_given.number AND s.live_base IS NOT NULL)",
                layout.target,
                layout.sidecar,
                layout.tells_of("u"),
            );
            self.execute(OPERATION, &sql, &[&local.table.name()])?;
        }
        Ok(())
    }
}
