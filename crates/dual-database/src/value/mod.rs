//! A value of a column, the same on both sides, and its canonical text.

mod canonical;
mod digest;
mod from;
mod kind;
mod timestamp;

pub use canonical::canonical_bytes;
pub use digest::{RangeDigest, RangeHasher, row_digest};
pub use kind::LogicalType;
pub use timestamp::{parse_timestamp_text, timestamp_text};

use jiff::civil::DateTime;

/// The longest text that is carried from one side to the other, in bytes of UTF-8: on its way a value
/// is held in memory several times. The row of a longer one is set aside.
pub const LONGEST: usize = 16 << 20;

/// So many bytes of texts are merged in one transaction; what comes last may exceed it. Measured, the
/// process's memory rose by 80 MB for one text of 15 MB from PostgreSQL, by 230 MB for one from the file,
/// and by 480 MB for however many of them.
pub const PORTION: usize = 16 << 20;

/// A value of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// No value.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer of up to 64 bits.
    Int(i64),
    /// Text without NUL characters (PostgreSQL has none).
    Text(String),
    /// A UTC date and time, years 1 to 9999, microseconds.
    Timestamp(DateTime),
}

impl Value {
    /// Whether this is [`Value::Null`].
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// How many bytes its text takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Timestamp(_) => 0,
        }
    }
}

/// Reads what PostgreSQL prints for a column of that type (`column::text`, DateStyle ISO).
/// `None` if the value cannot be kept on the other side: `infinity`, years before 1 or after
/// 9999.
///
/// ```
/// use dual_database::value::{LogicalType, Value, parse_postgres_text};
/// assert_eq!(parse_postgres_text(LogicalType::Bool, "true"), Some(Value::Bool(true)));
/// assert_eq!(parse_postgres_text(LogicalType::Timestamp, "infinity"), None);
/// ```
#[must_use]
pub fn parse_postgres_text(kind: LogicalType, text: &str) -> Option<Value> {
    match kind {
        LogicalType::Bool => match text {
            "true" | "t" => Some(Value::Bool(true)),
            "false" | "f" => Some(Value::Bool(false)),
            _ => None,
        },
        LogicalType::Int => text.parse::<i32>().ok().map(|number| Value::Int(number.into())),
        LogicalType::BigInt => text.parse().ok().map(Value::Int),
        LogicalType::Text => Some(Value::Text(text.into())),
        LogicalType::Timestamp => parse_timestamp_text(text).map(Value::Timestamp),
    }
}
