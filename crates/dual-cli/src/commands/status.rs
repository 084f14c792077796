//! `dual status`.

use dual_database::database::{SideStatus, Status};
use dual_database::health::StoreState;
use dual_database::store::postgres::{Limits, Session};
use dual_database::{Error, Kind, Result, Store};

use super::Look;
use crate::arguments::Status as Arguments;
use crate::exit::Exit;
use crate::output;
use crate::settings::Stores;

/// Shows how both sides stand; marks what it tells of damages as reviewed if asked, after it was
/// shown. A side that is away, or that cannot be used as it is, is an
/// answer and not a failure; an exchange that does not get on waits for a person.
///
/// # Errors
/// Those of opening, but for [`Kind::Schema`] and [`Kind::AccessDenied`].
pub async fn run(stores: &Stores, json: bool, arguments: Arguments) -> Result<Exit> {
    let show = |status: &Status, reviewed| {
        output::data(&if json {
            output::status_document(status, reviewed)
        } else {
            output::status_text(status)
        });
        Ok(if status.sync != "failing" && status.paused.is_empty() {
            Exit::Done
        } else {
            Exit::WithRejects
        })
    };
    let looked = Look::with(stores, async |database| {
        let status = database.status().await?;
        let reviewed = match arguments.review {
            true => Some(database.review_damage().await?),
            false => None,
        };
        show(&status, reviewed)
    });
    match looked.await {
        Err(error) => match blocked(&error) {
            Some(state) => show(&without_file(stores, state).await, None),
            None => Err(error),
        },
        shown => shown,
    }
}

/// The file's state, if that is what keeps the two from being opened as one. (PostgreSQL alone
/// never does.)
fn blocked(error: &Error) -> Option<StoreState> {
    match error.kind() {
        Kind::Schema(Store::Sqlite) => Some(StoreState::needs_init(error)),
        Kind::AccessDenied => Some(StoreState::down(error)),
        _ => None,
    }
}

async fn without_file(stores: &Stores, sqlite: StoreState) -> Status {
    let postgres = match Session::open(&stores.postgres, &Limits::default()).await {
        Ok(_) => StoreState::Up,
        Err(error) => StoreState::down(&error),
    };
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
        exposed: None,
        recent_errors: Vec::new(),
        failing: Vec::new(),
        paused: Vec::new(),
        comparing: Vec::new(),
        not_carried: Vec::new(),
        verified: None,
        damage: None,
        ahead_until_ms: None,
    }
}
