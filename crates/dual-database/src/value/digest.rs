//! Digests by which the two sides compare many rows without exchanging them.

use aws_lc_rs::digest::{Context, SHA256, digest};

use super::{Value, canonical_bytes};

/// What a part of a table is, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeDigest {
    /// How many rows it has.
    pub rows: u64,
    /// The SHA-256 that [`RangeHasher`] documents.
    pub digest: [u8; 32],
}

/// The digest of a row of canonical texts, as a [`RangeHasher`] takes it.
#[must_use]
pub fn row_digest<T: AsRef<[u8]>>(columns: impl IntoIterator<Item = Option<T>>) -> [u8; 32] {
    let mut bytes = Vec::new();
    for column in columns {
        match column {
            None => bytes.push(b'-'),
            Some(text) => {
                let text = text.as_ref();
                bytes.extend_from_slice(text.len().to_string().as_bytes());
                bytes.push(b':');
                bytes.extend_from_slice(text);
            }
        }
    }
    let mut row = [0; 32];
    row.copy_from_slice(digest(&SHA256, &bytes).as_ref());
    row
}

/// Makes a [`RangeDigest`] of rows that come in the order of their keys.
///
/// The digest is the SHA-256 of the concatenated 32-byte SHA-256 of each row. The bytes of a row
/// are those of all of its columns in the order of the declaration, surrogate and key included:
/// for NULL the one byte `-`; else the length of the canonical text in bytes, in decimal digits,
/// `:`, and the text ([`canonical_bytes`]: `1` or `0`, decimal digits, UTF-8,
/// `YYYY-MM-DD HH:MM:SS[.ffffff]`, the bits of a floating-point number or bytes in hexadecimal digits). What cannot be carried counts as `?` and some text: that is
/// the canonical text of no date.
///
/// ```
/// use dual_database::value::{RangeHasher, Value};
/// let mut one = RangeHasher::default();
/// one.row(&[Value::Int(1), Value::Text("я".into()), Value::Null]); // "1:12:я-"
/// let one = one.finish();
/// assert_eq!(one.rows, 1);
/// assert_eq!(RangeHasher::default().finish().rows, 0);
/// ```
#[derive(Clone)]
pub struct RangeHasher {
    rows: u64,
    context: Context,
}

impl Default for RangeHasher {
    fn default() -> RangeHasher {
        RangeHasher { rows: 0, context: Context::new(&SHA256) }
    }
}

impl std::fmt::Debug for RangeHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RangeHasher({} rows)", self.rows)
    }
}

impl RangeHasher {
    /// Adds a row: the values of all columns in the order of the declaration.
    pub fn row(&mut self, columns: &[Value]) {
        self.row_of(columns.iter().map(canonical_bytes));
    }

    /// Adds a row of canonical texts; for a value that cannot be carried `?` and its text.
    pub fn row_of<T: AsRef<[u8]>>(&mut self, columns: impl IntoIterator<Item = Option<T>>) {
        self.digested(&row_digest(columns));
    }

    /// Adds a row by its [`row_digest`].
    pub fn digested(&mut self, row: &[u8; 32]) {
        self.context.update(row);
        self.rows += 1;
    }

    /// The digest of what was added.
    #[must_use]
    pub fn finish(self) -> RangeDigest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.context.finish().as_ref());
        RangeDigest { rows: self.rows, digest: bytes }
    }
}
