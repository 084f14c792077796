//! `dual schema`.

use std::time::Duration;

use dual_database::init::{Confirmed, redeclare, revision, schema};
use dual_database::schema::Table;
use dual_database::store::postgres::Limits;
use dual_database::{Error, Kind, Result};

use super::{confirm, stop_signal};
use crate::arguments::{Schema, SchemaApply, SchemaChange};
use crate::exit::Exit;
use crate::output::{self, SchemaReport, message};
use crate::settings::Stores;

/// A table may be compared as a whole afterwards.
const EXCHANGE: Duration = Duration::from_secs(60 * 60);
/// Capturing a large table anew is one statement.
const STATEMENT: Duration = Duration::from_secs(15 * 60);

const OPERATION: &str = "declare a table anew";

/// Shows the tables as they are declared and as both sides have them, or declares one as a person says.
///
/// # Errors
/// Those of reaching both sides; [`Kind::Configuration`] if no such table is joined, or if what is said of it
/// fits neither side: then nothing was changed.
pub async fn run(stores: &Stores, json: bool, arguments: Schema) -> Result<Exit> {
    match arguments.apply {
        Some(SchemaChange::Apply(apply)) => declare(stores, json, apply).await,
        None => show(stores, json, &arguments.tables).await,
    }
}

async fn show(stores: &Stores, json: bool, named: &[String]) -> Result<Exit> {
    let both = stores.both(Limits::default());
    let mut tables = tokio::select! {
        tables = schema(&both) => tables?,
        () = stop_signal() => return Err(stopped("stopped; nothing was changed")),
    };
    for name in named {
        let known = || tables.iter().map(|one| one.table.name());
        if !known().any(|one| one == name) {
            let message = format!("no table {name} is joined; `dual init` shows which could be");
            return Err(
                Error::new(Kind::Configuration, "find a table", message).suggesting(name, known())
            );
        }
    }
    let is_meant = |table: &Table| named.is_empty() || named.iter().any(|one| one == table.name());
    tables.retain(|one| is_meant(&one.table));
    output::data(&if json {
        output::schema_document(&tables)
    } else {
        output::schema_text(&tables)
    });
    let is_sound = tables.iter().all(|one| one.paused.is_none());
    Ok(if is_sound { Exit::Done } else { Exit::WithRejects })
}

async fn declare(stores: &Stores, json: bool, apply: SchemaApply) -> Result<Exit> {
    let mut both = stores.both(Limits { statement: STATEMENT, ..Limits::default() });
    let SchemaApply { table, rename, file_name, drop, widen, yes, .. } = apply;
    let confirmed = Confirmed { renamed: rename, named: file_name, dropped: drop, widened: widen };
    let revision = tokio::select! {
        revision = revision(&both, &table, &confirmed) => revision?,
        () = stop_signal() => return Err(stopped("stopped; nothing was changed")),
    };
    let mut report = SchemaReport { revision, exchange: None };
    if !report.revision.steps.is_empty() {
        if !yes {
            message(report.plan().trim_end());
            confirm(OPERATION, &format!("Declare {table} so?")).await?;
        }
        let exchange = tokio::select! {
            exchange = redeclare(&mut both, &report.revision, EXCHANGE) => exchange?,
            () = stop_signal() => {
                return Err(stopped("stopped; what was done holds, and `dual init --apply` goes on"));
            }
        };
        report.exchange = Some(exchange);
    }
    output::data(&if json { report.document() } else { report.text() });
    Ok(report.exchange.as_ref().map_or(Exit::Done, Exit::of))
}

fn stopped(sentence: &str) -> Error {
    Error::new(Kind::Interrupted, OPERATION, sentence)
}
