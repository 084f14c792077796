//! Bytes from elsewhere: files that are none, or damaged, or somebody's; values of every sort; addresses.
//! What cannot be understood is an error with a kind, never a panic, and nothing is destroyed.

use std::path::Path;
use std::sync::OnceLock;

use dual_database::init::{Joining, Stores, plan};
use dual_database::schema::users;
use dual_database::store::postgres::Settings as Address;
use dual_database::store::sqlite::replica::{Durability, Replica};
use dual_database::users::{UserFilter, UserPatch};
use dual_database::value::Value;
use dual_database::{DualDatabase, Kind};
use proptest::prelude::*;
use throwaway_postgres::shared;

use crate::api_scene::Scene;
use crate::replica_scene::settings;
use crate::scenario::scene::until_equal;

/// A file that a node has left, everything in the file itself.
fn real_file() -> &'static [u8] {
    static REAL: OnceLock<Vec<u8>> = OnceLock::new();
    REAL.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bot.db");
        run(async {
            drop(Replica::open(settings(&path, vec![users()])).await.unwrap());
            let rows: String = (1..60).map(|n| format!("({n}, 'somebody {n}'),")).collect();
            let rows = rows.trim_end_matches(',');
            let outside = rusqlite::Connection::open(&path).unwrap();
            outside
                .execute_batch(&format!("INSERT INTO users (user_id, first_name) VALUES {rows}"))
                .unwrap();
            outside.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        });
        std::fs::read(&path).unwrap()
    })
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// Whether some file of the folder has these bytes.
fn is_kept(folder: &Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder)
        .unwrap()
        .any(|entry| std::fs::read(entry.unwrap().path()).is_ok_and(|found| found == bytes))
}

/// Whether nothing has changed but that triggers of ours are gone, which failed everybody who wrote.
fn was_let_go(path: &Path, bytes: &[u8]) -> bool {
    let before = path.with_file_name("before.db");
    std::fs::write(&before, bytes).unwrap();
    let rest = |path: &Path| {
        let connection = rusqlite::Connection::open(path).ok()?;
        let sql = "SELECT hex(type || name || coalesce(sql, '')) FROM sqlite_schema \
                   WHERE NOT (type = 'trigger' AND name LIKE 'dual\\_%' ESCAPE '\\') ORDER BY 1";
        let mut look = connection.prepare(sql).ok()?;
        let all = look.query_map([], |row| row.get::<_, String>(0)).ok()?;
        all.collect::<rusqlite::Result<Vec<_>>>().ok()
    };
    let same = rest(&before).is_some() && rest(&before) == rest(path);
    std::fs::remove_file(&before).unwrap();
    same
}

/// Opens the file as a node does, looks at it as `dual init` does, and opens the whole database on it.
/// `was_ours`: it lies beside the lock that a node has left.
fn opened(bytes: &[u8], was_ours: bool) -> std::result::Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.db");
    std::fs::write(&path, bytes).unwrap();
    if was_ours {
        std::fs::write(folder.path().join("bot.db.dual-lock"), b"").unwrap();
    }
    let stores = Stores {
        postgres: Address::parse("postgresql://nobody@127.0.0.1:1/nothing").unwrap(),
        limits: crate::engine_scene::limits(),
        sqlite: settings(&path, vec![users()]),
    };
    drop(run(plan(&stores, Joining::default())));
    prop_assert!(is_kept(folder.path(), bytes), "a plan changes nothing");
    let found = run(async {
        let replica = Replica::open(settings(&path, vec![users()])).await?;
        // Refused or not: what is looked for is a panic.
        drop(replica.read("test", |content| content.pending(0, true)).await);
        drop(replica.write("test", Durability::Full, |content| content.node()).await);
        Ok::<_, dual_database::Error>(())
    });
    if let Err(error) = found {
        prop_assert!(!error.message().contains("panicked"), "{}", error.chain());
        let is_kept = is_kept(folder.path(), bytes) || was_let_go(&path, bytes);
        prop_assert!(is_kept, "refused, and changed: {}", error.chain());
    }
    let database = run(async {
        let database = DualDatabase::builder()
            .postgres_url("postgresql://nobody@127.0.0.1:1/nothing")
            .sqlite_path(&path)
            .timeout(std::time::Duration::from_millis(200))
            .open()
            .await?;
        let user = database.get_user(1).await;
        database.close(std::time::Duration::from_millis(200)).await;
        user
    });
    drop(database);
    Ok(())
}

/// A real file with some of its bytes changed, or cut off.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let length = real_file().len();
    let flips = prop::collection::vec((0..length, 1u8..=255), 1..12);
    let header = prop::collection::vec((0..100usize, any::<u8>()), 1..4);
    prop_oneof![
        3 => flips.prop_map(|flips| {
            let mut bytes = real_file().to_vec();
            flips.into_iter().for_each(|(at, by)| bytes[at] ^= by);
            bytes
        }),
        2 => header.prop_map(|places| {
            let mut bytes = real_file().to_vec();
            places.into_iter().for_each(|(at, to)| bytes[at] = to);
            bytes
        }),
        2 => (0..length).prop_map(|end| real_file()[..end].to_vec()),
        1 => (0..length / 4096, any::<u8>()).prop_map(|(page, to)| {
            let mut bytes = real_file().to_vec();
            bytes[page * 4096..(page + 1) * 4096].fill(to);
            bytes
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_file_of_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..3_000), ours: bool) {
        opened(&bytes, ours)?;
    }

    #[test]
    fn a_file_that_only_begins_like_a_database(bytes in prop::collection::vec(any::<u8>(), 0..3_000)) {
        opened(&[b"SQLite format 3\0", bytes.as_slice()].concat(), false)?;
    }

    #[test]
    fn a_damaged_file(bytes in damaged(), ours: bool) {
        opened(&bytes, ours)?;
    }
}

#[test]
fn a_file_with_tables_of_somebody_elses() {
    for schema in [
        "CREATE TABLE dual_node (a)",
        "CREATE TABLE dual_node (one INTEGER); INSERT INTO dual_node VALUES (1)",
        "CREATE TABLE dual_state (one, format, writer, seq, moment, horizon); \
         INSERT INTO dual_state VALUES (1, 'x', -5, 'y', NULL, x'00')",
        "CREATE VIEW users AS SELECT 1 AS user_id",
        "CREATE VIRTUAL TABLE users USING fts5(user_id, first_name)",
        "CREATE TABLE users (user_id TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO users VALUES ('x')",
        "CREATE TABLE users (a); CREATE TABLE dual_side_users (key TEXT)",
        "CREATE TABLE users (id, user_id, user_ID2, first_name BLOB)",
        "CREATE TABLE \"users\" (id INTEGER PRIMARY KEY, user_id INTEGER UNIQUE, \"dual_\" TEXT); \
         CREATE TRIGGER dual_users_inserted AFTER INSERT ON users BEGIN SELECT raise(ABORT, 'no'); END",
        "PRAGMA user_version = 2147483647; PRAGMA application_id = -1; CREATE TABLE t (x)",
        "PRAGMA encoding = 'UTF-16'; CREATE TABLE users (user_id INTEGER UNIQUE)",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("foreign.db");
        rusqlite::Connection::open(&path).unwrap().execute_batch(schema).unwrap();
        opened(&std::fs::read(&path).unwrap(), false)
            .unwrap_or_else(|error| panic!("{schema}: {error}"));
    }
}

fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        4 => "\\PC{0,20}".prop_map(Value::Text),
        2 => prop::collection::vec(any::<char>().prop_filter("none", |c| *c != '\0'), 0..20)
            .prop_map(|all| Value::Text(all.into_iter().collect())),
        1 => Just(Value::Text("\\N\t\r\n'\"\\".into())),
    ]
}

fn number(least: i64, most: i64) -> impl Strategy<Value = Value> {
    prop_oneof![
        1 => Just(Value::Null),
        1 => prop_oneof![Just(least), Just(most), Just(0)].prop_map(Value::Int),
        3 => (least..=most).prop_map(Value::Int),
    ]
}

fn instant() -> impl Strategy<Value = Value> {
    let micros = (-62_135_596_800_000_000i64..=253_402_300_799_999_999)
        .prop_map(|micros| micros.clamp(-62_135_596_799_000_000, 253_402_207_199_999_999));
    prop_oneof![
        1 => Just(Value::Null),
        4 => micros.prop_filter_map("an instant", |micros| {
            let instant = jiff::Timestamp::from_microsecond(micros).ok()?;
            let instant = instant.to_zoned(jiff::tz::TimeZone::UTC).datetime();
            let text = dual_database::value::timestamp_text(instant);
            dual_database::value::parse_timestamp_text(&text).map(Value::Timestamp)
        }),
    ]
}

#[test]
fn values_of_every_sort_are_the_same_on_both_sides() {
    let scene = run(async { Scene::on(shared().unwrap(), "foreign_values") });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let generous = std::time::Duration::from_secs(20);
    let db = runtime.block_on(scene.builder().timeout(generous).open()).unwrap();
    runtime.block_on(db.sync_now(3 * generous)).unwrap();
    let key = std::cell::Cell::new(0);
    let columns = (text(), text(), text(), instant(), instant(), number(i64::MIN, i64::MAX));
    let more = (number(i32::MIN.into(), i32::MAX.into()), any::<bool>(), text());
    let cases =
        ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = proptest::test_runner::TestRunner::new(cases);
    let all = runner.run(&(columns, more), |(columns, (staff, flag, concept))| {
        let (name, real, source, register, redeem, referrer) = columns;
        key.set(key.get() + 1);
        let mut user = UserPatch::new().user_id(key.get());
        for (column, value) in [
            ("first_name", name),
            ("real_name", real),
            ("source", source),
            ("register_date", register),
            ("redeem_date", redeem),
            ("referrer_id", referrer),
            ("brought_by_staff_id", staff),
            ("profile_completed", Value::Bool(flag)),
            ("ai_concept", concept),
        ] {
            user = user.set(column, value).unwrap();
        }
        let written = runtime.block_on(db.add_user(&user));
        prop_assert!(written.is_ok(), "{:?}", written.map_err(|error| error.chain()));
        Ok(())
    });
    all.unwrap();
    runtime.block_on(async {
        until_equal(&db, &scene.database.url(), &scene.file()).await;
        assert_eq!(db.quarantine().await.unwrap(), []);
        let count = db.count_users(&UserFilter::new()).await.unwrap().value;
        assert_eq!(i64::try_from(count), Ok(key.get()));
    });
}

proptest! {
    #[test]
    fn an_address_is_read_or_refused_and_never_shows_its_password(
        before in "[a-z:/@?%#\\[\\]]{0,12}",
        secret in "[a-zA-Z0-9!~_-]{12}",
        after in "\\PC{0,30}",
    ) {
        for url in [
            format!("postgresql://{before}user:{secret}@{after}"),
            format!("postgresql://user:{secret}@host{before}{after}"),
            format!("postgres://host/db?password={secret}&{after}"),
            format!("{before}{after}"),
        ] {
            match Address::parse(&url) {
                Ok(settings) => {
                    prop_assert!(!format!("{settings} {settings:?}").contains(&secret), "{url}");
                }
                Err(error) => {
                    prop_assert_eq!(error.kind(), Kind::Configuration);
                    let shown = format!("{} {:?}", error.chain(), error);
                    prop_assert!(!shown.contains(&secret), "{}", url);
                }
            }
        }
    }
}
