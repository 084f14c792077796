use std::borrow::Cow;

use super::{Description, Unfit};
use crate::schema::{Affinity, Dialect};
use crate::value::{LONGEST, Value, bytes_of_hex};

/// `>`, of the server's own.
const ABOVE: &str = "OPERATOR(pg_catalog.>)";

/// They go over as digits, two for each.
const MOST: usize = LONGEST / 2;

pub(super) struct Bytes;

impl Description for Bytes {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => "bytea",
            Dialect::Sqlite => "BLOB",
        }
    }

    /// Only keywords mean the same under any search path.
    fn carried(&self) -> &str {
        "pg_catalog.bytea"
    }

    fn wanted(&self) -> &'static str {
        "bytes"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        match value {
            Value::Bytes(_) => Ok(value),
            Value::Text(text) => {
                text.strip_prefix("\\x").and_then(bytes_of_hex).map(Value::Bytes).ok_or(
                    Unfit::Value(
                        "bytes are wanted, as text \\x and two hexadecimal digits for each",
                    ),
                )
            }
            other => Err(self.other(&other)),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Bytes(_))
    }

    /// What a person types may begin as PostgreSQL prints it.
    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        bytes_of_hex(text.strip_prefix("\\x").unwrap_or(&text)).map(Value::Bytes)
    }

    fn makes_keys(&self) -> bool {
        true
    }

    /// As PostgreSQL takes them, whatever its settings: the digits have the order of the bytes.
    fn keyed(&self, dialect: Dialect, column: &str) -> String {
        match dialect {
            Dialect::Postgres => {
                format!("pg_catalog.concat(E'\\\\x', pg_catalog.encode({column}, 'hex'))")
            }
            Dialect::Sqlite => format!("'\\x' || lower(hex({column}))"),
        }
    }

    fn unkeyed(&self, dialect: Dialect, part: &str) -> String {
        match dialect {
            Dialect::Postgres => format!("({part})::{}", self.carried()),
            Dialect::Sqlite => format!("unhex(substr({part}, 3))"),
        }
    }

    fn is_keyed(&self, column: &str) -> String {
        format!("typeof({column}) = 'blob'")
    }

    fn is_carried(&self, column: &str) -> String {
        self.is_keyed(column)
    }

    fn decode_blob(&self, bytes: &[u8]) -> Option<Value> {
        Some(Value::Bytes(bytes.to_vec()))
    }

    /// Whatever `bytea_output` is.
    fn printed(&self, column: &str, _: bool) -> String {
        format!(
            "CASE WHEN NOT pg_catalog.octet_length({column}) {ABOVE} {MOST} \
             THEN pg_catalog.encode({column}, 'hex') END"
        )
    }

    fn uncarried(&self, column: &str, _: bool) -> Vec<String> {
        vec![format!("pg_catalog.octet_length({column}) {ABOVE} {MOST}")]
    }

    fn bytes(&self, dialect: Dialect, column: &str) -> Option<String> {
        let length = match dialect {
            Dialect::Postgres => format!("pg_catalog.octet_length({column})"),
            Dialect::Sqlite => format!("octet_length({column})"),
        };
        Some(format!("CASE WHEN {length} <= {MOST} THEN 2 * {length} ELSE 0 END"))
    }

    fn canonical(&self, column: &str, _: bool) -> String {
        format!(
            "CASE WHEN octet_length({column}) > {MOST} THEN '?' || octet_length({column}) \
             ELSE encode({column}, 'hex') END"
        )
    }

    /// Text, which is none of the type, instead of one that is too long.
    fn stored(&self, column: &str) -> String {
        format!("CASE WHEN octet_length({column}) > {MOST} THEN '' ELSE {column} END")
    }

    fn aside(&self, number: &str) -> Option<String> {
        Some(format!("pg_catalog.decode(pg_catalog.md5({number}::pg_catalog.text), 'hex')"))
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        base == "bytea"
    }

    /// No affinity changes them.
    fn fits_sqlite(&self, _: Affinity) -> bool {
        true
    }
}
