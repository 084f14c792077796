//! How both sides stand, for people and for programs.

use std::fmt::Write as _;
use std::sync::Arc;

use dual_database::database::{
    Comparing, Damage, Failing, NotCarried, Paused, QuarantinedRow, Status, Verified,
};
use dual_database::health::{RecentError, StoreState};
use dual_database::{Kind, Store};
use serde::Serialize;

use super::json::{line, store_word};
use super::time;
use crate::exit::word_of;

#[derive(Serialize)]
struct Side<'a> {
    state: &'static str,
    reason: Option<&'a str>,
    hint: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct PendingBody {
    pub to_postgres: Option<u64>,
    pub to_sqlite: Option<u64>,
}

#[derive(Serialize)]
struct RecentBody<'a> {
    at: String,
    store: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct StatusBody<'a> {
    version: u8,
    postgres: Side<'a>,
    sqlite: Side<'a>,
    pending: PendingBody,
    conflicts: Option<u64>,
    quarantined: Option<u64>,
    last_sync_age_ms: Option<i64>,
    sync: &'static str,
    held_losses: Option<usize>,
    wal_bytes: Option<u64>,
    exposed: Option<&'a str>,
    recent_errors: Vec<RecentBody<'a>>,
    failing: Vec<FailingBody<'a>>,
    paused: Vec<PausedBody<'a>>,
    comparing: Vec<ComparingBody>,
    not_carried: Vec<NotCarriedBody>,
    verified: Option<VerifiedBody>,
    ahead_until: Option<String>,
    damage: Option<Vec<DamageBody<'a>>>,
    reviewed: Option<u64>,
}

#[derive(Serialize)]
struct FailingBody<'a> {
    step: &'a str,
    store: &'static str,
    message: &'a str,
    hint: Option<&'a str>,
    since: String,
    last: String,
    times: u64,
}

impl FailingBody<'_> {
    fn new(failing: &Failing) -> FailingBody<'_> {
        FailingBody {
            step: &failing.step,
            store: store_word(failing.store),
            message: &failing.message,
            hint: failing.hint.as_deref(),
            since: time(failing.since_ms),
            last: time(failing.last_ms),
            times: failing.times,
        }
    }
}

#[derive(Serialize)]
pub(super) struct PausedBody<'a> {
    table: Arc<str>,
    store: &'static str,
    reason: &'a str,
    hint: Option<&'a str>,
}

impl PausedBody<'_> {
    pub(super) fn new(paused: &Paused) -> PausedBody<'_> {
        PausedBody {
            table: Arc::clone(&paused.table),
            store: store_word(paused.store),
            reason: &paused.reason,
            hint: paused.hint.as_deref(),
        }
    }
}

#[derive(Serialize)]
struct ComparingBody {
    table: Arc<str>,
    reason: &'static str,
}

impl ComparingBody {
    fn new(found: &Comparing) -> ComparingBody {
        ComparingBody { table: Arc::clone(&found.table), reason: found.reason }
    }
}

#[derive(Serialize)]
struct NotCarriedBody {
    table: Arc<str>,
    column: Arc<str>,
    store: &'static str,
}

impl NotCarriedBody {
    fn new(found: &NotCarried) -> NotCarriedBody {
        let (table, column) = (Arc::clone(&found.table), Arc::clone(&found.column));
        NotCarriedBody { table, column, store: store_word(found.store) }
    }
}

#[derive(Serialize)]
struct VerifiedBody {
    at: String,
    found: u64,
}

impl VerifiedBody {
    fn new(verified: &Verified) -> VerifiedBody {
        VerifiedBody { at: time(verified.ended_ms), found: verified.found }
    }
}

#[derive(Serialize)]
struct DamageBody<'a> {
    at: String,
    kept_as: &'a str,
    taken: u64,
    unreadable: Option<u64>,
    refused: u64,
}

impl DamageBody<'_> {
    fn new(damage: &Damage) -> DamageBody<'_> {
        DamageBody {
            at: time(damage.noted_ms),
            kept_as: &damage.aside,
            taken: damage.taken,
            unreadable: damage.unreadable,
            refused: damage.refused,
        }
    }
}

/// What `dual status --json` prints; `reviewed` is how many damages were marked now.
#[must_use]
pub fn status_document(status: &Status, reviewed: Option<u64>) -> String {
    line(&StatusBody {
        version: 1,
        postgres: side(&status.postgres.state),
        sqlite: side(&status.sqlite.state),
        pending: pending(status),
        conflicts: status.conflicts,
        quarantined: status.quarantined,
        last_sync_age_ms: status.last_sync_age_ms,
        sync: status.sync,
        held_losses: status.held_losses,
        wal_bytes: status.wal_bytes,
        exposed: status.exposed.as_deref(),
        recent_errors: status.recent_errors.iter().map(recent).collect(),
        failing: status.failing.iter().map(FailingBody::new).collect(),
        paused: status.paused.iter().map(PausedBody::new).collect(),
        comparing: status.comparing.iter().map(ComparingBody::new).collect(),
        not_carried: status.not_carried.iter().map(NotCarriedBody::new).collect(),
        verified: status.verified.as_ref().map(VerifiedBody::new),
        ahead_until: status.ahead_until_ms.map(time),
        damage: status.damage.as_ref().map(|all| all.iter().map(DamageBody::new).collect()),
        reviewed,
    })
}

pub(super) fn pending(status: &Status) -> PendingBody {
    PendingBody { to_postgres: status.pending_to_postgres, to_sqlite: status.pending_to_sqlite }
}

fn side(state: &StoreState) -> Side<'_> {
    let (reason, hint) = why(state);
    Side { state: word(state), reason, hint }
}

fn recent(error: &RecentError) -> RecentBody<'_> {
    RecentBody { at: time(error.at_ms), store: store_word(error.store), message: &error.message }
}

/// The stable word of a state.
fn word(state: &StoreState) -> &'static str {
    match state {
        StoreState::Up => "up",
        StoreState::Down { .. } => "down",
        StoreState::NeedsInit { .. } => "needs_init",
    }
}

/// Why a store has not got a write that the other one has alone.
#[derive(Serialize)]
pub struct Away {
    store: &'static str,
    kind: &'static str,
    /// What is wrong.
    pub(super) message: String,
    /// What a person can do about it.
    pub(super) hint: Option<String>,
    /// It is there, and does not take the row.
    #[serde(skip)]
    pub(super) refuses: bool,
}

impl Away {
    /// `None` if the store answers.
    pub(super) fn new(store: Store, state: &StoreState) -> Option<Away> {
        let (message, hint) = why(state);
        let kind = match state {
            StoreState::Up => return None,
            StoreState::Down { kind, .. } | StoreState::NeedsInit { kind, .. } => *kind,
        };
        Some(Away {
            store: store_word(store),
            kind: word_of(kind),
            message: message?.to_owned(),
            hint: hint.map(str::to_owned),
            refuses: false,
        })
    }

    /// A row that the store does not take.
    pub(super) fn refused(row: QuarantinedRow) -> Away {
        Away {
            store: store_word(row.refused_by),
            kind: word_of(Kind::InvalidData),
            message: row.reason,
            hint: Some("correct the row or the rule, on either side: `dual quarantine`".to_owned()),
            refuses: true,
        }
    }
}

fn why(state: &StoreState) -> (Option<&str>, Option<&str>) {
    match state {
        StoreState::Up => (None, None),
        StoreState::Down { reason, hint, .. } => (Some(reason), hint.as_deref()),
        StoreState::NeedsInit { reason, hint, .. } => {
            let hint =
                hint.as_deref().unwrap_or("`dual init` shows the plan and what is in its way");
            (Some(reason), Some(hint))
        }
    }
}

/// What `dual status` prints.
#[must_use]
pub fn status_text(status: &Status) -> String {
    let mut text = String::new();
    for (name, state) in [("PostgreSQL", &status.postgres.state), ("SQLite", &status.sqlite.state)]
    {
        let _ = writeln!(text, "{name:<24}{}", word(state));
        let (reason, hint) = why(state);
        for (label, said) in [("because", reason), ("hint", hint)] {
            if let Some(said) = said {
                let _ = writeln!(text, "  {label}: {said}");
            }
        }
    }
    let count = |n: Option<u64>| n.map_or_else(|| "unknown".into(), |n| n.to_string());
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<24}{value}");
    };
    line("pending to PostgreSQL", &count(status.pending_to_postgres));
    line("pending to SQLite", &count(status.pending_to_sqlite));
    line("conflicts to review", &count(status.conflicts));
    line("quarantined", &count(status.quarantined));
    line("last exchange", &status.last_sync_age_ms.map_or_else(|| "never".into(), age));
    let pass = |pass: &Verified| format!("{}, {} rows differed", time(pass.ended_ms), pass.found);
    line("last verification", &status.verified.as_ref().map_or_else(|| "never".into(), pass));
    if let Some(until) = status.ahead_until_ms {
        let told = format!("up to {}: `dual verify` counts them", time(until));
        line("stamps of the future", &told);
    }
    line("synchroniser", status.sync);
    if let Some(losses) = status.held_losses {
        line("", &format!("a comparison would lose {losses} rows and waits for `dual repair`"));
    }
    for one in &status.failing {
        let _ = writeln!(text, "  because: {}", one.message);
        if let Some(hint) = &one.hint {
            let _ = writeln!(text, "  hint: {hint}");
        }
        let (since, last) = (time(one.since_ms), time(one.last_ms));
        let _ = writeln!(text, "  since {since}, {} times, last at {last}", one.times);
    }
    for paused in &status.paused {
        let Paused { table, store, reason, .. } = paused;
        let _ = writeln!(text, "{:<24}table {table}: {store}: {reason}", "paused");
        if let Some(hint) = &paused.hint {
            let _ = writeln!(text, "  hint: {hint}");
        }
    }
    for Comparing { table, reason } in &status.comparing {
        let why = match *reason {
            "joined" => "it was joined, and has not been compared yet",
            "backlog" => "so much is new that both sides are gone through",
            _ => "changes may have been missed, so both sides are compared",
        };
        let _ = writeln!(text, "{:<24}table {table}: {why}; the others go on", "comparing");
    }
    for NotCarried { table, column, store } in &status.not_carried {
        let _ = writeln!(text, "{:<24}{table}.{column}, which {store} has", "not carried");
    }
    if !status.not_carried.is_empty() {
        text.push_str("  hint: `dual init` says why, and carries with --apply what can be\n");
    }
    if let Some(permissions) = &status.exposed {
        let _ = writeln!(text, "{:<24}{}", "open to others", exposure(permissions));
    }
    for damage in status.damage.iter().flatten() {
        let _ = writeln!(text, "{:<24}{}", "damaged file", time(damage.noted_ms));
        let _ = writeln!(text, "  {}", lost(damage));
        let _ = writeln!(
            text,
            "  it was made anew, and is kept as {}; once seen: `dual status --review`",
            damage.aside
        );
    }
    if !status.recent_errors.is_empty() {
        text.push_str("recent errors\n");
    }
    for error in &status.recent_errors {
        let _ = writeln!(text, "  {}  {}: {}", time(error.at_ms), error.store, error.message);
    }
    text
}

/// What is said of a file that others than its owner can use.
pub(super) fn exposure(permissions: &str) -> String {
    format!("the file has the permissions {permissions}; `chmod 600` keeps it for its owner")
}

/// What is known of a loss.
fn lost(damage: &Damage) -> String {
    let Damage { taken, unreadable, refused, .. } = damage;
    let refused = match refused {
        0 => String::new(),
        rows => format!(", {rows} are refused by the table"),
    };
    match unreadable {
        None => "nothing could be read of it: what was pending there is lost".to_owned(),
        Some(0) => format!("{taken} rows were taken over from it, that is all{refused}"),
        Some(rows) => format!(
            "{taken} rows were taken over from it, at least {rows} could not be read{refused}: \
             what was pending in those is lost"
        ),
    }
}

/// A duration in the largest unit that still says something.
pub(super) fn age(milliseconds: i64) -> String {
    let seconds = milliseconds.max(0) / 1_000;
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7_199 => format!("{} min ago", seconds / 60),
        7_200..=172_799 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// The state without what changes at every write, on one line.
#[must_use]
pub fn state_line(status: &Status) -> String {
    let side = |name: &str, state: &StoreState| match why(state).0 {
        Some(reason) => format!("{name} {} ({reason})", word(state)),
        None => format!("{name} {}", word(state)),
    };
    let mut text = format!(
        "{}, {}, {}",
        side("PostgreSQL", &status.postgres.state),
        side("SQLite", &status.sqlite.state),
        status.sync
    );
    if let Some(losses) = status.held_losses {
        let _ = write!(text, " ({losses} rows would be lost: `dual repair`)");
    }
    if let Some(one) = status.failing.first() {
        let _ = write!(text, " ({}; since {})", one.message, time(one.since_ms));
    }
    for paused in &status.paused {
        let _ = write!(text, ", paused: {} ({}: {})", paused.table, paused.store, paused.reason);
    }
    for Comparing { table, .. } in &status.comparing {
        let _ = write!(text, ", comparing: {table}");
    }
    let damaged = status.damage.as_ref().map(|damage| damage.len() as u64);
    for (what, count) in [
        ("conflicts", status.conflicts),
        ("quarantined", status.quarantined),
        ("damaged files", damaged),
    ] {
        if let Some(count @ 1..) = count {
            let _ = write!(text, ", {what}: {count}");
        }
    }
    text
}
