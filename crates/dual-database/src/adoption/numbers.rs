//! Rows of both sides under one number that a side hands out. While they are apart two births are two rows; when
//! their table is joined nothing but what is in them tells whether they are the same.

use std::sync::Arc;

use super::columns::Columns;
use super::rows::{self, LocalRows, RemoteRows};
use super::survey::{Choice, Chosen, Skipped, Survey};
use super::{Bond, ColumnCounts, LocalFile, OPERATION, Stores, remote};
use crate::error::{Error, Kind, Result, Store};
use crate::schema::{Key, Table};
use crate::store::postgres::Session;
use crate::store::sqlite::FoundRelation;

/// Rows of both sides under one number, which are not equal.
#[derive(Clone, Debug, Default)]
pub(crate) struct Apart {
    pub keys: Vec<Key>,
    columns: Vec<ColumnCounts>,
}

/// Leaves those tables out of which a person has to say whether rows under one number are the same, and has not.
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
    survey.different.clone_from(&choice.different);
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
    let mut kept = Vec::new();
    for chosen in std::mem::take(&mut survey.chosen) {
        let name = chosen.table.shared_name();
        let is_asked = !chosen.joined && !choice.is_decided(&name);
        let apart = match is_asked && chosen.table.has_automatic_key() {
            true => apart(session, file, &chosen.table).await?,
            false => Apart::default(),
        };
        if apart.keys.is_empty() {
            kept.push(chosen);
            continue;
        }
        let columns =
            apart.columns.iter().map(|one| format!("{} in {}", one.column, one.different));
        survey.skipped.push(Skipped {
            reason: format!(
                "under {} numbers both sides have rows that differ ({}): the same ones, or others?",
                apart.keys.len(),
                columns.collect::<Vec<_>>().join(", ")
            ),
            hint: format!(
                "`--same {name}` merges them, `--different {name}` gives those of the file other numbers"
            ),
            table: name,
            joined: false,
        });
    }
    survey.chosen = kept;
    Ok(())
}

/// Of these tables the rows that are to be others than PostgreSQL's of their number.
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
    let is_named = |table: &&Table| names.iter().any(|name| name == table.name());
    for table in stores.sqlite.tables.iter().filter(is_named) {
        let apart = apart(&session, &file, table).await?;
        found.push((table.shared_name(), apart.keys));
    }
    session.rollback(OPERATION).await?;
    Ok(found)
}

/// The rows of one number that are not equal, in the session's transaction.
async fn apart(session: &Session, file: &LocalFile, table: &Table) -> Result<Apart> {
    let (there, planned) = remote(session, table, Bond::New).await?;
    let (here, found) = file.look(table)?;
    let (FoundRelation::Table { columns, .. }, Some(target)) = (&found, &planned.catalog.table)
    else {
        return Ok(Apart::default());
    };
    if !(there.obstacles.is_empty() && here.obstacles.is_empty()) {
        return Ok(Apart::default());
    }
    let remote = RemoteRows::new(session, table, &planned.catalog);
    let local = LocalRows::new(file, table, &found);
    let sides = ((file, columns.as_slice()), (session, target));
    let counted = Columns::new(sides.0, sides.1, table, (Bond::New, Store::Postgres)).await?;
    let mut keys = Vec::new();
    let counts =
        rows::compare(&remote, &local, Some(counted), |some| keys.extend_from_slice(some)).await?;
    Ok(Apart { keys, columns: counts.columns })
}
