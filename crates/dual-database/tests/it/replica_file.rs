//! The file deleted and replaced while it is open, a full disk, and the end.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dual_database::merge::{Change, Tracked, written};
use dual_database::stamp::Stamp;
use dual_database::store::sqlite::replica::{Content, Durability, Replica};
use dual_database::value::Value;
use dual_database::{Kind, Store};

use crate::capture_oracle::visits;
use crate::replica_scene::{
    Scene, defaults, has, id, names, note, notes, now, python, settings, settle,
};

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
    let settled = written(None, &note("from there"), now(), Stamp::ZERO, &defaults());
    scene
        .go(move |content| {
            let absorbed = Tracked::absorb(None, &settled, true, &defaults());
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
