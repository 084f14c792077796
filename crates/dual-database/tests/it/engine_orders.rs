//! The order of a list is the same on both sides, whatever the type, and a page goes on from any place of it.

use std::sync::Arc;

use dual_database::database::Record;
use dual_database::merge::Change;
use dual_database::protocol::{After, Direction, Filter};
use dual_database::schema::{Column, LogicalType, Role, Table, users};
use dual_database::store::postgres::primary::{Primary, RemoteRow};
use dual_database::value::Value;
use throwaway_postgres::shared;

use crate::engine_scene::Node;
use crate::types_scene::{Line, pool, scene, types};

const WAYS: [Direction; 2] = [Direction::Ascending, Direction::Descending];

/// The types that have an order, and more values of the one that the file keeps as text.
fn ordered() -> Vec<Line> {
    let mut lines: Vec<Line> = types().into_iter().filter(|(kind, _)| kind.is_ordered()).collect();
    for (kind, values) in &mut lines {
        // Some of 70,000 characters would be read over and over.
        values.retain(|value| !matches!(value, Value::Text(text) if text.len() > 100_000));
        if *kind == LogicalType::Numeric {
            let more = ["-12.345", "-12.34", "9.99", "10", "10.0", "99", "100", "-100", "0.05"];
            values.extend(more.map(Value::from));
        }
    }
    lines
}

fn tables() -> Arc<[Table]> {
    let data = ordered().into_iter().enumerate();
    let data = data.map(|(at, (kind, _))| Column::new(format!("c{at}"), kind, Role::Data));
    let mut columns = vec![Column::new("code", LogicalType::BigInt, Role::Key)];
    columns.extend(data);
    [users(), Table::declare("things", columns).unwrap()].into()
}

fn codes(rows: &[Record]) -> Vec<i64> {
    rows.iter().map(|row| row.key.number().unwrap()).collect()
}

/// Where a list goes on after that row.
fn after(filter: &Filter, row: &Record) -> After {
    let order = filter.order.iter().map(|(name, _)| row.value(&tables()[1], name).unwrap());
    After { order: order.collect(), key: row.key.clone() }
}

fn record(row: RemoteRow) -> Record {
    let values = row.version.columns.into_iter().map(|column| column.value).collect();
    Record { key: row.id.key, surrogate: row.surrogate, values }
}

async fn there(
    primary: &Primary<'_>,
    filter: &Filter,
    from: Option<&After>,
    size: u64,
) -> Vec<Record> {
    let rows = primary.list(1, filter, from, size).await.unwrap();
    rows.into_iter().map(record).collect()
}

async fn here(node: &Node, filter: &Filter, from: Option<&After>, size: u64) -> Vec<Record> {
    let (filter, from) = (filter.clone(), from.cloned());
    node.look(move |content| content.list(1, &filter, from.as_ref(), size)).await
}

/// The same rows in pages of that size, which are read from both sides by turns.
async fn paged(node: &Node, primary: &Primary<'_>, filter: &Filter, size: u64) -> Vec<i64> {
    let (mut seen, mut from) = (Vec::new(), None);
    for turn in 0.. {
        let page = match turn % 2 {
            0 => there(primary, filter, from.as_ref(), size).await,
            _ => here(node, filter, from.as_ref(), size).await,
        };
        let Some(last) = page.last() else { break };
        from = Some(after(filter, last));
        seen.extend(codes(&page));
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_ordered_alike_on_both_sides() {
    let scene = scene(shared().unwrap());
    let node = Node::keeping(&scene.database.url(), &scene.path("bot.db"), tables()).await;
    node.sync().await;
    let lines = ordered();
    let most = lines.iter().map(|(_, values)| values.len()).max().unwrap();
    // Every value twice, in an order of nobody's, and rows without any.
    for code in 0..2 * most + 2 {
        let at = code * 7 % (most + 1);
        let values = lines.iter().map(|(_, all)| all.get(at).cloned().unwrap_or(Value::Null));
        node.change(1, code as i64, Change::Insert(values.collect())).await;
    }
    let exchange = node.sync().await;
    assert_eq!((exchange.quarantined, exchange.pending), (0, 0));
    let pool = pool(&scene, tables()).await;
    let session = pool.get().await.unwrap();
    let primary = session.primary(node.state().await.file).unwrap();
    let things = &tables()[1];
    for (at, (kind, _)) in lines.iter().enumerate() {
        for way in WAYS {
            let filter = Filter::default().order_by(things, &format!("c{at}"), way).unwrap();
            let theirs = codes(&there(&primary, &filter, None, 1000).await);
            let ours = codes(&here(&node, &filter, None, 1000).await);
            assert_eq!(theirs.len(), 2 * most + 2);
            assert_eq!(ours, theirs, "{kind:?} {way:?}");
            for size in [1, 3] {
                assert_eq!(paged(&node, &primary, &filter, size).await, theirs, "{at} {size}");
            }
        }
    }
    // Several columns, each in a direction of its own, and columns of the key.
    let by = |names: &[(&str, Direction)]| {
        let all = names
            .iter()
            .try_fold(Filter::default(), |filter, (name, way)| filter.order_by(things, name, *way));
        all.unwrap()
    };
    let [up, down] = WAYS;
    for filter in [
        by(&[("c0", up), ("c1", down)]),
        by(&[("c0", down), ("c6", up), ("c8", down)]),
        by(&[("code", up)]),
        by(&[("c0", down), ("code", up)]),
    ] {
        let theirs = codes(&there(&primary, &filter, None, 1000).await);
        assert_eq!(codes(&here(&node, &filter, None, 1000).await), theirs, "{:?}", filter.order);
        for size in [1, 2, 5, 1000] {
            assert_eq!(paged(&node, &primary, &filter, size).await, theirs, "{size}");
        }
    }
    let wrong = Filter { order: vec![("fax".into(), up)], ..Filter::default() };
    assert!(primary.list(1, &wrong, None, 1).await.unwrap_err().is_invalid_data());
}

/// What only one side can hold reads as NULL, and stands in the order where that side has it: a page goes on
/// behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_goes_on_behind_what_cannot_be_read() {
    let scene = scene(shared().unwrap());
    let kinds = [("d", LogicalType::Double), ("at", LogicalType::Timestamp)];
    let data = kinds.map(|(name, kind)| Column::new(name, kind, Role::Data));
    let mut columns = vec![Column::new("code", LogicalType::BigInt, Role::Key)];
    columns.extend(data);
    let tables: Arc<[Table]> = [users(), Table::declare("things", columns).unwrap()].into();
    let node = Node::keeping(&scene.database.url(), &scene.path("bot.db"), tables.clone()).await;
    node.sync().await;
    let pool = pool(&scene, tables.clone()).await;
    let session = pool.get().await.unwrap();
    let primary = session.primary(node.state().await.file).unwrap();
    scene.sql(
        "INSERT INTO things VALUES (1, 'NaN', '2025-01-01'), (2, 1, 'infinity'), (3, NULL, NULL), \
         (4, 'NaN', '-infinity'), (5, 2, '2025-01-02'), (6, NULL, 'infinity')",
    );
    node.script(
        "INSERT INTO things VALUES (11, 'x', 'soon'), (12, 1, '2025-01-01T10:00:00'), \
         (13, NULL, NULL), (14, 'y', '2025-01-01 11:00:00'), (15, 2, 'later')",
    );
    let filters = ["d", "-d", "at", "-at"]
        .map(|text| Filter::default().order_by_text(&tables[1], text).unwrap());
    for filter in filters {
        let order = |row: &Record| {
            let values = filter.order.iter().map(|(name, _)| row.value(&tables[1], name).unwrap());
            After { order: values.collect(), key: row.key.clone() }
        };
        let theirs = there(&primary, &filter, None, 100).await;
        let (mut seen, mut from) = (Vec::new(), None);
        while let Some(row) = there(&primary, &filter, from.as_ref(), 1).await.pop() {
            from = Some(order(&row));
            seen.push(row);
        }
        assert_eq!((codes(&seen), seen.len()), (codes(&theirs), 6), "{:?}", filter.order);
        let ours = here(&node, &filter, None, 100).await;
        let (mut seen, mut from) = (Vec::new(), None);
        while let Some(row) = here(&node, &filter, from.as_ref(), 1).await.pop() {
            from = Some(order(&row));
            seen.push(row);
        }
        assert_eq!((codes(&seen), seen.len()), (codes(&ours), 5), "{:?}", filter.order);
    }
}
