//! A key as SQLite takes and gives it.

use rusqlite::types::{FromSql, FromSqlResult, ToSql, ToSqlOutput, Value as Stored, ValueRef};

use super::codec::to_sqlite;
use crate::schema::Key;

impl ToSql for Key {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Owned(stored(self)))
    }
}

impl FromSql for Key {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Key> {
        i64::column_result(value).map(Key::from)
    }
}

/// The key as a parameter.
pub(crate) fn stored(key: &Key) -> Stored {
    key.values().next().as_ref().map_or(Stored::Null, to_sqlite)
}

/// The key above which a range begins; `None`: with the table (but for the least key that there is).
pub(super) fn least(after: Option<&Key>) -> Stored {
    after.map_or(Stored::Integer(i64::MIN), stored)
}

/// The key with which a range ends; `None`: with the table.
pub(super) fn most(upto: Option<&Key>) -> Stored {
    upto.map_or(Stored::Integer(i64::MAX), stored)
}
