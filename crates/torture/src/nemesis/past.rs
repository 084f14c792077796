//! Neighbours who load, change and take away rows with triggers disabled: `pg_restore`, logical apply,
//! a client without triggers.
//!
//! The rows are the loader's own. What was loaded is acknowledged as any other write; what was
//! taken away nobody has deleted.

use std::path::Path;
use std::time::{Duration, Instant};

use super::schema::triggers;
use super::table::hold;
use super::{Done, Skipped, side, table_of};
use crate::ledger::{Entry, Intent, Ledger, Outcome, now};
use crate::operator::{Side, dual};
use crate::schedule::Event;
use crate::tables::{Kind, TABLE};
use crate::worker::{OWNED, SPACE};
use crate::world::World;

/// The number of the loader among the writers; the nine after it are its own, too.
const LOADER: i64 = 70;
/// How many rows it may load in all.
const ROWS: i64 = 10 * OWNED;
/// How long what came past the triggers is looked for.
const SEEN: Duration = Duration::from_secs(45);

/// Who loads.
#[derive(Debug)]
pub struct Loader {
    ledger: Ledger,
    /// How many rows it has loaded, and how many values it has written.
    count: (i64, u64),
    /// Rows that every store has had.
    arrived: Vec<i64>,
}

impl Loader {
    /// One that has loaded nothing.
    ///
    /// # Errors
    /// Its ledger cannot be made.
    pub fn new(folder: &Path) -> std::io::Result<Loader> {
        let ledger = Ledger::create(&folder.join("ledgers"), "loader", None, 0)?;
        Ok(Loader { ledger, count: (0, 0), arrived: Vec::new() })
    }

    fn text(&mut self) -> String {
        self.count.1 += 1;
        format!("w{LOADER}:{}", self.count.1)
    }

    /// One of those that have arrived, which is then as if it had not.
    fn take(&mut self, kind: Kind, choice: u64) -> Option<i64> {
        let of = (0..self.arrived.len()).filter(|at| Kind::of(self.arrived[*at]) == kind);
        let of: Vec<usize> = of.collect();
        let at = usize::try_from(choice).ok()?.checked_rem(of.len())?;
        Some(self.arrived.swap_remove(of[at]))
    }
}

pub(super) fn load(world: &World, event: &Event) -> Result<Done, Skipped> {
    let side = side(world, event);
    let Ok(mut loader) = world.loader.try_lock() else { return Err("somebody is loading") };
    let hold = hold(world, side)?;
    let choice = event.choice;
    // Rows of which nobody says what they refer to.
    let kind = match table_of(event) {
        Kind::Parents | Kind::Children | Kind::Positions | Kind::Late => Kind::Words,
        kind => kind,
    };
    let name = kind.name();
    let mut sql = String::new();
    let mut loads = Vec::new();
    for _ in 0..1 + choice / 8 % 6 {
        if loader.count.0 >= ROWS {
            break;
        }
        let label = (LOADER + loader.count.0 / OWNED) * SPACE + loader.count.0 % OWNED;
        let key = kind.row(label);
        loader.count.0 += 1;
        let text = loader.text();
        let mut columns = kind.key(label);
        columns.extend((kind != Kind::Users).then(|| ("label", label.to_string())));
        let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        sql.push_str(&format!(
            "INSERT INTO {name} ({}, real_name, username) VALUES ({}, '{text}', '{text}'); ",
            names.join(", "),
            values.join(", ")
        ));
        let intent = Intent::Load { real: text.clone(), user: text };
        loads.push((key, loader.ledger.start(key, intent)));
    }
    let changed =
        if (choice / 64).is_multiple_of(2) { loader.take(kind, choice / 128) } else { None };
    let mut changes = None;
    if let Some(key) = changed {
        let text = loader.text();
        let is_row = is_row(kind, key);
        sql.push_str(&format!("UPDATE {name} SET real_name = '{text}' WHERE {is_row}; "));
        let intent = Intent::Update { real: Some(text), user: None };
        changes = Some(loader.ledger.start(key, intent));
    }
    let removed: Vec<i64> =
        (0..choice / 1_024 % 3).filter_map(|_| loader.take(kind, choice / 4_096)).collect();
    for key in &removed {
        sql.push_str(&format!("DELETE FROM {name} WHERE {}; ", is_row(kind, *key)));
    }
    let way = choice / 2 % 3;
    // Where our triggers fire all the same (they are `ALWAYS`), a delete is one.
    let is_captured = side == Side::Postgres && way == 2;
    let (deleted, removed) =
        if is_captured { (removed, Vec::new()) } else { (Vec::new(), removed) };
    let deletes: Vec<_> =
        deleted.iter().map(|key| loader.ledger.start(*key, Intent::Delete)).collect();
    let done = past(world, side, kind, way, &sql);
    drop(hold);
    let unknown = || Outcome::Unknown { why: "past the triggers".into() };
    let outcome = match (done, side) {
        (false, _) => unknown(),
        (true, Side::Postgres) => Outcome::Postgres,
        (true, Side::File(_)) => Outcome::Sqlite,
    };
    for n in loads.iter().map(|(_, n)| *n).chain(deletes) {
        loader.ledger.end(n, outcome.clone(), 0);
    }
    // Whichever of the two stands, it has to be the same everywhere.
    changes.into_iter().for_each(|n| loader.ledger.end(n, unknown(), 0));
    let node = if let Side::File(node) = side { Some(node) } else { None };
    let t = now();
    removed.iter().for_each(|key| loader.ledger.write(&Entry::Removed { t, key: *key, node }));
    if !done {
        return Err("that side is away");
    }
    std::thread::sleep(event.lasts());
    let asked = (choice / 16_384).is_multiple_of(2);
    let keys: Vec<i64> = loads.iter().map(|(key, _)| *key).chain(removed).chain(changed).collect();
    let start = Instant::now();
    let mut seen = false;
    while !seen && start.elapsed() < SEEN {
        if asked {
            // A person who has loaded something has it looked for.
            let _ = dual(world, node.unwrap_or(0), &["sync", "--once", "--json"]);
        }
        seen = are_everywhere(world, kind, &keys);
        std::thread::sleep(Duration::from_millis(300));
    }
    if seen {
        let t = now();
        keys.iter().for_each(|key| loader.ledger.write(&Entry::Arrived { t, key: *key }));
        loader.arrived.extend(keys);
    }
    let how = match (side, way) {
        (Side::Postgres, 2) => "applied as a replica does",
        (Side::Postgres, _) => "triggers disabled",
        (Side::File(_), 2) => "triggers gone and back",
        (Side::File(_), _) => "without triggers",
    };
    let seen = if seen { "everywhere" } else { "not yet everywhere" };
    let ms = start.elapsed().as_millis();
    let note = Some(format!("{how}, {seen} after {ms} ms"));
    Ok(Done { note, ..Done::to_table(side.name(), kind) })
}

/// Runs the statements in one transaction, which no trigger of ours sees.
fn past(world: &World, side: Side, kind: Kind, way: u64, sql: &str) -> bool {
    let name = kind.name();
    let sql = match (side, way) {
        (Side::Postgres, 0) => {
            let names = of_ours(world, side, kind);
            let off = names.iter().map(|one| format!("ALTER TABLE {name} DISABLE TRIGGER {one}; "));
            let on =
                names.iter().map(|one| format!("ALTER TABLE {name} ENABLE ALWAYS TRIGGER {one}; "));
            format!("BEGIN; {}{sql}{} COMMIT;", off.collect::<String>(), on.collect::<String>())
        }
        (Side::Postgres, 1) => format!(
            "BEGIN; ALTER TABLE {name} DISABLE TRIGGER USER; {sql} \
             ALTER TABLE {name} ENABLE TRIGGER USER; COMMIT;"
        ),
        (Side::Postgres, _) => {
            format!("BEGIN; SET LOCAL session_replication_role = replica; {sql} COMMIT;")
        }
        (Side::File(_), 0 | 1) => {
            format!(".dbconfig enable_trigger off\nBEGIN IMMEDIATE; {sql} COMMIT;")
        }
        (Side::File(_), _) => {
            let list = format!(
                "SELECT replace(sql, char(10), ' ') || ';' FROM sqlite_schema \
                 WHERE type = 'trigger' AND tbl_name = '{name}';"
            );
            let Some(made) = side.run(world, &list) else { return false };
            let names = of_ours(world, side, kind);
            let drops = names.iter().map(|name| format!("DROP TRIGGER {name}; "));
            format!("BEGIN IMMEDIATE; {}{sql}{made} COMMIT;", drops.collect::<String>())
        }
    };
    side.run(world, &sql).is_some()
}

/// The triggers of the table, quoted.
fn of_ours(world: &World, side: Side, kind: Kind) -> Vec<String> {
    let names = side.run(world, &triggers(side, kind.name())).unwrap_or_default();
    names.lines().map(|name| format!("\"{name}\"")).collect()
}

fn is_row(kind: Kind, row: i64) -> String {
    format!("{} = {}", kind.label(), row % TABLE)
}

/// Whether every store has those rows.
fn are_everywhere(world: &World, kind: Kind, keys: &[i64]) -> bool {
    let list: Vec<String> = keys.iter().map(|key| (key % TABLE).to_string()).collect();
    let sql = format!(
        "SELECT count(*) FROM {} WHERE {} IN ({});",
        kind.name(),
        kind.label(),
        list.join(", ")
    );
    let files = (0..world.nodes.len()).map(Side::File);
    files.chain([Side::Postgres]).all(|side| {
        side.run(world, &sql).is_some_and(|found| found.trim() == keys.len().to_string())
    })
}
