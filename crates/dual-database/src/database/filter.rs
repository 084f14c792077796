//! Filters by the names of columns.

use std::sync::Arc;

use super::patch::{column_of, comparable, refused};
use crate::Result;
use crate::protocol::Filter;
use crate::schema::{LogicalType, Table};
use crate::value::Value;

impl Filter {
    /// Only rows with this value in that column; null: with none.
    ///
    /// ```
    /// use dual_database::protocol::Filter;
    /// use dual_database::schema::users;
    ///
    /// let issued = Filter::default().equals(&users(), "status", "issued")?;
    /// assert!(issued.equals(&users(), "sttaus", "issued").is_err());
    /// # Ok::<(), dual_database::Error>(())
    /// ```
    ///
    /// # Errors
    /// Invalid data for a name that is no column (with the nearest one as a hint), and for a value of
    /// another type.
    pub fn equals(
        mut self,
        table: &Table,
        column: &str,
        value: impl Into<Value>,
    ) -> Result<Filter> {
        let column = column_of(table, column)?;
        let value = comparable(table, column, value.into())?;
        self.equals.push((Arc::clone(&column.name), value));
        Ok(self)
    }

    /// The same of a value that a person has typed: JSON where the column takes what that says, else the
    /// text itself.
    ///
    /// # Errors
    /// As for [`Filter::equals`].
    pub fn equals_text(self, table: &Table, column: &str, text: &str) -> Result<Filter> {
        let kind = &column_of(table, column)?.kind;
        let value = Value::typed(text);
        // A telephone number is a text that looks like a number.
        let value = match kind.accept(value.clone()) {
            Ok(_) => value,
            Err(_) => Value::Text(text.to_owned()),
        };
        self.equals(table, column, value)
    }

    /// Only rows whose text in that column contains this one, code point by code point.
    ///
    /// # Errors
    /// As for [`Filter::equals`]; invalid data for a column that is no text.
    pub fn contains(mut self, table: &Table, column: &str, text: &str) -> Result<Filter> {
        let column = column_of(table, column)?;
        if column.kind != LogicalType::Text {
            return Err(refused(table, &column.name, "it is no text to look into"));
        }
        comparable(table, column, text.into())?;
        self.contains.push((Arc::clone(&column.name), text.into()));
        Ok(self)
    }

    /// Only rows whose timestamp in that column is this one or later.
    ///
    /// # Errors
    /// As for [`Filter::equals`]; invalid data for a column that is no timestamp, and for null.
    pub fn since(
        mut self,
        table: &Table,
        column: &str,
        instant: impl Into<Value>,
    ) -> Result<Filter> {
        let column = column_of(table, column)?;
        let value = comparable(table, column, instant.into())?;
        if !matches!(value, Value::Timestamp(_)) {
            return Err(refused(table, &column.name, "a timestamp is wanted on both sides"));
        }
        self.since.push((Arc::clone(&column.name), value));
        Ok(self)
    }
}
