//! What a list asks of either store.

use std::sync::Arc;

use crate::schema::Key;
use crate::value::Value;

/// Which rows a list has. All conditions hold together.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The name of any column, as it is or was declared, and the value it has ([`Value::Null`]: has none).
    pub equals: Vec<(Arc<str>, Value)>,
    /// The name of a column and a text that it contains, code point by code point.
    pub contains: Vec<(Arc<str>, String)>,
    /// For a timestamp column: from this instant on.
    pub since: Vec<(Arc<str>, Value)>,
}

/// Where a list goes on: the order value (NULL last, descending) and the key of the last row.
#[derive(Clone, Debug, PartialEq)]
pub struct After {
    /// What the column by which the list goes has in the last row that was read.
    pub order: Value,
    /// Its key.
    pub key: Key,
}
