//! The library's log in Python's `logging`, under `dual_database`.
//!
//! Records are queued where they happen, on any thread and without the interpreter, and given to
//! `logging` by whoever holds it next: a call that has ended, the event loop, or a task that was
//! woken for it. So nothing ever waits for the interpreter while it holds something else. Python
//! decides which levels it wants; there are few records, and none for an ordinary call.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

/// The oldest give way when nobody fetches them.
const WAITING: usize = 1_000;

struct Record {
    logger: String,
    level: Level,
    message: String,
}

static RECORDS: Mutex<VecDeque<Record>> = Mutex::new(VecDeque::new());
/// Whether there are any, so that a call that has nothing to tell takes no lock.
static WAIT: AtomicBool = AtomicBool::new(false);
static NEWS: Notify = Notify::const_new();

/// From now on the library's log goes to Python.
pub fn forward(runtime: &Runtime) {
    // The child of a fork keeps the parent's subscriber, and leaves the parent's records to it.
    records().clear();
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Queue));
    runtime.spawn(async {
        loop {
            NEWS.notified().await;
            let delivered = tokio::task::spawn_blocking(|| Python::try_attach(deliver));
            // The interpreter ends.
            if !matches!(delivered.await, Ok(Some(()))) {
                break;
            }
        }
    });
}

/// Gives what has been noted to `logging`.
pub fn deliver(py: Python<'_>) {
    if !WAIT.swap(false, Ordering::AcqRel) {
        return;
    }
    for record in std::mem::take(&mut *records()) {
        if let Err(error) = tell(py, &record) {
            error.write_unraisable(py, None);
        }
    }
}

/// Gives what has been noted to `logging`, before the interpreter ends.
#[pyfunction]
pub fn flush_log(py: Python<'_>) {
    deliver(py);
}

fn tell(py: Python<'_>, record: &Record) -> PyResult<()> {
    let level = match record.level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        _ => 10,
    };
    let logging = py.import(intern!(py, "logging"))?;
    let logger = logging.call_method1(intern!(py, "getLogger"), (&record.logger,))?;
    if logger.call_method1(intern!(py, "isEnabledFor"), (level,))?.extract::<bool>()? {
        // Made by hand: there is no line of Python to be found for it.
        let origin = ("dual_database", 0, &record.message, (), py.None());
        let (file, line, message, arguments, nothing) = origin;
        let made = logger.call_method1(
            intern!(py, "makeRecord"),
            (&record.logger, level, file, line, message, arguments, nothing),
        )?;
        logger.call_method1(intern!(py, "handle"), (made,))?;
    }
    Ok(())
}

fn records() -> MutexGuard<'static, VecDeque<Record>> {
    RECORDS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Queues what the library says.
struct Queue;

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for Queue {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= Level::DEBUG && metadata.target().starts_with("dual_database")
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let record = Record {
            logger: event.metadata().target().replace("::", "."),
            level: *event.metadata().level(),
            message: text.message + &text.fields,
        };
        let mut records = records();
        if records.len() >= WAITING {
            records.pop_front();
        }
        records.push_back(record);
        drop(records);
        WAIT.store(true, Ordering::Release);
        NEWS.notify_one();
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
