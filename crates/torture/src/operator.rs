//! What a person does: lets comparisons go on, types what the product's hints say, takes away what
//! neighbours have left.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::crew::lock;
use crate::dump::Joined;
use crate::shell::{self, Answer};
use crate::tables::Kind;
use crate::world::World;

/// The name that a renamed table has meanwhile.
pub fn kept(kind: Kind) -> String {
    format!("{}_kept", kind.name())
}

/// How long a hint may take to help.
const HELPED: Duration = Duration::from_secs(60);

/// PostgreSQL, or the file of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// PostgreSQL.
    Postgres,
    /// The file of that node.
    File(usize),
}

impl Side {
    /// For the ledger.
    pub fn name(self) -> String {
        match self {
            Side::Postgres => "PostgreSQL".into(),
            Side::File(node) => format!("node {node}"),
        }
    }

    /// Runs SQL there with the program that is used there; what it printed, unless it failed.
    pub fn run(self, world: &World, sql: &str) -> Option<String> {
        let answer = match self {
            Side::Postgres => shell::psql(world.port(), sql),
            Side::File(node) => shell::sqlite(&world.nodes[node].file, "-list", sql),
        };
        answer.ok().filter(|answer| answer.ok).map(|answer| answer.out)
    }

    /// The tables that are there; `None` if nobody answers.
    pub fn tables(self, world: &World) -> Option<BTreeSet<String>> {
        let sql = match self {
            Side::Postgres => "SELECT tablename FROM pg_tables WHERE schemaname = 'public';",
            Side::File(_) => "SELECT name FROM sqlite_schema WHERE type = 'table';",
        };
        self.run(world, sql).map(|found| found.lines().map(str::to_owned).collect())
    }

    /// Whether the table has a column of that name.
    pub fn has_column(self, world: &World, table: &str, column: &str) -> bool {
        let sql = match self {
            Side::Postgres => format!(
                "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'public' \
                 AND table_name = '{table}' AND column_name = '{column}';"
            ),
            Side::File(_) => {
                format!(
                    "SELECT count(*) FROM pragma_table_info('{table}') WHERE name = '{column}';"
                )
            }
        };
        self.run(world, &sql).is_some_and(|found| found.trim() == "1")
    }

    /// Whether there is a table of that name; `None` if nobody answers.
    pub fn has(self, world: &World, table: &str) -> Option<bool> {
        let sql = match self {
            Side::Postgres => format!("SELECT count(to_regclass('public.{table}'));"),
            Side::File(_) => format!(
                "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = '{table}';"
            ),
        };
        self.run(world, &sql).map(|found| found.trim() == "1")
    }
}

/// Whether a column that was joined is gone, with a restored server or file.
fn lacks_columns(world: &World, side: Side) -> bool {
    let columns = lock(&world.columns).clone();
    columns.iter().any(|(kind, column)| !side.has_column(world, kind.name(), column))
}

/// How many rows of these tables a file has pending that are not in quarantine, as SQL.
pub fn pending(tables: &[Joined]) -> String {
    let of = tables.iter().map(|(kind, sidecar)| {
        format!(
            "(SELECT count(*) FROM dual_side_{sidecar} AS s \
             WHERE s.seq > (SELECT pushed FROM dual_node) AND NOT EXISTS (SELECT 1 FROM \
             dual_quarantine AS q WHERE q.name = '{}' AND q.key = {}))",
            kind.name(),
            kind.key_in_quarantine()
        )
    });
    of.collect::<Vec<_>>().join(" + ")
}

/// The program `dual`, directly at PostgreSQL. What it answers is kept beside the logs.
///
/// # Errors
/// It cannot be started.
pub fn dual(world: &World, node: usize, words: &[&str]) -> std::io::Result<Answer> {
    let mut command = Command::new(std::env::current_exe()?);
    let url = format!("postgresql://postgres@127.0.0.1:{}/postgres", world.port());
    command.arg0("dual").args(words).env("DATABASE_URL", url);
    command.env("DATABASE_PATH", &world.nodes[node].file);
    let start = Instant::now();
    let answer = shell::run(&mut command, "")?;
    let line = json!({
        "node": node, "words": words, "ms": start.elapsed().as_millis(), "code": answer.code,
        "out": answer.out, "complaint": answer.complaint,
    });
    let log = world.folder.join("logs").join("typed.log");
    let mut log = OpenOptions::new().create(true).append(true).open(log)?;
    writeln!(log, "{line}")?;
    Ok(answer)
}

/// Whether the node's comparison waits for a person.
pub fn is_held(world: &World, node: usize) -> bool {
    let sql = "SELECT follow LIKE '%\"held\"%' FROM dual_node;";
    Side::File(node).run(world, sql).is_some_and(|held| held.trim() == "1")
}

/// Lets comparisons that wait go on.
pub fn approve(world: &World) {
    for node in 0..world.nodes.len() {
        if is_held(world, node) {
            world.repairs.fetch_add(1, Ordering::SeqCst);
            let _ = dual(world, node, &["repair", "--prefer", "newest", "--json"]);
        }
    }
}

/// Types what the hint says until the table is there, captured. Says whether it helped.
pub fn apply(world: &World, side: Side, kind: Kind) -> bool {
    let node = if let Side::File(node) = side { node } else { 0 };
    let name = kind.name();
    let captured = match side {
        Side::Postgres => format!(
            "SELECT count(*) > 0 FROM pg_trigger WHERE tgrelid = to_regclass('public.{name}') \
             AND tgname LIKE 'dual%';"
        ),
        Side::File(_) => format!(
            "SELECT CASE WHEN count(*) > 0 THEN 't' END FROM sqlite_schema \
             WHERE type = 'trigger' AND tbl_name = '{name}' AND name LIKE 'dual%';"
        ),
    };
    let start = Instant::now();
    while start.elapsed() < HELPED {
        let _ = dual(world, node, &["init", "--apply", "--json"]);
        if side.run(world, &captured).is_some_and(|found| found.trim() == "t") {
            return true;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    false
}

/// Takes away what a neighbour has left, where no neighbour is at work: one who could not, or whose
/// doing a restored or promoted server has brought back.
pub fn put_back(world: &World) {
    let postgres = world.table.try_lock();
    if postgres.is_ok() {
        tidy_postgres(world);
    }
    for node in &world.nodes {
        let Ok(_guard) = node.table.try_lock() else { continue };
        let side = Side::File(node.number);
        tidy_file(world, node.number);
        let (Some(here), Some(there)) = (side.tables(world), Side::Postgres.tables(world)) else {
            continue;
        };
        // A file that nobody has joined yet is left alone.
        if postgres.is_err() || !here.contains("dual_node") {
            continue;
        }
        for (kind, _) in world.joined() {
            if !here.contains(kind.name()) || !there.contains(kind.name()) {
                apply(world, side, kind);
            }
        }
        if lacks_columns(world, Side::Postgres) || lacks_columns(world, side) {
            let _ = dual(world, node.number, &["init", "--apply", "--json"]);
        }
    }
}

/// Takes away what neighbours have left at PostgreSQL. Says whether that could be done.
pub fn tidy_postgres(world: &World) -> bool {
    let mut sql = "SET default_transaction_read_only = off; \
                   ALTER DATABASE postgres RESET ALL; ALTER ROLE postgres RESET ALL; \
                   DROP SCHEMA IF EXISTS neighbour CASCADE; DO $$ BEGIN "
        .to_owned();
    for kind in Kind::ALL {
        let (name, kept) = (kind.name(), kept(kind));
        sql.push_str(&format!(
            "IF to_regclass('public.{name}') IS NULL AND to_regclass('public.{kept}') IS NOT NULL \
             THEN ALTER TABLE public.{kept} RENAME TO {name}; END IF; \
             IF EXISTS (SELECT FROM pg_trigger WHERE tgname = 'neighbour' \
             AND tgrelid = to_regclass('public.{name}')) THEN \
             DROP TRIGGER neighbour ON public.{name}; END IF; "
        ));
    }
    sql.push_str("PERFORM public.references_again(); END $$;");
    Side::Postgres.run(world, &sql).is_some()
}

/// The same in the file of a node.
pub fn tidy_file(world: &World, node: usize) -> bool {
    let side = Side::File(node);
    let there = side.tables(world).unwrap_or_default();
    for kind in Kind::ALL {
        let (name, kept) = (kind.name(), kept(kind));
        if !there.contains(name) && there.contains(&kept) {
            let _ = side.run(world, &format!("ALTER TABLE {kept} RENAME TO {name};"));
        }
    }
    side.run(world, "DROP TRIGGER IF EXISTS neighbour;").is_some()
}
