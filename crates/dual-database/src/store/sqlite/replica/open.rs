//! Opening the file: bringing it to the declared form, capture, WAL.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tracing::debug;

use super::super::capture::{
    Drift, Layout, drift, has_sidecar, install, lacks, let_go, to_be, tracked_columns, upgrade,
};
use super::super::failure::cause_of;
use super::super::{
    Adoption, File, FoundColumn, FoundRelation, define_functions, failed, make, remove_if_empty,
    rewrite_timestamps,
};
use super::declared::is_later;
use super::place::{COMPANIONS, Identity, SMALLEST, SharedFile};
use super::{Content, LocalTable, node, number, watch};
use crate::protocol::{Break, Follow};
use crate::schema::{Dialect, Making, Table, quoted};
use crate::{Error, Kind, Result, Store};

const OPERATION: &str = "open the SQLite file";

/// The file, opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub connection: Connection,
    pub identity: Identity,
    /// Those of its companions: what lies under their names is not always the file's own.
    pub companions: [Option<Identity>; COMPANIONS.len()],
}

/// Opens it, or makes it. `installation` is the one that it has to belong to, if it belongs to
/// one. An attempt that fails leaves everything as it was, but for triggers that fail everybody
/// ([`let_go`]).
///
/// # Errors
/// See [`super::Replica::open`].
pub(super) fn connect(place: &SharedFile, installation: Option<u128>) -> Result<Opened> {
    let file = File::look(place.path())?;
    refuse_network(place)?;
    let length = std::fs::metadata(place.path()).map_or(0, |found| found.len());
    if length > 0 && length < SMALLEST {
        let cause = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
        let cause = failed(OPERATION, rusqlite::Error::SqliteFailure(cause, None));
        return Err(cause.about(place.path().display()));
    }
    let before = Identity::of(place.path());
    let opened = attempt(place, &file, installation);
    if opened.is_err() {
        remove_if_empty(&file);
    }
    let connection = opened?;
    let identity = Identity::of(place.path())
        .filter(|now| before.is_none_or(|before| before == *now))
        .ok_or_else(|| super::place::moved(OPERATION))?;
    let companions = COMPANIONS.map(|companion| Identity::of(&place.beside(companion)));
    Ok(Opened { connection, identity, companions })
}

/// A connection that only reads.
///
/// # Errors
/// Those of [`failed`].
pub(super) fn reader(place: &SharedFile) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(place.path(), flags)
        .map_err(|cause| failed(OPERATION, cause).about(place.path().display()))?;
    prepare(place, &connection)?;
    connection.execute_batch("PRAGMA query_only = ON").map_err(|cause| failed(OPERATION, cause))?;
    Ok(connection)
}

/// Whether SQLite says that the file is damaged, or no database at all.
pub(crate) fn is_damage(error: &Error) -> bool {
    cause_of(error).is_some_and(|cause| {
        matches!(
            cause.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        )
    })
}

fn prepare(place: &SharedFile, connection: &Connection) -> Result<()> {
    let set_up = || {
        connection.busy_timeout(place.busy())?;
        connection.set_prepared_statement_cache_capacity(256);
        // Else a statement is planned again for each value that is bound: two thirds of a catch-up.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // As in the user's own clients, whose default it is: PostgreSQL's cascades arrive as rows,
        // and rows arrive in the order of their keys, not in that of their references.
        connection.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA journal_size_limit = 67108864")
    };
    set_up().map_err(|cause| failed(OPERATION, cause))?;
    define_functions(connection, place.extensions())
}

fn attempt(place: &SharedFile, file: &File, installation: Option<u128>) -> Result<Connection> {
    let shown = file.path.display();
    let wrap = |cause| failed(OPERATION, cause).about(&shown);
    if !file.existed {
        put_away_companions(place)?;
        make(&place.real(), place.rights())?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(&file.path, flags).map_err(wrap)?;
    prepare(place, &connection).map_err(|error| error.about(&shown))?;
    watch::install(&mut connection).map_err(wrap)?;
    let count = "SELECT count(*) FROM sqlite_schema";
    connection.query_row(count, [], |row| row.get::<_, i64>(0)).map_err(wrap)?;
    if connection.is_readonly("main").map_err(wrap)? {
        return Err(Error::new(
            Kind::AccessDenied,
            OPERATION,
            format!("{shown} is read-only for this user"),
        )
        .with_hint("make the file and its folder writable, or choose another --sqlite-db-path"));
    }
    connection.execute_batch("BEGIN IMMEDIATE").map_err(wrap)?;
    if let Err(error) = set_up(place, &connection, installation) {
        if error.kind() == Kind::Schema(Store::Sqlite) {
            // What is in the way is what counts.
            if let Err(besides) = give_way(&connection, place) {
                debug!(error = %besides.chain(), "nothing was taken out of the writers' way");
            }
        }
        return Err(error.about(&shown));
    }
    connection.execute_batch("COMMIT").map_err(wrap)?;
    write_ahead(place, &connection).map_err(wrap)?;
    Ok(connection)
}

/// What was begun is taken back, and what would hinder every writer taken away.
fn give_way(connection: &Connection, place: &SharedFile) -> Result<()> {
    let wrap = |cause| failed(OPERATION, cause);
    connection.execute_batch("ROLLBACK; BEGIN IMMEDIATE").map_err(wrap)?;
    hinder_nobody(connection, place.tables())?;
    connection.execute_batch("COMMIT").map_err(wrap)
}

/// A write-ahead log or a journal without its file would be played into the new one.
fn put_away_companions(place: &SharedFile) -> Result<()> {
    for companion in COMPANIONS {
        let stale = place.beside(companion);
        if stale.exists() {
            let aside = place.beside(&format!(".lost-{}{companion}", uuid::Uuid::now_v7()));
            tracing::warn!(name = %aside.display(), "a {companion} file without its database was put away");
            std::fs::rename(&stale, &aside).map_err(|cause| place.io(OPERATION, cause))?;
        }
    }
    Ok(())
}

/// Everything that the file needs, in the transaction that is open.
fn set_up(place: &SharedFile, connection: &Connection, installation: Option<u128>) -> Result<()> {
    let wrap = |cause| failed(OPERATION, cause);
    let content = Content::new(connection, place.tables(), place.generation());
    let there = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'dual_node')";
    let is_node: bool = connection.query_row(there, [], |row| row.get(0)).map_err(wrap)?;
    if is_node {
        let other = content.node()?.installation;
        if installation.is_some() && other.is_some() && other != installation {
            return Err(Error::new(
                Kind::Schema(Store::Sqlite),
                OPERATION,
                "the file belongs to another installation",
            )
            .with_hint("put the own file back, or choose another --sqlite-db-path"));
        }
    }
    upgrade(connection)?;
    let mut stands = Vec::with_capacity(place.tables().len());
    for local in place.tables() {
        stands.push(track(connection, local)?);
    }
    // A file of ours was here before, which followed PostgreSQL perhaps.
    let begins = if place.was_ours() { Follow::rebuilt() } else { Follow::new() };
    node::install(connection, &begins)?;
    // A file that follows gets another table.
    for (table, _) in stands.iter().enumerate().filter(|(_, is)| is_node && **is == Capture::New) {
        content.compare_alone(table, Break::FirstContact)?;
    }
    // PostgreSQL was changed first, and may have changed values.
    let revised = stands.iter().enumerate().filter(|(_, is)| **is == Capture::Revised);
    for (table, _) in revised.filter(|_| is_node) {
        content.compare_alone(table, Break::CaptureGap)?;
    }
    let mended = stands.iter().enumerate().filter(|(_, is)| **is == Capture::Mended);
    let mended: Vec<usize> = mended.map(|(table, _)| table).collect();
    if is_node && !mended.is_empty() {
        tracing::warn!("capture was incomplete in the SQLite file: both sides will be compared");
        content.has_gaps(&mended)?;
    }
    if place.makes() {
        content.leave_alone(place.aside())?;
    }
    let held = Some(place.number()).filter(|number| number.number() > 0);
    place.set_number(number::claim(connection, place.process(), held)?);
    Ok(())
}

/// How a table was captured in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capture {
    /// As it had been installed.
    Whole,
    /// Something was missing.
    Mended,
    /// By an earlier revision.
    Revised,
    /// Not at all, ever.
    New,
}

/// Brings the table to its declared form and captures it; says how it was captured before.
///
/// # Errors
/// About the schema if it cannot be brought there by additions, or if somebody has taken the table or
/// columns of it away and nobody has asked for them.
pub(super) fn track(connection: &Connection, local: &LocalTable) -> Result<Capture> {
    let wrap = |cause| failed(OPERATION, cause);
    let (table, layout) = (&local.table, &local.layout);
    let is_later = is_later(connection, table)?;
    let to_be = to_be(connection, table)?;
    let drift = drift(connection, layout)?;
    if !local.making.is_asked() {
        refuse_taken_away(connection, &to_be, layout)?;
        refuse_unasked(connection, table, layout)?;
    }
    let found = FoundRelation::read(connection, "main", table)?;
    let plan = match local.making {
        Making::Retyped => Adoption::retyping("main", &to_be, &found)?,
        _ => Adoption::plan("main", &to_be, &found)?,
    };
    let is_there = drift == Drift::None && plan.steps.is_empty() && !is_later;
    if is_there && !lacks(connection, layout)? {
        return Ok(Capture::Whole);
    }
    let is_new = drift == Drift::Absent && !has_sidecar(connection, layout)?;
    if plan.changes_columns() {
        // A column that a trigger names cannot be dropped.
        let sql = layout.drop_triggers().join(";\n");
        connection.execute_batch(&sql).map_err(wrap)?;
    }
    without_triggers(connection, || {
        for step in &plan.steps {
            step.run(connection, table)?;
            tracing::info!(table = table.name(), step = step.what, "SQLite table adopted");
        }
        match drift {
            Drift::Absent => rewrite_timestamps(connection, "main", table).map(|_| ()),
            _ => Ok(()),
        }
    })?;
    index_surrogate(connection, local)?;
    connection.execute_batch(&layout.keyless_index()).map_err(wrap)?;
    let rows = install(connection, layout, number::fresh())?;
    tracing::info!(table = table.name(), rows, ?drift, "capture installed in the SQLite file");
    Ok(match (is_new, is_later && drift != Drift::Absent) {
        (true, _) => Capture::New,
        (false, true) => Capture::Revised,
        (false, false) => Capture::Mended,
    })
}

/// Bringing a table to its form is nothing that the user's triggers are there for; they may never
/// come to an end. Whatever comes of it, the connection has its triggers again.
fn without_triggers(connection: &Connection, work: impl FnOnce() -> Result<()>) -> Result<()> {
    let enable = |on| {
        let switched = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, on);
        switched.map(|_| ()).map_err(|cause| failed(OPERATION, cause))
    };
    enable(false)?;
    let done = work();
    enable(true).and(done)
}

/// Where capture cannot be had as things are, its triggers fail nobody else.
///
/// # Errors
/// Those of [`failed`].
pub(super) fn hinder_nobody(connection: &Connection, tables: &[LocalTable]) -> Result<()> {
    for LocalTable { table, layout, .. } in tables {
        if let_go(connection, layout)? {
            tracing::warn!(
                table = table.name(),
                "the triggers in the SQLite file failed everybody who wrote, and were taken away"
            );
        }
    }
    Ok(())
}

/// A table or column that was tracked and is there no more is not made again: nobody can know why it
/// was taken away.
///
/// # Errors
/// About the schema if one was taken away; those of [`failed`].
pub(crate) fn refuse_taken_away(
    connection: &Connection,
    table: &Table,
    layout: &Layout,
) -> Result<()> {
    if drift(connection, layout)? == Drift::Absent {
        return Ok(());
    }
    let (name, found) = (table.name(), FoundRelation::read(connection, "main", table)?);
    let refuse = |what: String, advice: &str| {
        Err(Error::new(Kind::Schema(Store::Sqlite), "look at the SQLite file", what)
            .with_hint(advice))
    };
    let FoundRelation::Table { columns, .. } = found else {
        return match found {
            FoundRelation::Nothing => refuse(
                format!("the table {name} was dropped or renamed"),
                "put it back under its name, or let `dual init --apply` make it anew and fill it from PostgreSQL",
            ),
            _ => Ok(()),
        };
    };
    let gone: Vec<&str> = tracked_columns(connection, table, layout)?
        .into_iter()
        .filter(|column| FoundColumn::of(column, &columns).is_none())
        .map(|column| &**column.name_in(Dialect::Sqlite))
        .collect();
    if gone.is_empty() {
        return Ok(());
    }
    refuse(
        format!("the table {name} has no column {} any more", gone.join(", ")),
        "put the table back as it was, or let `dual init --apply` add what is missing and fill it from PostgreSQL",
    )
}

/// A table that the file has numbered by itself, and gets from PostgreSQL now, is not taken for PostgreSQL's:
/// rows of one number may be others.
///
/// # Errors
/// About the schema if it has rows; those of [`failed`].
pub(crate) fn refuse_unasked(
    connection: &Connection,
    table: &Table,
    layout: &Layout,
) -> Result<()> {
    let wrap = |cause| failed(OPERATION, cause);
    let is_new = (table.has_automatic_key() || table.asks_for_surrogates())
        && drift(connection, layout)? == Drift::Absent
        && !has_sidecar(connection, layout)?;
    let is = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, bool>(0)).map_err(wrap);
    if !is_new || !is("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'dual_node')")? {
        return Ok(());
    }
    let found = FoundRelation::read(connection, "main", table)?;
    let name = quoted(table.name());
    if !matches!(found, FoundRelation::Table { .. })
        || !is("SELECT EXISTS (SELECT 1 FROM dual_node WHERE installation IS NOT NULL)")?
        || !is(&format!("SELECT EXISTS (SELECT 1 FROM {name})"))?
    {
        return Ok(());
    }
    let message =
        format!("the table {} of the file has rows that it has numbered by itself", table.name());
    Err(Error::new(Kind::Schema(Store::Sqlite), "look at the SQLite file", message).with_hint(
        "`dual init` shows whether they are those of PostgreSQL, `dual init --apply` joins them",
    ))
}

/// A surrogate that was added later has no index; who has a number is asked for every new row.
fn index_surrogate(connection: &Connection, local: &LocalTable) -> Result<()> {
    let wrap = |cause| failed(OPERATION, cause);
    let Some(id) = local.table.surrogate().map(|id| id.name_in(Dialect::Sqlite)) else {
        return Ok(());
    };
    let name = local.table.name();
    let is_primary: bool = connection
        .query_row(
            "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE pk = 1 \
             AND name = ?2 COLLATE NOCASE AND type = 'INTEGER' COLLATE NOCASE)",
            [name, id],
            |row| row.get(0),
        )
        .map_err(wrap)?;
    if is_primary {
        return Ok(());
    }
    let index = local.layout.surrogate_index();
    let sql = format!("CREATE INDEX IF NOT EXISTS {index} ON {} ({})", quoted(name), quoted(id));
    connection.execute_batch(&sql).map_err(wrap)
}

/// Turns on write-ahead logging. Somebody who is reading just now hinders that; then the file
/// works as it is, and the next start does it.
fn write_ahead(place: &SharedFile, connection: &Connection) -> rusqlite::Result<()> {
    let begun = std::time::Instant::now();
    loop {
        let mode = connection
            .query_row("PRAGMA journal_mode = WAL", [], |row| row.get::<_, String>(0))
            .unwrap_or_default();
        if mode.eq_ignore_ascii_case("wal") {
            break;
        }
        if begun.elapsed() >= place.busy() {
            tracing::warn!(mode, "write-ahead logging could not be turned on");
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // Makes the companions.
    connection
        .query_row("SELECT count(*) FROM dual_node", [], |row| row.get::<_, i64>(0))
        .map(|_| ())
}

/// Locks of a network file system are not to be trusted, and the shared memory of WAL does not
/// work across machines.
#[cfg(target_os = "linux")]
fn refuse_network(place: &SharedFile) -> Result<()> {
    // Many a local file system is a FUSE: that is no reason to refuse.
    const NETWORK: [(i64, &str); 8] = [
        (0x6969, "NFS"),
        (0x517B, "SMB"),
        (0xFF53_4D42, "CIFS"),
        (0xFE53_4D42, "SMB2"),
        (0x0102_1997, "9p"),
        (0x5346_414F, "AFS"),
        (0x00C3_6400, "Ceph"),
        (0x7375_7245, "Coda"),
    ];
    let found = rustix::fs::statfs(place.folder())
        .map_err(|cause| place.io(OPERATION, std::io::Error::from(cause)))?;
    let kind: i64 = found.f_type;
    match NETWORK.iter().find(|(magic, _)| *magic == kind) {
        None => Ok(()),
        Some((_, name)) => Err(Error::new(
            Kind::Configuration,
            OPERATION,
            format!("{} is on a network file system ({name})", place.path().display()),
        )
        .with_hint("SQLite loses data there; choose a --sqlite-db-path on a local disk")),
    }
}

/// Other systems name them in other ways.
#[cfg(not(target_os = "linux"))]
fn refuse_network(_: &SharedFile) -> Result<()> {
    Ok(())
}
