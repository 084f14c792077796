//! The canonical text of a value.

use std::borrow::Cow;

use super::plain::hex;
use super::{Value, bits_of_float, bits_of_real, timestamp_text};

/// The bytes by which equal stamps are decided; `None`, which is below all, for NULL.
/// They are those of the text that both stores can produce themselves (PostgreSQL
/// `COLLATE "C"`, SQLite `BINARY`), so that a set-based merge decides alike. Values of one
/// column are of one type: `1` and `true` are never compared. A floating-point number is the digits of
/// its bits, since no two programs print all of them alike; bytes are their digits.
#[must_use]
pub fn canonical_bytes(value: &Value) -> Option<Cow<'_, [u8]>> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => Cow::Borrowed(if *flag { b"1" } else { b"0" }),
        Value::Int(number) => Cow::Owned(number.to_string().into_bytes()),
        Value::Real(number) => Cow::Owned(format!("{:08x}", bits_of_real(*number)).into_bytes()),
        Value::Float(number) => Cow::Owned(format!("{:016x}", bits_of_float(*number)).into_bytes()),
        Value::Text(text) => Cow::Borrowed(text.as_bytes()),
        Value::Timestamp(instant) => Cow::Owned(timestamp_text(*instant).into_bytes()),
        Value::Bytes(bytes) => Cow::Owned(hex(bytes).into_bytes()),
    })
}
