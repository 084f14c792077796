//! How a database is opened, and what stands in the way.

use std::time::{Duration, Instant};

use dual_database::users::{UserFilter, UserPatch};
use dual_database::{DualDatabase, Kind, Store};

use super::api_scene::{Scene, both, eventually, named, only};

#[tokio::test(flavor = "multi_thread")]
async fn bad_settings_are_told_apart_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("users.db");
    let good = "postgresql://nobody@127.0.0.1:1/nothing";
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "this is no database, only some notes of somebody\n".repeat(100))
        .unwrap();
    let builder = || DualDatabase::builder();
    for (what, builder) in [
        ("no URL", builder().sqlite_path(&file)),
        ("no path", builder().postgres_url(good)),
        ("URL", builder().postgres_url("postgres//x").sqlite_path(&file)),
        ("scheme", builder().postgres_url("mysql://x@y/z").sqlite_path(&file)),
        ("folder", builder().postgres_url(good).sqlite_path(folder.path())),
        ("no folder", builder().postgres_url(good).sqlite_path(folder.path().join("a/b.db"))),
        ("no database", builder().postgres_url(good).sqlite_path(&text)),
        ("time", builder().postgres_url(good).sqlite_path(&file).timeout(Duration::ZERO)),
    ] {
        let error = builder.open().await.unwrap_err();
        assert_eq!(error.kind(), Kind::Configuration, "{what}: {}", error.chain());
        assert!(error.hint().is_some(), "{what}: {}", error.chain());
    }
    assert!(!file.exists());
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_again_finds_everything_and_brings_what_was_left() {
    let scene = Scene::shared("api_again");
    let db = scene.open().await;
    both(db.add_user(&named(1, "Anna")).await.unwrap());
    db.close(Duration::from_secs(5)).await;
    // While nobody runs, both sides are written to.
    scene.database.execute("UPDATE users SET phone_number = '+1'").unwrap();
    scene.outsider().execute("UPDATE users SET username = 'anna'", []).unwrap();
    let db = scene.open().await;
    scene.wait_equal().await;
    let user = db.get_user(1).await.unwrap().value.unwrap();
    assert_eq!(
        (user.phone_number.as_deref(), user.username.as_deref()),
        (Some("+1"), Some("anna"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_background_only_what_is_asked_for_is_exchanged() {
    let scene = Scene::shared("api_quiet");
    let first = scene.open().await;
    both(first.add_user(&named(1, "Anna")).await.unwrap());
    first.close(Duration::from_secs(5)).await;
    let db = scene.builder().background(false).open().await.unwrap();
    scene.database.execute("UPDATE users SET phone_number = '+1'").unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(scene.sqlite("SELECT phone_number FROM users"), None);
    assert_eq!(db.status().await.unwrap().pending_to_sqlite, Some(1));
    db.sync_now(Duration::from_secs(10)).await.unwrap();
    assert_eq!(scene.sqlite("SELECT phone_number FROM users").as_deref(), Some("+1"));
    both(db.add_user(&named(2, "Boris")).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_is_bounded_and_a_dropped_call_loses_nothing() {
    let scene = Scene::shared("api_close");
    let db = scene.open().await;
    both(db.add_user(&named(1, "Anna")).await.unwrap());
    scene.proxy.set(super::api_scene::Wire::Swallow);
    // Given up in the middle of everything.
    for after in [0, 1, 5, 20, 100] {
        let (patch, wait) = (UserPatch::new().status("issued"), Duration::from_millis(after));
        let _ = tokio::time::timeout(wait, db.update_user(1, &patch)).await;
    }
    only(Store::Sqlite, db.update_user(1, &UserPatch::new().status("redeemed")).await.unwrap());
    let started = Instant::now();
    db.clone().close(Duration::from_millis(300)).await;
    assert!(started.elapsed() < Duration::from_secs(30));
    // Its clones are closed as well; the next process goes on.
    let refused = db.add_user(&named(2, "Boris")).await.unwrap_err();
    assert_eq!(refused.kind(), dual_database::Kind::Interrupted);
    scene.proxy.set(super::api_scene::Wire::Refuse);
    scene.proxy.set(super::api_scene::Wire::Pass);
    drop(db);
    let db = scene.open().await;
    let _ = db.add_user(&named(2, "Boris")).await.unwrap();
    scene.wait_equal().await;
    assert_eq!(
        scene.postgres("SELECT status FROM users WHERE user_id = 1").as_deref(),
        Some("redeemed")
    );
    eventually("both are there", async || {
        db.count_users(&UserFilter::new()).await.unwrap().value == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_time_can_be_allowed_for_the_end() {
    let scene = Scene::shared("open_forever");
    let db = scene.open().await;
    db.sync_now(Duration::MAX).await.unwrap();
    db.close(Duration::MAX).await;
    let db = scene.builder().background(false).open().await.unwrap();
    db.close(Duration::MAX).await;
}
