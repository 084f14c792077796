//! Which tables the installation keeps together, and how they are declared.

use super::install::has;
use crate::schema::{self, Table};
use crate::store::postgres::Session;
use crate::store::postgres::answer::column;
use crate::{Error, Kind, Result, Store};

/// The tables that are kept, as they are declared, in their order; asked in the session's transaction. None if
/// nothing is installed, or this role may not see it.
///
/// # Errors
/// About the schema if a declaration cannot be read; else as for [`Session::query`].
pub(crate) async fn declared(session: &Session) -> Result<Vec<Table>> {
    let operation = "read which tables PostgreSQL keeps";
    if !has(session, "tracked").await? {
        return Ok(Vec::new());
    }
    let dual = session.schema();
    let sql = format!("SELECT t.name, to_jsonb(t) ->> 'declaration' FROM {dual}.tracked AS t");
    let rows = session.query(operation, &sql, &[]).await?;
    let kept: Result<_> = rows
        .iter()
        .map(|row| Ok((column(row, 0, operation)?, column(row, 1, operation)?)))
        .collect();
    schema::declared(kept?).map_err(|error| {
        let message = format!("{dual}.tracked: {}", error.message());
        Error::new(Kind::Schema(Store::Postgres), operation, message)
            .with_hint("a newer version of this program may have made it: use that one")
            .with_source(error)
    })
}
