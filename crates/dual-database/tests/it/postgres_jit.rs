//! What a session that begins has the server compile: nothing.
//!
//! A plan that must not read a table whole costs 1e10 for each table that it reads whole all the
//! same, which is beyond any bound from which on PostgreSQL before 18 compiles it, for 200 ms.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use dual_database::DualDatabase;
use dual_database::database::RepairPreference;
use dual_database::users::{UserFilter, UserPatch};
use throwaway_postgres::Server;

use super::api_scene::{Scene, named};

const MANY: &str = "INSERT INTO users (user_id, first_name, status) \
     SELECT n, 'n' || n, 'registered' FROM generate_series(1, 30000) AS n";

/// A server that tells the plan of every statement it has run, those within functions too, and
/// who has asked; or none, if it compiles nothing anyway.
#[allow(clippy::print_stdout, reason = "whoever runs it has to know what was not looked at")]
fn telling(compiles_from: Option<&str>) -> Option<Server> {
    let mut server = Server::builder()
        .setting("session_preload_libraries", "auto_explain")
        .setting("auto_explain.log_min_duration", "0")
        .setting("auto_explain.log_nested_statements", "on")
        .setting("log_line_prefix", "%a ")
        // A table that was never analysed is the worst.
        .setting("autovacuum", "off");
    if let Some(cost) = compiles_from {
        server = server.setting("jit_above_cost", cost);
    }
    let server = server.start().unwrap();
    let database = server.database("look").unwrap();
    let found = database.execute("SELECT current_setting('jit') || ' ' || pg_jit_available()");
    let found = found.unwrap()[0][0].clone();
    drop(database);
    if found.as_deref() == Some("on true") {
        return Some(server);
    }
    println!("not looked at: this server compiles nothing ({found:?})");
    None
}

/// Whatever is done with both stores, each time by sessions that are new.
async fn everything(scene: &Scene<'_>) {
    once(scene, async |_| ()).await;
    scene.postgres(MANY);
    // A new file gets them by ranges.
    std::fs::remove_file(scene.file()).unwrap();
    once(scene, async |db| db.sync_now(Duration::from_secs(60)).await.unwrap()).await;
    once(scene, async |db| db.verify().await.unwrap()).await;
    once(scene, async |db| db.get_user(1).await.unwrap()).await;
    once(scene, async |db| db.add_user(&named(50_000, "a")).await.unwrap()).await;
    once(scene, async |db| db.update_user(7, &UserPatch::new().status("issued")).await.unwrap())
        .await;
    once(scene, async |db| db.upsert_user(&named(7, "b")).await.unwrap()).await;
    once(scene, async |db| db.delete_user(20).await.unwrap()).await;
    once(scene, async |db| db.get_all_users(Some(10)).await.unwrap()).await;
    once(scene, async |db| db.count_users(&UserFilter::new()).await.unwrap()).await;
    let work = async |tx: dual_database::database::Transaction| {
        tx.update_user(8, &UserPatch::new().status("redeemed")).await?;
        tx.delete_user(9).await
    };
    once(scene, async |db| db.transaction(work).await.unwrap()).await;
    once(scene, async |db| db.status().await.unwrap()).await;
    once(scene, async |db| db.conflicts(10).await.unwrap()).await;
    once(scene, async |db| db.repair(RepairPreference::Newest).await.unwrap()).await;
    // Another program's writes, each by a connection of its own, and their way to the file.
    scene.postgres("INSERT INTO users (user_id) VALUES (60000)");
    scene.postgres("UPDATE users SET source = 'psql' WHERE user_id = 11");
    scene.postgres("UPDATE users SET user_id = -user_id WHERE user_id = 12");
    scene.postgres("DELETE FROM users WHERE user_id = 13");
    once(scene, async |db| db.sync_now(Duration::from_secs(60)).await.unwrap()).await;
    // The file's own, and their way to the server.
    let outside = "UPDATE users SET source = 'file' WHERE user_id < 500";
    scene.outsider().execute(outside, []).unwrap();
    once(scene, async |db| db.sync_now(Duration::from_secs(60)).await.unwrap()).await;
}

/// Boxed: unoptimised, so many of them in one function would not fit on a stack.
fn once<'a, T>(
    scene: &'a Scene<'_>,
    work: impl AsyncFnOnce(&DualDatabase) -> T + 'a,
) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
    Box::pin(async move {
        let builder = scene.builder().background(false).timeout(Duration::from_secs(20));
        let db = builder.open().await.unwrap();
        work(&db).await;
        db.close(Duration::from_secs(20)).await;
    })
}

/// The statements for which something was compiled, each once, that somebody has asked who is
/// `by`.
fn compiled<'log>(log: &'log str, by: &str) -> BTreeSet<&'log str> {
    let mut found = BTreeSet::new();
    let (mut theirs, mut statement) = (false, 0..0);
    let mut at = 0;
    for line in log.split_inclusive('\n') {
        let is_plan = line.trim() == "JIT:";
        if line.contains(" LOG:  duration: ") {
            theirs = line.starts_with(by);
        } else if line.contains("Query Text: ") {
            statement = at..at;
        } else if line.contains("  (cost=") && statement.is_empty() {
            statement.end = at;
        } else if is_plan && theirs {
            found.insert(log[statement.clone()].trim());
        }
        at += line.len();
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_compiled_on_the_defaults() {
    let Some(server) = telling(None) else { return };
    let scene = Scene::on(&server, "jit");
    everything(&scene).await;
    // As an older version of this program has installed it.
    scene.postgres("ALTER FUNCTION dual.header(uuid, text[]) RESET jit");
    once(&scene, async |db| db.get_user(1).await.unwrap()).await;
    once(&scene, async |db| db.add_user(&named(50_001, "a")).await.unwrap()).await;
    let log = server.log();
    assert!(log.contains("FROM dual.installation AS i"), "what functions run is not told");
    assert_eq!(compiled(&log, ""), BTreeSet::new());
}

/// However large the tables are: what reads or writes them is never compiled, whatever it costs.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_reads_the_tables_is_compiled_at_any_cost() {
    let Some(server) = telling(Some("100")) else { return };
    everything(&Scene::on(&server, "jit")).await;
    let log = server.log();
    assert!(!compiled(&log, "").is_empty(), "of nobody is anything compiled");
    assert_eq!(compiled(&log, "dual-database"), BTreeSet::new());
}
