//! What a SQLite file has of a declared table.

use rusqlite::{Connection, OptionalExtension};

use super::failed;
use crate::error::Result;
use crate::schema::{Column, Table, quoted};

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

impl FoundColumn {
    /// What there is of a declared column: that of its name, or else of a name that it had.
    pub(crate) fn of<'a>(column: &Column, columns: &'a [FoundColumn]) -> Option<&'a FoundColumn> {
        let mut names = std::iter::once(&column.name).chain(column.was.iter().rev());
        names.find_map(|name| FoundColumn::named(name, columns))
    }

    /// The one of that name.
    pub(super) fn named<'a>(name: &str, columns: &'a [FoundColumn]) -> Option<&'a FoundColumn> {
        columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }
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
        let key: Vec<&str> = table.key_columns().map(|column| &*column.name).collect();
        let has = |name: &&str| columns.iter().any(|found| found.name.eq_ignore_ascii_case(name));
        let mut key_is_unique = false;
        let mut bad_keys = 0;
        if key.iter().all(has) {
            key_is_unique = key_is_primary(connection, schema, table).map_err(wrap)?
                || key_is_indexed(connection, schema, table).map_err(wrap)?;
            if !key_is_unique {
                let names: Vec<String> = key.iter().map(|name| quoted(name)).collect();
                let name = quoted(table.name());
                let sql = format!(
                    "SELECT (SELECT count(*) FROM {schema}.{name}) - count(*) FROM \
                     (SELECT DISTINCT {} FROM {schema}.{name} WHERE {} IS NOT NULL)",
                    names.join(", "),
                    names.join(" IS NOT NULL AND "),
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
    Ok(is_key(table, &primary))
}

/// These are the columns of the key, in any order.
fn is_key(table: &Table, columns: &[String]) -> bool {
    let is_one = |key: &Column| columns.iter().any(|column| column.eq_ignore_ascii_case(&key.name));
    columns.len() == table.key_columns().count() && table.key_columns().all(is_one)
}

fn key_is_indexed(connection: &Connection, schema: &str, table: &Table) -> rusqlite::Result<bool> {
    let indexes: Vec<String> = connection
        .prepare(
            "SELECT name FROM pragma_index_list(?1, ?2) AS list \
             WHERE list.\"unique\" AND NOT list.partial",
        )?
        .query_map([table.name(), schema], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut look = connection.prepare("SELECT name FROM pragma_index_info(?1, ?2)")?;
    for index in indexes {
        // An expression has no name.
        let columns: Vec<Option<String>> = look
            .query_map([index.as_str(), schema], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        let columns: Option<Vec<String>> = columns.into_iter().collect();
        if columns.is_some_and(|columns| is_key(table, &columns)) {
            return Ok(true);
        }
    }
    Ok(false)
}
