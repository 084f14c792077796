//! A key as PostgreSQL takes and gives it: a number, or JSON ([`KeyColumns::given`]).

use std::error::Error;

use bytes::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use crate::schema::{Key, KeyColumns};
use crate::value::Value;

impl KeyColumns {
    /// The type of a parameter that is a key.
    pub(crate) fn one(&self) -> Type {
        if self.is_number() { Type::INT8 } else { Type::TEXT }
    }

    /// The key of a record in JSON, as the server writes one.
    pub(crate) fn read_record(&self, json: &serde_json::Value) -> Option<Key> {
        let values = self.names().zip(self.kinds()).map(|(name, kind)| match json.get(name)? {
            serde_json::Value::String(text) => kind.parse(text.as_str()),
            number => number.as_i64().map(Value::Int),
        });
        Key::of(&values.collect::<Option<Vec<_>>>()?)
    }

    /// The type of one that is an array of keys.
    pub(crate) fn many(&self) -> Type {
        if self.is_number() { Type::INT8_ARRAY } else { Type::TEXT_ARRAY }
    }
}

impl ToSql for Key {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match (*kind == Type::INT8, self.number()) {
            (true, Some(number)) => number.to_sql(kind, out),
            (true, None) => Err("not a key of one whole number".into()),
            (false, _) => self.json().to_sql(kind, out),
        }
    }

    fn accepts(kind: &Type) -> bool {
        [Type::INT8, Type::TEXT].contains(kind)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Key {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Key, Box<dyn Error + Sync + Send>> {
        match *kind {
            Type::INT8 => i64::from_sql(kind, raw).map(Key::from),
            _ => Key::from_json(<&str>::from_sql(kind, raw)?).ok_or_else(|| "not a key".into()),
        }
    }

    fn accepts(kind: &Type) -> bool {
        <Key as ToSql>::accepts(kind)
    }
}
