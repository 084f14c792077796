//! Several rows in one transaction, on both stores, by optimistic reads: what was read is
//! remembered with its stamps, what is to be changed is collected, and the commit does all of
//! it if nothing that was read has changed, else nothing of it.

mod list;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::core::{Core, Deadline};
use super::local::{HeldBy, behind_followed, elsewhere, incomplete, is_here, knows, record};
use super::number::NumberKept;
use super::patch::Patch;
use super::plan::{Intent, WritePlan, already_exists, key_of, named, new_row, not_found};
use super::table::{id_of, intent_to_add, intent_to_update};
use super::write::remote_record;
use super::{WriteMode, Written};
use crate::merge::{Change, Version};
use crate::protocol::Record;
use crate::schema::{Key, RowId};
use crate::store::sqlite::replica::Content;
use crate::value::Value;
use crate::{Error, Kind, Result, Store};

const OPERATION: &str = "commit a transaction";
/// How often a transaction that met somebody else's write is made again.
const TRIES: u32 = 6;

/// Where a transaction reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadFrom {
    Primary,
    File,
}

/// A transaction that is being put together: a handle, cheap to clone. Clones may be used at once;
/// each step sees what the ones before it have left. Nothing is written before its commit, which
/// comes when the work that was given it has ended; a clone that is used later is told so.
#[derive(Clone, Debug)]
pub struct Transaction {
    core: Arc<Core>,
    read_from: ReadFrom,
    /// The tables that are compared beside the others: what waits in them is in the file alone.
    apart: Arc<[usize]>,
    deadline: Deadline,
    file: uuid::Uuid,
    state: Arc<Mutex<TransactionState>>,
}

#[derive(Debug, Default)]
struct TransactionState {
    reads: BTreeMap<RowId, Option<Version>>,
    /// What the transaction sees of the rows that it has met, and does to them.
    rows: BTreeMap<RowId, Seen>,
    /// How many writes there were.
    writes: usize,
    /// What keeps the numbers of rows that were added without a key.
    numbers: BTreeMap<RowId, NumberKept>,
    /// PostgreSQL has failed while it was read: the file can do it.
    lost_primary: bool,
    /// Its work has ended: nothing more is put into it.
    ended: bool,
}

#[derive(Debug, Default)]
struct Seen {
    record: Option<Record>,
    change: Option<Change>,
    /// Which of the transaction's writes it is: rows may refer to each other, and whoever calls
    /// writes what is referred to first, and deletes it last.
    turn: usize,
}

impl TransactionState {
    /// The row, and which write to it this one is.
    fn writes_to(&mut self, id: &RowId) -> (usize, &mut Seen) {
        self.writes += 1;
        (self.writes, self.rows.entry(id.clone()).or_default())
    }
}

impl TransactionState {
    /// The row is added, under values that are whole.
    fn insert(&mut self, id: &RowId, values: Vec<Value>) -> Record {
        let (turn, seen) = self.writes_to(id);
        let record = Record { key: id.key.clone(), surrogate: None, values: values.clone() };
        seen.record = Some(record.clone());
        seen.takes_turn(turn);
        seen.change = Some(match seen.change.take() {
            // It lived before this transaction: one life, other values.
            Some(Change::Delete) => Change::Update(values.into_iter().enumerate().collect()),
            _ => Change::Insert(values),
        });
        record
    }

    /// These columns of the row are set; `None` if it is not there.
    fn update(&mut self, id: &RowId, columns: Vec<(usize, Value)>) -> Option<Record> {
        let (turn, seen) = self.writes_to(id);
        let mut record = seen.record.clone()?;
        seen.takes_turn(turn);
        for (at, value) in &columns {
            record.values[*at] = value.clone();
        }
        seen.record = Some(record.clone());
        seen.change = Some(match seen.change.take() {
            Some(Change::Insert(_)) => Change::Insert(record.values.clone()),
            Some(Change::Update(before)) => {
                let mut all: BTreeMap<_, _> = before.into_iter().collect();
                all.extend(columns);
                Change::Update(all.into_iter().collect())
            }
            _ => Change::Update(columns),
        });
        Some(record)
    }
}

impl Seen {
    /// What is written again stays where it was, but for its end.
    fn takes_turn(&mut self, turn: usize) {
        if self.change.is_none() {
            self.turn = turn;
        }
    }
}

impl Core {
    /// Runs `work` and commits what it has put together; again if somebody else was faster.
    ///
    /// # Errors
    /// As for [`super::DualDatabase::transaction`].
    pub async fn transaction<T, W>(
        self: &Arc<Core>,
        mut work: impl FnMut(Transaction) -> W,
    ) -> Result<Written<T>>
    where
        W: Future<Output = Result<T>>,
    {
        self.is_open("begin a transaction")?;
        let mut read_from = match self.mode {
            WriteMode::LocalFirst => ReadFrom::File,
            WriteMode::Both | WriteMode::RequireBoth => ReadFrom::Primary,
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let transaction = self.begin(read_from).await;
            read_from = transaction.read_from;
            let worked = work(transaction.clone()).await;
            let state = transaction.end();
            let value = match worked {
                Ok(value) => value,
                Err(_) if state.lost_primary && read_from == ReadFrom::Primary => {
                    read_from = ReadFrom::File;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let is_numbered = !state.numbers.is_empty();
            match self.commit(state).await {
                Ok(written) => return Ok(written.map(|()| value)),
                // A number can have come into use since it was taken.
                Err(error)
                    if tries < TRIES
                        && (error.is_conflict() || is_numbered && error.is_already_exists()) =>
                {
                    // PostgreSQL may have gone meanwhile, and the file be behind what was read.
                    if self.ready(OPERATION).is_err() {
                        read_from = ReadFrom::File;
                    }
                    let wait = u64::from(rand::random::<u8>()) * u64::from(tries) / 16;
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn begin(self: &Arc<Core>, read_from: ReadFrom) -> Transaction {
        let deadline = self.deadline();
        let look = self.look_at_file(OPERATION, deadline, |content| {
            Ok((behind_followed(content)?, content.node()?.file))
        });
        let ((behind, apart), file) = look.await.unwrap_or_default();
        // What is pending comes first, as for every write.
        let pushed = async {
            self.ready(OPERATION)?;
            self.catch_up(OPERATION, behind, Vec::new(), deadline).await
        };
        let read_from = match read_from {
            ReadFrom::Primary if pushed.await.is_ok() => ReadFrom::Primary,
            _ => ReadFrom::File,
        };
        let state = Arc::default();
        Transaction {
            core: Arc::clone(self),
            read_from,
            apart: apart.into(),
            deadline,
            file,
            state,
        }
    }

    async fn commit(&self, state: TransactionState) -> Result<Written<()>> {
        let TransactionState { reads, rows, mut numbers, .. } = state;
        let mut rows: Vec<(RowId, Seen)> = rows.into_iter().collect();
        rows.sort_by_key(|(_, seen)| seen.turn);
        let intent = |(id, seen): (RowId, Seen)| Some((id, Intent::Change(seen.change?)));
        let intents: Vec<_> = rows.into_iter().filter_map(intent).collect();
        if intents.is_empty() {
            return Ok(Written::InBoth(()));
        }
        let reads = reads.into_iter().collect();
        numbers.retain(|id, _| intents.iter().any(|(one, _)| one == id));
        let plan = WritePlan { operation: OPERATION, intents, numbers, reads };
        Ok(self.write(plan).await?.map(|_| ()))
    }
}

impl Transaction {
    /// The row of that table as this transaction sees it.
    ///
    /// # Errors
    /// Configuration for a table that is not declared; as for [`Transaction::get`].
    pub async fn get(&self, table: &str, key: impl Into<Key>) -> Result<Option<Record>> {
        let id = self.id(table, key)?;
        self.seen(&id).await
    }

    /// Adds a row to that table.
    ///
    /// # Errors
    /// Configuration for a table that is not declared; as for [`Transaction::add`].
    pub fn add(&self, table: &str, row: &Patch) -> Result<()> {
        let at = self.core.position(table)?;
        self.reaches(at)?;
        let declared = self.core.table(at);
        let (id, intent) = intent_to_add(declared, at, row).map_err(|error| {
            match row.checked(declared).is_ok() && declared.has_automatic_key() {
                true => error.with_hint("`add_numbered` gives it a number"),
                false => error,
            }
        })?;
        let Intent::Change(Change::Insert(values)) = intent else { return Ok(()) };
        let mut state = self.going_on()?;
        if state.rows.get(&id).is_some_and(|seen| seen.record.is_some()) {
            let row = named(&self.core.shared.tables, &id);
            return Err(already_exists(OPERATION, &row));
        }
        state.insert(&id, values);
        Ok(())
    }

    /// Adds a row to that table, and gives it as it is then: if its key is numbered by itself and was not
    /// named, under a number of its own, to which other rows of the transaction can refer. The number is final.
    /// If the transaction comes to nothing, nobody gets it.
    ///
    /// # Errors
    /// As for [`Transaction::add`] and [`super::TableCalls::add`].
    pub async fn add_numbered(&self, table: &str, row: &Patch) -> Result<Record> {
        let at = self.core.position(table)?;
        let declared = self.core.table(at);
        let said = row.checked(declared)?;
        let mut row = row.clone();
        let id = match said.key {
            None if declared.has_automatic_key() => {
                let (id, kept) = self.core.number(OPERATION, at).await?;
                let of_key = declared.key_columns().zip(id.key.values());
                of_key.for_each(|(column, value)| row.put(column, value));
                self.going_on()?.numbers.insert(id.clone(), kept);
                id
            }
            _ => RowId { table: at, key: key_of(declared, &said)? },
        };
        self.add(table, &row)?;
        let state = self.going_on()?;
        state.rows.get(&id).and_then(|seen| seen.record.clone()).ok_or_else(|| self.missing(&id))
    }

    /// Sets these columns of a row of that table; gives the row as it is then.
    ///
    /// # Errors
    /// Configuration for a table that is not declared; as for [`Transaction::update`].
    pub async fn update(
        &self,
        table: &str,
        key: impl Into<Key>,
        changes: &Patch,
    ) -> Result<Record> {
        let id = self.id(table, key)?;
        let Intent::Change(Change::Update(columns)) =
            intent_to_update(self.core.table(id.table), &id.key, changes)?
        else {
            return Err(self.missing(&id));
        };
        self.seen(&id).await?;
        // As it is now: a clone may have been here meanwhile.
        self.going_on()?.update(&id, columns).ok_or_else(|| self.missing(&id))
    }

    /// Adds a row to that table, or sets these columns of the one that is there, as this transaction sees it; gives
    /// the row as it is then. Without a key, where that is numbered by itself, it adds one, as
    /// [`Transaction::add_numbered`] does.
    ///
    /// # Errors
    /// Configuration for a table that is not declared; as for [`Transaction::update`] and
    /// [`super::TableCalls::upsert`].
    pub async fn upsert(&self, table: &str, row: &Patch) -> Result<Record> {
        let at = self.core.position(table)?;
        let declared = self.core.table(at);
        let said = row.checked(declared)?;
        if said.key.is_none() && declared.has_automatic_key() {
            return self.add_numbered(table, row).await;
        }
        let id = RowId { table: at, key: key_of(declared, &said)? };
        self.seen(&id).await?;
        let mut state = self.going_on()?;
        match state.rows.get(&id).and_then(|seen| seen.record.clone()) {
            None => Ok(state.insert(&id, new_row(declared, &said))),
            Some(record) if said.columns.is_empty() => Ok(record),
            Some(_) => state.update(&id, said.columns).ok_or_else(|| self.missing(&id)),
        }
    }

    /// Deletes a row of that table.
    ///
    /// # Errors
    /// Configuration for a table that is not declared; as for [`Transaction::delete`].
    pub async fn delete(&self, table: &str, key: impl Into<Key>) -> Result<()> {
        let id = self.id(table, key)?;
        self.seen(&id).await?;
        let mut state = self.going_on()?;
        let (turn, seen) = state.writes_to(&id);
        if seen.record.take().is_none() {
            return Err(self.missing(&id));
        }
        seen.turn = turn;
        seen.change = match seen.change.take() {
            Some(Change::Insert(_)) => None,
            _ => Some(Change::Delete),
        };
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, TransactionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, unless the work has ended.
    fn going_on(&self) -> Result<MutexGuard<'_, TransactionState>> {
        let state = self.state();
        match state.ended {
            true => Err(Error::new(Kind::Interrupted, OPERATION, "the transaction has ended")),
            false => Ok(state),
        }
    }

    /// Ends it: what has been put together.
    fn end(&self) -> TransactionState {
        std::mem::replace(
            &mut *self.state(),
            TransactionState { ended: true, ..TransactionState::default() },
        )
    }

    fn id(&self, table: &str, key: impl Into<Key>) -> Result<RowId> {
        let at = self.core.position(table)?;
        id_of(self.core.table(at), at, key.into())
    }

    fn missing(&self, id: &RowId) -> Error {
        not_found(OPERATION, &named(&self.core.shared.tables, id))
    }

    /// Whether the transaction can meet that table where it reads; else it is made again on the file.
    fn reaches(&self, table: usize) -> Result<()> {
        if self.read_from == ReadFrom::File || !self.apart.contains(&table) {
            return Ok(());
        }
        self.state().lost_primary = true;
        let message = format!("{} has to be compared first", self.core.table(table).name());
        Err(Error::new(Kind::Unavailable(Store::Postgres), OPERATION, message))
    }

    /// The row as this transaction sees it, read now if it was not before.
    async fn seen(&self, id: &RowId) -> Result<Option<Record>> {
        if let Some(seen) = self.going_on()?.rows.get(id) {
            return Ok(seen.record.clone());
        }
        self.reaches(id.table)?;
        let operation = "read a row in a transaction";
        let (found, version) = match self.read_from {
            ReadFrom::Primary => {
                let row = async {
                    let contact = self.core.followed(operation, self.file, self.deadline).await?;
                    self.core.ask(operation, self.deadline, contact.primary()?.row(id)).await
                };
                let row = row.await.inspect_err(|_| self.state().lost_primary = true)?;
                if row.as_ref().is_some_and(|row| row.version.is_absent()) {
                    self.core.look_for_gaps();
                    self.state().lost_primary = true;
                    let kind = Kind::Unavailable(Store::Postgres);
                    let what = "the row was taken away there past the triggers";
                    return Err(Error::new(kind, operation, what));
                }
                let found = row.as_ref().and_then(remote_record);
                if found.is_none() && self.is_here(operation, id).await {
                    self.state().lost_primary = true;
                    return Err(self.refused_there(operation, id));
                }
                (found, row.map(|row| row.version))
            }
            ReadFrom::File => {
                let wanted = id.clone();
                let look = move |content: &Content<'_>| {
                    let row = content.row(&wanted)?;
                    let place = HeldBy::of(row.as_ref(), &content.aside(&wanted)?);
                    let knows = knows(content, &wanted, row.as_ref())?;
                    Ok((row, place, knows))
                };
                let (row, place, knows) = self.core.ask_file(operation, look).await?;
                if place == HeldBy::PostgresAlone {
                    return Err(elsewhere(operation, &named(&self.core.shared.tables, id)));
                }
                if !knows {
                    return Err(incomplete(operation, &named(&self.core.shared.tables, id)));
                }
                let version = row.as_ref().map(|row| row.tracked.version.clone());
                (row.and_then(|row| record(id, row)), version)
            }
        };
        let mut state = self.going_on()?;
        // A clone may have met the row meanwhile, and what it has seen and done counts.
        if let Some(seen) = state.rows.get(id) {
            return Ok(seen.record.clone());
        }
        state.reads.insert(id.clone(), version.filter(|version| version.lives()));
        state.rows.insert(id.clone(), Seen { record: found.clone(), ..Seen::default() });
        Ok(found)
    }

    /// Whether the row is in the file alone, because PostgreSQL refuses it.
    async fn is_here(&self, operation: &'static str, id: &RowId) -> bool {
        let id = id.clone();
        let look = move |content: &Content<'_>| is_here(content, &id);
        self.core.look_at_file(operation, self.deadline, look).await.unwrap_or(false)
    }

    fn refused_there(&self, operation: &'static str, id: &RowId) -> Error {
        let row = named(&self.core.shared.tables, id);
        let message = format!("{row} is in the file alone: it is in quarantine");
        Error::new(Kind::Unavailable(Store::Postgres), operation, message)
    }
}
