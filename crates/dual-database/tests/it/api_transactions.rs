//! Several rows at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dual_database::database::{Transaction, WriteMode};
use dual_database::users::{UserFilter, UserPatch};
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

#[tokio::test(flavor = "multi_thread")]
async fn clones_that_are_used_at_once_undo_nothing_of_each_other() {
    let scene = Scene::shared("tx_clones");
    let db = scene.builder().timeout(Duration::from_secs(30)).open().await.unwrap();
    accounts(&db).await;
    let at_once = async |tx: &Transaction| {
        let (source, name) = (UserPatch::new().source("vk"), UserPatch::new().username("anna"));
        let (one, other, seen) =
            tokio::join!(tx.update_user(1, &source), tx.update_user(1, &name), tx.get_user(1));
        assert!(one.is_ok() && other.is_ok() && seen.is_ok());
        let user = tx.get_user(1).await?.unwrap();
        assert_eq!((user.source.as_deref(), user.username.as_deref()), (Some("vk"), Some("anna")));
        // Of a row that is deleted beside it nothing is left to be set.
        let (gone, set) = tokio::join!(tx.delete_user(2), tx.update_user(2, &source));
        assert!(gone.is_ok() && set.err().is_none_or(|error| error.is_not_found()));
        assert!(tx.get_user(2).await?.is_none());
        Ok(())
    };
    both(db.transaction(async |tx| at_once(&tx).await).await.unwrap());
    let row = "SELECT source || ' ' || username FROM users WHERE user_id = 1";
    assert_eq!(scene.postgres(row).as_deref(), Some("vk anna"));
    assert_eq!(scene.postgres("SELECT count(*)::text FROM users").as_deref(), Some("2"));
    scene.wait_equal().await;
    db.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clone_that_is_used_after_the_end_is_told_so() {
    let scene = Scene::shared("tx_ended");
    let db = scene.builder().timeout(Duration::from_secs(30)).open().await.unwrap();
    accounts(&db).await;
    let (mut of_a_failure, mut of_a_commit) = (None, None);
    let failed = db.transaction(|tx| {
        of_a_failure = Some(tx.clone());
        async move { tx.get_user(404).await?.ok_or_else(tx_error).map(drop) }
    });
    assert_eq!(failed.await.unwrap_err().kind(), Kind::InvalidData);
    let done = db.transaction(|tx| {
        of_a_commit = Some(tx.clone());
        async move { tx.update_user(1, &UserPatch::new().source("vk")).await.map(drop) }
    });
    both(done.await.unwrap());
    for kept in [of_a_failure, of_a_commit].into_iter().flatten() {
        let name = UserPatch::new().username("late");
        for error in [
            kept.update_user(1, &name).await.unwrap_err(),
            kept.add_user(&named(9, "late")).unwrap_err(),
            kept.delete_user(1).await.unwrap_err(),
            kept.get_user(1).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), Kind::Interrupted, "{error}");
        }
    }
    db.close(Duration::from_secs(5)).await;
}

fn tx_error() -> dual_database::Error {
    dual_database::Error::new(Kind::InvalidData, "test", "nobody is there")
}
