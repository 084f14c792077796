//! Which tables a file has, before anything is declared of them.

use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::{failed, readable};
use crate::Result;
use crate::schema::{
    Evidence, Inferred, Relation, RelationColumn, RelationKey, RelationSort, constant, inferred,
    quoted,
};

const OPERATION: &str = "look for tables in the SQLite file";

/// The relations of the file; neither SQLite's own nor ours, nor what stands behind a virtual table. The values
/// of a column of whose type `is_known` (table and column) knows are not looked at.
///
/// # Errors
/// Those of [`failed`].
pub(crate) fn relations(
    connection: &Connection,
    is_known: impl Fn(&str, &str) -> bool,
) -> Result<Vec<Relation>> {
    let wrap = |cause| failed(OPERATION, cause);
    let mut look = connection
        .prepare(
            "SELECT name, type FROM pragma_table_list WHERE schema = 'main' AND type <> 'shadow' \
             AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'dual\\_%' ESCAPE '\\' \
             ORDER BY name",
        )
        .map_err(wrap)?;
    let named = look.query_map([], |row| Ok((readable(row, 0)?, readable(row, 1)?)));
    let named: Vec<(String, String)> = named.and_then(Iterator::collect).map_err(wrap)?;
    named.iter().map(|(name, sort)| relation(connection, name, sort, &is_known)).collect()
}

fn relation(
    connection: &Connection,
    name: &str,
    sort: &str,
    is_known: &impl Fn(&str, &str) -> bool,
) -> Result<Relation> {
    let wrap = |cause| failed(OPERATION, cause).about(name);
    let sort = match sort {
        "view" => RelationSort::View,
        "virtual" => RelationSort::Foreign,
        _ => RelationSort::Table,
    };
    let (columns, keys, references) = (Vec::new(), Vec::new(), Vec::new());
    let mut relation = Relation { name: name.into(), sort, columns, keys, references };
    if sort != RelationSort::Table {
        return Ok(relation);
    }
    let mut primary: Vec<(i64, Arc<str>)> = Vec::new();
    let mut look = connection
        .prepare(
            "SELECT name, type, \"notnull\", dflt_value, pk, hidden \
             FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid",
        )
        .map_err(wrap)?;
    let mut rows = look.query([name]).map_err(wrap)?;
    while let Some(row) = rows.next().map_err(wrap)? {
        let column: Arc<str> = readable(row, 0).map_err(wrap)?.into();
        let declared = readable(row, 1).map_err(wrap)?;
        let place: i64 = row.get(4).map_err(wrap)?;
        if place > 0 {
            primary.push((place, Arc::clone(&column)));
        }
        let generated = row.get::<_, i64>(5).map_err(wrap)? > 1;
        // What cannot be read is told when the rows are looked at.
        let judged = match generated || is_known(name, &column) {
            true => inferred(&declared, &Evidence::default()),
            false => judge(connection, name, &column, &declared)
                .unwrap_or_else(|_| inferred(&declared, &Evidence::default())),
        };
        let default: Option<String> = row.get(3).map_err(wrap)?;
        let default = default.as_deref().and_then(|text| constant(text, &judged.kind));
        relation.columns.push(RelationColumn {
            default,
            name: column,
            declared,
            kind: Some(judged.kind),
            in_binary: None,
            evidence: Some(match judged.is_kept {
                true => judged.why,
                false => {
                    format!("{}; SQLite makes a number of what looks like one there", judged.why)
                }
            }),
            not_null: place > 0 || row.get(2).map_err(wrap)?,
            generated,
            numbered: false,
        });
    }
    relation.references = referred(connection, name).map_err(wrap)?;
    primary.sort();
    if let [(_, only)] = primary.as_slice()
        && is_autoincrement(connection, name).map_err(wrap)?
        && let Some(column) = relation.columns.iter_mut().find(|found| found.name == *only)
    {
        column.numbered = true;
    }
    let columns: Vec<Arc<str>> = primary.into_iter().map(|(_, column)| column).collect();
    if !columns.is_empty() {
        relation.keys.push(RelationKey { columns, primary: true });
    }
    for columns in unique(connection, name).map_err(wrap)? {
        let never_null = |name: &Arc<str>| relation.column(name).is_some_and(|c| c.not_null);
        let known = relation.keys.iter().any(|key| key.columns == columns);
        if !known && columns.iter().all(never_null) {
            relation.keys.push(RelationKey { columns, primary: false });
        }
    }
    Ok(relation)
}

/// The other tables that its foreign keys refer to.
fn referred(connection: &Connection, name: &str) -> rusqlite::Result<Vec<Arc<str>>> {
    let mut look = connection.prepare(
        "SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(?1) \
         WHERE \"table\" <> ?1 COLLATE NOCASE ORDER BY 1",
    )?;
    let found = look.query_map([name], |row| readable(row, 0))?;
    found.map(|one| one.map(Arc::from)).collect()
}

/// Whether SQLite never gives a number of the primary key twice: the word can stand nowhere else.
fn is_autoincrement(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    let sql: String = connection.query_row(
        "SELECT coalesce(sql, '') FROM sqlite_schema WHERE type = 'table' AND name = ?1",
        [name],
        |row| readable(row, 0),
    )?;
    Ok(sql.to_ascii_uppercase().contains("AUTOINCREMENT"))
}

/// The columns of each whole unique index.
fn unique(connection: &Connection, name: &str) -> rusqlite::Result<Vec<Vec<Arc<str>>>> {
    let mut look = connection.prepare(
        "SELECT name FROM pragma_index_list(?1) WHERE \"unique\" AND NOT partial ORDER BY seq DESC",
    )?;
    let indexes: Vec<String> =
        look.query_map([name], |row| readable(row, 0))?.collect::<rusqlite::Result<_>>()?;
    let mut look = connection.prepare(
        "SELECT name FROM pragma_index_xinfo(?1) WHERE key AND cid >= -2 ORDER BY seqno",
    )?;
    let mut found = Vec::new();
    for index in indexes {
        let columns = look.query_map([index], |row| row.get::<_, Option<String>>(0))?;
        let columns: Vec<Option<String>> = columns.collect::<rusqlite::Result<_>>()?;
        // Over an expression, one has no name.
        if let Some(columns) = columns.into_iter().map(|name| name.map(Arc::from)).collect() {
            found.push(columns);
        }
    }
    Ok(found)
}

/// What a column of the file is, by its declaration and by the values that are there: SQLite keeps any
/// value in any column.
fn judge(
    connection: &Connection,
    table: &str,
    column: &str,
    declared: &str,
) -> rusqlite::Result<Inferred> {
    let sql = format!(
        "SELECT {column} FROM {table} WHERE {column} IS NOT NULL",
        column = quoted(column),
        table = quoted(table)
    );
    let mut evidence = Evidence::default();
    let mut look = connection.prepare(&sql)?;
    let mut rows = look.query([])?;
    while let Some(row) = rows.next()? {
        match row.get_ref(0)? {
            ValueRef::Null => {}
            ValueRef::Integer(number) => evidence.integer(number),
            ValueRef::Real(number) => evidence.real(number),
            ValueRef::Text(bytes) => evidence.text(bytes),
            ValueRef::Blob(_) => evidence.blob(),
        }
    }
    Ok(inferred(declared, &evidence))
}
