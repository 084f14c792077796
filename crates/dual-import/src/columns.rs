//! A row of the source has a cell for any column of the table, its key among them: where this crate goes by the
//! position of a column, it is the one in [`Table::columns`]. What the stores give for the data columns alone is
//! counted where it is read.

use dual_database::schema::{Column, Role, Table};

/// The position of the column of that name.
pub(crate) fn position(table: &Table, name: &str) -> Option<usize> {
    table.columns().iter().position(|column| *column.name == *name)
}

/// The position of the key's column.
pub(crate) fn key_position(table: &Table) -> Option<usize> {
    table.columns().iter().position(|column| column.role == Role::Key)
}

/// The data columns with their positions.
pub(crate) fn data_columns(table: &Table) -> impl Iterator<Item = (usize, &Column)> {
    table.columns().iter().enumerate().filter(|(_, column)| column.role == Role::Data)
}
