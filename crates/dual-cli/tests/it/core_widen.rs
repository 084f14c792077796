//! Whole numbers for which PostgreSQL's column has too few bits: they are told, left out, and made room for by a
//! person's word.

use serde_json::{Value, json};

use crate::core_scene::{Pair, Watcher, eventually};
use crate::scene::Row;

/// Guests and bookings of which the file has numbers of Telegram's size, and a table that has none.
fn telegram() -> Pair<'static> {
    let pair = Pair::new();
    for sql in [
        "CREATE TABLE guests (id serial PRIMARY KEY, name text)",
        "CREATE TABLE bookings (id serial PRIMARY KEY, user_id integer REFERENCES guests(id), n smallint)",
        "CREATE TABLE menu (code integer PRIMARY KEY, price smallint)",
        "INSERT INTO guests (name) VALUES ('Анна'), ('Пётр')",
        "INSERT INTO bookings (user_id, n) VALUES (1, 1)",
        "INSERT INTO menu VALUES (1, 10)",
    ] {
        pair.postgres(sql);
    }
    for sql in [
        "CREATE TABLE guests (id INTEGER PRIMARY KEY, name TEXT)",
        "CREATE TABLE bookings (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES guests(id), n INTEGER)",
        "CREATE TABLE menu (code INTEGER PRIMARY KEY, price INTEGER)",
        "INSERT INTO guests VALUES (1, 'Анна'), (5000000000, 'Вера')",
        "INSERT INTO bookings VALUES (1, 1, 1), (7, 5000000000, 2)",
        "INSERT INTO menu VALUES (2, 20)",
    ] {
        pair.sqlite(sql);
    }
    pair
}

fn skipped(document: &Value) -> Vec<(&str, &str, &str)> {
    let text = |value: &'_ Value| -> &'_ str {
        Box::leak(value.as_str().unwrap().to_owned().into_boxed_str())
    };
    let all = document["skipped"].as_array().unwrap().iter();
    all.map(|one| (text(&one["table"]), text(&one["reason"]), text(&one["hint"]))).collect()
}

fn type_of(pair: &Pair<'_>, table: &str, column: &str) -> String {
    let sql = format!(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute \
         WHERE attrelid = '{table}'::regclass AND attname = '{column}'"
    );
    pair.postgres(&sql)[0][0].clone().unwrap()
}

/// Both sides have the same rows, by clients that are not ours.
#[track_caller]
fn equal(pair: &Pair<'_>, sql: &str) -> Vec<Row> {
    eventually(sql, || pair.postgres(sql) == pair.sqlite(sql));
    pair.postgres(sql)
}

fn column<'d>(document: &'d Value, table: &str, column: &str) -> &'d Value {
    let named = |all: &'d Value, name: &str, key: &str| {
        all.as_array().unwrap().iter().find(|one| one[key] == name).unwrap()
    };
    named(&named(&document["tables"], table, "table")["columns"], column, "name")
}

#[test]
fn numbers_that_do_not_fit_leave_their_table_out_until_a_person_asks_for_more() {
    let pair = telegram();
    let plan = pair.json(0, &["init"]);
    let skipped = skipped(&plan);
    assert_eq!(
        skipped.iter().map(|one| one.0).collect::<Vec<_>>(),
        ["guests", "bookings"],
        "{plan}"
    );
    assert_eq!(
        skipped[0].1,
        "numbers of the file do not fit in PostgreSQL: 1 in id, which is integer there"
    );
    assert!(skipped[0].2.starts_with("`--widen guests.id` makes that bigint"), "{plan}");
    assert!(skipped[1].2.contains("or leave_out in the settings, [tables.bookings]"), "{plan}");
    assert_eq!(column(&plan, "menu", "code")["too_large"], 0);
    pair.json(0, &["init", "--apply"]);
    equal(&pair, "SELECT code, price FROM menu ORDER BY 1");
    assert_eq!(type_of(&pair, "guests", "id"), "integer");
    assert!(pair.sqlite("SELECT 1 FROM dual_tracked WHERE name = 'guests'").is_empty());
    let refused = pair.json(2, &["init", "--tables", "guests"])["error"].clone();
    assert!(refused["hint"].as_str().unwrap().starts_with("`--widen guests.id`"), "{refused}");
}

#[test]
fn a_person_lets_postgresql_make_room_and_what_refers_to_it_goes_along() {
    let pair = telegram();
    let words = ["init", "--widen", "guests", "--same", "guests,bookings"];
    let plan = pair.json(0, &words);
    let id = column(&plan, "guests", "id");
    assert_eq!(
        (&id["too_large"], &id["widened"], &id["type"]),
        (&json!(1), &json!(true), &json!("bigint"))
    );
    assert_eq!(column(&plan, "bookings", "user_id")["widened"], true, "{plan}");
    assert_eq!(type_of(&pair, "guests", "id"), "integer");
    let text = pair.run(&words).ended(0).words();
    assert!(text.contains("make \"id\" bigint, which writes the whole table anew"), "{text}");
    assert!(
        text.contains("`dual init --apply --same guests,bookings --widen guests` does it"),
        "{text}"
    );
    pair.json(0, &[&words[..], &["--apply"]].concat());
    for (table, name) in [("guests", "id"), ("bookings", "user_id")] {
        assert_eq!(type_of(&pair, table, name), "bigint");
    }
    assert_eq!(type_of(&pair, "bookings", "n"), "smallint");
    let sequence = "SELECT format_type(seqtypid, NULL), seqmax::text FROM pg_sequence \
                    WHERE seqrelid = 'guests_id_seq'::regclass";
    assert_eq!(
        pair.postgres(sequence),
        [["bigint", "9223372036854775807"].map(|text| Some(text.to_owned()))]
    );
    let whose = "SELECT b.id, b.user_id, g.name FROM bookings AS b JOIN guests AS g ON g.id = b.user_id ORDER BY 1";
    assert_eq!(equal(&pair, whose).len(), 2);
    // Said once more it changes nothing.
    pair.json(0, &[&words[..], &["--apply"]].concat());
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    // PostgreSQL counts on behind what has come.
    let next = pair.postgres("INSERT INTO guests (name) VALUES ('Зоя') RETURNING id");
    assert_eq!(next, [[Some("5000000001".to_owned())]]);
}

#[test]
fn what_is_no_such_column_is_refused() {
    let pair = telegram();
    for (word, wanted) in [
        ("guest", "did you mean `guests`?"),
        ("guests.idd", "did you mean `id`?"),
        ("guests.name", "in PostgreSQL it is text"),
        ("menu", "all numbers of the file fit"),
    ] {
        let error = pair.json(2, &["init", "--widen", word])["error"].clone();
        let shown = format!("{} {}", error["message"], error["hint"]);
        assert!(shown.contains(wanted), "{word}: {error}");
    }
    pair.json(0, &["init", "--apply"]);
    let error = pair.json(2, &["init", "--widen", "menu.price"])["error"].clone();
    assert_eq!(error["hint"], "`dual schema apply menu --widen price`", "{error}");
    assert!(
        pair.run(&["schema", "apply", "menu", "--widen", "cod", "--yes"])
            .ended(2)
            .stderr
            .contains("`code`")
    );
}

#[test]
fn the_settings_can_say_it() {
    let pair = telegram();
    let config = pair.folder.path().join("dual.toml");
    std::fs::write(&config, "[tables.guests.types]\nid = \"bigint\"\n").unwrap();
    let words = ["init", "--config", config.to_str().unwrap(), "--same", "guests,bookings"];
    let plan = pair.json(0, &words);
    assert_eq!(column(&plan, "bookings", "user_id")["widened"], true, "{plan}");
    std::fs::write(&config, "[tables.guests.types]\nname = \"bigint\"\n").unwrap();
    let error = pair.json(2, &words)["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("name is in PostgreSQL"), "{error}");
}

#[test]
fn a_view_over_the_column_leaves_the_table_out_and_everything_else_goes_on() {
    let pair = telegram();
    pair.postgres("CREATE VIEW names AS SELECT id, name FROM guests");
    let words = ["init", "--widen", "guests,bookings", "--same", "bookings", "--apply"];
    // Of bookings waits what refers to guests that are not there.
    let done = pair.json(1, &words);
    let skipped = skipped(&done);
    let guests = skipped.iter().find(|one| one.0 == "guests").unwrap();
    assert!(guests.1.contains("the view public.names"), "{done}");
    assert!(guests.2.contains("drop the view public.names first"), "{done}");
    assert_eq!(
        (type_of(&pair, "guests", "id"), type_of(&pair, "bookings", "user_id")),
        ("integer".into(), "bigint".into())
    );
    equal(&pair, "SELECT code, price FROM menu ORDER BY 1");
}

#[test]
fn numbers_that_come_later_wait_and_are_told_what_helps() {
    let pair = telegram();
    pair.json(0, &["init", "--apply"]);
    let _watcher = Watcher::new(&pair, &[]);
    equal(&pair, "SELECT code, price FROM menu ORDER BY 1");
    pair.sqlite("INSERT INTO menu VALUES (5000000000, 30), (3, 70000)");
    let waiting =
        || pair.run(&["quarantine", "--json"]).json()["quarantine"].as_array().unwrap().clone();
    eventually("that both wait", || waiting().len() == 2);
    for row in waiting() {
        let column = if row["key"] == 3 { "price" } else { "code" };
        let reason = row["reason"].as_str().unwrap();
        let wanted = format!("`dual schema apply menu --widen {column}` makes it bigint");
        assert!(reason.contains(&wanted), "{row}");
    }
    // Ours compares the key: by hand its type cannot be changed, and the command can.
    let by_hand = pair.database.execute("ALTER TABLE menu ALTER COLUMN code TYPE bigint");
    assert!(by_hand.is_err());
    let text =
        pair.run(&["schema", "apply", "menu", "--widen", "code", "--widen", "price", "--yes"]);
    let text = text.ended(0).stdout;
    assert!(text.contains("code is made bigint in PostgreSQL"), "{text}");
    assert_eq!(equal(&pair, "SELECT code, price FROM menu ORDER BY 1").len(), 4);
    assert!(waiting().is_empty());
    let shown = pair.json(0, &["schema", "menu"]);
    assert_eq!(shown["tables"][0]["columns"][0]["declared"], "bigint", "{shown}");
    eventually("that all is followed", || {
        let status = pair.run(&["status", "--json"]).json();
        status["paused"] == json!([]) && status["sync"] == "following"
    });
    pair.json(0, &["verify"]);
    // What a person has changed already is declared as it is.
    pair.json(0, &["schema", "apply", "menu", "--widen", "code", "--yes"]);
}

#[test]
fn a_column_that_was_made_wider_by_hand_is_declared_as_it_is() {
    let pair = telegram();
    pair.json(0, &["init", "--apply"]);
    let _watcher = Watcher::new(&pair, &[]);
    pair.postgres("ALTER TABLE menu ALTER COLUMN price TYPE bigint");
    pair.postgres("INSERT INTO menu VALUES (4, 5000000000), (5, 5)");
    eventually("the row that fits", || pair.sqlite("SELECT 1 FROM menu WHERE code = 5").len() == 1);
    eventually("that the other one waits", || {
        let rows = pair.run(&["quarantine", "--json"]).json();
        let reason = rows["quarantine"][0]["reason"].as_str().unwrap_or_default().to_owned();
        reason.contains("`dual schema apply menu --widen price`")
    });
    let shown = pair.json(0, &["schema", "menu"]);
    let price = &shown["tables"][0]["columns"][1];
    assert_eq!(
        (&price["declared"], &price["differs"]),
        (&json!("smallint"), &json!("PostgreSQL has bigint"))
    );
    pair.run(&["schema", "apply", "menu", "--yes"]).ended(0);
    equal(&pair, "SELECT code, price FROM menu ORDER BY 1");
    assert_eq!(
        pair.sqlite("SELECT price FROM menu WHERE code = 4"),
        [[Some("5000000000".to_owned())]]
    );
}

#[test]
fn the_users_of_the_documented_system_too() {
    let pair = Pair::new();
    pair.postgres("CREATE TABLE users (user_id integer PRIMARY KEY, first_name varchar)");
    pair.postgres("INSERT INTO users VALUES (7, 'Анна')");
    pair.sqlite("CREATE TABLE users (user_id INTEGER PRIMARY KEY, first_name TEXT)");
    pair.sqlite("INSERT INTO users VALUES (5000000000, 'Вера')");
    let plan = pair.json(1, &["init"]);
    assert!(
        plan["tables"][0]["postgres"]["obstacles"][0].as_str().unwrap().contains("is integer"),
        "{plan}"
    );
    pair.json(0, &["init", "--widen", "users.user_id", "--apply"]);
    equal(&pair, "SELECT user_id, first_name FROM users ORDER BY user_id");
    assert_eq!(type_of(&pair, "users", "user_id"), "bigint");
    pair.json(0, &["init", "--widen", "users.user_id", "--apply"]);
}

#[test]
fn what_was_done_half_is_gone_on_with() {
    let pair = telegram();
    let words = ["init", "--widen", "guests", "--same", "guests,bookings", "--apply"];
    // PostgreSQL is ready, and the file cannot be: somebody else keeps it.
    let holder = rusqlite::Connection::open(pair.path()).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_ne!(pair.run(&[&words[..], &["--no-copy"]].concat()).code, Some(0));
    holder.execute_batch("ROLLBACK").unwrap();
    drop(holder);
    assert_eq!(type_of(&pair, "guests", "id"), "bigint");
    pair.json(0, &words);
    let whose = "SELECT b.id, b.user_id, g.name FROM bookings AS b JOIN guests AS g ON g.id = b.user_id ORDER BY 1";
    assert_eq!(equal(&pair, whose).len(), 2);
}

#[test]
fn a_type_of_the_users_own_is_not_taken_away() {
    let pair = Pair::new();
    for sql in [
        "CREATE DOMAIN price AS integer CHECK (VALUE > 0)",
        "CREATE TABLE menu (code integer PRIMARY KEY, price price)",
    ] {
        pair.postgres(sql);
    }
    pair.sqlite("CREATE TABLE menu (code INTEGER PRIMARY KEY, price INTEGER)");
    pair.json(0, &["init", "--apply"]);
    let ran = pair.run(&["schema", "apply", "menu", "--widen", "price", "--yes"]);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert_ne!(ran.code, Some(0), "{said}");
    assert!(said.contains("a type of your own"), "{said}");
    assert_eq!(type_of(&pair, "menu", "price"), "price");
}
