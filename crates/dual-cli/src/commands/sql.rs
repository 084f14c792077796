//! `dual sql`.

use std::io::Read as _;

use dual_database::value::Value;
use dual_database::{Error, Kind, Result};

use super::Look;
use crate::arguments::Sql;
use crate::exit::Exit;
use crate::output;
use crate::settings::Stores;

/// Reads from the file by one statement.
///
/// # Errors
/// Those of opening and of [`dual_database::DualDatabase::query`].
pub async fn run(stores: &Stores, json: bool, arguments: &Sql) -> Result<Exit> {
    let mut sql = arguments.sql.clone();
    if sql == "-" {
        sql.clear();
        std::io::stdin().lock().read_to_string(&mut sql).map_err(|cause| {
            Error::new(Kind::InvalidData, "read the statement from stdin", "it is no UTF-8 text")
                .with_source(cause)
        })?;
    }
    let parameters: Vec<Value> =
        arguments.parameters.iter().map(|text| Value::typed(text)).collect();
    Look::with(stores, async |database| {
        let found = database.query(&sql, parameters).await?;
        output::data(&output::rows_of_sql(&found, json));
        Ok(Exit::Done)
    })
    .await
}
