//! The only place that reads the wall clock, so that a simulation can set it.

/// The current instant, in microseconds precision, UTC.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
