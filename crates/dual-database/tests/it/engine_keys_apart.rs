//! Rows with keys of text and of several columns that came past capture, or have lived apart.

use std::sync::atomic::Ordering;

use dual_database::init::{Joining, plan};
use dual_database::merge::Change;
use dual_database::schema::{Dialect, RowId, quoted, quoted_text};
use dual_database::sync::Preference;
use rusqlite::Connection;
use throwaway_postgres::shared;

use crate::adoption::stores;
use crate::engine_keys_scene::{
    DEEDS, KEY, OF_DEEDS, TAGS, assert_equal, deed, new, node, pool, tables,
};
use crate::engine_scene::{PATIENCE, Scene, until};

#[tokio::test(flavor = "multi_thread")]
async fn what_came_past_the_triggers_is_taken_in_on_either_side() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    let both = |tags: &str, deeds: &str| {
        format!(
            "INSERT INTO tags (code, note) VALUES ({tags}); \
             INSERT INTO {OF_DEEDS} ({KEY}, note) VALUES ({deeds})"
        )
    };
    scene.sql(&both("'оба', 'a'", "'оба', 1, '2024-05-06 07:08:09', 'a'"));
    node.sync().await;
    node.past_the_triggers(&format!(
        "{}; DELETE FROM tags WHERE code = 'оба'; DELETE FROM {OF_DEEDS} WHERE note = 'a'",
        both("'здесь', 'b'", "'здесь', 1, '2024-05-06 07:08:09', 'b'")
    ));
    scene.sql(&format!(
        "SET session_replication_role = replica; {}; RESET session_replication_role",
        both("'там', 'c'", "'там', 1, '2024-05-06 07:08:09', 'c'")
    ));
    node.shared.looks.store(true, Ordering::Release);
    node.sync().await;
    node.sync().await;
    assert_equal(&scene, &node, [3, 3]);
    // By its key alone, when it is met.
    node.past_the_triggers(&both("'сам', 'd'", "'сам', 1, '2024-05-06 07:08:09', 'd'"));
    node.change(TAGS, "сам", Change::Update(vec![(1, 3.into())])).await;
    let key = deed("сам", 1, "2024-05-06 07:08:09");
    node.change(DEEDS, key, Change::Update(vec![(1, 3.into())])).await;
    node.sync().await;
    assert_equal(&scene, &node, [4, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_lived_apart_is_joined_by_its_keys() {
    let scene = Scene::on(shared().unwrap());
    let program = Connection::open(scene.path("bot.db")).unwrap();
    for table in [TAGS, DEEDS] {
        let table = &tables()[table];
        let name = quoted(table.name());
        scene.sql(&table.create_statement(Dialect::Postgres, &name));
        // Without a unique index, as a program may have made it.
        let columns = table
            .columns()
            .iter()
            .map(|column| format!("{} {}", quoted(&column.name), column.kind.sql(Dialect::Sqlite)));
        let columns: Vec<String> = columns.collect();
        program.execute_batch(&format!("CREATE TABLE {name} ({})", columns.join(", "))).unwrap();
    }
    let rows = |tags: &str, deeds: &str| {
        format!(
            "INSERT INTO tags (code, note, uses) VALUES {tags}; \
             INSERT INTO {OF_DEEDS} ({KEY}, note, uses) VALUES {deeds}"
        )
    };
    scene.sql(&rows(
        "('both', 'a', 1), ('there', 'a', 1), ('B', 'there', 2), ('a', NULL, 0)",
        "('x', 1, '2024-01-01', 'a', 1), ('x', 2, '2024-01-01', 'there', 2), ('y', 1, '2024-01-01', NULL, 0)",
    ));
    program
        .execute_batch(&rows(
            "('both', 'a', 1), ('here', 'a', 1), ('B', 'here', 2), ('a', 'known', 0)",
            "('x', 1, '2024-01-01 00:00:00', 'a', 1), ('x', 2, '2024-01-01T03:00:00+03:00', 'here', 2), \
             ('y', 1, '2024-01-01', 'known', 0)",
        ))
        .unwrap();
    let mut stores = stores(&scene, "bot.db");
    stores.sqlite.tables = tables();
    let plan = plan(&stores, Joining::default()).await.unwrap();
    let counts = plan.tables[TAGS].rows.as_ref().unwrap();
    assert_eq!(
        (counts.postgres, counts.sqlite, counts.only_postgres, counts.only_sqlite),
        (4, 4, 1, 1)
    );
    assert_eq!((counts.different, counts.conflicting), (2, 1));
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    assert_equal(&scene, &node, [5, 3]);
    assert_eq!(scene.one("SELECT note FROM tags WHERE code = 'B'"), "there");
    assert_eq!(scene.one("SELECT note FROM tags WHERE code = 'a'"), "known");
    let log = "SELECT row_key, winning, losing FROM dual.conflict ORDER BY 1";
    let logged =
        [[r#""B""#, "there", "here"], [r#"["x",2,"2024-01-01 00:00:00"]"#, "there", "here"]];
    assert_eq!(
        scene.sql(log),
        logged.map(|entry| entry.map(|text| Some(text.to_owned())).to_vec())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn their_tombstones_are_purged() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    scene.sql(&format!(
        "INSERT INTO tags (code) VALUES ('a'), ('б \"'); DELETE FROM tags WHERE code <> 'a'; \
         INSERT INTO {OF_DEEDS} ({KEY}) VALUES ('a', 1, '2024-01-01'), ('б \"', 1, '2024-01-01'); \
         DELETE FROM {OF_DEEDS} WHERE \"чьё \"\"дело\"\"\" <> 'a'"
    ));
    node.sync().await;
    let pool = pool(&scene).await;
    let session = pool.get().await.unwrap();
    let primary = session.primary(node.state().await.file).unwrap();
    let horizon = primary.row(&RowId::new(TAGS, "б \"")).await.unwrap().unwrap().version.highest();
    let horizon = horizon.next(node.shared.clock().writer());
    // Those that a transaction of another test could still see stay for the time being.
    let mut purged = 0;
    until("their tombstones are purged", async || {
        let (gone, rest) = primary.purge(horizon, Default::default(), PATIENCE).await.unwrap();
        assert_eq!(rest, None);
        purged += gone;
        purged == 2
    })
    .await;
    let kept = format!(
        "SELECT string_agg(key, '') FROM (SELECT key FROM dual.side_tags UNION ALL SELECT key FROM dual.{}) AS k",
        quoted(&format!("side_{}", tables()[DEEDS].name()))
    );
    assert_eq!(scene.one(&kept), "aa");
    node.sync().await;
    assert_equal(&scene, &node, [1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_differs_unseen_is_repaired_either_way() {
    for (prefer, uses) in [(Preference::Postgres, "2"), (Preference::Sqlite, "1")] {
        let scene = Scene::on(shared().unwrap());
        let node = node(&scene, "bot.db").await;
        node.sync().await;
        scene.sql(&format!(
            "INSERT INTO tags (code) VALUES ('a'), ('б \"'), ('gone'); \
             INSERT INTO {OF_DEEDS} ({KEY}) VALUES ('a', 1, '2024-01-01'), ('a', 2, '2024-01-01')"
        ));
        node.sync().await;
        node.past_the_triggers(&format!(
            "UPDATE tags SET uses = 1; UPDATE {OF_DEEDS} SET uses = 1"
        ));
        scene.sql(&format!(
            "SET session_replication_role = replica; UPDATE tags SET uses = 2; \
             UPDATE {OF_DEEDS} SET uses = 2; RESET session_replication_role"
        ));
        node.sync.repair(prefer).await.unwrap();
        node.sync().await;
        assert_equal(&scene, &node, [3, 2]);
        for of in ["tags", OF_DEEDS] {
            assert_eq!(
                scene.one(&format!("SELECT string_agg(DISTINCT uses::text, ',') FROM {of}")),
                uses
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_an_older_copy_replaces_loses_nothing_that_was_pending() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    let at = "'2024-05-06 07:08:09'";
    scene.sql(&format!(
        "INSERT INTO tags (code) VALUES ('a'), ('б \"'); INSERT INTO {OF_DEEDS} ({KEY}) VALUES ('a', 1, {at})"
    ));
    node.sync().await;
    let older = scene.path("older.db");
    node.script(&format!("VACUUM INTO {}", quoted_text(older.to_str().unwrap())));
    node.change(TAGS, "б \"", Change::Update(vec![(1, 7.into())])).await;
    node.change(TAGS, "новый", new("n", 1)).await;
    node.change(TAGS, "a", Change::Delete).await;
    node.change(DEEDS, deed("a", 2, "2024-05-06 07:08:09"), new("n", 2)).await;
    std::fs::rename(&older, node.path()).unwrap();
    node.sync().await;
    node.sync().await;
    assert_equal(&scene, &node, [2, 2]);
    assert_eq!(
        scene.one("SELECT string_agg(code || uses, ',' ORDER BY code) FROM tags"),
        "б \"7,новый1"
    );
}
