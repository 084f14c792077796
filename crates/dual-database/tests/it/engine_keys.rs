//! Keys of text, and of several columns: rows are told apart by them through both stores, whoever writes.

use std::collections::BTreeSet;

use dual_database::merge::Change;
use dual_database::protocol::{After, Filter};
use dual_database::schema::{
    Column, Dialect, Key, KeyColumns, LogicalType, Role, RowId, Table, quoted_text,
};
use dual_database::store::postgres::capture::Layout;
use dual_database::store::postgres::primary::{Primary, Refused};
use dual_database::value::Value;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rusqlite::Connection;
use throwaway_postgres::shared;

use crate::engine_keys_scene::{
    DEEDS, KEY, OF_DEEDS, TAGS, assert_equal, deed, new, node, other_order, pool, tables, verified,
};
use crate::engine_scene::{Node, Scene};

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
    assert!(declare(vec![id(), code.clone()]).is_ok());
    let other = column("number", LogicalType::Int, Role::Surrogate);
    assert!(message(vec![id(), other, code]).contains("it takes one surrogate"));
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
                after = Some(After { order: vec![], key: last.clone() });
                seen.extend(keys);
            }
            assert_eq!(seen.len(), count);
            assert!(seen.is_sorted_by(|one, next| one > next), "{seen:?}");
        }
    }
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
