//! A database, a SQLite path and the program `dual` between them; each test has its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use throwaway_postgres::{Database, Server};

use crate::scene::{Ran, Row};

pub struct Pair<'server> {
    pub database: Database<'server>,
    pub folder: tempfile::TempDir,
}

impl Pair<'static> {
    /// On the server that most tests share.
    pub fn new() -> Pair<'static> {
        Pair::on(throwaway_postgres::shared().unwrap())
    }
}

impl<'server> Pair<'server> {
    pub fn on(server: &'server Server) -> Pair<'server> {
        let database = server.database("pair").unwrap();
        Pair { database, folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("users.db")
    }

    /// `dual` with both stores of this pair.
    pub fn command(&self, words: &[&str]) -> Command {
        self.command_to(&self.database.url(), words)
    }

    pub fn command_to(&self, url: &str, words: &[&str]) -> Command {
        let mut command = dual();
        command.args(words).arg("--pg-db-url").arg(url).arg("--sqlite-db-path").arg(self.path());
        command
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words).output().unwrap())
    }

    pub fn run_to(&self, url: &str, words: &[&str]) -> Ran {
        Ran::of(self.command_to(url, words).output().unwrap())
    }

    /// Runs with `--json`, expects that code, gives the document.
    #[track_caller]
    pub fn json(&self, code: i32, words: &[&str]) -> Value {
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        self.run(&words).ended(code).json()
    }

    pub fn postgres(&self, sql: &str) -> Vec<Row> {
        self.database.execute(sql).unwrap()
    }

    /// As another program would, in a connection of its own.
    pub fn sqlite(&self, sql: &str) -> Vec<Row> {
        use rusqlite::types::Value as Stored;
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        let width = statement.column_count();
        let text = |stored| match stored {
            Stored::Null => None,
            Stored::Integer(number) => Some(number.to_string()),
            Stored::Real(number) => Some(number.to_string()),
            Stored::Text(text) => Some(text),
            Stored::Blob(bytes) => Some(format!("{bytes:?}")),
        };
        statement
            .query_map([], |row| {
                (0..width).map(|index| row.get::<_, Stored>(index).map(text)).collect()
            })
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    /// In the file, by a connection that fires no triggers: nothing is left to tell of it.
    pub fn untriggered(&self, sql: &str) {
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        let triggers = rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER;
        connection.set_db_config(triggers, false).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    /// What a load with triggers disabled does: afterwards they are as they were.
    pub fn past_the_triggers(&self, sql: &str) {
        self.postgres(&format!("{}; {sql}; {}", triggers("DISABLE"), triggers("ENABLE ALWAYS")));
    }

    /// Names of what anybody has made on either side.
    pub fn untouched(&self) -> bool {
        let names = self.postgres(
            "SELECT nspname || '.' || relname FROM pg_class c JOIN pg_namespace n \
             ON n.oid = c.relnamespace WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')",
        );
        names.is_empty() && !self.path().exists()
    }

    /// Starts the program with its output piped.
    pub fn spawn(&self, words: &[&str]) -> Child {
        self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// `dual sync --watch` on a pair, as long as it is looked at.
pub struct Watcher(Child);

impl Watcher {
    pub fn new(pair: &Pair<'_>, words: &[&str]) -> Watcher {
        Watcher(pair.spawn(&[&["sync", "--watch"], words].concat()))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        signal(&self.0, "TERM");
        let _ = self.0.wait();
    }
}

/// What a restore of the table alone leaves.
pub const DROP_TRIGGERS: &str = "DO $$ DECLARE t record; BEGIN \
     FOR t IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'users'::regclass \
     AND NOT tgisinternal LOOP EXECUTE format('DROP TRIGGER %I ON users', t.tgname); \
     END LOOP; END $$";

fn triggers(what: &str) -> String {
    format!(
        "DO $$ DECLARE t record; BEGIN \
         FOR t IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'users'::regclass AND NOT tgisinternal \
         LOOP EXECUTE format('ALTER TABLE users {what} TRIGGER %I', t.tgname); END LOOP; END $$"
    )
}

/// The program without the environment of whoever runs the tests.
pub fn dual() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dual"));
    for name in ["DATABASE_URL", "DATABASE_PATH", "DUAL_SCHEMA", "DUAL_LOG", "RUST_LOG"] {
        command.env_remove(name);
    }
    without_libpq(&mut command);
    command.stdin(Stdio::null());
    command
}

/// What libpq would take from the environment of whoever runs the tests.
pub fn without_libpq(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
}

/// A URL on which nothing listens.
pub fn nowhere() -> String {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("postgresql://postgres@127.0.0.1:{port}/none")
}

pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status();
    assert!(status.unwrap().success());
}

/// Waits until it holds, half a minute at most.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What an old script does, with Python's own `sqlite3`; answers what its last statement gives.
#[track_caller]
pub fn python(pair: &Pair<'_>, script: &str) -> Vec<Row> {
    let program = format!(
        "import json, sqlite3, sys\n\
         db = sqlite3.connect(sys.argv[1], timeout=10)\n\
         rows = []\n{script}\n\
         db.commit()\n\
         print(json.dumps([[None if v is None else str(v) for v in row] for row in rows]))\n"
    );
    let ran = Command::new("python3").arg("-c").arg(program).arg(pair.path()).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}
