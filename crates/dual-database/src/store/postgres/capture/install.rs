//! Putting capture beside a table, looking whether it is still there, taking it away.

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::common::FORMAT;
use super::ddl::{KEEP_BEFORE, POLL_SETTINGS};
use super::declared::declared;
use super::entry::{RemoteEntry, Settled};
use super::grants::given_back;
use super::layout::Layout;
use super::ours::Ours;
use super::row_stamps::RowStamps;
use super::standing::SchemaStanding;
use super::statements::{Needs, Statement, schema_locked};
use crate::protocol::reconcile::Loose;
use crate::protocol::{Drift, Snapshot};
use crate::schema::{Key, Table, built_in};
use crate::stamp::Stamp;
use crate::store::postgres::answer::{column, unexpected};
use crate::store::postgres::{Parameter, Session};
use crate::{Error, Kind, Result, Store};

/// The advisory lock under which the schema `dual` is made, changed and dropped.
pub(in crate::store::postgres) const SCHEMA_LOCK: i64 = 0x6475_616c_0001;

/// Puts capture beside the table, or brings it up to date, in the session's transaction: the
/// schema, the sidecar, the triggers; and notes what has come past triggers that were missing
/// ([`mend`]). Roles that ran what was there may run what is made. Writers of the table wait until the transaction
/// ends. Returns how many rows were taken in.
///
/// # Errors
/// About the schema if the schema was made by a newer version; access denied if this
/// user may not make it or the triggers; else as for [`Session::batch`].
pub async fn install(session: &Session, layout: &Layout) -> Result<u64> {
    place(session, layout).await?;
    let adopted = mend_in(session, layout, None).await?.loaded;
    let [seen, tracked] = layout.noted();
    note(session, [&seen, &tracked]).await?;
    Ok(adopted)
}

/// Makes what capture needs, and takes nothing in yet.
///
/// # Errors
/// As for [`install`].
pub(in crate::store::postgres) async fn place(session: &Session, layout: &Layout) -> Result<()> {
    let operation = "install capture on PostgreSQL";
    for Statement { sql, needs } in layout.begun().into_iter().chain(layout.placed()) {
        session.batch(operation, &sql).await.map_err(|error| match needs {
            Needs::Database => allowed(error, session),
            Needs::Table => permitted(error, session, layout),
            Needs::Nothing => error,
        })?;
    }
    session.batch(operation, &given_back(&layout.dual, &[layout])).await
}

/// Takes in what capture has missed, where the triggers are as they were installed, for a role that may
/// not install: a column was added, or one of them could not do its work for a while. Every file
/// compares. Returns how many rows were taken in.
///
/// # Errors
/// As for [`Session::batch`].
pub(in crate::store::postgres) async fn renew(session: &Session, layout: &Layout) -> Result<u64> {
    let operation = "take in what capture has missed";
    let adopted = mend_all(session, layout).await?.loaded;
    session.batch(operation, &layout.gap_noted()).await?;
    let [seen, _] = layout.noted();
    note(session, [&seen, &layout.columns_noted()]).await?;
    Ok(adopted)
}

/// Whether that helps: the triggers are as they were installed.
///
/// # Errors
/// As for [`Session::query`].
pub(in crate::store::postgres) async fn is_renewable(
    session: &Session,
    layout: &Layout,
) -> Result<bool> {
    if format(session).await? != Some(FORMAT) {
        return Ok(false);
    }
    let (Some(tracked), Some(now)) =
        (tracked(session, layout).await?, fingerprint(session, layout).await?)
    else {
        return Ok(false);
    };
    let installed = &tracked.installed;
    Ok(now.target == installed.target
        && now.triggers == installed.triggers
        && !tracked.lacks(layout))
}

async fn note(session: &Session, [seen, tracked]: [&str; 2]) -> Result<()> {
    let operation = "note how capture stands";
    session.batch(operation, seen).await?;
    match session.execute(operation, tracked, &[]).await? {
        1 => Ok(()),
        _ => Err(unexpected(operation)),
    }
}

/// Counts the rows that came past the triggers, in one pass over table and sidecar.
///
/// # Errors
/// As for [`Session::query`].
pub async fn loose(session: &Session, layout: &Layout) -> Result<Loose> {
    let operation = "look for rows that came past the triggers";
    let rows = session.ask(operation, &layout.loose(), &[]).await?;
    let row = rows.first().ok_or_else(|| unexpected(operation))?;
    let count = |at| -> Result<u64> {
        u64::try_from(column::<i64>(row, at, operation)?).map_err(|_| unexpected(operation))
    };
    Ok(Loose { loaded: count(0)? + count(2)?, removed: count(1)? })
}

/// Notes in the sidecar what came past the triggers, of all rows or of those with these keys, in the
/// session's transaction, in which nobody else may write to them. What was put there is told to
/// everybody as new. What was taken away is not taken for deleted: the sidecar forgets what it knew of
/// it, so that whoever has it gives it back; and since others may have gone on from what was lost,
/// the epoch becomes another one, and every file compares.
///
/// # Errors
/// As for [`Session::batch`].
pub async fn mend(session: &Session, layout: &Layout, keys: &[Key]) -> Result<Loose> {
    // Of a row that is not there the sidecar row is all that can be locked. Who is inserting it just
    // now is waited for in a statement of its own, so that the next ones see what he has left.
    let operation = "note what came past the triggers";
    let lock = format!(
        "SELECT FROM {} WHERE {} ORDER BY {} FOR UPDATE",
        layout.sidecar,
        layout.own_key.among("", "=", 1),
        layout.own_key.order("", ""),
    );
    session.query(operation, &lock, &[(&keys, layout.own_key.many())]).await?;
    mend_in(session, layout, Some(keys)).await
}

/// The same, of all rows.
///
/// # Errors
/// As for [`mend`].
pub(crate) async fn mend_all(session: &Session, layout: &Layout) -> Result<Loose> {
    session.batch("note what came past the triggers", &layout.locked()).await?;
    mend_in(session, layout, None).await
}

async fn mend_in(session: &Session, layout: &Layout, keys: Option<&[Key]>) -> Result<Loose> {
    let operation = "note what came past the triggers";
    let of_keys = [(&keys as &(dyn ToSql + Sync), layout.own_key.many())];
    let parameters: &[Parameter<'_>] = if keys.is_some() { &of_keys } else { &[] };
    let mut counts = [0; 3];
    for (count, statement) in counts.iter_mut().zip(layout.mend(keys.is_some())) {
        *count = session.execute(operation, &statement, parameters).await?;
    }
    let [removed, revived, unknown] = counts;
    if removed > 0 {
        session.batch(operation, &layout.gap_noted()).await?;
    }
    Ok(Loose { loaded: revived + unknown, removed })
}

/// Compares what is there with what was installed.
///
/// # Errors
/// About the schema if it was made by a newer version; else as for [`Session::batch`].
pub async fn drift(session: &Session, layout: &Layout) -> Result<Drift> {
    let operation = "compare capture on PostgreSQL";
    match format(session).await? {
        None => return Ok(Drift::Absent),
        Some(found) if found > FORMAT => return Err(newer(operation, session, found)),
        Some(found) if found < FORMAT => return Ok(Drift::Absent),
        Some(_) => {}
    }
    let Some(tracked) = tracked(session, layout).await? else {
        return Ok(Drift::Absent);
    };
    let installed = &tracked.installed;
    if tracked.has_missed {
        return Ok(Drift::Triggers);
    }
    Ok(match fingerprint(session, layout).await? {
        None => Drift::Triggers,
        Some(now) if now == *installed => match tracked.lacks(layout) {
            true => Drift::Columns,
            false => Drift::None,
        },
        Some(now) if now.target == installed.target && now.triggers == installed.triggers => {
            Drift::Columns
        }
        Some(_) => Drift::Triggers,
    })
}

/// What was noted when capture was installed.
struct Noted {
    installed: Fingerprint,
    /// It has missed something since.
    has_missed: bool,
    declaration: Option<String>,
}

impl Noted {
    /// Columns are declared that were not when it was installed.
    fn lacks(&self, layout: &Layout) -> bool {
        let Some(text) = &self.declaration else { return true };
        Table::from_declaration(text)
            .is_ok_and(|kept| !kept.covers(&layout.declared) && layout.declared.covers(&kept))
    }
}

async fn tracked(session: &Session, layout: &Layout) -> Result<Option<Noted>> {
    let operation = "compare capture on PostgreSQL";
    if !(has(session, "tracked").await? && has(session, "missed").await?) {
        return Ok(None);
    }
    let sql = format!(
        "SELECT target, triggers, columns, \
         EXISTS (SELECT FROM {dual}.missed AS m WHERE m.name = k.name), \
         to_jsonb(k) ->> 'declaration' \
         FROM {dual}.tracked AS k WHERE k.name = $1",
        dual = layout.dual
    );
    let rows = session.query(operation, &sql, &[(&layout.name(), Type::TEXT)]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Noted {
        installed: Fingerprint::read(row, operation)?,
        has_missed: column(row, 3, operation)?,
        declaration: column(row, 4, operation)?,
    }))
}

/// The tables that are kept, and the users of the documented system, of whom nothing else may be left to tell.
///
/// # Errors
/// As for [`Session::query`].
pub(crate) async fn kept_tables(
    session: &Session,
    standing: &SchemaStanding,
) -> Result<Vec<Table>> {
    // Nothing is read in a schema of somebody's who is not to be trusted.
    let mut tables = match standing.trusted(session) {
        Ok(()) => declared(session).await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    if tables.iter().all(|table| table.label() != built_in().label()) {
        tables.push(built_in());
    }
    Ok(tables)
}

/// What an uninstallation has found and left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uninstalled {
    /// There was something of ours.
    pub was_there: bool,
    /// What others have in the schema, which stays with it: each after its kind, as it stands in SQL.
    pub left: Vec<String>,
}

/// Takes everything of ours away, in the session's transaction: functions, and with them the triggers;
/// tables; and the schema, if nothing else is in it. What others have stays, wherever it is.
///
/// # Errors
/// Configuration if what is in the schema is not ours, or something of others depends on ours; access
/// denied if this role does not own it; else as for [`Session::batch`].
pub async fn uninstall(session: &Session) -> Result<Uninstalled> {
    let operation = "uninstall capture from PostgreSQL";
    session.batch(operation, &schema_locked()).await?;
    let standing = SchemaStanding::read(session, &[]).await?;
    standing.owns(session, operation)?;
    standing.is_ours(session, operation)?;
    let ours = Ours::read(session, &kept_tables(session, &standing).await?).await?;
    ours.unused(operation)?;
    // `DROP TRIGGER` would take the owner of the table. Nothing but our triggers depends on them.
    if !ours.functions.is_empty() {
        let drop = format!("DROP FUNCTION {} CASCADE", ours.functions.join(", "));
        session.batch(operation, &drop).await?;
    }
    if !ours.tables.is_empty() {
        session.batch(operation, &format!("DROP TABLE {}", ours.tables.join(", "))).await?;
    }
    if !ours.is_none() && ours.strangers.is_empty() {
        session.batch(operation, &format!("DROP SCHEMA {}", session.schema())).await?;
    }
    Ok(Uninstalled { was_there: !ours.is_none(), left: ours.strangers })
}

/// Asks the triggers to keep, in this transaction, what they change. To be called before the
/// write whose stamps [`settle`] is to set.
///
/// # Errors
/// As for [`Session::batch`].
pub async fn keep_before(session: &Session) -> Result<()> {
    session.batch("begin a write with its own stamps", KEEP_BEFORE).await
}

/// Gives what the transaction has just written its own stamps, as the marks say. With a
/// `proposal`, which is then the stamp of every mark, the write is refused if something at or
/// above it is there, or if it lies too far ahead of the server's clock: [`super::refusal`] reads
/// that from the error. The transaction can then only be rolled back.
///
/// # Errors
/// As for [`Session::batch`].
pub async fn settle(
    session: &Session,
    table: &Table,
    layout: &Layout,
    marks: &[RowStamps],
    proposal: Option<Stamp>,
) -> Result<Vec<Settled>> {
    let operation = "set the stamps of a write";
    let marks: serde_json::Value = marks.iter().map(|mark| mark.json(table)).collect();
    let sql = format!(
        "SELECT row_before::text, row_after::text FROM {}($1::text::jsonb, $2)",
        layout.function("settle")
    );
    let rows = session
        .query(
            operation,
            &sql,
            &[(&marks.to_string(), Type::TEXT), (&proposal.map(Stamp::raw), Type::INT8)],
        )
        .await?;
    let entry = |text: &str| entry_of(layout, text).ok_or_else(|| unexpected(operation));
    rows.iter()
        .map(|row| {
            let before: Option<String> = column(row, 0, operation)?;
            let after: String = column(row, 1, operation)?;
            let before = before.as_deref().map(entry).transpose()?;
            Ok(Settled { before, after: entry(&after)? })
        })
        .collect()
}

/// The rows that have changed since the snapshot, in the session's transaction.
///
/// # Errors
/// As for [`Session::batch`].
pub async fn changed_since(
    session: &Session,
    layout: &Layout,
    cursor: &Snapshot,
) -> Result<Vec<RemoteEntry>> {
    let operation = "read PostgreSQL's changes";
    session.batch(operation, POLL_SETTINGS).await?;
    let number = |txid: u64| i64::try_from(txid).unwrap_or(i64::MAX);
    let open: Vec<i64> = cursor.in_progress().iter().copied().map(number).collect();
    let parameters: [Parameter<'_>; 2] =
        [(&number(cursor.xmax()), Type::INT8), (&open, Type::INT8_ARRAY)];
    let rows = session.query(operation, &layout.changed_since(), &parameters).await?;
    let stamp = |raw| Stamp::from_raw(raw).ok_or_else(|| unexpected(operation));
    rows.iter()
        .map(|row| {
            let columns: Vec<i64> = column(row, 4, operation)?;
            Ok(RemoteEntry {
                key: column(row, 0, operation)?,
                live: column(row, 1, operation)?,
                stamp: stamp(column(row, 2, operation)?)?,
                columns: columns.into_iter().map(stamp).collect::<Result<_>>()?,
                txid: u64::try_from(column::<i64>(row, 3, operation)?)
                    .map_err(|_| unexpected(operation))?,
            })
        })
        .collect()
}

#[derive(PartialEq, Eq)]
struct Fingerprint {
    target: u32,
    triggers: String,
    columns: String,
}

impl Fingerprint {
    fn read(row: &Row, operation: &'static str) -> Result<Fingerprint> {
        Ok(Fingerprint {
            target: column(row, 0, operation)?,
            triggers: column(row, 1, operation)?,
            columns: column(row, 2, operation)?,
        })
    }
}

async fn fingerprint(session: &Session, layout: &Layout) -> Result<Option<Fingerprint>> {
    let operation = "compare capture on PostgreSQL";
    let rows = session.query(operation, &layout.fingerprint(), &[]).await?;
    rows.first().map(|row| Fingerprint::read(row, operation)).transpose()
}

/// Whether there is a table of that name in the schema of ours, which this role may read.
///
/// # Errors
/// As for [`Session::query`].
pub(crate) async fn has(session: &Session, table: &str) -> Result<bool> {
    let operation = "look for an installation on PostgreSQL";
    let sql = "SELECT EXISTS (SELECT FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1::text AND c.relname = $2::text \
               AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'))";
    let parameters: [Parameter<'_>; 2] =
        [(&session.schema_name(), Type::TEXT), (&table, Type::TEXT)];
    let rows = session.query(operation, sql, &parameters).await?;
    column(rows.first().ok_or_else(|| unexpected(operation))?, 0, operation)
}

/// The version of what is installed; `None` if nothing is.
async fn format(session: &Session) -> Result<Option<i32>> {
    let operation = "look for an installation on PostgreSQL";
    if !has(session, "installation").await? {
        return Ok(None);
    }
    let sql = format!("SELECT format FROM {}.installation", session.schema());
    let rows = session.query(operation, &sql, &[]).await?;
    rows.first().map(|row| column(row, 0, operation)).transpose()
}

pub(in crate::store::postgres) fn entry_of(layout: &Layout, text: &str) -> Option<RemoteEntry> {
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    let stamp = Stamp::from_raw(json.get("stamp")?.as_i64()?)?;
    let columns = layout.registers.iter().map(|register| {
        match json.get(format!("s_{}", register.label))?.as_i64() {
            Some(own) => Stamp::from_raw(own),
            None => Some(stamp),
        }
    });
    Some(RemoteEntry {
        key: layout.own_key.read_record(&json)?,
        live: json.get("live")?.as_bool()?,
        stamp,
        columns: columns.collect::<Option<_>>()?,
        txid: json.get("txid")?.as_u64()?,
    })
}

fn newer(operation: &'static str, session: &Session, found: i32) -> Error {
    let dual = session.schema();
    let message = format!("the schema {dual} has format {found}, this program knows {FORMAT}");
    Error::new(Kind::Schema(Store::Postgres), operation, message)
        .with_hint("use the newer version of this program that made it")
}

/// Says which GRANT helps, if one does.
pub(in crate::store::postgres) fn allowed(error: Error, session: &Session) -> Error {
    if error.kind() != Kind::AccessDenied {
        return error;
    }
    let (database, user) = (session.database(), session.user());
    let (database, user) = (crate::schema::quoted(database), crate::schema::quoted(user));
    error.with_hint(format!("the owner can run: GRANT CREATE ON DATABASE {database} TO {user};"))
}

/// The same of a right on the table.
pub(in crate::store::postgres) fn permitted(
    error: Error,
    session: &Session,
    layout: &Layout,
) -> Error {
    if error.kind() != Kind::AccessDenied {
        return error;
    }
    let (target, user) = (&layout.target, crate::schema::quoted(session.user()));
    error.with_hint(format!(
        "the owner can run: GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER ON TABLE {target} TO {user};"
    ))
}
