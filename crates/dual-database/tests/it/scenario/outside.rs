//! Other programs write on both sides, while the product runs and while it does not.

use super::scene::{Place, is_in_both, named, setting, until};

const PSQL: &str = "
INSERT INTO users (user_id, first_name) SELECT n, 'psql ' || n FROM generate_series(100, 120) AS n;
UPDATE users SET status = 'vip' WHERE user_id BETWEEN 100 AND 110;
DELETE FROM users WHERE user_id IN (101, 2);
INSERT INTO users (user_id, first_name) VALUES (102, 'снова') ON CONFLICT (user_id) DO UPDATE SET first_name = excluded.first_name;
COPY users (user_id, first_name, phone_number) FROM STDIN;
130\tкопия\t+79990000130
131\tкопия\t\\N
\\.
";
const PYTHON: &str = "
db.execute(\"INSERT INTO users (user_id, first_name) VALUES (200, 'python')\")
db.execute(\"INSERT INTO users (user_id, first_name, status) VALUES (201, 'python', 'vip')\")
db.execute(\"UPDATE users SET phone_number = '+7' WHERE user_id = 1\")
db.execute(\"INSERT OR REPLACE INTO users (user_id, first_name) VALUES (3, 'заменён')\")
db.execute(\"DELETE FROM users WHERE user_id = 4\")
db.executemany(\"INSERT INTO users (user_id, username) VALUES (?, ?)\", [(n, 'u%d' % n) for n in range(210, 230)])
";

#[tokio::test(flavor = "multi_thread")]
async fn psql_and_python_write_at_the_same_time() {
    let place = Place::new();
    let db = place.open().await;
    for id in 1..=5 {
        assert!(is_in_both(&db.add_user(&named(id, "наш")).await.unwrap()));
    }
    let (url, path) = (place.url(), place.path());
    let one = std::thread::spawn(move || super::scene::psql(&url, PSQL));
    let two = std::thread::spawn(move || super::scene::sqlite(&path, PYTHON));
    one.join().unwrap();
    two.join().unwrap();
    place.until_equal(&db).await;
    let rows = place.psql("SELECT count(*) FROM users");
    // 5 of ours, 21 of psql, 2 by COPY, 22 of Python; 101, 2 and 4 have gone.
    assert_eq!(rows, "47");
    assert_eq!(place.psql("SELECT first_name FROM users WHERE user_id = 3"), "заменён");
    assert_eq!(place.psql("SELECT phone_number FROM users WHERE user_id = 1"), "+7");
    assert_eq!(place.psql("SELECT count(*) FROM users WHERE id < 0"), "0");
    assert_eq!(db.quarantine().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_the_product_does_not_run_is_found() {
    let place = Place::new();
    let db = place.open().await;
    for id in 1..=5 {
        assert!(is_in_both(&db.add_user(&named(id, "наш")).await.unwrap()));
    }
    db.close(super::scene::LIMIT).await;
    place.psql(PSQL);
    place.sqlite(PYTHON);
    let db = place.open().await;
    place.until_equal(&db).await;
    assert_eq!(place.psql("SELECT count(*) FROM users"), "47");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncate_empties_the_other_side_too() {
    let place = Place::new();
    let db = place.open().await;
    for id in 1..=20 {
        let _ = db.add_user(&named(id, "наш")).await.unwrap();
    }
    place.psql("TRUNCATE users");
    place.until_equal(&db).await;
    assert_eq!(place.sqlite("print(db.execute('SELECT count(*) FROM users').fetchone()[0])"), "0");
    assert!(is_in_both(&db.add_user(&named(1, "новая жизнь")).await.unwrap()));
    place.until_equal(&db).await;
    assert_eq!(place.psql("SELECT phone_number IS NULL FROM users"), "t");
    place.sqlite("db.execute('DELETE FROM users')");
    place.until_equal(&db).await;
    assert_eq!(place.psql("SELECT count(*) FROM users"), "0");
}

/// `skip_by_origin.py`: psql sets one column, we set another one of the same row; what comes
/// back under our transaction carries theirs.
#[tokio::test(flavor = "multi_thread")]
async fn our_own_echo_brings_what_others_did() {
    let place = Place::new();
    let db = place.open().await;
    for id in 1..=30 {
        let _ = db.add_user(&named(id, "наш")).await.unwrap();
    }
    for id in 1..=30 {
        place.psql(&format!("UPDATE users SET username = 'psql{id}' WHERE user_id = {id}"));
        let _ = db.update_user(id, &setting("real_name", "бот")).await.unwrap();
    }
    place.until_equal(&db).await;
    assert_eq!(place.sqlite("print(db.execute(\"SELECT count(*) FROM users WHERE username = 'psql' || user_id AND real_name = 'бот'\").fetchone()[0])"), "30");
    assert_eq!(db.conflicts(10).await.unwrap(), []);
}

/// A value that SQLite keeps and PostgreSQL cannot: set aside, told, and released by a correction.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_other_side_refuses_is_set_aside_and_released() {
    let place = Place::new();
    let db = place.open().await;
    let _ = db.add_user(&named(1, "наш")).await.unwrap();
    place.sqlite("db.execute(\"INSERT INTO users (user_id, referrer_id) VALUES (50, 'не число')\")\ndb.execute(\"INSERT INTO users (user_id, first_name) VALUES (51, 'рядом')\")");
    until(|| async { db.quarantine().await.unwrap().len() == 1 }).await;
    until(|| async { place.psql("SELECT count(*) FROM users WHERE user_id = 51") == "1" }).await;
    let row = &db.quarantine().await.unwrap()[0];
    assert_eq!((&*row.table, row.key.clone()), ("users", Some(50.into())));
    let found = db.verify().await.unwrap();
    assert!(!found.equal && !found.tables[0].differs(), "{found:?}");
    assert_eq!(found.tables[0].quarantined, 1);
    place.sqlite("db.execute('UPDATE users SET referrer_id = 7 WHERE user_id = 50')");
    place.until_equal(&db).await;
    assert_eq!(db.quarantine().await.unwrap(), []);
    assert_eq!(place.psql("SELECT referrer_id FROM users WHERE user_id = 50"), "7");
}

/// What PostgreSQL's rule refuses is tried again as soon as a person asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_rule_refused_goes_when_the_rule_has_gone() {
    let place = Place::new();
    let db = place.open().await;
    let _ = db.add_user(&named(1, "наш")).await.unwrap();
    place.psql("ALTER TABLE users ADD CONSTRAINT known CHECK (status IN ('registered'))");
    place.sqlite("db.execute(\"UPDATE users SET status = 'vip' WHERE user_id = 1\")");
    until(|| async { db.quarantine().await.unwrap().len() == 1 }).await;
    place.psql("ALTER TABLE users DROP CONSTRAINT known");
    let exchange = db.sync_now(super::scene::LIMIT).await.unwrap();
    assert_eq!((exchange.pending, exchange.quarantined), (0, 0));
    assert_eq!(place.psql("SELECT status FROM users"), "vip");
}

/// PostgreSQL 12 and 18 as well.
#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_and_the_newest_server() {
    for version in ["12.22.0-beta.15", "18.4.0-beta.17"] {
        let version = throwaway_postgres::Version::exact(version);
        let place = Place::on(throwaway_postgres::shared_with(&version).unwrap());
        let db = place.open().await;
        for id in 1..=5 {
            assert!(is_in_both(&db.add_user(&named(id, "наш")).await.unwrap()));
        }
        let (url, path) = (place.url(), place.path());
        let one = std::thread::spawn(move || super::scene::psql(&url, PSQL));
        let two = std::thread::spawn(move || super::scene::sqlite(&path, PYTHON));
        one.join().unwrap();
        two.join().unwrap();
        place.until_equal(&db).await;
        assert_eq!(place.psql("SELECT count(*) FROM users"), "47");
        db.close(super::scene::LIMIT).await;
    }
}
