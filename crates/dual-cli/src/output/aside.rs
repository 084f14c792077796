//! What a person should look at: the conflict log and the quarantine.

use std::fmt::Write as _;
use std::sync::Arc;

use dual_database::database::{Conflict, QuarantinedRow};
use serde::Serialize;

use super::json::{line, store_word};
use super::table::{printable, table};
use super::time;
use dual_database::schema::Key;

#[derive(Serialize)]
struct ConflictBody<'a> {
    table: Arc<str>,
    key: &'a Key,
    column: Arc<str>,
    winning: Option<&'a str>,
    losing: Option<&'a str>,
    winner_at: Option<String>,
    loser_at: Option<String>,
    noted_at: String,
    reviewed: bool,
}

impl ConflictBody<'_> {
    fn new(conflict: &Conflict) -> ConflictBody<'_> {
        ConflictBody {
            table: Arc::clone(&conflict.table),
            key: &conflict.key,
            column: Arc::clone(&conflict.column),
            winning: conflict.winning.as_deref(),
            losing: conflict.losing.as_deref(),
            winner_at: conflict.winner_ms.map(time),
            loser_at: conflict.loser_ms.map(time),
            noted_at: time(conflict.noted_ms),
            reviewed: conflict.reviewed,
        }
    }
}

#[derive(Serialize)]
struct ConflictsBody<'a> {
    version: u8,
    conflicts: Vec<ConflictBody<'a>>,
    reviewed: Option<u64>,
}

/// What `dual conflicts --json` prints; `reviewed` says how many were marked now.
#[must_use]
pub fn conflicts_document(conflicts: &[Conflict], reviewed: Option<u64>) -> String {
    let conflicts = conflicts.iter().map(ConflictBody::new).collect();
    line(&ConflictsBody { version: 1, conflicts, reviewed })
}

/// What `dual conflicts` prints.
#[must_use]
pub fn conflicts_text(conflicts: &[Conflict], reviewed: Option<u64>) -> String {
    if conflicts.is_empty() {
        return "no conflicts\n".into();
    }
    let value = |text: &Option<String>| text.as_deref().map_or("NULL".into(), printable);
    let row = |one: &Conflict| {
        vec![
            time(one.noted_ms),
            one.table.as_ref().into(),
            one.key.to_string(),
            one.column.as_ref().into(),
            value(&one.winning),
            value(&one.losing),
            if one.reviewed { "yes" } else { "no" }.into(),
        ]
    };
    let rows: Vec<Vec<String>> = conflicts.iter().map(row).collect();
    let headings = ["noted", "table", "key", "column", "stands", "lost", "reviewed"];
    let mut text = table(&headings, &rows);
    if let Some(count) = reviewed {
        let _ = writeln!(text, "\nmarked as reviewed: {count}");
    }
    text
}

#[derive(Serialize)]
struct QuarantinedBody<'a> {
    table: Arc<str>,
    key: Option<&'a Key>,
    refused_by: &'static str,
    code: &'a str,
    reason: &'a str,
    since: String,
}

impl QuarantinedBody<'_> {
    fn new(row: &QuarantinedRow) -> QuarantinedBody<'_> {
        QuarantinedBody {
            table: Arc::clone(&row.table),
            key: row.key.as_ref(),
            refused_by: store_word(row.refused_by),
            code: &row.code,
            reason: &row.reason,
            since: time(row.since_ms),
        }
    }
}

#[derive(Serialize)]
struct QuarantineBody<'a> {
    version: u8,
    quarantine: Vec<QuarantinedBody<'a>>,
}

/// What `dual quarantine --json` prints.
#[must_use]
pub fn quarantine_document(rows: &[QuarantinedRow]) -> String {
    let quarantine = rows.iter().map(QuarantinedBody::new).collect();
    line(&QuarantineBody { version: 1, quarantine })
}

/// What `dual quarantine` prints.
#[must_use]
pub fn quarantine_text(rows: &[QuarantinedRow]) -> String {
    if rows.is_empty() {
        return "no rows in quarantine\n".into();
    }
    let row = |one: &QuarantinedRow| {
        vec![
            time(one.since_ms),
            one.table.as_ref().into(),
            one.key.clone().map_or_else(|| "-".to_owned(), |key| key.to_string()),
            one.refused_by.to_string(),
            one.code.clone(),
            printable(&one.reason),
        ]
    };
    let rows: Vec<Vec<String>> = rows.iter().map(row).collect();
    table(&["since", "table", "key", "refused by", "code", "reason"], &rows)
}
