//! Answers on their way to an event loop: they are collected, and the loop is woken once for all
//! that have come meanwhile.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;

use crate::call::Reply;
use crate::log;

/// How many answers are given before the loop may do something else.
const AT_ONCE: usize = 100;

struct Letter {
    future: Py<PyAny>,
    reply: Reply,
}

impl Letter {
    fn give(self, py: Python<'_>) -> PyResult<()> {
        let future = self.future.bind(py);
        // Cancelled meanwhile.
        if future.call_method0(intern!(py, "done"))?.extract::<bool>()? {
            return Ok(());
        }
        match (self.reply)(py) {
            Ok(answer) => future.call_method1(intern!(py, "set_result"), (answer,))?,
            Err(error) => {
                future.call_method1(intern!(py, "set_exception"), (error.into_value(py),))?
            }
        };
        Ok(())
    }
}

/// Where the answers for one event loop are collected.
#[pyclass(frozen, module = "dual_database._native")]
pub struct Mailbox {
    event_loop: Py<PyAny>,
    letters: Arc<Mutex<VecDeque<Letter>>>,
}

#[pymethods]
impl Mailbox {
    #[new]
    fn new(event_loop: Py<PyAny>) -> Mailbox {
        Mailbox { event_loop, letters: Arc::default() }
    }

    /// The loop that it belongs to.
    #[getter]
    fn event_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    /// Gives the answers that have come to those who wait for them. The loop calls it.
    fn deliver(slf: &Bound<'_, Mailbox>) -> PyResult<()> {
        let py = slf.py();
        let letters: Vec<Letter> = {
            let mut letters = locked(&slf.get().letters);
            let first = letters.len().min(AT_ONCE);
            letters.drain(..first).collect()
        };
        for letter in letters {
            // One answer that cannot be given must not hold up the others.
            if let Err(error) = letter.give(py) {
                error.write_unraisable(py, None);
            }
        }
        log::deliver(py);
        if !locked(&slf.get().letters).is_empty() {
            let deliver = slf.getattr(intern!(py, "deliver"))?;
            slf.get().event_loop.call_method1(py, intern!(py, "call_soon"), (deliver,))?;
        }
        Ok(())
    }
}

impl Mailbox {
    /// A new future of the loop.
    pub fn future(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.event_loop.call_method0(py, intern!(py, "create_future"))
    }

    /// How that future is answered from another thread.
    pub fn letters(&self, mailbox: Py<Mailbox>, future: Py<PyAny>) -> Letters {
        Letters { letters: Arc::clone(&self.letters), mailbox, future }
    }
}

/// The way to one future.
pub struct Letters {
    letters: Arc<Mutex<VecDeque<Letter>>>,
    mailbox: Py<Mailbox>,
    future: Py<PyAny>,
}

impl Letters {
    /// Answers it. The loop is woken by another thread than those of the runtime, because it
    /// has to wait for the interpreter; who sends while the mailbox is not empty leaves that
    /// to the one who found it so.
    pub fn send(self, reply: Reply) {
        let Letters { letters, mailbox, future } = self;
        let was_empty = {
            let mut letters = locked(&letters);
            letters.push_back(Letter { future, reply });
            letters.len() == 1
        };
        if was_empty {
            tokio::task::spawn_blocking(move || {
                Python::try_attach(|py| {
                    let mailbox = mailbox.bind(py);
                    let woken = mailbox.getattr(intern!(py, "deliver")).and_then(|deliver| {
                        let event_loop = mailbox.get().event_loop.bind(py);
                        event_loop.call_method1(intern!(py, "call_soon_threadsafe"), (deliver,))
                    });
                    // The loop was closed: nobody waits any more.
                    if woken.is_err() {
                        let unread = std::mem::take(&mut *locked(&letters));
                        drop(unread);
                    }
                });
            });
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
