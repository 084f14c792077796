use std::time::Duration;

use bytes::Bytes;
use dual_database::store::postgres::{Limits, Session, Settings, is_retryable, sqlstate};
use dual_database::{Error, Kind, Store};
use throwaway_postgres::{Server, StopMode, Version, shared, shared_with};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_postgres::types::Type;

const AWAY: Kind = Kind::Unavailable(Store::Postgres);

async fn open(url: &str) -> Result<Session, Error> {
    Session::open(&Settings::parse(url).unwrap(), &Limits::default()).await
}

async fn count(session: &Session, table: &str) -> i64 {
    let rows = session.query("count", &format!("SELECT count(*) FROM {table}"), &[]).await.unwrap();
    rows[0].try_get(0).unwrap()
}

fn assert_says(error: &Error, kind: Kind, words: &[&str]) {
    assert_eq!(error.kind(), kind, "{}", error.chain());
    let text = format!("{} / {}", error.chain(), error.hint().unwrap_or_default());
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[tokio::test]
async fn statements_copies_and_transactions() {
    let database = shared().unwrap().database("session").unwrap();
    let session = open(&database.url()).await.unwrap();
    assert!(session.version() >= 120_000);
    assert_eq!((session.user(), session.database()), ("postgres", database.name()));

    session.begin("begin").await.unwrap();
    session.batch("make", "CREATE TABLE public.t (id bigint, name text)").await.unwrap();
    let mut copy = session.copy_in("load", "COPY public.t FROM STDIN").await.unwrap();
    copy.send(Bytes::from_static(b"1\tone\n2\t")).await.unwrap();
    copy.send(Bytes::from_static(b"two\n")).await.unwrap();
    assert_eq!(copy.finish().await.unwrap(), 2);
    let parameters: &[_] = &[(&3_i64 as _, Type::INT8), (&"three" as _, Type::TEXT)];
    assert_eq!(
        session.execute("add", "INSERT INTO public.t VALUES ($1, $2)", parameters).await.unwrap(),
        1
    );
    session.commit("commit").await.unwrap();

    let mut copy = session
        .copy_out("read", "COPY (SELECT * FROM public.t ORDER BY id) TO STDOUT")
        .await
        .unwrap();
    let mut text = Vec::new();
    while let Some(part) = copy.next().await.unwrap() {
        text.extend_from_slice(&part);
    }
    assert_eq!(text, b"1\tone\n2\ttwo\n3\tthree\n");

    session.begin("begin").await.unwrap();
    session.batch("clear", "DELETE FROM public.t").await.unwrap();
    session.rollback("rollback").await.unwrap();
    assert_eq!(count(&session, "t").await, 3);
}

#[tokio::test]
async fn a_failed_transaction_cannot_be_committed() {
    let database = shared().unwrap().database("failed").unwrap();
    let session = open(&database.url()).await.unwrap();
    session.batch("make", "CREATE TABLE public.t (id int PRIMARY KEY)").await.unwrap();

    session.begin("begin").await.unwrap();
    session.batch("add", "INSERT INTO public.t VALUES (1)").await.unwrap();
    assert!(session.batch("add", "INSERT INTO public.t VALUES (1)").await.is_err());
    // The server would answer this COMMIT with success.
    let error = session.commit("commit").await.unwrap_err();
    assert_says(&error, Kind::Internal, &["did not succeed"]);
    session.rollback("rollback").await.unwrap();
    assert_eq!(count(&session, "t").await, 0);

    // A copy that is dropped, and a statement whose caller gives it up.
    session.begin("begin").await.unwrap();
    let mut copy = session.copy_in("load", "COPY public.t FROM STDIN").await.unwrap();
    copy.send(Bytes::from_static(b"7\n")).await.unwrap();
    drop(copy);
    assert!(session.commit("commit").await.is_err());
    session.rollback("rollback").await.unwrap();
    session.begin("begin").await.unwrap();
    let sleep = session.batch("wait", "SELECT pg_sleep(0.5)");
    assert!(tokio::time::timeout(Duration::from_millis(50), sleep).await.is_err());
    assert!(session.commit("commit").await.is_err());
    session.rollback("rollback").await.unwrap();
    assert_eq!(count(&session, "t").await, 0);
}

#[tokio::test]
async fn a_deferred_constraint_refuses_the_commit() {
    let database = shared().unwrap().database("deferred").unwrap();
    let session = open(&database.url()).await.unwrap();
    session
        .batch("make", "CREATE TABLE public.t (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        .await
        .unwrap();
    session.begin("begin").await.unwrap();
    session.batch("add", "INSERT INTO public.t VALUES (4711), (4711)").await.unwrap();
    let error = session.commit("commit").await.unwrap_err();
    assert_says(&error, Kind::InvalidData, &["t_id_key", "23505"]);
    assert!(!error.chain().contains("4711"), "{}", error.chain());
    assert!(!session.in_transaction());
    assert_eq!(count(&session, "t").await, 0);
}

#[tokio::test]
async fn refused_data_are_named_without_their_values() {
    let database = shared().unwrap().database("refused").unwrap();
    let session = open(&database.url()).await.unwrap();
    session
        .batch(
            "make",
            "CREATE TABLE public.t (id int PRIMARY KEY CHECK (id > 0), name varchar(3) NOT NULL)",
        )
        .await
        .unwrap();
    session.batch("add", "INSERT INTO public.t VALUES (4711, 'a')").await.unwrap();
    for (data, code, words) in [
        ("secret\ta\n", "22P02", &["column \"id\"", "line 1"][..]),
        ("1\ta\n2\tsecret\n", "22001", &["column \"name\"", "line 2", "too long"]),
        ("99999999999\ta\n", "22003", &["column \"id\""]),
        ("1\t\\N\n", "23502", &["\"name\""]),
        ("4711\tb\n", "23505", &["t_pkey"]),
        ("-4711\tb\n", "23514", &["t_id_check"]),
        ("1\n", "22P04", &["line 1"]),
    ] {
        let mut copy = session.copy_in("load", "COPY public.t FROM STDIN").await.unwrap();
        copy.send(Bytes::copy_from_slice(data.as_bytes())).await.unwrap();
        let error = copy.finish().await.unwrap_err();
        assert_says(&error, Kind::InvalidData, words);
        assert_eq!(sqlstate(&error), Some(code));
        assert!(!is_retryable(&error));
        let everything = format!("{error:?} {}", error.chain());
        for value in ["secret", "4711", "99999999999"] {
            assert!(!everything.contains(value), "{everything}");
        }
    }
    let trigger = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                   RAISE EXCEPTION 'not %', NEW.name; END $$; \
                   CREATE TRIGGER no BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION no()";
    session.batch("make", trigger).await.unwrap();
    let error = session.batch("add", "INSERT INTO public.t VALUES (5, 'sec')").await.unwrap_err();
    assert_says(&error, Kind::InvalidData, &["raised an error", "P0001"]);
    assert!(!format!("{error:?}").contains("sec'"), "{error:?}");
}

#[tokio::test]
async fn what_stops_a_connection_is_told_apart() {
    let server = Server::builder().password("right").start().unwrap();
    let at = |user: &str, password: &str, database: &str| {
        let port = server.port();
        format!("postgresql://{user}:{password}@127.0.0.1:{port}/{database}")
    };
    open(&at("postgres", "right", "postgres")).await.unwrap();
    let error = open(&at("postgres", "wrong-one", "postgres")).await.unwrap_err();
    assert_says(&error, Kind::AccessDenied, &["password", "28P01"]);
    assert!(!format!("{error:?}").contains("wrong-one"));
    let error = open(&at("nobody_here", "x", "postgres")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AccessDenied);
    let error = open(&at("postgres", "right", "missing")).await.unwrap_err();
    assert_says(&error, Kind::Configuration, &["missing", "CREATE DATABASE"]);
    let url = at("postgres", "right", "postgres");
    let error = open(&format!("{url}?sslmode=require")).await.unwrap_err();
    assert_says(&error, Kind::Configuration, &["TLS", "ALTER SYSTEM SET ssl = on"]);

    server
        .execute("postgres", "ALTER DATABASE postgres SET default_transaction_read_only = on")
        .unwrap();
    let error = open(&url).await.unwrap_err();
    assert_says(&error, AWAY, &["read-only"]);

    server.stop(StopMode::Fast).unwrap();
    let error = open(&url).await.unwrap_err();
    assert_says(&error, AWAY, &["connection refused", "is PostgreSQL running"]);
    let error = open("postgresql://u@no-such-host.invalid/d").await.unwrap_err();
    assert_says(&error, AWAY, &["no-such-host.invalid"]);
}

#[tokio::test]
async fn several_hosts_are_tried_in_order() {
    let database = shared().unwrap().database("hosts").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let port = shared().unwrap().port();
    let url = format!("postgresql://postgres@{closed},127.0.0.1:{port}/{}", database.name());
    let session = open(&url).await.unwrap();
    assert_eq!(session.address(), format!("127.0.0.1:{port}"));
    let url = format!("postgresql://postgres@{closed},127.0.0.1:{port}/missing");
    let error = open(&url).await.unwrap_err();
    assert_says(&error, Kind::Configuration, &["connection refused", "missing"]);
}

#[tokio::test]
async fn another_service_on_the_port_is_recognised() {
    for (greets, answer, name) in [
        (false, "HTTP/1.1 400 Bad Request\r\n\r\n", "a web server"),
        (true, "SSH-2.0-OpenSSH_9.2p1\r\n", "an SSH server"),
        (false, "-ERR unknown command\r\n", "Redis"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = tokio::spawn(async move {
            loop {
                let (mut peer, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut bytes = [0; 64];
                    if !greets {
                        let _ = peer.read(&mut bytes).await;
                    }
                    let _ = peer.write_all(answer.as_bytes()).await;
                    let _ = peer.read(&mut bytes).await;
                });
            }
        });
        for mode in ["disable", "prefer", "require"] {
            let settings =
                Settings::parse(&format!("postgresql://u@{address}/d?sslmode={mode}")).unwrap();
            let limits = Limits { connect: Duration::from_secs(1), ..Limits::default() };
            let error = Session::open(&settings, &limits).await.unwrap_err();
            let known = error.kind() == Kind::Configuration;
            assert!(known, "{mode}, {name}: {} {:?}", error, error.hint());
            if mode != "require" {
                assert_says(&error, Kind::Configuration, &["not PostgreSQL", name]);
            }
        }
        service.abort();
    }
}

#[tokio::test]
async fn a_silent_peer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("postgresql://u@{address}/d");
    let limits = Limits { connect: Duration::from_millis(300), ..Limits::default() };
    let error = Session::open(&Settings::parse(&url).unwrap(), &limits).await.unwrap_err();
    assert_says(&error, AWAY, &["no answer within"]);
}

/// A proxy that can stop passing bytes on, as a firewall that has forgotten the connection.
struct Proxy {
    port: u16,
    open: watch::Sender<bool>,
}

impl Proxy {
    async fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (open, gate) = watch::channel(true);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let (client_in, client_out) = client.into_split();
                let (server_in, server_out) = server.into_split();
                tokio::spawn(Proxy::pass(client_in, server_out, None));
                tokio::spawn(Proxy::pass(server_in, client_out, Some(gate.clone())));
            }
        });
        Proxy { port, open }
    }

    async fn pass(
        mut from: tokio::net::tcp::OwnedReadHalf,
        mut to: tokio::net::tcp::OwnedWriteHalf,
        gate: Option<watch::Receiver<bool>>,
    ) {
        let mut bytes = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut bytes).await {
            if gate.as_ref().is_some_and(|gate| !*gate.borrow()) {
                std::future::pending::<()>().await;
            }
            if to.write_all(&bytes[..length]).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test]
async fn swallowed_answers_are_noticed_and_a_commit_is_then_unknown() {
    let database = shared().unwrap().database("swallowed").unwrap();
    database.execute("CREATE TABLE t (id int)").unwrap();
    let proxy = Proxy::start(shared().unwrap().port()).await;
    let url = format!("postgresql://postgres@127.0.0.1:{}/{}", proxy.port, database.name());
    let settings = Settings::parse(&url).unwrap();
    let limits = Limits { statement: Duration::from_millis(1), ..Limits::default() };

    let mut session = Session::open(&settings, &Limits::default()).await.unwrap();
    session.begin("begin").await.unwrap();
    session.batch("add", "INSERT INTO public.t VALUES (1)").await.unwrap();
    session.set_limits(limits);
    proxy.open.send(false).unwrap();
    let error = session.commit("commit the rows").await.unwrap_err();
    assert_says(&error, Kind::OutcomeUnknown(Store::Postgres), &["no answer"]);
    assert!(session.is_closed());
    let error = session.batch("add", "SELECT 1").await.unwrap_err();
    assert_eq!(error.kind(), AWAY);
    // It was done: that is what "unknown" is about.
    let rows = database.execute("SELECT count(*) FROM t").unwrap();
    assert_eq!(rows[0][0].as_deref(), Some("1"));

    proxy.open.send(true).unwrap();
    let mut session = Session::open(&settings, &Limits::default()).await.unwrap();
    session.set_limits(limits);
    proxy.open.send(false).unwrap();
    let error = session.batch("add", "INSERT INTO public.t VALUES (2)").await.unwrap_err();
    assert_says(&error, AWAY, &["no answer"]);
    assert!(session.is_closed());
}

#[tokio::test]
async fn a_lost_server_is_unavailable_and_a_commit_not_sent_is_not_done() {
    let server = Server::builder().start().unwrap();
    let session = open(&server.url()).await.unwrap();
    session.begin("begin").await.unwrap();
    session.batch("make", "CREATE TABLE public.t (id int)").await.unwrap();
    server.stop(StopMode::Fast).unwrap();
    while !session.is_closed() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let error = session.commit("commit").await.unwrap_err();
    assert_says(&error, AWAY, &["57P01"]);
    server.start().unwrap();
    assert_eq!(server.execute("postgres", "SELECT to_regclass('t')").unwrap(), [[None]]);
}

#[tokio::test]
async fn the_servers_limits_hold_within_a_transaction_only() {
    let database = shared().unwrap().database("limits").unwrap();
    database.execute("CREATE TABLE t (id int)").unwrap();
    let limits = Limits {
        statement: Duration::from_secs(1),
        lock: Duration::from_millis(300),
        ..Limits::default()
    };
    let settings = Settings::parse(&database.url()).unwrap();
    let session = Session::open(&settings, &limits).await.unwrap();
    session.begin("begin").await.unwrap();
    // A program that is stopped in the middle holds its locks no longer than that.
    let rows =
        session.query("look", "SHOW idle_in_transaction_session_timeout", &[]).await.unwrap();
    assert_eq!(rows[0].try_get::<_, &str>(0).unwrap(), "10s");
    let error = session.batch("wait", "SELECT pg_sleep(60)").await.unwrap_err();
    assert_says(&error, AWAY, &["57014"]);
    session.rollback("rollback").await.unwrap();

    let other = open(&database.url()).await.unwrap();
    other.begin("begin").await.unwrap();
    other.batch("lock", "LOCK TABLE public.t").await.unwrap();
    session.begin("begin").await.unwrap();
    let error = session.batch("read", "SELECT * FROM public.t").await.unwrap_err();
    assert_says(&error, AWAY, &["55P03", "pg_stat_activity"]);
    assert!(is_retryable(&error));
    session.rollback("rollback").await.unwrap();
    let rows = session.query("look", "SHOW statement_timeout", &[]).await.unwrap();
    assert_eq!(rows[0].try_get::<_, &str>(0).unwrap(), "0");
}

#[tokio::test]
async fn the_oldest_and_the_newest_version() {
    for (version, number) in [("12.22.0-beta.15", 120_000), ("18.4.0-beta.17", 180_000)] {
        let server = shared_with(&Version::exact(version)).unwrap();
        let session = open(&server.url()).await.unwrap();
        assert_eq!(session.version() / 10_000 * 10_000, number);
        session.begin_snapshot("begin").await.unwrap();
        session.commit("commit").await.unwrap();
    }
}

/// PostgreSQL 17 and newer can end a session whose transaction takes long, whatever it does.
#[tokio::test]
async fn a_limit_on_whole_transactions_does_not_end_ours() {
    let server = shared_with(&Version::exact("18.4.0-beta.17")).unwrap();
    let database = server.database("whole").unwrap();
    let user = format!("user_{}", database.name());
    let made =
        format!("CREATE ROLE {user} LOGIN; ALTER ROLE {user} SET transaction_timeout = '1s'");
    database.execute(&made).unwrap();
    let session = open(&database.url_as(&user, None)).await.unwrap();
    session.begin("begin").await.unwrap();
    session.batch("wait", "SELECT pg_sleep(2)").await.unwrap();
    session.commit("commit").await.unwrap();
    session.begin_snapshot("begin").await.unwrap();
    session.batch("wait", "SELECT pg_sleep(2)").await.unwrap();
    session.commit("commit").await.unwrap();
    session.ask("look", "SELECT pg_sleep(2)", &[]).await.unwrap();
    // Where it holds it is no fault of the data or of ours.
    let error = session.batch("wait", "SELECT pg_sleep(60)").await.unwrap_err();
    assert_says(&error, AWAY, &["25P04", "ALTER ROLE"]);
    assert!(is_retryable(&error));
    // The server says so, and then goes.
    let gone = async {
        while !session.is_closed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    drop(session);
    database.execute(&format!("DROP ROLE {user}")).unwrap();
}

#[tokio::test]
async fn missing_rights_come_with_their_grant() {
    let database = shared().unwrap().database("rights").unwrap();
    let user = format!("user_{}", database.name());
    database
        .execute(&format!(
            "CREATE ROLE {user} LOGIN; CREATE TABLE t (id int); \
             REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO {user}; \
             REVOKE ALL ON DATABASE {} FROM PUBLIC; GRANT CONNECT ON DATABASE {} TO {user}",
            database.name(),
            database.name()
        ))
        .unwrap();
    let session = open(&database.url_as(&user, None)).await.unwrap();
    let to = format!("TO \"{user}\"");
    for (sql, grant) in [
        ("CREATE TABLE mine (id int)", "GRANT USAGE, CREATE ON SCHEMA \"public\""),
        ("CREATE TEMPORARY TABLE mine (id int)", "GRANT TEMPORARY ON DATABASE"),
        ("CREATE SCHEMA mine", "GRANT CREATE, CONNECT ON DATABASE"),
        ("SELECT * FROM t", "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE \"t\""),
    ] {
        let error = session.batch("try", sql).await.unwrap_err();
        assert_says(&error, Kind::AccessDenied, &[grant, &to]);
    }
    // No right short of being the owner is enough, so none is proposed.
    let error = session.batch("try", "ALTER TABLE t ADD COLUMN x int").await.unwrap_err();
    assert_says(&error, Kind::AccessDenied, &["the owner of the table \"t\""]);
    assert!(!error.hint().unwrap().contains(&to));
    drop(session);
    database.execute(&format!("DROP OWNED BY {user}; DROP ROLE {user}")).unwrap();
}

#[tokio::test]
async fn a_question_that_is_given_up_takes_its_session_with_it() {
    let database = shared().unwrap().database("given_up").unwrap();
    let session = open(&database.url()).await.unwrap();
    let sleeps = session.query("sleep", "SELECT pg_sleep(30)", &[]);
    assert!(tokio::time::timeout(Duration::from_millis(100), sleeps).await.is_err());
    assert!(session.is_closed(), "the next one would wait behind it");
}
