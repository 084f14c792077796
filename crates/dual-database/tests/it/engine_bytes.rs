//! A database of SQL_ASCII: its texts are whatever bytes somebody has written. What is no UTF-8 is set
//! aside, and the rest goes on.

use dual_database::Store;
use dual_database::init::{Joining, plan};
use dual_database::sync::Preference;
use dual_database::verify::compare;
use throwaway_postgres::{Server, shared};

use crate::adoption::stores;
use crate::engine_large::pool;
use crate::engine_scene::{Node, PATIENCE, Scene};

/// The database, made anew in that encoding.
pub fn in_sql_ascii(server: &Server, database: &str) {
    let made = "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'";
    for sql in
        [format!("DROP DATABASE \"{database}\""), format!("CREATE DATABASE \"{database}\" {made}")]
    {
        server.execute("postgres", &sql).unwrap();
    }
}

/// The keys in quarantine. Each is there for what its note holds.
async fn aside(node: &Node) -> Vec<i64> {
    let mut aside = node.look(|content| content.quarantine()).await;
    aside.sort_by_key(|entry| entry.id.clone());
    for entry in &aside {
        assert_eq!((entry.refused_by, entry.code.as_str()), (Store::Sqlite, "unreadable"));
        let reason = "the column `note` holds what SQLite cannot, such as bytes that are no UTF-8";
        assert!(entry.reason.contains(reason), "{}", entry.reason);
    }
    aside.iter().map(|entry| entry.id.key.number().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_utf8_are_set_aside_and_hold_up_nothing() {
    let scene = Scene::on(shared().unwrap());
    in_sql_ascii(scene.database.server(), scene.database.name());
    let node = scene.node("bot.db").await;
    node.add(1, 1).await;
    node.sync().await;
    scene.sql(
        "INSERT INTO accounts (owner, note) VALUES (2, 'до'), (3, E'\\xff'), (4, 'после'), \
         (5, E'\\xc0\\x80'), (6, E'\\xed\\xa0\\x80'), (7, E'\\xf4\\x90\\x80\\x80'), \
         (8, E'cut short: \\xd0'), (9, E'\\xf4\\x8f\\xbf\\xbf line\\n'); \
         UPDATE accounts SET note = E'a\\xff' WHERE owner = 1",
    );
    let bad = [1, 3, 5, 6, 7, 8];
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined, exchange.caught_up), (0, 6, true));
    assert_eq!(aside(&node).await, bad);
    let notes =
        "SELECT group_concat(owner || note, '/') FROM (SELECT * FROM accounts ORDER BY owner)";
    assert_eq!(node.one::<String>(notes), "2до/4после/9\u{10ffff} line\n");
    // What comes later goes over, in both directions; and what the file changes beside it.
    scene.sql("INSERT INTO accounts (owner, note) VALUES (10, 'позже')");
    node.set_balance(1, 50).await;
    node.add(11, 11).await;
    node.sync().await;
    assert_eq!(node.one::<String>("SELECT note FROM accounts WHERE owner = 10"), "позже");
    assert_eq!(scene.one("SELECT balance FROM accounts WHERE owner = 11"), "11");
    assert_eq!(scene.one("SELECT balance FROM accounts WHERE owner = 1"), "50");
    assert_eq!(
        scene.one("SELECT encode(note::bytea, 'hex') FROM accounts WHERE owner = 1"),
        "61ff"
    );
    // A comparison of both sides passes by them, and so do those that others ask for.
    scene.sql("DELETE FROM dual.token");
    assert_eq!(node.sync().await.quarantined, 6);
    let pool = pool(&scene).await;
    let exchange = || async { node.sync.sync(PATIENCE).await.map(|_| ()) };
    let found = compare(&pool, &node.replica(), exchange).await.unwrap();
    let accounts = &found.tables[1];
    assert_eq!((found.equal, accounts.different, accounts.quarantined), (false, 0, 6));
    let planned = plan(&stores(&scene, "bot.db"), Joining::default()).await.unwrap();
    let rows = planned.tables[1].rows.clone().unwrap();
    assert_eq!((rows.only_postgres, rows.different), (5, 1));
    for prefer in [Preference::Newest, Preference::Postgres] {
        node.sync.repair(prefer).await.unwrap();
        node.sync().await;
        assert_eq!(aside(&node).await, bad, "{prefer:?}");
    }
    // Mended, they arrive.
    scene.sql("UPDATE accounts SET note = 'mended' WHERE owner IN (1, 3, 5, 6, 7, 8)");
    assert_eq!(node.sync().await.quarantined, 0);
    let found = compare(&pool, &node.replica(), exchange).await.unwrap();
    assert!(found.equal && scene.is_equal(&node));
    assert!(scene.conflicts().is_empty());
}
