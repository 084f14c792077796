//! Tables that both sides have numbered before they met: a person says whether rows of one number are the same.

use serde_json::{Value, json};

use crate::core_scene::Pair;
use crate::scene::Row;

/// Guests and bookings that both sides have numbered by themselves; the first guest is the same one.
fn apart() -> Pair<'static> {
    let pair = Pair::new();
    for sql in [
        "CREATE TABLE menu (code text PRIMARY KEY, price integer)",
        "CREATE TABLE guests (id serial PRIMARY KEY, name text)",
        "CREATE TABLE bookings (id serial PRIMARY KEY, guest_id integer REFERENCES guests, what text)",
        "INSERT INTO menu VALUES ('tea', 1)",
        "INSERT INTO guests (name) VALUES ('Анна'), ('Пётр')",
        "INSERT INTO bookings (guest_id, what) VALUES (1, 'there 1'), (2, 'there 2')",
    ] {
        pair.postgres(sql);
    }
    for sql in [
        "CREATE TABLE menu (code TEXT PRIMARY KEY, price INTEGER)",
        "CREATE TABLE guests (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)",
        "CREATE TABLE bookings (id INTEGER PRIMARY KEY AUTOINCREMENT, \
         guest_id INTEGER REFERENCES guests, what TEXT)",
        "CREATE TABLE remarks (guest INTEGER REFERENCES guests, remark TEXT)",
        "INSERT INTO menu VALUES ('tea', 2)",
        "INSERT INTO guests (name) VALUES ('Анна'), ('Вера'), ('Зоя')",
        "INSERT INTO bookings (guest_id, what) VALUES (2, 'here 1'), (1, 'here 2'), (3, 'here 3')",
        "INSERT INTO remarks VALUES (2, 'of Вера')",
    ] {
        pair.sqlite(sql);
    }
    pair
}

fn skipped(document: &Value) -> Vec<&str> {
    let all = document["skipped"].as_array().unwrap().iter();
    all.filter(|one| one["reason"].as_str().unwrap().contains("both sides have rows that differ"))
        .map(|one| one["table"].as_str().unwrap())
        .collect()
}

const WHOSE: &str = "SELECT b.what, g.name FROM bookings AS b JOIN guests AS g ON g.id = b.guest_id \
                     ORDER BY b.what";

fn texts(rows: &[[&str; 2]]) -> Vec<Row> {
    rows.iter().map(|row| row.map(|text| Some(text.to_owned())).to_vec()).collect()
}

#[test]
fn without_a_persons_word_they_are_left_out() {
    let pair = apart();
    let plan = pair.json(0, &["init"]);
    assert_eq!(skipped(&plan), ["guests", "bookings"], "{plan}");
    let text = pair.run(&["init", "--apply"]).ended(0).stdout;
    assert!(text.contains("`--same guests` merges them, `--different guests` gives"), "{text}");
    assert_eq!(pair.postgres("SELECT count(*) FROM guests"), [[Some("2".to_owned())]]);
    assert!(
        pair.sqlite("SELECT 1 FROM sqlite_master WHERE tbl_name = 'guests' AND type = 'trigger'")
            .is_empty()
    );
    let refused = pair.json(2, &["init", "--tables", "guests"])["error"].clone();
    assert!(refused["hint"].as_str().unwrap().starts_with("`--same guests` merges"), "{refused}");
    // One word is enough for those that it names; what was left out can be joined later.
    let plan = pair.json(0, &["init", "--apply", "--same", "guests"]);
    assert_eq!(skipped(&plan), ["bookings"], "{plan}");
    pair.json(0, &["init", "--apply", "--different", "bookings"]);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    let rows = texts(&[
        ["here 1", "Пётр"],
        ["here 2", "Анна"],
        ["here 3", "Зоя"],
        ["there 1", "Анна"],
        ["there 2", "Пётр"],
    ]);
    assert_eq!((pair.postgres(WHOSE), pair.sqlite(WHOSE)), (rows.clone(), rows));
    let log = pair.json(0, &["conflicts"]);
    let of = |table: &str| {
        let all = log["conflicts"].as_array().unwrap().iter();
        all.filter(|one| one["table"] == table).map(|one| one["losing"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("guests"), [json!("Вера")]);
    assert_eq!(of("bookings").len(), 2, "{log}");
}

#[test]
fn rows_that_are_others_take_other_numbers_and_what_refers_to_them_follows() {
    let pair = apart();
    let words = ["init", "--different", "guests,bookings"];
    let plan = pair.json(0, &words);
    let renumbered: Vec<(&Value, &Value)> = plan["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| (&table["table"], &table["renumbered"]))
        .collect();
    let wanted = [("menu", 0), ("guests", 1), ("bookings", 2)];
    for (table, count) in wanted {
        assert!(renumbered.contains(&(&json!(table), &json!(count))), "{renumbered:?}");
    }
    let text = pair.run(&words).ended(0).stdout;
    assert!(text.contains("`dual init --apply --different guests,bookings` does it"), "{text}");
    pair.json(0, &["init", "--apply", "--different", "guests,bookings"]);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    let rows = texts(&[
        ["here 1", "Вера"],
        ["here 2", "Анна"],
        ["here 3", "Зоя"],
        ["there 1", "Анна"],
        ["there 2", "Пётр"],
    ]);
    assert_eq!((pair.postgres(WHOSE), pair.sqlite(WHOSE)), (rows.clone(), rows));
    let names = "SELECT name FROM guests ORDER BY name";
    assert_eq!(pair.postgres(names).len(), 4);
    let remark = "SELECT r.remark, g.name FROM remarks AS r JOIN guests AS g ON g.id = r.guest";
    assert_eq!(pair.sqlite(remark), texts(&[["of Вера", "Вера"]]));
    // Said once, it changes nothing afterwards.
    pair.json(0, &["init", "--apply", "--different", "guests,bookings"]);
    assert_eq!(pair.postgres(names).len(), 4);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn what_is_no_such_table_is_refused() {
    let pair = apart();
    for (words, wanted) in [
        (["--same", "menu"], "nobody hands out the keys of menu"),
        (["--different", "guest"], "did you mean `guests`?"),
        (["--same", "remarks"], "not among the tables"),
    ] {
        let all: Vec<&str> = ["init"].into_iter().chain(words).collect();
        let error = pair.json(2, &all)["error"].clone();
        let shown = format!("{} {}", error["message"], error["hint"]);
        assert!(shown.contains(wanted), "{words:?}: {error}");
    }
    let both = ["init", "--same", "guests", "--different", "guests"];
    assert!(pair.run(&both).ended(2).stderr.contains("as --same and as --different"));
    // Nothing of ours is on either side.
    assert!(pair.postgres("SELECT 1 FROM pg_namespace WHERE nspname = 'dual'").is_empty());
    assert!(pair.sqlite("SELECT 1 FROM sqlite_master WHERE name LIKE 'dual%'").is_empty());
}
