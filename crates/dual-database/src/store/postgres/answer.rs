//! What PostgreSQL answered, column by column.

use tokio_postgres::Row;
use tokio_postgres::types::FromSqlOwned;

use crate::{Error, Kind, Result};

/// A column of an answer.
pub(super) fn column<T: FromSqlOwned>(
    row: &Row,
    index: usize,
    operation: &'static str,
) -> Result<T> {
    row.try_get(index).map_err(|cause| unexpected(operation).with_source(cause))
}

/// The server answered in a form that it does not have.
pub(super) fn unexpected(operation: &'static str) -> Error {
    Error::new(Kind::Internal, operation, "PostgreSQL answered in an unexpected form")
}
