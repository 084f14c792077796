//! What our connections to a file have beside SQLite's own functions. The file's triggers, indexes and
//! checks may use what only the application's connections have; what is told of it stands in
//! [`super::replica::Content::lacking`].

use std::path::PathBuf;

use regex::Regex;
use rusqlite::Connection;
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;

use super::extension::load_extension;
use super::{failed, from_sqlite};
use crate::schema::{LogicalType, numeric_order};
use crate::value::{parse_timestamp_text, timestamp_text};
use crate::{Error, Kind, Result};

const OPERATION: &str = "load an extension of SQLite";

type Boxed = Box<dyn std::error::Error + Send + Sync + 'static>;

/// `dual_timestamp(text)`: the canonical form of a timestamp, NULL for what is none; `dual_numeric(value)`:
/// a text that is ordered as the number is; `dual_utf8(text)`: whether it is UTF-8, which no expression of
/// SQLite's can tell; `X REGEXP Y`,
/// which Django and SQLAlchemy give to their connections; and what the extensions bring. Collations
/// are not guessed: an index in another order than the application's would be a damaged one.
///
/// # Errors
/// Configuration if an extension cannot be loaded.
pub(crate) fn define_functions(connection: &Connection, extensions: &[PathBuf]) -> Result<()> {
    built_in(connection).map_err(|cause| failed("define functions in SQLite", cause))?;
    extensions.iter().try_for_each(|extension| {
        load_extension(connection, extension).map_err(|cause| {
            let message =
                format!("{}: {}", extension.display(), failed(OPERATION, cause).message());
            Error::new(Kind::Configuration, OPERATION, message)
                .with_hint("correct its path in `sqlite_extensions`, or leave it out")
        })
    })
}

fn built_in(connection: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("dual_timestamp", 1, flags, |call| {
        let text = call.get_raw(0).as_str().ok();
        Ok(text.and_then(parse_timestamp_text).map(timestamp_text))
    })?;
    connection.create_scalar_function("dual_numeric", 1, flags, |call| {
        let value = from_sqlite(&LogicalType::Numeric, call.get_raw(0)).ok();
        Ok(value.as_ref().and_then(numeric_order))
    })?;
    connection.create_scalar_function("dual_utf8", 1, flags, |call| {
        Ok(call.get_raw(0).as_str().is_ok())
    })?;
    connection.create_scalar_function("regexp", 2, flags, regexp)
}

/// `regexp(pattern, text)`, anywhere in the text; NULL if one of them is.
fn regexp(call: &Context<'_>) -> rusqlite::Result<Option<bool>> {
    let text = |at| match call.get_raw(at) {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string()),
        ValueRef::Real(number) => Some(number.to_string()),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Some(String::from_utf8_lossy(bytes).into_owned())
        }
    };
    let (Some(pattern), Some(text)) = (text(0), text(1)) else { return Ok(None) };
    let regex = call.get_or_create_aux(0, |_| Ok::<_, Boxed>(Regex::new(&pattern)?))?;
    Ok(Some(regex.is_match(&text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regexp_is_what_applications_give() {
        let connection = Connection::open_in_memory().unwrap();
        define_functions(&connection, &[]).unwrap();
        for (sql, expected) in [
            ("'Анна' REGEXP '^ан'", Some(false)),
            ("'Анна' REGEXP '(?i)^ан'", Some(true)),
            ("'a1' REGEXP '\\d$'", Some(true)),
            ("NULL REGEXP 'a'", None),
            ("'a' REGEXP NULL", None),
            ("12 REGEXP '^1'", Some(true)),
        ] {
            let found: Option<bool> =
                connection.query_row(&format!("SELECT {sql}"), [], |row| row.get(0)).unwrap();
            assert_eq!(found, expected, "{sql}");
        }
        connection.query_row("SELECT 'a' REGEXP '('", [], |_| Ok(())).unwrap_err();
        connection.query_row("SELECT load_extension('x')", [], |_| Ok(())).unwrap_err();
    }
}
