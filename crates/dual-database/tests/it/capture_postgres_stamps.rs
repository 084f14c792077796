//! The stamps that capture gives and takes on PostgreSQL, and what is read by them.

use dual_database::merge::Admission;
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::postgres::capture::{
    Drift, RowStamps, Settled, changed_since, drift, keep_before, refusal, settle,
};
use dual_database::store::postgres::{Limits, Session, Settings};
use dual_database::value::Value;
use throwaway_postgres::{Server, Version, shared, shared_with};

use crate::capture_oracle::visits;
use crate::capture_postgres_scene::{Scene, psql};
use crate::primary_scene::OLDEST_AND_NEWEST;

#[tokio::test]
async fn stamps_rise_above_what_they_replace_whatever_the_clock_says() {
    let scene = Scene::on(shared().unwrap(), visits()).await;
    scene.psql("INSERT INTO visits (visit_id, note) VALUES (1, 'a'), (2, 'b')", &[]);
    let wild = Stamp::at(scene.clock() + 3_600_000, Writer::new(5).unwrap());
    let set = format!("UPDATE dual.side_visits SET s_note = {}", wild.raw());
    scene.database.execute(&set).unwrap();
    scene.psql("UPDATE visits SET note = 'c', paid = true WHERE visit_id = 1", &[]);
    assert_eq!(scene.state()[&1].version.stamp_of(1), wild.next(Writer::POSTGRES));
    scene.psql("DELETE FROM visits WHERE visit_id = 2", &[]);
    scene.psql("INSERT INTO visits (visit_id) VALUES (2)", &[]);
    let end = format!("UPDATE dual.side_visits SET stamp = {}", i64::MAX);
    scene.database.execute(&end).unwrap();
    scene.psql("UPDATE visits SET note = 'd' WHERE visit_id = 1", &[]);
}

#[tokio::test]
async fn after_a_purge_silence_is_the_horizon_and_below_it_nothing_is_taken() {
    let mut scene = Scene::on(shared().unwrap(), visits()).await;
    scene.psql("INSERT INTO visits (visit_id) VALUES (1)", &[]);
    let horizon = Stamp::at(scene.clock() - 10_000, Writer::POSTGRES);
    let purge = format!("UPDATE dual.installation SET horizon = {}", horizon.raw());
    scene.database.execute(&purge).unwrap();
    scene.oracle.horizon = horizon;
    scene.psql("INSERT INTO visits (visit_id, note) VALUES (2, 'b'), (3, 'it''s new')", &[]);
    assert_eq!(scene.state()[&3].version.stamp_of(1), horizon);
    scene.psql("UPDATE visits SET visit_id = 4 WHERE visit_id = 3", &[]);
    // A clock that was set back behind the horizon: a birth lies above it all the same.
    let ahead = Stamp::at(scene.clock() + 3_600_000, Writer::POSTGRES);
    let purge = format!("UPDATE dual.installation SET horizon = {}", ahead.raw());
    scene.database.execute(&purge).unwrap();
    scene.oracle.horizon = ahead;
    scene.psql("INSERT INTO visits (visit_id, note) VALUES (6, 'reborn')", &[]);
    assert_eq!(scene.state()[&6].version.live.stamp, ahead.next(Writer::POSTGRES));
    scene
        .database
        .execute(&format!("UPDATE dual.installation SET horizon = {}", horizon.raw()))
        .unwrap();

    let old = Stamp::at(scene.clock() - 20_000, Writer::new(7).unwrap());
    let mark = RowStamps { key: 5.into(), life: Some((true, old)), columns: Vec::new() };
    let session = &scene.session;
    session.begin("write").await.unwrap();
    keep_before(session).await.unwrap();
    session.batch("write", "INSERT INTO public.visits (visit_id) VALUES (5)").await.unwrap();
    let outcome = settle(session, &scene.table, &scene.layout, &[mark], Some(old)).await;
    assert_eq!(refusal(&outcome.unwrap_err()), Some(Admission::Stale { above: horizon }));
    session.rollback("write").await.unwrap();
}

#[tokio::test]
async fn one_moment_for_a_transaction_and_none_for_a_statement_without_rows() {
    let scene = Scene::on(shared().unwrap(), visits()).await;
    let run = |sql: &str| psql(&scene.database, &scene.database.url(), sql).unwrap();
    run("BEGIN; INSERT INTO visits (visit_id) VALUES (1); SELECT pg_sleep(0.02);
         SAVEPOINT a; INSERT INTO visits (visit_id) VALUES (2); ROLLBACK TO a;
         INSERT INTO visits (visit_id) VALUES (3); COMMIT");
    let state = scene.state();
    assert_eq!(state.len(), 2);
    assert_eq!(state[&1].version.live.stamp, state[&3].version.live.stamp);
    let xids = run(
        "BEGIN; UPDATE visits SET note = 'x' WHERE visit_id = 99;
         DELETE FROM visits WHERE visit_id = 99; SELECT txid_current_if_assigned() IS NULL; COMMIT",
    );
    assert_eq!(xids.trim(), "t");
}

#[tokio::test]
async fn the_feed_is_an_index_scan_that_an_open_transaction_does_not_slow() {
    let scene = Scene::on(shared().unwrap(), visits()).await;
    scene.database.execute("ALTER TABLE dual.side_visits SET (autovacuum_enabled = off)").unwrap();
    let fill = "INSERT INTO visits (visit_id) SELECT generate_series(1, 20000)";
    scene.database.execute(fill).unwrap();
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let open = Session::open(&settings, &Limits::default()).await.unwrap();
    open.begin("begin").await.unwrap();
    open.batch("write", "INSERT INTO public.visits (visit_id) VALUES (-1)").await.unwrap();
    let cursor = scene.one("SELECT txid_current_snapshot()").parse().unwrap();
    scene.database.execute("UPDATE visits SET note = 'x' WHERE visit_id = 5").unwrap();
    scene.database.execute("DELETE FROM visits WHERE visit_id = 6").unwrap();
    let session = &scene.session;
    let keys = async || {
        session.begin_snapshot("poll").await.unwrap();
        let found = changed_since(session, &scene.layout, &cursor).await.unwrap();
        session.rollback("poll").await.unwrap();
        let mut keys: Vec<_> =
            found.iter().map(|entry| (entry.key.number().unwrap(), entry.live)).collect();
        keys.sort_unstable();
        keys
    };
    assert_eq!(keys().await, [(5, true), (6, false)]);
    open.commit("commit").await.unwrap();
    assert_eq!(keys().await, [(-1, true), (5, true), (6, false)]);
    let sql =
        scene.layout.changed_since().replace("$1", "9000000").replace("$2", "'{9}'::bigint[]");
    let plan = format!("SET LOCAL enable_seqscan = off; EXPLAIN {sql}");
    let plan = scene.database.execute(&plan).unwrap();
    let text: String = plan.iter().flatten().flatten().cloned().collect();
    assert!(text.contains("side_visits_txid") && !text.contains("Seq Scan"), "{text}");
}

#[tokio::test]
async fn a_write_with_its_own_stamp_is_settled_or_refused() {
    own_stamps(shared().unwrap()).await;
}

#[tokio::test]
async fn a_write_with_its_own_stamp_is_settled_or_refused_on_12_and_18() {
    for version in OLDEST_AND_NEWEST {
        own_stamps(shared_with(&Version::exact(version)).unwrap()).await;
    }
}

/// A write of the library: what it sets carries its stamp, the rest is captured.
async fn own_stamps(server: &'static Server) {
    let scene = Scene::on(server, visits()).await;
    let (session, table) = (&scene.session, &scene.table);
    let seven = Writer::new(7).unwrap();
    let text = |text: &str| Value::Text(text.into());
    let write = async |sql: &str, mark: RowStamps, proposal: Option<Stamp>| {
        session.begin("write").await.unwrap();
        keep_before(session).await.unwrap();
        session.batch("write", sql).await.unwrap();
        match settle(session, table, &scene.layout, &[mark], proposal).await {
            Ok(settled) => {
                session.commit("write").await.unwrap();
                Ok(settled)
            }
            Err(error) => {
                session.rollback("write").await.unwrap();
                Err(error)
            }
        }
    };
    // A birth: what it says nothing about stays at zero.
    let born = Stamp::at(scene.clock() - 5_000, seven);
    let all = |note: &str| {
        let values = [Value::Null, text(note), Value::Bool(false), Value::Null];
        values.into_iter().enumerate().map(|(at, value)| (at, born, value)).collect::<Vec<_>>()
    };
    let mark = RowStamps { key: 1.into(), life: Some((true, born)), columns: all("hello") };
    let insert = "INSERT INTO public.visits (visit_id, note) VALUES (1, 'hello')";
    let settled = write(insert, mark.clone(), Some(born)).await.unwrap();
    assert_eq!(settled.len(), 1);
    assert_eq!(settled[0].before, None);
    assert_eq!(settled[0].after.columns, [Stamp::ZERO, born, Stamp::ZERO, Stamp::ZERO]);
    assert_eq!(settled[0].after.stamp, born);

    // A later update of one column; the previous stamps come back.
    let later = born.next(seven);
    let set = |note: &str, stamp| RowStamps {
        key: 1.into(),
        life: None,
        columns: vec![(1, stamp, text(note))],
    };
    let update = "UPDATE public.visits SET note = 'later' WHERE visit_id = 1";
    let settled = write(update, set("later", later), Some(later)).await.unwrap();
    assert_eq!(settled[0].before.as_ref().unwrap().columns[1], born);
    assert_eq!(settled[0].after.columns[1], later);
    assert_eq!(settled[0].after.stamp, born);

    // One that comes too late, or from a wild clock: nothing of it stands.
    let state = scene.state();
    let error =
        write("UPDATE public.visits SET note = 'stuck'", set("stuck", born), Some(born)).await;
    assert_eq!(refusal(&error.unwrap_err()), Some(Admission::Stale { above: later }));
    let wild = Stamp::at(scene.clock() + 120_000, seven);
    let error =
        write("UPDATE public.visits SET note = 'wild'", set("wild", wild), Some(wild)).await;
    assert_eq!(refusal(&error.unwrap_err()), Some(Admission::Ahead));
    assert_eq!(scene.state(), state);

    // A user's trigger changes what was written: that value is not the write's.
    scene
        .database
        .execute(
            "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
               $$BEGIN NEW.note := upper(NEW.note); RETURN NEW; END$$;
             CREATE TRIGGER shout BEFORE UPDATE ON visits
               FOR EACH ROW EXECUTE FUNCTION shout();",
        )
        .unwrap();
    let next = later.next(seven);
    let settled = write("UPDATE public.visits SET note = 'quiet'", set("quiet", next), Some(next))
        .await
        .unwrap();
    assert_eq!(settled[0].after.columns[1].writer(), Writer::POSTGRES);
    scene.database.execute("DROP TRIGGER shout ON visits").unwrap();

    // A merge sets stamps as they are, also where the value is the same already.
    let merged = settled[0].after.columns[1].next(Writer::new(3).unwrap());
    let settled = write("SELECT 1", set("QUIET", merged), None).await.unwrap();
    assert_eq!(settled[0].after.columns[1], merged);

    // A death; a tombstone of a row that was never here; a birth over both.
    let died = Stamp::at(scene.clock() + 5_000, seven);
    let dead =
        |key: i64| RowStamps { key: key.into(), life: Some((false, died)), columns: Vec::new() };
    let settled = write("DELETE FROM public.visits", dead(1), Some(died)).await.unwrap();
    assert!(settled[0].before.as_ref().unwrap().live && !settled[0].after.live);
    assert_eq!(settled[0].after.columns, [died; 4]);
    let settled = write("SELECT 1", dead(2), None).await.unwrap();
    assert_eq!((settled[0].before.is_none(), settled[0].after.live), (true, false));
    let error = write(insert, mark, Some(born)).await;
    let stale = Some(Admission::Stale { above: died });
    assert_eq!(refusal(&error.unwrap_err()), stale, "born before that death");
    let again = died.next(seven);
    let mut mark = RowStamps { key: 1.into(), life: Some((true, again)), columns: all("hello") };
    mark.columns.iter_mut().for_each(|column| column.1 = again);
    let settled = write(insert, mark, Some(again)).await.unwrap();
    assert_eq!(settled[0].after.columns, [again; 4], "nothing is inherited");

    // Several rows at once; a row that is not marked is captured.
    scene.database.execute("INSERT INTO visits (visit_id) VALUES (11), (12), (13)").unwrap();
    let three = Stamp::at(scene.clock() + 3_000, Writer::new(3).unwrap());
    let marks = [11, 12].map(|key| RowStamps {
        key: key.into(),
        life: None,
        columns: vec![(2, three, Value::Bool(true)), (0, three, Value::Int(5))],
    });
    session.begin("merge").await.unwrap();
    keep_before(session).await.unwrap();
    let sql = "UPDATE public.visits SET paid = true, guest = 5 WHERE visit_id > 10";
    session.batch("merge", sql).await.unwrap();
    let settled = settle(session, table, &scene.layout, &marks, None).await.unwrap();
    session.commit("merge").await.unwrap();
    assert_eq!(settled.len(), 2);
    for Settled { before, after } in settled {
        assert_eq!((after.columns[0], after.columns[2]), (three, three));
        assert_eq!(before.unwrap().columns[2], Stamp::ZERO);
    }
    assert_eq!(scene.state()[&13].version.stamp_of(0).writer(), Writer::POSTGRES);
    assert_eq!(drift(session, &scene.layout).await.unwrap(), Drift::None);
}
