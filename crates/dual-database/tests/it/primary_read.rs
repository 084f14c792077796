//! Rows, lists and counts from a real server.

use dual_database::Kind;
use dual_database::protocol::{After, Filter};
use dual_database::schema::LogicalType;
use dual_database::schema::{RowId, users};
use dual_database::store::postgres::primary::{Primary, RemoteRow};
use dual_database::value::Value;
use throwaway_postgres::shared;

use crate::primary_scene::{FILE, Scene, tables, text};

const NONE: [i64; 0] = [];

fn timestamp(text: &str) -> Value {
    LogicalType::Timestamp.parse(text).unwrap()
}

fn keys(rows: &[RemoteRow]) -> Vec<i64> {
    rows.iter().map(|row| row.id.key.number().unwrap()).collect()
}

async fn found(primary: &Primary<'_>, filter: Filter) -> Vec<i64> {
    let rows = primary.list(0, &filter, None, 100).await.unwrap();
    assert_eq!(primary.count(0, &filter).await.unwrap(), rows.len() as u64);
    let mut keys = keys(&rows);
    keys.sort_unstable();
    keys
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_ordered_and_paged_whatever_stands_in_them() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    scene.sql(
        "INSERT INTO users (user_id, register_date) SELECT n, CASE WHEN n % 3 > 0 \
         THEN timestamp '2025-01-01 00:00:00.000001' + (n / 4) * interval '1 day' END \
         FROM generate_series(-10, 40) AS n",
    );
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let whole = primary.list(0, &Filter::default(), None, 1000).await.unwrap();
    let order =
        scene.sql("SELECT user_id FROM users ORDER BY register_date DESC NULLS LAST, user_id DESC");
    let order: Vec<i64> =
        order.iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect();
    assert_eq!(keys(&whole), order);
    let date = users().data_columns().position(|c| &*c.name == "register_date").unwrap();
    for size in [1, 7] {
        let (mut after, mut read) = (None, Vec::new());
        loop {
            let page = primary.list(0, &Filter::default(), after.as_ref(), size).await.unwrap();
            let Some(last) = page.last() else { break };
            let order = last.version.columns[date].value.clone();
            after = Some(After { order: vec![order], key: last.id.key.clone() });
            read.extend(page);
        }
        assert_eq!(read, whole, "{size}");
    }
    assert_eq!(keys(&primary.list(0, &Filter::default(), None, 0).await.unwrap()), NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_go_by_code_point_and_name_no_column_of_the_callers() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    scene.sql(
        "INSERT INTO users (user_id, first_name, phone_number, register_date, profile_completed) \
         VALUES (1, 'Анна', '+7', '2025-01-01', true), (2, 'анна', NULL, '2025-01-02', NULL), \
         (3, '100%_''; --', '+8', '2025-01-03 00:00:00.5', false)",
    );
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let equals =
        |name: &str, value| Filter { equals: vec![(name.into(), value)], ..Filter::default() };
    let contains = |part: &str| Filter {
        contains: vec![("first_name".into(), part.into())],
        ..Filter::default()
    };
    assert_eq!(found(&primary, equals("first_name", text("Анна"))).await, [1]);
    assert_eq!(found(&primary, equals("phone_number", Value::Null)).await, [2]);
    assert_eq!(found(&primary, equals("user_id", Value::Int(3))).await, [3]);
    assert_eq!(found(&primary, equals("profile_completed", Value::Bool(true))).await, [1]);
    assert_eq!(found(&primary, equals("id", Value::Int(i64::MAX))).await, NONE);
    assert_eq!(found(&primary, equals("first_name", text("'; DROP TABLE users; --"))).await, NONE);
    assert_eq!(found(&primary, contains("нна")).await, [1, 2]);
    assert_eq!(found(&primary, contains("А")).await, [1]);
    assert_eq!(found(&primary, contains("%_'")).await, [3]);
    assert_eq!(found(&primary, contains("")).await, [1, 2, 3]);
    let since = |text: &str| Filter {
        since: vec![("register_date".into(), timestamp(text))],
        ..Filter::default()
    };
    assert_eq!(found(&primary, since("2025-01-02 00:00:00")).await, [2, 3]);
    assert_eq!(found(&primary, since("2025-01-03 00:00:00.500001")).await, NONE);
    let both = Filter { since: since("2025-01-02 00:00:00").since, ..contains("анна") };
    assert_eq!(found(&primary, both).await, [2]);
    for wrong in [
        Filter { contains: vec![("user_id".into(), "1".into())], ..Filter::default() },
        Filter { since: vec![("first_name".into(), text("a"))], ..Filter::default() },
        Filter { equals: vec![("fax".into(), Value::Null)], ..Filter::default() },
    ] {
        let error = primary.count(0, &wrong).await.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidData, "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collation_that_ignores_case_does_not() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    scene.sql(
        "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false); \
         ALTER TABLE users ALTER first_name TYPE varchar COLLATE blind",
    );
    scene.sql("INSERT INTO users (user_id, first_name) VALUES (1, 'Anna'), (2, 'anna')");
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let equals = Filter { equals: vec![("first_name".into(), text("anna"))], ..Filter::default() };
    assert_eq!(found(&primary, equals).await, [2]);
    let contains =
        Filter { contains: vec![("first_name".into(), "anna".into())], ..Filter::default() };
    assert_eq!(found(&primary, contains).await, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_unknown_and_unreadable_rows() {
    let scene = Scene::on(shared().unwrap(), tables()).await;
    scene.sql("INSERT INTO users (user_id) VALUES (1)");
    scene.sql("DELETE FROM users");
    scene.sql(
        "INSERT INTO users (user_id, redeem_date) VALUES (2, 'infinity'), (3, '0044-03-15 BC')",
    );
    scene.sql(
        "INSERT INTO \"it's \"\"awkward\"\" {k}{t} $dual$\" (own, proposal) VALUES (5, '2025-01-01'), (9, NULL)",
    );
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let row = async |table, key: i64| primary.row(&RowId::new(table, key)).await.unwrap();
    let dead = row(0, 1).await.unwrap();
    assert!(!dead.version.live.value && dead.surrogate.is_none());
    assert_eq!(row(0, 99).await, None);
    for key in [2, 3] {
        let odd = row(0, key).await.unwrap();
        let column = odd.unreadable.unwrap();
        assert_eq!(&*users().data_columns().nth(column).unwrap().name, "redeem_date");
        assert!(odd.version.columns[column].value.is_null());
    }
    assert_eq!(row(1, 5).await.unwrap().version.columns[1].value, timestamp("2025-01-01 00:00:00"));
    let list = primary.list(1, &Filter::default(), None, 10).await.unwrap();
    assert_eq!(keys(&list), [9, 5]);
    let next = After { order: vec![], key: 9.into() };
    assert_eq!(keys(&primary.list(1, &Filter::default(), Some(&next), 10).await.unwrap()), [5]);
    assert_eq!(primary.count(0, &Filter::default()).await.unwrap(), 2);
}
