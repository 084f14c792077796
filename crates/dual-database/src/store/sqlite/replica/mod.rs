//! The file as a node of the logical database: rows with their sidecar, what is pending, the
//! cursor, the conflict log and the quarantine, behind one writing and one reading connection.
//!
//! [`Replica`] is the open file; [`Content`] is what one transaction on it can do, in the words
//! of the model (`crates/model/src/file.rs`). What becomes of a file that is deleted, replaced
//! or damaged while it is open stands in `DESIGN.md` beside this file.

mod block;
mod change;
mod conflict;
mod content;
mod damage;
mod declared;
mod exposure;
mod failing;
mod follow;
mod following;
mod gaps;
mod group;
mod lacking;
mod node;
mod number;
mod numbering;
mod open;
mod open_file;
mod place;
mod quarantine;
mod reader;
mod references;
mod room;
mod rows;
mod salvage;
mod scrub;
mod set_back;
mod statements;
mod surrogate;
mod take;
mod turn;
mod watch;

mod list;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

pub use content::Content;

use self::group::{Committer, Terms};
use self::place::SharedFile;
use self::reader::Reader;
use self::references::References;
use self::statements::Statements;
use self::watch::Endless;
use super::capture::Layout;
use crate::merge::{Defaults, Tracked};
use crate::protocol::{Follow, Lease, Tokens};
use crate::schema::{Making, RowId, Table};
use crate::stamp::{Stamp, Writer};
use crate::{Error, Kind, Result};

pub(crate) use block::is_unused;
pub(crate) use declared::outdated;
pub use failing::Failing;
pub(crate) use following::{is_first_contact, paused};
pub use lacking::Paused;
pub(crate) use lacking::lacking;
pub use numbering::{Numbered, Unsent};
pub(crate) use open::{is_damage, refuse_taken_away, refuse_unasked};
pub(crate) use place::LOCK;
pub(crate) use room::Merged;
pub use scrub::Scrub;
pub(crate) use turn::PUSH;
pub use turn::PushTurn;
pub(crate) use watch::is_endless;

/// How a file is opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it is, or will be.
    pub path: PathBuf,
    /// How long another process's lock is waited for.
    pub busy: Duration,
    /// The tables that are kept together.
    pub tables: Arc<[Table]>,
    /// What is made in it where something is missing.
    pub making: Making,
    /// Extensions of SQLite that every connection to it loads.
    pub extensions: Vec<PathBuf>,
    /// Tables that are left alone, and why; one of them that is among the tables besides stays so.
    pub aside: Arc<[Paused]>,
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
    statements: Arc<Statements>,
    endless: Arc<Endless>,
    references: Arc<References>,
    making: Making,
}

impl LocalTable {
    fn new(table: &Table, making: Making) -> LocalTable {
        let layout = Layout::new(table);
        let statements = Arc::new(Statements::new(table, &layout));
        LocalTable {
            defaults: Defaults::new(table.defaults()),
            table: table.clone(),
            layout,
            statements,
            endless: Arc::default(),
            references: Arc::default(),
            making,
        }
    }
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
    /// The table has it, though it is dead by the sidecar: it came past the triggers.
    pub is_loose: bool,
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
    /// The position at which a person was asked; `None` once both sides have been compared. What
    /// was written since is not part of what the person decides about.
    pub held_from: Option<i64>,
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

/// A damaged file that was set aside and made anew. What was pending in it and could not be read
/// is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where the damaged file is kept.
    pub aside: String,
    /// When it was set aside, in milliseconds since 1970.
    pub noted_ms: i64,
    /// Rows that were taken over from it.
    pub taken: u64,
    /// At least so many rows could not be read; `None`: nothing could.
    pub unreadable: Option<u64>,
    /// Rows that could be read, and that the table refuses.
    pub refused: u64,
}

/// The open file. Share it in an `Arc`.
///
/// Dropping it interrupts what is running, rolls back what is not committed and closes the file.
#[derive(Debug)]
pub struct Replica {
    place: Arc<SharedFile>,
    /// The reading ones go first: the last connection to close writes the log back into the file,
    /// which a reading one may not.
    reader: Reader,
    /// For what may take long.
    lister: Reader,
    committer: Committer,
}

impl Replica {
    /// Opens the file, or makes it, in WAL mode; brings its tables to the declared form if that
    /// takes additions only and [`Settings::making`] allows it, installs capture, and merges what an earlier salvage has kept. A
    /// damaged file that was ours is set aside and made anew.
    ///
    /// # Errors
    /// Configuration (a folder, not a database), access denied (read-only, no right), schema
    /// (a newer format, a table that additions do not mend, or that somebody has taken away),
    /// unavailable (locked); configuration
    /// also for a network file system.
    pub async fn open(settings: Settings) -> Result<Replica> {
        let place = Arc::new(SharedFile::new(settings));
        let committer = Committer::start(Arc::clone(&place)).await?;
        let reader = Reader::start(Arc::clone(&place))?;
        let lister = Reader::start(Arc::clone(&place))?;
        Ok(Replica { place, committer, reader, lister })
    }

    /// The tables in their order.
    #[must_use]
    pub fn tables(&self) -> &[LocalTable] {
        self.place.tables()
    }

    /// Runs `work` in a write transaction, which it may share with others: if it fails, only
    /// what it did is taken back. When this returns, it is committed, and the file that has it
    /// is still the one at the path. If the caller stops waiting before it began, it is not done.
    ///
    /// # Errors
    /// What `work` answers; unavailable, no space, access denied of the commit; unavailable if
    /// the file was deleted, replaced or damaged (then it has been recovered: the call can be
    /// repeated).
    pub async fn write<T: Send + 'static>(
        &self,
        operation: &'static str,
        durability: Durability,
        work: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.written(operation, Terms { durability, alone: false, within: None }, work).await
    }

    /// The same; if others keep the writing connection busy for longer than that, it is not done.
    ///
    /// # Errors
    /// As for [`Replica::write`]; unavailable if its turn did not come ([`is_busy`] tells).
    pub async fn write_within<T: Send + 'static>(
        &self,
        operation: &'static str,
        durability: Durability,
        within: Duration,
        work: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let terms = Terms { durability, alone: false, within: Some(within) };
        self.written(operation, terms, work).await
    }

    /// The same, of many rows: nobody who wants little shares the transaction, or waits for it
    /// longer than he wants to.
    ///
    /// # Errors
    /// As for [`Replica::write`].
    pub async fn write_many<T: Send + 'static>(
        &self,
        operation: &'static str,
        durability: Durability,
        work: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.written(operation, Terms { durability, alone: true, within: None }, work).await
    }

    async fn written<T: Send + 'static>(
        &self,
        operation: &'static str,
        terms: Terms,
        work: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let written = self.committer.call(operation, terms, work).await?;
        written.ok_or_else(|| busy(operation))
    }

    /// Runs `work` in a read transaction on the reading connection.
    ///
    /// # Errors
    /// What `work` answers; those of opening the transaction; those of recovering a file that
    /// was deleted, replaced or damaged.
    pub async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.read_on(&self.reader, operation, work).await
    }

    /// The same on another connection, for what may take long (a list of everything): nobody else
    /// waits behind it. It ends when its caller does not wait for it any more.
    ///
    /// # Errors
    /// As for [`Replica::read`].
    pub async fn read_long<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.read_on(&self.lister, operation, work).await
    }

    async fn read_on<T: Send + 'static>(
        &self,
        reader: &Reader,
        operation: &'static str,
        work: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let generation = self.generation();
        let work = match reader.call(operation, work).await {
            reader::Answer::Done(Err(error)) if open::is_damage(&error) => {
                self.committer.damaged(generation);
                self.look_at_file(operation).await?;
                return Err(Error::new(
                    Kind::Unavailable(Side::Sqlite),
                    operation,
                    "the file was damaged and has been made anew",
                )
                .with_source(error));
            }
            reader::Answer::Done(result) => return result,
            reader::Answer::Moved(work) => work,
        };
        // The writing thread brings the file back, or says why it cannot.
        self.look_at_file(operation).await?;
        match reader.call(operation, work).await {
            reader::Answer::Done(result) => result,
            reader::Answer::Moved(_) => Err(place::moved(operation)),
        }
    }

    /// Waits until the writing thread has looked at the file.
    async fn look_at_file(&self, operation: &'static str) -> Result<()> {
        self.write(operation, Durability::Normal, |_| Ok(())).await
    }

    /// The writer number that this process has taken in the file, until it is closed. It can
    /// change: see [`Replica::heartbeat`].
    #[must_use]
    pub fn process_number(&self) -> Writer {
        self.place.number()
    }

    /// Says that this process still writes, so that no other takes its number: to be called every
    /// few seconds. Answers the number, which is another one if this process was stopped for so
    /// long that somebody has taken it, or if it was replaced ([`Content::replace_number`]).
    ///
    /// # Errors
    /// Those of [`Replica::write`].
    pub async fn heartbeat(&self) -> Result<Writer> {
        let place = Arc::clone(&self.place);
        let claim = move |content: &Content<'_>| {
            number::claim(content.connection(), place.process(), Some(place.number()))
        };
        let number = self.write("renew the process's number", Durability::Normal, claim).await?;
        self.place.set_number(number);
        Ok(number)
    }

    /// How often the file was recovered: lost, replaced or damaged and brought back. When it
    /// changes, what was known of the file's cursor and tokens has to be read again.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.place.generation()
    }

    /// Closes it and waits until SQLite has let go of the file: that is when the last of those
    /// who share it has.
    pub async fn close(self: Arc<Replica>) {
        let mut open = self.committer.open();
        // Letting go may wait for the work that is running.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
        while open.changed().await.is_ok() {}
    }

    /// What could not be taken over of copies that lie beside the file, in sentences: writes that
    /// were acknowledged may be there only. It is tried again whenever the file is opened.
    #[must_use]
    pub fn left(&self) -> Vec<String> {
        self.place.left()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &std::path::Path {
        self.place.path()
    }
}

/// What is told whose turn did not come in time.
const BUSY: &str = "this process is writing much into the SQLite file";

fn busy(operation: &'static str) -> Error {
    Error::new(Kind::Unavailable(Side::Sqlite), operation, BUSY)
        .with_hint("it comes to its end by itself; repeat it, or allow more time")
}

/// Whether a write was not done only because its turn did not come in time: the file is well.
#[must_use]
pub fn is_busy(error: &Error) -> bool {
    error.message() == BUSY
}
