//! `dual sync`, `verify`, `repair`, `conflicts`, `quarantine` and `status` with something to say.

use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom, Write as _};

use serde_json::{Value, json};

use crate::core_scene::{DROP_TRIGGERS, Pair, eventually, nowhere, signal};
use crate::scene::Ran;

#[test]
fn outside_writes_on_both_sides_arrive_with_one_sync() {
    let pair = Pair::new();
    pair.json(0, &["init", "--apply"]);
    pair.postgres("INSERT INTO users (user_id, first_name) VALUES (1, 'psql')");
    pair.sqlite("INSERT INTO users (user_id, first_name) VALUES (2, 'python')");
    let status = pair.json(0, &["status"]);
    assert_eq!(status["postgres"]["state"], "up");
    assert_eq!(status["sqlite"]["state"], "up");
    let text = pair.run(&["sync", "--once"]).ended(0).stdout;
    assert!(text.starts_with("both sides have everything\n"), "{text}");
    let select = "SELECT id, user_id, first_name FROM users ORDER BY user_id";
    assert_eq!(pair.postgres(select).len(), 2);
    assert_eq!(pair.postgres(select), pair.sqlite(select));
    let status = pair.json(0, &["status"]);
    assert_eq!(status["pending"], json!({ "to_postgres": 0, "to_sqlite": 0 }));
    assert!(status["last_sync_age_ms"].as_i64().unwrap() >= 0, "{status}");
    for known in ["conflicts", "quarantined"] {
        assert_eq!(status[known], 0, "{status}");
    }
    assert_eq!(status["recent_errors"], json!([]));
    // Without --once it is the same.
    pair.run(&["sync"]).ended(0);
}

#[test]
fn a_watcher_carries_writes_over_and_ends_with_0() {
    let pair = Pair::new();
    pair.json(0, &["init", "--apply"]);
    for name in ["TERM", "INT"] {
        let mut child = pair.spawn(&["sync", "--watch"]);
        // What is asked of it while it still opens both sides ends it without a word.
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("PostgreSQL up, SQLite up, following") {
            assert_ne!(told.read_line(&mut text).unwrap(), 0, "{text}");
        }
        pair.postgres(&format!(
            "INSERT INTO users (user_id, first_name) VALUES (1, '{name}') \
             ON CONFLICT (user_id) DO UPDATE SET first_name = excluded.first_name"
        ));
        eventually("psql's write", || {
            pair.sqlite(&format!("SELECT 1 FROM users WHERE first_name = '{name}'")).len() == 1
        });
        pair.sqlite(&format!("UPDATE users SET source = '{name}'"));
        eventually("the script's write", || {
            pair.postgres(&format!("SELECT 1 FROM users WHERE source = '{name}'")).len() == 1
        });
        signal(&child, name);
        let ran = Ran::of(child.wait_with_output().unwrap()).ended(0);
        assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    }
}

#[test]
fn a_refused_row_is_in_quarantine_and_a_sync_ends_with_1() {
    let pair = Pair::new();
    pair.json(0, &["init", "--apply"]);
    pair.postgres("ALTER TABLE users ADD CHECK (phone_number <> 'hunter2')");
    pair.sqlite("INSERT INTO users (user_id, phone_number) VALUES (1, 'hunter2'), (2, '+7')");
    let once = pair.json(1, &["sync", "--once"]);
    assert_eq!((&once["state"], &once["quarantined"]), (&json!("quarantined"), &json!(1)));
    assert_eq!(pair.postgres("SELECT user_id FROM users"), [[Some("2".into())]]);
    let document = pair.json(0, &["quarantine"]);
    let row = &document["quarantine"][0];
    assert_eq!((&row["table"], &row["key"]), (&json!("users"), &json!(1)));
    assert_eq!((&row["refused_by"], &row["code"]), (&json!("postgres"), &json!("23514")));
    let text = pair.run(&["quarantine"]).ended(0).stdout;
    assert!(text.contains("23514") && !text.contains("hunter2"), "{text}");
    assert_eq!(pair.json(0, &["status"])["quarantined"], 1);
    let verified = pair.json(1, &["verify"]);
    assert_eq!(
        (&verified["equal"], &verified["tables"][0]["quarantined"]),
        (&json!(false), &json!(1))
    );
    let text = pair.run(&["verify"]).ended(1).stdout;
    assert!(
        text.ends_with("\nequal but for what is in quarantine (1): see `dual quarantine`\n"),
        "{text}"
    );
    // Mended, it arrives.
    pair.sqlite("UPDATE users SET phone_number = '+8' WHERE user_id = 1");
    pair.json(0, &["sync", "--once"]);
    assert_eq!(pair.run(&["quarantine"]).ended(0).stdout, "no rows in quarantine\n");
    assert_eq!(pair.postgres("SELECT user_id FROM users").len(), 2);
}

#[test]
fn both_sides_of_a_conflict_are_in_the_log_until_it_is_reviewed() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1, "source": "old"}"#]);
    assert_eq!(pair.run(&["conflicts"]).ended(0).stdout, "no conflicts\n");
    pair.sqlite("UPDATE users SET source = 'script'");
    pair.postgres("SELECT pg_sleep(0.01)");
    pair.postgres("UPDATE users SET source = 'psql'");
    pair.json(0, &["sync", "--once"]);
    assert_eq!(pair.sqlite("SELECT source FROM users"), [[Some("psql".into())]]);
    assert_eq!(pair.json(0, &["status"])["conflicts"], 1);
    let document = pair.json(0, &["conflicts"]);
    assert_eq!(document["reviewed"], Value::Null);
    let conflict = &document["conflicts"][0];
    assert_eq!((&conflict["table"], &conflict["key"]), (&json!("users"), &json!(1)));
    assert_eq!(conflict["column"], "source");
    assert!(conflict["winning"].as_str().unwrap().contains("psql"), "{conflict}");
    assert!(conflict["losing"].as_str().unwrap().contains("script"), "{conflict}");
    assert_eq!(conflict["reviewed"], false);
    let text = pair.run(&["conflicts", "--review"]).ended(0).stdout;
    assert!(text.contains("script") && text.contains("marked as reviewed: 1"), "{text}");
    assert_eq!(pair.json(0, &["status"])["conflicts"], 0);
}

#[test]
fn a_difference_that_nothing_captured_is_found_and_repaired() {
    for (side, value) in [("postgres", "seen"), ("sqlite", "unseen")] {
        let pair = Pair::new();
        for id in 1..=3 {
            let user = format!(r#"{{"user_id": {id}, "source": "seen"}}"#);
            pair.json(0, &["user", "add", &user]);
        }
        pair.untriggered("UPDATE users SET source = 'unseen' WHERE user_id = 2");
        let found = pair.json(1, &["verify"]);
        assert_eq!(found["equal"], false);
        let table = &found["tables"][0];
        for (field, expected) in [
            ("rows_postgres", 3),
            ("rows_sqlite", 3),
            ("different", 1),
            ("only_postgres", 0),
            ("only_sqlite", 0),
            ("quarantined", 0),
        ] {
            assert_eq!(table[field], expected, "{field}: {table}");
        }
        assert_eq!((&table["table"], &table["keys"]), (&json!("users"), &json!([2])));
        let text = pair.run(&["verify"]).ended(1).stdout;
        assert!(text.ends_with("not equal\n"), "{text}");
        assert_eq!(pair.json(0, &["repair", "--prefer", side])["equal"], true);
        let select = "SELECT source FROM users WHERE user_id = 2";
        assert_eq!(pair.postgres(select), [[Some(value.into())]]);
        assert_eq!(pair.sqlite(select), [[Some(value.into())]]);
        assert_eq!(pair.json(0, &["verify"])["equal"], true);
    }
}

#[test]
fn a_mass_loss_waits_for_a_person_and_the_service_goes_on() {
    for (side, theirs) in [("sqlite", 0), ("postgres", 200)] {
        let pair = Pair::new();
        pair.json(0, &["init", "--apply"]);
        pair.postgres(
            "INSERT INTO users (user_id, source) SELECT n, 'ours' FROM generate_series(1, 300) AS n",
        );
        pair.json(0, &["sync", "--once"]);
        // As a restore without our schema would leave it: nothing noted what was overwritten.
        pair.postgres(DROP_TRIGGERS);
        pair.postgres("UPDATE users SET source = 'theirs' WHERE user_id > 100");
        let once = pair.json(1, &["sync", "--once"]);
        assert_eq!((&once["state"], &once["held_losses"]), (&json!("held"), &json!(200)));
        let status = pair.json(0, &["status"]);
        assert_eq!((&status["sync"], &status["held_losses"]), (&json!("held"), &json!(200)));
        let text = pair.run(&["status"]).ended(0).stdout;
        assert!(text.contains("would lose 200 rows and waits for `dual repair`"), "{text}");
        pair.json(0, &["user", "get", "1"]);
        let ours = "SELECT user_id FROM users WHERE source = 'ours'";
        assert_eq!(pair.sqlite(ours).len(), 300);

        assert_eq!(pair.json(0, &["repair", "--prefer", side])["equal"], true);
        assert_eq!(pair.postgres(ours).len(), 300 - theirs);
        assert_eq!(pair.sqlite(ours).len(), 300 - theirs);
        assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done");
    }
}

#[test]
fn rows_that_went_past_the_triggers_come_back() {
    let pair = Pair::new();
    pair.json(0, &["init", "--apply"]);
    pair.postgres("INSERT INTO users (user_id) SELECT generate_series(1, 300)");
    pair.json(0, &["sync", "--once"]);
    pair.postgres(DROP_TRIGGERS);
    pair.postgres("DELETE FROM users WHERE user_id > 100");
    assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done");
    assert_eq!(pair.json(0, &["verify"])["tables"][0]["rows_postgres"], 300);
}

#[test]
fn a_damage_that_cost_a_pending_write_is_told_until_somebody_has_seen_it() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1}"#]);
    let words = ["user", "add", r#"{"user_id": 2, "first_name": "Анна"}"#];
    pair.run_to(&nowhere(), &words).ended(3);
    // A hole into the rows and into what is known of them.
    pair.sqlite("PRAGMA wal_checkpoint(TRUNCATE)");
    let size: u64 = pair.sqlite("PRAGMA page_size")[0][0].clone().unwrap().parse().unwrap();
    let roots = pair
        .sqlite("SELECT rootpage FROM sqlite_master WHERE name IN ('users', 'dual_side_users')");
    let mut file = std::fs::File::options().write(true).open(pair.path()).unwrap();
    for root in roots {
        let page: u64 = root[0].clone().unwrap().parse().unwrap();
        file.seek(SeekFrom::Start((page - 1) * size)).unwrap();
        file.write_all(&vec![0xff; usize::try_from(size).unwrap()]).unwrap();
    }
    drop(file);

    // Whoever meets the damage cannot go on; what comes after it could, and does not say "done".
    pair.run(&["sync", "--once"]).ended(3);
    let once = pair.json(1, &["sync", "--once"]);
    assert_eq!(once["state"], "damaged", "{once}");
    assert_eq!(pair.postgres("SELECT user_id FROM users"), [[Some("1".into())]], "it is lost");
    for _ in 0..2 {
        let status = pair.json(0, &["status"]);
        let damage = &status["damage"][0];
        assert_eq!(damage["unreadable"], Value::Null, "nothing could be read: {status}");
        assert!(std::path::Path::new(damage["kept_as"].as_str().unwrap()).exists(), "{status}");
    }
    let text = pair.run(&["status"]).ended(0).stdout;
    assert!(text.contains("nothing could be read of it") && text.contains("--review"), "{text}");
    assert_eq!(pair.json(0, &["status", "--review"])["reviewed"], 1);
    assert_eq!(pair.json(0, &["status"])["damage"], json!([]));
    assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done");
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}
