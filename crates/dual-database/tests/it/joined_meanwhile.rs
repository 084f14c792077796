//! What another program has joined while a file was away.

use std::fs;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::api_scene::{Scene, Wire};
use super::engine_scene::PATIENCE;

/// As after a delete that another program was faster to make good, or with a copy that has come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_comes_back_with_more_columns_is_opened_once_more() {
    let scene = Scene::shared("joined_meanwhile");
    scene.postgres("CREATE TABLE rooms (id bigint PRIMARY KEY, name text)");
    scene.join(&scene.file(), &["rooms"]).await;
    let db = scene.open().await;
    let keeps = |name| db.table("rooms").unwrap().declaration().column(name).is_some();
    assert!(keeps("name") && !keeps("note"));
    // It must not hear of it from PostgreSQL.
    scene.proxy.set(Wire::Refuse);
    let copy = scene.folder.path().join("copy.db");
    scene.outsider().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    scene.postgres("ALTER TABLE rooms ADD COLUMN note text");
    scene.join(&copy, &["rooms"]).await;
    fs::rename(&copy, scene.file()).unwrap();
    // It cannot be opened again as it was.
    assert!(db.table("rooms").unwrap().get(1).await.is_err());
    scene.proxy.set(Wire::Pass);
    let start = Instant::now();
    while !keeps("note") {
        assert!(start.elapsed() < PATIENCE, "{:?}", db.status().await);
        sleep(Duration::from_millis(50)).await;
    }
}
