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
    /// Types of columns that only the file has.
    pub types: BTreeMap<String, LogicalType>,
    /// Columns that the file calls otherwise: PostgreSQL's name, and the file's.
    pub names: BTreeMap<String, String>,
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
        let of_postgres = |name: &&String| {
            let there = sides.named_there(name).map_or(name.as_str(), |there| there);
            sides.remote.is_some_and(|relation| relation.column(there).is_some())
        };
        if let Some(name) = self.types.keys().find(of_postgres) {
            return Err(wrong(format!("{name} is in PostgreSQL, which says its type"))
                .with_hint("change it there, or leave it out of types"));
        }
        Ok(())
    }

    pub(super) fn wrong(&self, table: &str, message: String) -> Error {
        let message = format!("the settings of the table {table}: {message}");
        Error::new(Kind::Configuration, OPERATION, message)
    }
}
