//! [`DualDatabase`]: both stores as one database.

mod answer;
pub mod blocking;
mod contact;
mod core;
mod json;
mod local;
mod open;
mod options;
mod plan;
mod read;
mod record;
mod report;
mod row_locks;
mod status;
mod table;
mod transaction;
mod user;
mod verify;
mod write;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::stream::{Stream, StreamExt};

pub use answer::{Found, Written};
pub use options::{Builder, Prefer, WriteMode};
pub use record::{Patch, Record, ShownRecord};
pub use status::{
    Conflict, Damage, Failing, Paused, QuarantinedRow, SideStatus, Status, TableDifference,
    Verification, Verified,
};
pub use table::TableCalls;
pub use transaction::Transaction;
pub use user::{User, UserFilter, UserPatch};

use self::core::{Core, Deadline};
use crate::sync::Exchange;
use crate::{Error, Kind, Result};

/// PostgreSQL and a SQLite file as one database of users. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DualDatabase {
    core: Arc<Core>,
}

impl DualDatabase {
    /// Settings to open it with.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The calls on a declared table.
    ///
    /// # Errors
    /// Configuration if no table of that name is declared.
    pub fn table(&self, name: &str) -> Result<TableCalls<'_>> {
        Ok(TableCalls::new(&self.core, self.core.position(name)?))
    }

    /// Adds a user. Columns that are not named get their defaults: `status` `registered`,
    /// `ai_concept` `evgenich`, `profile_completed` false, `register_date` and `last_activity`
    /// this moment in UTC.
    ///
    /// # Errors
    /// [`crate::Kind::AlreadyExists`]; invalid data; [`crate::Kind::OutcomeUnknown`]; unavailable
    /// with both causes if neither store takes it; [`crate::Kind::Partial`] when both are required.
    pub async fn add_user(&self, user: &UserPatch) -> Result<Written<User>> {
        Ok(self.users_table()?.add(&user.patch).await?.map(User::from_record))
    }

    /// Adds a user, or sets these columns of the one that is there.
    ///
    /// # Errors
    /// As for [`DualDatabase::add_user`].
    pub async fn upsert_user(&self, user: &UserPatch) -> Result<Written<User>> {
        Ok(self.users_table()?.upsert(&user.patch).await?.map(User::from_record))
    }

    /// The user with that `user_id`.
    ///
    /// # Errors
    /// Unavailable with both causes if neither store answers.
    pub async fn get_user(&self, user_id: i64) -> Result<Found<Option<User>>> {
        let found = self.users_table()?.get(user_id).await?;
        Ok(found.map(|record| record.map(User::from_record)))
    }

    /// Sets these columns.
    ///
    /// # Errors
    /// [`crate::Kind::NotFound`]; invalid data, also if no column is named, or another `user_id`;
    /// else as for [`DualDatabase::add_user`].
    pub async fn update_user(&self, user_id: i64, changes: &UserPatch) -> Result<Written<User>> {
        Ok(self.users_table()?.update(user_id, &changes.patch).await?.map(User::from_record))
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// As for [`DualDatabase::update_user`].
    pub async fn delete_user(&self, user_id: i64) -> Result<Written<()>> {
        self.users_table()?.delete(user_id).await
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
        let found = self.users_table()?.list(&filter.inner, limit).await?;
        Ok(found.map(|records| records.into_iter().map(User::from_record).collect()))
    }

    /// How many there are.
    ///
    /// # Errors
    /// As for [`DualDatabase::get_user`].
    pub async fn count_users(&self, filter: &UserFilter) -> Result<Found<u64>> {
        self.users_table()?.count(&filter.inner).await
    }

    /// Those that fit the filter, the newest first, in constant memory. Each page is of its own
    /// moment, from the store that answers then; a user that stays as it is comes once.
    ///
    /// # Errors
    /// Each item as for [`DualDatabase::get_user`]; the stream ends with it.
    pub fn users(&self, filter: &UserFilter) -> impl Stream<Item = Result<User>> + Send + use<> {
        let users = self.core.position("users");
        let filter = filter.inner.clone();
        table::stream(Arc::clone(&self.core), users, filter)
            .map(|record| record.map(User::from_record))
    }

    /// Several rows at once, all of it on both sides or nothing. `work` reads and says what is
    /// to be done; nothing is written before it returns. If somebody else has changed what it
    /// read meanwhile, or PostgreSQL goes away, it is run again, so it must not do anything
    /// else than to compute.
    ///
    /// ```no_run
    /// # async fn example(db: dual_database::DualDatabase) -> dual_database::Result<()> {
    /// use dual_database::database::UserPatch;
    ///
    /// db.transaction(async |tx| {
    ///     let Some(user) = tx.get_user(1).await? else { return Ok(()) };
    ///     let heir = UserPatch::new().referrer_id(user.referrer_id);
    ///     tx.update_user(2, &heir).await?;
    ///     tx.delete_user(1).await
    /// })
    /// .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What `work` answers; [`crate::Kind::Conflict`] if somebody else was faster again and
    /// again; else as for [`DualDatabase::add_user`].
    pub async fn transaction<T, W>(&self, work: impl FnMut(Transaction) -> W) -> Result<Written<T>>
    where
        W: Future<Output = Result<T>>,
    {
        self.core.transaction(work).await
    }

    /// Exchanges what is pending, at most for `within`. Rows in quarantine are tried again, and a
    /// comparison that waits for a person is made again, in case it would lose little by now.
    ///
    /// # Errors
    /// Unavailable if a side does not answer or time is up.
    pub async fn sync_now(&self, within: Duration) -> Result<Exchange> {
        self.core.look_again().await;
        self.core.exchange(within).await
    }

    /// Ends it: pushes what is pending and closes the file, all within that time. When it
    /// returns earlier, SQLite has let go of the file, and it can be copied or moved. Nothing
    /// relies on it being called. Calls on its clones are refused from then on.
    pub async fn close(self, within: Duration) {
        let deadline = Deadline::after(within);
        self.core.closed.store(true, Ordering::Release);
        let running = deadline.bound(async { self.core.synchroniser.write().await.take() }).await;
        if let Some(synchroniser) = running.flatten() {
            synchroniser.close(deadline.remaining()).await;
        }
        if let Some(replica) = self.core.shared.take_replica() {
            let _ = deadline.bound(replica.close()).await;
        }
    }

    fn users_table(&self) -> Result<TableCalls<'_>> {
        self.table("users")
    }
}

impl Core {
    /// The position of the table of that name.
    ///
    /// # Errors
    /// Configuration if it is not declared; interrupted once the database was closed.
    fn position(&self, name: &str) -> Result<usize> {
        self.is_open("find a table")?;
        self.shared.tables.iter().position(|table| table.name() == name).ok_or_else(|| {
            let message = "no table of that name is declared";
            Error::new(Kind::Configuration, "find a table", message)
        })
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
