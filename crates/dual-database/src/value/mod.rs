//! A value of a column, the same on both sides, and its canonical text.

mod canonical;
mod digest;
mod from;
mod timestamp;

pub use canonical::canonical_bytes;
pub use digest::{RangeDigest, RangeHasher, row_digest};
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
