//! The columns of the tables that the server keeps, beside the declared ones.

use std::sync::Arc;

use tokio_postgres::types::Type;

use super::{Primary, RemoteTable};
use crate::error::Result;
use crate::store::postgres::Parameter;
use crate::store::postgres::answer::column;

const OPERATION: &str = "look for columns in PostgreSQL";

impl Primary<'_> {
    /// Changes with the columns of the tables that the server keeps.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::query`].
    pub(crate) async fn columns_mark(&self) -> Result<Option<i64>> {
        let sql = format!(
            "SELECT hashtextextended(string_agg(concat_ws(' ', a.attrelid, a.attnum, a.attname, a.atttypid, \
               a.atttypmod, a.attnotnull, a.atthasdef), ',' ORDER BY a.attrelid, a.attnum), 0) \
             FROM {}.tracked AS t JOIN pg_attribute AS a ON a.attrelid = t.target \
             WHERE a.attnum > 0 AND NOT a.attisdropped",
            self.session.schema()
        );
        let rows = self.session.ask(OPERATION, &sql, &[]).await?;
        rows.first().map_or(Ok(None), |row| column(row, 0, OPERATION))
    }

    /// The schema and the name of its tables, as they are there.
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn targets(&self) -> Result<Vec<(String, String)>> {
        let sql = format!(
            "SELECT n.nspname::text, c.relname::text FROM {}.tracked AS t JOIN pg_class AS c \
             ON c.oid = t.target JOIN pg_namespace AS n ON n.oid = c.relnamespace \
             WHERE t.name = ANY ($1)",
            self.session.schema()
        );
        let names: Vec<&str> = self.tables.iter().map(|table| table.layout.name()).collect();
        let parameters: [Parameter<'_>; 1] = [(&names, Type::TEXT_ARRAY)];
        let rows = self.session.query(OPERATION, &sql, &parameters).await?;
        rows.iter()
            .map(|row| Ok((column(row, 0, OPERATION)?, column(row, 1, OPERATION)?)))
            .collect()
    }

    /// The columns that are not declared, but for those that the server computes: the table's position, and
    /// the name.
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn columns_besides(&self) -> Result<Vec<(usize, Arc<str>)>> {
        let sql = format!(
            "SELECT t.name, a.attname::text FROM {}.tracked AS t JOIN pg_attribute AS a \
             ON a.attrelid = t.target WHERE t.name = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped \
             AND a.attgenerated = '' ORDER BY a.attrelid, a.attnum",
            self.session.schema()
        );
        let names: Vec<&str> = self.tables.iter().map(|table| table.layout.name()).collect();
        let parameters: [Parameter<'_>; 1] = [(&names, Type::TEXT_ARRAY)];
        let mut besides = Vec::new();
        for row in self.session.ask(OPERATION, &sql, &parameters).await? {
            let (name, found): (String, String) =
                (column(&row, 0, OPERATION)?, column(&row, 1, OPERATION)?);
            let is_it = |table: &RemoteTable| table.layout.name() == name;
            let Some(at) = self.tables.iter().position(is_it) else { continue };
            if !self.tables[at].table.has_judged(&found) {
                besides.push((at, found.into()));
            }
        }
        Ok(besides)
    }
}
