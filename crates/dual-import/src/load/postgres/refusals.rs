//! Which rows PostgreSQL refuses (CHECK, NOT NULL, unique, triggers).

use dual_database::error::{Result, Store};
use dual_database::schema::Dialect;
use dual_database::store::postgres::{OURS, USERS};

use super::PostgresLoad;
use crate::load::halves::Halves;
use crate::load::{Refusal, sql};

impl PostgresLoad {
    /// Writes the staged rows between two rows of the source, both included.
    pub(super) async fn write_range(&self, range: (i64, i64)) -> Result<(u64, u64)> {
        let operation = "write to PostgreSQL";
        let staged = "pg_temp.dual_staged";
        let within = format!(
            " AND s.row OPERATOR(pg_catalog.>=) {} AND s.row OPERATOR(pg_catalog.<=) {}",
            range.0, range.1
        );
        self.session.batch(operation, USERS).await?;
        let update = sql::update(Dialect::Postgres, &self.table, &self.store, staged) + &within;
        let updated = self.session.execute(operation, &update, &[]).await?;
        let insert = sql::insert_postgres(&self.table, &self.store, &within);
        let inserted = self.session.execute(operation, &insert, &[]).await?;
        self.session.batch(operation, OURS).await?;
        Ok((updated, inserted))
    }

    /// Finds the refused rows after `write_range` has failed behind the savepoint; what it
    /// writes on its way is for the search only: the transaction has to be rolled back.
    pub(super) async fn find_refusals(&self, all: (i64, i64)) -> Result<Vec<Refusal>> {
        let operation = "find the refused rows";
        let (mut refusals, mut halves) = (Vec::new(), Halves::of(all));
        self.session.batch(operation, "ROLLBACK TO SAVEPOINT dual_write").await?;
        while let Some(range) = halves.next() {
            self.session.batch(operation, "SAVEPOINT dual_search").await?;
            let error = match self.write_range(range).await {
                Ok(_) => {
                    self.session.batch(operation, "RELEASE SAVEPOINT dual_search").await?;
                    continue;
                }
                Err(error) if error.is_invalid_data() => error,
                Err(error) => return Err(error),
            };
            self.session.batch(operation, "ROLLBACK TO SAVEPOINT dual_search").await?;
            if let Some(row) = halves.refused(range) {
                Refusal::add(&mut refusals, Store::Postgres, row, error)?;
            }
        }
        Ok(refusals)
    }
}
