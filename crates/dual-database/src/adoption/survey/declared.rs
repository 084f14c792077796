//! What a person declares of a table before it is joined.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::OPERATION;
use super::pairs::Sides;
use crate::error::{Error, Kind, Result};
use crate::schema::{LogicalType, Relation, RelationKey};

/// What is to be so of a table, where nothing on either side tells, or tells something else. It counts when the
/// table is joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// The columns by which its rows are told apart, in their order; none: the primary key.
    pub key: Vec<String>,
    /// Whether a side hands the numbers of its key out, so that two births under one number are two rows; `None`:
    /// if PostgreSQL has a sequence for it, or the file says `AUTOINCREMENT`.
    pub automatic: Option<bool>,
    /// Columns that are not carried.
    pub left_out: Vec<String>,
    /// Types of columns that only the file has; `bigint` where PostgreSQL has fewer bits lets it make that so.
    pub types: BTreeMap<String, LogicalType>,
    /// Columns that the file calls otherwise: PostgreSQL's name, and the file's.
    pub names: BTreeMap<String, String>,
}

/// Whole numbers of 64 bits, where there are some.
fn is_wider(said: &LogicalType, there: Option<&LogicalType>) -> bool {
    *said == LogicalType::BigInt && there.is_some_and(LogicalType::is_whole_number)
}

impl Declared {
    pub(super) fn leaves_out(&self, name: &str) -> bool {
        self.left_out.iter().any(|left| left.eq_ignore_ascii_case(name))
    }

    pub(super) fn left_out(&self) -> Vec<Arc<str>> {
        self.left_out.iter().map(|name| Arc::from(name.as_str())).collect()
    }

    pub(super) fn kind(&self, name: &str) -> Option<LogicalType> {
        let mut types = self.types.iter();
        types.find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, kind)| kind.clone())
    }

    pub(super) fn as_key(&self) -> Option<RelationKey> {
        let columns: Vec<Arc<str>> = self.key.iter().map(|name| name.as_str().into()).collect();
        (!columns.is_empty()).then_some(RelationKey { columns, primary: false })
    }

    /// Whether all that it names is there.
    ///
    /// # Errors
    /// Configuration, with the nearest name.
    pub(super) fn fits(&self, sides: &Sides<'_>) -> Result<()> {
        let both = || [sides.remote, sides.local].into_iter().flatten();
        let wrong = |message: String| self.wrong(sides.name, message);
        self.names_fit(sides)?;
        let named = self.key.iter().chain(&self.left_out).chain(self.types.keys());
        for name in named {
            let has = |relation: &Relation| relation.column(name).is_some();
            if !both().any(has) && sides.named(name).is_none() {
                let known = both().flat_map(|relation| &relation.columns);
                return Err(wrong(format!("it has no column {name}"))
                    .suggesting(name, known.map(|column| &*column.name)));
            }
        }
        if let Some(name) = self.key.iter().find(|name| self.leaves_out(name)) {
            return Err(wrong(format!("{name} is of its key, and cannot be left out")));
        }
        let there = |name: &str| {
            let named = sides.named_there(name).map_or(name, |there| there);
            sides.remote.and_then(|relation| relation.column(named))
        };
        let is_told = |(name, kind): &(&String, &LogicalType)| {
            there(name).is_some_and(|column| !is_wider(kind, column.kind.as_ref()))
        };
        if let Some((name, _)) = self.types.iter().find(is_told) {
            return Err(wrong(format!("{name} is in PostgreSQL, which says its type")).with_hint(
                "change it there, or leave it out of types; only smallint and integer can be said to be bigint",
            ));
        }
        Ok(())
    }

    pub(super) fn wrong(&self, table: &str, message: String) -> Error {
        let message = format!("the settings of the table {table}: {message}");
        Error::new(Kind::Configuration, OPERATION, message)
    }
}
