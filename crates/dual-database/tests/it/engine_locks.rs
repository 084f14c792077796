//! Locks that other sessions hold at PostgreSQL for as long as they like.

use std::time::Duration;

use dual_database::Store;
use dual_database::store::postgres::{Limits, Session, Settings};
use throwaway_postgres::shared;

use crate::engine_scene::{Node, Scene, until};

/// Somebody with psql, who leaves his transaction open.
async fn psql(scene: &Scene<'_>, sql: &str) -> Session {
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let session = Session::open(&settings, &Limits::default()).await.unwrap();
    session.batch("test", sql).await.unwrap();
    session
}

async fn all_arrives(scene: &Scene<'_>, node: &Node) {
    until("it is tried again and arrives", async || node.sync().await.quarantined == 0).await;
    scene.assert_equal(node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_row_waits_alone() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    for owner in 1..=5 {
        node.add(owner, owner).await;
    }
    node.sync().await;
    let other = psql(&scene, "BEGIN; UPDATE accounts SET note = 'psql' WHERE owner = 2").await;
    for owner in 1..=3 {
        node.set_balance(owner, 100).await;
    }
    node.add(6, 100).await;
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined, exchange.caught_up), (0, 1, true));
    assert_eq!(scene.one("SELECT count(*) FROM accounts WHERE balance = 100"), "3");
    let aside = node.look(|content| content.quarantine()).await;
    assert_eq!((aside[0].id.key.number().unwrap(), aside[0].refused_by), (2, Store::Postgres));
    assert_eq!(
        (aside[0].code.as_str(), aside[0].reason.as_str()),
        ("55P03", "locked by another session")
    );
    assert!(aside[0].retry_ms - aside[0].since_ms <= 15_000);
    // It changes once more, and others too.
    node.set_balance(2, 200).await;
    node.set_balance(4, 200).await;
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 1));
    assert_eq!(scene.one("SELECT balance FROM accounts WHERE owner = 4"), "200");
    other.batch("test", "COMMIT").await.unwrap();
    all_arrives(&scene, &node).await;
    assert_eq!(scene.one("SELECT balance || note FROM accounts WHERE owner = 2"), "200psql");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_somebody_is_inserting_waits_alone() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    for end in ["ROLLBACK", "COMMIT"] {
        let other = psql(
            &scene,
            "BEGIN; INSERT INTO accounts (owner, balance) VALUES (7, -7) ON CONFLICT DO NOTHING",
        )
        .await;
        for owner in 1..=40 {
            if node.rows(&node.shared.tables[1]).contains_key(&owner) {
                node.set_balance(owner, 1).await;
            } else {
                node.add(owner, owner).await;
            }
        }
        let exchange = node.sync().await;
        let aside = u64::from(end == "ROLLBACK");
        assert_eq!((exchange.pending, exchange.quarantined), (0, aside));
        assert_eq!(scene.one("SELECT count(*) FROM accounts WHERE owner <> 7"), "39");
        other.batch("test", end).await.unwrap();
        all_arrives(&scene, &node).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_keeps_everything_pending_and_postgresql_up() {
    let scene = Scene::on(shared().unwrap());
    let node = Node::open(&scene.database.url(), &scene.path("bot.db"), |shared| {
        shared.limits.lock = Duration::from_millis(300);
    })
    .await;
    node.add(1, 1).await;
    node.sync().await;
    let other = psql(&scene, "BEGIN; LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE").await;
    node.set_balance(1, 2).await;
    node.try_sync().await.unwrap_err();
    assert!(node.shared.health.is_up(Store::Postgres));
    assert!(node.shared.health.recent().iter().any(|error| error.message.contains("55P03")));
    assert!(node.look(|content| content.is_pending()).await);
    other.batch("test", "COMMIT").await.unwrap();
    assert_eq!(node.sync().await.pending, 0);
    scene.assert_equal(&node);
}
