//! The PostgreSQL half of the load: COPY into a temporary table, then set-based statements,
//! all in one transaction.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_postgres::types::{ToSql, Type};

use super::copy_text::read_staged;
use super::{Mark, StorePlan, sql, sqlite};
use crate::error::{Error, Kind, Result, Store};
use crate::import::staging::Staging;
use crate::import::write::{Target, WriteOptions};
use crate::import::{Event, Observer};
use crate::schema::{Dialect, Table, quoted};
use crate::store::postgres::{Catalog, Limits, Session, Settings, plan};
use crate::store::sqlite::failed;
use crate::value::Value;

/// The advisory lock that an import holds until it ends: "dual" as a number.
const ONE_IMPORT: i64 = 0x6475_616c;

/// How long the server may go on with a transaction whose connection broke at its commit.
const SETTLED: Duration = Duration::from_secs(10);

/// The open transaction on the server.
pub(in crate::import) struct PostgresLoad {
    session: Session,
    table: Arc<Table>,
    /// The store's table, qualified and quoted.
    store: String,
    /// What numbers new rows, as an SQL expression.
    sequence: String,
    /// The transaction's id.
    transaction: i64,
    schema: Vec<String>,
    length_limits: Vec<(usize, u32)>,
    mark: Option<String>,
    dry_run: bool,
}

impl PostgresLoad {
    /// Connects, begins the transaction, adopts or replaces the table, and makes the temporary
    /// table.
    pub(in crate::import) async fn begin(
        settings: &Settings,
        limits: &Limits,
        table: &Arc<Table>,
        options: WriteOptions,
    ) -> Result<PostgresLoad> {
        let session = Session::open(settings, limits).await?;
        session.begin("begin the import").await?;
        if !options.dry_run {
            // Two first runs at once would both make the table.
            let wait = format!("SELECT pg_advisory_xact_lock({ONE_IMPORT})");
            session.batch("wait for another import", &wait).await?;
        }
        let Adopted { store, sequence, schema, length_limits } =
            adopt(&session, table, options).await?;
        let mark = last_mark(&session).await?;
        session.batch("make the temporary table", &temporary_table(table)).await?;
        let transaction = transaction_id(&session).await?;
        Ok(PostgresLoad {
            session,
            table: Arc::clone(table),
            store,
            sequence,
            transaction,
            schema,
            length_limits,
            mark,
            dry_run: options.dry_run,
        })
    }

    /// The last run that the server knows of.
    pub(in crate::import) fn mark(&self) -> Option<&str> {
        self.mark.as_deref()
    }

    /// Column positions whose text is limited, with the limit in characters.
    pub(in crate::import) fn length_limits(&self) -> Vec<(usize, u32)> {
        self.length_limits.clone()
    }

    /// Copies the staged rows; with `complete`, what the source does not know comes from the
    /// row that the attached SQLite file has, for rows that the server lacks.
    pub(in crate::import) async fn copy(
        &self,
        staging: &Staging,
        complete: bool,
        observer: &dyn Observer,
    ) -> Result<()> {
        let operation = "copy the rows to PostgreSQL";
        let total = staging.counts().await?.staged;
        let key = quoted(self.table.key().name);
        let statement = format!(
            "COPY pg_temp.dual_staged ({key}, row, known, {}) FROM STDIN",
            sql::data_columns(&self.table, "")
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
        read?;
        copy.finish().await?;
        self.session.batch(operation, "ANALYZE pg_temp.dual_staged").await
    }

    /// Locks the table against other writers, so that the plan is what will be done, and
    /// compares. A dry run takes no lock.
    pub(in crate::import) async fn compare(&self) -> Result<StorePlan> {
        let operation = "compare with PostgreSQL";
        if !self.dry_run {
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
            schema: self.schema.clone(),
            ..StorePlan::default()
        };
        plan.unchanged = number(0)?.saturating_sub(plan.inserted + plan.updated);
        for (index, (_, column)) in self.table.data_columns().enumerate() {
            let changes = number(index + 3)?;
            if changes > 0 {
                plan.columns.insert(column.name, changes);
            }
        }
        Ok(plan)
    }

    /// Issues ids for the new rows, in the order of the sheet, and brings the ids of all
    /// staged rows back, because SQLite's rows carry the same ones.
    pub(in crate::import) async fn issue(&self, staging: &Staging) -> Result<()> {
        let operation = "issue the ids";
        let (key, id) = (quoted(self.table.key().name), quoted(self.table.surrogate().name));
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
    pub(in crate::import) async fn complete(&self, staging: &Staging) -> Result<()> {
        let operation = "complete the rows that SQLite lacks";
        clear(staging, "elsewhere").await?;
        let key = quoted(self.table.key().name);
        let columns: String = self
            .table
            .data_columns()
            .map(|(_, column)| format!(", {}::text", quoted(column.name)))
            .collect();
        let statement = format!("SELECT {key}{columns} FROM {} WHERE {key} = ANY($1)", self.store);
        let mut above = None;
        loop {
            let keys = sqlite::SqliteLoad::lacking(staging, above, 5_000).await?;
            let Some(last) = keys.last().copied() else { return Ok(()) };
            above = Some(last);
            let rows =
                self.session.query(operation, &statement, &[(&keys, Type::INT8_ARRAY)]).await?;
            let mut kept = Vec::with_capacity(rows.len());
            for row in rows {
                let number: i64 = row.try_get(0).map_err(|_| unexpected(operation))?;
                let mut values = vec![Value::Int(number)];
                for (index, (_, column)) in self.table.data_columns().enumerate() {
                    let text: Option<&str> =
                        row.try_get(index + 1).map_err(|_| unexpected(operation))?;
                    let value = text.map_or(Some(Value::Null), |text| {
                        crate::value::parse_postgres_text(column.kind, text)
                    });
                    values.push(value.ok_or_else(|| {
                        Error::new(
                            Kind::InvalidData,
                            operation,
                            format!(
                                "table {}, {} {number}: column {} has a value that SQLite cannot hold",
                                self.table.name(),
                                self.table.key().name,
                                column.name
                            ),
                        )
                        .with_hint("dates must lie in the years 1 to 9999; correct that row")
                    })?);
                }
                kept.push(values);
            }
            sqlite::SqliteLoad::keep_elsewhere(staging, kept).await?;
        }
    }

    /// Writes everything; the transaction stays open.
    pub(in crate::import) async fn write(&self, mark: &Mark, plan: &StorePlan) -> Result<()> {
        let operation = "write to PostgreSQL";
        let staged = "pg_temp.dual_staged";
        let update = sql::update(Dialect::Postgres, &self.table, &self.store, staged);
        let updated = self.session.execute(operation, &update, &[]).await?;
        let insert = sql::insert_postgres(&self.table, &self.store);
        let inserted = self.session.execute(operation, &insert, &[]).await?;
        plan.check(Store::Postgres, operation, updated, inserted)?;
        self.session
            .execute(
                operation,
                "INSERT INTO dual.import_run (run_id, source) VALUES ($1, $2)",
                &[(&mark.run_id, Type::TEXT), (&mark.source, Type::TEXT)],
            )
            .await?;
        Ok(())
    }

    /// Commits. If the answer is lost, a new connection waits until the transaction has ended
    /// and asks whether the run's mark is there.
    pub(in crate::import) async fn commit(self, target: &Target, run_id: &str) -> Result<()> {
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
    pub(in crate::import) async fn rollback(self) {
        if let Err(error) = self.session.rollback("roll back in PostgreSQL").await {
            tracing::debug!(error = %error.chain(), "the server rolls back by itself");
        }
    }
}

fn unexpected(operation: &'static str) -> Error {
    Error::new(Kind::Internal, operation, "PostgreSQL answered in an unexpected form")
}

fn temporary_table(table: &Table) -> String {
    let key = table.key();
    let columns: String = table
        .data_columns()
        .map(|(_, column)| {
            format!(", {} {}", quoted(column.name), column.kind.sql(Dialect::Postgres))
        })
        .collect();
    format!(
        "CREATE TEMPORARY TABLE dual_staged ({} {} NOT NULL, row bigint NOT NULL, \
         known bigint NOT NULL{columns}) ON COMMIT DROP",
        quoted(key.name),
        key.kind.sql(Dialect::Postgres),
    )
}

/// The table as it was made or found.
struct Adopted {
    /// The qualified name.
    store: String,
    /// What numbers new rows, as an SQL expression.
    sequence: String,
    /// What was done.
    schema: Vec<String>,
    /// The limits of its text columns.
    length_limits: Vec<(usize, u32)>,
}

/// Makes the table the declared one, or replaces it, and sees to the record of runs.
async fn adopt(session: &Session, table: &Table, options: WriteOptions) -> Result<Adopted> {
    let mut catalog = Catalog::read(session, table).await?;
    let mut done = Vec::new();
    if options.recreate_tables
        && let Some(found) = catalog.table.take()
    {
        let drop = format!("DROP TABLE {}", found.qualified());
        session.batch("drop the old table", &drop).await?;
        done.push(format!("drop table {}", table.name()));
        // The new one comes where the old one was.
        catalog.rights.schema = Some(found.schema);
    }
    let plan = plan(table, &catalog);
    let operation = "adopt the table";
    if let Some(refusal) = plan.refusal(operation) {
        return Err(refusal);
    }
    for step in plan.steps {
        // The one step that a rollback does not undo.
        if options.dry_run && step.sql.starts_with("SELECT setval") {
            done.push(step.what);
            continue;
        }
        session.batch(operation, &step.sql).await?;
        done.push(step.what);
    }
    if !has(session, "to_regnamespace('dual')").await? {
        if !catalog.rights.create_in_database {
            let (database, user) = (&catalog.rights.database, &catalog.rights.user);
            return Err(Error::new(
                Kind::AccessDenied,
                "make the schema dual",
                format!("no right to make a schema in {}", quoted(database)),
            )
            .with_hint(format!(
                "the owner can run: GRANT CREATE ON DATABASE {} TO {};",
                quoted(database),
                quoted(user)
            )));
        }
        session.batch("make the schema dual", "CREATE SCHEMA dual").await?;
        done.push("create schema dual".into());
    }
    if !has(session, "to_regclass('dual.import_run')").await? {
        session
            .batch(
                "make the record of runs",
                "CREATE TABLE dual.import_run (run_id text PRIMARY KEY, source text NOT NULL)",
            )
            .await?;
    }
    let limits = plan
        .lengths
        .into_iter()
        .filter_map(|(name, limit)| Some((table.position(name)?, limit)))
        .collect();
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    // A default may take numbers from a sequence that the column does not own.
    let sequence = match catalog.table.and_then(|found| found.sequence) {
        Some(sequence) => literal(&sequence.name),
        None => format!(
            "pg_get_serial_sequence({}, {})",
            literal(&plan.target),
            literal(table.surrogate().name)
        ),
    };
    Ok(Adopted { store: plan.target, sequence, schema: done, length_limits: limits })
}

async fn transaction_id(session: &Session) -> Result<i64> {
    let operation = "begin the import";
    let rows = session.query(operation, "SELECT txid_current()", &[]).await?;
    rows.first().and_then(|row| row.try_get(0).ok()).ok_or_else(|| unexpected(operation))
}

/// Whether a run whose commit was not answered is there; `None` if that cannot be found out.
/// While the server still works on the transaction, its mark says nothing.
async fn was_committed(target: &Target, transaction: i64, run_id: &str) -> Option<bool> {
    let operation = "ask for the commit";
    let session = Session::open(&target.postgres, &target.limits).await.ok()?;
    let ended = async {
        loop {
            let parameters = [(&transaction as &(dyn ToSql + Sync), Type::INT8)];
            let status = session.query(operation, "SELECT txid_status($1)", &parameters).await;
            let status: Option<String> = status.ok()?.first()?.try_get(0).ok()?;
            if status.as_deref() != Some("in progress") {
                return Some(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SETTLED, ended).await.ok()??;
    // By its own id: with clocks that differ it need not be the last one.
    if !has(&session, "to_regclass('dual.import_run')").await.ok()? {
        return Some(false);
    }
    let statement = "SELECT EXISTS (SELECT FROM dual.import_run WHERE run_id = $1)";
    let rows = session.query(operation, statement, &[(&run_id, Type::TEXT)]).await.ok()?;
    rows.first()?.try_get(0).ok()
}

/// Whether an expression gives something.
async fn has(session: &Session, expression: &str) -> Result<bool> {
    let operation = "read the catalog";
    let rows = session.query(operation, &format!("SELECT {expression} IS NOT NULL"), &[]).await?;
    rows.first().and_then(|row| row.try_get(0).ok()).ok_or_else(|| unexpected(operation))
}

async fn last_mark(session: &Session) -> Result<Option<String>> {
    let operation = "read the record of runs";
    if !has(session, "to_regclass('dual.import_run')").await? {
        return Ok(None);
    }
    let rows = session.query(operation, "SELECT max(run_id) FROM dual.import_run", &[]).await?;
    rows.first().and_then(|row| row.try_get(0).ok()).ok_or_else(|| unexpected(operation))
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
