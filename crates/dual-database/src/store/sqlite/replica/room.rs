//! Rows that exchange unique values. Written one by one each would find its value taken; so they give them
//! up first, all of them, and then take what they are to have.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::super::{failed, readable};
use super::watch::limited;
use super::{Content, LocalRow, Taken};
use crate::Result;
use crate::merge::{Absorbed, Version};
use crate::schema::RowId;
use crate::value::Value;

const OPERATION: &str = "make room for rows of the SQLite file";

/// A row as a merge has decided it.
#[derive(Clone, Debug)]
pub(crate) struct Merged<'r> {
    pub id: &'r RowId,
    /// What the file has of it.
    pub before: Option<LocalRow>,
    /// What was merged into that.
    pub incoming: &'r Version,
    pub absorbed: Absorbed,
    pub surrogate: Option<i64>,
}

impl Content<'_> {
    /// Whether the row was set aside because others have its unique values.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn lacks_room(&self, id: &RowId) -> Result<bool> {
        let unique = rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE.to_string();
        Ok(self
            .aside(id)?
            .iter()
            .any(|one| one.refused_by == super::Side::Sqlite && one.code == unique))
    }

    /// Writes these rows, which take unique values from each other: all of them, or none. Gives those that are
    /// refused all the same, by their places; they stay in quarantine.
    ///
    /// # Errors
    /// As for [`Content::take`].
    pub(crate) fn take_together(&self, rows: &[Merged<'_>]) -> Result<Vec<usize>> {
        let (mut unique, mut refused) = (BTreeMap::new(), Vec::new());
        self.execute(OPERATION, "SAVEPOINT dual_room", &[])?;
        let mut parked = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            let columns = match unique.entry(row.id.table) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(self.unique_columns(row.id.table)?),
            };
            parked.push(self.park(row, columns)?);
            refused.extend(parked.last().is_some_and(Option::is_none).then_some(at));
        }
        for (at, (row, stored)) in rows.iter().zip(&parked).enumerate() {
            let Some(stored) = stored else { continue };
            let sides = (row.before.as_ref(), stored.as_ref());
            let Merged { id, incoming, absorbed, surrogate, .. } = row;
            if self.take_over(id, sides, Some(*incoming), absorbed, *surrogate)? == Taken::Refused {
                refused.push(at);
            }
        }
        if !refused.is_empty() {
            self.execute(OPERATION, "ROLLBACK TO dual_room", &[])?;
        }
        self.execute(OPERATION, "RELEASE dual_room", &[])?;
        Ok(refused)
    }

    /// Takes the unique values from the row that it is not to keep; gives the row as it is stored then. `None`
    /// if the table does not let it.
    fn park(
        &self,
        row: &Merged<'_>,
        columns: &[(usize, bool)],
    ) -> Result<Option<Option<LocalRow>>> {
        let mut stored = row.before.clone();
        let Some(own) = stored.as_mut().filter(|own| own.tracked.version.lives()) else {
            return Ok(Some(stored));
        };
        let layout = &self.local(row.id.table)?.layout;
        let after = &row.absorbed.row.version.columns;
        let mut sets = Vec::new();
        for (at, required) in columns {
            let (Some(before), Some(after)) =
                (own.tracked.version.columns.get_mut(*at), after.get(*at))
            else {
                continue;
            };
            if let Some(register) =
                layout.registers.get(*at).filter(|_| before.value != after.value)
            {
                // Of its type, and nobody else's but by a miracle.
                let column = &register.column;
                let value = match required {
                    false => "NULL".to_owned(),
                    true => format!(
                        "CASE typeof({column}) WHEN 'integer' THEN random() & 9223372036854775807 \
                         WHEN 'text' THEN hex(randomblob(16)) ELSE randomblob(16) END"
                    ),
                };
                sets.push(format!("{column} = {value}"));
                before.value = Value::Null;
            }
        }
        if sets.is_empty() {
            return Ok(Some(stored));
        }
        let sql = format!(
            "UPDATE OR ABORT {} SET {} WHERE {}",
            layout.target,
            sets.join(", "),
            layout.key.is("", "=", 1)
        );
        let write =
            || limited(OPERATION, || self.execute(OPERATION, &sql, &[&row.id.key]).map(|_| ()));
        Ok((self.attempt(row.id, write)? == Taken::Done).then_some(stored))
    }

    /// The data columns that belong to a unique index, and whether they must not be NULL.
    fn unique_columns(&self, table: usize) -> Result<Vec<(usize, bool)>> {
        let wrap = |cause| failed(OPERATION, cause);
        let local = self.local(table)?;
        let sql = "SELECT DISTINCT t.name, t.\"notnull\" FROM pragma_index_list(?1) AS l, \
             pragma_index_xinfo(l.name) AS x, pragma_table_info(?1) AS t \
             WHERE l.\"unique\" AND x.key AND t.cid = x.cid";
        let mut look = self.connection().prepare(sql).map_err(wrap)?;
        let found = look
            .query_map([local.table.name()], |row| Ok((readable(row, 0)?, row.get(1)?)))
            .and_then(Iterator::collect::<rusqlite::Result<Vec<(String, bool)>>>)
            .map_err(wrap)?;
        let place = |name: &str| {
            local.table.data_columns().position(|column| column.name.eq_ignore_ascii_case(name))
        };
        Ok(found.iter().filter_map(|(name, required)| Some((place(name)?, *required))).collect())
    }
}
