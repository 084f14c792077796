//! PostgreSQL as the primary of the logical database: library writes in one round trip, the
//! feed, merges of what files push, epoch and tokens, reads.
//!
//! [`Primary`] is what one session can do, in the words of the model
//! (`crates/model/src/primary.rs`). Columns are everywhere the data columns in their order.

mod ahead;
mod columns;
mod conflicts;
mod digest;
mod epoch;
mod feed;
mod gaps;
mod identity;
mod importable;
mod listener;
mod pool;
mod prepare;
mod purge;
mod push;
mod put;
mod range;
mod read;
mod row;
mod script;
mod trial;
mod unseen;
mod write;

use uuid::Uuid;

use super::Session;
use super::capture::{Drift, Layout};
use crate::merge::{Conflict, Defaults, Version};
use crate::protocol::{Epoch, Snapshot};
use crate::schema::{Key, RowId, Table};
use crate::stamp::Stamp;

pub(crate) use digest::digest_of;
pub use importable::{Importable, importable};
pub use listener::Listener;
pub use pool::{Pool, Pooled};
pub(crate) use prepare::{Planned, may_run, obstacles, plan_known};
pub use prepare::{Prepared, PreparedTable, prepare};
pub use purge::PurgePosition;
pub use push::{Kept, Reserved};
pub(crate) use push::{LOCKED, NUMBER};
pub(crate) use script::{grant, known_role, script};
pub(crate) use trial::{Trial, try_out};

/// A table with what stands beside it on the server.
#[derive(Clone, Debug)]
pub struct RemoteTable {
    /// As declared.
    pub table: Table,
    /// The names of its sidecar, and of the table itself.
    pub layout: Layout,
    /// The defaults of the data columns.
    pub defaults: Defaults,
}

/// What one session can do for one file. Sessions come from [`Pool`].
#[derive(Clone, Copy, Debug)]
pub struct Primary<'s> {
    /// The connection.
    pub session: &'s Session,
    /// The tables in their order.
    pub tables: &'s [RemoteTable],
    /// The file for which it is asked: its token is read and set.
    pub file: Uuid,
}

/// What every look at the server tells.
#[derive(Clone, Debug)]
pub struct Header {
    /// Who the server is.
    pub epoch: Epoch,
    /// What each of the tables, in their order, adds to [`Epoch::relations`].
    pub tables: Vec<u64>,
    /// What is visible.
    pub snapshot: Snapshot,
    /// Its clock, in milliseconds since 1970.
    pub now_ms: i64,
    /// The purge horizon.
    pub horizon: Stamp,
    /// The highest transaction whose tombstone was purged.
    pub purged: Option<u64>,
}

/// A row of the server with its sidecar.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteRow {
    /// Which.
    pub id: RowId,
    /// The surrogate; `None` for a dead row.
    pub surrogate: Option<i64>,
    /// Values and stamps.
    pub version: Version,
    /// The transaction that changed it last.
    pub txid: u64,
    /// A data column whose value cannot be carried (its value here is NULL).
    pub unreadable: Option<usize>,
    /// The table and the sidecar do not agree about it: it came past the triggers, and nobody has
    /// noted that yet.
    pub is_loose: bool,
}

/// What one poll has read, in one snapshot.
#[derive(Clone, Debug)]
pub struct Poll {
    /// Who answered.
    pub header: Header,
    /// What is new, and what was asked for by key.
    pub rows: Vec<RemoteRow>,
    /// The tables of which more is new than was wanted at once: nothing of that was read.
    pub too_many: Vec<usize>,
    /// The tables whose capture is not as installed.
    pub drift: Vec<(usize, Drift)>,
}

/// A part of a table, in one snapshot.
#[derive(Clone, Debug)]
pub struct Range {
    /// Who answered.
    pub header: Header,
    /// The sidecar's rows in key order.
    pub rows: Vec<RemoteRow>,
    /// The key with which it ends; `None`: with the table.
    pub end: Option<Key>,
}

/// What one pushed batch did.
#[derive(Clone, Debug, Default)]
pub struct Pushed {
    /// Rows that were there once and are not: their tombstones may have been purged.
    pub gone: Vec<RowId>,
    /// Rows that were refused: SQLSTATE (or `unreadable`; `LOCKED`: another session has the row)
    /// and reason, without values.
    pub refused: Vec<(RowId, String, String)>,
    /// Conflicts with the winning and the losing value as canonical text; they are in
    /// PostgreSQL's log already.
    pub conflicts: Vec<(RowId, Conflict, Option<String>, Option<String>)>,
    /// Surrogates that new rows got.
    pub surrogates: Vec<(RowId, i64)>,
}

/// How a push ended.
#[derive(Clone, Debug)]
pub enum PushEnd {
    /// Merged and committed.
    Done(Pushed),
    /// Nothing was merged: something lies too far ahead of the server's clock, which shows this.
    Ahead {
        /// Milliseconds since 1970.
        now_ms: i64,
    },
    /// Nothing was merged: it is not the server any more that the file follows, or it has found that
    /// it lacks what it once had.
    OtherServer,
}

/// A row that a library's write has read or changed.
#[derive(Clone, Debug)]
pub struct WrittenRow {
    /// The row as it was, `None` if its key had never been seen. Values are not told: NULL.
    pub previous: Option<Version>,
    /// As it is now.
    pub row: RemoteRow,
}

/// What a library's write did.
#[derive(Clone, Debug)]
pub struct WriteAnswer {
    /// The changed rows in the order of the changes.
    pub rows: Vec<WrittenRow>,
    /// The transaction.
    pub txid: u64,
    /// The server that did it, read in the same transaction.
    pub epoch: Epoch,
}

/// Why a library's write changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Something at or above the proposal is there.
    Stale {
        /// What the next proposal has to exceed.
        above: Stamp,
    },
    /// The proposal lies too far ahead of the server's clock.
    Ahead,
    /// An insert of a row that lives.
    Exists(RowId),
    /// An update or delete of a row that does not.
    Missing(RowId),
    /// A row that the transaction has read is not as it was.
    Changed(RowId),
    /// An update or delete of a row that was taken away past the triggers: whether it lives only a
    /// comparison can tell.
    Absent(RowId),
}
