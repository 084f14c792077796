//! What a list asks of either store.

use crate::schema::Key;
use crate::value::Value;

/// Which rows a list has. All conditions hold together.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Column position in [`crate::schema::Table::columns`], and the value it has ([`Value::Null`]: has none).
    pub equals: Vec<(usize, Value)>,
    /// Column position and a text that it contains, code point by code point.
    pub contains: Vec<(usize, String)>,
    /// For a timestamp column: from this instant on.
    pub since: Vec<(usize, Value)>,
}

/// Where a list goes on: the order value (NULL last, descending) and the key of the last row.
#[derive(Clone, Debug, PartialEq)]
pub struct After {
    /// `register_date` of the last row that was read.
    pub order: Value,
    /// Its key.
    pub key: Key,
}
