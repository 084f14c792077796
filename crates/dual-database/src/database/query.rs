//! Reading from the file by any SQL.

use tokio::task::spawn_blocking;

use super::DualDatabase;
use super::Found;
use crate::store::sqlite::{Rows, query};
use crate::value::Value;
use crate::{Error, Kind, Result};

const OPERATION: &str = "read from the SQLite file";

impl DualDatabase {
    /// Reads from the file by one statement of SQL: whatever it has, tables that are not kept included.
    /// Nothing can be changed by it. It sees one moment of the file, and what PostgreSQL alone has is not
    /// in it: the answer says how old it is.
    ///
    /// ```no_run
    /// # async fn example(db: dual_database::DualDatabase) -> dual_database::Result<()> {
    /// let sql = "SELECT at, guests FROM bookings WHERE user_id = ?1 ORDER BY at";
    /// let found = db.query(sql, [5_123_456_789_i64.into()]).await?;
    /// assert_eq!(found.value.columns, ["at", "guests"]);
    /// for row in &found.value.rows {
    ///     println!("{row:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Invalid data for what is no statement of SQLite's, for more than one, for one that would change
    /// something or does not give rows, and for parameters that it has not; unavailable if the file cannot
    /// be read.
    pub async fn query(
        &self,
        sql: &str,
        parameters: impl IntoIterator<Item = Value>,
    ) -> Result<Found<Rows>> {
        let core = self.core();
        core.is_open(OPERATION)?;
        let exchanged =
            core.ask_file(OPERATION, |content| Ok(content.node()?.exchanged_ms)).await?;
        let settings = &core.shared.sqlite;
        let (path, busy) = (settings.path.clone(), settings.busy);
        let (extensions, sql) = (settings.extensions.clone(), sql.to_owned());
        let parameters: Vec<Value> = parameters.into_iter().collect();
        let (stop, stopped) = std::sync::mpsc::channel();
        // Whoever does not wait for the answer any more ends the statement, too.
        let asked =
            spawn_blocking(move || query(&path, busy, &extensions, &sql, &parameters, stopped));
        let rows = asked.await.map_err(|cause| {
            Error::new(Kind::Internal, OPERATION, "the work on the SQLite file panicked")
                .with_source(cause)
        });
        drop(stop);
        Ok(core.found_in_file(rows??, exchanged))
    }
}
