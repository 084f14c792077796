use rusqlite::ErrorCode;

use crate::error::{Error, Kind, Store};

/// What SQLite said, if an error comes from it.
pub(super) fn cause_of(error: &Error) -> Option<&rusqlite::Error> {
    let mut cause = std::error::Error::source(error);
    while let Some(found) = cause {
        if let Some(sqlite) = found.downcast_ref() {
            return Some(sqlite);
        }
        cause = found.source();
    }
    None
}

/// SQLite's extended code, if an error comes from it.
pub(super) fn code_of(error: &Error) -> Option<i32> {
    cause_of(error)?.sqlite_error().map(|failure| failure.extended_code)
}

/// The sort of failure that the system's answer about the file, or one beside it, is.
pub(crate) fn kind_of(cause: &std::io::Error) -> Kind {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    match cause.kind() {
        PermissionDenied | ReadOnlyFilesystem => Kind::AccessDenied,
        StorageFull | QuotaExceeded => Kind::NoSpace(Store::Sqlite),
        _ => Kind::Unavailable(Store::Sqlite),
    }
}

/// What a person can do about a table whose triggers, indexes, checks or generated columns need
/// something that only the application gives to its connection.
const LACKING: &str = "a trigger, an index, a CHECK or a generated column of the SQLite table needs what \
     only the application's connection has: name the extension that has it (`sqlite_extensions`), or \
     take it out of the table";

/// Whether a statement needs a function, a collation or a module that this connection lacks.
pub(super) fn is_lacking(message: &str) -> bool {
    ["no such function: ", "no such collation sequence: ", "unknown function: ", "no such module: "]
        .iter()
        .any(|what| message.contains(what))
}

/// What a person can do about tables of ours in which something else stands than what we have written:
/// the rest of the file is his own, and PostgreSQL has what was exchanged.
pub(crate) const ANEW: &str = "somebody has changed the tables `dual_…` of the SQLite file: `dual uninstall --file-only \
     --abandon-pending` takes them away, `dual init --apply` makes them anew and compares";

/// Whether something else stands in the tables `dual_…` than what this program has written: what it
/// reads of the user's tables it takes as it comes, so no other value can be of the wrong type.
fn is_foreign(cause: &rusqlite::Error, message: &str) -> bool {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, QueryReturnedNoRows,
        Utf8Error,
    };
    let is_value = matches!(
        cause,
        FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | QueryReturnedNoRows
            | Utf8Error(..)
    );
    // A statement of ours calls the user's row `u`, a trigger `new` and `old`.
    let is_users =
        ["u.", "new.", "old."].iter().any(|row| message.contains(&format!("column: {row}")));
    let is_column = message.contains("no such column: ") && !is_users;
    let is_ours = message.contains("dual_")
        && [
            "no such table: ",
            "no such index: ",
            "has no column named",
            "constraint failed: ",
            "cannot modify ",
        ]
        .iter()
        .any(|what| message.contains(what));
    // We make no index but on tables of ours, and on the user's once they are found to be tables; and rely on a
    // key of ours alone.
    let is_shape =
        ["views may not be indexed", "ON CONFLICT clause does not match any PRIMARY KEY"]
            .iter()
            .any(|what| message.starts_with(what));
    is_value || is_column || is_ours || is_shape
}

/// The error of a SQLite call, with what was being done. The message is SQLite's own, without
/// the SQL text and without values.
#[must_use]
pub fn failed(operation: &'static str, cause: rusqlite::Error) -> Error {
    let code = cause.sqlite_error_code();
    let message = match &cause {
        // The path is told once, and by whoever knows it.
        rusqlite::Error::SqliteFailure(_, Some(_)) if code == Some(ErrorCode::CannotOpen) => {
            "unable to open database file".to_owned()
        }
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        // Its own Display adds the SQL text; the position in it helps nobody.
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        other => other.to_string(),
    };
    let (kind, hint) = match code {
        // It is about the table that has it, and no other one.
        _ if is_lacking(&message) => (Kind::InvalidData, Some(LACKING)),
        _ if is_foreign(&cause, &message) => (Kind::Schema(Store::Sqlite), Some(ANEW)),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            Kind::Unavailable(Store::Sqlite),
            Some("another process holds the file; close it, or repeat the command later"),
        ),
        Some(ErrorCode::DiskFull) => {
            (Kind::NoSpace(Store::Sqlite), Some("free space on the disk of the SQLite file"))
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (
            Kind::AccessDenied,
            Some("the SQLite file and its folder must be writable for this user"),
        ),
        Some(ErrorCode::CannotOpen) => (
            Kind::AccessDenied,
            Some(
                "check that the SQLite file and its folder exist and are writable, and not on a read-only mount",
            ),
        ),
        Some(ErrorCode::NotADatabase) => (
            Kind::Configuration,
            Some("the file is not an SQLite database, or an encrypted one; choose another path"),
        ),
        Some(ErrorCode::DatabaseCorrupt) => (
            Kind::Schema(Store::Sqlite),
            Some("the SQLite file is damaged; `sqlite3 FILE .recover` salvages what is readable"),
        ),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig) => (
            Kind::InvalidData,
            Some(
                "a rule of the SQLite table refuses one of the rows; nothing was changed: correct that row, or relax the rule",
            ),
        ),
        Some(ErrorCode::OperationInterrupted) => (Kind::Interrupted, None),
        Some(ErrorCode::SystemIoFailure) => {
            (Kind::Unavailable(Store::Sqlite), Some("the disk of the SQLite file reports an error"))
        }
        _ => (Kind::Internal, None),
    };
    let error = Error::new(kind, operation, format!("SQLite: {message}")).with_source(cause);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}
