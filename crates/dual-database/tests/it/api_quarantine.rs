//! The calls about rows that one side does not take: they exist, and no answer says otherwise.

use std::time::Duration;

use dual_database::database::{Builder, Prefer, WriteMode};
use dual_database::users::{User, UserFilter, UserPatch};
use dual_database::{DualDatabase, Error, Kind, Store};
use futures_util::TryStreamExt;

use super::api_scene::{Scene, Wire, both, eventually, named, only};
use super::engine_bytes::in_sql_ascii;

const PATIENCE: Duration = Duration::from_secs(30);

/// With time enough on a busy machine.
fn builder(scene: &Scene<'_>) -> Builder {
    scene.builder().timeout(PATIENCE)
}

/// Exchanges until so many rows are in quarantine.
async fn aside(db: &DualDatabase, rows: usize) {
    let count = async || {
        let exchanged = db.sync_now(PATIENCE).await.is_ok();
        exchanged && db.quarantine().await.unwrap().len() == rows
    };
    eventually(&format!("{rows} rows are in quarantine"), count).await;
}

#[track_caller]
fn is_unavailable(error: &Error) {
    assert!(error.is_unavailable(), "{}", error.chain());
    assert!(error.chain().contains("is in PostgreSQL alone"), "{}", error.chain());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_file_cannot_hold_is_in_postgresql() {
    let scene = Scene::shared("aside_there");
    let db = builder(&scene).open().await.unwrap();
    let insert = "INSERT INTO users (user_id, register_date) VALUES (7, 'infinity')";
    scene.database.execute(insert).unwrap();
    aside(&db, 1).await;

    let found = db.get_user(7).await.unwrap();
    assert_eq!((found.source, found.value.map(|user| user.user_id)), (Store::Postgres, Some(7)));
    only(Store::Postgres, db.update_user(7, &UserPatch::new().first_name("Анна")).await.unwrap());
    assert_eq!(db.add_user(&named(7, "x")).await.unwrap_err().kind(), Kind::AlreadyExists);
    only(Store::Postgres, db.upsert_user(&named(7, "Вера")).await.unwrap());
    assert_eq!(scene.sqlite("SELECT count(*) FROM users").as_deref(), Some("0"));
    let near = builder(&scene).prefer(Prefer::Local).open().await.unwrap();
    let found = near.get_user(7).await.unwrap();
    assert_eq!((found.source, found.value.is_some()), (Store::Postgres, true));
    near.close(PATIENCE).await;

    scene.proxy.set(Wire::Refuse);
    let name = UserPatch::new().first_name("y");
    is_unavailable(&db.get_user(7).await.unwrap_err());
    is_unavailable(&db.update_user(7, &name).await.unwrap_err());
    is_unavailable(&db.delete_user(7).await.unwrap_err());
    is_unavailable(&db.add_user(&named(7, "y")).await.unwrap_err());
    is_unavailable(&db.upsert_user(&named(7, "y")).await.unwrap_err());
    let read = db.transaction(async |tx| tx.get_user(7).await.map(drop)).await;
    is_unavailable(&read.unwrap_err());
    let added = db.transaction(async |tx| tx.add_user(&named(7, "y"))).await;
    is_unavailable(&added.unwrap_err());
    assert_eq!(scene.sqlite("SELECT count(*) FROM users").as_deref(), Some("0"));

    scene.proxy.set(Wire::Pass);
    eventually("PostgreSQL is back", async || db.get_user(7).await.is_ok()).await;
    // The file alone would have to say it first.
    let first = builder(&scene).write_mode(WriteMode::LocalFirst).open().await.unwrap();
    only(Store::Postgres, first.update_user(7, &name).await.unwrap());
    first.close(PATIENCE).await;
    // What was in the way is changed.
    let date = UserPatch::from_json(r#"{"register_date": "2024-01-02"}"#).unwrap();
    both(db.update_user(7, &date).await.unwrap());
    aside(&db, 0).await;
    scene.wait_equal().await;
    db.close(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_postgresql_refuses_is_in_the_file_and_is_mended_there() {
    let scene = Scene::shared("aside_here");
    let db = builder(&scene).open().await.unwrap();
    scene.database.execute("ALTER TABLE users ADD CHECK (phone_number LIKE '+%')").unwrap();
    scene
        .outsider()
        .execute_batch("INSERT INTO users (user_id, first_name, phone_number) VALUES (1, 'a', '1'), (2, 'b', '2'), (3, 'c', '3'), (4, 'd', '4')")
        .unwrap();
    aside(&db, 4).await;

    assert_eq!(db.get_user(1).await.unwrap().source, Store::Sqlite);
    assert_eq!(db.add_user(&named(1, "x")).await.unwrap_err().kind(), Kind::AlreadyExists);
    let user = only(Store::Sqlite, db.update_user(1, &named(1, "anna")).await.unwrap());
    assert_eq!(user.phone_number.as_deref(), Some("1"));
    // Mended, it is in both, under PostgreSQL's number.
    let phone = UserPatch::new().phone_number("+1");
    let user = both(db.update_user(1, &phone).await.unwrap());
    assert_eq!(
        (user.first_name.as_deref(), user.id.is_some_and(|id| id > 0)),
        (Some("anna"), true)
    );
    both(db.delete_user(2).await.unwrap());
    assert_eq!(db.get_user(2).await.unwrap().value, None);
    // In a transaction it is there as well.
    let moved = db
        .transaction(async |tx| {
            let name = tx.get_user(3).await?.and_then(|user| user.first_name);
            tx.update_user(1, &UserPatch::new().first_name(name.as_deref())).await?;
            tx.update_user(3, &UserPatch::new().phone_number("+3")).await.map(drop)
        })
        .await;
    both(moved.unwrap());
    let names = "SELECT string_agg(first_name, ',' ORDER BY user_id) FROM users";
    assert_eq!(scene.postgres(names).as_deref(), Some("c,c"));
    assert_eq!(db.quarantine().await.unwrap().len(), 1);

    let strict = builder(&scene).write_mode(WriteMode::RequireBoth).open().await.unwrap();
    let error = strict.update_user(4, &UserPatch::new().first_name("dora")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Partial(Store::Postgres), "{}", error.chain());
    both(strict.update_user(4, &UserPatch::new().phone_number("+4")).await.unwrap());
    strict.close(PATIENCE).await;
    assert_eq!(db.quarantine().await.unwrap(), []);
    scene.wait_equal().await;
    db.close(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_postgresql_does_not_let_go_is_in_postgresql() {
    let scene = Scene::shared("aside_kept");
    let db = builder(&scene).open().await.unwrap();
    both(db.add_user(&named(1, "a")).await.unwrap());
    both(db.add_user(&named(2, "b").referrer_id(1)).await.unwrap());
    let reference = "ALTER TABLE users ADD FOREIGN KEY (referrer_id) REFERENCES users (user_id)";
    scene.database.execute(reference).unwrap();
    scene.outsider().execute_batch("DELETE FROM users WHERE user_id = 1").unwrap();
    aside(&db, 1).await;

    assert_eq!(db.get_user(1).await.unwrap().source, Store::Postgres);
    let name = UserPatch::new().first_name("anna");
    only(Store::Postgres, db.update_user(1, &name).await.unwrap());
    assert_eq!(db.add_user(&named(1, "x")).await.unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(db.delete_user(1).await.unwrap_err().kind(), Kind::InvalidData);
    scene.proxy.set(Wire::Refuse);
    is_unavailable(&db.get_user(1).await.unwrap_err());
    is_unavailable(&db.add_user(&named(1, "x")).await.unwrap_err());
    scene.proxy.set(Wire::Pass);
    eventually("PostgreSQL is back", async || db.get_user(1).await.is_ok()).await;
    // Nobody needs it any more: it goes.
    both(db.update_user(2, &UserPatch::new().referrer_id(None)).await.unwrap());
    aside(&db, 0).await;
    assert_eq!(db.get_user(1).await.unwrap().value, None);
    scene.wait_equal().await;
    db.close(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_file_has_of_a_row_that_it_does_not_take_is_as_old_as_it_is() {
    let scene = Scene::shared("aside_old");
    let db = builder(&scene).open().await.unwrap();
    both(db.add_user(&named(1, "a")).await.unwrap());
    both(db.add_user(&named(2, "b")).await.unwrap());
    scene
        .database
        .execute("UPDATE users SET register_date = 'infinity' WHERE user_id = 1")
        .unwrap();
    aside(&db, 1).await;
    // Everything else is exchanged again and again.
    let begun = std::time::Instant::now();
    let later = async || {
        let _ = db.sync_now(PATIENCE).await;
        begun.elapsed() > Duration::from_secs(1)
    };
    eventually("a second has passed", later).await;
    scene.proxy.set(Wire::Refuse);
    let age = async |user_id| db.get_user(user_id).await.unwrap().age.unwrap();
    assert!(age(1).await >= Duration::from_secs(1));
    assert!(age(2).await < age(1).await);
    db.close(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_too_long_is_shown_as_empty_and_can_be_shortened() {
    let scene = Scene::shared("aside_long");
    let db = builder(&scene).open().await.unwrap();
    let insert = "INSERT INTO users (user_id, first_name) VALUES";
    scene.database.execute(&format!("{insert} (1, repeat('a', 20000000))")).unwrap();
    let long = format!("{insert} (2, hex(zeroblob(10000000)))");
    scene.outsider().execute_batch(&long).unwrap();
    aside(&db, 2).await;
    for (user_id, source) in [(1, Store::Postgres), (2, Store::Sqlite)] {
        let found = db.get_user(user_id).await.unwrap();
        assert_eq!(found.source, source);
        assert_eq!(found.value.map(|user| user.first_name), Some(None));
        let phone = UserPatch::new().phone_number("+1");
        only(source, db.update_user(user_id, &phone).await.unwrap());
        both(db.update_user(user_id, &named(user_id, "short")).await.unwrap());
    }
    aside(&db, 0).await;
    scene.wait_equal().await;
    db.close(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_utf8_are_shown_as_empty_and_can_be_replaced() {
    let scene = Scene::shared("aside_bytes");
    in_sql_ascii(scene.database.server(), scene.database.name());
    let insert = "INSERT INTO users (user_id, first_name) VALUES (1, E'\\xff'), (2, 'Анна')";
    scene.database.execute("CREATE TABLE users (id serial PRIMARY KEY, user_id bigint UNIQUE NOT NULL, first_name text)").unwrap();
    scene.database.execute(insert).unwrap();
    let db = builder(&scene).open().await.unwrap();
    aside(&db, 1).await;
    both(db.add_user(&named(3, "Вера")).await.unwrap());
    let found = db.get_user(1).await.unwrap();
    assert_eq!(found.source, Store::Postgres);
    assert_eq!(found.value.map(|user| user.first_name), Some(None));
    let listed: Vec<User> = db.users(&UserFilter::new()).try_collect().await.unwrap();
    assert_eq!(listed.iter().map(|user| user.user_id).collect::<Vec<_>>(), [3, 2, 1]);
    let phone = UserPatch::new().phone_number("+1");
    only(Store::Postgres, db.update_user(1, &phone).await.unwrap());
    assert!(!db.verify().await.unwrap().equal);
    both(db.update_user(1, &named(1, "Яна")).await.unwrap());
    aside(&db, 0).await;
    scene.wait_equal().await;
    db.close(PATIENCE).await;
}
