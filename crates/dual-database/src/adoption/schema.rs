//! What is declared of the tables that are joined beside what both sides have, and what a person can confirm of
//! it. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Bond, LocalFile, Stores, bond, noted, other_installation, remote, troubles};
use crate::error::{Error, Kind, Result};
use crate::schema::{
    Column, Dialect, LogicalType, Making, Relation, RelationColumn, Role, Table, built_in,
    shell_word,
};
use crate::store::postgres::{Session, capture, relations};
use crate::store::sqlite;
use crate::store::sqlite::replica::Paused;

const OPERATION: &str = "compare a declaration with both sides";

/// A column as it is declared, and as both sides have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSchema {
    /// Its name.
    pub name: Arc<str>,
    /// What the file calls it, if that is another name.
    pub local: Option<Arc<str>>,
    /// Its declared type, in PostgreSQL's words; `None`: it is not carried.
    pub declared: Option<String>,
    /// Its type in PostgreSQL, if it is there.
    pub postgres: Option<String>,
    /// Its type in the file, if it is there.
    pub sqlite: Option<String>,
    /// What differs; `None`: nothing.
    pub differs: Option<String>,
}

/// A table that is joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// As it is declared.
    pub table: Table,
    /// The declared columns, then those that only a side has.
    pub columns: Vec<ColumnSchema>,
    /// Why it is left alone, or would be.
    pub paused: Option<Paused>,
}

/// What a person says of a table that has been changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// Columns that have another name: the declared one, the new one.
    pub renamed: Vec<(String, String)>,
    /// Columns that have a name of their own in files: the declared one, and that.
    pub named: Vec<(String, String)>,
    /// Columns that are carried no more.
    pub dropped: Vec<String>,
    /// Columns of whole numbers that PostgreSQL may make `bigint`.
    pub widened: Vec<String>,
}

/// A declaration that is to take the place of the one in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// As it would be declared.
    pub table: Table,
    /// What would be done, as phrases; none if nothing differs.
    pub steps: Vec<String>,
    /// As PostgreSQL declared it when it was looked at: what is confirmed is confirmed of that.
    pub(crate) before: Option<Table>,
}

/// A table with what each side has of it.
struct Found {
    table: Table,
    remote: Option<Relation>,
    local: Option<Relation>,
    /// As PostgreSQL declares it.
    declared: Option<Table>,
    /// One of the two stores declares it otherwise than it is to be.
    is_behind: bool,
}

/// The tables that are joined: what is declared, and what both sides have.
///
/// # Errors
/// Those of reaching PostgreSQL and of reading the file; access denied if the schema of ours is of somebody who is
/// not to be trusted.
pub async fn schema(stores: &Stores) -> Result<Vec<TableSchema>> {
    let found = found(stores).await?;
    let mut stores = stores.clone();
    stores.sqlite.tables = found.iter().map(|one| one.table.clone()).collect();
    stores.sqlite.making = Making::Additions;
    let troubles = troubles(&stores).await;
    let of = |one: Found| {
        let is_its = |paused: &&Paused| *paused.table == *one.table.name();
        let paused = troubles.found.iter().find(is_its).cloned();
        TableSchema { columns: one.columns(), table: one.table, paused }
    };
    Ok(found.into_iter().map(of).collect())
}

/// How the table would be declared by what a person says of it: columns have the names that he says and the types
/// that PostgreSQL has; those of the file that do not hold these are made anew.
///
/// # Errors
/// Those of [`schema`]; configuration if no such table is joined, or if what he says fits neither side; about the
/// schema if a side has no column of a declared name, and he says nothing of it, or if something else is in the
/// way.
pub async fn revision(stores: &Stores, name: &str, confirmed: &Confirmed) -> Result<Revision> {
    is_joined(stores).await?;
    let all = found(stores).await?;
    let Some(found) = all.iter().find(|one| one.table.name() == name) else {
        let message = format!("no table {name} is joined");
        let known = all.iter().map(|one| one.table.name());
        return Err(Error::new(Kind::Configuration, OPERATION, message).suggesting(name, known));
    };
    let before = found.declared.clone();
    let mut revision = Revision { table: found.table.clone(), steps: Vec::new(), before };
    for (from, to) in &confirmed.renamed {
        let is_said =
            |column: &Column| *column.name == **to && column.was.iter().any(|was| **was == **from);
        if revision.table.columns().iter().any(is_said) {
            continue;
        }
        let own = revision.table.column(from).filter(|column| column.has_own_name()).cloned();
        revision.table = revision.table.renaming(from, to)?;
        found.has_either(Dialect::Postgres, from, to)?;
        revision.steps.push(match own {
            Some(own) => {
                let local = own.name_in(Dialect::Sqlite);
                format!("{from} is called {to} in PostgreSQL, and {local} in files as before")
            }
            None => {
                found.has_either(Dialect::Sqlite, from, to)?;
                format!("{from} is called {to} on both sides")
            }
        });
    }
    for (column, to) in &confirmed.named {
        let before = revision.table.column(column).map(|one| one.name_in(Dialect::Sqlite).clone());
        if before.as_deref() == Some(to) {
            continue;
        }
        revision.table = revision.table.naming(column, to)?;
        found.has_either(Dialect::Sqlite, before.as_deref().unwrap_or(column), to)?;
        revision.steps.push(format!("{column} is called {to} in files"));
    }
    for column in &confirmed.dropped {
        revision.table = revision.table.leaving(column)?;
        let is_there = |(side, there): &(Dialect, &Relation)| {
            let declared = found.table.column(column);
            declared.is_some_and(|column| there.column(column.name_in(*side)).is_some())
        };
        if found.sides().iter().all(is_there) {
            let message = format!("table {name}: both sides have the column {column}");
            return Err(Error::new(Kind::Configuration, OPERATION, message)
                .with_hint("drop it on one of them first"));
        }
        revision.steps.push(format!("{column} is carried no more; what a side has of it stays"));
    }
    found.lacks_nothing(&revision.table)?;
    found.retype(&mut revision)?;
    for column in &confirmed.widened {
        found.widen(&mut revision, column)?;
    }
    if revision.steps.is_empty() && found.is_behind {
        revision.steps.push("what was declared before is brought to both sides".to_owned());
    }
    // As both stores will have it.
    let read = Table::from_declaration(&revision.table.declaration())?;
    revision.table = read.widening_as(&revision.table);
    in_the_way(stores, &revision.table).await?;
    Ok(revision)
}

/// What a file declares says nothing of a PostgreSQL that it does not belong to.
async fn is_joined(stores: &Stores) -> Result<()> {
    let session = Session::open(&stores.postgres, &stores.limits).await?;
    session.begin_snapshot(OPERATION).await?;
    let file = LocalFile::open(&stores.sqlite)?;
    capture::SchemaStanding::read(&session, &file.declared()?).await?.trusted(&session)?;
    match bond(&session, &file, &[]).await? {
        Bond::Joined => session.rollback(OPERATION).await,
        Bond::Rejoining { .. } => Err(other_installation()),
        Bond::New => Err(Error::new(
            Kind::Configuration,
            OPERATION,
            "the SQLite file is not joined with this PostgreSQL database",
        )
        .with_hint("`dual init` shows what would become of it, `dual init --apply` joins it")),
    }
}

/// Looks whether anything else keeps both sides from what is to be declared.
async fn in_the_way(stores: &Stores, table: &Table) -> Result<()> {
    let session = Session::open(&stores.postgres, &stores.limits).await?;
    session.begin_snapshot(OPERATION).await?;
    let (_, planned) = remote(&session, table, Bond::Joined).await?;
    session.rollback(OPERATION).await?;
    if let Some(refusal) = planned.plan.refusal(OPERATION) {
        return Err(refusal);
    }
    LocalFile::open(&stores.sqlite)?.can_be_made(table)
}

async fn found(stores: &Stores) -> Result<Vec<Found>> {
    let session = Session::open(&stores.postgres, &stores.limits).await?;
    session.begin_snapshot(OPERATION).await?;
    let local = noted(stores)?;
    let standing = capture::SchemaStanding::read(&session, &local).await?;
    standing.trusted(&session)?;
    let mut tables = capture::declared(&session).await?;
    let in_postgres = tables.clone();
    // A file that has joined more than the server knows of is the later one.
    for table in &local {
        match tables.iter_mut().find(|one| one.name() == table.name()) {
            Some(one) if table.covers(one) => one.clone_from(table),
            Some(_) => {}
            None => tables.push(table.clone()),
        }
    }
    let schemas: BTreeSet<_> = tables.iter().map(|table| table.remote_name().schema).collect();
    let mut remote = BTreeMap::new();
    for schema in schemas {
        let relations = relations(&session, schema.as_deref()).await?;
        remote.insert(schema, relations);
    }
    session.rollback(OPERATION).await?;
    let file = LocalFile::open(&stores.sqlite)?;
    let here = match file.connection() {
        // Of what types the values are is PostgreSQL's to say.
        Some(connection) => sqlite::relations(&connection, |_, _| true)?,
        None => Vec::new(),
    };
    let found = |table: Table| {
        let there = remote.get(&table.remote_name().schema);
        let there = there.and_then(|all| all.iter().find(|one| *one.name == *table.name()));
        let own = here.iter().find(|one| one.name.eq_ignore_ascii_case(table.name()));
        let is_its = |one: &&Table| one.name() == table.name();
        let declared = in_postgres.iter().find(is_its).cloned();
        let is_behind = |one: Option<&Table>| one.is_some_and(|one| *one != table);
        let is_behind = is_behind(declared.as_ref()) || is_behind(local.iter().find(is_its));
        Found { remote: there.cloned(), local: own.cloned(), declared, is_behind, table }
    };
    Ok(tables.into_iter().map(found).collect())
}

impl Found {
    /// What there is.
    fn sides(&self) -> Vec<(Dialect, &Relation)> {
        let sides = [(Dialect::Postgres, &self.remote), (Dialect::Sqlite, &self.local)];
        sides.into_iter().filter_map(|(side, found)| Some((side, found.as_ref()?))).collect()
    }

    fn columns(&self) -> Vec<ColumnSchema> {
        let declared = self.table.columns().iter().map(|column| ColumnSchema {
            name: Arc::clone(&column.name),
            local: column.other_name().cloned(),
            declared: Some(column.kind.sql(Dialect::Postgres).to_owned()),
            postgres: of(Dialect::Postgres, self.remote.as_ref(), column)
                .map(|there| there.declared.clone()),
            sqlite: of(Dialect::Sqlite, self.local.as_ref(), column)
                .map(|here| here.declared.clone()),
            differs: self.difference(column),
        });
        let mut columns: Vec<ColumnSchema> = declared.collect();
        for (side, relation) in self.sides() {
            for column in &relation.columns {
                let is_there = |one: &ColumnSchema| {
                    one.declared.is_none() && one.name.eq_ignore_ascii_case(&column.name)
                };
                if self.table.knows_in(side, &column.name) || columns.iter().any(is_there) {
                    continue;
                }
                let shown = |side: Dialect, relation: Option<&Relation>| {
                    let is_its = !self.table.knows_in(side, &column.name);
                    Some(relation.filter(|_| is_its)?.column(&column.name)?.declared.clone())
                };
                columns.push(ColumnSchema {
                    name: Arc::clone(&column.name),
                    local: None,
                    declared: None,
                    postgres: shown(Dialect::Postgres, self.remote.as_ref()),
                    sqlite: shown(Dialect::Sqlite, self.local.as_ref()),
                    differs: Some("it is not carried: `dual init` says why".to_owned()),
                });
            }
        }
        columns
    }

    fn difference(&self, column: &Column) -> Option<String> {
        for (side, found) in self.sides() {
            match of(side, Some(found), column) {
                None => return Some(format!("it is not in {}", word(side))),
                Some(there) if !there.name.eq_ignore_ascii_case(column.name_in(side)) => {
                    return Some(format!("{} calls it {}", word(side), there.name));
                }
                Some(_) => {}
            }
        }
        let there = of(Dialect::Postgres, self.remote.as_ref(), column);
        if let Some(there) = there.filter(|there| self.becomes(column, there).is_some()) {
            return Some(format!("PostgreSQL has {}", there.declared));
        }
        let here = of(Dialect::Sqlite, self.local.as_ref(), column)?;
        let shown = if here.declared.is_empty() { "no type" } else { &here.declared };
        (!column.kind.fits(&here.declared)).then(|| format!("the SQLite file declares {shown}"))
    }

    /// The type that the column has in PostgreSQL, if that is another one than the declared; `None` inside if it is
    /// none that is carried.
    fn becomes(&self, column: &Column, there: &RelationColumn) -> Option<Option<LogicalType>> {
        let kind = there.kind.clone();
        // The numbers of a surrogate are PostgreSQL's own, whatever it keeps them in.
        let is_free = self.is_built_in(column) || column.role == Role::Surrogate;
        let is_same = |kind: &LogicalType| {
            *kind == column.kind
                || (is_free && kind.is_whole_number() && column.kind.is_whole_number())
        };
        let binary = there.in_binary.as_ref().is_some_and(is_same);
        (!binary && !kind.as_ref().is_some_and(is_same)).then_some(kind)
    }

    /// Whether that side has one of the two names, and only one, if it has the table.
    fn has_either(&self, side: Dialect, from: &str, to: &str) -> Result<()> {
        let name = self.table.name();
        let Some((_, found)) = self.sides().into_iter().find(|(one, _)| *one == side) else {
            return Ok(());
        };
        let has = |name: &str| match side {
            Dialect::Postgres => found.columns.iter().any(|column| *column.name == *name),
            Dialect::Sqlite => found.column(name).is_some(),
        };
        // The file takes upper and lower case for the same.
        let is_same = side == Dialect::Sqlite && from.eq_ignore_ascii_case(to);
        let side = word(side);
        let message = match (has(from), has(to) && !is_same) {
            (true, true) => format!("table {name}: {side} has both columns, {from} and {to}"),
            (false, false) => {
                let alike = found.column(to).map(|column| format!(", but {}", column.name));
                let alike = alike.unwrap_or_default();
                format!("table {name}: {side} has no column {from}, and no {to}{alike}")
            }
            _ => return Ok(()),
        };
        Err(Error::new(Kind::Configuration, OPERATION, message)
            .with_hint(format!("`dual schema {name}` shows what both sides have")))
    }

    /// A column that a side has no more is not put back unasked, and not forgotten either.
    fn lacks_nothing(&self, table: &Table) -> Result<()> {
        for (side, found) in [(Dialect::Postgres, &self.remote), (Dialect::Sqlite, &self.local)] {
            let Some(relation) = found else {
                let message = format!("the table {} is not in {}", table.name(), word(side));
                return Err(Error::new(Kind::Configuration, OPERATION, message)
                    .with_hint("`dual init --apply` makes it anew, from the other side"));
            };
            let gone = |column: &&Column| match side {
                Dialect::Postgres => exactly(relation, column).is_none(),
                Dialect::Sqlite => of(side, Some(relation), column).is_none(),
            };
            let Some(column) = table.columns().iter().find(gone) else { continue };
            let (table, name, called) = (table.name(), &column.name, column.name_in(side));
            let message = format!("table {table}: {called} is not in {}", word(side));
            let is_other = |other: &&RelationColumn| !self.table.knows_in(side, &other.name);
            let other = relation.columns.iter().find(is_other).map_or("NAME", |other| &*other.name);
            let flag = match side == Dialect::Sqlite && column.has_own_name() {
                true => "--file-name",
                false => "--rename",
            };
            let (table, pair) = (shell_word(table), shell_word(&format!("{name}={other}")));
            let renamed = format!("`dual schema apply {table} {flag} {pair}`");
            let name = shell_word(name);
            return Err(Error::new(Kind::Configuration, OPERATION, message).with_hint(format!(
                "if it has another name: {renamed}; if it was dropped: \
                 --drop {name}; `dual init --apply` puts it back from the other side"
            )));
        }
        Ok(())
    }

    /// Whether it is one of the documented system's.
    fn is_built_in(&self, column: &Column) -> bool {
        let built_in = built_in();
        self.table.label() == built_in.label() && built_in.column(&column.name).is_some()
    }

    /// A column gets whole numbers of 64 bits on both sides; PostgreSQL's is made so if it is not.
    fn widen(&self, revision: &mut Revision, name: &str) -> Result<()> {
        let Some(column) = revision.table.column(name).cloned() else {
            return revision.table.widened(name).map(drop);
        };
        let there = of(Dialect::Postgres, self.remote.as_ref(), &column)
            .and_then(|there| there.kind.as_ref());
        let is_wide = there == Some(&LogicalType::BigInt);
        if column.kind == LogicalType::BigInt && is_wide {
            return Ok(());
        }
        revision.table = revision.table.widened(name)?;
        revision.steps.push(match is_wide {
            true => format!("{name} is bigint on both sides"),
            false => format!(
                "{name} is made bigint in PostgreSQL, which writes the whole table anew: everybody who uses it waits"
            ),
        });
        Ok(())
    }

    /// Columns get the types that they have in PostgreSQL.
    fn retype(&self, revision: &mut Revision) -> Result<()> {
        for column in revision.table.columns().to_vec() {
            let Some(there) = of(Dialect::Postgres, self.remote.as_ref(), &column) else {
                continue;
            };
            if column.role == Role::Key
                && column.kind.is_whole_number()
                && there.kind == Some(LogicalType::BigInt)
            {
                self.widen(revision, &column.name)?;
            }
            if column.role != Role::Data || self.is_built_in(&column) {
                continue;
            }
            let mut kind = column.kind.clone();
            if let Some(becomes) = self.becomes(&column, there) {
                kind = becomes.ok_or_else(|| {
                    let (table, name) = (self.table.name(), &column.name);
                    let message = format!(
                        "table {table}: {name} is {}, which is not carried",
                        there.declared
                    );
                    Error::new(Kind::Configuration, OPERATION, message)
                        .with_hint("change its type to another one")
                })?;
                let default = there.default.clone();
                revision.table = revision.table.retyping(&column.name, kind.clone(), default)?;
                let shown = kind.sql(Dialect::Postgres);
                revision.steps.push(format!("{} is {shown} on both sides", column.name));
            }
            if let Some(here) = of(Dialect::Sqlite, self.local.as_ref(), &column)
                && !kind.fits(&here.declared)
            {
                revision.steps.push(format!(
                    "{} is made anew in the SQLite file, as {} and without constraints, behind the other columns",
                    column.name_in(Dialect::Sqlite),
                    kind.sql(Dialect::Sqlite)
                ));
            }
        }
        Ok(())
    }
}

/// What PostgreSQL has of a declared column: there upper and lower case are not the same.
fn exactly<'r>(relation: &'r Relation, column: &Column) -> Option<&'r RelationColumn> {
    let mut names = column.names_in(Dialect::Postgres);
    names.find_map(|name| relation.columns.iter().find(|one| one.name == *name))
}

/// What a side has of a declared column, under its name there or one that it had.
fn of<'r>(
    side: Dialect,
    relation: Option<&'r Relation>,
    column: &Column,
) -> Option<&'r RelationColumn> {
    let relation = relation?;
    column.names_in(side).find_map(|name| relation.column(name))
}

fn word(side: Dialect) -> &'static str {
    match side {
        Dialect::Postgres => "PostgreSQL",
        Dialect::Sqlite => "the SQLite file",
    }
}
