//! The statements of the load, generated from the declaration. Staged rows are `s`, the
//! store's rows `u`; `s.known` and its like have a bit for every column that the source knows.
//! On PostgreSQL they say everything by its full name: those that write are read under the user's
//! search path.

use std::sync::Arc;

use dual_database::schema::{Column, Dialect, Table, quoted};

use crate::columns::data_columns;
use crate::staging::{bit, masks};

/// An operator by its full name.
fn operator(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::Postgres => format!("OPERATOR(pg_catalog.{name})"),
        Dialect::Sqlite => name.to_owned(),
    }
}

/// The staged row's source knows the column.
pub(super) fn known(dialect: Dialect, table: &Table, position: usize) -> String {
    let (mask, bit) = bit(position);
    let masks = masks(table);
    let mask = masks.get(mask).map_or("known", String::as_str);
    let (and, differs) = (operator(dialect, "&"), operator(dialect, "<>"));
    format!("(s.{mask} {and} {bit}) {differs} 0")
}

/// The source knows the column and the store has something else in it.
fn changed(dialect: Dialect, table: &Table, position: usize, column: &Column) -> String {
    let name = quoted(&column.name);
    let differs = match dialect {
        Dialect::Postgres => {
            let equals = operator(dialect, "=");
            let both_null = format!("u.{name} IS NULL AND s.{name} IS NULL");
            format!("NOT coalesce(u.{name} {equals} s.{name}, {both_null})")
        }
        Dialect::Sqlite => format!("u.{name} IS NOT s.{name}"),
    };
    format!("({} AND {differs})", known(dialect, table, position))
}

fn any_changed(dialect: Dialect, table: &Table) -> String {
    let conditions: Vec<String> =
        data_columns(table).map(|(at, column)| changed(dialect, table, at, column)).collect();
    format!("({})", conditions.join("\n    OR "))
}

/// One row: staged rows that the store lacks, staged rows that would change, then for each
/// data column in its order how many rows change in it.
pub(super) fn counts(dialect: Dialect, table: &Table, store: &str, staged: &str) -> String {
    let key = quoted(&table.key().name);
    let columns: String = data_columns(table)
        .map(|(position, column)| {
            format!(
                ",\n  count(CASE WHEN u.{key} IS NOT NULL AND {} THEN 1 END)",
                changed(dialect, table, position, column)
            )
        })
        .collect();
    format!(
        "SELECT count(*) - count(u.{key}),\n  \
         count(CASE WHEN u.{key} IS NOT NULL AND {} THEN 1 END){columns}\n\
         FROM {staged} AS s LEFT JOIN {store} AS u ON u.{key} = s.{key}",
        any_changed(dialect, table),
    )
}

/// Writes what the source knows into rows that have something else; touches no other row.
pub(super) fn update(dialect: Dialect, table: &Table, store: &str, staged: &str) -> String {
    let key = quoted(&table.key().name);
    let columns: Vec<String> = data_columns(table)
        .map(|(position, column)| {
            let name = quoted(&column.name);
            format!(
                "{name} = CASE WHEN {} THEN s.{name} ELSE u.{name} END",
                known(dialect, table, position)
            )
        })
        .collect();
    format!(
        "UPDATE {store} AS u SET\n  {}\nFROM {staged} AS s\nWHERE u.{key} {} s.{key} AND {}",
        columns.join(",\n  "),
        operator(dialect, "="),
        any_changed(dialect, table),
    )
}

/// The names of the data columns, quoted, each behind `prefix`, separated by commas.
pub(super) fn data_names(table: &Table, prefix: &str) -> String {
    let columns: Vec<String> =
        table.data_columns().map(|column| format!("{prefix}{}", quoted(&column.name))).collect();
    columns.join(", ")
}

/// Inserts the rows that SQLite lacks, in the order of the sheet. What the source does not
/// know comes from the row that PostgreSQL has, if it has one. `mirrors` are pairs of a data
/// column and another column of the store that gets the same value; `within` is a further
/// condition.
pub(super) fn insert_sqlite(
    table: &Table,
    store: &str,
    mirrors: &[(Arc<str>, Arc<str>)],
    within: &str,
) -> String {
    let (key, id) = (quoted(&table.key().name), quoted(&super::number(table).name));
    let value = |position: usize, column: &Column| {
        let name = quoted(&column.name);
        format!(
            "CASE WHEN {} OR e.{key} IS NULL THEN s.{name} ELSE e.{name} END",
            known(Dialect::Sqlite, table, position)
        )
    };
    let mut columns = vec![data_names(table, "")];
    let mut values: Vec<String> =
        data_columns(table).map(|(position, column)| value(position, column)).collect();
    for (from, to) in mirrors {
        if let Some((position, column)) = data_columns(table).find(|(_, c)| c.name == *from) {
            columns.push(quoted(to));
            values.push(value(position, column));
        }
    }
    format!(
        "INSERT INTO {store} ({id}, {key}, {})\nSELECT i.id, s.{key},\n  {}\n\
         FROM staged AS s JOIN issued AS i ON i.{key} = s.{key}\n\
         LEFT JOIN elsewhere AS e ON e.{key} = s.{key}\n\
         WHERE NOT EXISTS (SELECT 1 FROM {store} AS u WHERE u.{key} = s.{key}){within}\nORDER BY s.row",
        columns.join(", "),
        values.join(",\n  "),
    )
}

/// Inserts the rows that PostgreSQL lacks, with the ids issued for them; `within` is a further
/// condition.
pub(super) fn insert_postgres(table: &Table, store: &str, within: &str) -> String {
    let (key, id) = (quoted(&table.key().name), quoted(&super::number(table).name));
    format!(
        "INSERT INTO {store} ({id}, {key}, {})\nOVERRIDING SYSTEM VALUE\n\
         SELECT i.id, s.{key}, {}\nFROM pg_temp.dual_staged AS s\n\
         JOIN pg_temp.dual_issued AS i ON i.{key} {} s.{key}\nWHERE i.fresh{within}\nORDER BY i.id",
        data_names(table, ""),
        data_names(table, "s."),
        operator(Dialect::Postgres, "="),
    )
}

#[cfg(test)]
mod tests {
    use dual_database::schema::users;

    use super::*;

    /// The statements are reviewed as text.
    #[test]
    fn statements_of_the_load() {
        let table = users();
        for (dialect, name, store, staged) in [
            (Dialect::Postgres, "postgres", "\"public\".\"users\"", "pg_temp.dual_staged"),
            (Dialect::Sqlite, "sqlite", "store.\"users\"", "staged"),
        ] {
            let insert = match dialect {
                Dialect::Postgres => insert_postgres(&table, store, ""),
                Dialect::Sqlite => insert_sqlite(&table, store, &[], ""),
            };
            let all = [
                counts(dialect, &table, store, staged),
                update(dialect, &table, store, staged),
                insert,
            ];
            insta::assert_snapshot!(name, all.join("\n\n"));
        }
    }
}
