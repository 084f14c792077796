//! Rows of nothing but their key that came past capture, have lived apart, or have stamps that are wrong.

use std::sync::atomic::Ordering;

use dual_database::merge::Change;
use dual_database::schema::RowId;
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::postgres::primary;
use dual_database::store::sqlite::replica::{Content, Durability};
use dual_database::sync::Preference;
use rusqlite::Connection;
use throwaway_postgres::shared;

use crate::engine_keys_only::{LINKS, TAGS, assert_equal, link, new, node, pool, tables, verified};
use crate::engine_keys_scene::{here, there};
use crate::engine_scene::{PATIENCE, Scene, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_came_past_the_triggers_is_taken_in_on_either_side() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    scene
        .sql("INSERT INTO tags VALUES ('both'), ('gone'); INSERT INTO links VALUES (1, 1), (1, 2)");
    node.sync().await;
    let past = "INSERT INTO tags VALUES ('here'); INSERT INTO links VALUES (2, 2); \
                DELETE FROM tags WHERE tag = 'gone'; DELETE FROM links WHERE b = 2 AND a = 1";
    node.past_the_triggers(past);
    node.shared.looks.store(true, Ordering::Release);
    node.sync().await;
    node.sync().await;
    assert_equal(&scene, &node, [3, 3, 0, 0]);
    // The triggers were gone on either side.
    node.drop_triggers("tags");
    node.script("INSERT INTO tags VALUES ('untold'); DELETE FROM tags WHERE tag = 'both'");
    scene.sql(
        "ALTER TABLE links DISABLE TRIGGER USER; INSERT INTO links VALUES (3, 3); \
         DELETE FROM links WHERE a = 2",
    );
    let again = crate::engine_keys_only::node(&scene, "bot.db").await;
    again.sync().await;
    again.sync().await;
    assert_equal(&scene, &again, [4, 4, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_unseen_is_repaired_either_way() {
    for (prefer, left) in [(Preference::Postgres, "a,gone"), (Preference::Sqlite, "a,loaded")] {
        let scene = Scene::on(shared().unwrap());
        let node = node(&scene, "bot.db").await;
        node.sync().await;
        scene.sql(
            "INSERT INTO tags VALUES ('a'), ('gone'); INSERT INTO links VALUES (1, 1), (2, 2)",
        );
        node.sync().await;
        // The sidecar was written, too: nothing tells which side is right.
        node.past_the_triggers(
            "INSERT INTO tags VALUES ('loaded'); DELETE FROM tags WHERE tag = 'gone'; \
             INSERT INTO dual_side_tags SELECT 'loaded', live, stamp, seq, live_base FROM dual_side_tags \
             WHERE key = 'a'; DELETE FROM links WHERE a = 2",
        );
        node.sync.repair(prefer).await.unwrap();
        node.sync().await;
        let links = if prefer == Preference::Postgres { 2 } else { 1 };
        assert_equal(&scene, &node, [links, 2, 0, 0]);
        let tags = "SELECT string_agg(tag, ',' ORDER BY tag) FROM tags";
        assert_eq!(scene.one(tags), left);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn their_tombstones_are_purged_and_their_stamps_set_back() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    scene.sql(
        "INSERT INTO tags VALUES ('a'), ('b'), ('c'); DELETE FROM tags WHERE tag = 'b'; \
         INSERT INTO links VALUES (1, 1), (2, 2); DELETE FROM links WHERE a = 2",
    );
    node.sync().await;
    let pool = pool(&scene).await;
    let session = pool.get().await.unwrap();
    let primary = session.primary(node.state().await.file).unwrap();
    let dead = primary.row(&RowId::new(LINKS, link(2, 2))).await.unwrap().unwrap();
    let horizon = dead.version.highest().next(node.shared.clock().writer());
    let mut purged = 0;
    until("their tombstones are purged", async || {
        let position = primary::PurgePosition::default();
        purged += primary.purge(horizon, position, PATIENCE).await.unwrap().0;
        purged == 2
    })
    .await;
    drop(session);
    let purge = move |content: &Content<'_>| content.purge(horizon);
    assert_eq!(node.replica().write("test", Durability::Full, purge).await.unwrap(), 2);
    // Above the horizon it lives again.
    node.script("INSERT INTO links VALUES (2, 2)");
    node.sync().await;
    assert_equal(&scene, &node, [2, 2, 0, 0]);

    let now = "SELECT floor(date_part('epoch', clock_timestamp()) * 1000)::bigint + 31536000000";
    let ahead = Stamp::at(scene.one(now).parse().unwrap(), Writer::POSTGRES).raw();
    scene.sql(&format!(
        "UPDATE dual.side_tags SET txid = txid_current(), stamp = {ahead} WHERE key = 'a'"
    ));
    node.sync().await;
    node.script("UPDATE dual_side_links SET stamp = 'none' WHERE key = 1");
    let found = verified(&pool, &node).await;
    let ahead_of = |at: usize| (found.tables[at].ahead_postgres, found.tables[at].ahead_sqlite);
    assert_eq!((ahead_of(TAGS), ahead_of(LINKS)), ((1, 1), (0, 1)));
    node.script("DELETE FROM tags WHERE tag = 'a'; INSERT INTO tags VALUES ('pending')");
    assert!(node.sync.set_back().await.unwrap());
    node.sync().await;
    let found = verified(&pool, &node).await;
    assert!(found.is_sound(), "{found:?}");
    assert_equal(&scene, &node, [2, 2, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_an_older_copy_replaces_loses_nothing_that_was_pending() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    scene.sql("INSERT INTO tags VALUES ('a'), ('b'); INSERT INTO links VALUES (1, 1)");
    node.sync().await;
    let older = scene.path("older.db");
    node.script(&format!("VACUUM INTO '{}'", older.display()));
    node.change(TAGS, "new", new()).await;
    node.change(TAGS, "a", Change::Delete).await;
    node.change(LINKS, link(2, 2), new()).await;
    std::fs::rename(&older, node.path()).unwrap();
    node.sync().await;
    node.sync().await;
    assert_equal(&scene, &node, [2, 2, 0, 0]);
    assert_eq!(scene.one("SELECT string_agg(tag, ',' ORDER BY tag) FROM tags"), "b,new");
}

/// As a program may have made them, with what it likes in the file.
#[tokio::test(flavor = "multi_thread")]
async fn they_are_joined_as_they_stand() {
    let scene = Scene::on(shared().unwrap());
    let program = Connection::open(scene.path("bot.db")).unwrap();
    scene.sql(
        "CREATE TABLE links (a bigint, b integer, PRIMARY KEY (b, a)); CREATE TABLE tags (tag varchar PRIMARY KEY); \
         INSERT INTO links VALUES (1, 1), (1, 2); INSERT INTO tags VALUES ('a'), ('there')",
    );
    program
        .execute_batch(
            "CREATE TABLE links (a INTEGER, b INTEGER, UNIQUE (b, a)); \
             CREATE TABLE tags (tag TEXT COLLATE NOCASE NOT NULL PRIMARY KEY) WITHOUT ROWID; \
             INSERT INTO links VALUES (1, 1), (3, 3); INSERT INTO tags VALUES ('A'), ('here')",
        )
        .unwrap();
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    // The file does not take `a` beside `A`.
    let rows = |table: usize| (here(&node, &tables()[table]), there(&scene, &tables()[table]));
    let (links, theirs) = rows(LINKS);
    assert_eq!((links.len(), &links), (3, &theirs));
    assert_eq!(rows(TAGS).1.len(), 4);
}

/// A part of the key that is unique by itself, on both sides.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_exchange_unique_parts_make_room_for_each_other() {
    let scene = Scene::on(shared().unwrap());
    scene.sql("CREATE TABLE links (a bigint, b integer UNIQUE, PRIMARY KEY (a, b))");
    Connection::open(scene.path("bot.db"))
        .unwrap()
        .execute_batch("CREATE TABLE links (a INTEGER, b INTEGER UNIQUE, PRIMARY KEY (a, b))")
        .unwrap();
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    scene.sql("INSERT INTO links VALUES (1, 1), (2, 2), (3, 3)");
    node.sync().await;
    node.script("DELETE FROM links WHERE a < 3; INSERT INTO links VALUES (1, 2), (2, 1)");
    node.sync().await;
    assert_equal(&scene, &node, [3, 0, 0, 0]);
    // What REPLACE takes along by that index no trigger of SQLite tells.
    node.script("INSERT OR REPLACE INTO links VALUES (9, 3)");
    node.sync().await;
    assert_equal(&scene, &node, [3, 0, 0, 0]);
    scene.sql("DELETE FROM links; INSERT INTO links VALUES (1, 3), (2, 2), (9, 1)");
    node.sync().await;
    assert_equal(&scene, &node, [3, 0, 0, 0]);
    assert_eq!(node.sync().await.quarantined, 0);
}
