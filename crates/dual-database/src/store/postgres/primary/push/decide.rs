//! What becomes of one pushed row: the model's `Primary::push`, without a database.

use std::borrow::Cow;

use crate::merge::{
    Bases, Conflict, Defaults, Register, RegisterId, Tracked, Version, conflicts, merge,
    overwritten,
};
use crate::protocol::reconcile::{Unknown, given, is_nobodys, risen, unknown};
use crate::schema::{LogicalType, RowId, Table};
use crate::stamp::Stamp;
use crate::store::postgres::primary::RemoteRow;
use crate::store::postgres::primary::conflicts::LoggedConflict;
use crate::value::{Value, plain_text};

/// What the transaction knows of the server, read under its locks.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerView {
    /// The server's clock, in milliseconds since 1970.
    pub now_ms: i64,
    /// The purge horizon.
    pub horizon: Stamp,
    /// In a full comparison: whether the server still has what it acknowledged.
    pub comparison: Option<bool>,
    /// Rows that somebody else has locked are left out; they are waited for if not.
    pub leaves_locked: bool,
}

/// What becomes of a row.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// It was there once and is not: only a comparison decides.
    Gone,
    /// It stands as that version; `None`: nothing has to be written.
    Stands(Option<Version>, Vec<LoggedConflict>),
    /// It stands as it is, and the file lacks something of it: the feed has to bring it, perhaps
    /// again.
    Beats(Vec<LoggedConflict>),
}

/// Decides about a row, given what the server has.
pub(super) fn decide(
    id: &RowId,
    row: &Tracked,
    existing: Option<&RemoteRow>,
    server: ServerView,
    defaults: &Defaults,
) -> Verdict {
    let Some(existing) = existing else { return decide_unknown(id, row, server, defaults) };
    let found = &existing.version;
    // It was taken away past the triggers: others may have gone on from what is lost.
    if found.is_absent() && server.comparison.is_none() && row.bases.live.is_none() {
        return Verdict::Gone;
    }
    if row.is_named_unheard() && !found.live.value && !found.is_absent() {
        let (version, _) = risen(&row.version, server.horizon.max(found.highest()), server.now_ms);
        return Verdict::Stands(Some(whole(version, defaults)), Vec::new());
    }
    let mut logged = conflicts(&row.version, &row.bases, found);
    if server.comparison == Some(false) {
        logged.extend(overwritten(found, &row.version, &row.bases));
        logged.extend(overwritten(&row.version, found, &Bases::default()));
    }
    logged.sort_unstable();
    logged.dedup();
    logged.retain(|one| !is_nobodys(one, row, found, defaults));
    let own =
        if server.comparison.unwrap_or(true) { row.against(found) } else { row.version.clone() };
    let merged = merge(found, &own);
    let noted =
        logged.iter().map(|one| noted(id, *one, &merged.version, [&row.version, found])).collect();
    let version = whole(merged.version, defaults);
    // What a dead row has besides its delete is nothing that could be behind.
    if merged.left_is_behind && version != *found {
        return Verdict::Stands(Some(version), noted);
    }
    // The file may have passed this row, and dropped its tombstone since. (A comparison takes
    // every row in.)
    match server.comparison.is_none() && version != whole(row.version.clone(), defaults) {
        true => Verdict::Beats(noted),
        false => Verdict::Stands(None, noted),
    }
}

fn decide_unknown(id: &RowId, row: &Tracked, server: ServerView, defaults: &Defaults) -> Verdict {
    match (unknown(row, server.horizon), server.comparison) {
        // In a comparison: purged since it was planned, it has to be made again.
        (Unknown::Delete, _) => Verdict::Gone,
        (Unknown::Give, None) if row.bases.live.is_none() => Verdict::Gone,
        (Unknown::GiveAndLog, _) => {
            let (version, logged) = risen(&row.version, server.horizon, server.now_ms);
            let noted = |one| noted(id, one, &version, [&row.version, &row.version]);
            let noted = logged.map(noted).into_iter().collect();
            Verdict::Stands(Some(whole(version, defaults)), noted)
        }
        (Unknown::Give, _) => {
            let version = given(&whole(row.version.clone(), defaults), server.horizon);
            Verdict::Stands(Some(version.stored(defaults)), Vec::new())
        }
    }
}

/// As it is kept: a dead row without its columns, a living one with all that are declared.
fn whole(version: Version, defaults: &Defaults) -> Version {
    let mut version = version.stored(defaults);
    for position in version.columns.len()..defaults.len() {
        let value = defaults.of(position).clone();
        version.columns.push(Register { stamp: Stamp::ZERO, value });
    }
    version
}

/// The conflict with its images: the value that stands in the merged row, and the one among the
/// two sides that carries the losing stamp and is not it.
fn noted(id: &RowId, conflict: Conflict, merged: &Version, sides: [&Version; 2]) -> LoggedConflict {
    let image = |version: &Version| match conflict.register {
        RegisterId::Live | RegisterId::Number => version.live.value.then(|| "1".to_owned()),
        RegisterId::Column(_) if !version.live.value => None,
        RegisterId::Column(column) => {
            version.columns.get(column).and_then(|register| text(&register.value))
        }
    };
    let stamp = |version: &Version| match conflict.register {
        RegisterId::Live | RegisterId::Number => version.live.stamp,
        RegisterId::Column(column) => version.stamp_of(column),
    };
    let winning = image(merged);
    let losers = || sides.iter().filter(|side| stamp(side) == conflict.loser);
    let losing = losers().map(|side| image(side)).find(|text| *text != winning);
    LoggedConflict {
        id: id.clone(),
        conflict,
        losing: losing.unwrap_or_else(|| losers().find_map(|side| image(side))),
        winning,
        noted_ms: None,
        reviewed: false,
    }
}

/// The text of a value as logs show it and PostgreSQL reads it; `None` for NULL.
pub(super) fn text(value: &Value) -> Option<String> {
    plain_text(value).map(Cow::into_owned)
}

/// The first column whose value its type cannot hold: the row cannot be given.
pub(super) fn unreadable<'t>(table: &'t Table, version: &Version) -> Option<&'t str> {
    let holds =
        |kind: &LogicalType, value: &Value| value.is_null() || kind.description().holds(value);
    table
        .data_columns()
        .zip(&version.columns)
        .find(|(column, register)| !holds(&column.kind, &register.value))
        .map(|(column, _)| &*column.name)
}
