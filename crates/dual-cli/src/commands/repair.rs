//! `dual repair`.

use dual_database::Result;

use super::Write;
use crate::arguments::Repair;
use crate::exit::Exit;
use crate::output;
use crate::settings::Stores;

/// Makes both sides equal by what a person says, and compares them.
///
/// # Errors
/// Those of opening; [`dual_database::Kind::Unavailable`] with a side away.
pub async fn run(stores: &Stores, json: bool, arguments: Repair) -> Result<Exit> {
    Write::with(stores, async |database| {
        let mut found = None;
        if arguments.stamps {
            found = Some(database.repair_stamps().await?);
        }
        if let Some(prefer) = arguments.prefer {
            found = Some(database.repair(prefer.into()).await?);
        }
        let found = match found {
            Some(found) => found,
            None => database.verify().await?,
        };
        output::data(&if json {
            output::verification_document(&found)
        } else {
            output::verification_text(&found)
        });
        Ok(if found.is_sound() { Exit::Done } else { Exit::WithRejects })
    })
    .await
}
