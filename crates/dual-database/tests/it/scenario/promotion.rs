//! A streaming pair: the primary dies, the replica that lost its tail takes over.

use std::time::Duration;

use throwaway_postgres::StopMode;

use super::scene::{LIMIT, Scene, is_in_both, named, open_with, setting, until, until_equal};

/// `standby_snapshot_and_timeline.py`: the replica is not asked while it follows; promoted, it is
/// another server to the cursor, and gets back what it has lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_gets_back_what_it_has_lost() {
    let scene = Scene::new();
    let standby = scene.server.standby().unwrap();
    let url = format!(
        "postgresql://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write",
        scene.server.port(),
        standby.port()
    );
    // The replica first: it has to be passed over while it is in recovery.
    let behind = format!(
        "postgresql://postgres@127.0.0.1:{},127.0.0.1:{}/postgres",
        standby.port(),
        scene.server.port()
    );
    let db = open_with(&url, &scene.path()).open().await.unwrap();
    for id in 1..=10 {
        assert!(is_in_both(&db.add_user(&named(id, "до")).await.unwrap()));
    }
    let other = open_with(&behind, &scene.folder.path().join("other.db")).open().await.unwrap();
    until(|| async {
        is_in_both(&other.upsert_user(&named(11, "второй узел")).await.unwrap())
    })
    .await;
    until(|| async {
        standby
            .execute("postgres", "SELECT count(*) FROM users")
            .is_ok_and(|rows| rows[0][0].as_deref() == Some("11"))
    })
    .await;

    // From here on the replica hears nothing.
    standby.stop(StopMode::Fast).unwrap();
    for id in 12..=20 {
        assert!(is_in_both(&db.add_user(&named(id, "хвост")).await.unwrap()));
    }
    until(|| async { db.sync_now(Duration::from_secs(20)).await.is_ok() }).await;
    let _ = db.delete_user(3).await.unwrap();
    scene.server.kill().unwrap();
    standby.start().unwrap();
    standby.execute("postgres", "SELECT pg_promote()").unwrap();

    until_equal(&db, &standby.url(), &scene.path()).await;
    until_equal(&other, &standby.url(), &scene.folder.path().join("other.db")).await;
    let count = standby.execute("postgres", "SELECT count(*) FROM users").unwrap();
    assert_eq!(count[0][0].as_deref(), Some("19"), "all but the deleted one");
    until(|| async { is_in_both(&db.upsert_user(&named(21, "дальше")).await.unwrap()) }).await;
}

/// Nobody but the calls meets the promoted server: what it has lost is not "not found".
#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_replica_is_not_asked_before_it_was_compared() {
    let scene = Scene::new();
    let standby = scene.server.standby().unwrap();
    let url = format!(
        "postgresql://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=read-write",
        scene.server.port(),
        standby.port()
    );
    let db = open_with(&url, &scene.path()).background(false).open().await.unwrap();
    db.sync_now(LIMIT).await.unwrap();
    for id in 1..=3 {
        assert!(is_in_both(&db.add_user(&named(id, "до")).await.unwrap()));
    }
    db.sync_now(LIMIT).await.unwrap();
    until(|| async {
        standby
            .execute("postgres", "SELECT count(*) FROM users")
            .is_ok_and(|rows| rows[0][0].as_deref() == Some("3"))
    })
    .await;
    standby.stop(StopMode::Fast).unwrap();
    for id in 4..=6 {
        assert!(is_in_both(&db.add_user(&named(id, "хвост")).await.unwrap()));
    }
    scene.server.kill().unwrap();
    standby.start().unwrap();
    standby.execute("postgres", "SELECT pg_promote()").unwrap();

    // The first calls find the connections dead, and the breaker open.
    until(|| async {
        let found = db.get_user(4).await.unwrap();
        assert!(found.value.is_some(), "{found:?}");
        let _ = db.update_user(5, &setting("real_name", "дальше")).await.unwrap();
        let exists = db.add_user(&named(6, "дважды")).await.unwrap_err();
        assert!(exists.is_already_exists(), "{exists:?}");
        found.source == dual_database::Store::Postgres
    })
    .await;
    db.sync_now(LIMIT).await.unwrap();
    until_equal(&db, &standby.url(), &scene.path()).await;
}
