//! JSON: as it was written, or as PostgreSQL prints what it has made of it.

mod document;

use std::borrow::Cow;

pub(super) use document::is_json;
use document::{canonical_jsonb, is_well_formed};

use super::{Description, Unfit};
use crate::schema::{Affinity, Dialect};
use crate::value::Value;

/// The text as it is, blanks and all.
pub(super) struct Json;

/// The document, whatever it was written like.
pub(super) struct Jsonb;

/// There is no equality of `json`, and that of `jsonb` calls 1.0 and 1.00 equal.
const NO_JSON: Unfit = Unfit::Value("a JSON document is wanted, as text");

/// `JSON` is numeric by SQLite's rules: it keeps any object and any list. A document that is a number becomes
/// an integer there, and its row is set aside.
fn keeps_documents(affinity: Affinity) -> bool {
    matches!(affinity, Affinity::Text | Affinity::Blob | Affinity::Numeric)
}

impl Description for Json {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => "json",
            Dialect::Sqlite => "TEXT",
        }
    }

    fn is_text(&self) -> bool {
        true
    }

    fn by_text(&self) -> bool {
        true
    }

    /// Only keywords mean the same under any search path.
    fn carried(&self) -> &str {
        "pg_catalog.json"
    }

    fn wanted(&self) -> &'static str {
        "a JSON document as text"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        match &value {
            Value::Text(text) if is_well_formed(text) => Ok(value),
            Value::Text(_) => Err(NO_JSON),
            other => Err(self.other(other)),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Text(text) if !text.contains('\0'))
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        Some(Value::Text(text.into_owned()))
    }

    /// Whether it is a document PostgreSQL says.
    fn decode_text(&self, text: &str) -> Option<Value> {
        (!text.contains('\0')).then(|| Value::Text(text.into()))
    }

    /// No index says that two are the same.
    fn aside(&self, _: &str) -> Option<String> {
        None
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        base == "json"
    }

    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        keeps_documents(affinity)
    }
}

impl Description for Jsonb {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => "jsonb",
            Dialect::Sqlite => "TEXT",
        }
    }

    fn is_text(&self) -> bool {
        true
    }

    fn by_text(&self) -> bool {
        true
    }

    /// Only keywords mean the same under any search path.
    fn carried(&self) -> &str {
        "pg_catalog.jsonb"
    }

    fn wanted(&self) -> &'static str {
        "a JSON document as text"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        let Value::Text(text) = &value else { return Err(self.other(&value)) };
        self.decode_text(text).ok_or(NO_JSON)
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Text(text) if !text.contains('\0'))
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        Some(Value::Text(text.into_owned()))
    }

    fn decode_text(&self, text: &str) -> Option<Value> {
        canonical_jsonb(text).map(Value::Text)
    }

    fn aside(&self, number: &str) -> Option<String> {
        Some(format!(
            "pg_catalog.to_jsonb('parked ' OPERATOR(pg_catalog.||) {number}::pg_catalog.text)"
        ))
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        base == "jsonb"
    }

    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        keeps_documents(affinity)
    }
}
