//! `dual conflicts`.

use dual_database::Result;

use super::Look;
use crate::arguments::Conflicts;
use crate::exit::Exit;
use crate::output;
use crate::settings::Stores;

/// Shows the conflict log; marks it as reviewed if asked, after it was shown.
///
/// # Errors
/// Those of opening; [`dual_database::Kind::Unavailable`] if neither store answers.
pub async fn run(stores: &Stores, json: bool, arguments: Conflicts) -> Result<Exit> {
    Look::with(stores, async |database| {
        let conflicts = database.conflicts(arguments.limit).await?;
        let reviewed = match arguments.review {
            true => Some(database.review_conflicts().await?),
            false => None,
        };
        output::data(&if json {
            output::conflicts_document(&conflicts, reviewed)
        } else {
            output::conflicts_text(&conflicts, reviewed)
        });
        Ok(Exit::Done)
    })
    .await
}
