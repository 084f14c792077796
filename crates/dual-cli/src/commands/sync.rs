//! `dual sync`.

use std::time::Duration;

use dual_database::database::Status;
use dual_database::health::StoreState;
use dual_database::{DualDatabase, Result};

use super::{Look, stop_signal};
use crate::arguments::Sync;
use crate::exit::Exit;
use crate::output::{self, SyncReport, message};
use crate::settings::{Opening, Stores};

/// A week's catch-up is long; a side that is away ends it at once.
const ONCE: Duration = Duration::from_secs(60 * 60);
/// How often a watcher looks.
const LOOK: Duration = Duration::from_millis(500);
/// What is pending is pushed at the end for at most that long.
const FLUSH: Duration = Duration::from_secs(5);

/// Exchanges what is pending, once or until it is stopped.
///
/// # Errors
/// Those of opening; once: what ends it with neither side reachable.
pub async fn run(stores: &Stores, json: bool, arguments: Sync) -> Result<Exit> {
    if arguments.watch { watch(stores, json).await } else { once(stores, json).await }
}

async fn once(stores: &Stores, json: bool) -> Result<Exit> {
    Look::joining(stores, async |database| {
        let exchanged = database.sync_now(ONCE).await;
        let status = database.status().await?;
        let report = match exchanged {
            Ok(exchange) => SyncReport::new(&status, Some(exchange), None),
            Err(error) if error.is_unavailable() && is_one_side_there(&status) => {
                SyncReport::new(&status, None, Some(error))
            }
            Err(error) => return Err(error),
        };
        output::data(&if json { report.document() } else { report.text() });
        Ok(report.exit())
    })
    .await
}

fn is_one_side_there(status: &Status) -> bool {
    [&status.postgres, &status.sqlite]
        .iter()
        .any(|side| !matches!(side.state, StoreState::Down { .. }))
}

/// One line on stderr per change of state; with `json` the last state on stdout.
async fn watch(stores: &Stores, json: bool) -> Result<Exit> {
    let mut stop = std::pin::pin!(stop_signal());
    let database = tokio::select! {
        opened = stores.open(Opening::ToWrite) => opened?,
        () = &mut stop => return Ok(Exit::Done),
    };
    let mut told = String::new();
    let watched = tokio::select! {
        failed = tell_changes(&database, &mut told) => failed,
        // What has changed since the last look is told, too.
        () = &mut stop => tell_change(&database, &mut told).await,
    };
    if json && let Ok(status) = database.status().await {
        output::data(&output::status_document(&status, None));
    }
    database.close(FLUSH).await;
    watched.map(|()| Exit::Done)
}

async fn tell_changes(database: &DualDatabase, told: &mut String) -> Result<()> {
    loop {
        tell_change(database, told).await?;
        tokio::time::sleep(LOOK).await;
    }
}

async fn tell_change(database: &DualDatabase, told: &mut String) -> Result<()> {
    let now = output::state_line(&database.status().await?);
    if now != *told {
        message(&now);
        *told = now;
    }
    Ok(())
}
