//! The database as it is open now. Where tables are joined, or get columns, while it is open, it is opened
//! once more with all of them, and that takes its place: one process after the other would do the same.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use super::DualDatabase;
use super::core::Core;
use super::options::Builder;

/// How long is waited before it is tried again.
const AGAIN: Duration = Duration::from_secs(1);

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

    /// Takes the place of the other one, which ends with its last call.
    async fn replace(&self, core: Core) {
        let core = Arc::new(core);
        let old = {
            let mut held = self.core.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *held, Arc::clone(&core))
        };
        if self.closed.load(Ordering::Acquire) {
            core.closed.store(true, Ordering::Release);
        }
        drop(old.synchroniser.write().await.take());
    }
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
        loop {
            let opened = Box::pin(builder.open_core()).await;
            let Some(current) = current.upgrade() else { return };
            if current.closed.load(Ordering::Acquire) {
                return;
            }
            match opened {
                Ok(core) => {
                    tracing::info!(
                        "tables were joined, or have got columns: they are kept from now on"
                    );
                    current.replace(core).await;
                    break;
                }
                Err(error) => {
                    tracing::warn!(error = error.chain(), "what was joined cannot be kept yet");
                    drop(current);
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}
