//! Takes everything of ours away from both stores. What stays is the user's tables.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use crate::store::postgres::capture::{self, Ours, SchemaStanding};
use crate::store::postgres::{Limits, Session, Settings};
use crate::store::sqlite::capture::uninstall as from_connection;
use crate::store::sqlite::replica::{LOCK, PUSH};
use crate::store::sqlite::{File, failed};
use crate::{Error, Kind, Result};

const FROM_SERVER: &str = "uninstall from PostgreSQL";

/// What became of each side. The two do not depend on each other, and a repetition does what
/// is left.
#[derive(Debug)]
pub struct Uninstalled {
    /// PostgreSQL.
    pub postgres: Result<capture::Uninstalled>,
    /// The file.
    pub sqlite: Result<()>,
}

/// Drops what is ours in PostgreSQL, and what stands beside the tables in the file. What was still
/// pending is forgotten: exchange before. No program may have the two open as one database, or
/// it installs everything again.
pub async fn uninstall(
    server: &Settings,
    limits: &Limits,
    path: &Path,
    busy: Duration,
) -> Uninstalled {
    // Who may not take it away in PostgreSQL has come too early for the file, too.
    if let Some(error) = refusal(server, limits).await {
        let left = Error::new(error.kind(), "uninstall from SQLite", "nothing was changed");
        return Uninstalled { postgres: Err(error), sqlite: Err(left) };
    }
    let (postgres, sqlite) = tokio::join!(from_server(server, limits), of_file(path, busy));
    Uninstalled { postgres, sqlite }
}

/// Takes away what stands beside the tables in the file alone, whatever has become of it. Who opens the
/// file then makes it anew, as beside tables that were never joined.
///
/// # Errors
/// Those of [`failed`].
pub async fn of_file(path: &Path, busy: Duration) -> Result<()> {
    let path = path.to_path_buf();
    let lost = |cause| {
        Error::new(Kind::Internal, "uninstall from SQLite", "the work ended early")
            .with_source(cause)
    };
    tokio::task::spawn_blocking(move || from_file(&path, busy)).await.map_err(lost).flatten()
}

/// Why this role is not to begin, if PostgreSQL can be asked: the schema belongs to another one, what
/// is in it is not ours, something of others depends on ours; or nothing is there, and the table is kept
/// by an installation in another schema.
pub async fn refusal(server: &Settings, limits: &Limits) -> Option<Error> {
    let session = Session::open(server, limits).await.ok()?;
    session.begin_snapshot(FROM_SERVER).await.ok()?;
    may_begin(&session).await.err()
}

async fn may_begin(session: &Session) -> Result<()> {
    let standing = SchemaStanding::read(session, &[]).await?;
    standing.is_ours(session, FROM_SERVER)?;
    let tables = capture::kept_tables(session, &standing).await?;
    let ours = Ours::read(session, &tables).await?;
    if ours.is_none() {
        return standing.kept_nowhere_else(session, &tables).await;
    }
    standing.owns(session, FROM_SERVER)?;
    ours.unused(FROM_SERVER)
}

async fn from_server(server: &Settings, limits: &Limits) -> Result<capture::Uninstalled> {
    let session = Session::open(server, limits).await?;
    session.begin(FROM_SERVER).await?;
    let done = capture::uninstall(&session).await?;
    session.commit(FROM_SERVER).await?;
    Ok(done)
}

fn from_file(path: &Path, busy: Duration) -> Result<()> {
    let operation = "uninstall from SQLite";
    let file = File::look(path)?;
    if !file.existed {
        return Ok(());
    }
    let wrap = |cause| failed(operation, cause).about(file.path.display());
    let mut connection = Connection::open(&file.path).map_err(wrap)?;
    connection.busy_timeout(busy).map_err(wrap)?;
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(wrap)?;
    from_connection(&transaction)?;
    transaction.commit().map_err(wrap)?;
    drop(connection);
    for suffix in [LOCK, PUSH] {
        let lock = PathBuf::from(format!("{}{suffix}", file.path.display()));
        match std::fs::remove_file(&lock) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                let path = lock.display();
                tracing::warn!(%path, %cause, "the lock file could not be removed");
            }
            _ => {}
        }
    }
    Ok(())
}
