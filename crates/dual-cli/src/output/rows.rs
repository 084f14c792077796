//! Rows, and where a write of one is.

use std::sync::Arc;

use dual_database::database::{Found, QuarantinedRow, Record, Written};
use dual_database::schema::{Key, Table};
use dual_database::store::sqlite::Rows;
use dual_database::{DualDatabase, Store};
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::json::{line, store_word};
use super::message;
use super::state::{Away, age};
use super::table::{printable, table};

/// How a command calls rows and their keys: `dual user` had words of its own before there were other tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// Those of `dual user`.
    Users,
    /// Those of `dual row`.
    Rows,
}

impl Words {
    /// A row.
    #[must_use]
    pub fn one(self) -> &'static str {
        match self {
            Words::Users => "user",
            Words::Rows => "row",
        }
    }

    /// Several.
    pub(super) fn many(self) -> &'static str {
        match self {
            Words::Users => "users",
            Words::Rows => "rows",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Words::Users => "user_id",
            Words::Rows => "key",
        }
    }

    fn table(self, table: &Table) -> Option<&str> {
        (self == Words::Rows).then_some(table.name())
    }
}

/// A table as a command shows its rows.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'t> {
    /// The table.
    pub table: &'t Table,
    /// How rows are called.
    pub words: Words,
    /// As JSON instead of text.
    pub json: bool,
}

#[derive(Serialize)]
struct SqlBody<'a> {
    version: u8,
    columns: &'a [String],
    rows: &'a [Vec<dual_database::value::Value>],
    source: &'static str,
    age_ms: Option<u64>,
}

#[derive(Serialize)]
struct Stored {
    postgres: bool,
    sqlite: bool,
}

fn stored<T>(written: &Written<T>) -> Stored {
    Stored { postgres: written.is_in(Store::Postgres), sqlite: written.is_in(Store::Sqlite) }
}

/// A document about one row.
struct Document<'d> {
    shown: Shown<'d>,
    row: Option<&'d Record>,
    key: Option<&'d Key>,
    stored: Option<Stored>,
    away: Option<Away>,
    source: Option<(Store, Option<u64>)>,
}

impl<'d> Document<'d> {
    fn of(shown: Shown<'d>) -> Document<'d> {
        Document { shown, row: None, key: None, stored: None, away: None, source: None }
    }
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Shown { table, words, .. } = self.shown;
        let mut document = serializer.serialize_map(None)?;
        document.serialize_entry("version", &1)?;
        if let Some(name) = words.table(table) {
            document.serialize_entry("table", name)?;
        }
        if let Some(row) = self.row {
            document.serialize_entry(words.one(), &row.shown(table))?;
        }
        if let Some(key) = self.key {
            document.serialize_entry(words.key(), key)?;
        }
        if let Some(stored) = &self.stored {
            document.serialize_entry("stored", stored)?;
        }
        if let Some(away) = &self.away {
            document.serialize_entry("away", away)?;
        }
        if let Some((source, age_ms)) = self.source {
            document.serialize_entry("source", store_word(source))?;
            document.serialize_entry("age_ms", &age_ms)?;
        }
        document.end()
    }
}

impl Shown<'_> {
    /// What adding and changing print: the row and where the write is.
    #[must_use]
    pub fn written(&self, written: &Written<Record>, away: Option<Away>, done: &str) -> String {
        let row = written.value();
        if self.json {
            let stored = Some(stored(written));
            return line(&Document { row: Some(row), stored, away, ..Document::of(*self) });
        }
        let whereabouts = self.whereabouts(written, away.as_ref(), &row.key, done);
        format!("{whereabouts}\n{}", self.columns_of(row))
    }

    /// What deleting prints.
    #[must_use]
    pub fn deleted(&self, written: &Written<()>, away: Option<Away>, key: &Key) -> String {
        if self.json {
            let stored = Some(stored(written));
            return line(&Document { key: Some(key), stored, away, ..Document::of(*self) });
        }
        self.whereabouts(written, away.as_ref(), key, "deleted")
    }

    /// What getting a row prints.
    #[must_use]
    pub fn found<T>(&self, row: &Record, found: &Found<T>) -> String {
        if !self.json {
            tell_source(found);
            return self.columns_of(row);
        }
        let source = Some((found.source, age_ms(found)));
        line(&Document { row: Some(row), source, ..Document::of(*self) })
    }

    /// Where the write is; why it is not in both goes to stderr.
    fn whereabouts<T>(
        &self,
        written: &Written<T>,
        away: Option<&Away>,
        key: &Key,
        done: &str,
    ) -> String {
        let row = match self.words.table(self.table) {
            Some(name) => format!("{name} {}", printable(&key.to_string())),
            None => format!("user {key}"),
        };
        let Written::InOne { stored_in, .. } = written else {
            return format!("{row} {done} in both\n");
        };
        let other = missing(written).unwrap_or(*stored_in);
        if let Some(away) = away {
            message(&format!("{other}: {}", away.message));
            if let Some(hint) = &away.hint {
                message(&format!("hint: {hint}"));
            }
        }
        let then = match away.is_some_and(|away| away.refuses) {
            true => "does not take the row",
            false => "gets it when it is back",
        };
        format!("{row} {done} in {stored_in}; {other} {then}\n")
    }

    /// Every column on a line of its own.
    fn columns_of(&self, row: &Record) -> String {
        let width = self.table.columns().iter().map(|column| column.name.chars().count()).max();
        let width = width.unwrap_or_default().clamp(20, 40);
        let line = |(name, value): (Arc<str>, Value)| {
            format!("{}\n", format!("{:<width$}  {}", printable(&name), cell(&value)).trim_end())
        };
        self.values(row).into_iter().map(line).collect()
    }

    /// The columns with their values, in their declared order.
    pub(super) fn values(&self, row: &Record) -> Vec<(Arc<str>, Value)> {
        let mut values = serde_json::to_value(row.shown(self.table)).unwrap_or_default();
        let names = self.table.columns().iter().map(|column| Arc::clone(&column.name));
        names
            .map(|name| {
                let value = values.get_mut(&*name).map(Value::take).unwrap_or_default();
                (name, value)
            })
            .collect()
    }
}

/// What a statement has given.
#[must_use]
pub fn rows_of_sql(found: &Found<Rows>, json: bool) -> String {
    let Rows { columns, rows } = &found.value;
    if json {
        return line(&SqlBody {
            version: 1,
            columns,
            rows,
            source: store_word(found.source),
            age_ms: age_ms(found),
        });
    }
    let shown = |value: &dual_database::value::Value| {
        cell(&serde_json::to_value(value).unwrap_or_default())
    };
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    tell_source(found);
    let headings: Vec<String> = columns.iter().map(|name| printable(name)).collect();
    table(&headings.iter().map(String::as_str).collect::<Vec<_>>(), &cells)
}

/// The store that has not got it.
fn missing<T>(written: &Written<T>) -> Option<Store> {
    match written {
        Written::InBoth(_) => None,
        Written::InOne { stored_in: Store::Postgres, .. } => Some(Store::Sqlite),
        Written::InOne { stored_in: Store::Sqlite, .. } => Some(Store::Postgres),
    }
}

/// Why the store that has not got a write has not; `None` if it gets it in a moment.
pub async fn away<T>(
    database: &DualDatabase,
    written: &Written<T>,
    table: &Table,
    key: &Key,
) -> Option<Away> {
    let store = missing(written)?;
    if let Some(away) = Away::new(store, &database.state(store)) {
        return Some(away);
    }
    let aside = database.quarantine().await.unwrap_or_default();
    let refused = |row: &QuarantinedRow| {
        *row.table == *table.name() && row.key.as_ref() == Some(key) && row.refused_by == store
    };
    aside.into_iter().find(refused).map(Away::refused)
}

/// Says on stderr that the file has answered, and as of when.
pub(super) fn tell_source<T>(found: &Found<T>) {
    if found.source == Store::Sqlite {
        let heard = match age_ms(found) {
            Some(age_ms) => format!(
                "last heard everything from PostgreSQL {}",
                age(i64::try_from(age_ms).unwrap_or(i64::MAX))
            ),
            None => "has never met PostgreSQL".to_owned(),
        };
        message(&format!("from SQLite, which {heard}"));
    }
}

pub(super) fn age_ms<T>(found: &Found<T>) -> Option<u64> {
    found.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

/// A value on a terminal; nothing for NULL.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}
