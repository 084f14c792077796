//! A value of a column, the same on both sides, and its canonical text.

mod canonical;
mod digest;
mod from;
mod plain;
mod read;
mod timestamp;
mod tree;

pub use canonical::canonical_bytes;
pub use digest::{RangeDigest, RangeHasher, row_digest};
pub use plain::{bytes_of_hex, plain_text, widened};
pub(crate) use read::{Cell, Misfit, read_row};
pub use timestamp::{parse_timestamp_text, timestamp_text};
pub(crate) use tree::Tree;

use jiff::civil::DateTime;

/// The longest text that is carried from one side to the other, in bytes of UTF-8: on its way a value
/// is held in memory several times. The row of a longer one is set aside. Of bytes there can be half as
/// many: they go over as digits.
pub const LONGEST: usize = 16 << 20;

/// So many bytes of texts are merged in one transaction; what comes last may exceed it. Measured, the
/// process's memory rose by 80 MB for one text of 15 MB from PostgreSQL, by 230 MB for one from the file,
/// and by 480 MB for however many of them.
pub const PORTION: usize = 16 << 20;

/// A value of a column.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// No value.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer of up to 64 bits.
    Int(i64),
    /// A floating-point number of 32 bits; equal if its bits are, -0 being 0. NaN has no place: SQLite
    /// keeps NULL for it.
    Real(f32),
    /// The same of 64 bits.
    Float(f64),
    /// Text without NUL characters (PostgreSQL has none).
    Text(String),
    /// A UTC date and time, years 1 to 9999, microseconds.
    Timestamp(DateTime),
    /// Bytes of any kind.
    Bytes(Vec<u8>),
}

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(one), Value::Bool(other)) => one == other,
            (Value::Int(one), Value::Int(other)) => one == other,
            (Value::Real(one), Value::Real(other)) => bits_of_real(*one) == bits_of_real(*other),
            (Value::Float(one), Value::Float(other)) => {
                bits_of_float(*one) == bits_of_float(*other)
            }
            (Value::Text(one), Value::Text(other)) => one == other,
            (Value::Timestamp(one), Value::Timestamp(other)) => one == other,
            (Value::Bytes(one), Value::Bytes(other)) => one == other,
            _ => false,
        }
    }
}

impl Eq for Value {}

/// Those of -0 are those of 0.
fn bits_of_real(number: f32) -> u32 {
    (number + 0.0).to_bits()
}

/// As [`bits_of_real`].
fn bits_of_float(number: f64) -> u64 {
    (number + 0.0).to_bits()
}

impl Value {
    /// Whether this is [`Value::Null`].
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// How many bytes its text takes, if that can be many. Bytes go over as digits, two for each.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => 2 * bytes.len(),
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Real(_)
            | Value::Float(_)
            | Value::Timestamp(_) => 0,
        }
    }
}
