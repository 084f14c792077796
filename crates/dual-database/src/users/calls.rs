//! The calls of [`DualDatabase`] and of its transactions on users.

use std::future;

use futures_util::stream::{self, Stream, StreamExt};

use super::{NAME, User, UserFilter, UserPatch};
use crate::Result;
use crate::database::{DualDatabase, Found, Transaction, Written};

impl DualDatabase {
    /// Adds a user. Columns that are not named get their defaults: `status` `registered`,
    /// `ai_concept` `evgenich`, `profile_completed` false, `register_date` and `last_activity`
    /// this moment in UTC.
    ///
    /// # Errors
    /// [`crate::Kind::AlreadyExists`]; invalid data; [`crate::Kind::OutcomeUnknown`]; unavailable
    /// with both causes if neither store takes it; [`crate::Kind::Partial`] when both are required.
    pub async fn add_user(&self, user: &UserPatch) -> Result<Written<User>> {
        Ok(self.table(NAME)?.add(&user.patch).await?.map(User::from_record))
    }

    /// Adds a user, or sets these columns of the one that is there.
    ///
    /// # Errors
    /// As for [`DualDatabase::add_user`].
    pub async fn upsert_user(&self, user: &UserPatch) -> Result<Written<User>> {
        Ok(self.table(NAME)?.upsert(&user.patch).await?.map(User::from_record))
    }

    /// The user with that `user_id`.
    ///
    /// # Errors
    /// Unavailable with both causes if neither store answers.
    pub async fn get_user(&self, user_id: i64) -> Result<Found<Option<User>>> {
        let found = self.table(NAME)?.get(user_id).await?;
        Ok(found.map(|record| record.map(User::from_record)))
    }

    /// Sets these columns.
    ///
    /// # Errors
    /// [`crate::Kind::NotFound`]; invalid data, also if no column is named, or another `user_id`;
    /// else as for [`DualDatabase::add_user`].
    pub async fn update_user(&self, user_id: i64, changes: &UserPatch) -> Result<Written<User>> {
        Ok(self.table(NAME)?.update(user_id, &changes.patch).await?.map(User::from_record))
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// As for [`DualDatabase::update_user`].
    pub async fn delete_user(&self, user_id: i64) -> Result<Written<()>> {
        self.table(NAME)?.delete(user_id).await
    }

    /// The newest users first: by `register_date`, those without one last, then by `user_id`,
    /// both descending.
    ///
    /// # Errors
    /// As for [`DualDatabase::get_user`].
    pub async fn get_all_users(&self, limit: Option<u64>) -> Result<Found<Vec<User>>> {
        self.find_users(&UserFilter::new(), limit).await
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
        let found = self.table(NAME)?.list(&filter.inner, limit).await?;
        Ok(found.map(|records| records.into_iter().map(User::from_record).collect()))
    }

    /// How many there are.
    ///
    /// # Errors
    /// As for [`DualDatabase::get_user`].
    pub async fn count_users(&self, filter: &UserFilter) -> Result<Found<u64>> {
        self.table(NAME)?.count(&filter.inner).await
    }

    /// Those that fit the filter, the newest first, in constant memory. Each page is of its own
    /// moment, from the store that answers then; a user that stays as it is comes once.
    ///
    /// # Errors
    /// Each item as for [`DualDatabase::get_user`]; the stream ends with it.
    pub fn users(&self, filter: &UserFilter) -> impl Stream<Item = Result<User>> + Send + use<> {
        let rows = match self.table(NAME) {
            Ok(users) => users.stream(&filter.inner).left_stream(),
            Err(error) => stream::once(future::ready(Err(error))).right_stream(),
        };
        rows.map(|record| record.map(User::from_record))
    }
}

impl Transaction {
    /// The user as this transaction sees it.
    ///
    /// # Errors
    /// Unavailable if no store answers; let it pass, and the transaction is made again where
    /// it can be.
    pub async fn get_user(&self, user_id: i64) -> Result<Option<User>> {
        Ok(self.get(NAME, user_id).await?.map(User::from_record))
    }

    /// Adds a user.
    ///
    /// # Errors
    /// Invalid data; already exists, here or at the commit.
    pub fn add_user(&self, user: &UserPatch) -> Result<()> {
        self.add(NAME, &user.patch)
    }

    /// Sets these columns; gives the user as it is then.
    ///
    /// # Errors
    /// Invalid data; not found; as for [`Transaction::get_user`].
    pub async fn update_user(&self, user_id: i64, changes: &UserPatch) -> Result<User> {
        Ok(User::from_record(self.update(NAME, user_id, &changes.patch).await?))
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// Not found; as for [`Transaction::get_user`].
    pub async fn delete_user(&self, user_id: i64) -> Result<()> {
        self.delete(NAME, user_id).await
    }
}
