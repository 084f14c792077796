//! Numbers that both sides hand out: two rows under one number are two rows.

use serde_json::{Value, json};
use throwaway_postgres::{Server, StopMode};

use crate::core_scene::{Pair, python};
use crate::scene::Row;

/// Guests and their bookings, joined, with one of each.
fn booked<'s>(server: &'s Server) -> Pair<'s> {
    let pair = Pair::on(server);
    for sql in [
        "CREATE TABLE guests (id serial PRIMARY KEY, name text, brought_by integer REFERENCES guests)",
        "CREATE TABLE bookings (id serial PRIMARY KEY, guest_id integer REFERENCES guests (id), what text)",
        "CREATE TABLE seats (guest_id integer REFERENCES guests (id), seat integer, note text, \
         PRIMARY KEY (guest_id, seat))",
        "INSERT INTO guests (name) VALUES ('Анна')",
        "INSERT INTO bookings (guest_id, what) VALUES (1, 'у окна')",
    ] {
        pair.postgres(sql);
    }
    for sql in [
        "CREATE TABLE guests (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, \
         brought_by INTEGER REFERENCES guests)",
        "CREATE TABLE bookings (id INTEGER PRIMARY KEY AUTOINCREMENT, \
         guest_id INTEGER REFERENCES guests (id), what TEXT)",
        "CREATE TABLE seats (guest_id INTEGER REFERENCES guests (id), seat INTEGER, note TEXT, \
         PRIMARY KEY (guest_id, seat))",
        "CREATE TABLE remarks (guest INTEGER REFERENCES guests, remark TEXT)",
    ] {
        pair.sqlite(sql);
    }
    pair.json(0, &["init", "--apply"]);
    pair
}

#[track_caller]
fn equal(pair: &Pair<'_>, select: &str) -> Vec<Row> {
    let rows = pair.postgres(select);
    assert_eq!(
        rows,
        python(pair, &format!("rows = db.execute({select:?}).fetchall()")),
        "{select}"
    );
    rows
}

fn texts(row: &[&str]) -> Row {
    row.iter().map(|text| Some((*text).to_owned())).collect()
}

const WHOSE: &str = "SELECT g.name, b.what FROM bookings AS b JOIN guests AS g ON g.id = b.guest_id \
                     ORDER BY b.what";

const VERA: &str = "guest = db.execute(\"INSERT INTO guests (name) VALUES ('Вера')\").lastrowid\n\
    db.execute(\"INSERT INTO bookings (guest_id, what) VALUES (?, 'file')\", (guest,))\n\
    db.execute(\"INSERT INTO seats VALUES (?, 1, 'file')\", (guest,))\n\
    db.execute(\"INSERT INTO remarks VALUES (?, 'file')\", (guest,))\n\
    db.execute(\"INSERT INTO guests (name, brought_by) VALUES ('Зоя', ?)\", (guest,))\n\
    db.execute(\"UPDATE guests SET brought_by = id WHERE id = ?\", (guest,))\n";

#[test]
fn two_rows_under_one_number_with_children_on_both_sides_are_two_rows() {
    let server = Server::builder().start().unwrap();
    let pair = booked(&server);
    server.stop(StopMode::Fast).unwrap();
    python(&pair, VERA);
    pair.json(3, &["sync", "--once"]);
    server.start().unwrap();
    pair.postgres(
        "WITH one AS (INSERT INTO guests (name) VALUES ('Пётр') RETURNING id), \
         two AS (INSERT INTO seats SELECT id, 1, 'psql' FROM one) \
         INSERT INTO bookings (guest_id, what) SELECT id, 'psql' FROM one",
    );
    pair.json(0, &["sync", "--once"]);

    let guests = equal(&pair, "SELECT id, name FROM guests ORDER BY id");
    assert_eq!(guests.len(), 4, "{guests:?}");
    assert_eq!(guests[1], texts(&["2", "Пётр"]));
    let whose = equal(&pair, WHOSE);
    let expected = [["Вера", "file"], ["Пётр", "psql"], ["Анна", "у окна"]];
    assert_eq!(whose, expected.map(|row| texts(&row)));
    let seats = "SELECT g.name, s.note FROM seats AS s JOIN guests AS g ON g.id = s.guest_id \
                 ORDER BY s.note";
    assert_eq!(equal(&pair, seats), [["Вера", "file"], ["Пётр", "psql"]].map(|row| texts(&row)));
    assert_eq!(equal(&pair, "SELECT guest_id FROM seats").len(), 2);
    let brought = "SELECT g.name, b.name FROM guests AS g JOIN guests AS b ON b.id = g.brought_by \
                   ORDER BY g.id";
    let brought = equal(&pair, brought);
    assert_eq!(brought.len(), 2, "{brought:?}");
    assert!(brought.iter().all(|row| row[1].as_deref() == Some("Вера")), "{brought:?}");
    // A table that only the file has goes along.
    let remarks = "rows = db.execute(\"SELECT g.name FROM remarks AS r \
                   JOIN guests AS g ON g.id = r.guest\").fetchall()";
    assert_eq!(python(&pair, remarks), [texts(&["Вера"])]);

    // Whoever looks is told, and both go on with numbers of their own.
    let conflicts = pair.json(0, &["conflicts"])["conflicts"].clone();
    let moved: Vec<&Value> = conflicts
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["column"] == "(renumbered)" && one["table"] == "guests")
        .collect();
    let vera = guests.iter().find(|row| row[1].as_deref() == Some("Вера")).unwrap();
    assert!(
        moved
            .iter()
            .any(|one| one["key"] == 2 && one["losing"] == "2" && one["winning"] == json!(vera[0])),
        "{conflicts}"
    );
    let text = pair.run(&["conflicts"]).ended(0).stdout;
    assert!(text.contains("(renumbered)"), "{text}");
    pair.postgres("INSERT INTO guests (name) VALUES ('Олег')");
    pair.json(0, &["sync", "--once"]);
    python(&pair, "db.execute(\"INSERT INTO guests (name) VALUES ('Нина')\")");
    pair.json(0, &["sync", "--once"]);
    assert_eq!(equal(&pair, "SELECT name FROM guests ORDER BY id").len(), 6);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    let status = pair.json(0, &["status"]);
    assert_eq!(status["pending"], json!({ "to_postgres": 0, "to_sqlite": 0 }));
    assert_eq!(status["quarantined"], 0, "{status}");
}

#[test]
fn a_row_that_died_under_the_number_is_another_row() {
    let pair = booked(throwaway_postgres::shared().unwrap());
    let insert = |name: &str| {
        python(&pair, &format!("db.execute(\"INSERT INTO guests (name) VALUES ('{name}')\")"));
    };
    insert("Вера");
    pair.postgres("INSERT INTO guests (name) VALUES ('Пётр')");
    pair.postgres("DELETE FROM guests WHERE name = 'Пётр'");
    pair.json(0, &["sync", "--once"]);
    let guests = "SELECT name FROM guests ORDER BY name";
    assert_eq!(equal(&pair, guests), [["Анна"], ["Вера"]].map(|row| texts(&row)));

    // Deleted before anybody has heard of it, it takes nothing with it.
    let next = "rows = db.execute(\"SELECT max(id) + 1 FROM guests\").fetchall()";
    let next = python(&pair, next)[0][0].clone().unwrap();
    pair.postgres(&format!("SELECT setval('guests_id_seq', {next}, false)"));
    pair.postgres("INSERT INTO guests (name) VALUES ('Олег')");
    insert("Зоя");
    let zoya = "rows = db.execute(\"SELECT id FROM guests WHERE name = 'Зоя'\").fetchall()";
    assert_eq!(python(&pair, zoya), [[Some(next)]]);
    python(&pair, "db.execute(\"DELETE FROM guests WHERE name = 'Зоя'\")");
    pair.json(0, &["sync", "--once"]);
    let expected = [["Анна"], ["Вера"], ["Олег"]].map(|row| texts(&row));
    assert_eq!(equal(&pair, guests), expected);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn a_sequence_that_the_column_only_takes_from_goes_on_behind_what_was_moved() {
    let pair = Pair::new();
    pair.postgres("CREATE SEQUENCE given");
    pair.postgres(
        "CREATE TABLE orders (id bigint PRIMARY KEY DEFAULT nextval('given'), what text)",
    );
    pair.sqlite("CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT)");
    pair.json(0, &["init", "--apply"]);
    python(&pair, "db.execute(\"INSERT INTO orders (what) VALUES ('file')\")");
    pair.postgres("INSERT INTO orders (what) VALUES ('psql')");
    pair.json(0, &["sync", "--once"]);
    pair.postgres("INSERT INTO orders (what) VALUES ('psql too')");
    pair.json(0, &["sync", "--once"]);
    let expected = [["1", "psql"], ["2", "file"], ["3", "psql too"]].map(|row| texts(&row));
    assert_eq!(equal(&pair, "SELECT id, what FROM orders ORDER BY id"), expected);
}

#[test]
fn a_number_that_the_column_cannot_hold_keeps_no_other_row_waiting() {
    let pair = booked(throwaway_postgres::shared().unwrap());
    python(
        &pair,
        "db.execute(\"INSERT INTO guests (id, name) VALUES (3000000000, 'Вера')\")\n\
         db.execute(\"INSERT INTO bookings (guest_id, what) VALUES (1, 'file')\")",
    );
    assert_eq!(pair.json(1, &["sync", "--once"])["state"], "quarantined");
    let bookings = [["file"], ["у окна"]].map(|row| texts(&row));
    assert_eq!(equal(&pair, "SELECT what FROM bookings ORDER BY what"), bookings);
    assert_eq!(pair.postgres("SELECT id FROM guests"), [texts(&["1"])]);
}

#[test]
fn a_natural_number_is_one_row_wherever_it_was_born() {
    let pair = Pair::new();
    pair.postgres("CREATE TABLE chats (chat bigint PRIMARY KEY, title text, link text)");
    pair.sqlite("CREATE TABLE chats (chat INTEGER PRIMARY KEY, title TEXT, link TEXT)");
    pair.json(0, &["init", "--apply"]);
    pair.sqlite("INSERT INTO chats (chat, title) VALUES (77, 'file')");
    pair.postgres("INSERT INTO chats (chat, link) VALUES (77, 'psql')");
    pair.json(0, &["sync", "--once"]);
    let expected = [texts(&["77", "file", "psql"])];
    assert_eq!(equal(&pair, "SELECT chat, title, link FROM chats"), expected);
}

/// Вера of the file and Пётр of PostgreSQL, each with a seat, stay who they are.
#[track_caller]
fn each_has_a_seat(pair: &Pair<'_>) {
    let seats = "SELECT g.name, s.note FROM seats AS s JOIN guests AS g ON g.id = s.guest_id \
                 ORDER BY s.note";
    assert_eq!(equal(pair, seats), [["Вера", "file"], ["Пётр", "psql"]].map(|row| texts(&row)));
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    let status = pair.json(0, &["status"]);
    assert_eq!(status["pending"], json!({ "to_postgres": 0, "to_sqlite": 0 }));
}

const PETER: &str = "WITH one AS (INSERT INTO guests (name) VALUES ('Пётр') RETURNING id) \
                     INSERT INTO seats SELECT id, 2, 'psql' FROM one";

#[test]
fn a_comparison_gives_no_child_to_a_stranger() {
    let pair = booked(throwaway_postgres::shared().unwrap());
    python(&pair, VERA);
    pair.postgres(PETER);
    // As after a fail-over: both sides are compared.
    pair.postgres("DELETE FROM dual.token");
    pair.json(0, &["sync", "--once"]);
    each_has_a_seat(&pair);
}

#[test]
fn a_birth_in_a_table_that_is_left_alone_is_asked_about_when_it_is_mended() {
    for peter in [true, false] {
        let pair = booked(throwaway_postgres::shared().unwrap());
        pair.postgres("ALTER TABLE guests ALTER name TYPE json USING to_json(name)");
        assert_eq!(pair.json(1, &["sync", "--once"])["state"], "paused");
        python(&pair, "db.execute(\"INSERT INTO guests (name) VALUES ('Вера')\")");
        if peter {
            pair.postgres("INSERT INTO guests (name) VALUES ('\"Пётр\"')");
        }
        // The file's position goes on without them.
        python(&pair, "db.execute(\"UPDATE bookings SET what = 'у двери'\")");
        assert_eq!(pair.json(1, &["sync", "--once"])["state"], "paused");
        pair.postgres("ALTER TABLE guests ALTER name TYPE text USING name #>> '{}'");
        pair.json(0, &["sync", "--once"]);
        let names = equal(&pair, "SELECT name FROM guests ORDER BY name");
        let expected: &[&str] =
            if peter { &["Анна", "Вера", "Пётр"] } else { &["Анна", "Вера"] };
        assert_eq!(names, expected.iter().map(|name| texts(&[name])).collect::<Vec<_>>());
        // What PostgreSQL changes arrives.
        pair.postgres("UPDATE guests SET name = name || '!'");
        pair.json(0, &["sync", "--once"]);
        equal(&pair, "SELECT name FROM guests ORDER BY name");
        assert_eq!(pair.json(0, &["verify"])["equal"], true);
    }
}

#[test]
fn a_sequence_is_never_put_back() {
    let pair = booked(throwaway_postgres::shared().unwrap());
    // As after a load: it is told which number is the next.
    pair.postgres("INSERT INTO guests SELECT n, 'g' FROM generate_series(2, 1500) AS n");
    pair.postgres("SELECT setval('guests_id_seq', 1501, false)");
    python(&pair, "db.execute(\"INSERT INTO guests (name) VALUES ('Вера')\")");
    pair.json(0, &["sync", "--once"]);
    let vera = equal(&pair, "SELECT id FROM guests WHERE name = 'Вера'");
    assert!(vera[0][0].as_deref().unwrap().parse::<i64>().unwrap() > 1500, "{vera:?}");
    pair.postgres("INSERT INTO guests (name) VALUES ('Олег')");
    // A load that has told it nothing, and a number that a program names.
    pair.postgres("INSERT INTO guests SELECT n, 'g' FROM generate_series(1600, 3000) AS n");
    python(&pair, "db.execute(\"INSERT INTO guests (id, name) VALUES (1599, 'Нина')\")");
    python(&pair, "db.execute(\"INSERT INTO guests (id, name) VALUES (2000, 'Зоя')\")");
    pair.json(0, &["sync", "--once"]);
    let named = "SELECT name FROM guests WHERE name <> 'g' ORDER BY name";
    let expected = ["Анна", "Вера", "Зоя", "Нина", "Олег"].map(|name| texts(&[name]));
    assert_eq!(equal(&pair, named), expected);
    pair.postgres("INSERT INTO guests (name) VALUES ('Пётр')");
    pair.json(0, &["sync", "--once"]);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn a_table_without_numbers_left_is_nobody_elses_trouble() {
    let pair = booked(throwaway_postgres::shared().unwrap());
    pair.postgres("ALTER SEQUENCE guests_id_seq MAXVALUE 2");
    pair.postgres("INSERT INTO guests (name) VALUES ('Пётр')");
    python(&pair, "db.execute(\"INSERT INTO guests (name) VALUES ('Вера')\")");
    python(&pair, "db.execute(\"UPDATE bookings SET what = 'у двери'\")");
    assert_eq!(pair.json(1, &["sync", "--once"])["state"], "quarantined");
    assert_eq!(pair.postgres("SELECT what FROM bookings"), [texts(&["у двери"])]);
    let aside = pair.json(0, &["quarantine"])["quarantine"].clone();
    let reasons: Vec<&Value> = aside.as_array().unwrap().iter().collect();
    assert!(reasons.iter().any(|one| one["refused_by"] == "postgres"), "{aside}");
    pair.postgres("ALTER SEQUENCE guests_id_seq NO MAXVALUE");
    python(&pair, "db.execute(\"UPDATE dual_quarantine SET retry = 0\")");
    pair.json(0, &["sync", "--once"]);
    let names = equal(&pair, "SELECT name FROM guests ORDER BY name");
    assert_eq!(names, ["Анна", "Вера", "Пётр"].map(|name| texts(&[name])));
}

/// Numbers that are kept for the file, as a process that runs longer has them kept.
fn kept(pair: &Pair<'_>) {
    pair.json(0, &["sync", "--once"]);
    let count = "SELECT count(*) FROM dual_number WHERE name = 'guests'";
    assert_eq!(pair.sqlite(count), [texts(&["20"])]);
}

#[test]
fn a_row_without_a_key_gets_a_number_that_is_final() {
    let server = Server::builder().start().unwrap();
    let pair = booked(&server);
    let add = |code: i32, name: &str| {
        let row = json!({ "name": name }).to_string();
        pair.json(code, &["row", "add", "guests", &row])
    };
    let added = add(0, "Вера");
    assert_eq!(added["row"]["id"], 2, "{added}");
    assert_eq!(added["row"]["name"], "Вера");
    let text = pair.run(&["row", "upsert", "guests", r#"{"name": "Олег"}"#]).ended(0).stdout;
    assert!(text.contains('3'), "{text}");
    kept(&pair);

    server.stop(StopMode::Fast).unwrap();
    let away = add(3, "Зоя");
    let (id, stored) = (&away["row"]["id"], &away["stored"]);
    assert!(id.as_i64().unwrap() > 2 && stored["sqlite"] == true, "{away}");
    // A script comes to a number of its own, and has a child.
    python(&pair, VERA);
    let last = add(3, "Нина");
    server.start().unwrap();
    pair.postgres("INSERT INTO guests (name) VALUES ('Пётр')");
    pair.json(0, &["sync", "--once"]);
    for (name, row) in [("Зоя", &away), ("Нина", &last)] {
        let sql = format!("SELECT id FROM guests WHERE name = '{name}' AND brought_by IS NULL");
        assert_eq!(equal(&pair, &sql), [texts(&[&row["row"]["id"].to_string()])]);
    }
    assert_eq!(equal(&pair, "SELECT name FROM guests ORDER BY id").len(), 8);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    assert_eq!(pair.json(0, &["status"])["quarantined"], 0);
}

#[test]
fn a_row_without_a_key_is_refused_where_no_number_is_to_be_had() {
    let pair = booked(throwaway_postgres::shared().unwrap());
    let words = ["row", "add", "guests", r#"{"name": "Вера"}"#, "--json"];
    let error = pair.run_to("postgresql://nobody@127.0.0.1:1/none", &words).ended(4).json();
    assert_eq!(error["error"]["kind"], "unavailable", "{error}");
    assert!(error["error"]["hint"].as_str().unwrap().contains("name the key"), "{error}");
    // A natural key, and one of several columns, are named as ever.
    let seat = r#"{"seat": 1}"#;
    let error = pair.json(5, &["row", "add", "seats", seat]);
    assert!(error["error"]["message"].as_str().unwrap().contains("key"), "{error}");
}
