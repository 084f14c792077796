//! From settings to an open database.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{RwLock, Semaphore};

use super::DualDatabase;
use super::core::Core;
use super::options::Builder;
use crate::schema::{Table, users};
use crate::store::postgres::primary::Pool;
use crate::store::postgres::{Limits, Settings};
use crate::store::sqlite::replica::{Replica, Settings as ReplicaSettings};
use crate::sync::engine::{Shared, Synchroniser};
use crate::{Error, Kind, Result, Store};

const OPERATION: &str = "open the database";

/// How many calls ask PostgreSQL at the same time; more wait for their turn. Those that commit
/// together share one flush of its log.
const SESSIONS: usize = 8;

/// The settings, looked at.
struct Checked {
    postgres: Settings,
    path: PathBuf,
}

impl Builder {
    /// Opens it. PostgreSQL need not be there: it is waited for once, no longer than a call
    /// would wait.
    ///
    /// # Errors
    /// Configuration (URL, path, a time out of range, not a database, another installation),
    /// access denied (the file or its folder), schema (a newer format, a table that additions
    /// do not mend). A store that is merely away is no error.
    pub async fn open(self) -> Result<DualDatabase> {
        let checked = self.checked()?;
        let tables: Arc<[Table]> = Arc::from(vec![users()]);
        let sqlite = ReplicaSettings { path: checked.path, busy: self.busy, tables };
        let opened = Replica::open(sqlite.clone()).await;
        let mut shared = Shared::new(checked.postgres, self.limits(), sqlite);
        shared.poll = self.poll;
        let (settings, declared) = (shared.postgres.clone(), Arc::clone(&shared.tables));
        shared.pool = Pool::new(settings, self.limits(), declared, SESSIONS);
        match opened {
            Ok(replica) => shared.set_replica(Arc::new(replica)),
            Err(error) if is_passing(&error) => shared.health.failed(Store::Sqlite, &error),
            Err(error) => return Err(error),
        }
        let shared = Arc::new(shared);
        let synchroniser = if self.background {
            Synchroniser::start(Arc::clone(&shared))
        } else {
            Synchroniser::on_demand(Arc::clone(&shared))
        };
        let core = Core {
            shared,
            turns: Semaphore::new(SESSIONS),
            synchroniser: RwLock::new(Some(synchroniser)),
            closed: AtomicBool::new(false),
            mode: self.mode,
            prefer: self.prefer,
            timeout: self.timeout,
        };
        if self.background
            && let Err(error) = core.exchange(self.timeout).await
        {
            // The file belongs to another installation: nothing may be written to either.
            if error.is_configuration() {
                return Err(error);
            }
            tracing::debug!(error = error.chain(), "the first exchange has not come to its end");
        }
        Ok(DualDatabase { core: Arc::new(core) })
    }

    fn checked(&self) -> Result<Checked> {
        let wrong = |message: String| Error::new(Kind::Configuration, OPERATION, message);
        let url = self.postgres_url.as_deref().ok_or_else(|| {
            wrong("no PostgreSQL URL is given".into())
                .with_hint("give one, such as postgresql://user:password@host/database")
        })?;
        let path = self.sqlite_path.clone().ok_or_else(|| {
            wrong("no path of the SQLite file is given".into())
                .with_hint("give one, such as users.db")
        })?;
        let (shortest, longest) = (Duration::from_millis(100), Duration::from_secs(300));
        for (what, time) in
            [("time-out", self.timeout), ("busy time-out", self.busy), ("poll interval", self.poll)]
        {
            if !(shortest..=longest).contains(&time) {
                let message = format!("the {what} of {time:?} is out of range");
                return Err(wrong(message).with_hint("give 100 ms to 5 minutes"));
            }
        }
        Ok(Checked { postgres: Settings::parse(url)?, path })
    }

    /// The server gives up before the call does, and says why.
    fn limits(&self) -> Limits {
        Limits {
            connect: self.timeout.mul_f64(0.5),
            statement: self.timeout.mul_f64(0.7),
            lock: self.timeout.mul_f64(0.6),
            grace: self.timeout.mul_f64(0.1),
        }
    }
}

/// Whether the file may be opened later by itself.
fn is_passing(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unavailable(Store::Sqlite) | Kind::NoSpace(Store::Sqlite))
}
