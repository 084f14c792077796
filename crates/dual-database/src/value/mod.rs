//! A value of a column, the same on both sides, and its canonical text.

mod timestamp;

pub use timestamp::{parse_timestamp_text, timestamp_text};

use jiff::civil::DateTime;

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
}
