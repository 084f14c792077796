//! Which tables a file has, before anything is declared of them.

use std::sync::Arc;

use rusqlite::Connection;

use super::{failed, readable};
use crate::Result;
use crate::schema::{
    Affinity, LogicalType, Relation, RelationColumn, RelationKey, RelationSort, constant, quoted,
};

const OPERATION: &str = "look for tables in the SQLite file";

/// The relations of the file; neither SQLite's own nor ours, nor what stands behind a virtual table.
///
/// # Errors
/// Those of [`failed`].
pub(crate) fn relations(connection: &Connection) -> Result<Vec<Relation>> {
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
    named.iter().map(|(name, sort)| relation(connection, name, sort)).collect()
}

fn relation(connection: &Connection, name: &str, sort: &str) -> Result<Relation> {
    let wrap = |cause| failed(OPERATION, cause).about(name);
    let sort = match sort {
        "view" => RelationSort::View,
        "virtual" => RelationSort::Foreign,
        _ => RelationSort::Table,
    };
    let mut relation = Relation { name: name.into(), sort, columns: Vec::new(), keys: Vec::new() };
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
        let judged = judge(connection, name, &column, &declared).map_err(wrap)?;
        let default: Option<String> = row.get(3).map_err(wrap)?;
        let default = default.as_deref().zip(judged.kind);
        relation.columns.push(RelationColumn {
            default: default.and_then(|(text, kind)| constant(text, kind)),
            name: column,
            declared,
            kind: judged.kind,
            evidence: judged.evidence,
            not_null: place > 0 || row.get(2).map_err(wrap)?,
            generated,
        });
    }
    primary.sort();
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

struct Judged {
    kind: Option<LogicalType>,
    evidence: Option<String>,
}

/// What a column of the file is, by its declaration and by the values that are there: SQLite keeps any
/// value in any column.
fn judge(
    connection: &Connection,
    table: &str,
    column: &str,
    declared: &str,
) -> rusqlite::Result<Judged> {
    let (table, column) = (quoted(table), quoted(column));
    let counts: (i64, i64, i64, i64, i64) = connection.query_row(
        &format!(
            "SELECT count({column}), \
             count(CASE WHEN typeof({column}) = 'integer' THEN 1 END), \
             count(CASE WHEN typeof({column}) = 'integer' AND {column} IN (0, 1) THEN 1 END), \
             count(CASE WHEN typeof({column}) = 'text' THEN 1 END), \
             count(CASE WHEN typeof({column}) = 'text' AND dual_timestamp({column}) IS NOT NULL THEN 1 END) \
             FROM {table}"
        ),
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
    )?;
    let (all, integers, bits, texts, moments) = counts;
    let upper = declared.to_ascii_uppercase();
    let evidence =
        |count: i64, what: &str| (all > 0).then(|| format!("{count} of {all} values are {what}"));
    let judged = |kind, evidence| Ok(Judged { kind: Some(kind), evidence });
    if upper.contains("BOOL") && bits == all {
        return judged(LogicalType::Bool, evidence(bits, "0 or 1"));
    }
    if upper.contains("TIMESTAMP") || upper.contains("DATETIME") {
        return match moments == all {
            true => judged(LogicalType::Timestamp, evidence(moments, "timestamps")),
            false => judged(LogicalType::Text, evidence(moments, "timestamps")),
        };
    }
    match Affinity::of(declared) {
        Affinity::Integer if integers == all => judged(LogicalType::BigInt, None),
        Affinity::Text | Affinity::Blob if texts == all => judged(LogicalType::Text, None),
        Affinity::Numeric if all > 0 && texts == all => {
            judged(LogicalType::Text, evidence(texts, "texts"))
        }
        Affinity::Numeric if all > 0 && integers == all => {
            judged(LogicalType::BigInt, evidence(integers, "whole numbers"))
        }
        _ => Ok(Judged {
            kind: None,
            evidence: evidence(all - integers - texts, "neither whole numbers nor text"),
        }),
    }
}
