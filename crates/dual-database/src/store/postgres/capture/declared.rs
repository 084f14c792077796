//! Which tables the installation keeps together, and how they are declared.

use super::install::{column, has};
use crate::Result;
use crate::schema::Kept;
use crate::store::postgres::Session;

/// What is kept of the declaration of each table ([`crate::schema::declared`]), asked in the session's
/// transaction; nothing if nothing is installed, or this role may not see it.
///
/// # Errors
/// As for [`Session::query`].
pub(crate) async fn kept(session: &Session) -> Result<Vec<Kept>> {
    let operation = "read which tables PostgreSQL keeps";
    if !has(session, "tracked").await? {
        return Ok(Vec::new());
    }
    let dual = session.schema();
    let sql = format!("SELECT t.name, to_jsonb(t) ->> 'declaration' FROM {dual}.tracked AS t");
    let rows = session.query(operation, &sql, &[]).await?;
    rows.iter().map(|row| Ok((column(row, 0, operation)?, column(row, 1, operation)?))).collect()
}
