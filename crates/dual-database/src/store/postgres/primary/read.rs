//! What the library's calls read. No text of a caller's is ever part of a statement: columns are
//! named by the declaration, values are parameters.

use std::borrow::Cow;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::row::Text;
use super::{Primary, RemoteRow, RemoteTable};
use crate::protocol::{After, Filter};
use crate::schema::{Column, LogicalType, RowId, quoted};
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

    /// Living rows, the newest first ([`crate::schema::Table::newest_by`], then the key, both descending).
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
        let newest = remote.table.newest_by();
        let mut question = Question::default();
        let mut conditions = question.conditions(remote, filter)?;
        conditions.extend(after.map(|after| question.beyond(remote, newest, after)));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let limit = question.parameter(limit.to_string(), &LogicalType::BigInt);
        let (target, sidecar, key) =
            (&remote.layout.target, &remote.layout.sidecar, &remote.layout.key);
        let newest = newest.map(|column| format!("u.{} DESC NULLS LAST, ", quoted(&column.name)));
        let order = format!("ORDER BY {}{}", newest.unwrap_or_default(), key.order("u", " DESC"));
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
    fn beyond(&mut self, remote: &RemoteTable, newest: Option<&Column>, after: &After) -> String {
        self.values.push(after.key.json());
        let below = remote.layout.key.below_text("u", self.values.len());
        let Some(newest) = newest else { return below };
        let name = quoted(&newest.name);
        match text_of(&after.order) {
            None => format!("u.{name} IS NULL AND {below}"),
            Some(text) => {
                let order = self.parameter(text, &newest.kind);
                format!(
                    "(u.{name} < {order} OR u.{name} = {order} AND {below} OR u.{name} IS NULL)"
                )
            }
        }
    }
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
