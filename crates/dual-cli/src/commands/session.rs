//! What every one-shot command does around its work: open, stop on a signal, push what is
//! pending, close.

use std::time::Duration;

use dual_database::phase::timed;
use dual_database::{DualDatabase, Error, Kind, Result};

use crate::output::message;
use crate::settings::{Opening, Stores};

/// What is pending is pushed at the end for at most that long.
const FLUSH: Duration = Duration::from_secs(5);

/// A command that only looks: a signal ends it at once, and nothing is made on either side.
pub struct Look;

impl Look {
    /// Opens both stores, looks, closes.
    ///
    /// # Errors
    /// Those of opening and of `look`; [`Kind::Interrupted`].
    pub async fn with<T>(
        stores: &Stores,
        look: impl AsyncFnOnce(&DualDatabase) -> Result<T>,
    ) -> Result<T> {
        Look::opened(stores, Opening::ToLook, look).await
    }

    /// The same, but joins what is not joined yet.
    ///
    /// # Errors
    /// As for [`Look::with`].
    pub async fn joining<T>(
        stores: &Stores,
        look: impl AsyncFnOnce(&DualDatabase) -> Result<T>,
    ) -> Result<T> {
        Look::opened(stores, Opening::ToExchange, look).await
    }

    async fn opened<T>(
        stores: &Stores,
        opening: Opening,
        look: impl AsyncFnOnce(&DualDatabase) -> Result<T>,
    ) -> Result<T> {
        let looked = async {
            let database = timed("open both", stores.open(opening)).await?;
            let ended = timed("ask", look(&database)).await;
            Ok::<_, Error>((database, ended))
        };
        let (database, ended) = tokio::select! {
            looked = looked => looked?,
            () = stop_signal() => return Err(stopped("stopped; nothing was changed")),
        };
        close(database).await;
        ended
    }
}

/// A command that writes: the first signal waits for the write's answer, which is bounded,
/// because only the answer says where the write is.
pub struct Write;

impl Write {
    /// Opens both stores, writes, closes.
    ///
    /// # Errors
    /// Those of opening and of `write`; [`Kind::Interrupted`] on a second signal.
    pub async fn with<T>(
        stores: &Stores,
        write: impl AsyncFnOnce(&DualDatabase) -> Result<T>,
    ) -> Result<T> {
        let open = timed("open both", stores.open(Opening::ToWrite));
        let database = tokio::select! {
            opened = open => opened?,
            () = stop_signal() => return Err(stopped("stopped; nothing was changed")),
        };
        let twice = async {
            stop_signal().await;
            message("finishing; once more to leave it");
            stop_signal().await;
        };
        let ended = tokio::select! {
            ended = timed("write", write(&database)) => ended,
            () = twice => {
                return Err(stopped("stopped before the answer; it may or may not have been done"));
            }
        };
        close(database).await;
        ended
    }
}

async fn close(database: DualDatabase) {
    tokio::select! {
        () = timed("close both", database.close(FLUSH)) => {}
        () = stop_signal() => {}
    }
}

fn stopped(text: &str) -> Error {
    Error::new(Kind::Interrupted, "run the command", text)
}

/// Completes with Ctrl-C or SIGTERM.
pub async fn stop_signal() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = tokio::signal::ctrl_c() => if ended.is_err() { std::future::pending::<()>().await },
        _ = terminate => {}
    }
}
