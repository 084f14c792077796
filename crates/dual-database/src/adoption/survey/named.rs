//! Columns of which a person says that the file calls them otherwise.

use std::sync::Arc;

use super::Declared;
use super::derive::is_built_in;
use super::pairs::Sides;
use crate::error::Result;
use crate::schema::{Column, Dialect, Relation, Table, built_in, shell_word};

type Names = (Arc<str>, Arc<str>);

impl Declared {
    /// PostgreSQL's name and the file's, as the two have them.
    pub(super) fn own_names<'d>(
        &'d self,
        remote: Option<&'d Relation>,
        local: Option<&'d Relation>,
    ) -> impl Iterator<Item = Names> {
        let known = |side: Option<&Relation>, name: &str| {
            let found = side.and_then(|relation| relation.column(name));
            found.map_or_else(|| Arc::from(name), |column| Arc::clone(&column.name))
        };
        let names = self.names.iter();
        names.map(move |(there, here)| (known(remote, there), known(local, here)))
    }

    /// Whether what it says of names makes each of them one column of both sides, and no two of them one.
    ///
    /// # Errors
    /// Configuration, with the nearest name.
    pub(super) fn names_fit(&self, sides: &Sides<'_>) -> Result<()> {
        let wrong = |message: String| self.wrong(sides.name, message);
        let built_in = built_in();
        for (there, here) in &self.names {
            if [there, here].iter().any(|name| name.is_empty() || name.contains('\0')) {
                return Err(wrong(format!("names: {there:?} = {here:?} names no column")));
            }
            let is_its = |name: &String| is_built_in(sides) && built_in.knows(name);
            if let Some(name) = [there, here].into_iter().find(|name| is_its(name)) {
                let message =
                    format!("names: {name} is one of the columns that the documented system has");
                return Err(wrong(message).with_hint(
                    "its programs read and write it under that name: take it out of names. `register_date` is filled \
                     from a `signup_date` of the file by itself",
                ));
            }
            if let Some(name) = [there, here].into_iter().find(|name| self.leaves_out(name)) {
                return Err(wrong(format!("{name} is in names, and in leave_out")));
            }
            if let Some(relation) = sides.remote.filter(|one| one.column(there).is_none()) {
                let known = relation.columns.iter().map(|column| &*column.name);
                let error = wrong(format!("names: PostgreSQL has no column {there}"));
                return Err(match relation.column(here) {
                    Some(_) => error
                        .with_hint("PostgreSQL's name stands first: NAME = \"NAME IN THE FILE\""),
                    None => error.suggesting(there, known),
                });
            }
            if let Some(relation) = sides.local.filter(|one| one.column(here).is_none()) {
                let known = relation.columns.iter().map(|column| &*column.name);
                let error = wrong(format!("names: the file has no column {here}"));
                return Err(match relation.column(there) {
                    Some(_) => error.with_hint(format!(
                        "it has {there}, as PostgreSQL has: take it out of names, or rename it in the file"
                    )),
                    None => error.suggesting(here, known),
                });
            }
        }
        for (at, (there, here)) in sides.names.iter().enumerate() {
            let before = || sides.names.iter().take(at);
            if let Some((other, _)) = before().find(|(_, one)| one.eq_ignore_ascii_case(here)) {
                return Err(wrong(format!(
                    "names: {other} and {there} would both be {here} in the file"
                )));
            }
            if before().any(|(other, _)| other == there) {
                return Err(wrong(format!("names: {there} is named twice")));
            }
            let shares = |name: &&Arc<str>| {
                name.eq_ignore_ascii_case(here)
                    && *name != there
                    && sides.named(name).is_none()
                    && !self.leaves_out(name)
            };
            let all = sides.remote.iter().flat_map(|relation| &relation.columns);
            if let Some(other) = all.map(|column| &column.name).find(shares) {
                return Err(wrong(format!(
                    "names: {here} in the file is {there}, and PostgreSQL has a column {other}, too"
                ))
                .with_hint("give that one a name of its own in names, or name it in leave_out"));
            }
        }
        // Not carried, they would be two columns from then on.
        let pairs = sides.pairs();
        for pair in pairs.iter().filter(|pair| pair.named.is_some()) {
            if let (Some(here), Err(why)) = (pair.named, pair.kind()) {
                let there = pair.name;
                return Err(wrong(format!("{there} and {here} cannot be one column: {why}"))
                    .with_hint("change the one or the other, or take it out of names"));
            }
        }
        Ok(())
    }

    /// Whether what it says of names is what is declared of a table that is joined.
    ///
    /// # Errors
    /// Configuration if not.
    pub(super) fn agrees(&self, known: &Table) -> Result<()> {
        for (there, here) in &self.names {
            let is_it = |name: &Arc<str>| name.eq_ignore_ascii_case(there);
            let mut columns = known.columns().iter();
            let column = columns.find(|column| column.names_in(Dialect::Postgres).any(is_it));
            let name = column.map(|column| column.name_in(Dialect::Sqlite));
            if name.is_some_and(|name| name.eq_ignore_ascii_case(here)) {
                continue;
            }
            let declared = match name {
                Some(name) => format!("{there} is called {name} in files, not {here}"),
                None => format!("has no column {there}"),
            };
            let message = format!("names: the table is joined, and {declared}");
            let hint = "names count when a table is joined: take it out of them";
            return Err(self.wrong(known.name(), message).with_hint(match column {
                Some(Column { name, .. }) => format!(
                    "{hint}; `dual schema apply {} --file-name {}` gives it that name in files",
                    shell_word(known.name()),
                    shell_word(&format!("{name}={here}")),
                ),
                None => hint.to_owned(),
            }));
        }
        Ok(())
    }
}
