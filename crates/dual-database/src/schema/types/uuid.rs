use std::borrow::Cow;

use super::{Description, Unfit};
use crate::schema::{Affinity, Dialect};
use crate::value::Value;

pub(super) struct Uuid;

/// In lower case, as PostgreSQL prints it, if the text is one with its four hyphens.
fn uuid(text: &str) -> Option<Value> {
    let is_in_place = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    let is_one = text.len() == 36 && text.bytes().enumerate().all(is_in_place);
    is_one.then(|| Value::Text(text.to_ascii_lowercase()))
}

impl Description for Uuid {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => "uuid",
            Dialect::Sqlite => "TEXT",
        }
    }

    /// Only keywords mean the same under any search path.
    fn carried(&self) -> &str {
        "pg_catalog.uuid"
    }

    fn wanted(&self) -> &'static str {
        "a uuid as text"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        let Value::Text(text) = &value else { return Err(self.other(&value)) };
        uuid(text).ok_or(Unfit::Value(
            "a uuid is wanted: xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx, in hexadecimal digits",
        ))
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Text(text) if uuid(text).as_ref() == Some(value))
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        uuid(&text)
    }

    fn decode_text(&self, text: &str) -> Option<Value> {
        uuid(text)
    }

    fn makes_keys(&self) -> bool {
        true
    }

    fn is_carried(&self, column: &str) -> String {
        self.is_keyed(column)
    }

    /// In lower case: another text for the same would be another key.
    fn is_keyed(&self, column: &str) -> String {
        let form = [8, 4, 4, 4, 12].map(|count| "[0-9a-f]".repeat(count)).join("-");
        format!("typeof({column}) = 'text' AND {column} GLOB '{form}'")
    }

    /// A file may have capitals.
    fn ordered(&self, dialect: Dialect, value: &str) -> Option<String> {
        Some(match dialect {
            Dialect::Postgres => value.to_owned(),
            Dialect::Sqlite => format!("lower({value}) COLLATE BINARY"),
        })
    }

    fn aside(&self, number: &str) -> Option<String> {
        Some(format!("pg_catalog.md5({number}::pg_catalog.text)::pg_catalog.uuid"))
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        base == "uuid"
    }

    /// `UUID` is numeric by SQLite's rules, but none looks like a number.
    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        matches!(affinity, Affinity::Text | Affinity::Blob | Affinity::Numeric)
    }
}
