//! A statement on the user's table fires the user's triggers, which may never come to an end. It is
//! given so many steps of SQLite's machine that no honest trigger needs them, on any machine; what
//! runs out of them is taken back, with the whole transaction, and the row is not tried again for a
//! while.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, ffi};

use super::super::failure::cause_of;
use crate::schema::Key;
use crate::{Error, Kind};

/// The steps between two looks, and as many looks as one row gets: a trigger that reads a million
/// rows takes a tenth of that.
const STEPS: i32 = 100_000;
const LOOKS: u32 = 1_000;

/// So many rows that do not come to an end condemn the others of the table, too.
const ROWS: usize = 3;

/// For how long a row is not tried again.
const PAUSE: Duration = Duration::from_secs(60);

thread_local! {
    /// The looks that are left to the statement that runs now on this thread's connection.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Has the connection stop what runs out of its steps.
pub(super) fn install(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.progress_handler(
        STEPS,
        Some(|| {
            let left = LEFT.get().map(|left| left.saturating_sub(1));
            LEFT.set(left);
            left == Some(0)
        }),
    )
}

/// Writes a row with that many steps.
///
/// # Errors
/// Invalid data if they were not enough ([`is_endless`]); else what `write` answers.
pub(super) fn limited<T>(
    operation: &'static str,
    write: impl FnOnce() -> crate::Result<T>,
) -> crate::Result<T> {
    LEFT.set(Some(LOOKS));
    let written = write();
    match (LEFT.take(), written) {
        (Some(0), Err(error)) if is_interrupt(&error) => Err(endless(operation)),
        (_, written) => written,
    }
}

/// Rows of a table that were to be written and did not come to an end.
#[derive(Debug, Default)]
pub(super) struct Endless(Mutex<BTreeMap<Key, Instant>>);

impl Endless {
    /// Writes a row, unless that is known to be in vain.
    ///
    /// # Errors
    /// As for [`limited`].
    pub(super) fn attempt(
        &self,
        operation: &'static str,
        key: &Key,
        write: impl FnOnce() -> crate::Result<()>,
    ) -> crate::Result<()> {
        let refuses = {
            let mut rows = self.rows();
            rows.retain(|_, since| since.elapsed() < PAUSE);
            rows.len() >= ROWS || rows.contains_key(key)
        };
        if refuses {
            return Err(endless(operation));
        }
        write().inspect_err(|error| {
            if is_endless(error) {
                self.rows().insert(key.clone(), Instant::now());
            }
        })
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<Key, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn endless(operation: &'static str) -> Error {
    let code = ffi::Error::new(ffi::SQLITE_INTERRUPT);
    let message = "SQLite: a trigger of the table does not come to its end";
    Error::new(Kind::InvalidData, operation, message)
        .with_hint("correct the trigger")
        .with_source(rusqlite::Error::SqliteFailure(code, None))
}

fn is_interrupt(error: &Error) -> bool {
    let code = cause_of(error).and_then(rusqlite::Error::sqlite_error_code);
    code == Some(ErrorCode::OperationInterrupted)
}

/// Whether a row was refused because its write does not come to an end: if that was found just
/// now, the transaction was taken back, and can be made again without the row.
#[must_use]
pub(crate) fn is_endless(error: &Error) -> bool {
    error.is_invalid_data() && is_interrupt(error)
}
