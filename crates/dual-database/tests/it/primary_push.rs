//! Pushes on real servers: what is merged, what others do meanwhile, what the feed tells of it.

use std::time::Duration;

use dual_database::merge::{Change, Conflict, RegisterId, Tracked};
use dual_database::schema::{Column, LogicalType, RowId, users};
use dual_database::store::postgres::primary::{Primary, PushEnd};
use dual_database::store::postgres::{Limits, is_retryable};
use dual_database::value::Value;
use throwaway_postgres::{Server, shared, shared_with};

use crate::capture_oracle::visits;
use crate::primary_scene::{
    FILE, File, OLDEST_AND_NEWEST, Scene, client, id, push, refused, settled, state, text,
};

async fn merges(server: &'static Server) {
    let scene = Scene::on(server, vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let born = file.visit(Some("hello"), 1);
    let pushed = push(&primary, &[(id(2), file.visit(None, 2)), (id(1), born.clone())]).await;
    assert!(pushed.refused.is_empty() && pushed.gone.is_empty() && pushed.conflicts.is_empty());
    assert_eq!(pushed.surrogates, [(id(1), 1), (id(2), 2)]);
    let rows = state(&primary, 0).await;
    assert_eq!(rows[&1].version, born.version);
    assert_eq!(rows[&2].version, file.visit(None, 2).version);

    // Again, its answer was lost: nothing is touched.
    let again = push(&primary, &[(id(1), born.clone())]).await;
    assert!(again.surrogates.is_empty() && again.conflicts.is_empty());
    assert_eq!(state(&primary, 0).await, rows);

    // An update of one column; one below what is there; a delete; a tombstone of nobody.
    let mut known = born;
    known.acknowledge(&known.version.clone());
    let later = file.note(&known, "later", 10);
    push(&primary, &[(id(1), later.clone())]).await;
    let row = state(&primary, 0).await[&1].clone();
    assert_eq!((&row.version, row.surrogate), (&later.version, Some(1)));
    let stale = file.note(&known, "stale", 5);
    let pushed = push(&primary, &[(id(1), stale.clone())]).await;
    let lost = Conflict { register: RegisterId::Column(1), winner: file.at(10), loser: file.at(5) };
    let told = vec![(id(1), lost, Some("later".to_owned()), Some("stale".to_owned()))];
    assert_eq!(pushed.conflicts, told);
    // It stands, and the file hears of it, perhaps again; in a comparison it takes every row in.
    let again = state(&primary, 0).await[&1].clone();
    assert_eq!((&again.version, again.txid > row.txid), (&row.version, true));
    primary.push(&[(id(1), stale)], Some(true), None).await.unwrap();
    assert_eq!(state(&primary, 0).await[&1], again);
    let logged = primary.conflicts(9).await.unwrap();
    assert_eq!((logged.len(), logged[0].conflict), (1, lost));
    assert!(!logged[0].reviewed && logged[0].noted_ms >= file.now_ms);
    let dead = file.change(Some(&settled(&row)), &Change::Delete, 20, &visits());
    let never = file.change(Some(&file.visit(Some("x"), 3)), &Change::Delete, 21, &visits());
    push(&primary, &[(id(1), dead.clone()), (id(9), never.clone())]).await;
    let rows = state(&primary, 0).await;
    assert_eq!((&rows[&1].version, &rows[&9].version), (&dead.version, &never.version));
    assert_eq!(scene.one("SELECT count(*) FROM visits"), "1");

    // A new life over it, with a surrogate of its own.
    let values = vec![Value::Int(5), text("again"), Value::Bool(true), Value::Null];
    let reborn = file.change(Some(&dead), &Change::Insert(values), 30, &visits());
    let pushed = push(&primary, &[(id(1), reborn.clone())]).await;
    assert_eq!(pushed.surrogates.len(), 1);
    assert_eq!(state(&primary, 0).await[&1].version, reborn.version);
    let born_while_alive = file.change(
        Some(&reborn),
        &Change::Insert(vec![Value::Null, text("replaced"), Value::Null, Value::Null]),
        40,
        &visits(),
    );
    push(&primary, &[(id(1), born_while_alive.clone())]).await;
    assert_eq!(state(&primary, 0).await[&1].version, born_while_alive.version);

    // Of a row that was there once and is not, only a comparison decides.
    let lost = Tracked::settled(file.visit(Some("lost"), 50).version);
    assert_eq!(push(&primary, &[(id(77), lost.clone())]).await.gone, [id(77)]);
    let end = primary.push(&[(id(77), lost.clone())], Some(false), None).await.unwrap();
    assert!(matches!(end, PushEnd::Done(pushed) if pushed.gone.is_empty()));
    assert_eq!(state(&primary, 0).await[&77].version, lost.version);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_leaves_the_merged_version_and_touches_nothing_else() {
    merges(shared().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_does_the_same_on_12_and_18() {
    for version in OLDEST_AND_NEWEST {
        merges(shared_with(&throwaway_postgres::Version::exact(version)).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_ahead_of_the_servers_clock_is_refused_with_the_whole_batch() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let batch = [(id(1), file.visit(None, 1)), (id(2), file.visit(None, 200_000))];
    let end = primary.push(&batch, None, None).await.unwrap();
    assert!(matches!(end, PushEnd::Ahead { now_ms } if now_ms >= file.now_ms + 30_000));
    assert!(state(&primary, 0).await.is_empty() && !session.in_transaction());
}

/// `read_committed_merge.py`: stamps that were read before the lock was given are stale.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_waited_for_a_lock_merges_with_what_it_finds_then() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let mut row = file.visit(Some("old"), 1);
    push(&primary, &[(id(1), row.clone())]).await;
    row.acknowledge(&row.version.clone());
    let other = client(&scene.database).await;
    other.begin("begin").await.unwrap();
    other
        .batch("write", "UPDATE public.visits SET note = 'psql' WHERE visit_id = 1")
        .await
        .unwrap();
    let batch = [(id(1), file.note(&row, "file", 5))];
    let (pushed, ()) = tokio::join!(push(&primary, &batch), async {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                     AND datname = current_database()";
        while scene.one(waits) != "1" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        other.commit("commit").await.unwrap();
    });
    let now = state(&primary, 0).await[&1].version.clone();
    assert_eq!(now.columns[1].value, text("psql"));
    assert!(now.stamp_of(1) > file.at(5));
    assert_eq!(pushed.conflicts.len(), 1);
}

/// `skip_by_origin.py`: psql sets one column, then a push another one; its transaction is that of
/// the push now.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_did_to_a_row_that_was_pushed_then_comes_with_the_feed() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let mut row = file.visit(Some("x0"), 1);
    push(&primary, &[(id(1), row.clone())]).await;
    row.acknowledge(&row.version.clone());
    let cursor = primary.header().await.unwrap().snapshot;
    scene.sql("UPDATE visits SET paid = true WHERE visit_id = 1");
    push(&primary, &[(id(1), file.note(&row, "ours", 40_000))]).await;
    let poll = primary.poll(&cursor, &[]).await.unwrap();
    assert_eq!(poll.rows.len(), 1);
    assert_eq!(poll.rows[0].version.columns[2].value, Value::Bool(true));
    assert_eq!(poll.rows[0].version.columns[1].value, text("ours"));
    assert_eq!(poll.rows[0].version.stamp_of(1), file.at(40_000));
}

/// `stamp_zero.py`: a new life owes nothing to the old one, on either side.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_the_old_life_gives_nothing_of_it_to_the_new() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let mut row = file.visit(Some("+7 old life"), 1);
    push(&primary, &[(id(1), row.clone())]).await;
    row.acknowledge(&row.version.clone());
    scene.sql("DELETE FROM visits; INSERT INTO visits (visit_id, note) VALUES (1, NULL)");
    // The file changes another column without having seen any of it.
    let update = Change::Update(vec![(0, Value::Int(5))]);
    let pending = file.change(Some(&row), &update, 2, &visits());
    let pushed = push(&primary, &[(id(1), pending)]).await;
    let now = state(&primary, 0).await[&1].version.clone();
    assert_eq!((&now.columns[0].value, &now.columns[1].value), (&Value::Null, &Value::Null));
    assert!(now.stamp_of(1) >= now.live.stamp, "nothing of the new life is at zero");
    assert!(!pushed.conflicts.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_somebody_inserts_meanwhile_is_merged() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let other = client(&scene.database).await;
    other.begin("begin").await.unwrap();
    other
        .batch("write", "INSERT INTO public.visits (visit_id, note) VALUES (2, 'psql')")
        .await
        .unwrap();
    let batch: Vec<_> = (1..=3).map(|key| (id(key), file.visit(Some("file"), key))).collect();
    let (pushed, ()) = tokio::join!(push(&primary, &batch), async {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                     AND datname = current_database()";
        while scene.one(waits) != "1" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        other.commit("commit").await.unwrap();
    });
    assert_eq!(refused(&pushed), []);
    assert_eq!(pushed.conflicts.len(), 1);
    let rows = state(&primary, 0).await;
    let note = |key: i64| rows[&key].version.columns[1].value.clone();
    assert_eq!((note(1), note(2), note(3)), (text("file"), text("psql"), text("file")));
    assert_eq!(rows[&1].version, batch[0].1.version);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_locked_is_left_out_and_a_locked_table_is_no_row_s_fault() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let mut session = client(&scene.database).await;
    session.set_limits(Limits { lock: Duration::from_millis(50), ..Limits::default() });
    let primary = Primary { session: &session, tables: &scene.tables, file: FILE };
    let file = File::of(&primary, 7).await;
    let batch = [(id(1), file.visit(Some("a"), 1)), (id(2), file.visit(Some("b"), 2))];
    push(&primary, &batch[..1]).await;
    let other = client(&scene.database).await;
    other.begin("begin").await.unwrap();
    other.batch("write", "UPDATE public.visits SET paid = true WHERE visit_id = 1").await.unwrap();
    let mut row = batch[0].1.clone();
    row.acknowledge(&row.version.clone());
    let blocked = [(id(1), file.note(&row, "later", 9)), batch[1].clone()];
    assert_eq!(refused(&push(&primary, &blocked).await), [(1, "55P03")]);
    other.commit("end").await.unwrap();
    let rows = state(&primary, 0).await;
    assert_eq!((rows.len(), &rows[&1].version.columns[1].value), (2, &text("a")));
    other.begin("begin").await.unwrap();
    other.batch("lock", "LOCK TABLE public.visits IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let error = primary.push(&blocked, None, None).await.unwrap_err();
    assert!(is_retryable(&error) && error.is_unavailable(), "{error}");
    assert!(!session.in_transaction());
    other.commit("end").await.unwrap();
    assert_eq!(state(&primary, 0).await[&1].version, rows[&1].version, "nothing stands");
    assert_eq!(refused(&push(&primary, &blocked).await), []);
    assert_eq!(state(&primary, 0).await[&1].version.columns[1].value, text("later"));
}

/// What a user's trigger makes of a row is newer than what was pushed.
#[tokio::test(flavor = "multi_thread")]
async fn a_users_trigger_that_rewrites_a_value_is_told_by_the_feed() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    scene.sql(
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
           $$BEGIN NEW.note := upper(NEW.note); RETURN NEW; END$$;
         CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON visits
           FOR EACH ROW EXECUTE FUNCTION shout();",
    );
    let row = file.visit(Some("quiet"), 1);
    push(&primary, &[(id(1), row.clone())]).await;
    let now = state(&primary, 0).await[&1].version.clone();
    assert_eq!(now.columns[1].value, text("QUIET"));
    assert!(now.stamp_of(1) > row.version.stamp_of(1));
    assert_eq!(now.live.stamp, row.version.live.stamp);
}

/// The wide built-in table.
#[tokio::test(flavor = "multi_thread")]
async fn users_of_many_shapes_arrive_as_they_are() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let table = users();
    let instant = dual_database::value::parse_timestamp_text("2025-08-07 09:00:01.5").unwrap();
    let batch: Vec<(RowId, Tracked)> = (0..1_100)
        .map(|key: i64| {
            let value = |(at, column): (usize, &Column)| match column.kind {
                _ if (key + at as i64) % 3 == 0 => column.default.clone().unwrap_or(Value::Null),
                LogicalType::Text => text(&format!("Ёж's \"{key}\"\n{at}")),
                LogicalType::Bool => Value::Bool(key % 2 == 0),
                LogicalType::Timestamp => Value::Timestamp(instant),
                _ => Value::Int(key),
            };
            let values = table.data_columns().enumerate().map(value).collect();
            (id(key), file.change(None, &Change::Insert(values), key, &table))
        })
        .collect();
    assert_eq!(refused(&push(&primary, &batch).await), []);
    let rows = state(&primary, 0).await;
    for (id, tracked) in &batch {
        assert_eq!(rows[&id.key.number().unwrap()].version, tracked.version);
    }
    // Each with other columns changed.
    let changed: Vec<(RowId, Tracked)> = batch
        .iter()
        .map(|(id, row)| {
            let mut row = row.clone();
            row.acknowledge(&row.version.clone());
            let position =
                usize::try_from(id.key.number().unwrap()).unwrap() % table.data_columns().count();
            let change = Change::Update(vec![(position, Value::Null)]);
            (id.clone(), file.change(Some(&row), &change, 2_000, &table))
        })
        .collect();
    assert_eq!(refused(&push(&primary, &changed).await), []);
    let rows = state(&primary, 0).await;
    for (id, tracked) in &changed {
        assert_eq!(rows[&id.key.number().unwrap()].version, tracked.version);
    }
}

/// Run by hand: `cargo test --workspace --test it -- --ignored a_large_batch`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes in an unoptimised build"]
#[allow(clippy::print_stderr, reason = "it is run for its figures")]
async fn a_large_batch_takes_linear_time() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let (table, mut from) = (users(), 0);
    for size in [20_000, 200_000] {
        let batch: Vec<(RowId, Tracked)> = (from..from + size)
            .map(|key| {
                let values = table.defaults().into_iter().map(|default| match default {
                    Value::Null => Value::Null,
                    other => other,
                });
                (id(key), file.change(None, &Change::Insert(values.collect()), 1, &table))
            })
            .collect();
        from += size;
        let begun = std::time::Instant::now();
        assert_eq!(refused(&push(&primary, &batch).await), []);
        eprintln!("{size} new rows: {:?}", begun.elapsed());
        let begun = std::time::Instant::now();
        assert_eq!(refused(&push(&primary, &batch).await), []);
        eprintln!("{size} known rows: {:?}", begun.elapsed());
    }
}
