//! [`DualDatabase`]: both stores as one database.

mod answer;
mod json;
mod options;
mod record;
mod status;
mod user;

use std::time::Duration;

pub use answer::{Found, Written};
pub use options::{Builder, Prefer, WriteMode};
pub use record::{Patch, Record, ShownRecord};
pub use status::{Conflict, QuarantinedRow, SideStatus, Status, TableDifference, Verification};
pub use user::{User, UserFilter, UserPatch};

use crate::Result;

/// PostgreSQL and a SQLite file as one database of users. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DualDatabase {}

impl DualDatabase {
    /// Settings to open it with.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`crate::Kind::AlreadyExists`]; invalid data; [`crate::Kind::OutcomeUnknown`]; unavailable
    /// with both causes if neither store takes it; [`crate::Kind::Partial`] when both are required.
    pub async fn add_user(&self, user: &UserPatch) -> Result<Written<User>> {
        let _ = user;
        todo!()
    }

    /// Adds a user, or sets these columns of the one that is there.
    ///
    /// # Errors
    /// As for [`DualDatabase::add_user`].
    pub async fn upsert_user(&self, user: &UserPatch) -> Result<Written<User>> {
        let _ = user;
        todo!()
    }

    /// The user with that `user_id`.
    ///
    /// # Errors
    /// Unavailable with both causes if neither store answers.
    pub async fn get_user(&self, user_id: i64) -> Result<Found<Option<User>>> {
        let _ = user_id;
        todo!()
    }

    /// Sets these columns.
    ///
    /// # Errors
    /// [`crate::Kind::NotFound`]; else as for [`DualDatabase::add_user`].
    pub async fn update_user(&self, user_id: i64, changes: &UserPatch) -> Result<Written<User>> {
        let _ = (user_id, changes);
        todo!()
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// As for [`DualDatabase::update_user`].
    pub async fn delete_user(&self, user_id: i64) -> Result<Written<()>> {
        let _ = user_id;
        todo!()
    }

    /// The newest users first.
    ///
    /// # Errors
    /// As for [`DualDatabase::get_user`].
    pub async fn get_all_users(&self, limit: Option<u64>) -> Result<Found<Vec<User>>> {
        let _ = limit;
        todo!()
    }

    /// Those that fit the filter, the newest first.
    ///
    /// # Errors
    /// As for [`DualDatabase::get_user`].
    pub async fn find_users(
        &self,
        filter: &UserFilter,
        limit: Option<u64>,
    ) -> Result<Found<Vec<User>>> {
        let _ = (filter, limit);
        todo!()
    }

    /// How many there are.
    ///
    /// # Errors
    /// As for [`DualDatabase::get_user`].
    pub async fn count_users(&self, filter: &UserFilter) -> Result<Found<u64>> {
        let _ = filter;
        todo!()
    }

    /// How both stores stand.
    ///
    /// # Errors
    /// None that matters: a store that does not answer is `down` in the answer.
    pub async fn status(&self) -> Result<Status> {
        todo!()
    }

    /// Compares both stores, row by row.
    ///
    /// # Errors
    /// Unavailable if a side does not answer.
    pub async fn verify(&self) -> Result<Verification> {
        todo!()
    }

    /// Lets a comparison that waits for a person go on, and makes both sides equal.
    ///
    /// # Errors
    /// Unavailable if a side does not answer.
    pub async fn repair(&self, prefer: RepairPreference) -> Result<Verification> {
        let _ = prefer;
        todo!()
    }

    /// Exchanges what is pending, at most for `within`.
    ///
    /// # Errors
    /// Unavailable if a side does not answer or time is up.
    pub async fn sync_now(&self, within: Duration) -> Result<crate::sync::engine::Exchange> {
        let _ = within;
        todo!()
    }

    /// The conflict log, the newest first.
    ///
    /// # Errors
    /// Unavailable if neither store answers.
    pub async fn conflicts(&self, limit: usize) -> Result<Vec<Conflict>> {
        let _ = limit;
        todo!()
    }

    /// Marks all conflicts as reviewed; says how many there were.
    ///
    /// # Errors
    /// Unavailable if neither store answers.
    pub async fn review_conflicts(&self) -> Result<u64> {
        todo!()
    }

    /// The rows that one side refuses.
    ///
    /// # Errors
    /// Unavailable if the file does not answer.
    pub async fn quarantine(&self) -> Result<Vec<QuarantinedRow>> {
        todo!()
    }

    /// Ends it: pushes what is pending, at most for `within`. Nothing relies on it being called.
    pub async fn close(self, within: Duration) {
        let _ = within;
        todo!()
    }
}

/// Which side is right where both differ and a person was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepairPreference {
    /// PostgreSQL.
    Postgres,
    /// The SQLite file.
    Sqlite,
    /// The newer stamp of each column, as always; only the guard is passed.
    Newest,
}
