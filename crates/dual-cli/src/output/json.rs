//! The JSON documents: contracts with a version. Unknown values are `null`.

use dual_database::{Error, Store};
use serde::Serialize;

use crate::exit;

#[derive(Serialize)]
struct ErrorBody<'a> {
    kind: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
}

#[derive(Serialize)]
struct ErrorDocument<'a> {
    version: u8,
    error: ErrorBody<'a>,
}

/// `{"version":1,"error":{"kind","message","hint"}}`, with a line end.
#[must_use]
pub fn error_document(kind: &str, message: &str, hint: Option<&str>) -> String {
    line(&ErrorDocument { version: 1, error: ErrorBody { kind, message, hint } })
}

/// A document on one line.
pub(super) fn line(document: &impl Serialize) -> String {
    // Our documents have string keys and finite numbers only, so this cannot fail.
    serde_json::to_string(document).unwrap_or_default() + "\n"
}

/// An error inside another document.
#[derive(Serialize)]
pub(super) struct ErrorOwned {
    kind: &'static str,
    message: String,
    hint: Option<String>,
}

impl ErrorOwned {
    /// As [`error_document`] has it.
    pub(super) fn new(error: &Error) -> ErrorOwned {
        ErrorOwned {
            kind: exit::word_of(error.kind()),
            message: error.chain(),
            hint: error.hint().map(String::from),
        }
    }
}

/// The stable word of a store.
pub(super) fn store_word(store: Store) -> &'static str {
    match store {
        Store::Postgres => "postgres",
        Store::Sqlite => "sqlite",
    }
}
