//! How a table that is already in the file becomes the declared one: by additions only.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::capture::Layout;
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
        if let Some(found) = FoundColumn::of(column, columns) {
            format!("u.{}", quoted(&found.name))
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
        Adoption::with(schema, table, found, false)
    }

    /// The same; columns that are declared in a way that changes values of their type are made anew, at the end of
    /// the table, without constraints.
    ///
    /// # Errors
    /// As for [`Adoption::plan`].
    pub(crate) fn retyping(schema: &str, table: &Table, found: &FoundRelation) -> Result<Adoption> {
        Adoption::with(schema, table, found, true)
    }

    /// Whether columns that are there are changed, and not only others added.
    #[must_use]
    pub(crate) fn changes_columns(&self) -> bool {
        self.steps.iter().any(|step| step.sql.contains(" RENAME COLUMN "))
    }

    /// Tries the steps on a connection of their own, and takes them back.
    ///
    /// # Errors
    /// About the schema if something of the file is in the way; else those of [`failed`].
    pub(crate) fn try_out(&self, connection: &Connection, table: &Table) -> Result<()> {
        let operation = "try what is to be done in the SQLite file";
        let wrap = |cause| failed(operation, cause);
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
            .and_then(|_| connection.execute_batch("BEGIN IMMEDIATE"))
            .map_err(wrap)?;
        let sql = Layout::new(table).drop_triggers().join(";\n");
        let tried = connection.execute_batch(&sql).map_err(wrap);
        let tried =
            tried.and_then(|()| self.steps.iter().try_for_each(|step| step.run(connection, table)));
        // What ended the transaction by itself is what counts.
        let ended = connection.execute_batch("ROLLBACK").map_err(wrap);
        tried.and(ended)
    }

    fn with(schema: &str, table: &Table, found: &FoundRelation, retypes: bool) -> Result<Adoption> {
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
                let (mut obstacles, unfit) = obstacles(table, columns, *key_is_unique, *bad_keys);
                let mut retyped = Vec::new();
                for (column, what) in unfit {
                    match retypes && column.role == Role::Data {
                        true => retyped.push(retype(schema, table, column, columns)),
                        false => obstacles.push(what),
                    }
                }
                if obstacles.is_empty() {
                    let mut steps = additions(schema, table, columns, *key_is_unique);
                    steps.extend(retyped);
                    Ok(Adoption { steps })
                } else {
                    Err(refused(table, &obstacles))
                }
            }
        }
    }
}

impl Addition {
    /// Does it in the file.
    ///
    /// # Errors
    /// About the schema if something else of the file is in the way: a view, a trigger or an index that names what is
    /// to be changed, or what is not there any more; else those of [`failed`].
    pub(super) fn run(&self, connection: &Connection, table: &Table) -> Result<()> {
        let operation = "bring a table of the SQLite file to its form";
        connection.execute_batch(&self.sql).map_err(|cause| {
            let text = cause.to_string();
            let error = failed(operation, cause);
            match error.kind() {
                Kind::Unavailable(_) | Kind::NoSpace(_) => error,
                _ => {
                    let message = format!("table {}: cannot {}: {text}", table.name(), self.what);
                    Error::new(Kind::Schema(Store::Sqlite), operation, message)
                        .with_hint(
                            "a view, trigger, index or constraint of the file that names the column, or names \
                             something that is gone, is in the way: drop it, and make it anew afterwards",
                        )
                        .with_source(error)
                }
            }
        })
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
    FoundColumn::named(column.formerly.as_deref()?, columns)
}

/// A column of a name that this one had.
fn find_former<'a>(column: &Column, columns: &'a [FoundColumn]) -> Option<&'a FoundColumn> {
    column.was.iter().rev().find_map(|name| FoundColumn::named(name, columns))
}

/// The value that the column gets from its former one, and where that has any.
fn read_from(column: &Column, former: &str) -> (String, String) {
    match column.kind.description().tidied(former) {
        Some(tidied) => (tidied, format!("typeof({former}) = 'text'")),
        None => (former.to_owned(), format!("{former} IS NOT NULL")),
    }
}

/// What is in the way; and columns that are declared in a way that changes values of their type, each with that.
fn obstacles<'t>(
    table: &'t Table,
    columns: &[FoundColumn],
    key_is_unique: bool,
    bad_keys: i64,
) -> (Vec<String>, Vec<(&'t Column, String)>) {
    let (mut obstacles, mut unfit) = (Vec::new(), Vec::new());
    for column in table.columns() {
        match FoundColumn::of(column, columns) {
            Some(found)
                if find_former(column, columns).is_some_and(|other| other.name != found.name) =>
            {
                let old = find_former(column, columns).map_or("", |other| other.name.as_str());
                obstacles.push(format!(
                    "it has both {old} and {}, and the one was given the name of the other",
                    column.name
                ));
            }
            None if column.role == Role::Key => {
                obstacles.push(format!("it has no column {}", column.name));
            }
            None => {}
            Some(found) if found.generated => {
                obstacles.push(format!("column {} is computed", column.name));
            }
            Some(found) if !column.kind.fits(&found.declared) => {
                let declared =
                    if found.declared.is_empty() { "without a type" } else { &found.declared };
                let what = format!(
                    "column {} is declared {declared}, which changes values of type {}",
                    column.name,
                    column.kind.sql(Dialect::Sqlite),
                );
                unfit.push((column, what));
            }
            Some(_) => {}
        }
    }
    for extra in columns {
        let is_extra = |column: &Column| {
            FoundColumn::of(column, columns).is_none_or(|found| found.name != extra.name)
        };
        if extra.must_be_given && table.columns().iter().all(is_extra) {
            obstacles.push(format!("column {} is NOT NULL and has no default", extra.name));
        }
    }
    if !key_is_unique && bad_keys > 0 {
        obstacles.push(format!(
            "{bad_keys} rows have a {} that is NULL or not unique",
            table.key_name()
        ));
    }
    (obstacles, unfit)
}

/// Makes a column anew with its values, as its type keeps them. What of them is none of the type stays what it is,
/// and its row waits in quarantine.
fn retype(schema: &str, table: &Table, column: &Column, columns: &[FoundColumn]) -> Addition {
    let name = format!("{schema}.{}", quoted(table.name()));
    let mut anew = Column { name: "dual_anew".into(), ..column.clone() };
    while FoundColumn::named(&anew.name, columns).is_some() {
        anew.name = format!("{}_", anew.name).into();
    }
    let (own, other) = (quoted(&column.name), quoted(&anew.name));
    Addition::new(
        format!(
            "make column {}.{} anew as {}",
            table.name(),
            column.name,
            column.kind.sql(Dialect::Sqlite)
        ),
        format!(
            "ALTER TABLE {name} ADD COLUMN {};\nUPDATE {name} SET {other} = {own};\n\
             ALTER TABLE {name} DROP COLUMN {own};\nALTER TABLE {name} RENAME COLUMN {other} TO {own}",
            anew.added_definition(Dialect::Sqlite)
        ),
    )
}

fn additions(
    schema: &str,
    table: &Table,
    columns: &[FoundColumn],
    key_is_unique: bool,
) -> Vec<Addition> {
    let name = format!("{schema}.{}", quoted(table.name()));
    let missing = |column: &&Column| FoundColumn::of(column, columns).is_none();
    let renamed = table.columns().iter().filter_map(|column| {
        let found = FoundColumn::of(column, columns)?;
        (!found.name.eq_ignore_ascii_case(&column.name)).then_some((column, found))
    });
    let rename = |(column, found): (&Column, &FoundColumn)| {
        Addition::new(
            format!("rename column {}.{} to {}", table.name(), found.name, column.name),
            format!(
                "ALTER TABLE {name} RENAME COLUMN {} TO {}",
                quoted(&found.name),
                quoted(&column.name)
            ),
        )
    };
    let add = |column: &Column| {
        Addition::new(
            format!("add column {}.{}", table.name(), column.name),
            format!("ALTER TABLE {name} ADD COLUMN {}", column.added_definition(Dialect::Sqlite)),
        )
    };
    let added = table.columns().iter().filter(missing).map(add);
    let mut steps: Vec<Addition> = renamed.map(rename).chain(added).collect();
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
            let columns = table.key_columns().map(|column| each(&column.name));
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
