//! A key as PostgreSQL takes and gives it.

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::schema::Key;
use crate::value::Value;

impl ToSql for Key {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.values().next() {
            Some(Value::Int(number)) => number.to_sql(kind, out),
            _ => Err("not a key of one whole number".into()),
        }
    }

    fn accepts(kind: &Type) -> bool {
        <i64 as ToSql>::accepts(kind)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Key {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Key, Box<dyn Error + Sync + Send>> {
        i64::from_sql(kind, raw).map(Key::from)
    }

    fn accepts(kind: &Type) -> bool {
        <i64 as FromSql>::accepts(kind)
    }
}
