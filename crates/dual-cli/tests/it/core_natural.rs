//! Tables with a number that a side hands out and another key besides: where the two sides pair them differently they
//! are told apart by the other key, and what refers to the numbers follows.

use serde_json::{Value, json};

use crate::core_scene::{Pair, Watcher, eventually};
use crate::scene::Row;

/// Guests that both sides have numbered by themselves, and visits of them: of one number other guests are meant.
pub fn apart(references: &str) -> Pair<'static> {
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

pub const WHOSE: &str =
    "SELECT v.what, g.code FROM visits AS v JOIN guests AS g ON g.id = v.guest_id ORDER BY v.what";

pub fn texts<const N: usize>(rows: &[[&str; N]]) -> Vec<Row> {
    rows.iter().map(|row| row.map(|text| Some(text.to_owned())).to_vec()).collect()
}

/// Both sides have these rows, by clients that are not ours.
#[track_caller]
pub fn both(pair: &Pair<'_>, sql: &str, rows: &[Row]) {
    eventually(sql, || pair.postgres(sql) == rows && pair.sqlite(sql) == rows);
}

pub fn table<'d>(document: &'d Value, name: &str) -> &'d Value {
    document["tables"].as_array().unwrap().iter().find(|one| one["table"] == name).unwrap()
}

fn skipped(document: &Value) -> Vec<&str> {
    let all = document["skipped"].as_array().unwrap().iter();
    all.map(|one| one["table"].as_str().unwrap()).collect()
}

/// Of each code one guest, under one number on both sides, and each visit is of the guest that it was of.
#[track_caller]
pub fn joined(pair: &Pair<'_>) {
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
