//! Answers that say where things are.

use std::time::Duration;

use crate::Store;

/// A write that was done: where it is. Both are success; only [`Written::InBoth`] is in both.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Written<T> {
    /// In both stores.
    InBoth(T),
    /// In one store; the other one gets it by itself.
    InOne {
        /// What was written.
        value: T,
        /// Where it is.
        stored_in: Store,
    },
}

impl<T> Written<T> {
    /// What was written.
    pub fn value(&self) -> &T {
        match self {
            Written::InBoth(value) | Written::InOne { value, .. } => value,
        }
    }

    /// What was written, by itself.
    pub fn into_value(self) -> T {
        match self {
            Written::InBoth(value) | Written::InOne { value, .. } => value,
        }
    }

    /// The same about something made of it.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Written<U> {
        match self {
            Written::InBoth(value) => Written::InBoth(make(value)),
            Written::InOne { value, stored_in } => Written::InOne { value: make(value), stored_in },
        }
    }

    /// The same, if something can be made of it.
    pub(super) fn try_map<U, E>(
        self,
        make: impl FnOnce(T) -> Result<U, E>,
    ) -> Result<Written<U>, E> {
        Ok(match self {
            Written::InBoth(value) => Written::InBoth(make(value)?),
            Written::InOne { value, stored_in } => {
                Written::InOne { value: make(value)?, stored_in }
            }
        })
    }

    /// Whether that store has it.
    pub fn is_in(&self, store: Store) -> bool {
        match self {
            Written::InBoth(_) => true,
            Written::InOne { stored_in, .. } => *stored_in == store,
        }
    }
}

/// Something that was read: from where, and how old it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T> {
    /// What was read.
    pub value: T,
    /// Which store answered.
    pub source: Store,
    /// How long ago that store last heard everything from the other one; `None` if it is the
    /// primary, or if they never met.
    pub age: Option<Duration>,
}

impl<T> Found<T> {
    /// The same about something made of it.
    pub fn map<U>(self, make: impl FnOnce(T) -> U) -> Found<U> {
        Found { value: make(self.value), source: self.source, age: self.age }
    }
}
