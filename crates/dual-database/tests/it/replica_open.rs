//! Opening a file that is badly chosen, somebody else's, locked, behind a link, or has drifted.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dual_database::merge::{Change, Register, Tracked};
use dual_database::protocol::Follow;
use dual_database::schema::users;
use dual_database::stamp::Stamp;
use dual_database::store::sqlite::replica::{Durability, Replica};
use dual_database::value::Value;
use dual_database::{Kind, Store};

use crate::capture_oracle::visits;
use crate::replica_scene::{Scene, id, names, note, notes, now, outside, settings, settle};

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_path_is_refused_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("folder")).unwrap();
    std::fs::write(at("text.db"), "just text, and enough of it\n".repeat(300)).unwrap();
    std::fs::write(at("short.db"), "x").unwrap();
    let odd =
        "CREATE TABLE visits (visit_id TEXT, note STRING); INSERT INTO visits VALUES ('a', 1)";
    outside(&at("odd.db"), odd);
    outside(&at("view.db"), "CREATE VIEW visits AS SELECT 1");
    outside(
        &at("newer.db"),
        "CREATE TABLE dual_state (format INTEGER); INSERT INTO dual_state VALUES (99)",
    );
    let before: Vec<(String, Vec<u8>)> = names(&at("x"))
        .into_iter()
        .filter(|name| name != "folder")
        .map(|name| (name.clone(), std::fs::read(at(&name)).unwrap()))
        .collect();
    for (name, kind) in [
        ("folder", Kind::Configuration),
        ("missing/a.db", Kind::Configuration),
        ("text.db", Kind::Configuration),
        ("short.db", Kind::Configuration),
        ("odd.db", Kind::Schema(Store::Sqlite)),
        ("view.db", Kind::Schema(Store::Sqlite)),
        ("newer.db", Kind::Schema(Store::Sqlite)),
    ] {
        let error = Replica::open(settings(at(name), vec![visits()])).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{name}: {}", error.chain());
        assert!(error.hint().is_some(), "{name}: {}", error.chain());
    }
    let empty = Replica::open(settings("", vec![visits()])).await.unwrap_err();
    assert_eq!(empty.kind(), Kind::Configuration);
    let proc = Replica::open(settings("/proc/a.db", vec![visits()])).await.unwrap_err();
    assert!(matches!(proc.kind(), Kind::AccessDenied), "{}", proc.chain());
    let after: Vec<(String, Vec<u8>)> = names(&at("x"))
        .into_iter()
        .filter(|name| name != "folder")
        .map(|name| (name.clone(), std::fs::read(at(&name)).unwrap()))
        .collect();
    assert!(before == after, "{:?}", names(&at("x")));
}

/// What the next test runs as another user.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by a_file_of_somebody_else_is_refused"]
async fn as_somebody_else() {
    for path in std::env::var("DUAL_TEST_PATHS").unwrap().split(':') {
        let error = Replica::open(settings(path, vec![visits()])).await.unwrap_err();
        assert_eq!(error.kind(), Kind::AccessDenied, "{path}: {}", error.chain());
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_file_of_somebody_else_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    let folder = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let [theirs, secret, fresh] =
        ["theirs.db", "secret.db", "fresh.db"].map(|n| folder.path().join(n));
    outside(&theirs, "CREATE TABLE other (a)");
    outside(&secret, "CREATE TABLE other (a)");
    mode(&theirs, 0o444);
    mode(&secret, 0o000);
    mode(folder.path(), 0o555);
    let paths = [&theirs, &secret, &fresh].map(|path| path.to_str().unwrap()).join(":");
    let mut child = Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "replica_open::as_somebody_else", "--ignored"])
        .env("DUAL_TEST_PATHS", paths)
        .current_dir("/");
    // Rights do not hold root back.
    if std::fs::metadata("/proc/self")
        .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
    {
        mode(folder.path(), 0o755);
        child.uid(65_534).gid(65_534);
    }
    let output = child.output().unwrap();
    mode(folder.path(), 0o755);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    assert_eq!(names(&theirs), ["secret.db", "theirs.db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_file_is_waited_for_and_then_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.db");
    outside(&path, "CREATE TABLE other (a)");
    let script = "c = sqlite3.connect(path, isolation_level=None)\n\
         c.execute('BEGIN EXCLUSIVE')\nprint('held', flush=True)\nsys.stdin.read()";
    let hold = || {
        let head = "import sqlite3, sys\npath = sys.argv[1]\n";
        let mut child = Command::new("python3")
            .args(["-c", &format!("{head}{script}")])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        child
    };
    let end = |mut child: std::process::Child| {
        drop(child.stdin.take());
        child.wait().unwrap();
    };
    let mut short = settings(&path, vec![visits()]);
    short.busy = Duration::from_millis(200);
    let holder = hold();
    let error = Replica::open(short.clone()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable(Store::Sqlite), "{}", error.chain());
    end(holder);
    assert_eq!(names(&path), ["bot.db"]);
    let replica = Replica::open(short).await.unwrap();
    let holder = hold();
    let begun = Instant::now();
    let error = replica.write("test", Durability::Normal, |_| Ok(())).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable(Store::Sqlite), "{}", error.chain());
    assert!(begun.elapsed() < Duration::from_secs(30));
    // Readers go on.
    replica.read("test", |content| content.node()).await.unwrap();
    end(holder);
    replica.write("test", Durability::Normal, |_| Ok(())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drifted_table_is_adopted_by_additions() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.db");
    outside(
        &path,
        "CREATE TABLE users (user_id INTEGER PRIMARY KEY, username TEXT, first_name TEXT,
           signup_date TEXT, profile_completed INTEGER);
         INSERT INTO users VALUES (5, 'u', 'Анна', '2025-01-02T10:00:00+03:00', 1), (6, 'v', 'Яна', NULL, 0)",
    );
    let replica = Replica::open(settings(&path, vec![users()])).await.unwrap();
    let row = replica.read("test", |content| content.row(&id(5))).await.unwrap().unwrap();
    assert_eq!((row.surrogate, row.unreadable), (None, None));
    assert_eq!(row.tracked.version.highest(), Stamp::ADOPTED_SQLITE);
    let registered = &row.tracked.version.columns[6].value;
    assert!(matches!(registered, Value::Timestamp(at) if at.to_string() == "2025-01-02T07:00:00"));
    assert_eq!(replica.write("test", Durability::Normal, |c| c.pending_count()).await.unwrap(), 2);
    // A row of ours gets a provisional number, one of PostgreSQL's takes over its own.
    let defaults = users().defaults();
    replica
        .write("test", Durability::Normal, move |content| {
            content.change(&id(7), &Change::Insert(defaults), now())?;
            let before = content.row(&id(5))?;
            let mut there = before.as_ref().unwrap().tracked.version.clone();
            there.columns[0] = Register { stamp: now(), value: Value::Text("w".into()) };
            let tracked = before.as_ref().map(|row| &row.tracked);
            let local = &content.tables()[0].defaults;
            let absorbed = Tracked::absorb(tracked, &there, true, local);
            content.take(&id(5), before.as_ref(), Some(&there), &absorbed, Some(11))
        })
        .await
        .unwrap();
    let numbers = replica
        .read("test", |content| Ok([content.row(&id(5))?, content.row(&id(7))?]))
        .await
        .unwrap()
        .map(|row| row.unwrap().surrogate);
    assert_eq!(numbers, [Some(11), Some(-1)]);
    drop(replica);
    // Once more: nothing to do, nothing adopted twice.
    let again = Replica::open(settings(&path, vec![users()])).await.unwrap();
    let node = again.read("test", |content| content.node()).await.unwrap();
    assert_eq!(node.follow, Follow::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn capture_that_was_gone_is_mended_and_the_sides_are_compared() {
    let scene = Scene::new().await;
    for key in 1..=3 {
        scene.insert(key, "a").await;
    }
    settle(&scene).await;
    let following = Follow::Following {
        epoch: dual_database::protocol::Epoch {
            token: None,
            timeline: 1,
            system: 1,
            database: 1,
            relations: 1,
            installation: 7,
            life: None,
        },
        snapshot: "5:5:".parse().unwrap(),
    };
    scene
        .go(move |content| {
            let mut node = content.node()?;
            node.follow = following;
            content.set_node(&node)
        })
        .await;
    let (_folder, path) = scene.reopened();
    outside(
        &path,
        "DROP TRIGGER dual_visits_deleted; DROP TRIGGER dual_visits_inserted;
         DELETE FROM visits WHERE visit_id = 1; INSERT INTO visits (visit_id, note) VALUES (4, 'b');
         DELETE FROM visits WHERE visit_id = 2; INSERT INTO visits (visit_id, note) VALUES (2, 'c')",
    );
    let again = Replica::open(settings(&path, vec![visits()])).await.unwrap();
    let (node, rows) = again
        .read("test", |content| Ok((content.node()?, content.range(0, None, None, 10)?.0)))
        .await
        .unwrap();
    // It is this table's alone: the others go on from where they are.
    assert!(matches!(node.follow, Follow::Following { .. }), "{:?}", node.follow);
    let noted: String = rusqlite::Connection::open(&path)
        .unwrap()
        .query_row("SELECT compare FROM dual_tracked WHERE name = 'visits'", [], |row| row.get(0))
        .unwrap();
    assert!(noted.contains("local_gap"), "{noted}");
    let lives: Vec<(i64, bool)> = rows
        .iter()
        .map(|(id, row)| (id.key.number().unwrap(), row.tracked.version.live.value))
        .collect();
    assert_eq!(lives, [(1, true), (2, true), (3, true), (4, true)]);
    assert!(rows[0].1.tracked.version.is_absent(), "it is not known to be deleted");
    assert_eq!(rows[3].1.tracked.version.highest(), Stamp::ADOPTED_SQLITE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_behind_a_link_is_kept_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let real = folder.path().join("data").join("real.db");
    std::fs::create_dir(real.parent().unwrap()).unwrap();
    let link: PathBuf = folder.path().join("bot.db");
    outside(&real, "CREATE TABLE other (a)");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let replica = Replica::open(settings(&link, vec![visits()])).await.unwrap();
    std::fs::remove_file(&real).unwrap();
    replica
        .write("test", Durability::Full, |content| content.change(&id(1), &note("a"), now()))
        .await
        .unwrap();
    assert_eq!(notes(&link), [(1, "a".into())]);
    assert!(link.is_symlink() && !real.is_symlink());
    assert_eq!(names(&link), ["bot.db", "data"]);
}
