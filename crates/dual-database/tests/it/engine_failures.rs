//! PostgreSQL stops, is killed, swallows packets, hands out transaction ids again.

use std::path::PathBuf;
use std::sync::Arc;

use dual_database::Store;
use dual_database::sync::{Fault, Step, StepHook};
use rusqlite::Connection;
use throwaway_postgres::{Server, StopMode};

use crate::engine_scene::{Node, PATIENCE, Scene, until};

async fn arrives(scene: &Scene<'_>, node: &Node) {
    until("everything has arrived by itself", async || {
        node.shared.health.is_up(Store::Postgres) && scene.is_equal(node)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_by_itself_after_postgresql_was_away() {
    let server = Server::builder().start().unwrap();
    let scene = Scene::on(&server);
    let node = Node::start(&scene.database.url(), &scene.path("bot.db")).await;
    node.add(1, 1).await;
    node.sync.notify();
    until("it has arrived", async || {
        node.shared.health.is_up(Store::Postgres) && scene.is_equal(&node)
    })
    .await;
    for (round, mode) in
        [StopMode::Immediate, StopMode::Fast, StopMode::Immediate].into_iter().enumerate()
    {
        let owner = 10 * (round as i64 + 1);
        match round {
            2 => server.kill().unwrap(),
            _ => server.stop(mode).unwrap(),
        }
        node.add(owner, 1).await;
        node.set_balance(1, owner).await;
        node.script(&format!("INSERT INTO users (user_id) VALUES ({owner})"));
        node.sync.notify();
        until("it is noticed", async || !node.shared.health.is_up(Store::Postgres)).await;
        node.delete(owner).await;
        server.start().unwrap();
        arrives(&scene, &node).await;
        assert_eq!(scene.one("SELECT count(*) FROM accounts"), "1");
        assert_eq!(scene.one("SELECT balance FROM accounts"), owner.to_string());
        scene.sql(&format!("UPDATE users SET first_name = 'seen' WHERE user_id = {owner}"));
        arrives(&scene, &node).await;
    }
    node.sync.close(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_swallows_packets_is_noticed_in_time() {
    let server = Server::builder().start().unwrap();
    let scene = Scene::on(&server);
    let node = Node::start(&scene.database.url(), &scene.path("bot.db")).await;
    node.add(1, 1).await;
    arrives(&scene, &node).await;
    let backends = scene.sql("SELECT pid::text FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
    server.freeze().unwrap();
    for row in &backends {
        signal(row[0].as_deref().unwrap(), "-STOP");
    }
    node.add(2, 2).await;
    node.sync.notify();
    until("it is noticed", async || !node.shared.health.is_up(Store::Postgres)).await;
    for row in &backends {
        signal(row[0].as_deref().unwrap(), "-CONT");
    }
    server.thaw().unwrap();
    arrives(&scene, &node).await;
    node.sync.close(PATIENCE).await;
}

fn signal(pid: &str, signal: &str) {
    assert!(std::process::Command::new("kill").args([signal, pid]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn reused_transaction_ids_hide_nothing() {
    let server = Server::builder().fsync(true).start().unwrap();
    let scene = Scene::on(&server);
    let node = scene.node("bot.db").await;
    node.sync().await;
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (1, 1)");
    node.sync().await;
    scene.sql("CHECKPOINT");
    // Somebody's transaction fails, and its id goes with the crash.
    let (client, connection) =
        tokio_postgres::connect(&scene.database.url(), tokio_postgres::NoTls).await.unwrap();
    let driving = tokio::spawn(connection);
    for _ in 0..3 {
        client
            .batch_execute(
                "BEGIN; INSERT INTO accounts (owner, balance) VALUES (1000, 1); ROLLBACK",
            )
            .await
            .unwrap();
    }
    node.sync().await;
    server.stop(StopMode::Immediate).unwrap();
    server.start().unwrap();
    drop(client);
    let _ = driving.await;
    // Other clients come back first.
    for owner in 2..5 {
        scene.sql(&format!("INSERT INTO accounts (owner, balance) VALUES ({owner}, 0)"));
    }
    node.try_sync().await.ok();
    node.sync().await;
    scene.assert_equal(&node);
    assert_eq!(node.one::<i64>("SELECT count(*) FROM accounts"), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_file_is_waited_for() {
    let scene = Scene::on(throwaway_postgres::shared().unwrap());
    let node = Node::start(&scene.database.url(), &scene.path("bot.db")).await;
    node.add(1, 1).await;
    arrives(&scene, &node).await;
    node.script("BEGIN IMMEDIATE");
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (2, 2)");
    until("the lock is noticed", async || !node.shared.health.is_up(Store::Sqlite)).await;
    node.script("ROLLBACK");
    arrives(&scene, &node).await;
    until("the file counts as up", async || node.shared.health.is_up(Store::Sqlite)).await;
    node.sync.close(PATIENCE).await;
}

/// Somebody who writes into the file during every round.
#[derive(Debug)]
struct Writer(PathBuf);

impl StepHook for Writer {
    fn fault(&self, step: Step) -> Fault {
        if step == Step::Poll {
            let program = Connection::open(&self.0).unwrap();
            program.busy_timeout(PATIENCE).unwrap();
            program.execute_batch("UPDATE accounts SET balance = balance + 1").unwrap();
        }
        Fault::None
    }
}

/// (`torture` seed 12: PostgreSQL was back, and counted as down as long as anybody wrote, because
/// everybody who wrote had to write into the file.)
#[tokio::test(flavor = "multi_thread")]
async fn postgresql_is_up_again_though_no_round_leaves_nothing_pending() {
    let server = Server::builder().start().unwrap();
    let scene = Scene::on(&server);
    let path = scene.path("bot.db");
    let node = Node::start_with(&scene.database.url(), &path, |shared| {
        shared.hook = Some(Arc::new(Writer(path.clone())));
    })
    .await;
    node.add(1, 1).await;
    server.stop(StopMode::Fast).unwrap();
    node.sync.notify();
    until("it is noticed", async || !node.shared.health.is_up(Store::Postgres)).await;
    server.start().unwrap();
    until("it counts as up", async || node.shared.health.is_up(Store::Postgres)).await;
}
