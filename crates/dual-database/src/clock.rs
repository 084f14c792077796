//! The only place that reads the wall clock, so that a simulation can set it.

/// The current instant, in microseconds precision, UTC.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// The machine's clock, for the stamps of a process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wall;

impl crate::stamp::Clock for Wall {
    fn unix_ms(&self) -> i64 {
        now().as_millisecond()
    }
}
