//! The path of a read: PostgreSQL, the file while it is away; or the file at once.
//!
//! "Not found" in PostgreSQL is an answer. What is pending in the file is not in PostgreSQL
//! yet: such a row is answered from the file, and before a list the two exchange what they have.
//! A PostgreSQL that may have lost something is not asked before both have been compared.

use std::time::Duration;

use crate::health::StoreState;
use crate::protocol::{After, Filter, Quarantined, Record};
use crate::schema::RowId;
use crate::store::postgres::primary::Primary;
use crate::store::sqlite::replica::{Content, LocalRow, Node};
use crate::{Error, Kind, Result, Store};

use super::Found;
use super::core::{Core, Deadline, neither};
use super::local::{HeldBy, behind_to_read, elsewhere, incomplete, knows, knows_all, record};
use super::options::Prefer;
use super::plan::named;
use super::write::remote_record;

/// How long a file that fails is looked at, for what is pending there.
const GLANCE: Duration = Duration::from_millis(100);

/// Which part of a table.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub table: usize,
    pub filter: Filter,
    pub after: Option<After>,
    pub limit: u64,
}

/// What the file answers about one row.
struct LocalAnswer {
    row: Option<LocalRow>,
    /// If it says that there is none, there is none.
    knows: bool,
    place: HeldBy,
    /// PostgreSQL may have lost it.
    doubted: bool,
    exchanged_ms: Option<i64>,
    file: uuid::Uuid,
}

impl LocalAnswer {
    /// Whether PostgreSQL may lack it.
    fn is_nearer(&self) -> bool {
        self.doubted || self.row.as_ref().is_some_and(|row| row.tracked.bases.any())
    }

    /// Why it cannot say whether there is such a row, nor can PostgreSQL.
    fn unknown(&self, operation: &'static str, row: &str, primary: Error) -> Error {
        let why = if self.place == HeldBy::PostgresAlone { elsewhere } else { incomplete };
        why(operation, row).with_source(primary)
    }

    fn found(self, id: &RowId, core: &Core) -> Found<Option<Record>> {
        let value = self.row.and_then(|row| record(id, row));
        core.found_in_file(value, self.exchanged_ms)
    }
}

impl Core {
    /// One row.
    ///
    /// # Errors
    /// Unavailable with both causes if neither store answers.
    pub async fn get(&self, operation: &'static str, id: &RowId) -> Result<Found<Option<Record>>> {
        let deadline = self.deadline();
        let wanted = id.clone();
        let question = move |content: &Content<'_>| {
            let node = content.node()?;
            let (row, aside) = (content.row(&wanted)?, content.aside(&wanted)?);
            let place = HeldBy::of(row.as_ref(), &aside);
            Ok(LocalAnswer {
                knows: place != HeldBy::PostgresAlone && knows(content, &wanted, row.as_ref())?,
                place,
                doubted: content.follow_of([wanted.table])?.doubts_primary(),
                exchanged_ms: exchanged_ms(&node, &aside),
                file: node.file,
                row,
            })
        };
        let name = named(&self.shared.tables, id);
        let local = self.look_at_file(operation, deadline, question.clone()).await;
        let file = local.as_ref().map(|local| local.file).unwrap_or_default();
        match local {
            Ok(local) if local.knows && (self.prefer == Prefer::Local || local.is_nearer()) => {
                Ok(local.found(id, self))
            }
            local => {
                let remote = async {
                    self.ready(operation)?;
                    let contact = self.followed(operation, file, deadline).await?;
                    self.ask(operation, deadline, contact.primary()?.row(id)).await
                };
                match (remote.await, local) {
                    // It was taken away there past the triggers: that is no answer.
                    (Ok(Some(row)), local) if row.version.is_absent() => {
                        self.look_for_gaps();
                        match local {
                            Ok(local) if local.knows => Ok(local.found(id, self)),
                            Ok(_) => Ok(Found { value: None, source: Store::Postgres, age: None }),
                            Err(error) => Err(error),
                        }
                    }
                    (Ok(row), _) => {
                        if row.as_ref().is_some_and(|row| row.is_loose) {
                            self.look_for_gaps();
                        }
                        let value = row.as_ref().and_then(remote_record);
                        Ok(Found { value, source: Store::Postgres, age: None })
                    }
                    (Err(_), Ok(local)) if local.knows => Ok(local.found(id, self)),
                    (Err(primary), Ok(local)) => Err(local.unknown(operation, &name, primary)),
                    // It may need more time than a look has.
                    (Err(primary), Err(_)) => match self.ask_file(operation, question).await {
                        Ok(local) if local.knows => Ok(local.found(id, self)),
                        Ok(local) => Err(local.unknown(operation, &name, primary)),
                        Err(file) => Err(neither(operation, primary, &file)),
                    },
                }
            }
        }
    }

    /// A part of a table, the newest first.
    ///
    /// # Errors
    /// As for [`Core::get`].
    pub async fn list(&self, operation: &'static str, page: Page) -> Result<Found<Vec<Record>>> {
        let (filter, after) = (page.filter.clone(), page.after.clone());
        let local = move |content: &Content<'_>| {
            content.list(page.table, &filter, after.as_ref(), page.limit)
        };
        self.read_either(operation, page.table, local, async |primary| {
            let rows =
                primary.list(page.table, &page.filter, page.after.as_ref(), page.limit).await?;
            Ok(rows.iter().filter_map(remote_record).collect())
        })
        .await
    }

    /// How many rows fit.
    ///
    /// # Errors
    /// As for [`Core::get`].
    pub async fn count(
        &self,
        operation: &'static str,
        table: usize,
        filter: Filter,
    ) -> Result<Found<u64>> {
        let local_filter = filter.clone();
        let local = move |content: &Content<'_>| content.count(table, &local_filter);
        let remote = async |primary: Primary<'_>| primary.count(table, &filter).await;
        self.read_either(operation, table, local, remote).await
    }

    /// From the store that is preferred, else from the other one.
    async fn read_either<T: Send + 'static>(
        &self,
        operation: &'static str,
        table: usize,
        local: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
        remote: impl AsyncFnOnce(Primary<'_>) -> Result<T>,
    ) -> Result<Found<T>> {
        let deadline = self.deadline();
        let question = move |content: &Content<'_>| {
            let node = content.node()?;
            let value = knows_all(content, table)?.then(|| local(content)).transpose()?;
            Ok((value, node.exchanged_ms))
        };
        let from_file = async {
            let within = match (self.prefer, self.shared.health.is_up(Store::Sqlite)) {
                (Prefer::Postgres, _) => self.timeout,
                (Prefer::Local, true) => deadline.remaining() / 2,
                (Prefer::Local, false) => GLANCE,
            };
            let (value, exchanged_ms) = self.ask_file_long(operation, within, question).await?;
            let value = value.ok_or_else(|| incomplete(operation, "a part of the table"))?;
            Ok(self.found_in_file(value, exchanged_ms))
        };
        let from_primary = async {
            let value = self.ask_when_pushed(operation, table, deadline, remote).await?;
            Ok(Found { value, source: Store::Postgres, age: None })
        };
        match self.prefer {
            Prefer::Postgres => match from_primary.await {
                Ok(found) => Ok(found),
                Err(primary) => from_file.await.map_err(|file| neither(operation, primary, &file)),
            },
            Prefer::Local => match from_file.await {
                Ok(found) => Ok(found),
                Err(file) => {
                    from_primary.await.map_err(|primary| neither(operation, primary, &file))
                }
            },
        }
    }

    /// Asks PostgreSQL once nothing is pending for it; gives up if that does not come about in
    /// half of the time.
    async fn ask_when_pushed<T>(
        &self,
        operation: &'static str,
        table: usize,
        deadline: Deadline,
        question: impl AsyncFnOnce(Primary<'_>) -> Result<T>,
    ) -> Result<T> {
        let look = move |content: &Content<'_>| {
            Ok((behind_to_read(content, table)?, content.node()?.file))
        };
        let (behind, file) = self.look_at_file(operation, deadline, look).await.unwrap_or_default();
        self.ready(operation)?;
        self.catch_up(operation, behind, Vec::new(), deadline).await?;
        let contact = self.followed(operation, file, deadline).await?;
        self.ask(operation, deadline, question(contact.primary()?)).await
    }

    /// A look into the file before PostgreSQL is asked. Half of the time is left for that; a file
    /// that is known to fail gets next to none.
    ///
    /// # Errors
    /// As for [`Core::ask_file`].
    pub async fn look_at_file<T: Send + 'static>(
        &self,
        operation: &'static str,
        deadline: Deadline,
        question: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match self.shared.health.state(Store::Sqlite) {
            StoreState::Up => {
                let within = deadline.remaining() / 2;
                self.note_failure(self.ask_file_within(operation, within, question).await)
            }
            // What it fails with is known.
            StoreState::Down { .. } | StoreState::NeedsInit { .. } => {
                self.ask_file_within(operation, GLANCE, question).await
            }
        }
    }

    /// A read transaction on the file.
    ///
    /// # Errors
    /// What the question answers; unavailable if the file does not answer in the time that a call
    /// has.
    pub async fn ask_file<T: Send + 'static>(
        &self,
        operation: &'static str,
        question: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.note_failure(self.ask_file_within(operation, self.timeout, question).await)
    }

    /// Lets the breaker know of a failure of the file. Of one that is not open it knows better
    /// why.
    fn note_failure<T>(&self, answer: Result<T>) -> Result<T> {
        answer.inspect_err(|error| {
            if self.shared.replica().is_some() && !super::core::is_verdict(error) {
                self.shared.health.failed(Store::Sqlite, error);
            }
        })
    }

    async fn ask_file_within<T: Send + 'static>(
        &self,
        operation: &'static str,
        within: Duration,
        question: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let replica = self.replica(operation)?;
        let answer = replica.read(operation, question);
        tokio::time::timeout(within, answer).await.unwrap_or_else(|_| Err(silent(operation)))
    }

    /// A read transaction that may take long, however well the file is: its time-out says nothing
    /// to the breaker, and no other call waits behind it.
    async fn ask_file_long<T: Send + 'static>(
        &self,
        operation: &'static str,
        within: Duration,
        question: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let replica = self.replica(operation)?;
        match tokio::time::timeout(within, replica.read_long(operation, question)).await {
            Ok(answer) => self.note_failure(answer),
            Err(_) => {
                let message = "the SQLite file has not given all of it in time";
                Err(Error::new(Kind::Unavailable(Store::Sqlite), operation, message)
                    .with_hint("ask for less at a time, or allow more of it"))
            }
        }
    }

    /// An answer of the file with its age.
    pub fn found_in_file<T>(&self, value: T, exchanged_ms: Option<i64>) -> Found<T> {
        let now_ms = crate::clock::now().as_millisecond();
        let age = exchanged_ms
            .map(|then| Duration::from_millis(now_ms.saturating_sub(then).max(0) as u64));
        Found { value, source: Store::Sqlite, age }
    }
}

/// Since when the file may lack something of that row: since it last heard everything, or since
/// it has not taken what it heard.
fn exchanged_ms(node: &Node, aside: &[Quarantined]) -> Option<i64> {
    let aside = aside.iter().filter(|entry| entry.refused_by == Store::Sqlite);
    let since = aside.map(|entry| entry.since_ms).min().unwrap_or(i64::MAX);
    node.exchanged_ms.map(|heard| heard.min(since))
}

fn silent(operation: &'static str) -> Error {
    let message = "the SQLite file has not answered in time";
    Error::new(Kind::Unavailable(Store::Sqlite), operation, message)
        .with_hint("another process may hold it, or its disk hangs")
}
