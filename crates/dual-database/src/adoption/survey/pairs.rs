//! Which columns of both sides are one. Pure.

use std::sync::Arc;

use super::Declared;
use crate::schema::{Dialect, Relation, RelationColumn, Table};

/// A table's name, and what each side has of it.
pub(super) struct Sides<'s> {
    pub name: &'s Arc<str>,
    pub remote: Option<&'s Relation>,
    pub local: Option<&'s Relation>,
    /// What a person says of it, if it is not joined yet.
    pub declared: Option<&'s Declared>,
    /// Columns that the file calls otherwise: PostgreSQL's name, and the file's.
    pub names: Vec<(Arc<str>, Arc<str>)>,
}

/// A column of either side.
pub(super) struct Pair<'s> {
    /// PostgreSQL's name; that of the file if PostgreSQL has none and nobody says otherwise.
    pub name: &'s Arc<str>,
    /// What the file calls it, if that is declared.
    pub named: Option<&'s Arc<str>>,
    pub remote: Option<&'s RelationColumn>,
    pub local: Option<&'s RelationColumn>,
    /// Why its name keeps it from being carried: another one has it.
    pub taken: Option<String>,
    pub declared: Option<&'s Declared>,
}

impl<'s> Sides<'s> {
    /// What is to be joined, or is joined as `known` declares it.
    pub(super) fn new(
        name: &'s Arc<str>,
        (remote, local): (Option<&'s Relation>, Option<&'s Relation>),
        declared: Option<&'s Declared>,
        known: Option<&Table>,
    ) -> Sides<'s> {
        let of_known = known.iter().flat_map(|table| table.columns()).flat_map(|column| {
            let local = column.name_in(Dialect::Sqlite);
            let names = column.names_in(Dialect::Postgres).filter(|_| column.has_own_name());
            names.map(|name| (Arc::clone(name), Arc::clone(local)))
        });
        let mut names: Vec<_> = of_known.collect();
        names.extend(declared.iter().flat_map(|said| said.own_names(remote, local)));
        Sides { name, remote, local, declared, names }
    }

    /// What the file calls PostgreSQL's column, if that is declared.
    pub(super) fn named(&self, name: &str) -> Option<&Arc<str>> {
        let mut names = self.names.iter();
        names.find(|(there, _)| **there == *name).map(|(_, here)| here)
    }

    /// What PostgreSQL calls the file's column, if that is declared.
    pub(super) fn named_there(&self, local: &str) -> Option<&Arc<str>> {
        let mut names = self.names.iter();
        names.find(|(_, here)| here.eq_ignore_ascii_case(local)).map(|(there, _)| there)
    }

    /// What the file has of PostgreSQL's column.
    pub(super) fn here(&self, name: &str) -> Option<&RelationColumn> {
        let local = self.local?;
        match self.named(name) {
            Some(named) => local.column(named),
            None if self.named_there(name).is_some() => None,
            None => local.column(name),
        }
    }

    /// The columns in PostgreSQL's order, behind them those that only the file has.
    pub(super) fn pairs(&self) -> Vec<Pair<'_>> {
        let mut pairs: Vec<Pair<'_>> = Vec::new();
        for column in self.remote.iter().flat_map(|relation| &relation.columns) {
            let name = &column.name;
            let named = self.named(name);
            let alike = |pair: &&Pair<'_>| pair.name.eq_ignore_ascii_case(name);
            let twin =
                pairs.iter().find(alike).filter(|pair| named.is_none() && pair.named.is_none());
            let taken = match (twin, named, self.named_there(name)) {
                (Some(twin), ..) => Some(format!("the file cannot tell it from {}", twin.name)),
                (None, None, Some(other)) => Some(format!("in the file {other} is called so")),
                _ => None,
            };
            let local = self.here(name).filter(|_| taken.is_none());
            let (remote, declared) = (Some(column), self.declared);
            pairs.push(Pair { name, named, remote, local, taken, declared });
        }
        for column in self.local.iter().flat_map(|relation| &relation.columns) {
            let is_it = |pair: &Pair<'_>| pair.local.is_some_and(|local| local.name == column.name);
            if pairs.iter().any(is_it) {
                continue;
            }
            let there = self.named_there(&column.name);
            let named = there.and_then(|there| self.named(there));
            let called = self.named(&column.name).filter(|_| there.is_none());
            let is_twin = |pair: &Pair<'_>| {
                pair.named.is_none() && pair.name.eq_ignore_ascii_case(&column.name)
            };
            // One of two of PostgreSQL's that differ in case only, which is told of those.
            if there.is_none() && pairs.iter().any(is_twin) {
                continue;
            }
            pairs.push(Pair {
                name: there.unwrap_or(&column.name),
                named,
                remote: None,
                local: Some(column),
                taken: called.map(|called| format!("in the file that column is called {called}")),
                declared: self.declared,
            });
        }
        pairs
    }
}
