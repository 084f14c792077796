//! Keys that one side cannot hold, or calls equal to others, and rows that are in each other's way.

use std::collections::BTreeSet;
use std::sync::Arc;

use dual_database::merge::Change;
use dual_database::protocol::Filter;
use dual_database::schema::{
    Column, Dialect, Key, KeyColumns, LogicalType, Role, RowId, Table, users,
};
use rusqlite::Connection;
use throwaway_postgres::shared;

use crate::engine_keys_scene::{
    DEEDS, KEY, OF_DEEDS, TAGS, assert_equal, deed, here, new, node, other_order, pool, tables,
    verified,
};
use crate::engine_scene::{Node, Scene};

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
async fn rows_that_exchange_unique_values_make_room_for_each_other() {
    let scene = Scene::on(shared().unwrap());
    let node = node(&scene, "bot.db").await;
    node.sync().await;
    scene.sql(&format!(
        "ALTER TABLE tags ALTER COLUMN uses SET NOT NULL, ADD UNIQUE (uses); \
         ALTER TABLE {OF_DEEDS} ALTER COLUMN uses SET NOT NULL, ADD UNIQUE (uses); \
         INSERT INTO tags (code, uses) VALUES ('я', 1), ('b', 2), ('c', 3); \
         INSERT INTO {OF_DEEDS} ({KEY}, uses) VALUES ('я', 1, '2024-01-01', 1), ('я', 2, '2024-01-01', 2), \
         ('я', 1, '2024-01-02', 3)"
    ));
    node.sync().await;
    node.script(&format!(
        "UPDATE tags SET uses = 1 + uses % 3; UPDATE {OF_DEEDS} SET uses = 1 + uses % 3"
    ));
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 0));
    assert_equal(&scene, &node, [3, 3]);
    assert_eq!(
        scene.one("SELECT string_agg(code || uses, ',' ORDER BY uses) FROM tags"),
        "c1,я2,b3"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_have_exchanged_unique_values_at_postgresql_reach_a_file_that_has_the_key_too() {
    let required = "(code TEXT PRIMARY KEY, note TEXT NOT NULL UNIQUE, \
                    uses INTEGER NOT NULL DEFAULT 1 UNIQUE CHECK (uses > 0)) STRICT";
    for table in ["(code TEXT PRIMARY KEY, note TEXT UNIQUE, uses INTEGER UNIQUE)", required] {
        let scene = Scene::on(shared().unwrap());
        let program = Connection::open(scene.path("bot.db")).unwrap();
        program.execute_batch(&format!("CREATE TABLE tags {table}")).unwrap();
        let node = node(&scene, "bot.db").await;
        node.sync().await;
        scene.sql(
            "INSERT INTO tags (code, note, uses) VALUES ('я', 'A', 1), ('b', 'B', 2), \
             ('c', 'C', 3), ('d', 'D', 4)",
        );
        node.sync().await;
        // A ring, and one whose value is taken by another program of the file.
        scene.sql(
            "UPDATE tags SET uses = 1 + uses % 3, note = CASE note WHEN 'A' THEN 'B' ELSE 'A' END \
             WHERE code IN ('я', 'b'); UPDATE tags SET uses = 1 WHERE code = 'c'",
        );
        let exchange = node.sync().await;
        assert_eq!((exchange.pending, exchange.quarantined), (0, 0), "{table}");
        assert_equal(&scene, &node, [4, 0]);
        // Everybody moves up by one, those that make room before and after those that take it.
        scene.sql("UPDATE tags SET uses = uses + 1; UPDATE tags SET note = lower(note)");
        node.sync().await;
        assert_equal(&scene, &node, [4, 0]);
        // What is in the way of one of them holds up no other.
        node.script("INSERT INTO tags (code, note, uses) VALUES ('e', 'E', 9)");
        scene.sql("ALTER TABLE tags ADD CHECK (code <> 'e')");
        assert_eq!(node.sync().await.quarantined, 1);
        scene.sql("UPDATE tags SET uses = CASE code WHEN 'я' THEN 9 WHEN 'b' THEN 4 WHEN 'c' THEN 3 ELSE uses END");
        assert_eq!(node.sync().await.quarantined, 3);
        node.script("DELETE FROM tags WHERE code = 'e'");
        node.sync().await;
        node.sync().await;
        assert_equal(&scene, &node, [4, 0]);
    }
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
    // A text that no index of PostgreSQL's takes.
    first.script("INSERT INTO tags (code) VALUES (hex(randomblob(9000)))");
    assert_eq!(first.sync().await.quarantined, 5);
    first.script("DELETE FROM tags");
    assert_eq!(first.sync().await.quarantined, 4);
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
async fn a_number_of_32_bits_is_a_key_alone_and_beside_others() {
    let scene = Scene::on(shared().unwrap());
    let column = |name: &str, kind, role| Column::new(name, kind, role);
    let numbers = |name: &str, keys: &[&str]| {
        let key = keys.iter().map(|key| column(key, LogicalType::Int, Role::Key));
        let note = column("note", LogicalType::Text, Role::Data);
        Table::declare(name, key.chain([note]).collect()).unwrap()
    };
    let tables = [users(), numbers("alone", &["n"]), numbers("beside", &["n", "m"])];
    let node = Node::keeping(&scene.database.url(), &scene.path("bot.db"), tables.into()).await;
    node.sync().await;
    let rows = |from: &str| {
        format!(
            "INSERT INTO alone (n, note) VALUES ({from}1, 'a'), ({from}2147483647, 'b'); \
             INSERT INTO beside (n, m, note) VALUES ({from}1, 2, 'a'), ({from}1, -2147483648, 'b')"
        )
    };
    scene.sql(&rows("-"));
    node.script(&rows(""));
    // Another one than there can be.
    node.script("INSERT INTO alone (n) VALUES (4294967296); INSERT INTO beside (n, m) VALUES (1, 4294967296)");
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 2));
    let sql = "SELECT string_agg(n || note, ',' ORDER BY n) FROM alone";
    assert_eq!(scene.one(sql), "-2147483647b,-1a,1a,2147483647b");
    let there = "SELECT string_agg(concat_ws(' ', n, m, note), ',' ORDER BY n, m) FROM beside";
    assert_eq!(scene.one(there), "-1 -2147483648 b,-1 2 a,1 -2147483648 b,1 2 a");
    let here = "SELECT group_concat(n || ' ' || m || ' ' || note) FROM \
                (SELECT * FROM beside WHERE m < 4294967296 ORDER BY n, m)";
    assert_eq!(node.one::<String>(here), scene.one(there));
}

/// Types whose values have one text, some values in their order, and what a file may have that is none.
fn kinds() -> [(LogicalType, [&'static str; 3], [&'static str; 3]); 6] {
    [
        (
            LogicalType::Uuid,
            [
                "00000000-0000-0000-0000-000000000001",
                "6f9619ff-8b86-d011-b42d-00c04fc964ff",
                "a0000000-0000-0000-0000-000000000000",
            ],
            [
                "6F9619FF-8B86-D011-B42D-00C04FC964FF",
                "6f9619ff8b86d011b42d00c04fc964ff",
                "6f9619ff-8b86-d011-b42d-00c04fc964fg",
            ],
        ),
        (
            LogicalType::Date,
            ["0001-01-01", "2024-02-29", "9999-12-31"],
            ["2023-02-29", "2024-1-1", "2024-01-01 00:00:00"],
        ),
        (
            LogicalType::TimestampTz,
            [
                "2024-01-01 00:00:00+00:00",
                "2024-01-01 00:00:00.500000+00:00",
                "2024-01-01 23:59:59+00:00",
            ],
            ["2024-01-01 00:00:00", "2024-01-01 03:00:00+03:00", "2024-01-01 24:00:00+00:00"],
        ),
        (
            LogicalType::Timestamp,
            ["2024-01-01 00:00:00", "2024-01-01 00:00:00.500000", "2024-01-01 23:59:59"],
            ["2024-01-01 00:00:00.5", "2024-01-01 03:00:00+03:00", "2024-01-01 24:00:00"],
        ),
        (LogicalType::Char, ["", "ab", "b"], [" ", "ab ", "a\nb  "]),
        // Texts are none.
        (LogicalType::Bytes, ["\\x", "\\x00ff", "\\xc3"], ["", "00ff", "\\x00"]),
    ]
}

/// The value of that text, in a statement.
fn literal(kind: &LogicalType, dialect: Dialect, text: &str) -> String {
    match (kind, dialect) {
        (LogicalType::Bytes, Dialect::Sqlite) => format!("x'{}'", &text[2..]),
        _ => format!("'{text}'"),
    }
}

/// A table for each of them, and one for all together.
fn tables_of_kinds() -> Arc<[Table]> {
    let keyed = |name: String, kinds: Vec<LogicalType>| {
        let key = kinds.into_iter().enumerate();
        let key = key.map(|(at, kind)| Column::new(format!("k{at}"), kind, Role::Key));
        let note = Column::new("note", LogicalType::Text, Role::Data);
        Table::declare(name, key.chain([note]).collect()).unwrap()
    };
    let mut tables = vec![users()];
    for (at, (kind, ..)) in kinds().into_iter().enumerate() {
        tables.push(keyed(format!("t{at}"), vec![kind]));
    }
    tables.push(keyed("t6".into(), kinds().into_iter().map(|(kind, ..)| kind).collect()));
    tables.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_that_makes_keys_tells_rows_apart_alone_and_with_others() {
    let scene = Scene::on(shared().unwrap());
    let tables = tables_of_kinds();
    let open = |file: &str| {
        let path = scene.path(file);
        let (url, tables) = (scene.database.url(), Arc::clone(&tables));
        async move { Node::keeping(&url, &path, tables).await }
    };
    let node = open("bot.db").await;
    node.sync().await;
    let mut set_aside = 0;
    for (at, (kind, good, bad)) in kinds().into_iter().enumerate() {
        let [first, _, last] = good.map(|text| literal(&kind, Dialect::Postgres, text));
        scene.sql(&format!("INSERT INTO t{at} VALUES ({last}, 'a'), ({first}, 'b')"));
        let bad = bad.map(|text| format!("'{}'", text.replace('\'', "''")));
        for key in [literal(&kind, Dialect::Sqlite, good[1])].iter().chain(&bad) {
            node.script(&format!("INSERT INTO t{at} VALUES ({key}, 'c')"));
        }
        set_aside += bad.len() as u64;
    }
    let row = |dialect, at: usize| {
        kinds().map(|(kind, good, _)| literal(&kind, dialect, good[at])).join(", ")
    };
    scene.sql(&format!("INSERT INTO t6 VALUES ({}, 'a')", row(Dialect::Postgres, 2)));
    let [second, first] = [1, 0].map(|at| row(Dialect::Sqlite, at));
    node.script(&format!("INSERT INTO t6 VALUES ({second}, 'c'), ({first}, 'b')"));
    let exchange = node.sync().await;
    let aside = node.look(|content| content.quarantine()).await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, set_aside), "{aside:?}");
    let second = open("second.db").await;
    second.sync().await;
    let ordered = |at: usize, dialect, node: &Node| -> Vec<Key> {
        let key = KeyColumns::of(&tables[at + 1], dialect);
        let (given, order, whole) = (key.given(""), key.order("", ""), key.is_whole(""));
        let texts: Vec<String> = match dialect {
            Dialect::Postgres => {
                let sql = format!("SELECT {given} FROM t{at} ORDER BY {order}");
                scene.sql(&sql).into_iter().map(|row| row[0].clone().unwrap()).collect()
            }
            Dialect::Sqlite => {
                let sql = format!("SELECT {given} AS k FROM t{at} WHERE {whole} ORDER BY {order}");
                let all = format!("SELECT group_concat(k, char(10)) FROM ({sql})");
                node.one::<String>(&all).lines().map(str::to_owned).collect()
            }
        };
        texts.iter().map(|text| Key::from_json(text).unwrap()).collect()
    };
    let of_all = [0, 1, 2].map(|at| Key::of(&kinds().map(|(_, good, _)| good[at].into())).unwrap());
    for node in [&node, &second] {
        for dialect in [Dialect::Postgres, Dialect::Sqlite] {
            for (at, (_, good, _)) in kinds().into_iter().enumerate() {
                assert_eq!(ordered(at, dialect, node), good.map(Key::from), "{dialect:?}, t{at}");
            }
            assert_eq!(ordered(6, dialect, node), of_all, "{dialect:?}");
        }
    }
    // Rows are found by them, there and here, by sessions that print otherwise.
    for at in 0..7 {
        scene.sql(&format!(
            "SET timezone = 'Asia/Tokyo'; SET datestyle = 'German'; \
             UPDATE t{at} SET note = 'there' WHERE note = 'a'"
        ));
        second.script(&format!(
            "UPDATE t{at} SET note = 'here' WHERE note = 'b'; DELETE FROM t{at} WHERE note = 'c'"
        ));
    }
    second.sync().await;
    node.sync().await;
    for at in 0..7 {
        let sql = format!("SELECT string_agg(note, ',' ORDER BY note) FROM t{at}");
        assert_eq!(scene.one(&sql), "here,there", "t{at}");
        let sql = format!("SELECT count(*) FROM t{at} WHERE note IN ('here', 'there')");
        assert_eq!(node.one::<i64>(&sql), 2, "t{at}");
    }
    // What has more than one text makes none.
    for kind in [LogicalType::Double, LogicalType::Numeric, LogicalType::Jsonb] {
        let key = Column::new("k", kind, Role::Key);
        let note = Column::new("note", LogicalType::Text, Role::Data);
        assert!(Table::declare("t", vec![key, note]).is_err());
    }
}
