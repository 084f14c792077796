//! Tables with a number that a side hands out and another key besides: where the two sides pair them differently they
//! are told apart by the other key, and what refers to the numbers follows.

use serde_json::{Value, json};

use crate::core_scene::{Pair, Watcher, eventually};
use crate::scene::Row;

/// Guests that both sides have numbered by themselves, and visits of them: of one number other guests are meant.
fn apart(references: &str) -> Pair<'static> {
    let pair = Pair::new();
    for sql in [
        "CREATE TABLE guests (id serial PRIMARY KEY, code text UNIQUE NOT NULL, name text)",
        &format!(
            "CREATE TABLE visits (id serial PRIMARY KEY, guest_id integer {references}, what text)"
        ),
        "INSERT INTO guests (code, name) VALUES ('anna', 'Анна'), ('boris', NULL), ('clara', 'Клара')",
        "INSERT INTO visits (guest_id, what) VALUES (1, 'there of anna'), (2, 'there of boris')",
    ] {
        pair.postgres(sql);
    }
    for sql in [
        "CREATE TABLE guests (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, name TEXT)",
        "CREATE TABLE visits (id INTEGER PRIMARY KEY, guest_id INTEGER REFERENCES guests(id), what TEXT)",
        "CREATE TABLE remarks (guest INTEGER REFERENCES guests, remark TEXT)",
        "INSERT INTO guests VALUES (1, 'boris', 'Борис'), (2, 'anna', 'Анна'), (3, 'dora', 'Дора')",
        "INSERT INTO visits VALUES (1, 1, 'here of boris'), (2, 2, 'here of anna'), (3, 3, 'here of dora')",
        "INSERT INTO remarks VALUES (1, 'boris'), (2, 'anna'), (3, 'dora')",
    ] {
        pair.sqlite(sql);
    }
    pair
}

const WHOSE: &str =
    "SELECT v.what, g.code FROM visits AS v JOIN guests AS g ON g.id = v.guest_id ORDER BY v.what";

fn texts<const N: usize>(rows: &[[&str; N]]) -> Vec<Row> {
    rows.iter().map(|row| row.map(|text| Some(text.to_owned())).to_vec()).collect()
}

/// Both sides have these rows, by clients that are not ours.
#[track_caller]
fn both(pair: &Pair<'_>, sql: &str, rows: &[Row]) {
    eventually(sql, || pair.postgres(sql) == rows && pair.sqlite(sql) == rows);
}

fn table<'d>(document: &'d Value, name: &str) -> &'d Value {
    document["tables"].as_array().unwrap().iter().find(|one| one["table"] == name).unwrap()
}

fn skipped(document: &Value) -> Vec<&str> {
    let all = document["skipped"].as_array().unwrap().iter();
    all.map(|one| one["table"].as_str().unwrap()).collect()
}

/// Of each code one guest, under one number on both sides, and each visit is of the guest that it was of.
#[track_caller]
fn joined(pair: &Pair<'_>) {
    let guests = "SELECT id, code FROM guests ORDER BY id";
    eventually("one guest of each code", || {
        pair.postgres(guests) == pair.sqlite(guests) && pair.postgres(guests).len() == 4
    });
    let numbers = texts(&[["1", "anna"], ["2", "boris"], ["3", "clara"]]);
    assert_eq!(pair.postgres(guests)[..3], numbers);
    let whose = texts(&[
        ["here of anna", "anna"],
        ["here of boris", "boris"],
        ["here of dora", "dora"],
        ["there of anna", "anna"],
        ["there of boris", "boris"],
    ]);
    both(pair, WHOSE, &whose);
    let remarks = "SELECT r.remark FROM remarks AS r JOIN guests AS g ON g.id = r.guest AND g.code = r.remark";
    assert_eq!(pair.sqlite(remarks).len(), 3);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    assert_eq!(pair.json(0, &["quarantine"])["quarantine"], json!([]));
}

#[test]
fn the_plan_says_which_key_and_why_and_changes_nothing() {
    let pair = apart("REFERENCES guests");
    let plan = pair.json(0, &["init"]);
    let guests = table(&plan, "guests");
    assert_eq!(guests["key"], json!(["code"]), "{plan}");
    let reason = guests["key_reason"].as_str().unwrap();
    assert!(
        reason.starts_with("code and not id: 2 rows of one code have other numbers"),
        "{reason}"
    );
    assert!(reason.contains("under 3 numbers code is another one"), "{reason}");
    assert_eq!(guests["renumbered"], 3, "{plan}");
    // The visits are numbered by both as well, and differ: that is another question.
    assert_eq!(skipped(&plan), ["remarks", "visits"], "{plan}");
    let text = pair.run(&["init"]).ended(0).stdout;
    assert!(text.contains("told apart by code and not id"), "{text}");
    assert!(text.contains("rows of SQLite that get PostgreSQL's numbers: 3"), "{text}");
    let before = texts(&[["1", "boris"], ["2", "anna"], ["3", "dora"]]);
    assert_eq!(pair.sqlite("SELECT id, code FROM guests ORDER BY id"), before);
    assert!(pair.sqlite("SELECT 1 FROM sqlite_master WHERE name LIKE 'dual%'").is_empty());
}

#[test]
fn visits_are_of_the_right_guest_on_both_sides() {
    for references in ["REFERENCES guests", ""] {
        let pair = apart(references);
        pair.json(0, &["init", "--different", "visits", "--apply"]);
        joined(&pair);
        pair.json(0, &["init", "--apply"]);
        joined(&pair);
    }
}

#[test]
fn rows_that_are_the_same_are_compared_by_what_they_refer_to() {
    let pair = apart("REFERENCES guests");
    pair.postgres("UPDATE visits SET guest_id = 2, what = 'here of boris' WHERE id = 1");
    pair.postgres("UPDATE visits SET guest_id = 1, what = 'here of anna' WHERE id = 2");
    // Under the numbers of PostgreSQL's guests they are equal, so nobody has to say anything.
    let plan = pair.json(0, &["init"]);
    assert_eq!(skipped(&plan), ["remarks"], "{plan}");
    assert_eq!(table(&plan, "visits")["rows"]["different"], 0, "{plan}");
    pair.json(0, &["init", "--apply"]);
    let whose =
        texts(&[["here of anna", "anna"], ["here of boris", "boris"], ["here of dora", "dora"]]);
    both(&pair, WHOSE, &whose);
    assert_eq!(pair.json(0, &["conflicts"])["conflicts"], json!([]));
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn later_rows_get_postgresqls_numbers_before_anything_refers_to_them_there() {
    let pair = apart("REFERENCES guests");
    pair.json(0, &["init", "--different", "visits", "--apply"]);
    // PostgreSQL never has a visit of somebody else, not even for a moment.
    for sql in [
        "CREATE TABLE seen (what text, code text)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN INSERT INTO public.seen SELECT NEW.what, g.code FROM public.guests AS g WHERE g.id = NEW.guest_id; \
          RETURN NULL; END'",
        "CREATE TRIGGER note AFTER INSERT OR UPDATE ON visits FOR EACH ROW EXECUTE FUNCTION note()",
        // While they are apart both give the same numbers.
        "INSERT INTO guests (code) VALUES ('edith'), ('frank')",
        "INSERT INTO visits (guest_id, what) SELECT id, 'there of ' || code FROM guests WHERE code IN ('edith', 'frank')",
    ] {
        pair.postgres(sql);
    }
    pair.postgres("DELETE FROM seen");
    pair.sqlite("INSERT INTO guests (code) VALUES ('gina'), ('hugo'), ('edith')");
    pair.sqlite(
        "INSERT INTO visits (guest_id, what) SELECT id, 'new of ' || code FROM guests \
         WHERE code IN ('gina', 'hugo', 'edith')",
    );
    pair.json(0, &["sync", "--once"]);
    let wrong = "SELECT what, code FROM seen WHERE what NOT LIKE '% of ' || code";
    assert_eq!(pair.postgres(wrong), Vec::<Row>::new());
    let wrong = "SELECT v.what, g.code FROM visits AS v LEFT JOIN guests AS g ON g.id = v.guest_id \
                 WHERE coalesce(v.what NOT LIKE '% of ' || g.code, true)";
    both(&pair, wrong, &[]);
    let guests = "SELECT id, code FROM guests ORDER BY code";
    assert_eq!(pair.postgres(guests).len(), 8);
    assert_eq!(pair.postgres(guests), pair.sqlite(guests));
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    assert_eq!(pair.json(0, &["quarantine"])["quarantine"], json!([]));
    assert!(
        pair.sqlite("SELECT 1 FROM dual_given LIMIT 1").is_empty()
            || pair.sqlite("SELECT 1 FROM dual_given").len() <= 3
    );
}

#[test]
fn while_a_program_runs_both_sides_write_and_stay_equal() {
    let pair = apart("REFERENCES guests");
    pair.json(0, &["init", "--different", "visits", "--apply"]);
    let _watcher = Watcher::new(&pair, &[]);
    for at in 0..20 {
        pair.postgres(&format!(
            "WITH g AS (INSERT INTO guests (code) VALUES ('p{at}') RETURNING id, code) \
             INSERT INTO visits (guest_id, what) SELECT id, 'there of ' || code FROM g"
        ));
        pair.sqlite(&format!("INSERT INTO guests (code) VALUES ('s{at}')"));
        pair.sqlite(&format!(
            "INSERT INTO visits (guest_id, what) SELECT id, 'here of ' || code FROM guests WHERE code = 's{at}'"
        ));
    }
    let wrong = "SELECT v.what, g.code FROM visits AS v LEFT JOIN guests AS g ON g.id = v.guest_id \
                 WHERE coalesce(v.what NOT LIKE '% of ' || g.code, true)";
    let all = "SELECT v.what, g.id FROM visits AS v JOIN guests AS g ON g.id = v.guest_id ORDER BY v.what";
    eventually("all visits on both sides", || {
        let (there, here) = (pair.postgres(all), pair.sqlite(all));
        there.len() == 45 && there == here
    });
    both(&pair, wrong, &[]);
    pair.json(0, &["verify"]);
}

#[test]
fn of_several_keys_a_person_chooses() {
    let pair = apart("REFERENCES guests");
    pair.sqlite("CREATE TABLE menu (code TEXT PRIMARY KEY)");
    pair.postgres(
        "ALTER TABLE guests ADD email text; UPDATE guests SET email = code || '@x'; \
                   ALTER TABLE guests ALTER email SET NOT NULL, ADD UNIQUE (email)",
    );
    pair.sqlite("ALTER TABLE guests ADD email TEXT NOT NULL DEFAULT ''");
    pair.sqlite("UPDATE guests SET email = code || '@x'");
    pair.sqlite("CREATE UNIQUE INDEX by_email ON guests (email)");
    let plan = pair.json(0, &["init"]);
    let skipped = plan["skipped"].as_array().unwrap();
    let guests = skipped.iter().find(|one| one["table"] == "guests").unwrap();
    assert!(
        guests["reason"].as_str().unwrap().contains("it has several keys: code; email"),
        "{plan}"
    );
    assert!(
        guests["hint"].as_str().unwrap().contains("[tables.guests] key = [\"code\"]"),
        "{plan}"
    );
    let config = pair.folder.path().join("dual.toml");
    std::fs::write(&config, "[tables.guests]\nkey = [\"code\"]\n").unwrap();
    let words = ["init", "--config", config.to_str().unwrap(), "--different", "visits", "--apply"];
    let done = pair.json(0, &words);
    assert_eq!(table(&done, "guests")["key"], json!(["code"]));
    joined(&pair);
}

#[test]
fn a_person_can_go_by_the_number_all_the_same() {
    let pair = apart("REFERENCES guests");
    let plan = pair.json(0, &["init", "--same", "guests,visits"]);
    assert_eq!(table(&plan, "guests")["key"], json!(["id"]), "{plan}");
    assert_eq!(table(&plan, "guests")["key_reason"], Value::Null);
    // Where both sides pair them alike there is nothing to say either.
    for table in ["remarks", "visits", "guests"] {
        pair.sqlite(&format!("DELETE FROM {table}"));
    }
    pair.sqlite("INSERT INTO guests VALUES (1, 'anna', 'Анна'), (4, 'dora', 'Дора')");
    let plan = pair.json(0, &["init"]);
    assert_eq!(table(&plan, "guests")["key"], json!(["id"]), "{plan}");
}

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
