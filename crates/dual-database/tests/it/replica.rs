//! What is done in the file: changes, pulls, the quarantine, the node's state; who waits for whom.

use std::sync::Arc;
use std::time::Duration;

use dual_database::merge::{Change, Register, RegisterId, Tracked, Version};
use dual_database::protocol::{Follow, Lease, Quarantined, Token};
use dual_database::schema::Key;
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::sqlite::replica::{Content, Durability, Replica, Side, Taken, is_busy};
use dual_database::value::Value;
use dual_database::{Kind, Result, Store};

use crate::capture_oracle::visits;
use crate::replica_scene::{Scene, defaults, foreign, id, note, now, pull, set_note, settings};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_captured_under_its_own_stamp() {
    let scene = Scene::new().await;
    let stamp = now();
    let change = note("a");
    scene.go(move |content| content.change(&id(1), &change, stamp)).await;
    let row = scene.row(1).await.unwrap();
    let expected = Tracked::changed(None, &note("a"), stamp, Stamp::ZERO, &defaults());
    assert_eq!(row.tracked, expected);
    assert_eq!((row.surrogate, row.unreadable), (Some(-1), None));
    assert!(row.seq > 0);

    let later = now();
    scene.go(move |content| content.change(&id(1), &set_note("b"), later)).await;
    let updated = scene.row(1).await.unwrap();
    let expected =
        Tracked::changed(Some(&expected), &set_note("b"), later, Stamp::ZERO, &defaults());
    assert_eq!(updated.tracked, expected);
    assert!(updated.seq > row.seq);

    let last = now();
    scene.go(move |content| content.change(&id(1), &Change::Delete, last)).await;
    let dead = scene.row(1).await.unwrap();
    let expected =
        Tracked::changed(Some(&expected), &Change::Delete, last, Stamp::ZERO, &defaults());
    assert_eq!((dead.tracked, dead.surrogate), (expected, None));
    // A birth over it, and a second row.
    scene.insert(1, "again").await;
    scene.insert(2, "two").await;
    assert_eq!(scene.row(2).await.unwrap().surrogate, Some(-2));
    assert_eq!(scene.note(1).await.as_deref(), Some("again"));
    let missing = scene
        .replica
        .write("test", Durability::Normal, |content| content.change(&id(99), &set_note("x"), now()))
        .await;
    assert!(missing.unwrap_err().is_not_found());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_is_what_has_changed_since_it_was_pushed() {
    let scene = Scene::new().await;
    scene.insert(1, "a").await;
    scene.outside(
        "INSERT INTO visits (visit_id, note) VALUES (2, 'b'); UPDATE visits SET guest = 5",
    );
    let (pending, count) =
        scene.go(|content| Ok((content.pending(0, false)?, content.pending_count()?))).await;
    let keys: Vec<i64> = pending.rows.iter().map(|(id, _)| id.key.number().unwrap()).collect();
    assert_eq!((keys, count), (vec![1, 2], 2));
    let upto = pending.upto;
    scene
        .go(move |content| {
            for (id, row) in &pending.rows {
                let mut tracked = row.tracked.clone();
                tracked.acknowledge(&row.tracked.version);
                content.set_tracked(id, &tracked)?;
            }
            let mut node = content.node()?;
            node.pushed = upto;
            content.set_node(&node)
        })
        .await;
    assert!(!scene.go(|content| content.is_pending()).await);
    assert!(!scene.row(1).await.unwrap().tracked.bases.any());
    // What comes from PostgreSQL is not pending; what it lacks is.
    let there = foreign("c", now());
    scene.go(move |content| pull(content, 3, &there, 30)).await;
    assert!(!scene.go(|content| content.is_pending()).await);
    assert_eq!(scene.row(3).await.unwrap().seq, 0);
    assert_eq!(scene.row(3).await.unwrap().surrogate, Some(30));
    let behind = foreign("older", Stamp::at(1_600_000_000_000, Writer::POSTGRES));
    scene.go(move |content| pull(content, 1, &behind, 31)).await;
    let pending = scene.go(|content| content.pending(0, false)).await;
    assert_eq!(pending.rows.len(), 1);
    assert_eq!(
        (pending.rows[0].0.key.number().unwrap(), pending.rows[0].1.surrogate),
        (1, Some(31))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_writes_the_row_with_its_conflicts_and_postgresqls_number() {
    let scene = Scene::new().await;
    scene.insert(1, "mine").await;
    scene.insert(2, "two").await;
    let there = foreign("theirs", now());
    let (stamp, taken) = (there.live.stamp, there.clone());
    // Row 2 has the number -2, row 1 gets it from PostgreSQL.
    scene.go(move |content| pull(content, 1, &taken, -2)).await;
    assert_eq!(scene.note(1).await.as_deref(), Some("theirs"));
    assert_eq!(scene.row(1).await.unwrap().surrogate, Some(-2));
    assert_eq!(scene.row(2).await.unwrap().surrogate, Some(-3));
    let entries = scene.go(|content| content.conflicts(10)).await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].conflict.register, RegisterId::Column(1));
    assert_eq!(entries[0].conflict.winner, stamp);
    assert_eq!(entries[0].winning.as_deref(), Some("theirs"));
    assert_eq!(entries[0].losing.as_deref(), Some("mine"));
    // Again: a no-op.
    let before = scene.row(1).await;
    scene.go(move |content| pull(content, 1, &there, -2)).await;
    assert_eq!(scene.row(1).await, before);
    let unsent = scene.go(|content| content.unsent_conflicts()).await;
    assert_eq!(unsent.len(), 1);
    let number = unsent[0].0;
    scene.go(move |content| content.conflicts_sent(&[number])).await;
    assert!(scene.go(|content| content.unsent_conflicts()).await.is_empty());
    assert_eq!(scene.go(|content| content.review_conflicts()).await, 1);
    assert_eq!(scene.go(|content| content.unreviewed_conflicts()).await, 0);
    // The loser is the one that comes.
    scene.insert(5, "stays").await;
    let low = foreign("loses", Stamp::at(1_600_000_000_000, Writer::POSTGRES));
    scene.go(move |content| pull(content, 5, &low, 50)).await;
    let entries = scene.go(|content| content.conflicts(1)).await;
    assert_eq!(entries[0].winning.as_deref(), Some("stays"));
    assert_eq!(entries[0].losing.as_deref(), Some("loses"));
    // A delete from there.
    let dead = Version { live: Register { value: false, stamp: now() }, columns: Vec::new() }
        .stored(&defaults());
    scene.go(move |content| pull(content, 5, &dead, 0)).await;
    assert_eq!(scene.note(5).await, None);
    let entries = scene.go(|content| content.conflicts(10)).await;
    let about = entries.iter().find(|entry| entry.losing.as_deref() == Some("stays")).unwrap();
    assert_eq!(about.winning, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_table_refuses_is_set_aside_and_the_rest_goes_on() {
    let scene = Scene::new().await;
    scene.outside("CREATE UNIQUE INDEX one_guest ON visits (guest)");
    let guest = |number: i64| {
        let values = vec![Value::Int(number), Value::Null, Value::Bool(false), Value::Null];
        dual_database::merge::written(
            None,
            &Change::Insert(values),
            now(),
            Stamp::ZERO,
            &defaults(),
        )
    };
    let (first, second) = (guest(7), guest(7));
    let taken = scene
        .go(move |content| Ok([pull(content, 1, &first, 1)?, pull(content, 2, &second, 2)?]))
        .await;
    assert_eq!(taken, [Taken::Done, Taken::Refused]);
    assert!(scene.row(2).await.is_none());
    let aside = scene.go(|content| content.quarantine()).await;
    assert_eq!((aside.len(), aside[0].id.clone(), aside[0].refused_by), (1, id(2), Side::Sqlite));
    assert_eq!(aside[0].code, "2067");
    assert!(aside[0].reason.contains("visits.guest"), "{}", aside[0].reason);
    // It is taken once it can be.
    let third = guest(8);
    let taken = scene.go(move |content| pull(content, 2, &third, 2)).await;
    assert_eq!(taken, Taken::Done);
    assert!(scene.go(|content| content.quarantine()).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn quarantined_rows_come_when_they_are_due() {
    let scene = Scene::new().await;
    scene.insert(1, "a").await;
    scene.insert(2, "b").await;
    let aside = |key, retry_ms| Quarantined {
        id: id(key),
        refused_by: Side::Postgres,
        code: "23514".into(),
        reason: "a rule".into(),
        since_ms: 5,
        retry_ms,
    };
    let (one, two) = (aside(1, 1_000), aside(2, 2_000));
    scene
        .go(move |content| {
            content.set_aside(&one)?;
            content.set_aside(&two)?;
            let mut node = content.node()?;
            node.pushed = node.seq;
            content.set_node(&node)
        })
        .await;
    let due = async |now, all| -> Vec<i64> {
        let pending = scene.go(move |content| content.pending(now, all)).await;
        pending.rows.iter().map(|(id, _)| id.key.number().unwrap()).collect()
    };
    assert!(due(999, false).await.is_empty());
    assert_eq!(due(1_000, false).await, [1]);
    assert_eq!(due(0, true).await, [1, 2]);
    scene.go(|content| content.release(&id(1), Side::Postgres)).await;
    assert_eq!(due(0, false).await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_carried_is_said() {
    let scene = Scene::new().await;
    scene.outside("INSERT INTO visits (visit_id, note, guest) VALUES (1, 'a', 'no number')");
    let row = scene.row(1).await.unwrap();
    assert_eq!(row.unreadable, Some(0));
    assert_eq!(row.tracked.version.columns[0].value, Value::Null);
    // A change of another column leaves it alone, one of this column mends it.
    let stamp = now();
    scene.go(move |content| content.change(&id(1), &set_note("b"), stamp)).await;
    let changed = scene.row(1).await.unwrap();
    assert_eq!((changed.unreadable, changed.tracked.version.stamp_of(1)), (Some(0), stamp));
    assert_eq!(changed.tracked.version.stamp_of(0), row.tracked.version.stamp_of(0));
    let mend = Change::Update(vec![(0, Value::Null)]);
    scene.go(move |content| content.change(&id(1), &mend, now())).await;
    assert_eq!(scene.row(1).await.unwrap().unreadable, None);
    // A row that was taken away past the triggers is not deleted.
    scene.outside("DROP TRIGGER dual_visits_deleted; DELETE FROM visits");
    assert!(scene.row(1).await.unwrap().tracked.version.is_absent());
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_purges_and_forgetting() {
    let scene = Scene::new().await;
    for key in 1..=9 {
        scene.insert(key, "a").await;
    }
    let range = async |after: Option<i64>, upto: Option<i64>, limit| -> Vec<i64> {
        let (after, upto) = (after.map(Key::from), upto.map(Key::from));
        let read =
            move |content: &Content<'_>| content.range(0, after.as_ref(), upto.as_ref(), limit);
        let (rows, _) = scene.replica.read("test", read).await.unwrap();
        rows.iter().map(|(id, _)| id.key.number().unwrap()).collect()
    };
    assert_eq!(range(None, None, 3).await, [1, 2, 3]);
    assert_eq!(range(Some(3), Some(6), 10).await, [4, 5, 6]);
    let (one, two) = (now(), now());
    scene
        .go(move |content| {
            content.change(&id(1), &Change::Delete, one)?;
            content.change(&id(2), &Change::Delete, two)?;
            let mut settled = content.row(&id(1))?.unwrap().tracked;
            settled.acknowledge(&settled.version.clone());
            content.set_tracked(&id(1), &settled)
        })
        .await;
    // Only what nobody has to hear of any more.
    assert_eq!(scene.go(move |content| content.purge(one)).await, 0);
    let above = now();
    assert_eq!(scene.go(move |content| content.purge(above)).await, 1);
    assert_eq!(range(None, None, 2).await, [2, 3]);
    assert_eq!(scene.go(|content| content.node()).await.horizon, above);
    scene.go(|content| content.forget(&id(3))).await;
    assert_eq!(range(None, None, 2).await, [2, 4]);
    assert_eq!(scene.note(3).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_and_the_numbers_are_kept() {
    let scene = Scene::new().await;
    scene.outside("UPDATE dual_state SET seq = 4");
    let node = scene
        .go(|content| {
            let mut node = content.node()?;
            assert_eq!((&node.follow, node.installation), (&Follow::new(), None));
            node.installation = Some(u128::MAX);
            node.pushed = 4;
            node.tokens = node.tokens.propose(None, Token(u128::MAX - 1));
            node.lease = Lease::take(None, 7, 1_000);
            node.exchanged_ms = Some(5);
            node.horizon = now();
            content.set_node(&node)?;
            Ok(node)
        })
        .await;
    assert_eq!(scene.go(|content| content.node()).await, node);
    let own = scene.replica.process_number();
    let numbers = scene.go(|content| content.numbers()).await;
    assert_eq!(numbers, [node.number, own]);
    // A second process, and one that takes the slot of a first.
    let again = settings(&scene.path, vec![visits()]);
    let other = Replica::open(again.clone()).await.unwrap();
    assert_ne!(other.process_number(), own);
    let given_back = other.process_number();
    drop(other);
    let third = Replica::open(again.clone()).await.unwrap();
    assert_eq!(third.process_number(), given_back);
    // Another number, and a stop so long that somebody has taken it.
    let free = Writer::new(if own.number() == 1 { 2 } else { 1 }).unwrap();
    scene.go(move |content| content.replace_number(own, free)).await;
    assert_eq!(scene.replica.heartbeat().await.unwrap(), free);
    scene.outside("UPDATE dual_writer SET heartbeat = heartbeat - 61000");
    let fourth = Replica::open(again).await.unwrap();
    let taken = fourth.process_number();
    assert!(taken == free || taken == given_back);
    scene.replica.heartbeat().await.unwrap();
    third.heartbeat().await.unwrap();
    let mut all = [&scene.replica, &third, &fourth].map(|r| r.process_number().number());
    all.sort_unstable();
    assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");

    scene.go(|content| content.new_identity(uuid::Uuid::nil(), Writer::new(77).unwrap())).await;
    let renamed = scene.go(|content| content.node()).await;
    assert_eq!((renamed.file, renamed.number.number()), (uuid::Uuid::nil(), 77));
    scene.outside("UPDATE dual_node SET follow = 'x'");
    let broken = scene.replica.read("test", |content| content.node()).await.unwrap_err();
    assert_eq!(broken.kind(), Kind::Schema(Store::Sqlite));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_caller_fails_alone_and_a_panic_harms_nobody() {
    let scene = Arc::new(Scene::new().await);
    let calls = (0..100i64).map(|key| {
        let scene = Arc::clone(&scene);
        tokio::spawn(async move {
            let durability = if key % 2 == 0 { Durability::Full } else { Durability::Normal };
            scene
                .replica
                .write("test", durability, move |content| {
                    content.change(&id(key), &note("a"), now())?;
                    if key == 7 {
                        panic!("a defect of the caller");
                    }
                    match key % 10 {
                        3 => content.change(&id(1_000), &set_note("x"), now()),
                        _ => Ok(()),
                    }
                })
                .await
        })
    });
    let calls: Vec<_> = calls.collect();
    for (key, call) in calls.into_iter().enumerate() {
        let result = call.await.unwrap();
        assert_eq!(result.is_ok(), key % 10 != 3 && key != 7, "{key}: {result:?}");
        let there = scene.row(i64::try_from(key).unwrap()).await.is_some();
        assert_eq!(there, result.is_ok(), "{key}");
    }
    let panicked = scene.replica.read("test", |_| -> Result<()> { panic!("another") }).await;
    assert_eq!(panicked.unwrap_err().kind(), Kind::Internal);
    assert!(scene.row(1).await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_about_other_tables_do_not_hide_what_is_to_be_sent() {
    let scene = Scene::new().await;
    scene.outside(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
         INSERT INTO dual_conflict (name, key, register, winner, loser, noted, reviewed, sent)
         SELECT CASE WHEN i IN (1, 1500) THEN 'visits' ELSE 'gone' END, i, 'note', 2, 1, 0, 0, 0
         FROM n",
    );
    let (unsent, newest) =
        scene.go(|content| Ok((content.unsent_conflicts()?, content.conflicts(2)?))).await;
    assert_eq!(unsent.iter().map(|(_, entry)| entry.id.key.clone()).collect::<Vec<_>>(), [1, 1500]);
    assert_eq!(newest.iter().map(|entry| entry.id.key.clone()).collect::<Vec<_>>(), [1500, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_read_delays_nobody_and_ends_when_nobody_waits_for_it() {
    let scene = Scene::new().await;
    scene.insert(1, "a").await;
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let list = scene.replica.read_long("test", move |_| {
        begun.send(()).unwrap();
        ends.recv().unwrap();
        Ok(())
    });
    let beside = async {
        tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
        let seen = scene.note(1).await;
        end.send(()).unwrap();
        seen
    };
    let (listed, seen) = tokio::join!(list, beside);
    listed.unwrap();
    assert_eq!(seen.as_deref(), Some("a"));

    // Nothing else would ever end this one.
    let endless = |content: &Content<'_>| {
        let sql =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
        Ok(content.connection().query_row(sql, [], |row| row.get::<_, i64>(0)).is_ok())
    };
    for _ in 0..2 {
        let read = scene.replica.read_long("test", endless);
        assert!(tokio::time::timeout(Duration::from_millis(100), read).await.is_err());
        let read = scene.replica.read("test", endless);
        assert!(tokio::time::timeout(Duration::from_millis(100), read).await.is_err());
    }
    assert_eq!(scene.note(1).await.as_deref(), Some("a"));
    scene.replica.read_long("test", |content| content.node()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_little_waits_for_a_large_transaction_no_longer_than_told() {
    let scene = Scene::new().await;
    let (begun, has_begun) = std::sync::mpsc::channel();
    let (end, ends) = std::sync::mpsc::channel::<()>();
    let large = scene.replica.write_many("test", Durability::Normal, move |_| {
        begun.send(()).unwrap();
        ends.recv().unwrap();
        Ok(())
    });
    let insert = |key| move |content: &Content<'_>| content.change(&id(key), &note("a"), now());
    let beside = async {
        tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
        let within = Duration::from_millis(50);
        let given_up =
            scene.replica.write_within("test", Durability::Full, within, insert(1)).await;
        // This one has the time.
        let waits = scene.replica.write_within("test", Durability::Full, PATIENCE, insert(2));
        let ended = async { end.send(()).unwrap() };
        (given_up, tokio::join!(waits, ended).0)
    };
    let (large, (given_up, waited)) = tokio::join!(large, beside);
    large.unwrap();
    let error = given_up.unwrap_err();
    assert!(error.is_unavailable() && is_busy(&error), "{error}");
    waited.unwrap();
    // What was given up is not done afterwards.
    assert!(scene.row(1).await.is_none());
    assert_eq!(scene.note(2).await.as_deref(), Some("a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_rows_leave_the_quarantine_at_a_cost_that_is_theirs() {
    const ROWS: i64 = 2_000;
    let scene = Scene::new().await;
    let entry = |key| Quarantined {
        id: id(key),
        refused_by: Side::Postgres,
        code: "23514".into(),
        reason: "no".into(),
        since_ms: 1,
        retry_ms: i64::MAX,
    };
    scene.go(move |content| (0..ROWS).try_for_each(|key| content.set_aside(&entry(key)))).await;
    let changed = scene
        .go(|content| {
            let before = content.connection().total_changes();
            (0..ROWS).step_by(2).try_for_each(|key| content.release(&id(key), Side::Postgres))?;
            Ok(content.connection().total_changes() - before)
        })
        .await;
    // Each goes, and each that stays becomes due, once.
    assert!(changed <= 2 * ROWS as u64, "{changed}");
    let pending = scene.go(|content| content.quarantine()).await;
    assert_eq!(pending.len() as i64, ROWS / 2);
    assert!(pending.iter().all(|entry| entry.retry_ms == 0));
    // Nothing is read that is not asked for.
    let plan = scene
        .go(|content| {
            let sql = "EXPLAIN QUERY PLAN SELECT key FROM dual_quarantine \
                       WHERE name = 'visits' AND refused_by = 'postgres' AND retry <= 7";
            let plan = content.connection().query_row(sql, [], |row| row.get::<_, String>(3));
            Ok(plan.unwrap())
        })
        .await;
    assert!(
        plan.contains("COVERING INDEX dual_quarantine_due") && plan.contains("retry<?"),
        "{plan}"
    );
}
