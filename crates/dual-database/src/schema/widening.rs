//! Whole numbers that a person lets PostgreSQL keep in 64 bits, where it keeps them in fewer.

use std::sync::Arc;

use super::{Column, LogicalType, Table};
use crate::error::{Error, Kind, Result};

const OPERATION: &str = "make a column bigint";

impl Table {
    /// The same before it is joined, with these columns as whole numbers of 64 bits; PostgreSQL's may be made so.
    /// What else they are is not asked.
    #[must_use]
    pub(crate) fn widening(&self, names: &[Arc<str>]) -> Table {
        let is_meant = |column: &Column| names.contains(&column.name);
        let wide = |column: &Column| match is_meant(column) && column.kind.is_whole_number() {
            true => Column { kind: LogicalType::BigInt, ..column.clone() },
            false => column.clone(),
        };
        let columns = self.columns.iter().map(wide).collect();
        let widening = self.columns.iter().filter(|column| is_meant(column));
        let widening = widening.map(|column| Arc::clone(&column.name)).collect();
        Table { columns, widening, ..self.clone() }
    }

    /// Whether a person has just said that PostgreSQL may make the column `bigint`.
    #[must_use]
    pub(crate) fn may_widen(&self, column: &str) -> bool {
        self.widening.iter().any(|name| **name == *column)
    }

    /// Whether he has said so of any.
    #[must_use]
    pub(crate) fn widens(&self) -> bool {
        !self.widening.is_empty()
    }

    /// What he has said of another form of the declaration, which says nothing of that itself.
    #[must_use]
    pub(crate) fn widening_as(self, other: &Table) -> Table {
        Table { widening: other.widening.clone(), ..self }
    }

    /// A later declaration of a table that is joined, with the column as a whole number of 64 bits. Of the key, too:
    /// keys are compared and kept as they were.
    ///
    /// # Errors
    /// Configuration if there is no such column, if it is one of the documented system's, or holds no whole numbers.
    ///
    /// ```
    /// use dual_database::schema::{Column, LogicalType, Role, Table};
    /// let key = Column::new("id", LogicalType::Int, Role::Key);
    /// let table = Table::declare("guests", vec![key])?;
    /// let widened = table.widened("id")?;
    /// assert_eq!(widened.key().kind, LogicalType::BigInt);
    /// assert!(widened.covers(&table) && !table.covers(&widened));
    /// # Ok::<(), dual_database::Error>(())
    /// ```
    pub fn widened(&self, column: &str) -> Result<Table> {
        let name = self.a_persons(column)?;
        if self.column(&name).is_none_or(|column| !column.kind.is_whole_number()) {
            let message = format!("table {}: {name} holds no whole numbers", self.name);
            return Err(Error::new(Kind::Configuration, OPERATION, message)
                .with_hint("only smallint and integer become bigint"));
        }
        let mut names = self.widening.clone();
        names.push(name);
        Ok(self.widening(&names).next())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Role, users};
    use super::*;

    #[test]
    fn what_is_said_counts_once() {
        let columns = [("id", Role::Key), ("n", Role::Data)];
        let columns =
            columns.map(|(name, role)| Column::new(name, LogicalType::SmallInt, role)).into();
        let table = Table::declare("guests", columns).unwrap();
        let widened = table.widened("n").unwrap();
        assert!(widened.may_widen("n") && !widened.may_widen("id"));
        let read = Table::from_declaration(&widened.declaration()).unwrap();
        assert!(!read.widens() && read.column("n").unwrap().kind == LogicalType::BigInt);
        assert_eq!(read.widening_as(&widened), widened);
    }

    #[test]
    fn what_is_no_number_of_a_persons_is_refused() {
        let column = Column::new("code", LogicalType::Text, Role::Key);
        let table = Table::declare("guests", vec![column]).unwrap();
        for (table, column) in [(&table, "code"), (&table, "cod"), (&users(), "id")] {
            assert!(table.widened(column).unwrap_err().is_configuration(), "{column}");
        }
    }
}
