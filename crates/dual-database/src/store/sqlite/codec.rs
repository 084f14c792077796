//! Values to SQLite's storage classes and back.

use rusqlite::types::{ToSqlOutput, Value as Stored, ValueRef};
use rusqlite::{Row, ToSql};

use crate::schema::LogicalType;
use crate::value::{Value, timestamp_text, widened};

/// A stored value that its column's logical type cannot hold: text in an integer column, bytes in another,
/// broken UTF-8, a date that is none.
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
        Value::Real(number) => Stored::Real(widened(*number)),
        Value::Float(number) => Stored::Real(*number),
        Value::Text(text) => Stored::Text(text.clone()),
        Value::Timestamp(instant) => Stored::Text(timestamp_text(*instant)),
        Value::Bytes(bytes) => Stored::Blob(bytes.clone()),
    }
}

/// A long text is not copied before SQLite does it.
impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Value::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Value::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
            other => ToSqlOutput::Owned(to_sqlite(other)),
        })
    }
}

/// The value that SQLite has for a column of that type. SQLite keeps any value in any column,
/// so this can fail for files that other programs wrote.
///
/// # Errors
/// [`Undecodable`] if the stored value is none of the type.
pub fn from_sqlite(kind: &LogicalType, stored: ValueRef<'_>) -> Result<Value, Undecodable> {
    let description = kind.description();
    let value = match stored {
        ValueRef::Null => Some(Value::Null),
        ValueRef::Integer(number) => description.decode_integer(number),
        ValueRef::Text(bytes) => {
            std::str::from_utf8(bytes).ok().and_then(|text| description.decode_text(text))
        }
        ValueRef::Real(number) => description.decode_real(number),
        ValueRef::Blob(bytes) => description.decode_blob(bytes),
    };
    value.ok_or(Undecodable)
}
