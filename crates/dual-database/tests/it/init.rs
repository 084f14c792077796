//! The plan of the first start, and doing it.

use dual_database::init::{ColumnCounts, Joining, RowCounts, Stores, apply, plan};
use dual_database::schema::Making;
use dual_database::store::postgres::Settings;
use dual_database::store::sqlite::replica::Settings as ReplicaSettings;
use dual_database::{Kind, Store};
use throwaway_postgres::shared;

use crate::engine_scene::{PATIENCE, Scene, limits, tables};

fn stores(scene: &Scene<'_>) -> Stores {
    Stores {
        postgres: Settings::parse(&scene.database.url()).unwrap(),
        limits: limits(),
        sqlite: ReplicaSettings {
            path: scene.path("bot.db"),
            busy: std::time::Duration::from_secs(5),
            tables: tables(),
            making: Making::default(),
            extensions: Vec::new(),
            aside: [].into(),
        },
    }
}

fn script(scene: &Scene<'_>, sql: &str) {
    rusqlite::Connection::open(scene.path("bot.db")).unwrap().execute_batch(sql).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_there() {
    let scene = Scene::on(shared().unwrap());
    let stores = stores(&scene);
    let found = plan(&stores, Joining::default()).await.unwrap();
    assert!(found.is_additive() && !found.is_done());
    let users = &found.tables[0];
    assert!(!users.postgres.exists && !users.sqlite.exists);
    assert_eq!(users.rows, Some(RowCounts::default()));
    assert_eq!(users.sqlite.steps, ["create table users", "capture the writes to users"]);
    assert!(!stores.sqlite.path.exists(), "a plan makes nothing");
    assert_eq!(scene.one("SELECT count(*) FROM pg_class WHERE relname = 'users'"), "0");

    let exchange = apply(&stores, Joining::default(), PATIENCE).await.unwrap().exchange;
    assert_eq!((exchange.pending, exchange.held), (0, None));
    assert!(plan(&stores, Joining::default()).await.unwrap().is_done());
}

#[tokio::test(flavor = "multi_thread")]
async fn drifted_schemas_and_rows_on_both_sides() {
    let scene = Scene::on(shared().unwrap());
    let stores = stores(&scene);
    // The bot's own table: no `id`, `signup_date` where the other has `register_date`.
    script(
        &scene,
        "CREATE TABLE users (user_id INTEGER PRIMARY KEY, first_name TEXT, signup_date TEXT, status TEXT); \
         INSERT INTO users VALUES (1, 'one', '2025-01-01T10:00:00+00:00', 'registered'), \
             (2, 'here', NULL, 'registered'), (3, 'only here', NULL, 'x')",
    );
    scene.sql(
        "CREATE TABLE users (id serial PRIMARY KEY, user_id bigint NOT NULL UNIQUE, first_name varchar, \
             register_date timestamp, status varchar); \
         INSERT INTO users (user_id, first_name, register_date, status) VALUES \
             (1, 'one', '2025-01-01 10:00', 'registered'), (2, 'there', NULL, 'registered'), (4, 'only there', NULL, 'y')",
    );
    let found = plan(&stores, Joining::default()).await.unwrap();
    assert!(found.is_additive(), "{found:?}");
    let users = &found.tables[0];
    assert!(users.sqlite.steps.iter().any(|step| step == "add column users.register_date"));
    assert!(users.postgres.steps.iter().any(|step| step.contains("phone_number")));
    assert_eq!(
        users.rows,
        Some(RowCounts {
            postgres: 3,
            sqlite: 3,
            only_postgres: 1,
            only_sqlite: 1,
            different: 1,
            conflicting: 1,
            columns: vec![ColumnCounts {
                column: "first_name".into(),
                different: 1,
                conflicts: 1,
                ..ColumnCounts::default()
            }],
        })
    );
    apply(&stores, Joining::default(), PATIENCE).await.unwrap();
    let node = scene.node("bot.db").await;
    node.sync().await;
    let both =
        "SELECT group_concat(first_name, ',') FROM (SELECT first_name FROM users ORDER BY user_id)";
    assert_eq!(node.one::<String>(both), "one,there,only here,only there");
    let there = "SELECT string_agg(first_name, ',' ORDER BY user_id) FROM users";
    assert_eq!(scene.one(there), "one,there,only here,only there");
    // PostgreSQL won, and what the file had is in the log.
    assert!(node.losers().await.contains(&Some("here".to_owned())));
    let after = plan(&stores, Joining::default()).await.unwrap();
    assert!(after.is_done(), "{after:?}");
    let rows = after.tables[0].rows.as_ref().unwrap();
    assert_eq!((rows.different, rows.only_postgres, rows.only_sqlite), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_obstacle_leaves_both_sides_as_they_are() {
    let scene = Scene::on(shared().unwrap());
    let stores = stores(&scene);
    script(&scene, "CREATE TABLE users (user_id INTEGER PRIMARY KEY, phone_number STRING)");
    let found = plan(&stores, Joining::default()).await.unwrap();
    assert!(!found.is_additive());
    let users = &found.tables[0];
    assert!(users.sqlite.obstacles[0].contains("phone_number is declared STRING"), "{users:?}");
    assert_eq!(users.rows, None);
    let error = apply(&stores, Joining::default(), PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Schema(Store::Sqlite));
    assert!(error.message().contains("phone_number"), "{}", error.chain());
    assert_eq!(scene.one("SELECT count(*) FROM pg_namespace WHERE nspname = 'dual'"), "0");
}
