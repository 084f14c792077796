//! The surrogates of rows of a file, before anything refers to them here: those that PostgreSQL has for them, or
//! fresh ones of the sequence, which nobody else gets.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::types::Type;

use super::Primary;
use super::reserve::SEQUENCE;
use crate::Result;
use crate::protocol::Surrogate;
use crate::schema::{EQUALS, Key, RowId};
use crate::store::postgres::Parameter;
use crate::store::postgres::answer::column;
use crate::store::postgres::primary::RemoteTable;

const OPERATION: &str = "number rows at PostgreSQL";

/// How often fresh numbers are asked for that turn out to be in use.
const LOOKS: usize = 1_000;

impl Primary<'_> {
    /// The surrogates of these rows, each with the one that the file has.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::query`].
    pub(crate) async fn surrogates(
        &self,
        asked: &[(RowId, i64)],
    ) -> Result<Vec<(RowId, Surrogate)>> {
        let mut said = Vec::new();
        for (at, table) in self.tables.iter().enumerate() {
            let asked: Vec<_> = asked.iter().filter(|(id, _)| id.table == at).collect();
            if asked.is_empty() || table.layout.surrogate.is_none() {
                continue;
            }
            let keys: Vec<&Key> = asked.iter().map(|(id, _)| &id.key).collect();
            let known = self.known_surrogates(table, &keys).await?;
            let (there, lacking): (Vec<_>, Vec<_>) =
                asked.into_iter().partition(|(id, _)| known.contains_key(&id.key));
            said.extend(there.into_iter().map(|(id, _)| {
                let number = known.get(&id.key).copied();
                (id.clone(), Surrogate { number, holder: None })
            }));
            let own: Vec<i64> = lacking.iter().map(|(_, own)| *own).collect();
            let holders = self.holders(table, &own).await?;
            let mut fresh = self.fresh_surrogates(table, lacking.len()).await?.into_iter();
            said.extend(lacking.into_iter().map(|(id, own)| {
                let holder = holders.get(own).cloned();
                (id.clone(), Surrogate { number: fresh.next(), holder })
            }));
        }
        Ok(said)
    }

    /// Whether a row has that number, in the transaction.
    pub(super) async fn holds_number(&self, table: &RemoteTable, number: i64) -> Result<bool> {
        let sql = format!(
            "SELECT FROM {} AS u WHERE {} {EQUALS} $1 LIMIT 1",
            table.layout.target,
            table.layout.number("u"),
        );
        let rows = self.session.query(OPERATION, &sql, &[(&number, Type::INT8)]).await?;
        Ok(!rows.is_empty())
    }

    async fn holders(&self, table: &RemoteTable, own: &[i64]) -> Result<BTreeMap<i64, Key>> {
        let layout = &table.layout;
        let sql = format!(
            "SELECT {number}::bigint, {} FROM {} AS u WHERE {number} {EQUALS} ANY ($1)",
            layout.key.given("u"),
            layout.target,
            number = layout.number("u"),
        );
        let rows = self.session.ask(OPERATION, &sql, &[(&own, Type::INT8_ARRAY)]).await?;
        rows.iter()
            .map(|row| Ok((column(row, 0, OPERATION)?, column(row, 1, OPERATION)?)))
            .collect()
    }

    async fn known_surrogates(
        &self,
        table: &RemoteTable,
        keys: &[&Key],
    ) -> Result<BTreeMap<Key, i64>> {
        let layout = &table.layout;
        let sql = format!(
            "SELECT {}, {}::bigint FROM {} AS u WHERE {}",
            layout.key.given("u"),
            layout.number("u"),
            layout.target,
            layout.key.among("u", EQUALS, 1),
        );
        let parameters: [Parameter<'_>; 1] = [(&keys, layout.key.many())];
        let rows = self.session.ask(OPERATION, &sql, &parameters).await?;
        let mut known = BTreeMap::new();
        for row in rows {
            let number: Option<i64> = column(&row, 1, OPERATION)?;
            let key = column(&row, 0, OPERATION)?;
            known.extend(number.map(|number| (key, number)));
        }
        Ok(known)
    }

    /// So many numbers of the sequence that no row has; none if it may not be used.
    async fn fresh_surrogates(&self, table: &RemoteTable, count: usize) -> Result<Vec<i64>> {
        let Some(numbered) = table.table.numbered().filter(|_| count > 0) else {
            return Ok(Vec::new());
        };
        let (target, name) = (table.layout.target.as_str(), &*numbered.name);
        let sql = format!(
            "SELECT nextval(s.name::regclass) FROM (SELECT {SEQUENCE} AS name) AS s, \
               generate_series(1, $3) WHERE has_sequence_privilege(s.name, 'USAGE')"
        );
        let taken = format!(
            "SELECT {number}::bigint FROM {target} AS u WHERE {number} {EQUALS} ANY ($1)",
            number = table.layout.number("u"),
        );
        // As far as counting can come, if it may be set.
        let behind = format!(
            "SELECT CASE WHEN pg_sequence_last_value(q.seqrelid) < h.number \
               THEN setval(q.seqrelid::regclass, h.number) END \
             FROM (SELECT {SEQUENCE} AS name) AS s \
             JOIN pg_sequence AS q ON q.seqrelid = s.name::regclass, \
             LATERAL (SELECT max({number})::bigint AS number FROM {target} AS u \
               WHERE {number} <= q.seqmax / 2) AS h \
             WHERE has_sequence_privilege(s.name, 'UPDATE')",
            number = table.layout.number("u"),
        );
        let mut fresh: Vec<i64> = Vec::with_capacity(count);
        for _ in 0..LOOKS {
            let lacks = i64::try_from(count - fresh.len()).unwrap_or(i64::MAX);
            let parameters: [Parameter<'_>; 3] =
                [(&target, Type::TEXT), (&name, Type::TEXT), (&lacks, Type::INT8)];
            let rows = self.session.repeat(OPERATION, &sql, &parameters).await?;
            if rows.is_empty() {
                break;
            }
            let next: Vec<i64> =
                rows.iter().map(|row| column(row, 0, OPERATION)).collect::<Result<_>>()?;
            let parameters: [Parameter<'_>; 1] = [(&next, Type::INT8_ARRAY)];
            let rows = self.session.ask(OPERATION, &taken, &parameters).await?;
            let taken: BTreeSet<i64> =
                rows.iter().map(|row| column(row, 0, OPERATION)).collect::<Result<_>>()?;
            fresh.extend(next.into_iter().filter(|number| !taken.contains(number)));
            if fresh.len() == count {
                break;
            }
            // Rows were loaded beside it.
            let parameters: [Parameter<'_>; 2] = [(&target, Type::TEXT), (&name, Type::TEXT)];
            self.session.repeat(OPERATION, &behind, &parameters).await?;
        }
        Ok(fresh)
    }
}
