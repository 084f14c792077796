//! The feed, ranges, digests, purges and the conflict log on real servers.

use std::time::{Duration, Instant};

use dual_database::merge::{Conflict, RegisterId};
use dual_database::protocol::ConflictEntry;
use dual_database::schema::{Key, RowId, users};
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::postgres::Limits;
use dual_database::store::postgres::capture::Drift;
use dual_database::store::postgres::primary::{Poll, Primary, PurgePosition};
use dual_database::value::{RangeHasher, Value};
use proptest::prelude::*;
use throwaway_postgres::{Server, Version, shared, shared_with};

use crate::capture_oracle::visits;
use crate::primary_scene::{FILE, OLDEST_AND_NEWEST, Scene, client, state, tables, text};

fn keys(poll: &Poll) -> Vec<(i64, bool)> {
    let mut keys: Vec<_> = poll
        .rows
        .iter()
        .map(|row| (row.id.key.number().unwrap(), row.version.live.value))
        .collect();
    keys.sort_unstable();
    keys
}

async fn follows(server: &'static Server) {
    let mut all = tables();
    all.push(visits());
    let scene = Scene::on(server, all).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    scene.sql("INSERT INTO users (user_id, first_name) VALUES (1, 'Анна'), (2, 'Bob')");
    scene.sql(
        "INSERT INTO visits (visit_id, \"at \"\"now\"\"\") VALUES (1, '2025-08-07 09:00:01.5')",
    );
    scene.sql("INSERT INTO \"it's \"\"awkward\"\" {k}{t} $dual$\" (own, moment) VALUES (-5, 'x')");
    let cursor = "1:1:".parse().unwrap();
    let first = primary.poll(&cursor, &[]).await.unwrap();
    assert_eq!(keys(&first), [(-5, true), (1, true), (1, true), (2, true)]);
    assert_eq!(first.drift, []);
    let anna = first.rows.iter().find(|row| row.id == RowId::new(0, 1)).unwrap();
    assert_eq!(anna.surrogate, Some(1));
    let at = |name: &str| users().data_columns().position(|c| *c.name == *name).unwrap();
    assert_eq!(anna.version.columns[at("first_name")].value, text("Анна"));
    assert_eq!(anna.version.columns[at("status")].value, text("registered"));
    assert_eq!(anna.version.stamp_of(at("status")), Stamp::ZERO);
    assert_eq!(anna.version.stamp_of(at("first_name")), anna.version.live.stamp);
    let visit = first.rows.iter().find(|row| row.id.table == 2).unwrap();
    assert!(
        matches!(visit.version.columns[3].value, Value::Timestamp(at) if at.subsec_nanosecond() == 500_000_000)
    );
    assert_eq!(visit.version.columns[2].value, Value::Bool(false));

    // Nothing new, however often; and what is asked for by key.
    let cursor = first.header.snapshot.clone();
    assert_eq!(keys(&primary.poll(&cursor, &[]).await.unwrap()), []);
    let also = [RowId::new(0, 2), RowId::new(0, 99)];
    assert_eq!(keys(&primary.poll(&cursor, &also).await.unwrap()), [(2, true)]);

    scene.sql("DELETE FROM users WHERE user_id = 1");
    scene.sql("UPDATE users SET first_name = 'Боб' WHERE user_id = 2");
    let also = [RowId::new(0, 2)];
    let second = primary.poll(&cursor, &also).await.unwrap();
    assert_eq!(keys(&second), [(1, false), (2, true)]);
    let dead = second.rows.iter().find(|row| row.id.key == 1).unwrap();
    assert_eq!(dead.version.columns[at("status")].value, text("registered"));
    assert_eq!((dead.surrogate, dead.version.highest()), (None, dead.version.live.stamp));
    assert!(second.header.snapshot.follows(&cursor));

    // What cannot be carried is said, and the rest of the row with it.
    scene.sql("UPDATE users SET register_date = 'infinity', source = 's' WHERE user_id = 2");
    let third = primary.poll(&second.header.snapshot, &[]).await.unwrap();
    assert_eq!(third.rows[0].unreadable, Some(at("register_date")));
    assert_eq!(third.rows[0].version.columns[at("register_date")].value, Value::Null);
    assert_eq!(third.rows[0].version.columns[at("source")].value, text("s"));
    // A row that somebody has removed past the triggers does not pass for one of NULLs.
    scene.sql(
        "ALTER TABLE users DISABLE TRIGGER USER; DELETE FROM users WHERE user_id = 2;
         ALTER TABLE users ENABLE TRIGGER USER",
    );
    let again = primary.poll(&second.header.snapshot, &[]).await.unwrap();
    assert_eq!((keys(&again), again.drift), (vec![], vec![(0, Drift::Triggers)]));
    let taken = state(&primary, 0).await.remove(&2).unwrap();
    assert!(taken.version.is_absent());
    assert_eq!((taken.unreadable, taken.surrogate), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_reads_what_is_new_and_what_is_asked_for() {
    follows(shared().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_reads_the_same_on_12_and_18() {
    for version in OLDEST_AND_NEWEST {
        follows(shared_with(&Version::exact(version)).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_names_the_table_that_has_drifted_and_reads_the_others() {
    let scene = Scene::on(shared().unwrap(), vec![users(), visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    scene.sql("INSERT INTO users (user_id) VALUES (1); INSERT INTO visits (visit_id) VALUES (2)");
    let cursor = "1:1:".parse().unwrap();
    let look = async || {
        let poll = primary.poll(&cursor, &[]).await.unwrap();
        (keys(&poll), poll.drift)
    };
    assert_eq!(look().await, (vec![(1, true), (2, true)], vec![]));
    scene.sql("ALTER TABLE visits ADD COLUMN mood text");
    assert_eq!(look().await, (vec![(1, true)], vec![(1, Drift::Columns)]));
    // Not even a column that is gone stops the rest.
    scene.sql("ALTER TABLE visits DROP COLUMN note");
    assert_eq!(look().await, (vec![(1, true)], vec![(1, Drift::Columns)]));
    scene.sql("DROP TRIGGER dual_inserted ON visits");
    assert_eq!(look().await, (vec![(1, true)], vec![(1, Drift::Triggers)]));
    scene.sql("DELETE FROM dual.tracked WHERE name = 'visits'");
    assert_eq!(look().await, (vec![(1, true)], vec![(1, Drift::Absent)]));
    assert!(!session.in_transaction());
}

/// `open_transaction_scan.py`, and the transaction that commits after a thousand others.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_hides_nothing_and_delays_nothing() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    // However long the others take, no limit of ours ends it.
    let mut open = client(&scene.database).await;
    open.set_limits(Limits { statement: Duration::ZERO, ..Limits::default() });
    open.begin("begin").await.unwrap();
    open.batch("write", "INSERT INTO public.visits (visit_id) VALUES (-1)").await.unwrap();
    let many: String = (0..200)
        .map(|n| format!("INSERT INTO visits (visit_id) SELECT {n} * 100 + i FROM generate_series(0, 99) AS i;"))
        .collect();
    for part in many.split_inclusive(';') {
        scene.sql(part);
    }
    let first = primary.poll(&"1:1:".parse().unwrap(), &[]).await.unwrap();
    assert_eq!(first.rows.len(), 20_000);
    // What lies above the open one's id has been read: it does not come again.
    let cursor = first.header.snapshot;
    assert!(!cursor.in_progress().is_empty());
    scene.sql("UPDATE visits SET note = 'x' WHERE visit_id = 5");
    let second = primary.poll(&cursor, &[]).await.unwrap();
    assert_eq!(keys(&second), [(5, true)]);
    for _ in 0..20 {
        let poll = primary.poll(&second.header.snapshot, &[]).await.unwrap();
        assert_eq!(keys(&poll), []);
    }
    // A server counts for certain what a session has read when that has ended. The first poll has read
    // everything, the others nothing to speak of.
    drop(session);
    scene.pool.clear();
    let read = "SELECT idx_scan || ' ' || idx_tup_read FROM pg_stat_user_indexes \
         WHERE indexrelname = 'side_visits_txid'";
    let ended = Instant::now();
    let tuples = loop {
        let counted = scene.one(read);
        let (scans, tuples) = counted.split_once(' ').unwrap();
        let (scans, tuples): (u64, u64) = (scans.parse().unwrap(), tuples.parse().unwrap());
        if scans >= 22 {
            break tuples;
        }
        assert!(ended.elapsed() < Duration::from_secs(90), "{scans} scans were counted");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(tuples < 2 * 20_000, "{tuples} rows of the sidecar were read");
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    open.commit("commit").await.unwrap();
    let last = primary.poll(&second.header.snapshot, &[]).await.unwrap();
    assert_eq!(keys(&last), [(-1, true)]);
    assert_eq!(keys(&primary.poll(&last.header.snapshot, &[]).await.unwrap()), []);
}

/// `truncate_mvcc.py`: a snapshot that is older than a TRUNCATE sees the sidecar as it was and
/// no rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_is_never_seen_by_half() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    scene.sql("INSERT INTO visits (visit_id) VALUES (1), (2)");
    let other = client(&scene.database).await;
    other.begin("begin").await.unwrap();
    other.batch("write", "TRUNCATE public.visits").await.unwrap();
    let cursor = "1:1:".parse().unwrap();
    let (poll, range, ()) = tokio::join!(
        primary.poll(&cursor, &[]),
        async {
            let session = scene.session().await;
            session.primary(FILE).unwrap().range(0, None, 10).await
        },
        async {
            let waits = "SELECT count(*) FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database \
                         WHERE NOT granted AND datname = current_database()";
            while scene.one(waits) != "2" {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            other.batch("write", "INSERT INTO public.visits (visit_id) VALUES (9)").await.unwrap();
            other.commit("commit").await.unwrap();
        }
    );
    assert_eq!(keys(&poll.unwrap()), [(1, false), (2, false), (9, true)]);
    let rows = range.unwrap().rows;
    assert!(rows.iter().all(|row| row.unreadable.is_none()));
    assert_eq!(rows.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_that_has_to_wait_too_long_says_so_and_leaves_the_session_usable() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let mut session = client(&scene.database).await;
    session.set_limits(Limits { lock: Duration::from_millis(50), ..Limits::default() });
    let primary = Primary { session: &session, tables: &scene.tables, file: FILE };
    let other = client(&scene.database).await;
    other.begin("begin").await.unwrap();
    other.batch("write", "LOCK TABLE public.visits IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let error = primary.poll(&"1:1:".parse().unwrap(), &[]).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    other.rollback("end").await.unwrap();
    assert_eq!(keys(&primary.poll(&"1:1:".parse().unwrap(), &[]).await.unwrap()), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_go_through_every_key_once() {
    let scene = Scene::on(shared().unwrap(), tables()).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let own = "\"it's \"\"awkward\"\" {k}{t} $dual$\"";
    scene.sql(&format!(
        "INSERT INTO {own} (own) SELECT i FROM generate_series(-50, 49) AS i;
         INSERT INTO {own} (own) VALUES ({}), ({}); DELETE FROM {own} WHERE own = 7",
        i64::MIN,
        i64::MAX
    ));
    let (mut after, mut found): (_, Vec<Key>) = (None, Vec::new());
    loop {
        let range = primary.range(1, after.as_ref(), 9).await.unwrap();
        found.extend(range.rows.iter().map(|row| row.id.key.clone()));
        if range.rows.len() < 9 {
            break;
        }
        after = found.last().cloned();
    }
    let mut all: Vec<i64> = (-50..50).chain([i64::MIN, i64::MAX]).collect();
    all.sort_unstable();
    assert_eq!(found, all);
    assert_eq!(primary.range(1, Some(&i64::MAX.into()), 9).await.unwrap().rows, []);
    assert!(!state(&primary, 1).await[&7].version.live.value);
    assert!(primary.range(5, None, 1).await.is_err());
}

/// The server and the program have to produce the same bytes.
async fn digests(server: &'static Server) {
    let scene = Scene::on(server, vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    scene.sql(
        "INSERT INTO visits (visit_id, guest, note, paid, \"at \"\"now\"\"\") VALUES
           (-3, 9223372036854775807, '', true, '0001-01-01'),
           (1, NULL, 'Ёж |:- 日本', NULL, '9999-12-31 23:59:59.999999'),
           (2, 0, NULL, false, '2025-08-07 09:00:01'),
           (3, -1, 'x', true, '2025-08-07 09:00:01.5'),
           (4, 5, E'a\\nb', true, NULL); DELETE FROM visits WHERE visit_id = 3",
    );
    let hashed = async |after: Option<i64>, upto: Option<i64>| {
        let mut hasher = RangeHasher::default();
        for (key, row) in state(&primary, 0).await {
            let inside = after.is_none_or(|a| key > a) && upto.is_none_or(|u| key <= u);
            if row.version.live.value && inside {
                let mut values = vec![Value::Int(row.surrogate.unwrap()), Value::Int(key)];
                values.extend(row.version.columns.iter().map(|column| column.value.clone()));
                hasher.row(&values);
            }
        }
        hasher.finish()
    };
    for (after, upto) in
        [(None, None), (Some(1), None), (None, Some(1)), (Some(1), Some(2)), (Some(9), None)]
    {
        let (above, end) = (after.map(Key::from), upto.map(Key::from));
        let there = primary.range_digest(0, above.as_ref(), end.as_ref()).await.unwrap();
        assert_eq!(there, hashed(after, upto).await, "{after:?} {upto:?}");
    }
    let before = primary.range_digest(0, None, None).await.unwrap();
    assert_eq!(before.rows, 4);
    // Dates that only the server has: never equal to one that both can have.
    for date in ["infinity", "-infinity", "0044-03-15 BC", "10000-01-01"] {
        scene.sql(&format!("UPDATE visits SET \"at \"\"now\"\"\" = '{date}' WHERE visit_id = 4"));
        let there = primary.range_digest(0, Some(&2.into()), None).await.unwrap();
        assert_ne!(there, hashed(Some(2), None).await, "{date}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_are_made_of_the_documented_bytes() {
    digests(shared().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_are_the_same_on_12_and_18() {
    for version in OLDEST_AND_NEWEST {
        digests(shared_with(&Version::exact(version)).unwrap()).await;
    }
}

#[test]
fn any_text_and_any_instant_have_the_same_digest_on_both_sides() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scene = runtime.block_on(Scene::on(shared().unwrap(), vec![visits()]));
    let session = runtime.block_on(scene.session());
    let primary = session.primary(FILE).unwrap();
    let micros = -62_135_596_800_000_000_i64..253_402_300_800_000_000;
    let config = ProptestConfig::with_cases(64);
    proptest!(config, |(note in "[^\0]{0,20}", micros in micros, guest in any::<i64>())| {
        let instant = jiff::Timestamp::from_microsecond(micros).unwrap();
        let instant = jiff::tz::Offset::UTC.to_datetime(instant);
        let quoted = note.replace('\'', "''");
        let at = dual_database::value::timestamp_text(instant);
        scene.sql(&format!(
            "TRUNCATE visits RESTART IDENTITY; INSERT INTO visits (visit_id, guest, note, \"at \"\"now\"\"\") \
             VALUES (1, {guest}, '{quoted}', '{at}')"
        ));
        let mut hasher = RangeHasher::default();
        hasher.row(&[
            Value::Int(1), Value::Int(1), Value::Int(guest), text(&note), Value::Bool(false),
            Value::Timestamp(instant),
        ]);
        let there = runtime.block_on(primary.range_digest(0, None, None)).unwrap();
        prop_assert_eq!(there, hasher.finish());
    });
}

/// Purges until that many are gone: transactions of other tests on the server hold it up.
async fn purged(primary: &Primary<'_>, horizon: Stamp, count: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut gone = 0;
    while gone < count {
        assert!(Instant::now() < deadline, "{gone} of {count}");
        gone += purge(primary, horizon).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(gone, count);
}

/// One purge from the beginning to the end, a range at a time.
async fn purge(primary: &Primary<'_>, horizon: Stamp) -> u64 {
    let (mut gone, mut mark) = (0, Some(PurgePosition::default()));
    while let Some(from) = mark {
        let part = primary.purge(horizon, from, Duration::ZERO).await.unwrap();
        (gone, mark) = (gone + part.0, part.1);
    }
    gone
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_of_any_size_goes_range_by_range() {
    let scene = Scene::on(shared().unwrap(), vec![users(), visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    // Dead and alive, more than one statement looks at, and more than one transaction takes.
    scene.sql(
        "INSERT INTO dual.side_visits (key, live, stamp, txid) \
         SELECT n, n % 3 = 0, 5, 0 FROM generate_series(-60000, 59999) AS n; \
         INSERT INTO dual.side_users (key, live, stamp, txid) VALUES (1, false, 5, 0)",
    );
    let horizon = Stamp::from_raw(6).unwrap();
    let (first, mark) =
        primary.purge(horizon, PurgePosition::default(), Duration::ZERO).await.unwrap();
    assert!(first == 1 && mark.is_some(), "the first table has nothing more: {first}");
    let (second, mark) = primary.purge(horizon, mark.unwrap(), Duration::ZERO).await.unwrap();
    assert!((33_000..=33_400).contains(&second) && mark.is_some(), "{second}");
    assert_eq!(purge(&primary, horizon).await + second, 80_000);
    assert_eq!(scene.one("SELECT count(*) FROM dual.side_visits WHERE NOT live"), "0");
    assert_eq!(purge(&primary, horizon).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_what_everybody_has_passed_and_says_so() {
    let scene = Scene::on(shared().unwrap(), vec![users(), visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    scene.sql("INSERT INTO visits (visit_id) VALUES (1), (2), (3), (4); DELETE FROM visits WHERE visit_id < 3");
    let header = primary.header().await.unwrap();
    let horizon = Stamp::at(header.now_ms + 1, Writer::POSTGRES);
    let open = client(&scene.database).await;
    open.begin("begin").await.unwrap();
    // It has an id: whatever has one above it is not passed yet.
    open.batch("write", "SELECT txid_current()").await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    scene.sql("DELETE FROM visits WHERE visit_id = 3");
    let horizon_2 = Stamp::at(primary.header().await.unwrap().now_ms + 1, Writer::POSTGRES);
    assert_eq!(purge(&primary, Stamp::ADOPTED_POSTGRES).await, 0);
    assert_eq!(primary.header().await.unwrap().horizon, Stamp::ZERO, "nothing has happened");
    purged(&primary, horizon, 2).await;
    let after = primary.header().await.unwrap();
    assert_eq!(after.horizon, horizon);
    assert!(!header.snapshot.is_new(after.purged.unwrap()));
    assert_eq!(purge(&primary, horizon_2).await, 0, "not while it can be in progress");
    open.rollback("end").await.unwrap();
    purged(&primary, horizon_2, 1).await;
    let last = primary.header().await.unwrap();
    assert!(last.purged > after.purged && last.horizon == horizon_2);
    let left = state(&primary, 1).await;
    assert_eq!(left.keys().copied().collect::<Vec<_>>(), [4]);
    // A lower horizon later does not lower it.
    scene.sql("DELETE FROM visits WHERE visit_id = 4; UPDATE dual.side_visits SET stamp = 5");
    purged(&primary, Stamp::from_raw(6).unwrap(), 1).await;
    assert_eq!(primary.header().await.unwrap().horizon, horizon_2);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_of_another_history_are_forgotten() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    scene.sql("INSERT INTO visits (visit_id) VALUES (1), (2)");
    primary.forget_future_ids().await.unwrap();
    let before = state(&primary, 0).await;
    scene.sql(
        "UPDATE dual.side_visits SET txid = 1000000000000 WHERE key = 1;
         UPDATE dual.installation SET purged = 1000000000001",
    );
    primary.forget_future_ids().await.unwrap();
    let after = state(&primary, 0).await;
    assert_eq!((after[&1].txid, after[&2].txid), (0, before[&2].txid));
    assert_eq!(primary.header().await.unwrap().purged, None);
    scene.sql("UPDATE dual.installation SET purged = 5");
    primary.forget_future_ids().await.unwrap();
    assert_eq!(primary.header().await.unwrap().purged, Some(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_conflict_log_takes_an_entry_once() {
    let scene = Scene::on(shared().unwrap(), vec![users(), visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let at = |ms: i64| Stamp::at(1_700_000_000_000 + ms, Writer::new(3).unwrap());
    let entry = |key: i64, register, noted_ms| ConflictEntry {
        id: RowId::new(1, key),
        conflict: Conflict { register, winner: at(2), loser: at(1) },
        winning: None,
        losing: Some("it's \"so\"".into()),
        noted_ms,
        reviewed: false,
    };
    let entries = [
        entry(1, RegisterId::Live, 1_700_000_000_123),
        entry(1, RegisterId::Column(1), 1_700_000_000_124),
    ];
    primary.add_conflicts(&entries).await.unwrap();
    let changed = entry(1, RegisterId::Live, 5);
    primary.add_conflicts(&[changed, entry(2, RegisterId::Live, 7)]).await.unwrap();
    let logged = primary.conflicts(10).await.unwrap();
    let mut expected = vec![entry(2, RegisterId::Live, 7)];
    expected.extend(entries.into_iter().rev());
    assert_eq!(logged, expected);
    assert_eq!(primary.conflicts(1).await.unwrap().len(), 1);
    assert_eq!(primary.unreviewed_count().await.unwrap(), 3);
    assert_eq!(primary.review_all().await.unwrap(), 3);
    assert_eq!(primary.unreviewed_count().await.unwrap(), 0);
    assert!(primary.conflicts(10).await.unwrap().iter().all(|entry| entry.reviewed));
    // About a column that is not declared any more: left out.
    scene.sql("UPDATE dual.conflict SET register = 'gone' WHERE key = 2");
    assert_eq!(primary.conflicts(10).await.unwrap().len(), 2);
}
