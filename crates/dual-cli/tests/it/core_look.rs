//! Commands that look change nothing; commands that write join what only has to be added to.

use serde_json::{Value, json};

use crate::core_scene::{Pair, dual};
use crate::scene::Ran;

const LOOKS: [&[&str]; 7] = [
    &["status"],
    &["verify"],
    &["conflicts"],
    &["quarantine"],
    &["init"],
    &["user", "get", "1"],
    &["user", "list"],
];

#[test]
fn looking_at_empty_stores_makes_nothing() {
    let pair = Pair::new();
    for words in LOOKS {
        pair.run(words);
        assert!(pair.untouched(), "{words:?}");
        assert_eq!(std::fs::read_dir(pair.folder.path()).unwrap().count(), 0, "{words:?}");
    }
    let status = pair.json(0, &["status"]);
    for side in ["postgres", "sqlite"] {
        assert_eq!(status[side]["state"], "needs_init", "{status}");
        assert!(status[side]["hint"].as_str().unwrap().contains("dual init --apply"), "{status}");
    }
    for words in [&["verify"][..], &["user", "list"]] {
        let ran = pair.run(&[words, &["--json"]].concat());
        assert!(matches!(ran.code, Some(4 | 5)), "{words:?}: {:?}", ran.code);
        let error = ran.json()["error"].clone();
        assert!(error["hint"].as_str().unwrap().contains("dual init --apply"), "{error}");
    }
    pair.json(0, &["user", "add", r#"{"user_id": 1}"#]);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn looking_after_an_uninstall_puts_nothing_back() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1}"#]);
    pair.json(0, &["uninstall", "--yes"]);
    for words in LOOKS {
        pair.run(words);
    }
    let schema = "SELECT count(*) FROM pg_namespace WHERE nspname = 'dual'";
    assert_eq!(pair.postgres(schema)[0][0].as_deref(), Some("0"));
    let ours = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'dual%'";
    assert_eq!(pair.sqlite(ours)[0][0].as_deref(), Some("0"));
}

const OLD_FILE: &str = "CREATE TABLE users (user_id INTEGER PRIMARY KEY, first_name TEXT); \
     INSERT INTO users VALUES (1, 'Anna'), (2, 'Boja')";
const OLD_SERVER: &str = "CREATE TABLE users (user_id bigint PRIMARY KEY, first_name varchar); \
     INSERT INTO users VALUES (1, 'Anna'), (2, 'Boris'), (3, 'Vera')";

#[test]
fn tables_that_disagree_wait_for_a_person() {
    let pair = Pair::new();
    pair.postgres(OLD_SERVER);
    rusqlite::Connection::open(pair.path()).unwrap().execute_batch(OLD_FILE).unwrap();
    let columns = "SELECT count(*) FROM pragma_table_info('users')";
    for words in LOOKS {
        pair.run(words);
        assert_eq!(pair.sqlite(columns)[0][0].as_deref(), Some("2"), "{words:?}");
    }
    let added = pair.json(3, &["user", "add", r#"{"user_id": 4}"#]);
    assert_eq!(added["stored"], json!({ "postgres": true, "sqlite": false }));
    assert_eq!(
        (&added["away"]["store"], &added["away"]["kind"]),
        (&json!("sqlite"), &json!("schema"))
    );
    assert!(added["away"]["hint"].as_str().unwrap().contains("dual init"), "{added}");
    assert_eq!(pair.sqlite(columns)[0][0].as_deref(), Some("2"));
    assert_eq!(pair.json(0, &["init"])["applied"], false);
    pair.json(0, &["init", "--apply"]);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    assert_eq!(pair.sqlite("SELECT user_id FROM users").len(), 4);
    pair.json(0, &["user", "add", r#"{"user_id": 5}"#]);
}

#[test]
fn a_table_that_additions_do_not_mend_leaves_postgresql_alone() {
    let pair = Pair::new();
    rusqlite::Connection::open(pair.path())
        .unwrap()
        .execute_batch("CREATE VIEW users AS SELECT 1 AS user_id")
        .unwrap();
    let added = pair.json(3, &["user", "add", r#"{"user_id": 4}"#]);
    assert_eq!(added["stored"], json!({ "postgres": true, "sqlite": false }));
    assert_eq!(pair.json(0, &["user", "get", "4"])["source"], "postgres");
    assert_eq!(pair.json(0, &["status"])["sqlite"]["state"], "needs_init");
    let ran = pair.run_to(&crate::core_scene::nowhere(), &["user", "add", r#"{"user_id": 5}"#]);
    assert!(matches!(ran.code, Some(4 | 5)), "{:?}", ran.code);
}

#[test]
fn usage_errors_name_what_is_missing_in_json_too() {
    let error = |words: &[&str]| -> Value {
        let mut command = dual();
        command.args(words).arg("--json");
        Ran::of(command.output().unwrap()).ended(2).json()["error"]["message"].clone()
    };
    let missing = error(&["repair"]);
    assert!(missing.as_str().unwrap().contains("--prefer <SIDE>"), "{missing}");
    assert_eq!(error(&["user"]), "a subcommand is missing");
    assert_eq!(error(&[]), "a subcommand is missing");
}

#[test]
fn what_is_away_is_waited_for_once() {
    let pair = Pair::new();
    pair.json(0, &["init", "--apply"]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgresql://postgres@{}/none", listener.local_addr().unwrap());
    let other = rusqlite::Connection::open(pair.path()).unwrap();
    for words in [&["user", "add", r#"{"user_id": 1}"#][..], &["status"], &["user", "list"]] {
        let begun = std::time::Instant::now();
        pair.run_to(&url, words);
        assert!(begun.elapsed().as_secs_f32() < 7.5, "{words:?}: {:?}", begun.elapsed());
    }
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for words in [&["user", "upsert", r#"{"user_id": 2}"#][..], &["status"], &["user", "get", "2"]]
    {
        let begun = std::time::Instant::now();
        pair.run(words);
        assert!(begun.elapsed().as_secs_f32() < 7.5, "{words:?}: {:?}", begun.elapsed());
    }
}

/// The words of the guide.
#[test]
fn stamps_of_the_future_are_counted_and_set_back() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1, "first_name": "one"}"#]);
    // PostgreSQL's clock was a year ahead.
    pair.postgres(
        "UPDATE dual.side_users SET txid = txid_current(), stamp = \
         (floor(date_part('epoch', clock_timestamp() + interval '1 year' - timestamptz '2020-01-01Z') \
         * 1000)::bigint << 22)",
    );
    pair.run(&["sync", "--once"]).ended(0);
    let counted = pair.json(1, &["verify"]);
    assert_eq!(counted["tables"][0]["ahead_postgres"], 1, "{counted}");
    assert_eq!(counted["tables"][0]["ahead_sqlite"], 1, "{counted}");
    pair.run(&["repair", "--stamps"]).ended(0);
    let sound = pair.json(0, &["verify"]);
    assert_eq!(sound["tables"][0]["ahead_postgres"], 0, "{sound}");
    assert_eq!(sound["tables"][0]["ahead_sqlite"], 0, "{sound}");
    let value = "SELECT first_name FROM users WHERE user_id = 1";
    assert_eq!(pair.postgres(value), [[Some("one".into())]]);
    assert_eq!(pair.postgres(value), pair.sqlite(value));
    pair.json(0, &["repair", "--stamps"]);
}
