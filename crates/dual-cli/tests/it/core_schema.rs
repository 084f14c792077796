//! What is declared beside what both sides have, and what a person can declare anew: names, types, and columns
//! that are no more. Nothing of what was written is lost by it.

use serde_json::{Value, json};

use crate::core_scene::{Pair, Watcher, eventually, signal};
use crate::scene::Row;

/// Two tables with rows, joined, and a program that keeps them together.
struct Scene {
    pair: Pair<'static>,
    _watcher: Watcher,
}

impl Scene {
    fn new() -> Scene {
        let pair = Pair::new();
        pair.postgres("CREATE TABLE prices (code text PRIMARY KEY, price integer, note text)");
        pair.postgres("CREATE TABLE halls (id bigint PRIMARY KEY, seats numeric)");
        pair.postgres(
            "INSERT INTO prices SELECT 'p' || g, g, 'n' || g FROM generate_series(1, 20) AS g",
        );
        pair.postgres("INSERT INTO halls SELECT g, g FROM generate_series(1, 20) AS g");
        pair.run(&["init", "--tables", "prices,halls", "--apply"]).ended(0);
        let _watcher = Watcher::new(&pair, &[]);
        let scene = Scene { pair, _watcher };
        scene.equal("SELECT * FROM prices ORDER BY code");
        scene
    }

    fn equal(&self, sql: &str) -> Vec<Row> {
        eventually(sql, || {
            let Ok(there) = self.pair.database.execute(sql) else { return false };
            there == self.pair.sqlite(sql)
        });
        self.pair.postgres(sql)
    }

    fn paused(&self) -> Vec<Value> {
        let status =
            crate::scene::Ran::of(self.pair.command(&["status", "--json"]).output().unwrap());
        status.json()["paused"].as_array().unwrap().clone()
    }

    fn is_paused(&self) {
        eventually("that prices is left alone", || {
            self.paused().first().is_some_and(|one| one["table"] == "prices")
        });
    }

    fn follows(&self) {
        eventually("that all is followed", || {
            let status = self.pair.run(&["status", "--json"]).json();
            status["paused"] == json!([]) && status["sync"] == "following"
        });
        self.pair.run(&["verify"]).ended(0);
    }

    /// What `dual schema` says of a column of prices.
    fn column(&self, code: i32, name: &str) -> Value {
        let shown = self.pair.json(code, &["schema", "prices"]);
        let columns = shown["tables"][0]["columns"].as_array().unwrap();
        columns.iter().find(|column| column["name"] == name).cloned().unwrap_or_default()
    }
}

fn tables(paused: &[Value]) -> Vec<&str> {
    paused.iter().filter_map(|one| one["table"].as_str()).collect()
}

#[test]
fn a_column_that_was_renamed_in_postgresql_keeps_its_values_and_stamps() {
    let scene = Scene::new();
    let pair = &scene.pair;
    pair.sqlite("UPDATE prices SET price = 100 WHERE code = 'p1'");
    scene.equal("SELECT * FROM prices ORDER BY code");
    let side = pair.postgres("SELECT 'dual.side_' || (declaration::json ->> 'label') FROM dual.tracked WHERE name = 'prices'");
    let stamps = format!("SELECT key, s_c2 FROM {} ORDER BY key", side[0][0].clone().unwrap());
    let before = pair.postgres(&stamps);
    pair.postgres("ALTER TABLE prices RENAME price TO cost");
    scene.is_paused();
    // Both sides take what is written meanwhile.
    pair.postgres("UPDATE prices SET note = 'there' WHERE code = 'p2'");
    pair.sqlite("UPDATE prices SET note = 'here' WHERE code = 'p3'");
    pair.sqlite("UPDATE prices SET price = 400 WHERE code = 'p4'");
    assert_eq!(scene.column(1, "price")["differs"], "it is not in PostgreSQL");
    let text = pair.run(&["schema"]).ended(1).stdout;
    assert!(text.contains("table halls") && text.contains("paused: PostgreSQL"), "{text}");
    // Nothing is guessed; the hint names the way.
    let refused = pair.json(2, &["schema", "apply", "prices", "--yes"]);
    let hint = refused["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("`dual schema apply prices --rename price=cost`"), "{refused}");
    let done = pair.json(0, &["schema", "apply", "prices", "--rename", "price=cost", "--yes"]);
    assert_eq!((&done["applied"], &done["revision"]), (&json!(true), &json!(1)), "{done}");
    scene.follows();
    let rows = scene.equal("SELECT code, cost, note FROM prices ORDER BY code");
    let row = |code: &str| rows.iter().find(|row| row[0].as_deref() == Some(code)).unwrap().clone();
    let wanted =
        [("p1", "100", "n1"), ("p2", "2", "there"), ("p3", "3", "here"), ("p4", "400", "n4")];
    for (code, cost, note) in wanted {
        assert_eq!(row(code), [code, cost, note].map(|text| Some(text.to_owned())));
    }
    let after = pair.postgres(&stamps);
    let changed = |(one, other): &(&Row, &Row)| one != other;
    let changed: Vec<_> =
        before.iter().zip(&after).filter(changed).map(|(row, _)| &row[0]).collect();
    assert_eq!(changed, [&Some("p4".to_owned())], "only what was written has another stamp");
    assert_eq!(scene.column(0, "cost")["differs"], Value::Null);
    pair.sqlite("UPDATE prices SET cost = 7 WHERE code = 'p7'");
    pair.postgres("UPDATE prices SET cost = 8 WHERE code = 'p8'");
    scene.equal("SELECT code, cost, note FROM prices ORDER BY code");
    let again = pair.json(0, &["schema", "apply", "prices"]);
    assert_eq!((&again["applied"], &again["steps"]), (&json!(false), &json!([])), "{again}");
}

#[test]
fn a_column_that_was_renamed_in_the_file_is_renamed_in_postgresql() {
    let scene = Scene::new();
    let pair = &scene.pair;
    pair.sqlite("ALTER TABLE prices RENAME COLUMN note TO \"Заметка; да\"");
    scene.is_paused();
    pair.sqlite("UPDATE prices SET \"Заметка; да\" = 'here' WHERE code = 'p3'");
    pair.postgres("UPDATE prices SET note = 'there' WHERE code = 'p2'");
    let rename = "note=Заметка; да";
    pair.run(&["schema", "apply", "prices", "--rename", rename, "--yes"]).ended(0);
    scene.follows();
    let rows = scene
        .equal("SELECT code, \"Заметка; да\" FROM prices WHERE code IN ('p2', 'p3') ORDER BY code");
    assert_eq!((rows[0][1].as_deref(), rows[1][1].as_deref()), (Some("there"), Some("here")));
}

#[test]
fn other_files_follow_by_themselves_also_those_that_come_later() {
    let scene = Scene::new();
    let pair = &scene.pair;
    let other = Pair::new();
    let url = pair.database.url();
    other.run_to(&url, &["init", "--apply"]).ended(0);
    let mut watcher = other.command_to(&url, &["sync", "--watch"]).spawn().unwrap();
    let third = Pair::new();
    third.run_to(&url, &["init", "--apply"]).ended(0);
    // Both sides are as declared: the name is changed on both.
    pair.run(&["schema", "apply", "prices", "--rename", "price=cost", "--yes"]).ended(0);
    scene.follows();
    let cost = "SELECT cost FROM prices WHERE code = 'p9'";
    pair.sqlite("UPDATE prices SET cost = 90 WHERE code = 'p9'");
    eventually("the other file", || {
        let there = "SELECT 1 FROM pragma_table_info('prices') WHERE name = 'cost'";
        !other.sqlite(there).is_empty() && other.sqlite(cost) == [[Some("90".to_owned())]]
    });
    signal(&watcher, "TERM");
    watcher.wait().unwrap();
    third.sqlite("UPDATE prices SET price = 50 WHERE code = 'p5'");
    third.run_to(&url, &["sync"]).ended(0);
    assert_eq!(third.sqlite(cost), [[Some("90".to_owned())]]);
    let p5 = pair.postgres("SELECT cost FROM prices WHERE code = 'p5'");
    assert_eq!(p5, [[Some("50".to_owned())]]);
}

#[test]
fn a_column_that_was_dropped_is_carried_no_more_and_does_not_come_back() {
    let scene = Scene::new();
    let pair = &scene.pair;
    pair.postgres("ALTER TABLE prices DROP note");
    scene.is_paused();
    pair.postgres("UPDATE prices SET price = 200 WHERE code = 'p2'");
    pair.sqlite("UPDATE prices SET price = 300 WHERE code = 'p3'");
    pair.run(&["schema", "apply", "prices", "--drop", "note", "--yes"]).ended(0);
    scene.follows();
    let rows = scene.equal("SELECT code, price FROM prices ORDER BY code");
    let price =
        |code: &str| rows.iter().find(|row| row[0].as_deref() == Some(code)).unwrap()[1].clone();
    assert_eq!((price("p2").as_deref(), price("p3").as_deref()), (Some("200"), Some("300")));
    // The file has kept it, and nobody puts it back.
    pair.sqlite("UPDATE prices SET note = 'mine', price = 1000 WHERE code = 'p1'");
    scene.equal("SELECT code, price FROM prices ORDER BY code");
    pair.run(&["init", "--apply"]).ended(0);
    assert!(pair.database.execute("SELECT note FROM prices").is_err());
    // Until both sides have one.
    pair.postgres("ALTER TABLE prices ADD note text");
    pair.postgres("UPDATE prices SET note = 'new' WHERE code = 'p2'");
    pair.run(&["init", "--apply"]).ended(0);
    scene.follows();
    let rows =
        scene.equal("SELECT code, note FROM prices WHERE code IN ('p1', 'p2') ORDER BY code");
    assert_eq!((rows[0][1].as_deref(), rows[1][1].as_deref()), (Some("mine"), Some("new")));
}

#[test]
fn a_type_that_was_changed_in_postgresql_is_that_of_both_sides() {
    let scene = Scene::new();
    let pair = &scene.pair;
    pair.postgres("ALTER TABLE prices ALTER price TYPE text");
    scene.is_paused();
    pair.postgres("UPDATE prices SET price = 'dear' WHERE code = 'p2'");
    pair.sqlite("UPDATE prices SET price = 300 WHERE code = 'p3'");
    pair.sqlite("INSERT INTO prices VALUES ('p30', 30, 'new')");
    let differs = scene.column(1, "price")["differs"].clone();
    assert_eq!(differs, "PostgreSQL has text");
    let done = pair.json(0, &["schema", "apply", "prices", "--yes"]);
    assert_eq!(done["steps"].as_array().unwrap().len(), 2, "{done}");
    scene.follows();
    let rows = scene.equal("SELECT code, price, note FROM prices ORDER BY code");
    assert_eq!(rows.len(), 21);
    let price =
        |code: &str| rows.iter().find(|row| row[0].as_deref() == Some(code)).unwrap()[1].clone();
    for (code, wanted) in [("p1", "1"), ("p2", "dear"), ("p3", "300"), ("p30", "30")] {
        assert_eq!(price(code).as_deref(), Some(wanted), "{code}");
    }
    pair.sqlite("UPDATE prices SET price = 'cheap' WHERE code = 'p4'");
    scene.equal("SELECT code, price, note FROM prices ORDER BY code");
    assert_eq!(
        pair.postgres("SELECT price FROM prices WHERE code = 'p4'"),
        [[Some("cheap".to_owned())]]
    );
}

#[test]
fn nothing_else_is_joined_or_made_anew_by_it() {
    let scene = Scene::new();
    let pair = &scene.pair;
    pair.sqlite("CREATE TABLE secrets (id INTEGER PRIMARY KEY, what TEXT)");
    pair.sqlite("INSERT INTO secrets VALUES (1, 'mine')");
    pair.postgres("ALTER TABLE halls DROP seats");
    eventually("that halls is left alone", || tables(&scene.paused()) == ["halls"]);
    pair.run(&["schema", "apply", "prices", "--rename", "price=cost", "--yes"]);
    eventually("that prices is followed", || tables(&scene.paused()) == ["halls"]);
    scene.equal("SELECT code, cost, note FROM prices ORDER BY code");
    assert!(pair.database.execute("SELECT seats FROM halls").is_err());
    assert!(pair.database.execute("SELECT * FROM secrets").is_err());
    assert!(pair.sqlite("SELECT 1 FROM dual_tracked WHERE name = 'secrets'").is_empty());
}

#[test]
fn a_rename_can_be_undone_and_is_not_repeated() {
    let scene = Scene::new();
    let pair = &scene.pair;
    pair.run(&["schema", "apply", "prices", "--rename", "price=cost", "--yes"]).ended(0);
    scene.follows();
    // The migration is taken back by hand: nobody takes that back in turn.
    pair.postgres("ALTER TABLE prices RENAME cost TO price");
    scene.is_paused();
    std::thread::sleep(std::time::Duration::from_secs(3));
    assert!(pair.database.execute("SELECT price FROM prices").is_ok());
    pair.run(&["schema", "apply", "prices", "--rename", "cost=price", "--yes"]).ended(0);
    scene.follows();
    scene.equal("SELECT code, price, note FROM prices ORDER BY code");
    // Another column of the old name is another column.
    pair.sqlite("ALTER TABLE prices ADD COLUMN cost TEXT DEFAULT 'x'");
    pair.sqlite("UPDATE prices SET price = 77 WHERE code = 'p7'");
    scene.equal("SELECT code, price FROM prices ORDER BY code");
}

#[test]
fn what_else_is_in_the_file_is_tried_before_anything_is_changed() {
    let scene = Scene::new();
    let pair = &scene.pair;
    pair.sqlite("CREATE VIEW broken AS SELECT * FROM gone");
    let refused = pair.json(5, &["schema", "apply", "prices", "--rename", "price=cost", "--yes"]);
    assert!(refused["error"]["message"].as_str().unwrap().contains("broken"), "{refused}");
    assert!(pair.database.execute("SELECT price FROM prices").is_ok());
    pair.sqlite("DROP VIEW broken");
    pair.run(&["schema", "apply", "prices", "--rename", "price=cost", "--yes"]).ended(0);
    scene.follows();
    // In another file it is that table's trouble alone, until it is mended.
    let other = Pair::new();
    let url = pair.database.url();
    other.run_to(&url, &["init", "--apply"]).ended(0);
    other.sqlite("CREATE VIEW broken AS SELECT * FROM gone");
    pair.run(&["schema", "apply", "prices", "--rename", "cost=paid", "--yes"]).ended(0);
    scene.follows();
    pair.sqlite("UPDATE halls SET seats = 99 WHERE id = 9");
    scene.equal("SELECT id, seats FROM halls ORDER BY id");
    let told = other.run_to(&url, &["sync"]).ended(1).stdout;
    assert!(told.contains("prices") && told.contains("broken"), "{told}");
    assert_eq!(other.sqlite("SELECT seats FROM halls WHERE id = 9"), [[Some("99".to_owned())]]);
    other.sqlite("DROP VIEW broken");
    other.run_to(&url, &["sync"]).ended(0);
    let paid = "SELECT code, paid FROM prices ORDER BY code";
    assert_eq!(other.sqlite(paid), pair.postgres(paid));
}

#[test]
fn a_file_does_not_say_what_becomes_of_columns_of_postgresql() {
    let pair = Pair::new();
    pair.postgres("CREATE TABLE prices (code text PRIMARY KEY, price integer, note text)");
    pair.postgres("INSERT INTO prices VALUES ('p1', 1, 'n')");
    pair.run(&["init", "--all", "--apply"]).ended(0);
    pair.sqlite(
        "UPDATE dual_tracked SET declaration = json_set(declaration, '$.revision', 9, \
         '$.columns[1].name', 'x', '$.columns[1].was', json('[\"price\"]')) WHERE name = 'prices'",
    );
    pair.run(&["sync"]);
    pair.run(&["status"]);
    assert_eq!(pair.postgres("SELECT price FROM prices"), [[Some("1".to_owned())]]);
    assert!(pair.database.execute("SELECT x FROM prices").is_err());
    let status = pair.run(&["status", "--json"]).json().to_string();
    assert!(status.contains("as somebody has changed it"), "{status}");
}

#[test]
fn a_file_that_belongs_elsewhere_declares_nothing() {
    let make = |pair: &Pair<'_>| {
        pair.postgres("CREATE TABLE prices (code text PRIMARY KEY, price integer)");
        pair.run(&["init", "--all", "--apply"]).ended(0);
    };
    let (staging, production, new) = (Pair::new(), Pair::new(), Pair::new());
    make(&staging);
    make(&production);
    staging.run(&["schema", "apply", "prices", "--rename", "price=cost", "--yes"]).ended(0);
    let url = production.database.url();
    for words in [
        ["schema", "apply", "prices", "--yes", "--json"].as_slice(),
        ["schema", "apply", "prices", "--drop", "cost", "--yes", "--json"].as_slice(),
    ] {
        let error = staging.run_to(&url, words).ended(2).json()["error"].clone();
        assert!(error["message"].as_str().unwrap().contains("another installation"), "{error}");
    }
    new.sqlite("CREATE TABLE prices (code TEXT PRIMARY KEY, price INTEGER)");
    let words = ["schema", "apply", "prices", "--rename", "price=cost", "--yes", "--json"];
    let error = new.run_to(&url, &words).ended(2).json()["error"].clone();
    assert!(error["hint"].as_str().unwrap().contains("`dual init --apply`"), "{error}");
    assert!(production.database.execute("SELECT price FROM prices").is_ok());
    let revision = "SELECT declaration::json ->> 'revision' FROM dual.tracked";
    assert_eq!(production.postgres(revision), [[None]]);
}

#[test]
fn a_file_of_one_table_follows_as_well() {
    let pair = Pair::new();
    pair.postgres("CREATE TABLE prices (code text PRIMARY KEY, price integer)");
    pair.postgres("INSERT INTO prices VALUES ('p1', 1)");
    pair.run(&["init", "--all", "--apply"]).ended(0);
    let url = pair.database.url();
    let other = Pair::new();
    other.run_to(&url, &["init", "--apply"]).ended(0);
    pair.run(&["schema", "apply", "prices", "--rename", "price=cost", "--yes"]).ended(0);
    other.sqlite("UPDATE prices SET price = 2");
    eventually("that the other file follows", || {
        other.run_to(&url, &["sync"]).code == Some(0)
            && pair.postgres("SELECT cost FROM prices") == [[Some("2".to_owned())]]
    });
    assert_eq!(other.sqlite("SELECT cost FROM prices"), [[Some("2".to_owned())]]);
}

#[test]
fn what_fits_neither_side_is_refused_and_changes_nothing() {
    let scene = Scene::new();
    let pair = &scene.pair;
    let declared = "SELECT declaration FROM dual.tracked ORDER BY name";
    let before = pair.postgres(declared);
    let refused = |words: &[&str], wanted: &str| {
        let all: Vec<&str> =
            ["schema", "apply"].iter().chain(words).chain(&["--yes"]).copied().collect();
        let error = pair.json(2, &all)["error"].clone();
        let shown = format!("{} {}", error["message"], error["hint"]);
        assert!(shown.contains(wanted), "{words:?}: {error}");
    };
    refused(&["price"], "prices");
    refused(&["prices", "--rename", "pric=cost"], "did you mean `price`?");
    refused(&["prices", "--rename", "price=note"], "is taken");
    refused(&["prices", "--rename", "code=id"], "of its key");
    refused(&["prices", "--rename", "price"], "the old name");
    refused(&["prices", "--drop", "code"], "of its key");
    refused(&["prices", "--drop", "note"], "drop it on one of them first");
    assert_eq!(pair.postgres(declared), before);
    assert!(pair.run(&["schema", "price"]).ended(2).stderr.contains("prices"));
    // Without an answer nothing is done.
    pair.postgres("ALTER TABLE prices RENAME price TO cost");
    pair.run(&["schema", "apply", "prices", "--rename", "price=cost"]).ended(2);
    assert_eq!(pair.postgres(declared), before);
}
