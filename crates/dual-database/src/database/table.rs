//! The calls on any declared table.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream::{self, Stream};

use super::core::Core;
use super::local::Rows;
use super::patch::{Checked, Patch, refused};
use super::plan::{Intent, WritePlan, key_of, new_row};
use super::read::Page;
use super::{DualDatabase, Found, Written};
use crate::merge::Change;
use crate::protocol::{After, Filter, Record};
use crate::schema::{Key, RowId, Table};
use crate::{Error, Kind, Result, Store};

/// How many rows a stream reads at once.
const PAGE: u64 = 2_000;

/// One table of an open database.
#[derive(Clone, Debug)]
pub struct TableCalls {
    database: DualDatabase,
    /// As it was declared when it was asked for.
    table: Arc<Table>,
}

/// The table as it is open now: others may have been joined since, and be before it.
struct OpenTable {
    core: Arc<Core>,
    at: usize,
}

impl OpenTable {
    fn declaration(&self) -> &Table {
        self.core.table(self.at)
    }

    fn id(&self, key: impl Into<Key>) -> Result<RowId> {
        id_of(self.declaration(), self.at, key.into())
    }

    async fn write_one(
        &self,
        operation: &'static str,
        id: &RowId,
        intent: Intent,
    ) -> Result<Written<Record>> {
        let intents = vec![(id.clone(), intent)];
        one(
            operation,
            self.core.write(WritePlan { operation, intents, ..WritePlan::default() }).await,
        )
    }

    /// Adds a row: under the key that was named, or under a number of its own.
    async fn add(&self, operation: &'static str, said: &Checked) -> Result<Written<Record>> {
        let (table, values) = (self.declaration(), new_row(self.declaration(), said));
        if said.key.is_none() && table.has_automatic_key() {
            return one(operation, self.core.add_numbered(operation, self.at, values).await);
        }
        let id = RowId { table: self.at, key: key_of(table, said)? };
        self.write_one(operation, &id, Intent::Change(Change::Insert(values))).await
    }
}

/// The one row that was written.
fn one(operation: &'static str, written: Result<Written<Rows>>) -> Result<Written<Record>> {
    written?.try_map(|rows| {
        rows.into_iter().next().flatten().ok_or_else(|| {
            Error::new(Kind::Internal, operation, "the written row was not answered")
        })
    })
}

impl TableCalls {
    /// # Errors
    /// As for [`super::DualDatabase::table`].
    pub(super) fn new(database: DualDatabase, name: &str) -> Result<TableCalls> {
        let (core, at) = database.find(name)?;
        let table = Arc::new(core.table(at).clone());
        Ok(TableCalls { database, table })
    }

    /// The declaration, as it was when the table was asked for: columns that were joined since are not in it.
    #[must_use]
    pub fn declaration(&self) -> &Table {
        &self.table
    }

    fn opened(&self) -> Result<OpenTable> {
        let (core, at) = self.database.find(self.table.name())?;
        Ok(OpenTable { core, at })
    }

    /// Adds a row; columns that are not named get their defaults.
    ///
    /// Where the key is numbered by itself ([`Table::has_automatic_key`]) it need not be named: the row gets a
    /// number, which the answer has, and which is final. It is PostgreSQL's next one; while PostgreSQL is away,
    /// one that is kept for the file since the first row that was added so.
    ///
    /// # Errors
    /// As for [`super::DualDatabase::add_user`]. Without a key besides: unavailable if PostgreSQL is away and no
    /// number is kept; access denied if its role may not use the sequence; what PostgreSQL says of a sequence
    /// that has come to its end.
    pub async fn add(&self, row: &Patch) -> Result<Written<Record>> {
        let opened = self.opened()?;
        let said = row.checked(opened.declaration())?;
        opened.add("add a row", &said).await
    }

    /// Adds a row, or sets these columns of the one that is there. Without a key it adds one, as
    /// [`TableCalls::add`] does.
    ///
    /// # Errors
    /// As for [`super::DualDatabase::upsert_user`] and [`TableCalls::add`].
    pub async fn upsert(&self, row: &Patch) -> Result<Written<Record>> {
        let opened = self.opened()?;
        let table = opened.declaration();
        let said = row.checked(table)?;
        if said.key.is_none() && table.has_automatic_key() {
            return opened.add("upsert a row", &said).await;
        }
        let id = RowId { table: opened.at, key: key_of(table, &said)? };
        let insert = new_row(table, &said);
        if said.columns.is_empty() {
            // Of a row that is there nothing is to be set.
            return match opened
                .write_one("upsert a row", &id, Intent::Change(Change::Insert(insert)))
                .await
            {
                Err(error) if error.is_already_exists() => {
                    let found = self.get(&id.key).await?;
                    match (found.value, found.source) {
                        (Some(record), Store::Postgres) => Ok(Written::InBoth(record)),
                        // It may be pending, and PostgreSQL is not there to be asked.
                        (Some(value), stored_in) => Ok(Written::InOne { value, stored_in }),
                        (None, _) => Err(error),
                    }
                }
                written => written,
            };
        }
        let intent = Intent::Upsert { insert, update: said.columns };
        opened.write_one("upsert a row", &id, intent).await
    }

    /// Sets these columns of a row.
    ///
    /// # Errors
    /// As for [`super::DualDatabase::update_user`].
    pub async fn update(&self, key: impl Into<Key>, changes: &Patch) -> Result<Written<Record>> {
        let opened = self.opened()?;
        let id = opened.id(key)?;
        let intent = intent_to_update(opened.declaration(), &id.key, changes)?;
        opened.write_one("update a row", &id, intent).await
    }

    /// Deletes a row.
    ///
    /// # Errors
    /// As for [`super::DualDatabase::delete_user`].
    pub async fn delete(&self, key: impl Into<Key>) -> Result<Written<()>> {
        let opened = self.opened()?;
        let plan = WritePlan {
            operation: "delete a row",
            intents: vec![(opened.id(key)?, Intent::Change(Change::Delete))],
            ..WritePlan::default()
        };
        Ok(opened.core.write(plan).await?.map(|_| ()))
    }

    /// The row with that key.
    ///
    /// # Errors
    /// Unavailable with both causes if neither store answers.
    pub async fn get(&self, key: impl Into<Key>) -> Result<Found<Option<Record>>> {
        let opened = self.opened()?;
        opened.core.get("read a row", &opened.id(key)?).await
    }

    /// The rows that fit, in the order of the filter: without one ([`Filter::order_by`]) the newest first, where the
    /// table has a column for that, then the highest key.
    ///
    /// # Errors
    /// As for [`TableCalls::get`].
    pub async fn list(&self, filter: &Filter, limit: Option<u64>) -> Result<Found<Vec<Record>>> {
        let opened = self.opened()?;
        let limit = limit.unwrap_or(u64::MAX);
        let page = Page { table: opened.at, filter: filter.clone(), after: None, limit };
        opened.core.list("list rows", page).await
    }

    /// How many rows fit.
    ///
    /// # Errors
    /// As for [`TableCalls::get`].
    pub async fn count(&self, filter: &Filter) -> Result<Found<u64>> {
        let opened = self.opened()?;
        opened.core.count("count rows", opened.at, filter.clone()).await
    }

    /// The rows that fit, in the order of [`TableCalls::list`], a page at a time: as many rows as there may be in
    /// constant memory. Each page is of its own moment, from the store that answers then; a row
    /// that stays as it is comes once.
    pub fn stream(&self, filter: &Filter) -> impl Stream<Item = Result<Record>> + Send + use<> {
        let (table, filter) = (Some(self.clone()), filter.clone());
        let pages = Pages { table, filter, after: None, rows: VecDeque::new() };
        stream::unfold(pages, |mut pages| async move {
            let next = pages.next().await?;
            Some((next, pages))
        })
    }
}

/// The row with that key.
///
/// # Errors
/// Invalid data if the table's rows have no such keys.
pub(super) fn id_of(table: &Table, at: usize, key: Key) -> Result<RowId> {
    match table.takes_key(&key) {
        true => Ok(RowId { table: at, key }),
        false => Err(refused(table, &table.key_name(), "a key of another form is wanted")),
    }
}

/// Where a stream stands.
struct Pages {
    /// `None` once it is at its end.
    table: Option<TableCalls>,
    filter: Filter,
    after: Option<After>,
    rows: VecDeque<Record>,
}

impl Pages {
    async fn next(&mut self) -> Option<Result<Record>> {
        if let Some(row) = self.rows.pop_front() {
            return Some(Ok(row));
        }
        let table = self.table.take()?;
        let opened = match table.opened() {
            Ok(opened) => opened,
            Err(error) => return Some(Err(error)),
        };
        let (filter, after) = (self.filter.clone(), self.after.take());
        let page = Page { table: opened.at, filter, after, limit: PAGE };
        match opened.core.list("list rows", page).await {
            Ok(found) => self.rows = found.value.into(),
            Err(error) => return Some(Err(error)),
        }
        let declared = opened.declaration();
        if let Some((last, order)) = self.rows.back().zip(self.filter.ordered(declared).ok()) {
            self.after = Some(order.place(declared, last));
            self.table = Some(table);
        }
        self.rows.pop_front().map(Ok)
    }
}

/// The intent to add a row.
///
/// # Errors
/// Invalid data.
pub(super) fn intent_to_add(table: &Table, at: usize, row: &Patch) -> Result<(RowId, Intent)> {
    let said = row.checked(table)?;
    let id = RowId { table: at, key: key_of(table, &said)? };
    Ok((id, Intent::Change(Change::Insert(new_row(table, &said)))))
}

/// The intent to set columns of a row.
///
/// # Errors
/// Invalid data, also for another key than the row's, and for no column at all.
pub(super) fn intent_to_update(table: &Table, key: &Key, changes: &Patch) -> Result<Intent> {
    let Checked { key: said, columns } = changes.checked(table)?;
    let name = &table.key_name();
    if said.is_some_and(|said| said != *key) {
        return Err(refused(table, name, "a row keeps its key; delete it and add another one"));
    }
    if columns.is_empty() {
        return Err(refused(table, name, "no column is named that could be set"));
    }
    Ok(Intent::Change(Change::Update(columns)))
}
