//! Several rows at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dual_database::database::{Transaction, UserFilter, UserPatch, WriteMode};
use dual_database::{DualDatabase, Kind, Result, Store};

use super::api_scene::{Scene, Wire, both, eventually, named, only};

async fn accounts(db: &DualDatabase) {
    for key in 1..=3 {
        both(db.add_user(&named(key, "x").brought_by_staff_id(100)).await.unwrap());
    }
    db.sync_now(Duration::from_secs(10)).await.unwrap();
}

async fn transfer(tx: &Transaction, from: i64, to: i64, amount: i64) -> Result<()> {
    for (key, by) in [(from, -amount), (to, amount)] {
        let has = tx.get_user(key).await?.and_then(|user| user.brought_by_staff_id).unwrap_or(0);
        tx.update_user(key, &UserPatch::new().brought_by_staff_id(has + by)).await?;
    }
    Ok(())
}

fn sum(scene: &Scene<'_>) -> (Option<String>, Option<String>) {
    let sql = "SELECT sum(brought_by_staff_id) FROM users";
    (
        scene.postgres(&sql.replace("sum(brought_by_staff_id)", "sum(brought_by_staff_id)::text")),
        scene.sqlite(sql),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_or_nothing() {
    let scene = Scene::shared("api_tx");
    let db = scene.open().await;
    accounts(&db).await;
    both(db.transaction(async |tx| transfer(&tx, 1, 2, 30).await).await.unwrap());
    let has = async |key| db.get_user(key).await.unwrap().value.unwrap().brought_by_staff_id;
    assert_eq!((has(1).await, has(2).await), (Some(70), Some(130)));

    // What the transaction sees of its own.
    let value = db
        .transaction(async |tx| {
            tx.add_user(&named(4, "new"))?;
            assert_eq!(tx.add_user(&named(4, "x")).unwrap_err().kind(), Kind::AlreadyExists);
            tx.update_user(4, &UserPatch::new().status("issued")).await?;
            assert_eq!(tx.get_user(4).await?.unwrap().status.as_deref(), Some("issued"));
            tx.delete_user(3).await?;
            assert!(tx.get_user(3).await?.is_none());
            assert_eq!(tx.delete_user(3).await.unwrap_err().kind(), Kind::NotFound);
            tx.add_user(&named(3, "again"))?;
            tx.add_user(&named(5, "brief"))?;
            tx.delete_user(5).await?;
            Ok(42)
        })
        .await
        .unwrap();
    assert_eq!(both(value), 42);
    assert_eq!(db.get_user(3).await.unwrap().value.unwrap().first_name.as_deref(), Some("again"));
    assert_eq!(db.count_users(&UserFilter::new()).await.unwrap().value, 4);

    // One change that cannot be done takes the others with it.
    let error = db
        .transaction(async |tx| {
            tx.update_user(1, &UserPatch::new().status("redeemed")).await?;
            tx.add_user(&named(2, "is there"))
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    let error = db
        .transaction(async |tx| {
            tx.update_user(1, &UserPatch::new().status("redeemed")).await?;
            tx.update_user(99, &UserPatch::new().status("redeemed")).await
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(db.get_user(1).await.unwrap().value.unwrap().status.as_deref(), Some("registered"));
    let (theirs, ours) = scene.both();
    assert_eq!(theirs, ours);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_overwrites_what_another_has_read() {
    let scene = Scene::shared("api_tx_race");
    let db = scene.builder().timeout(Duration::from_secs(20)).open().await.unwrap();
    accounts(&db).await;
    let done = std::sync::Arc::new(AtomicU32::new(0));
    let callers = (0..8).map(|caller| {
        let (db, done) = (db.clone(), done.clone());
        tokio::spawn(async move {
            for round in 0..5 {
                let (from, to) = (1 + (caller + round) % 3, 1 + (caller + round + 1) % 3);
                match db.transaction(async |tx| transfer(&tx, from, to, 1).await).await {
                    Ok(_) => done.fetch_add(1, Ordering::Relaxed),
                    Err(error) => {
                        assert!(error.is_conflict(), "{}", error.chain());
                        0
                    }
                };
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert!(done.load(Ordering::Relaxed) > 10);
    scene.wait_equal().await;
    assert_eq!(sum(&scene), (Some("300".into()), Some("300".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outside_change_makes_it_run_again() {
    let scene = Scene::shared("api_tx_again");
    let db = scene.open().await;
    accounts(&db).await;
    let runs = AtomicU32::new(0);
    let written = db
        .transaction(async |tx| {
            let run = 1 + runs.fetch_add(1, Ordering::Relaxed);
            let user = tx.get_user(1).await?.unwrap();
            if run == 1 {
                scene
                    .database
                    .execute("UPDATE users SET brought_by_staff_id = 500 WHERE user_id = 1")
                    .unwrap();
            }
            let more = user.brought_by_staff_id.unwrap() + 1;
            tx.update_user(1, &UserPatch::new().brought_by_staff_id(more)).await
        })
        .await
        .unwrap();
    assert_eq!(written.value().brought_by_staff_id, Some(501));
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    let runs = AtomicU32::new(0);
    let error = db
        .transaction(async |tx| {
            runs.fetch_add(1, Ordering::Relaxed);
            tx.get_user(1).await?;
            scene
                .database
                .execute("UPDATE users SET brought_by_staff_id = 1 + brought_by_staff_id")
                .unwrap();
            tx.update_user(1, &UserPatch::new().brought_by_staff_id(0)).await
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(runs.load(Ordering::Relaxed) > 2);
    scene.wait_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_the_file_while_postgres_is_away() {
    let scene = Scene::shared("api_tx_away");
    let db = scene.open().await;
    accounts(&db).await;
    scene.proxy.set(Wire::Refuse);
    only(Store::Sqlite, db.transaction(async |tx| transfer(&tx, 1, 2, 30).await).await.unwrap());
    // Gone in the middle.
    let runs = AtomicU32::new(0);
    scene.proxy.set(Wire::Pass);
    eventually("up again", async || db.get_user(1).await.unwrap().source == Store::Postgres).await;
    let written = db
        .transaction(async |tx| {
            let run = 1 + runs.fetch_add(1, Ordering::Relaxed);
            let has = tx.get_user(1).await?.unwrap().brought_by_staff_id.unwrap();
            if run == 1 {
                scene.proxy.set(Wire::Refuse);
            }
            tx.update_user(2, &UserPatch::new().username("moved")).await?;
            tx.update_user(1, &UserPatch::new().brought_by_staff_id(has - 1)).await?;
            tx.update_user(3, &UserPatch::new().brought_by_staff_id(101)).await?;
            Ok(())
        })
        .await
        .unwrap();
    only(Store::Sqlite, written);
    scene.proxy.set(Wire::Pass);
    scene.wait_equal().await;
    assert_eq!(sum(&scene), (Some("300".into()), Some("300".into())));
    // The answer to the commit lost.
    eventually("up again", async || db.get_user(1).await.unwrap().source == Store::Postgres).await;
    scene.proxy.set(Wire::LoseAnswerTo("Verloren"));
    let written = db
        .transaction(async |tx| {
            transfer(&tx, 1, 3, 7).await?;
            tx.update_user(2, &UserPatch::new().first_name("Verloren")).await?;
            Ok(())
        })
        .await
        .unwrap();
    only(Store::Sqlite, written);
    scene.wait_equal().await;
    assert_eq!(sum(&scene), (Some("300".into()), Some("300".into())));
    assert_eq!(
        scene.postgres("SELECT first_name FROM users WHERE user_id = 2").as_deref(),
        Some("Verloren")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn in_every_mode_and_from_a_task() {
    let scene = Scene::shared("api_tx_modes");
    let db = scene.open().await;
    accounts(&db).await;
    let local = scene.builder().write_mode(WriteMode::LocalFirst).open().await.unwrap();
    only(Store::Sqlite, local.transaction(async |tx| transfer(&tx, 1, 2, 1).await).await.unwrap());
    scene.wait_equal().await;
    let strict = scene.builder().write_mode(WriteMode::RequireBoth).open().await.unwrap();
    let task =
        tokio::spawn(
            async move { strict.transaction(async |tx| transfer(&tx, 1, 2, 1).await).await },
        );
    both(task.await.unwrap().unwrap());
    assert_eq!(sum(&scene), (Some("300".into()), Some("300".into())));
}
