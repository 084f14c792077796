//! `dual init` on what people have.

use serde_json::json;

use crate::core_scene::Pair;

/// The table of the old script, and the bot's own file.
fn drifted() -> Pair<'static> {
    let pair = Pair::new();
    pair.postgres(
        "CREATE TABLE users (id serial PRIMARY KEY, user_id bigint NOT NULL UNIQUE, \
         username varchar(100), first_name varchar(100), status varchar(20), \
         phone_number varchar(20), real_name varchar(100), birth_date varchar(20), \
         register_date timestamp, last_activity timestamp, redeem_date timestamp, \
         source varchar(50), referrer_id bigint, brought_by_staff_id integer, \
         profile_completed boolean, ai_concept varchar(20))",
    );
    pair.postgres(
        "INSERT INTO users (user_id, first_name, source) \
         VALUES (1, 'Анна', 'postgres'), (2, 'Пётр', 'postgres')",
    );
    pair.sqlite("CREATE TABLE users (user_id INTEGER PRIMARY KEY, first_name TEXT, source TEXT)");
    pair.sqlite("INSERT INTO users VALUES (2, 'Пётр', 'sqlite'), (3, 'Вера', 'sqlite')");
    pair
}

#[test]
fn the_plan_changes_nothing_and_applied_both_sides_are_equal() {
    let pair = drifted();
    let before = pair.sqlite("SELECT sql FROM sqlite_master");
    let plan = pair.run(&["init"]).ended(0).stdout;
    assert!(plan.contains("--apply"), "{plan}");
    pair.json(0, &["init"]);
    assert_eq!(pair.sqlite("SELECT sql FROM sqlite_master"), before);
    assert_eq!(
        pair.postgres("SELECT count(*) FROM pg_namespace WHERE nspname = 'dual'"),
        [[Some("0".into())]]
    );
    let status = pair.json(0, &["status"]);
    assert!(status["sqlite"]["state"] == "needs_init" || status["sqlite"]["state"] == "up");

    pair.json(0, &["init", "--apply"]);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    let select = "SELECT user_id, first_name, source FROM users ORDER BY user_id";
    let rows = pair.postgres(select);
    assert_eq!(rows, pair.sqlite(select));
    // PostgreSQL wins among what was there before; the loser is logged.
    let sources: Vec<_> = rows.iter().map(|row| row[2].as_deref().unwrap()).collect();
    assert_eq!(sources, ["postgres", "postgres", "sqlite"]);
    let conflicts = pair.json(0, &["conflicts"]);
    assert!(conflicts["conflicts"].to_string().contains("sqlite"), "{conflicts}");
    // A second time nothing is left to do.
    pair.json(0, &["init", "--apply"]);
}

#[test]
fn a_column_that_additions_do_not_mend_is_named_and_each_side_serves_as_it_is() {
    let pair = Pair::new();
    pair.sqlite("CREATE TABLE users (user_id INTEGER PRIMARY KEY, phone_number STRING)");
    let before = pair.sqlite("SELECT sql FROM sqlite_master");
    let error = pair.json(5, &["init", "--apply"])["error"].clone();
    assert_eq!(error["kind"], "schema");
    assert!(error["message"].as_str().unwrap().contains("phone_number"), "{error}");
    assert_eq!(pair.sqlite("SELECT sql FROM sqlite_master"), before);
    assert_eq!(pair.postgres("SELECT to_regclass('users') IS NULL"), [[Some("t".into())]]);
    let status = pair.json(0, &["status"]);
    assert_eq!(status["sqlite"]["state"], "needs_init", "{status}");
}

#[test]
fn two_empty_sides_need_no_init() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1}"#]);
    let document = pair.json(0, &["status"]);
    assert_eq!(
        (&document["postgres"]["state"], &document["sqlite"]["state"]),
        (&json!("up"), &json!("up"))
    );
    pair.json(0, &["init"]);
    pair.json(0, &["init", "--apply"]);
    pair.json(0, &["user", "delete", "1"]);
    assert_eq!(pair.json(0, &["user", "list"])["users"], json!([]));
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn a_trigger_of_the_file_that_never_ends_is_told_and_holds_nothing_up() {
    let pair = Pair::new();
    pair.postgres("CREATE TABLE users (id serial PRIMARY KEY, user_id bigint NOT NULL UNIQUE)");
    pair.postgres("INSERT INTO users (user_id) VALUES (1), (2)");
    pair.sqlite("CREATE TABLE users (user_id INTEGER PRIMARY KEY, signup_date TEXT)");
    // To be copied, and put into its form, when the table is joined.
    pair.sqlite("INSERT INTO users VALUES (3, '2024-01-02T03:04:05')");
    pair.sqlite(
        "CREATE VIEW endless AS WITH RECURSIVE n(i) AS \
         (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
    );
    pair.sqlite("CREATE TABLE noted (i)");
    for event in ["INSERT", "UPDATE"] {
        pair.sqlite(&format!(
            "CREATE TRIGGER never_{event} AFTER {event} ON users \
             BEGIN INSERT INTO noted SELECT count(*) FROM endless; END"
        ));
    }
    // Two rows that cannot come, and one that cannot get its number.
    let joined = pair.json(1, &["init", "--apply"]);
    assert_eq!((&joined["done"], &joined["quarantined"]), (&json!(true), &json!(3)), "{joined}");
    let dates = "SELECT register_date FROM users WHERE user_id = 3";
    for there in [pair.postgres(dates), pair.sqlite(dates)] {
        assert_eq!(there, [[Some("2024-01-02 03:04:05".to_owned())]]);
    }
    let once = pair.json(1, &["sync", "--once"]);
    assert_eq!(once["state"], "quarantined", "{once}");
    let text = pair.run(&["quarantine"]).ended(0).stdout;
    assert!(text.contains("a trigger of the table does not come to its end"), "{text}");
    let added = pair.json(3, &["user", "add", r#"{"user_id": 4}"#]);
    assert_eq!(added["stored"], json!({ "postgres": true, "sqlite": false }));
}
