//! Tables of nothing but their key: whoever writes, what comes past capture, and what is rare.

use std::sync::Arc;

use dual_database::database::Patch;
use dual_database::merge::Change;
use dual_database::protocol::Filter;
use dual_database::schema::{Column, Key, LogicalType, Role, RowId, Table, users};
use dual_database::stamp::Stamp;
use dual_database::store::postgres::Settings;
use dual_database::store::postgres::capture::Layout;
use dual_database::store::postgres::primary::{Pool, Primary, Refused};
use dual_database::verify::{Verification, compare};
use throwaway_postgres::shared;

use crate::api_scene;
use crate::engine_keys_scene::{here, there};
use crate::engine_scene::{Node, PATIENCE, Scene, limits};

pub const LINKS: usize = 1;
pub const TAGS: usize = 2;
const TICKETS: usize = 3;
const OWNERS: usize = 4;

/// Beside the built-in table: one of two numbers, one of a text, one whose numbers both sides hand out, and one
/// that PostgreSQL numbers besides.
pub fn tables() -> Arc<[Table]> {
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

pub async fn node(scene: &Scene<'_>, file: &str) -> Node {
    Node::keeping(&scene.database.url(), &scene.path(file), tables()).await
}

pub async fn pool(scene: &Scene<'_>) -> Pool {
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let pool = Pool::new(settings, limits(), tables(), 4);
    pool.prepare().await.unwrap();
    pool
}

pub async fn verified(pool: &Pool, node: &Node) -> Verification {
    let exchange = || async { node.sync.sync(PATIENCE).await.map(|_| ()) };
    compare(pool, &node.replica(), exchange).await.unwrap()
}

#[track_caller]
pub fn assert_equal(scene: &Scene<'_>, node: &Node, counts: [usize; 4]) {
    for (table, count) in [LINKS, TAGS, TICKETS, OWNERS].into_iter().zip(counts) {
        let table = &tables()[table];
        assert_eq!(here(node, table), there(scene, table), "{}", table.name());
        assert_eq!(here(node, table).len(), count, "{}", table.name());
    }
}

pub fn link(a: i64, b: i64) -> Key {
    Key::of(&[a.into(), b.into()]).unwrap()
}

pub fn new() -> Change {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_writes_them_with_what_they_refer_to() {
    let scene = api_scene::Scene::shared("keys_only");
    scene.postgres("CREATE TABLE people (id bigint PRIMARY KEY, name text)");
    scene.postgres(
        "CREATE TABLE rights (person bigint REFERENCES people (id), what text, PRIMARY KEY (person, what))",
    );
    scene.join(&scene.file(), &["people", "rights"]).await;
    let db = scene.open().await;
    let (people, rights) = (db.table("people").unwrap(), db.table("rights").unwrap());
    let person = |row: &str| Patch::from_json(people.declaration(), row).unwrap();
    let right = |row: &str| Patch::from_json(rights.declaration(), row).unwrap();
    let (anna, reads) = (person(r#"{"id": 1}"#), right(r#"{"person": 1, "what": "read"}"#));
    let writes = right(r#"{"person": 1, "what": "write"}"#);
    let came = db.transaction(async |tx| {
        tx.add("people", &anna)?;
        tx.add("rights", &reads)?;
        tx.add("rights", &writes)
    });
    api_scene::both(came.await.unwrap());
    let key = |what: &str| Key::of(&[1.into(), what.into()]).unwrap();
    // Taken, given back and taken again in one transaction; one that is there is not added.
    let twice = db.transaction(async |tx| {
        tx.delete("rights", key("read")).await?;
        tx.add("rights", &reads)?;
        tx.delete("rights", key("write")).await
    });
    api_scene::both(twice.await.unwrap());
    let again = db.transaction(async |tx| tx.add("rights", &reads)).await;
    assert!(again.unwrap_err().is_already_exists());
    api_scene::both(rights.upsert(&reads).await.unwrap());
    let left = "SELECT CAST(count(*) AS TEXT) || min(what) FROM rights";
    let both = (scene.postgres(left), scene.sqlite(left));
    assert_eq!((both.0.as_deref(), both.1.as_deref()), (Some("1read"), Some("1read")));
    let gone = db.transaction(async |tx| {
        tx.get("rights", key("read")).await?;
        tx.delete("rights", key("read")).await?;
        tx.delete("people", 1).await
    });
    api_scene::both(gone.await.unwrap());
    assert_eq!(scene.postgres(left), None);
}

/// Two files and PostgreSQL write the same few keys in every way, now and then with an exchange.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_writes_last_stands_everywhere() {
    let scene = Scene::on(shared().unwrap());
    let nodes = [node(&scene, "one.db").await, node(&scene, "two.db").await];
    for node in &nodes {
        node.sync().await;
    }
    let mut random = 7_u64;
    let mut below = |most: u64| {
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % most
    };
    let mut last = std::collections::BTreeMap::new();
    for step in 0..400 {
        let (a, b, other) = (below(3), below(3), below(3));
        match below(10) {
            0..3 => {
                scene.sql(&format!("INSERT INTO links VALUES ({a}, {b}) ON CONFLICT DO NOTHING"))
            }
            3 => scene.sql(&format!("DELETE FROM links WHERE a = {a}")),
            4 => scene.sql(&format!(
                "UPDATE links SET b = {other} WHERE a = {a} AND b = {b} \
                 AND NOT EXISTS (SELECT FROM links WHERE a = {a} AND b = {other})"
            )),
            5 | 6 => {
                let how = if other == 0 { "REPLACE" } else { "IGNORE" };
                let file = &nodes[below(2) as usize];
                file.script(&format!("INSERT OR {how} INTO links VALUES ({a}, {b})"));
                Vec::new()
            }
            7 => {
                nodes[below(2) as usize]
                    .script(&format!("DELETE FROM links WHERE a = {a} AND b = {b}"));
                Vec::new()
            }
            8 => {
                let file = &nodes[below(2) as usize];
                file.script(&format!(
                    "UPDATE OR REPLACE links SET a = {other} WHERE a = {a} AND b = {b}"
                ));
                Vec::new()
            }
            _ => {
                nodes[below(2) as usize].sync().await;
                Vec::new()
            }
        };
        // What is written when all know of everything stands.
        if step % 40 == 39 {
            for node in nodes.iter().chain(&nodes) {
                node.sync().await;
            }
            let rows = scene.sql("SELECT 1 FROM links").len();
            for node in &nodes {
                assert_equal(&scene, node, [rows, 0, 0, 0]);
            }
            last.insert(step, rows);
        }
    }
    assert!(last.values().any(|rows| *rows > 0), "{last:?}");
    assert!(verified(&pool(&scene).await, &nodes[0]).await.is_sound());
}
