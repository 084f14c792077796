//! Which tables the file keeps together, and how they are declared.

use rusqlite::Connection;

use super::ddl::FORMAT;
use super::install::check_format;
use crate::schema::{self, Kept, Table, built_in};
use crate::store::sqlite::{failed, readable};
use crate::{Error, Kind, Result, Store};

const OPERATION: &str = "read which tables the SQLite file keeps";

/// The tables that the file keeps, as they are declared, in their order; none if it keeps none.
///
/// # Errors
/// About the schema if a newer version made it, or a declaration cannot be read; else those of [`failed`].
pub(crate) fn declared(connection: &Connection) -> Result<Vec<Table>> {
    if !check_format(connection, OPERATION)? {
        return Ok(Vec::new());
    }
    let sql = match has(connection, "declaration")? {
        true => "SELECT name, declaration FROM dual_tracked",
        false => "SELECT name, NULL FROM dual_tracked",
    };
    let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Kept> {
        let is_declared = row.get_ref(1)? != rusqlite::types::ValueRef::Null;
        Ok((readable(row, 0)?, is_declared.then(|| readable(row, 1)).transpose()?))
    };
    let kept = connection.prepare(sql).and_then(|mut look| look.query_map([], read)?.collect());
    let kept = kept.map_err(|cause| failed(OPERATION, cause))?;
    schema::declared(kept).map_err(|error| {
        let message = format!("dual_tracked: {}", error.message());
        Error::new(Kind::Schema(Store::Sqlite), OPERATION, message)
            .with_hint(
                "a newer version of this program may have made it: use that one; if somebody has changed \
                 it, `dual uninstall --file-only --abandon-pending` takes our tables away, and \
                 `dual init --apply` makes them anew and compares",
            )
            .with_source(error)
    })
}

/// Whether there is an installation that notes how each table follows.
///
/// # Errors
/// About the schema if a newer version made it; else those of [`failed`].
pub(crate) fn has_notes(connection: &Connection) -> Result<bool> {
    Ok(check_format(connection, OPERATION)? && has(connection, "paused")?)
}

/// Whether the file is of this version's form, or of none.
///
/// # Errors
/// About the schema if a newer version made it; else those of [`failed`].
pub(crate) fn is_current(connection: &Connection) -> Result<bool> {
    if !check_format(connection, OPERATION)? {
        return Ok(true);
    }
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM dual_state WHERE format < ?1)";
    let look = connection.query_row(sql, [FORMAT], |row| row.get(0));
    look.map_err(|cause| failed(OPERATION, cause))
}

/// Brings what an earlier version of this program made to the form of this one, in the caller's
/// transaction. An earlier one refuses the file from then on.
///
/// # Errors
/// About the schema if a newer version made it; else those of [`failed`].
pub(crate) fn upgrade(connection: &Connection) -> Result<()> {
    if !check_format(connection, OPERATION)? {
        return Ok(());
    }
    let wrap = |cause| failed("bring the SQLite file to the form of this version", cause);
    for (name, kind) in
        [("declaration", "TEXT"), ("relation", "INTEGER"), ("compare", "TEXT"), ("paused", "TEXT")]
    {
        if !has(connection, name)? {
            let add = format!("ALTER TABLE dual_tracked ADD COLUMN {name} {kind}");
            connection.execute_batch(&add).map_err(wrap)?;
        }
    }
    let declare =
        "UPDATE dual_tracked SET declaration = ?1 WHERE name = ?2 AND declaration IS NULL";
    connection.execute(declare, (built_in().declaration(), built_in().name())).map_err(wrap)?;
    let format = "UPDATE dual_state SET format = ?1 WHERE format < ?1";
    connection.execute(format, [FORMAT]).map(|_| ()).map_err(wrap)
}

/// The table as the file is to be compared with it: without the names that columns had, if it is captured by that
/// revision already. What was renamed once is not renamed again: somebody may have given another column the old
/// name since.
///
/// # Errors
/// As for [`declared`].
pub(crate) fn to_be(connection: &Connection, table: &Table) -> Result<Table> {
    let kept = declared(connection)?;
    let is_its = |kept: &Table| kept.name() == table.name() && kept.revision() == table.revision();
    Ok(match kept.iter().any(is_its) && !is_only_noted(connection, table)? {
        true => table.without_former_names(),
        false => table.clone(),
    })
}

/// Whether the declaration that the file has of the table is none by which it is captured ([`learn`]).
///
/// # Errors
/// Those of [`failed`].
pub(crate) fn is_only_noted(connection: &Connection, table: &Table) -> Result<bool> {
    let sql = "SELECT 1 FROM dual_tracked WHERE name = ?1 AND columns = ''";
    let look = connection.prepare(sql).and_then(|mut look| look.exists([table.name()]));
    look.map_err(|cause| failed(OPERATION, cause))
}

/// Notes that the table is to be kept; [`super::drift`] calls it absent until somebody has installed capture. By
/// which columns an earlier revision was captured counts no more.
///
/// # Errors
/// Those of [`failed`].
pub(crate) fn learn(connection: &Connection, table: &Table) -> Result<()> {
    let operation = "note which tables PostgreSQL keeps";
    let wrap = |cause| failed(operation, cause);
    let kept = declared(connection)?;
    let is_twin = |own: &Table| own.label() == table.label() && own.name() != table.name();
    if let Some(twin) = kept.iter().find(|own| is_twin(own)) {
        let (one, other) = (twin.name(), table.name());
        let message =
            format!("the file keeps {one} under the number that {other} has in PostgreSQL");
        return Err(Error::new(Kind::Schema(Store::Sqlite), operation, message).with_hint(
            "they were joined apart: `dual uninstall --file-only`, then `dual init --apply`, which compares",
        ));
    }
    // Also where two have declared it at once: what the one has left out is to be captured.
    let is_other = |own: &Table| {
        own.name() == table.name() && (own.revision() < table.revision() || !table.covers(own))
    };
    let is_revised = kept.iter().any(is_other);
    let sql = "INSERT INTO dual_tracked AS k (name, triggers, columns, declaration) VALUES (?1, '', '', ?2) \
               ON CONFLICT (name) DO UPDATE SET declaration = excluded.declaration, \
               columns = CASE WHEN ?3 THEN '' ELSE k.columns END";
    let parameters = (table.name(), table.declaration(), is_revised);
    connection.execute(sql, parameters).map(|_| ()).map_err(wrap)
}

fn has(connection: &Connection, column: &str) -> Result<bool> {
    let sql = "SELECT 1 FROM pragma_table_info('dual_tracked') WHERE name = ?1";
    let look = connection.prepare(sql).and_then(|mut look| look.exists([column]));
    look.map_err(|cause| failed(OPERATION, cause))
}
