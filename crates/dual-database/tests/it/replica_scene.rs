//! A file that is open as the product has it, and what others do to it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use dual_database::Result;
use dual_database::merge::{Change, Defaults, Tracked, Version};
use dual_database::schema::{Making, RowId, Table};
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::sqlite::replica::{
    Content, Durability, LocalRow, Replica, Settings, Taken,
};
use dual_database::value::Value;
use tempfile::TempDir;

use crate::capture_oracle::visits;

pub struct Scene {
    _folder: TempDir,
    pub path: PathBuf,
    pub replica: Replica,
}

pub fn settings(path: impl Into<PathBuf>, tables: Vec<Table>) -> Settings {
    Settings {
        path: path.into(),
        busy: Duration::from_secs(5),
        tables: tables.into(),
        making: Making::default(),
        extensions: Vec::new(),
        aside: [].into(),
    }
}

impl Scene {
    pub async fn of(table: Table) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bot.db");
        let replica = Replica::open(settings(&path, vec![table])).await.unwrap();
        Scene { _folder: folder, path, replica }
    }

    pub async fn new() -> Scene {
        Scene::of(visits()).await
    }

    /// Does it in a transaction of its own.
    pub async fn go<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Content<'_>) -> Result<T> + Send + 'static,
    ) -> T {
        self.replica.write("test", Durability::Normal, work).await.unwrap()
    }

    pub async fn row(&self, key: i64) -> Option<LocalRow> {
        self.replica.read("test", move |content| content.row(&id(key))).await.unwrap()
    }

    pub async fn note(&self, key: i64) -> Option<String> {
        let row = self.row(key).await.filter(|row| row.tracked.version.live.value)?;
        match &row.tracked.version.columns[1].value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        }
    }

    pub async fn insert(&self, key: i64, text: &str) {
        let change = note(text);
        let stamp = now();
        self.go(move |content| content.change(&id(key), &change, stamp)).await;
    }

    pub fn outside(&self, sql: &str) {
        outside(&self.path, sql);
    }

    pub fn reopened(self) -> (TempDir, PathBuf) {
        let Scene { _folder: folder, path, replica } = self;
        drop(replica);
        (folder, path)
    }
}

/// A client of its own process.
pub fn outside(path: &std::path::Path, sql: &str) {
    let done = std::process::Command::new("python3")
        .args([
            "-c",
            "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], timeout=10)\n\
             c.executescript(sys.argv[2])\nc.commit()\nc.close()",
        ])
        .arg(path)
        .arg(sql)
        .status()
        .unwrap();
    assert!(done.success(), "{sql}");
}

pub fn id(key: i64) -> RowId {
    RowId::new(0, key)
}

pub fn now() -> Stamp {
    use std::sync::atomic::{AtomicI64, Ordering};
    static LAST: AtomicI64 = AtomicI64::new(0);
    let ms = dual_database::clock::now().as_millisecond();
    let last = LAST.fetch_max(ms, Ordering::SeqCst).max(ms);
    LAST.fetch_add(1, Ordering::SeqCst);
    Stamp::at(last, Writer::new(9).unwrap())
}

/// A visit with a note; everything else is as declared.
pub fn note(text: &str) -> Change {
    let note = Value::Text(text.into());
    Change::Insert(vec![Value::Null, note, Value::Bool(false), Value::Null])
}

pub fn set_note(text: &str) -> Change {
    Change::Update(vec![(1, Value::Text(text.into()))])
}

pub fn defaults() -> Defaults {
    Defaults::new(visits().defaults())
}

/// As PostgreSQL would have it.
pub fn foreign(key_note: &str, stamp: Stamp) -> Version {
    dual_database::merge::written(None, &note(key_note), stamp, Stamp::ZERO, &defaults())
}

/// Takes what PostgreSQL has, as a pull does.
pub fn pull(content: &Content<'_>, key: i64, there: &Version, surrogate: i64) -> Result<Taken> {
    let before = content.row(&id(key))?;
    let tracked = before.as_ref().map(|row| &row.tracked);
    let absorbed = Tracked::absorb(tracked, there, true, &defaults());
    content.take(&id(key), before.as_ref(), Some(there), &absorbed, Some(surrogate))
}

/// Python, with `path` and `other` given.
pub fn python(script: &str, path: &Path, other: &Path) {
    let head = "import os, shutil, sqlite3, sys\npath, other = sys.argv[1:3]\n";
    let done = Command::new("python3")
        .arg("-c")
        .arg(format!("{head}{script}"))
        .args([path, other])
        .status();
    assert!(done.unwrap().success(), "{script}");
}

/// What an outside program reads.
pub fn notes(path: &Path) -> Vec<(i64, String)> {
    let script = "import sqlite3, sys, json\nc = sqlite3.connect(sys.argv[1], timeout=10)\n\
         assert c.execute('PRAGMA integrity_check').fetchone()[0] == 'ok'\n\
         print(json.dumps(c.execute('SELECT visit_id, note FROM visits ORDER BY 1').fetchall()))";
    let done = Command::new("python3").args(["-c", script]).arg(path).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

pub fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

pub fn has(path: &Path, part: &str) -> bool {
    names(path).iter().any(|name| name.contains(part))
}

/// Everything so far is at PostgreSQL.
pub async fn settle(scene: &Scene) {
    scene
        .go(|content| {
            for (id, row) in content.pending(0, true)?.rows {
                let mut tracked = row.tracked.clone();
                tracked.acknowledge(&row.tracked.version);
                content.set_tracked(&id, &tracked)?;
            }
            let mut node = content.node()?;
            node.pushed = node.seq;
            node.installation = Some(7);
            content.set_node(&node)
        })
        .await;
}
