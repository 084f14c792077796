//! A file whose installation is gone joins the one that stands in its place: what it has not given
//! goes over, everything else is joined as if it had met nobody.

use dual_database::Kind;
use dual_database::Store;
use dual_database::init::{Bond, Joining, Stores, apply, plan};
use dual_database::schema::Dialect;
use dual_database::store::postgres::Settings;
use throwaway_postgres::shared;

use crate::adoption::{assert_joined, assert_planned, lonely, script, stores, there};
use crate::engine_scene::{PATIENCE, Scene, tables};

fn rejoining() -> Joining {
    Joining { rejoin: true, ..Joining::default() }
}

/// The stores of a file in `scene` with the PostgreSQL of `old`.
fn with(old: &Scene<'_>, scene: &Scene<'_>) -> Stores {
    Stores { postgres: Settings::parse(&old.database.url()).unwrap(), ..stores(scene, "bot.db") }
}

fn users(scene: &Scene<'_>) {
    scene.sql(&tables()[0].create_statement(Dialect::Postgres, "users"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_is_joined_as_if_it_had_met_nobody() {
    for prefer in [Store::Postgres, Store::Sqlite] {
        let (old, scene) = (Scene::on(shared().unwrap()), Scene::on(shared().unwrap()));
        lonely(&scene, "bot.db");
        apply(&with(&old, &scene), Joining::default(), PATIENCE).await.unwrap();
        users(&scene);
        scene.sql(&there());
        let joining = Joining { prefer, ..rejoining() };
        assert_planned(&scene, "bot.db", joining.clone()).await;
        let done = apply(&stores(&scene, "bot.db"), joining.clone(), PATIENCE).await.unwrap();
        assert!(done.copy.is_some_and(|copy| copy.exists()));
        assert_joined(&scene, "bot.db", prefer).await;
        let after = plan(&stores(&scene, "bot.db"), joining).await.unwrap();
        assert_eq!((after.bond, after.is_done()), (Bond::Joined, true), "{after:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_file_goes_over() {
    let (old, scene) = (Scene::on(shared().unwrap()), Scene::on(shared().unwrap()));
    lonely(&scene, "bot.db");
    script(&scene, "bot.db", "DELETE FROM users");
    apply(&with(&old, &scene), Joining::default(), PATIENCE).await.unwrap();
    // From now on a birth says of what it leaves out that it is the state at the horizon.
    let now = "(date_part('epoch', clock_timestamp()) * 1000)::bigint - 1577836800000";
    old.sql(&format!("UPDATE dual.installation SET horizon = ({now}) << 22"));
    old.sql("INSERT INTO users (user_id, username, phone_number) SELECT i, 'old', '+1' FROM generate_series(1, 6) AS i");
    let open = dual_database::DualDatabase::builder()
        .postgres_url(old.database.url())
        .sqlite_path(scene.path("bot.db"))
        .background(false)
        .open();
    let database = open.await.unwrap();
    database.sync_now(PATIENCE).await.unwrap();
    let _ = database.delete_user(6).await.unwrap();
    database.sync_now(PATIENCE).await.unwrap();
    database.close(PATIENCE).await;
    // It waits.
    script(
        &scene,
        "bot.db",
        "UPDATE users SET username = 'waits' WHERE user_id = 1; DELETE FROM users WHERE user_id = 2; \
         UPDATE users SET phone_number = NULL WHERE user_id = 3; \
         INSERT INTO users (user_id, username) VALUES (7, 'waits'), (8, 'waits')",
    );
    // What stands in the old one's place: a dump of before, with which somebody has worked since.
    users(&scene);
    scene.sql(
        "INSERT INTO users (user_id, username, phone_number) \
         SELECT i, 'old', '+1' FROM generate_series(1, 8) AS i WHERE i NOT IN (5, 7)",
    );
    scene.sql("UPDATE users SET phone_number = '+2' WHERE user_id IN (1, 4)");

    // Without having been asked for, nothing of the one meets the other.
    let stores = stores(&scene, "bot.db");
    for apply_it in [false, true] {
        let refused = match apply_it {
            true => apply(&stores, Joining::default(), PATIENCE).await.map(|_| ()),
            false => plan(&stores, Joining::default()).await.map(|_| ()),
        };
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), Kind::Configuration);
        assert!(error.hint().unwrap().contains("dual init --rejoin"), "{error:?}");
    }
    let found = plan(&stores, rejoining()).await.unwrap();
    assert_eq!(found.bond, Bond::Rejoining { pending: 5 });
    assert!(!found.is_done());
    let done = apply(&stores, rejoining(), PATIENCE).await.unwrap();
    assert_eq!((done.exchange.pending, done.exchange.held), (0, None), "{done:?}");

    let text = |text: &str| Some(text.to_owned());
    let select = "SELECT user_id::text, username, phone_number FROM users ORDER BY user_id";
    let row = |key: &str, name: &str, phone: Option<&str>| {
        vec![text(key), text(name), phone.map(str::to_owned)]
    };
    assert_eq!(
        scene.sql(select),
        [
            // What waited, and what was done there meanwhile to another column.
            row("1", "waits", Some("+2")),
            // Deleted here, and not given: gone. Emptied on purpose: empty.
            row("3", "old", None),
            row("4", "old", Some("+2")),
            // Missing in the dump.
            row("5", "old", Some("+1")),
            // Deleted and given: nobody says so any more.
            row("6", "old", Some("+1")),
            row("7", "waits", None),
            // Born on both sides: what the file's says nothing about, PostgreSQL knows.
            row("8", "waits", Some("+1")),
        ]
    );
    let node = scene.node("bot.db").await;
    node.sync().await;
    scene.assert_equal(&node);
    // Whatever has lost is in the log.
    let log = "SELECT key::text, register, losing FROM dual.conflict ORDER BY 1, 2";
    let lost = scene.sql(log);
    let entry = |key: &str, column: &str, losing: &str| vec![text(key), text(column), text(losing)];
    for expected in [
        entry("1", "username", "old"),
        entry("1", "phone_number", "+1"),
        entry("2", "username", "old"),
        entry("3", "phone_number", "+1"),
        entry("4", "phone_number", "+1"),
        entry("8", "username", "old"),
    ] {
        assert!(lost.contains(&expected), "{expected:?} is not in {lost:?}");
    }
}
