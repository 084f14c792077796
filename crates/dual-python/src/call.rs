//! One call: prepared while attached to the interpreter, done without it, answered with it.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dual_database::{Error, Kind, Result};
use futures_util::FutureExt as _;
use pyo3::prelude::*;
use tokio::task::AbortHandle;

use crate::home::{Home, Kept};
use crate::mailbox::Mailbox;
use crate::{failure, log};

/// How often a thread that waits looks for Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(50);

/// What is told Python when the work has ended.
pub type Reply = Box<dyn for<'py> FnOnce(Python<'py>) -> PyResult<Py<PyAny>> + Send>;

type Work = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A call that was prepared: either waited for by a thread, or started for a coroutine. Given
/// up, it ends where it is: a write is then in a store whole or not at all, and what is in one
/// reaches the other.
#[pyclass(frozen, module = "dual_database._native")]
pub struct Call {
    work: Mutex<Option<Kept<Work>>>,
    running: Mutex<Option<AbortHandle>>,
}

impl Call {
    /// Prepares it: `work` is done on the runtime, `answer` makes of its result what Python gets.
    pub fn new<T, F, A>(home: &'static Home, work: F, answer: A) -> Call
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
        A: FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
    {
        let work = async move {
            let done = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
                Err(Error::new(Kind::Internal, "run a call", "a defect of this library ended it"))
            });
            let reply: Reply = match done {
                Ok(value) => Box::new(move |py| answer(py, value)),
                Err(error) => Box::new(move |py| Err(failure::raised(py, &error))),
            };
            reply
        };
        let work: Work = Box::pin(work);
        Call { work: Mutex::new(Some(Kept::new(home, work))), running: Mutex::new(None) }
    }

    /// The work, once.
    fn taken(&self, py: Python<'_>) -> PyResult<(&'static Home, Work)> {
        let mut kept = locked(&self.work)
            .take()
            .ok_or_else(|| failure::closed(py, "a call can be waited for once"))?;
        let home = kept.home;
        match kept.take(py)? {
            Some(work) => Ok((home, work)),
            None => Err(failure::closed(py, "a call can be waited for once")),
        }
    }
}

#[pymethods]
impl Call {
    /// Waits for it; other threads go on meanwhile, and Ctrl-C is noticed.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (home, mut work) = self.taken(py)?;
        let reply: PyResult<Reply> = py.detach(|| {
            loop {
                let waited =
                    home.runtime.block_on(async { tokio::time::timeout(SIGNALS, &mut work).await });
                match waited {
                    Ok(reply) => return Ok(reply),
                    // Outside of the runtime: a signal's handler may call the database.
                    Err(_) => Python::attach(|py| py.check_signals())?,
                }
            }
        });
        log::deliver(py);
        reply?(py)
    }

    /// Starts it; gives a future of the mailbox's loop.
    fn start(&self, py: Python<'_>, mailbox: &Bound<'_, Mailbox>) -> PyResult<Py<PyAny>> {
        let (home, work) = self.taken(py)?;
        let future = mailbox.get().future(py)?;
        let letters = mailbox.get().letters(mailbox.clone().unbind(), future.clone_ref(py));
        let task = home.runtime.spawn(async move { letters.send(work.await) });
        *locked(&self.running) = Some(task.abort_handle());
        Ok(future)
    }

    /// Nobody waits for it any more.
    fn abandon(&self) {
        if let Some(running) = locked(&self.running).take() {
            running.abort();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
