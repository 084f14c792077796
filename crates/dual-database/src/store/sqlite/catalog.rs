//! What a SQLite file has of a declared table.

use rusqlite::{Connection, OptionalExtension};

use super::failed;
use crate::error::Result;
use crate::schema::{Table, quoted};

/// A column as the file has it.
#[derive(Clone, Debug)]
pub struct FoundColumn {
    /// Its name as declared.
    pub name: String,
    /// Its declared type.
    pub declared: String,
    /// `NOT NULL` without a default, and not filled by SQLite itself.
    pub must_be_given: bool,
    /// Computed by an expression; cannot be written.
    pub generated: bool,
}

/// What stands under the table's name.
#[derive(Clone, Debug)]
pub enum FoundRelation {
    /// Nothing.
    Nothing,
    /// A view or a virtual table, which cannot be kept.
    NotATable,
    /// A table.
    Table {
        /// Its columns, generated ones included.
        columns: Vec<FoundColumn>,
        /// Whether the declared key has a unique index of its own or is the primary key.
        key_is_unique: bool,
        /// How many keys occur more than once or are NULL.
        bad_keys: i64,
    },
}

impl FoundRelation {
    /// Reads the catalog of that schema of the connection: `main`, or the name under which the
    /// file is attached.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn read(connection: &Connection, schema: &str, table: &Table) -> Result<FoundRelation> {
        let operation = "read the SQLite schema";
        let wrap = |cause| failed(operation, cause);
        let kind: Option<(String, String)> = connection
            .query_row(
                &format!(
                    "SELECT type, coalesce(sql, '') FROM {schema}.sqlite_schema \
                     WHERE type IN ('table', 'view') AND name = ?1 COLLATE NOCASE"
                ),
                [table.name()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(wrap)?;
        match kind {
            None => return Ok(FoundRelation::Nothing),
            Some((kind, sql))
                if kind == "view" || sql.to_ascii_uppercase().starts_with("CREATE VIRTUAL") =>
            {
                return Ok(FoundRelation::NotATable);
            }
            Some(_) => {}
        }
        let columns = columns(connection, schema, table).map_err(wrap)?;
        let key = &table.key().name;
        let mut key_is_unique = false;
        let mut bad_keys = 0;
        if columns.iter().any(|column| column.name.eq_ignore_ascii_case(key)) {
            key_is_unique = key_is_primary(connection, schema, table).map_err(wrap)?
                || key_is_indexed(connection, schema, table).map_err(wrap)?;
            if !key_is_unique {
                let sql = format!(
                    "SELECT count(*) - count(DISTINCT {key}) FROM {schema}.{name}",
                    key = quoted(key),
                    name = quoted(table.name()),
                );
                bad_keys = connection.query_row(&sql, [], |row| row.get(0)).map_err(wrap)?;
            }
        }
        Ok(FoundRelation::Table { columns, key_is_unique, bad_keys })
    }
}

fn columns(
    connection: &Connection,
    schema: &str,
    table: &Table,
) -> rusqlite::Result<Vec<FoundColumn>> {
    connection
        .prepare(
            "SELECT name, type, \"notnull\" AND dflt_value IS NULL AND pk = 0, hidden IN (2, 3) \
             FROM pragma_table_xinfo(?1, ?2) WHERE hidden <> 1",
        )?
        .query_map([table.name(), schema], |row| {
            Ok(FoundColumn {
                name: row.get(0)?,
                declared: row.get(1)?,
                must_be_given: row.get(2)?,
                generated: row.get(3)?,
            })
        })?
        .collect()
}

fn key_is_primary(connection: &Connection, schema: &str, table: &Table) -> rusqlite::Result<bool> {
    let primary: Vec<String> = connection
        .prepare("SELECT name FROM pragma_table_info(?1, ?2) WHERE pk > 0")?
        .query_map([table.name(), schema], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(matches!(&primary[..], [only] if only.eq_ignore_ascii_case(&table.key().name)))
}

fn key_is_indexed(connection: &Connection, schema: &str, table: &Table) -> rusqlite::Result<bool> {
    connection
        .prepare(
            "SELECT 1 FROM pragma_index_list(?1, ?3) AS list \
             WHERE list.\"unique\" AND NOT list.partial \
               AND (SELECT count(*) FROM pragma_index_info(list.name, ?3)) = 1 \
               AND (SELECT name FROM pragma_index_info(list.name, ?3)) = ?2 COLLATE NOCASE",
        )?
        .exists((table.name(), &table.key().name, schema))
}
