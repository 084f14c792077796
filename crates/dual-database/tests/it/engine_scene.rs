//! Nodes on real files and a real server, for the tests of the synchroniser.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dual_database::Result;
use dual_database::merge::Change;
use dual_database::schema::{Column, Key, LogicalType, Making, Role, RowId, Table, users};
use dual_database::store::postgres::{Limits, Settings};
use dual_database::store::sqlite::replica::{
    Content, Durability, Node as State, Replica, Settings as ReplicaSettings,
};
use dual_database::sync::{Exchange, Fault, Shared, Step, StepHook, Synchroniser};
use dual_database::value::Value;
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use tempfile::TempDir;
use throwaway_postgres::{Database, Server};

/// Long enough for a busy machine; everything is waited for, nothing is slept for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The built-in table, and one in which balances are kept.
pub fn tables() -> Arc<[Table]> {
    let column = |name: &str, kind, role| Column::new(name, kind, role);
    let accounts = Table::declare(
        "accounts",
        vec![
            column("id", LogicalType::Int, Role::Surrogate),
            column("owner", LogicalType::BigInt, Role::Key),
            column("balance", LogicalType::BigInt, Role::Data),
            column("note", LogicalType::Text, Role::Data),
        ],
    );
    [users(), accounts.unwrap()].into()
}

pub fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(3),
        statement: Duration::from_secs(10),
        lock: Duration::from_secs(5),
        grace: Duration::from_millis(500),
    }
}

/// A database that nobody has met yet.
pub struct Scene<'server> {
    pub database: Database<'server>,
    pub folder: TempDir,
}

impl Scene<'_> {
    pub fn on(server: &Server) -> Scene<'_> {
        let database = server.database("engine").unwrap();
        Scene { database, folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn sql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.database.execute(sql).unwrap()
    }

    /// The only value of the only row.
    pub fn one(&self, sql: &str) -> String {
        self.sql(sql)[0][0].clone().unwrap_or_default()
    }

    /// A process on that file, without a task.
    pub async fn node(&self, name: &str) -> Node {
        Node::open(&self.database.url(), &self.path(name), |_| {}).await
    }

    /// Rows of a table as text by key.
    pub fn rows(&self, table: &Table) -> Rows {
        let columns: Vec<String> = table
            .columns()
            .iter()
            .map(|column| match column.kind {
                LogicalType::Bool => format!("\"{}\"::int", column.name),
                _ => format!("\"{}\"", column.name),
            })
            .map(|column| format!("({column})::text"))
            .collect();
        let key = &table.key().name;
        let sql = format!("SELECT {key}, {} FROM {}", columns.join(", "), table.name());
        let read = |row: Vec<Option<String>>| {
            (row[0].as_ref().unwrap().parse().unwrap(), row[1..].to_vec())
        };
        self.sql(&sql).into_iter().map(read).collect()
    }

    /// Both sides have the same rows in every column.
    pub fn assert_equal(&self, node: &Node) {
        for table in tables().iter() {
            assert_eq!(self.rows(table), node.rows(table), "{}", table.name());
        }
    }

    /// Whether they have; not before PostgreSQL has the tables.
    pub fn is_equal(&self, node: &Node) -> bool {
        if self.one("SELECT count(*) FROM pg_tables WHERE tablename IN ('users', 'accounts')")
            != "2"
        {
            return false;
        }
        tables().iter().all(|table| self.rows(table) == node.rows(table))
    }

    /// The entries of PostgreSQL's conflict log: key, winning and losing value.
    pub fn conflicts(&self) -> Vec<Vec<Option<String>>> {
        self.sql("SELECT key::text, winning, losing FROM dual.conflict ORDER BY 1, 2, 3")
    }
}

pub type Rows = BTreeMap<i64, Vec<Option<String>>>;

/// One process on one file.
pub struct Node {
    pub shared: Arc<Shared>,
    pub sync: Synchroniser,
    path: PathBuf,
    /// What an old script has open.
    script: Mutex<Connection>,
}

impl Node {
    pub async fn open(url: &str, path: &Path, set: impl FnOnce(&mut Shared)) -> Node {
        Node::build(url, path, tables(), set, Synchroniser::on_demand).await
    }

    /// With other tables, without a task.
    pub async fn keeping(url: &str, path: &Path, tables: Arc<[Table]>) -> Node {
        Node::keeping_with(url, path, tables, |_| {}).await
    }

    pub async fn keeping_with(
        url: &str,
        path: &Path,
        tables: Arc<[Table]>,
        set: impl FnOnce(&mut Shared),
    ) -> Node {
        Node::build(url, path, tables, set, Synchroniser::on_demand).await
    }

    /// With its task, which polls often.
    pub async fn start(url: &str, path: &Path) -> Node {
        Node::start_with(url, path, |_| {}).await
    }

    pub async fn start_with(url: &str, path: &Path, set: impl FnOnce(&mut Shared)) -> Node {
        Node::build(url, path, tables(), set, Synchroniser::start).await
    }

    async fn build(
        url: &str,
        path: &Path,
        tables: Arc<[Table]>,
        set: impl FnOnce(&mut Shared),
        begin: fn(Arc<Shared>) -> Synchroniser,
    ) -> Node {
        let sqlite = ReplicaSettings {
            path: path.to_owned(),
            busy: Duration::from_secs(5),
            tables,
            making: Making::default(),
            extensions: Vec::new(),
            aside: [].into(),
        };
        let mut shared = Shared::new(Settings::parse(url).unwrap(), limits(), sqlite.clone());
        shared.poll = Duration::from_millis(200);
        set(&mut shared);
        let replica = Replica::open(sqlite).await.unwrap();
        shared.set_replica(Arc::new(replica));
        let shared = Arc::new(shared);
        let sync = begin(shared.clone());
        let script = Connection::open(path).unwrap();
        script.busy_timeout(Duration::from_secs(10)).unwrap();
        Node { shared, sync, path: path.to_owned(), script: Mutex::new(script) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub async fn sync(&self) -> Exchange {
        self.sync.sync(PATIENCE).await.unwrap()
    }

    pub async fn try_sync(&self) -> Result<Exchange> {
        self.sync.sync(PATIENCE).await
    }

    /// An outside program writes into the file.
    pub fn script(&self, sql: &str) {
        self.script.lock().unwrap().execute_batch(sql).unwrap();
    }

    /// A program that has turned triggers off writes into the file.
    pub fn past_the_triggers(&self, sql: &str) {
        let program = Connection::open(&self.path).unwrap();
        program.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
        program.busy_timeout(Duration::from_secs(10)).unwrap();
        program.execute_batch(sql).unwrap();
    }

    /// Somebody drops all triggers of a table of the file's.
    pub fn drop_triggers(&self, table: &str) {
        let drops: String = self.one(&format!(
            "SELECT group_concat('DROP TRIGGER \"' || name || '\"', '; ') FROM sqlite_schema \
             WHERE type = 'trigger' AND tbl_name = '{table}'"
        ));
        self.script(&drops);
    }

    /// The only value that the file gives.
    pub fn one<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        self.script.lock().unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    pub fn rows(&self, table: &Table) -> Rows {
        let script = self.script.lock().unwrap();
        let columns: Vec<String> =
            table.columns().iter().map(|c| format!("CAST(\"{}\" AS TEXT)", c.name)).collect();
        let sql =
            format!("SELECT {}, {} FROM {}", table.key().name, columns.join(", "), table.name());
        let mut look = script.prepare(&sql).unwrap();
        let width = columns.len();
        let rows = look.query_map([], |row| {
            let cells: rusqlite::Result<Vec<_>> = (1..=width).map(|at| row.get(at)).collect();
            Ok((row.get(0)?, cells?))
        });
        rows.unwrap().map(std::result::Result::unwrap).collect()
    }

    pub fn replica(&self) -> Arc<Replica> {
        self.shared.replica().unwrap()
    }

    /// A call of the library that the file takes alone.
    pub async fn change(&self, table: usize, key: impl Into<Key>, change: Change) {
        let shared = self.shared.clone();
        let id = RowId::new(table, key);
        self.replica()
            .write("test", Durability::Full, move |content| {
                let before = content.row(&id)?;
                let replaces =
                    before.map_or_else(Default::default, |r| r.tracked.replaces(&change));
                let stamp = shared.clock().propose(replaces);
                content.change(&id, &change, stamp)
            })
            .await
            .unwrap();
    }

    /// Adds an account.
    pub async fn add(&self, owner: i64, balance: i64) {
        let values = vec![Value::Int(balance), Value::Null];
        self.change(1, owner, Change::Insert(values)).await;
    }

    pub async fn set_balance(&self, owner: i64, balance: i64) {
        self.change(1, owner, Change::Update(vec![(0, Value::Int(balance))])).await;
    }

    pub async fn set_note(&self, owner: i64, note: &str) {
        self.change(1, owner, Change::Update(vec![(1, Value::Text(note.into()))])).await;
    }

    pub async fn delete(&self, owner: i64) {
        self.change(1, owner, Change::Delete).await;
    }

    pub async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> T {
        self.replica().read("test", work).await.unwrap()
    }

    pub async fn state(&self) -> State {
        self.look(|content| content.node()).await
    }

    /// Losing values in the file's conflict log.
    pub async fn losers(&self) -> Vec<Option<String>> {
        let entries = self.look(|content| content.conflicts(1_000)).await;
        let mut losers: Vec<_> = entries.into_iter().map(|entry| entry.losing).collect();
        losers.sort();
        losers
    }
}

/// Waits until it is so.
pub async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not within a minute: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Until the clocks of both nodes agree that it is later.
pub async fn later() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// Fails one step once.
#[derive(Debug)]
pub struct Once {
    step: Step,
    fault: Mutex<Fault>,
}

impl Once {
    pub fn new(step: Step, fault: Fault) -> Arc<Once> {
        Arc::new(Once { step, fault: Mutex::new(fault) })
    }

    /// Whether the step was met.
    pub fn has_struck(&self) -> bool {
        *self.fault.lock().unwrap() == Fault::None
    }
}

impl StepHook for Once {
    fn fault(&self, step: Step) -> Fault {
        if step != self.step {
            return Fault::None;
        }
        std::mem::replace(&mut *self.fault.lock().unwrap(), Fault::None)
    }
}
