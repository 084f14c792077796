use std::fmt::Write as _;
use std::sync::Arc;

use dual_database::database::{TableDifference, Verification};
use serde::Serialize;

use super::json::line;
use super::state::PausedBody;
use super::table::table;
use super::time;
use dual_database::schema::Key;

#[derive(Serialize)]
struct TableBody<'a> {
    table: Arc<str>,
    rows_postgres: u64,
    rows_sqlite: u64,
    different: u64,
    only_postgres: u64,
    only_sqlite: u64,
    quarantined: u64,
    ahead_postgres: u64,
    ahead_sqlite: u64,
    keys: &'a [Key],
}

impl TableBody<'_> {
    fn new(found: &TableDifference) -> TableBody<'_> {
        TableBody {
            table: Arc::clone(&found.table),
            rows_postgres: found.rows_postgres,
            rows_sqlite: found.rows_sqlite,
            different: found.different,
            only_postgres: found.only_postgres,
            only_sqlite: found.only_sqlite,
            quarantined: found.quarantined,
            ahead_postgres: found.ahead_postgres,
            ahead_sqlite: found.ahead_sqlite,
            keys: &found.keys,
        }
    }
}

#[derive(Serialize)]
struct VerificationBody<'a> {
    version: u8,
    equal: bool,
    tables: Vec<TableBody<'a>>,
    paused: Vec<PausedBody<'a>>,
    horizon_ahead: bool,
    ahead_until: Option<String>,
}

/// What `dual verify --json` and `dual repair --json` print.
#[must_use]
pub fn verification_document(found: &Verification) -> String {
    let tables = found.tables.iter().map(TableBody::new).collect();
    let (equal, horizon_ahead) = (found.equal, found.horizon_ahead);
    let ahead_until = found.ahead_until_ms.map(time);
    let paused = found.paused.iter().map(PausedBody::new).collect();
    line(&VerificationBody { version: 1, equal, tables, paused, horizon_ahead, ahead_until })
}

/// What `dual verify` and `dual repair` print.
#[must_use]
pub fn verification_text(found: &Verification) -> String {
    let headings = [
        "table",
        "in PostgreSQL",
        "in SQLite",
        "different",
        "only in PostgreSQL",
        "only in SQLite",
        "quarantined",
    ];
    let row = |one: &TableDifference| {
        let counts = [
            one.rows_postgres,
            one.rows_sqlite,
            one.different,
            one.only_postgres,
            one.only_sqlite,
            one.quarantined,
        ];
        std::iter::once(one.table.to_string()).chain(counts.map(|n| n.to_string())).collect()
    };
    let rows: Vec<Vec<String>> = found.tables.iter().map(row).collect();
    let mut text = table(&headings, &rows);
    for one in found.tables.iter().filter(|one| !one.keys.is_empty()) {
        let keys: Vec<String> = one.keys.iter().map(Key::to_string).collect();
        let _ =
            writeln!(text, "\nthe first keys that differ in {}: {}", one.table, keys.join(", "));
    }
    for one in &found.paused {
        let _ =
            writeln!(text, "\n{} is left alone, and was not compared: `dual status`", one.table);
    }
    let aside: u64 = found.tables.iter().map(|one| one.quarantined).sum();
    let _ = match found.tables.iter().any(TableDifference::differs) {
        true => writeln!(text, "\nnot equal"),
        false if !found.paused.is_empty() => writeln!(text, "\neverything else is equal"),
        false if aside == 0 => writeln!(text, "\nequal"),
        false => {
            writeln!(text, "\nequal but for what is in quarantine ({aside}): see `dual quarantine`")
        }
    };
    if found.is_ahead() {
        text.push_str(&ahead_text(found));
    }
    text
}

/// What lies in the future.
fn ahead_text(found: &Verification) -> String {
    let sum = |side: fn(&TableDifference) -> u64| found.tables.iter().map(side).sum::<u64>();
    let (there, here) = (sum(|one| one.ahead_postgres), sum(|one| one.ahead_sqlite));
    let horizon = if found.horizon_ahead { ", and the purge horizon" } else { "" };
    let until = found.ahead_until_ms.map(|ms| format!(" (up to {})", time(ms)));
    format!(
        "\n{there} rows in PostgreSQL and {here} in SQLite have stamps that lie in the future, or are \
         none{}{horizon}: they can win over later writes; `dual repair --stamps` sets them back\n",
        until.unwrap_or_default()
    )
}
