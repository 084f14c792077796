//! What the library's calls read. No text of a caller's is ever part of a statement: columns are
//! named by the declaration, values are parameters.

use std::borrow::Cow;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::row::Text;
use super::{Primary, RemoteRow, RemoteTable};
use crate::protocol::{After, Direction, Filter, Order};
use crate::schema::{Column, Dialect, Key, LogicalType, RowId, quoted};
use crate::store::postgres::Parameter;
use crate::store::postgres::answer::{column, unexpected};
use crate::value::{Value, plain_text};
use crate::{Error, Kind, Result};

const OPERATION: &str = "read from PostgreSQL";

impl Primary<'_> {
    /// The row, dead ones included; one round trip.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::query`].
    pub async fn row(&self, id: &RowId) -> Result<Option<RemoteRow>> {
        let remote = self.table(id.table)?;
        let sql = format!("SELECT {}($1, $2)", remote.layout.function("get"));
        let patience = self.session.patience();
        let parameters: [Parameter<'_>; 2] =
            [(&id.key, remote.layout.key.one()), (&patience, Type::TEXT)];
        // A statement of its own: it waits for nothing but a lock, for which it has a limit.
        let rows = self.session.query(OPERATION, &sql, &parameters).await?;
        let texts: Option<Vec<Text>> =
            column(rows.first().ok_or_else(|| unexpected(OPERATION))?, 0, OPERATION)?;
        texts.map(|texts| remote.decode_texts(id, &texts, OPERATION)).transpose()
    }

    /// Living rows, in the order that the filter names.
    ///
    /// # Errors
    /// Invalid data for a filter that does not fit its column; else as for
    /// [`crate::store::postgres::Session::query`].
    pub async fn list(
        &self,
        table: usize,
        filter: &Filter,
        after: Option<&After>,
        limit: u64,
    ) -> Result<Vec<RemoteRow>> {
        let remote = self.table(table)?;
        let order = filter.ordered(&remote.table).map_err(no_order)?;
        let mut question = Question::default();
        let mut conditions = question.conditions(remote, filter)?;
        if let Some(after) = after {
            let unreadable = self.unreadable(remote, &order, after).await?;
            conditions.push(question.beyond(remote, &order, after, &unreadable));
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let limit = question.parameter(limit.to_string(), &LogicalType::BigInt);
        let (target, sidecar, key) =
            (&remote.layout.target, &remote.layout.sidecar, &remote.layout.key);
        let keys = key.order("u", order.direction_of_keys());
        let order = format!("ORDER BY {}{keys}", order.sql(Dialect::Postgres));
        // The sidecar is joined to the page, not to the table.
        question.sql = format!(
            "SELECT {} FROM (SELECT * FROM {target} AS u WHERE {} {order} LIMIT {limit}) AS u \
             LEFT JOIN {sidecar} AS s ON {} {order}",
            remote.select_list(),
            conditions.join(" AND "),
            remote.layout.tells_of("u"),
        );
        let rows = self.ask(&question).await?;
        rows.iter().map(|row| remote.decode(table, row, OPERATION)).collect()
    }

    /// In which columns of the order the row after which a list goes on has something that reads as NULL because
    /// it cannot be carried: it is ordered by that.
    async fn unreadable(
        &self,
        remote: &RemoteTable,
        order: &Order<'_>,
        after: &After,
    ) -> Result<Vec<bool>> {
        if !after.order.iter().any(Value::is_null) {
            return Ok(vec![false; after.order.len()]);
        }
        let mut question = Question::default();
        let row = question.row(remote, &after.key);
        let any_bytes = self.session.takes_any_bytes();
        let columns = order.columns.iter().map(|(column, _)| {
            let name = format!("k.{}", quoted(&column.name));
            let printed = column.kind.description().printed(&name, any_bytes);
            format!("{name} IS NOT NULL, ({printed})::pg_catalog.text")
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        question.sql = format!("SELECT {columns} FROM {row}");
        let rows = self.ask(&question).await?;
        let Some(row) = rows.first() else { return Ok(vec![false; after.order.len()]) };
        let values = after.order.iter().zip(&order.columns).enumerate();
        let values = values.map(|(at, (value, (of, _)))| {
            let (is_there, text): (bool, Option<String>) =
                (column(row, 2 * at, OPERATION)?, column(row, 2 * at + 1, OPERATION)?);
            let reads = text.and_then(|text| of.kind.parse(text));
            Ok(value.is_null() && is_there && reads.is_none())
        });
        values.collect()
    }

    /// How many living rows there are.
    ///
    /// # Errors
    /// As for [`Primary::list`].
    pub async fn count(&self, table: usize, filter: &Filter) -> Result<u64> {
        let remote = self.table(table)?;
        let mut question = Question::default();
        let conditions = question.conditions(remote, filter)?;
        question.sql = format!(
            "SELECT count(*) FROM {} AS u WHERE {}",
            remote.layout.target,
            conditions.join(" AND "),
        );
        let rows = self.ask(&question).await?;
        let count: i64 = column(rows.first().ok_or_else(|| unexpected(OPERATION))?, 0, OPERATION)?;
        u64::try_from(count).map_err(|_| unexpected(OPERATION))
    }

    async fn ask(&self, question: &Question) -> Result<Vec<Row>> {
        let parameters: Vec<Parameter<'_>> =
            question.values.iter().map(|value| -> Parameter<'_> { (value, Type::TEXT) }).collect();
        self.session.ask(OPERATION, &question.sql, &parameters).await
    }
}

/// A statement as it grows, with its parameters as text.
#[derive(Default)]
struct Question {
    sql: String,
    values: Vec<String>,
}

impl Question {
    /// Another parameter, as an expression.
    fn parameter(&mut self, text: String, kind: &LogicalType) -> String {
        self.values.push(text);
        // A number that does not fit the column is not there, which is no error.
        format!("${}::text::{}", self.values.len(), kind.description().carried())
    }

    /// The filter's conditions, at least one.
    fn conditions(&mut self, remote: &RemoteTable, filter: &Filter) -> Result<Vec<String>> {
        let mut conditions = vec!["true".to_owned()];
        for (name, value) in &filter.equals {
            let column = declared(remote, name)?;
            let name = quoted(&column.name);
            conditions.push(match text_of(value) {
                None => format!("u.{name} IS NULL"),
                Some(text) => {
                    let parameter = self.parameter(text, &column.kind);
                    column.kind.description().is(&format!("u.{name}"), &parameter)
                }
            });
        }
        for (name, part) in &filter.contains {
            let column = of_kind(declared(remote, name)?, &LogicalType::Text)?;
            let parameter = self.parameter(part.clone(), &column.kind);
            conditions.push(format!(
                "strpos(u.{} COLLATE \"C\", ({parameter}) COLLATE \"C\") > 0",
                quoted(&column.name)
            ));
        }
        for (name, value) in &filter.since {
            let column = of_kind(declared(remote, name)?, &LogicalType::Timestamp)?;
            if let Some(text) = text_of(value) {
                let parameter = self.parameter(text, &column.kind);
                conditions.push(format!("u.{} >= {parameter}", quoted(&column.name)));
            }
        }
        Ok(conditions)
    }

    /// What comes after that row in the order of a list.
    fn beyond(
        &mut self,
        remote: &RemoteTable,
        order: &Order<'_>,
        after: &After,
        unreadable: &[bool],
    ) -> String {
        let columns = order.columns.iter().zip(&after.order).zip(unreadable);
        let values: Vec<Option<String>> = columns
            .map(|(((column, _), value), is_unreadable)| {
                let as_ordered = |value: &str| order.expression(Dialect::Postgres, column, value);
                match text_of(value) {
                    Some(text) => {
                        let parameter = self.parameter(text, &column.kind);
                        Some(as_ordered(&format!("({parameter})")))
                    }
                    None if *is_unreadable => {
                        let value = as_ordered(&format!("k.{}", quoted(&column.name)));
                        Some(format!("(SELECT {value} FROM {})", self.row(remote, &after.key)))
                    }
                    None => None,
                }
            })
            .collect();
        self.values.push(after.key.json());
        let is_falling = order.keys == Direction::Descending;
        let keys = remote.layout.key.beyond_text("u", is_falling, self.values.len());
        order.beyond(Dialect::Postgres, &values, keys)
    }

    /// The row of that key, as `k`, with what stands behind `FROM`.
    fn row(&mut self, remote: &RemoteTable, key: &Key) -> String {
        self.values.push(key.json());
        let given = remote.layout.key.is_text("k", self.values.len());
        format!("{} AS k WHERE {given}", remote.layout.target)
    }
}

/// A list cannot go by that column.
fn no_order(name: &str) -> Error {
    let message = format!("rows have no order by {}", quoted(name));
    Error::new(Kind::InvalidData, OPERATION, message)
}

fn declared<'r>(remote: &'r RemoteTable, name: &str) -> Result<&'r Column> {
    remote
        .table
        .column_once(name)
        .ok_or_else(|| Error::new(Kind::InvalidData, OPERATION, "there is no such column"))
}

fn of_kind<'c>(column: &'c Column, kind: &LogicalType) -> Result<&'c Column> {
    if column.kind == *kind {
        return Ok(column);
    }
    let message = format!("{} is not of the type that this filter is for", quoted(&column.name));
    Err(Error::new(Kind::InvalidData, OPERATION, message))
}

/// The value as PostgreSQL reads it; `None` for NULL.
pub(super) fn text_of(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => flag.to_string(),
        other => return plain_text(other).map(Cow::into_owned),
    })
}
