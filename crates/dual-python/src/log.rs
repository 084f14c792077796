//! The library's log in Python's `logging`, under `dual_database`.
//!
//! Records are put into a tray where they happen, on any thread and without the interpreter;
//! `dual_database._log` takes them from there. Python decides which levels it wants; there are
//! few records, and none for an ordinary call.

use std::fmt::Write as _;
use std::io;
use std::os::fd::RawFd;
use std::sync::OnceLock;

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use crate::tray::Tray;

/// The oldest give way when nobody fetches them.
const WAITING: usize = 1_000;

/// What Python is told: the logger, the level, the message.
type Record = (String, u8, String);

/// The records of one process, then those of a child that it was forked into, and so on: what is
/// the parent's may have been locked by a thread that the child does not have.
struct Log {
    pid: u32,
    records: Tray<Record>,
    child: OnceLock<Box<Log>>,
}

static LOG: OnceLock<Box<Log>> = OnceLock::new();

/// From now on the log of this process is kept for Python.
///
/// # Errors
/// No descriptors to be had.
pub fn begin(pid: u32) -> io::Result<()> {
    let mut place = &LOG;
    while let Some(log) = place.get() {
        if log.pid == pid {
            return Ok(());
        }
        place = &log.child;
    }
    let _ = place.set(Box::new(Log { pid, records: Tray::new()?, child: OnceLock::new() }));
    // The child of a fork keeps the parent's.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Noting));
    Ok(())
}

/// The newest log: that of this process, if it has one.
fn newest() -> Option<&'static Log> {
    let mut newest = LOG.get();
    while let Some(child) = newest.and_then(|log| log.child.get()) {
        newest = Some(child);
    }
    newest.map(AsRef::as_ref)
}

fn own() -> Option<&'static Log> {
    newest().filter(|log| log.is_own())
}

impl Log {
    fn is_own(&self) -> bool {
        self.pid == std::process::id()
    }
}

/// What can be read while there are records; nothing before a database was opened.
#[pyfunction]
pub fn log_fileno() -> Option<RawFd> {
    own().map(|log| log.records.ear())
}

/// Whether there are records.
#[pyfunction]
pub fn has_records() -> bool {
    newest().is_some_and(|log| !log.records.is_empty() && log.is_own())
}

/// Takes the oldest record: the logger, the level, the message.
#[pyfunction]
pub fn next_record() -> Option<Record> {
    own().and_then(|log| log.records.take(1).pop())
}

/// Wakes whoever waits for records.
#[pyfunction]
pub fn ring_log() {
    if let Some(log) = own() {
        log.records.ring();
    }
}

/// Notes what the library says.
struct Noting;

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Noting {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= Level::DEBUG && metadata.target().starts_with("dual_database")
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let level = match *event.metadata().level() {
            Level::ERROR => 40,
            Level::WARN => 30,
            Level::INFO => 20,
            _ => 10,
        };
        let logger = event.metadata().target().replace("::", ".");
        if let Some(log) = newest() {
            log.records.put((logger, level, text.message + &text.fields), WAITING);
        }
    }
}

/// The message, then each field as `name=value`.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing into a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
