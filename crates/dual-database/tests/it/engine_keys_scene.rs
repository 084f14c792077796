//! Tables whose rows are told apart by a text, and by three columns, and looks at both sides from outside.

use std::collections::BTreeSet;
use std::sync::Arc;

use dual_database::merge::Change;
use dual_database::schema::{Column, Key, LogicalType, Role, Table, quoted, users};
use dual_database::store::postgres::Settings;
use dual_database::store::postgres::primary::Pool;
use dual_database::verify::{Verification, compare};
use rusqlite::Connection;

use crate::engine_scene::{Node, PATIENCE, Scene, limits};

/// The tables' positions.
pub const TAGS: usize = 1;
pub const DEEDS: usize = 2;

/// Beside the built-in table: one of a text, and one of three columns, whose names want quoting.
pub fn tables() -> Arc<[Table]> {
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
pub const OF_DEEDS: &str = r#""дела 'и' дни""#;
pub const KEY: &str = r#""чьё ""дело""", "it's n", "когда""#;

pub fn deed(whose: &str, n: i64, at: &str) -> Key {
    Key::of(&[whose.into(), n.into(), at.into()]).unwrap()
}

pub async fn node(scene: &Scene<'_>, file: &str) -> Node {
    Node::keeping(&scene.database.url(), &scene.path(file), tables()).await
}

pub type Rows = BTreeSet<Vec<Option<String>>>;

pub fn there(scene: &Scene<'_>, table: &Table) -> Rows {
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

pub fn here(node: &Node, table: &Table) -> Rows {
    let connection = Connection::open(node.path()).unwrap();
    let columns = table.columns().iter().map(|c| format!("CAST({} AS TEXT)", quoted(&c.name)));
    let columns: Vec<String> = columns.collect();
    let sql = format!("SELECT {} FROM {}", columns.join(", "), quoted(table.name()));
    let mut look = connection.prepare(&sql).unwrap();
    let rows = look.query_map([], |row| (0..columns.len()).map(|at| row.get(at)).collect());
    rows.unwrap().map(Result::unwrap).collect()
}

pub fn assert_equal(scene: &Scene<'_>, node: &Node, counts: [usize; 2]) {
    for (table, count) in [TAGS, DEEDS].into_iter().zip(counts) {
        let table = &tables()[table];
        let (here, there) = (here(node, table), there(scene, table));
        let only = |one: &Rows, other: &Rows| one.difference(other).cloned().collect::<Vec<_>>();
        let differ = (only(&there, &here), only(&here, &there));
        assert_eq!(differ, (vec![], vec![]), "{}", table.name());
        assert_eq!(here.len(), count, "{}", table.name());
    }
}

pub fn new(note: &str, uses: i64) -> Change {
    Change::Insert(vec![note.into(), uses.into()])
}

pub async fn verified(pool: &Pool, node: &Node) -> Verification {
    let exchange = || async { node.sync.sync(PATIENCE).await.map(|_| ()) };
    compare(pool, &node.replica(), exchange).await.unwrap()
}

pub async fn pool(scene: &Scene<'_>) -> Pool {
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let pool = Pool::new(settings, limits(), tables(), 4);
    pool.prepare().await.unwrap();
    pool
}

/// Tables that somebody has made: PostgreSQL's columns have the order of a language, the file's do not tell
/// capitals from small letters.
pub fn other_order(scene: &Scene<'_>, file: &str) {
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
