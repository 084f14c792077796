//! Things on their way to Python.
//!
//! Whoever has something for Python puts it into a tray and rings a bell, a descriptor that
//! Python reads; Python comes and takes it, in a thread of its own. See DESIGN.md for why no
//! other thread ever calls it.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Things that wait to be taken, in their order.
#[derive(Debug)]
pub struct Tray<T> {
    things: Mutex<VecDeque<T>>,
    /// Whether there are none, for a look that takes no lock.
    is_empty: AtomicBool,
    bell: UnixStream,
    ear: UnixStream,
}

impl<T> Tray<T> {
    /// An empty one.
    ///
    /// # Errors
    /// No descriptors to be had.
    pub fn new() -> io::Result<Tray<T>> {
        let (bell, ear) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok(Tray { things: Mutex::default(), is_empty: AtomicBool::new(true), bell, ear })
    }

    /// Puts a thing into it; if there are more than `most` then, the oldest one gives way.
    pub fn put(&self, thing: T, most: usize) {
        let mut things = self.locked();
        if things.len() >= most {
            things.pop_front();
        }
        things.push_back(thing);
        let was_empty = self.is_empty.swap(false, Ordering::AcqRel);
        drop(things);
        // Whoever comes for the first thing finds the others.
        if was_empty {
            self.ring();
        }
    }

    /// Takes the oldest things, at most so many. The bell rings on until all of them are taken.
    pub fn take(&self, most: usize) -> Vec<T> {
        let mut things = self.locked();
        let first = things.len().min(most);
        let taken = things.drain(..first).collect();
        if things.is_empty() {
            self.is_empty.store(true, Ordering::Release);
            // Rung for what was taken, or for nothing: for what comes next it rings again. More
            // than one is there only if somebody else rang.
            let _ = (&self.ear).read(&mut [0; 64]);
        }
        taken
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.is_empty.load(Ordering::Acquire)
    }

    /// Wakes whoever listens.
    pub fn ring(&self) {
        // It cannot be full: then it rings already.
        let _ = (&self.bell).write(&[0]);
    }

    /// The descriptor that can be read while the bell rings.
    pub fn ear(&self) -> RawFd {
        self.ear.as_raw_fd()
    }

    fn locked(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.things.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
