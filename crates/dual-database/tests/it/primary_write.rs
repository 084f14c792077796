//! Library writes on real servers: admission, answers, and what becomes of a lost one.

use std::process::Command;
use std::time::{Duration, Instant};

use dual_database::merge::{Change, Defaults, Version, misses_none, written};
use dual_database::protocol::Token;
use dual_database::schema::{RowId, users};
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::postgres::primary::{Pool, Primary, Refused, WriteAnswer};
use dual_database::store::postgres::{Limits, Settings};
use dual_database::value::Value;
use dual_database::{Kind, Result, Store};
use throwaway_postgres::{Server, StopMode, Version as Release, shared, shared_with};

use crate::primary_scene::{FILE, OLDEST_AND_NEWEST, Scene, id as user, limits, tables, text};

const FIRST_NAME: usize = 1;

/// A new user of that name; everything else at its default.
fn new(name: &str) -> Change {
    let mut values = users().defaults();
    values[FIRST_NAME] = text(name);
    Change::Insert(values)
}

fn rename(name: &str) -> Change {
    Change::Update(vec![(FIRST_NAME, text(name))])
}

/// Stamps of one process, by the server's clock.
struct Stamps(Stamp);

impl Stamps {
    async fn of(primary: &Primary<'_>) -> Stamps {
        let now = primary.header().await.unwrap().now_ms;
        Stamps(Stamp::at(now, Writer::new(9).unwrap()))
    }

    fn next(&mut self) -> Stamp {
        self.0 = self.0.next(self.0.writer());
        self.0
    }
}

async fn one(
    primary: &Primary<'_>,
    key: i64,
    change: Change,
    stamp: Stamp,
) -> Result<Result<WriteAnswer, Refused>> {
    primary.write(&[(user(key), change)], stamp, &[]).await
}

async fn life_of_a_row(server: &'static Server) {
    let scene = Scene::on(server, tables()).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    primary.rotate(None, Token(1)).await.unwrap();
    let header = primary.header().await.unwrap();
    let mut stamps = Stamps::of(&primary).await;
    let defaults = Defaults::new(users().defaults());

    let mut previous: Option<Version> = None;
    for (change, allowed) in [
        (rename("nobody"), Some(Refused::Missing(user(1)))),
        (Change::Delete, Some(Refused::Missing(user(1)))),
        (new("Анна"), None),
        (new("again"), Some(Refused::Exists(user(1)))),
        (rename("it's \"Bob\"\\"), None),
        (
            Change::Update(vec![(0, Value::Null), (11, Value::Int(-5)), (12, Value::Bool(true))]),
            None,
        ),
        (rename("it's \"Bob\"\\"), None),
        (Change::Delete, None),
        (Change::Delete, Some(Refused::Missing(user(1)))),
        (new("second"), None),
    ] {
        let stamp = stamps.next();
        let answer = one(&primary, 1, change.clone(), stamp).await.unwrap();
        let Ok(mut answer) = answer else {
            assert_eq!(answer.unwrap_err(), allowed.unwrap());
            continue;
        };
        assert_eq!(allowed, None, "{change:?}");
        assert_eq!(answer.epoch, header.epoch);
        let row = answer.rows.remove(0);
        let valueless = previous.clone().map(|mut version| {
            version.columns.iter_mut().for_each(|column| column.value = Value::Null);
            version
        });
        assert_eq!(row.previous, valueless, "{change:?}");
        let expected = written(previous.as_ref(), &change, stamp, Stamp::ZERO, &defaults);
        assert_eq!(row.row.version, expected, "{change:?}");
        assert_eq!((&row.row.id, row.row.txid), (&user(1), answer.txid));
        assert_eq!(row.row.surrogate.is_some(), expected.live.value);
        assert_eq!(primary.row(&user(1)).await.unwrap(), Some(row.row));
        previous = Some(expected);
    }
    let txids = "SELECT count(*) FROM dual.side_users WHERE txid >= txid_snapshot_xmax(txid_current_snapshot())";
    assert_eq!(scene.one(txids), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_row() {
    life_of_a_row(shared().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_a_row_in_the_oldest_and_the_newest_version() {
    for version in OLDEST_AND_NEWEST {
        life_of_a_row(shared_with(&Release::exact(version)).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tables_and_rows_are_one_transaction() {
    let scene = Scene::on(shared().unwrap(), tables()).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let mut stamps = Stamps::of(&primary).await;
    let other = |key: i64| RowId::new(1, key);
    let born = |moment: &str| {
        Change::Insert(vec![text(moment), Value::Null, Value::Int(i64::from(i32::MIN))])
    };
    let stamp = stamps.next();
    let changes = [
        (other(5), born("a")),
        (user(3), new("three")),
        (other(4), born("'; DROP TABLE users; --")),
        (user(2), new("two")),
    ];
    let done = primary.write(&changes, stamp, &[]).await.unwrap().unwrap();
    let ids: Vec<RowId> = done.rows.iter().map(|row| row.row.id.clone()).collect();
    assert_eq!(ids, [other(5), user(3), other(4), user(2)]);
    assert!(done.rows.iter().all(|row| row.row.txid == done.txid && row.previous.is_none()));
    assert_eq!(done.rows[2].row.version.columns[2].value, Value::Int(i64::from(i32::MIN)));

    // One that does not go takes all with it.
    let changes = [(user(2), rename("lost")), (other(5), Change::Delete), (other(6), rename("x"))];
    let changes = changes.map(|(id, change)| match id.table {
        1 if id.key == 6 => (id, Change::Update(vec![(0, text("x"))])),
        _ => (id, change),
    });
    let refused = primary.write(&changes, stamps.next(), &[]).await.unwrap().unwrap_err();
    assert_eq!(refused, Refused::Missing(other(6)));
    assert_eq!(scene.one("SELECT first_name FROM users WHERE user_id = 2"), "two");
    assert_eq!(primary.count(1, &Default::default()).await.unwrap(), 2);
    let reused = primary.header().await;
    assert!(reused.is_ok() && !session.in_transaction());

    // What was read has to stand still, over all tables.
    let read = |rows: &WriteAnswer, at: usize| {
        (rows.rows[at].row.id.clone(), Some(rows.rows[at].row.version.clone()))
    };
    let reads = [read(&done, 3), read(&done, 2), (user(77), None)];
    let moved = primary.write(&[(user(3), rename("ok"))], stamps.next(), &reads).await.unwrap();
    assert!(moved.is_ok());
    scene.sql("UPDATE \"it's \"\"awkward\"\" {k}{t} $dual$\" SET moment = 'x' WHERE own = 4");
    let moved = primary.write(&[(user(3), rename("no"))], stamps.next(), &reads).await.unwrap();
    assert_eq!(moved.unwrap_err(), Refused::Changed(other(4)));
    let reads = [(user(77), None), (user(2), None)];
    let moved = primary.write(&[(user(3), rename("no"))], stamps.next(), &reads).await.unwrap();
    assert_eq!(moved.unwrap_err(), Refused::Changed(user(2)));
    let only = primary.write(&[], stamps.next(), &[(user(77), None)]).await.unwrap().unwrap();
    assert_eq!((only.rows.len(), only.txid), (0, 0));

    let twice = [(user(2), rename("a")), (user(2), rename("b"))];
    let error = primary.write(&twice, stamps.next(), &[]).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidData);

    // Deleted and inserted in one go, the unique value passes on.
    scene.sql("CREATE UNIQUE INDEX ON users (phone_number)");
    let mut values = users().defaults();
    values[3] = text("+7");
    let holds = Change::Insert(values);
    one(&primary, 20, holds.clone(), stamps.next()).await.unwrap().unwrap();
    let passes = [(user(21), holds.clone()), (user(20), Change::Delete)];
    primary.write(&passes, stamps.next(), &[]).await.unwrap().unwrap();
    let error = one(&primary, 22, holds, stamps.next()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidData);
    assert!(error.message().contains("users_phone_number_idx"), "{error}");
}

/// A table that refers to one that is declared after it.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_refer_to_each_other_are_written_as_the_caller_wrote_them() {
    let scene = Scene::on(shared().unwrap(), tables()).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    scene.sql(
        "ALTER TABLE users ADD FOREIGN KEY (referrer_id) \
         REFERENCES \"it's \"\"awkward\"\" {k}{t} $dual$\" (own)",
    );
    let mut stamps = Stamps::of(&primary).await;
    let referrer = users().data_columns().position(|column| &*column.name == "referrer_id");
    let referrer = referrer.unwrap();
    let other = |key: i64| RowId::new(1, key);
    let born = || Change::Insert(vec![Value::Null; 3]);
    let brought_by = |own: i64| {
        let mut values = users().defaults();
        values[referrer] = Value::Int(own);
        Change::Insert(values)
    };
    for changes in [
        vec![(other(5), born()), (user(3), brought_by(5))],
        // Whoever refers is led elsewhere before what it referred to goes.
        vec![
            (other(6), born()),
            (user(3), Change::Update(vec![(referrer, Value::Int(6))])),
            (other(5), Change::Delete),
        ],
        vec![(user(3), Change::Delete), (other(6), Change::Delete)],
    ] {
        primary.write(&changes, stamps.next(), &[]).await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_refuses_leaves_nothing_and_shows_no_value() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    scene.sql("ALTER TABLE users ADD CHECK (first_name <> 'secret')");
    scene.sql("ALTER TABLE users ALTER real_name TYPE varchar(3)");
    scene.sql(
        "CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN IF NEW.first_name = ''nothing'' THEN RETURN NULL; END IF; \
         IF NEW.first_name = ''loud'' THEN NEW.first_name := ''LOUD''; END IF; RETURN NEW; END'; \
         CREATE TRIGGER t BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION leave_out()",
    );
    scene.pool.prepare().await.unwrap();
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let mut stamps = Stamps::of(&primary).await;
    one(&primary, 1, new("a"), stamps.next()).await.unwrap().unwrap();
    let long = Change::Update(vec![(4, text("secret"))]);
    for change in [rename("secret"), long, rename("nothing"), rename("a\0secret")] {
        let error = one(&primary, 1, change.clone(), stamps.next()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidData, "{error}");
        assert!(!error.chain().contains("secret"), "{}", error.chain());
    }
    let error = one(&primary, 2, new("nothing"), stamps.next()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidData, "{error}");
    assert_eq!(scene.one("SELECT count(*) FROM dual.side_users"), "1");

    // What the user's trigger has made of it is not this write's.
    let stamp = stamps.next();
    let done = one(&primary, 1, rename("loud"), stamp).await.unwrap().unwrap();
    let register = &done.rows[0].row.version.columns[FIRST_NAME];
    assert_eq!(register.value, text("LOUD"));
    assert!(register.stamp > stamp);
}

#[tokio::test(flavor = "multi_thread")]
async fn proposals_that_come_late_or_from_the_future_are_refused() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let mut stamps = Stamps::of(&primary).await;
    let (early, late) = (stamps.next(), stamps.next());
    one(&primary, 1, new("a"), late).await.unwrap().unwrap();
    for change in [rename("b"), Change::Delete] {
        let refused = one(&primary, 1, change, early).await.unwrap().unwrap_err();
        assert_eq!(refused, Refused::Stale { above: late });
    }
    let wild = Stamp::at(late.unix_ms() + 120_000, late.writer());
    assert_eq!(one(&primary, 1, rename("b"), wild).await.unwrap().unwrap_err(), Refused::Ahead);
    scene.sql(&format!("UPDATE dual.installation SET horizon = {}", late.raw() + 99_999_999));
    let refused = one(&primary, 2, new("b"), late).await.unwrap().unwrap_err();
    assert!(matches!(refused, Refused::Stale { above } if above > late));
}

/// `late_statement.py`: the client gives up on a statement that waits for a lock, writes again,
/// and the statement is executed after that.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_was_stuck_loses_to_the_later_write() {
    stuck(&[1]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_several_rows_that_was_stuck_loses_with_all_of_them() {
    stuck(&[1, 2]).await;
}

/// A write of those rows waits for a lock on the first, and comes too late for it.
async fn stuck(keys: &[i64]) {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let mut stamps = Stamps::of(&primary).await;
    for key in keys {
        one(&primary, *key, new("old"), stamps.next()).await.unwrap().unwrap();
    }

    let short = Limits { statement: Duration::ZERO, lock: Duration::ZERO, ..limits() };
    let patient =
        Pool::new(Settings::parse(&scene.database.url()).unwrap(), short, vec![users()].into(), 2);
    patient.prepare().await.unwrap();
    let stuck = patient.get().await.unwrap();
    let blocker = scene.session().await;
    blocker.begin("block").await.unwrap();
    blocker.batch("block", "SELECT FROM public.users WHERE user_id = 1 FOR UPDATE").await.unwrap();
    let (first, second) = (stamps.next(), stamps.next());
    let changes: Vec<_> = keys.iter().map(|key| (user(*key), rename("W1"))).collect();
    let first_write = tokio::spawn(async move {
        let primary = stuck.primary(FILE).unwrap();
        primary.write(&changes, first, &[]).await
    });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND datname = current_database()";
    while scene.one(waits) == "0" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Its caller has gone; a later write of the same caller is put before it.
    blocker
        .batch("write", "SELECT set_config('dual.before', txid_current() || ':', true)")
        .await
        .unwrap();
    let changes = format!(
        "[{{\"key\": 1, \"alive\": null, \"s_first_name\": {}, \"v_first_name\": \"W2\"}}]",
        second.raw()
    );
    blocker
        .batch("write", &format!("SELECT dual.users_write('{changes}', {}, '[]')", second.raw()))
        .await
        .unwrap();
    blocker.commit("commit").await.unwrap();
    let refused = first_write.await.unwrap().unwrap().unwrap_err();
    assert_eq!(refused, Refused::Stale { above: second });
    assert_eq!(scene.one("SELECT first_name FROM users WHERE user_id = 1"), "W2");
    assert_eq!(scene.one("SELECT count(*) FROM users WHERE first_name = 'W1'"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_waits_too_long_is_over_on_the_server_as_well() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    let limits =
        Limits { statement: Duration::from_secs(3), lock: Duration::from_secs(1), ..limits() };
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let pool = Pool::new(settings, limits, vec![users()].into(), 2);
    pool.prepare().await.unwrap();
    let session = pool.get().await.unwrap();
    let primary = session.primary(FILE).unwrap();
    let mut stamps = Stamps::of(&primary).await;
    one(&primary, 1, new("old"), stamps.next()).await.unwrap().unwrap();
    let blocker = scene.session().await;
    blocker.begin("block").await.unwrap();
    blocker.batch("block", "SELECT FROM public.users FOR UPDATE").await.unwrap();
    let began = Instant::now();
    let error = one(&primary, 1, rename("late"), stamps.next()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable(Store::Postgres), "{error}");
    assert!(began.elapsed() < Duration::from_secs(60));
    blocker.rollback("give way").await.unwrap();
    // The session goes on, and nothing of it comes later.
    assert!(primary.header().await.is_ok());
    assert_eq!(scene.one("SELECT first_name FROM users"), "old");
}

/// A server process that does not answer any more looks like a network that swallows packets.
fn signal(backend: i32, signal: &str) {
    let done = Command::new("kill").args([&format!("-{signal}"), &backend.to_string()]).status();
    assert!(done.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_not_the_same_as_a_refusal() {
    let server = Server::builder().start().unwrap();
    let database = server.database("lost").unwrap();
    let limits = Limits {
        connect: Duration::from_secs(5),
        statement: Duration::from_secs(2),
        lock: Duration::from_secs(1),
        grace: Duration::from_millis(500),
    };
    let settings = Settings::parse(&database.url()).unwrap();
    let pool = Pool::new(settings, limits, vec![users()].into(), 2);
    pool.prepare().await.unwrap();
    let session = pool.get().await.unwrap();
    let primary = session.primary(FILE).unwrap();
    let mut stamps = Stamps::of(&primary).await;
    one(&primary, 1, new("a"), stamps.next()).await.unwrap().unwrap();

    let rows = session.query("ask", "SELECT pg_backend_pid()", &[]).await.unwrap();
    let backend: i32 = rows[0].try_get(0).unwrap();
    signal(backend, "STOP");
    let began = Instant::now();
    let error = one(&primary, 1, rename("b"), stamps.next()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::OutcomeUnknown(Store::Postgres), "{error}");
    assert!(began.elapsed() < Duration::from_secs(60));
    assert!(session.is_closed());
    // Nothing more is sent, so nothing more can have been done.
    let error = one(&primary, 1, rename("c"), stamps.next()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable(Store::Postgres), "{error}");
    signal(backend, "CONT");
    drop(session);

    let session = pool.get().await.unwrap();
    let primary = session.primary(FILE).unwrap();
    server.stop(StopMode::Immediate).unwrap();
    let error = one(&primary, 1, rename("d"), stamps.next()).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::OutcomeUnknown(_) | Kind::Unavailable(_)), "{error}");
    drop(session);
    let refused = pool.get().await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable(Store::Postgres));
}

/// `half_a_transfer.py`: the answer tells what was there before, so that a file which has not
/// seen somebody's transaction does not take half of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_answer_shows_whether_the_file_misses_something() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let mut stamps = Stamps::of(&primary).await;
    let set = |balance: i64| Change::Update(vec![(10, Value::Int(balance))]);
    let mut local = Vec::new();
    for key in 1..=3 {
        one(&primary, key, new("x"), stamps.next()).await.unwrap().unwrap();
        let done = one(&primary, key, set(100), stamps.next()).await.unwrap().unwrap();
        local.push(done.rows[0].row.version.clone());
    }
    scene.sql(
        "UPDATE users SET referrer_id = CASE user_id WHEN 1 THEN 50 ELSE 150 END WHERE user_id < 3",
    );
    let read = primary.row(&user(1)).await.unwrap().unwrap();
    assert_eq!(read.version.columns[10].value, Value::Int(50));
    let reads = [(user(1), Some(read.version)), (user(3), Some(local[2].clone()))];
    let now = primary.header().await.unwrap().now_ms;
    let stamp = Stamp::at(now + 1, Writer::new(9).unwrap());
    let transfer = [(user(1), set(40)), (user(3), set(110))];
    let done = primary.write(&transfer, stamp, &reads).await.unwrap().unwrap();
    assert!(!misses_none(Some(&local[0]), done.rows[0].previous.as_ref()));
    assert!(misses_none(Some(&local[2]), done.rows[1].previous.as_ref()));
    // The same transfer, computed from what has changed since, is refused.
    let again = primary.write(&transfer, stamp.next(stamp.writer()), &reads).await.unwrap();
    assert_eq!(again.unwrap_err(), Refused::Changed(user(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_transactions_in_opposite_order_do_not_deadlock() {
    let scene = Scene::on(shared().unwrap(), tables()).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let mut stamps = Stamps::of(&primary).await;
    let other = |key: i64| RowId::new(1, key);
    let row = |at: &str| Change::Insert(vec![text(at), Value::Null, Value::Null]);
    let ids: Vec<RowId> = (1..5).flat_map(|key| [user(key), other(key)]).collect();
    let born = |id: &RowId| (id.clone(), if id.table == 0 { new("x") } else { row("x") });
    let births: Vec<(RowId, Change)> = ids.iter().map(born).collect();
    primary.write(&births, stamps.next(), &[]).await.unwrap().unwrap();
    let base = stamps.next();
    let run = async |reverse: bool, number: u16| {
        let session = scene.session().await;
        let primary = session.primary(FILE).unwrap();
        let mut stamp = Stamp::at(base.unix_ms() + 1, Writer::new(number).unwrap());
        for _ in 0..30 {
            let column = |id: &RowId| usize::from(id.table == 0);
            let mut changes: Vec<(RowId, Change)> = ids
                .iter()
                .map(|id| (id.clone(), Change::Update(vec![(column(id), text("y"))])))
                .collect();
            if reverse {
                changes.reverse();
            }
            loop {
                match primary.write(&changes, stamp, &[]).await.unwrap() {
                    Ok(_) => break,
                    Err(Refused::Stale { above }) => stamp = above.next(stamp.writer()),
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    };
    tokio::join!(run(false, 1), run(true, 2), run(false, 3));
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(scene.one(deadlocks), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_write_is_on_the_disk_whatever_the_server_is_set_to() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    let name = scene.database.name();
    scene.sql(&format!("ALTER DATABASE \"{name}\" SET synchronous_commit = off"));
    scene.pool.clear();
    scene.sql(
        "CREATE TABLE seen (setting text); CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN INSERT INTO public.seen VALUES (current_setting(''synchronous_commit'')); RETURN NULL; END'; \
         CREATE TRIGGER look AFTER INSERT ON users EXECUTE FUNCTION look()",
    );
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let mut stamps = Stamps::of(&primary).await;
    one(&primary, 1, new("a"), stamps.next()).await.unwrap().unwrap();
    session.begin("outside").await.unwrap();
    session.batch("outside", "INSERT INTO public.users (user_id) VALUES (2)").await.unwrap();
    session.commit("outside").await.unwrap();
    assert_eq!(scene.one("SELECT string_agg(setting, ',') FROM seen"), "on,on");
}
