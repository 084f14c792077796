//! Calls while another session has something locked at PostgreSQL.

use std::time::{Duration, Instant};

use dual_database::Store;
use dual_database::store::postgres::{Limits, Session, Settings};
use dual_database::users::UserPatch;

use super::api_scene::{Scene, TIMEOUT, both, eventually, named, only};

async fn psql(scene: &Scene<'_>, sql: &str) -> Session {
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let session = Session::open(&settings, &Limits::default()).await.unwrap();
    session.batch("test", sql).await.unwrap();
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_row_delays_nothing_else() {
    let scene = Scene::shared("api_locked_row");
    let db = scene.open().await;
    both(db.add_user(&named(1, "Anna")).await.unwrap());
    let other = psql(&scene, "BEGIN; UPDATE users SET status = 'psql' WHERE user_id = 1").await;
    let locked = Instant::now();
    let began = Instant::now();
    let patch = UserPatch::new().first_name("Anna 2");
    only(Store::Sqlite, db.update_user(1, &patch).await.unwrap());
    assert!(began.elapsed() < TIMEOUT + Duration::from_secs(3), "{:?}", began.elapsed());
    for user_id in 10..30 {
        both(db.add_user(&named(user_id, "other")).await.unwrap());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Now that it is known to be locked, nobody waits for it.
    let began = Instant::now();
    only(Store::Sqlite, db.update_user(1, &UserPatch::new().status("issued")).await.unwrap());
    assert!(began.elapsed() < TIMEOUT / 2, "{:?}", began.elapsed());
    let status = db.status().await.unwrap();
    assert_eq!(status.quarantined, Some(1));
    let aside = db.quarantine().await.unwrap();
    assert_eq!(aside[0].reason, "locked by another session");
    tokio::time::sleep(Duration::from_secs(6).saturating_sub(locked.elapsed())).await;
    both(db.add_user(&named(30, "late")).await.unwrap());
    other.batch("test", "COMMIT").await.unwrap();
    scene.wait_equal().await;
    eventually("it leaves the quarantine", async || {
        db.status().await.unwrap().quarantined == Some(0)
    })
    .await;
    let sql = "SELECT first_name || ' ' || status FROM users WHERE user_id = 1";
    assert_eq!(scene.postgres(sql).as_deref(), Some("Anna 2 issued"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_person_is_waited_for_calls_do_not_wait() {
    let scene = Scene::shared("api_held");
    let db = scene.open().await;
    for user_id in 1..=200 {
        both(db.add_user(&named(user_id, "x")).await.unwrap());
    }
    db.close(Duration::from_secs(10)).await;
    scene.postgres("UPDATE users SET first_name = 'restored'");
    scene.postgres("DELETE FROM dual.token");
    scene.outsider().execute_batch("UPDATE users SET first_name = 'here'").unwrap();
    let db = scene.open().await;
    eventually("it is held", async || db.status().await.unwrap().sync == "held").await;
    for user_id in 300..310 {
        let began = Instant::now();
        only(Store::Sqlite, db.add_user(&named(user_id, "y")).await.unwrap());
        assert!(began.elapsed() < TIMEOUT / 3, "{:?}", began.elapsed());
    }
    let began = Instant::now();
    assert_eq!(db.get_all_users(None).await.unwrap().source, Store::Sqlite);
    assert!(began.elapsed() < TIMEOUT / 3, "{:?}", began.elapsed());
}
