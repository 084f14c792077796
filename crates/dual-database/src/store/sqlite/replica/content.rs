//! One transaction on the file.

use rusqlite::Connection;

use super::LocalTable;
use crate::schema::RowId;
use crate::{Error, Kind, Result};

/// One transaction on the file.
#[derive(Debug)]
pub struct Content<'c> {
    connection: &'c Connection,
    tables: &'c [LocalTable],
    generation: u64,
}

impl<'c> Content<'c> {
    pub(super) fn new(
        connection: &'c Connection,
        tables: &'c [LocalTable],
        generation: u64,
    ) -> Content<'c> {
        Content { connection, tables, generation }
    }

    /// Which file it is, if it was recovered meanwhile ([`super::Replica::generation`]): what was
    /// read in another generation says nothing about this one's positions.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The connection, for statements of other rooms.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        self.connection
    }

    /// The tables in their order.
    #[must_use]
    pub fn tables(&self) -> &[LocalTable] {
        self.tables
    }

    pub(super) fn local(&self, table: usize) -> Result<&LocalTable> {
        self.tables
            .get(table)
            .ok_or_else(|| Error::new(Kind::Internal, "find a table", "there is no such table"))
    }

    /// The position of the table of that name.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        self.tables.iter().position(|local| local.table.name() == name)
    }

    /// The row in words, for errors.
    pub(super) fn name_of(&self, id: &RowId) -> String {
        self.tables.get(id.table).map_or_else(
            || format!("row {}", id.key),
            |local| {
                let table = &local.table;
                format!("table {}, {} {}", table.name(), table.key_name(), id.key)
            },
        )
    }
}
