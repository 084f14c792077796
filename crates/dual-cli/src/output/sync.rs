use dual_database::Error;
use dual_database::database::Status;
use dual_database::sync::Exchange;
use serde::Serialize;

use super::json::{ErrorOwned, line};
use super::state::{PendingBody, pending, status_text};
use crate::exit::Exit;

/// How `dual sync --once` ended.
pub struct SyncReport<'a> {
    status: &'a Status,
    exchange: Option<Exchange>,
    error: Option<Error>,
}

#[derive(Serialize)]
struct SyncBody {
    version: u8,
    state: &'static str,
    pending: PendingBody,
    quarantined: Option<u64>,
    held_losses: Option<usize>,
    error: Option<ErrorOwned>,
}

impl<'a> SyncReport<'a> {
    /// From the state afterwards and what the exchange said, or why there was none.
    #[must_use]
    pub fn new(
        status: &'a Status,
        exchange: Option<Exchange>,
        error: Option<Error>,
    ) -> SyncReport<'a> {
        SyncReport { status, exchange, error }
    }

    fn quarantined(&self) -> u64 {
        self.exchange.as_ref().map_or(0, |exchange| exchange.quarantined)
    }

    fn held(&self) -> Option<usize> {
        self.exchange.as_ref().and_then(|exchange| exchange.held)
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self.exchange.as_ref().map_or(Exit::OneSide, Exit::of) {
            Exit::Done if self.is_damaged() || !self.status.paused.is_empty() => Exit::WithRejects,
            exit => exit,
        }
    }

    /// Whether nobody has seen that a damaged file was made anew: what was pending in it may be
    /// lost, whatever was exchanged since.
    fn is_damaged(&self) -> bool {
        self.status.damage.as_ref().is_some_and(|damage| !damage.is_empty())
    }

    fn state(&self) -> &'static str {
        match (self.exit(), self.held()) {
            (Exit::Done, _) => "done",
            (Exit::WithRejects, Some(_)) => "held",
            (Exit::WithRejects, None) if self.is_damaged() => "damaged",
            (Exit::WithRejects, None) if self.quarantined() == 0 => "paused",
            (Exit::WithRejects, None) => "quarantined",
            (Exit::OneSide | Exit::BrokenOff, _) => "pending",
        }
    }

    /// For programs.
    #[must_use]
    pub fn document(&self) -> String {
        line(&SyncBody {
            version: 1,
            state: self.state(),
            pending: pending(self.status),
            quarantined: self.status.quarantined,
            held_losses: self.held(),
            error: self.error.as_ref().map(ErrorOwned::new),
        })
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let sentence = match self.state() {
            "done" => "both sides have everything",
            "damaged" => "the file was damaged and made anew; see below what is lost",
            "paused" => "both sides have everything but tables that are left alone; see below",
            "held" => "a comparison waits for a person: `dual repair`",
            "quarantined" => {
                "both sides have everything but the rows in quarantine: `dual quarantine`"
            }
            _ => "not everything could be exchanged",
        };
        let why = self.error.as_ref().map(|error| format!("{}\n", error.chain()));
        format!("{sentence}\n{}\n{}", why.unwrap_or_default(), status_text(self.status))
    }
}
