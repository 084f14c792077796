use std::borrow::Cow;

use super::{Description, Unfit};
use crate::schema::{Affinity, Dialect};
use crate::value::Value;

/// A whole number of fewer bits than 64.
pub(super) struct Int {
    name: &'static str,
    least: i64,
    most: i64,
    out_of_range: Unfit,
    /// The types that hold all of its values.
    fitting: &'static [&'static str],
}

pub(super) const INT: Int = Int {
    name: "integer",
    least: i32::MIN as i64,
    most: i32::MAX as i64,
    out_of_range: Unfit::Value("a whole number of 32 bits is wanted, this one is out of range"),
    fitting: &["integer", "bigint"],
};

pub(super) const SMALLINT: Int = Int {
    name: "smallint",
    least: i16::MIN as i64,
    most: i16::MAX as i64,
    out_of_range: Unfit::Value("a whole number of 16 bits is wanted, this one is out of range"),
    fitting: &["smallint", "integer", "bigint"],
};

impl Description for Int {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => self.name,
            Dialect::Sqlite => "INTEGER",
        }
    }

    /// What is declared in 32 bits may be kept in 64 there, and an assignment narrows it.
    fn carried(&self) -> &str {
        "bigint"
    }

    fn wanted(&self) -> &'static str {
        "a whole number"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        match value {
            Value::Int(_) if self.holds(&value) => Ok(value),
            Value::Int(_) => Err(self.out_of_range),
            other => Err(self.other(&other)),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Int(number) if (self.least..=self.most).contains(number))
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        self.decode_integer(text.parse().ok()?)
    }

    fn decode_integer(&self, number: i64) -> Option<Value> {
        Some(Value::Int(number)).filter(|number| self.holds(number))
    }

    fn makes_keys(&self) -> bool {
        true
    }

    fn keyed(&self, _: Dialect, column: &str) -> String {
        column.to_owned()
    }

    fn is_keyed(&self, column: &str) -> String {
        format!("typeof({column}) = 'integer'")
    }

    fn is_carried(&self, column: &str) -> String {
        self.is_keyed(column)
    }

    fn aside(&self, number: &str) -> Option<String> {
        Some(format!("({}) OPERATOR(pg_catalog.+) {number}", self.least))
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        self.fitting.contains(&base)
    }

    fn is_wider(&self, base: &str) -> bool {
        self.fits_postgres(base, None) && base != self.name
    }

    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        matches!(affinity, Affinity::Integer | Affinity::Numeric | Affinity::Blob)
    }
}
