//! Putting capture beside a table, looking whether it is still there, taking it away.
//! Everything in the caller's transaction.

use aws_lc_rs::digest::{SHA256, digest};
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::ddl::{COMMON, FORMAT, OF_THE_FILE, made_beside};
use super::layout::{Layout, Unique};
use crate::protocol::Drift;
use crate::protocol::reconcile::Loose;
use crate::schema::{Column, Key, Role, Table, built_in};
use crate::stamp::Writer;
use crate::store::sqlite::{failed, readable};
use crate::{Error, Kind, Result, Store};

/// Puts capture beside the table, or brings it up to date, and notes what came past triggers that
/// were missing ([`mend`]). `writer` becomes the number of a file that has none. Returns how many rows were
/// taken in.
///
/// # Errors
/// About the schema if a newer version made it, or if a unique index is over an expression;
/// else those of [`failed`].
pub fn install(connection: &Connection, layout: &Layout, writer: Writer) -> Result<u64> {
    let operation = "install capture on SQLite";
    let wrap = |cause| failed(operation, cause);
    check_format(connection, operation)?;
    let unique = unique_indexes(connection, layout)?;
    let run = |statement: &String| connection.execute_batch(statement).map_err(wrap);
    COMMON.map(String::from).iter().try_for_each(run)?;
    connection
        .execute(
            "INSERT INTO dual_state (one, format, writer, seq, moment, horizon) \
             SELECT 1, ?1, ?2, 0, 0, 0 WHERE NOT EXISTS (SELECT 1 FROM dual_state)",
            (FORMAT, writer.number()),
        )
        .map_err(wrap)?;
    layout.sidecar_ddl().iter().try_for_each(run)?;
    let known = columns(connection, &layout.sidecar).map_err(wrap)?;
    let has = |column: &str| known.iter().any(|name| crate::schema::quoted(name) == column);
    layout.additions(has).iter().try_for_each(run)?;
    layout.drop_triggers().iter().chain(&layout.triggers(&unique)).try_for_each(run)?;
    connection.execute_batch("UPDATE dual_state SET seq = seq + 1").map_err(wrap)?;
    let adopted = mend(connection, layout, None)?.loaded;
    let (triggers, columns) = fingerprint(connection, layout)?;
    connection
        .execute(
            "INSERT INTO dual_tracked (name, triggers, columns, declaration) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (name) DO UPDATE SET triggers = excluded.triggers, \
             columns = excluded.columns, declaration = excluded.declaration",
            (&layout.name, triggers, columns, &layout.declaration),
        )
        .map_err(wrap)?;
    Ok(adopted)
}

/// Notes in the sidecar what came past the triggers, of all rows or of the one with that key. A row
/// that was put there is pending like any other; one that was taken away is not taken for deleted:
/// nothing is known of it any more ([`crate::merge::Version::absent`]). What was pending in it, or
/// refused of it, is gone with it.
///
/// # Errors
/// Those of [`failed`].
pub fn mend(connection: &Connection, layout: &Layout, key: Option<&Key>) -> Result<Loose> {
    let wrap = |cause| failed("note what came past the triggers", cause);
    let statements = layout.mend(key.is_some());
    let run = |sql: &str| {
        let mut statement = connection.prepare(sql)?;
        match key {
            Some(key) if statement.parameter_count() > 0 => statement.execute([key]),
            _ => statement.execute([]),
        }
    };
    let removed = run(&statements.removed).map_err(wrap)?;
    run(&statements.moment).map_err(wrap)?;
    let born = run(&statements.born).map_err(wrap)?;
    let unknown = run(&statements.unknown).map_err(wrap)?;
    Ok(Loose { loaded: (born + unknown) as u64, removed: removed as u64 })
}

/// Counts the rows with keys above `after` and up to `upto` that came past the triggers.
///
/// # Errors
/// Those of [`failed`].
pub fn loose(
    connection: &Connection,
    layout: &Layout,
    after: Option<&Key>,
    upto: Option<&Key>,
) -> Result<Loose> {
    connection
        .prepare_cached(&layout.loose([after, upto].map(|bound| bound.is_some())))
        .and_then(|mut look| {
            look.query_row(params_from_iter(after.into_iter().chain(upto)), |row| {
                let count = |at| row.get::<_, i64>(at).map(i64::unsigned_abs);
                Ok(Loose { loaded: count(0)? + count(2)?, removed: count(1)? })
            })
        })
        .map_err(|cause| failed("look for rows that came past the triggers", cause))
}

/// Compares what is there with what was installed.
///
/// # Errors
/// About the schema if a newer version made it; else those of [`failed`].
pub fn drift(connection: &Connection, layout: &Layout) -> Result<Drift> {
    let operation = "compare capture on SQLite";
    if !check_format(connection, operation)? {
        return Ok(Drift::Absent);
    }
    let installed: Option<(String, String)> = connection
        .query_row(
            "SELECT triggers, columns FROM dual_tracked WHERE name = ?1",
            [&layout.name],
            |row| Ok((readable(row, 0)?, readable(row, 1)?)),
        )
        .optional()
        .map_err(|cause| failed(operation, cause))?;
    // Without triggers it is only known that it is to be installed.
    let Some(installed) = installed.filter(|(triggers, _)| !triggers.is_empty()) else {
        return Ok(Drift::Absent);
    };
    let now = fingerprint(connection, layout)?;
    Ok(if now.0 != installed.0 {
        Drift::Triggers
    } else if now.1 != installed.1 {
        Drift::Columns
    } else {
        Drift::None
    })
}

/// Whether the table has a sidecar: it was captured before.
///
/// # Errors
/// Those of [`failed`].
pub(crate) fn has_sidecar(connection: &Connection, layout: &Layout) -> Result<bool> {
    let known = columns(connection, &layout.sidecar);
    known.map(|known| !known.is_empty()).map_err(|cause| failed("compare capture on SQLite", cause))
}

/// Whether the sidecar lacks columns that the declaration has.
///
/// # Errors
/// Those of [`failed`].
pub fn lacks(connection: &Connection, layout: &Layout) -> Result<bool> {
    let known = columns(connection, &layout.sidecar)
        .map_err(|cause| failed("compare capture on SQLite", cause))?;
    let has = |column: &str| known.iter().any(|name| crate::schema::quoted(name) == column);
    Ok(!layout.additions(has).is_empty())
}

/// The declared columns that the table had when it was tracked: those whose stamps the sidecar keeps,
/// key and surrogate.
///
/// # Errors
/// Those of [`failed`].
pub(crate) fn tracked_columns<'t>(
    connection: &Connection,
    table: &'t Table,
    layout: &Layout,
) -> Result<Vec<&'t Column>> {
    let known = columns(connection, &layout.sidecar)
        .map_err(|cause| failed("compare capture on SQLite", cause))?;
    let is_known = |column: &&Column| match column.role {
        Role::Data => known.iter().any(|name| *name == format!("s_{}", column.label)),
        Role::Key | Role::Surrogate => true,
    };
    Ok(table.columns().iter().filter(is_known).collect())
}

/// Takes everything of the tables that were ever installed, and of the file, away; that of the users of the
/// documented system in any case, of which nothing else may be left to tell.
/// What stays is the user's, whatever it is called.
///
/// # Errors
/// Those of [`failed`].
pub fn uninstall(connection: &Connection) -> Result<()> {
    let wrap = |cause| failed("uninstall capture from SQLite", cause);
    let mut made = made_beside(built_in().label());
    made.extend(installed(connection).map_err(wrap)?.iter().flat_map(|label| made_beside(label)));
    made.extend(OF_THE_FILE.map(|name| ("table", name.to_owned())));
    for (kind, name) in made {
        for (is, name) in called(connection, &name).map_err(wrap)? {
            // A view or an index in the place of a table of ours would keep it from being made again.
            if is == kind || kind == "table" && is != "trigger" {
                let drop = format!("DROP {is} {}", crate::schema::quoted(&name));
                connection.execute_batch(&drop).map_err(wrap)?;
            }
        }
    }
    Ok(())
}

/// What has that name: its kind, and its name as it is written.
fn called(connection: &Connection, name: &str) -> rusqlite::Result<Vec<(String, String)>> {
    connection
        .prepare_cached("SELECT type, name FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE")?
        .query_map([name], |row| Ok((readable(row, 0)?, readable(row, 1)?)))?
        .collect()
}

/// The labels of the tables that capture was installed for, by the list and by what stands there: the
/// list is a table like any other, and may be gone, or say anything.
fn installed(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let listed = |column| -> rusqlite::Result<bool> {
        let sql = "SELECT 1 FROM pragma_table_info('dual_tracked') WHERE name = ?1";
        connection.prepare(sql)?.exists([column])
    };
    let mut list = String::new();
    if listed("name")? {
        list += " UNION SELECT CAST(name AS TEXT) FROM dual_tracked WHERE name IS NOT NULL";
    }
    if listed("declaration")? {
        list += " UNION SELECT CAST(json_extract(declaration, '$.label') AS TEXT) FROM dual_tracked \
                 WHERE json_valid(declaration) AND json_type(declaration, '$.label') = 'text'";
    }
    let sql = format!(
        "SELECT substr(name, 11) FROM sqlite_master \
         WHERE type IN ('table', 'view') AND substr(name, 1, 10) = 'dual_side_'{list}"
    );
    let mut look = connection.prepare(&sql)?;
    let names = look.query_map([], |row| Ok(row.get_ref(0)?.as_str().map(str::to_owned).ok()))?;
    names.filter_map(rusqlite::Result::transpose).collect()
}

/// Whether there is an installation, of a format that is known.
pub(super) fn check_format(connection: &Connection, operation: &'static str) -> Result<bool> {
    let wrap = |cause| failed(operation, cause);
    let there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'dual_state'";
    if !connection.prepare(there).and_then(|mut look| look.exists([])).map_err(wrap)? {
        return Ok(false);
    }
    let found: Option<i64> = connection
        .query_row("SELECT format FROM dual_state", [], |row| row.get(0))
        .optional()
        .map_err(wrap)?;
    match found {
        Some(found) if found > FORMAT => Err(Error::new(
            Kind::Schema(Store::Sqlite),
            operation,
            format!("the file has format {found}, this program knows {FORMAT}"),
        )
        .with_hint("use the newer version of this program that made it")),
        _ => Ok(true),
    }
}

fn columns(connection: &Connection, quoted: &str) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA table_info({quoted})"))?;
    statement.query_map([], |row| readable(row, 1))?.collect()
}

/// The unique indexes besides the key's, an integer primary key among them. One that contains
/// the key, byte by byte, has no victims but the row itself.
fn unique_indexes(connection: &Connection, layout: &Layout) -> Result<Vec<Unique>> {
    let operation = "read the SQLite schema";
    let wrap = |cause| failed(operation, cause);
    let mut found = Vec::new();
    let primary: Vec<(String, String)> = connection
        .prepare("SELECT name, type FROM pragma_table_info(?1) WHERE pk > 0")
        .and_then(|mut look| {
            look.query_map([&layout.name], |row| Ok((readable(row, 0)?, readable(row, 1)?)))?
                .collect()
        })
        .map_err(wrap)?;
    if let [(name, kind)] = &primary[..]
        && kind.eq_ignore_ascii_case("integer")
    {
        found.push(Unique { columns: vec![(name.clone(), "BINARY".into())] });
    }
    let names: Vec<String> = connection
        .prepare("SELECT name FROM pragma_index_list(?1) WHERE \"unique\" ORDER BY name")
        .and_then(|mut look| look.query_map([&layout.name], |row| readable(row, 0))?.collect())
        .map_err(wrap)?;
    for name in names {
        let columns: Vec<(Option<String>, String)> = connection
            .prepare("SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno")
            .and_then(|mut look| {
                look.query_map([&name], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
            })
            .map_err(wrap)?;
        let named = columns.into_iter().map(|(column, collation)| Some((column?, collation)));
        let Some(columns) = named.collect::<Option<Vec<_>>>() else {
            let message =
                format!("table {}: the unique index {name} is over an expression", layout.name);
            return Err(Error::new(Kind::Schema(Store::Sqlite), operation, message)
                .with_hint("REPLACE deletes rows by it unseen; drop it or index a column"));
        };
        found.push(Unique { columns });
    }
    found.retain(|unique| !layout.key.is_within(&unique.columns));
    found.dedup();
    Ok(found)
}

/// Digests of what the triggers are, with the unique indexes that they know, and of the columns.
fn fingerprint(connection: &Connection, layout: &Layout) -> Result<(String, String)> {
    let operation = "compare capture on SQLite";
    let wrap = |cause| failed(operation, cause);
    let names = layout.trigger_names();
    let mut triggers = String::new();
    for name in &names {
        let sql: Option<String> = connection
            .query_row(
                "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = ?1 \
                 AND tbl_name = ?2 COLLATE NOCASE",
                [name.as_str(), &layout.name],
                |row| readable(row, 0),
            )
            .optional()
            .map_err(wrap)?;
        triggers.push_str(&sql.unwrap_or_default());
        triggers.push('\n');
    }
    // An index that cannot be followed is no reason not to say that something has changed.
    triggers.push_str(
        &unique_indexes(connection, layout)
            .map_or_else(|error| error.to_string(), |unique| format!("{unique:?}")),
    );
    let mut text = String::new();
    for table in [&layout.target, &layout.sidecar] {
        let mut look = connection.prepare(&format!("PRAGMA table_info({table})")).map_err(wrap)?;
        let mut rows = look.query([]).map_err(wrap)?;
        while let Some(row) = rows.next().map_err(wrap)? {
            let (name, kind): (String, String) =
                (readable(row, 1).map_err(wrap)?, readable(row, 2).map_err(wrap)?);
            text.push_str(&format!("{name} {kind}\n"));
        }
    }
    Ok((sha(&triggers), sha(&text)))
}

fn sha(text: &str) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
