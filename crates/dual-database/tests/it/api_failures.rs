//! The calls while one side, or both, cannot be used.

use std::time::{Duration, Instant};

use dual_database::database::{Prefer, WriteMode};
use dual_database::health::StoreState;
use dual_database::users::{UserFilter, UserPatch};
use dual_database::{DualDatabase, Kind, Store};

use super::api_scene::{Scene, TIMEOUT, Wire, both, eventually, name_of, named, only};

/// A call, with the wait that is allowed to it: the time-out, and what the file takes.
async fn in_time<T>(call: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let answer = call.await;
    let limit = TIMEOUT + Duration::from_secs(3);
    assert!(started.elapsed() < limit, "{:?}", started.elapsed());
    answer
}

async fn down(db: &DualDatabase, store: Store) {
    eventually("the store is known to be down", async || {
        let status = db.status().await.unwrap();
        let side = match store {
            Store::Postgres => status.postgres,
            Store::Sqlite => status.sqlite,
        };
        matches!(side.state, StoreState::Down { .. })
    })
    .await;
}

/// Everything that is promised while PostgreSQL is away, however it is.
async fn goes_on_without_postgres(db: &DualDatabase) {
    let user = only(Store::Sqlite, in_time(db.add_user(&named(10, "Вера"))).await.unwrap());
    assert!(user.id.is_some_and(|id| id < 0), "{user:?}");
    assert_eq!(user.status.as_deref(), Some("registered"));
    let error = in_time(db.add_user(&named(10, "x"))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    let error = in_time(db.add_user(&named(1, "x"))).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AlreadyExists);
    let status = UserPatch::new().status("issued");
    only(Store::Sqlite, in_time(db.update_user(1, &status)).await.unwrap());
    let error = in_time(db.update_user(99, &status)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    only(Store::Sqlite, in_time(db.upsert_user(&named(11, "Яна"))).await.unwrap());
    only(Store::Sqlite, in_time(db.upsert_user(&named(11, "Яна 2"))).await.unwrap());
    // Nothing is to be set; it is in the file alone all the same.
    let there = UserPatch::new().user_id(11);
    only(Store::Sqlite, in_time(db.upsert_user(&there)).await.unwrap());
    only(Store::Sqlite, in_time(db.delete_user(2)).await.unwrap());
    let error = in_time(db.delete_user(2)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);

    let found = in_time(db.get_user(1)).await.unwrap();
    assert_eq!(found.source, Store::Sqlite);
    assert!(found.age.is_some());
    assert_eq!(found.value.unwrap().status.as_deref(), Some("issued"));
    assert_eq!(in_time(db.get_user(2)).await.unwrap().value, None);
    let all = in_time(db.get_all_users(None)).await.unwrap();
    assert_eq!((all.value.len(), all.source), (3, Store::Sqlite));
    let count = in_time(db.count_users(&UserFilter::new())).await.unwrap();
    assert_eq!((count.value, count.source), (3, Store::Sqlite));
    let reported = db.status().await.unwrap();
    assert_eq!(reported.pending_to_postgres, Some(4));
}

async fn two_users(db: &DualDatabase) {
    both(db.add_user(&named(1, "Anna")).await.unwrap());
    both(db.add_user(&named(2, "Boris")).await.unwrap());
    db.sync_now(Duration::from_secs(10)).await.unwrap();
}

async fn everything_arrived(scene: &Scene<'_>, db: &DualDatabase) {
    scene.wait_equal().await;
    assert_eq!(scene.both().0.len(), 3);
    eventually("PostgreSQL is used again", async || {
        db.get_user(10).await.unwrap().source == Store::Postgres
    })
    .await;
    assert!(db.get_user(10).await.unwrap().value.unwrap().id.is_some_and(|id| id > 0));
    both(db.add_user(&named(12, "Zoe")).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_refuses_connections() {
    let scene = Scene::shared("api_refused");
    let db = scene.open().await;
    two_users(&db).await;
    scene.proxy.set(Wire::Refuse);
    goes_on_without_postgres(&db).await;
    scene.proxy.set(Wire::Pass);
    everything_arrived(&scene, &db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_swallows_packets() {
    let scene = Scene::shared("api_swallowed");
    let db = scene.open().await;
    two_users(&db).await;
    scene.proxy.set(Wire::Swallow);
    goes_on_without_postgres(&db).await;
    // What was swallowed never comes: whoever waits for an answer to it waits in vain.
    scene.proxy.set(Wire::Pass);
    everything_arrived(&scene, &db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_crashes_and_comes_back() {
    let server = throwaway_postgres::Server::builder().start().unwrap();
    let scene = Scene::on(&server, "api_crash");
    let db = scene.open().await;
    two_users(&db).await;
    server.stop(throwaway_postgres::StopMode::Immediate).unwrap();
    goes_on_without_postgres(&db).await;
    server.start().unwrap();
    everything_arrived(&scene, &db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_without_postgres() {
    let scene = Scene::shared("api_first_start");
    scene.proxy.set(Wire::Refuse);
    let db = scene.open().await;
    only(Store::Sqlite, db.add_user(&named(1, "Anna")).await.unwrap());
    assert_eq!(db.update_user(2, &named(2, "x")).await.unwrap_err().kind(), Kind::NotFound);
    assert_eq!(name_of(&db, 1).await.as_deref(), Some("Anna"));
    scene.proxy.set(Wire::Pass);
    eventually("the table is made", async || {
        scene.postgres("SELECT to_regclass('users')::text").is_some()
    })
    .await;
    scene.wait_equal().await;
    assert!(db.get_user(1).await.unwrap().value.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_no_lost_write_and_no_second_one() {
    let scene = Scene::shared("api_lost_answer");
    let db = scene.open().await;
    two_users(&db).await;
    let lose = |name: &'static str| scene.proxy.set(Wire::LoseAnswerTo(name));
    lose("Verloren");
    only(Store::Sqlite, in_time(db.add_user(&named(10, "Verloren"))).await.unwrap());
    assert!(scene.proxy.is(&Wire::Pass));
    scene.wait_equal().await;
    eventually("up again", async || db.get_user(10).await.unwrap().source == Store::Postgres).await;
    assert_eq!(scene.postgres("SELECT count(*)::text FROM users").as_deref(), Some("3"));
    assert_eq!(db.status().await.unwrap().conflicts, Some(0));

    // An update of a row that the file has not heard of yet: nobody can say what became of it.
    scene.database.execute("INSERT INTO users (user_id) VALUES (50)").unwrap();
    lose("Unbekannt");
    let there = || scene.postgres("SELECT first_name FROM users WHERE user_id = 50");
    match in_time(db.update_user(50, &named(50, "Unbekannt"))).await {
        // The feed was faster.
        Ok(written) => {
            assert!(written.is_in(Store::Sqlite));
            eventually("it arrives", async || there().as_deref() == Some("Unbekannt")).await;
        }
        // Done, or refused because the row's stamp is as young.
        Err(error) => assert_eq!(error.kind(), Kind::OutcomeUnknown(Store::Postgres), "{error}"),
    }
    scene.wait_equal().await;
    assert!(there().is_none_or(|name| name == "Unbekannt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_statement_loses_to_what_came_after_it() {
    let scene = Scene::shared("api_late");
    let db = scene.open().await;
    two_users(&db).await;
    // Somebody holds the row for longer than the call waits.
    let url = scene.database.url();
    let holder = tokio::spawn(async move {
        let (client, connection) =
            tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        let driving = tokio::spawn(connection);
        client
            .batch_execute(
                "BEGIN; UPDATE users SET source = 'held' WHERE user_id = 1; \
                 SELECT pg_sleep(3); COMMIT",
            )
            .await
            .unwrap();
        drop(client);
        let _ = driving.await;
    });
    eventually("it is held", async || {
        scene
            .postgres(
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(3)%' \
             AND wait_event = 'PgSleep' AND datname = current_database()",
            )
            .is_some()
    })
    .await;
    let first = db.update_user(1, &UserPatch::new().username("first")).await.unwrap();
    assert!(first.is_in(Store::Sqlite));
    let second = db.update_user(1, &UserPatch::new().username("second")).await.unwrap();
    assert!(second.is_in(Store::Sqlite));
    holder.await.unwrap();
    scene.wait_equal().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    scene.wait_equal().await;
    let there = scene.postgres("SELECT username || ' ' || source FROM users WHERE user_id = 1");
    assert_eq!(there.as_deref(), Some("second held"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_locked() {
    let scene = Scene::shared("api_locked");
    let db = scene.open().await;
    two_users(&db).await;
    let outsider = scene.outsider();
    outsider.execute_batch("BEGIN IMMEDIATE").unwrap();
    only(Store::Postgres, in_time(db.add_user(&named(10, "Vera"))).await.unwrap());
    only(Store::Postgres, in_time(db.delete_user(2)).await.unwrap());
    // Reading goes on, and what only PostgreSQL has is seen.
    assert_eq!(name_of(&db, 10).await.as_deref(), Some("Vera"));
    let strict = scene.builder().write_mode(WriteMode::RequireBoth).open().await.unwrap();
    let error = strict.add_user(&named(11, "Yana")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Partial(Store::Sqlite), "{error}");
    let local = scene.builder().write_mode(WriteMode::LocalFirst).open().await.unwrap();
    only(Store::Postgres, local.add_user(&named(12, "Zoe")).await.unwrap());
    // Both: one error with both causes.
    scene.proxy.set(Wire::Refuse);
    down(&db, Store::Postgres).await;
    let error = db.add_user(&named(13, "x")).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(
        error.message().contains("SQLite") && error.message().contains("PostgreSQL"),
        "{error}"
    );
    scene.proxy.set(Wire::Pass);
    outsider.execute_batch("ROLLBACK").unwrap();
    scene.wait_equal().await;
    assert_eq!(scene.both().0.len(), 4);
    eventually("the file is used again", async || {
        matches!(
            db.upsert_user(&named(20, "x")).await.unwrap(),
            dual_database::database::Written::InBoth(_)
        )
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_are_required() {
    let scene = Scene::shared("api_require");
    let db = scene.builder().write_mode(WriteMode::RequireBoth).open().await.unwrap();
    both(db.add_user(&named(1, "Anna")).await.unwrap());
    scene.proxy.set(Wire::Refuse);
    // A write that is sent before the loss is noticed may have been executed.
    let notices = async || db.get_user(1).await.unwrap().source == Store::Sqlite;
    eventually("the loss is noticed", notices).await;
    for error in [
        db.add_user(&named(2, "x")).await.unwrap_err(),
        db.update_user(1, &named(1, "x")).await.unwrap_err(),
        db.delete_user(1).await.unwrap_err(),
    ] {
        assert!(error.is_unavailable(), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("nothing was written")));
    }
    assert_eq!(name_of(&db, 1).await.as_deref(), Some("Anna"));
    assert_eq!(scene.sqlite("SELECT count(*) FROM users").as_deref(), Some("1"));
    scene.proxy.set(Wire::Pass);
    eventually("up again", async || db.get_user(1).await.unwrap().source == Store::Postgres).await;
    // Its answer lost, it stands in the file and will arrive.
    scene.proxy.set(Wire::LoseAnswerTo("Verloren"));
    let error = db.add_user(&named(2, "Verloren")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Partial(Store::Postgres), "{}", error.chain());
    scene.wait_equal().await;
    assert_eq!(scene.both().0.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_deleted_or_replaced_while_it_is_open() {
    let scene = Scene::shared("api_deleted");
    let db = scene.open().await;
    two_users(&db).await;
    scene.proxy.set(Wire::Refuse);
    only(Store::Sqlite, db.add_user(&named(10, "Vera")).await.unwrap());
    std::fs::remove_file(scene.file()).unwrap();
    only(Store::Sqlite, db.add_user(&named(11, "Yana")).await.unwrap());
    scene.proxy.set(Wire::Pass);
    scene.wait_equal().await;
    assert_eq!(scene.both().0.len(), 4);
    db.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_first_if_that_is_preferred() {
    let scene = Scene::shared("api_prefer_local");
    let db = scene.builder().prefer(Prefer::Local).open().await.unwrap();
    two_users(&db).await;
    let found = db.get_user(1).await.unwrap();
    assert_eq!(found.source, Store::Sqlite);
    assert!(found.age.is_some_and(|age| age < Duration::from_secs(60)));
}

#[tokio::test(flavor = "multi_thread")]
async fn half_of_a_transfer_is_never_seen_in_the_file() {
    let scene = Scene::shared("api_half");
    let db = scene.open().await;
    for key in [1, 2] {
        both(db.add_user(&named(key, "x").brought_by_staff_id(150)).await.unwrap());
    }
    db.sync_now(Duration::from_secs(10)).await.unwrap();
    let sum = || scene.sqlite("SELECT sum(brought_by_staff_id) FROM users");
    for round in 1..=20 {
        // Somebody moves 50 between two rows; a call touches one of them at once.
        let (from, to) = if round % 2 == 0 { (1, 2) } else { (2, 1) };
        scene
            .database
            .execute(&format!(
                "UPDATE users SET brought_by_staff_id = brought_by_staff_id \
                 + CASE user_id WHEN {from} THEN -50 ELSE 50 END WHERE user_id IN ({from}, {to})"
            ))
            .unwrap();
        let touched = UserPatch::new().username("touched");
        let call = db.update_user(1, &touched);
        let looking = async {
            for _ in 0..20 {
                assert_eq!(sum().as_deref(), Some("300"));
                tokio::task::yield_now().await;
            }
        };
        let (written, ()) = tokio::join!(call, looking);
        let _ = written.unwrap();
        assert_eq!(sum().as_deref(), Some("300"));
    }
    scene.wait_equal().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_listens() {
    let scene = Scene::shared("api_nobody");
    let db = DualDatabase::builder()
        .postgres_url("postgresql://nobody@127.0.0.1:1/nothing")
        .sqlite_path(scene.file())
        .timeout(TIMEOUT)
        .open()
        .await
        .unwrap();
    only(Store::Sqlite, in_time(db.add_user(&named(1, "Anna"))).await.unwrap());
    let status = db.status().await.unwrap();
    assert!(matches!(status.postgres.state, StoreState::Down { .. }), "{status:?}");
    assert_eq!(status.pending_to_sqlite, None);
    down(&db, Store::Postgres).await;
    db.close(Duration::from_millis(300)).await;
}

/// Runs an ignored test of this binary in a process with a small disk of its own.
fn on_a_small_disk(test: &str, variables: &[(&str, &str)]) {
    let folder = tempfile::tempdir().unwrap();
    let output = std::process::Command::new("unshare")
        .args(["-rm", "sh", "-c", "mount -t tmpfs -o size=2m tmpfs \"$0\" && \"$@\""])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env("SMALL_DISK", folder.path())
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}\n{errors}");
}

#[test]
fn the_disk_is_full() {
    let scene = Scene::shared("api_full");
    on_a_small_disk("api_failures::inner_full_disk", &[("URL", &scene.database.url())]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by `the_disk_is_full` on a disk of its own"]
async fn inner_full_disk() {
    let folder = std::path::PathBuf::from(std::env::var("SMALL_DISK").unwrap());
    let db = DualDatabase::builder()
        .postgres_url(std::env::var("URL").unwrap())
        .sqlite_path(folder.join("users.db"))
        .timeout(TIMEOUT)
        .open()
        .await
        .unwrap();
    both(db.add_user(&named(1, "Anna")).await.unwrap());
    // Somebody fills the disk.
    let ballast = folder.join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    drop(file);
    let mut key = 1;
    eventually("the file is full", async || {
        key += 1;
        let long = "x".repeat(3_000);
        let written = db.add_user(&named(key, &long)).await.unwrap();
        assert!(written.is_in(Store::Postgres));
        !written.is_in(Store::Sqlite)
    })
    .await;
    assert_eq!(name_of(&db, 1).await.as_deref(), Some("Anna"));
    down(&db, Store::Sqlite).await;
    std::fs::remove_file(&ballast).unwrap();
    eventually("the file is used again, and has everything", async || {
        let written = db.upsert_user(&named(0, "Zoe")).await.unwrap();
        let status = db.status().await.unwrap();
        written.is_in(Store::Sqlite)
            && written.is_in(Store::Postgres)
            && status.pending_to_sqlite == Some(0)
    })
    .await;
    assert!(db.verify().await.unwrap().equal);
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_comes_back_while_the_file_is_away() {
    let scene = Scene::shared("api_both_away");
    let db = scene.open().await;
    both(db.add_user(&named(1, "Anna")).await.unwrap());
    let script = scene.outsider();
    script.execute_batch("BEGIN IMMEDIATE").unwrap();
    only(Store::Postgres, db.add_user(&named(2, "Boris")).await.unwrap());
    scene.proxy.set(Wire::Refuse);
    // A write that is sent before the loss is noticed may have been executed.
    let notices = async || db.get_user(1).await.unwrap().source == Store::Sqlite;
    eventually("the loss is noticed", notices).await;
    let error = db.add_user(&named(3, "Vera")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable(Store::Postgres));
    scene.proxy.set(Wire::Pass);
    // PostgreSQL is all that is needed.
    eventually("PostgreSQL is used again", async || {
        db.upsert_user(&named(4, "Olga")).await.is_ok_and(|written| written.is_in(Store::Postgres))
    })
    .await;
    assert_eq!(name_of(&db, 2).await.as_deref(), Some("Boris"));
    script.execute_batch("ROLLBACK").unwrap();
    eventually("the file catches up", async || {
        scene.sqlite("SELECT count(*) FROM users").as_deref() == Some("3")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_meets_what_a_script_has_written_meanwhile() {
    let scene = Scene::shared("api_meets");
    let db = scene.open().await;
    both(db.add_user(&named(1, "Anna")).await.unwrap());
    scene
        .database
        .execute(
            "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN PERFORM pg_advisory_xact_lock_shared(7); PERFORM pg_sleep(0.5); RETURN NEW; END'; \
             CREATE TRIGGER late BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION late()",
        )
        .unwrap();
    let call = tokio::spawn({
        let db = db.clone();
        async move { db.update_user(1, &UserPatch::new().first_name("call")).await }
    });
    eventually("the call is under way", async || {
        let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        scene.postgres(held).as_deref() != Some("0")
    })
    .await;
    let script = "UPDATE users SET first_name = 'script' WHERE user_id = 1";
    scene.outsider().execute_batch(script).unwrap();
    both(call.await.unwrap().unwrap());
    scene.wait_equal().await;
    // One of them stands, and the other is in the log.
    let stands = name_of(&db, 1).await.unwrap();
    let log = db.conflicts(10).await.unwrap();
    let lost = if stands == "call" { "script" } else { "call" };
    assert!(log.iter().any(|entry| entry.losing.as_deref() == Some(lost)), "{stands}: {log:?}");
}
