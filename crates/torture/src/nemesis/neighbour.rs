//! Neighbours whose triggers cancel or rewrite, and who set something for everybody.

use std::time::{Duration, Instant};

use super::probe::probe;
use super::table::hold;
use super::{Done, Skipped, side, table_of};
use crate::operator::{Side, tidy_file, tidy_postgres};
use crate::schedule::Event;
use crate::tables::Kind;
use crate::world::World;

/// How long a side may be away before it is put back.
const AWAY: Duration = Duration::from_secs(60);

const CANCELLED: [&str; 4] = ["UPDATE", "INSERT", "DELETE", "rewrites"];

const SETTINGS: [(&str, &str); 28] = [
    ("default_transaction_isolation", "'repeatable read'"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_read_only", "on"),
    ("default_transaction_deferrable", "on"),
    ("synchronous_commit", "off"),
    ("statement_timeout", "'4s'"),
    ("lock_timeout", "'1s'"),
    ("idle_in_transaction_session_timeout", "'4s'"),
    ("search_path", "absent, public, pg_catalog"),
    ("search_path", "neighbour, public"),
    ("DateStyle", "'German, DMY'"),
    ("IntervalStyle", "iso_8601"),
    ("TimeZone", "'Asia/Kathmandu'"),
    ("extra_float_digits", "-5"),
    ("bytea_output", "escape"),
    ("standard_conforming_strings", "off"),
    ("backslash_quote", "off"),
    ("escape_string_warning", "off"),
    ("quote_all_identifiers", "on"),
    ("array_nulls", "off"),
    ("transform_null_equals", "on"),
    ("row_security", "off"),
    ("enable_indexscan", "off"),
    ("enable_seqscan", "off"),
    ("plpgsql.variable_conflict", "use_column"),
    ("plpgsql.extra_errors", "'all'"),
    ("plan_cache_mode", "force_generic_plan"),
    ("check_function_bodies", "off"),
];

/// The last digit of the keys that are hit.
fn digit(event: &Event) -> i64 {
    (event.choice / 16 % 10) as i64
}

/// A tenth of the rows that workers and outsiders have to themselves.
fn hit(kind: Kind, row: &str, event: &Event) -> String {
    let is_owned = kind.is_owned(&format!("{row}."));
    format!("{is_owned} AND {row}.{} % 10 = {}", kind.label(), digit(event))
}

pub(super) fn cancel(world: &World, event: &Event) -> Result<Done, Skipped> {
    let side = side(world, event);
    let _hold = hold(world, side)?;
    let what = CANCELLED[(event.choice / 2 % 4) as usize];
    let row = if what == "DELETE" { "old" } else { "new" };
    let kind = table_of(event);
    let (name, label, silent) = (kind.name(), kind.label(), kind.silent());
    let (rewrites, hit) = (what == "rewrites", hit(kind, row, event));
    let sql = match side {
        Side::Postgres => {
            let (events, body) = match rewrites {
                true => ("INSERT OR UPDATE", format!("NEW.{silent} := 'rewritten'; RETURN NEW;")),
                false => (what, "RETURN NULL;".to_owned()),
            };
            format!(
                "BEGIN; CREATE OR REPLACE FUNCTION public.neighbour() RETURNS trigger \
                 LANGUAGE plpgsql AS $$ BEGIN {body} END $$; \
                 CREATE TRIGGER neighbour BEFORE {events} ON {name} FOR EACH ROW WHEN ({hit}) \
                 EXECUTE FUNCTION public.neighbour(); COMMIT;"
            )
        }
        Side::File(_) if rewrites => format!(
            "CREATE TRIGGER neighbour AFTER UPDATE OF real_name, username ON {name} WHEN {hit} \
             BEGIN UPDATE {name} SET {silent} = 'rewritten here' WHERE {label} = new.{label}; END;"
        ),
        Side::File(_) => format!(
            "CREATE TRIGGER neighbour BEFORE {what} ON {name} WHEN {hit} \
             BEGIN SELECT RAISE(IGNORE); END;"
        ),
    };
    side.run(world, &sql).ok_or("that side is away")?;
    probe(world, event, (digit(event) + 1) % 10);
    std::thread::sleep(event.lasts());
    until_tidy(|| match side {
        Side::Postgres => tidy_postgres(world),
        Side::File(node) => tidy_file(world, node),
    });
    Ok(Done { note: Some(what.into()), ..Done::to_table(side.name(), kind) })
}

pub(super) fn set(world: &World, event: &Event) -> Result<Done, Skipped> {
    let _hold = hold(world, Side::Postgres)?;
    let (name, value) = SETTINGS[(event.choice / 4 % SETTINGS.len() as u64) as usize];
    let whom = if event.choice.is_multiple_of(2) { "DATABASE" } else { "ROLE" };
    let sql = format!(
        "CREATE SCHEMA IF NOT EXISTS neighbour; \
         CREATE TABLE IF NOT EXISTS neighbour.users (LIKE public.users INCLUDING ALL); \
         ALTER {whom} postgres SET {name} = {value};"
    );
    Side::Postgres.run(world, &sql).ok_or("PostgreSQL is away")?;
    let ends = (event.choice / 2).is_multiple_of(2);
    if ends {
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE backend_type = 'client backend' AND pid <> pg_backend_pid();";
        let _ = Side::Postgres.run(world, end);
    }
    probe(world, event, 0);
    std::thread::sleep(event.lasts());
    let taken = Side::Postgres.run(world, "SELECT count(*) FROM neighbour.users;");
    until_tidy(|| tidy_postgres(world));
    let sessions = if ends { "new sessions" } else { "sessions go on" };
    let note = match taken.as_deref().map(str::trim) {
        Some("0") | None => format!("{whom}: {name} = {value}, {sessions}"),
        Some(rows) => format!("NOT KEPT OUT of another table: {rows} rows"),
    };
    Ok(Done { note: Some(note), ..Done::to("PostgreSQL") })
}

/// If it is away for long, somebody who looks now and then does it.
fn until_tidy(tidy: impl Fn() -> bool) {
    let start = Instant::now();
    while !tidy() && start.elapsed() < AWAY {
        std::thread::sleep(Duration::from_millis(300));
    }
}
