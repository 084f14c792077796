//! A connection that hears when somebody has written.

use crate::store::postgres::{Limits, Session, Settings};
use crate::{Error, Kind, Result, Store};

/// A connection that listens. It only saves waiting: what it misses (a pooler between, a
/// connection that is lost unnoticed) the next poll finds.
#[derive(Debug)]
pub struct Listener {
    session: Session,
}

impl Listener {
    /// Connects and listens. Behind a pooler in transaction mode it hears nothing: give it an
    /// address that leads to the server itself.
    ///
    /// # Errors
    /// As for [`Session::open`] and [`Session::batch`].
    pub async fn open(settings: &Settings, limits: &Limits) -> Result<Listener> {
        let session = Session::open(settings, limits).await?;
        session.batch("listen to PostgreSQL", "LISTEN dual").await?;
        Ok(Listener { session })
    }

    /// Waits for a notification since the last call; several times count as once. It can be
    /// given up at any moment without missing any.
    ///
    /// # Errors
    /// Unavailable if the connection has ended: open another one, and poll, because it may have
    /// been notified meanwhile.
    pub async fn notified(&self) -> Result<()> {
        if !self.session.is_closed() {
            self.session.notification().await;
        }
        if self.session.is_closed() {
            let message = format!("{}: the connection has ended", self.session.address());
            return Err(Error::new(
                Kind::Unavailable(Store::Postgres),
                "listen to PostgreSQL",
                message,
            ));
        }
        Ok(())
    }
}
