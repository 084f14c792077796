//! Columns that somebody adds to a table while it is followed, on either side, are carried; what needs a
//! person's word is told.

use serde_json::{Value, json};

use crate::core_scene::{Pair, Watcher, eventually};
use crate::scene::Ran;

/// Two tables that are joined, with five rows each.
fn joined() -> Pair<'static> {
    let pair = Pair::new();
    pair.postgres("CREATE TABLE guests (id integer PRIMARY KEY, name text)");
    pair.postgres("CREATE TABLE prices (code text PRIMARY KEY, price integer)");
    pair.postgres("INSERT INTO guests SELECT g, 'g' || g FROM generate_series(1, 5) AS g");
    pair.postgres("INSERT INTO prices SELECT 'p' || g, g FROM generate_series(1, 5) AS g");
    pair.run(&["init", "--tables", "guests,prices", "--apply"]).ended(0);
    pair
}

/// What both sides answer is the same; that a column has not come yet is no answer.
fn equal_in(pair: &Pair<'_>, sql: &str) {
    eventually(sql, || {
        let there = pair.database.execute(sql).ok();
        let is_here = rusqlite::Connection::open(pair.path()).unwrap().prepare(sql).is_ok();
        is_here && there.is_some_and(|there| there == pair.sqlite(sql))
    });
}

fn not_carried(pair: &Pair<'_>) -> Value {
    Ran::of(pair.command(&["status", "--json"]).output().unwrap()).json()["not_carried"].clone()
}

#[test]
fn what_either_side_gets_is_carried_with_its_values_while_a_program_runs() {
    let pair = joined();
    let _watcher = Watcher::new(&pair, &[]);
    // A bot when it starts, and a migration.
    pair.sqlite("ALTER TABLE guests ADD COLUMN rank INTEGER DEFAULT 0");
    pair.sqlite("UPDATE guests SET rank = 5 WHERE id = 1");
    pair.postgres("ALTER TABLE prices ADD COLUMN note text");
    pair.postgres("UPDATE prices SET note = 'dear' WHERE code = 'p2'");
    pair.postgres("ALTER TABLE guests ADD COLUMN vip boolean NOT NULL DEFAULT false");
    let guests = "SELECT id, name, rank, CASE WHEN vip THEN 1 ELSE 0 END FROM guests ORDER BY id";
    let prices = "SELECT code, price, note FROM prices ORDER BY code";
    equal_in(&pair, guests);
    equal_in(&pair, prices);
    pair.postgres("UPDATE guests SET rank = 9, vip = true WHERE id = 3");
    pair.sqlite("UPDATE guests SET rank = 7 WHERE id = 2");
    pair.sqlite("UPDATE prices SET note = 'here' WHERE code = 'p4'");
    pair.sqlite("INSERT INTO guests (id, name) VALUES (6, 'new')");
    let ranks = "SELECT rank FROM guests WHERE id IN (1, 2, 3, 6) ORDER BY id";
    let wanted = ["5", "7", "9", "0"].map(|rank| vec![Some(rank.to_owned())]);
    equal_in(&pair, ranks);
    eventually("all of them", || pair.postgres(ranks) == wanted);
    equal_in(&pair, guests);
    equal_in(&pair, prices);
    assert_eq!(not_carried(&pair), json!([]));
    assert_eq!(pair.json(0, &["conflicts"])["conflicts"], json!([]));
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn one_exchange_is_enough() {
    let pair = joined();
    pair.sqlite("ALTER TABLE guests ADD COLUMN rank INTEGER");
    pair.sqlite("UPDATE guests SET rank = 5 WHERE id = 1");
    // PostgreSQL would cut its name.
    let long = "я".repeat(32);
    pair.sqlite(&format!("ALTER TABLE prices ADD COLUMN {long} TEXT"));
    pair.postgres("ALTER TABLE guests ADD COLUMN \"Заметка; да\" text");
    pair.postgres("UPDATE guests SET \"Заметка; да\" = 'x' WHERE id = 2");
    pair.json(0, &["sync"]);
    let guests = "SELECT id, name, rank, \"Заметка; да\" FROM guests ORDER BY id";
    assert_eq!(pair.postgres(guests), pair.sqlite(guests));
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    let told = json!([{ "table": "prices", "column": long, "store": "sqlite" }]);
    assert_eq!(not_carried(&pair), told);
}

#[test]
fn tables_of_both_sides_are_meant_wherever_the_path_leads_and_however_strict_they_are() {
    let pair = Pair::new();
    pair.postgres("CREATE TABLE guests (id integer PRIMARY KEY, name text)");
    pair.sqlite("CREATE TABLE guests (id INTEGER PRIMARY KEY, name TEXT) STRICT");
    pair.run(&["init", "--tables", "guests", "--apply"]).ended(0);
    let role = pair.postgres("SELECT current_user")[0][0].clone().unwrap();
    pair.postgres(&format!("CREATE SCHEMA \"{role}\""));
    pair.postgres(&format!(
        "CREATE TABLE \"{role}\".guests (id integer PRIMARY KEY, extra integer)"
    ));
    pair.postgres("ALTER TABLE public.guests ADD COLUMN vip boolean, ADD COLUMN at timestamptz");
    pair.postgres("INSERT INTO public.guests VALUES (1, 'a', true, '2024-01-01 00:00:00+00')");
    pair.json(0, &["sync"]);
    let here = pair.sqlite("SELECT id, name, vip, at FROM guests");
    let row = ["1", "a", "1", "2024-01-01 00:00:00+00:00"].map(|text| Some(text.to_owned()));
    assert_eq!(here, [row]);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    let own = "SELECT 1 FROM pragma_table_info('guests') WHERE name = 'extra'";
    assert!(pair.sqlite(own).is_empty());
}

#[test]
fn what_needs_a_persons_word_is_told() {
    let pair = joined();
    let _watcher = Watcher::new(&pair, &[]);
    // Rows of the file would not be taken there; what is computed is nobody's to carry.
    pair.postgres("ALTER TABLE prices ADD COLUMN number serial");
    pair.postgres(
        "ALTER TABLE prices ADD COLUMN twice integer GENERATED ALWAYS AS (price * 2) STORED",
    );
    pair.postgres("ALTER TABLE prices ADD COLUMN note text");
    pair.postgres("UPDATE prices SET note = 'dear' WHERE code = 'p2'");
    equal_in(&pair, "SELECT code, price, note FROM prices ORDER BY code");
    let told = json!([{ "table": "prices", "column": "number", "store": "postgres" }]);
    assert_eq!(not_carried(&pair), told);
    let text = pair.run(&["status"]).ended(0).stdout;
    assert!(text.contains("prices.number, which PostgreSQL has"), "{text}");
    pair.run(&["init", "--apply"]).ended(0);
    assert_eq!(not_carried(&pair), json!([]));
    equal_in(&pair, "SELECT code, price, note, number FROM prices ORDER BY code");
}

#[test]
fn it_can_be_left_to_people() {
    let pair = joined();
    {
        let _watcher = Watcher::new(&pair, &["--no-follow-schema"]);
        pair.sqlite("ALTER TABLE guests ADD COLUMN rank INTEGER");
        pair.sqlite("UPDATE guests SET rank = 5, name = 'changed' WHERE id = 1");
        let name = "SELECT name FROM guests WHERE id = 1";
        eventually("the name", || pair.postgres(name)[0][0].as_deref() == Some("changed"));
        let told = json!([{ "table": "guests", "column": "rank", "store": "sqlite" }]);
        assert_eq!(not_carried(&pair), told);
        assert!(pair.database.execute("SELECT rank FROM guests").is_err());
    }
    pair.json(0, &["sync"]);
    equal_in(&pair, "SELECT id, name, rank FROM guests ORDER BY id");
}

#[test]
fn of_a_column_that_both_sides_have_got_what_is_known_stands() {
    let pair = joined();
    pair.postgres("ALTER TABLE prices ADD note text");
    pair.sqlite("ALTER TABLE prices ADD note TEXT");
    pair.postgres("UPDATE prices SET note = 'there' WHERE code = 'p2'");
    pair.sqlite("UPDATE prices SET note = 'here'");
    // That there was nothing in PostgreSQL is no loss, and nobody has to be asked.
    pair.run(&["init", "--apply"]).ended(0);
    let notes = "SELECT note, count(*) FROM prices GROUP BY note ORDER BY note DESC";
    assert_eq!(pair.postgres(notes), pair.sqlite(notes));
    assert_eq!(pair.postgres(notes)[0], ["there", "1"].map(|text| Some(text.to_owned())));
    let lost = pair.json(0, &["conflicts"])["conflicts"].clone();
    let lost: Vec<_> = lost.as_array().unwrap().iter().map(|one| &one["losing"]).collect();
    assert_eq!(lost, ["here"]);
}
