//! The processes of one file push in turn, from the look at what is pending to the note that it
//! has arrived.
//!
//! One that looked while another's push was under way would send the same rows again, under bases
//! that PostgreSQL has passed by then, and what the file itself wrote would be logged as a conflict
//! with it. No more than that: nothing depends on the turn, which is therefore waited for only so
//! long, and done without where the folder cannot be written. The system takes it back from a
//! process that dies (unless a child of it, forked just then, has it still).

use std::fs::{File as Plain, TryLockError};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::Replica;

/// What lies beside the file for it.
pub(crate) const PUSH: &str = ".dual-push";

/// How often is looked whether it is free.
const LOOK: Duration = Duration::from_millis(5);

/// For how long one has it: a round can be left standing by whom it was run for.
const LONGEST: Duration = Duration::from_secs(5);

/// A process's turn, until it is dropped or has lasted too long.
#[derive(Debug)]
pub struct PushTurn {
    lock: Arc<Plain>,
    end: JoinHandle<()>,
}

impl Replica {
    /// Waits for the turn, at most that long, and has it for at most five seconds. `None` if it was
    /// not free in that time, or the folder cannot be written.
    pub async fn push_turn(&self, most: Duration) -> Option<PushTurn> {
        let place = Arc::clone(&self.place);
        let open = move || place.open_beside(PUSH);
        let lock = Arc::new(tokio::task::spawn_blocking(open).await.ok()?.ok()?);
        let until = Instant::now() + most;
        while let Err(failure) = lock.try_lock() {
            if matches!(failure, TryLockError::Error(_)) || Instant::now() >= until {
                return None;
            }
            sleep(LOOK).await;
        }
        let held = Arc::clone(&lock);
        let end = tokio::spawn(async move {
            sleep(LONGEST).await;
            let _ = held.unlock();
        });
        Some(PushTurn { lock, end })
    }
}

impl Drop for PushTurn {
    fn drop(&mut self) {
        self.end.abort();
        // Closing it is not enough: a process that was forked meanwhile has it open, too.
        let _ = self.lock.unlock();
    }
}
