//! Values to SQLite's storage classes and back.

use rusqlite::types::{ToSqlOutput, Value as Stored, ValueRef};
use rusqlite::{Row, ToSql};

use crate::schema::LogicalType;
use crate::value::{LONGEST, Value, parse_timestamp_text, timestamp_text};

/// A stored value that its column's logical type cannot hold: text in an integer column,
/// bytes, broken UTF-8, a date that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecodable;

/// A text of a catalog, or of ours, as far as it can be read. In a damaged file it may be no UTF-8: then
/// it is another text than it was, and no failure after half of the work.
pub(crate) fn readable(row: &Row<'_>, at: usize) -> rusqlite::Result<String> {
    Ok(String::from_utf8_lossy(row.get_ref(at)?.as_bytes()?).into_owned())
}

/// The value as SQLite stores it.
#[must_use]
pub fn to_sqlite(value: &Value) -> Stored {
    match value {
        Value::Null => Stored::Null,
        Value::Bool(flag) => Stored::Integer(i64::from(*flag)),
        Value::Int(number) => Stored::Integer(*number),
        Value::Text(text) => Stored::Text(text.clone()),
        Value::Timestamp(instant) => Stored::Text(timestamp_text(*instant)),
    }
}

/// A long text is not copied before SQLite does it.
impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            other => ToSqlOutput::Owned(to_sqlite(other)),
        })
    }
}

/// A column as our own statements read it: instead of a text that is too long to be carried they give
/// bytes, which are none of the type. To learn that SQLite does not read the text.
pub(crate) fn carried(column: &str, kind: LogicalType) -> String {
    match kind {
        LogicalType::Text => {
            format!("CASE WHEN octet_length({column}) > {LONGEST} THEN x'' ELSE {column} END")
        }
        _ => column.to_owned(),
    }
}

/// How many bytes of it are carried, an expression.
pub(super) fn bytes(column: &str, kind: LogicalType) -> String {
    let length = format!("octet_length({column})");
    match kind {
        LogicalType::Text => format!("CASE WHEN {length} <= {LONGEST} THEN {length} ELSE 0 END"),
        _ => "0".to_owned(),
    }
}

/// The value that SQLite has for a column of that type. SQLite keeps any value in any column,
/// so this can fail for files that other programs wrote.
///
/// # Errors
/// [`Undecodable`] if the stored value is none of the type.
pub fn from_sqlite(kind: LogicalType, stored: ValueRef<'_>) -> Result<Value, Undecodable> {
    match (kind, stored) {
        (_, ValueRef::Null) => Ok(Value::Null),
        (LogicalType::Bool, ValueRef::Integer(number @ (0 | 1))) => Ok(Value::Bool(number == 1)),
        (LogicalType::Int, ValueRef::Integer(number)) if i32::try_from(number).is_ok() => {
            Ok(Value::Int(number))
        }
        (LogicalType::BigInt, ValueRef::Integer(number)) => Ok(Value::Int(number)),
        (LogicalType::Text, ValueRef::Text(bytes)) if !bytes.contains(&0) => {
            std::str::from_utf8(bytes).map(|text| Value::Text(text.into())).map_err(|_| Undecodable)
        }
        (LogicalType::Timestamp, ValueRef::Text(bytes)) => std::str::from_utf8(bytes)
            .ok()
            .and_then(parse_timestamp_text)
            .map(Value::Timestamp)
            .ok_or(Undecodable),
        _ => Err(Undecodable),
    }
}
