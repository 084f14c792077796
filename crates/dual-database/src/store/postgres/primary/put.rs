//! The library's write of one row, which is what most writes are.

use tokio_postgres::types::Type;

use super::epoch::HEADER_TEXTS;
use super::read::text_of;
use super::row::Text;
use super::{Header, Primary, Refused, WriteAnswer};
use crate::merge::Change;
use crate::schema::RowId;
use crate::stamp::Stamp;
use crate::store::postgres::answer::{column, unexpected};
use crate::store::postgres::{Call, Parameter};
use crate::value::Value;
use crate::{Error, Kind, Result};

const OPERATION: &str = "write to PostgreSQL";

/// Where the header begins in what the function answers.
const HEADER_AT: usize = 3;

impl Primary<'_> {
    /// As [`Primary::write`], of one row.
    pub(super) async fn put(
        &self,
        id: &RowId,
        change: &Change,
        proposal: Stamp,
    ) -> Result<Result<WriteAnswer, Refused>> {
        let remote = self.table(id.table)?;
        let (alive, marked, values) = arguments(change, remote.defaults.len())?;
        let sql = format!(
            "SELECT {}($1, $2, $3, $4, $5, $6::text::uuid, $7)",
            remote.layout.function("put")
        );
        let (file, relations, proposal) = (self.file.to_string(), self.relations(), proposal.raw());
        let parameters: [Parameter<'_>; 7] = [
            (&id.key, remote.layout.key.one()),
            (&alive, Type::BOOL),
            (&marked, Type::BOOL_ARRAY),
            (&values, Type::TEXT_ARRAY),
            (&proposal, Type::INT8),
            (&file, Type::TEXT),
            (&relations, Type::TEXT_ARRAY),
        ];
        let answers = match self.send(&[Call { sql: &sql, parameters: &parameters }]).await? {
            Ok(answers) => answers,
            Err(refused) => return Ok(Err(refused)),
        };
        let row = answers.first().and_then(|rows| rows.first());
        let texts: Option<Vec<Text>> =
            column(row.ok_or_else(|| unexpected(OPERATION))?, 0, OPERATION)?;
        let mut texts = texts.unwrap_or_default();
        let values_at = texts.len().min(HEADER_AT + HEADER_TEXTS);
        let values = texts.split_off(values_at);
        let header = Header::read(texts.get(HEADER_AT..), &relations)?;
        let text = |at: usize| texts.get(at).and_then(Option::as_deref);
        let surrogate = text(2).map(str::parse).transpose().map_err(|_| unexpected(OPERATION))?;
        let after = text(1).ok_or_else(|| unexpected(OPERATION))?;
        let row = self.written(id.table, text(0), after, surrogate, values)?;
        Ok(Ok(WriteAnswer { txid: row.row.txid, rows: vec![row], epoch: header.epoch }))
    }
}

/// Whether the row lives afterwards (`None`: as before), which columns are set, and to what.
fn arguments(change: &Change, columns: usize) -> Result<(Option<bool>, Vec<bool>, Vec<Text>)> {
    let (mut marked, mut values) = (vec![false; columns], vec![None; columns]);
    let mut set = |column: usize, value: &Value| {
        let wrong = || Error::new(Kind::Internal, OPERATION, "there is no such column");
        *marked.get_mut(column).ok_or_else(wrong)? = true;
        *values.get_mut(column).ok_or_else(wrong)? = text_of(value);
        Ok(())
    };
    let alive = match change {
        Change::Insert(new) if new.len() != columns => {
            return Err(Error::new(Kind::Internal, OPERATION, "a new row lacks columns"));
        }
        Change::Insert(new) => {
            new.iter().enumerate().try_for_each(|(column, value)| set(column, value))?;
            Some(true)
        }
        Change::Update(columns) => {
            columns.iter().try_for_each(|(column, value)| set(*column, value))?;
            None
        }
        Change::Delete => Some(false),
    };
    Ok((alive, marked, values))
}
