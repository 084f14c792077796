//! The calls with both stores at hand.

use std::time::Duration;

use dual_database::database::{Prefer, WriteMode};
use dual_database::users::{UserFilter, UserPatch};
use dual_database::{DualDatabase, Kind, Store};
use futures_util::StreamExt;

use super::api_scene::{Scene, both, eventually, name_of, named, only};

#[tokio::test(flavor = "multi_thread")]
async fn one_row_through_its_life() {
    let scene = Scene::shared("api_life");
    let db = scene.open().await;

    let user = both(db.add_user(&named(7, "Анна").phone_number("+7")).await.unwrap());
    assert_eq!((user.user_id, user.first_name.as_deref()), (7, Some("Анна")));
    assert_eq!(user.status.as_deref(), Some("registered"));
    assert_eq!(user.ai_concept.as_deref(), Some("evgenich"));
    assert_eq!(user.profile_completed, Some(false));
    assert!(user.register_date.is_some() && user.register_date == user.last_activity);
    assert!(user.id.is_some_and(|id| id > 0));
    let (theirs, ours) = scene.both();
    assert_eq!(theirs, ours);
    assert_eq!(scene.postgres("SELECT id::text FROM users"), scene.sqlite("SELECT id FROM users"));

    assert_eq!(db.add_user(&named(7, "x")).await.unwrap_err().kind(), Kind::AlreadyExists);
    let changes = UserPatch::new().status("issued").redeem_date(None);
    let user = both(db.update_user(7, &changes).await.unwrap());
    assert_eq!(user.status.as_deref(), Some("issued"));
    assert_eq!(user.first_name.as_deref(), Some("Анна"));
    assert_eq!(db.update_user(8, &changes).await.unwrap_err().kind(), Kind::NotFound);

    both(db.upsert_user(&named(8, "Яна")).await.unwrap());
    let user = both(db.upsert_user(&UserPatch::new().user_id(8).status("redeemed")).await.unwrap());
    assert_eq!(
        (user.first_name.as_deref(), user.status.as_deref()),
        (Some("Яна"), Some("redeemed"))
    );
    both(db.upsert_user(&UserPatch::new().user_id(8)).await.unwrap());

    both(db.delete_user(7).await.unwrap());
    assert_eq!(db.delete_user(7).await.unwrap_err().kind(), Kind::NotFound);
    let found = db.get_user(7).await.unwrap();
    assert_eq!((found.value, found.source), (None, Store::Postgres));
    // The next one inherits nothing.
    let user = both(db.add_user(&named(7, "Вера")).await.unwrap());
    assert_eq!(user.phone_number, None);
    let (theirs, ours) = scene.both();
    assert_eq!(theirs, ours);
    db.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_column_reaches_no_store() {
    let scene = Scene::shared("api_names");
    let db = scene.open().await;
    for error in [
        UserPatch::from_json(r#"{"user_id": 1, "fist_name": "x"}"#).unwrap_err(),
        db.add_user(&UserPatch::new().first_name("x")).await.unwrap_err(),
        db.add_user(&named(1, "a\0b")).await.unwrap_err(),
        db.update_user(1, &UserPatch::new()).await.unwrap_err(),
        db.update_user(1, &named(2, "x")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), Kind::InvalidData, "{error}");
    }
    assert_eq!(db.count_users(&UserFilter::new()).await.unwrap().value, 0);
    assert!(db.table("nobody").unwrap_err().is_configuration());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_a_constraint_leaves_both_as_they_were() {
    let scene = Scene::shared("api_check");
    let db = scene.open().await;
    both(db.add_user(&named(1, "Anna")).await.unwrap());
    scene
        .database
        .execute("ALTER TABLE users ADD CHECK (first_name <> 'bad'), ADD UNIQUE (phone_number)")
        .unwrap();
    let error = db.add_user(&named(2, "bad")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidData, "{}", error.chain());
    assert!(!error.chain().contains("bad'"), "{}", error.chain());
    let error = db.update_user(1, &UserPatch::new().first_name("bad")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidData);
    assert_eq!(name_of(&db, 1).await.as_deref(), Some("Anna"));
    let (theirs, ours) = scene.both();
    assert_eq!((theirs.len(), &theirs), (1, &ours));
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_counts_filters_and_streams_agree_on_both_sides() {
    let scene = Scene::shared("api_lists");
    let db = scene.open().await;
    for key in 1..=9_i64 {
        let day = 10 + key % 3;
        let date = format!("2025-08-{day} 10:00:00");
        let mut user = named(key, if key % 2 == 0 { "Анна" } else { "ян%а_" });
        user = match key {
            4 | 5 => user.register_date(None),
            _ => user.set("register_date", date.as_str()).unwrap(),
        };
        both(db.add_user(&user).await.unwrap());
    }
    let newest = [8, 2, 7, 1, 9, 6, 3, 5, 4];
    let anna = UserFilter::new().contains("first_name", "нна").unwrap();
    let percent = UserFilter::new().contains("first_name", "%").unwrap();
    let recent = UserFilter::new().since("register_date", "2025-08-12").unwrap();
    let undated = UserFilter::new().equals("register_date", None::<&str>).unwrap();
    let local = scene.builder().prefer(Prefer::Local).open().await.unwrap();
    for (db, source) in [(&db, Store::Postgres), (&local, Store::Sqlite)] {
        let found = db.get_all_users(None).await.unwrap();
        assert_eq!(found.source, source);
        let keys = |users: Vec<dual_database::users::User>| {
            users.into_iter().map(|user| user.user_id).collect::<Vec<_>>()
        };
        assert_eq!(keys(found.value), newest);
        assert_eq!(keys(db.get_all_users(Some(2)).await.unwrap().value), newest[..2]);
        assert!(db.get_all_users(Some(0)).await.unwrap().value.is_empty());
        let find =
            async |filter: &UserFilter| keys(db.find_users(filter, None).await.unwrap().value);
        assert_eq!(find(&anna).await, [8, 2, 6, 4]);
        assert_eq!(find(&percent).await, [7, 1, 9, 3, 5]);
        assert_eq!(find(&recent).await, [8, 2]);
        assert_eq!(find(&undated).await, [5, 4]);
        assert_eq!(db.count_users(&anna).await.unwrap().value, 4);
        let streamed: Vec<_> = db.users(&UserFilter::new()).collect().await;
        let streamed = streamed.into_iter().map(Result::unwrap).collect();
        assert_eq!(keys(streamed), newest);
    }
    // More than a page.
    scene
        .database
        .execute(
            "INSERT INTO users (user_id, register_date) SELECT 100 + i, \
             CASE WHEN i % 7 > 0 THEN timestamp '2025-01-01' + i / 5 * interval '1 hour' END \
             FROM generate_series(1, 5000) AS i",
        )
        .unwrap();
    eventually("the file has them", async || {
        local.count_users(&UserFilter::new()).await.unwrap().value == 5009
    })
    .await;
    let mut lists = Vec::new();
    for db in [&db, &local] {
        let all = db.get_all_users(None).await.unwrap().value;
        let streamed: Vec<_> =
            db.users(&UserFilter::new()).map(|user| user.unwrap().user_id).collect().await;
        assert_eq!(streamed, all.iter().map(|user| user.user_id).collect::<Vec<_>>());
        lists.push(streamed);
    }
    assert_eq!(lists[0], lists[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_write_is_seen_and_awaited() {
    let scene = Scene::shared("api_outside");
    let db = scene.open().await;
    both(db.add_user(&named(1, "Anna")).await.unwrap());
    // The file has not heard of it: the call waits for the feed, and then both have both.
    scene.database.execute("UPDATE users SET phone_number = '+1' WHERE user_id = 1").unwrap();
    both(db.update_user(1, &UserPatch::new().status("issued")).await.unwrap());
    assert_eq!(
        scene.sqlite("SELECT phone_number || status FROM users").as_deref(),
        Some("+1issued")
    );
    // Written into the file by an old script: pushed before the next write.
    scene
        .outsider()
        .execute("INSERT INTO users (user_id, first_name) VALUES (2, 'S')", [])
        .unwrap();
    assert_eq!(db.add_user(&named(2, "x")).await.unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(name_of(&db, 2).await.as_deref(), Some("S"));
    scene.wait_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local_first_answers_after_the_file() {
    let scene = Scene::shared("api_local_first");
    let db = scene.builder().write_mode(WriteMode::LocalFirst).open().await.unwrap();
    only(Store::Sqlite, db.add_user(&named(1, "Anna")).await.unwrap());
    assert_eq!(db.add_user(&named(1, "Anna")).await.unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(db.delete_user(2).await.unwrap_err().kind(), Kind::NotFound);
    only(Store::Sqlite, db.update_user(1, &UserPatch::new().status("issued")).await.unwrap());
    assert_eq!(name_of(&db, 1).await.as_deref(), Some("Anna"));
    eventually("PostgreSQL gets it", async || {
        scene.postgres("SELECT status FROM users").as_deref() == Some("issued")
    })
    .await;
    scene.wait_equal().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_at_once() {
    let scene = Scene::shared("api_thousand");
    let db = scene.builder().timeout(Duration::from_secs(60)).open().await.unwrap();
    let calls = (1..=1000_i64).map(|key| {
        let db: DualDatabase = db.clone();
        tokio::spawn(async move { db.add_user(&named(key, "x")).await })
    });
    for call in calls.collect::<Vec<_>>() {
        both(call.await.unwrap().unwrap());
    }
    assert_eq!(db.count_users(&UserFilter::new()).await.unwrap().value, 1000);
    let (theirs, ours) = scene.both();
    assert_eq!(theirs.len(), 1000);
    let differing: Vec<_> = theirs.iter().zip(&ours).filter(|(one, other)| one != other).collect();
    assert_eq!((ours.len(), differing), (1000, vec![]));
    // Everybody wants the same row.
    let calls = (0..200).map(|at| {
        let db = db.clone();
        let patch = UserPatch::new().user_id(5000).set("source", format!("{at}")).unwrap();
        tokio::spawn(async move { db.upsert_user(&patch).await })
    });
    for call in calls.collect::<Vec<_>>() {
        both(call.await.unwrap().unwrap());
    }
    // One after the other: nobody overwrote what was pending.
    assert_eq!(db.status().await.unwrap().conflicts, Some(0));
    scene.wait_equal().await;
    assert_eq!(scene.postgres("SELECT count(*)::text FROM users").as_deref(), Some("1001"));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_how_both_stand() {
    let scene = Scene::shared("api_status");
    let db = scene.open().await;
    both(db.add_user(&named(1, "Anna")).await.unwrap());
    db.sync_now(Duration::from_secs(10)).await.unwrap();
    let status = db.status().await.unwrap();
    assert_eq!(status.postgres.state, dual_database::health::StoreState::Up);
    assert_eq!(status.sqlite.state, dual_database::health::StoreState::Up);
    assert_eq!((status.pending_to_postgres, status.pending_to_sqlite), (Some(0), Some(0)));
    assert_eq!((status.conflicts, status.quarantined), (Some(0), Some(0)));
    assert_eq!(status.sync, "following");
    assert!(status.last_sync_age_ms.is_some_and(|age| age < 60_000));
    assert!(db.conflicts(10).await.unwrap().is_empty());
    assert_eq!(db.review_conflicts().await.unwrap(), 0);
    assert!(db.quarantine().await.unwrap().is_empty());
}

#[test]
fn the_blocking_facade() {
    let scene = Scene::shared("api_blocking");
    let db = dual_database::blocking::DualDatabase::open(scene.builder()).unwrap();
    both(db.add_user(&named(1, "Anna")).unwrap());
    both(db.add_user(&named(2, "Vera")).unwrap());
    let name = both(
        db.transaction(|tx| {
            let user = tx.get_user(1)?.expect("it was added");
            tx.delete_user(1)?;
            tx.update_user(2, &UserPatch::new().username(user.first_name.as_deref()))?;
            tx.add_user(&named(3, "Yana"))?;
            Ok(user.first_name)
        })
        .unwrap(),
    );
    assert_eq!(name.as_deref(), Some("Anna"));
    let keys: Vec<i64> = db.users(&UserFilter::new()).map(|user| user.unwrap().user_id).collect();
    assert_eq!(keys.len(), 2);
    assert_eq!(db.get_user(2).unwrap().value.unwrap().username.as_deref(), Some("Anna"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let error = runtime.block_on(async { db.get_user(2).unwrap_err() });
    assert!(error.is_configuration(), "{error}");
    db.close(Duration::from_secs(5)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_of_nobodys_is_refused_and_one_that_is_there_hinders_nothing() {
    let scene = Scene::shared("api_words");
    let db = scene.builder().timeout(Duration::from_secs(30)).open().await.unwrap();
    both(db.add_user(&named(1, "Анна")).await.unwrap());
    let error = db.update_user(1, &UserPatch::new().status("redemed")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidData);
    assert_eq!(error.hint(), Some("did you mean `redeemed`?"));
    // Another program's words are carried, found, and hinder no other update.
    scene.database.execute("UPDATE users SET status = 'blocked'").unwrap();
    scene.wait_equal().await;
    let user = both(db.update_user(1, &UserPatch::new().source("vk")).await.unwrap());
    assert_eq!(user.status.as_deref(), Some("blocked"));
    let renamed = db
        .transaction(async |tx| {
            tx.update_user(1, &UserPatch::new().first_name("Вера")).await.map(drop)
        })
        .await;
    both(renamed.unwrap());
    let blocked = UserFilter::new().equals("status", "blocked").unwrap();
    assert_eq!(db.count_users(&blocked).await.unwrap().value, 1);
    both(db.update_user(1, &UserPatch::new().status("redeemed")).await.unwrap());
    scene.wait_equal().await;
    db.close(Duration::from_secs(5)).await;
}
