//! What is in the file's place and is no database of ours, or a damaged one.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dual_database::protocol::Follow;
use dual_database::store::sqlite::replica::{Content, Durability, Replica};

use crate::capture_oracle::visits;
use crate::replica_scene::{
    Scene, has, id, names, note, notes, now, outside, python, settings, settle,
};

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
