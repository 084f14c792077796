//! `dual status`.

use dual_database::database::{SideStatus, Status};
use dual_database::health::StoreState;
use dual_database::store::postgres::{Limits, Session};
use dual_database::{Error, Kind, Result, Store};

use super::Look;
use crate::exit::Exit;
use crate::output;
use crate::settings::Stores;

/// Shows how both sides stand. A side that is away, or whose tables cannot be used as they
/// are, is an answer and not a failure.
///
/// # Errors
/// Those of opening, but for [`Kind::Schema`].
pub async fn run(stores: &Stores, json: bool) -> Result<Exit> {
    let show = |status: &Status| {
        output::data(&if json {
            output::status_document(status)
        } else {
            output::status_text(status)
        });
        Ok(Exit::Done)
    };
    match Look::with(stores, async |database| show(&database.status().await?)).await {
        Err(error) => match error.kind() {
            Kind::Schema(blocked) => show(&unopened(stores, blocked, &error).await),
            _ => Err(error),
        },
        shown => shown,
    }
}

/// What can be told of two stores that cannot be opened as one, because one needs `dual init`.
async fn unopened(stores: &Stores, blocked: Store, error: &Error) -> Status {
    let needs_init = || StoreState::NeedsInit { reason: error.chain() };
    let postgres = match blocked {
        Store::Postgres => needs_init(),
        Store::Sqlite => match Session::open(&stores.postgres, &Limits::default()).await {
            Ok(_) => StoreState::Up,
            Err(error) => {
                let hint = error.hint().map(String::from);
                StoreState::Down { reason: error.chain(), hint }
            }
        },
    };
    let sqlite = if blocked == Store::Sqlite { needs_init() } else { StoreState::Up };
    Status {
        postgres: SideStatus { state: postgres },
        sqlite: SideStatus { state: sqlite },
        pending_to_postgres: None,
        pending_to_sqlite: None,
        conflicts: None,
        quarantined: None,
        last_sync_age_ms: None,
        sync: "converging",
        held_losses: None,
        wal_bytes: None,
        recent_errors: Vec::new(),
    }
}
