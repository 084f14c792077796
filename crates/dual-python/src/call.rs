//! One call: prepared while attached to the interpreter, done without it, answered with it.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dual_database::{Error, Kind, Result};
use futures_util::FutureExt as _;
use pyo3::prelude::*;
use tokio::task::AbortHandle;

use crate::home::{Home, Kept};
use crate::mailbox::{Letter, Mailbox};
use crate::{failure, log};

/// How often a thread that waits lets the interpreter look for Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(50);

/// What is told Python when the work has ended.
pub type Reply = Box<dyn for<'py> FnOnce(Python<'py>) -> PyResult<Py<PyAny>> + Send>;

type Work = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// What it answers; a failure as a value.
fn answer(py: Python<'_>, reply: Reply) -> PyResult<Py<PyAny>> {
    reply(py).or_else(|error| match error.is_instance_of::<failure::Failed>(py) {
        true => Ok(error.into_value(py).into_any()),
        false => Err(error),
    })
}

/// A call that was prepared: either waited for by a thread, or started for a coroutine. Given
/// up, it ends where it is: a write is then in a store whole or not at all, and what is in one
/// reaches the other.
#[pyclass(frozen, module = "dual_database._native")]
pub struct Call {
    state: Mutex<State>,
}

enum State {
    Prepared(Kept<Work>),
    /// Done by a thread that had something else to be told first.
    Done(Reply),
    /// Started for a coroutine.
    Running(AbortHandle),
    Over,
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
                Err(error) => Box::new(move |_| Err(failure::of(&error))),
            };
            reply
        };
        let work: Work = Box::pin(work);
        Call { state: Mutex::new(State::Prepared(Kept::new(home, work))) }
    }

    /// Where it is, which is over then.
    fn taken(&self) -> State {
        self.becomes(State::Over)
    }

    fn becomes(&self, state: State) -> State {
        std::mem::replace(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner), state)
    }
}

/// The work of a call that was prepared, in its own process.
fn work_of(mut kept: Kept<Work>) -> PyResult<(&'static Home, Work)> {
    let home = kept.home;
    Ok((home, kept.take()?.ok_or_else(once)?))
}

fn once() -> PyErr {
    failure::closed("a call can be waited for once")
}

#[pymethods]
impl Call {
    /// Waits for it for a moment; other threads go on meanwhile. Gives the call itself if Python
    /// has something else to do first, look for signals or tell the log: it is to be waited for
    /// again then. That the call failed is given, too, not raised: a Ctrl-C that came meanwhile would be
    /// told as something that happened while that failure was handled.
    fn wait(slf: &Bound<'_, Call>) -> PyResult<Py<PyAny>> {
        let (py, call) = (slf.py(), slf.get());
        let (home, mut work) = match call.taken() {
            State::Prepared(kept) => work_of(kept)?,
            State::Done(reply) => return answer(py, reply),
            State::Running(_) | State::Over => return Err(once()),
        };
        let done = py.detach(|| {
            home.runtime.block_on(async { tokio::time::timeout(SIGNALS, &mut work).await })
        });
        match done {
            Ok(reply) if !log::has_records() => return answer(py, reply),
            Ok(reply) => call.becomes(State::Done(reply)),
            Err(_) => call.becomes(State::Prepared(Kept::new(home, work))),
        };
        Ok(slf.clone().into_any().unbind())
    }

    /// Starts it; gives the number under which its answer comes to the mailbox.
    fn start(&self, mailbox: &Bound<'_, Mailbox>) -> PyResult<u64> {
        let State::Prepared(kept) = self.taken() else { return Err(once()) };
        let (home, work) = work_of(kept)?;
        let (number, letters) = mailbox.get().expect()?;
        let task = home.runtime.spawn(async move {
            let reply = work.await;
            letters.put(Letter { number, reply }, usize::MAX);
        });
        self.becomes(State::Running(task.abort_handle()));
        Ok(number)
    }

    /// Nobody waits for it any more.
    fn abandon(&self) {
        if let State::Running(task) = self.taken() {
            task.abort();
        }
    }
}
