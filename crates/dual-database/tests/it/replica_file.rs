//! The file deleted, replaced, damaged, locked and badly chosen, while it is open and before.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dual_database::merge::{Change, Register, Tracked, written};
use dual_database::protocol::Follow;
use dual_database::schema::users;
use dual_database::stamp::Stamp;
use dual_database::store::sqlite::replica::{Content, Durability, Replica};
use dual_database::value::Value;
use dual_database::{Kind, Store};

use crate::capture_oracle::visits;
use crate::replica::{Scene, id, note, now, outside, settings};

/// Python, with `path` and `other` given.
fn python(script: &str, path: &Path, other: &Path) {
    let head = "import os, shutil, sqlite3, sys\npath, other = sys.argv[1:3]\n";
    let done = Command::new("python3")
        .arg("-c")
        .arg(format!("{head}{script}"))
        .args([path, other])
        .status();
    assert!(done.unwrap().success(), "{script}");
}

/// What an outside program reads.
fn notes(path: &Path) -> Vec<(i64, String)> {
    let script = "import sqlite3, sys, json\nc = sqlite3.connect(sys.argv[1], timeout=10)\n\
         assert c.execute('PRAGMA integrity_check').fetchone()[0] == 'ok'\n\
         print(json.dumps(c.execute('SELECT visit_id, note FROM visits ORDER BY 1').fetchall()))";
    let done = Command::new("python3").args(["-c", script]).arg(path).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn has(path: &Path, part: &str) -> bool {
    names(path).iter().any(|name| name.contains(part))
}

/// Everything so far is at PostgreSQL.
async fn settle(scene: &Scene) {
    scene
        .go(|content| {
            for (id, row) in content.pending(0, true)?.rows {
                let mut tracked = row.tracked.clone();
                tracked.acknowledge(&row.tracked.version);
                content.set_tracked(&id, &tracked)?;
            }
            let mut node = content.node()?;
            node.pushed = node.seq;
            node.installation = Some(7);
            content.set_node(&node)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_comes_back_with_everything() {
    for also in ["", "-wal", "-shm"] {
        let scene = Scene::new().await;
        scene.insert(1, "before").await;
        scene.note(1).await;
        std::fs::remove_file(&scene.path).unwrap();
        if !also.is_empty() {
            std::fs::remove_file(format!("{}{also}", scene.path.display())).unwrap();
        }
        // The very write that finds it gone is there when it is answered.
        scene.insert(2, "after").await;
        assert_eq!(notes(&scene.path), [(1, "before".into()), (2, "after".into())]);
        assert_eq!(scene.replica.generation(), 1);
        assert_eq!(scene.note(2).await.as_deref(), Some("after"));
        assert!(!has(&scene.path, "salvage"), "{:?}", names(&scene.path));
        scene.outside("UPDATE visits SET note = 'outside' WHERE visit_id = 1");
        assert_eq!(scene.note(1).await.as_deref(), Some("outside"));
        let (_folder, path) = scene.reopened();
        assert_eq!(notes(&path), [(1, "outside".into()), (2, "after".into())]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_and_the_end_notice_it_too() {
    let scene = Scene::new().await;
    scene.insert(1, "a").await;
    std::fs::remove_file(&scene.path).unwrap();
    assert_eq!(scene.note(1).await.as_deref(), Some("a"));
    assert_eq!(notes(&scene.path), [(1, "a".into())]);
    std::fs::remove_file(&scene.path).unwrap();
    let (_folder, path) = scene.reopened();
    assert_eq!(notes(&path), [(1, "a".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_backup_gets_what_was_pending() {
    let scene = Scene::new().await;
    scene.insert(1, "old").await;
    settle(&scene).await;
    let backup = scene.path.with_extension("backup");
    let copy =
        "a = sqlite3.connect(path); b = sqlite3.connect(other); a.backup(b); b.close(); a.close()";
    python(copy, &scene.path, &backup);
    let settled = written(None, &note("from there"), now(), Stamp::ZERO, &visits_defaults());
    scene
        .go(move |content| {
            let absorbed = Tracked::absorb(None, &settled, true, &visits_defaults());
            content.take(&id(3), None, Some(&settled), &absorbed, Some(30))
        })
        .await;
    scene.insert(2, "pending").await;
    let change = Change::Update(vec![(1, Value::Text("new".into()))]);
    scene.go(move |content| content.change(&id(1), &change, now())).await;
    let pending = scene.row(1).await.unwrap();
    std::fs::rename(&backup, &scene.path).unwrap();

    let lost = scene.replica.write("test", Durability::Full, |content| {
        content.change(&id(4), &note("found it gone"), now())
    });
    lost.await.unwrap();
    // What was pending is there, the rest comes from PostgreSQL again.
    let expected = [(1, "new".to_owned()), (2, "pending".into()), (4, "found it gone".into())];
    assert_eq!(notes(&scene.path), expected);
    assert_eq!(scene.row(1).await.unwrap().tracked, pending.tracked);
    let keys = scene.go(|content| content.pending(0, false)).await;
    assert_eq!(keys.rows.iter().map(|(id, _)| id.key.clone()).collect::<Vec<_>>(), [1, 2, 4]);
    assert!(has(&scene.path, ".merged"), "{:?}", names(&scene.path));
    assert_eq!(scene.go(|content| content.node()).await.installation, Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_new_file_refuses_waits_in_the_salvage() {
    let scene = Scene::new().await;
    scene.insert(1, "old").await;
    settle(&scene).await;
    let backup = scene.path.with_extension("backup");
    let copy = "a = sqlite3.connect(path); b = sqlite3.connect(other); a.backup(b)\n\
         b.execute(\"CREATE TRIGGER no BEFORE INSERT ON visits WHEN new.note = 'bad' \
         BEGIN SELECT RAISE(ABORT, 'no'); END\"); b.close(); a.close()";
    python(copy, &scene.path, &backup);
    scene.insert(2, "bad").await;
    scene.insert(3, "good").await;
    std::fs::rename(&backup, &scene.path).unwrap();
    scene.note(1).await;
    assert_eq!(notes(&scene.path), [(1, "old".into()), (3, "good".into())]);
    assert!(has(&scene.path, "salvage") && !has(&scene.path, ".merged"));
    let left = scene.replica.left();
    assert!(left.len() == 1 && left[0].contains("1 rows are refused"), "{left:?}");
    // Deleted and purged, what was taken does not come back with the rest.
    scene.outside("DELETE FROM visits WHERE visit_id = 3");
    scene.outside("DELETE FROM dual_side_visits WHERE key = 3; DROP TRIGGER no");
    let (_folder, path) = scene.reopened();
    let replica = Replica::open(settings(&path, vec![visits()])).await.unwrap();
    assert_eq!(notes(&path), [(1, "old".into()), (2, "bad".into())]);
    assert!(has(&path, ".merged"), "{:?}", names(&path));
    assert!(replica.left().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_file_is_refused_and_ours_is_kept() {
    let scene = Scene::new().await;
    scene.insert(1, "ours").await;
    settle(&scene).await;
    scene.insert(2, "pending").await;
    let foreign = Scene::new().await;
    foreign.insert(9, "theirs").await;
    settle(&foreign).await;
    foreign
        .go(|content| {
            let mut node = content.node()?;
            node.installation = Some(8);
            content.set_node(&node)
        })
        .await;
    let (folder, other) = foreign.reopened();
    let own = scene.path.with_extension("own");
    // In one step: what is missing for a moment is brought back at once.
    let exchange = "shutil.copy(other, path + '.new'); os.link(path, path + '.own'); \
         os.replace(path + '.new', path)";
    python(exchange, &scene.path, &other);
    for _ in 0..2 {
        let refused = scene.replica.write("test", Durability::Normal, |_| Ok(())).await;
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), Kind::Schema(Store::Sqlite), "{error}");
        assert!(error.message().contains("another installation"), "{error}");
        assert!(scene.replica.read("test", |content| content.row(&id(1))).await.is_err());
    }
    assert_eq!(notes(&scene.path), [(9, "theirs".into())]);
    assert_eq!(names(&scene.path).iter().filter(|n| n.contains("salvage")).count(), 1);
    // Taken away, what was kept comes back by itself.
    std::fs::remove_file(&scene.path).unwrap();
    scene.insert(3, "later").await;
    let all = [(1, "ours".to_owned()), (2, "pending".into()), (3, "later".into())];
    assert_eq!(notes(&scene.path), all);
    drop((folder, own));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_database_is_set_aside_and_one_of_ours_is_put_back() {
    let scene = Scene::new().await;
    scene.insert(1, "ours").await;
    let rubbish = scene.path.with_extension("rubbish");
    std::fs::write(&rubbish, vec![b'x'; 5_000]).unwrap();
    std::fs::rename(&rubbish, &scene.path).unwrap();
    scene.insert(2, "more").await;
    assert_eq!(notes(&scene.path), [(1, "ours".into()), (2, "more".into())]);
    assert!(has(&scene.path, ".corrupt-"), "{:?}", names(&scene.path));
    // A plain database with the table only: taken over as at a first start, with ours.
    let plain = scene.path.with_extension("plain");
    outside(
        &plain,
        "CREATE TABLE visits (id INTEGER PRIMARY KEY, visit_id INTEGER UNIQUE, guest INTEGER,
         note TEXT); INSERT INTO visits (visit_id, note) VALUES (5, 'plain')",
    );
    std::fs::rename(&plain, &scene.path).unwrap();
    scene.insert(3, "last").await;
    let keys: Vec<i64> = notes(&scene.path).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [1, 2, 3, 5]);
    let Follow::Reconciling { .. } = scene.go(|content| content.node()).await.follow else {
        panic!("it has never met PostgreSQL");
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_set_aside_and_what_can_be_read_goes_on() {
    let scene = Scene::new().await;
    for key in 1..400 {
        scene.insert(key, &"long ".repeat(20)).await;
    }
    settle(&scene).await;
    scene.insert(1_000, "pending").await;
    let name = scene.go(|content| content.node()).await.file;
    // Everything into the main file, then a hole into the data rows.
    let script = "c = sqlite3.connect(path)\n\
         c.execute('PRAGMA wal_checkpoint(TRUNCATE)')\n\
         root = c.execute(\"SELECT rootpage FROM sqlite_schema WHERE name = 'visits'\").fetchone()[0]\n\
         size = c.execute('PRAGMA page_size').fetchone()[0]\n\
         c.close()\n\
         f = open(path, 'r+b'); f.seek((root - 1) * size); f.write(b'\\xff' * size); f.close()";
    python(script, &scene.path, Path::new(""));
    let deadline = Instant::now() + Duration::from_secs(20);
    let (mut failures, mut key) = (0, 2_000);
    loop {
        key += 1;
        let change = note("after");
        let result = scene
            .replica
            .write("test", Durability::Full, move |content| {
                content.change(&id(key), &change, now())
            })
            .await;
        match result {
            Ok(()) => break,
            Err(error) => {
                assert!(error.is_unavailable(), "{}", error.chain());
                failures += 1;
            }
        }
        assert!(Instant::now() < deadline);
    }
    assert_eq!(failures, 1, "repeated once");
    assert!(has(&scene.path, ".corrupt-") && !has(&scene.path, "damaged"));
    assert!(notes(&scene.path).iter().any(|(_, text)| text == "after"));
    let node = scene.go(|content| content.node()).await;
    assert_eq!((node.follow, node.installation), (Follow::rebuilt(), Some(7)));
    assert_ne!(node.file, name);
    let damage = scene.go(|content| content.damage()).await;
    assert_eq!(damage.len(), 1);
    assert!(Path::new(&damage[0].aside).exists(), "{damage:?}");
    assert!(damage[0].unreadable.is_some_and(|rows| rows > 0), "{damage:?}");

    // It is told until somebody has seen it, also by a file that takes the place of this one.
    let (_folder, path) = scene.reopened();
    let hole = "f = open(path, 'r+b'); f.write(b'\\xff' * 100); f.close()";
    python(hole, &path, Path::new(""));
    for _ in 0..2 {
        let again = Replica::open(settings(&path, vec![visits()])).await.unwrap();
        let told = again.read("test", |content| content.damage()).await.unwrap();
        // Of the second one nothing could be read, not even what it knew of the first.
        assert_eq!(told.iter().map(|one| one.unreadable).collect::<Vec<_>>(), [None]);
        Arc::new(again).close().await;
    }
    let again = Replica::open(settings(&path, vec![visits()])).await.unwrap();
    let review = |content: &Content<'_>| content.review_damage();
    assert_eq!(again.write("test", Durability::Full, review).await.unwrap(), 1);
    assert_eq!(again.read("test", |content| content.damage()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_finds_the_damage_once() {
    let scene = Scene::new().await;
    scene.insert(1, "a").await;
    scene.note(1).await;
    // The sidecar: what is readable of the rest is of no use without it.
    let script = "c = sqlite3.connect(path)\n\
         c.execute('PRAGMA wal_checkpoint(TRUNCATE)')\n\
         root = c.execute(\"SELECT rootpage FROM sqlite_schema WHERE name = 'dual_side_visits'\").fetchone()[0]\n\
         size = c.execute('PRAGMA page_size').fetchone()[0]\n\
         c.execute('UPDATE dual_node SET exchanged = 1'); c.commit(); c.close()\n\
         f = open(path, 'r+b'); f.seek((root - 1) * size); f.write(b'\\xff' * size); f.close()";
    python(script, &scene.path, Path::new(""));
    let reads = (0..20).map(|_| scene.replica.read("test", |content| content.row(&id(1))));
    let results = futures_util::future::join_all(reads).await;
    for result in results {
        match result {
            Ok(row) => assert!(row.is_none()),
            Err(error) => assert!(error.is_unavailable(), "{}", error.chain()),
        }
    }
    assert_eq!(scene.replica.generation(), 1, "set aside once");
    scene.insert(2, "b").await;
    assert_eq!(notes(&scene.path), [(2, "b".into())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_file_and_one_damaged_while_closed() {
    let scene = Scene::new().await;
    scene.insert(1, "a").await;
    python("open(path, 'r+b').truncate(0)", &scene.path, Path::new(""));
    let mut result = Err(());
    for _ in 0..3 {
        let work = |content: &Content<'_>| content.change(&id(2), &note("b"), now());
        result = scene.replica.write("test", Durability::Full, work).await.map_err(|_| ());
        if result.is_ok() {
            break;
        }
    }
    result.unwrap();
    assert_eq!(scene.note(2).await.as_deref(), Some("b"));
    let (_folder, path) = scene.reopened();
    assert!(has(&path, ".corrupt-"));

    python("f = open(path, 'r+b'); f.write(b'nonsense' * 100); f.close()", &path, Path::new(""));
    let again = Replica::open(settings(&path, vec![visits()])).await.unwrap();
    again
        .write("test", Durability::Normal, |content| content.change(&id(3), &note("c"), now()))
        .await
        .unwrap();
    assert_eq!(notes(&path), [(3, "c".into())]);
}

async fn write(replica: &Replica, key: i64) -> dual_database::Result<()> {
    let work = move |content: &Content<'_>| content.change(&id(key), &note("b"), now());
    replica.write("test", Durability::Normal, work).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_survive_the_loss_of_their_file_together() {
    let scene = Scene::new().await;
    let other = Replica::open(settings(&scene.path, vec![visits()])).await.unwrap();
    scene.insert(1, "a").await;
    write(&other, 2).await.unwrap();
    std::fs::remove_file(&scene.path).unwrap();
    let (one, two) = tokio::join!(write(&scene.replica, 3), write(&other, 4));
    assert!(one.is_ok() || two.is_ok());
    for (result, key) in [(one, 3), (two, 4)] {
        if let Err(error) = result {
            assert!(error.is_unavailable(), "{}", error.chain());
            write(&other, key + 10).await.unwrap();
        }
    }
    scene.insert(9, "z").await;
    let keys: Vec<i64> = notes(&scene.path).into_iter().map(|(key, _)| key).collect();
    assert!(keys.starts_with(&[1, 2, 3, 4]) && keys.contains(&9), "{keys:?}");
    assert_eq!(other.read("test", |content| content.row(&id(9))).await.unwrap().unwrap().seq, {
        scene.row(9).await.unwrap().seq
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_opens_and_closes_it_all_the_time_loses_nothing() {
    let scene = Scene::new().await;
    let script = "import sqlite3, sys\nwhile True:\n  c = sqlite3.connect(sys.argv[1], timeout=10)\n  \
         c.execute('SELECT count(*) FROM visits').fetchone()\n  c.close()\n";
    let mut child = Command::new("python3")
        .args(["-c", script])
        .arg(&scene.path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    for key in 0..300 {
        let change = note("a");
        let write = scene.replica.write("test", Durability::Full, move |content| {
            content.change(&id(key), &change, now())
        });
        write.await.unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(notes(&scene.path).len(), 300);
    assert_eq!(scene.replica.generation(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_sqlite_has_the_file_open() {
    let scene = Scene::new().await;
    scene.insert(1, "a").await;
    scene.note(1).await;
    let open = |end: &str| {
        let wanted = format!("{}{end}", scene.path.display());
        let links = std::fs::read_dir("/proc/self/fd").unwrap();
        links
            .filter_map(|link| std::fs::read_link(link.ok()?.path()).ok())
            .filter(|target| target.to_str() == Some(&wanted))
            .count()
    };
    scene.replica.read_long("test", |content| content.node()).await.unwrap();
    // One descriptor for each of the three connections; the shared memory is shared.
    assert_eq!((open(""), open("-wal"), open("-shm")), (3, 3, 1));
    scene.replica.heartbeat().await.unwrap();
    assert_eq!(open(""), 3);
    assert!(open(".dual-lock") == 0);
    let path = scene.path.clone();
    drop(scene);
    let left = std::fs::read_dir("/proc/self/fd").unwrap();
    let left = left.filter_map(|link| std::fs::read_link(link.ok()?.path()).ok());
    assert!(!left.into_iter().any(|target| target.starts_with(path.parent().unwrap())));
}

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
        .args(["--exact", "replica_file::as_somebody_else", "--ignored"])
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
async fn a_full_disk_fails_the_group_and_nothing_else() {
    let scene = Scene::new().await;
    let pages: i64 = scene
        .go(|content| {
            let count = "PRAGMA page_count";
            let pages = content.connection().query_row(count, [], |row| row.get(0));
            let pages: i64 = pages.unwrap();
            let sql = format!("PRAGMA max_page_count = {}", pages + 20);
            content.connection().query_row(&sql, [], |_| Ok(())).unwrap();
            Ok(pages)
        })
        .await;
    let mut full = None;
    for key in 0..200 {
        let change = note(&"x".repeat(2_000));
        let work = move |content: &Content<'_>| content.change(&id(key), &change, now());
        if let Err(error) = scene.replica.write("test", Durability::Normal, work).await {
            full = Some((key, error));
            break;
        }
    }
    let (key, error) = full.unwrap();
    assert_eq!(error.kind(), Kind::NoSpace(Store::Sqlite), "{}", error.chain());
    assert!(scene.note(key - 1).await.is_some() && scene.note(key).await.is_none());
    scene
        .go(move |content| {
            let sql = format!("PRAGMA max_page_count = {}", pages + 9_999);
            content.connection().query_row(&sql, [], |_| Ok(())).unwrap();
            Ok(())
        })
        .await;
    scene.insert(key, "fits").await;
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
    assert!(matches!(
        node.follow,
        Follow::Reconciling { cause: dual_database::protocol::Break::LocalGap, .. }
    ));
    let lives: Vec<(i64, bool)> = rows
        .iter()
        .map(|(id, row)| (id.key.number().unwrap(), row.tracked.version.live.value))
        .collect();
    assert_eq!(lives, [(1, true), (2, true), (3, true), (4, true)]);
    assert!(rows[0].1.tracked.version.is_absent(), "it is not known to be deleted");
    assert_eq!(rows[3].1.tracked.version.highest(), Stamp::ADOPTED_SQLITE);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_does_not_wait_for_what_is_running() {
    let scene = Scene::new().await;
    let Scene { replica, path, .. } = &scene;
    let long =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let write = replica.write("test", Durability::Normal, move |content| {
        content.change(&id(1), &note("a"), now())?;
        let run = content.connection().query_row(long, [], |row| row.get::<_, i64>(0));
        run.map_err(|cause| dual_database::store::sqlite::failed("test", cause))
    });
    let waited = tokio::time::timeout(Duration::from_millis(300), write).await;
    assert!(waited.is_err());
    let (begun, path) = (Instant::now(), path.clone());
    let (_folder, _) = scene.reopened();
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(notes(&path).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn work_on_the_thread_may_be_the_last_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.db");
    let replica = Arc::new(Replica::open(settings(&path, vec![visits()])).await.unwrap());
    let last = Arc::clone(&replica);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let mut write = Box::pin(replica.write("test", Durability::Normal, move |_| {
        let _ = wait.recv();
        drop(last);
        Ok(())
    }));
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut write).await.is_err());
    drop(write);
    drop(replica);
    go.send(()).unwrap();
    // It ends in order: the number is given back.
    let begun = Instant::now();
    let outside = rusqlite::Connection::open(&path).unwrap();
    outside.busy_timeout(Duration::from_secs(5)).unwrap();
    let given_back = "SELECT heartbeat = 0 FROM dual_writer";
    while !outside.query_row(given_back, [], |row| row.get::<_, bool>(0)).unwrap() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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

fn visits_defaults() -> dual_database::merge::Defaults {
    dual_database::merge::Defaults::new(visits().defaults())
}
