//! One table's trouble is its own: it is left alone, named, and followed again once it is mended; the others
//! go on.

use serde_json::{Value, json};

use crate::core_scene::{Pair, Watcher, eventually};
use crate::scene::Ran;

/// Three tables with rows on both sides, joined, and a program that keeps them together.
struct Scene {
    pair: Pair<'static>,
    watcher: Option<Watcher>,
}

impl Scene {
    fn new() -> Scene {
        let pair = Pair::new();
        pair.postgres("CREATE TABLE guests (id integer PRIMARY KEY, name text, visits integer)");
        pair.postgres("CREATE TABLE prices (code text PRIMARY KEY, price integer, note text)");
        pair.postgres("CREATE TABLE halls (id bigint PRIMARY KEY, seats numeric)");
        pair.postgres("INSERT INTO guests SELECT g, 'g' || g, g FROM generate_series(1, 20) AS g");
        pair.postgres(
            "INSERT INTO prices SELECT 'p' || g, g, 'n' FROM generate_series(1, 20) AS g",
        );
        pair.postgres("INSERT INTO halls SELECT g, g FROM generate_series(1, 20) AS g");
        pair.run(&["init", "--tables", "guests,prices,halls", "--apply"]).ended(0);
        let watcher = Some(Watcher::new(&pair, &[]));
        let scene = Scene { pair, watcher };
        scene.others_go_on(1);
        scene
    }

    /// What is written to the other tables arrives, either way.
    fn others_go_on(&self, round: u32) {
        let Scene { pair, .. } = self;
        pair.postgres(&format!("UPDATE guests SET name = 'there {round}' WHERE id = 1"));
        pair.sqlite(&format!("UPDATE halls SET seats = {round} WHERE id = 1"));
        eventually("what was written to the others", || {
            let name = pair.sqlite("SELECT name FROM guests WHERE id = 1");
            let seats = pair.postgres("SELECT seats FROM halls WHERE id = 1");
            name[0][0].as_deref() == Some(&format!("there {round}"))
                && seats[0][0].as_deref() == Some(&round.to_string())
        });
    }

    fn paused(&self) -> Vec<Value> {
        let status = Ran::of(self.pair.command(&["status", "--json"]).output().unwrap()).json();
        status["paused"].as_array().unwrap().clone()
    }

    /// It is left alone because of that side, and says why.
    fn is_left_alone(&self, store: &str) -> Value {
        let mut found = Value::Null;
        eventually("that prices is left alone", || {
            found = self.paused().into_iter().next().unwrap_or_default();
            found["table"] == "prices" && found["store"] == store
        });
        assert!(!found["reason"].as_str().unwrap().is_empty(), "{found}");
        assert!(!found["hint"].as_str().unwrap().is_empty(), "{found}");
        found
    }

    fn is_followed_again(&self) {
        eventually("that prices is followed again", || self.paused().is_empty());
        let sum = "SELECT code, price, note FROM prices ORDER BY code";
        eventually("that both sides are equal", || {
            self.pair.postgres(sum) == self.pair.sqlite(sum)
        });
        self.others_go_on(99);
        let status = self.pair.json(0, &["status"]);
        assert_eq!(status["sync"], "following", "{status}");
        self.pair.run(&["verify"]).ended(0);
    }

    fn price(&self, code: &str) -> [Option<String>; 2] {
        let sql = format!("SELECT price || ' ' || note FROM prices WHERE code = '{code}'");
        let first =
            |rows: Vec<crate::scene::Row>| rows.into_iter().next().and_then(|row| row[0].clone());
        [first(self.pair.postgres(&sql)), first(self.pair.sqlite(&sql))]
    }
}

#[test]
fn a_type_that_is_changed_by_hand_leaves_that_table_alone_and_loses_nothing() {
    let scene = Scene::new();
    let pair = &scene.pair;
    pair.postgres("ALTER TABLE prices ALTER price TYPE text");
    let why = scene.is_left_alone("postgres");
    assert!(why["reason"].as_str().unwrap().contains("\"price\" is text"), "{why}");
    scene.others_go_on(2);
    let status = pair.json(1, &["status"]);
    assert_eq!(
        (&status["postgres"]["state"], &status["sqlite"]["state"]),
        (&json!("up"), &json!("up"))
    );
    // Either side takes what is written, and so does a call, on the side that has nothing in its way.
    pair.postgres("UPDATE prices SET note = 'there' WHERE code = 'p1'");
    pair.sqlite("UPDATE prices SET price = 200 WHERE code = 'p2'");
    pair.postgres("DELETE FROM prices WHERE code = 'p3'");
    pair.sqlite("INSERT INTO prices VALUES ('p30', 30, 'here')");
    let written =
        pair.run(&["row", "update", "prices", "p4", r#"{"note":"by the call"}"#, "--json"]);
    let written = written.ended(3).json();
    assert_eq!(written["stored"], json!({ "postgres": false, "sqlite": true }), "{written}");
    let read = pair.run(&["row", "get", "prices", "p4", "--json"]).ended(0).json();
    assert_eq!(read["row"]["note"], "by the call", "{read}");
    let status = pair.json(1, &["status"]);
    assert_eq!(status["pending"]["to_postgres"], 3, "{status}");
    let verified = pair.json(1, &["verify"]);
    assert_eq!(verified["equal"], false, "{verified}");
    let synced = pair.json(1, &["sync"]);
    assert_eq!(synced["state"], "paused", "{synced}");
    scene.others_go_on(3);
    assert_eq!(pair.json(1, &["status"])["pending"]["to_postgres"], 3);
    // What waits there would go nowhere.
    let refused = pair.json(4, &["uninstall", "--yes"])["error"].clone();
    assert!(refused["message"].as_str().unwrap().contains("prices is left alone"), "{refused}");

    // The statement that it names.
    let (_, statement) = why["hint"].as_str().unwrap().split_once(": ").unwrap();
    pair.postgres(statement.split_once(" (`dual schema prices`").unwrap().0);
    scene.is_followed_again();
    let both = |text: &str| [Some(text.to_owned()), Some(text.to_owned())];
    assert_eq!(scene.price("p1"), both("1 there"));
    assert_eq!(scene.price("p2"), both("200 n"));
    assert_eq!(scene.price("p3"), [None, None]);
    assert_eq!(scene.price("p4"), both("4 by the call"));
    assert_eq!(scene.price("p30"), both("30 here"));
}

#[test]
fn a_table_that_is_replaced_in_the_file_is_left_alone_there() {
    let scene = Scene::new();
    let pair = &scene.pair;
    for sql in [
        "ALTER TABLE prices RENAME TO prices_old",
        "CREATE VIEW prices AS SELECT * FROM prices_old",
    ] {
        pair.sqlite(sql);
    }
    scene.is_left_alone("sqlite");
    scene.others_go_on(2);
    let written =
        pair.run(&["row", "update", "prices", "p4", r#"{"note":"by the call"}"#, "--json"]);
    let written = written.ended(3).json();
    assert_eq!(written["stored"], json!({ "postgres": true, "sqlite": false }), "{written}");
    pair.postgres("UPDATE prices SET note = 'there' WHERE code = 'p1'");
    pair.sqlite("DROP VIEW prices");
    pair.sqlite("ALTER TABLE prices_old RENAME TO prices");
    scene.is_followed_again();
    let both = |text: &str| [Some(text.to_owned()), Some(text.to_owned())];
    assert_eq!(scene.price("p1"), both("1 there"));
    assert_eq!(scene.price("p4"), both("4 by the call"));
}

#[test]
fn a_table_or_column_that_is_taken_away_on_either_side_is_nobody_elses_trouble() {
    let scene = Scene::new();
    let pair = &scene.pair;
    for sql in [
        "CREATE TABLE prices_new (code TEXT PRIMARY KEY, price INTEGER)",
        "INSERT INTO prices_new SELECT code, price FROM prices",
        "DROP TABLE prices",
        "ALTER TABLE prices_new RENAME TO prices",
    ] {
        pair.sqlite(sql);
    }
    scene.is_left_alone("sqlite");
    scene.others_go_on(2);
    pair.postgres("UPDATE prices SET price = 100 WHERE code = 'p1'");
    pair.run(&["init", "--apply"]).ended(0);
    scene.is_followed_again();
    assert_eq!(scene.price("p1"), [Some("100 n".to_owned()), Some("100 n".to_owned())]);

    pair.postgres("DROP TABLE prices");
    scene.is_left_alone("postgres");
    scene.others_go_on(3);
    pair.sqlite("UPDATE prices SET price = 200 WHERE code = 'p1'");
    pair.run(&["init", "--apply"]).ended(0);
    scene.is_followed_again();
    assert_eq!(scene.price("p1"), [Some("200 n".to_owned()), Some("200 n".to_owned())]);
    assert_eq!(pair.postgres("SELECT count(*) FROM prices")[0][0].as_deref(), Some("20"));
}

#[test]
fn another_table_is_joined_while_one_is_left_alone() {
    let scene = Scene::new();
    let pair = &scene.pair;
    pair.postgres("ALTER TABLE prices ALTER price TYPE text");
    scene.is_left_alone("postgres");
    pair.postgres("CREATE TABLE rooms (id bigint PRIMARY KEY, name text)");
    pair.postgres("INSERT INTO rooms VALUES (1, 'a')");
    let joined = pair.json(0, &["init", "--all", "--apply"]);
    let skipped = joined["skipped"].as_array().unwrap();
    assert!(skipped.iter().any(|one| one["table"] == "prices"), "{joined}");
    pair.sqlite("UPDATE rooms SET name = 'b'");
    eventually("what was written to the new table", || {
        pair.postgres("SELECT name FROM rooms")[0][0].as_deref() == Some("b")
    });
    scene.others_go_on(2);
    scene.is_left_alone("postgres");
    pair.postgres("ALTER TABLE prices ALTER price TYPE integer USING price::integer");
    scene.is_followed_again();
}

#[test]
fn all_processes_of_a_file_leave_it_alone_and_take_it_back() {
    let mut scene = Scene::new();
    let _second = Watcher::new(&scene.pair, &[]);
    scene.pair.postgres("ALTER TABLE prices ALTER price TYPE text");
    scene.is_left_alone("postgres");
    scene.others_go_on(2);
    scene.pair.postgres("UPDATE prices SET note = 'there' WHERE code = 'p1'");
    scene.pair.sqlite("UPDATE prices SET note = 'here' WHERE code = 'p2'");
    // The first goes, and the second has to go on as the file says.
    scene.watcher = None;
    scene.others_go_on(3);
    scene.is_left_alone("postgres");
    scene.pair.postgres("ALTER TABLE prices ALTER price TYPE integer USING price::integer");
    scene.is_followed_again();
    let both = |text: &str| [Some(text.to_owned()), Some(text.to_owned())];
    assert_eq!(scene.price("p1"), both("1 there"));
    assert_eq!(scene.price("p2"), both("2 here"));
}

#[test]
fn the_side_that_is_in_the_way_now_is_named() {
    let scene = Scene::new();
    let pair = &scene.pair;
    pair.postgres("ALTER TABLE prices ALTER price TYPE text");
    scene.is_left_alone("postgres");
    pair.sqlite("ALTER TABLE prices RENAME TO prices_old");
    pair.sqlite("CREATE VIEW prices AS SELECT * FROM prices_old");
    pair.postgres("ALTER TABLE prices ALTER price TYPE integer USING price::integer");
    scene.is_left_alone("sqlite");
    scene.others_go_on(2);
    pair.sqlite("DROP VIEW prices");
    pair.sqlite("ALTER TABLE prices_old RENAME TO prices");
    scene.is_followed_again();
}

#[test]
fn who_looks_and_goes_leaves_it_alone_as_well() {
    let pair = Pair::new();
    pair.postgres("CREATE TABLE guests (id integer PRIMARY KEY, name text)");
    pair.postgres("CREATE TABLE prices (code text PRIMARY KEY, price integer)");
    pair.postgres("INSERT INTO guests VALUES (1, 'a')");
    pair.run(&["init", "--tables", "guests,prices", "--apply"]).ended(0);
    pair.postgres("ALTER TABLE prices ALTER price TYPE text");
    let status = pair.json(1, &["status"]);
    assert_eq!(status["paused"][0]["table"], "prices", "{status}");
    assert_eq!(status["postgres"]["state"], "up", "{status}");
    pair.postgres("UPDATE guests SET name = 'b'");
    assert_eq!(pair.json(1, &["sync"])["state"], "paused");
    assert_eq!(pair.sqlite("SELECT name FROM guests")[0][0].as_deref(), Some("b"));
    pair.postgres("ALTER TABLE prices ALTER price TYPE integer USING price::integer");
    assert_eq!(pair.json(0, &["sync"])["state"], "done");
    pair.run(&["verify"]).ended(0);
}

#[test]
fn a_table_that_has_to_be_compared_is_named_until_it_was() {
    let scene = Scene::new();
    let pair = &scene.pair;
    assert_eq!(pair.json(0, &["status"])["comparing"], json!([]));
    // Nothing can be given to it meanwhile.
    let holds = "LOCK TABLE prices IN SHARE MODE; SELECT pg_sleep(300)";
    let (database, server) = (pair.database.name().to_owned(), pair.database.server());
    let holder = std::thread::spawn(move || server.execute(&database, holds));
    eventually("the lock", || {
        let held = "SELECT FROM pg_locks WHERE relation = 'prices'::regclass \
                    AND mode = 'ShareLock' AND granted";
        !pair.postgres(held).is_empty()
    });
    let triggers = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'prices'";
    for row in pair.sqlite(triggers) {
        pair.sqlite(&format!("DROP TRIGGER \"{}\"", row[0].as_deref().unwrap()));
    }
    pair.sqlite("UPDATE prices SET note = 'missed' WHERE code = 'p1'");
    let status = || Ran::of(pair.command(&["status", "--json"]).output().unwrap()).json();
    eventually("that prices is named", || {
        status()["comparing"] == json!([{ "table": "prices", "reason": "missed" }])
    });
    scene.others_go_on(2);
    let told = Ran::of(pair.command(&["status"]).output().unwrap()).stdout;
    assert!(told.contains("comparing               table prices: changes may have"), "{told}");
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity \
                  WHERE query LIKE 'LOCK TABLE prices%' AND datname = current_database()";
    pair.postgres(cancel);
    assert!(holder.join().unwrap().is_err());
    eventually("that it follows again", || status()["comparing"] == json!([]));
    scene.is_followed_again();
    assert_eq!(scene.price("p1").map(Option::unwrap), ["1 missed", "1 missed"]);
}
