//! The SQLite half of the load, on the connection that holds the staged rows.

use std::sync::Arc;

use dual_database::error::{Error, Kind, Result, Store};
use dual_database::schema::{Column, Dialect, Table, quoted};
use dual_database::store::sqlite::{
    Adoption, File, FoundRelation, SCHEMA, attach, failed, make, rewrite_timestamps,
};
use dual_database::value::Value;
use rusqlite::{Connection, OptionalExtension as _, params_from_iter};

use super::halves::Halves;
use super::{Mark, Refusal, StorePlan, sql};
use crate::staging::Staging;

const MARKS: &str = "store.dual_import_run";

/// What the file was found to have, after the table was adopted in the open transaction.
pub(crate) struct Compared {
    pub(crate) plan: StorePlan,
    /// The last run that the file knows of.
    pub(crate) mark: Option<String>,
    /// Rows that have another id than PostgreSQL's.
    pub(crate) renumbered: u64,
}

/// The open transaction in the SQLite file.
pub(crate) struct SqliteLoad<'a> {
    staging: &'a Staging,
}

impl<'a> SqliteLoad<'a> {
    /// Attaches the file; for a dry run of a file that does not exist, an empty database in
    /// memory, so that nothing is created.
    pub(crate) async fn attach(
        staging: &'a Staging,
        file: &File,
        dry_run: bool,
        busy: std::time::Duration,
    ) -> Result<()> {
        let operation = "open the SQLite file";
        let mut file = file.clone();
        if dry_run && !file.existed {
            file.path = ":memory:".into();
        }
        staging
            .owner
            .call(operation, move |connection| {
                if !dry_run && !file.existed {
                    make(&file.path, None)?;
                }
                attach(connection, &file, busy)
            })
            .await
    }

    /// Undoes what is not committed and closes the file, if it is open.
    pub(crate) async fn abandon(staging: &Staging) -> Result<()> {
        let operation = "close the SQLite file";
        staging
            .owner
            .call(operation, move |connection| {
                let wrap = |cause| failed(operation, cause);
                if !connection.is_autocommit() {
                    connection.execute_batch("ROLLBACK").map_err(wrap)?;
                }
                let attached = connection
                    .prepare("SELECT 1 FROM pragma_database_list WHERE name = 'store'")
                    .and_then(|mut statement| statement.exists([]))
                    .map_err(wrap)?;
                if attached {
                    connection.execute_batch("DETACH store").map_err(wrap)
                } else {
                    Ok(())
                }
            })
            .await
    }

    /// Which staged ids the file has no row for, for completing them from PostgreSQL.
    pub(crate) async fn lacking(
        staging: &Staging,
        above: Option<i64>,
        limit: u32,
    ) -> Result<Vec<i64>> {
        let operation = "compare with SQLite";
        let table = staging.table.clone();
        staging
            .owner
            .call(operation, move |connection| {
                let wrap = |cause| failed(operation, cause);
                let key = quoted(&table.key().name);
                let known = match FoundRelation::read(connection, SCHEMA, &table)? {
                    FoundRelation::Table { .. } => format!(
                        "AND NOT EXISTS (SELECT 1 FROM store.{} AS u WHERE u.{key} = i.{key})",
                        quoted(table.name())
                    ),
                    FoundRelation::Nothing | FoundRelation::NotATable => String::new(),
                };
                connection
                    .prepare(&format!(
                        "SELECT i.{key} FROM issued AS i WHERE NOT i.fresh {known} \
                         AND (?1 IS NULL OR i.{key} > ?1) ORDER BY i.{key} LIMIT ?2"
                    ))
                    .map_err(wrap)?
                    .query_map((above, limit), |row| row.get(0))
                    .map_err(wrap)?
                    .collect::<rusqlite::Result<_>>()
                    .map_err(wrap)
            })
            .await
    }

    /// Keeps rows of PostgreSQL from which rows that SQLite lacks are completed.
    pub(crate) async fn keep_elsewhere(staging: &Staging, rows: Vec<Vec<Value>>) -> Result<()> {
        let operation = "complete the rows that SQLite lacks";
        staging
            .owner
            .call(operation, move |connection| {
                let wrap = |cause| failed(operation, cause);
                let transaction = connection.transaction().map_err(wrap)?;
                for row in rows {
                    let places = vec!["?"; row.len()].join(", ");
                    transaction
                        .prepare_cached(&format!(
                            "INSERT OR REPLACE INTO elsewhere VALUES ({places})"
                        ))
                        .and_then(|mut insert| {
                            insert.execute(params_from_iter(
                                row.iter().map(dual_database::store::sqlite::to_sqlite),
                            ))
                        })
                        .map_err(wrap)?;
                }
                transaction.commit().map_err(wrap)
            })
            .await
    }

    /// Begins the transaction: takes the write lock, adopts or replaces the table, compares.
    pub(crate) async fn begin(
        staging: &'a Staging,
        recreate: bool,
    ) -> Result<(SqliteLoad<'a>, Compared)> {
        let operation = "compare with SQLite";
        let table = staging.table.clone();
        let compared = staging
            .owner
            .call(operation, move |connection| {
                connection
                    .execute_batch("BEGIN IMMEDIATE")
                    .map_err(|cause| failed("lock the SQLite file", cause))?;
                compare(connection, &table, recreate)
            })
            .await?;
        Ok((SqliteLoad { staging }, compared))
    }

    /// Gives ids to new rows while PostgreSQL is away: negative, to be replaced by those that
    /// PostgreSQL issues.
    pub(crate) async fn issue_provisional(&self) -> Result<()> {
        let operation = "number the new rows";
        let table = self.staging.table.clone();
        self.staging
            .owner
            .call(operation, move |connection| {
                let (key, id, name) = names(&table);
                connection
                    .execute_batch(&format!(
                        "DELETE FROM issued;
                         INSERT INTO issued ({key}, id, fresh)
                         SELECT s.{key},
                             (SELECT min(0, coalesce(min({id}), 0)) FROM {name}) - row_number() OVER (ORDER BY s.row),
                             1
                         FROM staged AS s
                         WHERE NOT EXISTS (SELECT 1 FROM {name} AS u WHERE u.{key} = s.{key})"
                    ))
                    .map_err(|cause| failed(operation, cause))
            })
            .await
    }

    /// Writes everything, and pushes it out to the disk as far as it goes before the commit,
    /// so that a full disk shows now and not after PostgreSQL has committed. Rows that the file
    /// refuses are returned; then nothing of this transaction may be committed.
    pub(crate) async fn write(&self, mark: Mark, plan: &StorePlan) -> Result<Vec<Refusal>> {
        let operation = "write to SQLite";
        let plan = plan.clone();
        let table = self.staging.table.clone();
        self.staging
            .owner
            .call(operation, move |connection| {
                let wrap = |cause| failed(operation, cause);
                take_over_ids(connection, &table).map_err(wrap)?;
                let range = write_range(connection, &table, (0, i64::MAX));
                let (updated, inserted) = match range {
                    Ok(written) => written,
                    Err(error) if error.is_invalid_data() => {
                        let refusals = find_refusals(connection, &table)?;
                        return if refusals.is_empty() { Err(error) } else { Ok(refusals) };
                    }
                    Err(error) => return Err(error),
                };
                let number = |count| u64::try_from(count).unwrap_or(u64::MAX);
                plan.check(Store::Sqlite, operation, number(updated), number(inserted))?;
                connection
                    .execute_batch(&format!(
                        "CREATE TABLE IF NOT EXISTS {MARKS} \
                         (run_id TEXT PRIMARY KEY, source TEXT NOT NULL)"
                    ))
                    .and_then(|()| {
                        connection.execute(
                            &format!("INSERT INTO {MARKS} (run_id, source) VALUES (?1, ?2)"),
                            (mark.run_id, mark.source),
                        )
                    })
                    .map_err(wrap)?;
                connection.cache_flush().map_err(wrap)?;
                Ok(Vec::new())
            })
            .await
    }

    /// Commits, then turns on write-ahead logging, which the file keeps from then on.
    pub(crate) async fn commit(self) -> Result<()> {
        let operation = "commit in SQLite";
        self.staging
            .owner
            .call(operation, move |connection| {
                connection.execute_batch("COMMIT").map_err(|cause| failed(operation, cause))?;
                // Another process may be reading; then the next run turns it on.
                if let Err(cause) =
                    connection.query_row("PRAGMA store.journal_mode = WAL", [], |_| Ok(()))
                {
                    tracing::info!(%cause, "write-ahead logging not turned on yet");
                }
                Ok(())
            })
            .await
    }

    /// Undoes everything.
    pub(crate) async fn rollback(self) -> Result<()> {
        let operation = "roll back in SQLite";
        self.staging
            .owner
            .call(operation, move |connection| {
                if connection.is_autocommit() {
                    return Ok(()); // SQLite has rolled back by itself, as on a full disk.
                }
                connection.execute_batch("ROLLBACK").map_err(|cause| failed(operation, cause))
            })
            .await
    }
}

/// Writes the staged rows between two rows of the source, both included.
fn write_range(
    connection: &Connection,
    table: &Table,
    range: (i64, i64),
) -> Result<(usize, usize)> {
    let wrap = |cause| failed("write to SQLite", cause);
    let name = names(table).2;
    let within = format!(" AND s.row BETWEEN {} AND {}", range.0, range.1);
    let update = sql::update(Dialect::Sqlite, table, &name, "staged") + &within;
    let updated = connection.execute(&update, []).map_err(wrap)?;
    let found = match FoundRelation::read(connection, SCHEMA, table)? {
        FoundRelation::Table { columns, .. } => columns,
        _ => Vec::new(),
    };
    let former = |column: &'_ Column| {
        let old = column.formerly.clone()?;
        found.iter().any(|there| there.name == *old).then(|| (column.name.clone(), old))
    };
    let mirrors: Vec<_> = table.columns().iter().filter_map(former).collect();
    let insert = sql::insert_sqlite(table, &name, &mirrors, &within);
    let inserted = connection.execute(&insert, []).map_err(wrap)?;
    Ok((updated, inserted))
}

/// Finds the refused rows by halves, as on PostgreSQL; the transaction has to be rolled back.
fn find_refusals(connection: &Connection, table: &Table) -> Result<Vec<Refusal>> {
    let wrap = |cause| failed("find the refused rows", cause);
    let bounds = "SELECT coalesce(min(row), 0), coalesce(max(row), 0) FROM staged";
    let all: (i64, i64) =
        connection.query_row(bounds, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(wrap)?;
    let (mut refusals, mut halves) = (Vec::new(), Halves::of(all));
    while let Some(range) = halves.next() {
        connection.execute_batch("SAVEPOINT dual_search").map_err(wrap)?;
        let error = match write_range(connection, table, range) {
            Ok(_) => {
                connection.execute_batch("RELEASE dual_search").map_err(wrap)?;
                continue;
            }
            Err(error) if error.is_invalid_data() => error,
            Err(error) => return Err(error),
        };
        connection.execute_batch("ROLLBACK TO dual_search; RELEASE dual_search").map_err(wrap)?;
        if let Some(row) = halves.refused(range) {
            Refusal::add(&mut refusals, Store::Sqlite, row, error)?;
        }
    }
    Ok(refusals)
}

/// The key, the surrogate and the store's table, quoted.
fn names(table: &Table) -> (String, String, String) {
    let key = quoted(&table.key().name);
    let id = quoted(&super::number(table).name);
    (key, id, format!("store.{}", quoted(table.name())))
}

fn compare(connection: &Connection, table: &Table, recreate: bool) -> Result<Compared> {
    let operation = "compare with SQLite";
    let wrap = |cause| failed(operation, cause);
    let mut found = FoundRelation::read(connection, SCHEMA, table)?;
    let name = names(table).2;
    let mut plan = StorePlan::default();
    if recreate && matches!(found, FoundRelation::Table { .. }) {
        if let Some(names) = referring_tables(connection, table, None)? {
            // PostgreSQL refuses this too; SQLite would first delete the rows, and with
            // `ON DELETE CASCADE` theirs as well.
            return Err(refused_by_keys(
                "replace the table",
                format!("foreign keys refer to table {}: {names}", table.name()),
                "nothing was changed; drop those tables first, or import without --recreate-tables",
            ));
        }
        connection.execute_batch(&format!("DROP TABLE {name}")).map_err(wrap)?;
        plan.schema.push(format!("drop table {}", table.name()));
        found = FoundRelation::Nothing;
    }
    for step in Adoption::plan(SCHEMA, table, &found)?.steps {
        connection.execute_batch(&step.sql).map_err(wrap)?;
        plan.schema.push(step.what);
    }
    plan.schema.extend(rewrite_timestamps(connection, SCHEMA, table)?);
    let staged: i64 =
        connection.query_row("SELECT count(*) FROM staged", [], |row| row.get(0)).map_err(wrap)?;
    connection
        .query_row(&sql::counts(Dialect::Sqlite, table, &name, "staged"), [], |row| {
            let number = |index| row.get::<_, i64>(index).map(|n| u64::try_from(n).unwrap_or(0));
            plan.inserted = number(0)?;
            plan.updated = number(1)?;
            for (index, column) in table.data_columns().enumerate() {
                let changes = number(index + 2)?;
                if changes > 0 {
                    plan.columns.insert(Arc::clone(&column.name), changes);
                }
            }
            Ok(())
        })
        .map_err(wrap)?;
    plan.unchanged =
        u64::try_from(staged).unwrap_or(0).saturating_sub(plan.inserted + plan.updated);
    let has_marks = connection
        .prepare("SELECT 1 FROM store.sqlite_schema WHERE name = 'dual_import_run'")
        .and_then(|mut statement| statement.exists([]))
        .map_err(wrap)?;
    let mark = if has_marks {
        connection
            .query_row(
                &format!("SELECT run_id FROM {MARKS} ORDER BY rowid DESC LIMIT 1"),
                [],
                |row| row.get(0),
            )
            .optional()
            .map_err(wrap)?
    } else {
        None
    };
    let (key, id, _) = names(table);
    let renumbered: i64 = connection
        .query_row(
            &format!(
                "SELECT count(*) FROM issued AS i JOIN {name} AS u ON u.{key} = i.{key} \
                 WHERE i.id IS NOT u.{id}"
            ),
            [],
            |row| row.get(0),
        )
        .map_err(wrap)?;
    if renumbered > 0 {
        if let Some(names) = referring_tables(connection, table, Some(&super::number(table).name))?
        {
            return Err(refused_by_keys(
                operation,
                format!(
                    "{renumbered} rows need PostgreSQL's {}, but foreign keys refer to it: {names}",
                    super::number(table).name
                ),
                "nothing was changed; let those tables refer to the key instead, or drop them",
            ));
        }
        plan.schema.push(format!(
            "take over PostgreSQL's {} in {renumbered} rows",
            super::number(table).name
        ));
    }
    Ok(Compared { plan, mark, renumbered: u64::try_from(renumbered).unwrap_or(0) })
}

/// The tables with foreign keys to this one, or to that column of it, as a list of names.
fn referring_tables(
    connection: &Connection,
    table: &Table,
    column: Option<&str>,
) -> Result<Option<String>> {
    connection
        .query_row(
            "SELECT group_concat(DISTINCT other.name) FROM store.sqlite_schema AS other, \
                 pragma_foreign_key_list(other.name, 'store') AS reference \
             WHERE other.type = 'table' AND other.name <> ?1 COLLATE NOCASE \
               AND reference.\"table\" = ?1 COLLATE NOCASE \
               AND (?2 IS NULL OR reference.\"to\" IS NULL OR reference.\"to\" = ?2 COLLATE NOCASE)",
            (table.name(), column),
            |row| row.get(0),
        )
        .map_err(|cause| failed("look for foreign keys", cause))
}

fn refused_by_keys(operation: &'static str, message: String, hint: &str) -> Error {
    Error::new(Kind::Schema(Store::Sqlite), operation, message).with_hint(hint)
}

/// Ids are PostgreSQL's. A row that has another one takes it over, and a row outside this
/// import that stands on an id needed here moves to a provisional, negative one.
fn take_over_ids(connection: &Connection, table: &Table) -> rusqlite::Result<()> {
    let (key, id, name) = names(table);
    connection.execute_batch(&format!(
        "UPDATE {name} SET {id} = (SELECT min(0, coalesce(min({id}), 0)) FROM {name}) - {id}
         WHERE {id} > 0 AND (
             {key} IN (SELECT i.{key} FROM issued AS i JOIN {name} AS u ON u.{key} = i.{key}
                       WHERE i.id IS NOT u.{id})
             OR {id} IN (SELECT u.{id} FROM issued AS i JOIN {name} AS u ON u.{id} = i.id
                         WHERE u.{key} <> i.{key}));
         UPDATE {name} SET {id} = (SELECT i.id FROM issued AS i WHERE i.{key} = {name_only}.{key})
         WHERE {key} IN (SELECT i.{key} FROM issued AS i JOIN {name} AS u ON u.{key} = i.{key}
                         WHERE i.id IS NOT u.{id})",
        name_only = quoted(table.name()),
    ))
}

/// A row whose value in one column PostgreSQL cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    /// The row's key.
    pub(crate) key: i64,
    /// The column's position in the table.
    pub(crate) position: usize,
}

impl Unfit {
    /// The refusal to carry it: a value must not be bent.
    pub(crate) fn refusal(self, table: &Table) -> Error {
        let (column, kind) = table
            .columns()
            .get(self.position)
            .map_or(("?", "value"), |c| (&c.name, c.kind.sql(Dialect::Postgres)));
        Error::new(
            Kind::InvalidData,
            "read SQLite",
            format!(
                "table {}, {} {}: column {column} holds something that is no {kind}",
                table.name(),
                table.key().name,
                self.key,
            ),
        )
        .with_hint("correct that value in the SQLite file, then run again")
    }
}
