use std::fmt;

use serde::{Serialize, Serializer};

use crate::value::Value;

/// By what a row is told apart from the others of its table, on both sides. Its order is that in
/// which both sides read rows.
///
/// ```
/// use dual_database::schema::Key;
/// let key = Key::from(7);
/// assert!(key < Key::from(10));
/// assert_eq!(key.to_string(), "7");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(i64);

impl Key {
    /// The values of the key's columns, in their order.
    pub fn values(&self) -> impl Iterator<Item = Value> {
        std::iter::once(Value::Int(self.0))
    }

    /// The whole number that it is, if it is one alone.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        Some(self.0)
    }

    /// The key of these values of the key's columns; `None` if they make none.
    #[must_use]
    pub fn of(values: &[Value]) -> Option<Key> {
        match values {
            [Value::Int(number)] => Some(Key(*number)),
            _ => None,
        }
    }
}

impl From<i64> for Key {
    fn from(number: i64) -> Key {
        Key(number)
    }
}

/// Whether it is the key of this one whole number.
impl PartialEq<i64> for Key {
    fn eq(&self, number: &i64) -> bool {
        self.0 == *number
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Key {
        key.clone()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// A row of one of the tables that are kept together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId {
    /// The table's position among those that are kept together.
    pub table: usize,
    /// The row's key.
    pub key: Key,
}

impl RowId {
    /// The row with that key in the table at that position.
    pub fn new(table: usize, key: impl Into<Key>) -> RowId {
        RowId { table, key: key.into() }
    }
}
