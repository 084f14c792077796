//! `dual user …` with both sides up.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::core_scene::{Pair, nowhere};
use crate::scene::Ran;

const COLUMNS: [&str; 16] = [
    "id",
    "user_id",
    "username",
    "first_name",
    "status",
    "phone_number",
    "real_name",
    "birth_date",
    "register_date",
    "last_activity",
    "redeem_date",
    "source",
    "referrer_id",
    "brought_by_staff_id",
    "profile_completed",
    "ai_concept",
];

#[test]
fn a_user_is_added_read_changed_and_deleted_on_both_sides() {
    let pair = Pair::new();
    let both = json!({ "postgres": true, "sqlite": true });

    let added =
        pair.json(0, &["user", "add", r#"{"user_id": 5123456789, "first_name": "Пример"}"#]);
    assert_eq!(added["stored"], both);
    let user = added["user"].as_object().unwrap();
    assert_eq!(user.len(), 16);
    for column in COLUMNS {
        assert!(user.contains_key(column), "{column}");
    }
    let text = pair.run(&["user", "get", "5123456789", "--json"]).ended(0).stdout;
    assert!(text.starts_with(r#"{"version":1,"user":{"id":1,"user_id":5123456789,"#), "{text}");
    assert_eq!(user["user_id"], 5_123_456_789_i64);
    assert_eq!(user["first_name"], "Пример");
    assert_eq!(user["status"], "registered");
    assert_eq!(user["ai_concept"], "evgenich");
    assert_eq!(user["profile_completed"], false);
    assert_eq!(user["phone_number"], Value::Null);
    assert!(user["id"].as_i64().unwrap() > 0);
    let select = "SELECT id, user_id, first_name, register_date, last_activity FROM users";
    let mut rows = pair.postgres(select);
    // PostgreSQL prints no zeros at the end of a fraction.
    for cell in &mut rows[0][3..] {
        *cell = cell.take().map(|text| format!("{text:0<26}"));
    }
    assert_eq!(rows, pair.sqlite(select));
    assert_eq!(rows[0][3].as_deref(), user["register_date"].as_str());

    let got = pair.json(0, &["user", "get", "5123456789"]);
    assert_eq!(got["user"], added["user"]);
    assert_eq!(got["source"], "postgres");
    assert_eq!(got["age_ms"], Value::Null);
    for words in [&["user", "get", "5123456789"][..], &["user", "list"]] {
        assert_eq!(pair.run(words).ended(0).stderr, "");
    }

    let words = ["user", "update", "5123456789", r#"{"status": "redeemed", "real_name": null}"#];
    let updated = pair.json(0, &words);
    assert_eq!(updated["stored"], both);
    assert_eq!(updated["user"]["status"], "redeemed");
    assert_eq!(updated["user"]["first_name"], "Пример");

    let words = ["user", "upsert", r#"{"user_id": 5123456789, "source": "vk"}"#];
    let upserted = pair.json(0, &words);
    assert_eq!(upserted["user"]["status"], "redeemed");
    assert_eq!(upserted["user"]["source"], "vk");
    let words = ["user", "upsert", r#"{"user_id": -100, "first_name": "Группа"}"#];
    assert_eq!(pair.json(0, &words)["user"]["user_id"], -100);
    assert_eq!(pair.json(0, &["user", "get", "-100"])["user"]["first_name"], "Группа");

    let deleted = pair.json(0, &["user", "delete", "5123456789"]);
    assert_eq!(deleted["user_id"], 5_123_456_789_i64);
    assert_eq!(deleted["stored"], both);
    assert_eq!(
        pair.postgres("SELECT user_id FROM users"),
        pair.sqlite("SELECT user_id FROM users")
    );
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn what_is_not_there_or_there_already_ends_with_5() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 7}"#]);
    let cases: &[(&[&str], &str)] = &[
        (&["user", "add", r#"{"user_id": 7}"#], "already_exists"),
        (&["user", "get", "8"], "not_found"),
        (&["user", "update", "8", r#"{"status": "issued"}"#], "not_found"),
        (&["user", "delete", "8"], "not_found"),
    ];
    for (words, kind) in cases {
        let document = pair.json(5, words);
        assert_eq!(document["error"]["kind"], *kind, "{words:?}: {document}");
        assert!(document["error"]["message"].as_str().unwrap().contains("users"), "{document}");
        let ran = pair.run(words).ended(5);
        assert!(ran.stdout.is_empty() && ran.stderr.starts_with("error: "), "{}", ran.stderr);
    }
    assert_eq!(pair.postgres("SELECT count(*) FROM users")[0][0].as_deref(), Some("1"));
}

#[test]
fn refused_data_is_named_without_its_value_and_nothing_is_made() {
    let pair = Pair::new();
    let long = format!(r#"{{"user_id": 1, "source": "{}"}}"#, "x".repeat(100_000));
    let cases: &[(&str, i32, &str)] = &[
        (r#"{"user_id": 1, "frist_name": "hunter2"}"#, 5, "first_name"),
        (r#"{"user_id": 1, "id": 5}"#, 5, "id"),
        (r#"{"user_id": "hunter2"}"#, 5, "user_id"),
        (r#"{"user_id": 99999999999999999999}"#, 5, "user_id"),
        (r#"{"user_id": 1.5}"#, 5, "user_id"),
        (r#"{"user_id": 1, "profile_completed": "hunter2"}"#, 5, "profile_completed"),
        (r#"{"user_id": 1, "register_date": "hunter2"}"#, 5, "register_date"),
        (r#"{"user_id": 1, "brought_by_staff_id": 3000000000}"#, 5, "brought_by_staff_id"),
        (r#"{"user_id": 1, "first_name": "hunter2\u0000"}"#, 5, "first_name"),
        (r#"{"user_id": 1, "first_name": ["hunter2"]}"#, 5, "first_name"),
        (r#"{"user_id": 1, "first_name": "hunter2"#, 5, "column"),
        ("{user_id: 1}\r\n", 5, "line 1"),
        ("", 5, "JSON"),
        ("[]", 5, "object"),
        ("5", 5, "object"),
    ];
    for (given, code, says) in cases {
        let ran = pair.run(&["user", "add", given]).ended(*code);
        assert!(ran.stderr.contains(says), "{given}: {}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
        assert_eq!(pair.json(*code, &["user", "add", given])["error"]["kind"], "invalid_data");
    }
    assert!(pair.untouched());
    let ran = pair.run(&["user", "add", r#"{"first_name": "hunter2"}"#]).ended(5);
    assert!(ran.stderr.contains("user_id"), "{}", ran.stderr);
    // The size of a text is the business of PostgreSQL's table, and ours has no limit.
    pair.run(&["user", "add", &long]).ended(0);
}

#[test]
fn json_comes_from_stdin_as_other_systems_save_it() {
    let pair = Pair::new();
    let mut child = pair
        .command(&["user", "add", "-", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = "\u{feff}{\r\n  \"user_id\": 7,\r\n  \"first_name\": \"Анна\"\r\n}\r\n";
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap()).ended(0);
    assert_eq!(ran.json()["user"]["first_name"], "Анна");

    let mut child = pair
        .command(&["user", "update", "7", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"first_name\": \"\xc0\xed\xed\xe0\"}").unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap()).ended(5);
    assert!(ran.stderr.contains("UTF-8"), "{}", ran.stderr);
}

#[test]
fn lists_are_ordered_filtered_and_cut() {
    let pair = Pair::new();
    pair.json(0, &["init", "--apply"]);
    assert_eq!(pair.json(0, &["user", "list"])["users"], json!([]));
    pair.postgres(
        "INSERT INTO users (user_id, first_name, status, register_date) VALUES \
         (1, 'Анна', 'registered', '2025-01-01'), (2, 'Ганна', 'redeemed', '2025-03-01'), \
         (3, 'Пётр', 'registered', '2025-02-01'), (4, 'анна', 'registered', NULL)",
    );
    let ids = |words: &[&str]| {
        let document = pair.json(0, &[&["user", "list"], words].concat());
        assert_eq!(document["source"], "postgres");
        let users = document["users"].as_array().unwrap().clone();
        users.iter().map(|user| user["user_id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]), [2, 3, 1, 4]);
    assert_eq!(ids(&["--limit", "2"]), [2, 3]);
    assert_eq!(ids(&["--status", "registered"]), [3, 1, 4]);
    assert_eq!(ids(&["--contains", "first_name=анна"]), [2, 4]);
    assert_eq!(ids(&["--contains", "first_name=анна", "--status", "redeemed"]), [2]);
    assert_eq!(ids(&["--contains", "first_name=%"]), Vec::<i64>::new());
    assert_eq!(ids(&["--order", "-register_date"]), [2, 3, 1, 4]);
    assert_eq!(ids(&["--order", "register_date"]), [1, 3, 2, 4]);
    assert_eq!(ids(&["--order", "-status", "--order", "first_name"]), [1, 3, 4, 2]);
    assert_eq!(ids(&["--order=first_name", "--limit=2"]), [1, 2]);
    let error = pair.run(&["user", "list", "--order", "-first_nmae"]).ended(5).stderr;
    assert!(error.contains("did you mean `first_name`?"), "{error}");
    for (words, code) in [
        (&["user", "list", "--order", "status", "--order", "-status"][..], 5),
        (&["user", "list", "--order"], 2),
        (&["user", "list", "--contains", "nmae=x"][..], 5),
        (&["user", "list", "--contains", "user_id=1"], 5),
        (&["user", "list", "--contains", "first_name"], 2),
        (&["user", "list", "--limit", "-1"], 2),
    ] {
        pair.run(words).ended(code);
    }
    let text = pair.run(&["user", "list"]).ended(0).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5);
    assert!(lines[0].starts_with("id  user_id  username"), "{text}");
    assert!(lines[1].contains("Ганна"), "{text}");
}

#[test]
fn a_long_list_is_one_document_and_a_reader_may_go_away() {
    let pair = Pair::new();
    pair.json(0, &["init", "--apply"]);
    pair.postgres("INSERT INTO users (user_id) SELECT generate_series(1, 5000)");
    let document = pair.json(0, &["user", "list"]);
    assert_eq!(document["users"].as_array().unwrap().len(), 5_000);
    assert_eq!(pair.run(&["user", "list"]).ended(0).stdout.lines().count(), 5_001);
    let shell = format!(
        "{} user list --pg-db-url '{}' --sqlite-db-path '{}' | head -1",
        env!("CARGO_BIN_EXE_dual"),
        pair.database.url(),
        pair.path().display()
    );
    let output = std::process::Command::new("sh").args(["-c", &shell]).output().unwrap();
    let ran = Ran::of(output).ended(0);
    assert!(!ran.stderr.contains("panic"), "{}", ran.stderr);
}

#[test]
fn text_for_people_shows_every_column_and_no_control_characters() {
    let pair = Pair::new();
    let added = pair.run(&["user", "add", r#"{"user_id": 7, "first_name": "A\u001b[31m\nB"}"#]);
    let text = added.ended(0).stdout;
    assert!(text.starts_with("user 7 added in both\n"), "{text}");
    for column in COLUMNS {
        assert!(text.contains(&format!("\n{column}")), "{column}: {text}");
    }
    assert!(text.contains(r"A\u{1b}[31m\nB"), "{text}");
    let got = pair.run(&["user", "get", "7"]).ended(0).stdout;
    assert!(text.ends_with(&got), "{got}");
}

#[test]
fn a_row_in_quarantine_is_found_on_the_side_that_has_it() {
    let pair = Pair::new();
    pair.json(0, &["init", "--apply"]);
    pair.postgres("ALTER TABLE users ADD CHECK (phone_number <> 'hunter2')");
    pair.postgres("INSERT INTO users (user_id, register_date) VALUES (7, 'infinity')");
    pair.sqlite("INSERT INTO users (user_id, phone_number) VALUES (1, 'hunter2')");
    pair.json(1, &["sync", "--once"]);

    let updated = pair.json(3, &["user", "update", "7", r#"{"first_name": "Анна"}"#]);
    assert_eq!(updated["stored"], json!({ "postgres": true, "sqlite": false }));
    assert_eq!(
        (&updated["away"]["store"], &updated["away"]["kind"]),
        (&json!("sqlite"), &json!("invalid_data"))
    );
    let ran = pair.run(&["user", "update", "1", r#"{"first_name": "Яна"}"#]).ended(3);
    assert!(
        ran.stdout.starts_with("user 1 updated in SQLite; PostgreSQL does not take the row\n"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr.contains("PostgreSQL: ") && ran.stderr.contains("dual quarantine"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);

    let words = ["user", "get", "7", "--json"];
    let away = pair.run_to(&nowhere(), &words).ended(4).json();
    assert_eq!(away["error"]["kind"], "unavailable");
    let words = ["user", "add", r#"{"user_id": 7}"#];
    pair.run_to(&nowhere(), &words).ended(4);

    let both = json!({ "postgres": true, "sqlite": true });
    let mended = pair.json(0, &["user", "update", "1", r#"{"phone_number": "+7"}"#]);
    assert_eq!(mended["stored"], both);
    let mended = pair.json(0, &["user", "update", "7", r#"{"register_date": "2024-01-02"}"#]);
    assert_eq!(mended["stored"], both);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn long_texts_are_listed() {
    let pair = Pair::new();
    pair.json(0, &["init", "--apply"]);
    let long = "я".repeat(100_000);
    pair.sqlite(&format!(
        "INSERT INTO users (user_id, first_name) VALUES (1, '{long}'), (2, 'Анна')"
    ));
    pair.json(0, &["sync", "--once"]);
    let text = pair.run(&["user", "list"]).ended(0).stdout;
    assert!(text.contains(&long) && text.contains("Анна"));
    // It loses against a concurrent one.
    pair.sqlite("UPDATE users SET first_name = first_name || '!' WHERE user_id = 1");
    pair.postgres("UPDATE users SET first_name = 'Вера' WHERE user_id = 1");
    pair.json(0, &["sync", "--once"]);
    assert!(pair.run(&["conflicts"]).ended(0).stdout.contains(&long));
}
