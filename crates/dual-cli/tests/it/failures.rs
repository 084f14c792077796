//! Stores that are away, crashes between the commits, disks that are full.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::proxy::{AtCommit, Proxy};
use crate::scene::{Scene, bot_row, heading};

fn rows(count: i64) -> Value {
    let mut rows = vec![heading()];
    for index in 0..count {
        rows.push(bot_row("2025-07-10 12:00:05", 101 + index, "Купон выдан"));
    }
    Value::Array(rows)
}

/// A port on which nothing listens.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn with_postgresql_away_sqlite_is_loaded_and_the_next_run_carries_it_over() {
    let scene = Scene::new(rows(3));
    let away = format!("postgresql://postgres@127.0.0.1:{}/none", free_port());
    let ran = scene.migrate_to(&away, &["--json"]).ended(3);
    let document = ran.json();
    assert_eq!(document["stored"], json!({ "postgres": false, "sqlite": true }));
    assert_eq!(document["stores"]["postgres"]["state"], "away");
    assert_eq!(document["stores"]["sqlite"]["inserted"], 3);
    assert_eq!(
        scene.sqlite("SELECT count(*), max(id) < 0 FROM users")[0],
        [Some("3".into()), Some("1".into())]
    );
    // What the file learns in the meantime goes along.
    scene.sqlite("UPDATE users SET real_name = 'Позже' WHERE user_id = 102");
    scene.migrate(&["--json"]).ended(0);
    // What was pending went first, and every row of the file has got PostgreSQL's number.
    assert_eq!(scene.pending(), 0);
    assert_eq!(scene.equal().len(), 3);
    assert_eq!(scene.value(102, "real_name").as_deref(), Some("Позже"));
    assert_eq!(scene.value(101, "id").as_deref(), Some("1"));
    let before = scene.versions();
    scene.migrate(&[]).ended(0);
    assert!(scene.versions() == before);
}

#[test]
fn a_server_that_swallows_packets_is_away_within_its_time_out() {
    let scene = Scene::new(rows(1));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgresql://postgres@127.0.0.1:{port}/none?connect_timeout=2");
    let ran = scene.migrate_to(&url, &["--json"]).ended(3);
    assert_eq!(ran.json()["stored"]["sqlite"], true);
    drop(listener);
}

#[test]
fn with_sqlite_locked_postgresql_is_loaded_and_the_next_run_completes_the_file() {
    let scene = Scene::new(rows(3));
    let other = rusqlite::Connection::open(scene.sqlite_path()).unwrap();
    other.execute_batch("CREATE TABLE t (a); BEGIN EXCLUSIVE").unwrap();
    let document = scene.migrate(&["--json"]).ended(3).json();
    assert_eq!(document["stored"], json!({ "postgres": true, "sqlite": false }));
    other.execute_batch("ROLLBACK").unwrap();
    drop(other);
    let document = scene.migrate(&["--json"]).ended(0).json();
    assert_eq!(document["stores"]["postgres"]["state"], "unchanged");
    assert!(document["completed_run"].is_string());
    assert_eq!(scene.equal().len(), 3);
}

#[test]
fn with_both_away_nothing_is_done() {
    let scene = Scene::new(rows(1));
    let other = rusqlite::Connection::open(scene.sqlite_path()).unwrap();
    other.execute_batch("CREATE TABLE t (a); BEGIN EXCLUSIVE").unwrap();
    let away = format!("postgresql://postgres@127.0.0.1:{}/none", free_port());
    let ran = scene.migrate_to(&away, &["--json"]).ended(4);
    assert_eq!(ran.json()["error"]["kind"], "unavailable");
    // Tables are not replaced on one side only.
    other.execute_batch("ROLLBACK").unwrap();
    let ran = scene.migrate_to(&away, &["--recreate-tables", "--yes"]).ended(4);
    assert!(ran.stderr.contains("both"), "{}", ran.stderr);
    assert!(scene.sqlite("SELECT name FROM sqlite_schema WHERE name = 'users'").is_empty());
}

#[test]
fn killed_between_the_commits_a_second_run_makes_both_equal() {
    let scene = Scene::new(rows(50));
    let port = scene.database.server().port();
    let proxy = Proxy::start(port, AtCommit::HoldAnswer);
    let mut child = scene
        .command_to(&proxy.url(&scene.database.url(), port), &[])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    proxy.wait_for_commit();
    // The server has been asked to commit; wait until it has.
    let limit = Instant::now() + Duration::from_secs(60);
    while scene.postgres("SELECT to_regclass('users') IS NOT NULL")[0][0].as_deref() != Some("t") {
        assert!(Instant::now() < limit, "PostgreSQL never committed");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(scene.postgres("SELECT count(*) FROM users")[0][0].as_deref(), Some("50"));
    assert!(
        scene.sqlite("SELECT name FROM sqlite_schema WHERE name = 'users'").is_empty(),
        "SQLite must not have committed yet"
    );
    // Another program goes on working with what PostgreSQL has.
    scene.postgres("UPDATE users SET real_name = 'После сбоя' WHERE user_id = 110");
    let document = scene.migrate(&["--json"]).ended(0).json();
    assert_eq!(document["stores"]["postgres"]["unchanged"], 50);
    assert_eq!(document["stores"]["sqlite"]["inserted"], 50);
    assert!(document["completed_run"].is_string());
    assert_eq!(scene.equal().len(), 50);
    assert_eq!(scene.value(110, "real_name").as_deref(), Some("После сбоя"));
}

#[test]
fn a_commit_whose_answer_is_lost_is_asked_for() {
    for (at_commit, code) in [(AtCommit::CutAfter, 0), (AtCommit::CutForGood, 3)] {
        let scene = Scene::new(rows(5));
        let port = scene.database.server().port();
        let proxy = Proxy::start(port, at_commit);
        let url = proxy.url(&scene.database.url(), port);
        let ran = scene.migrate_to(&url, &["--json"]).ended(code);
        assert_eq!(scene.equal().len(), 5, "{at_commit:?}");
        if at_commit == AtCommit::CutForGood {
            assert_eq!(ran.json()["stores"]["postgres"]["state"], "unknown");
        }
        scene.migrate(&[]).ended(0);
        assert_eq!(scene.equal().len(), 5);
    }
}

#[test]
fn a_lost_answer_is_found_although_another_clock_was_ahead() {
    let scene = Scene::new(rows(1));
    scene.migrate(&[]).ended(0);
    let ahead = "('ffffffff-ffff-7fff-bfff-ffffffffffff', 'a machine whose clock is ahead')";
    scene.postgres(&format!("INSERT INTO dual.import_run VALUES {ahead}"));
    scene.sqlite(&format!("INSERT INTO dual_import_run VALUES {ahead}"));
    scene.sheet(rows(5));
    let port = scene.database.server().port();
    let proxy = Proxy::start(port, AtCommit::CutAfter);
    scene.migrate_to(&proxy.url(&scene.database.url(), port), &[]).ended(0);
    assert_eq!(scene.equal().len(), 5);
}

#[test]
fn a_connection_lost_at_the_copy_leaves_the_other_database_loaded() {
    let scene = Scene::new(json!([]));
    let mut file = String::from("user_id,real_name\n");
    for index in 1..=200 {
        file.push_str(&format!("{index},{}\n", "я".repeat(4_000)));
    }
    let csv = scene.file("long.csv", file);
    let port = scene.database.server().port();
    let proxy = Proxy::start(port, AtCommit::CutAtCopy);
    let url = proxy.url(&scene.database.url(), port);
    let ran = scene.migrate_to(&url, &["--csv", csv.to_str().unwrap(), "--json"]).ended(3);
    assert_eq!(ran.json()["stored"], json!({ "postgres": false, "sqlite": true }));
    assert_eq!(scene.sqlite("SELECT count(*) FROM users")[0][0].as_deref(), Some("200"));
}

#[test]
fn a_connection_cut_before_the_commit_leaves_both_consistent() {
    let scene = Scene::new(rows(5));
    let port = scene.database.server().port();
    let proxy = Proxy::start(port, AtCommit::CutBefore);
    let ran = scene.migrate_to(&proxy.url(&scene.database.url(), port), &["--json"]);
    // PostgreSQL refused that commit; either the whole job was done again, or nothing was.
    assert!(matches!(ran.code, Some(0 | 3 | 4)), "{:?} {}", ran.code, ran.stderr);
    scene.migrate(&[]).ended(0);
    assert_eq!(scene.equal().len(), 5);
}

#[test]
fn a_full_disk_stops_everything_before_postgresql_commits() {
    let scene = Scene::new(json!([]));
    let mount = scene.folder.path().join("small");
    std::fs::create_dir(&mount).unwrap();
    let mut file = String::from("user_id,first_name,register_date\n");
    for index in 1..10_000 {
        file.push_str(&format!("{index},Имя {index} с длинным хвостом,2025-01-01 00:00:00\n"));
    }
    let csv = scene.file("many.csv", file);
    let path = mount.join("users.db");
    let migrate = scene.command(&[
        "--csv",
        csv.to_str().unwrap(),
        &format!("--sqlite-db-path={}", path.display()),
        "--json",
    ]);
    // A disk of its own, gone with the process; what is left on it is listed at the end.
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c"])
        .arg("mount -t tmpfs -o size=256k tmpfs \"$0\" && \"$@\"; code=$?; ls -A \"$0\" >&2; exit $code")
        .arg(&mount)
        .arg(migrate.get_program())
        .args(migrate.get_args())
        .output()
        .unwrap();
    let ran = crate::scene::Ran::of(output);
    let ran = ran.ended(4);
    assert_eq!(ran.json()["error"]["kind"], "no_space");
    assert!(!ran.stderr.contains("users.db\n"), "a file was left behind: {}", ran.stderr);
    scene.untouched();
}

#[test]
fn stopped_by_a_signal_nothing_is_half_done() {
    let scene = Scene::new(rows(3));
    // The answer of the sheet takes long enough to be stopped in the middle.
    scene.fault("slow-body=2000,on=values");
    let child = scene.command(&[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let limit = Instant::now() + Duration::from_secs(60);
    while scene.double.count(sheets_double::Endpoint::Values) == 0 {
        assert!(Instant::now() < limit, "the values were never asked for");
        std::thread::sleep(Duration::from_millis(20));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let ran = crate::scene::Ran::of(child.wait_with_output().unwrap()).ended(130);
    assert!(ran.stderr.contains("nothing was changed"), "{}", ran.stderr);
    scene.untouched();
}

#[test]
fn two_first_runs_at_once_both_succeed_and_agree() {
    let scene = Scene::new(rows(200));
    let runs: Vec<_> = (0..2)
        .map(|_| {
            scene
                .command(&["--json"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for run in runs {
        crate::scene::Ran::of(run.wait_with_output().unwrap()).ended(0);
    }
    assert_eq!(scene.equal().len(), 200);
    let before = scene.versions();
    scene.migrate(&[]).ended(0);
    assert!(scene.versions() == before);
}
