//! The second phase: staged rows into both stores. The order of the steps, and what their
//! failure leaves behind, is in `DESIGN.md` beside this file.

mod copy_text;
mod halves;
mod postgres;
mod sql;
mod sqlite;

pub(super) use postgres::PostgresLoad;
pub(super) use sqlite::SqliteLoad;

use std::collections::BTreeMap;
use std::sync::Arc;

use dual_database::error::{Error, Kind, Result, Store};
use dual_database::schema::{Column, Table};

/// The column that PostgreSQL numbers; a mapping is for no table without one.
fn number(table: &Table) -> &Column {
    table.surrogate().unwrap_or_else(|| table.key())
}

/// What a store is about to get, or got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StorePlan {
    /// Rows that the store does not have.
    pub inserted: u64,
    /// Rows in which at least one column differs from what the source knows.
    pub updated: u64,
    /// Rows that have everything already.
    pub unchanged: u64,
    /// How many of the updated rows change, by column.
    pub columns: BTreeMap<Arc<str>, u64>,
    /// Additions to the store's schema, one clause each.
    pub schema: Vec<String>,
}

impl StorePlan {
    /// Whether the store stays exactly as it is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inserted == 0 && self.updated == 0 && self.schema.is_empty()
    }

    /// A trigger or a rule of the table can swallow rows without a word; then the plan, which
    /// the report repeats, would not be what was done.
    fn check(
        &self,
        store: Store,
        operation: &'static str,
        updated: u64,
        inserted: u64,
    ) -> Result<()> {
        if (updated, inserted) == (self.updated, self.inserted) {
            return Ok(());
        }
        Err(Error::new(
            Kind::InvalidData,
            operation,
            format!(
                "{store} took {inserted} of {} new rows and {updated} of {} changed ones",
                self.inserted, self.updated
            ),
        )
        .with_hint("nothing was changed; a trigger or a rule of the table swallows the others"))
    }
}

/// The record of a run, kept in both stores, by which a later run sees that this one reached
/// only one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Time-ordered, so that the greatest is the last.
    pub(super) run_id: String,
    /// What was imported, for a person.
    pub(super) source: String,
}

/// A row that a store refuses (CHECK, NOT NULL, unique, triggers).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The store.
    pub(super) store: Store,
    /// The row's number in the source.
    pub(super) row: i64,
    /// Why, without values.
    pub(super) says: String,
}

impl Refusal {
    /// More refused rows than this, and the table is of another kind than the rows.
    const MOST: usize = 1_000;

    /// Adds one to those found so far.
    fn add(found: &mut Vec<Refusal>, store: Store, row: i64, cause: Error) -> Result<()> {
        if found.len() >= Refusal::MOST {
            return Err(Error::new(
                Kind::InvalidData,
                "find the refused rows",
                format!("{store} refuses more than {} rows", Refusal::MOST),
            )
            .with_hint("nothing was changed; see the constraints and triggers of the table")
            .with_source(cause));
        }
        found.push(Refusal { store, row, says: cause.message().to_string() });
        Ok(())
    }
}
