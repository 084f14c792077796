//! Any tables: chosen, joined, kept together, and more of them while others run.

use std::io::{BufRead as _, BufReader};

use serde_json::{Value, json};

use crate::core_scene::{Pair, eventually, signal};
use crate::scene::{Ran, Row};

/// The bot's file, and what stands at PostgreSQL beside it.
fn bot() -> Pair<'static> {
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
        "INSERT INTO users (user_id, first_name) VALUES (1, 'Анна'), (2, 'Пётр'), (4, 'Дина')",
    );
    pair.postgres("CREATE TABLE journal (n bigint PRIMARY KEY, what text)");
    pair.postgres("CREATE VIEW everybody AS SELECT user_id FROM users");
    pair.postgres("CREATE TABLE heap (n integer)");
    pair.postgres("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)");
    for sql in [
        "CREATE TABLE users (user_id INTEGER PRIMARY KEY, first_name TEXT, birth_date DATE, \
         signup_date TIMESTAMP DEFAULT CURRENT_TIMESTAMP, blocked BOOLEAN DEFAULT 0)",
        "CREATE TABLE staff (staff_id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL)",
        "CREATE TABLE bookings (id INTEGER PRIMARY KEY AUTOINCREMENT, \
         user_id INTEGER NOT NULL REFERENCES users (user_id), \
         staff_id INTEGER REFERENCES staff (staff_id), at TIMESTAMP, \
         guests INTEGER DEFAULT 2, \"при мечание\" TEXT)",
        "INSERT INTO users (user_id, first_name, birth_date, blocked) \
         VALUES (1, 'Анна', '01.02.1990', 1), (2, 'Петя', NULL, 0), (3, 'Вера', '1990-02-01', 0)",
        "INSERT INTO staff (name) VALUES ('Оля'), ('Пётр')",
        "INSERT INTO bookings (user_id, staff_id, at, \"при мечание\") \
         VALUES (1, 1, '2026-11-01 10:00:00', 'у окна'), (3, 2, '2026-11-02T12:30:00', NULL)",
    ] {
        pair.sqlite(sql);
    }
    pair
}

fn named<'d>(document: &'d Value, list: &str, name: &str) -> &'d Value {
    let all = document[list].as_array().unwrap();
    all.iter().find(|one| one["table"] == name).unwrap_or_else(|| panic!("{name}: {document}"))
}

/// The same statement on both sides.
#[track_caller]
pub fn equal(pair: &Pair<'_>, select: &str) -> Vec<Row> {
    let rows = pair.postgres(select);
    assert_eq!(rows, pair.sqlite(select), "{select}");
    rows
}

const BOOKINGS: &str =
    "SELECT id, user_id, staff_id, guests, \"при мечание\" FROM bookings ORDER BY id";

#[test]
fn the_plan_says_of_every_table_what_would_become_of_it() {
    let pair = bot();
    let plan = pair.json(0, &["init"]);
    let tables: Vec<&str> = plan["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["table"].as_str().unwrap())
        .collect();
    assert_eq!(tables, ["users", "staff", "bookings"], "bookings refer to the two others");
    let bookings = named(&plan, "tables", "bookings");
    assert_eq!((&bookings["state"], &bookings["key"]), (&json!("ready"), &json!(["id"])));
    let at =
        bookings["columns"].as_array().unwrap().iter().find(|one| one["name"] == "at").unwrap();
    assert_eq!(at["type"], "timestamp without time zone");
    assert_eq!((&at["postgres"], &at["sqlite"]), (&json!(null), &json!("TIMESTAMP")));
    assert_eq!(at["remark"], "2 of 2 values are timestamps");
    let users = named(&plan, "tables", "users");
    assert_eq!(users["different_columns"]["first_name"], 1, "{users}");
    for (name, reason) in [
        ("journal", "only PostgreSQL has it"),
        ("everybody", "it is a view in PostgreSQL"),
        ("heap", "it has no key: nothing tells its rows apart"),
        ("alembic_version", "it is a migration tool's own: each side keeps how far it is"),
    ] {
        let skipped = named(&plan, "skipped", name);
        assert_eq!(skipped["reason"], reason);
        assert!(!skipped["hint"].as_str().unwrap().is_empty());
    }
    let text = pair.run(&["init"]).ended(0).stdout;
    assert!(text.contains("left out: journal: only PostgreSQL has it"), "{text}");
    assert_eq!(pair.postgres("SELECT to_regclass('bookings') IS NULL")[0][0].as_deref(), Some("t"));
}

#[test]
fn what_is_named_is_kept_or_refused_with_a_sentence() {
    let pair = bot();
    let refused = |words: &[&str]| {
        let words: Vec<&str> = [&["init"], words].concat();
        let error = pair.json(2, &words)["error"].clone();
        (
            error["message"].as_str().unwrap().to_owned(),
            error["hint"].as_str().unwrap_or("").to_owned(),
        )
    };
    let (message, hint) = refused(&["--tables", "bokings"]);
    assert!(message.contains("no table bokings is on either side"), "{message}");
    assert_eq!(hint, "did you mean `bookings`?");
    let (message, _) = refused(&["--tables", "staff,everybody"]);
    assert!(message.contains("everybody cannot be kept: it is a view in PostgreSQL"), "{message}");
    let (message, _) = refused(&["--schema", "nowhere"]);
    assert!(message.contains("there is no schema \"nowhere\""), "{message}");

    let plan = pair.json(0, &["init", "--tables", "journal,staff"]);
    let tables = plan["tables"].as_array().unwrap();
    assert_eq!(tables.len(), 2, "{plan}");
    let plan = pair.json(0, &["init", "--all", "--except", "bookings"]);
    let tables = plan["tables"].as_array().unwrap();
    let names: Vec<&str> = tables.iter().map(|one| one["table"].as_str().unwrap()).collect();
    assert_eq!(names, ["users", "staff", "journal"]);
}

#[test]
fn all_of_the_bots_tables_are_one_database_afterwards() {
    let pair = bot();
    pair.json(0, &["init", "--apply"]);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    let users = equal(
        &pair,
        "SELECT user_id, first_name, birth_date, CAST(blocked AS integer) FROM users ORDER BY user_id",
    );
    let texts: Vec<_> = users.iter().map(|row| row[2].as_deref()).collect();
    assert_eq!(texts, [Some("01.02.1990"), None, Some("1990-02-01"), None]);
    assert_eq!(equal(&pair, BOOKINGS).len(), 2);
    assert_eq!(equal(&pair, "SELECT staff_id, name FROM staff ORDER BY staff_id").len(), 2);

    // Everybody goes on writing, to any of them.
    pair.postgres("INSERT INTO bookings (id, user_id, guests) VALUES (10, 2, 4); UPDATE users SET blocked = true WHERE user_id = 2");
    pair.sqlite("INSERT INTO staff (name) VALUES ('Ира')");
    pair.sqlite("UPDATE bookings SET guests = 5 WHERE id = 1");
    pair.sqlite("DELETE FROM bookings WHERE id = 2");
    pair.json(0, &["sync"]);
    assert_eq!(equal(&pair, BOOKINGS).len(), 2);
    assert_eq!(equal(&pair, "SELECT staff_id, name FROM staff ORDER BY staff_id").len(), 3);
    assert_eq!(pair.sqlite("SELECT blocked FROM users WHERE user_id = 2"), [[Some("1".into())]]);
    let status = pair.json(0, &["status"]);
    assert_eq!(status["pending"], json!({ "to_postgres": 0, "to_sqlite": 0 }));
    // A second time nothing is left to do, and nothing of a table that was joined is forgotten.
    let again = pair.json(0, &["init"]);
    assert_eq!(again["done"], true, "{again}");
    assert_eq!(named(&again, "tables", "staff")["state"], "joined");

    // A file that comes later has all of them.
    let second = pair.folder.path().join("second.db");
    let words = ["sync", "--sqlite-db-path", second.to_str().unwrap()];
    let ran = Ran::of(
        crate::core_scene::dual()
            .args(words)
            .args(["--pg-db-url", &pair.database.url()])
            .output()
            .unwrap(),
    );
    ran.ended(0);
    let connection = rusqlite::Connection::open(&second).unwrap();
    let count = |table: &str| -> i64 {
        connection
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!((count("users"), count("bookings"), count("staff")), (4, 2, 3));

    pair.json(0, &["uninstall", "--yes"]);
    let left = pair.sqlite("SELECT name FROM sqlite_master WHERE name LIKE 'dual%' ORDER BY 1");
    assert_eq!(left, Vec::<Row>::new());
    assert_eq!(pair.sqlite("SELECT count(*) FROM bookings"), [[Some("2".into())]]);
}

#[test]
fn a_column_that_comes_later_is_carried_when_it_is_joined() {
    let pair = bot();
    pair.json(0, &["init", "--apply"]);
    pair.sqlite("ALTER TABLE staff ADD COLUMN phone TEXT");
    pair.sqlite("UPDATE staff SET phone = '+7' WHERE staff_id = 1");
    pair.postgres("ALTER TABLE bookings ADD COLUMN paid boolean; UPDATE bookings SET paid = true WHERE id = 1");
    pair.json(0, &["init", "--apply"]);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    let staff = equal(&pair, "SELECT staff_id, name, phone FROM staff ORDER BY staff_id");
    assert_eq!(staff[0][2].as_deref(), Some("+7"));
    assert_eq!(pair.sqlite("SELECT paid FROM bookings WHERE id = 1"), [[Some("1".into())]]);
    pair.sqlite("UPDATE bookings SET paid = 0 WHERE id = 1");
    pair.json(0, &["sync"]);
    assert_eq!(pair.postgres("SELECT paid FROM bookings WHERE id = 1"), [[Some("f".into())]]);
}

#[test]
fn a_program_that_runs_meanwhile_takes_up_what_is_joined() {
    let pair = bot();
    pair.json(0, &["init", "--apply", "--tables", "users"]);
    let mut child = pair.spawn(&["sync", "--watch"]);
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("PostgreSQL up, SQLite up, following") {
        assert_ne!(told.read_line(&mut text).unwrap(), 0, "{text}");
    }
    pair.json(0, &["init", "--apply"]);
    pair.sqlite("UPDATE bookings SET guests = 7 WHERE id = 1");
    pair.postgres("INSERT INTO staff (staff_id, name) VALUES (9, 'Зоя')");
    eventually("the file's write", || {
        !pair.postgres("SELECT 1 FROM bookings WHERE guests = 7").is_empty()
    });
    eventually("psql's write", || {
        !pair.sqlite("SELECT 1 FROM staff WHERE name = 'Зоя'").is_empty()
    });
    signal(&child, "TERM");
    Ran::of(child.wait_with_output().unwrap()).ended(0);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn a_bot_that_adds_a_column_when_it_starts_goes_on_while_a_program_runs() {
    let pair = bot();
    pair.json(0, &["init", "--apply"]);
    let mut child = pair.spawn(&["sync", "--watch"]);
    for start in 1..=2 {
        let column = format!("extra_{start}");
        pair.sqlite(&format!("ALTER TABLE users ADD COLUMN {column} TEXT"));
        pair.sqlite(&format!(
            "INSERT INTO users (user_id, first_name, {column}) VALUES (1{start}, 'Иван', 'here')"
        ));
        pair.sqlite(&format!("UPDATE users SET {column} = 'set', blocked = 1 WHERE user_id = 1"));
        eventually("what the bot has written", || {
            let sql = format!("SELECT {column} FROM users WHERE {column} <> '' ORDER BY user_id");
            let texts = [["set"], ["here"]].map(|row| row.map(|text| Some(text.to_owned())));
            pair.database.execute(&sql).is_ok_and(|rows| rows == texts)
        });
    }
    signal(&child, "TERM");
    child.wait().unwrap();
    equal(&pair, "SELECT user_id, first_name, extra_1, extra_2 FROM users ORDER BY user_id");
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn the_file_is_read_by_any_statement_that_only_reads() {
    let pair = bot();
    pair.json(0, &["init", "--apply"]);
    let sql = "SELECT s.name, count(*) AS n FROM bookings AS b JOIN staff AS s USING (staff_id) \
               WHERE b.guests >= ?1 GROUP BY s.name ORDER BY 1";
    let found = pair.json(0, &["sql", sql, "2"]);
    assert_eq!(found["columns"], json!(["name", "n"]));
    assert_eq!(found["rows"], json!([["Оля", 1], ["Пётр", 1]]));
    assert_eq!(found["source"], "sqlite");
    let text = pair.run(&["sql", "SELECT count(*) AS n FROM users"]).ended(0).stdout;
    assert_eq!(text, "n\n4\n");
    for sql in [
        "DELETE FROM users",
        "SELECT 1; SELECT 2",
        "PRAGMA query_only = OFF",
        "PRAGMA journal_mode = DELETE",
        "ATTACH 'x.db' AS x",
        "VACUUM INTO 'x.db'",
        "CREATE TEMP TABLE t (a)",
        "SELECT load_extension('x')",
        "SELECT nothing FROM users",
        "SELEC 1",
        "SELECT ?1",
        "",
    ] {
        let error = pair.json(5, &["sql", sql])["error"].clone();
        assert_eq!(error["kind"], "invalid_data", "{sql}: {error}");
        assert!(error["hint"].as_str().unwrap().contains("SELECT"), "{error}");
    }
    assert_eq!(pair.sqlite("SELECT count(*) FROM users"), [[Some("4".into())]]);
    assert!(!pair.folder.path().join("x.db").exists());
}

#[test]
fn a_column_that_is_joined_meanwhile_is_kept_by_a_program_that_runs() {
    let pair = bot();
    pair.json(0, &["init", "--apply"]);
    let mut child = pair.spawn(&["sync", "--watch"]);
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("PostgreSQL up, SQLite up, following") {
        assert_ne!(told.read_line(&mut text).unwrap(), 0, "{text}");
    }
    // As the bot does at its start, and then a person.
    pair.sqlite("ALTER TABLE users ADD COLUMN rank INTEGER DEFAULT 0");
    pair.sqlite("UPDATE users SET rank = 5 WHERE user_id = 1");
    pair.json(0, &["init", "--apply"]);
    pair.sqlite("UPDATE users SET rank = 7 WHERE user_id = 2");
    pair.postgres("UPDATE users SET rank = 9 WHERE user_id = 3");
    eventually("the file's write", || {
        !pair.postgres("SELECT 1 FROM users WHERE user_id = 2 AND rank = 7").is_empty()
    });
    eventually("psql's write", || {
        !pair.sqlite("SELECT 1 FROM users WHERE user_id = 3 AND rank = 9").is_empty()
    });
    assert_eq!(pair.postgres("SELECT rank FROM users WHERE user_id = 1"), [[Some("5".into())]]);
    signal(&child, "TERM");
    Ran::of(child.wait_with_output().unwrap()).ended(0);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn rows_of_any_table_come_in_the_order_that_is_asked_for() {
    let pair = bot();
    pair.json(0, &["init", "--apply"]);
    pair.postgres(
        "INSERT INTO bookings (id, user_id, at, guests) VALUES (11, 1, '2026-11-02 12:30:00', 9), \
         (12, 2, NULL, 10), (13, 2, '2026-11-01 09:00:00', NULL)",
    );
    let ids = |words: &[&str]| {
        let document = pair.json(0, &[&["row", "list", "bookings"], words].concat());
        let rows = document["rows"].as_array().unwrap().clone();
        rows.iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&[]), [13, 12, 11, 2, 1]);
    assert_eq!(ids(&["--order", "id"]), [1, 2, 11, 12, 13]);
    assert_eq!(ids(&["--order", "at", "--order", "-guests"]), [13, 1, 11, 2, 12]);
    assert_eq!(ids(&["--order", "-guests", "--limit", "2"]), [12, 11]);
    let error = pair.run(&["row", "list", "bookings", "--order", "-guest"]).ended(5).stderr;
    assert!(error.contains("did you mean `guests`?"), "{error}");
}
