//! Running again: changes arrive, nothing else moves, both sides stay equal.

use serde_json::{Value, json};

use crate::scene::{Scene, bot_row, heading};

fn some(text: &str) -> Option<String> {
    Some(text.to_string())
}

fn count(document: &Value, store: &str, name: &str) -> u64 {
    document["stores"][store][name].as_u64().unwrap()
}

/// `rows read = inserted + updated + unchanged + merged + rejected`, for each store.
#[track_caller]
fn adds_up(document: &Value) {
    let read = document["rows"]["read"].as_u64().unwrap();
    for store in ["postgres", "sqlite"] {
        let sum: u64 = ["inserted", "updated", "unchanged", "merged", "rejected"]
            .iter()
            .map(|name| count(document, store, name))
            .sum();
        assert_eq!(sum, read, "{store}: {document}");
    }
}

#[test]
fn i_a_changed_status_arrives_and_a_third_run_changes_nothing() {
    let rows = |status: &str| {
        json!([
            heading(),
            bot_row("2025-07-10 12:00:05", 101, status),
            bot_row("2025-07-10 12:00:06", 102, "Зарегистрирован"),
            bot_row("2025-07-10 12:00:07", 102, "Купон выдан"),
            bot_row("2025-07-10 12:00:08", 103, "Какой-то"),
        ])
    };
    let scene = Scene::new(rows("Зарегистрирован"));
    let first = scene.migrate(&["--json"]).ended(1).json();
    adds_up(&first);
    assert_eq!(count(&first, "postgres", "inserted"), 2);
    assert_eq!(count(&first, "sqlite", "inserted"), 2);

    // What another program knows and the sheet does not.
    scene.postgres("UPDATE users SET last_activity = '2026-03-01 10:00:00' WHERE user_id = 101");
    scene.sqlite("UPDATE users SET last_activity = '2026-03-01 10:00:00' WHERE user_id = 101");
    let untouched = scene.postgres("SELECT xmin, ctid FROM users WHERE user_id = 102");

    scene.sheet(rows("Купон погашен"));
    let second = scene.migrate(&["--json"]).ended(1).json();
    adds_up(&second);
    assert_eq!(second["stores"]["postgres"]["changed_columns"], json!({ "status": 1 }));
    assert_eq!(second["stores"]["sqlite"]["changed_columns"], json!({ "status": 1 }));
    assert_eq!(scene.value(101, "status"), some("redeemed"));
    assert_eq!(scene.value(101, "last_activity"), some("2026-03-01 10:00:00"));
    assert_eq!(scene.postgres("SELECT xmin, ctid FROM users WHERE user_id = 102"), untouched);

    let before = scene.versions();
    let third = scene.migrate(&["--json"]).ended(1).json();
    adds_up(&third);
    assert_eq!(third["stores"]["postgres"]["state"], "unchanged");
    assert_eq!(third["stores"]["sqlite"]["state"], "unchanged");
    assert!(scene.versions() == before, "a run without changes moved something");
}

#[test]
fn an_empty_cell_erases_nothing() {
    let scene = Scene::new(json!([
        heading(),
        [
            "2025-07-10 12:00:05",
            101,
            "Вера",
            "vera",
            "+79990000003",
            "Вера Тестова",
            "01.02.1988",
            "Купон выдан",
            "vk",
            5
        ],
    ]));
    scene.migrate(&[]).ended(0);
    scene.sheet(json!([
        heading(),
        ["2025-07-10 12:00:05", 101, "", "N/A", "", "", "", "Купон погашен"]
    ]));
    scene.migrate(&[]).ended(0);
    scene.equal();
    for (column, value) in [
        ("first_name", "Вера"),
        ("phone_number", "+79990000003"),
        ("real_name", "Вера Тестова"),
        ("source", "vk"),
        ("status", "redeemed"),
    ] {
        assert_eq!(scene.value(101, column), some(value), "{column}");
    }
}

#[test]
fn a_dry_run_shows_the_plan_and_writes_nothing() {
    let scene = Scene::new(json!([heading(), bot_row("2025-07-10 12:00:05", 101, "Купон выдан")]));
    let document = scene.migrate(&["--dry-run", "--json"]).ended(0).json();
    assert_eq!(document["stores"]["postgres"]["inserted"], 1);
    assert_eq!(document["stores"]["postgres"]["state"], "planned");
    assert_eq!(document["stored"], json!({ "postgres": false, "sqlite": false }));
    scene.untouched();
    scene.migrate(&[]).ended(0);
    let before = scene.versions();
    scene.sheet(json!([
        heading(),
        bot_row("2025-07-10 12:00:05", 101, "Купон погашен"),
        bot_row("2025-07-10 12:00:05", 102, "Купон выдан")
    ]));
    let plan = scene.migrate(&["--dry-run", "--recreate-tables"]).ended(0);
    assert!(plan.stderr.contains("drop table users"), "{}", plan.stderr);
    scene.migrate(&["--dry-run"]).ended(0);
    assert!(scene.versions() == before);
}

#[test]
fn recreated_tables_hold_the_sheet_and_nothing_else() {
    let scene = Scene::new(json!([
        heading(),
        bot_row("2025-07-10 12:00:05", 101, "Купон выдан"),
        bot_row("2025-07-10 12:00:06", 102, "Купон выдан")
    ]));
    scene.migrate(&[]).ended(0);
    scene.sheet(json!([heading(), bot_row("2025-07-10 12:00:05", 103, "Купон выдан")]));
    // Nobody there to answer: nothing happens.
    let before = scene.versions();
    let asked = scene.migrate(&["--recreate-tables"]).ended(2);
    assert!(asked.stderr.contains("--yes"), "{}", asked.stderr);
    assert!(scene.versions() == before);
    scene.migrate(&["--recreate-tables", "--yes"]).ended(0);
    assert_eq!(scene.equal().len(), 1);
    assert_eq!(scene.value(103, "id"), some("1"));
    // The sequence goes on behind the imported rows, for other programs.
    scene.postgres("INSERT INTO users (user_id) VALUES (104)");
    assert_eq!(
        scene.postgres("SELECT id, status FROM users WHERE user_id = 104"),
        [[some("2"), some("registered")]]
    );
}

#[test]
fn replaced_tables_keep_nothing_that_only_one_side_had() {
    let scene = Scene::new(json!([heading(), bot_row("2025-07-10 12:00:05", 101, "Купон выдан")]));
    scene.migrate(&[]).ended(0);
    scene.sqlite("UPDATE users SET ai_concept = 'рок', real_name = 'Старое' WHERE user_id = 101");
    scene.migrate(&["--recreate-tables", "--yes"]).ended(0);
    scene.equal();
    assert_eq!(scene.value(101, "ai_concept"), some("evgenich"));
    assert_eq!(scene.value(101, "real_name"), None);
}

#[test]
fn an_answer_typed_at_the_question_counts() {
    use std::io::Write as _;
    use std::process::Stdio;
    let scene = Scene::new(json!([heading(), bot_row("2025-07-10 12:00:05", 101, "Купон выдан")]));
    scene.migrate(&[]).ended(0);
    scene.sheet(json!([heading(), bot_row("2025-07-10 12:00:05", 102, "Купон выдан")]));
    for (answer, code, users) in [("нет\n", 2, 1), ("да\n", 0, 1)] {
        let mut child = scene
            .command(&["--recreate-tables"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        crate::scene::Ran::of(child.wait_with_output().unwrap()).ended(code);
        assert_eq!(scene.equal().len(), users);
    }
    assert_eq!(scene.value(102, "status"), some("issued"));
}

#[test]
fn ids_are_those_of_postgresql_whatever_an_old_script_left_in_the_file() {
    let scene = Scene::new(json!([
        heading(),
        bot_row("2025-07-10 12:00:05", 101, "Купон выдан"),
        bot_row("2025-07-10 12:00:06", 102, "Купон выдан"),
        bot_row("2025-07-10 12:00:07", 103, "Купон выдан"),
    ]));
    rusqlite::Connection::open(scene.sqlite_path())
        .unwrap()
        .execute_batch(
            "CREATE TABLE users (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER UNIQUE NOT NULL,
                 username TEXT, first_name TEXT, status TEXT DEFAULT 'registered', phone_number TEXT,
                 real_name TEXT, birth_date TEXT, register_date TEXT, last_activity TEXT, redeem_date TEXT,
                 source TEXT, referrer_id INTEGER, brought_by_staff_id INTEGER,
                 profile_completed INTEGER DEFAULT 0, ai_concept TEXT DEFAULT 'evgenich');
             INSERT INTO users (user_id, real_name, register_date, last_activity) VALUES
                 (900, 'Чужой', NULL, NULL),
                 (103, 'Только в файле', '2025-01-01T10:00:00+00:00', '2025-01-01T10:00:00+00:00'),
                 (102, NULL, NULL, NULL);",
        )
        .unwrap();
    scene.migrate(&[]).ended(0);
    // Whom the sheet does not name keeps everything but the id, and reaches PostgreSQL, too.
    assert_eq!(scene.equal().len(), 4);
    assert_eq!(scene.value(900, "real_name"), some("Чужой"));
    assert_eq!(scene.pending(), 0);
    // What only the file knew reached PostgreSQL with the row.
    assert_eq!(scene.value(103, "real_name"), some("Только в файле"));
    let before = scene.versions();
    scene.migrate(&[]).ended(0);
    assert!(scene.versions() == before);
}

#[test]
fn ids_come_from_the_sequence_that_the_default_names() {
    let scene = Scene::new(json!([heading(), bot_row("2025-07-10 12:00:05", 101, "Купон выдан")]));
    scene.postgres("CREATE SEQUENCE numbers START 40");
    scene.postgres(
        "CREATE TABLE users (id integer PRIMARY KEY DEFAULT nextval('numbers'), \
         user_id bigint NOT NULL UNIQUE)",
    );
    scene.migrate(&[]).ended(0);
    assert_eq!(scene.equal().len(), 1);
    assert_eq!(scene.value(101, "id"), some("40"));
}

#[test]
fn a_table_that_others_refer_to_is_not_replaced() {
    let scene = Scene::new(json!([heading(), bot_row("2025-07-10 12:00:05", 101, "Купон выдан")]));
    scene.migrate(&[]).ended(0);
    scene
        .sqlite("CREATE TABLE coupon (owner INTEGER REFERENCES Users (user_id) ON DELETE CASCADE)");
    scene.sqlite("INSERT INTO coupon VALUES (101)");
    let before = scene.versions();
    let ran = scene.migrate(&["--recreate-tables", "--yes"]).ended(5);
    assert!(ran.stderr.contains("coupon"), "{}", ran.stderr);
    assert!(scene.versions() == before);
}

#[test]
fn rows_that_a_trigger_swallows_are_not_reported_as_done() {
    let rows = json!([heading(), bot_row("2025-07-10 12:00:05", 101, "Купон выдан")]);
    let scene = Scene::new(rows.clone());
    scene.postgres("CREATE TABLE users (id serial PRIMARY KEY, user_id bigint NOT NULL UNIQUE)");
    scene.postgres("CREATE RULE swallow AS ON INSERT TO users DO INSTEAD NOTHING");
    let ran = scene.migrate(&[]).ended(5);
    assert!(ran.stderr.contains("PostgreSQL took 0 of 1"), "{}", ran.stderr);
    assert!(!scene.sqlite_path().exists());

    let scene = Scene::new(rows);
    scene.sqlite("CREATE TABLE users (id INTEGER PRIMARY KEY, user_id INTEGER UNIQUE)");
    scene.sqlite("CREATE TRIGGER swallow BEFORE INSERT ON users BEGIN SELECT raise(IGNORE); END");
    let ran = scene.migrate(&[]).ended(5);
    assert!(ran.stderr.contains("SQLite took 0 of 1"), "{}", ran.stderr);
    assert_eq!(scene.postgres("SELECT to_regclass('users') IS NULL")[0][0].as_deref(), Some("t"));
}

#[test]
fn rows_that_postgresql_refuses_are_set_aside_and_stop_no_other() {
    let mut rows = vec![heading()];
    for index in 0..40 {
        let mut row = bot_row("2025-07-10 12:00:05", 101 + index, "Купон выдан");
        row[4] = json!(format!("+7999000{:04}", index / 2 * 2 + i64::from(index > 1)));
        row[8] = json!(if index == 30 { "forbidden" } else { "direct" });
        rows.push(row);
    }
    rows[11][4] = json!("");
    let scene = Scene::new(Value::Array(rows));
    scene.postgres(
        "CREATE TABLE users (id serial PRIMARY KEY, user_id bigint NOT NULL UNIQUE, username varchar,
             first_name varchar, status varchar, phone_number varchar NOT NULL, real_name varchar,
             birth_date varchar, register_date timestamp, last_activity timestamp, redeem_date timestamp,
             source varchar CHECK (source <> 'forbidden'), referrer_id bigint, brought_by_staff_id integer,
             profile_completed boolean, ai_concept varchar)",
    );
    let document = scene.migrate(&["--json"]).ended(1).json();
    adds_up(&document);
    assert_eq!(document["rows"]["rejected"], 2, "{document}");
    let asides: Vec<_> = document["set_aside"].as_array().unwrap().iter().collect();
    assert!(asides.iter().all(|one| one["code"] == "refused"), "{asides:?}");
    assert_eq!((&asides[0]["row"], &asides[1]["row"]), (&json!(12), &json!(32)));
    assert!(asides[1]["reason"].as_str().unwrap().contains("users_source_check"));
    assert_eq!(scene.equal().len(), 38);
    // The same rows are refused again, and nothing moves.
    let before = scene.versions();
    scene.migrate(&["--json"]).ended(1);
    assert!(scene.versions() == before);
    // A unique phone: the first of two keeps it.
    scene.postgres("TRUNCATE users; CREATE UNIQUE INDEX ON users (phone_number)");
    scene.sqlite("DELETE FROM users");
    let document = scene.migrate(&["--json"]).ended(1).json();
    adds_up(&document);
    assert!(document["rows"]["rejected"].as_u64().unwrap() > 2);
    scene.equal();
}

#[test]
fn a_table_that_refers_to_ids_is_named_before_they_change() {
    let scene = Scene::new(json!([heading(), bot_row("2025-07-10 12:00:05", 101, "Купон выдан")]));
    scene.sqlite("CREATE TABLE users (id INTEGER PRIMARY KEY, user_id INTEGER UNIQUE NOT NULL)");
    scene.sqlite("INSERT INTO users VALUES (7, 101)");
    scene.sqlite("CREATE TABLE visits (visitor INTEGER REFERENCES users (id))");
    scene.sqlite("INSERT INTO visits VALUES (7)");
    let ran = scene.migrate(&[]).ended(5);
    assert!(ran.stderr.contains("visits"), "{}", ran.stderr);
    assert_eq!(scene.sqlite("SELECT id FROM users"), [[some("7")]]);
    assert_eq!(scene.postgres("SELECT to_regclass('users') IS NULL")[0][0], some("t"));
}

#[test]
fn rows_that_only_sqlite_refuses_go_into_neither_database() {
    let mut rows = vec![heading()];
    for index in 0..20 {
        let mut row = bot_row("2025-07-10 12:00:05", 101 + index, "Купон выдан");
        row[3] = json!(format!("user_{}", if index == 15 { 3 } else { index }));
        row[8] = json!(if index == 8 { "forbidden" } else { "direct" });
        rows.push(row);
    }
    let scene = Scene::new(Value::Array(rows));
    scene.sqlite(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, user_id INTEGER UNIQUE NOT NULL, username TEXT UNIQUE,
             source TEXT CHECK (source <> 'forbidden'))",
    );
    let document = scene.migrate(&["--json"]).ended(1).json();
    adds_up(&document);
    let asides = document["set_aside"].as_array().unwrap();
    let rows: Vec<_> = asides.iter().map(|one| (&one["row"], &one["code"])).collect();
    assert_eq!(rows, [(&json!(10), &json!("refused")), (&json!(17), &json!("refused"))]);
    assert!(asides[0]["reason"].as_str().unwrap().starts_with("SQLite refuses"));
    assert_eq!(scene.equal().len(), 18);
}

#[test]
fn what_is_loaded_is_one_database_with_nothing_pending() {
    let row = |user: i64, status: &str| bot_row("2025-07-10 12:00:05", user, status);
    let scene = Scene::new(json!([heading(), row(101, "Купон выдан"), row(102, "Купон выдан")]));
    scene.migrate(&[]).ended(0);
    assert_eq!(scene.pending(), 0);
    let stamps = "SELECT count(*) FROM dual_side_users WHERE live_base IS NOT NULL OR stamp <> 2";
    assert_eq!(scene.sqlite(stamps)[0], [some("0")]);
    // Writers of both sides are heard from then on, and the next run takes them along.
    scene.postgres("UPDATE users SET real_name = 'там' WHERE user_id = 101");
    scene.sqlite("UPDATE users SET real_name = 'здесь' WHERE user_id = 102");
    scene.sheet(json!([heading(), row(101, "Купон выдан"), row(102, "Купон погашен")]));
    scene.migrate(&[]).ended(0);
    assert_eq!(scene.pending(), 0);
    assert_eq!(scene.equal().len(), 2);
    assert_eq!(scene.value(101, "real_name"), some("там"));
    assert_eq!(scene.value(102, "real_name"), some("здесь"));
    assert_eq!(scene.value(102, "status"), some("redeemed"));
    assert_eq!(scene.postgres("SELECT count(*)::text FROM dual.conflict")[0], [some("0")]);
}
