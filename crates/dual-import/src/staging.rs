//! Where validated rows wait between the two phases: a private database of SQLite's own, on
//! disk, without a name, gone when its connection closes. Memory stays flat, and nothing of
//! the guests' data is left behind, whatever happens to the process.
//!
//! The store's SQLite file is attached to the same connection later, so that loading it is a
//! few set-based statements.

mod record;

use std::collections::BTreeMap;
use std::sync::Arc;

use dual_database::error::{Error, Kind, Result};
use dual_database::schema::{Table, quoted};
use dual_database::store::sqlite::{Owner, failed};
use dual_database::value::Value;
use rusqlite::{Connection, OpenFlags, Row};

use super::columns::key_position;
use super::load::Refusal;
pub(super) use record::{bit, is_known, known_of, masks, stored_value};
use record::{staged_record, write_staged};

use super::mapping::{self, Code, Mapping, Problem};

/// What became of a problem's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemStatus {
    /// The row went into neither store.
    Rejected,
    /// The row was kept; only this cell counts as not known.
    Reported,
    /// The row was merged into another one with the same id.
    Merged,
}

impl ProblemStatus {
    /// The stable word of reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            ProblemStatus::Rejected => "rejected",
            ProblemStatus::Reported => "reported",
            ProblemStatus::Merged => "merged",
        }
    }

    fn from_word(word: &str) -> ProblemStatus {
        match word {
            "rejected" => ProblemStatus::Rejected,
            "merged" => ProblemStatus::Merged,
            _ => ProblemStatus::Reported,
        }
    }
}

/// How many rows came and what became of them before any store was asked:
/// `read = staged + merged + rejected`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows of the source that are neither blank nor a heading.
    pub read: u64,
    /// Different ids among the rows that were understood.
    pub staged: u64,
    /// Rows merged into another row with the same id.
    pub merged: u64,
    /// Rows that were rejected.
    pub rejected: u64,
    /// Cells that were reported while their row was kept.
    pub reported: u64,
}

#[derive(Debug)]
pub(super) struct Staging {
    pub(super) owner: Owner,
    pub(super) table: Arc<Table>,
}

impl Staging {
    /// Makes the private database.
    pub(super) fn start(table: Arc<Table>) -> Result<Staging> {
        let ddl = create_statements(&table);
        let owner = Owner::start(move || {
            let operation = "make the staging database";
            // Without URI: a store's path is later attached to this connection as it is.
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_CREATE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection =
                Connection::open_with_flags("", flags).map_err(|cause| failed(operation, cause))?;
            connection.execute_batch(&ddl).map_err(|cause| failed(operation, cause))?;
            Ok(connection)
        })?;
        Ok(Staging { owner, table })
    }

    /// Stages one page of rows; duplicates are merged as the mapping says.
    pub(super) async fn add(
        &self,
        page: Vec<mapping::RowOutcome>,
        mapping: Arc<Mapping>,
    ) -> Result<()> {
        let operation = "stage the rows";
        let table = Arc::clone(&self.table);
        self.owner
            .call(operation, move |connection| {
                let wrap = |cause| failed(operation, cause);
                let statements = Statements::of(&table);
                let transaction = connection.transaction().map_err(wrap)?;
                for outcome in page {
                    stage_row(&transaction, &table, &statements, &mapping, outcome)?;
                }
                transaction.commit().map_err(wrap)
            })
            .await
    }

    /// Forgets every row, because the source begins anew.
    pub(super) async fn forget(&self) -> Result<()> {
        let operation = "stage the rows";
        self.owner
            .call(operation, move |connection| {
                connection
                    .execute_batch("DELETE FROM staged; DELETE FROM problem")
                    .map_err(|cause| failed(operation, cause))
            })
            .await
    }

    /// Sets rows aside whose text is longer than a store's column takes: `limits` are pairs
    /// of column position and length in characters.
    pub(super) async fn reject_too_long(&self, limits: Vec<(usize, u32)>) -> Result<()> {
        let operation = "check the lengths";
        let table = Arc::clone(&self.table);
        self.owner
            .call(operation, move |connection| {
                let wrap = |cause| failed(operation, cause);
                let transaction = connection.transaction().map_err(wrap)?;
                for (position, limit) in limits {
                    let Some(column) = table.columns().get(position) else { continue };
                    let name = quoted(&column.name);
                    transaction
                        .execute(
                            &format!(
                                "INSERT INTO problem (row, \"column\", code, sentence, raw, outcome) \
                                 SELECT row, ?1, ?2, ?3, {name}, 'rejected' FROM staged \
                                 WHERE length({name}) > ?4"
                            ),
                            (
                                &column.name,
                                Code::TooLong.as_str(),
                                format!(
                                    "longer than the {limit} characters that PostgreSQL's column {} takes",
                                    column.name
                                ),
                                limit,
                            ),
                        )
                        .map_err(wrap)?;
                    transaction
                        .execute(&format!("DELETE FROM staged WHERE length({name}) > ?1"), [limit])
                        .map_err(wrap)?;
                }
                transaction.commit().map_err(wrap)
            })
            .await
    }

    /// Sets rows aside that a store refuses.
    pub(super) async fn reject_refused(&self, refusals: Vec<Refusal>) -> Result<()> {
        let operation = "set the refused rows aside";
        let table = Arc::clone(&self.table);
        self.owner
            .call(operation, move |connection| {
                let wrap = |cause| failed(operation, cause);
                let transaction = connection.transaction().map_err(wrap)?;
                let key = quoted(&table.key().name);
                for Refusal { store, row, says } in refusals {
                    let sentence = format!("{store} refuses the row: {says}");
                    transaction
                        .execute(
                            &format!(
                                "INSERT INTO problem (row, code, sentence, raw, outcome) \
                                 SELECT row, ?1, ?2, {key}, 'rejected' FROM staged WHERE row = ?3"
                            ),
                            (Code::Refused.as_str(), sentence, row),
                        )
                        .and_then(|_| {
                            transaction.execute("DELETE FROM staged WHERE row = ?1", [row])
                        })
                        .map_err(wrap)?;
                }
                transaction.commit().map_err(wrap)
            })
            .await
    }

    /// The counts as they stand now.
    pub(super) async fn counts(&self) -> Result<Counts> {
        let operation = "count the rows";
        self.owner
            .call(operation, move |connection| {
                connection
                    .query_row(
                        "SELECT (SELECT count(*) FROM staged), \
                         (SELECT count(*) FROM problem WHERE outcome = 'merged'), \
                         (SELECT count(DISTINCT row) FROM problem WHERE outcome = 'rejected'), \
                         (SELECT count(*) FROM problem WHERE outcome = 'reported')",
                        [],
                        |row| {
                            let (staged, merged, rejected, reported): (i64, i64, i64, i64) =
                                (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
                            let number = |count: i64| u64::try_from(count).unwrap_or(0);
                            Ok(Counts {
                                read: number(staged + merged + rejected),
                                staged: number(staged),
                                merged: number(merged),
                                rejected: number(rejected),
                                reported: number(reported),
                            })
                        },
                    )
                    .map_err(|cause| failed(operation, cause))
            })
            .await
    }

    /// Problems in the order of the sheet, from the `offset`-th on, `limit` at the most.
    pub(super) async fn problems(
        &self,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<(ProblemStatus, Problem)>> {
        let operation = "read the problems";
        self.owner
            .call(operation, move |connection| {
                let wrap = |cause| failed(operation, cause);
                let mut statement = connection
                    .prepare(
                        "SELECT outcome, row, cell, \"column\", code, sentence, raw, displayed \
                         FROM problem ORDER BY row, rowid LIMIT ?1 OFFSET ?2",
                    )
                    .map_err(wrap)?;
                let bound = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
                statement
                    .query_map([bound(limit), bound(offset)], problem_of)
                    .map_err(wrap)?
                    .collect::<rusqlite::Result<_>>()
                    .map_err(wrap)
            })
            .await
    }

    /// The first rows in which a cell was set aside, ascending, each once.
    pub(super) async fn problem_rows(&self, limit: u64) -> Result<Vec<u64>> {
        let operation = "read the problems";
        self.owner
            .call(operation, move |connection| {
                let wrap = |cause| failed(operation, cause);
                let bound = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
                connection
                    .prepare(
                        "SELECT DISTINCT row FROM problem WHERE cell IS NOT NULL ORDER BY row LIMIT ?1",
                    )
                    .map_err(wrap)?
                    .query_map([bound(limit)], |row| row.get::<_, i64>(0))
                    .map_err(wrap)?
                    .map(|row| row.map(|number| u64::try_from(number).unwrap_or(0)))
                    .collect::<rusqlite::Result<_>>()
                    .map_err(wrap)
            })
            .await
    }

    /// Notes what the sheet shows in the cells of these rows.
    pub(super) async fn note_displayed(&self, rows: BTreeMap<u64, Vec<String>>) -> Result<()> {
        let operation = "note the displayed values";
        self.owner
            .call(operation, move |connection| {
                let wrap = |cause| failed(operation, cause);
                let transaction = connection.transaction().map_err(wrap)?;
                for (row, cells) in rows {
                    for (position, text) in cells.into_iter().enumerate() {
                        let cell = format!("{}{row}", super::source::column_name(position));
                        transaction
                            .prepare_cached(
                                "UPDATE problem SET displayed = ?1 WHERE cell = ?2 AND row = ?3",
                            )
                            .and_then(|mut update| {
                                update.execute((text, cell, i64::try_from(row).unwrap_or(0)))
                            })
                            .map_err(wrap)?;
                    }
                }
                transaction.commit().map_err(wrap)
            })
            .await
    }
}

/// The tables of the private database. Staged columns have no declared type, so that values
/// stay as they are; unknown ones hold what a new row gets.
fn create_statements(table: &Table) -> String {
    let key = quoted(&table.key().name);
    let columns: String =
        table.data_columns().map(|column| format!(", {}", quoted(&column.name))).collect();
    let masks: String =
        masks(table).iter().map(|mask| format!(", {mask} INTEGER NOT NULL")).collect();
    format!(
        "PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; PRAGMA cache_size = -16000;
         CREATE TABLE staged ({key} INTEGER PRIMARY KEY, row INTEGER NOT NULL{masks}{columns});
         CREATE TABLE issued ({key} INTEGER PRIMARY KEY, id INTEGER, fresh INTEGER NOT NULL);
         CREATE TABLE elsewhere ({key} INTEGER PRIMARY KEY{columns});
         CREATE TABLE problem (row INTEGER NOT NULL, cell TEXT, \"column\" TEXT, code TEXT NOT NULL,
             sentence TEXT NOT NULL, raw TEXT NOT NULL, displayed TEXT, outcome TEXT NOT NULL);
         CREATE INDEX problem_row ON problem (row);"
    )
}

/// The statements that every row needs.
struct Statements {
    select: String,
    insert: String,
}

impl Statements {
    fn of(table: &Table) -> Statements {
        let places = 2 + masks(table).len() + table.data_columns().count();
        let places = vec!["?"; places].join(", ");
        Statements {
            select: format!("SELECT * FROM staged WHERE {} = ?1", quoted(&table.key().name)),
            insert: format!("INSERT OR REPLACE INTO staged VALUES ({places})"),
        }
    }
}

fn stage_row(
    connection: &Connection,
    table: &Table,
    statements: &Statements,
    mapping: &Mapping,
    outcome: mapping::RowOutcome,
) -> Result<()> {
    let operation = "stage the rows";
    let wrap = |cause| failed(operation, cause);
    let (mut record, notes) = match outcome {
        mapping::RowOutcome::Blank | mapping::RowOutcome::Header => return Ok(()),
        mapping::RowOutcome::Rejected(problems) => {
            for problem in &problems {
                insert_problem(connection, ProblemStatus::Rejected, problem).map_err(wrap)?;
            }
            return Ok(());
        }
        mapping::RowOutcome::Record { record, notes, .. } => (record, notes),
    };
    for problem in &notes {
        insert_problem(connection, ProblemStatus::Reported, problem).map_err(wrap)?;
    }
    let key = key_position(table).and_then(|at| record.values.get(at)?.clone());
    let Some(Value::Int(key)) = key else {
        return Err(Error::new(Kind::Internal, operation, "a record without a key"));
    };
    if let Some(mut merged) = staged_record(connection, table, statements, key).map_err(wrap)? {
        let merge = mapping::merge(mapping, &mut merged, record);
        insert_problem(connection, ProblemStatus::Merged, &merge_note(&merge, table, key))
            .map_err(wrap)?;
        record = merged;
    }
    write_staged(connection, table, statements, mapping, key, &record).map_err(wrap)
}

/// Every merge is in the report, with the columns in which the two rows differed.
fn merge_note(merge: &mapping::Merge, table: &Table, key: i64) -> Problem {
    let decided: Vec<String> = merge
        .columns
        .iter()
        .filter_map(|column| {
            let name = &table.columns().get(column.column)?.name;
            let winner = if column.later_won { merge.later } else { merge.earlier };
            Some(format!("{name} from row {winner}"))
        })
        .collect();
    let sentence = if decided.is_empty() {
        format!("the same id as row {}; the two agree", merge.later)
    } else {
        format!("the same id as row {}; where they differ: {}", merge.later, decided.join(", "))
    };
    Problem {
        row: merge.earlier,
        cell: None,
        column: Some(table.key().name.to_string()),
        code: Code::Duplicate,
        sentence,
        raw: key.to_string(),
        displayed: None,
    }
}

fn insert_problem(
    connection: &Connection,
    fate: ProblemStatus,
    problem: &Problem,
) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO problem (row, cell, \"column\", code, sentence, raw, displayed, outcome) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((
            i64::try_from(problem.row).unwrap_or(i64::MAX),
            &problem.cell,
            &problem.column,
            problem.code.as_str(),
            &problem.sentence,
            &problem.raw,
            &problem.displayed,
            fate.word(),
        ))?;
    Ok(())
}

fn problem_of(row: &Row<'_>) -> rusqlite::Result<(ProblemStatus, Problem)> {
    let outcome: String = row.get(0)?;
    let number: i64 = row.get(1)?;
    let code: String = row.get(4)?;
    let problem = Problem {
        row: u64::try_from(number).unwrap_or(0),
        cell: row.get(2)?,
        column: row.get(3)?,
        code: Code::of(&code).unwrap_or(Code::NoLayout),
        sentence: row.get(5)?,
        raw: row.get(6)?,
        displayed: row.get(7)?,
    };
    Ok((ProblemStatus::from_word(&outcome), problem))
}
