//! What a person has chosen.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Declared, OPERATION, Survey};
use crate::error::{Error, Kind, Result};

/// Which tables a person wants kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Those that only PostgreSQL has, too.
    pub all: bool,
    /// These alone, besides those that are joined.
    pub tables: Vec<String>,
    /// None of these.
    pub except: Vec<String>,
    /// The schema of PostgreSQL's in which they stand; else the first of the search path.
    pub schema: Option<String>,
    /// Of these, rows of both sides under one automatic number are the same row.
    pub same: Vec<String>,
    /// Of these, such rows are two if they are not equal: those of the file get other numbers.
    pub different: Vec<String>,
    /// Columns of whole numbers that PostgreSQL may make `bigint`, as `TABLE.COLUMN`, or tables: then those in which
    /// the file has numbers that do not fit.
    pub widen: Vec<String>,
    /// What a person declares of tables that are not joined yet, by their names.
    pub declared: BTreeMap<String, Declared>,
}

/// What is to be made of a table.
pub(super) enum Wanted {
    Yes {
        required: bool,
    },
    /// Why not, and what it takes: if it can be kept at all.
    Unless(&'static str, String),
    /// Why not, and what it takes.
    No(&'static str, String),
}

/// Tables in which tools of others keep how far they are: each database has its own.
const OF_TOOLS: [&str; 7] = [
    "alembic_version",
    "django_migrations",
    "schema_migrations",
    "flyway_schema_history",
    "databasechangelog",
    "databasechangeloglock",
    "_sqlx_migrations",
];

impl Choice {
    /// Nothing was chosen.
    pub(super) fn is_plain(&self) -> bool {
        !self.all && self.tables.is_empty()
    }

    /// Whether a person may mean the table of that name; `is_local`: the file has it.
    pub(super) fn may_mean(&self, name: &str, is_local: bool) -> bool {
        let has = |list: &[String]| list.iter().any(|one| one.eq_ignore_ascii_case(name));
        let is_default = self.tables.is_empty() && (self.all || is_local);
        !has(&self.except) && (is_default || has(&self.tables))
    }

    /// What PostgreSQL calls a column of the file.
    pub(super) fn name_there<'c>(&'c self, table: &str, column: &'c str) -> &'c str {
        let said = self.declared.iter().filter(|(name, _)| name.eq_ignore_ascii_case(table));
        let mut names = said.flat_map(|(_, declared)| &declared.names);
        let found = names.find(|(_, local)| local.eq_ignore_ascii_case(column));
        found.map_or(column, |(there, _)| there)
    }

    /// Whether the table of that name is to be kept.
    pub(super) fn wants(&self, name: &Arc<str>, is_joined: bool, is_local: bool) -> Wanted {
        let has = |list: &[String]| list.iter().any(|one| **one == **name);
        let no = |reason, hint: &str| Wanted::No(reason, hint.to_owned());
        if is_joined {
            return Wanted::Yes { required: has(&self.tables) };
        }
        if has(&self.except) {
            return no("it was left out by --except", "leave it out of --except");
        }
        if !self.tables.is_empty() {
            return match has(&self.tables) {
                true => Wanted::Yes { required: true },
                false => no("it is not among the tables that were named", "name it in --tables"),
            };
        }
        if OF_TOOLS.contains(&&**name) {
            let reason = "it is a migration tool's own: each side keeps how far it is";
            return Wanted::No(reason, format!("`--tables {name}` takes it all the same"));
        }
        if !(is_local || self.all) {
            let reason = "only PostgreSQL has it";
            return Wanted::Unless(reason, format!("`--all` takes it, or `--tables {name}`"));
        }
        Wanted::Yes { required: false }
    }

    /// The same with the names as they are on either side: one that is there as it was given, or else the only
    /// one that differs in case alone.
    ///
    /// # Errors
    /// Configuration, with the nearest name, if there is none.
    pub(in crate::adoption) fn resolved(&self, names: &[Arc<str>]) -> Result<Choice> {
        let resolved = |given: &String| {
            let alike = |name: &&Arc<str>| name.eq_ignore_ascii_case(given);
            let exact = names.iter().find(|name| ***name == **given);
            match exact.or_else(|| names.iter().find(alike)) {
                Some(name) => Ok(name.to_string()),
                None => {
                    let message = format!("no table {given} is on either side");
                    let known = names.iter().map(|name| &**name);
                    Err(Error::new(Kind::Configuration, OPERATION, message)
                        .suggesting(given, known))
                }
            }
        };
        let all = |list: &[String]| list.iter().map(resolved).collect::<Result<Vec<String>>>();
        let (tables, except) = (all(&self.tables)?, all(&self.except)?);
        let (same, different) = (all(&self.same)?, all(&self.different)?);
        if let Some(both) = same.iter().find(|name| different.contains(name)) {
            let message = format!("{both} is named as --same and as --different");
            return Err(Error::new(Kind::Configuration, OPERATION, message));
        }
        let declared = self.declared.iter();
        let declared = declared.map(|(name, declared)| Ok((resolved(name)?, declared.clone())));
        let declared = declared.collect::<Result<_>>()?;
        Ok(Choice { tables, except, same, different, declared, ..self.clone() })
    }

    /// Whether what was named can be kept, and something at all.
    ///
    /// # Errors
    /// Configuration, with the first reason why not.
    pub(in crate::adoption) fn are_all_kept(&self, survey: &Survey) -> Result<()> {
        let named = |table: &str| self.tables.iter().any(|one| one == table);
        let refused = survey.skipped.iter().find(|skipped| named(&skipped.table));
        let joined = survey.skipped.iter().find(|skipped| skipped.joined);
        let only = joined.or(survey.skipped.first()).filter(|_| survey.chosen.is_empty());
        match refused.or(only) {
            Some(skipped) => {
                let message = format!("{} cannot be kept: {}", skipped.table, skipped.reason);
                Err(Error::new(Kind::Configuration, OPERATION, message).with_hint(&skipped.hint))
            }
            None => Ok(()),
        }
    }
}
