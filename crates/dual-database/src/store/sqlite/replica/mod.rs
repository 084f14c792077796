//! The file as a node of the logical database: rows with their sidecar, what is pending, the
//! cursor, the conflict log and the quarantine, behind one writing and one reading connection.
//!
//! [`Replica`] is the open file; [`Content`] is what one transaction on it can do, in the words
//! of the model (`crates/model/src/file.rs`).

mod list;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use uuid::Uuid;

use super::capture::Layout;
use crate::Result;
use crate::merge::{Absorbed, Change, Conflict, Defaults, RegisterId, Tracked};
use crate::schema::{RowId, Table};
use crate::stamp::{Stamp, Writer};
use crate::sync::{Follow, Lease, Tokens};

pub use list::ListedRow;

/// How a file is opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is, or will be.
    pub path: PathBuf,
    /// How long another process's lock is waited for.
    pub busy: Duration,
    /// The tables that are kept together.
    pub tables: Arc<[Table]>,
}

/// A table with what stands beside it.
#[derive(Clone, Debug)]
pub struct LocalTable {
    /// As declared.
    pub table: Table,
    /// The names of its sidecar.
    pub layout: Layout,
    /// The defaults of the data columns.
    pub defaults: Defaults,
}

/// Whether a commit has to survive a power cut by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// PostgreSQL has it (`synchronous=NORMAL`).
    Normal,
    /// Nobody else has it (`synchronous=FULL`).
    Full,
}

/// A row of the file with its sidecar. Columns are the data columns in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalRow {
    /// Values, stamps, and what is pending.
    pub tracked: Tracked,
    /// The surrogate; negative while provisional; `None` for a dead row.
    pub surrogate: Option<i64>,
    /// The position of its last change; 0 if it came from PostgreSQL.
    pub seq: i64,
    /// A data column whose stored value its type cannot hold (its value here is NULL): the row
    /// cannot be carried.
    pub unreadable: Option<usize>,
}

/// What the file knows of itself as a node. One row, changed by compare-and-swap.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The file's identity at PostgreSQL.
    pub file: Uuid,
    /// The writer number of its triggers.
    pub number: Writer,
    /// The installation on PostgreSQL that it belongs to, once it has met one.
    pub installation: Option<u128>,
    /// Rows up to this `seq` have been pushed.
    pub pushed: i64,
    /// The position of the last change.
    pub seq: i64,
    /// The cursor.
    pub follow: Follow,
    /// Tokens.
    pub tokens: Tokens,
    /// PostgreSQL's purge horizon.
    pub horizon: Stamp,
    /// Who runs the synchroniser.
    pub lease: Option<Lease>,
    /// When both sides last exchanged everything, in milliseconds since 1970.
    pub exchanged_ms: Option<i64>,
}

/// What is to be pushed.
#[derive(Clone, Debug, Default)]
pub struct Pending {
    /// The rows in the order of their changes, those in quarantine that are due included.
    pub rows: Vec<(RowId, LocalRow)>,
    /// The position up to which they were read.
    pub upto: i64,
}

/// What became of a row that was to be written into the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It stands there, or nothing had to be written.
    Done,
    /// The file's table refuses it (a constraint); it is in quarantine now.
    Refused,
}

/// A side of the database.
pub use crate::error::Store as Side;

/// An entry of the conflict log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConflictEntry {
    /// The row.
    pub id: RowId,
    /// Register and the two stamps.
    pub conflict: Conflict,
    /// Canonical text of the value that stands; `None` for NULL or a delete.
    pub winning: Option<String>,
    /// Canonical text of the value that does not.
    pub losing: Option<String>,
    /// When it was noted, in milliseconds since 1970.
    pub noted_ms: i64,
    /// Whether a person has seen it.
    pub reviewed: bool,
}

/// A row that one side refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The row.
    pub id: RowId,
    /// Who refuses it.
    pub refused_by: Side,
    /// The SQLSTATE, SQLite's extended code, or `unreadable`.
    pub code: String,
    /// Why, without values.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
    /// When it is tried again by itself.
    pub retry_ms: i64,
}

/// The open file. Cheap to clone is not needed: share it in an `Arc`.
#[derive(Debug)]
pub struct Replica {
    tables: Arc<[LocalTable]>,
}

impl Replica {
    /// Opens the file, or makes it, in WAL mode; brings its tables to the declared form if that
    /// takes additions only, installs capture, and merges what an earlier salvage has kept.
    ///
    /// # Errors
    /// Configuration (a folder, not a database), access denied (read-only, no right), schema
    /// (a newer format, a table that additions do not mend, a network file system),
    /// unavailable (locked).
    pub async fn open(settings: Settings) -> Result<Replica> {
        let _ = settings;
        todo!()
    }

    /// The tables in their order.
    #[must_use]
    pub fn tables(&self) -> &[LocalTable] {
        &self.tables
    }

    /// Runs `work` in a write transaction, which it may share with others: if it fails, only
    /// what it did is taken back. When this returns, it is committed, and the file that has it
    /// is still the one at the path.
    ///
    /// # Errors
    /// What `work` answers; unavailable, no space, access denied of the commit; unavailable if
    /// the file was deleted or replaced (then it has been recovered: the call can be repeated).
    pub async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        durability: Durability,
        work: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _ = (operation, durability, work);
        todo!()
    }

    /// Runs `work` in a read transaction on the reading connection.
    ///
    /// # Errors
    /// What `work` answers; those of opening the transaction.
    pub async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let _ = (operation, work);
        todo!()
    }

    /// The writer number that this process has taken in the file, until it is closed.
    #[must_use]
    pub fn process_number(&self) -> Writer {
        todo!()
    }
}

/// One transaction on the file.
#[derive(Debug)]
pub struct Content<'c> {
    connection: &'c Connection,
    tables: &'c [LocalTable],
}

impl Content<'_> {
    /// The connection, for statements of other rooms.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        self.connection
    }

    /// The tables in their order.
    #[must_use]
    pub fn tables(&self) -> &[LocalTable] {
        self.tables
    }

    /// What the file knows of itself.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn node(&self) -> Result<Node> {
        todo!()
    }

    /// Writes everything of `node` but `seq` and `number`... (see `renumber`).
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn set_node(&self, node: &Node) -> Result<()> {
        let _ = node;
        todo!()
    }

    /// The row, dead ones included; `None` for a key never seen.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn row(&self, id: RowId) -> Result<Option<LocalRow>> {
        let _ = id;
        todo!()
    }

    /// The sidecar's rows of that table with keys above `after` and up to `upto`, in key order,
    /// at most `limit`.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn range(
        &self,
        table: usize,
        after: Option<i64>,
        upto: Option<i64>,
        limit: usize,
    ) -> Result<Vec<(RowId, LocalRow)>> {
        let _ = (table, after, upto, limit);
        todo!()
    }

    /// Whether something is pending that is not in quarantine.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn is_pending(&self) -> Result<bool> {
        todo!()
    }

    /// How many rows are pending, those in quarantine not counted.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn pending_count(&self) -> Result<u64> {
        todo!()
    }

    /// What is to be pushed: rows above `pushed`, and the due ones of the quarantine (all of
    /// them with `all`). `now_ms` by this machine's clock.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn pending(&self, now_ms: i64, all: bool) -> Result<Pending> {
        let _ = (now_ms, all);
        todo!()
    }

    /// A change made here, under `stamp`, pending. The caller has checked that the row is there,
    /// or is not. A new row gets a provisional surrogate.
    ///
    /// # Errors
    /// Invalid data if the table refuses it; else those of [`super::failed`].
    pub fn change(&self, id: RowId, change: &Change, stamp: Stamp) -> Result<()> {
        let _ = (id, change, stamp);
        todo!()
    }

    /// Writes what a merge has decided, with its entries in the conflict log (`incoming` gives
    /// the other images), as the model's `Content::take` does. `surrogate` is PostgreSQL's and
    /// wins; who has that number here gets a provisional one.
    ///
    /// # Errors
    /// Those of [`super::failed`] that are not about the row.
    pub fn take(
        &self,
        id: RowId,
        before: Option<&LocalRow>,
        absorbed: &Absorbed,
        surrogate: Option<i64>,
    ) -> Result<Taken> {
        let _ = (id, before, absorbed, surrogate);
        todo!()
    }

    /// Writes bases and stamps of a row whose values stay as they are (acknowledge, restamp,
    /// repend).
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn set_tracked(&self, id: RowId, tracked: &Tracked) -> Result<()> {
        let _ = (id, tracked);
        todo!()
    }

    /// Removes a row and all that is known of it: it was purged.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn forget(&self, id: RowId) -> Result<()> {
        let _ = id;
        todo!()
    }

    /// Forgets the tombstones wholly below the horizon in which nothing is pending.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn purge(&self, horizon: Stamp) -> Result<u64> {
        let _ = horizon;
        todo!()
    }

    /// Adds entries to the conflict log; those that are there stay.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn log_conflicts(&self, entries: &[ConflictEntry]) -> Result<()> {
        let _ = entries;
        todo!()
    }

    /// The conflict log, the newest first.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn conflicts(&self, limit: usize) -> Result<Vec<ConflictEntry>> {
        let _ = limit;
        todo!()
    }

    /// Entries that PostgreSQL's log may lack; marked as sent by [`Content::conflicts_sent`].
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn unsent_conflicts(&self) -> Result<Vec<(i64, ConflictEntry)>> {
        todo!()
    }

    /// Marks entries as known to PostgreSQL.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn conflicts_sent(&self, numbers: &[i64]) -> Result<()> {
        let _ = numbers;
        todo!()
    }

    /// Sets a row aside, or again with a later retry; `since` is kept.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn set_aside(&self, entry: &Quarantined) -> Result<()> {
        let _ = entry;
        todo!()
    }

    /// Takes a row out of quarantine for what that side refused; everything else that waits
    /// becomes due.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn release(&self, id: RowId, refused_by: Side) -> Result<()> {
        let _ = (id, refused_by);
        todo!()
    }

    /// The quarantine.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn quarantine(&self) -> Result<Vec<Quarantined>> {
        todo!()
    }

    /// Another identity and another number for the triggers: the file is a copy.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn new_identity(&self, file: Uuid, number: Writer) -> Result<()> {
        let _ = (file, number);
        todo!()
    }

    /// The numbers that this file and the processes on it have taken: to be claimed at
    /// PostgreSQL.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn numbers(&self) -> Result<Vec<Writer>> {
        todo!()
    }

    /// Replaces a number that belongs to somebody else.
    ///
    /// # Errors
    /// Those of [`super::failed`].
    pub fn replace_number(&self, taken: Writer, by: Writer) -> Result<()> {
        let _ = (taken, by);
        todo!()
    }
}

/// The register's name in the conflict log: `live`, or the column's.
#[must_use]
pub fn register_name(table: &Table, register: RegisterId) -> &'static str {
    match register {
        RegisterId::Live => "(row)",
        RegisterId::Column(at) => table.data_columns().nth(at).map_or("?", |(_, c)| c.name),
    }
}
