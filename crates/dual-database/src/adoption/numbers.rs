//! Rows of both sides under one number that a side hands out. While they are apart two births are two rows; when
//! their table is joined nothing but what is in them tells whether they are the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::columns::Columns;
use super::rows::{self, LocalRows, Met, RemoteRows};
use super::survey::{Choice, Chosen, Skipped, Survey};
use super::{Bond, ColumnCounts, LocalFile, OPERATION, Stores, remote};
use crate::error::{Error, Kind, Result, Store};
use crate::schema::{Key, Table};
use crate::store::postgres::Session;
use crate::store::sqlite::FoundRelation;

/// Rows of the file that are not PostgreSQL's of their number.
#[derive(Clone, Debug, Default)]
struct Apart {
    /// PostgreSQL has others.
    different: BTreeSet<Key>,
    /// PostgreSQL has none.
    alone: Vec<Key>,
    columns: Vec<ColumnCounts>,
}

/// The numbers that rows of tables give up, by the tables' names.
type Moved = BTreeMap<Arc<str>, BTreeSet<Key>>;

/// Leaves those tables out of which a person has to say whether rows under one number are the same, and has not.
/// Of what this file keeps already nothing is asked.
///
/// # Errors
/// Configuration if he says so of a table that no side numbers; those of reading both sides.
pub(super) async fn decided(
    session: &Session,
    file: &LocalFile,
    choice: &Choice,
    survey: &mut Survey,
) -> Result<()> {
    let chosen = survey.chosen.iter().map(|chosen| chosen.table.shared_name());
    let skipped = survey.skipped.iter().map(|skipped| Arc::clone(&skipped.table));
    let choice = &choice.resolved(&chosen.chain(skipped).collect::<Vec<_>>())?;
    for name in choice.same.iter().chain(&choice.different) {
        let is_it = |chosen: &&Chosen| chosen.table.name() == name;
        let chosen = survey.chosen.iter().find(is_it);
        if chosen.is_some_and(|chosen| chosen.table.has_automatic_key()) {
            continue;
        }
        let message = match chosen {
            Some(_) => format!("nobody hands out the keys of {name}: a key is the same row anyway"),
            None => format!("{name} is not among the tables that would be joined"),
        };
        return Err(Error::new(Kind::Configuration, OPERATION, message)
            .with_hint("leave it out of --same and --different"));
    }
    let (mut kept, mut moved) = (Vec::new(), Moved::new());
    for chosen in std::mem::take(&mut survey.chosen) {
        let name = chosen.table.shared_name();
        let is_same = choice.same.iter().any(|one| **one == *name);
        if is_same || !chosen.table.has_automatic_key() || file.keeps(&chosen.table)? {
            kept.push(chosen);
            continue;
        }
        let apart = apart(session, file, &chosen.table, &moved).await?;
        if choice.different.iter().any(|one| **one == *name) {
            survey.different.push(name.to_string());
            moved.insert(name, apart.different);
            kept.push(chosen);
            continue;
        }
        if apart.different.is_empty() {
            kept.push(chosen);
            continue;
        }
        survey.skipped.push(apart.asked(chosen));
    }
    survey.chosen = kept;
    Ok(())
}

impl Apart {
    /// Why the table is left out.
    fn asked(&self, chosen: Chosen) -> Skipped {
        let name = chosen.table.shared_name();
        let columns = self.columns.iter().map(|one| format!("{} in {}", one.column, one.different));
        let columns = columns.collect::<Vec<_>>().join(", ");
        let columns = if columns.is_empty() { "in what they refer to".to_owned() } else { columns };
        Skipped {
            reason: format!(
                "under {} numbers both sides have rows that differ ({columns}): the same ones, or others?",
                self.different.len(),
            ),
            hint: format!(
                "`--same {name}` merges them, `--different {name}` gives those of the file other numbers"
            ),
            table: name,
            joined: chosen.joined,
        }
    }
}

/// Of these tables the rows that are not PostgreSQL's of their number: those that are to take other ones, and
/// those of which only the file knows, whose numbers somebody may have had.
///
/// # Errors
/// Those of reading both sides.
pub(crate) async fn different(
    stores: &Stores,
    names: &[String],
) -> Result<Vec<(Arc<str>, Vec<Key>)>> {
    let mut found = Vec::new();
    if names.is_empty() {
        return Ok(found);
    }
    let session = Session::open(&stores.postgres, &stores.limits).await?;
    session.begin_snapshot(OPERATION).await?;
    let file = LocalFile::open(&stores.sqlite)?;
    super::natural::align(&session, &file, &stores.sqlite.tables).await?;
    let mut moved = Moved::new();
    let is_named = |table: &&Table| names.iter().any(|name| name == table.name());
    for table in stores.sqlite.tables.iter().filter(is_named) {
        let Apart { different, alone, .. } = apart(&session, &file, table, &moved).await?;
        found.push((table.shared_name(), different.iter().cloned().chain(alone).collect()));
        moved.insert(table.shared_name(), different);
    }
    session.rollback(OPERATION).await?;
    Ok(found)
}

/// The rows that are not equal, or refer to one that has given up its number, in the session's transaction.
async fn apart(session: &Session, file: &LocalFile, table: &Table, moved: &Moved) -> Result<Apart> {
    let (there, planned) = remote(session, table, Bond::New).await?;
    let (here, found) = file.look(table)?;
    let mut apart = Apart::default();
    let (FoundRelation::Table { columns, .. }, Some(target)) = (&found, &planned.catalog.table)
    else {
        return Ok(apart);
    };
    if !(there.obstacles.is_empty() && here.obstacles.is_empty()) {
        return Ok(apart);
    }
    let remote = RemoteRows::new(session, table, &planned.catalog);
    let local = LocalRows::new(file, table, &found)?;
    let sides = ((file, columns.as_slice()), (session, target));
    let counted = Columns::new(sides.0, sides.1, table, (Bond::New, Store::Postgres)).await?;
    let met = |met, key: &Key| match met {
        Met::Different => drop(apart.different.insert(key.clone())),
        Met::OnlySqlite => apart.alone.push(key.clone()),
    };
    apart.columns = rows::compare(&remote, &local, Some(counted), met).await?.columns;
    let alone: BTreeSet<&Key> = apart.alone.iter().collect();
    for (column, parent) in file.references(table)? {
        let is_it = |name: &&Arc<str>| name.eq_ignore_ascii_case(&parent);
        let Some(numbers) = moved.keys().find(is_it).and_then(|name| moved.get(name)) else {
            continue;
        };
        let referring = file.referring(table, &column, numbers)?;
        apart.different.extend(referring.into_iter().filter(|key| !alone.contains(key)));
    }
    Ok(apart)
}
