//! Transactions that are open long, statements that are stuck, transfers that must not show half.

use std::time::{Duration, Instant};

use dual_database::database::WriteMode;
use dual_database::users::UserPatch;
use dual_database::{DualDatabase, Store};

use super::scene::{LIMIT, Place, is_in_both, named, setting, until};

/// A `psql` that stays in a transaction until it is told to commit.
struct Open {
    child: std::process::Child,
}

impl Open {
    fn begin(url: &str, sql: &str) -> Open {
        let mut child = std::process::Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-d", url])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let pipe = child.stdin.as_mut().unwrap();
        std::io::Write::write_all(pipe, format!("BEGIN; {sql};\n\\echo ready\n").as_bytes())
            .unwrap();
        let mut line = String::new();
        let mut answers = std::io::BufReader::new(child.stdout.as_mut().unwrap());
        while line.trim() != "ready" {
            line.clear();
            assert!(std::io::BufRead::read_line(&mut answers, &mut line).unwrap() > 0);
        }
        Open { child }
    }

    fn commit(mut self) {
        std::io::Write::write_all(self.child.stdin.as_mut().unwrap(), b"COMMIT;\n\\q\n").unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_commits_after_a_thousand_others_is_not_missed() {
    let place = Place::new();
    let db = place.open().await;
    let _ = db.add_user(&named(1, "наш")).await.unwrap();
    let open =
        Open::begin(&place.url(), "INSERT INTO users (user_id, first_name) VALUES (7, 'долго')");
    let many: String =
        (1000..2000).map(|id| format!("INSERT INTO users (user_id) VALUES ({id});\n")).collect();
    place.psql(&many);
    // It delays nobody.
    until(|| async {
        place.sqlite(
            "print(db.execute('SELECT count(*) FROM users WHERE user_id >= 1000').fetchone()[0])",
        ) == "1000"
    })
    .await;
    let _ = db.add_user(&named(2, "наш")).await.unwrap();
    assert_eq!(
        place.sqlite(
            "print(db.execute('SELECT count(*) FROM users WHERE user_id = 7').fetchone()[0])"
        ),
        "0"
    );
    open.commit();
    place.until_equal(&db).await;
    assert_eq!(
        place.sqlite(
            "print(db.execute('SELECT first_name FROM users WHERE user_id = 7').fetchone()[0])"
        ),
        "долго"
    );
}

/// `late_statement.py`: what was stuck is executed after the caller went on, and loses.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_stuck_behind_a_lock_does_not_beat_the_later_write() {
    let place = Place::new();
    let db = place.open().await;
    let _ = db.add_user(&named(1, "старое")).await.unwrap();
    let lock = Open::begin(&place.url(), "SELECT 1 FROM users WHERE user_id = 1 FOR UPDATE");
    let start = Instant::now();
    let first = db.update_user(1, &setting("first_name", "W1")).await.unwrap();
    assert!(first.is_in(Store::Sqlite) && !first.is_in(Store::Postgres));
    assert!(start.elapsed() < LIMIT);
    let second = db.update_user(1, &setting("first_name", "W2")).await.unwrap();
    assert!(second.is_in(Store::Sqlite));
    tokio::time::sleep(Duration::from_millis(300)).await;
    lock.commit();
    place.until_equal(&db).await;
    assert_eq!(place.psql("SELECT first_name FROM users WHERE user_id = 1"), "W2");
}

/// `half_a_transfer.py`: the sum over three rows is the same in every read of either side.
#[tokio::test(flavor = "multi_thread")]
async fn no_half_of_a_transfer_is_ever_seen() {
    let place = Place::new();
    let db = place.open().await;
    for id in 1..=3 {
        let user = named(id, "счёт").set("referrer_id", 100).unwrap();
        assert!(is_in_both(&db.add_user(&user).await.unwrap()));
    }
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (url, path, done) = (place.url(), place.path(), stop.clone());
    let watcher = std::thread::spawn(move || {
        let mut looks = 0;
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            let sums = super::scene::sqlite(
                &path,
                "for n in range(200):\n    print(db.execute('SELECT sum(referrer_id) FROM users').fetchone()[0])\n    time.sleep(0.001)",
            );
            for sum in sums.lines() {
                assert_eq!(sum, "300", "half of a transfer was visible in SQLite");
                looks += 1;
            }
            assert_eq!(super::scene::psql(&url, "SELECT sum(referrer_id) FROM users"), "300");
        }
        looks
    });
    let url = place.url();
    let outside = std::thread::spawn(move || {
        for _ in 0..40 {
            super::scene::psql(
                &url,
                "BEGIN; UPDATE users SET referrer_id = referrer_id - 5 WHERE user_id = 1; UPDATE users SET referrer_id = referrer_id + 5 WHERE user_id = 2; COMMIT",
            );
        }
    });
    for _ in 0..60 {
        let moved = db
            .transaction(async |tx| {
                let (one, three) = (tx.get_user(1).await?.unwrap(), tx.get_user(3).await?.unwrap());
                let set = |n: i64| dual_database::users::UserPatch::new().set("referrer_id", n);
                tx.update_user(1, &set(one.referrer_id.unwrap() - 1)?).await?;
                tx.update_user(3, &set(three.referrer_id.unwrap() + 1)?).await?;
                Ok(())
            })
            .await;
        if let Err(error) = moved {
            assert!(error.is_conflict(), "{error:?}");
        }
    }
    outside.join().unwrap();
    place.until_equal(&db).await;
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    assert!(watcher.join().unwrap() > 0);
    assert_eq!(place.psql("SELECT sum(referrer_id) FROM users"), "300");
}

/// Two processes of one file push at once, and the first one is stuck in the middle of it, its
/// rows locked: the second one must not push the other half of what the two have written.
/// (`torture` seed 6: a worker was stopped while it pushed.)
#[tokio::test(flavor = "multi_thread")]
async fn no_half_of_a_transfer_is_pushed_beside_a_push_that_is_stuck() {
    let place = Place::new();
    let open = async || {
        let builder = place.builder().timeout(Duration::from_secs(6));
        builder.write_mode(WriteMode::LocalFirst).open().await.unwrap()
    };
    let (db, other) = (open().await, open().await);
    for id in 1..=3 {
        let account = named(id, "счёт").set("referrer_id", 100_i64).unwrap();
        let _ = db.add_user(&account).await.unwrap();
    }
    place.until_equal(&db).await;
    // The first session that changes row 1 takes long.
    place.psql(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF pg_try_advisory_lock(4711) THEN PERFORM pg_sleep(3); END IF; RETURN NEW; END $$; \
         CREATE TRIGGER dawdle BEFORE UPDATE ON users FOR EACH ROW WHEN (OLD.user_id = 1) \
         EXECUTE FUNCTION dawdle();",
    );
    let transfer = async |db: &DualDatabase, from: i64, to: i64| {
        let moved = db.transaction(async |tx| {
            for (id, by) in [(from, -10), (to, 10)] {
                let account = tx.get_user(id).await?.unwrap();
                let holds = account.referrer_id.unwrap_or_default();
                tx.update_user(id, &UserPatch::new().referrer_id(holds + by)).await?;
            }
            Ok(())
        });
        let _ = moved.await.unwrap();
    };
    transfer(&db, 1, 2).await;
    until(|| async {
        place.psql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1"
    })
    .await;
    transfer(&other, 2, 3).await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        assert_eq!(place.psql("SELECT sum(referrer_id) FROM users"), "300");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    place.until_equal(&db).await;
    assert_eq!(place.psql("SELECT referrer_id FROM users ORDER BY user_id"), "90\n100\n110");
}
