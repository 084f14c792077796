use std::borrow::Cow;

use super::{Description, Unfit};
use crate::schema::{Affinity, Dialect};
use crate::value::Value;

pub(super) struct BigInt;

impl Description for BigInt {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => "bigint",
            Dialect::Sqlite => "INTEGER",
        }
    }

    fn wanted(&self) -> &'static str {
        "a whole number"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        if self.holds(&value) { Ok(value) } else { Err(self.other(&value)) }
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Int(_))
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        text.parse().ok().map(Value::Int)
    }

    fn decode_integer(&self, number: i64) -> Option<Value> {
        Some(Value::Int(number))
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
        Some(format!("(-9223372036854775808) OPERATOR(pg_catalog.+) {number}"))
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        base == "bigint"
    }

    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        matches!(affinity, Affinity::Integer | Affinity::Numeric | Affinity::Blob)
    }
}
