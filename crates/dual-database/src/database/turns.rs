//! Calls of one process that change the same row take turns.
//!
//! Side by side they would propose stamps in one order and reach PostgreSQL in another; it
//! refuses what comes too low, and whoever is refused too often would end in the file alone.
//! In turn, each finds what the one before it has left, on both sides, and nothing is asked twice.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Mutex, MutexGuard};

use crate::schema::RowId;

/// More than there are calls at a time, so that different rows seldom meet.
const DOORS: usize = 1_024;

/// Who changes which rows.
#[derive(Debug)]
pub(super) struct Turns {
    doors: Box<[Mutex<()>]>,
    hasher: RandomState,
}

/// The rows are the caller's while it lives.
pub(super) struct Turn<'a>(#[allow(dead_code, reason = "held, not read")] Vec<MutexGuard<'a, ()>>);

impl Turns {
    pub fn new() -> Turns {
        Turns { doors: (0..DOORS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }

    /// Waits until nobody else changes any of them.
    pub async fn take(&self, ids: impl Iterator<Item = RowId>) -> Turn<'_> {
        let mut doors: Vec<usize> = ids.map(|id| self.door(id)).collect();
        // All callers in one order: none waits for another that waits for it.
        doors.sort_unstable();
        doors.dedup();
        let mut held = Vec::with_capacity(doors.len());
        for door in doors {
            held.push(self.doors[door].lock().await);
        }
        Turn(held)
    }

    fn door(&self, id: RowId) -> usize {
        // The remainder is below DOORS.
        (self.hasher.hash_one(id) % DOORS as u64) as usize
    }
}
