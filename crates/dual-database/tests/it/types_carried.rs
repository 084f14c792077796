//! What one side has and the other cannot keep, or says in other words.

use dual_database::Store;
use dual_database::merge::Change;
use dual_database::schema::{LogicalType, RowId};
use dual_database::value::Value;
use throwaway_postgres::shared;

use crate::engine_scene::Node;
use crate::types_scene::{interval, other, pool, price, scene, tables, verified};

/// The keys in quarantine, and who refuses them.
async fn aside(node: &Node) -> Vec<(i64, Store)> {
    let aside = node.look(|content| content.quarantine()).await;
    let mut aside: Vec<_> =
        aside.iter().map(|one| (one.id.key.number().unwrap(), one.refused_by)).collect();
    aside.sort();
    aside
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_file_can_keep_is_set_aside() {
    let scene = scene(shared().unwrap());
    let kinds = [
        ("d", LogicalType::Double),
        ("r", LogicalType::Real),
        ("day", LogicalType::Date),
        ("at", LogicalType::TimestampTz),
        ("b", LogicalType::Bytes),
        ("j", LogicalType::Json),
        ("i", interval()),
    ];
    let tables = tables(&kinds);
    let node = Node::keeping(&scene.database.url(), &scene.path("bot.db"), tables.clone()).await;
    node.sync().await;
    let bad = [
        ("d", "'NaN'"),
        ("r", "'NaN'"),
        ("day", "'infinity'"),
        ("day", "'0044-03-15 BC'"),
        ("day", "'10000-01-01'"),
        ("at", "'-infinity'"),
        ("at", "'0001-01-01 00:00+03'"),
        ("at", "'9999-12-31 23:59:59-03'"),
        ("b", "decode(repeat('00', (8 << 20) + 1), 'hex')"),
        ("j", "to_json(repeat('x', 16 << 20))"),
    ];
    for (code, (column, value)) in (1..).zip(bad) {
        scene.sql(&format!("INSERT INTO things (code, {column}) VALUES ({code}, {value})"));
    }
    let good = bad.len() + 1;
    scene.sql(&format!(
        "INSERT INTO things (code, d, b, i) VALUES ({good}, 'Infinity', \
         decode(repeat('00', 8 << 20), 'hex'), '-1 day')"
    ));
    let exchange = node.sync().await;
    assert_eq!((exchange.quarantined, exchange.caught_up), (bad.len() as u64, true));
    assert!(aside(&node).await.iter().all(|(_, by)| *by == Store::Sqlite));
    assert_eq!(
        node.one::<f64>(&format!("SELECT d FROM things WHERE code = {good}")),
        f64::INFINITY
    );
    let pool = pool(&scene, tables).await;
    assert_eq!(verified(&pool, &node).await, (true, bad.len() as u64));
    // Mended, it goes over.
    scene.sql("UPDATE things SET d = 1, r = 1, day = now(), at = now(), b = '', j = '{}'");
    assert_eq!(node.sync().await.quarantined, 0);
    assert_eq!(verified(&pool, &node).await, (true, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_value_of_the_type_stays_in_the_file() {
    let scene = scene(shared().unwrap());
    let kinds = [
        ("small", LogicalType::SmallInt),
        ("d", LogicalType::Double),
        ("r", LogicalType::Real),
        ("n", LogicalType::Numeric),
        ("day", LogicalType::Date),
        ("t", LogicalType::Time),
        ("at", LogicalType::TimestampTz),
        ("b", LogicalType::Bytes),
        ("u", LogicalType::Uuid),
        ("j", LogicalType::Json),
        ("jb", LogicalType::Jsonb),
        ("i", interval()),
        ("mood", other("it's", "Mood", "\"it's\".\"Mood\"")),
    ];
    let tables = tables(&kinds);
    let node = Node::keeping(&scene.database.url(), &scene.path("bot.db"), tables.clone()).await;
    node.sync().await;
    let bad = [
        ("small", "32768"),
        ("small", "'7'||'x'"),
        ("d", "'abc'"),
        ("d", "x'00'"),
        ("d", "'1.5'||' '||'kg'"),
        ("r", "1e300"),
        ("r", "1e-300"),
        ("n", "'12,5'"),
        ("n", "x'31'"),
        ("day", "'01.02.1990'"),
        ("day", "19900201"),
        ("t", "'noon'"),
        ("at", "'yesterday'"),
        ("b", "'text'"),
        ("b", "7"),
        ("u", "'a0eebc999c0b4ef8bb6d6bb9bd380a11'"),
        ("j", "'{'"),
        ("jb", "'{'"),
        ("jb", "'\"\\u0000\"'"),
        ("i", "'never'"),
        ("i", "CAST(x'31ff' AS TEXT)"),
        ("mood", "'glad'"),
        ("b", "zeroblob((8 << 20) + 1)"),
        ("jb", "'\"' || printf('%.*c', 16 << 20, 'x') || '\"'"),
    ];
    for (code, (column, value)) in (1..).zip(bad) {
        node.script(&format!("INSERT INTO things (code, {column}) VALUES ({code}, {value})"));
    }
    node.script("INSERT INTO things (code, mood) VALUES (100, 'sad')");
    let exchange = node.sync().await;
    let set_aside = aside(&node).await;
    let codes: Vec<i64> = set_aside.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, (1..=bad.len() as i64).collect::<Vec<_>>());
    assert!(set_aside.iter().all(|(_, by)| *by == Store::Postgres));
    assert_eq!((exchange.pending, exchange.caught_up), (0, true));
    assert_eq!(scene.one("SELECT string_agg(code::text, ',') FROM things"), "100");
    node.script(
        "UPDATE things SET small=1, d=1, r=1, n='1', day=NULL, t=NULL, at=NULL, b=NULL, u=NULL, \
                 j='1', jb='1', i=NULL, mood='sad'",
    );
    assert_eq!(node.sync().await.quarantined, 0);
    let pool = pool(&scene, tables).await;
    assert_eq!(verified(&pool, &node).await, (true, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_words_for_a_value_are_the_same_value_or_come_back_in_postgresql_s() {
    let scene = scene(shared().unwrap());
    // Of the column, what a file says, what PostgreSQL prints, and what the file has then: its own words
    // where they are read as that value, PostgreSQL's where only PostgreSQL knows what they mean.
    let said = [
        ("b", LogicalType::Bool, "1", "true", "1"),
        ("d", LogicalType::Double, "5", "5", "5.0"),
        ("price", price(), "1.005", "1.01", "1.005"),
        ("price2", price(), "0.1 + 0.2", "0.30", "0.30000000000000004"),
        ("r", LogicalType::Real, "0.123456789", "0.12345679", "0.123456789"),
        ("n", LogicalType::Numeric, "' +01.50 '", "1.50", " +01.50 "),
        ("n2", LogicalType::Numeric, "x'' || '1.5e3'", "1500", "1.5e3"),
        ("c", LogicalType::Char, "'ab  '", "ab", "ab  "),
        ("t", LogicalType::Time, "'07:08'", "07:08:00", "07:08"),
        (
            "at",
            LogicalType::TimestampTz,
            "'2024-05-06T07:08:09+03'",
            "2024-05-06 04:08:09+00",
            "2024-05-06T07:08:09+03",
        ),
        (
            "u",
            LogicalType::Uuid,
            "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        ),
        (
            "jb",
            LogicalType::Jsonb,
            "'{\"b\":1,\"a\":2}'",
            "{\"a\": 2, \"b\": 1}",
            "{\"b\":1,\"a\":2}",
        ),
        ("i", interval(), "'1 DAY'", "1 day", "1 day"),
        ("a", other("pg_catalog", "_int4", "integer[]"), "'{ 1, 2 }'", "{1,2}", "{1,2}"),
        ("ip", other("pg_catalog", "inet", "inet"), "'10.0.0.1/32'", "10.0.0.1/32", "10.0.0.1"),
    ];
    let kinds: Vec<(&str, LogicalType)> = said.iter().map(|one| (one.0, one.1.clone())).collect();
    let tables = tables(&kinds);
    let node = Node::keeping(&scene.database.url(), &scene.path("bot.db"), tables.clone()).await;
    node.sync().await;
    // Of its own accord, and by a program that goes through PostgreSQL.
    let names: Vec<&str> = said.iter().map(|one| one.0).collect();
    let values: Vec<&str> = said.iter().map(|one| one.2).collect();
    node.script(&format!(
        "INSERT INTO things (code, {}) VALUES (1, {})",
        names.join(", "),
        values.join(", ")
    ));
    assert_eq!(node.sync().await.quarantined, 0);
    node.sync().await;
    for (name, _, _, there, here) in &said {
        let settings = "SET timezone = 'UTC'; SET datestyle = 'ISO'; SET intervalstyle = 'postgres'; \
                        SET extra_float_digits = 1; ";
        assert_eq!(scene.one(&format!("{settings} SELECT {name}::text FROM things")), *there);
        let found: String = node.one(&format!("SELECT CAST({name} AS TEXT) FROM things"));
        assert_eq!(found, *here, "{name}");
    }
    let pool = pool(&scene, tables.clone()).await;
    assert_eq!(verified(&pool, &node).await, (true, 0));
    assert_eq!(scene.conflicts(), Vec::<Vec<_>>::new());
    assert_eq!(node.losers().await, []);
    // A second file gets PostgreSQL's words from the beginning, and nothing of it is a change.
    let second = Node::keeping(&scene.database.url(), &scene.path("second.db"), tables).await;
    second.sync().await;
    assert_eq!(verified(&pool, &second).await, (true, 0));
    assert_eq!(
        second.one::<String>("SELECT i || a || ip || n FROM things"),
        "1 day{1,2}10.0.0.11.50"
    );
    let seq = || scene.one("SELECT max(txid) FROM dual.side_things");
    let before = seq();
    node.sync().await;
    second.sync().await;
    assert_eq!(seq(), before);

    // Written by a call, PostgreSQL's words are in the answer.
    let session = pool.get().await.unwrap();
    let primary = session.primary(node.state().await.file).unwrap();
    let at = names.iter().position(|name| *name == "i").unwrap();
    let change = Change::Update(vec![(at, "2 DAYS".into())]);
    let stamp = node.shared.clock().propose(Default::default());
    let written = primary.write(&[(RowId::new(1, 1), change)], stamp, &[]).await.unwrap();
    let row = &written.unwrap().rows[0].row;
    assert_eq!(row.version.columns[at].value, "2 days".into());
    node.sync().await;
    assert_eq!(node.one::<String>("SELECT i FROM things"), "2 days");
    // Of several rows in one transaction, too.
    let blank = vec![Value::Null; names.len()];
    let born = Change::Insert(
        blank
            .into_iter()
            .enumerate()
            .map(|(column, value)| if column == at { "4 DAYS".into() } else { value })
            .collect(),
    );
    let changes =
        [(RowId::new(1, 1), Change::Update(vec![(at, "3 DAYS".into())])), (RowId::new(1, 2), born)];
    let stamp = node.shared.clock().propose(stamp);
    let written = primary.write(&changes, stamp, &[]).await.unwrap().unwrap();
    let values: Vec<&Value> =
        written.rows.iter().map(|row| &row.row.version.columns[at].value).collect();
    assert_eq!(values, [&"3 days".into(), &"4 days".into()]);
    node.sync().await;
    assert_eq!(node.one::<String>("SELECT group_concat(i) FROM things"), "3 days,4 days");
    assert_eq!(verified(&pool, &node).await, (true, 0));
}

/// SQLite makes numbers of what looks like one in a column that is not declared as text.
#[tokio::test(flavor = "multi_thread")]
async fn columns_that_a_file_declares_in_its_own_way_keep_the_values() {
    let scene = scene(shared().unwrap());
    let columns = [
        ("yes", LogicalType::Bool, "BOOLEAN", "true", "1"),
        ("d", LogicalType::Double, "DECIMAL(10,2)", "1152921504606846976", "1152921504606846976"),
        ("price", price(), "NUMERIC", "1.10", "1.1"),
        ("whole", price(), "DECIMAL(10,2)", "7", "7"),
        ("d2", LogicalType::Double, "INTEGER", "12.5", "12.5"),
        ("r", LogicalType::Real, "NUMERIC", "7", "7"),
        ("day", LogicalType::Date, "DATE", "'2024-05-06'", "2024-05-06"),
        ("t", LogicalType::Time, "TIME", "'07:08:09'", "07:08:09"),
        ("at", LogicalType::Timestamp, "DATETIME", "'2024-05-06 07:08:09'", "2024-05-06 07:08:09"),
        (
            "tz",
            LogicalType::TimestampTz,
            "TIMESTAMP",
            "'2024-05-06 07:08:09+00'",
            "2024-05-06 07:08:09+00:00",
        ),
        (
            "u",
            LogicalType::Uuid,
            "UUID",
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ),
        ("j", LogicalType::Jsonb, "JSON", "'{\"a\": 1.0}'", "{\"a\": 1.0}"),
        ("b", LogicalType::Bytes, "BYTEA", "'\\x31'", "1"),
        ("n", LogicalType::Numeric, "", "1.10", "1.10"),
    ];
    let made: Vec<String> = columns.iter().map(|one| format!("{} {}", one.0, one.2)).collect();
    let file = rusqlite::Connection::open(scene.path("bot.db")).unwrap();
    let sql = format!("CREATE TABLE things (code INTEGER NOT NULL UNIQUE, {})", made.join(", "));
    file.execute_batch(&sql).unwrap();
    drop(file);
    let kinds: Vec<_> = columns.iter().map(|one| (one.0, one.1.clone())).collect();
    let tables = tables(&kinds);
    let node = Node::keeping(&scene.database.url(), &scene.path("bot.db"), tables.clone()).await;
    node.sync().await;
    let names: Vec<&str> = columns.iter().map(|one| one.0).collect();
    let values: Vec<&str> = columns.iter().map(|one| one.3).collect();
    scene.sql(&format!(
        "INSERT INTO things (code, {}) VALUES (1, {})",
        names.join(", "),
        values.join(", ")
    ));
    let exchange = node.sync().await;
    let why = node.look(|content| content.quarantine()).await;
    assert_eq!(exchange.quarantined, 0, "{why:?}");
    for (name, .., has) in &columns {
        let found: String = node.one(&format!("SELECT CAST({name} AS TEXT) FROM things"));
        assert_eq!(found, *has, "{name}");
    }
    let pool = pool(&scene, tables).await;
    assert_eq!(verified(&pool, &node).await, (true, 0));
}

/// In a table that is there already, with columns that take less than the type does.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_column_keeps_of_a_value_comes_back() {
    let scene = scene(shared().unwrap());
    // Of the column: its type in PostgreSQL, what the file says, and what both have then.
    let columns = [
        ("n", LogicalType::Numeric, "numeric(6,2)", "'1.105'", "1.11"),
        ("n2", LogicalType::Numeric, "numeric(6,2)", "'1'", "1.00"),
        ("c", LogicalType::Char, "character(5)", "'ab'", "ab"),
        ("t", LogicalType::Time, "time(0)", "'12:00:00.6'", "12:00:01"),
        (
            "at",
            LogicalType::TimestampTz,
            "timestamptz(3)",
            "'2024-05-06 07:08:09.123456'",
            "2024-05-06 07:08:09.123000+00:00",
        ),
        ("i", interval(), "interval(0)", "'1 day 00:00:00.6'", "1 day 00:00:01"),
        ("small", LogicalType::SmallInt, "tiny", "7", "7"),
        ("big", LogicalType::SmallInt, "bigint", "7", "7"),
        ("word", LogicalType::Text, "word", "'Ёж'", "Ёж"),
        ("mood", other("it's", "Mood", "\"it's\".\"Mood\""), "good", "'so so'", "so so"),
        ("v", other("pg_catalog", "varbit", "bit varying"), "bit varying(8)", "'101'", "101"),
    ];
    scene.sql(
        "CREATE DOMAIN tiny AS smallint CHECK (VALUE < 10); CREATE DOMAIN word AS varchar(9); \
         CREATE DOMAIN good AS \"it's\".\"Mood\" CHECK (VALUE <> 'sad')",
    );
    let made: Vec<String> = columns.iter().map(|one| format!("{} {}", one.0, one.2)).collect();
    scene.sql(&format!("CREATE TABLE things (code bigint PRIMARY KEY, {})", made.join(", ")));
    let kinds: Vec<_> = columns.iter().map(|one| (one.0, one.1.clone())).collect();
    let tables = tables(&kinds);
    let node = Node::keeping(&scene.database.url(), &scene.path("bot.db"), tables.clone()).await;
    node.sync().await;
    let names: Vec<&str> = columns.iter().map(|one| one.0).collect();
    let values: Vec<&str> = columns.iter().map(|one| one.3).collect();
    node.script(&format!(
        "INSERT INTO things (code, {}) VALUES (1, {})",
        names.join(", "),
        values.join(", ")
    ));
    // PostgreSQL's checks are its own.
    node.script("INSERT INTO things (code, small) VALUES (2, 10); INSERT INTO things (code, mood) VALUES (3, 'sad')");
    assert_eq!(node.sync().await.quarantined, 2);
    node.sync().await;
    assert_eq!(aside(&node).await, [(2, Store::Postgres), (3, Store::Postgres)]);
    for (name, .., has) in &columns {
        let found: String = node.one(&format!("SELECT {name} || '' FROM things WHERE code = 1"));
        assert_eq!(found, *has, "{name}");
    }
    node.script("DELETE FROM things WHERE code > 1");
    node.sync().await;
    let pool = pool(&scene, tables).await;
    assert_eq!(verified(&pool, &node).await, (true, 0));
    assert_eq!(scene.conflicts(), Vec::<Vec<_>>::new());
}
