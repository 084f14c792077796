//! What each side calls a column. It has one name, that of PostgreSQL, of calls and of messages; where the file
//! calls it otherwise, that is declared, and stands in the file's SQL alone.

use std::sync::Arc;

use super::{Column, Dialect, Table, quoted};

impl Column {
    /// The same under a name of its own in the file.
    #[must_use]
    pub fn called(self, local: impl Into<Arc<str>>) -> Column {
        let local = local.into();
        let local = if local == self.name { Vec::new() } else { vec![local] };
        Column { local, ..self }
    }

    /// Whether the file has a name of its own for it, which a new one in PostgreSQL does not change.
    #[must_use]
    pub fn has_own_name(&self) -> bool {
        !self.local.is_empty()
    }

    /// What the file calls it, if PostgreSQL calls it otherwise.
    #[must_use]
    pub fn other_name(&self) -> Option<&Arc<str>> {
        Some(self.name_in(Dialect::Sqlite)).filter(|local| **local != self.name)
    }

    /// What that side calls it.
    ///
    /// ```
    /// use dual_database::schema::{Column, Dialect, LogicalType, Role};
    /// let column = Column::new("register_date", LogicalType::Timestamp, Role::Data);
    /// let column = column.called("signup_date");
    /// assert_eq!(&**column.name_in(Dialect::Postgres), "register_date");
    /// assert_eq!(&**column.name_in(Dialect::Sqlite), "signup_date");
    /// ```
    #[must_use]
    pub fn name_in(&self, side: Dialect) -> &Arc<str> {
        match (side, self.local.last()) {
            (Dialect::Sqlite, Some(local)) => local,
            _ => &self.name,
        }
    }

    /// The same as it stands in that side's SQL.
    #[must_use]
    pub fn quoted(&self, side: Dialect) -> String {
        quoted(self.name_in(side))
    }

    /// What that side may call it: its name, then those that it had, the last one first.
    pub(crate) fn names_in(&self, side: Dialect) -> impl Iterator<Item = &Arc<str>> {
        let (own, had) = match side == Dialect::Sqlite && self.has_own_name() {
            true => (None, &self.local),
            false => (Some(&self.name), &self.was),
        };
        own.into_iter().chain(had.iter().rev())
    }
}

impl Table {
    /// The column that the file calls so; it takes upper and lower case of ASCII for the same.
    pub(crate) fn column_in_file(&self, name: &str) -> Option<&Column> {
        let is_it = |column: &&Column| column.name_in(Dialect::Sqlite).eq_ignore_ascii_case(name);
        self.columns.iter().find(is_it)
    }

    /// PostgreSQL's name of a column, if that is the name of no column in the file.
    pub(crate) fn only_in_postgres<'c>(&self, column: &'c Column) -> Option<&'c str> {
        let name = Some(&*column.name).filter(|_| column.has_own_name());
        name.filter(|name| self.column_in_file(name).is_none())
    }

    /// Whether a column of either side that is called so is one of its columns: the file takes upper and lower case
    /// for the same, and one may have had another name there.
    pub(crate) fn knows(&self, name: &str) -> bool {
        [Dialect::Postgres, Dialect::Sqlite].into_iter().any(|side| self.knows_in(side, name))
    }

    /// The same of a column of that side.
    pub(crate) fn knows_in(&self, side: Dialect, name: &str) -> bool {
        self.columns.iter().any(|column| {
            let mut names = column.names_in(side).chain(&column.formerly);
            names.any(|known| known.eq_ignore_ascii_case(name))
        })
    }

    /// Two columns that the file would call alike, of which one has a name of its own there.
    pub(super) fn alike_in_file(columns: &[Column]) -> Option<(&Column, &Column)> {
        let name = |column: &'_ Column| column.name_in(Dialect::Sqlite).to_ascii_lowercase();
        columns.iter().enumerate().find_map(|(at, column)| {
            let is_twin = |other: &&Column| {
                name(other) == name(column) && (other.has_own_name() || column.has_own_name())
            };
            Some((columns.iter().take(at).find(is_twin)?, column))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{LogicalType, Role};

    fn column(name: &str, role: Role) -> Column {
        Column::new(name, LogicalType::Text, role)
    }

    #[test]
    fn each_side_has_its_own_name() {
        let columns = vec![column("code", Role::Key).called("Код; да"), column("note", Role::Data)];
        let table = Table::declare("guests", columns).unwrap();
        assert_eq!(&*table.column_in_file("Код; да").unwrap().name, "code");
        assert!(table.column_in_file("code").is_none() && table.column_in_file("NOTE").is_some());
        assert!(table.knows("CODE") && table.knows("Код; да"));
        assert!(table.knows_in(Dialect::Postgres, "code"));
        assert!(!table.knows_in(Dialect::Sqlite, "code"));
        let sql = table.create_statement(Dialect::Sqlite, "\"guests\"");
        assert!(sql.contains("\"Код; да\" TEXT") && !sql.contains("\"code\""), "{sql}");
        let sql = table.create_statement(Dialect::Postgres, "\"guests\"");
        assert!(
            sql.contains("\"code\" character varying PRIMARY KEY") && !sql.contains("Код"),
            "{sql}"
        );
    }

    #[test]
    fn names_may_be_exchanged_but_not_shared() {
        let two = |one: &str, other: &str| {
            let columns = vec![
                column("id", Role::Key),
                column("a", Role::Data).called(one),
                column("b", Role::Data).called(other),
            ];
            Table::declare("t", columns)
        };
        assert!(two("b", "a").is_ok());
        for (one, other) in [("x", "x"), ("x", "X"), ("b", "b"), ("B", "b"), ("ID", "b")] {
            assert!(two(one, other).unwrap_err().is_configuration(), "{one} {other}");
        }
        assert_eq!(column("a", Role::Data).called("a"), column("a", Role::Data));
    }
}
