//! Capture on PostgreSQL: who writes is seen, whatever he does; what installing needs, makes and leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dual_database::schema::{Dialect, users};
use dual_database::stamp::Stamp;
use dual_database::store::postgres::capture::{Drift, Layout, drift, install, uninstall};
use dual_database::store::postgres::{Limits, Session, Settings};
use dual_database::value::Value;
use dual_database::{Kind, Store};
use proptest::prelude::*;
use throwaway_postgres::{Server, Version, shared, shared_with};

use crate::capture_oracle::visits;
use crate::capture_postgres_scene::{Scene, psql};
use crate::primary_scene::OLDEST_AND_NEWEST;

/// What every version has to see, by an outside client.
async fn outside_writes(server: &'static Server) {
    let scene = Scene::on(server, users()).await;
    let go = |sql: &str, reborn: &[i64]| scene.psql(sql, reborn);
    go("INSERT INTO users (user_id, first_name) VALUES (1, 'Анна')", &[]);
    let silent = scene.state()[&1].version.clone();
    assert_eq!((silent.stamp_of(2), silent.stamp_of(3)), (Stamp::ZERO, Stamp::ZERO));
    go(
        "COPY users (user_id, first_name, status) FROM STDIN;\n2\tBob\tissued\n3\tEve\t\\N\n\\.\n",
        &[],
    );
    go("UPDATE users SET phone_number = '+7', status = 'issued' WHERE user_id = 1", &[]);
    go("UPDATE users SET phone_number = '+7' WHERE user_id = 1", &[]);
    go("UPDATE users SET last_activity = now() WHERE user_id > 1", &[]);
    go(
        "INSERT INTO users (user_id, first_name) VALUES (3, 'Ева'), (4, 'new') \
         ON CONFLICT (user_id) DO UPDATE SET first_name = excluded.first_name",
        &[],
    );
    go("INSERT INTO users (user_id) VALUES (4), (5) ON CONFLICT DO NOTHING", &[]);
    go("DELETE FROM users WHERE user_id IN (2, 3)", &[]);
    go("INSERT INTO users (user_id) VALUES (2)", &[]);
    go("UPDATE users SET user_id = 20 WHERE user_id = 2", &[]);
    go("TRUNCATE users", &[]);
    go("INSERT INTO users (user_id, first_name) VALUES (1, 'again')", &[]);
    if server.binaries().major() >= 15 {
        go(
            "MERGE INTO users AS u USING (VALUES (1, 'm'), (9, 'n')) AS v (k, name) \
             ON u.user_id = v.k WHEN MATCHED THEN UPDATE SET first_name = v.name \
             WHEN NOT MATCHED THEN INSERT (user_id, first_name) VALUES (v.k, v.name)",
            &[],
        );
    }
    // Deleted and inserted by one statement: captures come in any order.
    go(
        "WITH gone AS (DELETE FROM users WHERE user_id = 1 RETURNING user_id) \
         INSERT INTO users (user_id, first_name) SELECT user_id, 'reborn' FROM gone",
        &[1],
    );
    // A change of the surrogate alone is seen, not stamped.
    let txid = "SELECT txid FROM dual.side_users WHERE key = 1";
    let before = scene.one(txid);
    go("UPDATE users SET id = 1000 WHERE user_id = 1", &[]);
    assert_ne!(before, scene.one(txid));
    let before = scene.one(txid);
    go("UPDATE users SET first_name = first_name", &[]);
    assert_eq!(before, scene.one(txid), "nothing has changed");
}

#[tokio::test]
async fn every_outside_write_is_seen() {
    outside_writes(shared().unwrap()).await;
}

#[tokio::test]
async fn every_outside_write_is_seen_on_12_and_18() {
    for version in OLDEST_AND_NEWEST {
        outside_writes(shared_with(&Version::exact(version)).unwrap()).await;
    }
}

#[tokio::test]
async fn a_moved_key_is_a_death_and_a_birth_even_in_a_chain() {
    let scene = Scene::on(shared().unwrap(), visits()).await;
    scene.psql("INSERT INTO visits (visit_id, note) VALUES (3, 'c'), (2, 'b'), (1, 'a')", &[]);
    psql(&scene.database, &scene.database.url(), "UPDATE visits SET visit_id = visit_id + 1")
        .unwrap();
    let state = scene.state();
    let live: BTreeMap<i64, bool> =
        state.iter().map(|(key, row)| (*key, row.version.live.value)).collect();
    assert_eq!(live, BTreeMap::from([(1, false), (2, true), (3, true), (4, true)]));
    assert_eq!(state[&2].version.columns[1].value, Value::Text("a".into()));
}

#[tokio::test]
async fn a_collation_that_ignores_case_hides_nothing() {
    let scene = Scene::on(shared().unwrap(), visits()).await;
    scene
        .database
        .execute(
            "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
             ALTER TABLE visits ALTER note TYPE varchar COLLATE blind",
        )
        .unwrap();
    scene.psql("INSERT INTO visits (visit_id, note) VALUES (1, 'anna'), (2, 'IT''S NEW')", &[]);
    scene.psql("UPDATE visits SET note = 'Anna' WHERE visit_id = 1", &[]);
    assert!(scene.state()[&1].version.stamp_of(1) > scene.state()[&1].version.live.stamp);
}

#[tokio::test]
async fn the_users_own_triggers_and_cascades_are_captured() {
    let scene = Scene::on(shared().unwrap(), visits()).await;
    scene
        .database
        .execute(
            "CREATE TABLE guests (id bigint PRIMARY KEY);
             INSERT INTO guests VALUES (7), (8);
             ALTER TABLE visits ADD FOREIGN KEY (guest) REFERENCES guests ON DELETE CASCADE;
             CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
               $$BEGIN NEW.note := upper(NEW.note); RETURN NEW; END$$;
             CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON visits
               FOR EACH ROW EXECUTE FUNCTION shout();
             CREATE FUNCTION after_it() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
               IF NEW.note = 'PAY' THEN UPDATE visits SET paid = true WHERE visit_id = NEW.visit_id;
               ELSIF NEW.note = 'GO' THEN DELETE FROM visits WHERE visit_id = NEW.visit_id;
               END IF; RETURN NULL; END$$;
             CREATE TRIGGER after_it AFTER INSERT OR UPDATE OF note ON visits
               FOR EACH ROW EXECUTE FUNCTION after_it();
             CREATE FUNCTION undelete() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
               IF OLD.note = 'STAY' THEN INSERT INTO visits (visit_id, note)
                 VALUES (OLD.visit_id, 'stayed'); END IF; RETURN NULL; END$$;
             CREATE TRIGGER undelete AFTER DELETE ON visits
               FOR EACH ROW EXECUTE FUNCTION undelete();",
        )
        .unwrap();
    let run = |sql: &str| psql(&scene.database, &scene.database.url(), sql).unwrap();
    scene.psql("INSERT INTO visits (visit_id, guest, note) VALUES (1, 7, 'a'), (2, 8, 'b')", &[]);
    // `state` compares the sidecar's opinion of who lives with the table.
    run("INSERT INTO visits (visit_id, note) VALUES (3, 'pay'), (4, 'go'), (5, 'stay')");
    let state = scene.state();
    assert!(state[&3].version.live.value && !state[&4].version.live.value);
    assert!(state[&3].version.stamp_of(2) > Stamp::ZERO);
    run("UPDATE visits SET note = 'go' WHERE visit_id = 3; DELETE FROM visits WHERE visit_id = 5");
    let state = scene.state();
    assert!(!state[&3].version.live.value && state[&5].version.live.value);
    scene.psql("UPDATE visits SET note = 'pay' WHERE visit_id = 2", &[]);
    scene.psql("DELETE FROM guests WHERE id = 7", &[]);
    assert!(!scene.state()[&1].version.live.value);
    scene.psql("TRUNCATE guests CASCADE", &[]);
}

#[tokio::test]
async fn a_role_without_rights_on_the_schema_is_captured() {
    let scene = Scene::on(shared().unwrap(), users()).await;
    let role = format!("clerk_{}", scene.database.name());
    scene
        .database
        .execute(&format!(
            "CREATE ROLE {role} LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON users TO {role}"
        ))
        .unwrap();
    let url = scene.database.url_as(&role, None);
    let run = |sql: &str| psql(&scene.database, &url, sql);
    // Its own search path, with its own operator-like names, is of no consequence.
    run("CREATE TEMP TABLE users (user_id int); SET search_path = pg_temp, public;
         INSERT INTO public.users (user_id) VALUES (1); UPDATE public.users SET source = 'x';
         DELETE FROM public.users; INSERT INTO public.users (user_id) VALUES (2)")
    .unwrap();
    assert_eq!(scene.state().len(), 2);
    assert!(run("SELECT * FROM dual.side_users").unwrap_err().contains("permission denied"));
    // What it sets for itself means nothing: the setting is not of its transaction.
    run("SET dual.moment = '1:4611686018427387904'; SET dual.before = '1:';
         UPDATE users SET source = 'y' WHERE user_id = 2")
    .unwrap();
    assert!(scene.state()[&2].version.highest().unix_ms() <= scene.clock() + 1);
    let dropped = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    scene.database.execute(&dropped).unwrap();
}

#[tokio::test]
async fn installing_adopts_repairs_notices_and_leaves_nothing() {
    let scene = Scene::on(shared().unwrap(), visits()).await;
    let (session, layout) = (&scene.session, &scene.layout);
    let run = |sql: &str| scene.database.execute(sql).unwrap();
    let again = async || {
        session.begin("install").await.unwrap();
        let adopted = install(session, layout).await.unwrap();
        session.commit("install").await.unwrap();
        adopted
    };
    let look = async || drift(session, layout).await.unwrap();
    assert_eq!(look().await, Drift::None);
    run("ALTER TABLE visits DISABLE TRIGGER dual_updated");
    assert_eq!(look().await, Drift::Triggers);
    run("INSERT INTO visits (visit_id) VALUES (1)");
    run("DROP TRIGGER dual_inserted ON visits; INSERT INTO visits (visit_id) VALUES (2)");
    assert_eq!(look().await, Drift::Triggers);
    assert_eq!(again().await, 1);
    assert_eq!(scene.state()[&2].version.highest(), Stamp::ADOPTED_POSTGRES);
    assert_eq!((look().await, again().await), (Drift::None, 0));
    run("ALTER TABLE visits ADD COLUMN mood text");
    assert_eq!(look().await, Drift::Columns);
    assert_eq!((again().await, look().await), (0, Drift::None));
    // A column that the declaration gets later: never set in the rows that are there.
    run("ALTER TABLE dual.side_visits DROP COLUMN s_note");
    assert_eq!((again().await, look().await), (0, Drift::None));
    assert_eq!(scene.state()[&2].version.stamp_of(1), Stamp::ZERO);
    run("DELETE FROM visits WHERE visit_id = 2; INSERT INTO visits (visit_id) VALUES (2), (3)");
    assert!(scene.state()[&2].version.stamp_of(1) > Stamp::ADOPTED_POSTGRES);
    run("ALTER TABLE visits RENAME TO old; CREATE TABLE visits (LIKE old)");
    assert_eq!(look().await, Drift::Triggers);
    run("DROP TABLE visits; ALTER TABLE old RENAME TO visits");
    assert_eq!(look().await, Drift::None);

    run("UPDATE dual.installation SET format = 99");
    session.begin("install").await.unwrap();
    let error = install(session, layout).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Schema(Store::Postgres));
    assert!(error.message().contains("format 99"));
    session.rollback("install").await.unwrap();
    assert_eq!(drift(session, layout).await.unwrap_err().kind(), error.kind());

    session.begin("uninstall").await.unwrap();
    uninstall(session).await.unwrap();
    session.commit("uninstall").await.unwrap();
    assert_eq!(look().await, Drift::Absent);
    run("INSERT INTO visits (visit_id) VALUES (9)");
    let left = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal";
    assert_eq!(scene.one(left), "0");
    let left = "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace \
                WHERE nspname NOT IN ('pg_catalog', 'information_schema')";
    assert_eq!(scene.one(left), "0");
}

async fn somebody_waits(scene: &Scene<'_>) {
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND datname = current_database()";
    while scene.one(waits) == "0" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// As a poll does it: the table first, then what is ours.
#[tokio::test]
async fn installing_again_waits_for_who_reads_before_it_hinders_him() {
    let scene = Scene::on(shared().unwrap(), users()).await;
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let reader = Session::open(&settings, &Limits::default()).await.unwrap();
    reader.begin("read").await.unwrap();
    reader.batch("read", "LOCK TABLE public.users IN ACCESS SHARE MODE").await.unwrap();
    let install = async {
        scene.session.begin("install").await.unwrap();
        install(&scene.session, &scene.layout).await.unwrap();
        scene.session.commit("install").await.unwrap();
    };
    let read = async {
        somebody_waits(&scene).await;
        let ours = "SELECT FROM dual.side_users; SELECT FROM dual.tracked; \
                    SELECT FROM dual.installation; SELECT FROM dual.conflict";
        reader.batch("read", ours).await.unwrap();
        reader.commit("read").await.unwrap();
    };
    tokio::join!(install, read);
    assert_eq!(drift(&scene.session, &scene.layout).await.unwrap(), Drift::None);
}

#[tokio::test]
async fn what_is_dropped_at_this_moment_is_not_there() {
    let scene = Scene::on(shared().unwrap(), users()).await;
    let look = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM dual.tracked";
    scene.session.batch("uninstall", look).await.unwrap();
    scene.database.execute("DROP FUNCTION dual.users_get(bigint, text)").unwrap();
    assert!(uninstall(&scene.session).await.unwrap().was_there);
    scene.session.batch("uninstall", "COMMIT").await.unwrap();
}

#[tokio::test]
async fn who_reads_a_row_waits_for_who_installs_before_he_hinders_him() {
    let scene = Scene::on(shared().unwrap(), users()).await;
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let reader = Session::open(&settings, &Limits::default()).await.unwrap();
    scene.session.begin("install").await.unwrap();
    let lock = "LOCK TABLE public.users IN ACCESS EXCLUSIVE MODE";
    scene.session.batch("install", lock).await.unwrap();
    let install = async {
        somebody_waits(&scene).await;
        let lock = "LOCK TABLE dual.side_users IN ACCESS EXCLUSIVE MODE";
        scene.session.batch("install", lock).await.unwrap();
        scene.session.commit("install").await.unwrap();
    };
    let read = async {
        reader.begin("read").await.unwrap();
        reader.batch("read", "SELECT dual.users_get(1, '60000')").await.unwrap();
        reader.commit("read").await.unwrap();
    };
    tokio::join!(install, read);
}

#[tokio::test]
async fn the_rights_that_are_needed_are_enough_and_are_named() {
    let server = shared().unwrap();
    let database = server.database("capture_rights").unwrap();
    let role = format!("guest_{}", database.name());
    let table = visits();
    database.execute(&table.create_statement(Dialect::Postgres, "public.visits")).unwrap();
    database.execute(&format!("CREATE ROLE {role} LOGIN")).unwrap();
    let url = database.url_as(&role, None);
    let session = Session::open(&Settings::parse(&url).unwrap(), &Limits::default()).await.unwrap();
    let layout = Layout::new(&table, "public.visits");
    let attempt = async || {
        session.begin("install").await.unwrap();
        let outcome = install(&session, &layout).await;
        match outcome {
            Ok(_) => session.commit("install").await.unwrap(),
            Err(_) => session.rollback("install").await.unwrap(),
        }
        outcome.map_err(|error| {
            assert_eq!(error.kind(), Kind::AccessDenied);
            error.hint().unwrap_or_default().to_owned()
        })
    };
    assert!(attempt().await.unwrap_err().contains("GRANT CREATE ON DATABASE"));
    let grant = format!("GRANT CREATE ON DATABASE {} TO {role}", database.name());
    database.execute(&grant).unwrap();
    assert!(attempt().await.unwrap_err().contains("TRIGGER ON TABLE public.visits"));
    let grant = "GRANT SELECT, INSERT, UPDATE, DELETE, TRIGGER ON visits TO";
    database.execute(&format!("{grant} {role}")).unwrap();
    // It need not own the table, not even to install again.
    assert_eq!((attempt().await, attempt().await), (Ok(0), Ok(0)));
    database.execute("INSERT INTO visits (visit_id) VALUES (1)").unwrap();
    let count = database.execute("SELECT count(*) FROM dual.side_visits").unwrap();
    assert_eq!(count[0][0].as_deref(), Some("1"));
    session.begin("uninstall").await.unwrap();
    uninstall(&session).await.unwrap();
    session.commit("uninstall").await.unwrap();
    drop(session);
    database.execute("INSERT INTO visits (visit_id) VALUES (2)").unwrap();
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).unwrap();
}

/// A plan is kept for the session: one that was made while everything was small must not read
/// a large sidecar, or a large table, whole.
#[tokio::test]
async fn nothing_is_read_whole_however_old_the_plan() {
    let scene = Scene::on(shared().unwrap(), visits()).await;
    let off = "ALTER TABLE visits SET (autovacuum_enabled = off);
               ALTER TABLE dual.side_visits SET (autovacuum_enabled = off)";
    scene.database.execute(off).unwrap();
    let one = |key: i64| {
        format!(
            "BEGIN; INSERT INTO visits (visit_id) VALUES ({key}); \
             UPDATE visits SET note = 'x' WHERE visit_id = {key}; \
             DELETE FROM visits WHERE visit_id = {key}; COMMIT;"
        )
    };
    let warm: String = (1..10).map(one).collect();
    let again: String = (20_001..20_010).map(one).collect();
    let sql = format!(
        "{warm} INSERT INTO visits (visit_id) SELECT generate_series(100, 15000); \
         UPDATE visits SET paid = true; {again}"
    );
    psql(&scene.database, &scene.database.url(), &sql).unwrap();
    let written = "SELECT coalesce(sum(n_tup_upd), 0) >= 14000, coalesce(sum(seq_scan), 0) \
                   FROM pg_stat_user_tables WHERE relname = 'side_visits'";
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let scans = loop {
        let found = &scene.database.execute(written).unwrap()[0];
        if found[0].as_deref() == Some("t") {
            break found[1].clone();
        }
        assert!(std::time::Instant::now() < deadline, "the statistics never came");
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    // The one is the adoption of the empty table at the installation.
    let scans: i64 = scans.unwrap().parse().unwrap();
    assert!(scans <= 1, "{scans}");
    // The tables agree with the sidecar.
    assert_eq!(scene.state().values().filter(|row| row.version.live.value).count(), 14_901);
}

#[tokio::test]
async fn writers_that_meet_neither_deadlock_nor_lose_a_stamp() {
    let scene = Scene::on(shared().unwrap(), visits()).await;
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let work = async |who: i64| {
        let session = Session::open(&settings, &Limits::default()).await.unwrap();
        for round in 0..40 {
            let key = round % 4;
            for sql in [
                format!(
                    "INSERT INTO visits (visit_id, guest) VALUES ({key}, {who}) ON CONFLICT DO NOTHING"
                ),
                format!("UPDATE visits SET guest = coalesce(guest, 0) + 1 WHERE visit_id = {key}"),
                format!("DELETE FROM visits WHERE visit_id = {key} AND guest % 7 = {who}"),
            ] {
                session.batch("write", &sql).await.unwrap();
            }
        }
    };
    tokio::join!(work(1), work(2), work(3), work(4));
    // `state` compares who lives; what lives is at least as young as its birth.
    let state = scene.state();
    assert_eq!(state.len(), 4);
    for row in state.values().filter(|row| row.version.live.value) {
        assert!(row.version.stamp_of(0) >= row.version.live.stamp);
    }
}

#[tokio::test]
async fn the_doorbell_rings_for_a_change_and_not_for_nothing() {
    let scene = Scene::on(shared().unwrap(), visits()).await;
    let run = |sql: &str| psql(&scene.database, &scene.database.url(), sql).unwrap();
    let rings = |sql: &str| run(&format!("LISTEN dual; {sql}; SELECT 1")).contains("notification");
    assert!(rings("INSERT INTO visits (visit_id) VALUES (1)"));
    assert!(!rings("UPDATE visits SET note = note"));
}

#[test]
fn the_sql_is_as_reviewed() {
    let layout = Layout::new(&visits(), "public.visits");
    let mut text = layout.sidecar_ddl().join(";\n");
    for statement in layout.functions().into_iter().chain(layout.triggers()) {
        text.push_str(&format!(";\n\n{statement}"));
    }
    let mend = layout.mend(false).join(";\n\n");
    let rest = [layout.loose(), mend, layout.always(), layout.changed_since()];
    text.push_str(&format!(";\n\n{}", rest.join(";\n\n")));
    insta::assert_snapshot!("visits", text);
    let users = Layout::new(&users(), "public.users");
    insta::assert_snapshot!("users", users.functions().join(";\n\n"));
}

/// A random statement with its meaning left to the oracle.
fn statement() -> impl Strategy<Value = String> {
    let key = || 1i64..6;
    let note =
        prop_oneof![Just("NULL"), Just("'it''s new'"), Just("'a'"), Just("'Ж'"), Just("DEFAULT")];
    let set = prop_oneof![
        note.clone().prop_map(|note| format!("note = {note}")),
        (0i64..3).prop_map(|guest| format!("guest = {guest}, paid = NOT paid")),
        Just("\"at \"\"now\"\"\" = '2025-01-02 03:04:05.000001'".to_owned()),
        Just("id = id + 100".to_owned()),
    ];
    prop_oneof![
        (key(), note.clone()).prop_map(|(key, note)| format!(
            "INSERT INTO visits (visit_id, note) VALUES ({key}, {note}) ON CONFLICT DO NOTHING"
        )),
        (key(), key()).prop_map(|(one, other)| format!(
            "INSERT INTO visits (visit_id, guest) SELECT DISTINCT unnest(ARRAY[{one}, {other}]), 9 \
             ON CONFLICT (visit_id) DO UPDATE SET guest = coalesce(visits.guest, 0) + 1"
        )),
        (key(), key(), set).prop_map(|(low, high, set)| format!(
            "UPDATE visits SET {set} WHERE visit_id BETWEEN {low} AND {high}"
        )),
        (key(), key()).prop_map(|(one, other)| format!(
            "DELETE FROM visits WHERE visit_id IN ({one}, {other})"
        )),
        (key(), 6i64..9).prop_map(|(key, to)| format!(
            "UPDATE visits SET visit_id = {to}, note = 'moved' WHERE visit_id = {key} \
             AND NOT EXISTS (SELECT FROM visits WHERE visit_id = {to})"
        )),
        Just("TRUNCATE visits".to_owned()),
    ]
}

#[test]
fn random_statements_leave_what_the_rules_say() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let scene = runtime.block_on(Scene::on(shared().unwrap(), visits()));
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..Default::default() };
    proptest!(config, |(statements in prop::collection::vec(statement(), 1..25))| {
        scene.database.execute("TRUNCATE visits, dual.side_visits").unwrap();
        scene.database.execute("TRUNCATE dual.side_visits").unwrap();
        let mut before = scene.state();
        for sql in statements {
            let from = scene.clock();
            scene.database.execute(&sql).unwrap();
            let after = scene.state();
            scene.oracle.check(&before, &after, &BTreeSet::new(), (from, scene.clock() + 1), &sql);
            before = after;
        }
    });
}
