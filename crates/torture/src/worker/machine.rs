//! How long the machine did not let this process run: because it was stopped, or too busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::ledger::now;

/// How long the watching thread means to sleep, in microseconds.
const NAP: u64 = 20_000;
/// What every sleep may be too long.
const GRACE: u64 = 10_000;

/// A thread that sleeps and sees how late it wakes.
pub struct Machine {
    /// All that was too late until the last waking, and when that was.
    late: Arc<(AtomicU64, AtomicU64)>,
}

impl Machine {
    /// Begins to watch.
    pub fn watch() -> Machine {
        let late = Arc::new((AtomicU64::new(0), AtomicU64::new(now())));
        let watched = Arc::clone(&late);
        std::thread::spawn(move || {
            loop {
                let before = now();
                std::thread::sleep(Duration::from_micros(NAP));
                let over = now().saturating_sub(before).saturating_sub(NAP + GRACE);
                watched.0.fetch_add(over, Ordering::SeqCst);
                watched.1.store(now(), Ordering::SeqCst);
            }
        });
        Machine { late }
    }

    /// How many microseconds were lost until now, since the beginning.
    pub fn late(&self) -> u64 {
        let since = now().saturating_sub(self.late.1.load(Ordering::SeqCst));
        self.late.0.load(Ordering::SeqCst) + since.saturating_sub(NAP + GRACE)
    }
}
