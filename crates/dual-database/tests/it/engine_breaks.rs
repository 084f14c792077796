//! Cursors that mean nothing any more: restored and copied stores, missing capture, the guard.

use dual_database::protocol::Follow;
use dual_database::sync::{Fault, Preference, Retention, Step, StepHook};
use dual_database::{Kind, Store};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use throwaway_postgres::{Server, StopMode, shared};

use crate::engine_scene::{Node, Once, Scene, until};

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// What `pg_dump` would bring back, by hand: the rows and the sidecars, not the tokens.
const BACK_UP: &str = "CREATE SCHEMA backup; \
    CREATE TABLE backup.accounts AS TABLE public.accounts; \
    CREATE TABLE backup.side AS TABLE dual.side_accounts";
const RESTORE: &str = "SET LOCAL session_replication_role = replica; \
    DELETE FROM public.accounts; INSERT INTO public.accounts TABLE backup.accounts; \
    DELETE FROM dual.side_accounts; INSERT INTO dual.side_accounts TABLE backup.side; \
    DELETE FROM dual.token";

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_server_gets_back_what_it_has_lost() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.add(1, 1).await;
    node.add(2, 2).await;
    // So that what is changed back is not the whole table.
    node.add(4, 4).await;
    node.sync().await;
    scene.sql(BACK_UP);
    node.set_balance(1, 10).await;
    node.add(3, 3).await;
    node.delete(2).await;
    node.sync().await;
    scene.sql(RESTORE);
    // Somebody works on the restored server before anybody notices.
    scene.sql("UPDATE accounts SET note = 'after' WHERE owner = 1");
    node.sync().await;
    scene.assert_equal(&node);
    let rows = "SELECT string_agg(owner || '=' || balance, ',' ORDER BY owner) FROM accounts";
    assert_eq!(scene.one(rows), "1=10,3=3,4=4");
    assert_eq!(scene.one("SELECT note FROM accounts WHERE owner = 1"), "after");
}

/// A copy that was made while the server was stopped has the tokens of that time, the server's own
/// among them. (`torture` seed 12: what was written after the restore fell to what the file had
/// from before it, without an entry in the log.)
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_stopped_server_is_not_taken_for_the_server() {
    let server = Server::builder().start().unwrap();
    let scene = Scene::on(&server);
    let node = scene.node("bot.db").await;
    node.sync().await;
    node.add(1, 1).await;
    node.sync().await;
    let copy = scene.path("copy");
    let carry = |from: &Path, to: &Path| {
        assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
    };
    server.stop(StopMode::Fast).unwrap();
    carry(server.data_dir(), &copy);
    server.start().unwrap();
    until("the server is met again", async || node.try_sync().await.is_ok()).await;
    scene.sql("UPDATE accounts SET balance = 2");
    node.sync().await;
    let file = node.state().await.file;

    server.stop(StopMode::Fast).unwrap();
    std::fs::remove_dir_all(server.data_dir()).unwrap();
    carry(&copy, server.data_dir());
    server.start().unwrap();
    scene.sql("UPDATE accounts SET note = 'after', balance = 3");
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (2, 2)");
    until("the server is met again", async || node.try_sync().await.is_ok()).await;
    scene.assert_equal(&node);
    // The identity is still its own, and what the later one has overwritten is told.
    assert_eq!(node.state().await.file, file);
    assert_eq!(scene.one("SELECT balance || note FROM accounts WHERE owner = 1"), "3after");
    assert_eq!(scene.conflicts(), [[Some("1"), Some("3"), Some("2")].map(|s| s.map(String::from))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_file_takes_what_is_newer_and_gives_what_it_had_not_pushed() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.add(1, 1).await;
    node.sync().await;
    node.add(2, 2).await;
    node.script(&format!("VACUUM INTO '{}'", scene.path("backup.db").display()));
    node.sync().await;
    node.set_balance(1, 10).await;
    node.sync().await;
    drop(node);
    // The backup was made before the file last met PostgreSQL: its token is an old one.
    let back = scene.node("backup.db").await;
    back.add(3, 3).await;
    back.sync().await;
    scene.assert_equal(&back);
    let rows = "SELECT string_agg(owner || '=' || balance, ',' ORDER BY owner) FROM accounts";
    assert_eq!(scene.one(rows), "1=10,2=2,3=3");
    assert_eq!(scene.conflicts(), Vec::<Vec<_>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_file_takes_an_identity_of_its_own() {
    for fault in [Fault::None, Fault::Refused, Fault::Lost] {
        copied(fault).await;
    }
}

/// With a failure where the second takes other numbers.
async fn copied(fault: Fault) {
    let scene = Scene::on(shared().unwrap());
    let hook = Once::new(Step::Renumber, fault);
    let one = Node::open(&scene.database.url(), &scene.path("one.db"), |shared| {
        shared.hook = Some(hook.clone());
    })
    .await;
    one.add(1, 1).await;
    one.sync().await;
    one.script(&format!("VACUUM INTO '{}'", scene.path("two.db").display()));
    let two = scene.node("two.db").await;
    let copied = (two.state().await.file, two.state().await.number);
    assert_eq!(copied, (one.state().await.file, one.state().await.number));
    // Whoever comes first keeps it.
    two.script("UPDATE accounts SET note = 'two'");
    two.sync().await;
    one.script("UPDATE accounts SET balance = 2");
    if fault != Fault::None {
        one.try_sync().await.unwrap_err();
        assert!(hook.has_struck());
    }
    one.sync().await;
    two.sync().await;
    one.sync().await;
    let (a, b) = (one.state().await, two.state().await);
    assert_ne!(a.file, b.file);
    assert_ne!(a.number, b.number);
    scene.assert_equal(&one);
    scene.assert_equal(&two);
    assert_eq!(scene.one("SELECT balance || note FROM accounts"), "2two");
    let numbers = scene.one("SELECT count(DISTINCT file) || '/' || count(*) FROM dual.writer");
    assert!(numbers.starts_with("2/"), "{numbers}");
}

/// A node with 300 accounts on both sides, of which the server has then lost a change each.
async fn with_losses(server: &'static Server) -> (Scene<'static>, Node) {
    let scene = Scene::on(server);
    let node = scene.node("bot.db").await;
    node.sync().await;
    scene
        .sql("INSERT INTO accounts (owner, balance) SELECT n, n FROM generate_series(1, 300) AS n");
    node.sync().await;
    // Somebody restored a backup on purpose: what the file has is newer.
    scene.sql(BACK_UP);
    node.script("UPDATE accounts SET balance = balance + 1000");
    node.script("INSERT INTO accounts (owner, balance, note) VALUES (998, 0, 'lost')");
    node.sync().await;
    scene.sql(RESTORE);
    let exchange = node.sync().await;
    assert_eq!(exchange.held, Some(300));
    node.script("INSERT INTO accounts (owner, balance) VALUES (999, 999)");
    (scene, node)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_loss_waits_for_a_person_and_service_goes_on() {
    let (scene, node) = with_losses(shared().unwrap()).await;
    assert_eq!(scene.one("SELECT sum(balance) FROM accounts"), "45150");
    assert!(matches!(node.state().await.follow, Follow::Held { losses: 300, .. }));
    node.set_note(1, "goes on").await;
    assert_eq!(node.sync().await.held, Some(300));
    node.sync.repair(Preference::Newest).await.unwrap();
    let exchange = node.sync().await;
    assert_eq!((exchange.held, exchange.pending), (None, 0));
    scene.assert_equal(&node);
    assert_eq!(
        scene.one("SELECT sum(balance) FROM accounts"),
        (45_150 + 300_000 + 999).to_string()
    );
    // The note had replaced nothing.
    assert_eq!(scene.one("SELECT count(losing) FROM dual.conflict"), "300");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_may_prefer_postgresql() {
    let (scene, node) = with_losses(shared().unwrap()).await;
    node.set_note(1, "since then").await;
    node.sync.repair(Preference::Postgres).await.unwrap();
    let exchange = node.sync().await;
    assert_eq!((exchange.held, exchange.pending), (None, 0));
    scene.assert_equal(&node);
    // What was written after the person was asked is not part of what was decided against.
    assert_eq!(scene.one("SELECT sum(balance) FROM accounts"), (45_150 + 999).to_string());
    assert_eq!(scene.one("SELECT balance || note FROM accounts WHERE owner = 1"), "1since then");
    assert_eq!(scene.one("SELECT count(*) FROM dual.conflict WHERE losing = '1001'"), "1");
    // What was only in the file is.
    assert_eq!(scene.one("SELECT count(*) FROM accounts WHERE owner = 998"), "0");
    assert_eq!(scene.one("SELECT count(*) FROM dual.conflict WHERE losing = 'lost'"), "1");
    node.set_balance(1, 7).await;
    node.sync().await;
    scene.assert_equal(&node);
    assert_eq!(scene.one("SELECT balance FROM accounts WHERE owner = 1"), "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_may_prefer_the_file() {
    let (scene, node) = with_losses(shared().unwrap()).await;
    scene.sql("UPDATE accounts SET balance = -1 WHERE owner = 2; INSERT INTO accounts (owner, balance) VALUES (5000, 5); DELETE FROM accounts WHERE owner = 3");
    node.sync.repair(Preference::Sqlite).await.unwrap();
    let exchange = node.sync().await;
    assert_eq!((exchange.held, exchange.pending), (None, 0));
    scene.assert_equal(&node);
    assert_eq!(
        scene.one("SELECT sum(balance) FROM accounts"),
        (45_150 + 300_000 + 999).to_string()
    );
    assert_eq!(scene.one("SELECT count(*) FROM dual.conflict WHERE losing = '-1'"), "1");
    assert_eq!(scene.one("SELECT count(*) FROM dual.conflict WHERE losing = '5'"), "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_triggers_are_put_back_and_what_they_missed_is_found() {
    let scene = Scene::on(shared().unwrap());
    let (node, other) = (scene.node("bot.db").await, scene.node("other.db").await);
    node.add(1, 1).await;
    node.add(2, 2).await;
    node.sync().await;
    other.sync().await;
    // On PostgreSQL.
    scene.sql("ALTER TABLE accounts DISABLE TRIGGER USER");
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (3, 3); UPDATE accounts SET balance = 90 WHERE owner = 2");
    node.sync().await;
    other.sync().await;
    node.sync().await;
    scene.assert_equal(&node);
    scene.assert_equal(&other);
    assert_eq!(scene.one("SELECT sum(balance) FROM accounts WHERE owner <> 2"), "4");
    scene.sql("UPDATE accounts SET note = 'captured again'");
    node.sync().await;
    scene.assert_equal(&node);
    // In the file: a 12-step ALTER, or pandas, makes a new table without triggers.
    node.script(
        "CREATE TABLE copy AS SELECT * FROM accounts; DROP TABLE accounts; \
         CREATE TABLE accounts (id INTEGER PRIMARY KEY, owner INTEGER NOT NULL UNIQUE, balance INTEGER, note TEXT); \
         INSERT INTO accounts SELECT * FROM copy; DROP TABLE copy; \
         INSERT INTO accounts (owner, balance) VALUES (77, 77)",
    );
    node.sync().await;
    scene.assert_equal(&node);
    assert_eq!(scene.one("SELECT balance FROM accounts WHERE owner = 77"), "77");
    node.script("UPDATE accounts SET note = 'again' WHERE owner = 77");
    node.sync().await;
    scene.assert_equal(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_in_the_file_while_its_triggers_were_gone_is_found() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.add(1, 1).await;
    node.set_note(1, "a").await;
    // So that one row is not the whole table, which nobody changes unasked.
    node.add(2, 2).await;
    node.sync().await;
    node.drop_triggers("accounts");
    node.script("UPDATE accounts SET note = 'z' WHERE owner = 1");
    node.sync().await;
    scene.assert_equal(&node);
    assert_eq!(scene.one("SELECT note FROM accounts WHERE owner = 1"), "z");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_installation_is_not_mixed_in() {
    let (scene, elsewhere) = (Scene::on(shared().unwrap()), Scene::on(shared().unwrap()));
    let node = scene.node("bot.db").await;
    node.add(1, 1).await;
    node.sync().await;
    elsewhere.node("own.db").await.sync().await;
    drop(node);
    let lost = Node::open(&elsewhere.database.url(), &scene.path("bot.db"), |_| {}).await;
    let error = lost.try_sync().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Configuration);
    assert!(error.hint().is_some());
    assert_eq!(elsewhere.one("SELECT count(*) FROM accounts"), "0");
    assert!(!lost.shared.health.is_up(Store::Postgres) || !lost.shared.health.is_up(Store::Sqlite));
    // It still belongs where it belonged.
    drop(lost);
    let node = scene.node("bot.db").await;
    node.sync().await;
    scene.assert_equal(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_is_noticed_by_files_that_had_not_passed_it() {
    let scene = Scene::on(shared().unwrap());
    let purging = Node::open(&scene.database.url(), &scene.path("one.db"), |shared| {
        shared.retention =
            Retention { keep: Duration::ZERO, every: Duration::ZERO, ..Retention::default() };
    })
    .await;
    let behind = scene.node("two.db").await;
    purging.add(1, 1).await;
    purging.add(2, 2).await;
    purging.sync().await;
    behind.sync().await;
    behind.set_note(1, "had not seen it go").await;
    purging.delete(1).await;
    purging.sync().await;
    until("nobody is in the middle of anything, and the tombstone goes", async || {
        purging.sync().await;
        scene.one("SELECT count(*) FROM dual.side_accounts WHERE key = 1") == "0"
    })
    .await;
    behind.sync().await;
    assert!(matches!(behind.state().await.follow, Follow::Following { .. }));
    scene.assert_equal(&behind);
    assert_eq!(scene.one("SELECT count(*) FROM accounts"), "1");
    assert!(behind.losers().await.contains(&text("had not seen it go")));
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_of_both_sides_are_compared_in_step() {
    let scene = Scene::on(shared().unwrap());
    scene.node("first.db").await.sync().await;
    // More than a range on each side, in runs of different length, with gaps, to the last key.
    scene.sql(
        "INSERT INTO accounts (owner, balance) SELECT n, n FROM generate_series(1, 9000) AS n \
         WHERE n % 3 <> 0 OR n BETWEEN 4000 AND 7000; \
         INSERT INTO accounts (owner, balance) VALUES (9223372036854775807, 1), (-5, 5)",
    );
    let node = scene.node("bot.db").await;
    node.script(
        "WITH RECURSIVE k(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM k WHERE n < 9000) \
         INSERT INTO accounts (owner, balance) SELECT n, -n FROM k WHERE n % 3 = 0 OR n > 8000; \
         INSERT INTO accounts (owner, balance) VALUES (-9223372036854775808, 2), (-6, 6)",
    );
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 0));
    scene.assert_equal(&node);
    assert_eq!(scene.one("SELECT count(*) FROM accounts"), "9004");
    // Again, with nothing to do: no row is touched.
    let seq = node.state().await.seq;
    scene.sql("DELETE FROM dual.token");
    node.sync().await;
    assert_eq!(node.state().await.seq, seq);
    scene.assert_equal(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn holding_a_comparison_fails_and_is_done_again() {
    for fault in [Fault::Refused, Fault::Lost] {
        let scene = Scene::on(shared().unwrap());
        let hook = Once::new(Step::Hold, fault);
        let node = Node::open(&scene.database.url(), &scene.path("bot.db"), |shared| {
            shared.hook = Some(hook.clone());
        })
        .await;
        node.sync().await;
        scene.sql(
            "INSERT INTO accounts (owner, balance) SELECT n, n FROM generate_series(1, 200) AS n",
        );
        node.sync().await;
        scene.sql(BACK_UP);
        node.script("UPDATE accounts SET balance = 0");
        node.sync().await;
        scene.sql(RESTORE);
        node.try_sync().await.unwrap_err();
        assert!(hook.has_struck());
        assert_eq!(node.sync().await.held, Some(200));
        assert_eq!(scene.one("SELECT sum(balance) FROM accounts"), "20100");
    }
}

/// Puts another file at the path just before a step, once.
#[derive(Debug)]
struct Replace {
    step: Step,
    files: Mutex<Option<(PathBuf, PathBuf)>>,
}

impl StepHook for Replace {
    fn fault(&self, step: Step) -> Fault {
        if step == self.step
            && let Some((from, to)) = self.files.lock().unwrap().take()
        {
            std::fs::rename(from, to).unwrap();
        }
        Fault::None
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_for_a_file_that_was_replaced_meanwhile_says_nothing_about_the_next() {
    let scene = Scene::on(shared().unwrap());
    let hook = Arc::new(Replace { step: Step::Acknowledge, files: Mutex::new(None) });
    let node = Node::open(&scene.database.url(), &scene.path("bot.db"), |shared| {
        shared.hook = Some(hook.clone());
    })
    .await;
    node.add(1, 1).await;
    node.sync().await;
    node.script(&format!("VACUUM INTO '{}'", scene.path("backup.db").display()));
    for _ in 0..40 {
        node.set_balance(1, 2).await;
    }
    // A backup comes back while what the file had is on its way.
    *hook.files.lock().unwrap() = Some((scene.path("backup.db"), scene.path("bot.db")));
    node.sync().await;
    assert!(hook.files.lock().unwrap().is_none());
    // Its positions begin lower than those that were pushed.
    node.add(2, 2).await;
    let exchange = node.sync().await;
    assert_eq!(exchange.pending, 0);
    let rows = "SELECT string_agg(owner || '=' || balance, ',' ORDER BY owner) FROM accounts";
    assert_eq!(scene.one(rows), "1=2,2=2");
}

/// What refers to the numbers of accounts, on both sides.
const REFERENCES: &str =
    "CREATE TABLE orders (n integer PRIMARY KEY, account integer REFERENCES accounts (id))";

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_given_back_has_its_number_again_and_what_refers_to_it() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    for owner in 1..=4 {
        node.add(owner, owner).await;
    }
    node.sync().await;
    let ids = "SELECT string_agg(owner || '=' || id, ',' ORDER BY owner) FROM accounts";
    let before = scene.one(ids);
    assert_eq!(before, "1=1,2=2,3=3,4=4");
    node.script(&format!("{REFERENCES}; INSERT INTO orders SELECT id * 10, id FROM accounts"));
    // A restored backup: rows are gone, and so are their tombstones and their numbers.
    scene.sql(
        "SET LOCAL session_replication_role = replica; DELETE FROM accounts WHERE owner > 1; \
         DELETE FROM dual.side_accounts WHERE key > 1; DELETE FROM dual.token; \
         SELECT setval(pg_get_serial_sequence('accounts', 'id'), 1)",
    );
    // Somebody gets the number of one of them before it is back.
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (9, 9)");
    node.sync().await;
    node.sync().await;
    assert_eq!(scene.one(ids), "1=1,2=5,3=3,4=4,9=2");
    scene.assert_equal(&node);
    // In the file the order went along with its account.
    let orders = "SELECT group_concat(n || ' ' || owner) FROM (SELECT * FROM orders JOIN accounts \
                  ON accounts.id = orders.account ORDER BY n)";
    assert_eq!(node.one::<String>(orders), "10 1,20 2,30 3,40 4");
    // Nobody gets a number twice.
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (10, 10), (11, 11)");
    assert_eq!(scene.one("SELECT min(id) > 5 FROM accounts WHERE owner > 9"), "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_refers_to_a_provisional_number_goes_along_with_the_row() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    node.script(&format!(
        "{REFERENCES}; CREATE TABLE heirs (n INTEGER PRIMARY KEY, of REFERENCES Accounts, \
         other REFERENCES accounts (owner))"
    ));
    // An old script numbers by itself; PostgreSQL has those numbers given to others.
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (101, 1), (102, 2)");
    node.add(1, 1).await;
    node.script(
        "INSERT INTO accounts (id, owner, balance) VALUES (1, 2, 2), (2, 3, 3); \
         INSERT INTO orders SELECT owner, id FROM accounts; \
         INSERT INTO heirs SELECT owner, id, owner FROM accounts",
    );
    node.sync().await;
    node.sync().await;
    scene.assert_equal(&node);
    assert_eq!(node.one::<i64>("SELECT min(id) FROM accounts"), 1);
    let follow = |table: &str, column: &str| {
        format!(
            "SELECT group_concat(n || ' ' || owner) FROM (SELECT * FROM {table} JOIN accounts \
             ON accounts.id = {table}.{column} ORDER BY n)"
        )
    };
    assert_eq!(node.one::<String>(&follow("orders", "account")), "1 1,2 2,3 3");
    assert_eq!(node.one::<String>(&follow("heirs", "of")), "1 1,2 2,3 3");
    // What refers to the key stays as it was.
    assert_eq!(node.one::<i64>("SELECT count(*) FROM heirs WHERE other = n"), 3);
}
