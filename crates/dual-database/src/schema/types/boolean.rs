use std::borrow::Cow;

use super::{Description, Unfit};
use crate::schema::{Affinity, Dialect};
use crate::value::Value;

pub(super) struct Bool;

impl Description for Bool {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => "boolean",
            Dialect::Sqlite => "INTEGER",
        }
    }

    fn wanted(&self) -> &'static str {
        "true or false"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        if self.holds(&value) { Ok(value) } else { Err(self.other(&value)) }
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Bool(_))
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        match &*text {
            "true" | "t" => Some(Value::Bool(true)),
            "false" | "f" => Some(Value::Bool(false)),
            _ => None,
        }
    }

    fn decode_integer(&self, number: i64) -> Option<Value> {
        matches!(number, 0 | 1).then_some(Value::Bool(number == 1))
    }

    fn canonical(&self, column: &str, _: bool) -> String {
        format!("CASE WHEN {column} THEN '1' WHEN NOT {column} THEN '0' END")
    }

    /// There are only two.
    fn aside(&self, _: &str) -> Option<String> {
        None
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        base == "boolean"
    }

    fn converted(&self, column: &str, base: &str) -> String {
        match base {
            "smallint" | "integer" | "bigint" | "numeric" => format!("{column} <> 0"),
            _ => format!("{column}::{}", self.sql(Dialect::Postgres)),
        }
    }

    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        matches!(affinity, Affinity::Integer | Affinity::Numeric | Affinity::Blob)
    }
}
