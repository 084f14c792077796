//! Lists in a transaction: what the store has, and over it what the transaction itself has done.

use super::super::local::{incomplete, knows_all, record};
use super::super::patch::column_of;
use super::super::write::remote_record;
use super::{ReadFrom, Seen, Transaction};
use crate::merge::Version;
use crate::protocol::{Filter, Record};
use crate::schema::RowId;
use crate::store::sqlite::replica::Content;
use crate::{Error, Kind, Result};

const OPERATION: &str = "list rows in a transaction";

impl Transaction {
    /// The rows of that table that fit, as this transaction sees them: with what it has added and changed, and
    /// without what it has deleted. The order is that of [`crate::database::TableCalls::list`].
    ///
    /// The rows that are answered count as read: if somebody else changes or deletes one of them before the
    /// commit, the transaction is made again. A row that somebody else adds meanwhile, or changes so that it fits
    /// now, is not noticed: whoever counts on there being no other row needs a row that all such transactions
    /// change. Every row is remembered until the commit: give a limit where there may be many.
    ///
    /// # Errors
    /// Configuration for a table that is not declared; invalid data for a filter that is not of that table; else
    /// as for [`Transaction::get`].
    pub async fn list(
        &self,
        table: &str,
        filter: &Filter,
        limit: Option<u64>,
    ) -> Result<Vec<Record>> {
        let at = self.core.position(table)?;
        let declared = self.core.table(at);
        let named = filter.equals.iter().map(|(name, _)| name);
        let named = named.chain(filter.contains.iter().map(|(name, _)| name));
        for name in named.chain(filter.since.iter().map(|(name, _)| name)) {
            if declared.column_once(name).is_none() {
                column_of(declared, name)?;
            }
        }
        let order = filter.ordered(declared).map_err(|name| {
            let message = format!("rows of {table} have no order by {name}");
            Error::new(Kind::InvalidData, OPERATION, message)
        })?;
        self.reaches(at)?;
        let limit = limit.unwrap_or(u64::MAX);
        // Any of those that were met may fit no more.
        let met = self.going_on()?.rows.keys().filter(|id| id.table == at).count() as u64;
        let found = self.read_list(at, filter, limit.saturating_add(met)).await?;

        let mut state = self.going_on()?;
        let of_table = state.rows.iter().filter(|(id, _)| id.table == at);
        let own = of_table.filter_map(|(_, seen)| seen.record.clone());
        let own = own.filter(|record| filter.fits(declared, record)).map(|record| (record, None));
        let mut rows: Vec<(Record, Option<Version>)> = own.collect();
        let is_new = |(record, _): &(Record, _)| {
            !state.rows.contains_key(&RowId { table: at, key: record.key.clone() })
        };
        rows.extend(found.into_iter().filter(is_new).map(|(row, version)| (row, Some(version))));
        rows.sort_by(|(one, _), (other, _)| order.compare(declared, one, other));
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let answered = rows.into_iter().map(|(record, version)| {
            if let Some(version) = version {
                let id = RowId { table: at, key: record.key.clone() };
                state.reads.insert(id.clone(), Some(version));
                state.rows.insert(id, Seen { record: Some(record.clone()), ..Seen::default() });
            }
            record
        });
        Ok(answered.collect())
    }

    /// The rows of the store that the transaction reads from, as they are there.
    async fn read_list(
        &self,
        table: usize,
        filter: &Filter,
        limit: u64,
    ) -> Result<Vec<(Record, Version)>> {
        match self.read_from {
            ReadFrom::Primary => {
                let rows = async {
                    let contact = self.core.followed(OPERATION, self.file, self.deadline).await?;
                    let primary = contact.primary()?;
                    let rows = primary.list(table, filter, None, limit);
                    self.core.ask(OPERATION, self.deadline, rows).await
                };
                let rows = rows.await.inspect_err(|_| self.state().lost_primary = true)?;
                Ok(rows
                    .into_iter()
                    .filter_map(|row| Some((remote_record(&row)?, row.version)))
                    .collect())
            }
            ReadFrom::File => {
                let filter = filter.clone();
                let look = move |content: &Content<'_>| {
                    if !knows_all(content, table)? {
                        return Err(incomplete(OPERATION, "a part of the table"));
                    }
                    let mut rows = Vec::new();
                    for listed in content.list(table, &filter, None, limit)? {
                        let id = RowId { table, key: listed.key };
                        let row = content.row(&id)?;
                        let version = row.as_ref().map(|row| row.tracked.version.clone());
                        rows.extend(row.and_then(|row| record(&id, row)).zip(version));
                    }
                    Ok(rows)
                };
                self.core.ask_file(OPERATION, look).await
            }
        }
    }
}
