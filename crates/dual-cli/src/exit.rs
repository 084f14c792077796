//! The exit codes of every program here.

use dual_database::sync::Exchange;
use dual_database::{Error, Kind};

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done on both sides.
    Done,
    /// 1: done, with rejects; or a comparison found differences.
    WithRejects,
    /// 3: done on one side, the other one pending; beats 1.
    OneSide,
    /// 4: a list broke off; its document says why.
    BrokenOff,
}

impl Exit {
    /// How an exchange ended. A comparison that waits for a person is no side that is away:
    /// running the command again does not help, so that it ends as differences do.
    #[must_use]
    pub fn of(exchange: &Exchange) -> Exit {
        if exchange.held.is_some() {
            Exit::WithRejects
        } else if exchange.pending > 0 || !exchange.caught_up {
            Exit::OneSide
        } else if exchange.quarantined > 0 {
            Exit::WithRejects
        } else {
            Exit::Done
        }
    }

    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::WithRejects => 1,
            Exit::OneSide => 3,
            Exit::BrokenOff => 4,
        }
    }
}

/// The number for an error. But for 3, nothing was done.
///
/// | code | kinds |
/// |---|---|
/// | 2 | bad usage or configuration |
/// | 3 | done on one side; or it is not known whether it was done |
/// | 4 | source or both stores unreachable, access denied, no room |
/// | 5 | data or tables refused; not found, already exists |
/// | 130 | stopped by Ctrl-C or SIGTERM |
#[must_use]
pub fn code_of(error: &Error) -> u8 {
    match error.kind() {
        Kind::Configuration => 2,
        Kind::InvalidData | Kind::Schema(_) | Kind::AlreadyExists | Kind::NotFound => 5,
        Kind::Interrupted => 130,
        Kind::OutcomeUnknown(_) | Kind::Partial(_) => 3,
        _ => 4,
    }
}

/// The stable word of an error's kind in `--json`.
#[must_use]
pub fn word_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Configuration => "configuration",
        Kind::SourceUnavailable => "source_unavailable",
        Kind::AccessDenied => "access_denied",
        Kind::Unavailable(_) => "unavailable",
        Kind::NoSpace(_) => "no_space",
        Kind::InvalidData => "invalid_data",
        Kind::Schema(_) => "schema",
        Kind::Interrupted => "interrupted",
        Kind::OutcomeUnknown(_) => "outcome_unknown",
        Kind::AlreadyExists => "already_exists",
        Kind::NotFound => "not_found",
        Kind::Conflict => "conflict",
        Kind::Partial(_) => "partial",
        _ => "internal",
    }
}
