//! The database as it is open now. Where tables are joined, or get columns, while it is open, it is opened
//! once more with all of them, and that takes its place: one process after the other would do the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use super::DualDatabase;
use super::core::Core;
use super::options::Builder;
use crate::Store;
use crate::health::StoreState;
use crate::schema::Table;

/// How long is waited before it is tried again, at first and at most.
const AGAIN: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(60);

/// What the clones of one database share.
#[derive(Debug)]
pub(super) struct Current {
    core: RwLock<Arc<Core>>,
    closed: AtomicBool,
}

impl DualDatabase {
    pub(super) fn new(core: Core) -> DualDatabase {
        let core = RwLock::new(Arc::new(core));
        DualDatabase { current: Arc::new(Current { core, closed: AtomicBool::new(false) }) }
    }

    /// As it is open now: a call goes on with what it has begun with.
    pub(super) fn core(&self) -> Arc<Core> {
        self.current.core()
    }

    /// From now on nothing takes its place.
    pub(super) fn is_to_end(&self) {
        self.current.closed.store(true, Ordering::Release);
    }

    /// Sees to it that it keeps all tables, as long as somebody has it open.
    pub(super) fn keep_all(&self, builder: Builder) {
        tokio::spawn(follow(Arc::downgrade(&self.current), builder));
    }
}

impl Current {
    fn core(&self) -> Arc<Core> {
        Arc::clone(&self.core.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the place of the other one, which ends with its last call. `false` if it was closed meanwhile.
    async fn replace(&self, core: Core) -> bool {
        let core = Arc::new(core);
        let old = {
            let mut held = self.core.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, Arc::clone(&core))
        };
        drop(old.synchroniser.write().await.take());
        let is_open = !self.closed.load(Ordering::Acquire);
        if !is_open {
            // Whoever closed it has closed the old one.
            core.closed.store(true, Ordering::Release);
            drop(core.synchroniser.write().await.take());
            drop(core.shared.take_replica());
        }
        is_open
    }
}

/// Whether the new one serves as well as the old one did: it has all of its tables, and no store is lost for
/// them because of what has come besides.
fn is_as_well(new: &Core, old: &Core) -> bool {
    let is_up = |core: &Core, store| core.shared.state(store) == StoreState::Up;
    let keeps = |table: &Table| new.shared.tables.iter().any(|one| one.covers(table));
    [Store::Postgres, Store::Sqlite]
        .into_iter()
        .all(|store| is_up(new, store) || !is_up(old, store))
        && (new.shared.pool.tables().is_some() || old.shared.pool.tables().is_none())
        && old.shared.tables.iter().all(keeps)
}

async fn follow(current: Weak<Current>, builder: Builder) {
    loop {
        let Some(mut outdated) = current.upgrade().map(|it| it.core().shared.outdated.subscribe())
        else {
            return;
        };
        // Without a sender it is open no more.
        if outdated.wait_for(|is_so| *is_so).await.is_err() {
            return;
        }
        let mut again = AGAIN;
        loop {
            let opened = Box::pin(builder.open_core()).await;
            let Some(current) = current.upgrade() else { return };
            if current.closed.load(Ordering::Acquire) {
                return;
            }
            match opened {
                Ok(core) if is_as_well(&core, &current.core()) => {
                    tracing::info!(
                        "tables were joined, or have got columns: they are kept from now on"
                    );
                    if !current.replace(core).await {
                        return;
                    }
                    break;
                }
                Ok(core) => {
                    tracing::warn!(
                        "what was joined cannot be kept yet, see `dual status`: the rest goes on as it was"
                    );
                    drop(core.synchroniser.write().await.take());
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
