//! A reading connection, on a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::{Owner, failed};
use super::place::{FileStatus, SharedFile};
use super::{Content, open};
use crate::{Error, Kind, Result};

/// After so many steps of SQLite's machine it is looked whether anybody waits for the answer.
const LOOK: i32 = 10_000;

#[derive(Debug)]
pub(super) struct Reader {
    owner: Owner,
    place: Arc<SharedFile>,
    /// The generation of the file that is open.
    open: Arc<AtomicU64>,
}

/// How a read went.
pub(super) enum Answer<T, W> {
    /// It was done, or failed.
    Done(Result<T>),
    /// The file is not at its path: nothing was done.
    Moved(W),
}

impl Reader {
    /// Opens the connection; the file is there.
    ///
    /// # Errors
    /// Those of opening it.
    pub(super) fn start(place: Arc<SharedFile>) -> Result<Reader> {
        let open = Arc::new(AtomicU64::new(place.generation()));
        let at = Arc::clone(&place);
        let owner = Owner::start(move || open::reader(&at))?;
        Ok(Reader { owner, place, open })
    }

    /// Runs `work` in a read transaction. It ends when its caller does not wait for it any more:
    /// the next one may have no time for that.
    pub(super) async fn call<T: Send + 'static, W>(
        &self,
        operation: &'static str,
        work: W,
    ) -> Answer<T, W>
    where
        W: FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    {
        let (place, open) = (Arc::clone(&self.place), Arc::clone(&self.open));
        let wanted = Arc::new(());
        let waiting = Arc::downgrade(&wanted);
        let answer = self.owner.call(operation, move |connection| {
            let is_unwanted = move || waiting.strong_count() == 0;
            if is_unwanted() {
                return Err(unwanted(operation));
            }
            if place.fate()? != FileStatus::Same {
                return Ok(Answer::Moved(work));
            }
            let generation = place.generation();
            if open.load(Ordering::Relaxed) != generation {
                *connection = open::reader(&place)?;
                open.store(generation, Ordering::Relaxed);
            }
            let watched = connection.progress_handler(LOOK, Some(is_unwanted));
            watched.map_err(|cause| failed(operation, cause))?;
            let content = Content::new(connection, place.tables(), generation);
            Ok(Answer::Done(read(operation, &content, work)))
        });
        let answer = answer.await.unwrap_or_else(|error| Answer::Done(Err(error)));
        drop(wanted);
        answer
    }
}

fn read<T>(
    operation: &'static str,
    content: &Content<'_>,
    work: impl FnOnce(&Content<'_>) -> Result<T>,
) -> Result<T> {
    let wrap = |cause| failed(operation, cause);
    let connection = content.connection();
    connection.execute_batch("BEGIN").map_err(wrap)?;
    let result = catch_unwind(AssertUnwindSafe(|| work(content)))
        .unwrap_or_else(|_| Err(panicked(operation)));
    if !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").map_err(wrap)?;
    }
    result
}

/// What nobody hears.
fn unwanted(operation: &'static str) -> Error {
    Error::new(Kind::Interrupted, operation, "nobody waits for it any more")
}

/// What a caller gets whose own work panicked.
pub(super) fn panicked(operation: &'static str) -> Error {
    Error::new(Kind::Internal, operation, "the work on the SQLite file panicked")
}
