//! Rows that one side refuses are set aside, the rest goes on, and they arrive when they can.

use dual_database::Store;
use throwaway_postgres::shared;

use crate::engine_scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_postgresql_refuses_waits_and_leaves_when_the_rule_goes() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    scene.sql("ALTER TABLE accounts ADD CONSTRAINT positive CHECK (balance >= 0)");
    node.add(1, -1).await;
    node.add(2, 2).await;
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 1));
    assert_eq!(scene.one("SELECT string_agg(owner::text, ',') FROM accounts"), "2");
    let aside = node.look(|content| content.quarantine()).await;
    assert_eq!(
        (aside[0].id.key, aside[0].refused_by, aside[0].code.as_str()),
        (1, Store::Postgres, "23514")
    );
    assert!(aside[0].reason.contains("positive"), "{}", aside[0].reason);
    // It changes: it is tried again.
    node.set_note(1, "still bad").await;
    assert_eq!(node.sync().await.quarantined, 1);
    node.set_balance(1, 1).await;
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 0));
    scene.assert_equal(&node);
    // Two of them; the rule goes; one that leaves makes the others due.
    node.set_balance(1, -5).await;
    node.set_balance(2, -6).await;
    assert_eq!(node.sync().await.quarantined, 2);
    scene.sql("ALTER TABLE accounts DROP CONSTRAINT positive");
    node.set_note(1, "again").await;
    node.sync().await;
    assert_eq!(node.sync().await.quarantined, 0);
    scene.assert_equal(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_file_refuses_waits_and_is_asked_for_again() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    node.script("CREATE TRIGGER no BEFORE INSERT ON accounts WHEN new.balance < 0 BEGIN SELECT RAISE(ABORT, 'negative'); END");
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (1, -1), (2, 2)");
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 1));
    assert_eq!(node.one::<i64>("SELECT sum(owner) FROM accounts"), 2);
    let aside = node.look(|content| content.quarantine()).await;
    assert_eq!((aside[0].id.key, aside[0].refused_by), (1, Store::Sqlite));
    node.script("DROP TRIGGER no; UPDATE dual_quarantine SET retry = 0");
    assert_eq!(node.sync().await.quarantined, 0);
    scene.assert_equal(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_other_side_cannot_hold_is_set_aside_with_its_row() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    scene.sql(
        "INSERT INTO users (user_id, register_date) VALUES (1, 'infinity'), (2, '2024-01-01')",
    );
    node.script("INSERT INTO accounts (owner, balance) VALUES (3, 'not a number'), (4, 4)");
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 2));
    assert_eq!(node.one::<i64>("SELECT sum(user_id) FROM users"), 2);
    assert_eq!(scene.one("SELECT sum(owner) FROM accounts"), "4");
    let mut aside = node.look(|content| content.quarantine()).await;
    aside.sort_by_key(|entry| entry.id);
    let seen: Vec<_> = aside.iter().map(|e| (e.id.key, e.refused_by, e.code.as_str())).collect();
    assert_eq!(seen, [(1, Store::Sqlite, "unreadable"), (3, Store::Postgres, "unreadable")]);
    assert!(aside.iter().all(|entry| !entry.reason.contains("number")));
    scene.sql("UPDATE users SET register_date = '2024-02-02' WHERE user_id = 1");
    node.script("UPDATE accounts SET balance = 3 WHERE owner = 3");
    assert_eq!(node.sync().await.quarantined, 0);
    scene.assert_equal(&node);
}
