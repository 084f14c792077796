//! Columns of the file's tables that refer to the numbers of one of ours. Where another number takes
//! the place of one, they go along: the file's own foreign keys are not enforced here, and
//! nothing else would move them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use rusqlite::types::Value as Stored;

use super::super::capture::RegisterColumns;
use super::super::failed;
use super::{Content, LocalTable};
use crate::Result;
use crate::schema::{Column, Dialect, Key, quoted};
use crate::stamp::Stamp;

const OPERATION: &str = "move references in the SQLite file";

/// What refers to a table's numbers, for the version of the file's schema for which it was looked up.
#[derive(Debug, Default)]
pub(super) struct References(Mutex<Option<(i64, Vec<Reference>)>>);

/// A column that refers to the numbers of a table, or to a column that does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reference {
    table: String,
    column: String,
}

impl Content<'_> {
    /// Lets everything that is declared to refer to that number refer to the other one. Writes to
    /// a tracked table are captured, and arrive at PostgreSQL.
    pub(super) fn move_references(&self, table: usize, from: i64, to: i64) -> Result<()> {
        for Reference { table, column } in self.references(self.local(table)?)? {
            let (table, column) = (quoted(&table), quoted(&column));
            let sql = format!("UPDATE OR ABORT {table} SET {column} = ?2 WHERE {column} = ?1");
            self.execute(OPERATION, &sql, &[&from, &to])?;
        }
        Ok(())
    }

    /// The same of what was set here and is pending. What has come from PostgreSQL, or has arrived
    /// there, means the row that has the number there.
    pub(super) fn move_pending_references(
        &self,
        table: usize,
        from: &Stored,
        to: &Stored,
    ) -> Result<()> {
        for Reference { table, column } in self.references(self.local(table)?)? {
            // Its foreign keys say these names as whoever wrote them did.
            let is_it = |local: &&LocalTable| local.table.name().eq_ignore_ascii_case(&table);
            let child = self.tables().iter().find(is_it);
            let is_pending = match child {
                Some(child) => format!(" AND {}", child.is_pending_in(&column)),
                None => String::new(),
            };
            let name = quoted(&column);
            let sql = format!(
                "UPDATE OR ABORT {} SET {name} = ?2 WHERE {name} = ?1{is_pending}",
                quoted(&table)
            );
            let adopted = match child {
                Some(child) => self.adopted_with(child, &column, from)?,
                None => Vec::new(),
            };
            self.execute(OPERATION, &sql, &[from, to])?;
            if let Some(child) = child {
                self.adopt_again(child, &column, &adopted)?;
            }
            // Of a row that has changed its key nothing is left under the old one: nobody has heard of
            // it.
            let keyed = child.and_then(|child| Some((child, child.own_key_column(&column)?)));
            if let Some((child, own)) = keyed {
                let sql = format!(
                    "DELETE FROM {} WHERE live = 0 AND live_base = 0 AND {own} = ?1",
                    child.layout.sidecar
                );
                self.execute(OPERATION, &sql, &[from])?;
            }
        }
        Ok(())
    }

    /// The rows of a child that were there before anybody looked, and have that value in the column, with the stamps
    /// of it: to move is to say the same in other words.
    fn adopted_with(
        &self,
        child: &LocalTable,
        column: &str,
        value: &Stored,
    ) -> Result<Vec<(Key, i64)>> {
        let wrap = |cause| failed(OPERATION, cause);
        let (layout, name) = (&child.layout, quoted(column));
        let Some(register) = child.register_of(&name) else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT {}, coalesce(s.{stamp}, s.stamp) FROM {} AS s JOIN {} AS u ON {} \
             WHERE u.{name} = ?1 AND s.live = 1 AND coalesce(s.{stamp}, s.stamp) <= {}",
            layout.own_key.given("s"),
            layout.sidecar,
            layout.target,
            layout.is_of("s"),
            Stamp::ADOPTED_PREFERRED.raw(),
            stamp = register.stamp,
        );
        let mut look = self.connection().prepare_cached(&sql).map_err(wrap)?;
        look.query_map([value], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .map_err(wrap)
    }

    fn adopt_again(&self, child: &LocalTable, column: &str, rows: &[(Key, i64)]) -> Result<()> {
        let (layout, name) = (&child.layout, quoted(column));
        let Some(register) = child.register_of(&name) else { return Ok(()) };
        let sql = format!(
            "UPDATE {} SET {} = ?2 WHERE {}",
            layout.sidecar,
            register.stamp,
            layout.own_key.is("", "=", 1)
        );
        for (key, stamp) in rows {
            self.execute(OPERATION, &sql, &[key, stamp])?;
        }
        Ok(())
    }

    fn references(&self, local: &LocalTable) -> Result<Vec<Reference>> {
        let wrap = |cause| failed(OPERATION, cause);
        let version = "SELECT schema_version FROM pragma_schema_version";
        let version: i64 = self
            .connection()
            .prepare_cached(version)
            .and_then(|mut look| look.query_row([], |row| row.get(0)))
            .map_err(wrap)?;
        let mut known = local.references.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, references)) = &*known
            && *of == version
        {
            return Ok(references.clone());
        }
        let Some(numbered) = local.table.numbered() else { return Ok(Vec::new()) };
        let root = Reference {
            table: local.table.name().to_owned(),
            column: numbered.name_in(Dialect::Sqlite).to_string(),
        };
        let (mut found, mut left) = (BTreeSet::new(), vec![root]);
        // What refers to a column that refers to it has the same number.
        while let Some(next) = left.pop() {
            for reference in self.refer_to(&next)? {
                if found.insert(reference.clone()) {
                    left.push(reference);
                }
            }
        }
        let references: Vec<Reference> = found.into_iter().collect();
        *known = Some((version, references.clone()));
        Ok(references)
    }

    fn refer_to(&self, to: &Reference) -> Result<Vec<Reference>> {
        let wrap = |cause| failed(OPERATION, cause);
        // Without a column a foreign key refers to the primary one.
        let sql = "SELECT DISTINCT m.name, f.\"from\" \
             FROM sqlite_schema AS m, pragma_foreign_key_list(m.name) AS f \
             WHERE m.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE \
               AND (f.\"to\" = ?2 COLLATE NOCASE OR f.\"to\" IS NULL AND ?2 COLLATE NOCASE IN \
                 (SELECT name FROM pragma_table_info(?1) WHERE pk = f.seq + 1))";
        let mut look = self.connection().prepare(sql).map_err(wrap)?;
        look.query_map((&to.table, &to.column), |row| {
            Ok(Reference { table: row.get(0)?, column: row.get(1)? })
        })
        .and_then(Iterator::collect::<rusqlite::Result<Vec<Reference>>>)
        .map_err(wrap)
    }
}

impl LocalTable {
    /// What is so of a row of the table whose value of that column is pending; also if the sidecar does not
    /// know it.
    fn is_pending_in(&self, column: &str) -> String {
        let quoted = quoted(column);
        let base = self.register_of(&quoted).map_or("live_base", |register| &register.base);
        format!(
            "NOT EXISTS (SELECT 1 FROM {} AS s WHERE {} AND s.{base} IS NULL)",
            self.layout.sidecar,
            self.layout.tells_of(&self.layout.target),
        )
    }

    /// What the sidecar keeps of a column of that quoted name.
    fn register_of(&self, quoted: &str) -> Option<&RegisterColumns> {
        self.layout.registers.iter().find(|r| r.column.eq_ignore_ascii_case(quoted))
    }

    /// The sidecar's name of a column of the key.
    fn own_key_column(&self, column: &str) -> Option<String> {
        let is_it = |key: &Column| key.name_in(Dialect::Sqlite).eq_ignore_ascii_case(column);
        let at = self.table.key_columns().position(is_it)?;
        Some(if at == 0 { "key".to_owned() } else { format!("key{}", at + 1) })
    }
}
