//! More is new than is carried in one transaction.

use std::sync::{Arc, Mutex};

use dual_database::protocol::Follow;
use dual_database::sync::{Fault, Step, StepHook};
use dual_database::value::Value;
use throwaway_postgres::shared;

use crate::engine_scene::{Node, Scene, until};

/// Remembers which steps were made.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<Step>>);

impl Seen {
    fn take(&self) -> Vec<Step> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl StepHook for Seen {
    fn fault(&self, step: Step) -> Fault {
        self.0.lock().unwrap().push(step);
        Fault::None
    }
}

async fn node(scene: &Scene<'_>) -> (Node, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let hook = seen.clone();
    let node = Node::open(&scene.database.url(), &scene.path("bot.db"), |shared| {
        shared.hook = Some(hook);
        shared.at_once = 1_000;
    })
    .await;
    node.sync().await;
    (node, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mass_of_changes_is_gone_through_by_ranges_and_nobody_is_asked() {
    let scene = Scene::on(shared().unwrap());
    let (node, seen) = node(&scene).await;
    scene.sql(
        "INSERT INTO accounts (owner, balance) SELECT n, n FROM generate_series(1, 1000) AS n",
    );
    seen.take();
    node.sync().await;
    assert!(!seen.take().contains(&Step::Compare), "so many are polled");
    scene.sql("INSERT INTO accounts (owner) VALUES (1001); UPDATE accounts SET note = 'all'");
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.held, exchange.caught_up), (0, None, true));
    assert!(seen.take().contains(&Step::Compare));
    scene.assert_equal(&node);
    // The same on the file's side, with changes on the other meanwhile.
    node.script("UPDATE accounts SET balance = -1");
    scene.sql("UPDATE accounts SET note = 'some' WHERE owner % 2 = 0");
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.held, exchange.caught_up), (0, None, true));
    let steps = seen.take();
    assert!(steps.contains(&Step::Give) && !steps.contains(&Step::Push), "{steps:?}");
    assert!(matches!(node.state().await.follow, Follow::Following { .. }));
    assert_eq!(
        scene.one(
            "SELECT sum(balance) || ' ' || count(*) FILTER (WHERE note = 'some') FROM accounts"
        ),
        "-1001 500"
    );
    assert_eq!(scene.conflicts().len(), 0);
    scene.assert_equal(&node);
}

/// What a comparison has given comes back to it; it begins anew for none of that.
#[tokio::test(flavor = "multi_thread")]
async fn a_mass_of_large_texts_is_gone_through_once() {
    let scene = Scene::on(shared().unwrap());
    let (node, seen) = node(&scene).await;
    node.script(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60) \
         INSERT INTO accounts (owner, note) SELECT i, printf('%.*c', 1000000, 'x') FROM n",
    );
    seen.take();
    node.sync().await;
    let steps = seen.take();
    // A round that begins after a catch-up: it was the end of the comparison, or it is begun anew.
    let ends = steps.windows(2).filter(|two| two == &[Step::Finish, Step::Inspect]).count();
    assert_eq!(ends, 1, "{steps:?}");
    assert!(steps.contains(&Step::Give) && !steps.contains(&Step::Push), "{steps:?}");
    assert_eq!(scene.one("SELECT sum(length(note)) FROM accounts"), "60000000");
    // One row above what is carried at once is no mass.
    let large = |text: &str| format!("first_name = {text}, real_name = {text}");
    scene.sql("INSERT INTO users (user_id) VALUES (1), (2)");
    node.sync().await;
    seen.take();
    let here = large("printf('%.*c', 10000000, 'y')");
    node.script(&format!("UPDATE users SET {here} WHERE user_id = 1"));
    node.sync().await;
    let steps = seen.take();
    assert!(steps.contains(&Step::Push) && !steps.contains(&Step::Compare), "{steps:?}");
    let there = large("repeat('z', 10000000)");
    scene.sql(&format!("UPDATE users SET {there} WHERE user_id = 2"));
    node.sync().await;
    assert!(!seen.take().contains(&Step::Compare));
    scene.assert_equal(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_lost_and_brought_back_is_met_anew() {
    let scene = Scene::on(shared().unwrap());
    let (node, seen) = node(&scene).await;
    node.add(1, 1).await;
    node.sync().await;
    let before = node.replica().generation();
    for ending in ["", "-wal", "-shm"] {
        let mut path = node.path().as_os_str().to_owned();
        path.push(ending);
        let _ = std::fs::remove_file(path);
    }
    scene.sql("UPDATE accounts SET balance = 2");
    until("the file is missed and brought back", async || {
        let _ = node.replica().read("test", |content| content.node()).await;
        node.replica().generation() != before
    })
    .await;
    seen.take();
    node.sync().await;
    assert_eq!(seen.take().first(), Some(&Step::Connect));
    let balances = node.look(|content| {
        let rows = content.range(1, None, None, 10)?.0.into_iter();
        Ok(rows.map(|(_, row)| row.tracked.version.columns[0].value.clone()).collect::<Vec<_>>())
    });
    assert_eq!(balances.await, [Value::Int(2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_remembers_when_tombstones_were_purged() {
    let scene = Scene::on(shared().unwrap());
    scene.node("bot.db").await.sync().await;
    for noted in ["(SELECT tidied FROM dual_node)", "tidied - 3700000", "tidied + 100000000"] {
        let node = scene.node("bot.db").await;
        let before: i64 = node.one(&format!("SELECT {noted} FROM dual_node"));
        node.script(&format!("UPDATE dual_node SET tidied = {before}"));
        node.sync().await;
        let after: i64 = node.one("SELECT tidied FROM dual_node");
        assert_eq!(after == before, noted.starts_with('('), "{noted}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_rounds_of_its_own_keeps_its_number() {
    let scene = Scene::on(shared().unwrap());
    let (node, _) = node(&scene).await;
    node.script("UPDATE dual_writer SET heartbeat = 1");
    until("it says that it lives", async || {
        node.one::<i64>("SELECT min(heartbeat) FROM dual_writer") > 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_tried_again_a_part_at_a_time() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    node.script(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10100) \
         INSERT INTO accounts (owner, balance) SELECT i, i FROM n",
    );
    node.sync().await;
    node.script(
        "INSERT INTO dual_quarantine (name, key, refused_by, code, reason, since, retry) \
         SELECT 'accounts', owner, 'postgres', '23514', 'refused', 1, 0 FROM accounts",
    );
    assert_eq!(node.look(|content| content.to_push(1)).await.rows.len(), 10_000);
    assert_eq!(node.sync().await.quarantined, 100);
    assert_eq!(node.sync().await.quarantined, 0);
}

/// Time and the process's highest memory so far, to be looked at.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes in an unoptimised build"]
#[allow(clippy::print_stderr, reason = "it is run for its figures")]
async fn masses() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    let measured = async |what: &str| {
        let began = std::time::Instant::now();
        let exchange = node.sync.sync(std::time::Duration::from_secs(900)).await.unwrap();
        assert_eq!((exchange.pending, exchange.held, exchange.caught_up), (0, None, true));
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
        eprintln!("{what}: {:?}, {peak}", began.elapsed());
    };
    measured("nothing").await;
    scene.sql(
        "INSERT INTO accounts (owner, balance) SELECT n, n FROM generate_series(1, 200000) AS n",
    );
    measured("200,000 rows inserted at PostgreSQL").await;
    scene.sql("UPDATE accounts SET note = 'all'");
    measured("200,000 rows updated at PostgreSQL").await;
    node.script("UPDATE accounts SET balance = -1");
    measured("200,000 rows updated in the file").await;
    scene.assert_equal(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_are_kept_for_a_time_and_for_as_long_as_postgresql_has_not_heard_of_them() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    let entries = |days: i64, sent: u8| {
        format!(
            "INSERT INTO dual_conflict (name, key, register, winner, loser, noted, reviewed, sent) \
             SELECT 'accounts', {days}, 'balance', 9, {sent}, \
             strftime('%s', 'now') * 1000 - {days} * 86400000, 0, {sent};"
        )
    };
    let all = [entries(91, 1), entries(89, 1), entries(91, 0), entries(1, 1)];
    node.script(&format!("{} UPDATE dual_node SET tidied = 1", all.concat()));
    scene.sql(
        "INSERT INTO dual.conflict (table_name, key, register, winner, loser, noted) \
         SELECT 'accounts', n, 'balance', 9, 1, now() - n * interval '1 day' \
         FROM unnest(ARRAY[91, 200, 89, 1]) AS n",
    );
    // What it has not told is told first; another process purges then.
    node.sync().await;
    let node = scene.node("bot.db").await;
    node.script("UPDATE dual_node SET tidied = 1");
    node.sync().await;
    let keys = "SELECT group_concat(key) FROM (SELECT key FROM dual_conflict ORDER BY key)";
    assert_eq!(node.one::<String>(keys), "1,89");
    let keys = "SELECT string_agg(key || ' ' || loser, ',' ORDER BY key) FROM dual.conflict";
    assert_eq!(scene.one(keys), "1 1,89 1");
}
