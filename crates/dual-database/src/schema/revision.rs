//! What a person confirms of a declaration: changes that nothing on either side can tell by itself. The label
//! of a column stays, and with it everything that is kept of its values beside the tables.

use std::sync::Arc;

use super::{Column, Dialect, LogicalType, Role, Table, built_in};
use crate::error::{Error, Kind, Result};
use crate::value::Value;

const OPERATION: &str = "declare a table anew";

/// PostgreSQL cuts what is longer.
const LONGEST: usize = 63;

impl Table {
    /// How often a person has declared other than additions: the highest one is in force.
    #[must_use]
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// Whether the column was dropped by a person's word: what one side alone has of that name is not carried.
    #[must_use]
    pub(crate) fn has_dropped(&self, name: &str) -> bool {
        self.dropped.iter().any(|(dropped, _)| dropped.eq_ignore_ascii_case(name))
    }

    /// Whether a column of that side that is called so is one of its columns, or a person has said that it is none.
    pub(crate) fn has_judged(&self, side: Dialect, name: &str) -> bool {
        self.knows_in(side, name) || self.leaves_out(name) || self.has_dropped(name)
    }

    /// The labels that columns have, or had: none is given twice, or a new column would have the stamps of another.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &str> {
        let own = self.columns.iter().map(|column| &column.label);
        own.chain(self.dropped.iter().map(|(_, label)| label)).map(|label| &**label)
    }

    /// The same without the names that columns had: for a store that has been brought to this revision.
    #[must_use]
    pub(crate) fn without_former_names(&self) -> Table {
        let mut table = self.clone();
        for column in &mut table.columns {
            column.was.clear();
            column.local.drain(..column.local.len().saturating_sub(1));
        }
        table
    }

    /// The same, with another name of a column; one that it had is its own again. A name of its own in the file
    /// stays.
    ///
    /// # Errors
    /// Configuration if there is no such column, if it is of the key or one of the documented system's, if the
    /// table knows the other name already, as that of another column or as one that it had, or if that is longer
    /// than 63 bytes, which PostgreSQL would cut.
    ///
    /// ```
    /// use dual_database::schema::{Column, LogicalType, Role, Table};
    /// let columns = [("code", Role::Key), ("phone", Role::Data)];
    /// let columns = columns.map(|(name, role)| Column::new(name, LogicalType::Text, role));
    /// let table = Table::declare("guests", columns.into())?;
    /// let renamed = table.renaming("phone", "telephone")?;
    /// assert!(renamed.column("telephone").is_some() && renamed.covers(&table));
    /// assert!(table.renaming("fone", "telephone").is_err());
    /// # Ok::<(), dual_database::Error>(())
    /// ```
    pub fn renaming(&self, from: &str, to: &str) -> Result<Table> {
        let from = self.changeable(from)?;
        let others = self.columns.iter().filter(|column| column.name != from);
        let others = Table { columns: others.cloned().collect(), ..self.clone() };
        let has_own = self.column(&from).is_some_and(Column::has_own_name);
        let is_taken = others.knows_in(Dialect::Postgres, to)
            || (!has_own && others.knows_in(Dialect::Sqlite, to));
        if is_taken || to.is_empty() || to.len() > LONGEST || *to == *from {
            let message = format!("table {}: the name {to} is taken, or none", self.name);
            return Err(Error::new(Kind::Configuration, OPERATION, message)
                .with_hint(
                    "a column takes a name of at most 63 bytes that no other column of the table has, or had",
                ));
        }
        let to: Arc<str> = to.into();
        let mut table = self.clone().next();
        for column in table.columns.iter_mut().filter(|column| column.name == from) {
            column.was.push(std::mem::replace(&mut column.name, Arc::clone(&to)));
            column.was.retain(|was| *was != to);
        }
        let named = |name: &mut Arc<str>| {
            if *name == from {
                *name = Arc::clone(&to);
            }
        };
        table.newest_by.iter_mut().chain(&mut table.moments).for_each(named);
        table.words.iter_mut().map(|(name, _)| name).for_each(named);
        Ok(table)
    }

    /// The same, with a name of its own of a column in files; it may be PostgreSQL's again.
    ///
    /// # Errors
    /// Configuration if there is no such column, if it is of the key or one of the documented system's, or if the
    /// file calls another column so, or has.
    ///
    /// ```
    /// use dual_database::schema::{Column, Dialect, LogicalType, Role, Table};
    /// let columns = [("code", Role::Key), ("phone", Role::Data)];
    /// let columns = columns.map(|(name, role)| Column::new(name, LogicalType::Text, role));
    /// let table = Table::declare("guests", columns.into())?;
    /// let named = table.naming("phone", "tel")?;
    /// let column = named.column("phone").unwrap();
    /// assert_eq!(&**column.name_in(Dialect::Sqlite), "tel");
    /// assert!(table.naming("phone", "CODE").is_err());
    /// # Ok::<(), dual_database::Error>(())
    /// ```
    pub fn naming(&self, column: &str, to: &str) -> Result<Table> {
        let name = self.changeable(column)?;
        let others = self.columns.iter().filter(|column| column.name != name);
        let others = Table { columns: others.cloned().collect(), ..self.clone() };
        if others.knows_in(Dialect::Sqlite, to) || to.is_empty() || to.contains('\0') {
            let message =
                format!("table {}: the name {to} is taken in the file, or none", self.name);
            return Err(Error::new(Kind::Configuration, OPERATION, message)
                .with_hint("a column takes a name that no other column of the file has, or had"));
        }
        let mut table = self.clone().next();
        for column in table.columns.iter_mut().filter(|column| column.name == name) {
            let mut local: Vec<Arc<str>> = column.names_in(Dialect::Sqlite).cloned().collect();
            local.reverse();
            local.retain(|had| **had != *to);
            local.push(to.into());
            column.local = local;
        }
        Ok(table)
    }

    /// The same without a column, whatever either side has of it.
    ///
    /// # Errors
    /// Configuration if there is no such column, if it is one of the documented system's, or of the key, or the
    /// only one besides the key.
    pub fn leaving(&self, column: &str) -> Result<Table> {
        let name = self.changeable(column)?;
        let mut table = self.clone().next();
        let columns = self.columns.iter().filter(|column| column.name != name).cloned();
        table = table.with(columns.collect())?;
        for left in self.columns.iter().filter(|column| column.name == name) {
            // Also under the name that it has in the file: it would come back as another column.
            let names = std::iter::once(&left.name).chain(&left.local);
            let label = || Arc::clone(&left.label);
            table.dropped.extend(names.map(|name| (Arc::clone(name), label())));
        }
        Ok(table)
    }

    /// The same with another type of a column, and the constant default that it has with it.
    ///
    /// # Errors
    /// Configuration if there is no such column, if it is one of the documented system's, or of the key.
    pub fn retyping(
        &self,
        column: &str,
        kind: LogicalType,
        default: Option<Value>,
    ) -> Result<Table> {
        let name = self.changeable(column)?;
        let mut table = self.clone().next();
        let changed = |column: &Column| match column.name == name {
            true => Column { kind: kind.clone(), default: default.clone(), ..column.clone() },
            false => column.clone(),
        };
        let columns = self.columns.iter().map(changed).collect();
        table = table.with(columns)?;
        Ok(table)
    }

    pub(super) fn next(self) -> Table {
        Table { revision: self.revision.saturating_add(1), ..self }
    }

    /// The name of a column that a person may change in any way, as it is declared.
    fn changeable(&self, name: &str) -> Result<Arc<str>> {
        let name = self.a_persons(name)?;
        if self.column(&name).is_some_and(|column| column.role != Role::Data) {
            let message = format!("table {}: {name} is of its key", self.name);
            return Err(Error::new(Kind::Configuration, OPERATION, message).with_hint(
                "put it back as it was; with another key it is another table: give it another name",
            ));
        }
        Ok(name)
    }

    /// The name of a column that is none of the documented system's, as it is declared.
    pub(super) fn a_persons(&self, name: &str) -> Result<Arc<str>> {
        let Some(column) = self.column(name) else {
            let message = format!("table {} has no column {name}", self.name);
            let known = self.columns.iter().map(|column| &*column.name);
            return Err(Error::new(Kind::Configuration, OPERATION, message).suggesting(name, known));
        };
        let built_in = built_in();
        if self.label == built_in.label && built_in.column(&column.name).is_some() {
            let message = format!("{name} is one of the columns that the documented system has");
            return Err(Error::new(Kind::Configuration, OPERATION, message)
                .with_hint("its programs read and write it: put it back as it was"));
        }
        Ok(Arc::clone(&column.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::users;

    fn guests() -> Table {
        let column = |name: &str, role| Column::new(name, LogicalType::Text, role);
        let columns =
            vec![column("code", Role::Key), column("phone", Role::Data), column("n", Role::Data)];
        Table::declare("guests", columns).unwrap().labelled("3")
    }

    #[test]
    fn a_later_revision_covers_an_earlier_one_and_is_read_back() {
        let first = guests();
        let renamed = first.renaming("phone", "telephone").unwrap();
        let left = renamed.leaving("n").unwrap();
        let typed = left.retyping("telephone", LogicalType::Int, Some(7.into())).unwrap();
        for (later, earlier) in [(&renamed, &first), (&left, &renamed), (&typed, &left)] {
            assert!(later.covers(earlier) && !earlier.covers(later));
            assert_eq!(Table::from_declaration(&later.declaration()).unwrap(), *later);
        }
        assert!(typed.knows("phone") && typed.has_dropped("N") && !typed.has_dropped("phone"));
        let column = typed.column("telephone").unwrap();
        assert_eq!((&*column.label, &column.kind), ("phone", &LogicalType::Int));
    }

    #[test]
    fn a_name_of_its_own_in_the_file_stays() {
        let mut columns = guests().columns().to_vec();
        columns[1] = columns[1].clone().called("тел");
        let table = guests().with(columns).unwrap();
        let renamed = table.renaming("phone", "telephone").unwrap();
        let column = renamed.column("telephone").unwrap();
        assert_eq!(column.names_in(Dialect::Sqlite).collect::<Vec<_>>(), [&"тел".into()]);
        assert!(column.names_in(Dialect::Postgres).eq(&["telephone".into(), "phone".into()]));
        assert!(renamed.has_judged(Dialect::Postgres, "phone"));
        assert!(!renamed.has_judged(Dialect::Sqlite, "phone"));
        // What the file calls another one no column without a name of its own can be called.
        assert!(renamed.renaming("n", "тел").unwrap_err().is_configuration());
        assert!(renamed.renaming("telephone", "тел").is_ok());
        let left = renamed.leaving("telephone").unwrap();
        assert!(left.has_dropped("тел") && left.has_dropped("telephone"));
        let named = table.naming("phone", "Тел").unwrap().naming("phone", "phone").unwrap();
        let column = named.column("phone").unwrap();
        assert_eq!((column.other_name(), column.has_own_name()), (None, true));
        let had = ["phone".into(), "Тел".into(), "тел".into()];
        assert!(column.names_in(Dialect::Sqlite).eq(had.iter()));
        assert_eq!(Table::from_declaration(&named.declaration()).unwrap(), named);
        let settled = named.without_former_names();
        assert_eq!(settled.column("phone").unwrap().names_in(Dialect::Sqlite).count(), 1);
        assert!(named.covers(&table) && !table.covers(&named));
        // What both sides have been renamed to before counts, too.
        let both =
            guests().renaming("phone", "telephone").unwrap().naming("telephone", "x").unwrap();
        let had = ["x".into(), "telephone".into(), "phone".into()];
        assert!(both.column("telephone").unwrap().names_in(Dialect::Sqlite).eq(had.iter()));
        assert!(guests().naming("code", "x").unwrap_err().is_configuration());
    }

    #[test]
    fn what_would_make_two_of_one_is_refused() {
        let renamed = guests().renaming("phone", "telephone").unwrap();
        for to in ["telephone", "phone", "n", "", &"я".repeat(32)] {
            assert!(renamed.renaming("n", to).unwrap_err().is_configuration(), "{to}");
        }
        // The way back, and another case, are its own.
        let back = renamed.renaming("telephone", "phone").unwrap();
        assert_eq!(*back.column("phone").unwrap().was, ["telephone".into()]);
        assert!(guests().renaming("n", "N").is_ok());
        assert!(guests().leaving("code").unwrap_err().is_configuration());
        assert!(guests().retyping("code", LogicalType::Int, None).unwrap_err().is_configuration());
        assert!(users().renaming("username", "nick").unwrap_err().is_configuration());
        assert!(guests().renaming("code", "id").unwrap_err().is_configuration());
    }
}
