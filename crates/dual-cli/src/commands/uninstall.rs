//! `dual uninstall`.

use std::time::Duration;

use dual_database::store::postgres::Limits;
use dual_database::uninstall::{of_file, refusal, uninstall};
use dual_database::{Error, Kind, Result, Store};

use super::{Look, confirm};
use crate::arguments::{Global, Uninstall};
use crate::exit::Exit;
use crate::output;
use crate::settings::Stores;

/// How long the last exchange may take.
const EXCHANGE: Duration = Duration::from_secs(5 * 60);
/// How long another program's lock on the file is waited for.
const BUSY: Duration = Duration::from_secs(10);

/// Exchanges what is pending, then takes everything of ours away from both sides.
///
/// # Errors
/// [`Kind::Configuration`] if it was not confirmed; [`Kind::Unavailable`] if something is
/// still pending, or if nothing could be removed. Then nothing was changed.
pub async fn run(global: &Global, json: bool, arguments: Uninstall) -> Result<Exit> {
    if arguments.file_only {
        return of_the_file(global, json, arguments).await;
    }
    let stores = &Stores::new(global)?;
    if let Some(error) = refusal(&stores.postgres, &Limits::default()).await {
        return Err(error);
    }
    if !arguments.yes {
        let question = format!(
            "Take the sidecars and triggers away from {} and {}? Both tables stay as they are; \
             every other file of that PostgreSQL stops following, too.",
            stores.postgres,
            stores.sqlite.path.display(),
        );
        confirm("uninstall", &question).await?;
    }
    if !arguments.abandon_pending {
        exchange(stores).await?;
    }
    let removed = uninstall(&stores.postgres, &Limits::default(), &stores.sqlite.path, BUSY).await;
    let exit = match (&removed.postgres, &removed.sqlite) {
        (Ok(_), Ok(())) => Exit::Done,
        (Err(_), Err(_)) => return removed.postgres.map(|_| Exit::Done),
        _ => Exit::OneSide,
    };
    output::data(&if json {
        output::uninstalled_document(&removed)
    } else {
        output::uninstalled_text(&removed)
    });
    Ok(exit)
}

/// From the file alone; PostgreSQL is asked only for what is pending.
async fn of_the_file(global: &Global, json: bool, arguments: Uninstall) -> Result<Exit> {
    let stores = match arguments.abandon_pending {
        true => None,
        false => Some(Stores::new(global)?),
    };
    let path = Stores::file_alone(global)?.path;
    if !arguments.yes {
        let question = format!(
            "Take the sidecars and triggers away from {}? Its tables stay as they are.",
            path.display()
        );
        confirm("uninstall", &question).await?;
    }
    if let Some(stores) = &stores {
        exchange(stores).await?;
    }
    of_file(&path, BUSY).await?;
    let document = output::file_uninstalled_document();
    output::data(if json { &document } else { output::FILE_UNINSTALLED });
    Ok(Exit::Done)
}

/// After this each side has what the other one has, but for what is in quarantine.
async fn exchange(stores: &Stores) -> Result<()> {
    let pending = |message: String| {
        Error::new(Kind::Unavailable(Store::Postgres), "exchange what is pending", message)
            .with_hint(
                "nothing was changed; see `dual status`, or give --abandon-pending to leave every \
                 change where it is",
            )
    };
    Look::joining(stores, async |database| {
        let exchange = database
            .sync_now(EXCHANGE)
            .await
            .map_err(|cause| pending("a side does not answer".into()).with_source(cause))?;
        match exchange.held {
            Some(losses) => Err(pending(format!(
                "a comparison would lose {losses} rows and waits for `dual repair`"
            ))),
            None if exchange.pending > 0 || !exchange.caught_up => {
                Err(pending(format!("{} changes are pending still", exchange.pending)))
            }
            None => match database.left_alone().first() {
                Some(paused) => Err(pending(format!(
                    "the table {} is left alone, and what waits in it goes nowhere: {}",
                    paused.table, paused.reason
                ))),
                None => Ok(()),
            },
        }
    })
    .await
}
