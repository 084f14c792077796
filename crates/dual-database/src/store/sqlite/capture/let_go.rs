//! Triggers of ours that would fail every writer.

use rusqlite::{Connection, OptionalExtension};

use super::layout::Layout;
use crate::Result;
use crate::schema::quoted;
use crate::store::sqlite::failed;

/// Takes the triggers away if what they name is gone, so that no write to their table can be prepared any
/// more: a trigger of SQLite cannot pass over an error. Says whether it had to. SQLite itself does not let
/// it come to that, but for whoever has `legacy_alter_table` (with some, the default) or writes the schema.
/// That capture is gone is noticed like any other time ([`super::drift`]).
///
/// # Errors
/// Those of [`failed`].
pub(crate) fn let_go(connection: &Connection, layout: &Layout) -> Result<bool> {
    let wrap = |cause| failed("look whether capture hinders anybody", cause);
    let Some(writes) = writes(connection, layout).map_err(wrap)? else { return Ok(false) };
    let is_hindered = || writes.iter().any(|sql| connection.prepare(sql).is_err());
    if !is_hindered() {
        return Ok(false);
    }
    connection.execute_batch("SAVEPOINT dual_let_go").map_err(wrap)?;
    connection.execute_batch(&layout.drop_triggers().join(";")).map_err(wrap)?;
    // What hinders besides is the user's own, and ours may be well.
    let (is_ours, end) = match is_hindered() {
        true => (false, "ROLLBACK TO dual_let_go; RELEASE dual_let_go"),
        false => (true, "RELEASE dual_let_go"),
    };
    connection.execute_batch(end).map_err(wrap)?;
    Ok(is_ours)
}

/// One statement of each sort for the table on which the triggers stand, whatever it is called now.
fn writes(connection: &Connection, layout: &Layout) -> rusqlite::Result<Option<[String; 3]>> {
    let of = "SELECT tbl_name FROM sqlite_master WHERE type = 'trigger' AND name = ?1";
    let first = "SELECT name FROM pragma_table_info(?1) LIMIT 1";
    let ask = |sql, name: &str| -> rusqlite::Result<Option<String>> {
        connection.query_row(sql, [name], |row| row.get(0)).optional()
    };
    for trigger in layout.trigger_names() {
        let Some(table) = ask(of, &trigger)? else { continue };
        let Some(column) = ask(first, &table)? else { continue };
        let (table, column) = (quoted(&table), quoted(&column));
        return Ok(Some([
            format!("INSERT INTO main.{table} DEFAULT VALUES"),
            format!("UPDATE main.{table} SET {column} = NULL"),
            format!("DELETE FROM main.{table}"),
        ]));
    }
    Ok(None)
}
