//! What comes later to tables that are told apart by their natural key: other files, other numbers, other tables.

use serde_json::{Value, json};

use crate::core_natural::{WHOSE, apart, both, joined, table, texts};
use crate::core_scene::{Pair, Watcher, eventually};

#[test]
fn a_file_that_joins_later_follows_the_numbers_too() {
    let pair = apart("REFERENCES guests");
    pair.json(0, &["init", "--different", "visits", "--apply"]);
    let other = Pair { database: pair.database, folder: tempfile::tempdir().unwrap() };
    for sql in [
        "CREATE TABLE guests (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, name TEXT)",
        "CREATE TABLE visits (id INTEGER PRIMARY KEY, guest_id INTEGER REFERENCES guests(id), what TEXT)",
        "INSERT INTO guests VALUES (1, 'dora', NULL), (2, 'ida', NULL)",
        "INSERT INTO visits VALUES (1, 1, 'late of dora'), (2, 2, 'late of ida')",
    ] {
        other.sqlite(sql);
    }
    other.json(0, &["init", "--different", "visits", "--apply"]);
    let wrong = "SELECT v.what, g.code FROM visits AS v LEFT JOIN guests AS g ON g.id = v.guest_id \
                 WHERE coalesce(v.what NOT LIKE '% of ' || g.code, true)";
    both(&other, wrong, &[]);
    let guests = "SELECT id, code FROM guests ORDER BY code";
    assert_eq!(other.postgres(guests).len(), 5);
    assert_eq!(other.postgres(guests), other.sqlite(guests));
    assert_eq!(other.sqlite("SELECT 1 FROM visits").len(), 7);
}

const WRONG: &str = "SELECT v.what, g.code FROM visits AS v LEFT JOIN guests AS g ON g.id = v.guest_id \
                     WHERE coalesce(v.what NOT LIKE '% of ' || g.code, true)";

#[test]
fn another_code_is_the_same_guest_for_what_refers_to_it() {
    for (references, from_postgres, code) in [
        ("REFERENCES guests", true, "aaa"),
        ("REFERENCES guests", true, "zzz"),
        ("REFERENCES guests", false, "aaa"),
        ("REFERENCES guests", false, "zzz"),
        ("", true, "aaa"),
        ("", true, "zzz"),
        ("", false, "aaa"),
        ("", false, "zzz"),
    ] {
        let pair = apart(references);
        pair.json(0, &["init", "--different", "visits", "--apply"]);
        let watcher = Watcher::new(&pair, &[]);
        let change = format!("UPDATE guests SET code = '{code}' WHERE code = 'anna'");
        let told = format!(
            "UPDATE visits SET what = replace(what, 'anna', '{code}') WHERE what LIKE '%anna'"
        );
        match from_postgres {
            true => {
                pair.postgres(&change);
                pair.postgres(&told);
            }
            false => {
                pair.sqlite(&change);
                pair.sqlite(&told);
            }
        }
        let case = format!("{references} {from_postgres} {code}");
        let guests = "SELECT id, code FROM guests ORDER BY code COLLATE \"C\"";
        eventually(&case, || {
            let there = pair.postgres(guests);
            there.len() == 4
                && there == pair.sqlite(&guests.replace("\"C\"", "BINARY"))
                && pair.postgres(WRONG).is_empty()
                && pair.sqlite(WRONG).is_empty()
                && pair.json(0, &["quarantine"])["quarantine"] == json!([])
        });
        drop(watcher);
        assert_eq!(pair.json(0, &["verify"])["equal"], true, "{case}");
    }
}

#[test]
fn a_number_that_postgresql_changes_is_followed() {
    for references in ["REFERENCES guests ON UPDATE CASCADE", ""] {
        let pair = apart(references);
        pair.json(0, &["init", "--different", "visits", "--apply"]);
        let watcher = Watcher::new(&pair, &[]);
        pair.postgres("UPDATE guests SET id = 100 WHERE code = 'anna'");
        let guests = "SELECT id, code FROM guests ORDER BY code";
        eventually(references, || {
            pair.postgres(guests) == pair.sqlite(guests)
                && pair.postgres(WRONG).is_empty()
                && pair.sqlite(WRONG).is_empty()
        });
        // They change places.
        for (from, to) in [(100, 1_000), (2, 100), (1_000, 2)] {
            pair.postgres(&format!("UPDATE guests SET id = {to} WHERE id = {from}"));
        }
        eventually(references, || {
            pair.postgres(guests) == pair.sqlite(guests)
                && pair.postgres(WRONG).is_empty()
                && pair.sqlite(WRONG).is_empty()
        });
        drop(watcher);
        assert_eq!(pair.json(0, &["verify"])["equal"], true);
    }
}

#[test]
fn references_of_any_place_follow() {
    let pair = Pair::new();
    for sql in [
        "CREATE TABLE guests (id bigserial PRIMARY KEY, town text NOT NULL, code text NOT NULL, \
         host bigint REFERENCES guests, UNIQUE (town, code))",
        "CREATE TABLE seats (guest bigint REFERENCES guests(id), day date, seat text, PRIMARY KEY (guest, day))",
        "INSERT INTO guests (town, code, host) VALUES ('a', 'one', NULL), ('a', 'two', 1)",
        "INSERT INTO seats VALUES (1, '2024-05-06', 'a one'), (2, '2024-05-06', 'a two')",
    ] {
        pair.postgres(sql);
    }
    for sql in [
        "CREATE TABLE guests (id INTEGER PRIMARY KEY AUTOINCREMENT, town TEXT NOT NULL, code TEXT NOT NULL, \
         host INTEGER REFERENCES guests, UNIQUE (code, town))",
        "CREATE TABLE seats (guest INTEGER REFERENCES guests(id), day TEXT, seat TEXT, PRIMARY KEY (guest, day))",
        "INSERT INTO guests (id, town, code) VALUES (1, 'a', 'two')",
        "INSERT INTO guests VALUES (2, 'a', 'one', NULL), (3, 'b', 'one', 2), (4, 'b', 'two', 3)",
        "UPDATE guests SET host = 2 WHERE id = 1",
        "INSERT INTO seats VALUES (1, '2024-05-06', 'a two'), (2, '2024-05-07', 'a one'), (3, '2024-05-06', 'b one')",
    ] {
        pair.sqlite(sql);
    }
    let plan = pair.json(0, &["init"]);
    assert_eq!(table(&plan, "guests")["key"], json!(["town", "code"]), "{plan}");
    assert_eq!(table(&plan, "guests")["rows"]["different"], 0, "{plan}");
    let rows = &table(&plan, "seats")["rows"];
    assert_eq!((&rows["different"], &rows["only_sqlite"]), (&json!(0), &json!(2)), "{plan}");
    pair.json(0, &["init", "--apply"]);
    let hosts = "SELECT g.town || g.code, h.town || h.code FROM guests AS g JOIN guests AS h ON h.id = g.host ORDER BY 1";
    both(&pair, hosts, &texts(&[["atwo", "aone"], ["bone", "aone"], ["btwo", "bone"]]));
    let seats = "SELECT s.seat, CAST(s.day AS text), g.town || ' ' || g.code FROM seats AS s \
                 JOIN guests AS g ON g.id = s.guest ORDER BY 1, 2";
    both(
        &pair,
        seats,
        &texts(&[
            ["a one", "2024-05-06", "a one"],
            ["a one", "2024-05-07", "a one"],
            ["a two", "2024-05-06", "a two"],
            ["b one", "2024-05-06", "b one"],
        ]),
    );
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    assert_eq!(pair.json(0, &["conflicts"])["conflicts"], json!([]));
}

#[test]
fn the_librarys_rows_have_postgresqls_numbers() {
    let pair = apart("REFERENCES guests");
    pair.json(0, &["init", "--different", "visits", "--apply"]);
    pair.json(0, &["row", "add", "guests", "{\"code\": \"ida\", \"name\": \"Ида\"}"]);
    let ida = pair.json(0, &["row", "get", "guests", "ida"]);
    let number = pair.postgres("SELECT id FROM guests WHERE code = 'ida'")[0][0].clone().unwrap();
    assert_eq!(ida["row"]["id"].to_string(), number, "{ida}");
    assert_eq!(pair.sqlite("SELECT id FROM guests WHERE code = 'ida'")[0][0], Some(number));
}

#[test]
fn a_reference_that_follows_is_as_old_as_it_was() {
    as_old_as_it_was("visits", "guest_id");
    as_old_as_it_was("Visits", "Guest_Id");
}

/// The file writes the names of its own as it likes: they are the same ones.
fn as_old_as_it_was(named: &str, reference: &str) {
    let pair = apart("REFERENCES guests");
    pair.sqlite("DROP TABLE visits");
    pair.sqlite(&format!(
        "CREATE TABLE {named} (id INTEGER PRIMARY KEY, {reference} INTEGER REFERENCES GUESTS(ID), what TEXT)"
    ));
    // One visit of both sides: of anna there, of boris here. PostgreSQL's stands, as where nothing has moved.
    pair.postgres("DELETE FROM visits");
    pair.postgres("INSERT INTO visits VALUES (1, 1, 'of whom')");
    pair.sqlite("INSERT INTO visits VALUES (1, 1, 'of whom')");
    pair.json(0, &["init", "--same", "visits", "--apply"]);
    both(&pair, WHOSE, &texts(&[["of whom", "anna"]]));
    let log = pair.json(0, &["conflicts"]);
    let of: Vec<&Value> = log["conflicts"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["table"] == "visits")
        .collect();
    assert_eq!(
        (of.len(), &of[0]["column"], &of[0]["losing"]),
        (1, &json!("guest_id"), &json!("2")),
        "{log}"
    );
}

#[test]
fn numbers_that_follow_need_not_fit() {
    let pair = apart("REFERENCES guests");
    // In the file they are of Telegram's size; PostgreSQL gives its own.
    let connection = rusqlite::Connection::open(pair.path()).unwrap();
    connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    for sql in [
        "UPDATE guests SET id = id + 5000000000",
        "UPDATE visits SET guest_id = guest_id + 5000000000",
        "UPDATE remarks SET guest = guest + 5000000000",
    ] {
        connection.execute(sql, []).unwrap();
    }
    drop(connection);
    pair.json(0, &["init", "--different", "visits", "--apply"]);
    joined(&pair);
}

#[test]
fn a_file_that_has_nothing_gets_everything() {
    let pair = apart("REFERENCES guests");
    pair.json(0, &["init", "--different", "visits", "--apply"]);
    pair.postgres("CREATE TABLE seats (id serial PRIMARY KEY, town text NOT NULL, seat text NOT NULL, UNIQUE (town, seat))");
    pair.postgres("INSERT INTO seats (town, seat) VALUES ('a', 'one')");
    pair.sqlite("CREATE TABLE seats (id INTEGER PRIMARY KEY, town TEXT NOT NULL, seat TEXT NOT NULL, UNIQUE (town, seat))");
    pair.sqlite("INSERT INTO seats VALUES (1, 'b', 'one')");
    pair.json(0, &["init", "--apply"]);
    let other = Pair { database: pair.database, folder: tempfile::tempdir().unwrap() };
    other.json(0, &["init", "--apply"]);
    for (table, key) in [("guests", "code"), ("visits", "id"), ("seats", "town")] {
        let all = format!("SELECT * FROM {table} ORDER BY {key}");
        assert_eq!(other.postgres(&all), other.sqlite(&all), "{table}");
    }
    assert_eq!(other.json(0, &["verify"])["equal"], true);
}

/// The file is a node by then, and captures what it is to join before it is asked which rows are others.
#[test]
fn tables_that_come_beside_others_are_read_under_the_same_numbers() {
    let pair = apart("REFERENCES guests");
    for sql in [
        "UPDATE visits SET guest_id = 2, what = 'here of boris' WHERE id = 1",
        "UPDATE visits SET guest_id = 3, what = 'there of clara' WHERE id = 2",
        "CREATE TABLE halls (id bigint PRIMARY KEY)",
    ] {
        pair.postgres(sql);
    }
    pair.sqlite("CREATE TABLE halls (id INTEGER PRIMARY KEY)");
    pair.json(0, &["init", "--tables", "halls", "--apply"]);
    let plan = pair.json(0, &["init", "--different", "visits"]);
    assert_eq!(table(&plan, "visits")["renumbered"], 1, "{plan}");
    pair.json(0, &["init", "--different", "visits", "--apply"]);
    let visits = "SELECT v.id, v.what, g.code FROM visits AS v JOIN guests AS g ON g.id = v.guest_id \
                  WHERE v.id < 3 ORDER BY v.id";
    let kept = texts(&[["1", "here of boris", "boris"], ["2", "there of clara", "clara"]]);
    both(&pair, visits, &kept);
    // The one that is the same on both sides is still one.
    let all = "SELECT what FROM visits ORDER BY what";
    let whats = ["here of anna", "here of boris", "here of dora", "there of clara"];
    both(&pair, all, &texts(&whats.map(|what| [what])));
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn the_other_key_may_have_a_name_of_its_own_in_the_file() {
    let pair = apart("REFERENCES guests");
    pair.sqlite("ALTER TABLE guests RENAME COLUMN code TO kennung");
    let config = pair.folder.path().join("dual.toml");
    std::fs::write(&config, "[tables.guests]\nnames = { code = 'kennung' }\n").unwrap();
    let words = ["init", "--config", config.to_str().unwrap(), "--different", "visits", "--apply"];
    let done = pair.json(0, &words);
    assert_eq!(table(&done, "guests")["key"], json!(["code"]), "{done}");
    let here = "SELECT v.what, g.kennung FROM visits AS v JOIN guests AS g ON g.id = v.guest_id ORDER BY v.what";
    eventually("visits of the right guest", || {
        pair.postgres(WHOSE).len() == 5 && pair.postgres(WHOSE) == pair.sqlite(here)
    });
    assert!(
        pair.postgres(WHOSE)
            .iter()
            .all(|row| { row[0].as_ref().unwrap().ends_with(row[1].as_deref().unwrap()) })
    );
}
