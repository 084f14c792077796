//! Columns that a side has got since its table was joined.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::survey;
use crate::error::Result;
use crate::schema::{Relation, Table};
use crate::store::postgres::primary::Primary;
use crate::store::postgres::relations;
use crate::store::sqlite;

/// What PostgreSQL has of its tables, wherever the search path leads, in the session's transaction.
///
/// # Errors
/// As for [`crate::store::postgres::Session::query`].
pub(crate) async fn remote_columns(primary: &Primary<'_>) -> Result<Vec<Relation>> {
    let targets: BTreeSet<(String, String)> = primary.targets().await?.into_iter().collect();
    let schemas: BTreeSet<&str> = targets.iter().map(|(schema, _)| schema.as_str()).collect();
    let mut found = Vec::new();
    for schema in schemas {
        let relations = relations(primary.session, Some(schema)).await?;
        let is_target =
            |one: &Relation| targets.contains(&(schema.to_owned(), one.name.to_string()));
        found.extend(relations.into_iter().filter(is_target));
    }
    Ok(found)
}

/// Those of these tables that have got columns, with as many of them as need nobody's word: what is NULL, or a
/// constant, where nothing is said of it. PostgreSQL has `remote` of them.
///
/// # Errors
/// Those of reading the file.
pub(crate) fn grown(
    connection: &Connection,
    tables: &[Table],
    remote: &[Relation],
) -> Result<Vec<Table>> {
    // Only values of which nothing else tells the type are looked at.
    let is_known = |name: &str, column: &str| {
        let declared = tables.iter().find(|table| table.name().eq_ignore_ascii_case(name));
        let there = remote.iter().find(|relation| relation.name.eq_ignore_ascii_case(name));
        declared.is_none_or(|table| table.column_in_file(column).is_some())
            || there.is_some_and(|relation| relation.column(column).is_some())
    };
    let here = sqlite::relations(connection, is_known)?;
    Ok(survey::grown(tables, remote, &here))
}
