//! The file is locked, deleted, replaced, damaged; somebody opens and closes it all the time.

use std::time::Duration;

use dual_database::Store;
use dual_database::database::Prefer;
use dual_database::users::UserFilter;

use super::scene::{LIMIT, Place, Scene, is_in_both, named, python, setting, sqlite_rows, until};

#[tokio::test(flavor = "multi_thread")]
async fn while_the_file_is_locked_postgresql_serves_and_the_file_catches_up() {
    let place = Place::new();
    let db = place.open().await;
    let _ = db.add_user(&named(1, "до")).await.unwrap();
    let mut holder = python(
        &place.path(),
        "db.isolation_level = None\ndb.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\nsys.stdin.read()\ndb.execute('ROLLBACK')",
    );
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(holder.stdout.take().unwrap()),
        &mut line,
    )
    .unwrap();
    let added = db.add_user(&named(2, "пока закрыто")).await.unwrap();
    assert!(added.is_in(Store::Postgres) && !added.is_in(Store::Sqlite));
    assert!(db.get_user(2).await.unwrap().value.is_some());
    assert!(db.update_user(1, &setting("source", "vip")).await.unwrap().is_in(Store::Postgres));
    drop(holder.stdin.take());
    holder.wait().unwrap();
    place.until_equal(&db).await;
    until(|| async { is_in_both(&db.upsert_user(&named(3, "после")).await.unwrap()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_loses_nothing() {
    let scene = Scene::new();
    let db = scene.open().await;
    for id in 1..=10 {
        let _ = db.add_user(&named(id, "до")).await.unwrap();
    }
    scene.server.stop(throwaway_postgres::StopMode::Immediate).unwrap();
    let pending = db.add_user(&named(11, "только здесь")).await.unwrap();
    assert!(pending.is_in(Store::Sqlite));
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", scene.path().display()));
    }
    let after = db.add_user(&named(12, "после удаления")).await.unwrap();
    assert!(after.is_in(Store::Sqlite));
    assert!(sqlite_rows(&scene.path()).contains("только здесь"));
    scene.server.start().unwrap();
    scene.until_equal(&db).await;
    assert_eq!(scene.psql("SELECT count(*) FROM users"), "12");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_replaced_by_an_older_copy_keeps_what_was_pending() {
    let scene = Scene::new();
    let db = scene.open().await;
    for id in 1..=10 {
        let _ = db.add_user(&named(id, "до")).await.unwrap();
    }
    scene.until_equal(&db).await;
    let old = scene.folder.path().join("old.db");
    scene.sqlite(&format!("db.execute('VACUUM INTO ?', ({:?},))", old.to_str().unwrap()));
    scene.server.stop(throwaway_postgres::StopMode::Immediate).unwrap();
    let _ = db.add_user(&named(11, "не отправлен")).await.unwrap();
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", scene.path().display()));
    }
    std::fs::rename(&old, scene.path()).unwrap();
    until(|| async {
        db.upsert_user(&named(12, "после")).await.is_ok_and(|w| w.is_in(Store::Sqlite))
    })
    .await;
    scene.server.start().unwrap();
    scene.until_equal(&db).await;
    assert_eq!(scene.psql("SELECT first_name FROM users WHERE user_id = 11"), "не отправлен");
    assert_eq!(scene.psql("SELECT count(*) FROM users"), "12");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_set_aside_and_built_again() {
    let place = Place::new();
    let db = place.open().await;
    for id in 1..=200 {
        let _ = db.add_user(&named(id, "строка, которой нужно место в файле")).await.unwrap();
    }
    place.until_equal(&db).await;
    db.close(LIMIT).await;
    place.sqlite("db.execute('PRAGMA wal_checkpoint(TRUNCATE)')");
    // A page of the middle is overwritten while nobody has it open.
    let mut bytes = std::fs::read(place.path()).unwrap();
    let middle = bytes.len() / 2;
    for byte in &mut bytes[4096..middle] {
        *byte = 0x5a;
    }
    std::fs::write(place.path(), bytes).unwrap();
    let db = place.open().await;
    until(|| async {
        db.upsert_user(&named(201, "после")).await.is_ok()
            && db.status().await.is_ok_and(|s| s.pending_to_postgres == Some(0))
    })
    .await;
    place.until_equal(&db).await;
    assert_eq!(place.psql("SELECT count(*) FROM users"), "201");
    let kept = std::fs::read_dir(place.folder.path())
        .unwrap()
        .any(|entry| entry.unwrap().file_name().to_string_lossy().contains("corrupt"));
    assert!(kept, "the damaged file was not kept");
}

/// `posix_locks.py`: if anything of ours opened the file outside SQLite, the next script to close
/// it would unlink the log, and acknowledged commits with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_opens_and_closes_the_file_all_the_time() {
    let scene = Scene::new();
    let db = scene.open().await;
    let _ = db.add_user(&named(1, "до")).await.unwrap();
    scene.server.stop(throwaway_postgres::StopMode::Fast).unwrap();
    let mut script = python(
        &scene.path(),
        "db.close()\nfor n in range(1000, 1300):\n    db = sqlite3.connect(P, timeout=30)\n    db.execute('INSERT INTO users (user_id) VALUES (?)', (n,))\n    db.commit()\n    db.close()\ndb = sqlite3.connect(P, timeout=30)",
    );
    drop(script.stdin.take());
    let mut acknowledged = Vec::new();
    for id in 2..=150 {
        if db.add_user(&named(id, "рядом")).await.unwrap().is_in(Store::Sqlite) {
            acknowledged.push(id);
        }
    }
    let output = script.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    scene.server.start().unwrap();
    scene.until_equal(&db).await;
    assert_eq!(acknowledged.len(), 149);
    assert_eq!(scene.psql("SELECT count(*) FROM users"), "450");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_lost_while_postgresql_is_away_does_not_say_that_users_are_not_there() {
    let scene = Scene::new();
    let db = scene.open().await;
    for id in 1..=3 {
        let _ = db.add_user(&named(id, "до")).await.unwrap();
    }
    scene.until_equal(&db).await;
    db.close(LIMIT).await;
    scene.server.stop(throwaway_postgres::StopMode::Immediate).unwrap();
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", scene.path().display()));
    }
    for prefer in [Prefer::Postgres, Prefer::Local] {
        let db = scene.builder().prefer(prefer).open().await.unwrap();
        let unknown = db.get_user(1).await.unwrap_err();
        assert!(unknown.is_unavailable() && unknown.hint().is_some(), "{unknown:?}");
        let unknown = db.update_user(1, &setting("source", "vip")).await.unwrap_err();
        assert!(unknown.is_unavailable(), "{unknown:?}");
        assert!(db.delete_user(2).await.unwrap_err().is_unavailable());
        assert!(db.get_all_users(Some(10)).await.unwrap_err().is_unavailable());
        assert!(db.count_users(&UserFilter::new()).await.unwrap_err().is_unavailable());
        let read = db.transaction(async |tx| tx.get_user(1).await.map(|_| ())).await;
        assert!(read.unwrap_err().is_unavailable());
        // What is there is there, and a newcomer can come.
        let id = if prefer == Prefer::Postgres { 11 } else { 12 };
        assert!(db.add_user(&named(id, "новый")).await.unwrap().is_in(Store::Sqlite));
        assert!(db.get_user(id).await.unwrap().value.is_some());
        assert!(db.update_user(id, &setting("source", "vip")).await.unwrap().is_in(Store::Sqlite));
        db.close(Duration::ZERO).await;
    }
    scene.server.start().unwrap();
    let db = scene.open().await;
    scene.until_equal(&db).await;
    assert_eq!(scene.psql("SELECT count(*) FROM users"), "5");
    scene.server.stop(throwaway_postgres::StopMode::Immediate).unwrap();
    assert!(db.get_user(4).await.unwrap().value.is_none(), "it is complete again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_never_met_postgresql_knows_who_is_in_it() {
    let scene = Scene::new();
    scene.server.stop(throwaway_postgres::StopMode::Immediate).unwrap();
    let db = scene.open().await;
    assert!(db.get_user(1).await.unwrap().value.is_none());
    assert!(db.update_user(1, &setting("source", "vip")).await.unwrap_err().is_not_found());
    assert!(db.add_user(&named(1, "новый")).await.unwrap().is_in(Store::Sqlite));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_whose_key_is_no_whole_number_is_listed_and_hinders_nobody() {
    let place = Place::new();
    let db = place.open().await;
    let _ = db.add_user(&named(1, "с номером")).await.unwrap();
    place.sqlite(
        "db.execute(\"INSERT INTO users (user_id, first_name) VALUES ('abc', 'без номера')\")",
    );
    place
        .sqlite("db.execute(\"INSERT INTO users (user_id, first_name) VALUES (2, 'со стороны')\")");
    until(|| async { place.psql("SELECT count(*) FROM users") == "2" }).await;
    let listed = db.quarantine().await.unwrap();
    assert_eq!(listed.iter().map(|row| row.key.clone()).collect::<Vec<_>>(), [None], "{listed:?}");
    assert!(listed[0].reason.contains("no whole number"), "{listed:?}");
    assert_eq!(db.status().await.unwrap().quarantined, Some(1));
    let verified = db.verify().await.unwrap();
    assert!(!verified.equal && !verified.tables[0].differs(), "{verified:?}");
    assert_eq!(verified.tables[0].quarantined, 1);
    place.sqlite("db.execute(\"DELETE FROM users WHERE user_id = 'abc'\")");
    assert!(db.quarantine().await.unwrap().is_empty());
}
