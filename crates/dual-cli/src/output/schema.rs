use std::fmt::Write as _;

use dual_database::init::{ColumnSchema, Revision, TableSchema};
use dual_database::sync::Exchange;
use serde::Serialize;

use super::json::{line, store_word};
use super::table::{printable, table};

#[derive(Serialize)]
struct SchemaBody<'a> {
    version: u8,
    tables: Vec<TableBody<'a>>,
}

#[derive(Serialize)]
struct TableBody<'a> {
    table: &'a str,
    revision: u32,
    key: Vec<&'a str>,
    state: &'static str,
    paused: Option<PausedBody<'a>>,
    columns: Vec<ColumnBody<'a>>,
}

#[derive(Serialize)]
struct PausedBody<'a> {
    store: &'static str,
    reason: &'a str,
    hint: Option<&'a str>,
}

#[derive(Serialize)]
struct ColumnBody<'a> {
    name: &'a str,
    declared: Option<&'a str>,
    postgres: Option<&'a str>,
    sqlite: Option<&'a str>,
    differs: Option<&'a str>,
}

impl<'a> TableBody<'a> {
    fn new(one: &'a TableSchema) -> TableBody<'a> {
        let column = |column: &'a ColumnSchema| ColumnBody {
            name: &column.name,
            declared: column.declared.as_deref(),
            postgres: column.postgres.as_deref(),
            sqlite: column.sqlite.as_deref(),
            differs: column.differs.as_deref(),
        };
        TableBody {
            table: one.table.name(),
            revision: one.table.revision(),
            key: one.table.key_columns().map(|column| &*column.name).collect(),
            state: if one.paused.is_some() { "paused" } else { "followed" },
            paused: one.paused.as_ref().map(|paused| PausedBody {
                store: store_word(paused.store),
                reason: &paused.reason,
                hint: paused.hint.as_deref(),
            }),
            columns: one.columns.iter().map(column).collect(),
        }
    }
}

/// The tables that are joined, for programs.
#[must_use]
pub fn schema_document(tables: &[TableSchema]) -> String {
    line(&SchemaBody { version: 1, tables: tables.iter().map(TableBody::new).collect() })
}

/// The same for people: what is declared, PostgreSQL and the file side by side.
#[must_use]
pub fn schema_text(tables: &[TableSchema]) -> String {
    let mut text = String::new();
    for one in tables {
        let _ = writeln!(text, "table {}", printable(one.table.name()));
        let shown = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), printable);
        let row = |column: &ColumnSchema| {
            let differs = column.differs.as_deref().map_or(String::new(), printable);
            let name = format!("  {}", printable(&column.name));
            vec![
                name,
                shown(&column.declared),
                shown(&column.postgres),
                shown(&column.sqlite),
                differs,
            ]
        };
        let rows: Vec<Vec<String>> = one.columns.iter().map(row).collect();
        text.push_str(&table(&["  column", "declared", "PostgreSQL", "SQLite", "differs"], &rows));
        if let Some(paused) = &one.paused {
            let _ = writeln!(text, "  paused: {}: {}", paused.store, paused.reason);
            if let Some(hint) = &paused.hint {
                let _ = writeln!(text, "    hint: {hint}");
            }
        }
    }
    if tables.is_empty() {
        text.push_str("no table is joined; `dual init` shows which could be\n");
    }
    text
}

/// What is declared anew of a table.
pub struct SchemaReport {
    /// How it is declared, and what that means.
    pub revision: Revision,
    /// The exchange that followed, if anything was to be done.
    pub exchange: Option<Exchange>,
}

#[derive(Serialize)]
struct RevisionBody<'a> {
    version: u8,
    table: &'a str,
    revision: u32,
    applied: bool,
    steps: &'a [String],
    pending: Option<u64>,
    quarantined: Option<u64>,
    held_losses: Option<usize>,
}

impl SchemaReport {
    /// What is to be done, for people.
    #[must_use]
    pub fn plan(&self) -> String {
        let mut text = format!("table {}\n", printable(self.revision.table.name()));
        for step in &self.revision.steps {
            let _ = writeln!(text, "  + {}", printable(step));
        }
        text
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let ended = match &self.exchange {
            None => "nothing differs from what is declared",
            Some(exchange) if exchange.held.is_some() => {
                "done; a comparison waits for you: `dual status` says why"
            }
            Some(exchange) if exchange.caught_up => "done: both sides follow it so",
            Some(_) => "declared; not everything has been exchanged yet: `dual sync --once`",
        };
        format!("{}{ended}\n", self.plan())
    }

    /// For programs.
    #[must_use]
    pub fn document(&self) -> String {
        let exchange = self.exchange.as_ref();
        line(&RevisionBody {
            version: 1,
            table: self.revision.table.name(),
            revision: self.revision.table.revision(),
            applied: exchange.is_some(),
            steps: &self.revision.steps,
            pending: exchange.map(|exchange| exchange.pending),
            quarantined: exchange.map(|exchange| exchange.quarantined),
            held_losses: exchange.and_then(|exchange| exchange.held),
        })
    }
}
