//! Which tables are to be kept together: what both sides have, what is declared already, and what a
//! person has chosen. Changes nothing.

mod choice;
mod declared;
mod derive;
mod named;
mod order;
mod pairs;

use std::sync::Arc;

pub use choice::Choice;
pub use declared::Declared;

use self::choice::Wanted;
use self::pairs::Sides;
use super::{LocalFile, Stores};
use crate::error::{Error, Kind, Result};
use crate::schema::{QualifiedName, Relation, RelationSort, Table, built_in};
use crate::store::postgres::{Session, capture, relations};
use crate::store::sqlite;

const OPERATION: &str = "look which tables there are";

/// A table that is to be kept, or is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// As it is, or would be, declared.
    pub table: Table,
    /// What both sides have of its columns.
    pub columns: Vec<ChosenColumn>,
    /// A person has named it, or it is that of the documented system: what is in its way is in the way of
    /// everything.
    pub required: bool,
    /// It is joined.
    pub joined: bool,
    /// Keys that both sides have besides the one that a side numbers.
    pub natural: Vec<Vec<Arc<str>>>,
    /// Why its rows are told apart by another key than the primary one, if nobody has said so.
    pub keyed: Option<String>,
}

/// A column of a table that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenColumn {
    /// Its name.
    pub name: Arc<str>,
    /// What the file calls it, if that is another name.
    pub local: Option<Arc<str>>,
    /// What it is for both sides; `None`: it is not carried.
    pub kind: Option<String>,
    /// Its type in PostgreSQL, if it is there.
    pub postgres: Option<String>,
    /// Its type in the file, if it is there.
    pub sqlite: Option<String>,
    /// Why it is not carried, or by what its type was judged.
    pub remark: Option<String>,
    /// Of whole numbers that PostgreSQL keeps in fewer bits than the file.
    pub width: Option<Width>,
}

/// How the numbers of the file fit in PostgreSQL's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width {
    /// So many do not.
    pub too_large: u64,
    /// A person lets PostgreSQL make the column `bigint`.
    pub widened: bool,
}

/// A table that is not to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its name.
    pub table: Arc<str>,
    /// Why.
    pub reason: String,
    /// What would make it fit.
    pub hint: String,
    /// It is joined, and is left alone.
    pub joined: bool,
}

/// What there is to be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// In the order in which they are, or would be, joined.
    pub chosen: Vec<Chosen>,
    /// The others.
    pub skipped: Vec<Skipped>,
    /// Tables of which a person has said that rows under one automatic number are two ([`Joining::different`]).
    ///
    /// [`Joining::different`]: super::Joining::different
    pub different: Vec<String>,
}

impl Survey {
    /// The declarations.
    #[must_use]
    pub fn tables(&self) -> Arc<[Table]> {
        self.chosen.iter().map(|chosen| chosen.table.clone()).collect()
    }
}

/// Looks at both sides; `stores` need name no tables.
///
/// # Errors
/// Those of reaching PostgreSQL and of reading the file; configuration if a table was named that neither
/// side has, or no table could be kept.
pub async fn survey(stores: &Stores, choice: &Choice) -> Result<Survey> {
    let session = Session::open(&stores.postgres, &stores.limits).await?;
    session.begin_snapshot(OPERATION).await?;
    let file = LocalFile::open(&stores.sqlite)?;
    let remote = relations(&session, choice.schema.as_deref()).await?;
    // What a column is in PostgreSQL it is in the file: its values are looked at where nothing else tells.
    let is_known = |table: &str, column: &str| {
        let alike = |relation: &&Relation| relation.name.eq_ignore_ascii_case(table);
        let column = choice.name_there(table, column);
        let is_there = |relation: &Relation| relation.column(column).is_some();
        !choice.may_mean(table, true) || remote.iter().filter(alike).any(is_there)
    };
    let here = match file.connection() {
        Some(connection) => sqlite::relations(&connection, is_known)?,
        None => Vec::new(),
    };
    // Whoever made the schema could say in it which tables this program is to trust him with: it is judged by
    // those that a person means.
    let meant = |relation: &&Relation| {
        let is_local = here.iter().any(|own| own.name.eq_ignore_ascii_case(&relation.name));
        let is_meant =
            choice.may_mean(&relation.name, is_local) || *relation.name == *built_in().name();
        is_meant && relation.sort == RelationSort::Table
    };
    let names = remote.iter().filter(meant).map(|relation| QualifiedName {
        schema: choice.schema.as_deref().map(Arc::from),
        name: Arc::clone(&relation.name),
    });
    capture::SchemaStanding::read_beside(&session, names).await?.trusted(&session)?;
    let mut known = capture::declared(&session).await?;
    session.rollback(OPERATION).await?;
    // A file that has joined more than the server knows of goes on with all of it.
    for table in file.declared()? {
        match known.iter_mut().find(|one| one.name() == table.name()) {
            Some(one) if table.covers(one) => *one = table,
            Some(_) => {}
            None => known.push(table),
        }
    }
    chosen(&known, &remote, &here, choice)
}

/// Those of these tables that have got columns since they were joined, with them.
pub(super) fn grown(tables: &[Table], remote: &[Relation], here: &[Relation]) -> Vec<Table> {
    let grown = |table: &Table| {
        let name = &table.shared_name();
        let remote = remote.iter().find(|relation| relation.name == *name);
        let local = here.iter().find(|relation| relation.name.eq_ignore_ascii_case(name));
        derive::grown(table, &Sides::new(name, (remote, local), None, Some(table)))
    };
    tables.iter().filter_map(grown).collect()
}

/// The survey of what was read.
fn chosen(
    declared: &[Table],
    remote: &[Relation],
    here: &[Relation],
    choice: &Choice,
) -> Result<Survey> {
    let built_in = built_in();
    // SQLite takes upper and lower case of ASCII for the same; PostgreSQL's way of writing it is the name.
    let named = |own: &Relation| {
        let alike = |one: &&Relation| one.name.eq_ignore_ascii_case(&own.name);
        let exact = remote.iter().any(|one| one.name == own.name);
        let known = declared.iter().find(|table| table.name().eq_ignore_ascii_case(&own.name));
        match (known, remote.iter().find(alike).filter(|_| !exact)) {
            (Some(table), _) => table.shared_name(),
            (None, Some(remote)) => Arc::clone(&remote.name),
            (None, None) => Arc::clone(&own.name),
        }
    };
    let found = || {
        let there = remote.iter().map(|relation| Arc::clone(&relation.name));
        here.iter().map(named).chain(there)
    };
    // Others refer to it.
    let first = found().find(|name| **name == *built_in.name());
    let mut names: Vec<Arc<str>> = declared.iter().map(Table::shared_name).collect();
    names.extend(first.filter(|name| !names.contains(name)));
    let mut others: Vec<Arc<str>> = Vec::new();
    for name in found() {
        if !names.contains(&name) && !others.contains(&name) {
            others.push(name);
        }
    }
    names.extend(order::referred_first(others, remote.iter().chain(here)));
    let choice = &choice.resolved(&names)?;
    alone_under_their_labels(declared)?;
    let mut survey = Survey::default();
    let mut number =
        declared.iter().filter_map(|table| table.label().parse::<u32>().ok()).max().unwrap_or(0);
    for name in names {
        let there = remote.iter().find(|relation| relation.name == name);
        let own = here.iter().find(|relation| relation.name.eq_ignore_ascii_case(&name));
        let known = declared.iter().find(|table| *table.name() == *name);
        let twin = |one: &Chosen| one.table.name().eq_ignore_ascii_case(&name);
        let joined = known.is_some();
        let skip = |(reason, hint): (String, String)| {
            let table = Arc::clone(&name);
            Skipped { table, reason, hint, joined }
        };
        if let Some(twin) = survey.chosen.iter().find(|one| twin(one)) {
            if there.is_some() {
                survey.skipped.push(skip((
                    format!("the file cannot tell it from {}", twin.table.name()),
                    "rename one of the two, so that they differ in more than case".into(),
                )));
            }
            continue;
        }
        // Of a table in another schema nothing was looked at.
        let elsewhere = known
            .is_some_and(|table| table.remote_name().schema.as_deref() != choice.schema.as_deref());
        let there = there.filter(|_| !elsewhere);
        let own = own.filter(|_| !elsewhere);
        let said = choice.declared.get(&*name);
        let declared = said.filter(|_| known.is_none());
        let sides = Sides::new(&name, (there, own), declared, known);
        match (said, known) {
            (Some(said), Some(known)) => said.agrees(known)?,
            (Some(said), None) => said.fits(&sides)?,
            (None, _) => {}
        }
        let derived = derive::table(&sides, known, choice.schema.as_deref(), number + 1);
        let is_local = own.is_some() || *name == *built_in.name();
        match (choice.wants(&name, known.is_some(), is_local), derived) {
            (Wanted::Yes { required }, Ok(table)) => {
                number += u32::from(table.label().parse() == Ok(number + 1));
                let columns = derive::columns(&sides, &table);
                let required = required || table.label() == built_in.label();
                let natural = match joined {
                    true => Vec::new(),
                    false => derive::natural(&sides, &table),
                };
                let keyed = None;
                survey.chosen.push(Chosen { table, columns, required, joined, natural, keyed });
            }
            (Wanted::Unless(..) | Wanted::Yes { .. }, Err(reason)) => {
                survey.skipped.push(skip(reason));
            }
            (Wanted::Unless(reason, hint) | Wanted::No(reason, hint), _) => {
                survey.skipped.push(skip((reason.into(), hint)));
            }
        }
    }
    // With nothing chosen and nothing there, it is the documented system's table.
    let is_built_in = |one: &Skipped| *one.table == *built_in.name();
    if survey.chosen.is_empty() && choice.is_plain() && !survey.skipped.iter().any(is_built_in) {
        let name = built_in.shared_name();
        let sides = Sides::new(&name, (None, None), None, None);
        let table = built_in.within(choice.schema.as_deref().map(Arc::from));
        let columns = derive::columns(&sides, &table);
        let (natural, keyed) = (Vec::new(), None);
        survey.chosen.push(Chosen {
            table,
            columns,
            required: true,
            joined: false,
            natural,
            keyed,
        });
    }
    choice.are_all_kept(&survey)?;
    Ok(survey)
}

/// Two tables under one label would share what is ours beside them.
fn alone_under_their_labels(declared: &[Table]) -> Result<()> {
    for (at, table) in declared.iter().enumerate() {
        if let Some(twin) = declared.iter().take(at).find(|twin| twin.label() == table.label()) {
            let (one, other) = (twin.name(), table.name());
            let message = format!("{other} and {one} were joined apart, under one number");
            return Err(Error::new(Kind::Configuration, OPERATION, message).with_hint(
                "`dual uninstall --file-only`, then `dual init --apply`, which compares",
            ));
        }
    }
    Ok(())
}
