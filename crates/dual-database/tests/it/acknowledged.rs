//! What an answer says is so at the moment at which it is given: in the file, at its path, on the
//! disk; and PostgreSQL has everything that came before it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dual_database::store::sqlite::replica::{Content, Durability};
use dual_database::sync::{Fault, Step, StepHook};
use dual_database::users::UserPatch;
use dual_database::{Kind, Store};
use throwaway_postgres::shared;

use crate::api_scene::{Scene as Api, both, named, only};
use crate::engine_scene::{Node, Scene as Engine};
use crate::replica_scene::{Scene as File, id, note, now, outside};
use crate::scenario::power;
use crate::scenario::scene::psql;

/// Notes every sync of a write-ahead log in the file that `SYNCED` names.
const SHIM: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
static int note(int fd, long done) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    if (done == 0 && length > 4 && memcmp(path + length - 4, "-wal", 4) == 0) {
        int log = open(getenv("SYNCED"), O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (log >= 0) { if (write(log, ".", 1)) {} close(log); }
    }
    return (int) done;
}
int fdatasync(int fd) { return note(fd, syscall(SYS_fdatasync, fd)); }
int fsync(int fd) { return note(fd, syscall(SYS_fsync, fd)); }
"#;

#[test]
fn a_write_that_the_file_alone_has_is_on_the_disk() {
    use std::io::BufRead as _;
    let folder = tempfile::tempdir().unwrap();
    let beside = |name: &str| folder.path().join(name);
    std::fs::write(beside("shim.c"), SHIM).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([beside("shim.so"), beside("shim.c")])
        .status();
    assert!(compiled.unwrap().success());
    let mut worker = Command::new(power::program())
        .args(["postgresql://nobody@127.0.0.1:1/nothing".as_ref(), beside("bot.db").as_os_str()])
        .arg("add:1")
        .env("LD_PRELOAD", beside("shim.so"))
        .env("SYNCED", beside("synced"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let synced = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
    let mut said = std::io::BufReader::new(worker.stdout.take().unwrap()).lines();
    said.next().unwrap().unwrap();
    let before = synced(&beside("synced"));
    for _ in 0..50 {
        said.next().unwrap().unwrap();
    }
    let during = synced(&beside("synced")) - before;
    worker.kill().unwrap();
    worker.wait().unwrap();
    assert!(during >= 49, "50 writes were acknowledged, {during} times the log was synced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_committed_before_it_is_answered_whoever_shares_its_transaction() {
    let scene = File::new().await;
    let wait = |ms| std::thread::sleep(Duration::from_millis(ms));
    // While the first one takes its time, the others gather.
    let first = scene.replica.write("test", Durability::Normal, move |_| {
        wait(300);
        Ok(())
    });
    let second = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let work = |content: &Content<'_>| content.change(&id(1), &note("answered"), now());
        scene.replica.write("test", Durability::Normal, work).await.unwrap();
        let outside = rusqlite::Connection::open(&scene.path).unwrap();
        let count = outside.query_row("SELECT count(*) FROM visits", [], |row| row.get(0));
        assert_eq!(count, Ok(1_i64));
    };
    let third = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let work = move |_: &Content<'_>| {
            wait(500);
            Ok(())
        };
        scene.replica.write("test", Durability::Normal, work).await.unwrap();
    };
    let (first, (), ()) = tokio::join!(first, second, third);
    first.unwrap();
}

/// Lets something happen to the file after a write has been done and before it is answered.
async fn written_while(what: impl FnOnce(&Path) + Send + 'static) -> (File, Option<Kind>) {
    let scene = File::new().await;
    scene.insert(1, "before").await;
    let path = scene.path.clone();
    let work = move |content: &Content<'_>| {
        content.change(&id(2), &note("meanwhile"), now())?;
        what(&path);
        Ok(())
    };
    let written = scene.replica.write("test", Durability::Full, work).await;
    (scene, written.err().map(|error| error.kind()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_into_a_file_that_was_deleted_is_at_its_path_again() {
    let (scene, failed) = written_while(|path| std::fs::remove_file(path).unwrap()).await;
    assert_eq!(failed, None);
    let found = rusqlite::Connection::open(&scene.path).unwrap();
    let count = found.query_row("SELECT count(*) FROM visits", [], |row| row.get::<_, i64>(0));
    assert_eq!(count.unwrap(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_into_a_file_that_was_replaced_is_not_acknowledged_unseen() {
    let other = File::new().await;
    let (_folder, copy) = other.reopened();
    let (scene, failed) = written_while(move |path| {
        std::fs::rename(&copy, path).unwrap();
    })
    .await;
    assert_eq!(failed, Some(Kind::Unavailable(Store::Sqlite)));
    // It is there all the same: the call can be repeated.
    assert_eq!(scene.note(2).await.as_deref(), Some("meanwhile"));
}

/// Time enough for a busy machine: nothing here is about time.
fn calm(scene: &Api<'_>) -> dual_database::database::Builder {
    scene.builder().timeout(Duration::from_secs(20)).busy_timeout(Duration::from_secs(5))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_write_is_at_postgresql_when_it_is_there() {
    let scene = Api::shared("acknowledged_order");
    let db = calm(&scene).background(false).open().await.unwrap();
    db.sync_now(Duration::from_secs(60)).await.unwrap();
    for user_id in [1, 2] {
        both(db.add_user(&named(user_id, "x")).await.unwrap());
    }
    scene.outsider().execute("UPDATE users SET status = 'first' WHERE user_id = 1", []).unwrap();
    both(db.update_user(2, &UserPatch::new().status("issued")).await.unwrap());
    let statuses = "SELECT string_agg(status, ' ' ORDER BY user_id) FROM users";
    assert_eq!(scene.postgres(statuses).as_deref(), Some("first issued"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_deleted_at_postgresql_is_not_found_though_the_file_has_him() {
    let scene = Api::shared("acknowledged_deleted");
    let db = calm(&scene).background(false).open().await.unwrap();
    db.sync_now(Duration::from_secs(60)).await.unwrap();
    both(db.add_user(&named(1, "x")).await.unwrap());
    scene.postgres("DELETE FROM users");
    assert_eq!(scene.sqlite("SELECT count(*) FROM users").as_deref(), Some("1"));
    assert_eq!(db.get_user(1).await.unwrap().value, None);
    assert_eq!(db.get_all_users(None).await.unwrap().value, []);
}

/// Does before a step, once, what was put there for it.
struct Before {
    step: Step,
    what: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Before {
    fn step(step: Step) -> Arc<Before> {
        Arc::new(Before { step, what: Mutex::new(None) })
    }

    fn put(&self, what: impl FnOnce() + Send + 'static) {
        *self.what.lock().unwrap() = Some(Box::new(what));
    }

    fn has_been(&self) -> bool {
        self.what.lock().unwrap().is_none()
    }
}

impl std::fmt::Debug for Before {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "before {}", self.step)
    }
}

impl StepHook for Before {
    fn fault(&self, step: Step) -> Fault {
        let what = if step == self.step { self.what.lock().unwrap().take() } else { None };
        if let Some(what) = what {
            what();
        }
        Fault::None
    }
}

/// Keeps PostgreSQL's news from the file.
#[derive(Debug)]
struct NoNews;

impl StepHook for NoNews {
    fn fault(&self, step: Step) -> Fault {
        if step == Step::Poll { Fault::Refused } else { Fault::None }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_computed_from_more_than_the_file_has_is_not_half_taken() {
    let scene = Api::shared("acknowledged_half");
    let first = calm(&scene).open().await.unwrap();
    first.sync_now(Duration::from_secs(60)).await.unwrap();
    for user_id in 1..=3 {
        both(first.add_user(&named(user_id, "x").referrer_id(100)).await.unwrap());
    }
    first.close(Duration::from_secs(10)).await;
    let db = calm(&scene).background(false).step_hook(Arc::new(NoNews)).open().await.unwrap();
    // Fifty from the third to the first, of which the file does not hear; then ten to the second.
    scene.postgres(
        "UPDATE users SET referrer_id = referrer_id + (2 - user_id) * 50 WHERE user_id <> 2",
    );
    let moved = db.transaction(async |tx| {
        for (user_id, by) in [(1, -10), (2, 10)] {
            let user = tx.get_user(user_id).await?;
            let has = user.and_then(|user| user.referrer_id).unwrap_or(0);
            tx.update_user(user_id, &UserPatch::new().referrer_id(has + by)).await?;
        }
        Ok(())
    });
    only(Store::Postgres, moved.await.unwrap());
    let balances =
        "SELECT group_concat(referrer_id) FROM (SELECT referrer_id FROM users ORDER BY user_id)";
    assert_eq!(scene.sqlite(balances).as_deref(), Some("100,100,100"));
    let balances = "SELECT string_agg(referrer_id::text, ',' ORDER BY user_id) FROM users";
    assert_eq!(scene.postgres(balances).as_deref(), Some("140,110,50"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_during_a_push_is_pushed_next() {
    for step in [Step::Push, Step::Acknowledge] {
        let scene = Engine::on(shared().unwrap());
        let first = scene.node("bot.db").await;
        first.add(1, 1).await;
        first.sync().await;
        first.add(2, 2).await;
        let path = first.path().to_owned();
        let hook = Before::step(step);
        hook.put(move || outside(&path, "UPDATE accounts SET balance = 10 WHERE owner = 1"));
        let node = Node::open(&scene.database.url(), first.path(), |shared| {
            shared.hook = Some(hook.clone());
        })
        .await;
        node.sync().await;
        assert!(hook.has_been(), "{step}");
        scene.assert_equal(&node);
        assert_eq!(scene.one("SELECT balance FROM accounts WHERE owner = 1"), "10", "{step}");
    }
}

/// A process that exchanges everything each time it is told to, with a connection of its own that
/// stays open: so it rotates no token meanwhile.
fn another_process(url: String, path: std::path::PathBuf) -> impl Fn() + Send {
    let (go, told) = std::sync::mpsc::channel::<()>();
    let (done, heard) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let node = runtime.block_on(async {
            let node = Node::open(&url, &path, |_| {}).await;
            node.sync().await;
            node
        });
        done.send(()).unwrap();
        while told.recv().is_ok() {
            runtime.block_on(node.sync());
            done.send(()).unwrap();
        }
    });
    heard.recv().unwrap();
    move || {
        go.send(()).unwrap();
        heard.recv().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_polls_from_one_cursor_the_slower_is_not_applied() {
    let scene = Engine::on(shared().unwrap());
    let first = scene.node("bot.db").await;
    first.add(1, 1).await;
    first.sync().await;
    let url = scene.database.url();
    let hook = Before::step(Step::Apply);
    let node = Node::open(&url, first.path(), |shared| shared.hook = Some(hook.clone())).await;
    node.sync().await;
    let exchange = another_process(url.clone(), first.path().to_owned());
    node.sync().await;
    let url = scene.database.url();
    hook.put(move || {
        psql(&url, "UPDATE accounts SET balance = 3");
        exchange();
    });
    scene.sql("UPDATE accounts SET balance = 2");
    node.sync().await;
    assert!(hook.has_been());
    scene.assert_equal(&node);
    assert_eq!(node.one::<i64>("SELECT balance FROM accounts"), 3);
}
