//! A file with a table and capture beside it, and who writes to it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use dual_database::merge::{Defaults, Tracked};
use dual_database::schema::{Dialect, Table, quoted};
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::sqlite::capture::{Layout, changed_above, install, state};
use dual_database::value::Value;
use rusqlite::Connection;
use tempfile::TempDir;

use crate::capture_oracle::{Oracle, State, version};

/// Who writes.
#[derive(Clone, Copy)]
pub enum Client {
    /// Python's `sqlite3`: the script has a connection `c`.
    Python,
    /// The `sqlite3` shell.
    Shell,
    /// This process's SQLite.
    Own,
}

/// A file with the table and capture beside it.
pub struct Scene {
    _folder: TempDir,
    pub path: PathBuf,
    pub own: Connection,
    pub table: Table,
    pub layout: Layout,
    pub oracle: Oracle,
}

impl Scene {
    pub fn new(table: Table, extra: &str) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bot.db");
        let own = Connection::open(&path).unwrap();
        own.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        let create = table.create_statement(Dialect::Sqlite, &quoted(table.name()));
        own.execute_batch(&format!("{create}; {extra}")).unwrap();
        let layout = Layout::new(&table);
        let writer = Writer::new(77).unwrap();
        install(&own, &layout, writer).unwrap();
        let defaults = table.data_columns().map(|column| match &column.default {
            Some(Value::Text(text)) => Value::Text(text.clone()),
            Some(Value::Bool(flag)) => Value::Text(i64::from(*flag).to_string()),
            _ => Value::Null,
        });
        let defaults = Defaults::new(defaults.collect());
        let oracle = Oracle { defaults, horizon: Stamp::ZERO, writer, pending: true };
        Scene { _folder: folder, path, own, table, layout, oracle }
    }

    pub fn state(&self) -> State {
        let count = self.table.data_columns().count();
        let columns: String = self
            .table
            .data_columns()
            .map(|column| format!(", CAST({} AS TEXT)", quoted(&column.name)))
            .collect();
        let sql = format!(
            "SELECT {}{columns} FROM {}",
            quoted(&self.table.key().name),
            quoted(self.table.name())
        );
        let mut look = self.own.prepare(&sql).unwrap();
        let mut rows: std::collections::BTreeMap<i64, Vec<Option<String>>> = look
            .query_map([], |row| {
                Ok((row.get(0)?, (0..count).map(|at| row.get(at + 1).unwrap()).collect()))
            })
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let entries = changed_above(&self.own, &self.layout, -1).unwrap();
        let state = entries.into_iter().map(|entry| {
            let stamps: Vec<i64> = std::iter::once(entry.live.stamp)
                .chain(entry.columns.iter().copied())
                .map(Stamp::raw)
                .collect();
            let values = rows.remove(&entry.key.number().unwrap());
            assert_eq!(values.is_some(), entry.live.value, "who lives: {entry:?}");
            let values = values.unwrap_or_else(|| {
                let default = |at| match self.oracle.defaults.of(at) {
                    Value::Text(text) => Some(text.clone()),
                    _ => None,
                };
                (0..count).map(default).collect()
            });
            let version = version(entry.live.value, &stamps, &values);
            (entry.key.number().unwrap(), Tracked { version, bases: entry.bases })
        });
        let state = state.collect();
        assert!(rows.is_empty(), "not in the sidecar: {rows:?}");
        state
    }

    pub fn clock(&self) -> i64 {
        let sql = "SELECT CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)";
        self.own.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    pub fn run(&self, client: Client, text: &str) {
        let path = self.path.to_str().unwrap();
        let (program, arguments, script) = match client {
            Client::Own => return self.own.execute_batch(text).unwrap(),
            Client::Shell => ("sqlite3", vec!["-bail", path], text.to_owned()),
            Client::Python => {
                let head = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\n";
                ("python3", vec!["-", path], format!("{head}{text}\nc.commit()\nc.close()\n"))
            }
        };
        let mut child =
            Command::new(program).args(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{text}");
    }

    /// Lets a client write and compares what it leaves with the oracle's opinion.
    pub fn go(&self, client: Client, text: &str, reborn: &[i64]) {
        let (before, from) = (self.state(), self.clock() - 1);
        self.run(client, text);
        let (until, after) = (self.clock() + 1, self.state());
        let reborn: BTreeSet<i64> = reborn.iter().copied().collect();
        self.oracle.check(&before, &after, &reborn, (from, until), text);
    }

    pub fn python(&self, sql: &str, reborn: &[i64]) {
        self.go(Client::Python, &format!("c.execute({sql:?})"), reborn);
    }

    pub fn seq(&self) -> i64 {
        state(&self.own).unwrap().seq
    }
}
