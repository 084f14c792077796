//! Triggers and indexes of the file that need what only the application's connection has.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use dual_database::DualDatabase;
use dual_database::database::Status;
use dual_database::health::StoreState;

use super::scene::{LIMIT, Place, named};

async fn until(db: &DualDatabase, holds: impl Fn(&Status) -> bool) -> Status {
    let deadline = Instant::now() + LIMIT;
    loop {
        let status = db.status().await.unwrap();
        if holds(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the application's connection has, and ours has not.
const APPLICATION: &str = "db.create_function('slug', 1, lambda text: text)\n\
     db.create_collation('app_order', lambda a, b: (a > b) - (a < b))\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_application_alone_has_pauses_its_table_and_is_told() {
    for (how, made, taken_back) in [
        (
            "a trigger",
            "CREATE TRIGGER slugs AFTER INSERT ON users BEGIN SELECT slug(new.username); END",
            "DROP TRIGGER slugs",
        ),
        (
            "a trigger on changes",
            "CREATE TRIGGER slugs AFTER UPDATE ON users BEGIN SELECT slug(new.username); END",
            "DROP TRIGGER slugs",
        ),
        (
            "an index",
            "CREATE INDEX ordered ON users (username COLLATE app_order)",
            "DROP INDEX ordered",
        ),
    ] {
        let place = Place::new();
        let db = place.open().await;
        drop(db.add_user(&named(1, "до")).await.unwrap());
        place.until_equal(&db).await;
        place.sqlite(&format!("{APPLICATION}db.execute('{made}')"));
        place.psql(
            "INSERT INTO users (user_id, username) VALUES (2, 'psql'); \
             UPDATE users SET username = 'psql' WHERE user_id = 1",
        );
        place.sqlite(&format!(
            "{APPLICATION}db.execute(\"INSERT INTO users (user_id, username) VALUES (3, 'python')\")"
        ));
        let told = until(&db, |status| status.quarantined > Some(0)).await;
        assert_eq!(told.paused.len(), 1, "{how}: {told:?}");
        assert_eq!((&*told.paused[0].table, told.sync), ("users", "following"), "{how}: {told:?}");
        assert!(told.paused[0].reason.contains("no such "), "{how}: {told:?}");
        let up = [&told.postgres.state, &told.sqlite.state];
        assert_eq!(up, [&StoreState::Up; 2], "{how}: {told:?}");
        // What the file has written arrives all the same.
        let there = "SELECT count(*) FROM users WHERE username = 'python'";
        let deadline = Instant::now() + LIMIT;
        while place.psql(there) != "1" {
            assert!(Instant::now() < deadline, "{how}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        place.sqlite(&format!("{APPLICATION}db.execute('{taken_back}')"));
        place.until_equal(&db).await;
        let told = until(&db, |status| status.quarantined == Some(0)).await;
        assert_eq!(told.paused, [], "{how}");
        assert!(db.verify().await.unwrap().equal, "{how}");
        db.close(LIMIT).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn regexp_is_provided() {
    let place = Place::new();
    let db = place.open().await;
    place.sqlite(
        "import re\n\
         db.create_function('regexp', 2, lambda p, t: re.search(p, t) is not None)\n\
         db.execute(\"CREATE TRIGGER checked BEFORE INSERT ON users \
           WHEN NOT new.username REGEXP '^[a-zа-я]+$' BEGIN SELECT RAISE(ABORT, 'refused'); END\")",
    );
    place.psql("INSERT INTO users (user_id, username) VALUES (1, 'анна'), (2, '12')");
    let told = until(&db, |status| status.quarantined == Some(1)).await;
    assert_eq!(told.paused, []);
    assert_eq!(place.sqlite("print(*db.execute('SELECT user_id FROM users').fetchall())"), "(1,)");
    db.close(LIMIT).await;
}

/// A library whose entry point answers that.
fn library(place: &Place, answer: i32) -> PathBuf {
    let folder = place.folder.path();
    let (source, library) = (folder.join("brought.c"), folder.join(format!("brought{answer}.so")));
    let code =
        format!("int sqlite3_extension_init(void *a, char **b, void *c) {{ return {answer}; }}");
    std::fs::write(&source, code).unwrap();
    let made =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(made.unwrap().success());
    library
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_is_loaded_or_its_failure_told() {
    let place = Place::new();
    let db = place.builder().sqlite_extension(library(&place, 0)).open().await.unwrap();
    drop(db.add_user(&named(1, "наш")).await.unwrap());
    place.until_equal(&db).await;
    db.close(LIMIT).await;
    for wrong in [library(&place, 1), place.folder.path().join("absent.so")] {
        let error = place.builder().sqlite_extension(&wrong).open().await.unwrap_err();
        assert!(error.is_configuration(), "{error:?}");
        assert!(error.message().contains(wrong.to_str().unwrap()), "{error}");
        assert!(error.hint().unwrap().contains("sqlite_extensions"), "{error:?}");
    }
}
