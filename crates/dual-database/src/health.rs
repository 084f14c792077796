//! Whether each store answers: a breaker for each, and what went wrong lately.

use std::time::Duration;

use crate::{Error, Store};

/// How a store stands for the calls of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// It answers.
    Up,
    /// It does not, and is probed.
    Down {
        /// Why, in one sentence with its causes.
        reason: String,
        /// What a person can do.
        hint: Option<String>,
    },
    /// Its tables are not what is declared, and additions do not mend it: `dual init`.
    NeedsInit {
        /// What is in the way.
        reason: String,
    },
}

/// Something that went wrong lately.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecentError {
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Where.
    pub store: Store,
    /// The chain of its causes, without values and secrets.
    pub message: String,
}

/// Both breakers. A call asks [`Health::is_up`] before it tries a store and reports what came
/// of it; every change of state is logged once, with its cause.
#[derive(Debug, Default)]
pub struct Health {}

impl Health {
    /// Whether calls may try the store now.
    #[must_use]
    pub fn is_up(&self, store: Store) -> bool {
        let _ = store;
        todo!()
    }

    /// The state, for people.
    #[must_use]
    pub fn state(&self, store: Store) -> StoreState {
        let _ = store;
        todo!()
    }

    /// A call or a probe has failed: opens the breaker if the error is about the store and not
    /// about the data.
    pub fn failed(&self, store: Store, error: &Error) {
        let _ = (store, error);
        todo!()
    }

    /// The store can be used (for PostgreSQL: and nothing is pending for it): closes the breaker.
    pub fn works(&self, store: Store) {
        let _ = store;
        todo!()
    }

    /// The store's tables are in the way.
    pub fn needs_init(&self, store: Store, error: &Error) {
        let _ = (store, error);
        todo!()
    }

    /// The last errors, the newest first.
    #[must_use]
    pub fn recent(&self) -> Vec<RecentError> {
        todo!()
    }

    /// Waits until the store is up, at most that long; says whether it is.
    pub async fn wait_up(&self, store: Store, within: Duration) -> bool {
        let _ = (store, within);
        todo!()
    }
}
