//! The database as it is open now. Where tables are joined, or get columns, or somebody has changed one so
//! that it cannot be followed, while it is open, it is opened once more, and that takes its place: one
//! process after the other would do the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use super::DualDatabase;
use super::core::Core;
use super::options::Builder;
use crate::adoption::Troubles;
use crate::health::StoreState;
use crate::schema::Table;
use crate::store::sqlite::replica::Paused;
use crate::sync::Outdated;
use crate::{Result, Store};

/// How long is waited before it is tried again, at first and at most.
const AGAIN: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(60);

/// How soon it is looked whether a table that is left alone can be followed again. Each time that it cannot it is
/// that much longer until the next look, up to so many times that: a table may stay so for weeks.
const LOOK: Duration = Duration::from_secs(2);
const LATEST: u32 = 5;

/// What is open.
#[derive(Clone, Debug)]
pub(super) struct Opened {
    /// The tables that are followed.
    pub core: Arc<Core>,
    /// Those that are left alone, each by itself.
    pub asides: Vec<Aside>,
}

/// A table that is left alone: one side of it, and why.
#[derive(Clone, Debug)]
pub(super) struct Aside {
    pub core: Arc<Core>,
    pub why: Paused,
}

/// What the clones of one database share.
#[derive(Debug)]
pub(super) struct Current {
    opened: RwLock<Opened>,
    closed: AtomicBool,
    builder: Builder,
}

impl DualDatabase {
    pub(super) fn new(opened: Opened, builder: Builder) -> DualDatabase {
        let (opened, closed) = (RwLock::new(opened), AtomicBool::new(false));
        let builder = Builder { looks: false, ..builder };
        DualDatabase { current: Arc::new(Current { opened, closed, builder }) }
    }

    /// The tables that are followed, as they are open now: a call goes on with what it has begun with.
    pub(super) fn core(&self) -> Arc<Core> {
        self.current.opened().core
    }

    /// The tables that are left alone.
    pub(super) fn asides(&self) -> Vec<Aside> {
        self.current.opened().asides
    }

    /// The table of that name, wherever it is open, and its position there.
    ///
    /// # Errors
    /// Configuration if it is not declared; interrupted once the database was closed.
    pub(super) fn find(&self, name: &str) -> Result<(Arc<Core>, usize)> {
        let Opened { core, asides } = self.current.opened();
        match asides.into_iter().find(|aside| *aside.why.table == *name) {
            Some(aside) => aside.core.position(name).map(|at| (aside.core, at)),
            None => core.position(name).map(|at| (core, at)),
        }
    }

    /// From now on nothing takes its place.
    pub(super) fn is_to_end(&self) {
        self.current.closed.store(true, Ordering::Release);
    }

    /// Sees to it that it keeps all tables, as long as somebody has it open.
    pub(super) fn keep_all(&self) {
        let builder = self.current.builder.clone();
        tokio::spawn(follow(Arc::downgrade(&self.current), builder));
    }

    /// Does it with what is open; if that cannot be done because something has changed since it was opened, it is
    /// opened once more, and done with that.
    ///
    /// # Errors
    /// Those of doing it, and of [`Builder::open`].
    pub(super) async fn as_it_is<T, F: Future<Output = Result<T>>>(
        &self,
        work: impl Fn(Arc<Core>) -> F,
    ) -> Result<T> {
        let core = self.core();
        let done = work(Arc::clone(&core)).await;
        if done.is_err() && core.shared.is_outdated() && self.open_once_more().await? {
            return work(self.core()).await;
        }
        done
    }

    /// Opens it once more now; says whether that one serves.
    ///
    /// # Errors
    /// As for [`Builder::open`].
    async fn open_once_more(&self) -> Result<bool> {
        let known = self.core().shared.troubles().unwrap_or_default();
        let opened = Box::pin(self.current.builder.open_all(&known)).await?;
        if opened.core.shared.pool.tables().is_none() {
            // One that exchanges nothing by itself has not met PostgreSQL yet.
            opened.core.shared.prepare().await?;
        }
        let serves = opened.is_as_well_as(&self.current.opened());
        if serves {
            self.current.replace(opened).await;
        } else {
            opened.end().await;
        }
        Ok(serves)
    }
}

impl Opened {
    /// Whether this one serves as well as the other one did: it has all of its tables, and no store is lost
    /// for them because of what has come besides.
    fn is_as_well_as(&self, old: &Opened) -> bool {
        let is_up = |opened: &Opened, store| opened.core.shared.state(store) == StoreState::Up;
        let covers = |table: &Table| {
            let asides = self.asides.iter().flat_map(|aside| aside.core.shared.tables.iter());
            self.core.shared.tables.iter().chain(asides).any(|one| one.covers(table))
        };
        let is_known = |opened: &Opened| opened.core.shared.pool.tables().is_some();
        [Store::Postgres, Store::Sqlite]
            .into_iter()
            .all(|store| is_up(self, store) || !is_up(old, store))
            && (is_known(self) || !is_known(old))
            && old.core.shared.tables.iter().all(covers)
    }

    /// Ends what exchanges anything: calls go on with what they have begun with.
    async fn end(&self) {
        for core in self.asides.iter().map(|aside| &aside.core).chain([&self.core]) {
            core.end().await;
        }
    }
}

impl Current {
    fn opened(&self) -> Opened {
        self.opened.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the place of the other one, which ends with its last call. `false` if it was closed meanwhile.
    async fn replace(&self, opened: Opened) -> bool {
        let old = {
            let mut held = self.opened.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, opened.clone())
        };
        old.end().await;
        // What it has not come to is done now.
        if old.core.shared.looks.load(Ordering::Acquire) {
            opened.core.shared.looks.store(true, Ordering::Release);
        }
        let is_open = !self.closed.load(Ordering::Acquire);
        if !is_open {
            // Whoever closed it has closed the old one.
            for core in opened.asides.iter().map(|aside| &aside.core).chain([&opened.core]) {
                core.closed.store(true, Ordering::Release);
                core.end().await;
                drop(core.shared.take_replica());
            }
        }
        is_open
    }

    /// Waits until it has to be opened once more, and gives what is known to be in the way of tables; `None`
    /// once it is open no more.
    async fn outdated(current: &Weak<Current>, builder: &Builder) -> Option<Troubles> {
        for looks in 1_u32.. {
            let opened = current.upgrade()?.opened();
            let mut outdated = opened.core.shared.outdated.subscribe();
            let asides =
                opened.asides.iter().map(|one| (one.core.table(0).clone(), one.why.clone()));
            let asides: Vec<(Table, Paused)> = asides.collect();
            // Nothing is held open for it.
            drop(opened);
            let look = async {
                match asides.is_empty() {
                    true => std::future::pending().await,
                    false => tokio::time::sleep(LOOK * looks.min(LATEST)).await,
                }
            };
            tokio::select! {
                // Without a sender it is open no more.
                changed = outdated.wait_for(|why| !matches!(why, Outdated::Not)) => {
                    return Some(match &*changed.ok()? {
                        Outdated::Troubled(troubles) => troubles.clone(),
                        Outdated::Not | Outdated::Joined => Troubles::default(),
                    });
                }
                () = look => {}
            }
            if builder.is_any_mended(asides).await {
                return Some(Troubles::default());
            }
        }
        None
    }
}

async fn follow(current: Weak<Current>, builder: Builder) {
    while let Some(known) = Current::outdated(&current, &builder).await {
        let mut again = AGAIN;
        loop {
            let opened = Box::pin(builder.open_all(&known)).await;
            let Some(current) = current.upgrade() else { return };
            if current.closed.load(Ordering::Acquire) {
                return;
            }
            match opened {
                Ok(opened) if opened.is_as_well_as(&current.opened()) => {
                    tracing::info!("what is kept has changed: it is open once more");
                    if !current.replace(opened).await {
                        return;
                    }
                    break;
                }
                Ok(opened) => {
                    tracing::warn!(
                        "what was joined cannot be kept yet, see `dual status`: the rest goes on as it was"
                    );
                    opened.end().await;
                }
                Err(error) => {
                    tracing::warn!(error = error.chain(), "what was joined cannot be kept yet");
                }
            }
            drop(current);
            tokio::time::sleep(again).await;
            again = (again * 2).min(MOST);
        }
    }
}
