//! The library's writes: what is sent, what the answer says, why nothing was done.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::epoch::header;
use super::row::{RowAsRead, Text};
use super::{Header, Primary, Refused, RemoteTable, WriteAnswer, WrittenRow};
use crate::merge::{Admission, Change, Register, Version};
use crate::schema::{Key, RowId};
use crate::stamp::Stamp;
use crate::store::postgres::answer::{column, unexpected};
use crate::store::postgres::capture::{RemoteEntry, RowStamps, entry_of, record, refusal};
use crate::store::postgres::{Access, Call, Parameter, is_unsupported, sqlstate};
use crate::value::Value;
use crate::{Error, Kind, Result};

const OPERATION: &str = "write to PostgreSQL";

/// How often a transaction is sent that the server ended for the sake of another one.
const ATTEMPTS: usize = 3;

/// One call of a table's function.
struct TableCall {
    table: usize,
    sql: String,
    changes: String,
    reads: String,
}

impl Primary<'_> {
    /// A library's write, all of its changes in one transaction and one round trip, under one
    /// proposed stamp. `reads` are the rows that the caller has read to compute it, with the
    /// stamps that they had (`None`: the key was not there or dead). Each row is changed once.
    ///
    /// Within a table rows are deleted first, then changed, then inserted; across tables what is
    /// deleted goes from the last table to the first, everything else from the first to the last.
    ///
    /// # Errors
    /// Invalid data and constraint violations, after which nothing stands; unavailable if it
    /// never reached the server, or was refused there for reasons that pass (a lock that did not
    /// come in time); [`crate::Kind::OutcomeUnknown`] if it was sent and its answer was lost.
    pub async fn write(
        &self,
        changes: &[(RowId, Change)],
        proposal: Stamp,
        reads: &[(RowId, Option<Version>)],
    ) -> Result<Result<WriteAnswer, Refused>> {
        match (changes, reads) {
            ([(id, change)], []) => self.put(id, change, proposal).await,
            _ => self.write_several(changes, proposal, reads).await,
        }
    }

    async fn write_several(
        &self,
        changes: &[(RowId, Change)],
        proposal: Stamp,
        reads: &[(RowId, Option<Version>)],
    ) -> Result<Result<WriteAnswer, Refused>> {
        let steps = self.steps(changes, proposal, reads)?;
        let (file, relations, proposal) = (self.file.to_string(), self.relations(), proposal.raw());
        let parameters: Vec<[Parameter<'_>; 3]> = steps
            .iter()
            .map(|step| -> [Parameter<'_>; 3] {
                [(&step.changes, Type::TEXT), (&proposal, Type::INT8), (&step.reads, Type::TEXT)]
            })
            .collect();
        let asked: [Parameter<'_>; 2] = [(&file, Type::TEXT), (&relations, Type::TEXT_ARRAY)];
        let steps_sent = steps.iter().zip(&parameters);
        let mut calls: Vec<Call<'_>> =
            steps_sent.map(|(step, parameters)| Call { sql: &step.sql, parameters }).collect();
        let look = header(self.session);
        calls.push(Call { sql: &look, parameters: &asked });
        let mut answers = match self.send(&calls).await? {
            Ok(answers) => answers,
            Err(refused) => return Ok(Err(refused)),
        };
        let header: Option<Vec<Text>> = answers
            .pop()
            .and_then(|rows| rows.first().map(|row| column(row, 0, OPERATION)))
            .transpose()?;
        let header = Header::read(header.as_deref(), &relations)?;
        let mut written = BTreeMap::new();
        for (step, rows) in steps.iter().zip(&answers) {
            for row in rows {
                let before: Option<String> = column(row, 0, OPERATION)?;
                let after: String = column(row, 1, OPERATION)?;
                let values: Option<Vec<Text>> = column(row, 3, OPERATION)?;
                let row = self.written(
                    step.table,
                    before.as_deref(),
                    &after,
                    column(row, 2, OPERATION)?,
                    values.unwrap_or_default(),
                )?;
                written.insert(row.row.id.clone(), row);
            }
        }
        let rows: Option<Vec<WrittenRow>> =
            changes.iter().map(|(id, _)| written.remove(id)).collect();
        let rows = rows.ok_or_else(|| unexpected(OPERATION))?;
        let txid = rows.first().map_or(0, |row| row.row.txid);
        Ok(Ok(WriteAnswer { rows, txid, epoch: header.epoch }))
    }

    /// Sends the calls as one transaction, again if the server ended it for the sake of another.
    pub(super) async fn send(&self, calls: &[Call<'_>]) -> Result<Result<Vec<Vec<Row>>, Refused>> {
        let mut attempt = 1;
        loop {
            let error = match self.session.transact(OPERATION, Access::Write, calls).await {
                Ok(answers) => return Ok(Ok(answers)),
                Err(error) => error,
            };
            if let Some(refused) = self.refused(&error) {
                return Ok(Err(refused));
            }
            if is_unsupported(&error) {
                let message = error.message().to_owned();
                return Err(Error::new(Kind::InvalidData, OPERATION, message)
                    .with_hint("nothing was changed; a table with rules (CREATE RULE) cannot be written to")
                    .with_source(error));
            }
            if attempt == ATTEMPTS || !matches!(sqlstate(&error), Some("40001" | "40P01")) {
                return Err(error);
            }
            attempt += 1;
        }
    }

    /// The calls in their order. Where several tables are concerned, all rows are locked and
    /// looked at before the first is changed: a trigger of the user's on one table may change
    /// another one. They are changed in the caller's order, because rows of one table may refer to those
    /// of another, whichever is declared first.
    fn steps(
        &self,
        changes: &[(RowId, Change)],
        proposal: Stamp,
        reads: &[(RowId, Option<Version>)],
    ) -> Result<Vec<TableCall>> {
        let mut once = BTreeSet::new();
        if let Some((twice, _)) = changes.iter().find(|(id, _)| !once.insert(id.clone())) {
            let error = Error::new(Kind::InvalidData, OPERATION, "the row is changed twice");
            return Err(error.about(self.name(twice)));
        }
        let mut checks: BTreeMap<usize, Vec<serde_json::Value>> = BTreeMap::new();
        for (id, version) in reads {
            let expected = self.expected(id, version.as_ref())?;
            checks.entry(id.table).or_default().push(expected);
        }
        let mut marked = Vec::with_capacity(changes.len());
        for (id, change) in changes {
            marked.push((id, *change == Change::Delete, self.mark(id, change, proposal)?));
        }
        let changed = changes.iter().map(|(id, _)| id.table);
        let concerned: BTreeSet<usize> = checks.keys().copied().chain(changed).collect();
        if let (Some(table), 1) = (concerned.first(), concerned.len()) {
            marked.sort_by_key(|(_, deletes, _)| !deletes);
            let marks = marked.into_iter().map(|(_, _, mark)| mark).collect();
            let checks = checks.remove(table).unwrap_or_default();
            return Ok(vec![self.step(*table, marks, checks)?]);
        }
        for (id, _) in changes {
            let check = self.check(id)?.into();
            checks.entry(id.table).or_default().push(check);
        }
        let mut steps: Vec<TableCall> = checks
            .into_iter()
            .map(|(table, checks)| self.step(table, Vec::new(), checks))
            .collect::<Result<_>>()?;
        let mut runs: Vec<(usize, bool, Vec<serde_json::Value>)> = Vec::new();
        for (id, ends, mark) in marked {
            match runs.last_mut().filter(|run| (run.0, run.1) == (id.table, ends)) {
                Some((.., marks)) => marks.push(mark),
                None => runs.push((id.table, ends, vec![mark])),
            }
        }
        for (table, _, marks) in runs {
            steps.push(self.step(table, marks, Vec::new())?);
        }
        Ok(steps)
    }

    fn step(
        &self,
        table: usize,
        marks: Vec<serde_json::Value>,
        checks: Vec<serde_json::Value>,
    ) -> Result<TableCall> {
        let sql = format!(
            "SELECT row_before::text, row_after::text, row_surrogate, row_values \
             FROM {}($1::text::jsonb, $2, $3::text::jsonb)",
            self.table(table)?.layout.function("write")
        );
        let [changes, reads] =
            [marks, checks].map(|list| serde_json::Value::Array(list).to_string());
        Ok(TableCall { table, sql, changes, reads })
    }

    /// The stamps that a row that was read has to have still; null if it was not there.
    fn expected(&self, id: &RowId, version: Option<&Version>) -> Result<serde_json::Value> {
        let columns = self.table(id.table)?.defaults.len();
        let stamps = version.filter(|version| version.live.value).map(|version| {
            let own = (0..columns).map(|column| version.stamp_of(column).raw());
            std::iter::once(version.live.stamp.raw()).chain(own).collect::<Vec<i64>>()
        });
        let mut check = self.check(id)?;
        check.insert("stamps".to_owned(), serde_json::json!(stamps));
        Ok(check.into())
    }

    /// A row that is to be locked and looked at.
    fn check(&self, id: &RowId) -> Result<serde_json::Map<String, serde_json::Value>> {
        Ok(record(&self.table(id.table)?.table, &id.key).collect())
    }

    fn mark(&self, id: &RowId, change: &Change, stamp: Stamp) -> Result<serde_json::Value> {
        let table = &self.table(id.table)?.table;
        let set = |column: usize, value: &Value| {
            let wrong = || Error::new(Kind::Internal, OPERATION, "there is no such column");
            table.data_column(column).ok_or_else(wrong)?;
            Ok((column, stamp, value.clone()))
        };
        let (life, columns) = match change {
            Change::Insert(values) if values.len() != table.data_columns().count() => {
                return Err(Error::new(Kind::Internal, OPERATION, "a new row lacks columns"));
            }
            Change::Insert(values) => {
                let columns = values.iter().enumerate().map(|(column, value)| set(column, value));
                (Some((true, stamp)), columns.collect::<Result<_>>()?)
            }
            Change::Update(columns) => {
                let columns = columns.iter().map(|(column, value)| set(*column, value));
                (None, columns.collect::<Result<_>>()?)
            }
            Change::Delete => (Some((false, stamp)), Vec::new()),
        };
        Ok(RowStamps { key: id.key.clone(), life, columns }.json(table))
    }

    /// A row of the answer: its sidecar row before and after, and its values, none of a row that
    /// is gone.
    pub(super) fn written(
        &self,
        table: usize,
        before: Option<&str>,
        after: &str,
        surrogate: Option<i64>,
        values: Vec<Text>,
    ) -> Result<WrittenRow> {
        let remote = self.table(table)?;
        let entry =
            |text: &str| entry_of(&remote.layout, text).ok_or_else(|| unexpected(OPERATION));
        let after = entry(after)?;
        let parts = RowAsRead {
            key: after.key,
            live: after.live,
            stamp: after.stamp.raw(),
            txid: i64::try_from(after.txid).map_err(|_| unexpected(OPERATION))?,
            stamps: after.columns.iter().map(|stamp| stamp.raw()).collect(),
            present: !values.is_empty(),
            surrogate,
            values,
            as_it_stands: false,
        };
        let previous = before.map(entry).transpose()?.map(stamps_of);
        Ok(WrittenRow { previous, row: remote.judge(table, parts, OPERATION)? })
    }

    /// Why nothing was done, if the functions have said it.
    fn refused(&self, error: &Error) -> Option<Refused> {
        match refusal(error) {
            Some(Admission::Stale { above }) => return Some(Refused::Stale { above }),
            Some(Admission::Ahead) => return Some(Refused::Ahead),
            Some(Admission::Admit) | None => {}
        }
        let (what, refused): (&str, fn(RowId) -> Refused) = match sqlstate(error)? {
            "DU003" => ("changed", Refused::Changed),
            "DU004" => ("exists", Refused::Exists),
            "DU005" => ("missing", Refused::Missing),
            "DU006" => ("absent", Refused::Absent),
            _ => return None,
        };
        self.tables.iter().enumerate().find_map(|(table, remote)| {
            let begins = format!("row {what} in {}, key ", remote.table.name());
            let rest = error.message().strip_prefix(&begins)?;
            let key = serde_json::Deserializer::from_str(rest).into_iter().next()?.ok()?;
            Some(refused(RowId::new(table, Key::read(&key)?)))
        })
    }

    pub(super) fn table(&self, table: usize) -> Result<&RemoteTable> {
        self.tables
            .get(table)
            .ok_or_else(|| Error::new(Kind::Internal, OPERATION, "there is no such table"))
    }

    fn name(&self, id: &RowId) -> String {
        let name = self.tables.get(id.table).map_or("?", |remote| remote.table.name());
        format!("{name}, key {}", id.key)
    }
}

/// Stamps without values.
fn stamps_of(entry: RemoteEntry) -> Version {
    let register = |stamp| Register { stamp, value: Value::Null };
    Version {
        live: Register { stamp: entry.stamp, value: entry.live },
        columns: entry.columns.into_iter().map(register).collect(),
    }
}
