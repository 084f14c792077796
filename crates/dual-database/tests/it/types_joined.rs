//! Values of every type where tables are joined, where a column declares a default or that it is unique, and in
//! what people read.

use std::sync::Arc;

use dual_database::init::{Joining, plan};
use dual_database::merge::Change;
use dual_database::protocol::Filter;
use dual_database::schema::{
    Column, Decimal, Dialect, LogicalType, Role, RowId, Table, literal, users,
};
use dual_database::store::postgres::{Catalog, Session, Settings};
use dual_database::sync::Preference;
use dual_database::value::Value;
use throwaway_postgres::shared;

use crate::adoption::stores;
use crate::engine_scene::{Node, later, limits};
use crate::types_scene::{other, pool, price, scene, tables, tables_of_all, types, verified};

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_full_of_the_same_values_are_joined_without_a_difference() {
    let scene = scene(shared().unwrap());
    let tables = tables_of_all();
    let things = &tables[1];
    scene.sql(&things.create_statement(Dialect::Postgres, "things"));
    let file = rusqlite::Connection::open(scene.path("bot.db")).unwrap();
    file.execute_batch(&things.create_statement(Dialect::Sqlite, "things")).unwrap();
    let longest = types().iter().map(|(_, values)| values.len()).max().unwrap();
    for row in 0..longest {
        let insert = |side: Dialect| {
            let values = types()
                .into_iter()
                .map(|(_, values)| literal(values.get(row).unwrap_or(&Value::Null), side));
            let values = values.collect::<Vec<_>>().join(", ");
            format!("INSERT INTO things VALUES ({row}, {values})")
        };
        scene.sql(&insert(Dialect::Postgres));
        file.execute_batch(&insert(Dialect::Sqlite)).unwrap();
    }
    // The catalog says which they are.
    let settings = Settings::parse(&scene.database.url()).unwrap();
    let session = Session::open(&settings, &limits()).await.unwrap();
    session.begin("test").await.unwrap();
    let catalog = Catalog::read(&session, things).await.unwrap().table.unwrap();
    for column in things.data_columns() {
        let declared = column.kind.sql(Dialect::Sqlite);
        assert_eq!(catalog.column(&column.name).unwrap().logical_beside(declared), column.kind);
    }
    drop(session);
    let mut both = stores(&scene, "bot.db");
    both.sqlite.tables = tables.clone();
    let planned = plan(&both, Joining::default()).await.unwrap();
    assert_eq!(planned.tables[1].postgres.obstacles.len(), 0, "{:?}", planned.tables[1].postgres);
    let rows = planned.tables[1].rows.clone().unwrap();
    let differing: Vec<&str> = rows.columns.iter().map(|column| &*column.column).collect();
    assert_eq!(differing, Vec::<&str>::new());
    assert_eq!((rows.postgres, rows.different), (longest as u64, 0));
    drop(file);
    let node = Node::keeping(&scene.database.url(), &scene.path("bot.db"), tables.clone()).await;
    assert_eq!(node.sync().await.quarantined, 0);
    let pool = pool(&scene, tables.clone()).await;
    assert_eq!(verified(&pool, &node).await, (true, 0));
    assert_eq!(scene.conflicts(), Vec::<Vec<_>>::new());

    // What comes past the triggers is found by its value, and set right.
    for name in things.data_columns().map(|column| &column.name) {
        node.past_the_triggers(&format!("UPDATE things SET {name} = NULL WHERE code = 0"));
        assert_eq!(verified(&pool, &node).await, (false, 0), "{name}");
        node.sync.repair(Preference::Postgres).await.unwrap();
        assert_eq!(verified(&pool, &node).await, (true, 0), "{name}");
    }

    // Both lists find a row by every value.
    let session = pool.get().await.unwrap();
    let primary = session.primary(node.state().await.file).unwrap();
    for (at, (kind, values)) in types().into_iter().enumerate() {
        for (row, value) in values.into_iter().enumerate() {
            let equals = vec![(format!("c{at}").into(), value.clone())];
            let filter = Filter { equals, ..Filter::default() };
            let there = primary.list(1, &filter, None, 100).await.unwrap();
            let there: Vec<i64> = there.iter().map(|row| row.id.key.number().unwrap()).collect();
            let here = node.look(move |content| content.list(1, &filter, None, 100)).await;
            let here: Vec<i64> = here.iter().map(|row| row.key.number().unwrap()).collect();
            assert_eq!(
                (&there, &here),
                (&vec![row as i64], &vec![row as i64]),
                "{kind:?} {value:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_default_says_nothing_whatever_its_type() {
    let scene = scene(shared().unwrap());
    let mut columns = vec![Column::new("code", LogicalType::BigInt, Role::Key)];
    for (at, (kind, values)) in types().into_iter().enumerate() {
        let value = values.into_iter().find(|value| value.bytes() < 1_000).unwrap();
        columns.push(Column::new(format!("c{at}"), kind, Role::Data).with_default(value));
    }
    let table = Table::declare("things", columns).unwrap();
    let defaults = table.defaults();
    let tables: Arc<[Table]> = [users(), table].into();
    let node = Node::keeping(&scene.database.url(), &scene.path("bot.db"), tables.clone()).await;
    node.sync().await;
    scene.sql("INSERT INTO things (code) VALUES (1)");
    node.script("INSERT INTO things (code) VALUES (2)");
    node.change(1, 3, Change::Insert(defaults)).await;
    node.sync().await;
    for at in 0..types().len() {
        let said = format!("WHERE coalesce(s_c{at}, stamp) = stamp AND key <> 3");
        let there = scene.one(&format!("SELECT count(*) FROM dual.side_things {said}"));
        let here: i64 = node.one(&format!("SELECT count(*) FROM dual_side_things {said}"));
        assert_eq!((there.as_str(), here), ("0", 0), "{:?}", types()[at]);
        let kinds: i64 = node.one(&format!("SELECT count(DISTINCT c{at}) FROM things"));
        assert_eq!(kinds, 1, "{:?}", types()[at]);
    }
    let pool = pool(&scene, tables).await;
    assert_eq!(verified(&pool, &node).await, (true, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn required_unique_values_are_exchanged_whatever_their_type() {
    let scene = scene(shared().unwrap());
    let kinds = [
        ("small", LogicalType::SmallInt),
        ("r", LogicalType::Real),
        ("d", LogicalType::Double),
        ("day", LogicalType::Date),
        ("t", LogicalType::Time),
        ("at", LogicalType::TimestampTz),
        ("b", LogicalType::Bytes),
        ("u", LogicalType::Uuid),
        ("j", LogicalType::Jsonb),
        ("n", LogicalType::Numeric),
        ("price", price()),
        ("part", Decimal::new(2, 2).unwrap().into()),
        ("c", LogicalType::Char),
        ("name", other("pg_catalog", "name", "name")),
    ];
    let values = [
        ["1", "2", "3"],
        ["0.5", "1.5", "2.5"],
        ["0.1", "0.2", "0.3"],
        ["'2024-05-06'", "'2024-05-07'", "'2024-05-08'"],
        ["'00:00:01'", "'00:00:02'", "'00:00:03'"],
        [
            "'2024-05-06 00:00:00+00:00'",
            "'2024-05-07 00:00:00+00:00'",
            "'2024-05-08 00:00:00+00:00'",
        ],
        ["x'01'", "x'02'", "x'03'"],
        [
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'",
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a13'",
        ],
        ["'1'", "'2'", "'3'"],
        ["'1.10'", "'1.1'||'00'||'1'", "'2'"],
        ["1.1", "1.2", "1.3"],
        ["0.1", "0.2", "0.3"],
        ["'a'", "'b'", "'c'"],
        ["'a'", "'b'", "'c'"],
    ];
    let tables = tables(&kinds);
    let made: Vec<String> = kinds
        .iter()
        .map(|(name, kind)| format!("\"{name}\" {} NOT NULL UNIQUE", kind.sql(Dialect::Postgres)))
        .collect();
    scene.sql(&format!("CREATE TABLE things (code bigint PRIMARY KEY, {})", made.join(", ")));
    let node = Node::keeping(&scene.database.url(), &scene.path("bot.db"), tables.clone()).await;
    node.sync().await;
    for turn in 0..2 {
        node.script("BEGIN");
        for row in 0..3 {
            let of = |values: &[&str; 3]| values[(row + turn) % 3].to_owned();
            let row_values: Vec<String> = values.iter().map(of).collect();
            let names: Vec<&str> = kinds.iter().map(|(name, _)| *name).collect();
            match turn {
                0 => node.script(&format!(
                    "INSERT INTO things (code, {}) VALUES ({row}, {})",
                    names.join(", "),
                    row_values.join(", ")
                )),
                _ => {
                    let set = names.iter().zip(&row_values).map(|(n, v)| format!("{n} = {v}"));
                    let set = set.collect::<Vec<_>>().join(", ");
                    node.script(&format!("UPDATE things SET {set} WHERE code = {row}"));
                }
            }
        }
        node.script("COMMIT");
        let exchange = node.sync().await;
        let why = node.look(|content| content.quarantine()).await;
        assert_eq!((exchange.pending, exchange.quarantined), (0, 0), "{why:?}");
    }
    let pool = pool(&scene, tables).await;
    assert_eq!(verified(&pool, &node).await, (true, 0));
    assert_eq!(scene.conflicts(), Vec::<Vec<_>>::new());
}

/// What calls equal what is not: the bytes count.
#[tokio::test(flavor = "multi_thread")]
async fn types_of_extensions_are_carried_by_their_text() {
    let scene = scene(shared().unwrap());
    let cases = [
        ("citext", "Анна", "анна"),
        ("hstore", "\"a\"=>\"1\", \"b\"=>NULL", "\"a\"=>\"1\""),
        ("ltree", "top.a", "top.A"),
    ];
    let available = |name: &&(&str, &str, &str)| {
        scene.database.execute(&format!("CREATE EXTENSION {}", name.0)).is_ok()
    };
    let cases: Vec<_> = cases.iter().filter(available).collect();
    let kinds: Vec<_> = cases
        .iter()
        .map(|(name, ..)| (*name, other("public", name, &format!("public.{name}"))))
        .collect();
    if kinds.is_empty() {
        return;
    }
    let tables = tables(&kinds);
    let node = Node::keeping(&scene.database.url(), &scene.path("bot.db"), tables.clone()).await;
    node.sync().await;
    for (name, first, second) in &cases {
        let (first, second) = (first.replace('\'', "''"), second.replace('\'', "''"));
        scene.sql(&format!(
            "INSERT INTO things (code, {name}) VALUES (1, '{first}') \
             ON CONFLICT (code) DO UPDATE SET {name} = excluded.{name}"
        ));
        node.sync().await;
        assert_eq!(node.one::<String>(&format!("SELECT {name} FROM things")), first);
        scene.sql(&format!("UPDATE things SET {name} = '{second}'"));
        node.sync().await;
        assert_eq!(node.one::<String>(&format!("SELECT {name} FROM things")), second);
        node.script(&format!("UPDATE things SET {name} = '{first}'"));
        node.sync().await;
        assert_eq!(scene.one(&format!("SELECT {name}::text FROM things")), first);
    }
    let pool = pool(&scene, tables).await;
    assert_eq!(verified(&pool, &node).await, (true, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_shows_a_value_as_people_read_it() {
    let scene = scene(shared().unwrap());
    let kinds = [("d", LogicalType::Double), ("b", LogicalType::Bytes), ("r", LogicalType::Real)];
    let tables = tables(&kinds);
    let node = Node::keeping(&scene.database.url(), &scene.path("bot.db"), tables.clone()).await;
    node.sync().await;
    scene.sql("INSERT INTO things (code, d, b, r) VALUES (1, 0, '', 0)");
    node.sync().await;
    node.script("UPDATE things SET d = 0.1, b = x'00ff', r = 0.1 WHERE code = 1");
    later().await;
    scene.sql("UPDATE things SET d = 0.3, b = '\\x01', r = 0.3");
    node.sync().await;
    let entry = |winning: &str, losing: &str| {
        vec![Some("1".to_owned()), Some(winning.to_owned()), Some(losing.to_owned())]
    };
    let logged = [entry("0.3", "0.1"), entry("0.3", "0.1"), entry("\\x01", "\\x00ff")];
    assert_eq!(scene.conflicts(), logged);
}

#[tokio::test(flavor = "multi_thread")]
async fn types_of_the_server_are_meant_wherever_the_search_path_leads() {
    let scene = scene(shared().unwrap());
    let tables = tables_of_all();
    let url = scene.database.url();
    let first = Node::keeping(&url, &scene.path("first.db"), tables.clone()).await;
    first.sync().await;
    for name in
        ["date", "uuid", "bytea", "json", "jsonb", "inet", "timestamptz", "text", "interval"]
    {
        scene.sql(&format!(
            "CREATE DOMAIN public.\"{name}\" AS pg_catalog.int4 CONSTRAINT none CHECK (false)"
        ));
    }
    let database = scene.database.name();
    scene.sql(&format!("ALTER DATABASE \"{database}\" SET search_path = public, pg_catalog"));
    let node = Node::keeping(&url, &scene.path("bot.db"), tables.clone()).await;
    node.sync().await;
    let longest = types().iter().map(|(_, values)| values.len()).max().unwrap();
    let pool = pool(&scene, tables).await;
    let session = pool.get().await.unwrap();
    let primary = session.primary(node.state().await.file).unwrap();
    let blank = vec![Value::Null; types().len()];
    for row in 0..longest {
        let values = types().into_iter().map(|(_, values)| values.get(row).cloned());
        let values = values.map(|value| value.unwrap_or(Value::Null)).enumerate().collect();
        let id = RowId::new(1, row as i64);
        for change in [Change::Insert(blank.clone()), Change::Update(values)] {
            if row % 2 == 0 {
                node.change(1, row as i64, change).await;
                let exchange = node.sync().await;
                let why = node.look(|content| content.quarantine()).await;
                assert_eq!(exchange.quarantined, 0, "{why:?}");
            } else {
                let stamp = node.shared.clock().propose(Default::default());
                primary.write(&[(id.clone(), change)], stamp, &[]).await.unwrap().unwrap();
            }
        }
    }
    node.sync().await;
    assert_eq!(verified(&pool, &node).await, (true, 0));
    assert_eq!(scene.conflicts(), Vec::<Vec<_>>::new());
}
