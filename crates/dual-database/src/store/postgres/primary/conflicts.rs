//! The conflict log on the server: what every file's pushes have met, and what files have met
//! by themselves.

use std::time::Duration;

use tokio_postgres::types::Type;

use super::{Primary, RemoteTable};
use crate::merge::{Conflict, RegisterId};
use crate::protocol::{ConflictEntry, is_register, register_name};
use crate::schema::{Key, RowId};
use crate::stamp::Stamp;
use crate::store::postgres::Parameter;
use crate::store::postgres::answer::{column, unexpected};
use crate::store::postgres::capture::ROW_KEY;
use crate::{Error, Result};

/// How many entries one statement takes.
const CHUNK: usize = 1_000;

/// A conflict with its images, as the log takes it.
#[derive(Clone, Debug)]
pub(super) struct LoggedConflict {
    pub id: RowId,
    pub conflict: Conflict,
    pub winning: Option<String>,
    pub losing: Option<String>,
    /// Milliseconds since 1970; `None`: now, by the server's clock.
    pub noted_ms: Option<i64>,
    pub reviewed: bool,
}

impl Primary<'_> {
    /// The conflict log, the newest first. Entries about tables or columns that are not declared
    /// (any more) are left out.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::query`].
    pub async fn conflicts(&self, limit: usize) -> Result<Vec<ConflictEntry>> {
        let operation = "read PostgreSQL's conflict log";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let names: Vec<&str> = self.tables.iter().map(|table| table.layout.name()).collect();
        let sql = format!(
            "SELECT table_name, coalesce(to_jsonb(c) ->> '{ROW_KEY}', key::text), register, winner, \
             loser, winning, losing, \
             floor(date_part('epoch', noted) * 1000)::bigint, reviewed FROM {}.conflict AS c \
             WHERE table_name = ANY ($2) ORDER BY id DESC LIMIT $1",
            self.session.schema(),
        );
        let parameters: [Parameter<'_>; 2] = [(&limit, Type::INT8), (&names, Type::TEXT_ARRAY)];
        let rows = self.session.ask(operation, &sql, &parameters).await?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in &rows {
            let (relation, register): (String, String) =
                (column(row, 0, operation)?, column(row, 2, operation)?);
            let Some((table, register)) = self.register_of(&relation, &register) else { continue };
            let stamp = |at| {
                Stamp::from_raw(column(row, at, operation)?).ok_or_else(|| unexpected(operation))
            };
            entries.push(ConflictEntry {
                id: RowId { table, key: column(row, 1, operation)? },
                conflict: Conflict { register, winner: stamp(3)?, loser: stamp(4)? },
                winning: column(row, 5, operation)?,
                losing: column(row, 6, operation)?,
                noted_ms: column(row, 7, operation)?,
                reviewed: column(row, 8, operation)?,
            });
        }
        Ok(entries)
    }

    /// How many entries nobody has reviewed.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::query`].
    pub async fn unreviewed_count(&self) -> Result<u64> {
        let operation = "count PostgreSQL's conflicts";
        let sql =
            format!("SELECT count(*) FROM {}.conflict WHERE NOT reviewed", self.session.schema());
        let rows = self.session.ask(operation, &sql, &[]).await?;
        let count: i64 = column(rows.first().ok_or_else(|| unexpected(operation))?, 0, operation)?;
        u64::try_from(count).map_err(|_| unexpected(operation))
    }

    /// Marks every entry as reviewed; returns how many were not.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::query`].
    pub async fn review_all(&self) -> Result<u64> {
        let sql = format!(
            "WITH done AS (UPDATE {}.conflict SET reviewed = true WHERE NOT reviewed \
             RETURNING id) SELECT count(*) FROM done",
            self.session.schema()
        );
        self.counted("review PostgreSQL's conflicts", &sql, &[]).await
    }

    /// Removes entries that were noted so long ago, the oldest first and a few at a time; says how
    /// many.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::query`].
    pub async fn forget_conflicts(&self, keep: Duration) -> Result<u64> {
        // By number, as they were noted: what a file told late waits until it is among the oldest.
        let sql = format!(
            "WITH done AS (DELETE FROM {dual}.conflict WHERE id IN \
             (SELECT id FROM {dual}.conflict ORDER BY id LIMIT {CHUNK}) \
             AND noted < clock_timestamp() - $1 * interval '1 second' RETURNING id) \
             SELECT count(*) FROM done",
            dual = self.session.schema(),
        );
        let seconds = keep.as_secs_f64();
        let parameters: [Parameter<'_>; 1] = [(&seconds, Type::FLOAT8)];
        let mut forgotten = 0;
        loop {
            let operation = "forget PostgreSQL's old conflicts";
            match self.counted(operation, &sql, &parameters).await? {
                0 => return Ok(forgotten),
                some => forgotten += some,
            }
        }
    }

    /// Changes entries by a statement that says how many.
    async fn counted(
        &self,
        operation: &'static str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<u64> {
        let rows = self.session.repeat(operation, sql, parameters).await?;
        let count: i64 = column(rows.first().ok_or_else(|| unexpected(operation))?, 0, operation)?;
        u64::try_from(count).map_err(|_| unexpected(operation))
    }

    /// Adds entries that a file has noted by itself; those that are there stay as they are.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::commit`].
    pub async fn add_conflicts(&self, entries: &[ConflictEntry]) -> Result<()> {
        let operation = "send conflicts to PostgreSQL";
        let noted: Vec<LoggedConflict> = entries
            .iter()
            .map(|entry| LoggedConflict {
                id: entry.id.clone(),
                conflict: entry.conflict,
                winning: entry.winning.clone(),
                losing: entry.losing.clone(),
                noted_ms: Some(entry.noted_ms),
                reviewed: entry.reviewed,
            })
            .collect();
        self.session.begin(operation).await?;
        let noted = self.note(&noted, operation).await;
        self.end(noted, operation).await
    }

    /// Writes entries in the session's transaction.
    pub(super) async fn note(
        &self,
        noted: &[LoggedConflict],
        operation: &'static str,
    ) -> Result<()> {
        for chunk in noted.chunks(CHUNK) {
            let known = chunk.iter().filter_map(|one| Some((self.tables.get(one.id.table)?, one)));
            let known: Vec<(&RemoteTable, &LoggedConflict)> = known.collect();
            let (numbered, named): (Vec<_>, Vec<_>) =
                known.into_iter().partition(|(_, one)| one.id.key.number().is_some());
            self.note_by("key", &numbered, operation).await?;
            self.note_by(ROW_KEY, &named, operation).await?;
        }
        Ok(())
    }

    /// The same of those whose key stands in that column.
    async fn note_by(
        &self,
        column: &str,
        known: &[(&RemoteTable, &LoggedConflict)],
        operation: &'static str,
    ) -> Result<()> {
        let (kind, kinds) = match column == ROW_KEY {
            true => ("text", Type::TEXT_ARRAY),
            false => ("bigint", Type::INT8_ARRAY),
        };
        if known.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "INSERT INTO {}.conflict \
             (table_name, {column}, register, winner, loser, winning, losing, noted, reviewed) \
             SELECT table_name, key, register, winner, loser, winning, losing, \
             coalesce(to_timestamp(noted / 1000.0), clock_timestamp()), reviewed \
             FROM unnest($1::text[], $2::{kind}[], $3::text[], $4::bigint[], $5::bigint[], \
             $6::text[], $7::text[], $8::bigint[], $9::boolean[]) AS \
             v (table_name, key, register, winner, loser, winning, losing, noted, reviewed) \
             ON CONFLICT DO NOTHING",
            self.session.schema(),
        );
        let relations: Vec<&str> = known.iter().map(|(table, _)| table.layout.name()).collect();
        let keys: Vec<Key> = known.iter().map(|(_, one)| one.id.key.clone()).collect();
        let registers: Vec<&str> = known
            .iter()
            .map(|(table, one)| register_name(&table.table, one.conflict.register))
            .collect();
        let winners: Vec<i64> = known.iter().map(|(_, one)| one.conflict.winner.raw()).collect();
        let losers: Vec<i64> = known.iter().map(|(_, one)| one.conflict.loser.raw()).collect();
        let winning: Vec<Option<&str>> =
            known.iter().map(|(_, one)| one.winning.as_deref()).collect();
        let losing: Vec<Option<&str>> =
            known.iter().map(|(_, one)| one.losing.as_deref()).collect();
        let moments: Vec<Option<i64>> = known.iter().map(|(_, one)| one.noted_ms).collect();
        let reviewed: Vec<bool> = known.iter().map(|(_, one)| one.reviewed).collect();
        let parameters: [Parameter<'_>; 9] = [
            (&relations, Type::TEXT_ARRAY),
            (&keys, kinds),
            (&registers, Type::TEXT_ARRAY),
            (&winners, Type::INT8_ARRAY),
            (&losers, Type::INT8_ARRAY),
            (&winning, Type::TEXT_ARRAY),
            (&losing, Type::TEXT_ARRAY),
            (&moments, Type::INT8_ARRAY),
            (&reviewed, Type::BOOL_ARRAY),
        ];
        self.session.execute(operation, &sql, &parameters).await.map(|_| ())
    }

    /// Ends the transaction of this work: all of it stands, or nothing.
    pub(super) async fn end<T>(&self, work: Result<T>, operation: &'static str) -> Result<T> {
        match work {
            Ok(done) => self.session.commit(operation).await.map(|()| done),
            Err(error) => Err(self.give_up(error, operation).await),
        }
    }

    /// Takes a transaction back after an error, which it hands on: nothing of it stands.
    pub(super) async fn give_up(&self, error: Error, operation: &'static str) -> Error {
        if let Err(also) = self.session.rollback(operation).await {
            tracing::debug!(error = %also, "a transaction that failed could not be taken back");
        }
        error
    }

    fn register_of(&self, relation: &str, register: &str) -> Option<(usize, RegisterId)> {
        let at = self.tables.iter().position(|table| table.layout.name() == relation)?;
        let table = &self.tables.get(at)?.table;
        let of_the_row = [RegisterId::Live, RegisterId::Number];
        if let Some(id) = of_the_row.into_iter().find(|id| register == register_name(table, *id)) {
            return Some((at, id));
        }
        let mut columns = (0..table.data_columns().count()).map(RegisterId::Column);
        Some((at, columns.find(|id| is_register(table, *id, register))?))
    }
}
