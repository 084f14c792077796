use std::borrow::Cow;

use super::{Description, Unfit};
use crate::schema::{Affinity, Dialect};
use crate::value::Value;

pub(super) struct Int;

impl Description for Int {
    fn sql(&self, dialect: Dialect) -> &'static str {
        match dialect {
            Dialect::Postgres => "integer",
            Dialect::Sqlite => "INTEGER",
        }
    }

    /// What is declared in 32 bits may be kept in 64 there, and an assignment narrows it.
    fn carried(&self) -> &'static str {
        "bigint"
    }

    fn wanted(&self) -> &'static str {
        "a whole number"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        match value {
            Value::Int(_) if self.holds(&value) => Ok(value),
            Value::Int(_) => {
                Err(Unfit::Value("a whole number of 32 bits is wanted, this one is out of range"))
            }
            other => Err(self.other(&other)),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Int(number) if i32::try_from(*number).is_ok())
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        text.parse::<i32>().ok().map(|number| Value::Int(number.into()))
    }

    fn decode_integer(&self, number: i64) -> Option<Value> {
        i32::try_from(number).ok().map(|number| Value::Int(number.into()))
    }

    fn canonical(&self, column: &str, _: bool) -> String {
        format!("{column}::text")
    }

    fn aside(&self, number: &str) -> Option<String> {
        Some(format!("(-2147483648) OPERATOR(pg_catalog.+) {number}"))
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        matches!(base, "integer" | "bigint")
    }

    fn is_wider(&self, base: &str) -> bool {
        base == "bigint"
    }

    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        matches!(affinity, Affinity::Integer | Affinity::Numeric | Affinity::Blob)
    }
}
