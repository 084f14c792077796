//! `dual status`.

use dual_database::Result;

use super::Look;
use crate::exit::Exit;
use crate::output;
use crate::settings::Stores;

/// Shows how both sides stand. A side that is away is an answer, not a failure.
///
/// # Errors
/// Those of opening.
pub async fn run(stores: &Stores, json: bool) -> Result<Exit> {
    Look::with(stores, async |database| {
        let status = database.status().await?;
        output::data(&if json {
            output::status_document(&status)
        } else {
            output::status_text(&status)
        });
        Ok(Exit::Done)
    })
    .await
}
