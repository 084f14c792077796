//! Other people's changes to the tables.

use std::time::{Duration, Instant};

use super::table::hold_table;
use super::{Done, Skipped, side, table_of};
use crate::crew::lock;
use crate::operator::Side;
use crate::schedule::Event;
use crate::world::World;

/// How long the product may take to put its triggers back.
const NOTICED: Duration = Duration::from_secs(60);
const AWAY: Skipped = "that side is away";

pub(super) fn add_column(world: &World, event: &Event) -> Result<Done, Skipped> {
    let side = side(world, event);
    let _hold = hold_table(world, side)?;
    let kind = table_of(event);
    let column = format!("drift_{}", event.at_ms);
    let sql = format!("ALTER TABLE {} ADD COLUMN {column} text;", kind.name());
    side.run(world, &sql).ok_or(AWAY)?;
    lock(&world.columns).push((kind, column));
    Ok(Done::to_table(side.name(), kind))
}

pub(super) fn add_constraint(world: &World, event: &Event) -> Result<Done, Skipped> {
    let _hold = hold_table(world, Side::Postgres)?;
    let kind = table_of(event);
    let name = kind.name();
    let come = format!(
        "BEGIN; ALTER TABLE {name} DROP CONSTRAINT IF EXISTS drift; \
         ALTER TABLE {name} ADD CONSTRAINT drift CHECK (username <> 'nobody is called this'); \
         DROP INDEX IF EXISTS drift_name; CREATE INDEX drift_name ON {name} (real_name); COMMIT;"
    );
    Side::Postgres.run(world, &come).ok_or(AWAY)?;
    std::thread::sleep(event.lasts());
    let gone = format!(
        "BEGIN; ALTER TABLE {name} DROP CONSTRAINT IF EXISTS drift; \
         DROP INDEX IF EXISTS drift_name; COMMIT;"
    );
    // If it is away it keeps them: they refuse nothing.
    let _ = Side::Postgres.run(world, &gone);
    Ok(Done::to_table("PostgreSQL", kind))
}

pub(super) fn drop_triggers(world: &World, event: &Event) -> Result<Done, Skipped> {
    let side = side(world, event);
    let _hold = hold_table(world, side)?;
    let on_server = side == Side::Postgres;
    let kind = table_of(event);
    let name = kind.name();
    let list = &triggers(side, name);
    let run = |sql: &str| side.run(world, sql).ok_or(AWAY);
    let names: Vec<String> = run(list)?.lines().map(str::to_owned).collect();
    if names.is_empty() {
        return Err("they are gone already");
    }
    let on = if on_server { format!(" ON {name}") } else { String::new() };
    let drops: String =
        names.iter().map(|name| format!("DROP TRIGGER IF EXISTS \"{name}\"{on}; ")).collect();
    run(&format!("BEGIN; {drops} COMMIT;"))?;
    let start = Instant::now();
    while start.elapsed() < NOTICED {
        std::thread::sleep(Duration::from_millis(200));
        if run(list).is_ok_and(|now| now.lines().count() >= names.len()) {
            let note = format!("back after {} ms", start.elapsed().as_millis());
            return Ok(Done { note: Some(note), ..Done::to_table(side.name(), kind) });
        }
    }
    Ok(Done { note: Some("NOT BACK".into()), ..Done::to_table(side.name(), kind) })
}

/// The question for the triggers of a table that are not PostgreSQL's own.
pub(super) fn triggers(side: Side, table: &str) -> String {
    match side {
        Side::Postgres => format!(
            "SELECT tgname FROM pg_trigger \
             WHERE tgrelid = '{table}'::regclass AND NOT tgisinternal;"
        ),
        Side::File(_) => format!(
            "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = '{table}';"
        ),
    }
}
