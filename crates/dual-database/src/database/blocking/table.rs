//! The calls on any declared table, for programs without async.

use std::sync::Arc;

use futures_util::stream::StreamExt;
use tokio::runtime::Runtime;

use super::{DualDatabase, Transaction, step, wait};
use crate::Result;
use crate::database::{Filter, Found, Patch, Record, Rows, Written};
use crate::schema::{Key, Table};
use crate::value::Value;

/// One table of an open database: a [`crate::database::TableCalls`] whose calls wait.
#[derive(Clone, Debug)]
pub struct TableCalls {
    inner: crate::database::TableCalls,
    runtime: Arc<Runtime>,
}

impl DualDatabase {
    /// The calls on a declared table.
    ///
    /// # Errors
    /// As for [`crate::DualDatabase::table`].
    pub fn table(&self, name: &str) -> Result<TableCalls> {
        Ok(TableCalls { inner: self.inner.table(name)?, runtime: Arc::clone(&self.runtime) })
    }

    /// Reads from the file by one statement of SQL.
    ///
    /// # Errors
    /// As for [`crate::DualDatabase::query`].
    pub fn query(
        &self,
        sql: &str,
        parameters: impl IntoIterator<Item = Value>,
    ) -> Result<Found<Rows>> {
        wait(&self.runtime, self.inner.query(sql, parameters))?
    }
}

/// One waiting call for each async one.
macro_rules! calls_on_a_table {
    ($($(#[$about:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        $(
            $(#[$about])*
            ///
            /// # Errors
            #[doc = concat!("As for [`crate::database::TableCalls::", stringify!($name), "`].")]
            pub fn $name(&self, $($argument: $kind),*) -> Result<$answer> {
                wait(&self.runtime, self.inner.$name($($argument),*))?
            }
        )*
    };
}

impl TableCalls {
    /// The declaration, as it was when the table was asked for.
    #[must_use]
    pub fn declaration(&self) -> &Table {
        self.inner.declaration()
    }

    calls_on_a_table! {
        /// Adds a row.
        add(row: &Patch) -> Written<Record>;
        /// Adds a row, or sets these columns of the one that is there.
        upsert(row: &Patch) -> Written<Record>;
        /// Sets these columns of a row.
        update(key: impl Into<Key>, changes: &Patch) -> Written<Record>;
        /// Deletes a row.
        delete(key: impl Into<Key>) -> Written<()>;
        /// The row with that key.
        get(key: impl Into<Key>) -> Found<Option<Record>>;
        /// The rows that fit, in the order of the filter.
        list(filter: &Filter, limit: Option<u64>) -> Found<Vec<Record>>;
        /// How many rows fit.
        count(filter: &Filter) -> Found<u64>;
    }

    /// The rows that fit, in the order of the filter, in constant memory.
    pub fn rows(&self, filter: &Filter) -> impl Iterator<Item = Result<Record>> + use<> {
        let mut stream = Box::pin(self.inner.stream(filter));
        let runtime = Arc::clone(&self.runtime);
        std::iter::from_fn(move || match wait(&runtime, stream.next()) {
            Ok(next) => next,
            Err(error) => Some(Err(error)),
        })
    }
}

/// One waiting step for each async one.
macro_rules! steps_that_wait {
    ($($(#[$about:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        $(
            $(#[$about])*
            ///
            /// # Errors
            #[doc = concat!("As for [`crate::database::Transaction::", stringify!($name), "`].")]
            pub fn $name(&self, table: &str, $($argument: $kind),*) -> Result<$answer> {
                step(self.handle, self.inner.$name(table, $($argument),*))
            }
        )*
    };
}

impl Transaction<'_> {
    /// Adds a row to that table.
    ///
    /// # Errors
    /// As for [`crate::database::Transaction::add`].
    pub fn add(&self, table: &str, row: &Patch) -> Result<()> {
        self.inner.add(table, row)
    }

    steps_that_wait! {
        /// The row of that table as this transaction sees it.
        get(key: impl Into<Key>) -> Option<Record>;
        /// The rows of that table that fit, as this transaction sees them.
        list(filter: &Filter, limit: Option<u64>) -> Vec<Record>;
        /// Adds a row to that table, under a number of its own if its key is not named.
        add_numbered(row: &Patch) -> Record;
        /// Adds a row to that table, or sets these columns of the one that is there.
        upsert(row: &Patch) -> Record;
        /// Sets these columns of a row of that table.
        update(key: impl Into<Key>, changes: &Patch) -> Record;
        /// Deletes a row of that table.
        delete(key: impl Into<Key>) -> ();
    }
}
