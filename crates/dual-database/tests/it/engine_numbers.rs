//! Tables whose keys both sides hand out: each step refused, unheard, done twice; two files; rows that are
//! not committed, or cannot move.

use std::sync::Arc;

use dual_database::Store;
use dual_database::schema::{Column, LogicalType, Role, Table, users};
use dual_database::sync::{Fault, Step};
use throwaway_postgres::shared;

use crate::engine_scene::{Node, Once, PATIENCE, Scene};
use crate::primary_scene::client;

/// Tickets, and notes on them.
fn tables() -> Arc<[Table]> {
    let number = || {
        let column = Column::new("id", LogicalType::Int, Role::Key);
        Column { automatic: true, ..column }
    };
    let column = |name: &str, kind| Column::new(name, kind, Role::Data);
    let tickets = vec![number(), column("what", LogicalType::Text)];
    let notes =
        vec![number(), column("ticket", LogicalType::Int), column("note", LogicalType::Text)];
    [users(), Table::declare("tickets", tickets).unwrap(), Table::declare("notes", notes).unwrap()]
        .into()
}

/// A file with its own `REFERENCES`, which declares no foreign keys at PostgreSQL.
async fn node(scene: &Scene<'_>, file: &str, hook: Option<Arc<Once>>) -> Node {
    let program = rusqlite::Connection::open(scene.path(file)).unwrap();
    program
        .execute_batch(
            "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY AUTOINCREMENT, \
             ticket INTEGER REFERENCES tickets (id), note TEXT)",
        )
        .unwrap();
    drop(program);
    let set = |shared: &mut dual_database::sync::Shared| {
        shared.hook = hook.map(|hook| hook as Arc<dyn dual_database::sync::StepHook>);
    };
    Node::keeping_with(&scene.database.url(), &scene.path(file), tables(), set).await
}

fn born(node: &Node, what: &str) {
    node.script(&format!(
        "INSERT INTO tickets (what) VALUES ('{what}'); \
         INSERT INTO notes (ticket, note) VALUES (last_insert_rowid(), '{what}')"
    ));
}

fn born_there(scene: &Scene<'_>, what: &str) {
    scene.sql(&format!(
        "WITH one AS (INSERT INTO tickets (what) VALUES ('{what}') RETURNING id) \
         INSERT INTO notes (ticket, note) SELECT id, '{what}' FROM one"
    ));
}

/// Each ticket once with its note, the same on both sides.
#[track_caller]
fn assert_all(scene: &Scene<'_>, nodes: &[&Node], expected: &[&str]) {
    let both = "SELECT t.id, t.what, n.note FROM tickets AS t JOIN notes AS n ON n.ticket = t.id \
                ORDER BY t.id";
    let there = scene.sql(both);
    let mut what: Vec<&str> = there.iter().map(|row| row[1].as_deref().unwrap()).collect();
    what.sort_unstable();
    assert_eq!(what, expected, "{there:?}");
    assert!(there.iter().all(|row| row[1] == row[2]), "{there:?}");
    for table in &tables()[1..] {
        for node in nodes {
            assert_eq!(scene.rows(table), node.rows(table), "{}", table.name());
        }
    }
}

async fn survives(step: Step, fault: Fault) {
    let scene = Scene::on(shared().unwrap());
    let hook = Once::new(step, fault);
    let node = node(&scene, "bot.db", Some(hook.clone())).await;
    node.sync().await;
    born(&node, "file");
    born(&node, "file too");
    born_there(&scene, "psql");
    let failed = node.sync.sync(PATIENCE).await.is_err();
    assert_eq!(failed, fault != Fault::Twice, "{step} {fault:?}");
    assert!(hook.has_struck(), "{step}");
    // What is done meanwhile is done to the row that has the number now.
    scene.sql("UPDATE tickets SET what = what || '!'; UPDATE notes SET note = note || '!'");
    node.sync().await;
    node.sync().await;
    let expected = match scene.one("SELECT count(*) FROM tickets WHERE what LIKE 'file%!'").as_str()
    {
        "0" => ["file", "file too", "psql!"],
        _ => ["file too!", "file!", "psql!"],
    };
    assert_all(&scene, &[&node], &expected);
    assert_eq!(node.sync().await.quarantined, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_fails_once_and_nothing_is_lost_or_there_twice() {
    for step in [Step::Reserve, Step::Number, Step::Push, Step::Acknowledge] {
        for fault in [Fault::Refused, Fault::Lost, Fault::Twice] {
            survives(step, fault).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_has_arrived_unheard_and_was_deleted_stays_deleted() {
    let scene = Scene::on(shared().unwrap());
    let hook = Once::new(Step::Push, Fault::Lost);
    let node = node(&scene, "bot.db", Some(hook.clone())).await;
    node.sync().await;
    born(&node, "file");
    node.sync.sync(PATIENCE).await.unwrap_err();
    assert_eq!(scene.one("DELETE FROM tickets WHERE what = 'file' RETURNING what"), "file");
    node.sync().await;
    assert_eq!(scene.one("SELECT count(*) FROM tickets"), "0");
    assert_eq!(node.one::<i64>("SELECT count(*) FROM tickets"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_files_and_postgresql_number_alike() {
    let scene = Scene::on(shared().unwrap());
    let [one, two] = [node(&scene, "one.db", None).await, node(&scene, "two.db", None).await];
    one.sync().await;
    two.sync().await;
    born(&one, "one");
    born(&two, "two");
    born_there(&scene, "psql");
    for _ in 0..2 {
        one.sync().await;
        two.sync().await;
    }
    assert_all(&scene, &[&one, &two], &["one", "psql", "two"]);
    // What is reserved for one file is a tombstone in the other, which numbers on from its own rows.
    born(&one, "one more");
    born(&two, "two more");
    for _ in 0..2 {
        one.sync().await;
        two.sync().await;
    }
    assert_all(&scene, &[&one, &two], &["one", "one more", "psql", "two", "two more"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_that_was_handed_out_and_is_not_committed_is_somebodys() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db", None).await;
    node.sync().await;
    let other = client(&scene.database).await;
    other.batch("test", "BEGIN; INSERT INTO tickets (what) VALUES ('psql')").await.unwrap();
    born(&node, "file");
    node.sync().await;
    other.batch("test", "INSERT INTO notes (ticket, note) SELECT id, what FROM tickets WHERE what = 'psql'; COMMIT").await.unwrap();
    node.sync().await;
    assert_all(&scene, &[&node], &["file", "psql"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_may_not_move_waits_and_so_does_what_has_its_number() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db", None).await;
    node.sync().await;
    node.script(
        "CREATE TRIGGER still BEFORE UPDATE OF id ON tickets BEGIN SELECT RAISE(ABORT, 'still'); END; \
         INSERT INTO tickets (what) VALUES ('file')",
    );
    scene.sql("INSERT INTO tickets (what) VALUES ('psql'), ('free')");
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 2));
    let aside = node.look(|content| content.quarantine()).await;
    let sides: Vec<Store> = aside.iter().map(|one| one.refused_by).collect();
    assert!(sides.contains(&Store::Postgres) && sides.contains(&Store::Sqlite), "{aside:?}");
    // Nothing else waits, and nothing is mixed up.
    assert_eq!(node.one::<String>("SELECT group_concat(what) FROM tickets"), "file,free");
    assert_eq!(scene.one("SELECT string_agg(what, ',' ORDER BY id) FROM tickets"), "psql,free");
    // Both wait on, however often it is tried.
    node.script("UPDATE dual_quarantine SET retry = 0");
    node.sync().await;
    assert_eq!(node.sync().await.quarantined, 2);
    node.script("DROP TRIGGER still; UPDATE dual_quarantine SET retry = 0");
    node.sync().await;
    assert_eq!(node.sync().await.quarantined, 0);
    assert_eq!(
        scene.one("SELECT string_agg(what, ',' ORDER BY id) FROM tickets"),
        "psql,free,file"
    );
    assert_eq!(scene.rows(&tables()[1]), node.rows(&tables()[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_leaves_births_to_be_asked_about() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db", None).await;
    node.sync().await;
    born_there(&scene, "before");
    node.sync().await;
    born(&node, "file");
    born_there(&scene, "psql");
    // Compared before anything is asked.
    node.drop_triggers("notes");
    node.sync().await;
    node.sync().await;
    assert_all(&scene, &[&node], &["before", "file", "psql"]);
}
