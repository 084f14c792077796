//! How both stores stand.

pub use crate::store::sqlite::replica::{Damage, Failing, Paused};
pub use crate::verify::{TableDifference, Verification};

use std::sync::Arc;

use crate::health::{RecentError, StoreState};
use crate::protocol::Break;
use crate::schema::Key;

/// How one side stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideStatus {
    /// Up, down or in need of `dual init`.
    pub state: StoreState,
}

/// How both stores stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// PostgreSQL.
    pub postgres: SideStatus,
    /// The file.
    pub sqlite: SideStatus,
    /// Rows that PostgreSQL lacks; `None` if the file cannot be asked.
    pub pending_to_postgres: Option<u64>,
    /// Rows that the file lacks; `None` if PostgreSQL cannot be asked.
    pub pending_to_sqlite: Option<u64>,
    /// Conflicts that nobody has reviewed.
    pub conflicts: Option<u64>,
    /// Rows that one side refuses.
    pub quarantined: Option<u64>,
    /// How long ago both last exchanged everything, in milliseconds.
    pub last_sync_age_ms: Option<i64>,
    /// `following`, `converging`, `held` (a comparison waits for `dual repair`), `failing` (both sides
    /// answer, and the exchange does not get on: see `failing`).
    pub sync: &'static str,
    /// Rows that would be lost, while it is held.
    pub held_losses: Option<usize>,
    /// The size of the write-ahead log beside the file, in bytes.
    pub wal_bytes: Option<u64>,
    /// The file's permissions, such as `0644`, if others than its owner may read or write it.
    pub exposed: Option<String>,
    /// What went wrong lately in this process, the newest first.
    pub recent_errors: Vec<RecentError>,
    /// What the exchange fails at, in whichever process of the file, the last one first; empty once a
    /// round has come to its end.
    pub failing: Vec<Failing>,
    /// Tables of the file that need what only the application's connection has: their rows wait in
    /// quarantine.
    pub paused: Vec<Paused>,
    /// Tables that have to be compared before they are exchanged like the others, which are exchanged
    /// meanwhile. Empty while all are compared: `sync` says so then.
    pub comparing: Vec<Comparing>,
    /// Columns of joined tables that one side has and the other one does not get.
    pub not_carried: Vec<NotCarried>,
    /// The last full pass of the background verification; `None` before the first.
    pub verified: Option<Verified>,
    /// Damaged files that were made anew, until a person has seen it; `None` if the file cannot be
    /// asked.
    pub damage: Option<Vec<Damage>>,
    /// The latest time that a stamp tells which an exchange has met and which lies in the future, in
    /// milliseconds since 1970, until it was set back (`repair_stamps`) or has come. `verify` counts
    /// them.
    pub ahead_until_ms: Option<i64>,
}

/// A table that is compared, or will be, while the others are exchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparing {
    /// The table.
    pub table: Arc<str>,
    /// `joined` (it has not been compared yet), `missed` (it was left alone, or capture was not as
    /// installed: changes may have been missed), `backlog` (so much is new that both sides are gone
    /// through by ranges).
    pub reason: &'static str,
}

impl Comparing {
    pub(super) fn new(table: Arc<str>, cause: Break) -> Comparing {
        let reason = match cause {
            Break::FirstContact | Break::Rebuilt => "joined",
            Break::Backlog => "backlog",
            Break::OtherFile
            | Break::OtherPrimary
            | Break::Purged
            | Break::Missing
            | Break::LocalGap
            | Break::CaptureGap => "missed",
        };
        Comparing { table, reason }
    }
}

/// A column that stays where it is: it has come since the table was joined, or it cannot be carried. `dual
/// init` says why, and what would be carried with `--apply`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotCarried {
    /// The table.
    pub table: Arc<str>,
    /// The column's name.
    pub column: Arc<str>,
    /// The side that has it.
    pub store: crate::Store,
}

/// A full pass of the background verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// When it ended, in milliseconds since 1970.
    pub ended_ms: i64,
    /// Rows that differed though everything was exchanged; they were compared then, and settled.
    pub found: u64,
}

/// An entry of the conflict log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The table.
    pub table: Arc<str>,
    /// The row's key.
    pub key: Key,
    /// The column; `(row)` for an insert or a delete.
    pub column: Arc<str>,
    /// Canonical text of the value that stands.
    pub winning: Option<String>,
    /// Canonical text of the value that does not.
    pub losing: Option<String>,
    /// When the value that stands was written, in milliseconds since 1970; `None` if it was there
    /// before the two were joined: nobody knows since when.
    pub winner_ms: Option<i64>,
    /// The same of the value that does not.
    pub loser_ms: Option<i64>,
    /// When it was noted.
    pub noted_ms: i64,
    /// Whether a person has seen it.
    pub reviewed: bool,
}

/// A row that one side refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedRow {
    /// The table.
    pub table: Arc<str>,
    /// The row's key; `None` if it is no whole number, in the file only.
    pub key: Option<Key>,
    /// Who refuses it.
    pub refused_by: crate::Store,
    /// The SQLSTATE, SQLite's extended code, or `unreadable`.
    pub code: String,
    /// Why, without values.
    pub reason: String,
    /// Since when, in milliseconds since 1970; of a row without a key the moment of this look.
    pub since_ms: i64,
}
