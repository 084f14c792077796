//! How a table that is already in the file becomes the declared one: by additions only.

use rusqlite::Connection;

use super::catalog::{FoundColumn, FoundRelation};
use super::failed;
use crate::error::{Error, Kind, Result, Store};
use crate::protocol::Addition;
use crate::schema::{Column, Dialect, Role, Table, literal, quoted};

/// What has to be added before the file can hold the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adoption {
    /// The additions, in order.
    pub steps: Vec<Addition>,
}

impl Adoption {
    /// The SQL by which a row `u` of the found table reads in `column` once it is adopted: the
    /// column itself, or what an added column starts with.
    #[must_use]
    pub fn reads_as(column: &Column, columns: &[FoundColumn]) -> String {
        if find(columns, &column.name).is_some() {
            format!("u.{}", quoted(&column.name))
        } else if let Some(old) = former(column, columns) {
            read_from(column, &format!("u.{}", quoted(&old.name))).0
        } else {
            column.default.as_ref().map_or("NULL".into(), |value| literal(value, Dialect::Sqlite))
        }
    }

    /// Compares what was found in that schema of the connection with the declaration.
    ///
    /// # Errors
    /// [`Kind::Schema`] if the table cannot become the declared one by additions, with every
    /// obstacle in one message.
    pub fn plan(schema: &str, table: &Table, found: &FoundRelation) -> Result<Adoption> {
        let name = quoted(table.name());
        match found {
            FoundRelation::Nothing => Ok(Adoption {
                steps: vec![Addition::new(
                    format!("create table {}", table.name()),
                    table.create_statement(Dialect::Sqlite, &format!("{schema}.{name}")),
                )],
            }),
            FoundRelation::NotATable => {
                Err(refused(table, &["it is a view or a virtual table".into()]))
            }
            FoundRelation::Table { columns, key_is_unique, bad_keys } => {
                let obstacles = obstacles(table, columns, *key_is_unique, *bad_keys);
                if obstacles.is_empty() {
                    Ok(Adoption { steps: additions(schema, table, columns, *key_is_unique) })
                } else {
                    Err(refused(table, &obstacles))
                }
            }
        }
    }
}

/// Brings timestamps that other programs wrote (`2025-01-01T10:00:00+00:00`) into the canonical
/// form, because both sides compare and order them as text; what is no timestamp stays. Returns
/// what was done.
///
/// # Errors
/// Those of [`failed`].
pub fn rewrite_timestamps(
    connection: &Connection,
    schema: &str,
    table: &Table,
) -> Result<Vec<String>> {
    let operation = "rewrite old timestamps";
    let wrap = |cause| failed(operation, cause);
    let mut done = Vec::new();
    let name = quoted(table.name());
    for column in table.columns() {
        let column_name = quoted(&column.name);
        let Some(tidied) = column.kind.description().tidied(&column_name) else { continue };
        let rows = connection
            .execute(
                &format!(
                    "UPDATE {schema}.{name} SET {column_name} = {tidied} \
                     WHERE typeof({column_name}) = 'text' \
                       AND {tidied} <> {column_name}"
                ),
                [],
            )
            .map_err(wrap)?;
        if rows > 0 {
            done.push(format!(
                "write {rows} dates of {}.{} in the canonical form",
                table.name(),
                column.name
            ));
        }
    }
    Ok(done)
}

fn refused(table: &Table, obstacles: &[String]) -> Error {
    Error::new(
        Kind::Schema(Store::Sqlite),
        "compare the SQLite schema",
        format!("table {} cannot be used: {}", table.name(), obstacles.join("; ")),
    )
    .with_hint(
        "nothing was changed; rename the old table, mend the columns named, or have the table \
         replaced with --recreate-tables",
    )
}

/// The file's column of a former name.
fn former<'a>(column: &Column, columns: &'a [FoundColumn]) -> Option<&'a FoundColumn> {
    find(columns, column.formerly.as_deref()?)
}

/// The value that the column gets from its former one, and where that has any.
fn read_from(column: &Column, former: &str) -> (String, String) {
    match column.kind.description().tidied(former) {
        Some(tidied) => (tidied, format!("typeof({former}) = 'text'")),
        None => (former.to_owned(), format!("{former} IS NOT NULL")),
    }
}

fn find<'a>(columns: &'a [FoundColumn], name: &str) -> Option<&'a FoundColumn> {
    columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
}

fn obstacles(
    table: &Table,
    columns: &[FoundColumn],
    key_is_unique: bool,
    bad_keys: i64,
) -> Vec<String> {
    let mut obstacles = Vec::new();
    for column in table.columns() {
        match find(columns, &column.name) {
            None if column.role == Role::Key => {
                obstacles.push(format!("it has no column {}", column.name));
            }
            None => {}
            Some(found) if found.generated => {
                obstacles.push(format!("column {} is computed", column.name));
            }
            Some(found) if !column.kind.fits(&found.declared) => {
                obstacles.push(format!(
                    "column {} is declared {}, which changes values of type {}",
                    column.name,
                    if found.declared.is_empty() { "without a type" } else { &found.declared },
                    column.kind.sql(Dialect::Sqlite),
                ));
            }
            Some(_) => {}
        }
    }
    for extra in columns {
        if extra.must_be_given
            && table.columns().iter().all(|c| !c.name.eq_ignore_ascii_case(&extra.name))
        {
            obstacles.push(format!("column {} is NOT NULL and has no default", extra.name));
        }
    }
    if !key_is_unique && bad_keys > 0 {
        obstacles.push(format!(
            "{bad_keys} rows have a {} that is NULL or not unique",
            table.key_name()
        ));
    }
    obstacles
}

fn additions(
    schema: &str,
    table: &Table,
    columns: &[FoundColumn],
    key_is_unique: bool,
) -> Vec<Addition> {
    let name = format!("{schema}.{}", quoted(table.name()));
    let missing = |column: &&Column| find(columns, &column.name).is_none();
    let mut steps: Vec<Addition> = table
        .columns()
        .iter()
        .filter(missing)
        .map(|column| {
            Addition::new(
                format!("add column {}.{}", table.name(), column.name),
                format!(
                    "ALTER TABLE {name} ADD COLUMN {}",
                    column.added_definition(Dialect::Sqlite)
                ),
            )
        })
        .collect();
    let renewed = table.columns().iter().filter(missing);
    for (column, old) in renewed.filter_map(|column| Some((column, former(column, columns)?))) {
        // The old column stays as it is, for the old program and for what is no date in it.
        let (value, condition) = read_from(column, &quoted(&old.name));
        steps.push(Addition::new(
            format!("fill {}.{} from {}", table.name(), column.name, old.name),
            format!("UPDATE {name} SET {} = {value} WHERE {condition}", quoted(&column.name)),
        ));
    }
    if !key_is_unique {
        let key = |each: fn(&str) -> String, joined: &str| {
            let columns = table.key_columns().map(|(_, column)| each(&column.name));
            columns.collect::<Vec<_>>().join(joined)
        };
        steps.push(Addition::new(
            format!("make {}.{} unique", table.name(), table.key_name()),
            format!(
                "CREATE UNIQUE INDEX {schema}.{} ON {} ({})",
                quoted(&format!("{}_{}_unique", table.name(), key(str::to_owned, "_"))),
                quoted(table.name()),
                key(quoted, ", "),
            ),
        ));
    }
    steps
}
