//! One side away, or both.

use serde_json::{Value, json};
use throwaway_postgres::{Server, StopMode};

use crate::core_scene::{Pair, eventually, nowhere, signal};
use crate::scene::Ran;

#[test]
fn with_postgresql_stopped_everything_goes_on_and_arrives_when_it_is_back() {
    let server = Server::builder().start().unwrap();
    let pair = Pair::on(&server);
    pair.json(0, &["user", "add", r#"{"user_id": 1, "first_name": "Анна"}"#]);
    pair.json(0, &["user", "add", r#"{"user_id": 2, "first_name": "Пётр"}"#]);
    server.stop(StopMode::Immediate).unwrap();

    let file_only = json!({ "postgres": false, "sqlite": true });
    let added = pair.json(3, &["user", "add", r#"{"user_id": 3, "first_name": "Вера"}"#]);
    assert_eq!(added["stored"], file_only);
    assert_eq!(added["user"]["first_name"], "Вера");
    let updated = pair.json(3, &["user", "update", "1", r#"{"status": "redeemed"}"#]);
    assert_eq!(updated["stored"], file_only);
    assert_eq!(pair.json(3, &["user", "delete", "2"])["stored"], file_only);
    let text = pair.run(&["user", "upsert", r#"{"user_id": 3, "source": "vk"}"#]).ended(3).stdout;
    assert!(text.starts_with("user 3 written in SQLite; PostgreSQL gets it"), "{text}");
    let got = pair.json(0, &["user", "get", "1"]);
    assert_eq!((&got["source"], &got["user"]["status"]), (&json!("sqlite"), &json!("redeemed")));
    assert!(got["age_ms"].is_u64(), "{got}");
    // People are told on stderr; what a script reads stays as it is.
    for words in [&["user", "get", "1"][..], &["user", "list"]] {
        let ran = pair.run(words).ended(0);
        let told = "from SQLite, which last heard everything from PostgreSQL ";
        assert!(ran.stderr.contains(told) && ran.stderr.contains(" s ago"), "{}", ran.stderr);
        assert!(
            ran.stdout.contains("redeemed") && !ran.stdout.contains("SQLite"),
            "{}",
            ran.stdout
        );
    }
    assert_eq!(pair.json(0, &["user", "list"])["users"].as_array().unwrap().len(), 2);
    // The same answers as with PostgreSQL.
    assert_eq!(
        pair.json(5, &["user", "add", r#"{"user_id": 1}"#])["error"]["kind"],
        "already_exists"
    );
    assert_eq!(pair.json(5, &["user", "get", "2"])["error"]["kind"], "not_found");
    assert_eq!(pair.json(5, &["user", "delete", "2"])["error"]["kind"], "not_found");

    let status = pair.json(0, &["status"]);
    assert_eq!(status["postgres"]["state"], "down");
    assert!(status["postgres"]["reason"].is_string(), "{status}");
    assert_eq!(status["sqlite"]["state"], "up");
    assert_eq!(status["pending"], json!({ "to_postgres": 3, "to_sqlite": Value::Null }));
    let text = pair.run(&["status"]).ended(0).stdout;
    assert!(text.contains("PostgreSQL              down\n  because: "), "{text}");
    assert_eq!(pair.json(4, &["verify"])["error"]["kind"], "unavailable");
    assert_eq!(pair.json(4, &["repair", "--prefer", "newest"])["error"]["kind"], "unavailable");
    let once = pair.json(3, &["sync", "--once"]);
    assert_eq!(
        (&once["state"], &once["error"]["kind"]),
        (&json!("pending"), &json!("unavailable"))
    );
    assert_eq!(once["pending"]["to_postgres"], 3);

    server.start().unwrap();
    let once = pair.json(0, &["sync", "--once"]);
    assert_eq!((&once["state"], &once["error"]), (&json!("done"), &Value::Null));
    assert_eq!(once["pending"], json!({ "to_postgres": 0, "to_sqlite": 0 }));
    let verified = pair.json(0, &["verify"]);
    assert_eq!(verified["equal"], true);
    assert_eq!(verified["tables"][0]["rows_postgres"], 2);
    let select = "SELECT id, user_id, status, source FROM users ORDER BY user_id";
    assert_eq!(pair.postgres(select), pair.sqlite(select));
    assert_eq!(pair.json(0, &["status"])["pending"], json!({ "to_postgres": 0, "to_sqlite": 0 }));
}

#[test]
fn a_locked_file_is_away_and_gets_the_write_later() {
    let pair = Pair::new();
    pair.json(0, &["init", "--apply"]);
    let other = rusqlite::Connection::open(pair.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let added = pair.json(3, &["user", "add", r#"{"user_id": 1}"#]);
    assert_eq!(added["stored"], json!({ "postgres": true, "sqlite": false }));
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done");
    assert_eq!(pair.sqlite("SELECT user_id FROM users").len(), 1);
}

#[test]
fn with_both_away_nothing_is_done() {
    let pair = Pair::new();
    pair.json(0, &["init", "--apply"]);
    let other = rusqlite::Connection::open(pair.path()).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for words in [
        &["user", "add", r#"{"user_id": 1}"#, "--json"][..],
        &["sync", "--once", "--json"],
        &["verify", "--json"],
    ] {
        let ran = pair.run_to(&nowhere(), words).ended(4);
        assert_eq!(ran.json()["error"]["kind"], "unavailable", "{words:?}");
    }
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(pair.json(0, &["user", "list"])["users"], json!([]));
}

#[test]
fn the_first_start_may_find_postgresql_away() {
    let pair = Pair::new();
    let away = nowhere();
    let ran = pair.run_to(&away, &["user", "add", r#"{"user_id": 1}"#, "--json"]).ended(3);
    assert_eq!(ran.json()["stored"]["sqlite"], true);
    assert_eq!(pair.sqlite("SELECT user_id FROM users").len(), 1);
    pair.json(0, &["sync", "--once"]);
    assert_eq!(pair.postgres("SELECT user_id FROM users").len(), 1);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn a_server_that_swallows_packets_costs_a_time_out_and_ctrl_c_ends_the_wait() {
    let pair = Pair::new();
    pair.json(0, &["init", "--apply"]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgresql://postgres@{}/none", listener.local_addr().unwrap());
    let begun = std::time::Instant::now();
    pair.run_to(&url, &["user", "add", r#"{"user_id": 1}"#]).ended(3);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());

    listener.set_nonblocking(true).unwrap();
    while listener.accept().is_ok() {}
    let child = pair
        .command_to(&url, &["verify", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Its connection arrives: it is waiting for an answer.
    eventually("a connection of the program", || listener.accept().is_ok());
    let begun = std::time::Instant::now();
    signal(&child, "INT");
    let ran = Ran::of(child.wait_with_output().unwrap()).ended(130);
    assert_eq!(ran.json()["error"]["kind"], "interrupted");
    assert!(begun.elapsed().as_secs() < 3, "{:?}", begun.elapsed());
}

/// The server is there, and takes no connection with what stands in the URL.
#[test]
fn a_connection_that_is_refused_for_its_settings_is_told_as_configuration() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1, "first_name": "Анна"}"#]);
    for (options, said) in
        [("-c%20statement_timeout=abc", "statement_timeout"), ("endpoint%3Dx", "endpoint=x")]
    {
        let url = format!("{}?options={options}", pair.database.url());
        let run = |code, words: &[&str]| pair.run_to(&url, words).ended(code);
        let status = run(0, &["status", "--json"]).json();
        assert_eq!(status["postgres"]["state"], "down", "{status}");
        assert!(status["postgres"]["reason"].as_str().unwrap().contains(said), "{status}");
        assert!(status["postgres"]["hint"].as_str().unwrap().contains("`options`"), "{status}");
        for words in [
            &["sync", "--once", "--json"][..],
            &["verify", "--json"],
            &["init", "--json"],
            &["repair", "--prefer", "newest", "--json"],
            &["user", "update", "1", r#"{"source": "vk"}"#, "--json"],
        ] {
            let error = run(2, words).json()["error"].clone();
            assert_eq!(error["kind"], "configuration", "{words:?}: {error}");
            assert!(error["message"].as_str().unwrap().contains(said), "{words:?}: {error}");
        }
        assert!(run(0, &["user", "get", "1"]).stderr.contains("from SQLite"));
    }
    // What ended with 2 has done nothing.
    assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done");
    assert_eq!(pair.sqlite("SELECT source FROM users"), [[None]]);
    assert_eq!(pair.postgres("SELECT source FROM users"), [[None]]);
}
