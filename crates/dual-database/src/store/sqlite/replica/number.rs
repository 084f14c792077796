//! The writer numbers of the processes on the file: a slot for each, kept by a heartbeat.

use rusqlite::{Connection, OptionalExtension as _};
use uuid::Uuid;

use super::super::capture::{renumber, state};
use super::super::failed;
use super::Content;
use crate::stamp::Writer;
use crate::{Error, Kind, Result, Store};

const OPERATION: &str = "take a writer number in the SQLite file";

/// How long a process that has said nothing keeps its number, in milliseconds.
const HELD_MS: i64 = 60_000;

impl Content<'_> {
    /// The numbers that this file and the processes on it have taken: to be claimed at
    /// PostgreSQL.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn numbers(&self) -> Result<Vec<Writer>> {
        let wrap = |cause| failed(OPERATION, cause);
        let mut numbers = vec![state(self.connection())?.writer];
        let mut look = self
            .connection()
            .prepare_cached("SELECT number FROM dual_writer ORDER BY number")
            .map_err(wrap)?;
        let taken = look.query_map([], |row| row.get::<_, u16>(0)).map_err(wrap)?;
        for number in taken {
            numbers.extend(Writer::new(number.map_err(wrap)?));
        }
        Ok(numbers)
    }

    /// Replaces a number that belongs to somebody else. The process that held it learns of it by
    /// its next heartbeat.
    ///
    /// # Errors
    /// Those of [`failed`], also if `by` is taken.
    pub fn replace_number(&self, taken: Writer, by: Writer) -> Result<()> {
        if state(self.connection())?.writer == taken {
            renumber(self.connection(), by)?;
            self.forget_numbers()?;
        }
        let sql = "UPDATE dual_writer SET number = ?2 WHERE number = ?1";
        self.execute(OPERATION, sql, &[&taken.number(), &by.number()]).map(|_| ())
    }
}

/// The number of the process `process`: the one that it has, `held` if nobody has taken it, one
/// whose process has said nothing for long, or a free one.
///
/// # Errors
/// Unavailable if there is no free one; else those of [`failed`].
pub(super) fn claim(
    connection: &Connection,
    process: Uuid,
    held: Option<Writer>,
) -> Result<Writer> {
    let wrap = |cause| failed(OPERATION, cause);
    let now = crate::clock::now().as_millisecond();
    let process = process.to_string();
    let mine = "UPDATE dual_writer SET heartbeat = ?2 WHERE process = ?1";
    if connection.execute(mine, (&process, now)).map_err(wrap)? == 0 {
        let file = state(connection)?.writer.number();
        // A heartbeat from the future was made before the clock was set back.
        let silent: Option<u16> = connection
            .query_row(
                "SELECT number FROM dual_writer WHERE number <> ?3 \
                 AND heartbeat NOT BETWEEN ?1 - ?2 AND ?1 + ?2 LIMIT 1",
                (now, HELD_MS, file),
                |row| row.get(0),
            )
            .optional()
            .map_err(wrap)?;
        let taken = "SELECT EXISTS (SELECT 1 FROM dual_writer WHERE number = ?1)";
        let is_free = |number: &u16| -> Result<bool> {
            let taken = connection.query_row(taken, [number], |row| row.get::<_, bool>(0));
            Ok(*number != file && !taken.map_err(wrap)?)
        };
        let mut number = match held.map(Writer::number) {
            Some(held) if is_free(&held)? => Some(held),
            _ => silent,
        };
        for _ in 0..1_000 {
            if number.is_some() {
                break;
            }
            number = Some(fresh().number()).filter(|number| is_free(number).unwrap_or(false));
        }
        let number = number.ok_or_else(|| {
            Error::new(Kind::Unavailable(Store::Sqlite), OPERATION, "no number is free")
        })?;
        connection
            .execute(
                "INSERT OR REPLACE INTO dual_writer (number, process, heartbeat) VALUES (?1, ?2, ?3)",
                (number, &process, now),
            )
            .map_err(wrap)?;
    }
    let number: u16 = connection
        .query_row("SELECT number FROM dual_writer WHERE process = ?1", [&process], |row| {
            row.get(0)
        })
        .map_err(wrap)?;
    Writer::new(number).ok_or_else(|| super::super::capture::damaged(OPERATION))
}

/// Gives the number back, when the process ends in order.
pub(super) fn give_back(connection: &Connection, process: Uuid) -> rusqlite::Result<()> {
    let sql = "UPDATE dual_writer SET heartbeat = 0 WHERE process = ?1";
    connection.execute(sql, [process.to_string()]).map(|_| ())
}

/// A number by chance; not that of PostgreSQL's triggers.
pub(super) fn fresh() -> Writer {
    let number = rand::random_range(1..=Writer::MAX.number());
    Writer::new(number).unwrap_or(Writer::MAX)
}
