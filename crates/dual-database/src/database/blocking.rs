//! The same calls for programs without async: each one waits.
//!
//! ```no_run
//! use dual_database::blocking::DualDatabase;
//! use dual_database::users::UserPatch;
//!
//! # fn main() -> dual_database::Result<()> {
//! let db = DualDatabase::open(
//!     dual_database::DualDatabase::builder()
//!         .postgres_url("postgresql://bot@db.example.org/bot")
//!         .sqlite_path("users.db"),
//! )?;
//! db.add_user(&UserPatch::new().user_id(5_123_456_789).first_name("Anna"))?;
//! db.close(std::time::Duration::from_secs(5))
//! # }
//! ```

mod table;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Handle, Runtime};

pub use table::TableCalls;

use super::{Builder, Conflict, QuarantinedRow, RepairPreference, Status, Verification, Written};
use crate::sync::Exchange;
use crate::{Error, Kind, Result};

/// PostgreSQL and a SQLite file as one database, with a small runtime of its own on
/// which everything goes on between the calls. Cheap to clone.
///
/// Every call fails with an error about the configuration inside an async runtime, whose thread
/// it would block: use [`crate::DualDatabase`] there.
#[derive(Clone, Debug)]
pub struct DualDatabase {
    // Before the runtime, so that what it runs ends first.
    pub(crate) inner: super::DualDatabase,
    pub(crate) runtime: Arc<Runtime>,
}

/// One blocking call for each async one.
macro_rules! calls_that_wait {
    ($($(#[$about:meta])* $name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        $(
            $(#[$about])*
            ///
            /// # Errors
            #[doc = concat!("As for [`crate::DualDatabase::", stringify!($name), "`].")]
            pub fn $name(&self, $($argument: $kind),*) -> Result<$answer> {
                $crate::database::blocking::wait(&self.runtime, self.inner.$name($($argument),*))?
            }
        )*
    };
}

pub(crate) use calls_that_wait;

impl DualDatabase {
    /// Opens it.
    ///
    /// # Errors
    /// As for [`Builder::open`]; internal if the system gives no threads.
    pub fn open(builder: Builder) -> Result<DualDatabase> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("dual-database")
            .enable_all()
            .build()
            .map_err(|cause| {
                Error::new(Kind::Internal, "start the runtime", "no thread to be had")
                    .with_source(cause)
            })?;
        let inner = wait(&runtime, builder.open())??;
        Ok(DualDatabase { inner, runtime: Arc::new(runtime) })
    }

    calls_that_wait! {
        /// How both stores stand.
        status() -> Status;
        /// Compares both stores, row by row.
        verify() -> Verification;
        /// Lets a comparison that waits for a person go on, and makes both sides equal.
        repair(prefer: RepairPreference) -> Verification;
        /// Sets back the stamps that lie in the future.
        repair_stamps() -> Verification;
        /// Exchanges what is pending, at most for `within`.
        sync_now(within: Duration) -> Exchange;
        /// The conflict log, the newest first.
        conflicts(limit: usize) -> Vec<Conflict>;
        /// Marks all conflicts as reviewed; says how many there were.
        review_conflicts() -> u64;
        /// A person has seen what the status tells of damaged files; says how many there were.
        review_damage() -> u64;
        /// The rows that one side refuses.
        quarantine() -> Vec<QuarantinedRow>;
    }

    /// Several rows at once, all of it on both sides or nothing.
    ///
    /// # Errors
    /// As for [`crate::DualDatabase::transaction`].
    pub fn transaction<T>(
        &self,
        mut work: impl FnMut(&Transaction<'_>) -> Result<T>,
    ) -> Result<Written<T>> {
        let handle = self.runtime.handle().clone();
        wait(
            &self.runtime,
            self.inner.transaction(|inner| {
                // The caller's thread is the one that waits here: it may wait for a step, too.
                std::future::ready(work(&Transaction { inner, handle: &handle }))
            }),
        )?
    }

    /// Ends it: pushes what is pending, at most for `within`.
    ///
    /// # Errors
    /// Configuration inside an async runtime.
    pub fn close(self, within: Duration) -> Result<()> {
        wait(&self.runtime, self.inner.close(within))
    }
}

/// A [`super::Transaction`] whose steps wait.
#[derive(Debug)]
pub struct Transaction<'t> {
    pub(crate) inner: super::Transaction,
    pub(crate) handle: &'t Handle,
}

/// Waits for a step on the thread that waits for the whole; another one does the work.
pub(crate) fn step<T>(handle: &Handle, work: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| handle.block_on(work))
}

/// Waits for it, unless that would block a runtime.
pub(crate) fn wait<T>(runtime: &Runtime, work: impl Future<Output = T>) -> Result<T> {
    if Handle::try_current().is_ok() {
        let message = "a blocking call inside an async runtime";
        return Err(Error::new(Kind::Configuration, "wait for a call", message)
            .with_hint("use `dual_database::DualDatabase` there"));
    }
    Ok(runtime.block_on(work))
}
