//! What both sides keep a list of: conflicts, and rows that one of them refuses.

use crate::Store;
use crate::merge::{Conflict, RegisterId};
use crate::schema::{RowId, Table};

/// An entry of the conflict log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictEntry {
    /// The row.
    pub id: RowId,
    /// Register and the two stamps.
    pub conflict: Conflict,
    /// Canonical text of the value that stands; `None` for NULL or a delete.
    pub winning: Option<String>,
    /// Canonical text of the value that does not.
    pub losing: Option<String>,
    /// When it was noted, in milliseconds since 1970.
    pub noted_ms: i64,
    /// Whether a person has seen it.
    pub reviewed: bool,
}

/// A row that one side refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The row.
    pub id: RowId,
    /// Who refuses it.
    pub refused_by: Store,
    /// The SQLSTATE, SQLite's extended code, or `unreadable`.
    pub code: String,
    /// Why, without values.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// When it is tried again by itself.
    pub retry_ms: i64,
}

/// The register's name in the conflict log: the column's, or in brackets what else it is about.
#[must_use]
pub(crate) fn register_name(table: &Table, register: RegisterId) -> &str {
    match register {
        RegisterId::Live => "(row)",
        RegisterId::Number => "(renumbered)",
        RegisterId::Column(at) => table.data_column(at).map_or("?", |column| &column.name),
    }
}

/// Whether the conflict log calls the register so: a column also by the names that it had.
#[must_use]
pub(crate) fn is_register(table: &Table, register: RegisterId, name: &str) -> bool {
    let had = |at: usize| {
        let column = table.data_column(at);
        column.is_some_and(|column| column.was.iter().any(|was| **was == *name))
    };
    register_name(table, register) == name || matches!(register, RegisterId::Column(at) if had(at))
}
