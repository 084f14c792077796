//! What a person does: lets comparisons go on, types what the product's hints say, takes away what
//! neighbours have left.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::shell::{self, Answer};
use crate::world::World;

/// The name that a renamed table has meanwhile.
pub const KEPT: &str = "users_kept";
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

/// The program `dual`, directly at PostgreSQL.
///
/// # Errors
/// It cannot be started.
pub fn dual(world: &World, node: usize, words: &[&str]) -> std::io::Result<Answer> {
    let mut command = Command::new(std::env::current_exe()?);
    let url = format!("postgresql://postgres@127.0.0.1:{}/postgres", world.port());
    command.arg0("dual").args(words).env("DATABASE_URL", url);
    command.env("DATABASE_PATH", &world.nodes[node].file);
    shell::run(&mut command, "")
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
pub fn apply(world: &World, side: Side) -> bool {
    let node = if let Side::File(node) = side { node } else { 0 };
    let captured = match side {
        Side::Postgres => {
            "SELECT count(*) > 0 FROM pg_trigger WHERE tgrelid = to_regclass('public.users') \
             AND tgname LIKE 'dual%';"
        }
        Side::File(_) => {
            "SELECT CASE WHEN count(*) > 0 THEN 't' END FROM sqlite_schema \
             WHERE type = 'trigger' AND tbl_name = 'users' AND name LIKE 'dual%';"
        }
    };
    let start = Instant::now();
    while start.elapsed() < HELPED {
        let _ = dual(world, node, &["init", "--apply", "--json"]);
        if side.run(world, captured).is_some_and(|found| found.trim() == "t") {
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
        // A file that nobody has joined yet is left alone.
        let is_without = |side: Side| side.has(world, "users") == Some(false);
        let is_ours = side.has(world, "dual_node") == Some(true);
        if postgres.is_ok() && is_ours && (is_without(side) || is_without(Side::Postgres)) {
            apply(world, side);
        }
    }
}

/// Takes away what neighbours have left at PostgreSQL. Says whether that could be done.
pub fn tidy_postgres(world: &World) -> bool {
    let sql = format!(
        "SET default_transaction_read_only = off; \
         ALTER DATABASE postgres RESET ALL; ALTER ROLE postgres RESET ALL; \
         DROP SCHEMA IF EXISTS neighbour CASCADE; \
         DO $$ BEGIN \
         IF to_regclass('public.users') IS NULL AND to_regclass('public.{KEPT}') IS NOT NULL THEN \
         ALTER TABLE public.{KEPT} RENAME TO users; END IF; \
         IF EXISTS (SELECT FROM pg_trigger WHERE tgname = 'neighbour') THEN \
         DROP TRIGGER neighbour ON public.users; END IF; END $$;"
    );
    Side::Postgres.run(world, &sql).is_some()
}

/// The same in the file of a node.
pub fn tidy_file(world: &World, node: usize) -> bool {
    let side = Side::File(node);
    if (side.has(world, "users"), side.has(world, KEPT)) == (Some(false), Some(true)) {
        let _ = side.run(world, &format!("ALTER TABLE {KEPT} RENAME TO users;"));
    }
    side.run(world, "DROP TRIGGER IF EXISTS neighbour;").is_some()
}
