//! Another program has written into the tables `dual_…` of the file: whatever stands in them is read as
//! foreign bytes. Everything goes on, or there is a typed error with a way out that is tried here;
//! nobody's row is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dual_database::merge::Change;
use dual_database::schema::{Making, RowId};
use dual_database::store::postgres::Settings;
use dual_database::store::sqlite::replica::{Durability, Replica, Settings as ReplicaSettings};
use dual_database::sync::{Preference, Shared, Synchroniser};
use dual_database::uninstall::of_file;
use dual_database::value::Value;
use dual_database::{Error, Kind, Result, Store, verify};
use rusqlite::Connection;
use throwaway_postgres::shared;

use crate::engine_scene::{Scene, limits, tables};

const PATIENCE: Duration = Duration::from_secs(20);

/// What somebody may put where something of ours stands.
const BYTES: [&str; 8] = [
    "NULL",
    "'somebody'",
    "'{\"state\":'",
    "CAST(x'ff00fe' AS TEXT)",
    "x'00ff'",
    "-9223372036854775808",
    "9223372036854775807",
    "1e300",
];

/// A process that does everything, and what it meets first.
async fn work(url: &str, path: &Path, key: i64) -> Result<()> {
    let sqlite = ReplicaSettings {
        path: path.to_owned(),
        busy: Duration::from_secs(5),
        tables: tables(),
        making: Making::default(),
        extensions: Vec::new(),
        aside: [].into(),
    };
    let shared = Shared::new(Settings::parse(url)?, limits(), sqlite.clone());
    shared.set_replica(Arc::new(Replica::open(sqlite).await?));
    let shared = Arc::new(shared);
    let replica = shared.replica().unwrap();
    let sync = Synchroniser::on_demand(shared.clone());
    replica
        .read("test", |content| {
            content.whole()?;
            content.node()?;
            content.pending_count()?;
            content.quarantined()?;
            content.unreviewed_conflicts()?;
            content.damage()?;
            content.failing()?;
            content.scrub()?;
            content.conflicts(100)?;
            content.quarantine()?;
            Ok(())
        })
        .await?;
    let change = |change: Change| {
        let (shared, replica) = (shared.clone(), replica.clone());
        async move {
            let id = RowId::new(1, key);
            let work = move |content: &dual_database::store::sqlite::replica::Content<'_>| {
                let row = content.row(&id)?;
                let above = row.map_or_else(Default::default, |row| row.tracked.replaces(&change));
                content.change(&id, &change, shared.clock().propose(above))
            };
            replica.write("test", Durability::Full, work).await
        }
    };
    let exchange = || async { sync.sync(PATIENCE).await.map(|_| ()) };
    change(Change::Insert(vec![Value::Int(1), Value::Null])).await?;
    exchange().await?;
    change(Change::Update(vec![(0, Value::Int(2))])).await?;
    exchange().await?;
    change(Change::Delete).await?;
    exchange().await?;
    if sync.sync(PATIENCE).await?.held.is_some() {
        sync.repair(Preference::Newest).await?;
        exchange().await?;
    }
    shared.pool.prepare().await?;
    let found = Box::pin(verify::compare(&shared.pool, &replica, exchange)).await?;
    let differs = || Error::new(Kind::Internal, "test", format!("{found:?}"));
    found.equal.then_some(()).ok_or_else(differs)
}

/// The damages: what they are called, and what does them.
fn damages(template: &Path) -> Vec<(String, String)> {
    let file = Connection::open(template).unwrap();
    let mut names = file
        .prepare(
            "SELECT type, name FROM sqlite_schema WHERE name LIKE 'dual\\_%' ESCAPE '\\' \
             AND type IN ('table', 'index') AND name NOT LIKE '%users%' ORDER BY 1 DESC, 2",
        )
        .unwrap();
    let names: Vec<(String, String)> = names
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    let mut damages = Vec::new();
    for (kind, name) in names {
        let mut add = |what: &str, sql: String| damages.push((format!("{name}: {what}"), sql));
        add("dropped", format!("DROP {kind} {name}"));
        if kind == "index" {
            continue;
        }
        add("empty", format!("DELETE FROM {name}"));
        add(
            "a view",
            format!("ALTER TABLE {name} RENAME TO kept; CREATE VIEW {name} AS SELECT * FROM kept"),
        );
        add("another table", format!("DROP TABLE {name}; CREATE TABLE {name} (a, b)"));
        let mut columns = file.prepare("SELECT name FROM pragma_table_info(?1)").unwrap();
        let columns: Vec<String> = columns
            .query_map([&name], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        let list = columns.join(", ");
        for (at, column) in columns.iter().enumerate() {
            let rest: Vec<&str> =
                columns.iter().filter(|one| *one != column).map(String::as_str).collect();
            if !rest.is_empty() {
                let rest = rest.join(", ");
                let sql = format!(
                    "CREATE TABLE kept AS SELECT {rest} FROM {name}; DROP TABLE {name}; \
                     ALTER TABLE kept RENAME TO {name}"
                );
                add(&format!("without {column}"), sql);
            }
            // Not every value in every place: each place has two, each value many places.
            for turn in 0..2 {
                let bytes = BYTES[(at + turn * 3) % BYTES.len()];
                // Without the constraints, as a program that makes tables of its own would.
                let sql = format!(
                    "CREATE TABLE kept AS SELECT {list} FROM {name}; DROP TABLE {name}; \
                     ALTER TABLE kept RENAME TO {name}; \
                     INSERT INTO {name} ({column}) SELECT NULL WHERE NOT EXISTS (SELECT 1 FROM {name}); \
                     UPDATE {name} SET {column} = {bytes}"
                );
                add(&format!("{column} = {bytes}"), sql);
            }
        }
    }
    damages
}

/// What the error may be: about the file, with a way out.
fn is_told(error: &Error) -> bool {
    let is_about_it = matches!(error.kind(), Kind::Schema(Store::Sqlite));
    is_about_it && error.hint().is_some() && !error.message().contains("panick")
}

/// How many of a portion of the damages ended in which way, and those that did not as they should.
type Outcome = (BTreeMap<&'static str, u32>, Vec<String>);

/// The damages whose number leaves `part` when it is divided by [`PARTS`].
async fn portion(part: usize) -> Outcome {
    let scene = Scene::on(shared().unwrap());
    let template = scene.path("template.db");
    {
        let node = scene.node("template.db").await;
        for key in 1..=3 {
            node.add(key, key).await;
        }
        node.sync().await;
        node.script("PRAGMA wal_checkpoint(TRUNCATE)");
    }
    let url = scene.database.url();
    let rows = scene.rows(&tables()[1]);
    let (mut ends, mut bad, mut tried) = (BTreeMap::new(), Vec::new(), BTreeSet::new());
    let all = damages(&template).into_iter().enumerate();
    for (at, (what, sql)) in all.filter(|(at, _)| at % PARTS == part) {
        // What had the last one open may still be at it.
        let path = scene.path(&format!("bot-{at}.db"));
        std::fs::copy(&template, &path).unwrap();
        let sql = format!("PRAGMA legacy_alter_table = ON; BEGIN; {sql}; COMMIT");
        if Connection::open(&path).unwrap().execute_batch(&sql).is_err() {
            *ends.entry("not to be done").or_default() += 1;
            continue;
        }
        let key = 1_000 + i64::try_from(at).unwrap();
        match work(&url, &path, key).await {
            Ok(()) => *ends.entry("went on").or_default() += 1,
            Err(error) => {
                *ends.entry("told").or_default() += 1;
                if !is_told(&error) {
                    bad.push(format!("{what}: {error:?}"));
                }
                // It is the same for all; once for each thing that is told.
                if !tried.insert(error.message().replace(&path.display().to_string(), "")) {
                    continue;
                }
                let anew = async {
                    of_file(&path, Duration::from_secs(5)).await?;
                    work(&url, &path, key).await
                };
                if let Err(error) = anew.await {
                    bad.push(format!("{what}: no way out: {error:?}"));
                }
            }
        }
        let now = scene.rows(&tables()[1]);
        if rows.iter().any(|(key, row)| now.get(key) != Some(row)) {
            bad.push(format!("{what}: rows are lost: {now:?}"));
            break;
        }
    }
    (ends, bad)
}

/// Each has a database of its own; most of the time is spent waiting.
const PARTS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_stands_in_our_tables_there_is_a_way_out() {
    let parts = (0..PARTS).map(|part| tokio::spawn(portion(part)));
    let (mut ends, mut bad) = (BTreeMap::<&str, u32>::new(), Vec::new());
    for part in parts.collect::<Vec<_>>() {
        let (found, wrong) = part.await.unwrap();
        found.into_iter().for_each(|(end, count)| *ends.entry(end).or_default() += count);
        bad.extend(wrong);
    }
    assert!(bad.is_empty(), "{} of {ends:?}:\n{}", bad.len(), bad.join("\n"));
    // So that it is known that something was tried.
    assert!(ends["told"] > 100 && ends["went on"] > 50, "{ends:?}");
}

/// What waited in the file when its tables were made anew is a difference like any other.
#[tokio::test(flavor = "multi_thread")]
async fn what_waited_is_compared_and_logged_when_the_tables_are_made_anew() {
    let scene = Scene::on(shared().unwrap());
    {
        let node = scene.node("bot.db").await;
        for key in 1..=5 {
            node.add(key, key).await;
        }
        node.sync().await;
        node.set_balance(1, 10).await;
        node.set_note(2, "here").await;
        node.delete(3).await;
        node.add(6, 6).await;
        node.script("DELETE FROM dual_node");
        assert_eq!(node.try_sync().await.unwrap_err().kind(), Kind::Schema(Store::Sqlite));
    }
    scene.sql("DELETE FROM accounts WHERE owner = 4");
    of_file(&scene.path("bot.db"), Duration::from_secs(5)).await.unwrap();
    let node = scene.node("bot.db").await;
    node.sync().await;
    scene.assert_equal(&node);
    let rows = "SELECT string_agg(concat_ws('=', owner, balance, note), ',' ORDER BY owner) \
                FROM accounts";
    assert_eq!(scene.one(rows), "1=1,2=2=here,3=3,5=5,6=6");
    let losers = node.losers().await;
    assert!(losers.contains(&Some("10".into())), "{losers:?}");
}
