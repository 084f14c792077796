//! `dual row`, and `dual user`, which is the same for the users of the documented system.

use std::io::Read as _;

use dual_database::database::{Patch, Written};
use dual_database::protocol::Filter;
use dual_database::schema::{Key, Table};
use dual_database::{DualDatabase, Error, Kind, Result, Store};
use futures_util::StreamExt as _;

use super::{Look, Write};
use crate::arguments::{ByKey, NewRow, Row, RowChanges, RowList};
use crate::exit::Exit;
use crate::output::{self, RowListing, Shown, Words};
use crate::settings::Stores;

/// So many rows are listed in one piece.
const PAGE: u64 = 1_000;

/// Adds, reads, changes, lists and deletes rows of any table.
///
/// # Errors
/// Those of opening and of the call; configuration if there is no such table; [`Kind::NotFound`] if there is no
/// such row.
pub async fn run(stores: &Stores, json: bool, words: Words, command: Row) -> Result<Exit> {
    let rows = Rows { stores, json, words };
    match command {
        Row::Add(new) => rows.add(&new).await,
        Row::Upsert(new) => rows.upsert(&new).await,
        Row::Update(changes) => rows.update(&changes).await,
        Row::Delete(row) => rows.delete(&row).await,
        Row::Get(row) => rows.get(&row).await,
        Row::List(list) => rows.list(&list).await,
    }
}

struct Rows<'s> {
    stores: &'s Stores,
    json: bool,
    words: Words,
}

impl Rows<'_> {
    fn shown<'t>(&self, table: &'t Table) -> Shown<'t> {
        Shown { table, words: self.words, json: self.json }
    }

    /// The columns of a JSON object, or of what stdin has for `-`. What is wrong with it is told before anything
    /// is opened, or made.
    async fn patch(&self, table: &str, given: &str) -> Result<Patch> {
        let given = self::given(given)?;
        Patch::from_json(&self.stores.declared(table).await?, &given)
    }

    async fn add(&self, new: &NewRow) -> Result<Exit> {
        let row = self.patch(&new.table, &new.json_object).await?;
        Write::with(self.stores, async |database| {
            let table = database.table(&new.table)?;
            let declared = table.declaration();
            let written = table.add(&row).await?;
            let away = away(database, declared, &written).await;
            output::data(&self.shown(declared).written(&written, away, "added"));
            Ok(exit_of(&written))
        })
        .await
    }

    async fn upsert(&self, new: &NewRow) -> Result<Exit> {
        let row = self.patch(&new.table, &new.json_object).await?;
        Write::with(self.stores, async |database| {
            let table = database.table(&new.table)?;
            let declared = table.declaration();
            let written = table.upsert(&row).await?;
            let away = away(database, declared, &written).await;
            output::data(&self.shown(declared).written(&written, away, "written"));
            Ok(exit_of(&written))
        })
        .await
    }

    async fn update(&self, changes: &RowChanges) -> Result<Exit> {
        let row = self.patch(&changes.table, &changes.json_object).await?;
        Write::with(self.stores, async |database| {
            let table = database.table(&changes.table)?;
            let declared = table.declaration();
            let key = Key::of_text(declared, &changes.key)?;
            let written = table.update(key, &row).await?;
            let away = away(database, declared, &written).await;
            output::data(&self.shown(declared).written(&written, away, "updated"));
            Ok(exit_of(&written))
        })
        .await
    }

    async fn delete(&self, row: &ByKey) -> Result<Exit> {
        Write::with(self.stores, async |database| {
            let table = database.table(&row.table)?;
            let declared = table.declaration();
            let key = Key::of_text(declared, &row.key)?;
            let written = table.delete(&key).await?;
            let away = output::away(database, &written, declared, &key).await;
            output::data(&self.shown(declared).deleted(&written, away, &key));
            Ok(exit_of(&written))
        })
        .await
    }

    async fn get(&self, row: &ByKey) -> Result<Exit> {
        Look::with(self.stores, async |database| {
            let table = database.table(&row.table)?;
            let declared = table.declaration();
            let key = Key::of_text(declared, &row.key)?;
            let found = table.get(&key).await?;
            let Some(record) = &found.value else {
                let message = format!("{} {key} is not there, says {}", row.table, found.source);
                let operation = match self.words {
                    Words::Users => "get the user",
                    Words::Rows => "get the row",
                };
                return Err(Error::new(Kind::NotFound, operation, message));
            };
            output::data(&self.shown(declared).found(record, &found));
            Ok(Exit::Done)
        })
        .await
    }

    async fn list(&self, list: &RowList) -> Result<Exit> {
        let limit = list.limit.unwrap_or(u64::MAX);
        Look::with(self.stores, async |database| {
            let table = database.table(&list.table)?;
            let declared = table.declaration();
            let mut filter = Filter::default();
            for one in &list.equals {
                filter = filter.equals_text(declared, &one.column, &one.text)?;
            }
            for part in &list.contains {
                filter = filter.contains(declared, &part.column, &part.text)?;
            }
            for column in &list.order {
                filter = filter.order_by_text(declared, column)?;
            }
            let mut printed = RowListing::new(self.shown(declared));
            // A short list is of one moment; a long one comes in pages, in constant memory.
            let first = table.list(&filter, Some(limit.min(PAGE))).await?;
            if limit <= PAGE || (first.value.len() as u64) < PAGE {
                first.value.iter().for_each(|row| printed.add(row));
                printed.end(&first);
                return Ok(Exit::Done);
            }
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let mut rows = std::pin::pin!(table.stream(&filter).take(limit));
            while let Some(row) = rows.next().await {
                match row {
                    Ok(row) => printed.add(&row),
                    Err(error) => return printed.fail(error),
                }
            }
            printed.end(&first);
            Ok(Exit::Done)
        })
        .await
    }
}

async fn away(
    database: &DualDatabase,
    table: &Table,
    written: &Written<dual_database::database::Record>,
) -> Option<output::Away> {
    output::away(database, written, table, &written.value().key).await
}

/// A JSON object, or what stdin has for `-`.
fn given(given: &str) -> Result<String> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut bytes = Vec::new();
    let wrong = |message: &str| Error::new(Kind::InvalidData, "read the row from stdin", message);
    std::io::stdin()
        .lock()
        .read_to_end(&mut bytes)
        .map_err(|cause| wrong("stdin cannot be read").with_source(cause))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| wrong("it is not UTF-8").with_hint("save or send it as UTF-8"))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

fn exit_of<T>(written: &Written<T>) -> Exit {
    let everywhere = written.is_in(Store::Postgres) && written.is_in(Store::Sqlite);
    if everywhere { Exit::Done } else { Exit::OneSide }
}
