//! The PostgreSQL half of the load: COPY into a temporary table, then set-based statements,
//! all in one transaction.

use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use rusqlite::types::ValueRef;
use tokio::sync::mpsc;
use tokio_postgres::types::Type;

use super::{Mark, StorePlan, sql, sqlite};
use crate::error::{Error, Kind, Result, Store};
use crate::import::staging::{Staging, bit, stored_value};
use crate::import::write::{Target, WriteOptions};
use crate::import::{Event, Observer};
use crate::schema::{Dialect, Table, quoted};
use crate::store::postgres::{Catalog, Limits, Session, Settings, plan};
use crate::store::sqlite::{Found, failed, from_sqlite};
use crate::value::{Value, timestamp_text};

/// About this much text goes to the server at a time.
const CHUNK: usize = 64 * 1024;

/// The open transaction on the server.
pub(in crate::import) struct PostgresLoad {
    session: Session,
    table: Arc<Table>,
    /// The store's table, qualified and quoted.
    store: String,
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
        let (store, schema, length_limits) = adopt(&session, table, options).await?;
        let mark = last_mark(&session).await?;
        session.batch("make the temporary table", &temporary_table(table)).await?;
        Ok(PostgresLoad {
            session,
            table: Arc::clone(table),
            store,
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
    /// row that the attached SQLite file has, for rows that the server lacks. Returns the rows
    /// of the file that have a value which the server cannot hold, for
    /// [`PostgresLoad::refuse_unfit`].
    pub(in crate::import) async fn copy(
        &self,
        staging: &Staging,
        complete: bool,
        observer: &dyn Observer,
    ) -> Result<Vec<sqlite::Unfit>> {
        let operation = "copy the rows to PostgreSQL";
        let total = staging.counts().await?.staged;
        let key = quoted(self.table.key().name);
        let statement = format!(
            "COPY pg_temp.dual_staged ({key}, row, known, {}) FROM STDIN",
            sql::data_columns(&self.table, "")
        );
        let (chunks, mut arriving) = mpsc::channel::<(Bytes, u64)>(4);
        let table = Arc::clone(&self.table);
        let reading = staging.owner.call(operation, move |connection| {
            read_staged(connection, &table, complete, &chunks)
        });
        let sending = async {
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
    pub(in crate::import) async fn refuse_unfit(&self, unfit: &[sqlite::Unfit]) -> Result<()> {
        let operation = "compare with PostgreSQL";
        let key = quoted(self.table.key().name);
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
                             THEN nextval(pg_get_serial_sequence('{store}', '{plain_id}'))
                             ELSE u.{id} END AS id
                     FROM pg_temp.dual_staged AS s LEFT JOIN {store} AS u ON u.{key} = s.{key}
                     ORDER BY s.row",
                    store = self.store.replace('\'', "''"),
                    plain_id = self.table.surrogate().name,
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
        // What the source knows is not carried, so it need not fit.
        let columns: String = self
            .table
            .data_columns()
            .map(|(position, column)| {
                let name = quoted(column.name);
                format!(", CASE WHEN (s.known & {}) = 0 THEN u.{name}::text END", bit(position))
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
            let rows = self.session.query(operation, &statement, &[(&keys, Type::INT8_ARRAY)]).await?;
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
    pub(in crate::import) async fn write(&self, mark: &Mark) -> Result<()> {
        let operation = "write to PostgreSQL";
        let staged = "pg_temp.dual_staged";
        let update = sql::update(Dialect::Postgres, &self.table, &self.store, staged);
        self.session.execute(operation, &update, &[]).await?;
        let insert = sql::insert_postgres(&self.table, &self.store);
        self.session.execute(operation, &insert, &[]).await?;
        self.session
            .execute(
                operation,
                "INSERT INTO dual.import_run (run_id, source) VALUES ($1, $2)",
                &[(&mark.run_id, Type::TEXT), (&mark.source, Type::TEXT)],
            )
            .await?;
        Ok(())
    }

    /// Commits. If the answer is lost, a new connection asks whether the run's mark is there.
    pub(in crate::import) async fn commit(self, target: &Target, run_id: &str) -> Result<()> {
        let lost = match self.session.commit("commit in PostgreSQL").await {
            Err(error) if matches!(error.kind(), Kind::OutcomeUnknown(_)) => error,
            answered => return answered,
        };
        drop(self.session);
        let Ok(session) = Session::open(&target.postgres, &target.limits).await else {
            return Err(lost);
        };
        match last_mark(&session).await {
            Ok(Some(mark)) if mark == run_id => Ok(()),
            Ok(_) => Err(Error::new(
                Kind::Unavailable(Store::Postgres),
                "commit in PostgreSQL",
                "the connection broke before the commit was done; nothing was changed",
            )
            .with_source(lost)),
            Err(_) => Err(lost),
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

/// Makes the table the declared one, or replaces it, and sees to the record of runs. Returns
/// the table's qualified name, what was done, and the limits of its text columns.
async fn adopt(
    session: &Session,
    table: &Table,
    options: WriteOptions,
) -> Result<(String, Vec<String>, Vec<(usize, u32)>)> {
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
    Ok((plan.target, done, limits))
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

/// Reads the staged rows as COPY's text, a chunk at a time. A value of the store's file that
/// does not fit its column goes as NULL, and its row is returned.
fn read_staged(
    connection: &rusqlite::Connection,
    table: &Table,
    complete: bool,
    chunks: &mpsc::Sender<(Bytes, u64)>,
) -> Result<Vec<sqlite::Unfit>> {
    let operation = "read the staged rows";
    let wrap = |cause| failed(operation, cause);
    let key = quoted(table.key().name);
    // The store's columns come behind the staged ones; a column that it lacks is unknown.
    let store_columns = match complete.then(|| Found::read(connection, table)).transpose()? {
        Some(Found::Table { columns, .. }) => columns,
        _ => Vec::new(),
    };
    let has = |name: &str| store_columns.iter().any(|c| c.name.eq_ignore_ascii_case(name));
    let joined: Vec<usize> =
        table.data_columns().filter(|(_, c)| has(c.name)).map(|(position, _)| position).collect();
    let mut statement = if joined.is_empty() {
        format!("SELECT s.*, NULL FROM staged AS s ORDER BY s.{key}")
    } else {
        let names: String = joined
            .iter()
            .filter_map(|position| table.columns().get(*position))
            .map(|column| format!(", u.{}", quoted(column.name)))
            .collect();
        format!(
            "SELECT s.*, u.{key}{names} FROM staged AS s LEFT JOIN store.{} AS u \
             ON u.{key} = s.{key} ORDER BY s.{key}",
            quoted(table.name())
        )
    };
    statement.push(';');
    let staged_width = 3 + table.data_columns().count();
    let mut statement = connection.prepare(&statement).map_err(wrap)?;
    let mut rows = statement.query([]).map_err(wrap)?;
    let (mut chunk, mut count) = (BytesMut::with_capacity(CHUNK + 4096), 0_u64);
    let mut unfit: Vec<sqlite::Unfit> = Vec::new();
    while let Some(row) = rows.next().map_err(wrap)? {
        let number: i64 = row.get(0).map_err(wrap)?;
        let known: i64 = row.get(2).map_err(wrap)?;
        let in_store = !matches!(row.get_ref(staged_width).map_err(wrap)?, ValueRef::Null);
        for index in 0..3 {
            if index > 0 {
                chunk.put_u8(b'\t');
            }
            let whole: i64 = row.get(index).map_err(wrap)?;
            chunk.put_slice(whole.to_string().as_bytes());
        }
        for (index, (position, column)) in table.data_columns().enumerate() {
            let from_store = joined.iter().position(|joined| *joined == position);
            let value = match from_store {
                Some(at) if in_store && known & bit(position) == 0 => {
                    let stored = row.get_ref(staged_width + 1 + at).map_err(wrap)?;
                    from_sqlite(column.kind, stored).unwrap_or_else(|_| {
                        // One a row is enough to refuse it, and bounds the memory.
                        if unfit.last().is_none_or(|last| last.key != number) {
                            unfit.push(sqlite::Unfit { key: number, position });
                        }
                        Value::Null
                    })
                }
                _ => stored_value(column.kind, row.get_ref(index + 3).map_err(wrap)?),
            };
            chunk.put_u8(b'\t');
            put_copy_text(&mut chunk, &value);
        }
        chunk.put_u8(b'\n');
        count += 1;
        if chunk.len() >= CHUNK
            && chunks.blocking_send((chunk.split().freeze(), count)).is_err()
        {
            return Ok(unfit); // The receiver has failed and tells why.
        }
    }
    if !chunk.is_empty() {
        let _ = chunks.blocking_send((chunk.freeze(), count));
    }
    Ok(unfit)
}

/// A value in COPY's text form (PostgreSQL manual, COPY, "Text Format").
fn put_copy_text(line: &mut BytesMut, value: &Value) {
    match value {
        Value::Null => line.put_slice(b"\\N"),
        Value::Bool(flag) => line.put_u8(if *flag { b't' } else { b'f' }),
        Value::Int(number) => line.put_slice(number.to_string().as_bytes()),
        Value::Timestamp(instant) => line.put_slice(timestamp_text(*instant).as_bytes()),
        Value::Text(text) => {
            for byte in text.bytes() {
                match byte {
                    b'\\' => line.put_slice(b"\\\\"),
                    b'\n' => line.put_slice(b"\\n"),
                    b'\r' => line.put_slice(b"\\r"),
                    b'\t' => line.put_slice(b"\\t"),
                    other => line.put_u8(other),
                }
            }
        }
    }
}
