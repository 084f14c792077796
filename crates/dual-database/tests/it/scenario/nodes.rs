//! Several nodes on one PostgreSQL, several processes on one file.

use std::process::Child;

use dual_database::Store;
use throwaway_postgres::StopMode;

use super::gate::Gate;
use super::power::worker;
use super::scene::{
    LIMIT, Place, Scene, is_in_both, named, open_with, postgres_rows, setting, sqlite_rows, until,
    until_equal,
};

#[tokio::test(flavor = "multi_thread")]
async fn different_columns_both_survive_and_of_the_same_the_later_wins() {
    let place = Place::new();
    let gate = Gate::before(place.database.server().port());
    let other_path = place.folder.path().join("other.db");
    let one = place.open().await;
    let two = open_with(&gate.url(&place.url()), &other_path).open().await.unwrap();
    assert!(is_in_both(&one.add_user(&named(1, "общий")).await.unwrap()));
    until(|| async { two.get_user(1).await.unwrap().value.is_some() }).await;
    two.sync_now(LIMIT).await.unwrap();

    gate.shut();
    until(|| async {
        let written = two.update_user(1, &setting("phone_number", "+7 второй")).await.unwrap();
        !written.is_in(Store::Postgres)
    })
    .await;
    assert!(
        !two.update_user(1, &setting("source", "раньше")).await.unwrap().is_in(Store::Postgres)
    );
    assert!(is_in_both(&one.update_user(1, &setting("real_name", "первый")).await.unwrap()));
    assert!(is_in_both(&one.update_user(1, &setting("source", "позже")).await.unwrap()));
    gate.open();

    until_equal(&two, &place.url(), &other_path).await;
    until_equal(&one, &place.url(), &place.path()).await;
    let row = "SELECT phone_number, real_name, source FROM users WHERE user_id = 1";
    assert_eq!(place.psql(row), "+7 второй|первый|позже");
    let conflicts = one.conflicts(10).await.unwrap();
    assert_eq!(conflicts.len(), 1, "{conflicts:?}");
    assert_eq!((&*conflicts[0].column, conflicts[0].losing.as_deref()), ("source", Some("раньше")));
    assert_eq!(two.conflicts(10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_beats_an_update_that_did_not_know_it_and_tells() {
    let place = Place::new();
    let gate = Gate::before(place.database.server().port());
    let other_path = place.folder.path().join("other.db");
    let one = place.open().await;
    let two = open_with(&gate.url(&place.url()), &other_path).open().await.unwrap();
    assert!(is_in_both(&one.add_user(&named(1, "общий")).await.unwrap()));
    two.sync_now(LIMIT).await.unwrap();
    gate.shut();
    let _ = one.delete_user(1).await.unwrap();
    until(|| async {
        let written = two.update_user(1, &setting("source", "поздно")).await.unwrap();
        !written.is_in(Store::Postgres)
    })
    .await;
    gate.open();
    until_equal(&two, &place.url(), &other_path).await;
    assert_eq!(place.psql("SELECT count(*) FROM users"), "0");
    assert!(two.conflicts(10).await.unwrap().iter().any(|c| c.losing.as_deref() == Some("поздно")));
}

/// Two processes on one file; the one that works is killed, or stopped.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_takes_over_from_one_that_is_killed_or_stopped() {
    for signal in ["KILL", "STOP"] {
        let place = Place::new();
        let first: Child = worker(&place.url(), &place.path(), "idle");
        until(|| async { place.path().exists() && postgres_has_users(&place.url()) }).await;
        let second = worker(&place.url(), &place.path(), "idle");
        place.psql("INSERT INTO users (user_id) VALUES (1)");
        until(|| async { postgres_rows(&place.url()) == sqlite_rows(&place.path()) }).await;
        send(&first, signal);
        place.psql("INSERT INTO users (user_id) VALUES (2)");
        place.sqlite("db.execute('INSERT INTO users (user_id) VALUES (3)')");
        until(|| async {
            place.psql("SELECT count(*) FROM users") == "3"
                && postgres_rows(&place.url()) == sqlite_rows(&place.path())
        })
        .await;
        for mut child in [first, second] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

fn postgres_has_users(url: &str) -> bool {
    super::scene::psql(url, "SELECT to_regclass('dual.side_users') IS NOT NULL") == "t"
}

fn send(child: &Child, signal: &str) {
    let status = std::process::Command::new("kill")
        .args([format!("-{signal}"), child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_file_on_two_machines_is_noticed() {
    let scene = Scene::new();
    let db = scene.open().await;
    for id in 1..=10 {
        let _ = db.add_user(&named(id, "наш")).await.unwrap();
    }
    scene.until_equal(&db).await;
    db.close(LIMIT).await;
    let copy = scene.folder.path().join("copy.db");
    std::fs::copy(scene.path(), &copy).unwrap();
    let one = scene.open().await;
    let two = open_with(&scene.url(), &copy).open().await.unwrap();
    for id in 11..=20 {
        let _ = one.add_user(&named(id, "первый")).await.unwrap();
        let _ = two.add_user(&named(id + 100, "второй")).await.unwrap();
    }
    scene.server.stop(StopMode::Fast).unwrap();
    let _ = one.update_user(1, &setting("real_name", "первый")).await.unwrap();
    let _ = two.update_user(1, &setting("username", "второй")).await.unwrap();
    scene.server.start().unwrap();
    until_equal(&one, &scene.url(), &scene.path()).await;
    until_equal(&two, &scene.url(), &copy).await;
    until_equal(&one, &scene.url(), &scene.path()).await;
    assert_eq!(
        scene.psql("SELECT real_name, username FROM users WHERE user_id = 1"),
        "первый|второй"
    );
    assert_eq!(scene.psql("SELECT count(*) FROM users"), "30");
    let identities = "print(db.execute('SELECT file FROM dual_node').fetchone()[0])";
    assert_ne!(scene.sqlite(identities), super::scene::sqlite(&copy, identities));
}
