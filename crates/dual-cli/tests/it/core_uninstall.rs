//! `dual uninstall`: what is left is the users' tables.

use serde_json::json;

use crate::core_scene::{Pair, nowhere};
use crate::scene::Row;

/// What there is besides table `users` and what belongs to it.
fn left(pair: &Pair<'_>) -> (Vec<Row>, Vec<Row>) {
    let postgres = pair.postgres(
        "SELECT nspname FROM pg_namespace WHERE nspname = 'dual' UNION ALL \
         SELECT tgname FROM pg_trigger WHERE NOT tgisinternal UNION ALL \
         SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace \
         WHERE nspname = 'public'",
    );
    let sqlite = pair.sqlite(
        "SELECT type || ' ' || name FROM sqlite_master \
         WHERE tbl_name <> 'users' AND name NOT LIKE 'sqlite_%' OR type = 'trigger'",
    );
    (postgres, sqlite)
}

#[test]
fn only_the_tables_stay_and_both_go_on_as_they_are() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1, "first_name": "Анна"}"#]);
    // It is asked first, and nobody answers here.
    let ran = pair.run(&["uninstall"]).ended(2);
    assert!(ran.stderr.contains("[y/N]"), "{}", ran.stderr);
    assert_ne!(left(&pair), (vec![], vec![]));
    // What is pending arrives before.
    pair.sqlite("INSERT INTO users (user_id, first_name) VALUES (2, 'Пётр')");
    let document = pair.json(0, &["uninstall", "--yes"]);
    assert_eq!(document["removed"], json!({ "postgres": true, "sqlite": true }));
    assert_eq!(left(&pair), (vec![], vec![]));
    let select = "SELECT id, user_id, first_name, status FROM users ORDER BY user_id";
    assert_eq!(pair.postgres(select).len(), 2);
    assert_eq!(pair.postgres(select), pair.sqlite(select));
    pair.sqlite("UPDATE users SET first_name = 'Вера' WHERE user_id = 1");
    pair.postgres("INSERT INTO users (user_id) VALUES (3)");
    // And back again.
    pair.json(0, &["init", "--apply"]);
    assert_eq!(pair.json(0, &["verify"])["tables"][0]["rows_sqlite"], 3);
}

#[test]
fn what_is_pending_is_not_forgotten_without_being_told() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1}"#]);
    pair.sqlite("INSERT INTO users (user_id) VALUES (2)");
    let away = nowhere();
    let ran = pair.run_to(&away, &["uninstall", "--yes", "--json"]).ended(4);
    let error = ran.json()["error"].clone();
    assert_eq!(error["kind"], "unavailable");
    assert!(error["hint"].as_str().unwrap().contains("--abandon-pending"), "{error}");
    assert_ne!(left(&pair).1, Vec::<Row>::new());
    let ran = pair.run_to(&away, &["uninstall", "--yes", "--abandon-pending", "--json"]).ended(3);
    let document = ran.json();
    assert_eq!(document["removed"], json!({ "postgres": false, "sqlite": true }));
    assert_eq!(document["error"]["kind"], "unavailable");
    assert_eq!(left(&pair).1, Vec::<Row>::new());
    assert_eq!(pair.sqlite("SELECT user_id FROM users").len(), 2);
}
