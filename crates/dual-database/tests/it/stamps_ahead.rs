//! Stamps far in the future: a clock was wrong for a while, or somebody has written them. What they do,
//! and how a person gets rid of them.

use std::time::Duration;

use dual_database::Store;
use dual_database::protocol::SetBack;
use dual_database::schema::users;
use dual_database::stamp;
use dual_database::store::postgres::primary::Pool;
use dual_database::store::postgres::{Session, Settings};
use dual_database::store::sqlite::replica::{Content, Durability, Paused};
use dual_database::sync::Shared;
use dual_database::verify::{TableDifference, Verification, compare};
use throwaway_postgres::shared;

use crate::engine_scene::{Node, PATIENCE, Scene, limits, until};

/// A stamp of PostgreSQL's triggers, a year ahead.
fn ahead(scene: &Scene<'_>) -> i64 {
    let now = "SELECT floor(date_part('epoch', clock_timestamp()) * 1000)::bigint";
    let year = 365 * 86_400_000;
    stamp::Stamp::at(scene.one(now).parse::<i64>().unwrap() + year, stamp::Writer::POSTGRES).raw()
}

/// PostgreSQL's clock was a year ahead when it stamped these rows; everybody has heard of it.
fn stamped(scene: &Scene<'_>, set: &str) {
    scene.sql(&format!(
        "UPDATE dual.side_accounts SET txid = txid_current(), {}",
        set.replace("AHEAD", &ahead(scene).to_string())
    ));
}

async fn verify(node: &Node) -> Verification {
    let pool: &Pool = &node.shared.pool;
    if pool.tables().is_none() {
        pool.prepare().await.unwrap();
    }
    let exchange = || async { node.sync.sync(PATIENCE).await.map(|_| ()) };
    compare(pool, &node.replica(), exchange).await.unwrap()
}

async fn repair(node: &Node) -> bool {
    let done = node.sync.set_back().await.unwrap();
    node.sync().await;
    done
}

fn ahead_of(found: &Verification) -> (u64, u64) {
    let sum = |side: fn(&TableDifference) -> u64| found.tables.iter().map(side).sum();
    (sum(|one| one.ahead_postgres), sum(|one| one.ahead_sqlite))
}

async fn two(scene: &Scene<'_>) -> [Node; 2] {
    let nodes = [scene.node("here.db").await, scene.node("away.db").await];
    for key in 1..=4 {
        nodes[0].add(key, key).await;
    }
    for node in &nodes {
        node.sync().await;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread")]
async fn stamps_of_the_future_are_found_and_set_back() {
    let scene = Scene::on(shared().unwrap());
    let [here, away] = two(&scene).await;
    scene.sql("DELETE FROM accounts WHERE owner = 4");
    stamped(&scene, "stamp = AHEAD WHERE key IN (1, 4)");
    stamped(&scene, "s_balance = AHEAD WHERE key = 2");
    for node in [&here, &away] {
        node.sync().await;
    }
    let found = verify(&here).await;
    assert!(found.equal && !found.is_sound() && !found.horizon_ahead, "{found:?}");
    assert_eq!(ahead_of(&found), (3, 3));
    assert!(found.ahead_until_ms.is_some());
    let met = |node: &Node| node.one::<Option<i64>>("SELECT ahead FROM dual_node");
    assert!(met(&here).is_some(), "the exchange has met them");

    assert!(repair(&here).await);
    let found = verify(&here).await;
    assert!(found.is_sound(), "{found:?}");
    assert_eq!((found.ahead_until_ms, met(&here)), (None, None));
    scene.assert_equal(&here);
    assert!(scene.conflicts().is_empty(), "{:?}", scene.conflicts());
    assert!(!repair(&here).await, "there is nothing more");

    // The other file still has them. What is written now wins, and so does what it deletes.
    scene.sql(
        "UPDATE accounts SET balance = 20 WHERE owner = 2; DELETE FROM accounts WHERE owner = 1",
    );
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (4, 40)");
    away.sync().await;
    here.sync().await;
    for node in [&here, &away] {
        scene.assert_equal(node);
        assert!(verify(node).await.is_sound());
    }
    let rows = "SELECT string_agg(owner || '=' || balance, ',' ORDER BY owner) FROM accounts";
    assert_eq!(scene.one(rows), "2=20,3=3,4=40");
}

/// Made on top of a stamp of the future, and not pushed when it is set back.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_pending_on_top_of_the_future_is_kept() {
    let scene = Scene::on(shared().unwrap());
    let [here, away] = two(&scene).await;
    stamped(&scene, "s_balance = AHEAD, s_note = AHEAD WHERE key IN (1, 2, 3)");
    for node in [&here, &away] {
        node.sync().await;
    }
    away.set_balance(1, 100).await;
    away.script(
        "UPDATE accounts SET balance = 200 WHERE owner = 2; DELETE FROM accounts WHERE owner = 3",
    );
    here.set_note(1, "here").await;
    assert!(repair(&here).await);
    // Later than what the other file has waiting, and without having seen it.
    scene.sql("UPDATE accounts SET balance = 300 WHERE owner = 2");
    away.sync().await;
    here.sync().await;
    for node in [&here, &away] {
        scene.assert_equal(node);
        assert!(verify(node).await.is_sound());
    }
    let rows =
        "SELECT string_agg(concat_ws('=', owner, balance, note), ',' ORDER BY owner) FROM accounts";
    assert_eq!(scene.one(rows), "1=100=here,2=300,4=4");
    let losers: Vec<_> =
        scene.conflicts().into_iter().map(|row| (row[0].clone(), row[2].clone())).collect();
    assert!(losers.contains(&(Some("2".into()), Some("200".into()))), "{losers:?}");
}

/// In the file alone: somebody has written them, or what PostgreSQL had is lost.
#[tokio::test(flavor = "multi_thread")]
async fn stamps_of_the_future_in_the_file_alone_are_set_back() {
    let scene = Scene::on(shared().unwrap());
    let [here, away] = two(&scene).await;
    let ahead = ahead(&scene);
    here.script(&format!(
        "UPDATE dual_side_accounts SET s_balance = {ahead} WHERE key = 4; \
         UPDATE dual_side_accounts SET stamp = {ahead} WHERE key = 2; \
         UPDATE dual_side_accounts SET s_note = -5 WHERE key = 3; \
         UPDATE dual_side_accounts SET stamp = 'soon' WHERE key = 1"
    ));
    assert!(repair(&here).await);
    assert!(verify(&here).await.is_sound());
    scene.sql("UPDATE accounts SET balance = balance * 10");
    for node in [&here, &away] {
        node.sync().await;
        scene.assert_equal(node);
        assert!(verify(node).await.is_sound());
    }
    assert_eq!(scene.one("SELECT sum(balance) FROM accounts"), "100");
}

/// Nothing that PostgreSQL keeps as a stamp stops the repair.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_stamp_is_set_back_too() {
    let scene = Scene::on(shared().unwrap());
    let [here, away] = two(&scene).await;
    stamped(&scene, "stamp = -1 WHERE key = 1");
    stamped(&scene, &format!("stamp = {} WHERE key = 2", i64::MAX));
    let refused = here.try_sync().await.unwrap_err();
    assert!(
        refused.hint().is_some_and(|hint| hint.contains("dual repair --stamps")),
        "{refused:?}"
    );
    assert!(repair(&here).await);
    scene.sql(
        "UPDATE accounts SET balance = 20 WHERE owner = 2; DELETE FROM accounts WHERE owner = 1",
    );
    for node in [&here, &away] {
        node.sync().await;
        scene.assert_equal(node);
        assert!(verify(node).await.is_sound());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_horizon_of_the_future_is_set_back() {
    let scene = Scene::on(shared().unwrap());
    let [here, away] = two(&scene).await;
    scene.sql(&format!("UPDATE dual.installation SET horizon = {}", ahead(&scene)));
    here.add(5, 5).await;
    here.sync().await;
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (6, 6)");
    let found = verify(&here).await;
    assert!(found.equal && found.horizon_ahead && !found.is_sound(), "{found:?}");
    assert!(repair(&here).await);
    away.add(7, 7).await;
    for node in [&away, &here] {
        node.sync().await;
        scene.assert_equal(node);
        assert!(verify(node).await.is_sound());
    }
    assert_eq!(
        scene.one("SELECT string_agg(owner::text, ',' ORDER BY owner) FROM accounts"),
        "1,2,3,4,5,6,7"
    );
}

/// A tombstone may be all that is left of a delete: PostgreSQL can lose it in a fail-over.
#[tokio::test(flavor = "multi_thread")]
async fn by_a_purge_horizon_of_the_future_nothing_is_forgotten() {
    let scene = Scene::on(shared().unwrap());
    let [here, _] = two(&scene).await;
    scene.sql("DELETE FROM accounts WHERE owner = 1");
    here.sync().await;
    let tombstones =
        || here.one::<i64>("SELECT count(*) FROM dual_side_accounts WHERE key = 1 AND live = 0");
    let far = ahead(&scene);
    scene.sql(&format!("UPDATE dual.installation SET horizon = {far}"));
    here.sync().await;
    assert_eq!(tombstones(), 1, "by what PostgreSQL says");
    assert!(here.one::<Option<i64>>("SELECT ahead FROM dual_node").is_some());
    assert!(repair(&here).await);
    assert!(scene.one("SELECT horizon FROM dual.installation").parse::<i64>().unwrap() < far);
    assert_eq!(tombstones(), 1, "by what it was set back to");
    scene.sql("UPDATE dual.installation SET horizon = 0");
    here.script(&format!("UPDATE dual_state SET horizon = {far}"));
    scene.sql("UPDATE accounts SET balance = 20 WHERE owner = 2");
    here.sync().await;
    assert_eq!(tombstones(), 1, "by what stands in the file");
}

/// The statement that sets them back in the file does what the model does.
#[tokio::test(flavor = "multi_thread")]
async fn the_file_sets_back_as_the_model_does() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("here.db").await;
    let (now, far) = (1_700_000_000_000, ahead(&scene));
    let one = SetBack::at(7, now, stamp::Stamp::ZERO);
    let sound = stamp::Stamp::at(now, stamp::Writer::MAX).raw();
    let (mut key, mut rows) = (0, String::new());
    let places = [None, Some(0), Some(sound), Some(far)];
    let lives = [true, false];
    for (stamp, lives) in [1, sound, far + 9].into_iter().flat_map(|at| lives.map(|l| (at, l))) {
        for base in places {
            // A tombstone is one stamp.
            let owns = if lives { places.as_slice() } else { &[None] };
            for (own, own_base) in owns.iter().flat_map(|own| places.map(|base| (*own, base))) {
                key += 1;
                let text = |number: Option<i64>| number.map_or("NULL".into(), |n| n.to_string());
                let delete = format!("DELETE FROM accounts WHERE owner = {key};");
                rows += &format!(
                    "INSERT INTO accounts (owner, balance) VALUES ({key}, 1); {} \
                     UPDATE dual_side_accounts SET stamp = {stamp}, live_base = {}, s_balance = {}, \
                     b_balance = {}, s_note = NULL, b_note = NULL WHERE key = {key};",
                    if lives { "" } else { &delete },
                    text(base),
                    text(own),
                    text(own_base),
                );
            }
        }
    }
    node.script(&format!("BEGIN; {rows} COMMIT"));
    let read = || node.look(|content| Ok(content.range(1, None, None, 1_000)?.0));
    let before = read().await;
    let file = node.one::<u16>("SELECT writer FROM dual_state");
    let file = stamp::Writer::new(file).unwrap();
    let wanted: Vec<_> = before.iter().map(|(_, row)| one.tracked(&row.tracked, file)).collect();
    let work = move |content: &Content<'_>| content.set_back(&[one]);
    let durability = Durability::Full;
    let changed = node.replica().write("test", durability, work).await.unwrap();
    let after = read().await;
    assert_eq!(before.len(), usize::try_from(key).unwrap());
    for ((before, after), wanted) in before.iter().zip(&after).zip(&wanted) {
        assert_eq!(&after.1.tracked, wanted, "{before:?}");
    }
    let other =
        before.iter().zip(&wanted).filter(|(row, wanted)| row.1.tracked != **wanted).count();
    assert_eq!(changed, u64::try_from(other).unwrap());
    let again = node.replica().write("test", durability, work).await.unwrap();
    assert_eq!(again, 0, "each is met once");
}

/// A table that is left alone would bring the future back once it is followed again.
#[tokio::test(flavor = "multi_thread")]
async fn stamps_are_set_back_in_tables_that_are_left_alone_too_or_nowhere() {
    let scene = Scene::on(shared().unwrap());
    let [here, away] = two(&scene).await;
    stamped(&scene, "stamp = AHEAD");
    here.sync().await;
    let url = scene.database.url();
    let paused = Paused {
        table: "accounts".into(),
        store: Store::Postgres,
        reason: "its type is another one".into(),
        hint: Some("put it back".into()),
    };
    let aside = move |shared: &mut Shared| shared.sqlite.aside = [paused].into();
    let part = Node::keeping_with(&url, here.path(), [users()].into(), aside).await;
    let error = part.sync.set_back().await.unwrap_err();
    assert!(error.message().contains("accounts is left alone"), "{}", error.message());
    assert_eq!(error.hint(), Some("put it back; then repeat it"));
    let future = format!(
        "SELECT count(*) FROM dual_side_accounts WHERE stamp > {}",
        ahead(&scene) / 100 * 99
    );
    assert_eq!(here.one::<i64>(&future), 4);
    // Another file has followed it all the time; this one meets the decision without the table.
    assert!(repair(&away).await);
    away.shared.pool.prepare().await.unwrap();
    let there = away.shared.pool.get().await.unwrap();
    let decided = there.primary(away.look(|content| content.node()).await.file).unwrap();
    let decided = decided.set_backs().await.unwrap();
    let work = move |content: &Content<'_>| content.set_back(&decided);
    part.replica().write("test", Durability::Full, work).await.unwrap();
    assert_eq!(here.one::<i64>(&future), 0);
}

/// Whoever has looked at a stamp of the future writes above it: he is waited for, longer than for any
/// other lock.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_while_stamps_are_set_back() {
    let scene = Scene::on(shared().unwrap());
    let [writes, _] = two(&scene).await;
    let short = |shared: &mut Shared| shared.limits.lock = Duration::from_millis(1);
    let here = Node::open(&scene.database.url(), writes.path(), short).await;
    here.sync().await;
    stamped(&scene, "s_balance = AHEAD WHERE key = 1");
    here.sync().await;
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let session = Session::open(&settings, &limits()).await.unwrap();
    session.begin("test").await.unwrap();
    let write = "UPDATE public.accounts SET balance = 10 WHERE owner = 1";
    session.batch("test", write).await.unwrap();
    let (repaired, ()) = tokio::join!(here.sync.set_back(), async {
        let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted \
                     AND relation = 'accounts'::regclass";
        until("the repair waits", async || scene.one(waits) == "1").await;
        session.commit("test").await.unwrap();
    });
    assert!(repaired.unwrap());
    here.sync().await;
    assert!(verify(&here).await.is_sound());
    scene.assert_equal(&here);
    assert_eq!(scene.one("SELECT balance FROM accounts WHERE owner = 1"), "10");
}
