//! Keeping numbers for rows that are yet to come: the next ones of the sequence, each with a tombstone, as for
//! births ([`super::reserve`]).

use std::sync::Arc;

use tokio_postgres::types::Type;

use super::Primary;
use super::reserve::{SEQUENCE, Sequence};
use crate::protocol::{Epoch, Reservation, Wanted};
use crate::schema::quoted;
use crate::stamp::{Stamp, Writer, captured};
use crate::store::postgres::answer::column;
use crate::store::postgres::primary::RemoteTable;
use crate::store::postgres::{Parameter, both};
use crate::{Error, Kind, Result, Store};

const OPERATION: &str = "get a number from PostgreSQL";

/// Numbers that PostgreSQL keeps.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Of which table each is.
    pub numbers: Vec<(usize, Reservation)>,
    /// The tables that have none to give, and why.
    pub refused: Vec<(usize, Arc<Error>)>,
}

impl Primary<'_> {
    /// Keeps so many fresh numbers of each of these tables under the number `writer`, in one transaction.
    /// `None`: it is not the server any more that the file `followed`.
    ///
    /// # Errors
    /// As for [`Primary::push`].
    pub async fn keep_numbers(
        &self,
        wanted: &[Wanted],
        writer: Writer,
        followed: Option<&Epoch>,
    ) -> Result<Option<Kept>> {
        match Box::pin(self.keep_numbers_in(wanted, writer, followed)).await {
            Ok(None) => {
                self.leave(OPERATION).await;
                Ok(None)
            }
            kept => self.end(kept, OPERATION).await,
        }
    }

    async fn keep_numbers_in(
        &self,
        wanted: &[Wanted],
        writer: Writer,
        followed: Option<&Epoch>,
    ) -> Result<Option<Kept>> {
        let (_, header) = both(self.session.begin(OPERATION), self.header_in()).await?;
        if followed.is_some_and(|followed| !header.epoch.is_server_of(followed)) {
            return Ok(None);
        }
        let stamp = captured(header.now_ms, header.horizon, writer);
        let mut kept = Kept::default();
        for wanted in wanted {
            let at = wanted.table;
            let Some(table) = self.tables.get(at) else { continue };
            match self.apart(self.next_numbers(table, *wanted, stamp), OPERATION).await? {
                Ok(numbers) => {
                    let numbers = numbers.into_iter().map(|number| Reservation { number, stamp });
                    kept.numbers.extend(numbers.map(|number| (at, number)));
                }
                Err(error) => {
                    let table = format!("table {}", table.table.name());
                    let hint = "the sequence of its key has no number that the key can hold, or this role \
                                may not use it; name the key, or mend the sequence";
                    let error = if error.hint().is_some() { error } else { error.with_hint(hint) };
                    kept.refused.push((at, Arc::new(error.about(table))));
                }
            }
        }
        Ok(Some(kept))
    }

    async fn next_numbers(
        &self,
        table: &RemoteTable,
        Wanted { count, behind, .. }: Wanted,
        stamp: Stamp,
    ) -> Result<Vec<i64>> {
        let sequence = self.own_sequence(table, count).await?;
        let behind = self.go_on_behind_file(sequence.as_ref(), behind).await?;
        self.fresh(table, sequence.as_ref(), (count, behind), stamp).await
    }

    /// The sequence of the key; `None` if it has none. The last numbers are for rows that are there.
    async fn own_sequence(&self, table: &RemoteTable, count: usize) -> Result<Option<Sequence>> {
        let sql = format!(
            "SELECT s.name, q.seqmax / 2, has_sequence_privilege(s.name, 'USAGE'), \
               has_sequence_privilege(s.name, 'UPDATE'), current_user::text, \
               CASE WHEN has_sequence_privilege(s.name, 'USAGE') \
                 THEN q.seqmax - coalesce(pg_sequence_last_value(s.name::regclass), 0) END \
             FROM (SELECT {SEQUENCE} AS name) AS s \
             JOIN pg_sequence AS q ON q.seqrelid = s.name::regclass"
        );
        let (target, name) = (table.layout.target.as_str(), &*table.table.key().name);
        let parameters: [Parameter<'_>; 2] = [(&target, Type::TEXT), (&name, Type::TEXT)];
        let rows = self.session.query(OPERATION, &sql, &parameters).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let name: String = column(row, 0, OPERATION)?;
        let (may_be_used, may_be_set): (bool, bool) =
            (column(row, 2, OPERATION)?, column(row, 3, OPERATION)?);
        if !may_be_used {
            let role: String = column(row, 4, OPERATION)?;
            let message = format!("the sequence {name} may not be used");
            let kind = Kind::AccessDenied;
            return Err(Error::new(kind, OPERATION, message).with_hint(format!(
                "its owner can run: GRANT USAGE ON SEQUENCE {name} TO {}",
                quoted(&role)
            )));
        }
        let left: Option<i64> = column(row, 5, OPERATION)?;
        if count > 1 && left.is_some_and(|left| left < i64::try_from(count).unwrap_or(i64::MAX)) {
            let message = format!("the sequence {name} is about to come to its end");
            return Err(Error::new(Kind::Schema(Store::Postgres), OPERATION, message));
        }
        // How far it has come does not matter: the next one is behind that.
        let (handed_out, most) = (i64::MIN, column(row, 1, OPERATION)?);
        Ok(Some(Sequence { name, handed_out, most, may_be_set }))
    }
}
