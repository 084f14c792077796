//! What came past the triggers: rows that were loaded, or taken away, while they were disabled, by a
//! session that applies what others have done, by somebody who has dropped the table.

use super::Primary;
use crate::Result;
use crate::protocol::reconcile::Loose;
use crate::store::postgres::capture;

const OPERATION: &str = "look for rows that came past the triggers";

impl Primary<'_> {
    /// Looks through all tables for rows about which table and sidecar do not agree, in one pass each,
    /// and notes them (`capture::mend_all`). Nobody is kept from writing unless there are any.
    /// Returns how many there were.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::commit`]. Nothing was changed then.
    pub async fn mend(&self) -> Result<Loose> {
        self.mend_some(|_| true).await
    }

    /// The same of some of the tables.
    ///
    /// # Errors
    /// As for [`Primary::mend`].
    pub(crate) async fn mend_some(&self, is_meant: impl Fn(usize) -> bool) -> Result<Loose> {
        let mut found = Loose::default();
        for (_, table) in self.tables.iter().enumerate().filter(|(at, _)| is_meant(*at)) {
            if capture::loose(self.session, &table.layout).await?.is_none() {
                continue;
            }
            self.session.begin(OPERATION).await?;
            let mended = capture::mend_all(self.session, &table.layout).await;
            found.add(self.end(mended, OPERATION).await?);
        }
        Ok(found)
    }
}
