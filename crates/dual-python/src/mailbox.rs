//! Answers on their way to an event loop, which is woken once for all that have come meanwhile.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::call::Reply;
use crate::failure;
use crate::home::{Home, Kept};
use crate::tray::Tray;

/// How many answers are given before the loop may do something else.
const AT_ONCE: usize = 100;

/// The answer to the call of that number.
pub struct Letter {
    pub number: u64,
    pub reply: Reply,
}

/// Where the answers for one event loop are collected.
#[pyclass(frozen, module = "dual_database._native")]
pub struct Mailbox {
    letters: Kept<Arc<Tray<Letter>>>,
    descriptor: RawFd,
    numbers: AtomicU64,
}

#[pymethods]
impl Mailbox {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Mailbox> {
        let home = Home::of_process(py)?;
        let letters = Tray::new().map_err(|cause| failure::exhausted("descriptor", &cause))?;
        let descriptor = letters.ear();
        let letters = Kept::new(home, Arc::new(letters));
        Ok(Mailbox { letters, descriptor, numbers: AtomicU64::new(0) })
    }

    /// What the loop has to read to notice that something has come.
    fn fileno(&self) -> RawFd {
        self.descriptor
    }

    /// The answers that have come, some of them: for each the number of its call, what has gone
    /// wrong or `None`, and the answer.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let found = PyList::empty(py);
        let letters = self.letters.get()?.map(|letters| letters.take(AT_ONCE)).unwrap_or_default();
        for Letter { number, reply } in letters {
            match reply(py) {
                Ok(answer) => found.append((number, py.None(), answer))?,
                Err(error) => found.append((number, error.into_value(py), py.None()))?,
            }
        }
        Ok(found)
    }
}

impl Mailbox {
    /// A new number for a call, and where its answer goes.
    pub fn expect(&self) -> PyResult<(u64, Arc<Tray<Letter>>)> {
        let letters = self.letters.get()?.cloned();
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        letters.map(|letters| (number, letters)).ok_or_else(|| failure::closed("the loop is gone"))
    }
}
