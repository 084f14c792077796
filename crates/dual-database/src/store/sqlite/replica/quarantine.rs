//! Rows that one side refuses.

use rusqlite::ToSql;

use super::super::failed;
use super::{Content, Side};
use crate::Result;
use crate::protocol::Quarantined;
use crate::schema::{Column, Dialect, RowId};

const OPERATION: &str = "use the quarantine of the SQLite file";

fn side(side: Side) -> &'static str {
    match side {
        Side::Postgres => "postgres",
        Side::Sqlite => "sqlite",
    }
}

impl Content<'_> {
    /// Sets a row aside, or again with a later retry; `since` is kept.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn set_aside(&self, entry: &Quarantined) -> Result<()> {
        let sql = "INSERT INTO dual_quarantine (name, key, refused_by, code, reason, since, retry) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
                   ON CONFLICT (name, key, refused_by) DO UPDATE \
                   SET code = excluded.code, reason = excluded.reason, retry = excluded.retry";
        let name = self.local(entry.id.table)?.table.name();
        self.execute(
            OPERATION,
            sql,
            &[
                &name,
                &entry.id.key,
                &side(entry.refused_by),
                &entry.code,
                &entry.reason,
                &entry.since_ms,
                &entry.retry_ms,
            ],
        )
        .map(|_| ())
    }

    /// Takes a row out of quarantine for what that side refused; everything else that waits
    /// becomes due.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn release(&self, id: &RowId, refused_by: Side) -> Result<()> {
        let sql = "DELETE FROM dual_quarantine WHERE name = ?1 AND key = ?2 AND refused_by = ?3";
        let name = self.local(id.table)?.table.name();
        if self.execute(OPERATION, sql, &[&name, &id.key, &side(refused_by)])? > 0 {
            self.retry_all()?;
        }
        Ok(())
    }

    /// Everything that waits becomes due. Costs what is not due yet: many rows may leave one after
    /// the other.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn retry_all(&self) -> Result<()> {
        let sql = "UPDATE dual_quarantine SET retry = 0 \
                   WHERE name = ?1 AND refused_by = ?2 AND retry > 0";
        for local in self.tables() {
            for by in [Side::Postgres, Side::Sqlite] {
                self.execute(OPERATION, sql, &[&local.table.name(), &side(by)])?;
            }
        }
        Ok(())
    }

    /// The rows of tables that follow which the file has refused, and that are to be asked for again.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn due_here(&self, now_ms: i64) -> Result<Vec<RowId>> {
        let wrap = |cause| failed(OPERATION, cause);
        let sql = "SELECT key FROM dual_quarantine \
                   WHERE name = ?1 AND refused_by = ?2 AND retry <= ?3";
        let (mut due, apart) = (Vec::new(), self.apart()?);
        for (table, local) in self.tables().iter().enumerate() {
            if apart.contains(&table) {
                continue;
            }
            let mut look = self.connection().prepare_cached(sql).map_err(wrap)?;
            let of = (local.table.name(), side(Side::Sqlite), now_ms);
            let rows = look.query_map(of, |row| row.get(0)).map_err(wrap)?;
            for key in rows {
                due.push(RowId { table, key: key.map_err(wrap)? });
            }
        }
        Ok(due)
    }

    /// How many rows are set aside, and how many have no key to be set aside by.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn quarantined(&self) -> Result<u64> {
        let sql = "SELECT count(*) FROM dual_quarantine WHERE name = ?1";
        let mut all = 0;
        for local in self.tables() {
            let count = self
                .connection()
                .prepare_cached(sql)
                .and_then(|mut look| look.query_row([local.table.name()], |row| row.get(0)));
            let count: i64 = count.map_err(|cause| failed(OPERATION, cause))?;
            all += u64::try_from(count).unwrap_or(0);
        }
        Ok(all + self.keyless()?.len() as u64)
    }

    /// The rows whose key is none that can go over, as table and surrogate, or rowid where there is none of
    /// the one and there are the other: capture has no name for them and nothing can be exchanged about
    /// them, so they are no entries but looked for. Found by an index of them alone.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn keyless(&self) -> Result<Vec<(usize, Option<i64>)>> {
        let wrap = |cause| failed(OPERATION, cause);
        let mut found = Vec::new();
        for (at, local) in self.tables().iter().enumerate() {
            let (target, keyless) = (&local.layout.target, local.layout.keyless());
            let numbered = |by: &str| {
                let sql = format!("SELECT {by} FROM {target} WHERE {keyless}");
                self.connection().prepare_cached(&sql)
            };
            let look = match local.layout.surrogate.as_deref() {
                Some(surrogate) => numbered(surrogate),
                // The table may be WITHOUT ROWID.
                None => numbered("_rowid_").or_else(|_| numbered("NULL")),
            };
            let mut look = look.map_err(wrap)?;
            let rows = look.query_map([], |row| Ok(row.get_ref(0)?.as_i64().ok())).map_err(wrap)?;
            for surrogate in rows {
                found.push((at, surrogate.map_err(wrap)?));
            }
        }
        Ok(found)
    }

    /// The quarantine, the oldest first. Rows of tables that are no longer declared are left out.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn quarantine(&self) -> Result<Vec<Quarantined>> {
        self.set_aside_rows("ORDER BY since, name, key", &[])
    }

    /// What is set aside of one row.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn aside(&self, id: &RowId) -> Result<Vec<Quarantined>> {
        let name = self.local(id.table)?.table.name();
        self.set_aside_rows("WHERE name = ?1 AND key = ?2", &[&name, &id.key])
    }

    /// Whether the row has a whole number in that column.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn has_whole(&self, id: &RowId, column: &Column) -> Result<bool> {
        let layout = &self.local(id.table)?.layout;
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {} WHERE {} AND typeof({}) = 'integer')",
            layout.target,
            layout.key.is("", "=", 1),
            column.quoted(Dialect::Sqlite),
        );
        self.connection()
            .prepare_cached(&sql)
            .and_then(|mut look| look.query_row([&id.key], |row| row.get(0)))
            .map_err(|cause| failed(OPERATION, cause))
    }

    fn set_aside_rows(&self, which: &str, values: &[&dyn ToSql]) -> Result<Vec<Quarantined>> {
        let sql = format!(
            "SELECT name, key, refused_by, code, reason, since, retry FROM dual_quarantine {which}"
        );
        let wrap = |cause| failed(OPERATION, cause);
        let mut look = self.connection().prepare_cached(&sql).map_err(wrap)?;
        let rows = look
            .query_map(values, |row| {
                let (name, by): (String, String) = (row.get(0)?, row.get(2)?);
                let Some(table) = self.position(&name) else { return Ok(None) };
                Ok(Some(Quarantined {
                    id: RowId { table, key: row.get(1)? },
                    refused_by: if by == side(Side::Sqlite) {
                        Side::Sqlite
                    } else {
                        Side::Postgres
                    },
                    code: row.get(3)?,
                    reason: row.get(4)?,
                    since_ms: row.get(5)?,
                    retry_ms: row.get(6)?,
                }))
            })
            .map_err(wrap)?;
        rows.filter_map(Result::transpose).collect::<rusqlite::Result<_>>().map_err(wrap)
    }
}
