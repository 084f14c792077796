//! The writing thread: callers that come together share one transaction, and one sync.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::{oneshot, watch};

use super::super::failed;
use super::open_file::OpenFile;
use super::place::{FileStatus, SharedFile, moved};
use super::reader::panicked;
use super::{Content, Durability, is_endless, open};
use crate::{Error, Kind, Result, Store};

/// As many callers share one transaction at most.
const GROUP: usize = 64;

/// What a caller asks for besides its work.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub durability: Durability,
    /// It takes long, and shares its transaction with nobody.
    pub alone: bool,
    /// How long it is waited for its turn; `None`: for ever.
    pub within: Option<Duration>,
}

/// The handle of the writing thread.
#[derive(Debug)]
pub(super) struct Committer {
    jobs: Option<mpsc::Sender<Message>>,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
    /// Its sender is the thread's, and goes when the connection is closed.
    open: watch::Receiver<()>,
}

enum Message {
    Work(Box<dyn Job>),
    /// A reader has found the file of that generation damaged.
    Damaged(u64),
}

#[derive(Default)]
struct Stop {
    closing: AtomicBool,
    interrupt: Mutex<Option<InterruptHandle>>,
}

/// What a caller wants done, with where the answer goes.
trait Job: Send {
    /// Its turn has come; says whether the caller still waits for that. From then on it waits
    /// for the end.
    fn begin(&self) -> bool;
    fn terms(&self) -> Terms;
    /// Does it; says whether it went well.
    fn run(&mut self, content: &Content<'_>) -> bool;
    /// Why it did not go well.
    fn error(&self) -> Option<&Error>;
    /// Answers: `failure` if the transaction has failed.
    fn answer(self: Box<Self>, failure: Option<&Failure>);
}

struct Ticket<T, W> {
    operation: &'static str,
    terms: Terms,
    /// Set by whoever comes first: the thread that begins, or the caller who gives up.
    decided: Arc<AtomicBool>,
    work: Option<W>,
    result: Option<Result<T>>,
    answer: oneshot::Sender<Result<T>>,
}

/// Why a transaction failed, for each of its callers.
struct Failure {
    kind: Kind,
    message: String,
    hint: Option<String>,
}

impl Failure {
    fn of(error: &Error) -> Failure {
        let (message, hint) = (error.message().to_owned(), error.hint().map(str::to_owned));
        Failure { kind: error.kind(), message, hint }
    }

    fn error(&self, operation: &'static str) -> Error {
        let error = Error::new(self.kind, operation, self.message.clone());
        match &self.hint {
            Some(hint) => error.with_hint(hint.clone()),
            None => error,
        }
    }
}

impl<T: Send, W: FnOnce(&Content<'_>) -> Result<T> + Send> Job for Ticket<T, W> {
    fn begin(&self) -> bool {
        !self.answer.is_closed() && !self.decided.swap(true, Ordering::AcqRel)
    }

    fn terms(&self) -> Terms {
        self.terms
    }

    fn run(&mut self, content: &Content<'_>) -> bool {
        let Some(work) = self.work.take() else { return false };
        let result = catch_unwind(AssertUnwindSafe(|| work(content)))
            .unwrap_or_else(|_| Err(panicked(self.operation)));
        self.result.insert(result).is_ok()
    }

    fn error(&self) -> Option<&Error> {
        self.result.as_ref()?.as_ref().err()
    }

    fn answer(self: Box<Self>, failure: Option<&Failure>) {
        let result = match (self.result, failure) {
            (Some(Err(error)), Some(failure)) if open::is_damage(&error) => {
                Err(failure.error(self.operation).with_source(error))
            }
            (Some(Err(error)), _) => Err(error),
            (_, Some(failure)) => Err(failure.error(self.operation)),
            (Some(result), None) => result,
            (None, None) => Err(closing(self.operation)),
        };
        let _ = self.answer.send(result);
    }
}

impl Committer {
    /// Starts the thread and opens the file on it.
    ///
    /// # Errors
    /// See [`super::Replica::open`].
    pub(super) async fn start(place: Arc<SharedFile>) -> Result<Committer> {
        let operation = "open the SQLite file";
        let stop = Arc::new(Stop::default());
        let (jobs, inbox) = mpsc::channel();
        let (opened, answer) = oneshot::channel();
        let held = Arc::clone(&stop);
        let (is_open, open) = watch::channel(());
        let thread = std::thread::Builder::new()
            .name("dual-sqlite-write".into())
            .spawn(move || match OpenFile::start(Arc::clone(&place)) {
                Ok(open_file) => {
                    let _ = opened.send(Ok(()));
                    Thread { place, open_file, stop: held, synchronous: None }.run(&inbox);
                    drop(is_open);
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            })
            .map_err(|cause| {
                Error::new(Kind::Internal, operation, "no thread to be had").with_source(cause)
            })?;
        let committer = Committer { jobs: Some(jobs), stop, thread: Some(thread), open };
        answer.await.map_err(|_| closing(operation))??;
        Ok(committer)
    }

    /// Runs `work` in a transaction that it may share. `None`: its turn did not come in time, and
    /// it is not done.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        operation: &'static str,
        terms: Terms,
        work: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> Result<Option<T>> {
        let (answer, mut answered) = oneshot::channel();
        let decided = Arc::new(AtomicBool::new(false));
        let ticket = Ticket {
            operation,
            terms,
            decided: Arc::clone(&decided),
            work: Some(work),
            result: None,
            answer,
        };
        self.send(Message::Work(Box::new(ticket))).map_err(|()| closing(operation))?;
        let answer = match terms.within {
            None => answered.await,
            Some(within) => match tokio::time::timeout(within, &mut answered).await {
                Ok(answer) => answer,
                Err(_) if !decided.swap(true, Ordering::AcqRel) => return Ok(None),
                Err(_) => answered.await,
            },
        };
        answer.map_err(|_| closing(operation))?.map(Some)
    }

    /// Ends when the thread has closed its connection.
    pub(super) fn open(&self) -> watch::Receiver<()> {
        self.open.clone()
    }

    /// The file of that generation was found damaged: it is to be set aside.
    pub(super) fn damaged(&self, generation: u64) {
        let _ = self.send(Message::Damaged(generation));
    }

    fn send(&self, message: Message) -> Result<(), ()> {
        self.jobs.as_ref().ok_or(())?.send(message).map_err(|_| ())
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.stop.closing.store(true, Ordering::Release);
        drop(self.jobs.take());
        let interrupt = self.stop.interrupt.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(interrupt) = &*interrupt {
            interrupt.interrupt();
        }
        drop(interrupt);
        // The last owner may be work that this very thread has dropped.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stop").finish_non_exhaustive()
    }
}

/// What runs on the thread.
struct Thread {
    place: Arc<SharedFile>,
    open_file: OpenFile,
    stop: Arc<Stop>,
    /// How the connection of that generation syncs now.
    synchronous: Option<(u64, Durability)>,
}

impl Thread {
    fn run(mut self, inbox: &mpsc::Receiver<Message>) {
        while let Ok(first) = inbox.recv() {
            let rest = std::iter::from_fn(|| inbox.try_recv().ok());
            let mut jobs = Vec::new();
            for message in std::iter::once(first).chain(rest.take(GROUP - 1)) {
                match message {
                    // Whoever came before it has its answer first.
                    Message::Work(job) if job.terms().alone => {
                        self.together(std::mem::take(&mut jobs));
                        self.together(vec![job]);
                    }
                    Message::Work(job) => jobs.push(job),
                    Message::Damaged(generation) => {
                        let is_known = self.place.generation() != generation;
                        if !is_known && let Err(error) = self.open_file.renew() {
                            tracing::error!(error = %error.chain(), "the damaged file stays");
                        }
                    }
                }
            }
            self.together(jobs);
        }
        self.open_file.close();
    }

    /// Does these in one transaction, and answers.
    fn together(&mut self, mut jobs: Vec<Box<dyn Job>>) {
        jobs.retain(|job| job.begin());
        if !jobs.is_empty() {
            let failure = self.group(&mut jobs).err();
            jobs.into_iter().for_each(|job| job.answer(failure.as_ref()));
        }
    }

    /// One transaction, up to where its callers can be answered.
    fn group(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), Failure> {
        let committed = self.commit(jobs);
        let failure = committed.as_ref().err();
        let is_damaged = failure.is_some_and(open::is_damage)
            || jobs.iter().any(|job| job.error().is_some_and(open::is_damage));
        if is_damaged {
            let renewed = self.open_file.renew();
            return Err(Failure::of(&renewed.err().unwrap_or_else(|| renewed_file("write"))));
        }
        committed.map_err(|error| Failure::of(&error))?;
        // Somebody may have deleted or replaced the file meanwhile; then what was committed is
        // not where the next reader will look.
        let fate = self.open_file.fate().map_err(|error| Failure::of(&error))?;
        if fate == FileStatus::Same {
            return Ok(());
        }
        self.open_file.recover().map_err(|error| Failure::of(&error))?;
        match fate {
            // The whole file has been put back, with what was just committed.
            FileStatus::Missing if self.open_file.is_whole() => Ok(()),
            _ => Err(Failure::of(&moved("write to the SQLite file"))),
        }
    }

    fn commit(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<()> {
        let operation = "write to the SQLite file";
        let wrap = |cause| failed(operation, cause);
        let generation = self.open_file.ready()?;
        let connection = self.open_file.connection()?;
        let is_full = jobs.iter().any(|job| job.terms().durability == Durability::Full);
        let durability = if is_full { Durability::Full } else { Durability::Normal };
        if self.synchronous != Some((generation, durability)) {
            let level = if is_full { "FULL" } else { "NORMAL" };
            let sql = format!("PRAGMA synchronous = {level}");
            connection.execute_batch(&sql).map_err(wrap)?;
            self.synchronous = Some((generation, durability));
            let handle = connection.get_interrupt_handle();
            let mut held = self.stop.interrupt.lock().unwrap_or_else(PoisonError::into_inner);
            *held = Some(handle);
        }
        connection.execute_batch("BEGIN IMMEDIATE").map_err(wrap)?;
        let done = self.run_all(connection, generation, jobs);
        let ended = match done {
            Ok(true) => connection.execute_batch("COMMIT").map_err(wrap),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if !connection.is_autocommit() {
            let rolled_back = connection.execute_batch("ROLLBACK").map_err(wrap);
            return ended.and(rolled_back);
        }
        ended
    }

    /// Says whether there is something to commit.
    fn run_all(
        &self,
        connection: &Connection,
        generation: u64,
        jobs: &mut [Box<dyn Job>],
    ) -> Result<bool> {
        let operation = "write to the SQLite file";
        let wrap = |cause| failed(operation, cause);
        let content = Content::new(connection, self.open_file.tables(), generation);
        let mut something = false;
        for job in jobs {
            if self.stop.closing.load(Ordering::Acquire) {
                return Err(closing(operation));
            }
            connection.execute_batch("SAVEPOINT dual_job").map_err(wrap)?;
            let went_well = job.run(&content);
            if connection.is_autocommit() {
                // Some failures, a full disk among them, end the whole transaction.
                return Err(job.error().map_or_else(
                    || {
                        Error::new(
                            Kind::Internal,
                            operation,
                            "the transaction was ended by its work",
                        )
                    },
                    |error| match is_endless(error) {
                        // It says nothing about the others.
                        true => taken_back(operation),
                        false => Failure::of(error).error(operation),
                    },
                ));
            }
            if went_well {
                something = true;
            } else {
                connection.execute_batch("ROLLBACK TO dual_job").map_err(wrap)?;
            }
            connection.execute_batch("RELEASE dual_job").map_err(wrap)?;
        }
        Ok(something)
    }
}

/// What callers get when the file was damaged and has been made anew.
fn renewed_file(operation: &'static str) -> Error {
    let message = "the file was damaged and has been made anew";
    Error::new(Kind::Unavailable(Store::Sqlite), operation, message)
        .with_hint("its rows come back from PostgreSQL; the call can be repeated")
}

/// What callers get whose transaction was ended by another one's work.
fn taken_back(operation: &'static str) -> Error {
    let message = "another write has ended the transaction";
    Error::new(Kind::Unavailable(Store::Sqlite), operation, message)
        .with_hint("nothing was written; the call can be repeated")
}

fn closing(operation: &'static str) -> Error {
    Error::new(Kind::Interrupted, operation, "the SQLite file is being closed")
}
