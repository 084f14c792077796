//! Comparing both stores: what differs and what only seems to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dual_database::store::postgres::Settings;
use dual_database::store::postgres::primary::Pool;
use dual_database::verify::{Verification, compare};
use dual_database::{Kind, Result, Store};
use throwaway_postgres::{Server, shared};

use crate::engine_scene::{Node, PATIENCE, Scene, limits, tables, until};

async fn pool(scene: &Scene<'_>) -> Pool {
    let url = Settings::parse(&scene.database.url()).unwrap();
    let pool = Pool::new(url, limits(), tables(), 2);
    pool.prepare().await.unwrap();
    pool
}

async fn verify(pool: &Pool, node: &Node) -> Result<Verification> {
    let exchange = || async { node.sync.sync(PATIENCE).await.map(|_| ()) };
    compare(pool, &node.replica(), exchange).await
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_stores_are_equal_in_every_type_and_across_parts() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    scene.sql(
        "INSERT INTO users (user_id, first_name, profile_completed, register_date) \
         VALUES (-9223372036854775808, 'Пример', true, '0001-01-01'), \
                (9223372036854775807, E'a\\'b\\n', false, '9999-12-31 23:59:59.999999'), (0, '', null, null)",
    );
    scene.sql(
        "INSERT INTO accounts (owner, balance) SELECT n * 3, n FROM generate_series(1, 12001) AS n",
    );
    node.script("INSERT INTO users (user_id, phone_number) VALUES (7, '+79990000000')");
    let pool = pool(&scene).await;
    let found = verify(&pool, &node).await.unwrap();
    assert!(found.equal, "{found:?}");
    let counts: Vec<_> =
        found.tables.iter().map(|t| (&*t.table, t.rows_postgres, t.rows_sqlite)).collect();
    assert_eq!(counts, [("users", 4, 4), ("accounts", 12_001, 12_001)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_past_the_triggers_is_found() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    scene.sql(
        "INSERT INTO accounts (owner, balance) SELECT n, n FROM generate_series(1, 6000) AS n",
    );
    node.sync().await;
    let pool = pool(&scene).await;
    // Nothing tells of it: not a trigger, not a sidecar, not a catalog.
    node.past_the_triggers("UPDATE accounts SET balance = -1 WHERE owner = 10");
    let found = verify(&pool, &node).await.unwrap();
    let accounts = &found.tables[1];
    assert!(!found.equal);
    assert_eq!((accounts.rows_postgres, accounts.rows_sqlite), (6_000, 6_000));
    assert_eq!((accounts.different, accounts.only_postgres, accounts.only_sqlite), (1, 0, 0));
    assert_eq!(accounts.keys, [10]);
    assert!(found.tables[0].is_equal());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_file_cannot_give_equals_nothing() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.add(1, 1).await;
    node.sync().await;
    let pool = pool(&scene).await;
    node.script("UPDATE accounts SET balance = 'much' WHERE owner = 1");
    let found = verify(&pool, &node).await.unwrap();
    // Once it is known, it is set aside and counted.
    let accounts = &found.tables[1];
    assert_eq!((accounts.different, accounts.quarantined), (0, 1), "{found:?}");
    assert!(!found.equal && !accounts.differs());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_a_side_refuses_is_set_aside_and_nothing_differs_for_it() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (1, 1), (2, 2), (3, 3)");
    node.sync().await;
    scene.sql(
        "CREATE FUNCTION keeps() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
           IF OLD.owner = 1 THEN RETURN NULL; END IF; RETURN OLD; END $$; \
         CREATE TRIGGER keeps BEFORE DELETE ON accounts FOR EACH ROW EXECUTE FUNCTION keeps()",
    );
    node.script(
        "CREATE TRIGGER keeps BEFORE DELETE ON accounts WHEN old.owner = 2 \
         BEGIN SELECT RAISE(IGNORE); END",
    );
    node.script("DELETE FROM accounts WHERE owner = 1");
    scene.sql("DELETE FROM accounts WHERE owner = 2");
    node.sync().await;
    let pool = pool(&scene).await;
    let found = verify(&pool, &node).await.unwrap();
    let accounts = &found.tables[1];
    assert_eq!(accounts.quarantined, 2, "{found:?}");
    assert!(!found.equal && !accounts.differs(), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_that_is_away_is_an_error_and_no_answer() {
    let server = Server::builder().start().unwrap();
    let scene = Scene::on(&server);
    let node = scene.node("bot.db").await;
    node.sync().await;
    let pool = pool(&scene).await;
    server.stop(throwaway_postgres::StopMode::Immediate).unwrap();
    let error = verify(&pool, &node).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable(Store::Postgres), "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_on_both_sides_are_no_differences() {
    let scene = Scene::on(shared().unwrap());
    let node = Node::start(&scene.database.url(), &scene.path("bot.db")).await;
    let seeded =
        "INSERT INTO accounts (owner, balance) SELECT n, n FROM generate_series(1, 300) AS n";
    until("the tables are there", async || scene.database.execute(seeded).is_ok()).await;
    let pool = pool(&scene).await;
    let done = Arc::new(AtomicBool::new(false));
    let (url, path) = (scene.database.url(), node.path().to_owned());
    let flag = done.clone();
    let writer = std::thread::spawn(move || {
        let script = rusqlite::Connection::open(path).unwrap();
        script.busy_timeout(PATIENCE).unwrap();
        let mut round = 0;
        while !flag.load(Ordering::Relaxed) {
            round += 1;
            script
                .execute("UPDATE accounts SET balance = ?1 WHERE owner = ?2", (round, round % 50))
                .unwrap();
            // Somebody who never lets go of the lock would keep everybody else out.
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let (flag, settings) = (done.clone(), Settings::parse(&url).unwrap());
    let outside = tokio::spawn(async move {
        let session =
            dual_database::store::postgres::Session::open(&settings, &limits()).await.unwrap();
        let mut round = 0;
        while !flag.load(Ordering::Relaxed) {
            round += 1;
            let owner = 100 + round % 50;
            let sql = format!("UPDATE accounts SET note = '{round}' WHERE owner = {owner}");
            session.batch("write", &sql).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    for _ in 0..3 {
        let found = verify(&pool, &node).await.unwrap();
        assert!(found.equal, "{found:?}");
    }
    done.store(true, Ordering::Relaxed);
    outside.await.unwrap();
    writer.join().unwrap();
    let found = verify(&pool, &node).await.unwrap();
    assert!(found.equal, "{found:?}");
    scene.assert_equal(&node);
}
