//! The canonical text of a value.

use std::borrow::Cow;

use super::{Value, timestamp_text};

/// The bytes by which equal stamps are decided; `None`, which is below all, for NULL.
/// They are those of the text that both stores can produce themselves (PostgreSQL
/// `COLLATE "C"`, SQLite `BINARY`), so that a set-based merge decides alike. Values of one
/// column are of one type: `1` and `true` are never compared.
#[must_use]
pub fn canonical_bytes(value: &Value) -> Option<Cow<'_, [u8]>> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => Cow::Borrowed(if *flag { b"1" } else { b"0" }),
        Value::Int(number) => Cow::Owned(number.to_string().into_bytes()),
        Value::Text(text) => Cow::Borrowed(text.as_bytes()),
        Value::Timestamp(instant) => Cow::Owned(timestamp_text(*instant).into_bytes()),
    })
}
