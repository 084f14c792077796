//! [`DualDatabase`]: both stores as one database.

mod answer;
pub mod blocking;
mod contact;
mod core;
mod current;
mod filter;
mod json;
mod local;
mod number;
mod open;
mod options;
mod patch;
mod plan;
mod query;
mod read;
mod report;
mod row_locks;
mod status;
mod table;
mod transaction;
mod verify;
mod write;
mod write_file;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use crate::protocol::{Direction, Filter, Record, ShownRecord};
pub use crate::store::sqlite::Rows;
pub use answer::{Found, Written};
pub use options::{Builder, Prefer, WriteMode};
pub use patch::Patch;
pub use status::{
    Comparing, Conflict, Damage, Failing, NotCarried, Paused, QuarantinedRow, SideStatus, Status,
    TableDifference, Verification, Verified,
};
pub use table::TableCalls;
pub use transaction::Transaction;

use self::core::{Core, Deadline};
use self::current::Current;
use crate::schema::Table;
use crate::sync::Exchange;
use crate::{Error, Kind, Result};

/// PostgreSQL and a SQLite file as one database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DualDatabase {
    current: Arc<Current>,
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
    pub fn table(&self, name: &str) -> Result<TableCalls> {
        TableCalls::new(self.clone(), name)
    }

    /// Several rows at once, all of it on both sides or nothing. `work` reads and says what is
    /// to be done; nothing is written before it returns. If somebody else has changed what it
    /// read meanwhile, or PostgreSQL goes away, it is run again, so it must not do anything
    /// else than to compute.
    ///
    /// ```no_run
    /// # async fn example(db: dual_database::DualDatabase) -> dual_database::Result<()> {
    /// use dual_database::users::UserPatch;
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
    /// again; else as for [`TableCalls::add`].
    pub async fn transaction<T, W>(&self, work: impl FnMut(Transaction) -> W) -> Result<Written<T>>
    where
        W: Future<Output = Result<T>>,
    {
        self.core().transaction(work).await
    }

    /// Exchanges what is pending, at most for `within`. Rows in quarantine are tried again, and a
    /// comparison that waits for a person is made again, in case it would lose little by now.
    ///
    /// # Errors
    /// Unavailable if a side does not answer or time is up.
    pub async fn sync_now(&self, within: Duration) -> Result<Exchange> {
        let deadline = Deadline::after(within);
        self.core().look_again().await;
        self.as_it_is(move |core| async move { core.exchange(deadline.remaining()).await }).await
    }

    /// Ends it: pushes what is pending and closes the file, all within that time. When it
    /// returns earlier, SQLite has let go of the file, and it can be copied or moved. Nothing
    /// relies on it being called. Calls on its clones are refused from then on.
    pub async fn close(self, within: Duration) {
        let deadline = Deadline::after(within);
        self.is_to_end();
        for aside in self.asides() {
            aside.core.close(deadline.remaining()).await;
        }
        self.core().close(deadline.remaining()).await;
    }
}

impl Core {
    /// Ends it: pushes what is pending and closes the file, all within that time.
    async fn close(&self, within: Duration) {
        let deadline = Deadline::after(within);
        self.closed.store(true, Ordering::Release);
        let running = deadline.bound(async { self.synchroniser.write().await.take() }).await;
        if let Some(synchroniser) = running.flatten() {
            synchroniser.close(deadline.remaining()).await;
        }
        if let Some(replica) = self.shared.take_replica() {
            let _ = deadline.bound(replica.close()).await;
        }
    }

    /// Ends it at once, for another one in its place: calls go on with what they have begun with.
    async fn end(&self) {
        if let Some(synchroniser) = self.synchroniser.write().await.take() {
            synchroniser.stop().await;
        }
    }

    /// The position of the table of that name.
    ///
    /// # Errors
    /// Configuration if it is not declared; interrupted once the database was closed.
    fn position(&self, name: &str) -> Result<usize> {
        self.is_open("find a table")?;
        let aside = self.shared.sqlite.aside.iter().find(|aside| *aside.table == *name);
        if let Some(aside) = aside.filter(|_| !self.shared.is_alone()) {
            return Err(aside.error());
        }
        self.shared.tables.iter().position(|table| table.name() == name).ok_or_else(|| {
            let message = "no table of that name is kept; `dual init` shows which could be";
            let known = self.shared.tables.iter().map(Table::name);
            Error::new(Kind::Configuration, "find a table", message).suggesting(name, known)
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
