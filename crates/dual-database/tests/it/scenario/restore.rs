//! Older backups come back on either side.

use dual_database::Store;
use dual_database::database::{RepairPreference, Written};
use dual_database::health::StoreState;
use dual_database::users::UserFilter;

use super::scene::{LIMIT, Place, is_in_both, named, setting, until};

fn restore(place: &Place, dump: &std::path::Path) {
    let status = std::process::Command::new("pg_restore")
        .args(["--clean", "--if-exists", "--single-transaction", "-d", &place.url()])
        .arg(dump)
        .status()
        .unwrap();
    assert!(status.success());
}

fn dump(place: &Place, to: &std::path::Path) {
    let status = std::process::Command::new("pg_dump")
        .args(["-Fc", "-d", &place.url(), "-f"])
        .arg(to)
        .status()
        .unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_restored_postgresql_lacks_is_given_back() {
    let place = Place::new();
    let backup = place.folder.path().join("backup");
    let db = place.open().await;
    for id in 1..=20 {
        assert!(is_in_both(&db.add_user(&named(id, "до")).await.unwrap()));
    }
    db.sync_now(LIMIT).await.unwrap();
    dump(&place, &backup);
    for id in 21..=30 {
        assert!(is_in_both(&db.add_user(&named(id, "после")).await.unwrap()));
    }
    assert!(is_in_both(&db.update_user(1, &setting("real_name", "после")).await.unwrap()));
    db.sync_now(LIMIT).await.unwrap();
    restore(&place, &backup);
    place.until_equal(&db).await;
    assert_eq!(place.psql("SELECT count(*) FROM users"), "30");
    assert_eq!(place.psql("SELECT real_name FROM users WHERE user_id = 1"), "после");
    assert!(is_in_both(&db.upsert_user(&named(31, "дальше")).await.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_of_the_file_catches_up() {
    let place = Place::new();
    let db = place.open().await;
    for id in 1..=20 {
        let _ = db.add_user(&named(id, "до")).await.unwrap();
    }
    place.until_equal(&db).await;
    db.close(LIMIT).await;
    let old = place.folder.path().join("old.db");
    std::fs::copy(place.path(), &old).unwrap();
    let db = place.open().await;
    for id in 21..=30 {
        let _ = db.add_user(&named(id, "после")).await.unwrap();
    }
    let _ = db.delete_user(5).await.unwrap();
    place.until_equal(&db).await;
    db.close(LIMIT).await;
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", place.path().display()));
    }
    std::fs::copy(&old, place.path()).unwrap();
    place.sqlite("db.execute(\"UPDATE users SET username = 'на копии' WHERE user_id = 2\")");
    let db = place.open().await;
    place.until_equal(&db).await;
    assert_eq!(place.psql("SELECT count(*) FROM users"), "29");
    assert_eq!(place.psql("SELECT username FROM users WHERE user_id = 2"), "на копии");
}

/// A mass loss waits for a person, while the service goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_mass_loss_waits_for_a_person() {
    for (prefer, left) in [
        (RepairPreference::Newest, "500"),
        (RepairPreference::Postgres, "0"),
        (RepairPreference::Sqlite, "500"),
    ] {
        let place = Place::new();
        let backup = place.folder.path().join("backup");
        let db = place.open().await;
        place.psql("INSERT INTO users (user_id, first_name) SELECT n, 'много' FROM generate_series(1, 500) AS n");
        place.until_equal(&db).await;
        dump(&place, &backup);
        place.psql("UPDATE users SET status = 'новый'");
        place.until_equal(&db).await;
        restore(&place, &backup);
        // Whoever restored it may have meant it.
        until(|| async { db.status().await.unwrap().sync == "held" }).await;
        assert!(db.status().await.unwrap().held_losses.is_some_and(|rows| rows >= 500));
        assert!(db.get_user(1).await.unwrap().value.is_some());
        let _ = db.add_user(&named(1000, "дальше")).await.unwrap();
        let found = db.repair(prefer).await.unwrap();
        assert!(found.equal, "{prefer:?}: {found:?}");
        place.until_equal(&db).await;
        assert_eq!(
            place.psql("SELECT count(*) FROM users WHERE status = 'новый'"),
            left,
            "{prefer:?}"
        );
        assert_eq!(place.psql("SELECT count(*) FROM users"), "501", "{prefer:?}");
    }
}

/// While a person is waited for, the file answers, in every process: PostgreSQL lacks what was
/// acknowledged. What is written meanwhile outlives the decision.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_postgresql_is_not_asked_while_a_person_is_waited_for() {
    let place = Place::new();
    let backup = place.folder.path().join("backup");
    let db = place.open().await;
    place.psql("INSERT INTO users (user_id, first_name) SELECT n, 'много' FROM generate_series(1, 500) AS n");
    place.until_equal(&db).await;
    dump(&place, &backup);
    for id in [777, 778] {
        assert!(is_in_both(&db.add_user(&named(id, "после")).await.unwrap()));
    }
    place.psql("UPDATE users SET status = 'новый'");
    place.until_equal(&db).await;
    restore(&place, &backup);
    until(|| async { db.status().await.unwrap().sync == "held" }).await;

    let other = place.open().await;
    for one in [&db, &other] {
        let status = one.status().await.unwrap();
        assert_eq!((status.sync, status.postgres.state), ("held", StoreState::Up));
        let found = one.get_user(777).await.unwrap();
        assert!(found.value.is_some() && found.source == Store::Sqlite);
        assert_eq!(one.count_users(&UserFilter::new()).await.unwrap().value, 502);
        assert_eq!(one.get_all_users(Some(600)).await.unwrap().value.len(), 502);
        let written = one.update_user(777, &setting("real_name", "ещё")).await.unwrap();
        assert!(matches!(written, Written::InOne { stored_in: Store::Sqlite, .. }));
    }
    let written = other.update_user(1, &setting("real_name", "ещё")).await.unwrap();
    assert!(!is_in_both(&written));
    let written = other
        .transaction(async |tx| {
            assert!(tx.get_user(778).await?.is_some());
            tx.delete_user(2).await?;
            tx.add_user(&named(1000, "новый"))
        })
        .await
        .unwrap();
    assert!(!is_in_both(&written));

    let found = db.repair(RepairPreference::Postgres).await.unwrap();
    assert!(found.equal, "{found:?}");
    place.until_equal(&db).await;
    assert_eq!(
        place.psql("SELECT user_id FROM users WHERE user_id > 500 ORDER BY 1"),
        "777\n1000",
        "778 was decided against, the others were written since"
    );
    assert_eq!(place.psql("SELECT count(*) FROM users WHERE user_id = 2"), "0");
    assert_eq!(place.psql("SELECT real_name FROM users WHERE user_id = 1"), "ещё");
    assert_eq!(place.psql("SELECT count(*) FROM users WHERE status = 'новый'"), "1", "777 whole");
    let lost = db.conflicts(10_000).await.unwrap();
    assert!(lost.iter().any(|entry| entry.key == 778), "the losers are in the log");
    until(|| async { is_in_both(&other.upsert_user(&named(1001, "дальше")).await.unwrap()) }).await;
}
