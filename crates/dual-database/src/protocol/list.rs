//! What a list asks of either store.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Record;
use crate::schema::{Column, Dialect, Key, Table};
use crate::value::Value;

/// Which rows a list has, and in which order. All conditions hold together.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The name of any column, as it is or was declared, and the value it has ([`Value::Null`]: has none).
    pub equals: Vec<(Arc<str>, Value)>,
    /// The name of a column and a text that it contains, code point by code point.
    pub contains: Vec<(Arc<str>, String)>,
    /// For a timestamp column: from this instant on.
    pub since: Vec<(Arc<str>, Value)>,
    /// The columns by which rows come, the first one first, those without a value last. Rows that are alike in
    /// them come by their keys, in the direction of the last column. None: the newest first, where a table has a
    /// column for that, then the highest key.
    pub order: Vec<(Arc<str>, Direction)>,
}

/// Which values come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// The lowest.
    Ascending,
    /// The highest.
    #[default]
    Descending,
}

impl Direction {
    fn sql(self) -> &'static str {
        match self {
            Direction::Ascending => "",
            Direction::Descending => " DESC",
        }
    }
}

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct After {
    /// What the columns by which the list goes have in the last row that was read.
    pub order: Vec<Value>,
    /// Its key.
    pub key: Key,
}

/// The order of a list of a table.
pub(crate) struct Order<'t> {
    pub columns: Vec<(&'t Column, Direction)>,
    /// That of the keys of rows that are alike in the columns.
    pub keys: Direction,
    /// Somebody has named the columns.
    is_asked: bool,
}

impl Filter {
    /// The order of a list of that table; else the name of a column by which it cannot go.
    pub(crate) fn ordered<'t, 'f>(&'f self, table: &'t Table) -> Result<Order<'t>, &'f str> {
        let mut columns = Vec::with_capacity(self.order.len());
        for (name, direction) in &self.order {
            let column = table.column_once(name).filter(|column| column.kind.is_ordered());
            columns.push((column.ok_or(&**name)?, *direction));
        }
        let is_asked = !columns.is_empty();
        if !is_asked {
            columns.extend(table.newest_by().map(|column| (column, Direction::Descending)));
        }
        let keys = columns.last().map(|(_, direction)| *direction).unwrap_or_default();
        Ok(Order { columns, keys, is_asked })
    }

    /// Whether a row of that table fits, as both stores see it.
    pub(crate) fn fits(&self, table: &Table, row: &Record) -> bool {
        let value = |name: &str| row.value(table, &table.column_once(name)?.name);
        let equals = |(name, wanted): &(Arc<str>, Value)| value(name).as_ref() == Some(wanted);
        let contains = |(name, part): &(Arc<str>, String)| matches!(value(name), Some(Value::Text(text)) if text.contains(part));
        let since = |(name, from): &(Arc<str>, Value)| match (value(name), from) {
            (Some(Value::Timestamp(at)), Value::Timestamp(from)) => at >= *from,
            _ => false,
        };
        self.equals.iter().all(equals)
            && self.contains.iter().all(contains)
            && self.since.iter().all(since)
    }
}

impl Order<'_> {
    /// A column, or a value of it, as it is ordered on that side. Where nobody has asked, the column as it stands:
    /// an index may have it so.
    pub fn expression(&self, dialect: Dialect, column: &Column, value: &str) -> String {
        let ordered = self.is_asked.then(|| column.kind.description().ordered(dialect, value));
        ordered.flatten().unwrap_or_else(|| value.to_owned())
    }

    /// The columns of the row `u` as they are ordered.
    pub fn expressions(&self, dialect: Dialect) -> Vec<String> {
        let column = |(column, _): &(&Column, Direction)| {
            self.expression(dialect, column, &format!("u.{}", column.quoted(dialect)))
        };
        self.columns.iter().map(column).collect()
    }

    /// The columns of the row `u` for `ORDER BY`, with a comma behind each; then comes the key.
    pub fn sql(&self, dialect: Dialect) -> String {
        let expressions = self.expressions(dialect);
        let ordered = expressions.iter().zip(&self.columns);
        ordered.map(|(of, (_, way))| format!("{of}{} NULLS LAST, ", way.sql())).collect()
    }

    /// What stands behind each column of the key.
    pub fn direction_of_keys(&self) -> &'static str {
        self.keys.sql()
    }

    /// What comes after a row of which the columns have these values, expressions, or none; `keys` says that of
    /// rows that are alike in them.
    pub fn beyond(&self, dialect: Dialect, values: &[Option<String>], keys: String) -> String {
        let expressions = self.expressions(dialect);
        let columns = expressions.iter().zip(&self.columns).zip(values);
        columns.rev().fold(keys, |rest, ((of, (_, direction)), value)| match (value, direction) {
            (None, _) => format!("({of} IS NULL AND {rest})"),
            (Some(value), direction) => {
                let than = if *direction == Direction::Ascending { '>' } else { '<' };
                format!("({of} {than} {value} OR {of} = {value} AND {rest} OR {of} IS NULL)")
            }
        })
    }

    /// Where a list goes on after that row.
    pub fn place(&self, table: &Table, last: &Record) -> After {
        let value = |column: &Column| last.value(table, &column.name).unwrap_or(Value::Null);
        let order = self.columns.iter().map(|(column, _)| value(column)).collect();
        After { order, key: last.key.clone() }
    }

    /// Which of two rows comes first.
    pub fn compare(&self, table: &Table, one: &Record, other: &Record) -> Ordering {
        let along = |ordering: Ordering, direction: Direction| match direction {
            Direction::Ascending => ordering,
            Direction::Descending => ordering.reverse(),
        };
        let by_column = self.columns.iter().map(|(column, direction)| {
            let value = |row: &Record| row.value(table, &column.name).filter(|v| !v.is_null());
            match (value(one), value(other)) {
                (Some(one), Some(other)) => along(column.kind.compare(&one, &other), *direction),
                (one, other) => one.is_none().cmp(&other.is_none()),
            }
        });
        by_column
            .fold(Ordering::Equal, Ordering::then)
            .then_with(|| along(one.key.cmp(&other.key), self.keys))
    }
}
