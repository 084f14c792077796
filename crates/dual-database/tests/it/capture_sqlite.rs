//! Capture in the file: who writes is seen, whatever he does; what installing needs, makes and leaves.

use dual_database::merge::{Bases, Register};
use dual_database::schema::{Column, LogicalType, Role, Table, users};
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::sqlite::capture::{
    Drift, Layout, LocalEntry, changed_above, drift, entry, install, renumber, state, uninstall,
    write_sidecar,
};
use dual_database::value::Value;
use dual_database::{Kind, Store};
use proptest::prelude::*;
use rusqlite::Connection;

use crate::capture_oracle::visits;
use crate::capture_sqlite_scene::{Client, Scene};

#[test]
fn every_outside_write_is_seen() {
    let scene = Scene::new(users(), "");
    let python = |sql: &str, reborn: &[i64]| scene.python(sql, reborn);
    python("INSERT INTO users (user_id, first_name) VALUES (1, 'Анна')", &[]);
    let silent = scene.state()[&1].version.clone();
    assert_eq!((silent.stamp_of(0), silent.stamp_of(2)), (Stamp::ZERO, Stamp::ZERO));
    scene.go(
        Client::Python,
        "c.executemany('INSERT INTO users (user_id, phone_number) VALUES (?, ?)', [(2, '+7'), (3, None)])",
        &[],
    );
    scene.go(Client::Shell, "UPDATE users SET status = 'issued' WHERE user_id < 3;", &[]);
    scene.go(Client::Shell, "UPDATE users SET status = 'issued', source = 'x';", &[]);
    let seq = scene.seq();
    python("UPDATE users SET status = status", &[]);
    assert_eq!(scene.seq(), seq, "nothing has changed");
    python("INSERT OR REPLACE INTO users (user_id, first_name) VALUES (1, 'Анна')", &[1]);
    python("REPLACE INTO users (user_id) VALUES (1), (4)", &[1]);
    python("INSERT OR IGNORE INTO users (user_id) VALUES (4), (5)", &[]);
    python("UPDATE OR REPLACE users SET user_id = 5, source = 'moved' WHERE user_id = 4", &[5]);
    python("UPDATE users SET user_id = 6 WHERE user_id = 5", &[]);
    python("DELETE FROM users WHERE user_id IN (2, 6)", &[]);
    python("INSERT INTO users (user_id) VALUES (2)", &[]);
    scene.go(
        Client::Shell,
        "PRAGMA recursive_triggers = ON; REPLACE INTO users (user_id) VALUES (2);",
        &[2],
    );
    let upsert = "INSERT INTO users (user_id, source) VALUES (2, 'a'), (8, 'b') \
                  ON CONFLICT (user_id) DO UPDATE SET source = excluded.source";
    python(upsert, &[]);
    // A change of the surrogate alone is seen, not stamped.
    let seq = scene.seq();
    python("UPDATE users SET id = -7 WHERE user_id = 2", &[]);
    assert_eq!(changed_above(&scene.own, &scene.layout, seq).unwrap().len(), 1);
    python("DELETE FROM users", &[]);
}

#[test]
fn the_victims_of_other_unique_keys_are_seen() {
    let extra = "ALTER TABLE visits ADD COLUMN badge TEXT COLLATE NOCASE;
                 CREATE UNIQUE INDEX by_badge ON visits (badge);
                 CREATE UNIQUE INDEX by_place ON visits (guest, note)";
    let scene = Scene::new(visits(), extra);
    for client in [Client::Python, Client::Shell, Client::Own] {
        let go = |sql: &str, reborn: &[i64]| match client {
            Client::Python => scene.python(sql, reborn),
            other => scene.go(other, &format!("{sql};"), reborn),
        };
        go("DELETE FROM visits", &[]);
        go("INSERT INTO visits (visit_id, guest, badge) VALUES (1, 10, 'a'), (2, 20, 'b')", &[]);
        go("INSERT OR REPLACE INTO visits (visit_id, badge) VALUES (3, 'A')", &[]);
        assert!(!scene.state()[&1].version.live.value);
        go("UPDATE OR REPLACE visits SET badge = 'B' WHERE visit_id = 3", &[]);
        assert!(!scene.state()[&2].version.live.value);
        // By the rowid, and two at once by two indexes.
        go("INSERT INTO visits (visit_id, guest, badge) VALUES (4, 40, 'd'), (5, 50, 'e')", &[]);
        go("REPLACE INTO visits (id, visit_id) SELECT id, 6 FROM visits WHERE visit_id = 4", &[]);
        go("REPLACE INTO visits (visit_id, guest, badge) VALUES (7, 50, 'b')", &[]);
        let live: Vec<i64> = scene
            .state()
            .iter()
            .filter(|(_, row)| row.version.live.value)
            .map(|(key, _)| *key)
            .collect();
        assert_eq!(live, [6, 7]);
        // What is ignored has no victims; a row with the rowid -1 lives on.
        go("INSERT OR IGNORE INTO visits (visit_id, badge) VALUES (8, 'b')", &[]);
        go("UPDATE visits SET id = -1 WHERE visit_id = 7", &[]);
        go("INSERT INTO visits (visit_id) VALUES (9)", &[]);
    }
}

#[test]
fn the_conflict_clause_outside_does_not_reach_the_sidecar() {
    let scene = Scene::new(visits(), "");
    scene.python("INSERT INTO visits (visit_id, note) VALUES (1, 'a')", &[]);
    let first = scene.state()[&1].bases.clone();
    for clause in ["REPLACE", "IGNORE", "FAIL", "ROLLBACK", "ABORT"] {
        let sql = format!("UPDATE OR {clause} visits SET note = '{clause}' WHERE visit_id = 1");
        scene.python(&sql, &[]);
    }
    assert_eq!(scene.state()[&1].bases, first, "what is pending keeps its first base");
    scene.python("REPLACE INTO visits (visit_id, note) VALUES (1, 'b')", &[1]);
    assert_eq!(scene.state()[&1].bases, first);
}

#[test]
fn the_users_own_triggers_and_cascades_are_captured() {
    let scene = Scene::new(visits(), "");
    scene
        .own
        .execute_batch(
            "CREATE TRIGGER go AFTER INSERT ON visits WHEN new.note = 'go' BEGIN
               DELETE FROM visits WHERE visit_id = new.visit_id; END;
             CREATE TRIGGER pay AFTER INSERT ON visits WHEN new.note = 'pay' BEGIN
               UPDATE visits SET paid = 1 WHERE visit_id = new.visit_id; END;
             CREATE TRIGGER stay AFTER DELETE ON visits WHEN old.note = 'stay' BEGIN
               INSERT INTO visits (visit_id, note) VALUES (old.visit_id, 'stayed'); END;
             CREATE TABLE orders (id INTEGER PRIMARY KEY, n INTEGER);
             CREATE TRIGGER mirror AFTER INSERT ON orders BEGIN
               REPLACE INTO visits (visit_id, guest) VALUES (new.id, new.n); END;",
        )
        .unwrap();
    scene.run(
        Client::Shell,
        "INSERT INTO visits (visit_id, note) VALUES (1,'go'),(2,'pay'),(3,'stay');",
    );
    let live =
        || -> Vec<bool> { scene.state().values().map(|row| row.version.live.value).collect() };
    assert_eq!(live(), [false, true, true]);
    scene.run(Client::Shell, "DELETE FROM visits WHERE visit_id = 3;");
    assert_eq!(live(), [false, true, true]);
    scene.go(Client::Shell, "INSERT INTO orders VALUES (2, 9), (20, 9);", &[2]);
}

#[test]
fn odd_keys_and_values_do_not_hinder_the_writer() {
    let scene = Scene::new(visits(), "");
    // A key that is no whole number is none: such a row is found by a look at the table.
    scene
        .own
        .execute_batch("INSERT INTO visits (visit_id) VALUES ('abc'), (1.5), (x'00')")
        .unwrap();
    scene.own.execute_batch("UPDATE visits SET visit_id = 7 WHERE visit_id = 'abc'").unwrap();
    scene.own.execute_batch("UPDATE visits SET visit_id = 'def' WHERE visit_id = 7").unwrap();
    scene.own.execute_batch("DELETE FROM visits").unwrap();
    assert!(!scene.state()[&7].version.live.value);
    scene.python("INSERT INTO visits (visit_id, note) VALUES (1, 'anna')", &[]);
    scene.python("UPDATE visits SET guest = 'no number' WHERE visit_id = 1", &[]);
    scene.python("INSERT INTO visits (visit_id) VALUES (9223372036854775807)", &[]);
}

#[test]
fn a_column_that_ignores_case_hides_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let own = Connection::open(folder.path().join("a.db")).unwrap();
    own.execute_batch(
        "CREATE TABLE visits (id INTEGER PRIMARY KEY, visit_id INTEGER UNIQUE, guest INTEGER,
         note TEXT COLLATE NOCASE, paid INTEGER, \"at \"\"now\"\"\" TEXT);
         INSERT INTO visits (visit_id, note) VALUES (1, 'anna')",
    )
    .unwrap();
    let layout = Layout::new(&visits());
    assert_eq!(install(&own, &layout, Writer::new(3).unwrap()).unwrap(), 1);
    let adopted = entry(&own, &layout, &1.into()).unwrap().unwrap();
    // What is known has a stamp; NULL is what everybody may fill.
    let (known, unknown) = (Stamp::ADOPTED_SQLITE, Stamp::ZERO);
    assert_eq!(
        (adopted.live.stamp, &adopted.columns[..]),
        (known, &[unknown, known, unknown, unknown][..])
    );
    assert_eq!(
        adopted.bases,
        Bases { live: Some(Stamp::ZERO), columns: vec![Some(Stamp::ZERO); 4] }
    );
    own.execute_batch("UPDATE visits SET note = 'Anna'").unwrap();
    assert_eq!(entry(&own, &layout, &1.into()).unwrap().unwrap().columns[1].writer().number(), 3);
    own.execute_batch("INSERT INTO visits (visit_id, note) VALUES (2, 'IT''S NEW')").unwrap();
    assert!(entry(&own, &layout, &2.into()).unwrap().unwrap().columns[1] > Stamp::ZERO);
}

#[test]
fn stamps_rise_above_what_they_replace_whatever_the_clock_says() {
    let scene = Scene::new(visits(), "");
    scene.python("INSERT INTO visits (visit_id, note) VALUES (1, 'a'), (2, 'b')", &[]);
    let wild = Stamp::at(scene.clock() + 3_600_000, Writer::new(5).unwrap());
    scene.own.execute("UPDATE dual_side_visits SET s_note = ?1", [wild.raw()]).unwrap();
    scene.python("UPDATE visits SET note = 'c', paid = 1 WHERE visit_id = 1", &[]);
    assert_eq!(scene.state()[&1].version.stamp_of(1), wild.next(Writer::new(77).unwrap()));
    scene.python("DELETE FROM visits WHERE visit_id = 2", &[]);
    scene.python("INSERT INTO visits (visit_id) VALUES (2)", &[]);
    scene.own.execute("UPDATE dual_side_visits SET stamp = ?1", [i64::MAX]).unwrap();
    scene.python("UPDATE visits SET note = 'd' WHERE visit_id = 1", &[]);
}

/// A tombstone is one stamp, but PostgreSQL has what the pending delete has met until it arrives.
#[test]
fn a_birth_lies_above_what_the_pending_delete_has_met() {
    let scene = Scene::new(visits(), "");
    scene.python("INSERT INTO visits (visit_id, note) VALUES (1, 'a'), (2, 'b')", &[]);
    let (own, other) = (Writer::new(77).unwrap(), Writer::new(5).unwrap());
    let met = Stamp::at(scene.clock() + 3_600_000, other);
    let set = |what: &str, key: i64| {
        let sql = format!("UPDATE dual_side_visits SET {what} = ?1 WHERE key = ?2");
        scene.own.execute(&sql, [met.raw(), key]).unwrap();
    };
    scene.python("DELETE FROM visits WHERE visit_id = 1", &[]);
    set("b_note", 1);
    scene.python("INSERT INTO visits (visit_id) VALUES (1)", &[]);
    assert_eq!(scene.state()[&1].version.live.stamp, met.next(own));
    // The same for a death, for the base of the birth itself, and for an update.
    set("live_base", 2);
    scene.python("DELETE FROM visits WHERE visit_id = 2", &[]);
    assert_eq!(scene.state()[&2].version.live.stamp, met.next(own));
    scene.python("INSERT INTO visits (visit_id) VALUES (3)", &[]);
    set("b_guest", 3);
    scene.python("UPDATE visits SET note = 'c' WHERE visit_id = 3", &[]);
    assert!(scene.state()[&3].version.stamp_of(1) < met, "another column");
    scene.python("UPDATE visits SET guest = 4 WHERE visit_id = 3", &[]);
    assert_eq!(scene.state()[&3].version.stamp_of(0), met.next(own));
}

#[test]
fn after_a_purge_silence_is_the_horizon() {
    let mut scene = Scene::new(visits(), "");
    let horizon = Stamp::at(scene.clock() - 10_000, Writer::POSTGRES);
    scene.own.execute("UPDATE dual_state SET horizon = ?1", [horizon.raw()]).unwrap();
    assert_eq!(state(&scene.own).unwrap().horizon, horizon);
    scene.oracle.horizon = horizon;
    scene.python("INSERT INTO visits (visit_id, note) VALUES (1, 'b'), (2, NULL)", &[]);
    assert_eq!(scene.state()[&2].version.stamp_of(1), horizon);
    scene.python("UPDATE visits SET visit_id = 3 WHERE visit_id = 2", &[]);
}

#[test]
fn a_rollback_takes_everything_back_and_a_commit_is_one_step() {
    let scene = Scene::new(visits(), "");
    let (before, seq) = (scene.state(), scene.seq());
    scene
        .run(Client::Python, "c.execute('INSERT INTO visits (visit_id) VALUES (1)')\nc.rollback()");
    assert_eq!((scene.state(), scene.seq()), (before, seq));
    let script = "try:\n  c.execute('INSERT INTO visits (visit_id) VALUES (1), (2), (1)')\n\
                  except sqlite3.IntegrityError: pass";
    scene.go(Client::Python, script, &[]);
    assert_eq!(scene.seq(), seq);
}

/// A write of ours: captured like any other, then given what it is to leave.
#[test]
fn a_write_of_ours_is_settled_as_far_as_it_is_as_wanted() {
    let scene = Scene::new(visits(), "");
    let (own, layout, table) = (&scene.own, &scene.layout, &scene.table);
    let postgres = |ms: i64| Stamp::at(scene.clock() + ms, Writer::POSTGRES);
    let born = postgres(5_000);
    let wanted = LocalEntry {
        key: 1.into(),
        live: Register { value: true, stamp: born },
        columns: vec![Stamp::ZERO, born, Stamp::ZERO, Stamp::ZERO],
        bases: Bases { live: None, columns: vec![None; 4] },
        seq: 0,
    };
    let (nothing, open) = (Value::Null, Value::Bool(false));
    let [a, b] = ["a", "b"].map(|note| Value::Text(note.into()));
    own.execute_batch("BEGIN IMMEDIATE; INSERT INTO visits (visit_id, note) VALUES (1, 'a')")
        .unwrap();
    assert!(write_sidecar(own, table, layout, &wanted, &[&nothing, &a, &open, &nothing]).unwrap());
    own.execute_batch("COMMIT").unwrap();
    assert_eq!(entry(own, layout, &1.into()).unwrap().unwrap(), wanted);

    // A trigger of the user's makes something else of it: that is pending, and above.
    own.execute_batch(
        "CREATE TRIGGER shout AFTER UPDATE OF note ON visits WHEN new.note <> upper(new.note) BEGIN
           UPDATE visits SET note = upper(new.note) WHERE visit_id = new.visit_id; END",
    )
    .unwrap();
    let mut later = wanted.clone();
    later.columns[1] = born.next(Writer::POSTGRES);
    own.execute_batch("UPDATE visits SET note = 'b'").unwrap();
    assert!(!write_sidecar(own, table, layout, &later, &[&nothing, &b, &open, &nothing]).unwrap());
    let found = entry(own, layout, &1.into()).unwrap().unwrap();
    assert_eq!(found.columns[1], later.columns[1].next(Writer::new(77).unwrap()));
    assert_eq!(found.bases.column(1), Some(later.columns[1]));
    assert!(found.seq > 0);
    assert_eq!((found.columns[0], found.bases.live), (Stamp::ZERO, None));

    // A tombstone of a row that was never here, and a death that did not happen.
    let dead = |key: i64| LocalEntry {
        key: key.into(),
        live: Register { value: false, stamp: born },
        columns: vec![born; 4],
        ..wanted.clone()
    };
    assert!(write_sidecar(own, table, layout, &dead(9), &[]).unwrap());
    assert!(!entry(own, layout, &9.into()).unwrap().unwrap().live.value);
    assert!(!write_sidecar(own, table, layout, &dead(1), &[]).unwrap());
    assert_eq!(entry(own, layout, &1.into()).unwrap().unwrap(), found);
}

#[test]
fn installing_repairs_notices_and_leaves_nothing() {
    let scene = Scene::new(visits(), "");
    let (own, layout) = (&scene.own, &scene.layout);
    let before: Vec<String> =
        vec!["sqlite_autoindex_visits_1".into(), "sqlite_sequence".into(), "visits".into()];
    let writer = Writer::new(1).unwrap();
    let look = || drift(own, layout).unwrap();
    assert_eq!(look(), Drift::None);
    own.execute_batch(
        "DROP TRIGGER dual_visits_inserted; INSERT INTO visits (visit_id) VALUES (1)",
    )
    .unwrap();
    assert_eq!(look(), Drift::Triggers);
    assert_eq!((install(own, layout, writer).unwrap(), look()), (1, Drift::None));
    assert_eq!(state(own).unwrap().writer.number(), 77, "it keeps its number");
    assert_eq!(scene.state()[&1].version.highest(), Stamp::ADOPTED_SQLITE);
    own.execute_batch("ALTER TABLE visits ADD COLUMN mood TEXT").unwrap();
    assert_eq!(look(), Drift::Columns);
    install(own, layout, writer).unwrap();
    own.execute_batch("CREATE UNIQUE INDEX one_mood ON visits (mood)").unwrap();
    assert_eq!(look(), Drift::Triggers);
    install(own, layout, writer).unwrap();
    assert_eq!(look(), Drift::None);
    own.execute_batch("DROP INDEX one_mood; CREATE UNIQUE INDEX odd ON visits (lower(mood))")
        .unwrap();
    assert_eq!(look(), Drift::Triggers);
    assert_eq!(install(own, layout, writer).unwrap_err().kind(), Kind::Schema(Store::Sqlite));
    own.execute_batch("DROP INDEX odd").unwrap();
    install(own, layout, writer).unwrap();

    renumber(own, Writer::new(78).unwrap()).unwrap();
    own.execute_batch("UPDATE visits SET note = 'x'").unwrap();
    assert_eq!(scene.state()[&1].version.stamp_of(1).writer().number(), 78);

    own.execute_batch("UPDATE dual_state SET format = 99").unwrap();
    assert!(install(own, layout, writer).unwrap_err().message().contains("format 99"));
    assert!(drift(own, layout).is_err());
    uninstall(own).unwrap();
    assert_eq!(look(), Drift::Absent);
    let mut names = own.prepare("SELECT name FROM sqlite_master ORDER BY name").unwrap();
    let left: Vec<String> =
        names.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(left, before);
    scene.run(Client::Shell, "INSERT INTO visits (visit_id) VALUES (5);");
}

#[test]
fn a_column_that_the_declaration_gets_later_was_never_set() {
    let older: Vec<_> =
        visits().columns().iter().filter(|column| *column.name != *"paid").cloned().collect();
    let scene = Scene::new(Table::declare("visits", older).unwrap(), "");
    scene.python("INSERT INTO visits (visit_id, note) VALUES (1, 'a'), (2, 'b')", &[]);
    scene.own.execute_batch("ALTER TABLE visits ADD COLUMN paid INTEGER DEFAULT 0").unwrap();
    let layout = Layout::new(&visits());
    install(&scene.own, &layout, Writer::new(77).unwrap()).unwrap();
    let found = entry(&scene.own, &layout, &1.into()).unwrap().unwrap();
    assert_eq!((found.columns[2], found.bases.column(2)), (Stamp::ZERO, None));
    scene.own.execute_batch("DELETE FROM visits WHERE visit_id = 1; DELETE FROM visits").unwrap();
    scene.own.execute_batch("INSERT INTO visits (visit_id, paid) VALUES (3, 1)").unwrap();
    let born = entry(&scene.own, &layout, &3.into()).unwrap().unwrap();
    assert_eq!(born.columns[2], born.live.stamp);
    let dead = entry(&scene.own, &layout, &1.into()).unwrap().unwrap();
    assert_eq!(dead.columns[2], dead.live.stamp);
}

/// What is ours in the file, by names.
fn ours(scene: &Scene, like: &str) -> String {
    let sql = "SELECT sql FROM sqlite_master WHERE name LIKE ?1 AND sql IS NOT NULL ORDER BY rowid";
    let mut look = scene.own.prepare(sql).unwrap();
    let text: Vec<String> =
        look.query_map([like], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    text.join(";\n\n")
}

#[test]
fn the_sql_is_as_reviewed_and_old_enough() {
    let scene = Scene::new(visits(), "CREATE UNIQUE INDEX by_place ON visits (guest, note)");
    let visits = ours(&scene, "dual%");
    insta::assert_snapshot!("sqlite_visits", visits);
    let number = Column { automatic: true, ..Column::new("id", LogicalType::Int, Role::Key) };
    let what = Column::new("what", LogicalType::Text, Role::Data);
    let scene = Scene::new(Table::declare("tickets", vec![number, what]).unwrap(), "");
    let tickets = ours(&scene, "dual%tickets%");
    insta::assert_snapshot!("sqlite_tickets", tickets);
    let text = [visits, tickets].concat().to_ascii_lowercase();
    for newer in [
        "json",
        "on conflict",
        "strict",
        "without rowid",
        "unixepoch",
        "returning",
        "over (",
        "with ",
        "iif(",
        "insert or",
        "generated",
    ] {
        assert!(!text.contains(newer), "{newer} is not in SQLite 3.7.0");
    }
}

fn statement() -> impl Strategy<Value = (String, Vec<i64>)> {
    let key = || 1i64..6;
    let note = prop_oneof![Just("NULL"), Just("'it''s new'"), Just("'a'"), Just("'Ж'")];
    let set = prop_oneof![
        note.clone().prop_map(|note| format!("note = {note}")),
        (0i64..3).prop_map(|guest| format!("guest = {guest}, paid = NOT paid")),
        Just("\"at \"\"now\"\"\" = '2025-01-02 03:04:05.000001'".to_owned()),
        Just("id = id + 100".to_owned()),
    ];
    prop_oneof![
        (key(), note.clone()).prop_map(|(key, note)| (
            format!("INSERT OR IGNORE INTO visits (visit_id, note) VALUES ({key}, {note})"),
            vec![]
        )),
        (key(), note).prop_map(|(key, note)| (
            format!("INSERT OR REPLACE INTO visits (visit_id, note) VALUES ({key}, {note})"),
            vec![key]
        )),
        (key(), 1i64..4).prop_map(|(key, badge)| (
            format!("INSERT OR REPLACE INTO visits (visit_id, badge) VALUES ({key}, {badge})"),
            vec![key]
        )),
        (key(), 1i64..4).prop_map(|(key, badge)| (
            format!("UPDATE OR REPLACE visits SET badge = {badge} WHERE visit_id = {key}"),
            vec![]
        )),
        (key(), key(), set).prop_map(|(low, high, set)| (
            format!("UPDATE visits SET {set} WHERE visit_id BETWEEN {low} AND {high}"),
            vec![]
        )),
        (key(), key()).prop_map(|(one, other)| (
            format!("DELETE FROM visits WHERE visit_id IN ({one}, {other})"),
            vec![]
        )),
        (key(), 6i64..9).prop_map(|(key, to)| (
            format!("UPDATE OR REPLACE visits SET visit_id = {to} WHERE visit_id = {key}"),
            vec![to]
        )),
        Just(("DELETE FROM visits".to_owned(), vec![])),
    ]
}

#[test]
fn random_statements_leave_what_the_rules_say() {
    let extra =
        "ALTER TABLE visits ADD COLUMN badge INTEGER; CREATE UNIQUE INDEX b ON visits (badge)";
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..Default::default() };
    proptest!(config, |(statements in prop::collection::vec(statement(), 1..30))| {
        let scene = Scene::new(visits(), extra);
        for (sql, reborn) in statements {
            // A key that moves onto itself is not inserted anew.
            let moves = reborn.iter().all(|key| {
                sql.starts_with("INSERT") || {
                    let from = sql.rsplit(' ').next().unwrap();
                    let there = format!("SELECT count(*) FROM visits WHERE visit_id = {from}");
                    let count: i64 = scene.own.query_row(&there, [], |row| row.get(0)).unwrap();
                    count == 1 && from != key.to_string()
                }
            });
            scene.go(Client::Own, &sql, if moves { &reborn } else { &[] });
        }
    });
}
