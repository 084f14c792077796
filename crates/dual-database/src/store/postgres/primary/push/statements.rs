//! The statements that write decided rows into one table, set by set. They are read under the
//! user's search path, so they say everything by its full name.

use std::collections::BTreeMap;

use tokio_postgres::types::{ToSql, Type};

use super::Job;
use super::decide::text;
use super::unique::Unique;
use crate::schema::{EQUALS, Key, behind};
use crate::store::postgres::capture::RowStamps;
use crate::store::postgres::primary::RemoteTable;

/// How many rows one statement takes.
pub(super) const CHUNK: usize = 1_000;

/// A statement with what it needs.
pub(super) struct Statement {
    pub sql: String,
    parameters: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Statement {
    fn new(sql: String) -> Statement {
        Statement { sql, parameters: Vec::new() }
    }

    fn with(mut self, parameter: impl ToSql + Sync + Send + 'static, kind: Type) -> Statement {
        self.parameters.push((Box::new(parameter), kind));
        self
    }

    /// As a session takes them.
    pub(super) fn parameters(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.parameters
            .iter()
            .map(|(value, kind)| {
                let value: &(dyn ToSql + Sync) = value.as_ref();
                (value, kind.clone())
            })
            .collect()
    }
}

/// Everything that writes these jobs, in the order in which it has to be done: who goes first
/// gives room to who comes. Inserts and updates answer key and surrogate of what they have
/// written: a trigger can leave a row out without an error.
pub(super) fn statements(
    table: &RemoteTable,
    jobs: &[&Job<'_>],
    moved_aside: &[MovedAside],
) -> Vec<Statement> {
    let mut statements = Vec::new();
    let (target, key) = (&table.layout.target, &table.layout.key);
    let deleted: Vec<Key> =
        jobs.iter().filter(|job| job.dies()).map(|job| job.id.key.clone()).collect();
    for keys in deleted.chunks(CHUNK) {
        let sql = format!("DELETE FROM {target} WHERE {}", key.among("", EQUALS, 1));
        statements.push(Statement::new(sql).with(keys.to_vec(), key.many()));
    }
    for moved_aside in moved_aside {
        let chunks = moved_aside.keys.chunks(CHUNK).enumerate();
        statements.extend(
            chunks.filter_map(|(at, keys)| move_aside(table, moved_aside, at * CHUNK, keys)),
        );
    }
    let mut updated: BTreeMap<Vec<usize>, Vec<&Job<'_>>> = BTreeMap::new();
    for job in jobs.iter().filter(|job| job.stays()) {
        let changed = job.changed();
        if !changed.is_empty() {
            updated.entry(changed).or_default().push(job);
        }
    }
    for (columns, jobs) in &updated {
        statements.extend(jobs.chunks(CHUNK).map(|jobs| set(table, columns, jobs)));
    }
    let inserted = jobs.iter().copied().filter(|job| job.is_inserted());
    let (numbered, inserted): (Vec<&Job<'_>>, Vec<&Job<'_>>) =
        inserted.partition(|job| job.number.is_some());
    for jobs in numbered.chunks(CHUNK) {
        statements.push(insert(table, jobs, Number::Own));
        // Others refer to who has the number that was said: another one would make them a stranger's.
        let rest: Vec<&Job<'_>> = jobs.iter().copied().filter(|job| !job.is_said).collect();
        if !rest.is_empty() {
            statements.push(insert(table, &rest, Number::Rest));
        }
    }
    statements.extend(inserted.chunks(CHUNK).map(|jobs| insert(table, jobs, Number::New)));
    statements
}

/// Which number an inserted row gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Number {
    /// The server's next one.
    New,
    /// The job's, if nobody has it; else it is not inserted.
    Own,
    /// The server's next one, if it is not there by now.
    Rest,
}

fn insert(table: &RemoteTable, jobs: &[&Job<'_>], number: Number) -> Statement {
    let layout = &table.layout;
    let (target, key, surrogate) = (&layout.target, &layout.key, layout.number(""));
    let all: Vec<usize> = (0..layout.registers.len()).collect();
    let (names, values) = (assigned(table, &all, |name, _| name), assigned(table, &all, |_, v| v));
    let mut rows = arrays(table, all.len());
    let (mut into, mut from, mut only) = (String::new(), String::new(), String::new());
    match number {
        Number::New => {}
        Number::Own => {
            into = format!("{surrogate}, ");
            from = "n.number, ".to_owned();
            let numbers = together([key.array(1), format!("${}::bigint[]", all.len() + 2)]);
            rows = format!("{rows} JOIN {numbers} AS n (k, number) ON n.k {EQUALS} v.k");
            only = format!(
                " WHERE NOT EXISTS (SELECT FROM {target} AS u \
                 WHERE u.{surrogate} {EQUALS} n.number)"
            );
        }
        Number::Rest => {
            only = format!(
                " WHERE NOT EXISTS (SELECT FROM {target} AS u WHERE {})",
                key.is_given("u", EQUALS, "v.k")
            );
        }
    }
    let overriding = if number == Number::Own { " OVERRIDING SYSTEM VALUE" } else { "" };
    let sql = format!(
        "INSERT INTO {target} ({into}{key}{names}){overriding} SELECT {from}{taken}{values} FROM {rows}{only} \
         ON CONFLICT ({key}) DO NOTHING RETURNING {given}, {surrogate}::bigint",
        names = behind(", ", names),
        taken = key.taken("v.k"),
        values = behind(", ", values),
        key = key.list(""),
        given = key.given(""),
    );
    let statement = filled(Statement::new(sql), table, &all, jobs);
    if number != Number::Own {
        return statement;
    }
    let numbers: Vec<Option<i64>> = jobs.iter().map(|job| job.number).collect();
    statement.with(numbers, Type::INT8_ARRAY)
}

/// Sets these columns of rows that are there.
pub(super) fn set(table: &RemoteTable, columns: &[usize], jobs: &[&Job<'_>]) -> Statement {
    let key = &table.layout.key;
    let sql = format!(
        "UPDATE {target} AS u SET {set} FROM {rows} WHERE {same} \
         RETURNING {given}, {surrogate}::bigint",
        target = table.layout.target,
        set = assigned(table, columns, |name, value| format!("{name} = {value}")),
        same = key.is_given("u", EQUALS, "v.k"),
        given = key.given("u"),
        surrogate = table.layout.number("u"),
        rows = arrays(table, columns.len()),
    );
    filled(Statement::new(sql), table, columns, jobs)
}

/// A unique column whose values are put out of the way in some rows.
#[derive(Debug)]
pub(super) struct MovedAside {
    pub column: usize,
    pub nullable: bool,
    pub keys: Vec<Key>,
}

/// Puts unique values out of the way: NULL where that is allowed, else something that nobody
/// else has, counted from `first`. None of it stays: the rows get other values before the
/// savepoint ends.
pub(super) fn move_aside(
    table: &RemoteTable,
    moved_aside: &MovedAside,
    first: usize,
    keys: &[Key],
) -> Option<Statement> {
    let register = table.layout.registers.get(moved_aside.column)?;
    let (target, key, name) = (&table.layout.target, &table.layout.key, &register.column);
    let number = format!(
        "(pg_catalog.array_position({}, {}) OPERATOR(pg_catalog.+) {first})",
        key.array_as_given(1),
        key.given("")
    );
    let value = match moved_aside.nullable {
        true => "NULL".to_owned(),
        false => register.kind.description().aside(&number)?,
    };
    let sql = format!("UPDATE {target} SET {name} = {value} WHERE {}", key.among("", EQUALS, 1));
    Some(Statement::new(sql).with(keys.to_vec(), key.many()))
}

/// A piece for each column: its name, and its value in the row `v`, cast as declared; the
/// assignment casts it to what the server has.
fn assigned(
    table: &RemoteTable,
    columns: &[usize],
    piece: impl Fn(String, String) -> String,
) -> String {
    let pieces = columns.iter().enumerate().filter_map(|(place, column)| {
        let register = table.layout.registers.get(*column)?;
        let value = format!("v.c{place}::{}", register.kind.description().carried());
        Some(piece(register.column.clone(), value))
    });
    pieces.collect::<Vec<_>>().join(", ")
}

fn arrays(table: &RemoteTable, columns: usize) -> String {
    let values = (0..columns).map(|at| format!("${}::pg_catalog.text[]", at + 2));
    let arrays = together([table.layout.key.array(1)].into_iter().chain(values));
    let names: Vec<String> = (0..columns).map(|at| format!(", c{at}")).collect();
    format!("{arrays} AS v (k{})", names.concat())
}

/// The elements of arrays, side by side: what `unnest` of several is short for.
fn together(arrays: impl IntoIterator<Item = String>) -> String {
    let each = arrays.into_iter().map(|array| format!("pg_catalog.unnest({array})"));
    format!("ROWS FROM ({})", each.collect::<Vec<_>>().join(", "))
}

fn filled(
    statement: Statement,
    table: &RemoteTable,
    columns: &[usize],
    jobs: &[&Job<'_>],
) -> Statement {
    let keys: Vec<Key> = jobs.iter().map(|job| job.id.key.clone()).collect();
    columns.iter().fold(statement.with(keys, table.layout.key.many()), |statement, column| {
        let value = |job: &&Job<'_>| text(&job.after()?.columns.get(*column)?.value);
        let values: Vec<Option<String>> = jobs.iter().map(value).collect();
        statement.with(values, Type::TEXT_ARRAY)
    })
}

/// Which columns are to be moved aside, and in which rows: those of a unit of several rows that give
/// a unique value up.
pub(super) fn moved_aside(jobs: &[&Job<'_>], uniques: &[Unique]) -> Vec<MovedAside> {
    let mut moved_aside: BTreeMap<usize, (bool, Vec<Key>)> = BTreeMap::new();
    for job in jobs.iter().filter(|job| job.stays()) {
        let changed = job.changed();
        for unique in uniques {
            let mut columns: Vec<_> =
                unique.columns.iter().filter(|(at, _)| changed.contains(at)).collect();
            columns.sort_by_key(|(_, nullable)| !nullable);
            if let Some((at, nullable)) = columns.first() {
                let (_, keys) = moved_aside.entry(*at).or_insert_with(|| (*nullable, Vec::new()));
                if keys.last() != Some(&job.id.key) {
                    keys.push(job.id.key.clone());
                }
            }
        }
    }
    let all = moved_aside.into_iter();
    all.map(|(column, (nullable, keys))| MovedAside { column, nullable, keys }).collect()
}

/// What the written rows are to have in the sidecar.
pub(super) fn marks(jobs: &[&Job<'_>]) -> Vec<RowStamps> {
    let mark = |job: &&Job<'_>| {
        let after = job.after()?;
        let before = job.before();
        let life = before.is_none_or(|row| row.live != after.live);
        let columns = after.columns.iter().enumerate();
        let columns = columns
            .filter(|(column, register)| {
                after.live.value
                    && (job.is_inserted()
                        || before.and_then(|row| row.columns.get(*column)) != Some(*register))
            })
            .map(|(column, register)| (column, register.stamp, register.value.clone()));
        Some(RowStamps {
            key: job.id.key.clone(),
            life: (life || job.is_inserted()).then_some((after.live.value, after.live.stamp)),
            columns: columns.collect(),
        })
    };
    jobs.iter().filter_map(mark).collect()
}
