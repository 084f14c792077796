//! Surrogates beside a natural key, to which others refer: each step refused, unheard, done twice; two files; what a
//! program has read before.

use std::sync::Arc;

use dual_database::schema::{Column, LogicalType, Role, Table, users};
use dual_database::sync::{Fault, Shared, Step, StepHook};
use throwaway_postgres::shared;

use crate::engine_scene::{Node, Once, PATIENCE, Scene};

/// Guests, told apart by their codes, and visits of them.
fn tables() -> Arc<[Table]> {
    let column = |name: &str, kind, role| Column::new(name, kind, role);
    let guests = vec![
        column("id", LogicalType::Int, Role::Surrogate),
        column("code", LogicalType::Text, Role::Key),
        column("name", LogicalType::Text, Role::Data),
    ];
    let visits = vec![
        Column { automatic: true, ..column("id", LogicalType::Int, Role::Key) },
        column("guest", LogicalType::Int, Role::Data),
        column("what", LogicalType::Text, Role::Data),
    ];
    [users(), Table::declare("guests", guests).unwrap(), Table::declare("visits", visits).unwrap()]
        .into()
}

/// A file that declares what refers to what; PostgreSQL does not.
async fn node(scene: &Scene<'_>, file: &str, hook: Option<Arc<Once>>) -> Node {
    let program = rusqlite::Connection::open(scene.path(file)).unwrap();
    program
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS guests (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, name TEXT); \
             CREATE TABLE IF NOT EXISTS visits (id INTEGER PRIMARY KEY AUTOINCREMENT, \
             guest INTEGER REFERENCES guests (id), what TEXT)",
        )
        .unwrap();
    drop(program);
    let set = |shared: &mut Shared| {
        shared.hook = hook.map(|hook| hook as Arc<dyn StepHook>);
    };
    Node::keeping_with(&scene.database.url(), &scene.path(file), tables(), set).await
}

fn born(node: &Node, code: &str) {
    node.script(&format!(
        "INSERT INTO guests (code) VALUES ('{code}') ON CONFLICT (code) DO NOTHING; \
         INSERT INTO visits (guest, what) SELECT id, '{code}' FROM guests WHERE code = '{code}'"
    ));
}

fn born_there(scene: &Scene<'_>, code: &str) {
    scene
        .sql(&format!("INSERT INTO guests (code) VALUES ('{code}') ON CONFLICT (code) DO NOTHING"));
    scene.sql(&format!(
        "INSERT INTO visits (guest, what) SELECT id, '{code}' FROM guests WHERE code = '{code}'"
    ));
}

/// Each visit is of the guest that it was of, and both sides are the same, numbers included.
#[track_caller]
fn assert_all(scene: &Scene<'_>, nodes: &[&Node], visits: usize, guests: usize) {
    let whose = "SELECT v.what, coalesce(g.code, '?'), v.guest FROM visits AS v LEFT JOIN guests AS g ON g.id = v.guest";
    let there = scene.sql(whose);
    assert_eq!(there.len(), visits, "{there:?}");
    assert!(there.iter().all(|row| row[0] == row[1]), "{there:?}");
    let all = scene.sql("SELECT id || code FROM guests ORDER BY code COLLATE \"C\"");
    let all: Vec<&str> = all.iter().map(|row| row[0].as_deref().unwrap()).collect();
    assert_eq!(all.len(), guests, "{all:?}");
    for node in nodes {
        let wrong = "SELECT count(*) FROM visits AS v LEFT JOIN guests AS g ON g.id = v.guest \
                     WHERE g.code IS NOT v.what";
        assert_eq!(node.one::<i64>(wrong), 0);
        assert_eq!(scene.rows(&tables()[2]), node.rows(&tables()[2]));
        let here = "SELECT group_concat(one, ' ') FROM (SELECT id || code AS one FROM guests ORDER BY code)";
        assert_eq!(node.one::<String>(here), all.join(" "));
    }
}

async fn survives(step: Step, fault: Fault) {
    let scene = Scene::on(shared().unwrap());
    let hook = Once::new(step, fault);
    let node = node(&scene, "bot.db", Some(hook.clone())).await;
    node.sync().await;
    for code in ["a", "bb", "ccc"] {
        born(&node, code);
    }
    born_there(&scene, "dddd");
    born_there(&scene, "bb");
    let failed = node.sync.sync(PATIENCE).await.is_err();
    assert_eq!(failed, fault != Fault::Twice, "{step} {fault:?}");
    assert!(hook.has_struck(), "{step}");
    born(&node, "eeeee");
    born_there(&scene, "a");
    node.sync().await;
    node.sync().await;
    assert_all(&scene, &[&node], 7, 5);
    assert_eq!(node.sync().await.quarantined, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_fails_once_and_no_visit_is_of_another_guest() {
    for step in [Step::Reserve, Step::Number, Step::Push, Step::Acknowledge] {
        for fault in [Fault::Refused, Fault::Lost, Fault::Twice] {
            survives(step, fault).await;
        }
    }
}

/// The same where both sides have rows before they meet.
async fn meets(step: Step, fault: Fault) {
    let scene = Scene::on(shared().unwrap());
    let first = node(&scene, "first.db", None).await;
    first.sync().await;
    for code in ["a", "bb", "ccc"] {
        born_there(&scene, code);
    }
    first.sync().await;
    let hook = Once::new(step, fault);
    // Other guests under these numbers, and the visits have none of theirs.
    let path = scene.path("later.db");
    let program = rusqlite::Connection::open(&path).unwrap();
    program
        .execute_batch(
            "CREATE TABLE guests (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE, name TEXT); \
             CREATE TABLE visits (id INTEGER PRIMARY KEY AUTOINCREMENT, guest INTEGER REFERENCES guests (id), what TEXT); \
             INSERT INTO guests (id, code) VALUES (1, 'ccc'), (2, 'dddd'), (3, 'a'); \
             INSERT INTO visits (id, guest, what) VALUES (101, 1, 'ccc'), (102, 2, 'dddd'), (103, 3, 'a')",
        )
        .unwrap();
    drop(program);
    let later = node(&scene, "later.db", Some(hook.clone())).await;
    let failed = later.sync.sync(PATIENCE).await.is_err();
    assert_eq!(failed, hook.has_struck() && fault != Fault::Twice, "{step} {fault:?}");
    assert!(hook.has_struck(), "{step}");
    later.sync().await;
    first.sync().await;
    later.sync().await;
    assert_all(&scene, &[&first, &later], 6, 4);
    assert_eq!(scene.one("SELECT id FROM guests WHERE code = 'ccc'"), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_meets_postgresql_is_numbered_whatever_fails() {
    for step in [Step::Reserve, Step::Number, Step::Give, Step::ApplyRange] {
        for fault in [Fault::Refused, Fault::Lost, Fault::Twice] {
            meets(step, fault).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_files_and_postgresql_number_alike() {
    let scene = Scene::on(shared().unwrap());
    let [one, two] = [node(&scene, "one.db", None).await, node(&scene, "two.db", None).await];
    one.sync().await;
    two.sync().await;
    for round in 0..4 {
        let code = |who: &str| format!("{who}{round}");
        for who in ["x", "yy", "both"] {
            born(&one, &code(who));
        }
        for who in ["both", "zzz", "yyy"] {
            born(&two, &code(who));
        }
        born_there(&scene, &code("both"));
        born_there(&scene, &code("there"));
        one.sync().await;
        two.sync().await;
        one.sync().await;
        assert_all(&scene, &[&one, &two], 8 * (round + 1), 6 * (round + 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_may_not_change_its_number_goes_over_with_it() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db", None).await;
    node.sync().await;
    node.script(
        "CREATE TRIGGER fixed BEFORE UPDATE OF id ON guests BEGIN SELECT raise(ABORT, 'fixed'); END",
    );
    node.script("INSERT INTO guests (id, code) VALUES (500, 'a'); INSERT INTO visits (guest, what) VALUES (500, 'a')");
    node.sync().await;
    node.sync().await;
    assert_all(&scene, &[&node], 1, 1);
    assert_eq!(scene.one("SELECT id FROM guests"), "500");
    assert_eq!(node.sync().await.quarantined, 0);
}

/// What was said does not hold any more, as after the sequence was set back: what refers to the row goes with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_was_said_and_is_taken_is_asked_for_again() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db", None).await;
    node.sync().await;
    born_there(&scene, "a");
    let taken = scene.one("SELECT id FROM guests");
    node.script(&format!(
        "INSERT INTO guests (id, code) VALUES ({taken}, 'bb'); \
         INSERT INTO visits (guest, what) VALUES ({taken}, 'bb'); \
         INSERT INTO dual_given (name, number) VALUES ('guests', {taken})"
    ));
    node.sync().await;
    node.sync().await;
    assert_all(&scene, &[&node], 2, 2);
    assert_eq!(scene.one("SELECT id FROM guests WHERE code = 'a'"), taken);
    assert_eq!(node.sync().await.quarantined, 0);
}

/// Rows were loaded beside the sequence, more than anybody asks for one by one.
#[tokio::test(flavor = "multi_thread")]
async fn fresh_numbers_lie_behind_what_was_loaded() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db", None).await;
    node.sync().await;
    scene.sql(
        "INSERT INTO guests (id, code) OVERRIDING SYSTEM VALUE \
         SELECT n, 'loaded' || n FROM generate_series(1, 2500) AS n",
    );
    born(&node, "a");
    node.sync().await;
    node.sync().await;
    assert_all(&scene, &[&node], 1, 2501);
    assert_eq!(scene.one("SELECT id > 2500 FROM guests WHERE code = 'a'"), "t");
}
