//! `dual verify`.

use dual_database::Result;

use super::Look;
use crate::exit::Exit;
use crate::output;
use crate::settings::Stores;

/// Compares both sides; differences, and stamps of the future, end with 1.
///
/// # Errors
/// Those of opening; [`dual_database::Kind::Unavailable`] with a side away.
pub async fn run(stores: &Stores, json: bool) -> Result<Exit> {
    Look::with(stores, async |database| {
        let found = database.verify().await?;
        output::data(&if json {
            output::verification_document(&found)
        } else {
            output::verification_text(&found)
        });
        Ok(if found.is_sound() { Exit::Done } else { Exit::WithRejects })
    })
    .await
}
