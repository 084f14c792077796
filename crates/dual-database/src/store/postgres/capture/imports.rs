//! The record of imports, which stands with the installation: what became of a COMMIT whose answer was
//! lost is looked up in it.

use super::common::{import_run, make_schema, trust};
use super::grants::of_import;
use super::install::has;
use super::standing::{SchemaStanding, permit};
use crate::Result;
use crate::store::postgres::Session;

const RECORD: &str = "import_run";

/// Whether there is a record that this role may read.
///
/// # Errors
/// As for [`Session::query`].
pub async fn has_record_of_imports(session: &Session) -> Result<bool> {
    has(session, RECORD).await
}

/// Whether this role, if it may not install, may read and write what an import needs of ours.
///
/// # Errors
/// Access denied, with the statements that give what is lacking; else as for [`Session::query`].
pub(crate) async fn may_record_imports(session: &Session, standing: &SchemaStanding) -> Result<()> {
    match standing.installs {
        true => Ok(()),
        false => permit(session, &of_import(session.schema())).await,
    }
}

/// Makes the record, in the session's transaction, if there is none, for imports into a table that stands in
/// SQL as `target`; says whether it did.
///
/// # Errors
/// As for [`Session::batch`].
pub async fn make_record_of_imports(session: &Session, target: &str) -> Result<bool> {
    let operation = "make the record of runs";
    if has(session, RECORD).await? {
        return Ok(false);
    }
    session.batch(operation, &make_schema(session.schema())).await?;
    session.batch(operation, &trust(session.schema(), target)).await?;
    session.batch(operation, &import_run(session.schema())).await?;
    Ok(true)
}
