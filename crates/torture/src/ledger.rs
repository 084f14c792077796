//! What was attempted and what was answered, in a file outside both stores for each writer.
//!
//! A line is one `write`: it survives the SIGKILL of its writer. Times are those of the
//! monotonic clock, which every process of a machine shares and no clock jump moves.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Microseconds of the monotonic clock.
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}

/// The monotonic time of a moment of the system's clock, given in milliseconds since 1970.
pub fn of_system_clock(ms: u64) -> u64 {
    let (real, since) = (clock_gettime(ClockId::Realtime), now());
    let real = u64::try_from(real.tv_sec).unwrap_or(0) * 1_000_000
        + u64::try_from(real.tv_nsec).unwrap_or(0) / 1_000;
    since.saturating_sub(real.saturating_sub(ms * 1_000))
}

/// What a write wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// A new row with both values.
    Add { real: String, user: String },
    /// A row with these values, whether or not it is there.
    Upsert { real: Option<String>, user: Option<String> },
    /// One column of a row that is there.
    Update { real: Option<String>, user: Option<String> },
    /// A new row with both values, past the triggers.
    Load { real: String, user: String },
    /// No row.
    Delete,
    /// An amount from the row to another one, in one transaction.
    Transfer { to: i64, amount: i64 },
    /// So many increments of counters.
    Count { times: u64 },
    /// A row that PostgreSQL refuses.
    Refused,
    /// The correction of such a row.
    Correct,
}

impl Intent {
    /// Whether it sets `real_name`, and whether `username`; `None` for what is of other rows.
    pub fn names(&self) -> Option<[bool; 2]> {
        match self {
            Intent::Add { .. } | Intent::Load { .. } | Intent::Delete => Some([true; 2]),
            Intent::Upsert { real, user } | Intent::Update { real, user } => {
                Some([real.is_some(), user.is_some()])
            }
            Intent::Transfer { .. } | Intent::Count { .. } | Intent::Refused | Intent::Correct => {
                None
            }
        }
    }

    /// What it sets `real_name` (0) or `username` (1) to.
    pub fn text(&self, column: usize) -> Option<&String> {
        match self {
            Intent::Add { real, user } | Intent::Load { real, user } => Some([real, user][column]),
            Intent::Upsert { real, user } | Intent::Update { real, user } => {
                [real, user][column].as_ref()
            }
            _ => None,
        }
    }
}

/// What a writer was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Both stores have it.
    Both,
    /// PostgreSQL has it.
    Postgres,
    /// The file has it.
    Sqlite,
    /// So many of the increments were done.
    Counted { times: u64 },
    /// The row is there already.
    AlreadyExists,
    /// The row is not there.
    NotFound,
    /// The data was refused.
    Invalid,
    /// Nothing was acknowledged; it may have been done or not.
    Unknown { why: String },
}

/// A line of a ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "e", rename_all = "snake_case")]
pub enum Entry {
    /// Who writes here; the first line.
    Who { who: String, node: Option<usize>, incarnation: u32, pid: u32 },
    /// The databases are open.
    Ready { t: u64 },
    /// A write begins.
    Start { n: u64, t: u64, key: i64, intent: Intent },
    /// A write was answered. `late` is how much of the time the machine did not let the process
    /// run, in microseconds.
    End { n: u64, t: u64, outcome: Outcome, late: u64 },
    /// A row was read: from where, and what it holds.
    Read {
        t0: u64,
        t1: u64,
        key: i64,
        from: Place,
        there: bool,
        real: Option<String>,
        user: Option<String>,
        late: u64,
    },
    /// A read was not answered.
    Unread { t0: u64, t1: u64, key: i64, why: String, late: u64 },
    /// What the product says about itself.
    Status {
        t0: u64,
        t1: u64,
        to_postgres: Option<u64>,
        to_sqlite: Option<u64>,
        sync: String,
        up: bool,
        wal: Option<u64>,
    },
    /// A sum over a bank, in one snapshot of one store.
    Sum { t0: u64, t1: u64, store: String, bank: i64, rows: i64, sum: i64, following: bool },
    /// A file has set a row aside because somebody has it locked at PostgreSQL, or (`aside` is
    /// false) has it aside no more.
    Locked { t: u64, node: usize, key: i64, aside: bool },
    /// While a neighbour was at work, a write on each side: whether it arrived on the other one.
    Probe { t0: u64, t1: u64, nemesis: String, node: usize, arrived: bool },
    /// What came past the triggers is in every store.
    Arrived { t: u64, key: i64 },
    /// The row was taken away past the triggers: from PostgreSQL, or from the file of a node.
    Removed { t: u64, key: i64, node: Option<usize> },
    /// Where a file's cursor stands.
    Cursor { t: u64, node: usize, epoch: String, xmax: u64 },
    /// A fault, from its beginning to its end. `lost_from`: what its store alone got since then
    /// may be gone, of `lost_rows` or of all; until `lost_to`, or to the end.
    Fault {
        nemesis: String,
        target: String,
        t0: u64,
        t1: u64,
        lost_from: Option<u64>,
        #[serde(default)]
        lost_to: Option<u64>,
        #[serde(default)]
        lost_rows: Option<Vec<i64>>,
        /// Which table it hit, if not all.
        #[serde(default)]
        table: Option<String>,
        note: Option<String>,
    },
}

/// A store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// PostgreSQL.
    Postgres,
    /// The file.
    Sqlite,
}

/// A ledger that is being written.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    next: AtomicU64,
}

impl Ledger {
    /// A new ledger in that folder.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn create(
        folder: &Path,
        who: &str,
        node: Option<usize>,
        incarnation: u32,
    ) -> io::Result<Ledger> {
        let path = folder.join(format!("{who}.{incarnation}.jsonl"));
        let file = File::options().create(true).append(true).open(path)?;
        let ledger = Ledger { file, next: AtomicU64::new(0) };
        let pid = std::process::id();
        ledger.write(&Entry::Who { who: who.into(), node, incarnation, pid });
        Ok(ledger)
    }

    /// Appends a line.
    pub fn write(&self, entry: &Entry) {
        if let Ok(mut line) = serde_json::to_vec(entry) {
            line.push(b'\n');
            // Without a ledger nothing can be checked: the missing end counts as unknown.
            let _ = (&self.file).write_all(&line);
        }
    }

    /// Notes that a write begins; gives its number.
    pub fn start(&self, key: i64, intent: Intent) -> u64 {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        self.write(&Entry::Start { n, t: now(), key, intent });
        n
    }

    /// Notes how it was answered.
    pub fn end(&self, n: u64, outcome: Outcome, late: u64) {
        self.write(&Entry::End { n, t: now(), outcome, late });
    }
}

/// A write, from its attempt to its answer.
#[derive(Clone, Debug)]
pub struct Op {
    /// Whose.
    pub who: String,
    /// Of which node.
    pub node: Option<usize>,
    /// When it began.
    pub t0: u64,
    /// When it was answered; `u64::MAX` if it never was.
    pub t1: u64,
    /// Which row.
    pub key: i64,
    /// What it wants.
    pub intent: Intent,
    /// What it was told.
    pub outcome: Outcome,
    /// How long the machine did not let the process run meanwhile.
    pub late: u64,
}

impl Op {
    /// Whether success was acknowledged.
    pub fn is_acknowledged(&self) -> bool {
        matches!(
            self.outcome,
            Outcome::Both | Outcome::Postgres | Outcome::Sqlite | Outcome::Counted { .. }
        )
    }
}

/// Everything that was written down in a folder.
#[derive(Debug, Default)]
pub struct Book {
    /// Writes, in the order in which they began.
    pub ops: Vec<Op>,
    /// Everything else, with who wrote it and of which node that is.
    pub rest: Vec<(String, Option<usize>, Entry)>,
}

impl Book {
    /// Reads every ledger of the folder.
    ///
    /// # Errors
    /// The folder or a file cannot be read.
    pub fn read(folder: &Path) -> io::Result<Book> {
        let mut book = Book::default();
        let mut paths: Vec<_> =
            fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        paths.sort();
        for path in paths {
            book.add(&fs::read_to_string(path)?);
        }
        book.ops.sort_by_key(|op| op.t0);
        Ok(book)
    }

    fn add(&mut self, text: &str) {
        let (mut who, mut node) = (String::new(), None);
        let mut open = std::collections::BTreeMap::new();
        // The last line of a killed writer may be broken.
        for entry in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            match entry {
                Entry::Who { who: name, node: of, .. } => {
                    (who, node) = (name, of);
                }
                Entry::Start { n, t, key, intent } => {
                    let outcome = Outcome::Unknown { why: "never answered".into() };
                    let (who, t1, late) = (who.clone(), u64::MAX, 0);
                    open.insert(n, Op { who, node, t0: t, t1, key, intent, outcome, late });
                }
                Entry::End { n, t, outcome, late } => {
                    if let Some(op) = open.remove(&n) {
                        self.ops.push(Op { t1: t, outcome, late, ..op });
                    }
                }
                other => self.rest.push((who.clone(), node, other)),
            }
        }
        self.ops.extend(open.into_values());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_answered_is_unknown() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(folder.path(), "w1", Some(0), 0).unwrap();
        let first = ledger.start(7, Intent::Delete);
        ledger.start(8, Intent::Delete);
        ledger.end(first, Outcome::Both, 0);
        drop(ledger);
        let path = folder.path().join("w1.0.jsonl");
        let mut broken = File::options().append(true).open(path).unwrap();
        broken.write_all(b"{\"e\":\"start\",\"n\":3").unwrap();
        let book = Book::read(folder.path()).unwrap();
        let told: Vec<_> =
            book.ops.iter().map(|op| (op.key, op.is_acknowledged(), op.node)).collect();
        assert_eq!(told, [(7, true, Some(0)), (8, false, Some(0))]);
    }
}
