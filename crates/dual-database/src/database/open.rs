//! From settings to an open database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::{RwLock, Semaphore};

use super::DualDatabase;
use super::core::{Core, Deadline};
use super::current::{Aside, Opened};
use super::options::Builder;
use super::row_locks::RowLocks;
use crate::adoption::{Kept, Troubles};
use crate::health::StoreState;
use crate::schema::{Making, Table};
use crate::store::postgres::primary::Pool;
use crate::store::postgres::{Limits, SchemaName, Session, Settings};
use crate::store::sqlite::File;
use crate::store::sqlite::replica::{LOCK, Paused, Settings as ReplicaSettings};
use crate::sync::{Shared, Synchroniser, belongs};
use crate::{Error, Kind, Result, Store, adoption};

const OPERATION: &str = "open the database";

/// How many calls ask PostgreSQL at the same time; more wait for their turn. Those that commit
/// together share one flush of its log.
const SESSIONS: usize = 8;

/// For how long a database is closed that could not be opened.
const CLOSING: Duration = Duration::from_secs(1);

/// Where both stores are, looked at.
struct Addresses {
    postgres: Settings,
    path: PathBuf,
}

impl Builder {
    /// Opens it. PostgreSQL need not be there: it is waited for once, no longer than a call
    /// would wait.
    ///
    /// Tables that are there already are joined if that only adds and nothing differs; else the
    /// file is `needs_init` until `dual init --apply`, and PostgreSQL serves alone.
    ///
    /// # Errors
    /// Configuration (URL, path, a time out of range, not a database, not PostgreSQL, another
    /// installation; then no file was made), access denied (the file or its folder), schema (a
    /// newer format; a table that additions do not mend, with PostgreSQL away). A store that is
    /// merely away is no error.
    pub async fn open(self) -> Result<DualDatabase> {
        let background = self.background;
        let opened = self.open_all(&Troubles::default()).await?;
        let database = DualDatabase::new(opened, self);
        if background {
            database.keep_all();
        }
        Ok(database)
    }

    /// What [`Builder::open`] opens: the tables that can be followed together, and each of the others by
    /// itself. What is in the way of some may be known.
    ///
    /// # Errors
    /// As for that.
    pub(super) async fn open_all(&self, known: &Troubles) -> Result<Opened> {
        let at = self.addresses()?;
        let mut kept = self.kept(&at, Deadline::after(self.timeout)).await;
        if self.adopt && !kept.aside.is_empty() {
            let (aside, before) = (kept.aside.iter().map(|(table, _)| table.clone()), kept.clone());
            // Once the file says no more that they are left alone, nothing is exchanged without them.
            if kept.take_back(&self.troubles(&at, aside.collect()).await)
                && self.prepare(&at, &kept).await.is_err()
            {
                kept = before;
            }
        }
        kept.leave(known);
        let mut opened = self.open_core(&at, &kept).await;
        let met = match &opened {
            Ok(core) => core.shared.troubles(),
            Err(_) => None,
        };
        let is_in_the_way = match &opened {
            Ok(core) => core.shared.is_in_the_way(),
            Err(error) => matches!(error.kind(), Kind::Schema(_)),
        };
        if (is_in_the_way || met.is_some()) && kept.tables.len() > 1 {
            let troubles = match met {
                Some(troubles) => troubles,
                None => self.troubles(&at, kept.tables.clone()).await,
            };
            if kept.leave(&troubles) {
                if let Ok(core) = opened {
                    core.end().await;
                }
                opened = self.open_core(&at, &kept).await;
            }
        }
        let core = Arc::new(opened?);
        let mut asides = Vec::with_capacity(kept.aside.len());
        for (table, why) in kept.aside {
            asides.push(self.open_aside(&at, table, why).await);
        }
        Ok(Opened { core, asides })
    }

    /// What is in the way of these tables.
    async fn troubles(&self, at: &Addresses, tables: Vec<Table>) -> Troubles {
        let kept = Kept { tables, ..Kept::default() };
        let stores = self.stores(at, &kept);
        let look = Deadline::after(self.timeout).bound(adoption::troubles(&stores)).await;
        look.unwrap_or_default()
    }

    /// Whether one of those that are left alone could be followed again, or for another reason is not.
    pub(super) async fn is_any_mended(&self, aside: Vec<(Table, Paused)>) -> bool {
        let Ok(at) = self.addresses() else { return false };
        let mut kept = Kept { aside: aside.clone(), ..Kept::default() };
        let tables = aside.iter().map(|(table, _)| table.clone()).collect();
        match kept.take_back(&self.troubles(&at, tables).await) {
            true => {
                kept.aside.clear();
                self.prepare(&at, &kept).await.is_ok()
            }
            false => kept.aside != aside,
        }
    }

    /// Sees to it that PostgreSQL has what these tables need.
    async fn prepare(&self, at: &Addresses, kept: &Kept) -> Result<()> {
        let pool = Pool::new(at.postgres.clone(), self.limits(), kept.tables.clone().into(), 1);
        let making = if self.adopt { Making::Additions } else { Making::Nothing };
        Box::pin(pool.making(making).prepare()).await.map(drop)
    }

    fn stores(&self, at: &Addresses, kept: &Kept) -> adoption::Stores {
        let sqlite = ReplicaSettings {
            path: at.path.clone(),
            busy: self.busy,
            tables: kept.tables.clone().into(),
            making: if self.adopt { Making::Additions } else { Making::Nothing },
            extensions: self.extensions.clone(),
            aside: kept.aside.iter().map(|(_, why)| why.clone()).collect(),
        };
        adoption::Stores { postgres: at.postgres.clone(), limits: self.limits(), sqlite }
    }

    fn shared(&self, stores: adoption::Stores) -> Shared {
        let making = stores.sqlite.making;
        let mut shared = Shared::new(stores.postgres, stores.limits, stores.sqlite);
        shared.poll = self.poll;
        shared.adopt = self.adopt;
        shared.follow_schema = self.follow_schema;
        shared.hook = self.hook.clone();
        shared.scrub_every = self.verify.map(|every| every.max(Duration::from_secs(1)));
        // A program that looks and goes does not look through everything first.
        shared.looks = AtomicBool::new(self.background && self.looks);
        let (settings, declared) = (shared.postgres.clone(), Arc::clone(&shared.tables));
        shared.pool = Pool::new(settings, self.limits(), declared, SESSIONS).making(making);
        shared
    }

    fn core(&self, shared: Arc<Shared>, synchroniser: Synchroniser) -> Core {
        Core {
            shared,
            sessions: Semaphore::new(SESSIONS),
            row_locks: RowLocks::new(),
            synchroniser: RwLock::new(Some(synchroniser)),
            closed: AtomicBool::new(false),
            mode: self.mode,
            prefer: self.prefer,
            timeout: self.timeout,
        }
    }

    /// A table by itself, on the side that has nothing in its way: what is written there is kept until it is
    /// followed again.
    async fn open_aside(&self, at: &Addresses, table: Table, why: Paused) -> Aside {
        let kept = Kept { tables: vec![table.clone()], aside: vec![(table, why.clone())] };
        let shared = self.shared(self.stores(at, &kept));
        match why.store {
            Store::Postgres => {
                shared.health.stays_in_need(Store::Postgres, &why.error());
                match shared.open_file().await {
                    Ok(replica) => shared.set_replica(Arc::new(replica)),
                    Err(error) => shared.health.stays_in_need(Store::Sqlite, &error),
                }
            }
            Store::Sqlite => shared.keep_left(&why.error()),
        }
        let shared = Arc::new(shared);
        let synchroniser = Synchroniser::on_demand(Arc::clone(&shared));
        Aside { core: Arc::new(self.core(shared, synchroniser)), why }
    }

    async fn open_core(&self, at: &Addresses, kept: &Kept) -> Result<Core> {
        let deadline = Deadline::after(self.timeout);
        let is_new = !File::look(&at.path)?.existed;
        let shared = self.shared(self.stores(at, kept));
        if is_new || !self.adopt {
            self.meet(&shared, deadline).await?;
        }
        self.open_file(&shared, deadline).await?;
        if !self.adopt {
            self.compare_installations(&shared, deadline).await;
        }
        let shared = Arc::new(shared);
        let synchroniser = if self.background {
            Synchroniser::start(Arc::clone(&shared))
        } else {
            Synchroniser::on_demand(Arc::clone(&shared))
        };
        let core = self.core(shared, synchroniser);
        if self.background
            // What was found away is not waited for once more.
            && [Store::Postgres, Store::Sqlite].map(|store| core.shared.state(store))
                == [StoreState::Up, StoreState::Up]
            && let Err(error) = core.exchange(deadline.remaining()).await
        {
            // A wrong address, or the file belongs to another installation: nothing may be
            // written to either.
            if error.is_configuration() {
                core.close(CLOSING).await;
                return Err(error);
            }
            tracing::debug!(error = error.chain(), "the first exchange has not come to its end");
        }
        Ok(core)
    }

    /// Which tables are kept together, and which are left alone.
    async fn kept(&self, at: &Addresses, deadline: Deadline) -> Kept {
        adoption::kept(&self.stores(at, &Kept::default()), deadline.remaining()).await
    }

    /// Meets PostgreSQL before a file is made: an address that is wrong must leave none behind.
    ///
    /// # Errors
    /// Configuration, unless this only looks. What is merely away is noted.
    async fn meet(&self, shared: &Shared, deadline: Deadline) -> Result<()> {
        let met = async {
            if self.adopt {
                Session::open(&shared.postgres, &shared.limits).await.map(drop)
            } else {
                shared.prepare().await.map(drop)
            }
        };
        let met = deadline.bound(met).await.unwrap_or_else(|| {
            let message = "there was no connection to PostgreSQL within the time-out";
            Err(Error::new(Kind::Unavailable(Store::Postgres), OPERATION, message))
        });
        match met {
            Ok(()) => {}
            Err(error) if error.is_configuration() && self.adopt => return Err(error),
            Err(error) if matches!(error.kind(), Kind::Schema(_)) => {
                shared.health.needs_init(Store::Postgres, &error);
            }
            Err(error) => shared.health.failed(Store::Postgres, &error),
        }
        Ok(())
    }

    /// Opens the file, if it may be; PostgreSQL can go on without it.
    async fn open_file(&self, shared: &Shared, deadline: Deadline) -> Result<()> {
        let known = !self.adopt || was_ours(&shared.sqlite.path);
        if !known && let Some(reservation) = self.reservation(shared, deadline).await {
            shared.leave_file(&reservation);
            return Ok(());
        }
        let error = match shared.open_file().await {
            Ok(replica) => {
                shared.set_replica(Arc::new(replica));
                return Ok(());
            }
            Err(error) => error,
        };
        match error.kind() {
            Kind::Schema(_) if !self.adopt => shared.leave_file(&error),
            _ if is_passing(&error) => shared.health.failed(Store::Sqlite, &error),
            Kind::AccessDenied
                if was_ours(&shared.sqlite.path) && !self.is_away(shared, deadline).await =>
            {
                shared.health.failed(Store::Sqlite, &error);
            }
            _ => return Err(error),
        }
        Ok(())
    }

    /// Why a person has to see to the file before it is joined; only asked of a PostgreSQL that
    /// serves meanwhile.
    async fn reservation(&self, shared: &Shared, deadline: Deadline) -> Option<Error> {
        if shared.state(Store::Postgres) != StoreState::Up {
            return None;
        }
        let stores = adoption::Stores {
            postgres: shared.postgres.clone(),
            limits: shared.limits,
            sqlite: shared.sqlite.clone(),
        };
        // What cannot be looked at is judged by whoever opens it.
        deadline.bound(adoption::reservation(&stores)).await?.ok()?
    }

    async fn is_away(&self, shared: &Shared, deadline: Deadline) -> bool {
        !matches!(deadline.bound(shared.pool.prepare()).await, Some(Ok(_)))
    }

    /// A file that has met another installation is left alone.
    async fn compare_installations(&self, shared: &Shared, deadline: Deadline) {
        let Some(replica) = shared.replica() else { return };
        if shared.state(Store::Postgres) != StoreState::Up {
            return;
        }
        let compared = async {
            let node = replica.read(OPERATION, |content| content.node()).await?;
            let header = shared.pool.get().await?.primary(node.file)?.header().await?;
            belongs(&node, &header)
        };
        match deadline.bound(compared).await {
            Some(Err(error)) if error.is_configuration() => shared.leave_file(&error),
            // It answers everything, and confirms nothing.
            Some(Err(error)) if error.kind() == Kind::Unavailable(Store::Postgres) => {
                shared.health.failed(Store::Postgres, &error);
            }
            // Whoever needs an answer asks again.
            Some(_) | None => {}
        }
    }

    fn addresses(&self) -> Result<Addresses> {
        let wrong = |message: String| Error::new(Kind::Configuration, OPERATION, message);
        let url = self.postgres_url.as_ref().ok_or_else(|| {
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
        let schema = self.schema.as_deref().map(SchemaName::new).transpose()?.unwrap_or_default();
        let postgres = Settings::resolve(url.reveal(), &self.environment)?.with_schema(schema);
        Ok(Addresses { postgres, path })
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

/// Whether a process of ours has used the file before: it lies beside its lock.
fn was_ours(path: &Path) -> bool {
    let mut lock = path.as_os_str().to_owned();
    lock.push(LOCK);
    Path::new(&lock).exists()
}
