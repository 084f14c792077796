//! Changes made in this file, and what is done to the sidecar alone.

use rusqlite::{ToSql, ffi};

use super::super::capture::{LocalEntry, entry, put, state, write_sidecar};
use super::super::failed;
use super::watch::limited;
use super::{Content, LocalRow, Taken};
use crate::merge::{Bases, Change, Tracked};
use crate::schema::{RowId, behind};
use crate::stamp::Stamp;
use crate::value::Value;
use crate::{Error, Kind, Result};

impl Content<'_> {
    /// A change made here, under `stamp`, pending. The caller has checked that the row is there,
    /// or is not. A new row gets a provisional surrogate.
    ///
    /// # Errors
    /// Invalid data if the table refuses it, not found if it updates a row that is not there;
    /// else those of [`failed`].
    pub fn change(&self, id: &RowId, change: &Change, stamp: Stamp) -> Result<()> {
        self.change_row(id, change, stamp).map_err(|error| error.about(self.name_of(id)))
    }

    /// As [`Content::change`]; if the table refuses it, the row is in quarantine.
    ///
    /// # Errors
    /// Those of [`failed`] that are not about the row.
    pub(crate) fn try_change(&self, id: &RowId, change: &Change, stamp: Stamp) -> Result<Taken> {
        self.attempt(id, || self.change_row(id, change, stamp))
    }

    fn change_row(&self, id: &RowId, change: &Change, stamp: Stamp) -> Result<()> {
        let operation = "write a row of the SQLite file";
        let before = self.captured(id)?;
        let seen = before.as_ref().map(|row| &row.tracked);
        let lives = seen.is_some_and(|row| row.version.lives());
        if matches!(change, Change::Update(_)) && !lives {
            return Err(Error::new(Kind::NotFound, operation, "there is no such row"));
        }
        let local = self.local(id.table)?;
        let unseen = state(self.connection())?.horizon;
        let mut tracked = Tracked::changed(seen, change, stamp, unseen, &local.defaults);
        if local.layout.is_automatic && matches!(change, Change::Insert(_)) {
            tracked = tracked.named();
        }
        let surrogate = match before.as_ref().and_then(|row| row.surrogate) {
            Some(surrogate) => Some(surrogate),
            None if tracked.version.live.value => self.provisional(id.table)?,
            None => None,
        };
        self.write_row(id, before.as_ref(), &tracked, surrogate)?;
        self.write_sidecar_row(id, &tracked, self.next_seq()?).map(|_| ())
    }

    /// Writes bases and stamps of a row whose values stay as they are (acknowledge, restamp,
    /// mark_pending).
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn set_tracked(&self, id: &RowId, tracked: &Tracked) -> Result<()> {
        let layout = &self.local(id.table)?.layout;
        match entry(self.connection(), layout, &id.key)? {
            Some(found) => put(self.connection(), layout, &self.entry_of(id, tracked, found.seq)?),
            None => Ok(()),
        }
    }

    /// Removes a row and all that is known of it: it was purged. If the table does not let it go, it
    /// is in quarantine.
    ///
    /// # Errors
    /// Those of [`failed`] that are not about the row.
    pub fn forget(&self, id: &RowId) -> Result<Taken> {
        let operation = "forget a row of the SQLite file";
        let local = self.local(id.table)?;
        let gone = self.attempt(id, || limited(operation, || self.delete_row(operation, id)))?;
        if gone == Taken::Refused {
            return Ok(gone);
        }
        let sql = format!(
            "DELETE FROM {} WHERE {}",
            local.layout.sidecar,
            local.layout.own_key.is("", "=", 1)
        );
        self.execute(operation, &sql, &[&id.key])?;
        let sql = "DELETE FROM dual_quarantine WHERE name = ?1 AND key = ?2";
        self.execute(operation, sql, &[&local.table.name(), &id.key])?;
        Ok(gone)
    }

    /// Takes over PostgreSQL's purge horizon, and forgets the tombstones wholly below it in which nothing
    /// is pending. (The file's own may be somebody's hand.) Says how many. Nothing is looked at again until
    /// the horizon rises. Those of a table that is being compared stay: the comparison judges by them.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn purge(&self, horizon: Stamp) -> Result<u64> {
        let operation = "purge the SQLite file";
        let sql = "UPDATE dual_node SET purged = ?1 WHERE purged < ?1";
        if self.execute(operation, sql, &[&horizon.raw()])? == 0 {
            return Ok(0);
        }
        let sql = "UPDATE dual_state SET horizon = ?1 WHERE horizon < ?1";
        self.execute(operation, sql, &[&horizon.raw()])?;
        let (mut purged, apart) = (0, self.apart()?);
        let follows = |(at, local)| (!apart.contains(&at)).then_some(local);
        for local in self.tables().iter().enumerate().filter_map(follows) {
            let layout = &local.layout;
            let sql = format!(
                "DELETE FROM {} WHERE live = 0 AND stamp < ?1 AND live_base IS NULL{}",
                layout.sidecar,
                behind(" AND ", layout.each(" AND ", |r| format!("{} IS NULL", r.base))),
            );
            purged += self.execute(operation, &sql, &[&horizon.raw()])? as u64;
        }
        Ok(purged)
    }

    /// Makes the data row what `after` says, as far as it is not so. What a trigger of the table
    /// leaves out (`RAISE(IGNORE)`) is refused: nothing of it was done, and nobody has said so.
    pub(super) fn write_row(
        &self,
        id: &RowId,
        before: Option<&LocalRow>,
        after: &Tracked,
        surrogate: Option<i64>,
    ) -> Result<()> {
        let operation = "write a row of the SQLite file";
        limited(operation, || self.write_watched(operation, id, before, after, surrogate))
    }

    fn write_watched(
        &self,
        operation: &'static str,
        id: &RowId,
        before: Option<&LocalRow>,
        after: &Tracked,
        surrogate: Option<i64>,
    ) -> Result<()> {
        let local = self.local(id.table)?;
        let living = before.filter(|row| row.tracked.version.lives());
        if !after.version.live.value {
            return match living {
                Some(_) => self.delete_row(operation, id),
                None => Ok(()),
            };
        }
        if let Some(number) = surrogate
            && living.is_none_or(|row| row.surrogate != Some(number))
        {
            self.vacate(id, number)?;
        }
        if let Some(before) = living
            && self.update_row(id, before, after, surrogate)?
        {
            return Ok(());
        }
        let mut values: Vec<&dyn ToSql> = Vec::new();
        if local.statements.numbering.is_some() {
            values.push(&surrogate);
        }
        values.push(&id.key);
        values.extend(self.values(id, after)?.into_iter().map(|value| value as &dyn ToSql));
        let inserted = self
            .connection()
            .prepare_cached(&local.statements.insert)
            .and_then(|mut insert| insert.execute(values.as_slice()))
            .map_err(|cause| failed(operation, cause))?;
        if inserted == 0 { Err(left_out(operation)) } else { Ok(()) }
    }

    fn delete_row(&self, operation: &'static str, id: &RowId) -> Result<()> {
        let deleted =
            self.execute(operation, &self.local(id.table)?.statements.delete, &[&id.key])?;
        if deleted == 0 && self.is_there(operation, id)? {
            return Err(left_out(operation));
        }
        Ok(())
    }

    /// Whether the table has the row.
    fn is_there(&self, operation: &'static str, id: &RowId) -> Result<bool> {
        let layout = &self.local(id.table)?.layout;
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {} WHERE {})",
            layout.target,
            layout.key.is("", "=", 1)
        );
        self.connection()
            .prepare_cached(&sql)
            .and_then(|mut look| look.query_row([&id.key], |row| row.get(0)))
            .map_err(|cause| failed(operation, cause))
    }

    /// Sets what differs; says whether the row is there.
    fn update_row(
        &self,
        id: &RowId,
        before: &LocalRow,
        after: &Tracked,
        surrogate: Option<i64>,
    ) -> Result<bool> {
        let operation = "write a row of the SQLite file";
        let layout = &self.local(id.table)?.layout;
        let mut sets = Vec::new();
        let mut values: Vec<&dyn ToSql> = vec![&id.key];
        let mut set = |column: &str, value| {
            values.push(value);
            sets.push(format!("{column} = ?{}", values.len()));
        };
        if let Some(column) = &layout.surrogate
            && surrogate.is_some()
            && surrogate != before.surrogate
        {
            set(column, &surrogate);
        }
        let pairs = layout.registers.iter().zip(&after.version.columns).enumerate();
        for (at, (register, new)) in pairs {
            let differs = before.tracked.version.columns.get(at).is_none_or(|old| {
                // What cannot be read looks like NULL, and is overwritten by NULL too.
                old.value != new.value || (before.unreadable.is_some() && old.stamp != new.stamp)
            });
            if differs {
                set(&register.column, &new.value);
            }
        }
        if sets.is_empty() {
            return Ok(true);
        }
        let sql = format!(
            "UPDATE OR ABORT {} SET {} WHERE {}",
            layout.target,
            sets.join(", "),
            layout.key.is("", "=", 1)
        );
        let updated = self
            .connection()
            .prepare_cached(&sql)
            .and_then(|mut update| update.execute(values.as_slice()))
            .map_err(|cause| failed(operation, cause))?;
        if updated == 0 && self.is_there(operation, id)? {
            return Err(left_out(operation));
        }
        if let (Some(old), Some(new)) = (before.surrogate, surrogate)
            && old != new
        {
            self.move_references(id.table, old, new)?;
        }
        Ok(updated > 0)
    }

    /// Puts the sidecar as the write wants it; says whether the row is as wanted.
    pub(super) fn write_sidecar_row(
        &self,
        id: &RowId,
        tracked: &Tracked,
        seq: i64,
    ) -> Result<bool> {
        let local = self.local(id.table)?;
        let wanted = self.entry_of(id, tracked, seq)?;
        let values = match tracked.version.live.value {
            true => self.values(id, tracked)?,
            false => Vec::new(),
        };
        write_sidecar(self.connection(), &local.table, &local.layout, &wanted, &values)
    }

    /// Marks a change: the next position.
    pub(super) fn next_seq(&self) -> Result<i64> {
        let operation = "count a change of the SQLite file";
        self.execute(operation, "UPDATE dual_state SET seq = seq + 1", &[])?;
        Ok(state(self.connection())?.seq)
    }

    /// A surrogate that PostgreSQL has not issued, for a table that has one.
    pub(super) fn provisional(&self, table: usize) -> Result<Option<i64>> {
        let Some(numbering) = &self.local(table)?.statements.numbering else { return Ok(None) };
        self.connection()
            .prepare_cached(&numbering.provisional)
            .and_then(|mut look| look.query_row([], |row| row.get(0)))
            .map(Some)
            .map_err(|cause| failed("number a row of the SQLite file", cause))
    }

    /// Whoever else has that surrogate gets a provisional one.
    fn vacate(&self, id: &RowId, number: i64) -> Result<()> {
        let local = self.local(id.table)?;
        if local.table.asks_for_surrogates() {
            return self.clear(id, number);
        }
        let Some(numbering) = &local.statements.numbering else { return Ok(()) };
        let taken: bool = self
            .connection()
            .prepare_cached(&numbering.taken)
            .and_then(|mut look| look.query_row((number, &id.key), |row| row.get(0)))
            .map_err(|cause| failed("number a row of the SQLite file", cause))?;
        if !taken {
            return Ok(());
        }
        let Some(other) = self.provisional(id.table)? else { return Ok(()) };
        let operation = "number a row of the SQLite file";
        match self.execute(operation, &numbering.vacate, &[&number, &id.key, &other])? {
            0 => Err(left_out(operation)),
            _ => self.move_references(id.table, number, other),
        }
    }

    fn values<'t>(&self, id: &RowId, tracked: &'t Tracked) -> Result<Vec<&'t Value>> {
        let count = self.local(id.table)?.layout.registers.len();
        let columns = &tracked.version.columns;
        let value = |at: usize| columns.get(at).map_or(&Value::Null, |column| &column.value);
        Ok((0..count).map(value).collect())
    }

    fn entry_of(&self, id: &RowId, tracked: &Tracked, seq: i64) -> Result<LocalEntry> {
        let count = self.local(id.table)?.layout.registers.len();
        let Tracked { version, bases } = tracked;
        Ok(LocalEntry {
            key: id.key.clone(),
            live: version.live,
            columns: (0..count).map(|at| version.stamp_of(at)).collect(),
            bases: Bases {
                live: bases.live,
                columns: (0..count).map(|at| bases.column(at)).collect(),
            },
            seq,
        })
    }

    pub(super) fn execute(
        &self,
        operation: &'static str,
        sql: &str,
        values: &[&dyn ToSql],
    ) -> Result<usize> {
        self.connection()
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map_err(|cause| failed(operation, cause))
    }
}

/// A trigger of the user's has kept a write from being done, without an error.
pub(super) fn left_out(operation: &'static str) -> Error {
    let code = ffi::Error::new(ffi::SQLITE_CONSTRAINT_TRIGGER);
    let message = "a trigger of the table has left the row out".to_owned();
    failed(operation, rusqlite::Error::SqliteFailure(code, Some(message)))
}
