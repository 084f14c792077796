//! What came past the file's triggers: rows that were loaded or taken away while they were gone, or by
//! a client that had turned them off.

use rusqlite::params_from_iter;
use rusqlite::types::Value as Stored;

use super::super::capture::{loose, mend, to_be};
use super::super::failed;
use super::open::{Capture, hinder_nobody, refuse_taken_away, track};
use super::{Content, LocalRow};
use crate::Result;
use crate::protocol::reconcile::Loose;
use crate::schema::{Key, KeyColumns, RowId};
use crate::store::sqlite::stored;

const OPERATION: &str = "look for rows that came past the triggers";

impl Content<'_> {
    /// Whether the tables that were captured are there, with their columns.
    ///
    /// # Errors
    /// About the schema if not; those of [`failed`].
    pub fn whole(&self) -> Result<()> {
        self.tables().iter().try_for_each(|it| {
            let to_be = to_be(self.connection(), &it.table)?;
            refuse_taken_away(self.connection(), &to_be, &it.layout)
        })
    }

    /// Takes triggers of ours away that fail everybody who writes, because what they name is gone.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn hinder_nobody(&self) -> Result<()> {
        hinder_nobody(self.connection(), self.tables())
    }

    /// Counts the rows of a table with keys above `after` and up to `upto` that came past the
    /// triggers.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn loose(&self, table: usize, after: Option<&Key>, upto: Option<&Key>) -> Result<Loose> {
        loose(self.connection(), &self.local(table)?.layout, after, upto)
    }

    /// The key that comes as the `count`-th above `after` in sidecar or table; `None`: there are fewer.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn key_after(
        &self,
        table: usize,
        after: Option<&Key>,
        count: usize,
    ) -> Result<Option<Key>> {
        let local = self.local(table)?;
        let (layout, sidecar, target) =
            (&local.layout, &local.layout.sidecar, &local.layout.target);
        let first = |key: &KeyColumns, from: &str| {
            let (given, order) = (key.given(""), key.order("", ""));
            let above = key.bounded("", [after.is_some(), false], 2);
            let carried = key.is_carried("");
            format!(
                "SELECT {given} FROM {from} WHERE {above} AND {carried} ORDER BY {order} LIMIT 1 OFFSET ?1"
            )
        };
        let offset = i64::try_from(count).unwrap_or(i64::MAX).saturating_sub(1);
        let mut values = vec![Stored::Integer(offset)];
        values.extend(after.map(stored));
        let sql = format!(
            "SELECT ({}), ({})",
            first(&layout.own_key, sidecar),
            first(&layout.key, target),
        );
        let found: [Option<Key>; 2] = self
            .connection()
            .prepare_cached(&sql)
            .and_then(|mut look| {
                look.query_row(params_from_iter(values), |row| Ok([row.get(0)?, row.get(1)?]))
            })
            .map_err(|cause| failed(OPERATION, cause))?;
        Ok(found.into_iter().flatten().min())
    }

    /// Notes everything that came past the triggers of some of the tables, and says from which of them rows were
    /// taken away. What was refused of rows that are gone is forgotten.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn mend(&self, is_meant: impl Fn(usize) -> bool) -> Result<(Loose, Vec<usize>)> {
        let (mut found, mut lacking) = (Loose::default(), Vec::new());
        for (table, local) in self.tables().iter().enumerate().filter(|(at, _)| is_meant(*at)) {
            let mended = mend(self.connection(), &local.layout, None)?;
            lacking.extend(Some(table).filter(|_| mended.removed > 0));
            found.add(mended);
            let sql = format!(
                "DELETE FROM dual_quarantine WHERE name = ?1 AND key IN \
                 (SELECT {} FROM {} AS s WHERE live = 1 AND stamp = 0)",
                local.layout.own_key.given("s"),
                local.layout.sidecar
            );
            self.execute(OPERATION, &sql, &[&local.table.name()])?;
        }
        Ok((found, lacking))
    }

    /// Installs capture again where it is not as it was; says on which tables.
    ///
    /// # Errors
    /// About the schema if a table, or a column of it, was taken away, unless that may be made; those of
    /// [`failed`].
    pub(crate) fn reinstall(&self) -> Result<Vec<usize>> {
        let mut drifted = Vec::new();
        for (table, local) in self.tables().iter().enumerate() {
            if track(self.connection(), local)? != Capture::Whole {
                drifted.push(table);
            }
        }
        Ok(drifted)
    }

    /// The row, as [`Content::row`], in a transaction that writes: if it came past the triggers, that
    /// is noted first.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn captured(&self, id: &RowId) -> Result<Option<LocalRow>> {
        let found = self.row(id)?;
        let is_known = found.as_ref().is_none_or(|row| !row.is_loose);
        if is_known {
            return Ok(found);
        }
        mend(self.connection(), &self.local(id.table)?.layout, Some(&id.key))?;
        self.row(id)
    }
}
