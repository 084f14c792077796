//! Rows go both ways, whoever writes.

use dual_database::merge::Change;
use dual_database::protocol::Follow;
use dual_database::sync::Exchange;
use dual_database::value::Value;
use throwaway_postgres::shared;

use crate::engine_scene::{Node, PATIENCE, Scene, later, until};

const DONE: Exchange = Exchange { pending: 0, quarantined: 0, caught_up: true, held: None };

#[tokio::test(flavor = "multi_thread")]
async fn empty_sides_become_one_and_every_kind_of_write_crosses() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    assert_eq!(node.sync().await, DONE);

    scene.sql("INSERT INTO users (user_id, first_name, register_date) VALUES (1, 'Пример', '2024-05-06 07:08:09.123456'), (2, 'b', NULL)");
    node.script("INSERT INTO users (user_id, first_name, profile_completed) VALUES (3, 'c', 1)");
    node.add(10, 100).await;
    assert_eq!(node.sync().await, DONE);
    scene.assert_equal(&node);
    assert_eq!(scene.rows(&node.shared.tables[0]).len(), 3);
    // PostgreSQL has numbered what the file had numbered for itself.
    assert_eq!(node.one::<i64>("SELECT count(*) FROM accounts WHERE id > 0"), 1);

    scene.sql("UPDATE users SET phone_number = '+7' WHERE user_id = 3");
    node.script("UPDATE users SET phone_number = '+8' WHERE user_id = 1; DELETE FROM users WHERE user_id = 2");
    node.set_note(10, "noted").await;
    assert_eq!(node.sync().await, DONE);
    scene.assert_equal(&node);

    scene.sql("TRUNCATE accounts");
    node.script("INSERT OR REPLACE INTO users (user_id, first_name) VALUES (3, 'replaced')");
    assert_eq!(node.sync().await, DONE);
    scene.assert_equal(&node);
    assert_eq!(node.one::<i64>("SELECT count(*) FROM accounts"), 0);
    // The old life's telephone does not come back.
    assert_eq!(scene.one("SELECT phone_number FROM users WHERE user_id = 3"), "");
    assert_eq!(scene.conflicts(), Vec::<Vec<_>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_equal_is_not_written_again() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.add(1, 1).await;
    node.sync().await;
    scene.sql("INSERT INTO users (user_id) SELECT generate_series(1, 5000)");
    node.sync().await;
    let before = scene.one("SELECT string_agg(txid::text, ',' ORDER BY key) FROM dual.side_users");
    let seq = node.state().await.seq;
    for _ in 0..3 {
        assert_eq!(node.sync().await, DONE);
    }
    let after = scene.one("SELECT string_agg(txid::text, ',' ORDER BY key) FROM dual.side_users");
    assert!(before == after);
    assert_eq!(node.state().await.seq, seq);
}

#[tokio::test(flavor = "multi_thread")]
async fn adopted_rows_of_both_sides_are_joined_and_the_losers_logged() {
    let scene = Scene::on(shared().unwrap());
    // Both tables exist before anybody knows of the other.
    let other = scene.node("other.db").await;
    other.sync().await;
    scene.sql("DROP SCHEMA dual CASCADE");
    scene.sql(
        "INSERT INTO accounts (owner, balance, note) VALUES (1, 10, 'theirs'), (2, 20, 'same')",
    );
    let lite = rusqlite::Connection::open(scene.path("bot.db")).unwrap();
    lite.execute_batch(
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner INTEGER NOT NULL UNIQUE, balance INTEGER, note TEXT);
         INSERT INTO accounts (owner, balance, note) VALUES (2, 20, 'same'), (1, 11, 'ours'), (3, 30, 'only here')",
    )
    .unwrap();
    drop(lite);
    let node = scene.node("bot.db").await;
    assert_eq!(node.sync().await, DONE);
    scene.assert_equal(&node);
    assert_eq!(node.one::<String>("SELECT note FROM accounts WHERE owner = 1"), "theirs");
    assert_eq!(scene.one("SELECT note FROM accounts WHERE owner = 3"), "only here");
    let losers: Vec<_> =
        scene.conflicts().into_iter().map(|row| (row[0].clone(), row[2].clone())).collect();
    let entry = |losing: &str| (Some("1".to_owned()), Some(losing.to_owned()));
    assert_eq!(losers, [entry("11"), entry("ours")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_without_postgresql_keeps_everything_for_later() {
    let server = throwaway_postgres::Server::builder().start().unwrap();
    let scene = Scene::on(&server);
    server.stop(throwaway_postgres::StopMode::Fast).unwrap();
    let node = Node::start(&scene.database.url(), &scene.path("bot.db")).await;
    node.add(1, 1).await;
    node.script("INSERT INTO users (user_id, first_name) VALUES (7, 'offline')");
    until("PostgreSQL counts as down", async || {
        !node.shared.health.is_up(dual_database::Store::Postgres)
    })
    .await;
    let error = node.try_sync().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    server.start().unwrap();
    until("both sides are equal", async || {
        node.shared.health.is_up(dual_database::Store::Postgres) && scene.is_equal(&node)
    })
    .await;
    assert_eq!(scene.one("SELECT first_name FROM users"), "offline");
    node.sync.close(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_change_different_columns_and_the_same_one() {
    let scene = Scene::on(shared().unwrap());
    let (one, two) = (scene.node("one.db").await, scene.node("two.db").await);
    one.add(1, 100).await;
    one.sync().await;
    two.sync().await;
    // Cut off from each other, in different columns.
    one.set_balance(1, 150).await;
    two.set_note(1, "from two").await;
    one.sync().await;
    two.sync().await;
    one.sync().await;
    scene.assert_equal(&one);
    scene.assert_equal(&two);
    assert_eq!(one.one::<String>("SELECT balance || note FROM accounts"), "150from two");
    assert_eq!(scene.conflicts(), Vec::<Vec<_>>::new());
    // In the same.
    one.set_balance(1, 1).await;
    later().await;
    two.set_balance(1, 2).await;
    two.sync().await;
    one.sync().await;
    two.sync().await;
    scene.assert_equal(&one);
    scene.assert_equal(&two);
    assert_eq!(scene.one("SELECT balance FROM accounts"), "2");
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(scene.conflicts(), [vec![text("1"), text("2"), text("1")]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_over_two_tables_is_never_half_visible() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (1, 150), (2, 150)");
    node.sync().await;
    let (url, path) = (scene.database.url(), node.path().to_owned());
    let running = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let reader = std::thread::spawn({
        let running = running.clone();
        move || {
            let lite = rusqlite::Connection::open(path).unwrap();
            let mut sums = std::collections::BTreeSet::new();
            while running.load(std::sync::atomic::Ordering::Relaxed) {
                sums.insert(
                    lite.query_row("SELECT sum(balance) FROM accounts", [], |row| {
                        row.get::<_, i64>(0)
                    })
                    .unwrap(),
                );
            }
            sums
        }
    });
    let _ = url;
    for amount in 1..20 {
        scene.sql(&format!(
            "UPDATE accounts SET balance = balance - {amount} WHERE owner = 1; \
             UPDATE accounts SET balance = balance + {amount} WHERE owner = 2"
        ));
        node.sync().await;
    }
    running.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(reader.join().unwrap().into_iter().collect::<Vec<_>>(), [300]);
    scene.assert_equal(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_left_open_delays_nobody_and_is_not_missed() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    let (client, connection) =
        tokio_postgres::connect(&scene.database.url(), tokio_postgres::NoTls).await.unwrap();
    let driving = tokio::spawn(connection);
    client
        .batch_execute("BEGIN; INSERT INTO accounts (owner, balance) VALUES (1, 1)")
        .await
        .unwrap();
    for owner in 2..40 {
        scene.sql(&format!("INSERT INTO accounts (owner, balance) VALUES ({owner}, 0)"));
    }
    node.sync().await;
    assert_eq!(node.one::<i64>("SELECT count(*) FROM accounts"), 38);
    client.batch_execute("COMMIT").await.unwrap();
    node.sync().await;
    scene.assert_equal(&node);
    drop(client);
    driving.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_task_exchanges_by_itself_and_another_process_takes_over() {
    let scene = Scene::on(shared().unwrap());
    let (url, path) = (scene.database.url(), scene.path("bot.db"));
    let leader = Node::start(&url, &path).await;
    until("the first process leads", async || leader.state().await.lease.is_some()).await;
    leader.sync().await;
    let other = Node::start(&url, &path).await;
    leader.script("INSERT INTO users (user_id) VALUES (1)");
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (1, 1)");
    until("both sides are equal", async || scene.is_equal(&leader)).await;
    let holder = |node: &Node| node.replica().process_number().number();
    assert_eq!(leader.state().await.lease.map(|lease| lease.holder), Some(holder(&leader)));
    // Who does not lead pushes what it has written itself.
    other.change(0, 5, Change::Insert(user("rung"))).await;
    other.sync.notify();
    until("it has arrived", async || {
        scene.one("SELECT count(*) FROM users WHERE user_id = 5") == "1"
    })
    .await;
    // Killed: its lease is left to run out.
    drop(leader.sync);
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (2, 2)");
    until("the other process has taken over", async || {
        let leads = other.state().await.lease.map(|lease| lease.holder) == Some(holder(&other));
        leads && scene.is_equal(&other)
    })
    .await;
    assert!(matches!(other.state().await.follow, Follow::Following { .. }));
    other.sync.close(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everybody_writes_at_once_and_all_end_equal() {
    let scene = Scene::on(shared().unwrap());
    let (url, path) = (scene.database.url(), scene.path("one.db"));
    let one = Node::start(&url, &path).await;
    one.sync().await;
    let (panel, two) =
        (Node::start(&url, &path).await, Node::start(&url, &scene.path("two.db")).await);
    for round in 0..60_i64 {
        let owner = round % 7;
        scene.sql(&format!(
            "INSERT INTO accounts (owner, balance) VALUES ({owner}, {round}) \
             ON CONFLICT (owner) DO UPDATE SET balance = excluded.balance"
        ));
        one.script(&format!(
            "INSERT OR REPLACE INTO users (user_id, first_name) VALUES ({owner}, 'r{round}')"
        ));
        panel.script(&format!("UPDATE accounts SET note = 'p{round}' WHERE owner = {owner}"));
        two.script(&format!(
            "UPDATE users SET phone_number = '{round}'; DELETE FROM accounts WHERE owner = {}",
            round % 11
        ));
        scene.sql(&format!("DELETE FROM users WHERE user_id = {}", round % 5));
        for node in [&one, &panel, &two] {
            node.sync.notify();
        }
    }
    until("all are equal", async || {
        let pending = one.state().await.pushed < one.state().await.seq;
        let equal = scene.is_equal(&one) && scene.is_equal(&two);
        equal && !(pending && one.look(|content| content.is_pending()).await)
    })
    .await;
    for node in [one, panel, two] {
        assert_eq!(node.look(|content| content.quarantine()).await, []);
        node.sync.close(PATIENCE).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_give_up_waiting_do_not_hinder_a_long_comparison() {
    let scene = Scene::on(shared().unwrap());
    scene.node("first.db").await.sync().await;
    scene.sql(
        "INSERT INTO accounts (owner, balance) SELECT n, n FROM generate_series(1, 20000) AS n",
    );
    let node = scene.node("bot.db").await;
    until("the first copy is done", async || {
        let given_up = node.sync.sync(std::time::Duration::from_millis(30)).await;
        given_up.is_ok_and(|exchange| exchange.caught_up)
    })
    .await;
    scene.assert_equal(&node);
}

fn user(name: &str) -> Vec<Value> {
    let users = dual_database::schema::users();
    let mut values = users.defaults();
    values[1] = Value::Text(name.into());
    values
}
