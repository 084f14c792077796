//! The same for programs without async.

use std::sync::Arc;

use futures_util::stream::StreamExt;

use super::{User, UserFilter, UserPatch};
use crate::Result;
use crate::database::blocking::{DualDatabase, Transaction, calls_that_wait, step, wait};
use crate::database::{Found, Written};

impl DualDatabase {
    calls_that_wait! {
        /// Adds a user.
        add_user(user: &UserPatch) -> Written<User>;
        /// Adds a user, or sets these columns of the one that is there.
        upsert_user(user: &UserPatch) -> Written<User>;
        /// The user with that `user_id`.
        get_user(user_id: i64) -> Found<Option<User>>;
        /// Sets these columns.
        update_user(user_id: i64, changes: &UserPatch) -> Written<User>;
        /// Deletes a user.
        delete_user(user_id: i64) -> Written<()>;
        /// The newest users first.
        get_all_users(limit: Option<u64>) -> Found<Vec<User>>;
        /// Those that fit the filter, the newest first.
        find_users(filter: &UserFilter, limit: Option<u64>) -> Found<Vec<User>>;
        /// How many there are.
        count_users(filter: &UserFilter) -> Found<u64>;
    }

    /// Those that fit the filter, the newest first, in constant memory.
    pub fn users(&self, filter: &UserFilter) -> impl Iterator<Item = Result<User>> + use<> {
        let mut stream = Box::pin(self.inner.users(filter));
        let runtime = Arc::clone(&self.runtime);
        std::iter::from_fn(move || match wait(&runtime, stream.next()) {
            Ok(next) => next,
            Err(error) => Some(Err(error)),
        })
    }
}

impl Transaction<'_> {
    /// The user as this transaction sees it.
    ///
    /// # Errors
    /// As for [`crate::database::Transaction::get_user`].
    pub fn get_user(&self, user_id: i64) -> Result<Option<User>> {
        step(self.handle, self.inner.get_user(user_id))
    }

    /// Adds a user.
    ///
    /// # Errors
    /// As for [`crate::database::Transaction::add_user`].
    pub fn add_user(&self, user: &UserPatch) -> Result<()> {
        self.inner.add_user(user)
    }

    /// Sets these columns; gives the user as it is then.
    ///
    /// # Errors
    /// As for [`crate::database::Transaction::update_user`].
    pub fn update_user(&self, user_id: i64, changes: &UserPatch) -> Result<User> {
        step(self.handle, self.inner.update_user(user_id, changes))
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// As for [`crate::database::Transaction::delete_user`].
    pub fn delete_user(&self, user_id: i64) -> Result<()> {
        step(self.handle, self.inner.delete_user(user_id))
    }
}
