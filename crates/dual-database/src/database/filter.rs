//! Filters, and orders, by the names of columns.

use std::sync::Arc;

use super::patch::{column_of, comparable, refused};
use crate::Result;
use crate::protocol::{Direction, Filter};
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

    /// Rows come by that column, those without a value in it last; rows that are alike in it by the next one that is
    /// named so, in the end by their keys, in the direction of the last column.
    ///
    /// Both sides have the same order: numbers by what they are, `numeric` whatever its scale; texts by their
    /// bytes, which is by code points; days, times and moments by time; `uuid` and bytes by their bytes; false
    /// before true. JSON, and types that are known by their text alone (enums, arrays, `interval`), have no order
    /// that both sides share.
    ///
    /// ```
    /// use dual_database::protocol::{Direction, Filter};
    /// use dual_database::schema::users;
    ///
    /// let by_name = Filter::default().order_by(&users(), "first_name", Direction::Ascending)?;
    /// by_name.order_by(&users(), "register_date", Direction::Descending)?;
    /// let error = Filter::default().order_by(&users(), "frist_name", Direction::Ascending);
    /// assert_eq!(error.unwrap_err().hint(), Some("did you mean `first_name`?"));
    /// # Ok::<(), dual_database::Error>(())
    /// ```
    ///
    /// # Errors
    /// Invalid data for a name that is no column (with the nearest one as a hint), for one that is named twice,
    /// and for a column whose type has no such order.
    pub fn order_by(mut self, table: &Table, column: &str, direction: Direction) -> Result<Filter> {
        let column = column_of(table, column)?;
        if !column.kind.is_ordered() {
            let why = "its values have no order that both sides share";
            return Err(refused(table, &column.name, why).with_hint("order by another column"));
        }
        if self.order.iter().any(|(named, _)| *named == column.name) {
            return Err(refused(table, &column.name, "the order names it twice"));
        }
        self.order.push((Arc::clone(&column.name), direction));
        Ok(self)
    }

    /// The same as a person types it: the name of a column, with a `-` before it for the highest first.
    ///
    /// # Errors
    /// As for [`Filter::order_by`].
    pub fn order_by_text(self, table: &Table, text: &str) -> Result<Filter> {
        match text.strip_prefix('-') {
            Some(name) if table.column(text).is_none() => {
                self.order_by(table, name, Direction::Descending)
            }
            _ => self.order_by(table, text, Direction::Ascending),
        }
    }
}
