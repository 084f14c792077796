//! First contact, epoch, numbers, sessions and doorbell on real servers.

use std::time::Duration;

use dual_database::protocol::Token;
use dual_database::schema::users;
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::postgres::capture::{Drift, uninstall};
use dual_database::store::postgres::primary::{Listener, Pool};
use dual_database::store::postgres::{Limits, Settings};
use dual_database::{Kind, Store};
use throwaway_postgres::{Server, StopMode, Version, shared, shared_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

use crate::primary_scene::{FILE, OLDEST_AND_NEWEST, Scene, limits, pool, tables};

async fn first_contact(server: &'static Server) {
    let scene = Scene::on(server, tables()).await;
    let again = scene.pool.prepare().await.unwrap();
    assert!(!again.has_gap());
    assert!(again.found.iter().all(|found| found.steps.is_empty() && found.drift == Drift::None));
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let header = primary.header().await.unwrap();
    assert_eq!((header.epoch.token, header.epoch.life), (None, None));
    assert_eq!((header.horizon, header.purged), (Stamp::ZERO, None));
    assert_eq!(header.epoch.timeline, 1);
    let oid = scene.one("SELECT oid FROM pg_database WHERE datname = current_database()");
    assert_eq!(header.epoch.database.to_string(), oid);
    let system = scene.one("SELECT system_identifier FROM pg_control_system()");
    assert_eq!(header.epoch.system.to_string(), system);
    assert!(primary.rotate(None, Token(5)).await.unwrap());
    let life = primary.header().await.unwrap().epoch.life;
    // The server's own is nobody else's: a file writes down what it proposes, and can be copied.
    assert!(life.is_some() && life != Some(Token(5)));
    assert!(!primary.rotate(None, Token(6)).await.unwrap());
    assert!(primary.rotate(Some(Token(5)), Token(6)).await.unwrap());
    assert!(!primary.rotate(Some(Token(5)), Token(7)).await.unwrap());
    // Another process of the file has set the same.
    assert!(primary.rotate(Some(Token(5)), Token(6)).await.unwrap());
    assert!(primary.rotate(None, Token(6)).await.unwrap());
    let after = primary.header().await.unwrap();
    assert_eq!((after.epoch.token, after.epoch.life), (Some(Token(6)), life));
    assert_eq!(after.epoch.relations, header.epoch.relations);
    assert!(after.snapshot.follows(&header.snapshot) && after.now_ms >= header.now_ms);
    let other = session.primary(Uuid::from_u128(8)).unwrap();
    assert!(other.rotate(None, Token(9)).await.unwrap());
    let epoch = other.header().await.unwrap().epoch;
    assert_eq!((epoch.token, epoch.life), (Some(Token(9)), life));
    primary.sign(Some(&header.snapshot)).await.unwrap();
    primary.sign(None).await.unwrap();
    assert_eq!(scene.one("SELECT count(*) FROM dual.node"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_contact_is_repeatable_and_says_who_the_server_is() {
    first_contact(shared().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_contact_with_the_oldest_and_the_newest_version() {
    for version in OLDEST_AND_NEWEST {
        first_contact(shared_with(&Version::exact(version)).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_nodes_make_first_contact_at_once() {
    let database = shared().unwrap().database("contact").unwrap();
    let pools: Vec<Pool> = (0..4).map(|_| pool(&database.url(), tables())).collect();
    let (a, b, c, d) = tokio::join!(
        pools[0].prepare(),
        pools[1].prepare(),
        pools[2].prepare(),
        pools[3].prepare()
    );
    let all = [a.unwrap(), b.unwrap(), c.unwrap(), d.unwrap()];
    let made = all.iter().filter(|prepared| prepared.found.iter().any(|f| !f.steps.is_empty()));
    assert_eq!(made.count(), 1, "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_there_are_adopted_and_missing_triggers_are_a_gap() {
    let database = shared().unwrap().database("adopt").unwrap();
    database.execute("CREATE TABLE users (user_id bigint PRIMARY KEY, first_name text)").unwrap();
    database.execute("INSERT INTO users VALUES (1, 'a'), (2, 'b'), (3, 'c')").unwrap();
    let pool = pool(&database.url(), vec![users()]);
    let first = pool.prepare().await.unwrap();
    assert_eq!((first.found[0].adopted, first.has_gap()), (3, false));
    let relations = async || {
        let session = pool.get().await.unwrap();
        session.primary(FILE).unwrap().header().await.unwrap().epoch.relations
    };
    let before = relations().await;

    database.execute("ALTER TABLE users DISABLE TRIGGER dual_deleted").unwrap();
    database.execute("DELETE FROM users WHERE user_id = 2").unwrap();
    assert_eq!(before, relations().await);
    let second = pool.prepare().await.unwrap();
    assert_eq!((second.found[0].drift, second.has_gap()), (Drift::Triggers, true));
    assert_ne!(before, relations().await, "other files have to notice, too");
    // It is not known to be deleted: it is absent, and anybody who has it brings it back.
    let absent = "SELECT live, stamp = 0 FROM dual.side_users WHERE key = 2";
    assert_eq!(database.execute(absent).unwrap(), [[Some("t".into()), Some("t".into())]]);

    database.execute("ALTER TABLE users DISABLE TRIGGER USER").unwrap();
    database.execute("INSERT INTO users (user_id) VALUES (2), (4)").unwrap();
    let third = pool.prepare().await.unwrap();
    assert_eq!((third.found[0].drift, third.found[0].adopted), (Drift::Triggers, 2));
    let alive = "SELECT count(*) FROM dual.side_users WHERE live AND key IN (2, 4)";
    assert_eq!(database.execute(alive).unwrap(), [[Some("2".into())]]);

    // A column that the owner drops is added again; that is no gap of the triggers.
    database.execute("ALTER TABLE users DROP COLUMN language").unwrap_or_default();
    database.execute("SELECT setval(pg_get_serial_sequence('users', 'id'), 1)").unwrap();
    let before = relations().await;
    let fourth = pool.prepare().await.unwrap();
    assert!(!fourth.has_gap());
    assert_eq!(before, relations().await, "a sequence that was set is no other history");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_way_is_said_and_nothing_is_changed() {
    let database = shared().unwrap().database("obstacles").unwrap();
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname = 'dual'";
    database.execute("CREATE TABLE users (user_id text PRIMARY KEY)").unwrap();
    let pool = pool(&database.url(), vec![users()]);
    let error = pool.prepare().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Schema(Store::Postgres), "{error}");
    assert_eq!(database.execute(schemas).unwrap(), [[Some("0".into())]]);
    database.execute("DROP TABLE users").unwrap();
    pool.prepare().await.unwrap();
    database.execute("UPDATE dual.installation SET format = 99").unwrap();
    let error = pool.prepare().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Schema(Store::Postgres));
    assert!(error.message().contains("format 99"), "{error}");
    database.execute("DELETE FROM dual.installation").unwrap();
    let session = pool.get().await.unwrap();
    let error = session.primary(FILE).unwrap().header().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Schema(Store::Postgres), "{error}");
    database.execute("DROP SCHEMA dual CASCADE").unwrap();
    let error = session.primary(FILE).unwrap().header().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Schema(Store::Postgres), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_rights_is_told_which_grant() {
    let database = shared().unwrap().database("rights").unwrap();
    let role = format!("plain_{}", database.name());
    database.execute(&format!("CREATE ROLE {role} LOGIN")).unwrap();
    database
        .execute(
            "CREATE TABLE users (user_id bigint PRIMARY KEY, id int GENERATED ALWAYS AS IDENTITY)",
        )
        .unwrap();
    let pool = pool(&database.url_as(&role, None), vec![users()]);
    let error = pool.prepare().await.unwrap_err();
    assert_eq!(error.kind(), Kind::AccessDenied, "{error}");
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains(&format!("GRANT CREATE ON DATABASE \"{}\"", database.name())), "{hint}");
    database
        .execute(&format!("GRANT CREATE ON DATABASE \"{}\" TO {role}", database.name()))
        .unwrap();
    let error = pool.prepare().await.unwrap_err();
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE"), "{hint}");

    // What another role made is that role's.
    let owner = format!("owner_{}", database.name());
    database.execute("DROP TABLE users").unwrap();
    for sql in [
        format!("CREATE ROLE {owner} LOGIN"),
        format!("GRANT CREATE ON DATABASE \"{}\" TO {owner}", database.name()),
        format!("GRANT CREATE, USAGE ON SCHEMA public TO {owner}"),
    ] {
        database.execute(&sql).unwrap();
    }
    let owned = crate::primary_scene::pool(&database.url_as(&owner, None), vec![users()]);
    owned.prepare().await.unwrap();
    let error = pool.prepare().await.unwrap_err();
    assert_eq!(error.kind(), Kind::AccessDenied);
    // No membership is proposed, which would give more than that.
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains(&format!("GRANT USAGE ON SCHEMA dual TO \"{role}\"")), "{hint}");
    assert!(!hint.contains(&owner), "{hint}");
    pool.clear();
    owned.clear();
    for role in [role, owner] {
        database.execute(&format!("DROP OWNED BY {role} CASCADE")).unwrap();
        database.execute(&format!("DROP ROLE {role}")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_role_can_do_everything_once_it_may_make_a_schema() {
    let database = shared().unwrap().database("plain").unwrap();
    let role = format!("plain_{}", database.name());
    database.execute(&format!("CREATE ROLE {role} LOGIN")).unwrap();
    database
        .execute(&format!(
            "GRANT CREATE ON DATABASE \"{}\" TO {role}; GRANT CREATE, USAGE ON SCHEMA public TO {role}; \
             REVOKE TEMPORARY ON DATABASE \"{0}\" FROM PUBLIC",
            database.name()
        ))
        .unwrap();
    let pool = pool(&database.url_as(&role, None), vec![users()]);
    pool.prepare().await.unwrap();
    let session = pool.get().await.unwrap();
    let primary = session.primary(FILE).unwrap();
    assert!(primary.rotate(None, Token(1)).await.unwrap());
    assert_eq!(primary.header().await.unwrap().epoch.token, Some(Token(1)));
    drop(session);
    pool.clear();
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_other_files_are_replaced() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    let session = scene.session().await;
    let writer = |number| Writer::new(number).unwrap();
    let first = session.primary(FILE).unwrap();
    assert_eq!(first.claim_numbers(&[writer(3), writer(4)]).await.unwrap(), []);
    assert_eq!(first.claim_numbers(&[writer(4), writer(3)]).await.unwrap(), []);
    let second = session.primary(Uuid::from_u128(8)).unwrap();
    let replaced = second.claim_numbers(&[writer(2), writer(3), writer(4)]).await.unwrap();
    assert_eq!(replaced.iter().map(|(old, _)| *old).collect::<Vec<_>>(), [writer(3), writer(4)]);
    let fresh: Vec<Writer> = replaced.iter().map(|(_, new)| *new).collect();
    assert!(fresh[0] != fresh[1] && fresh.iter().all(|new| new.number() > 4 || new.number() == 1));
    assert_eq!(second.claim_numbers(&fresh).await.unwrap(), []);
    scene.sql(
        "INSERT INTO dual.writer (number, file) SELECT n, gen FROM generate_series(1, 16383) AS n, \
         (SELECT '00000000-0000-0000-0000-000000000063'::uuid AS gen) AS g ON CONFLICT DO NOTHING",
    );
    let error = second.claim_numbers(&[writer(3)]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Configuration);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_empties_the_tokens() {
    let server = Server::builder().start().unwrap();
    let database = server.database("crash").unwrap();
    let pool = pool(&database.url(), vec![users()]);
    pool.prepare().await.unwrap();
    let session = pool.get().await.unwrap();
    assert!(session.primary(FILE).unwrap().rotate(None, Token(1)).await.unwrap());
    server.stop(StopMode::Immediate).unwrap();
    let error = session.primary(FILE).unwrap().header().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    drop(session);
    assert!(pool.get().await.unwrap_err().is_unavailable());
    server.start().unwrap();
    let session = pool.get().await.unwrap();
    let epoch = session.primary(FILE).unwrap().header().await.unwrap().epoch;
    assert_eq!((epoch.token, epoch.life), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_used_again_unless_they_are_in_doubt() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    let pid = async |session: &dual_database::store::postgres::primary::Pooled| -> i32 {
        let rows = session.query("ask", "SELECT pg_backend_pid()", &[]).await.unwrap();
        rows[0].try_get(0).unwrap()
    };
    let (one, two) = (scene.session().await, scene.session().await);
    let (first, second) = (pid(&one).await, pid(&two).await);
    assert_ne!(first, second);
    drop(one);
    assert_eq!(pid(&scene.session().await).await, first);
    two.begin("begin").await.unwrap();
    drop(two);
    let (one, two) = (scene.session().await, scene.session().await);
    assert_eq!(pid(&one).await, first);
    assert_ne!(pid(&two).await, second);
    drop((one, two));
    scene.pool.clear();
    let one = scene.session().await;
    assert_ne!(pid(&one).await, first);
    let gone = pid(&one).await;
    drop(one);
    scene.sql(&format!("SELECT pg_terminate_backend({gone})"));
    // Until the news of its end has arrived it may be handed out once more.
    let mut session = scene.session().await;
    while session.query("ask", "SELECT 1", &[]).await.is_err() {
        session = scene.session().await;
    }
    assert_ne!(pid(&session).await, gone);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_all_sessions_busy_waits_but_not_for_ever() {
    let database = shared().unwrap().database("busy").unwrap();
    let limits = Limits { connect: Duration::from_millis(300), ..limits() };
    let settings = Settings::parse(&database.url()).unwrap();
    let pool = Pool::new(settings, limits, vec![users()].into(), 1);
    let held = pool.get().await.unwrap();
    assert!(pool.get().await.unwrap_err().is_unavailable());
    let (later, ()) = tokio::join!(pool.get(), async { drop(held) });
    later.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doorbell_rings_for_others_and_says_when_it_is_cut_off() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let listener = Listener::open(&settings, &limits()).await.unwrap();
    let quiet = tokio::time::timeout(Duration::from_millis(50), listener.notified()).await;
    assert!(quiet.is_err());
    for key in 1..3 {
        scene.sql(&format!("INSERT INTO users (user_id) VALUES ({key}); SELECT pg_sleep(1.1)"));
        tokio::time::timeout(Duration::from_secs(10), listener.notified()).await.unwrap().unwrap();
    }
    scene.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN%'",
    );
    let cut = tokio::time::timeout(Duration::from_secs(10), listener.notified()).await.unwrap();
    assert!(cut.unwrap_err().is_unavailable());
    assert!(listener.notified().await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn uninstalling_leaves_the_tables_as_they_are() {
    let scene = Scene::on(shared().unwrap(), tables()).await;
    scene.sql("INSERT INTO users (user_id, first_name) VALUES (1, 'a')");
    let session = scene.session().await;
    session.begin("uninstall").await.unwrap();
    uninstall(&session).await.unwrap();
    session.commit("uninstall").await.unwrap();
    let left = "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'dual') \
         + (SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal) \
         + (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace)";
    assert_eq!(scene.one(left), "0");
    scene.sql("UPDATE users SET first_name = 'b'; TRUNCATE \"it's \"\"awkward\"\" {k}{t} $dual$\"");
    assert_eq!(scene.one("SELECT first_name FROM users"), "b");
    let again = scene.pool.prepare().await.unwrap();
    assert!(!again.has_gap());
    assert_eq!(again.found[0].adopted, 1);
}

/// Passes everything to the server until somebody begins to look, then nothing.
async fn silent_at_a_look(server_port: u16) -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = tokio::net::TcpStream::connect(("127.0.0.1", server_port)).await.unwrap();
        let (mut asked, mut answered) = ([0; 8192], [0; 8192]);
        loop {
            tokio::select! {
                length = client.read(&mut asked) => {
                    let part = &asked[..length.unwrap()];
                    if part.windows(15).any(|text| text == b"REPEATABLE READ") {
                        std::future::pending::<()>().await;
                    }
                    server.write_all(part).await.unwrap();
                }
                length = server.read(&mut answered) => {
                    client.write_all(&answered[..length.unwrap()]).await.unwrap();
                }
            }
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_at_the_first_look_is_not_waited_for_as_for_an_adoption() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    let url = scene.database.url();
    let (head, rest) = url.rsplit_once(':').unwrap();
    let (port, name) = rest.split_once('/').unwrap();
    let port = silent_at_a_look(port.parse().unwrap()).await;
    let settings = Settings::parse(&format!("{head}:{port}/{name}")).unwrap();
    let limits = Limits { statement: Duration::from_secs(1), ..limits() };
    let pool = Pool::new(settings, limits, vec![users()].into(), 1);
    let looked = tokio::time::timeout(Duration::from_secs(20), pool.prepare()).await;
    let error = looked.expect("it does not wait for as long as an adoption takes").unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable(Store::Postgres), "{}", error.chain());
}
