//! A key as SQLite takes and gives it: a number, or JSON ([`crate::schema::KeyColumns::given`]).

use rusqlite::types::{
    FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Value as Stored, ValueRef,
};

use crate::schema::Key;

impl ToSql for Key {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(stored(self)))
    }
}

impl FromSql for Key {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Key> {
        match value {
            ValueRef::Text(_) => Key::from_json(value.as_str()?).ok_or(FromSqlError::InvalidType),
            other => i64::column_result(other).map(Key::from),
        }
    }
}

/// The key as a parameter.
pub(crate) fn stored(key: &Key) -> Stored {
    match key.number() {
        Some(number) => Stored::Integer(number),
        None => Stored::Text(key.json()),
    }
}
