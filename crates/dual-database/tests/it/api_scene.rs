//! What the tests of the calls share: a database of its own on each side, a proxy between the
//! library and PostgreSQL that can lose things, and looks at both stores from outside.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use dual_database::database::{Builder, Written};
use dual_database::init::{Choice, Joining, Stores, apply, choose};
use dual_database::schema::{Making, users};
use dual_database::store::postgres::Settings;
use dual_database::store::sqlite::replica::Settings as ReplicaSettings;
use dual_database::users::{User, UserPatch};
use dual_database::{DualDatabase, Store};
use tempfile::TempDir;
use throwaway_postgres::{Database, Server};

use crate::engine_scene::{PATIENCE, limits};

/// The time-out that the tests give to calls.
pub const TIMEOUT: Duration = Duration::from_secs(3);

/// What the proxy does with what passes.
#[derive(Clone, Debug, PartialEq)]
pub enum Wire {
    /// It passes.
    Pass,
    /// Connections stand, and nothing passes.
    Swallow,
    /// Connections break, and no new one comes about.
    Refuse,
    /// The server gets what has this text in it, no answer comes, and the connection breaks;
    /// other connections pass.
    LoseAnswerTo(&'static str),
}

/// Rows as text; `None` is NULL.
pub type Rows = Vec<Vec<Option<String>>>;

/// Between the library and PostgreSQL.
pub struct Proxy {
    port: u16,
    wire: Arc<Mutex<Wire>>,
    sockets: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    pub fn start(server_port: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Arc::new(Mutex::new(Wire::Pass));
        let sockets = Arc::new(Mutex::new(Vec::new()));
        let (shared, known) = (Arc::clone(&wire), Arc::clone(&sockets));
        // Ends with the test process.
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                if *shared.lock().unwrap() == Wire::Refuse {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)) else { continue };
                let copies = [client.try_clone().unwrap(), server.try_clone().unwrap()];
                known.lock().unwrap().extend(copies);
                let lost = Arc::new(AtomicBool::new(false));
                for (from, to, asks) in [
                    (client.try_clone().unwrap(), server.try_clone().unwrap(), true),
                    (server, client, false),
                ] {
                    let (shared, lost) = (Arc::clone(&shared), Arc::clone(&lost));
                    thread::spawn(move || forward(from, to, asks, &shared, &lost));
                }
            }
        });
        Proxy { port, wire, sockets }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn set(&self, wire: Wire) {
        *self.wire.lock().unwrap() = wire.clone();
        if wire == Wire::Refuse {
            for socket in self.sockets.lock().unwrap().drain(..) {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }

    pub fn is(&self, wire: &Wire) -> bool {
        *self.wire.lock().unwrap() == *wire
    }
}

fn forward(
    mut from: TcpStream,
    mut to: TcpStream,
    asks: bool,
    wire: &Mutex<Wire>,
    lost: &AtomicBool,
) {
    let mut buffer = [0; 65536];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..length];
        let lose = {
            let mut wire = wire.lock().unwrap();
            match &*wire {
                Wire::LoseAnswerTo(text) if asks => {
                    let found = bytes.windows(text.len()).any(|part| part == text.as_bytes());
                    if found {
                        *wire = Wire::Pass;
                    }
                    found
                }
                Wire::Swallow => {
                    drop(wire);
                    continue;
                }
                _ => false,
            }
        };
        if lose {
            // The rest of what is asked still passes, no answer does, and soon nothing.
            lost.store(true, Ordering::SeqCst);
            let sockets = [from.try_clone().unwrap(), to.try_clone().unwrap()];
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(300));
                for socket in sockets {
                    let _ = socket.shutdown(Shutdown::Both);
                }
            });
        }
        if !asks && lost.load(Ordering::SeqCst) {
            continue;
        }
        if to.write_all(bytes).is_err() {
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// A server (shared unless the test stops it), a database on it, a folder for the file.
pub struct Scene<'s> {
    pub database: Database<'s>,
    pub proxy: Proxy,
    pub folder: TempDir,
}

impl<'s> Scene<'s> {
    pub fn on(server: &'s Server, name: &str) -> Scene<'s> {
        let database = server.database(name).unwrap();
        let proxy = Proxy::start(server.port());
        Scene { database, proxy, folder: TempDir::new().unwrap() }
    }

    pub fn shared(name: &str) -> Scene<'static> {
        Scene::on(throwaway_postgres::shared().unwrap(), name)
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("users.db")
    }

    /// Through the proxy.
    pub fn builder(&self) -> Builder {
        let port = self.database.server().port();
        let url =
            self.database.url().replace(&format!(":{port}/"), &format!(":{}/", self.proxy.port));
        DualDatabase::builder()
            .postgres_url(url)
            .sqlite_path(self.file())
            .timeout(TIMEOUT)
            .busy_timeout(Duration::from_millis(500))
            .poll_interval(Duration::from_millis(100))
    }

    pub async fn open(&self) -> DualDatabase {
        self.builder().open().await.unwrap()
    }

    /// Joins these tables in that file beside those that are joined, as another program does.
    pub async fn join(&self, file: &Path, names: &[&str]) {
        let mut stores = Stores {
            postgres: Settings::parse(&self.database.url()).unwrap(),
            limits: limits(),
            sqlite: ReplicaSettings {
                path: file.to_owned(),
                busy: Duration::from_secs(5),
                tables: vec![users()].into(),
                aside: [].into(),
                making: Making::Everything,
                extensions: Vec::new(),
            },
        };
        let tables = names.iter().map(|name| (*name).to_owned()).collect();
        choose(&mut stores, &Choice { tables, ..Choice::default() }).await.unwrap();
        apply(&stores, Joining::default(), PATIENCE).await.unwrap();
    }

    /// One value as PostgreSQL has it, seen from outside.
    pub fn postgres(&self, sql: &str) -> Option<String> {
        let rows = self.database.execute(sql).unwrap();
        rows.into_iter().next().and_then(|row| row.into_iter().next().flatten())
    }

    /// A connection of another program to the file.
    pub fn outsider(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.file()).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection
    }

    /// One value as the file has it, seen from outside.
    pub fn sqlite(&self, sql: &str) -> Option<String> {
        use rusqlite::OptionalExtension;
        let value = self.outsider().query_row(sql, [], |row| {
            Ok(match row.get_ref(0)? {
                rusqlite::types::ValueRef::Null => None,
                rusqlite::types::ValueRef::Integer(number) => Some(number.to_string()),
                rusqlite::types::ValueRef::Text(text) => {
                    Some(String::from_utf8_lossy(text).into_owned())
                }
                other => Some(format!("{other:?}")),
            })
        });
        value.optional().unwrap().flatten()
    }

    /// Every user, column by column, as text that both sides print alike.
    pub fn both(&self) -> (Rows, Rows) {
        let columns: Vec<_> = dual_database::schema::users()
            .data_columns()
            .map(|column| column.name.clone())
            .collect();
        let text = |name: &Arc<str>| match &**name {
            "profile_completed" => "profile_completed::int::text".into(),
            name => format!("{name}::text"),
        };
        let selected: Vec<String> = columns.iter().map(text).collect();
        let theirs = self
            .database
            .execute(&format!(
                "SELECT user_id::text, {} FROM users ORDER BY users.user_id",
                selected.join(", ")
            ))
            .unwrap();
        let selected: Vec<String> =
            columns.iter().map(|name| format!("CAST({name} AS TEXT)")).collect();
        let sql = format!(
            "SELECT CAST(user_id AS TEXT), {} FROM users ORDER BY users.user_id",
            selected.join(", ")
        );
        let connection = self.outsider();
        let mut statement = connection.prepare(&sql).unwrap();
        let ours = statement
            .query_map([], |row| (0..=columns.len()).map(|at| row.get(at)).collect())
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let trimmed = |rows: Vec<Vec<Option<String>>>| {
            let trim = |text: String| match text.split_once('.') {
                Some((_, fraction)) if text.len() > 19 && fraction.len() < 6 => {
                    format!("{text}{}", "0".repeat(6 - fraction.len()))
                }
                _ => text,
            };
            rows.into_iter()
                .map(|row| row.into_iter().map(|cell| cell.map(trim)).collect())
                .collect()
        };
        (trimmed(theirs), ours)
    }

    /// Waits until both sides are equal.
    pub async fn wait_equal(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let (theirs, ours) = self.both();
            if theirs == ours {
                return;
            }
            assert!(Instant::now() < until, "PostgreSQL: {theirs:?}\nSQLite: {ours:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Waits for a condition.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < until, "{what}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// A user with a name.
pub fn named(user_id: i64, name: &str) -> UserPatch {
    UserPatch::new().user_id(user_id).first_name(name)
}

/// The write is in both.
#[track_caller]
pub fn both<T: std::fmt::Debug>(written: Written<T>) -> T {
    match written {
        Written::InBoth(value) => value,
        other @ Written::InOne { .. } => panic!("not in both: {other:?}"),
    }
}

/// The write is in that one only.
#[track_caller]
pub fn only<T: std::fmt::Debug>(store: Store, written: Written<T>) -> T {
    match written {
        Written::InOne { value, stored_in } if stored_in == store => value,
        other => panic!("not in {store} alone: {other:?}"),
    }
}

/// The name of a user, wherever it is read.
pub async fn name_of(db: &DualDatabase, user_id: i64) -> Option<String> {
    db.get_user(user_id).await.unwrap().value.and_then(|user: User| user.first_name)
}
