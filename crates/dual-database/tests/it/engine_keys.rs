//! Keys of text, and of several columns: rows are told apart by them through both stores, whoever writes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dual_database::init::{Joining, plan};
use dual_database::merge::Change;
use dual_database::protocol::{After, Filter};
use dual_database::schema::{
    Column, Dialect, Key, KeyColumns, LogicalType, Role, RowId, Table, quoted, quoted_text, users,
};
use dual_database::store::postgres::capture::Layout;
use dual_database::store::postgres::primary::{Primary, Refused};
use dual_database::store::postgres::{Settings, primary::Pool};
use dual_database::value::Value;
use dual_database::verify::{Verification, compare};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rusqlite::Connection;
use throwaway_postgres::shared;

use crate::adoption::stores;
use crate::engine_scene::{Node, PATIENCE, Scene, limits};

/// The tables' positions.
const TAGS: usize = 1;
const DEEDS: usize = 2;

/// Beside the built-in table: one of a text, and one of three columns, whose names want quoting.
fn tables() -> Arc<[Table]> {
    let column = |name: &str, kind, role| Column::new(name, kind, role);
    let tags = vec![
        column("code", LogicalType::Text, Role::Key),
        column("note", LogicalType::Text, Role::Data),
        column("uses", LogicalType::Int, Role::Data).with_default(0),
    ];
    let deeds = vec![
        column("чьё \"дело\"", LogicalType::Text, Role::Key),
        column("note", LogicalType::Text, Role::Data),
        column("it's n", LogicalType::BigInt, Role::Key),
        column("когда", LogicalType::Timestamp, Role::Key),
        column("uses", LogicalType::Int, Role::Data).with_default(0),
    ];
    [users(), Table::declare("tags", tags).unwrap(), Table::declare("дела 'и' дни", deeds).unwrap()]
        .into()
}

/// The table of three columns and the columns of its key, as both sides have them in SQL.
const OF_DEEDS: &str = r#""дела 'и' дни""#;
const KEY: &str = r#""чьё ""дело""", "it's n", "когда""#;

fn deed(whose: &str, n: i64, at: &str) -> Key {
    Key::of(&[whose.into(), n.into(), at.into()]).unwrap()
}

async fn node(scene: &Scene<'_>, file: &str) -> Node {
    Node::keeping(&scene.database.url(), &scene.path(file), tables()).await
}

type Rows = BTreeSet<Vec<Option<String>>>;

fn there(scene: &Scene<'_>, table: &Table) -> Rows {
    let columns = table.columns().iter().map(|c| match c.kind {
        LogicalType::Timestamp => {
            format!("to_char({0}, 'YYYY-MM-DD HH24:MI:SS') || CASE to_char({0}, 'US') WHEN '000000' THEN '' ELSE to_char({0}, '.US') END", quoted(&c.name))
        }
        _ => format!("{}::text", quoted(&c.name)),
    });
    let columns: Vec<String> = columns.collect();
    let sql = format!("SELECT {} FROM {}", columns.join(", "), quoted(table.name()));
    scene.sql(&sql).into_iter().collect()
}

fn here(node: &Node, table: &Table) -> Rows {
    let connection = Connection::open(node.path()).unwrap();
    let columns = table.columns().iter().map(|c| format!("CAST({} AS TEXT)", quoted(&c.name)));
    let columns: Vec<String> = columns.collect();
    let sql = format!("SELECT {} FROM {}", columns.join(", "), quoted(table.name()));
    let mut look = connection.prepare(&sql).unwrap();
    let rows = look.query_map([], |row| (0..columns.len()).map(|at| row.get(at)).collect());
    rows.unwrap().map(Result::unwrap).collect()
}

fn assert_equal(scene: &Scene<'_>, node: &Node, counts: [usize; 2]) {
    for (table, count) in [TAGS, DEEDS].into_iter().zip(counts) {
        let table = &tables()[table];
        let (here, there) = (here(node, table), there(scene, table));
        let only = |one: &Rows, other: &Rows| one.difference(other).cloned().collect::<Vec<_>>();
        let differ = (only(&there, &here), only(&here, &there));
        assert_eq!(differ, (vec![], vec![]), "{}", table.name());
        assert_eq!(here.len(), count, "{}", table.name());
    }
}

fn new(note: &str, uses: i64) -> Change {
    Change::Insert(vec![note.into(), uses.into()])
}

async fn verified(pool: &Pool, node: &Node) -> Verification {
    let exchange = || async { node.sync.sync(PATIENCE).await.map(|_| ()) };
    compare(pool, &node.replica(), exchange).await.unwrap()
}

async fn pool(scene: &Scene<'_>) -> Pool {
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let pool = Pool::new(settings, limits(), tables(), 4);
    pool.prepare().await.unwrap();
    pool
}

/// Tables that somebody has made: PostgreSQL's columns have the order of a language, the file's do not tell
/// capitals from small letters.
fn other_order(scene: &Scene<'_>, file: &str) {
    let [whose, n, at] = [r#""чьё ""дело""""#, r#""it's n""#, r#""когда""#];
    scene.sql(&format!(
        "CREATE TABLE tags (code text COLLATE \"und-x-icu\" PRIMARY KEY, note text, uses integer DEFAULT 0); \
         CREATE TABLE {OF_DEEDS} ({whose} varchar COLLATE \"und-x-icu\", note text, {n} bigint, \
         {at} timestamp, uses integer DEFAULT 0, PRIMARY KEY ({at}, {n}, {whose}))"
    ));
    let program = Connection::open(scene.path(file)).unwrap();
    let sql = format!(
        "CREATE TABLE tags (code TEXT COLLATE NOCASE PRIMARY KEY, note TEXT, uses INTEGER DEFAULT 0); \
         CREATE TABLE {OF_DEEDS} ({whose} TEXT COLLATE NOCASE, note TEXT, {n} INTEGER, {at} TEXT, \
         uses INTEGER DEFAULT 0, UNIQUE ({n}, {at}, {whose}))"
    );
    program.execute_batch(&sql).unwrap();
}

#[test]
fn what_makes_no_key_is_refused() {
    let column = |name: &str, kind, role| Column::new(name, kind, role);
    let declare = |key: Vec<Column>| {
        let data = column("note", LogicalType::Text, Role::Data);
        Table::declare("tags", key.into_iter().chain([data]).collect())
    };
    let message = |key| declare(key).unwrap_err().message().to_owned();
    assert!(message(vec![]).contains("needs a key"));
    let flag = column("flag", LogicalType::Bool, Role::Key);
    assert!(message(vec![flag]).contains("column flag is of a type that makes no key"));
    let id = || column("id", LogicalType::Int, Role::Surrogate);
    let code = column("code", LogicalType::Text, Role::Key);
    assert!(message(vec![id(), code]).contains("beside a key of one whole number"));
    let number = column("number", LogicalType::Int, Role::Key);
    assert!(declare(vec![id(), number]).is_ok());

    let deeds = &tables()[DEEDS];
    assert_eq!(deeds.key_name(), "чьё \"дело\", it's n, когда");
    let key = deed("a", 1, "2024-05-06 07:08:09");
    assert_eq!(deeds.key_values(&key).unwrap()[1], Value::Int(1));
    assert!(matches!(deeds.key_values(&key).unwrap()[2], Value::Timestamp(_)));
    for other in [deed("a", 1, "2024-05-06"), deed("a\0", 1, "2024-05-06 07:08:09"), "a".into()] {
        assert!(!deeds.takes_key(&other), "{other}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_their_rows_crosses_whoever_writes() {
    let scene = Scene::on(shared().unwrap());
    let first = node(&scene, "bot.db").await;
    first.sync().await;
    let long: String = (0..200_u32).map(|n| char::from_u32(0x430 + n * 7 % 32).unwrap()).collect();
    scene.sql(&format!(
        "INSERT INTO tags (code, note) VALUES ('Пример', 'a'), ('', 'empty'), ('a', 'x'), ('B', 'y'), \
         ('it''s \"q\" \\', 'b'), ('{long}', 'long'); \
         INSERT INTO {OF_DEEDS} ({KEY}, note) VALUES \
         ('Анна', 1, '2024-05-06 07:08:09', 'a'), ('анна', 1, '2024-05-06 07:08:09.500000', 'b'), \
         ('', -1, '0001-01-01', 'c')"
    ));
    first.script(&format!(
        "INSERT INTO tags (code, note) VALUES ('файл', 'c'), ('1', 'one'); \
         INSERT INTO {OF_DEEDS} ({KEY}, note) VALUES ('Анна', 10, '2024-05-06 07:08:09', 'd'), \
         ('1', 9223372036854775807, '9999-12-31 23:59:59.999999', 'e')"
    ));
    first.change(TAGS, "наш", new("d", 7)).await;
    first.change(DEEDS, deed("мы", 7, "2024-05-06 07:08:09"), new("d", 7)).await;
    first.sync().await;
    assert_equal(&scene, &first, [9, 6]);

    // Changes to different columns of one row, keys that become others, REPLACE, deletes.
    scene.sql(&format!(
        "UPDATE tags SET uses = 5 WHERE code = 'файл'; UPDATE tags SET code = 'b' WHERE code = 'B'; \
         UPDATE {OF_DEEDS} SET uses = 5 WHERE \"it's n\" = 10; \
         UPDATE {OF_DEEDS} SET \"когда\" = '2025-01-01' WHERE note = 'b'"
    ));
    first.script(&format!(
        "UPDATE tags SET note = 'cc' WHERE code = 'файл'; UPDATE tags SET code = 'A' WHERE code = 'a'; \
         INSERT OR REPLACE INTO tags (code, note) VALUES ('Пример', 'anew'); \
         UPDATE {OF_DEEDS} SET note = 'dd' WHERE \"it's n\" = 10; \
         UPDATE {OF_DEEDS} SET \"it's n\" = -2 WHERE note = 'c'; \
         INSERT OR REPLACE INTO {OF_DEEDS} ({KEY}, note) \
         VALUES ('Анна', 1, '2024-05-06 07:08:09', 'anew')"
    ));
    first.change(TAGS, "наш", Change::Update(vec![(0, Value::Null)])).await;
    first.sync().await;
    assert_equal(&scene, &first, [9, 6]);
    assert_eq!(scene.one("SELECT note || uses FROM tags WHERE code = 'файл'"), "cc5");
    assert_eq!(scene.one(&format!("SELECT note || uses FROM {OF_DEEDS} WHERE uses = 5")), "dd5");
    scene
        .sql(&format!("DELETE FROM tags WHERE code = ''; DELETE FROM {OF_DEEDS} WHERE note = 'e'"));
    first.script(&format!(
        "DELETE FROM tags WHERE code = '1'; DELETE FROM {OF_DEEDS} WHERE note = 'c'"
    ));
    first.change(TAGS, "наш", Change::Delete).await;
    first.change(DEEDS, deed("мы", 7, "2024-05-06 07:08:09"), Change::Delete).await;
    first.sync().await;
    assert_equal(&scene, &first, [6, 3]);
    scene.sql("TRUNCATE tags");
    first.sync().await;
    assert_equal(&scene, &first, [0, 3]);

    // A file that comes later gets a copy; what both have set meanwhile is merged.
    scene.sql(&format!(
        "INSERT INTO tags (code, note) SELECT 'k' || n, 'x' FROM generate_series(1, 6000) AS n; \
         INSERT INTO {OF_DEEDS} ({KEY}, note) \
         SELECT 'k' || n % 7, n, '2024-01-01', 'x' FROM generate_series(1, 6000) AS n"
    ));
    let second = node(&scene, "second.db").await;
    second.sync().await;
    assert_equal(&scene, &second, [6_000, 6_003]);
    first.sync().await;
    first.script(&format!(
        "UPDATE tags SET note = 'from here' WHERE code = 'k77'; \
         UPDATE {OF_DEEDS} SET note = 'from here' WHERE \"it's n\" = 77"
    ));
    second.script(&format!(
        "UPDATE tags SET uses = 9 WHERE code = 'k77'; \
         UPDATE {OF_DEEDS} SET uses = 9 WHERE \"it's n\" = 77"
    ));
    for node in [&first, &second, &first] {
        node.sync().await;
    }
    for node in [&first, &second] {
        assert_equal(&scene, node, [6_000, 6_003]);
    }
    assert_eq!(scene.one("SELECT note || uses FROM tags WHERE code = 'k77'"), "from here9");
    assert_eq!(scene.sql("SELECT FROM dual.conflict").len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_have_set_is_logged_under_their_keys() {
    let scene = Scene::on(shared().unwrap());
    let nodes = [node(&scene, "one.db").await, node(&scene, "other.db").await];
    scene.sql("SELECT 1");
    nodes[0].sync().await;
    scene.sql(&format!(
        "INSERT INTO tags (code, note) VALUES ('Пример \"1\"', 'a'); \
         INSERT INTO {OF_DEEDS} ({KEY}, note) VALUES ('Анна', 1, '2024-05-06 07:08:09.5', 'a')"
    ));
    for node in &nodes {
        node.sync().await;
    }
    for (node, note) in nodes.iter().zip(["b", "c"]) {
        node.script(&format!(
            "UPDATE tags SET note = '{note}'; UPDATE {OF_DEEDS} SET note = '{note}'"
        ));
    }
    for node in [&nodes[0], &nodes[1], &nodes[0], &nodes[1]] {
        node.sync().await;
    }
    for node in &nodes {
        assert_equal(&scene, node, [1, 1]);
    }
    let keys = [Key::from("Пример \"1\""), deed("Анна", 1, "2024-05-06 07:08:09.500000")];
    let logged = BTreeSet::from([RowId::new(TAGS, &keys[0]), RowId::new(DEEDS, &keys[1])]);
    let pool = pool(&scene).await;
    let session = pool.get().await.unwrap();
    let primary = session.primary(nodes[0].state().await.file).unwrap();
    let told = primary.conflicts(100).await.unwrap();
    assert_eq!(told.iter().map(|one| one.id.clone()).collect::<BTreeSet<_>>(), logged);
    assert_eq!(told.len(), 2, "each once");
    let told = nodes[1].look(|content| content.conflicts(100)).await;
    assert_eq!(told.iter().map(|one| one.id.clone()).collect::<BTreeSet<_>>(), logged);
    assert_eq!(
        serde_json::to_string(&keys[1]).unwrap(),
        r#"["Анна",1,"2024-05-06 07:08:09.500000"]"#
    );
}

async fn written(primary: &Primary<'_>, node: &Node, table: usize, keys: [Key; 3]) {
    let stamp = || node.shared.clock().propose(Default::default());
    let [one, two, three] = keys.map(|key| RowId::new(table, key));
    let write =
        async |id: &RowId, change| primary.write(&[(id.clone(), change)], stamp(), &[]).await;
    let answer = write(&one, new("a", 1)).await.unwrap().unwrap().rows.remove(0);
    assert_eq!((answer.row.id, answer.row.surrogate), (one.clone(), None));
    assert_eq!(write(&one, new("a", 1)).await.unwrap().unwrap_err(), Refused::Exists(one.clone()));
    let update = |uses: i64| Change::Update(vec![(1, uses.into())]);
    let several = [(two.clone(), new("b", 2)), (one.clone(), update(5))];
    assert_eq!(primary.write(&several, stamp(), &[]).await.unwrap().unwrap().rows.len(), 2);
    for change in [Change::Delete, update(1)] {
        let refused = write(&three, change).await.unwrap().unwrap_err();
        assert_eq!(refused, Refused::Missing(three.clone()));
    }
    let several = [(three.clone(), update(1)), (one.clone(), update(6))];
    let refused = primary.write(&several, stamp(), &[]).await.unwrap().unwrap_err();
    assert_eq!(refused, Refused::Missing(three.clone()));
    let several = [(two.clone(), new("again", 1)), (three.clone(), new("c", 3))];
    let refused = primary.write(&several, stamp(), &[]).await.unwrap().unwrap_err();
    assert_eq!(refused, Refused::Exists(two.clone()));
    // What was read has to stand.
    let read = primary.row(&one).await.unwrap().unwrap();
    let change = [(two.clone(), update(7))];
    let reads = [(one.clone(), Some(read.version.clone())), (three.clone(), None)];
    primary.write(&change, stamp(), &reads).await.unwrap().unwrap();
    write(&one, update(8)).await.unwrap().unwrap();
    let refused = primary.write(&change, stamp(), &reads).await.unwrap().unwrap_err();
    assert_eq!(refused, Refused::Changed(one.clone()));
    write(&two, Change::Delete).await.unwrap().unwrap();
    assert!(!primary.row(&two).await.unwrap().unwrap().version.live.value);
    assert_eq!(primary.row(&three).await.unwrap(), None);
    let row = primary.row(&one).await.unwrap().unwrap();
    assert_eq!(row.version.columns[1].value, Value::Int(8));
    assert_eq!(primary.list(table, &Filter::default(), None, 10).await.unwrap(), [row]);
}

#[tokio::test(flavor = "multi_thread")]
async fn they_are_written_listed_and_compared_at_postgresql() {
    let scene = Scene::on(shared().unwrap());
    other_order(&scene, "bot.db");
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    let pool = pool(&scene).await;
    {
        let session = pool.get().await.unwrap();
        let primary = session.primary(node.state().await.file).unwrap();
        written(&primary, &node, TAGS, ["б \"1\"".into(), "b".into(), "a 'b' c".into()]).await;
        let at = "2024-05-06 07:08:09.500000";
        let keys = [deed("Анна 'и'", 1, at), deed("a", 2, at), deed("", 3, at)];
        written(&primary, &node, DEEDS, keys).await;
        // Beside a trigger of the user's, which goes another way.
        scene.sql(&format!(
            "CREATE FUNCTION noting() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN new; END$$; \
             DELETE FROM tags; DELETE FROM {OF_DEEDS}; \
             CREATE TRIGGER noting BEFORE INSERT OR UPDATE ON tags FOR EACH ROW EXECUTE FUNCTION noting(); \
             CREATE TRIGGER noting BEFORE INSERT OR UPDATE ON {OF_DEEDS} FOR EACH ROW EXECUTE FUNCTION noting()"
        ));
        written(&primary, &node, TAGS, ["я".into(), "A".into(), "C".into()]).await;
        let keys = [deed("я", 1, at), deed("A", 2, at), deed("C", 3, at)];
        written(&primary, &node, DEEDS, keys).await;
    }
    node.sync().await;
    assert_equal(&scene, &node, [1, 1]);
    assert!(verified(&pool, &node).await.equal);

    // One is changed and one is loaded past the triggers, and some are no rows of both sides.
    node.past_the_triggers(&format!(
        "UPDATE tags SET uses = -1; INSERT INTO tags (code) VALUES ('loaded'), (x'00'), ('nul' || char(0)); \
         UPDATE {OF_DEEDS} SET uses = -1; INSERT INTO {OF_DEEDS} ({KEY}) VALUES \
         ('loaded', 1, '2024-05-06 07:08:09'), ('x', 57.5, '2024-05-06 07:08:09')"
    ));
    let found = verified(&pool, &node).await;
    assert!(!found.equal);
    assert_eq!(found.tables[TAGS].keys, [Key::from("loaded"), Key::from("я")]);
    assert_eq!(found.tables[TAGS].quarantined, 2);
    let keys =
        [deed("loaded", 1, "2024-05-06 07:08:09"), deed("я", 1, "2024-05-06 07:08:09.500000")];
    assert_eq!(found.tables[DEEDS].keys, keys);
    assert_eq!(found.tables[DEEDS].quarantined, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_goes_on_after_any_of_them() {
    let scene = Scene::on(shared().unwrap());
    other_order(&scene, "bot.db");
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    scene.sql(&format!(
        "INSERT INTO tags (code) VALUES ('a'), ('B'), (''), ('я'), ('Я'), ('a b'), ('ab'), ('10'), ('9'); \
         INSERT INTO {OF_DEEDS} ({KEY}) SELECT w, n, t FROM unnest('{{a,B,ab}}'::text[]) AS w, \
         unnest('{{9,10,-1}}'::bigint[]) AS n, unnest('{{2024-01-01,2024-01-01 00:00:00.5}}'::timestamp[]) AS t"
    ));
    node.sync().await;
    let pool = pool(&scene).await;
    let session = pool.get().await.unwrap();
    let primary = session.primary(node.state().await.file).unwrap();
    for (table, count) in [(TAGS, 9), (DEEDS, 18)] {
        for size in [1, 4, 100] {
            let (mut seen, mut after): (Vec<Key>, Option<After>) = (Vec::new(), None);
            loop {
                let page =
                    primary.list(table, &Filter::default(), after.as_ref(), size).await.unwrap();
                let from = after.clone();
                let local = node
                    .look(move |content| {
                        content.list(table, &Filter::default(), from.as_ref(), size)
                    })
                    .await;
                let keys: Vec<Key> = page.into_iter().map(|row| row.id.key).collect();
                assert_eq!(local.into_iter().map(|row| row.key).collect::<Vec<_>>(), keys);
                let Some(last) = keys.last() else { break };
                after = Some(After { order: Value::Null, key: last.clone() });
                seen.extend(keys);
            }
            assert_eq!(seen.len(), count);
            assert!(seen.is_sorted_by(|one, next| one > next), "{seen:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_the_file_without_a_key_is_set_aside_by_its_place() {
    let scene = Scene::on(shared().unwrap());
    // A program has made the tables: the columns take anything.
    let path = scene.path("bot.db");
    let program = Connection::open(&path).unwrap();
    program
        .execute_batch(&format!(
            "CREATE TABLE tags (code, note TEXT, uses INTEGER DEFAULT 0, UNIQUE (code)); \
             CREATE TABLE {OF_DEEDS} (\"чьё \"\"дело\"\"\" TEXT, note TEXT, \"it's n\" INTEGER, \
             \"когда\" TEXT, uses INTEGER DEFAULT 0, PRIMARY KEY ({KEY}))"
        ))
        .unwrap();
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    node.script(&format!(
        "INSERT INTO tags (code, note) VALUES ('1', 'a'), (1, 'none'), (NULL, 'none'), (x'31', 'none'); \
         INSERT INTO {OF_DEEDS} ({KEY}, note) VALUES ('a', 1, '2024-02-29 07:08:09', 'a'), \
         ('a', 57.5, '2024-05-06 07:08:09', 'none'), ('a', 'x', '2024-05-06 07:08:09', 'none'), \
         (NULL, 1, '2024-05-06 07:08:09', 'none'), ('a', 1, NULL, 'none'), ('a', 1, 'soon', 'none'), \
         ('a', 1, '2023-02-29 07:08:09', 'none'), ('a', 1, '2024-05-06T07:08:09', 'none'), \
         ('a', 1, '2024-05-06 07:08:09.000000', 'none'), ('a', 1, '2024-05-06 24:00:00', 'none')"
    ));
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 3 + 9));
    let have = |node: &Node, of: &str| {
        node.one::<String>(&format!("SELECT group_concat(rowid) FROM {of} WHERE note = 'none'"))
    };
    let keyless = node.look(|content| content.keyless()).await;
    for (table, of) in [(TAGS, "tags"), (DEEDS, OF_DEEDS)] {
        assert_eq!(scene.one(&format!("SELECT count(*) FROM {of}")), "1");
        let mut listed: Vec<i64> =
            keyless.iter().filter(|(at, _)| *at == table).map(|(_, row)| row.unwrap()).collect();
        listed.sort_unstable();
        let mut rowids: Vec<i64> =
            have(&node, of).split(',').map(|id| id.parse().unwrap()).collect();
        rowids.sort_unstable();
        assert_eq!(listed, rowids, "{of}");
    }
    // The number is another row than the text, whatever becomes of the one and the other.
    node.script("DELETE FROM tags WHERE typeof(code) = 'integer'; UPDATE tags SET note = 'b' WHERE code = '1'");
    node.sync().await;
    assert_eq!(scene.one("SELECT code || note FROM tags"), "1b");
    node.script("INSERT INTO tags (code, note) VALUES (1, 'none'); DELETE FROM tags WHERE typeof(code) = 'text'");
    node.sync().await;
    assert_eq!(scene.one("SELECT count(*) FROM tags"), "0");
    // One that becomes a key goes over, and one that is none any more is gone.
    node.script(&format!(
        "UPDATE tags SET code = 'now' WHERE typeof(code) = 'integer'; \
         UPDATE {OF_DEEDS} SET \"it's n\" = 57 WHERE \"it's n\" = 57.5; \
         UPDATE {OF_DEEDS} SET \"когда\" = 'never' WHERE note = 'a'"
    ));
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 2 + 9));
    assert_eq!(scene.one("SELECT code FROM tags"), "now");
    assert_eq!(scene.one(&format!("SELECT \"it's n\" FROM {OF_DEEDS}")), "57");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_one_side_refuses_is_set_aside_by_its_key() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    scene.sql(&format!(
        "ALTER TABLE tags ADD CHECK (uses >= 0); ALTER TABLE {OF_DEEDS} ADD CHECK (uses >= 0)"
    ));
    let keys = [Key::from("\"наш\""), deed("мы", 7, "2024-05-06 07:08:09")];
    for (table, key) in [TAGS, DEEDS].into_iter().zip(&keys) {
        node.change(table, key, new("d", -7)).await;
    }
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 2));
    let aside = node.look(|content| content.quarantine()).await;
    let aside: BTreeSet<RowId> = aside.into_iter().map(|one| one.id).collect();
    assert_eq!(aside, BTreeSet::from([RowId::new(TAGS, &keys[0]), RowId::new(DEEDS, &keys[1])]));
    for (table, key) in [TAGS, DEEDS].into_iter().zip(&keys) {
        node.change(table, key, Change::Update(vec![(1, 7.into())])).await;
    }
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 0));
    assert_equal(&scene, &node, [1, 1]);
    // The file refuses one of PostgreSQL's; it is asked for again.
    node.script("CREATE TRIGGER no BEFORE INSERT ON tags WHEN new.note = 'no' BEGIN SELECT RAISE(ABORT, 'no'); END");
    scene.sql("INSERT INTO tags (code, note) VALUES ('их', 'no')");
    assert_eq!(node.sync().await.quarantined, 1);
    node.script("DROP TRIGGER no; UPDATE dual_quarantine SET retry = 0");
    assert_eq!(node.sync().await.quarantined, 0);
    assert_equal(&scene, &node, [2, 1]);
}

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
async fn what_columns_call_equal_is_told_apart_byte_by_byte() {
    let scene = Scene::on(shared().unwrap());
    other_order(&scene, "first.db");
    other_order_of_the_file(&scene, "second.db");
    scene.sql(
        "CREATE COLLATION nobody (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         ALTER TABLE tags ALTER COLUMN code TYPE text COLLATE nobody; INSERT INTO tags VALUES ('Anna')",
    );
    let [first, second] = [node(&scene, "first.db").await, node(&scene, "second.db").await];
    for node in [&first, &second] {
        node.sync().await;
        assert_equal(&scene, node, [1, 0]);
    }
    // The key becomes another one, there and here.
    first.script("UPDATE tags SET code = 'anna'");
    first.sync().await;
    assert_eq!(scene.one("SELECT string_agg(code, ',') FROM tags"), "anna");
    scene.sql("UPDATE tags SET code = 'ANNA'");
    for node in [&first, &second, &first] {
        node.sync().await;
        assert_equal(&scene, node, [1, 0]);
    }
    // An update of the one is none of the other, which both sides refuse to have beside it.
    second.script("DELETE FROM tags; INSERT INTO tags (code, note) VALUES ('aNNa', 'b')");
    scene.sql("UPDATE tags SET note = 'c'; INSERT INTO tags VALUES ('Bela')");
    second.sync().await;
    second.sync().await;
    assert_eq!(second.one::<i64>("SELECT count(*) FROM tags WHERE code = 'Bela'"), 1);
    let there =
        scene.one("SELECT string_agg(code || coalesce(note, ''), ',' ORDER BY code) FROM tags");
    assert!(["aNNab,Bela", "ANNAc,Bela"].contains(&there.as_str()), "{there}");
}

fn other_order_of_the_file(scene: &Scene<'_>, file: &str) {
    let program = Connection::open(scene.path(file)).unwrap();
    let sql =
        "CREATE TABLE tags (code TEXT COLLATE NOCASE UNIQUE, note TEXT, uses INTEGER DEFAULT 0)";
    program.execute_batch(sql).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn replace_takes_rows_with_other_keys_along() {
    let scene = Scene::on(shared().unwrap());
    let program = Connection::open(scene.path("bot.db")).unwrap();
    program
        .execute_batch(&format!(
            "CREATE TABLE tags (code TEXT PRIMARY KEY, note TEXT UNIQUE, uses INTEGER DEFAULT 0) WITHOUT ROWID; \
             CREATE TABLE {OF_DEEDS} (\"чьё \"\"дело\"\"\" TEXT, note TEXT UNIQUE, \"it's n\" INTEGER, \
             \"когда\" TEXT, uses INTEGER DEFAULT 0, PRIMARY KEY ({KEY})) WITHOUT ROWID"
        ))
        .unwrap();
    let node = node(&scene, "bot.db").await;
    let at = "'2024-05-06 07:08:09'";
    node.script(&format!(
        "INSERT INTO tags (code, note) VALUES ('a', 'A'), ('b', 'B'), ('c', 'C'); \
         INSERT INTO {OF_DEEDS} ({KEY}, note) VALUES ('a', 1, {at}, 'A'), ('a', 2, {at}, 'B'), ('b', 1, {at}, 'C')"
    ));
    node.sync().await;
    assert_equal(&scene, &node, [3, 3]);
    node.script(&format!(
        "INSERT OR REPLACE INTO tags (code, note) VALUES ('d', 'A'); \
         UPDATE OR REPLACE tags SET note = 'C' WHERE code = 'b'; \
         INSERT OR REPLACE INTO {OF_DEEDS} ({KEY}, note) VALUES ('d', 1, {at}, 'A'); \
         UPDATE OR REPLACE {OF_DEEDS} SET note = 'C' WHERE \"it's n\" = 2"
    ));
    node.sync().await;
    assert_equal(&scene, &node, [2, 2]);
    // One that is none has no place in the file by which it could be told.
    node.script("INSERT INTO tags (code) VALUES (x'00')");
    assert_eq!(node.sync().await.quarantined, 1);
    assert_eq!(node.look(|content| content.keyless()).await, [(TAGS, None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_other_side_cannot_hold_holds_nothing_up() {
    let scene = Scene::on(shared().unwrap());
    let first = node(&scene, "bot.db").await;
    first.sync().await;
    scene.sql(&format!(
        "INSERT INTO {OF_DEEDS} ({KEY}) VALUES ('a', 1, 'infinity'), ('a', 1, '0044-03-15 BC'), \
         ('a', 1, '10000-01-01'), ('a', 1, '-infinity'), ('a', 1, '2024-01-01'), ('b', 1, '2024-01-01')"
    ));
    // A text that is none: of it nothing can be said but that it is there.
    first.script("INSERT INTO tags (code) VALUES (CAST(x'ff41' AS TEXT)), ('a')");
    let exchange = first.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 4));
    let second = node(&scene, "second.db").await;
    second.sync().await;
    for node in [&first, &second] {
        assert_eq!(here(node, &tables()[DEEDS]).len(), 2);
    }
    assert_eq!(scene.one("SELECT string_agg(code, ',') FROM tags"), "a");
    let pool = pool(&scene).await;
    let found = verified(&pool, &first).await;
    for (table, quarantined) in [(TAGS, 1), (DEEDS, 4)] {
        let found = &found.tables[table];
        assert_eq!((&*found.keys, found.quarantined), (&[][..], quarantined), "{found:?}");
    }
    let tags = first.look(|content| content.list(TAGS, &Filter::default(), None, 10)).await;
    assert_eq!(tags.len(), 1);
    // They become others.
    scene.sql(&format!(
        "UPDATE {OF_DEEDS} SET \"когда\" = '2025-01-01', \"it's n\" = date_part('day', now())::int + \
         row_number FROM (SELECT ctid AS place, row_number() OVER () FROM {OF_DEEDS}) AS r \
         WHERE place = {OF_DEEDS}.ctid"
    ));
    first.script("UPDATE tags SET code = 'b' WHERE code <> 'a'");
    let exchange = first.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 0));
    assert_equal(&scene, &first, [2, 6]);
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
    let (purged, rest) = primary.purge(horizon, Default::default(), PATIENCE).await.unwrap();
    assert_eq!((purged, rest), (2, None));
    let kept = format!(
        "SELECT string_agg(key, '') FROM (SELECT key FROM dual.side_tags UNION ALL SELECT key FROM dual.{}) AS k",
        quoted(&format!("side_{}", tables()[DEEDS].name()))
    );
    assert_eq!(scene.one(&kept), "aa");
    node.sync().await;
    assert_equal(&scene, &node, [1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sql_is_as_reviewed() {
    let scene = Scene::on(shared().unwrap());
    let table = &tables()[DEEDS];
    let layout = Layout::new(table, format!("public.{OF_DEEDS}"));
    let mend = layout.mend(true).into();
    let rest = vec![layout.loose(), layout.changed_since()];
    let all = [layout.sidecar_ddl(), layout.functions(), layout.triggers(), mend, rest].concat();
    insta::assert_snapshot!("keys_postgres", all.join(";\n\n"));
    let node = node(&scene, "bot.db").await;
    let text: String = node.one(
        "SELECT group_concat(sql, char(59, 10, 10)) FROM (SELECT sql FROM sqlite_schema \
         WHERE (name LIKE 'dual_дел%' OR name LIKE 'dual_%_дел%') AND sql <> '' ORDER BY rowid)",
    );
    insta::assert_snapshot!("keys_sqlite", text);
}

/// Keys of the table of three columns that are near to each other in every way.
fn keys() -> Vec<Key> {
    let text = prop_oneof![
        "[aAbBzаАяЁ \"'\\\\0-9\u{1}\u{7f}\u{ff}\u{ffff}\u{10000}-]{0,3}",
        Just(String::new()),
        any::<String>().prop_map(|text| text.replace('\0', "")),
    ];
    let number = prop_oneof![any::<i64>(), -3..12_i64, Just(i64::MIN), Just(i64::MAX)];
    let moment = (1..3_i16, 1..3_i8, 0..3_i32).prop_map(|(year, day, micros)| {
        let at = jiff::civil::date(year * 4_000, 1, day).at(0, 0, 0, micros * 1_000);
        Value::Timestamp(at)
    });
    let key = (text, number, moment)
        .prop_map(|(text, number, moment)| Key::of(&[text.into(), number.into(), moment]).unwrap());
    let mut runner = TestRunner::deterministic();
    let all = (0..500).map(|_| key.new_tree(&mut runner).unwrap().current());
    all.collect::<BTreeSet<Key>>().into_iter().collect()
}

#[test]
fn both_sides_and_we_order_them_alike() {
    let scene = Scene::on(shared().unwrap());
    let table = &tables()[DEEDS];
    let file = Connection::open_in_memory().unwrap();
    let keys = keys();
    let [there, here] = [Dialect::Postgres, Dialect::Sqlite]
        .map(|dialect| (KeyColumns::of(table, dialect), KeyColumns::of_sidecar(table, dialect)));
    // The table itself, and what stands beside it.
    for (of, dialect) in [(&there, Dialect::Postgres), (&here, Dialect::Sqlite)] {
        let made = table.create_statement(dialect, "it");
        let (columns, primary) = of.1.definitions();
        let beside = format!("CREATE TABLE beside ({columns}{primary})");
        match dialect {
            Dialect::Postgres => drop(scene.sql(&format!("{made}; {beside}"))),
            Dialect::Sqlite => file.execute_batch(&format!("{made}; {beside}")).unwrap(),
        }
    }
    for (name, columns) in [("it", &there.0), ("beside", &there.1)] {
        let values = keys.iter().rev().map(|key| {
            // The server's tests connect with any client encoding but NUL.
            format!("({})", columns.taken(&quoted_text(&key.json())))
        });
        let values: Vec<String> = values.collect();
        scene.sql(&format!(
            "INSERT INTO {name} ({}) VALUES {}",
            columns.list(""),
            values.join(", ")
        ));
        let (given, order) = (columns.given(""), columns.order("", ""));
        let found = scene.sql(&format!("SELECT {given} FROM {name} ORDER BY {order}"));
        let found: Vec<Key> = found
            .into_iter()
            .map(|row| Key::from_json(row[0].as_ref().unwrap()).unwrap())
            .collect();
        assert!(found == keys, "PostgreSQL, {name}");
        let middle = quoted_text(&keys[keys.len() / 2].json());
        let above = columns.above("", 1).replace("$1", &middle);
        let found = scene.one(&format!("SELECT count(*) FROM {name} WHERE {above}"));
        assert_eq!(found, (keys.len() - keys.len() / 2 - 1).to_string());
    }
    for (name, columns) in [("it", &here.0), ("beside", &here.1)] {
        for key in keys.iter().rev() {
            let insert = format!(
                "INSERT INTO {name} ({}) VALUES ({})",
                columns.list(""),
                columns.taken("?1")
            );
            file.execute(&insert, [key.json()]).unwrap();
        }
        let (given, order) = (columns.given(""), columns.order("", ""));
        let whole = columns.is_whole("");
        let sql = format!("SELECT {given} FROM {name} WHERE {whole} ORDER BY {order}");
        let mut look = file.prepare(&sql).unwrap();
        let found: Vec<String> =
            look.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        // The very bytes by which rows are found where their keys are kept as JSON.
        let wanted: Vec<String> = keys.iter().map(Key::json).collect();
        assert!(found == wanted, "SQLite, {name}");
        let above = columns.above("", 1);
        let middle = keys[keys.len() / 2].json();
        let sql = format!("SELECT count(*) FROM {name} WHERE {above}");
        let found: u32 = file.query_row(&sql, [middle], |row| row.get(0)).unwrap();
        assert_eq!(found as usize, keys.len() - keys.len() / 2 - 1);
    }
}
