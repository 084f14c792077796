//! Calls of one process that change the same row wait for each other.
//!
//! Side by side they would propose stamps in one order and reach PostgreSQL in another; it
//! refuses what comes too low, and whoever is refused too often would end in the file alone.
//! In turn, each finds what the one before it has left, on both sides, and nothing is asked twice.

use std::hash::{BuildHasher, RandomState};

use tokio::sync::{Mutex, MutexGuard};

use crate::schema::RowId;

/// More than there are calls at a time, so that different rows seldom meet.
const SLOTS: usize = 1_024;

/// Who changes which rows.
#[derive(Debug)]
pub(super) struct RowLocks {
    slots: Box<[Mutex<()>]>,
    hasher: RandomState,
}

/// The rows are the caller's while it lives.
pub(super) struct RowLock<'a>(
    #[allow(dead_code, reason = "held, not read")] Vec<MutexGuard<'a, ()>>,
);

impl RowLocks {
    pub fn new() -> RowLocks {
        RowLocks {
            slots: (0..SLOTS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Waits until nobody else changes any of them.
    pub async fn take(&self, ids: impl Iterator<Item = RowId>) -> RowLock<'_> {
        let mut slots: Vec<usize> = ids.map(|id| self.slot(&id)).collect();
        // All callers in one order: none waits for another that waits for it.
        slots.sort_unstable();
        slots.dedup();
        let mut held = Vec::with_capacity(slots.len());
        for slot in slots {
            held.push(self.slots[slot].lock().await);
        }
        RowLock(held)
    }

    fn slot(&self, id: &RowId) -> usize {
        // The remainder is below SLOTS.
        (self.hasher.hash_one(id) % SLOTS as u64) as usize
    }
}
