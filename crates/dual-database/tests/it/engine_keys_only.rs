//! Tables of nothing but their key: whoever writes, what comes past capture, and what is rare.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dual_database::merge::Change;
use dual_database::protocol::Filter;
use dual_database::schema::{Column, Key, LogicalType, Role, RowId, Table, users};
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::postgres::capture::Layout;
use dual_database::store::postgres::primary::{Pool, Primary, Refused};
use dual_database::store::postgres::{Settings, primary};
use dual_database::store::sqlite::replica::{Content, Durability};
use dual_database::sync::Preference;
use dual_database::verify::{Verification, compare};
use rusqlite::Connection;
use throwaway_postgres::shared;

use crate::engine_keys_scene::{here, there};
use crate::engine_scene::{Node, PATIENCE, Scene, limits, until};

const LINKS: usize = 1;
const TAGS: usize = 2;
const TICKETS: usize = 3;
const OWNERS: usize = 4;

/// Beside the built-in table: one of two numbers, one of a text, one whose numbers both sides hand out, and one
/// that PostgreSQL numbers besides.
fn tables() -> Arc<[Table]> {
    let key = |name: &str, kind| Column::new(name, kind, Role::Key);
    let links = vec![key("a", LogicalType::BigInt), key("b", LogicalType::Int)];
    let number = Column { automatic: true, ..key("id", LogicalType::Int) };
    let owners = vec![
        Column::new("id", LogicalType::Int, Role::Surrogate),
        key("owner", LogicalType::BigInt),
    ];
    let table = |name: &str, columns| Table::declare(name, columns).unwrap();
    [
        users(),
        table("links", links),
        table("tags", vec![key("tag", LogicalType::Text)]),
        table("tickets", vec![number]),
        table("owners", owners),
    ]
    .into()
}

async fn node(scene: &Scene<'_>, file: &str) -> Node {
    Node::keeping(&scene.database.url(), &scene.path(file), tables()).await
}

async fn pool(scene: &Scene<'_>) -> Pool {
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let pool = Pool::new(settings, limits(), tables(), 4);
    pool.prepare().await.unwrap();
    pool
}

async fn verified(pool: &Pool, node: &Node) -> Verification {
    let exchange = || async { node.sync.sync(PATIENCE).await.map(|_| ()) };
    compare(pool, &node.replica(), exchange).await.unwrap()
}

#[track_caller]
fn assert_equal(scene: &Scene<'_>, node: &Node, counts: [usize; 4]) {
    for (table, count) in [LINKS, TAGS, TICKETS, OWNERS].into_iter().zip(counts) {
        let table = &tables()[table];
        assert_eq!(here(node, table), there(scene, table), "{}", table.name());
        assert_eq!(here(node, table).len(), count, "{}", table.name());
    }
}

fn link(a: i64, b: i64) -> Key {
    Key::of(&[a.into(), b.into()]).unwrap()
}

fn new() -> Change {
    Change::Insert(Vec::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_their_rows_crosses_whoever_writes() {
    let scene = Scene::on(shared().unwrap());
    let first = node(&scene, "bot.db").await;
    first.sync().await;
    scene.sql(
        "INSERT INTO links VALUES (1, 1), (1, 2), (9223372036854775807, -1); \
         INSERT INTO tags VALUES ('a'), ('B'), (''); INSERT INTO tickets DEFAULT VALUES; \
         INSERT INTO owners (owner) VALUES (7)",
    );
    first.script(
        "INSERT INTO links VALUES (2, 1), (2, 2); INSERT INTO tags VALUES ('b'), ('файл'); \
         INSERT INTO owners (owner) VALUES (8)",
    );
    first.change(LINKS, link(3, 3), new()).await;
    first.change(TAGS, "наш", new()).await;
    first.change(OWNERS, 9, new()).await;
    first.sync().await;
    assert_equal(&scene, &first, [6, 6, 1, 3]);

    // Keys that become others, REPLACE, deletes by each of them.
    scene.sql(
        "UPDATE links SET b = 20 WHERE a = 1 AND b = 2; UPDATE tags SET tag = 'bb' WHERE tag = 'b'; \
         DELETE FROM links WHERE a = 2 AND b = 1; UPDATE owners SET owner = 80 WHERE owner = 8; \
         INSERT INTO tags VALUES ('a') ON CONFLICT DO NOTHING",
    );
    first.script(
        "UPDATE links SET a = 11 WHERE a = 1 AND b = 1; INSERT OR REPLACE INTO tags VALUES ('B'), ('new'); \
         INSERT OR IGNORE INTO links VALUES (2, 2), (4, 4); DELETE FROM tags WHERE tag = ''; \
         DELETE FROM owners WHERE owner = 7",
    );
    first.change(LINKS, link(3, 3), Change::Delete).await;
    first.change(TAGS, "наш", Change::Delete).await;
    first.sync().await;
    assert_equal(&scene, &first, [5, 5, 1, 2]);
    // One that was replaced here has a newer life than the delete that did not see it.
    scene.sql("DELETE FROM tags WHERE tag = 'B'");
    first.script("INSERT OR REPLACE INTO tags VALUES ('B')");
    first.sync().await;
    assert_equal(&scene, &first, [5, 5, 1, 2]);
    scene.sql("TRUNCATE tags, links");
    first.sync().await;
    assert_equal(&scene, &first, [0, 0, 1, 2]);

    // A file that comes later gets a copy; many at once from either side.
    scene.sql("INSERT INTO links SELECT n, n % 7 FROM generate_series(1, 6000) AS n");
    first.script(
        "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500) \
         INSERT INTO tags SELECT 'k' || n FROM n",
    );
    first.sync().await;
    let second = node(&scene, "second.db").await;
    second.sync().await;
    for node in [&first, &second] {
        assert_equal(&scene, node, [6_000, 2_500, 1, 2]);
    }
    first.script("DELETE FROM links WHERE b = 0");
    second.script("DELETE FROM links WHERE b = 1; DELETE FROM tags WHERE tag > 'k2'");
    for node in [&first, &second, &first] {
        node.sync().await;
    }
    let rest = scene.sql("SELECT 1 FROM links").len();
    assert_equal(&scene, &second, [rest, scene.sql("SELECT 1 FROM tags").len(), 1, 2]);
    assert!(verified(&pool(&scene).await, &first).await.is_sound());
    let log = "SELECT string_agg(table_name || ' ' || row_key, ',') FROM dual.conflict";
    assert_eq!(scene.one(log), "tags \"B\"");
}

async fn written(primary: &Primary<'_>, node: &Node, table: usize, keys: [Key; 3]) {
    let stamp = || node.shared.clock().propose(Default::default());
    let [one, two, three] = keys.map(|key| RowId::new(table, key));
    let write =
        async |id: &RowId, change| primary.write(&[(id.clone(), change)], stamp(), &[]).await;
    let answer = write(&one, new()).await.unwrap().unwrap().rows.remove(0);
    assert_eq!((&answer.row.id, answer.row.version.columns.len()), (&one, 0));
    assert_eq!(write(&one, new()).await.unwrap().unwrap_err(), Refused::Exists(one.clone()));
    let refused = write(&three, Change::Delete).await.unwrap().unwrap_err();
    assert_eq!(refused, Refused::Missing(three.clone()));
    let several = [(two.clone(), new()), (one.clone(), Change::Delete)];
    assert_eq!(primary.write(&several, stamp(), &[]).await.unwrap().unwrap().rows.len(), 2);
    let several = [(two.clone(), new()), (three.clone(), new())];
    let refused = primary.write(&several, stamp(), &[]).await.unwrap().unwrap_err();
    assert_eq!(refused, Refused::Exists(two.clone()));
    // What was read has to stand.
    let read = primary.row(&two).await.unwrap().unwrap();
    let reads = [(two.clone(), Some(read.version.clone())), (three.clone(), None)];
    primary.write(&[(one.clone(), new())], stamp(), &reads).await.unwrap().unwrap();
    write(&two, Change::Delete).await.unwrap().unwrap();
    write(&two, new()).await.unwrap().unwrap();
    let change = [(one.clone(), Change::Delete)];
    let refused = primary.write(&change, stamp(), &reads).await.unwrap().unwrap_err();
    assert_eq!(refused, Refused::Changed(two.clone()));
    write(&one, Change::Delete).await.unwrap().unwrap();
    assert!(!primary.row(&one).await.unwrap().unwrap().version.live.value);
    assert_eq!(primary.row(&three).await.unwrap(), None);
    let row = primary.row(&two).await.unwrap().unwrap();
    assert_eq!(primary.list(table, &Filter::default(), None, 10).await.unwrap(), [row]);
    // A proposal that is too old for what is there.
    let early = primary.write(&[(two, Change::Delete)], Stamp::ADOPTED_SQLITE, &[]).await.unwrap();
    assert!(matches!(early.unwrap_err(), Refused::Stale { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_written_at_postgresql_beside_triggers_of_the_users_too() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    let pool = pool(&scene).await;
    {
        let session = pool.get().await.unwrap();
        let primary = session.primary(node.state().await.file).unwrap();
        written(&primary, &node, LINKS, [link(1, 1), link(1, 2), link(1, 3)]).await;
        written(&primary, &node, TAGS, ["a".into(), "б \"1\"".into(), "c".into()]).await;
        written(&primary, &node, OWNERS, [1.into(), 2.into(), 3.into()]).await;
        scene.sql(
            "CREATE FUNCTION noting() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN new; END$$; \
             CREATE TRIGGER noting BEFORE INSERT OR UPDATE ON links FOR EACH ROW EXECUTE FUNCTION noting(); \
             CREATE TRIGGER noting BEFORE INSERT OR UPDATE ON tags FOR EACH ROW EXECUTE FUNCTION noting(); \
             TRUNCATE links, tags",
        );
        written(&primary, &node, LINKS, [link(2, 1), link(2, 2), link(2, 3)]).await;
        written(&primary, &node, TAGS, ["A".into(), "B".into(), "C".into()]).await;
    }
    node.sync().await;
    assert_equal(&scene, &node, [1, 1, 0, 1]);
    assert!(verified(&pool, &node).await.is_sound());
    // Past the triggers; a text that is none, and a number that is none.
    node.past_the_triggers(
        "INSERT INTO tags VALUES ('loaded'), (x'00'); INSERT INTO links VALUES (5, 5), (57.5, 1)",
    );
    let found = verified(&pool, &node).await;
    assert_eq!(found.tables[TAGS].keys, [Key::from("loaded")]);
    assert_eq!(found.tables[LINKS].keys, [link(5, 5)]);
    assert_eq!((found.tables[TAGS].quarantined, found.tables[LINKS].quarantined), (1, 1));
}

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
    let again = self::node(&scene, "bot.db").await;
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
async fn numbers_that_both_sides_hand_out_are_two_rows() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    for _ in 0..3 {
        scene.sql("INSERT INTO tickets DEFAULT VALUES");
        node.script("INSERT INTO tickets DEFAULT VALUES");
    }
    node.sync().await;
    node.sync().await;
    assert_equal(&scene, &node, [0, 0, 6, 0]);
    // A number that was given up, used again by hand on both sides.
    scene.sql("DELETE FROM tickets WHERE id = 2");
    node.sync().await;
    scene.sql("INSERT INTO tickets VALUES (2)");
    node.script("INSERT INTO tickets VALUES (2); INSERT INTO tickets VALUES (77); DELETE FROM tickets WHERE id = 77");
    node.sync().await;
    node.sync().await;
    assert_equal(&scene, &node, [0, 0, 7, 0]);
    assert_eq!(node.sync().await.quarantined, 0);
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

#[tokio::test(flavor = "multi_thread")]
async fn the_sql_is_as_reviewed() {
    let scene = Scene::on(shared().unwrap());
    let layout = Layout::new(&tables()[LINKS], "public.links");
    let mend = layout.mend(true).into();
    let rest = vec![layout.loose(), layout.changed_since()];
    let all = [layout.sidecar_ddl(), layout.functions(), layout.triggers(), mend, rest].concat();
    insta::assert_snapshot!("keys_only_postgres", all.join(";\n\n"));
    let node = node(&scene, "bot.db").await;
    let text: String = node.one(
        "SELECT group_concat(sql, char(59, 10, 10)) FROM (SELECT sql FROM sqlite_schema \
         WHERE (name LIKE 'dual_links%' OR name LIKE 'dual_%_links%') AND sql <> '' ORDER BY rowid)",
    );
    insta::assert_snapshot!("keys_only_sqlite", text);
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
