//! The runtime of this process, and what a fork does to it.
//!
//! A forked child inherits the memory, not the threads: nothing that they were doing will ever
//! end there, and what SQLite believes to hold locked it does not. So everything remembers the
//! process that it was made in ([`Kept`]); in another one it is neither used nor dropped, and
//! nothing can be opened there while the parent had something open when it forked. What the
//! child inherits closes with it, which takes no lock from the parent.
//!
//! The locks in here are only taken while attached to the interpreter, so that `os.fork`, which
//! is called so, too, never finds one of them taken.

use std::mem::ManuallyDrop;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use tokio::runtime::Runtime;

use crate::{failure, log};

/// One thread for PostgreSQL's sockets, one more so that a long step of the synchroniser does
/// not make calls wait.
const THREADS: usize = 2;

/// What this process runs calls on. It lasts as long as the process.
#[derive(Debug)]
pub struct Home {
    pid: u32,
    pub runtime: Runtime,
}

static HOME: Mutex<Option<&'static Home>> = Mutex::new(None);

/// How many databases are open, and in which process.
static OPEN: Mutex<(u32, usize)> = Mutex::new((0, 0));

fn locked<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Home {
    /// That of this process, for opening a database.
    ///
    /// # Errors
    /// `ForkedError` in the child of a process that had a database open; no threads to be had.
    pub fn of_process(_: Python<'_>) -> PyResult<&'static Home> {
        let pid = std::process::id();
        let (parent, count) = *locked(&OPEN);
        if parent != pid && count > 0 {
            return Err(failure::forked("a database was open when this process was forked"));
        }
        let mut home = locked(&HOME);
        if let Some(home) = *home
            && home.pid == pid
        {
            return Ok(home);
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("dual-database")
            .enable_all()
            .build()
            .map_err(|cause| failure::exhausted("thread", &cause))?;
        log::begin(pid).map_err(|cause| failure::exhausted("descriptor", &cause))?;
        let new: &'static Home = Box::leak(Box::new(Home { pid, runtime }));
        *home = Some(new);
        Ok(new)
    }

    /// A database is open from now on.
    pub fn opened(&self) {
        let mut open = locked(&OPEN);
        let count = if open.0 == self.pid { open.1 } else { 0 };
        *open = (self.pid, count + 1);
    }

    /// One of them was closed.
    pub fn closed(&self) {
        let mut open = locked(&OPEN);
        if open.0 == self.pid {
            open.1 = open.1.saturating_sub(1);
        }
    }

    /// Refuses a child of the process that this was made in.
    ///
    /// # Errors
    /// `ForkedError`.
    pub fn check(&self) -> PyResult<()> {
        if std::process::id() == self.pid {
            return Ok(());
        }
        Err(failure::forked("this process was forked from the one that opened the database"))
    }

    /// Drops it where it may take its time.
    fn drop_aside<T: Send + 'static>(&self, value: T) {
        self.runtime.spawn_blocking(move || drop(value));
    }
}

/// Something that lives in its process only: a forked child forgets it.
#[derive(Debug)]
pub struct Kept<T: Send + 'static> {
    pub home: &'static Home,
    value: ManuallyDrop<Option<T>>,
}

impl<T: Send + 'static> Kept<T> {
    pub fn new(home: &'static Home, value: T) -> Kept<T> {
        Kept { home, value: ManuallyDrop::new(Some(value)) }
    }

    /// The value, in its own process.
    ///
    /// # Errors
    /// `ForkedError` elsewhere.
    pub fn get(&self) -> PyResult<Option<&T>> {
        self.home.check()?;
        Ok(self.value.as_ref())
    }

    /// Takes the value out, in its own process.
    ///
    /// # Errors
    /// `ForkedError` elsewhere.
    pub fn take(&mut self) -> PyResult<Option<T>> {
        self.home.check()?;
        Ok(self.value.take())
    }
}

impl<T: Send + 'static> Drop for Kept<T> {
    fn drop(&mut self) {
        if std::process::id() == self.home.pid
            && let Some(value) = self.value.take()
        {
            self.home.drop_aside(value);
        }
    }
}
