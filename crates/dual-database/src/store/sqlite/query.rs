//! One statement of a caller's, that reads and cannot do anything else.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde::de::DeserializeOwned;

use super::{File, define_functions, failed};
use crate::value::{Cell, Misfit, Value, read_row};
use crate::{Error, Kind, Result};

const OPERATION: &str = "read from the SQLite file";
/// So many steps of SQLite's machine are taken between two looks whether anybody still waits.
const STEPS: i32 = 100_000;

/// What a statement gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The names of its columns.
    pub columns: Vec<String>,
    /// The rows, each with a value for every column, as the file has it.
    pub rows: Vec<Vec<Value>>,
}

impl Rows {
    /// The rows as a type of the caller's, by serde, as [`crate::protocol::Record::to_struct`] has it: a field for
    /// each column of the statement that it wants. Of a column of a statement only the value is known: booleans may
    /// be 0 and 1, and a text is taken for a JSON document where the field is a list, a map or a struct.
    ///
    /// ```
    /// use dual_database::database::Rows;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Count {
    ///     status: Option<String>,
    ///     users: u64,
    /// }
    ///
    /// let columns = vec!["status".into(), "users".into()];
    /// let found = Rows { columns, rows: vec![vec!["issued".into(), 7.into()]] };
    /// let counts: Vec<Count> = found.to_structs()?;
    /// assert_eq!((counts[0].status.as_deref(), counts[0].users), (Some("issued"), 7));
    /// # Ok::<(), dual_database::Error>(())
    /// ```
    ///
    /// # Errors
    /// Invalid data, with the column and the number of the row.
    pub fn to_structs<T: DeserializeOwned>(&self) -> Result<Vec<T>> {
        let rows = self.rows.iter().enumerate();
        rows.map(|(at, row)| {
            let cells = self.columns.iter().zip(row);
            read_row(cells.map(|(column, value)| Cell {
                column,
                value: value.clone(),
                is_json: false,
            }))
            .map_err(|Misfit { column, why, is_missing }| {
                let place = column.as_ref().map_or(String::new(), |column| format!("{column}, "));
                let message = format!("{place}row {}: {why}", at + 1);
                let error = Error::new(Kind::InvalidData, "read rows as structs", message);
                match column.filter(|_| is_missing) {
                    Some(name) => error.suggesting(&name, self.columns.iter().map(|c| &**c)),
                    None => error,
                }
            })
        })
        .collect()
    }
}

/// Runs the statement on a connection of its own. It ends early when the other end of `stopped` is gone.
///
/// # Errors
/// Invalid data for a statement that is none, or would do more than read; else those of [`failed`].
pub(crate) fn query(
    path: &Path,
    busy: Duration,
    extensions: &[PathBuf],
    sql: &str,
    parameters: &[Value],
    stopped: Receiver<()>,
) -> Result<Rows> {
    let wrap = |cause| failed(OPERATION, cause);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(File::literal(path), flags).map_err(wrap)?;
    connection.busy_timeout(busy).map_err(wrap)?;
    define_functions(&connection, extensions)?;
    connection.authorizer(Some(reads)).map_err(wrap)?;
    let is_left = move || stopped.try_recv() == Err(TryRecvError::Disconnected);
    connection.progress_handler(STEPS, Some(is_left)).map_err(wrap)?;
    let mut rows = Rows::default();
    {
        let mut statement = connection.prepare(sql).map_err(refused)?;
        if !statement.readonly() || statement.column_count() == 0 {
            return Err(wrong("it does not read rows"));
        }
        if statement.parameter_count() != parameters.len() {
            let (wanted, given) = (statement.parameter_count(), parameters.len());
            return Err(wrong(&format!("it has {wanted} parameters, and {given} were given")));
        }
        rows.columns = statement.column_names().map(str::to_owned).collect();
        let mut found = statement.query(rusqlite::params_from_iter(parameters)).map_err(refused)?;
        while let Some(row) = found.next().map_err(refused)? {
            let values = (0..rows.columns.len()).map(|at| Ok(value(row.get_ref(at)?)));
            rows.rows.push(values.collect::<rusqlite::Result<_>>().map_err(wrap)?);
        }
    }
    Ok(rows)
}

/// What a statement may do: read, and ask for what SQLite knows of the schema.
fn reads(context: AuthContext<'_>) -> Authorization {
    match context.action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => {
            Authorization::Allow
        }
        AuthAction::Function { function_name } if function_name != "load_extension" => {
            Authorization::Allow
        }
        AuthAction::Pragma { pragma_name, .. }
            if pragma_name.ends_with("_info")
                || pragma_name.ends_with("_xinfo")
                || pragma_name.ends_with("_list") =>
        {
            Authorization::Allow
        }
        _ => Authorization::Deny,
    }
}

/// The value, whatever column it comes from. A text that is no UTF-8 is given as its bytes.
fn value(stored: ValueRef<'_>) -> Value {
    match stored {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Real(number) => Value::Float(number),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Bytes(bytes.to_vec()),
        },
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

fn wrong(what: &str) -> Error {
    Error::new(Kind::InvalidData, OPERATION, what)
        .with_hint("give one statement that reads, such as SELECT count(*) FROM users")
}

/// What is wrong with a statement is the caller's to mend; what is wrong with the file is not.
fn refused(cause: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    match &cause {
        rusqlite::Error::MultipleStatement => wrong("it is more than one statement"),
        rusqlite::Error::SqlInputError { msg, .. } => wrong(msg),
        rusqlite::Error::SqliteFailure(failure, message) => match failure.code {
            ErrorCode::AuthorizationForStatementDenied => wrong("it would do more than read"),
            ErrorCode::Unknown => wrong(message.as_deref().unwrap_or("SQLite does not take it")),
            _ => failed(OPERATION, cause),
        },
        _ => failed(OPERATION, cause),
    }
}
