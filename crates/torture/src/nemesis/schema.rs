//! Other people's changes to the tables.

use std::time::{Duration, Instant};

use super::{Done, Skipped};
use crate::schedule::Event;
use crate::shell;
use crate::world::World;

/// How long the product may take to put its triggers back.
const NOTICED: Duration = Duration::from_secs(60);

fn on_postgres(world: &World, sql: &str) -> Result<String, Skipped> {
    match shell::psql(world.port(), sql) {
        Ok(answer) if answer.ok => Ok(answer.out),
        _ => Err("PostgreSQL is away"),
    }
}

fn on_file(world: &World, node: usize, sql: &str) -> Result<String, Skipped> {
    match shell::sqlite(&world.nodes[node].file, "-list", sql) {
        Ok(answer) if answer.ok => Ok(answer.out),
        _ => Err("the file is away"),
    }
}

pub(super) fn add_column(world: &World, event: &Event) -> Result<Done, Skipped> {
    let node = event.pick(world.nodes.len());
    let name = format!("drift_{}", event.at_ms);
    let sql = format!("ALTER TABLE users ADD COLUMN {name} text;");
    if event.choice.is_multiple_of(2) {
        on_postgres(world, &sql)?;
        return Ok(Done::to("PostgreSQL"));
    }
    on_file(world, node, &sql)?;
    Ok(Done::to(format!("node {node}")))
}

pub(super) fn add_constraint(world: &World, event: &Event) -> Result<Done, Skipped> {
    on_postgres(
        world,
        "BEGIN; ALTER TABLE users DROP CONSTRAINT IF EXISTS drift; \
         ALTER TABLE users ADD CONSTRAINT drift CHECK (username <> 'nobody is called this'); \
         DROP INDEX IF EXISTS drift_name; CREATE INDEX drift_name ON users (real_name); COMMIT;",
    )?;
    std::thread::sleep(event.lasts());
    let gone = "BEGIN; ALTER TABLE users DROP CONSTRAINT IF EXISTS drift; \
                DROP INDEX IF EXISTS drift_name; COMMIT;";
    // If it is away it keeps them: they refuse nothing.
    let _ = on_postgres(world, gone);
    Ok(Done::to("PostgreSQL"))
}

pub(super) fn drop_triggers(world: &World, event: &Event) -> Result<Done, Skipped> {
    let on_server = event.choice.is_multiple_of(2);
    let node = event.pick(world.nodes.len());
    let target = if on_server { "PostgreSQL".to_owned() } else { format!("node {node}") };
    let list = match on_server {
        true => {
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'users'::regclass AND NOT tgisinternal;"
        }
        false => "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'users';",
    };
    let run = |sql: &str| {
        if on_server { on_postgres(world, sql) } else { on_file(world, node, sql) }
    };
    let names: Vec<String> = run(list)?.lines().map(str::to_owned).collect();
    if names.is_empty() {
        return Err("they are gone already");
    }
    let on = if on_server { " ON users" } else { "" };
    let drops: String =
        names.iter().map(|name| format!("DROP TRIGGER IF EXISTS \"{name}\"{on}; ")).collect();
    run(&format!("BEGIN; {drops} COMMIT;"))?;
    let start = Instant::now();
    while start.elapsed() < NOTICED {
        std::thread::sleep(Duration::from_millis(200));
        if run(list).is_ok_and(|now| now.lines().count() >= names.len()) {
            let note = format!("back after {} ms", start.elapsed().as_millis());
            return Ok(Done { note: Some(note), ..Done::to(target) });
        }
    }
    Ok(Done { note: Some("NOT BACK".into()), ..Done::to(target) })
}
