//! Why the server does not take a row.

use super::{HELD, LOCKED, NUMBER};
use crate::store::postgres::{ServerError, is_unsupported, sqlstate};
use crate::{Error, Kind};

/// Why the server does not take a row.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub code: String,
    pub reason: String,
    pub constraint: Option<String>,
}

/// What an error says against a row; `None` if it says something about the server.
pub(super) fn refusal(error: &Error) -> Option<Refusal> {
    let code = sqlstate(error)?;
    // A code that nobody knows is one that a trigger of the user's has chosen. What a table with
    // rules does not support says nothing against the other tables.
    let about_data =
        error.is_invalid_data() || error.kind() == Kind::Internal || is_unsupported(error);
    let server = std::error::Error::source(error)?.downcast_ref::<ServerError>()?;
    about_data.then(|| Refusal {
        code: code.to_owned(),
        reason: server.to_string(),
        constraint: server.constraint.clone(),
    })
}

pub(super) fn locked() -> Refusal {
    Refusal { code: LOCKED.into(), reason: HELD.into(), constraint: None }
}

pub(super) fn suppressed() -> Refusal {
    Refusal {
        code: "P0001".into(),
        reason: "a trigger or a rule of the database does not let it happen".into(),
        constraint: None,
    }
}

pub(super) fn number_taken() -> Refusal {
    Refusal {
        code: NUMBER.into(),
        reason: "PostgreSQL has another row under the number that was kept for it".into(),
        constraint: None,
    }
}
