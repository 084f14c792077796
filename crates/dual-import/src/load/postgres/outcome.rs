//! Which runs the server has: the record of runs, and what became of a commit whose answer
//! was lost.

use std::time::Duration;

use dual_database::error::Result;
use dual_database::store::postgres::Session;
use dual_database::store::postgres::capture::has_record_of_imports;
use tokio_postgres::types::{ToSql, Type};

use super::unexpected;
use crate::write::Target;

/// How long a lost commit is waited for.
const SETTLED: Duration = Duration::from_secs(10);

pub(super) async fn transaction_id(session: &Session) -> Result<i64> {
    let operation = "begin the import";
    let rows = session.query(operation, "SELECT txid_current()", &[]).await?;
    rows.first().and_then(|row| row.try_get(0).ok()).ok_or_else(|| unexpected(operation))
}

/// Whether a run whose commit was not answered is there; `None` if that cannot be found out.
/// While the server still works on the transaction, its mark says nothing.
pub(super) async fn was_committed(target: &Target, transaction: i64, run_id: &str) -> Option<bool> {
    let operation = "ask for the commit";
    let session = Session::open(&target.postgres, &target.limits).await.ok()?;
    let ended = async {
        loop {
            let parameters = [(&transaction as &(dyn ToSql + Sync), Type::INT8)];
            let status = session.ask(operation, "SELECT txid_status($1)", &parameters).await;
            let status: Option<String> = status.ok()?.first()?.try_get(0).ok()?;
            if status.as_deref() != Some("in progress") {
                return Some(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SETTLED, ended).await.ok()??;
    // By its own id: with clocks that differ it need not be the last one.
    session.begin(operation).await.ok()?;
    if !has_record_of_imports(&session).await.ok()? {
        return Some(false);
    }
    let statement =
        format!("SELECT EXISTS (SELECT FROM {}.import_run WHERE run_id = $1)", session.schema());
    let rows = session.query(operation, &statement, &[(&run_id, Type::TEXT)]).await.ok()?;
    rows.first()?.try_get(0).ok()
}

pub(super) async fn last_mark(session: &Session) -> Result<Option<String>> {
    let operation = "read the record of runs";
    if !has_record_of_imports(session).await? {
        return Ok(None);
    }
    let statement = format!(
        "SELECT run_id FROM {}.import_run ORDER BY position DESC LIMIT 1",
        session.schema()
    );
    let rows = session.query(operation, &statement, &[]).await?;
    let last = rows.first().map(|row| row.try_get(0)).transpose();
    last.map_err(|_| unexpected(operation))
}
