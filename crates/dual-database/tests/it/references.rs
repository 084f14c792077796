//! Tables that refer to each other, where PostgreSQL holds references against each statement.

use dual_database::database::Patch;

use super::api_scene::{Scene, both};
use super::engine_scene::PATIENCE;

/// Rooms, and guests who refer to them, and come before them by their name.
const TABLES: [&str; 2] = [
    "CREATE TABLE rooms (id bigint PRIMARY KEY, name text)",
    "CREATE TABLE guests (id bigint PRIMARY KEY, room bigint NOT NULL REFERENCES rooms (id))",
];

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_referred_to_is_joined_first() {
    let scene = Scene::shared("references_join");
    let file = scene.outsider();
    for sql in TABLES {
        scene.postgres(sql);
        file.execute_batch(sql).unwrap();
    }
    let many = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5000) ";
    file.execute_batch(&format!("{many} INSERT INTO rooms SELECT n, 'x' FROM c")).unwrap();
    file.execute_batch(&format!("{many} INSERT INTO guests SELECT n, n FROM c")).unwrap();
    scene.join(&scene.file(), &["guests", "rooms"]).await;
    let aside = "SELECT CAST(count(*) AS TEXT) FROM dual_quarantine";
    assert_eq!(scene.sqlite(aside).as_deref(), Some("0"));
    let there = "SELECT CAST(count(*) AS TEXT) FROM guests";
    assert_eq!(scene.postgres(there).as_deref(), Some("5000"));
}

/// A table that refers to one that is declared after it.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_written_in_the_order_in_which_the_caller_wrote_them() {
    let scene = Scene::shared("api_tx_order");
    for sql in TABLES {
        scene.postgres(sql);
    }
    // One after the other, so that guests are declared before the rooms.
    scene.join(&scene.file(), &["guests"]).await;
    scene.join(&scene.file(), &["rooms"]).await;
    let db = scene.open().await;
    let (rooms, guests) = (db.table("rooms").unwrap(), db.table("guests").unwrap());
    let room = |row: &str| Patch::from_json(rooms.declaration(), row).unwrap();
    let guest = |row: &str| Patch::from_json(guests.declaration(), row).unwrap();
    let [first, second] = [r#"{"id": 1, "name": "x"}"#, r#"{"id": 2, "name": "y"}"#].map(room);
    let [comes, moves] = [r#"{"id": 5, "room": 1}"#, r#"{"room": 2}"#].map(guest);
    let came = db.transaction(async |tx| {
        tx.add("rooms", &first)?;
        tx.add("guests", &comes)
    });
    both(came.await.unwrap());
    // Whoever refers is led elsewhere before what it referred to goes.
    let moved = db.transaction(async |tx| {
        tx.get("rooms", 1).await?;
        tx.add("rooms", &second)?;
        tx.update("guests", 5, &moves).await?;
        tx.delete("rooms", 1).await
    });
    both(moved.await.unwrap());
    let gone = db.transaction(async |tx| {
        tx.update("rooms", 2, &room(r#"{"name": "z"}"#)).await?;
        tx.delete("guests", 5).await?;
        tx.delete("rooms", 2).await
    });
    both(gone.await.unwrap());
    let left = "SELECT CAST(count(*) AS TEXT) FROM rooms";
    assert_eq!(
        (scene.postgres(left).as_deref(), scene.sqlite(left).as_deref()),
        (Some("0"), Some("0"))
    );
}

/// What it refers to is usually on its way from another file.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_row_is_tried_again_soon() {
    let scene = Scene::shared("references_wait");
    for sql in TABLES {
        scene.postgres(sql);
    }
    scene.join(&scene.file(), &["guests", "rooms"]).await;
    let db = scene.builder().background(false).open().await.unwrap();
    scene.outsider().execute_batch("INSERT INTO guests (id, room) VALUES (5, 1)").unwrap();
    db.sync_now(PATIENCE).await.unwrap();
    let pause = "SELECT CAST(retry - since AS TEXT) FROM dual_quarantine WHERE code = '23503'";
    assert_eq!(scene.sqlite(pause).as_deref(), Some("1000"));
}

/// Rows of which none can be written first, in one transaction of the file.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_refer_to_each_other_go_over_together() {
    let scene = Scene::shared("references_circle");
    // Held at the commit; held at each statement, one way possibly empty; and in one table.
    for sql in [
        "CREATE TABLE teams (id bigint PRIMARY KEY, lead bigint NOT NULL)",
        "CREATE TABLE players (id bigint PRIMARY KEY, \
           team bigint NOT NULL REFERENCES teams DEFERRABLE INITIALLY DEFERRED)",
        "ALTER TABLE teams ADD FOREIGN KEY (lead) REFERENCES players DEFERRABLE",
        "CREATE TABLE shops (day date, code text, keeper bigint, PRIMARY KEY (day, code))",
        "CREATE TABLE keepers (id bigint PRIMARY KEY, day date NOT NULL, code text NOT NULL, \
           FOREIGN KEY (day, code) REFERENCES shops)",
        "ALTER TABLE shops ADD FOREIGN KEY (keeper) REFERENCES keepers",
        "CREATE TABLE pairs (id bigint PRIMARY KEY, other bigint NOT NULL REFERENCES pairs)",
    ] {
        scene.postgres(sql);
    }
    scene.join(&scene.file(), &["teams", "players", "shops", "keepers", "pairs"]).await;
    let db = scene.builder().background(false).open().await.unwrap();
    let file = scene.outsider();
    let all = "SELECT string_agg(t, ' ' ORDER BY t) FROM (SELECT 't' || id || lead AS t FROM teams \
       UNION ALL SELECT 'p' || id || team FROM players UNION ALL SELECT 's' || code || keeper FROM shops \
       UNION ALL SELECT 'k' || id || code FROM keepers UNION ALL SELECT 'x' || id || other FROM pairs) AS a";
    // One row besides that waits for another, and one that waits for a row of a circle.
    file.execute_batch(
        "BEGIN; INSERT INTO teams VALUES (1, 1), (2, 2), (7, 77); \
         INSERT INTO players VALUES (1, 2), (2, 1), (3, 1); \
         INSERT INTO shops VALUES ('2026-01-02', 'a', 4); INSERT INTO keepers VALUES (4, '2026-01-02', 'a'); \
         INSERT INTO pairs VALUES (1, 2), (2, 1); COMMIT",
    )
    .unwrap();
    db.sync_now(PATIENCE).await.unwrap();
    let come = Some("k4a p12 p21 p31 sa4 t11 t22 x12 x21");
    assert_eq!(scene.postgres(all).as_deref(), come);
    let aside = "SELECT group_concat(name || key || code) FROM dual_quarantine";
    assert_eq!(scene.sqlite(aside).as_deref(), Some("teams723503"));
    assert_eq!(
        scene.sqlite("SELECT group_concat(keeper) FROM shops").as_deref(),
        Some("4"),
        "what is left empty for a moment comes back to nobody"
    );
    assert_eq!(db.conflicts(10).await.unwrap().len(), 0);

    file.execute_batch(
        "BEGIN; DELETE FROM teams; DELETE FROM players; DELETE FROM shops; DELETE FROM keepers; \
         DELETE FROM pairs; COMMIT",
    )
    .unwrap();
    db.sync_now(PATIENCE).await.unwrap();
    assert_eq!(scene.postgres(all).as_deref(), None);
    assert_eq!(scene.sqlite(aside).as_deref(), None);
}

/// A comparison goes table by table, so it finds none of them that the other one would take.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_refer_to_each_other_are_joined() {
    let scene = Scene::shared("references_circle_joined");
    let file = scene.outsider();
    let tables = [
        "CREATE TABLE teams (id bigint PRIMARY KEY, lead bigint NOT NULL)",
        "CREATE TABLE players (id bigint PRIMARY KEY, team bigint NOT NULL)",
    ];
    for sql in tables {
        scene.postgres(sql);
        file.execute_batch(sql).unwrap();
    }
    for (from, column, to) in [("teams", "lead", "players"), ("players", "team", "teams")] {
        scene.postgres(&format!(
            "ALTER TABLE {from} ADD FOREIGN KEY ({column}) REFERENCES {to} DEFERRABLE"
        ));
    }
    let many = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 400) ";
    for table in ["teams", "players"] {
        let rows = format!("{many} INSERT INTO {table} SELECT n, 401 - n FROM c");
        file.execute_batch(&rows).unwrap();
    }
    scene.join(&scene.file(), &["teams", "players"]).await;
    let db = scene.builder().background(false).open().await.unwrap();
    db.sync_now(PATIENCE).await.unwrap();
    let there = "SELECT CAST(count(*) AS TEXT) FROM teams JOIN players ON lead = players.id";
    assert_eq!(scene.postgres(there).as_deref(), Some("400"));
    let aside = "SELECT CAST(count(*) AS TEXT) FROM dual_quarantine";
    assert_eq!(scene.sqlite(aside).as_deref(), Some("0"));
}
