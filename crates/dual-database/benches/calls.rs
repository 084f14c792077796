//! What a call on both stores costs beside the same on each of them alone, by the bare drivers,
//! in one run. Not a test: machines are shared, only the ratios within one run mean something.
//!
//! With PostgreSQL on this machine, and as far away as it usually is: behind a relay that gives
//! every byte the way of a network.
//!
//! `cargo bench --workspace --bench calls [-- ROWS [ROUND_TRIP_MS]]`

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dual_database::DualDatabase;
use dual_database::database::{Prefer, WriteMode};
use dual_database::schema::{Dialect, users};
use dual_database::users::UserPatch;
use rusqlite::params;
use throwaway_postgres::Server;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_postgres::{Client, NoTls};

/// How many callers there are where they are concurrent: as many as the library has sessions.
const CALLERS: i64 = 8;

const INSERT: &str = "INSERT INTO users (user_id, first_name, status, profile_completed, \
    ai_concept) VALUES ($1, $2, 'registered', false, 'evgenich')";
const UPDATE: &str = "UPDATE users SET status = $2 WHERE user_id = $1";
const SELECT: &str = "SELECT * FROM users WHERE user_id = $1";

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse::<i64>().ok());
    let rows = numbers.next().unwrap_or(2_000);
    let round_trip = numbers.next().and_then(|ms| u64::try_from(ms).ok()).unwrap_or(5);
    let one_way = Duration::from_micros(round_trip * 500);
    let server = Server::builder().fsync(true).start().unwrap();
    let folder = tempfile::tempdir().unwrap();
    println!("{}, {rows} rows, {CALLERS} callers", server.binaries().version());
    println!("{:<34} {:>9} {:>9} {:>9}", "calls/s", "add", "update", "get");
    rusqlite_alone(&folder.path().join("alone.db"), rows);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        stores(&server, folder.path(), rows, server.port()).await;
        let relay = relay(server.port(), one_way).await;
        let rows = (rows / 10).max(100);
        println!("PostgreSQL {round_trip} ms away, {rows} rows");
        stores(&server, folder.path(), rows, relay).await;
    });
}

/// PostgreSQL alone and both stores; the server answers at that port.
async fn stores(server: &Server, folder: &Path, rows: i64, port: u16) {
    let at = |url: String| url.replace(&format!(":{}/", server.port()), &format!(":{port}/"));
    let alone = server.database("alone").unwrap();
    alone.execute(&users().create_statement(Dialect::Postgres, "users")).unwrap();
    postgres_alone(&at(alone.url()), rows).await;
    for (name, mode, prefer) in [
        ("both", WriteMode::Both, Prefer::Postgres),
        ("both, local reads", WriteMode::Both, Prefer::Local),
        ("local first, local reads", WriteMode::LocalFirst, Prefer::Local),
    ] {
        let database = server.database("both").unwrap();
        let db = DualDatabase::builder()
            .postgres_url(at(database.url()))
            .sqlite_path(folder.join(format!("{}.db", database.name())))
            .write_mode(mode)
            .prefer(prefer)
            .timeout(Duration::from_secs(60))
            .open()
            .await
            .unwrap();
        both(name, &db, rows).await;
        db.close(Duration::from_secs(30)).await;
    }
}

/// A port behind which everything arrives that much later, in each direction.
async fn relay(port: u16, later: Duration) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            let far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            near.set_nodelay(true).unwrap();
            far.set_nodelay(true).unwrap();
            let (near, far) = (near.into_split(), far.into_split());
            tokio::spawn(carry(near.0, far.1, later));
            tokio::spawn(carry(far.0, near.1, later));
        }
    });
    own
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, later: Duration) {
    let (under_way, mut arriving) = tokio::sync::mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((due, bytes)) = arriving.recv().await {
            tokio::time::sleep_until(due.into()).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if under_way.send((Instant::now() + later, buffer[..count].to_vec())).is_err() {
            break;
        }
    }
}

fn report(name: &str, rows: i64, times: [Duration; 3]) {
    let rate = |time: Duration| rows as f64 / time.as_secs_f64();
    let [add, update, get] = times.map(rate);
    println!("{name:<34} {add:>9.0} {update:>9.0} {get:>9.0}");
}

fn rusqlite_alone(path: &std::path::Path, rows: i64) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(&users().create_statement(Dialect::Sqlite, "users")).unwrap();
    for synchronous in ["NORMAL", "FULL"] {
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous}"
            ))
            .unwrap();
        connection.execute_batch("DELETE FROM users").unwrap();
        let timed = |sql: &str, second: Option<&str>| {
            let started = Instant::now();
            // SQLite takes `$1` for a name.
            let sql = sql.replace('$', "?");
            for key in 1..=rows {
                let mut statement = connection.prepare_cached(&sql).unwrap();
                match second {
                    Some(text) => drop(statement.execute(params![key, text]).unwrap()),
                    None => drop(statement.query(params![key]).unwrap().next().unwrap()),
                }
            }
            started.elapsed()
        };
        let times = [timed(INSERT, Some("Anna")), timed(UPDATE, Some("x")), timed(SELECT, None)];
        report(&format!("rusqlite, one caller, {synchronous}"), rows, times);
    }
}

async fn client(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn postgres_alone(url: &str, rows: i64) {
    for callers in [1, CALLERS] {
        let first = client(url).await;
        first.batch_execute("TRUNCATE users").await.unwrap();
        let mut times = [Duration::ZERO; 3];
        for (at, (sql, text)) in
            [(INSERT, Some("Anna")), (UPDATE, Some("x")), (SELECT, None)].into_iter().enumerate()
        {
            let started = Instant::now();
            let tasks: Vec<_> = (0..callers)
                .map(|caller| {
                    let url = url.to_owned();
                    tokio::spawn(async move {
                        // A connection of his own.
                        let client = client(&url).await;
                        let statement = client.prepare(sql).await.unwrap();
                        for key in (1..=rows).filter(|key| key % callers == caller) {
                            match text {
                                Some(text) => {
                                    client.execute(&statement, &[&key, &text]).await.unwrap();
                                }
                                None => drop(client.query(&statement, &[&key]).await.unwrap()),
                            }
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            times[at] = started.elapsed();
        }
        report(&format!("tokio-postgres, callers: {callers}"), rows, times);
    }
}

async fn both(name: &str, db: &DualDatabase, rows: i64) {
    let mut base = 0;
    for callers in [1, CALLERS] {
        let mut times = [Duration::ZERO; 3];
        let patch = Arc::new(UserPatch::new().status("issued"));
        for (at, time) in times.iter_mut().enumerate() {
            let started = Instant::now();
            let tasks: Vec<_> = (0..callers)
                .map(|caller| {
                    let (db, patch) = (db.clone(), Arc::clone(&patch));
                    tokio::spawn(async move {
                        for key in (1..=rows).filter(|key| key % callers == caller) {
                            let key = base + key;
                            match at {
                                0 => {
                                    let user = UserPatch::new().user_id(key).first_name("Anna");
                                    drop(db.add_user(&user).await.unwrap());
                                }
                                1 => drop(db.update_user(key, &patch).await.unwrap()),
                                _ => drop(db.get_user(key).await.unwrap()),
                            }
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            *time = started.elapsed();
        }
        report(&format!("{name}, callers: {callers}"), rows, times);
        base += rows;
    }
}
