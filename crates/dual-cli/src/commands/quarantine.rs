//! `dual quarantine`.

use dual_database::Result;

use super::Look;
use crate::exit::Exit;
use crate::output;
use crate::settings::Stores;

/// Shows the rows that one side refuses.
///
/// # Errors
/// Those of opening; [`dual_database::Kind::Unavailable`] if the file does not answer.
pub async fn run(stores: &Stores, json: bool) -> Result<Exit> {
    Look::with(stores, async |database| {
        let rows = database.quarantine().await?;
        output::data(&if json {
            output::quarantine_document(&rows)
        } else {
            output::quarantine_text(&rows)
        });
        Ok(Exit::Done)
    })
    .await
}
