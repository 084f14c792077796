//! The only place that reads the wall clock, so that a simulation can set it.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// For ever, as far as a clock can count.
pub(crate) const FOREVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

static SHIFT_MS: AtomicI64 = AtomicI64::new(0);

/// The current instant, in microseconds precision, UTC.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> jiff::Timestamp {
    let shift = jiff::SignedDuration::from_millis(SHIFT_MS.load(Ordering::Relaxed));
    let now = jiff::Timestamp::now();
    now.checked_add(shift).unwrap_or(now)
}

/// Sets this process's clock so many milliseconds ahead of the machine's (behind it if
/// negative): for tests of clocks that jump.
pub fn shift(by_ms: i64) {
    SHIFT_MS.store(by_ms, Ordering::Relaxed);
}

/// The machine's clock, for the stamps of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wall;

impl crate::stamp::Clock for Wall {
    fn unix_ms(&self) -> i64 {
        now().as_millisecond()
    }
}
