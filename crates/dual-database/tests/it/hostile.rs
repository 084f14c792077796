//! Others who may make things in a schema of the search path: nothing of theirs runs for us. And the
//! user's own triggers, which see the path that they would see without us.

use std::time::Duration;

use dual_database::database::{RepairPreference, Written};
use dual_database::schema::{Making, users};
use dual_database::store::postgres::{Limits, Settings};
use dual_database::store::sqlite::File;
use dual_database::store::sqlite::replica::Settings as ReplicaSettings;
use dual_database::uninstall::uninstall;
use dual_database::users::{UserFilter, UserPatch};
use dual_database::{DualDatabase, init};
use dual_import::mapping::Mapping;
use dual_import::source::{CsvSource, Source};
use dual_import::{Import, Silent, StoreOutcome, Target, WriteOptions};
use futures_util::StreamExt;

use crate::api_scene::{Scene, TIMEOUT, Wire};
use crate::capture_postgres_scene::psql;
use crate::engine_bytes::in_sql_ascii;

const PATIENCE: Duration = Duration::from_secs(30);

/// What an outsider writes, who is not to run into the traps himself.
fn outside(scene: &Scene<'_>, sql: &str) {
    scene.database.execute(&format!("SET search_path = pg_catalog; {sql}")).unwrap();
}

/// One value as PostgreSQL has it, asked for by somebody who does not run into the traps.
fn seen(scene: &Scene<'_>, sql: &str) -> Option<String> {
    scene.postgres(&format!("SET search_path = pg_catalog; {sql}"))
}

/// It was written to both sides.
fn arrived<T: std::fmt::Debug>(written: Written<T>) {
    assert!(matches!(written, Written::InBoth(_)), "{written:?}");
}

fn name(text: &str) -> UserPatch {
    UserPatch::new().first_name(text)
}

/// Imports a sheet into both stores: how many rows were new, and how many others.
async fn import(scene: &Scene<'_>, options: WriteOptions) -> (u64, u64) {
    let path = scene.folder.path().join("sheet.csv");
    std::fs::write(
        &path,
        "Telegram ID,Имя,Телефон\n701,Анна,+79990000001\n702,Борис,+79990000002\n3,Новое,\n",
    )
    .unwrap();
    let mut source = Source::from(CsvSource::open(&path).await.unwrap());
    let mapping = Mapping::built_in(&users()).unwrap();
    let import = Import::stage(&mut source, mapping, users(), &Silent).await.unwrap();
    let target = Target {
        postgres: Settings::parse(&scene.database.url()).unwrap(),
        limits: Limits::default(),
        sqlite: File::look(&scene.file()).unwrap(),
        busy: Duration::from_secs(5),
    };
    let report = import.write(&target, options, &Silent, std::future::pending()).await.unwrap();
    let (StoreOutcome::Done(plan) | StoreOutcome::Planned(plan)) = &report.postgres else {
        panic!("{report:?}")
    };
    (plan.inserted, plan.updated)
}

/// Everything that the product does with a table in `schema`.
async fn walk(scene: &Scene<'_>, schema: &str) {
    let there = &format!("\"{schema}\".users");
    let is_bytes = seen(scene, "SHOW server_encoding").as_deref() == Some("SQL_ASCII");
    let stores = init::Stores {
        postgres: Settings::parse(&scene.database.url()).unwrap(),
        limits: Limits::default(),
        sqlite: ReplicaSettings {
            path: scene.file(),
            busy: Duration::from_secs(5),
            tables: [users()].into(),
            making: Making::default(),
            extensions: Vec::new(),
            aside: [].into(),
        },
    };
    let joining = init::Joining::default;
    init::plan(&stores, joining()).await.unwrap();
    init::apply(&stores, joining(), PATIENCE).await.unwrap();
    assert!(init::plan(&stores, joining()).await.unwrap().is_done());
    // What an administrator runs, who is a superuser.
    let script = init::sql(&stores, None).await.unwrap();
    psql(&scene.database, &scene.database.url(), &script).unwrap();
    let db = scene.open().await;
    calls(&db).await;
    outside(
        scene,
        &format!(
            "INSERT INTO {there} (user_id, first_name) VALUES (20, 'outside'), (21, 'gone'); \
             UPDATE {there} SET first_name = 'again' WHERE user_id = 20; \
             UPDATE {there} SET user_id = 22 WHERE user_id = 21; \
             DELETE FROM {there} WHERE user_id = 22; \
             ALTER TABLE {there} ADD UNIQUE (phone_number)"
        ),
    );
    scene
        .outsider()
        .execute_batch(
            "INSERT INTO users (user_id, first_name, register_date) \
             VALUES (30, 'here', '2025-01-01 10:00:00'); \
             UPDATE users SET phone_number = '+79' WHERE user_id = 3; \
             DELETE FROM users WHERE user_id = 1",
        )
        .unwrap();
    db.sync_now(PATIENCE).await.unwrap();
    // Values that have to be parked to be exchanged, and one that is taken when it arrives.
    scene
        .outsider()
        .execute_batch(
            "BEGIN; UPDATE users SET phone_number = 'x' WHERE user_id = 3; \
             UPDATE users SET phone_number = '+79' WHERE user_id = 2; \
             UPDATE users SET phone_number = '+7999' WHERE user_id = 3; COMMIT",
        )
        .unwrap();
    db.sync_now(PATIENCE).await.unwrap();
    assert_eq!(db.get_user(3).await.unwrap().value.unwrap().phone_number.as_deref(), Some("+7999"));
    scene.proxy.set(Wire::Refuse);
    let away = db.update_user(3, &UserPatch::new().phone_number("taken")).await.unwrap();
    assert!(matches!(away, Written::InOne { .. }), "{away:?}");
    outside(scene, &format!("UPDATE {there} SET phone_number = 'taken' WHERE user_id = 20"));
    scene.proxy.set(Wire::Pass);
    settled(&db).await;
    assert_eq!(db.get_user(3).await.unwrap().value.unwrap().phone_number, None);
    // Tombstones that are old enough, and nobody has looked for them for long.
    outside(scene, "UPDATE dual.side_users SET stamp = 16384 WHERE NOT live");
    db.close(PATIENCE).await;
    // A transaction that is older than they are keeps them, another test's, too.
    let purged = async {
        loop {
            scene.outsider().execute_batch("UPDATE dual_node SET tidied = NULL").unwrap();
            let db = scene.open().await;
            db.sync_now(PATIENCE).await.unwrap();
            let horizon = seen(scene, "SELECT horizon > 0 FROM dual.installation");
            if horizon.as_deref() == Some("t") {
                return db;
            }
            db.close(PATIENCE).await;
        }
    };
    let db = tokio::time::timeout(PATIENCE, purged).await.expect("nothing was purged");
    if is_bytes {
        outside(scene, &format!("UPDATE {there} SET real_name = E'\\xff' WHERE user_id = 20"));
        db.sync_now(PATIENCE).await.unwrap();
        assert_eq!(db.status().await.unwrap().quarantined, Some(1));
        outside(scene, &format!("UPDATE {there} SET real_name = 'good' WHERE user_id = 20"));
        db.sync_now(PATIENCE).await.unwrap();
    }
    // What both sides set without each other.
    scene.proxy.set(Wire::Refuse);
    let away = db.update_user(2, &name("away")).await.unwrap();
    assert!(matches!(away, Written::InOne { .. }), "{away:?}");
    outside(scene, &format!("UPDATE {there} SET first_name = 'there' WHERE user_id = 2"));
    scene.proxy.set(Wire::Pass);
    settled(&db).await;
    assert!(!db.conflicts(10).await.unwrap().is_empty());
    db.review_conflicts().await.unwrap();
    // Past the triggers, and a person's word about it.
    outside(
        scene,
        &format!(
            "ALTER TABLE {there} DISABLE TRIGGER USER; \
             UPDATE {there} SET first_name = 'unseen' WHERE user_id = 20; \
             INSERT INTO {there} (user_id, first_name) VALUES (40, 'loaded'); \
             ALTER TABLE {there} ENABLE TRIGGER USER"
        ),
    );
    db.repair(RepairPreference::Postgres).await.unwrap();
    outside(scene, "UPDATE dual.side_users SET stamp = 4611686018427387904 WHERE key = 3");
    db.repair_stamps().await.unwrap();
    let verified = db.verify().await.unwrap();
    assert!(verified.equal, "{verified:?}");
    db.close(PATIENCE).await;
    for dry_run in [true, false] {
        let options = WriteOptions { dry_run, ..WriteOptions::default() };
        assert_eq!(import(scene, options).await, (2, 1));
    }
    for dry_run in [true, false] {
        let options = WriteOptions { dry_run, recreate_tables: true, ..WriteOptions::default() };
        assert_eq!(import(scene, options).await, (3, 0));
    }
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let gone =
        uninstall(&settings, &Limits::default(), &scene.file(), Duration::from_secs(5)).await;
    gone.postgres.unwrap();
    gone.sqlite.unwrap();
}

/// Until PostgreSQL has everything that the file has.
async fn settled(db: &DualDatabase) {
    let quiet = async {
        while db.status().await.unwrap().pending_to_postgres != Some(0) {
            let _ = db.sync_now(PATIENCE).await;
        }
    };
    tokio::time::timeout(PATIENCE, quiet).await.unwrap();
}

/// Each call of the library's.
async fn calls(db: &DualDatabase) {
    for id in 1..=5 {
        arrived(db.add_user(&name("new").user_id(id)).await.unwrap());
    }
    db.add_user(&name("twice").user_id(1)).await.unwrap_err();
    arrived(db.update_user(2, &name("other").phone_number("+7999")).await.unwrap());
    db.update_user(99, &name("nobody")).await.unwrap_err();
    arrived(db.upsert_user(&name("more").user_id(6)).await.unwrap());
    arrived(db.delete_user(5).await.unwrap());
    assert!(db.get_user(2).await.unwrap().value.is_some());
    assert_eq!(db.get_all_users(Some(10)).await.unwrap().value.len(), 5);
    let filter = UserFilter::new().contains("first_name", "e").unwrap();
    assert_eq!(db.count_users(&filter).await.unwrap().value, 5);
    assert_eq!(db.find_users(&filter, Some(2)).await.unwrap().value.len(), 2);
    let mut all = std::pin::pin!(db.users(&filter));
    while let Some(user) = all.next().await {
        user.unwrap();
    }
    let done = db.transaction(async |tx| {
        tx.get_user(3).await?;
        tx.add_user(&name("one").user_id(11))?;
        tx.update_user(3, &name("two")).await?;
        tx.delete_user(6).await
    });
    arrived(done.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_others_have_made_runs_for_us() {
    // The superuser's name: what "$user" stands for.
    let own = "postgres";
    for (name, schema, exact, path) in [
        ("hostile", "public", "false", None),
        ("hostile_first", "public", "true", Some("public, pg_catalog")),
        ("hostile_bytes", "public", "false", None),
        ("hostile_own", own, "false", None),
    ] {
        let scene = Scene::shared(name);
        if name == "hostile_bytes" {
            in_sql_ascii(scene.database.server(), scene.database.name());
        }
        if schema == own {
            outside(&scene, &format!("CREATE SCHEMA \"{own}\""));
        }
        let quoted = format!("\"{schema}\"");
        let traps = include_str!("hostile.sql").replace("{exact}", exact);
        outside(&scene, &traps.replace("{schema}", &quoted));
        if let Some(path) = path {
            let database = scene.database.name();
            outside(&scene, &format!("ALTER DATABASE \"{database}\" SET search_path = {path}"));
        }
        walk(&scene, schema).await;
        let count = format!("SELECT last_value FROM {quoted}.ran WHERE is_called");
        assert_eq!(seen(&scene, &count), None, "{name}: traps have run");
        // They would have.
        for lured in [
            "SELECT 'a'::varchar = 'b'::varchar",
            "SELECT * FROM unnest('{a}'::pg_catalog._text)",
            "SELECT concat('a'::pg_catalog.text, 'b'::pg_catalog.text)",
            "SELECT array_agg(n) FROM (VALUES (1::pg_catalog.int8)) AS t (n)",
        ] {
            let before = seen(&scene, &count);
            scene.database.execute(&format!("SET ROLE {own}; {lured}")).unwrap();
            assert_ne!(seen(&scene, &count), before, "{name}: no trap for {lured}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_users_triggers_see_the_path_that_they_would_see_without_us() {
    let scene = Scene::shared("paths");
    let db = scene.open().await;
    scene
        .database
        .execute(
            "CREATE TABLE seen (path text, at text); \
             CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
               INSERT INTO seen VALUES (current_setting('search_path'), TG_NAME || TG_OP); \
               RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END; END $$; \
             CREATE TRIGGER before BEFORE INSERT OR UPDATE OR DELETE ON users \
               FOR EACH ROW EXECUTE FUNCTION look(); \
             CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE OR DELETE ON users \
               DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look()",
        )
        .unwrap();
    let seen = || {
        let sql = "SELECT string_agg(DISTINCT path, '; ') || ' ' || count(DISTINCT at) FROM seen";
        let found = scene.postgres(sql);
        scene.database.execute("TRUNCATE seen").unwrap();
        found
    };
    let own = Some("\"$user\", public 6".to_owned());
    calls(&db).await;
    assert_eq!(seen(), own, "calls");
    scene
        .outsider()
        .execute_batch(
            "INSERT INTO users (user_id, first_name) VALUES (30, 'here'); \
             UPDATE users SET phone_number = '+79' WHERE user_id = 3; \
             DELETE FROM users WHERE user_id = 1",
        )
        .unwrap();
    db.sync_now(PATIENCE).await.unwrap();
    assert_eq!(seen(), own, "the synchroniser");
    db.close(TIMEOUT).await;
    assert_eq!(import(&scene, WriteOptions::default()).await, (2, 1));
    assert_eq!(seen(), Some("\"$user\", public 4".to_owned()), "an import");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_write_the_table_neither_poisons_a_row_nor_hides_what_he_does() {
    let scene = Scene::shared("writers");
    let db = scene.open().await;
    for id in 1..=3 {
        arrived(db.add_user(&name("new").user_id(id)).await.unwrap());
    }
    let role = scene.database.name();
    scene
        .database
        .execute(&format!(
            "CREATE ROLE \"{role}\"; GRANT SELECT, INSERT, UPDATE, DELETE ON users TO \"{role}\""
        ))
        .unwrap();
    // A transaction of his, in which he sets what our triggers keep for themselves.
    let as_writer = |setting: &str, value: &str, sql: &str| {
        let set = format!("SELECT set_config('{setting}', txid_current() || ':{value}', true)");
        let all = format!("SET SESSION AUTHORIZATION \"{role}\"; {set}; {sql}");
        scene.database.execute(&all).unwrap();
    };
    for moment in [
        "9223372036854775807",
        "9999999999999",
        "2199023255551",
        "-1",
        "x",
        "",
        "1:2",
        "99999999999999999999999",
    ] {
        as_writer("dual.moment", moment, "UPDATE users SET first_name = 'his' WHERE user_id = 1");
        as_writer("dual.moment", moment, "UPDATE users SET first_name = NULL WHERE user_id = 1");
    }
    as_writer("dual.moment", "2199023255551", "DELETE FROM users WHERE user_id = 3");
    let ahead = "SELECT count(*) FROM dual.side_users WHERE \
                 (greatest(stamp, s_first_name) >> 22) + 1577836800000 \
                 > extract(epoch FROM clock_timestamp()) * 1000 + 60000";
    assert_eq!(scene.postgres(ahead).as_deref(), Some("0"));
    for value in [":users:2", "users:2", "users:x"] {
        let sql = format!("UPDATE users SET first_name = 'hidden {value}' WHERE user_id = 2");
        as_writer("dual.put", value, &sql);
    }
    // A transaction that can note nothing any more.
    let read_only = "INSERT INTO users (user_id, first_name) SELECT 666, 'x' \
                     WHERE set_config('transaction_read_only', 'on', true) = 'on'";
    let session = format!("SET SESSION AUTHORIZATION \"{role}\"; {read_only}");
    scene.database.execute(&session).unwrap_err();
    assert_eq!(scene.postgres("SELECT count(*) FROM dual.missed").as_deref(), Some("0"));
    db.sync_now(PATIENCE).await.unwrap();
    let hidden = scene.sqlite("SELECT first_name FROM users WHERE user_id = 2");
    assert_eq!(hidden.as_deref(), Some("hidden users:x"));
    // His last word was no last word.
    arrived(db.update_user(1, &name("mine")).await.unwrap());
    arrived(db.delete_user(1).await.unwrap());
    arrived(db.add_user(&name("again").user_id(3)).await.unwrap());
    db.sync_now(PATIENCE).await.unwrap();
    let left = "SELECT string_agg(user_id || ' ' || first_name, ', ' ORDER BY user_id) FROM users";
    assert_eq!(scene.postgres(left).as_deref(), Some("2 hidden users:x, 3 again"));
    let here = "SELECT group_concat(user_id || ' ' || first_name, ', ') FROM \
                (SELECT * FROM users ORDER BY user_id)";
    assert_eq!(scene.sqlite(here), scene.postgres(left));
    let gone = format!("DROP OWNED BY \"{role}\"; DROP ROLE \"{role}\"");
    scene.database.execute(&gone).unwrap();
}
