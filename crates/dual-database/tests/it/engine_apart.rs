//! A table that has to be compared keeps no other one waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dual_database::store::postgres::{Limits, Session, Settings};
use dual_database::sync::{Fault, Step, StepHook};
use throwaway_postgres::shared;

use crate::engine_scene::{Node, Scene, tables, until};

/// Rows enough for several pieces.
const MANY: i64 = 1_700;

const FILL: &str = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ";

async fn psql(scene: &Scene<'_>, sql: &str) -> Session {
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let session = Session::open(&settings, &Limits::default()).await.unwrap();
    session.batch("test", sql).await.unwrap();
    session
}

/// Changes of the other table, in both directions, until they have arrived.
async fn the_other_goes_on(scene: &Scene<'_>, node: &Node, at: i64) {
    let (there, here) = (2 * at, 2 * at + 1);
    scene.sql(&format!("INSERT INTO users (user_id, first_name) VALUES ({there}, 'there')"));
    node.script(&format!("INSERT INTO users (user_id, first_name) VALUES ({here}, 'here')"));
    let users = &tables()[0];
    until("the other table follows", async || {
        node.rows(users).contains_key(&there) && scene.rows(users).contains_key(&here)
    })
    .await;
}

async fn is_apart(node: &Node) -> bool {
    !node.look(|content| content.apart()).await.is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comparison_that_waits_for_a_lock_keeps_no_other_table_waiting() {
    let scene = Scene::on(shared().unwrap());
    let node = Node::start(&scene.database.url(), &scene.path("bot.db")).await;
    node.script("INSERT INTO accounts (owner, balance) VALUES (1, 1), (2, 2), (3, 3), (4, 4)");
    until("both are equal", async || scene.is_equal(&node)).await;
    the_other_goes_on(&scene, &node, 1).await;
    let other = psql(&scene, "BEGIN; LOCK TABLE accounts IN SHARE MODE").await;
    node.drop_triggers("accounts");
    node.script("UPDATE accounts SET balance = 10 WHERE owner = 1");
    until("it was found, and cannot be compared", async || {
        let recent = node.shared.health.recent();
        is_apart(&node).await && recent.iter().any(|error| error.message.contains("55P03"))
    })
    .await;
    for at in 2..5 {
        the_other_goes_on(&scene, &node, at).await;
    }
    assert!(is_apart(&node).await);
    assert!(node.shared.health.is_up(dual_database::Store::Postgres));
    // What is written meanwhile, on either side, is exchanged when it has been compared.
    other.batch("test", "UPDATE accounts SET balance = 20 WHERE owner = 2").await.unwrap();
    node.script("UPDATE accounts SET balance = 30 WHERE owner = 3");
    the_other_goes_on(&scene, &node, 5).await;
    other.batch("test", "COMMIT").await.unwrap();
    until("it follows again", async || scene.is_equal(&node) && !is_apart(&node).await).await;
    let all = "SELECT string_agg(balance::text, ' ' ORDER BY owner) FROM accounts";
    assert_eq!(scene.one(all), "10 20 30 4");
}

/// Stops a comparison after each of its pieces, for longer than it has its turn, until the test lets it go on.
#[derive(Debug)]
struct Pieces {
    reached: SyncSender<()>,
    goes_on: Mutex<Receiver<()>>,
    /// Rounds of the others.
    rounds: AtomicUsize,
}

impl StepHook for Pieces {
    fn fault(&self, _: Step) -> Fault {
        Fault::None
    }

    fn done(&self, step: Step) {
        if step == Step::Apply {
            self.rounds.fetch_add(1, Ordering::SeqCst);
        }
        if step == Step::ReadLocal {
            tokio::task::block_in_place(|| {
                if self.reached.send(()).is_ok() {
                    std::thread::sleep(Duration::from_millis(300));
                    // Nobody answers any more: it is the end of the test.
                    let _ = self.goes_on.lock().unwrap().recv();
                }
            });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_a_table_is_compared_arrives() {
    let scene = Scene::on(shared().unwrap());
    let path = scene.path("bot.db");
    let before = Node::open(&scene.database.url(), &path, |_| {}).await;
    before.script(&format!(
        "{FILL} {MANY}) INSERT INTO accounts (owner, balance) SELECT i, 0 FROM n; \
         INSERT INTO users (user_id, first_name) VALUES (1, 'a'), (2, 'b')"
    ));
    before.sync().await;
    // It is to be compared when somebody opens it next.
    before.drop_triggers("accounts");
    before.script("UPDATE accounts SET balance = 1 WHERE owner % 170 = 0");
    drop(before);
    let ((reached, pieces), (go_on, goes_on)) = (sync_channel(0), sync_channel(0));
    let (goes_on, rounds) = (Mutex::new(goes_on), AtomicUsize::new(0));
    let hook = Arc::new(Pieces { reached, goes_on, rounds });
    let node = Node::start_with(&scene.database.url(), &path, |shared| {
        shared.hook = Some(hook.clone());
    })
    .await;
    let (mut at, mut rounds) = (0, Vec::new());
    until("all of it is compared", async || {
        let Ok(()) = pieces.recv_timeout(Duration::from_millis(20)) else {
            return at > 0 && !is_apart(&node).await && scene.is_equal(&node);
        };
        at += 1;
        rounds.push(hook.rounds.load(Ordering::SeqCst));
        // In what was compared, in what is just being compared, and behind it; with the other table.
        let change = |owner: i64| {
            format!(
                "UPDATE accounts SET note = 'piece {at}' WHERE owner = {owner}; \
                 UPDATE users SET first_name = 'piece {at}' WHERE user_id = {}",
                1 + at % 2
            )
        };
        if at < 10 {
            scene.sql(&[change(at), change(MANY - at)].join("; "));
            node.script(&[change(at + 20), change(MANY - 20 - at)].join("; "));
        }
        go_on.send(()).unwrap();
        false
    })
    .await;
    let noted = "SELECT count(*) FROM accounts WHERE note LIKE 'piece%'";
    assert_eq!(scene.one(noted), (4 * at.min(9)).to_string());
    assert_eq!(scene.one("SELECT count(*) FROM accounts WHERE balance = 1"), "10");
    // The others were exchanged between the pieces.
    assert!(at > 2 && rounds.last() > rounds.first(), "{at}: {rounds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_that_is_found_while_all_tables_are_compared_is_compared_too() {
    let scene = Scene::on(shared().unwrap());
    Node::open(&scene.database.url(), &scene.path("before.db"), |_| {}).await.sync().await;
    scene.sql("INSERT INTO users (user_id, first_name) VALUES (1, 'a')");
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (1, 1)");
    let path = scene.path("bot.db");
    let ((reached, pieces), (go_on, goes_on)) = (sync_channel(0), sync_channel(0));
    let (goes_on, rounds) = (Mutex::new(goes_on), AtomicUsize::new(0));
    let hook = Arc::new(Pieces { reached, goes_on, rounds });
    let node = Node::start_with(&scene.database.url(), &path, |shared| {
        shared.hook = Some(hook.clone());
        // It would find the difference, sooner or later.
        shared.scrub_every = None;
    })
    .await;
    // The users have been settled when the accounts were read.
    pieces.recv().unwrap();
    go_on.send(()).unwrap();
    pieces.recv().unwrap();
    node.drop_triggers("users");
    node.script("UPDATE users SET phone_number = 'missed' WHERE user_id = 1");
    let other = Node::open(&scene.database.url(), &path, |_| {}).await;
    drop((pieces, go_on));
    until("both are equal", async || scene.is_equal(&node)).await;
    assert_eq!(scene.one("SELECT phone_number FROM users"), "missed");
    drop(other);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_far_ahead_is_corrected_in_a_table_that_is_apart() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    // Two hours ahead; the file's position has passed by what is pending, as it does in a table that is apart.
    let now = node.shared.clock().unix_ms();
    node.shared.clock().correct(now + 7_200_000);
    node.add(1, 1).await;
    node.script(
        "UPDATE dual_tracked SET compare = 'backlog', marked = 1 WHERE name = 'accounts'; \
         UPDATE dual_node SET pushed = (SELECT seq FROM dual_state)",
    );
    assert!(is_apart(&node).await);
    node.sync().await;
    assert!(!is_apart(&node).await);
    assert_eq!(scene.one("SELECT balance FROM accounts"), "1");
    scene.assert_equal(&node);
    let ahead = scene.one(
        "SELECT max(stamp) >> 22 > extract(epoch FROM clock_timestamp()) * 1000 - 1577836800000 + 61000 \
         FROM dual.side_accounts",
    );
    assert_eq!(ahead, "f");
}

/// Of two that are compared for the same reason.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_comparison_fails_keeps_no_other_one_apart() {
    let scene = Scene::on(shared().unwrap());
    let node = Node::start(&scene.database.url(), &scene.path("bot.db")).await;
    node.script(
        "INSERT INTO users (user_id, first_name) VALUES (1, 'a'); \
         INSERT INTO accounts (owner, balance) VALUES (1, 1)",
    );
    until("both are equal", async || scene.is_equal(&node)).await;
    let other = psql(&scene, "BEGIN; LOCK TABLE users IN SHARE MODE").await;
    node.script(
        "BEGIN IMMEDIATE; UPDATE users SET first_name = 'b'; UPDATE accounts SET balance = 2; \
         UPDATE dual_tracked SET compare = 'backlog', marked = 1; \
         UPDATE dual_node SET pushed = (SELECT seq FROM dual_state); COMMIT",
    );
    until("the other one is compared", async || node.look(|content| content.apart()).await == [0])
        .await;
    assert_eq!(scene.one("SELECT balance FROM accounts"), "2");
    other.batch("test", "COMMIT").await.unwrap();
    until("both follow again", async || scene.is_equal(&node) && !is_apart(&node).await).await;
}
