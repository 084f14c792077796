//! A table that nobody numbers: its rows are told apart by their key alone, through both stores.

use std::sync::Arc;

use dual_database::merge::Change;
use dual_database::protocol::Filter;
use dual_database::schema::{Column, LogicalType, Role, RowId, Table, users};
use dual_database::store::postgres::primary::Refused;
use dual_database::store::postgres::{Settings, primary::Pool};
use dual_database::value::Value;
use dual_database::verify::compare;
use throwaway_postgres::shared;

use crate::engine_scene::{Node, PATIENCE, Scene, limits};

/// Beside the built-in table, as the second one.
fn tables() -> Arc<[Table]> {
    let column = |name: &str, kind| Column::new(name, kind, Role::Data);
    let codes = vec![
        Column::new("code", LogicalType::BigInt, Role::Key),
        column("note", LogicalType::Text),
        column("uses", LogicalType::Int).with_default(0),
        column("used", LogicalType::Bool),
        column("at", LogicalType::Timestamp),
    ];
    [users(), Table::declare("codes", codes).unwrap()].into()
}

async fn node(scene: &Scene<'_>, file: &str) -> Node {
    Node::keeping(&scene.database.url(), &scene.path(file), tables()).await
}

fn assert_equal(scene: &Scene<'_>, node: &Node, rows: usize) {
    let codes = &tables()[1];
    let here = node.rows(codes);
    assert_eq!(scene.rows(codes), here);
    assert_eq!(here.len(), rows, "{here:?}");
}

fn new(note: &str, uses: i64) -> Change {
    Change::Insert(vec![note.into(), uses.into(), Value::Null, Value::Null])
}

#[test]
fn a_table_needs_a_key_and_no_number() {
    let columns = tables()[1].columns().to_vec();
    assert!(tables()[1].surrogate().is_none());
    assert!(Table::declare("codes", columns[1..].to_vec()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_life_of_its_rows_crosses_whoever_writes() {
    let scene = Scene::on(shared().unwrap());
    let first = node(&scene, "bot.db").await;
    first.sync().await;
    scene.sql("INSERT INTO codes (code, note, at) VALUES (1, 'Пример', '2024-05-06 07:08:09.123456'), (2, 'b', NULL)");
    first.script("INSERT INTO codes (code, note, used) VALUES (3, 'c', 1)");
    first.change(1, 4, new("d", 7)).await;
    first.sync().await;
    assert_equal(&scene, &first, 4);

    // Changes to different columns of one row, a key that becomes another one, REPLACE, deletes.
    scene
        .sql("UPDATE codes SET uses = 5 WHERE code = 3; UPDATE codes SET code = 20 WHERE code = 2");
    first.script("UPDATE codes SET note = 'cc' WHERE code = 3; INSERT OR REPLACE INTO codes (code, note) VALUES (1, 'anew')");
    first.change(1, 4, Change::Update(vec![(0, Value::Null)])).await;
    first.sync().await;
    assert_equal(&scene, &first, 4);
    assert_eq!(scene.one("SELECT note || uses FROM codes WHERE code = 3"), "cc5");
    scene.sql("DELETE FROM codes WHERE code = 1");
    first.script("DELETE FROM codes WHERE code = 20");
    first.change(1, 4, Change::Delete).await;
    first.sync().await;
    assert_equal(&scene, &first, 1);

    // A file that comes later gets a copy; what both have set meanwhile is merged.
    scene.sql("INSERT INTO codes (code, note) SELECT n, 'x' FROM generate_series(100, 6200) AS n");
    let second = node(&scene, "second.db").await;
    second.sync().await;
    assert_equal(&scene, &second, 6_102);
    first.sync().await;
    first.script("UPDATE codes SET note = 'from here' WHERE code = 100");
    second.script("UPDATE codes SET uses = 9 WHERE code = 100");
    for node in [&first, &second, &first] {
        node.sync().await;
    }
    assert_equal(&scene, &first, 6_102);
    assert_equal(&scene, &second, 6_102);
    assert_eq!(scene.one("SELECT note || uses FROM codes WHERE code = 100"), "from here9");
    assert_eq!(scene.conflicts(), Vec::<Vec<_>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_written_listed_and_compared_at_postgresql() {
    let scene = Scene::on(shared().unwrap());
    // Made by somebody who lets SQLite take anything for its key.
    rusqlite::Connection::open(scene.path("bot.db"))
        .unwrap()
        .execute_batch(
            "CREATE TABLE codes (code INTEGER NOT NULL UNIQUE, note TEXT, uses INTEGER DEFAULT 0, \
             used INTEGER, at TEXT)",
        )
        .unwrap();
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let pool = Pool::new(settings, limits(), tables(), 4);
    pool.prepare().await.unwrap();
    {
        let session = pool.get().await.unwrap();
        let primary = session.primary(node.state().await.file).unwrap();
        let stamp = || node.shared.clock().propose(Default::default());
        let id = |key: i64| RowId::new(1, key);
        let one =
            async |key, change| primary.write(&[(id(key), change)], stamp(), &[]).await.unwrap();
        let written = one(1, new("a", 1)).await.unwrap().rows.remove(0);
        assert_eq!((written.row.id, written.row.surrogate), (id(1), None));
        assert_eq!(one(1, new("a", 1)).await.unwrap_err(), Refused::Exists(id(1)));
        let several = [(id(2), new("b", 2)), (id(1), Change::Update(vec![(1, 5.into())]))];
        assert_eq!(primary.write(&several, stamp(), &[]).await.unwrap().unwrap().rows.len(), 2);
        assert_eq!(one(9, Change::Delete).await.unwrap_err(), Refused::Missing(id(9)));
        one(2, Change::Delete).await.unwrap();
        assert!(!primary.row(&id(2)).await.unwrap().unwrap().version.live.value);
        let row = primary.row(&id(1)).await.unwrap().unwrap();
        assert_eq!(row.version.columns[1].value, Value::Int(5));
        assert_eq!(primary.list(1, &Filter::default(), None, 10).await.unwrap(), [row]);
    }
    node.sync().await;
    assert_equal(&scene, &node, 1);
    let listed = node.look(|content| content.list(1, &Filter::default(), None, 10)).await;
    assert_eq!((listed.len(), listed[0].surrogate), (1, None));

    let verify = async || {
        let exchange = || async { node.sync.sync(PATIENCE).await.map(|_| ()) };
        compare(&pool, &node.replica(), exchange).await.unwrap()
    };
    assert!(verify().await.equal);
    // One is changed and one is loaded past the triggers, one is no row of both sides.
    node.past_the_triggers(
        "UPDATE codes SET uses = -1; INSERT INTO codes (code) VALUES (50), ('no number')",
    );
    let found = verify().await;
    assert!(!found.equal);
    assert_eq!(found.tables[1].keys, [1, 50]);
    // It has no number by which it could be told, but for its place in the file.
    let rowid = node.one("SELECT rowid FROM codes WHERE typeof(code) = 'text'");
    assert_eq!(node.look(|content| content.keyless()).await, [(1, rowid)]);
}
