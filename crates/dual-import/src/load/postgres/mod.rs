//! The PostgreSQL half of the load: COPY into a temporary table, then set-based statements,
//! all in one transaction.

mod adoption;
mod outcome;
mod refusals;

use std::sync::Arc;

use bytes::Bytes;
use dual_database::error::{Error, Kind, Result, Store};
use dual_database::schema::{Dialect, Table, is_utf8, quoted, quoted_text};
use dual_database::store::postgres::{Limits, Session, Settings, is_confirmed};
use dual_database::store::sqlite::failed;
use dual_database::value::Value;
use tokio::sync::mpsc;
use tokio_postgres::types::Type;

use self::adoption::Survey;
use self::outcome::{last_mark, transaction_id, was_committed};
use super::copy_text::read_staged;
use super::{Mark, Refusal, StorePlan, sql, sqlite};
use crate::columns::data_columns;
use crate::staging::{Staging, masks};
use crate::write::{Target, WriteOptions};
use crate::{Event, Observer};

/// The advisory lock that an import holds until it ends: "dual" as a number.
const ONE_IMPORT: i64 = 0x6475_616c;

/// The open transaction on the server.
pub(crate) struct PostgresLoad {
    session: Session,
    table: Arc<Table>,
    /// The store's table, qualified and quoted.
    store: String,
    /// What numbers new rows, as an SQL expression.
    sequence: String,
    /// The transaction's id.
    transaction: i64,
    /// What is to be done before comparing; then `store` and `sequence` are known.
    survey: Option<Survey>,
    length_limits: Vec<(usize, u32)>,
    mark: Option<String>,
    options: WriteOptions,
}

impl PostgresLoad {
    /// Connects, begins the transaction, looks at the table and makes the temporary one.
    pub(crate) async fn begin(
        settings: &Settings,
        limits: &Limits,
        table: &Arc<Table>,
        options: WriteOptions,
    ) -> Result<PostgresLoad> {
        let session = Session::open(settings, limits).await?;
        session.begin("begin the import").await?;
        if !options.dry_run {
            is_confirmed(&session, "begin the import").await?;
            // Two first runs at once would both make the table.
            let wait = format!("SELECT pg_advisory_xact_lock({ONE_IMPORT})");
            session.batch("wait for another import", &wait).await?;
        }
        let survey = Survey::of(&session, table, options).await?;
        session.batch("make the temporary table", &temporary_table(table)).await?;
        let transaction = transaction_id(&session).await?;
        Ok(PostgresLoad {
            length_limits: survey.length_limits(table),
            survey: Some(survey),
            session,
            table: Arc::clone(table),
            store: String::new(),
            sequence: String::new(),
            transaction,
            mark: None,
            options,
        })
    }

    /// Another table of that name, to which the search path leads instead of the tracked one.
    pub(crate) fn shadowed(&self) -> Option<&str> {
        self.survey.as_ref().and_then(Survey::shadowed)
    }

    /// The last run that the server knows of.
    pub(crate) fn mark(&self) -> Option<&str> {
        self.mark.as_deref()
    }

    /// Column positions whose text is limited, with the limit in characters.
    pub(crate) fn length_limits(&self) -> Vec<(usize, u32)> {
        self.length_limits.clone()
    }

    /// Copies the staged rows; with `complete`, what the source does not know comes from the
    /// row that the attached SQLite file has, for rows that the server lacks. Returns the rows
    /// of the file that have a value which the server cannot hold, for
    /// [`PostgresLoad::refuse_unfit`].
    pub(crate) async fn copy(
        &self,
        staging: &Staging,
        complete: bool,
        observer: &dyn Observer,
    ) -> Result<Vec<sqlite::Unfit>> {
        let operation = "copy the rows to PostgreSQL";
        let total = staging.counts().await?.staged;
        let key = quoted(&self.table.key().name);
        let statement = format!(
            "COPY pg_temp.dual_staged ({key}, row, {}, {}) FROM STDIN",
            masks(&self.table).join(", "),
            sql::data_names(&self.table, "")
        );
        let (chunks, arriving) = mpsc::channel::<(Bytes, u64)>(4);
        let table = Arc::clone(&self.table);
        let reading = staging
            .owner
            .call(operation, move |connection| read_staged(connection, &table, complete, &chunks));
        let sending = async {
            // Dropped with this block: a reader that waits for room must hear of a failure.
            let mut arriving = arriving;
            let mut copy = self.session.copy_in(operation, &statement).await?;
            while let Some((chunk, rows)) = arriving.recv().await {
                copy.send(chunk).await?;
                observer.event(Event::Loaded { store: Store::Postgres, rows, total });
            }
            // A reader that failed must not look like the end of the rows.
            Ok::<_, Error>(copy)
        };
        let (read, copy) = tokio::join!(reading, sending);
        let copy = copy?;
        let unfit = read?;
        copy.finish().await?;
        self.session.batch(operation, "ANALYZE pg_temp.dual_staged").await?;
        Ok(unfit)
    }

    /// Refuses values of the SQLite file that would have to be carried here and cannot: those
    /// of rows that the server lacks. Where the server has the row, its own value stays and
    /// the file's is in nobody's way. Call it when the table is locked.
    pub(crate) async fn refuse_unfit(&self, unfit: &[sqlite::Unfit]) -> Result<()> {
        let operation = "compare with PostgreSQL";
        let key = quoted(&self.table.key().name);
        let statement = format!(
            "SELECT min(k) FROM unnest($1) AS k \
             WHERE NOT EXISTS (SELECT 1 FROM {} AS u WHERE u.{key} = k)",
            self.store
        );
        for some in unfit.chunks(5_000) {
            let keys: Vec<i64> = some.iter().map(|one| one.key).collect();
            let rows =
                self.session.query(operation, &statement, &[(&keys, Type::INT8_ARRAY)]).await?;
            let row = rows.first().ok_or_else(|| unexpected(operation))?;
            let lacking: Option<i64> = row.try_get(0).map_err(|_| unexpected(operation))?;
            if let Some(one) = some.iter().find(|one| Some(one.key) == lacking) {
                return Err(one.refusal(&self.table));
            }
        }
        Ok(())
    }

    /// Adopts or replaces the table, locks it against other writers, so that the plan is what
    /// will be done, and compares. A dry run locks only what additions need.
    pub(crate) async fn compare(&mut self) -> Result<StorePlan> {
        let operation = "compare with PostgreSQL";
        let survey = self.survey.take().ok_or_else(|| unexpected(operation))?;
        let adopted = survey.carry_out(&self.session, &self.table, self.options).await?;
        (self.store, self.sequence) = (adopted.store, adopted.sequence);
        self.mark = last_mark(&self.session).await?;
        if !self.options.dry_run {
            let lock = format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", self.store);
            self.session.batch("lock the table", &lock).await?;
        }
        let statement =
            sql::counts(Dialect::Postgres, &self.table, &self.store, "pg_temp.dual_staged");
        let statement = format!(
            "SELECT (SELECT count(*) FROM pg_temp.dual_staged), counted.* FROM ({statement}) AS counted"
        );
        let rows = self.session.query(operation, &statement, &[]).await?;
        let row = rows.first().ok_or_else(|| unexpected(operation))?;
        let number = |index: usize| {
            row.try_get::<_, i64>(index)
                .map(|count| u64::try_from(count).unwrap_or(0))
                .map_err(|_| unexpected(operation))
        };
        let mut plan = StorePlan {
            inserted: number(1)?,
            updated: number(2)?,
            schema: adopted.schema,
            ..StorePlan::default()
        };
        plan.unchanged = number(0)?.saturating_sub(plan.inserted + plan.updated);
        for (index, column) in self.table.data_columns().enumerate() {
            let changes = number(index + 3)?;
            if changes > 0 {
                plan.columns.insert(Arc::clone(&column.name), changes);
            }
        }
        Ok(plan)
    }

    /// Issues ids for the new rows, in the order of the sheet, and brings the ids of all
    /// staged rows back, because SQLite's rows carry the same ones.
    pub(crate) async fn issue(&self, staging: &Staging) -> Result<()> {
        let operation = "issue the ids";
        let (key, id) =
            (quoted(&self.table.key().name), quoted(&crate::load::number(&self.table).name));
        self.session
            .batch(
                operation,
                &format!(
                    "CREATE TEMPORARY TABLE dual_issued ON COMMIT DROP AS
                     SELECT s.{key}, u.{key} IS NULL AS fresh,
                         CASE WHEN u.{key} IS NULL
                             THEN nextval({sequence}) ELSE u.{id} END AS id
                     FROM pg_temp.dual_staged AS s LEFT JOIN {store} AS u ON u.{key} = s.{key}
                     ORDER BY s.row",
                    sequence = self.sequence,
                    store = self.store,
                ),
            )
            .await?;
        let mut lines = self
            .session
            .copy_out(operation, &format!("COPY pg_temp.dual_issued ({key}, id, fresh) TO STDOUT"))
            .await?;
        let mut issued = Vec::new();
        clear(staging, "issued").await?;
        while let Some(chunk) = lines.next().await? {
            for line in chunk.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                issued.push(issued_of(line).ok_or_else(|| unexpected(operation))?);
            }
            if issued.len() >= 10_000 {
                keep_issued(staging, std::mem::take(&mut issued)).await?;
            }
        }
        keep_issued(staging, issued).await
    }

    /// Fetches the rows that the server has and SQLite lacks (an earlier run may have stopped
    /// between the two commits), so that SQLite gets them whole.
    pub(crate) async fn complete(&self, staging: &Staging) -> Result<()> {
        let operation = "complete the rows that SQLite lacks";
        clear(staging, "elsewhere").await?;
        let key = quoted(&self.table.key().name);
        // What the source knows is not carried, so it need not fit.
        let columns: String = data_columns(&self.table)
            .map(|(position, column)| {
                let name = quoted(&column.name);
                let known = sql::known(Dialect::Postgres, &self.table, position);
                format!(", CASE WHEN NOT {known} THEN u.{name}::text END")
            })
            .collect();
        let statement = format!(
            "SELECT u.{key}{columns} FROM {} AS u JOIN pg_temp.dual_staged AS s \
             ON s.{key} = u.{key} WHERE u.{key} = ANY($1)",
            self.store
        );
        let mut above = None;
        loop {
            let keys = sqlite::SqliteLoad::lacking(staging, above, 5_000).await?;
            let Some(last) = keys.last().copied() else { return Ok(()) };
            above = Some(last);
            self.refuse_unreadable(&keys).await?;
            let rows =
                self.session.query(operation, &statement, &[(&keys, Type::INT8_ARRAY)]).await?;
            let mut kept = Vec::with_capacity(rows.len());
            for row in rows {
                let number: i64 = row.try_get(0).map_err(|_| unexpected(operation))?;
                let mut values = vec![Value::Int(number)];
                for (index, column) in self.table.data_columns().enumerate() {
                    let text: Option<&str> =
                        row.try_get(index + 1).map_err(|_| unexpected(operation))?;
                    let value = text.map_or(Some(Value::Null), |text| column.kind.parse(text));
                    values.push(value.ok_or_else(|| {
                        unheld(operation, &self.table, number, &column.name)
                            .with_hint("dates must lie in the years 1 to 9999; correct that row")
                    })?);
                }
                kept.push(values);
            }
            sqlite::SqliteLoad::keep_elsewhere(staging, kept).await?;
        }
    }

    /// Refuses texts whose bytes are no UTF-8, which only a database of SQL_ASCII has: an answer with one
    /// in it is no answer, and says not whose it is.
    async fn refuse_unreadable(&self, keys: &[i64]) -> Result<()> {
        let operation = "complete the rows that SQLite lacks";
        if !self.session.takes_any_bytes() {
            return Ok(());
        }
        let key = quoted(&self.table.key().name);
        let texts = data_columns(&self.table).filter(|(_, column)| column.kind.is_text());
        let bad: String = texts
            .map(|(position, column)| {
                let name = quoted(&column.name);
                let known = sql::known(Dialect::Postgres, &self.table, position);
                let good = is_utf8(&format!("u.{name}"));
                format!(" WHEN NOT {known} AND NOT {good} THEN {}", quoted_text(&column.name))
            })
            .collect();
        let statement = format!(
            "SELECT * FROM (SELECT u.{key} AS key, CASE{bad} END AS bad FROM {} AS u \
             JOIN pg_temp.dual_staged AS s ON s.{key} = u.{key} WHERE u.{key} = ANY($1)) AS looked \
             WHERE bad IS NOT NULL ORDER BY key LIMIT 1",
            self.store
        );
        let rows = self.session.query(operation, &statement, &[(&keys, Type::INT8_ARRAY)]).await?;
        let Some(row) = rows.first() else { return Ok(()) };
        let wrong = |_| unexpected(operation);
        let (number, column): (i64, &str) =
            (row.try_get(0).map_err(wrong)?, row.try_get(1).map_err(wrong)?);
        Err(unheld(operation, &self.table, number, column)
            .with_hint("its bytes are no UTF-8; correct that row"))
    }

    /// Writes everything; the transaction stays open. Rows that the server refuses are
    /// returned; then nothing of this transaction may be committed.
    pub(crate) async fn write(&self, mark: &Mark, plan: &StorePlan) -> Result<Vec<Refusal>> {
        let operation = "write to PostgreSQL";
        let bounds = "SELECT coalesce(min(row), 0), coalesce(max(row), 0) FROM pg_temp.dual_staged";
        let rows = self.session.query(operation, bounds, &[]).await?;
        let bound = |index: usize| {
            let row = rows.first().ok_or_else(|| unexpected(operation))?;
            row.try_get::<_, i64>(index).map_err(|_| unexpected(operation))
        };
        let all = (bound(0)?, bound(1)?);
        self.session.batch(operation, "SAVEPOINT dual_write").await?;
        let (updated, inserted) = match self.write_range(all).await {
            Ok(written) => written,
            Err(error) if error.is_invalid_data() => {
                let refusals = self.find_refusals(all).await?;
                // All together they are refused, one by one none is: nobody to set aside.
                return if refusals.is_empty() { Err(error) } else { Ok(refusals) };
            }
            Err(error) => return Err(error),
        };
        plan.check(Store::Postgres, operation, updated, inserted)?;
        self.session
            .execute(
                operation,
                &format!(
                    "INSERT INTO {}.import_run (run_id, source) VALUES ($1, $2)",
                    self.session.schema()
                ),
                &[(&mark.run_id, Type::TEXT), (&mark.source, Type::TEXT)],
            )
            .await?;
        Ok(Vec::new())
    }

    /// Commits. If the answer is lost, a new connection waits until the transaction has ended
    /// and asks whether the run's mark is there.
    pub(crate) async fn commit(self, target: &Target, run_id: &str) -> Result<()> {
        let lost = match self.session.commit("commit in PostgreSQL").await {
            Err(error) if matches!(error.kind(), Kind::OutcomeUnknown(_)) => error,
            answered => return answered,
        };
        drop(self.session);
        match was_committed(target, self.transaction, run_id).await {
            Some(true) => Ok(()),
            Some(false) => Err(Error::new(
                Kind::Unavailable(Store::Postgres),
                "commit in PostgreSQL",
                "the connection broke before the commit was done; nothing was changed",
            )
            .with_source(lost)),
            None => Err(lost),
        }
    }

    /// Undoes everything; a connection that is gone has undone it already.
    pub(crate) async fn rollback(self) {
        if let Err(error) = self.session.rollback("roll back in PostgreSQL").await {
            tracing::debug!(error = %error.chain(), "the server rolls back by itself");
        }
    }
}

fn unheld(operation: &'static str, table: &Table, number: i64, column: &str) -> Error {
    let (name, key) = (table.name(), &table.key().name);
    let message = format!(
        "table {name}, {key} {number}: column {column} has a value that SQLite cannot hold"
    );
    Error::new(Kind::InvalidData, operation, message)
}

fn unexpected(operation: &'static str) -> Error {
    Error::new(Kind::Internal, operation, "PostgreSQL answered in an unexpected form")
}

fn temporary_table(table: &Table) -> String {
    let key = table.key();
    let columns: String = table
        .data_columns()
        .map(|column| format!(", {} {}", quoted(&column.name), column.kind.sql(Dialect::Postgres)))
        .collect();
    let masks: String =
        masks(table).iter().map(|mask| format!(", {mask} bigint NOT NULL")).collect();
    format!(
        "CREATE TEMPORARY TABLE dual_staged ({} {} NOT NULL, row bigint NOT NULL{masks}{columns}) \
         ON COMMIT DROP",
        quoted(&key.name),
        key.kind.sql(Dialect::Postgres),
    )
}

async fn clear(staging: &Staging, name: &'static str) -> Result<()> {
    let operation = "clear the staging database";
    staging
        .owner
        .call(operation, move |connection| {
            connection
                .execute_batch(&format!("DELETE FROM {name}"))
                .map_err(|cause| failed(operation, cause))
        })
        .await
}

/// A line of `key`, `id`, `fresh` in COPY's text form.
fn issued_of(line: &[u8]) -> Option<(i64, Option<i64>, bool)> {
    let mut fields = std::str::from_utf8(line).ok()?.split('\t');
    let key = fields.next()?.parse().ok()?;
    let id = match fields.next()? {
        "\\N" => None,
        number => Some(number.parse().ok()?),
    };
    Some((key, id, fields.next()? == "t"))
}

async fn keep_issued(staging: &Staging, issued: Vec<(i64, Option<i64>, bool)>) -> Result<()> {
    let operation = "keep the ids";
    staging
        .owner
        .call(operation, move |connection| {
            let wrap = |cause| failed(operation, cause);
            let transaction = connection.transaction().map_err(wrap)?;
            for one in issued {
                transaction
                    .prepare_cached("INSERT INTO issued VALUES (?1, ?2, ?3)")
                    .and_then(|mut insert| insert.execute(one))
                    .map_err(wrap)?;
            }
            transaction.commit().map_err(wrap)
        })
        .await
}
