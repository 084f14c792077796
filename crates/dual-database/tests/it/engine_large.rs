//! Rows that are large: a text that is too long is set aside, and large ones go over in parts.

use dual_database::Store;
use dual_database::store::postgres::Settings;
use dual_database::store::postgres::primary::Pool;
use dual_database::sync::Preference;
use dual_database::value::{LONGEST, PORTION};
use dual_database::verify::compare;
use throwaway_postgres::shared;

use crate::engine_scene::{Node, PATIENCE, Scene, limits, tables};
use dual_database::schema::Key;

/// A text of so many bytes, as SQLite makes it.
fn here(bytes: usize) -> String {
    format!("replace(hex(zeroblob({})), '00', 'x')", bytes)
}

/// As PostgreSQL makes it.
fn there(bytes: usize) -> String {
    format!("repeat('x', {bytes})")
}

/// Who is in quarantine: key, who refuses it; each with what can be done.
async fn aside(node: &Node) -> Vec<(i64, Store)> {
    let mut aside = node.look(|content| content.quarantine()).await;
    aside.sort_by_key(|entry| entry.id.clone());
    for entry in &aside {
        assert_eq!(entry.code, "unreadable");
        assert!(entry.reason.contains("`note`"), "{}", entry.reason);
        assert!(entry.reason.contains("longer than 16 MB: shorten it"), "{}", entry.reason);
    }
    aside.iter().map(|entry| (entry.id.key.number().unwrap(), entry.refused_by)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_too_long_is_set_aside_and_holds_up_nothing() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.add(5, 5).await;
    node.add(6, 6).await;
    node.sync().await;
    scene.sql(&format!(
        "INSERT INTO accounts (owner, note) VALUES (1, {}), (2, {}); \
         UPDATE accounts SET note = {0} WHERE owner = 5",
        there(LONGEST + 1),
        there(LONGEST),
    ));
    node.script(&format!(
        "INSERT INTO accounts (owner, note) VALUES (3, {}), (4, {}); \
         UPDATE accounts SET balance = 50 WHERE owner = 5; \
         UPDATE accounts SET note = {0} WHERE owner = 6",
        here(LONGEST + 1),
        here(LONGEST),
    ));
    scene.sql("UPDATE accounts SET balance = 60 WHERE owner = 6");
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined, exchange.caught_up), (0, 4, true));
    use Store::{Postgres, Sqlite};
    assert_eq!(aside(&node).await, [(1, Sqlite), (3, Postgres), (5, Sqlite), (6, Postgres)]);
    let list = "SELECT string_agg(owner || ':' || coalesce(length(note), 0), ' ' ORDER BY owner)";
    assert_eq!(
        scene.one(&format!("{list} FROM accounts")),
        "1:16777217 2:16777216 4:16777216 5:16777217 6:0"
    );
    // What was changed beside it is there, and the text is as it was.
    assert_eq!(scene.one("SELECT balance FROM accounts WHERE owner = 5"), "50");
    assert_eq!(node.one::<i64>("SELECT balance FROM accounts WHERE owner = 6"), 60);
    assert_eq!(node.one::<i64>("SELECT length(note) FROM accounts WHERE owner = 6"), 16_777_217);
    // What came with them went over, and what comes later does.
    assert_eq!(node.one::<i64>("SELECT length(note) FROM accounts WHERE owner = 2"), 16_777_216);
    node.script("INSERT INTO accounts (owner, balance) VALUES (7, 7)");
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (8, 8)");
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 4));
    assert_eq!(scene.one("SELECT balance FROM accounts WHERE owner = 7"), "7");
    assert_eq!(node.one::<i64>("SELECT balance FROM accounts WHERE owner = 8"), 8);
    // A comparison of both sides carries no more.
    scene.sql("DELETE FROM dual.token");
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 4));
    // Shortened, they arrive.
    scene.sql("UPDATE accounts SET note = 'short' WHERE owner IN (1, 5)");
    node.script("UPDATE accounts SET note = 'short' WHERE owner IN (3, 6)");
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 0));
    assert!(scene.is_equal(&node));
    assert!(scene.conflicts().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_are_large_together_go_over_in_parts() {
    const EACH: usize = 6 << 20;
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    scene.sql(&format!(
        "INSERT INTO accounts (owner, note) SELECT n, {} FROM generate_series(1, 5) AS n",
        there(EACH)
    ));
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 0));
    assert!(scene.is_equal(&node));
    node.script(&format!(
        "INSERT INTO accounts (owner, note) SELECT owner + 5, {} FROM accounts",
        here(EACH)
    ));
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 0));
    assert!(scene.is_equal(&node));

    // A part ends with the row that makes it full.
    let full = i64::try_from(PORTION.div_ceil(EACH)).unwrap();
    let pool = pool(&scene).await;
    let session = pool.get().await.unwrap();
    let file = node.state().await.file;
    let range = session.primary(file).unwrap().range(1, None, 5_000).await.unwrap();
    let keys: Vec<i64> = range.rows.iter().map(|row| row.id.key.number().unwrap()).collect();
    assert_eq!((keys, range.end), ((1..=full).collect(), Some(full.into())));
    let range = session.primary(file).unwrap().range(1, Some(&8.into()), 5_000).await.unwrap();
    assert_eq!((range.rows.len(), range.end), (2, None));
    let read = |after: Option<i64>| {
        let after = after.map(Key::from);
        node.look(move |content| content.range(1, after.as_ref(), None, 5_000))
    };
    let (rows, end) = read(None).await;
    let keys: Vec<i64> = rows.iter().map(|(id, _)| id.key.number().unwrap()).collect();
    assert_eq!((keys, end), ((1..=full).collect(), Some(full.into())));
    let (rows, end) = read(Some(8)).await;
    assert_eq!((rows.len(), end), (2, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn comparing_and_repairing_pass_by_a_text_that_is_too_long() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    const HUGE: usize = 300 << 20;
    scene.sql(&format!("INSERT INTO accounts (owner, note) VALUES (1, {}), (2, 'b')", there(HUGE)));
    node.script(&format!("INSERT INTO accounts (owner, note) VALUES (3, {})", here(LONGEST + 1)));
    let pool = pool(&scene).await;
    let exchange = || async { node.sync.sync(PATIENCE).await.map(|_| ()) };
    let found = compare(&pool, &node.replica(), exchange).await.unwrap();
    let accounts = &found.tables[1];
    assert_eq!((found.equal, accounts.different, accounts.quarantined), (false, 0, 2));
    for prefer in [Preference::Newest, Preference::Postgres, Preference::Sqlite] {
        node.sync.repair(prefer).await.unwrap();
        node.sync().await;
        let there = [(1, Store::Sqlite), (3, Store::Postgres)];
        assert_eq!(aside(&node).await, there, "{prefer:?}");
        assert_eq!(scene.one("SELECT length(note) FROM accounts WHERE owner = 1"), "314572800");
        assert_eq!(
            node.one::<i64>("SELECT length(note) FROM accounts WHERE owner = 3"),
            16_777_217
        );
    }
}

pub async fn pool(scene: &Scene<'_>) -> Pool {
    let url = Settings::parse(&scene.database.url()).unwrap();
    let pool = Pool::new(url, limits(), tables(), 2);
    pool.prepare().await.unwrap();
    pool
}
