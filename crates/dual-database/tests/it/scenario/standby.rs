//! A synchronous standby that is gone: PostgreSQL takes writes, answers every question, and confirms
//! nothing.

use std::time::{Duration, Instant};

use dual_database::database::Status;
use dual_database::health::StoreState;
use dual_database::users::UserPatch;

use super::scene::{LIMIT, Scene, is_in_both, named, setting, until};

/// Whether it says what is the matter, and what can be done.
fn tells(status: &Status) -> bool {
    let StoreState::Down { reason, hint, .. } = &status.postgres.state else { return false };
    let hint = hint.as_deref().unwrap_or_default();
    reason.contains("commits wait for a synchronous standby") && hint.contains("pg_reload_conf()")
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_wait_for_a_standby_are_answered_in_time_and_arrive() {
    for timeout in [Duration::from_millis(400), Duration::from_secs(2)] {
        a_standby_is_gone(timeout).await;
    }
}

async fn a_standby_is_gone(timeout: Duration) {
    let scene = Scene::new();
    let open = || scene.builder().timeout(timeout).open();
    let db = scene.open().await;
    assert!(is_in_both(&db.add_user(&named(1, "a")).await.unwrap()));
    db.close(LIMIT).await;
    let db = open().await.unwrap();
    scene.psql("ALTER SYSTEM SET synchronous_standby_names = 'gone'");
    scene.psql("SELECT pg_reload_conf()");
    until(|| async { scene.psql("SHOW synchronous_standby_names") == "gone" }).await;

    // The first one is stuck there, with the row locked; what is pending never meets it.
    let in_time = timeout + Duration::from_secs(2);
    let write = async |user: &UserPatch, key| {
        let asked = Instant::now();
        let written = match key {
            None => db.add_user(user).await.unwrap(),
            Some(key) => db.update_user(key, user).await.unwrap(),
        };
        assert!(!is_in_both(&written), "{user:?}");
        assert!(asked.elapsed() < in_time, "{:?}: {user:?}", asked.elapsed());
        assert_eq!(db.status().await.unwrap().quarantined, Some(0));
    };
    write(&setting("username", "stuck"), Some(1)).await;
    for key in 2..30 {
        write(&named(key, "b"), None).await;
    }
    until(|| async { tells(&db.status().await.unwrap()) }).await;
    // It stays so, though the server answers.
    for round in 0..10 {
        write(&setting("first_name", &format!("round {round}")), Some(1)).await;
        let status = db.status().await.unwrap();
        assert!(tells(&status), "{status:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // Another process hears of it.
    let other = open().await.unwrap();
    assert!(!is_in_both(&other.add_user(&named(30, "c")).await.unwrap()));
    until(|| async { tells(&other.status().await.unwrap()) }).await;
    other.close(timeout).await;
    // Nobody adds to what waits there.
    let waiting = scene.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'");
    assert!(waiting.parse::<u32>().is_ok_and(|waiting| waiting < 8), "{waiting}");

    scene.psql("ALTER SYSTEM RESET synchronous_standby_names");
    scene.psql("SELECT pg_reload_conf()");
    scene.until_equal(&db).await;
    assert_eq!(scene.psql("SELECT count(*) FROM users"), "30");
    let first = scene.psql("SELECT username || first_name FROM users WHERE user_id = 1");
    assert_eq!(first, "stuckround 9");
    until(|| async { db.status().await.unwrap().postgres.state == StoreState::Up }).await;
    let status = db.status().await.unwrap();
    assert_eq!((status.conflicts, status.quarantined), (Some(0), Some(0)));
    assert!(is_in_both(&db.add_user(&named(31, "d")).await.unwrap()));
    db.close(LIMIT).await;
}
