//! A Google Sheet or a CSV file into both stores, in two phases: first everything is fetched,
//! understood and staged on disk, then it is compared with what the stores have and written,
//! one transaction a store.
//!
//! The rooms: [`source`] (cells as they are) → [`meaning`] (cells into records, by a mapping)
//! → staging → plan → load → report.

pub mod meaning;
pub mod source;

use crate::error::Store;

/// What an import is doing, told as it happens; a program prints it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A request is repeated after a wait: why, and how long.
    Waiting {
        /// One clause: "the read quota of this minute is used up (429)".
        reason: &'a str,
        /// How long until the next try.
        wait: std::time::Duration,
        /// Waits still allowed, counted together.
        budget_left: std::time::Duration,
    },
    /// Rows read from the source so far, and how many there are if that is known.
    Read {
        /// Rows so far.
        rows: u64,
        /// All rows, where the source says so.
        total: Option<u64>,
    },
    /// Something that a person should know and that stops nothing.
    Warning(&'a str),
    /// Rows handed to a store so far.
    Loaded {
        /// The store.
        store: Store,
        /// Rows so far.
        rows: u64,
        /// All rows.
        total: u64,
    },
}

/// Receives the [`Event`]s of an import; called from any thread, must not block.
pub trait Observer: Send + Sync {
    /// One event.
    fn event(&self, event: Event<'_>);
}

/// An [`Observer`] that says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: Event<'_>) {}
}
