//! Every type goes round: what a caller gives is what both stores have, however it got there.

use std::sync::Arc;

use dual_database::merge::{Change, Register};
use dual_database::schema::{
    Column, Dialect, Key, LogicalType, Role, RowId, Table, literal, users,
};
use dual_database::store::postgres::{Settings, primary::Pool};
use dual_database::store::sqlite::to_sqlite;
use dual_database::value::{RangeHasher, Value, canonical_bytes};
use rusqlite::types::Value::{Integer, Real};
use throwaway_postgres::{Server, Version, shared, shared_with};

use crate::engine_scene::{Node, limits};
use crate::primary_scene::OLDEST_AND_NEWEST;
use crate::types_scene::{scene, types};

/// Beside the built-in table, as the second one, a column for each type.
fn tables() -> Arc<[Table]> {
    let data = types().into_iter().enumerate();
    let data = data.map(|(at, (kind, _))| Column::new(format!("c{at}"), kind, Role::Data));
    let mut columns = vec![Column::new("code", LogicalType::BigInt, Role::Key)];
    columns.extend(data);
    [users(), Table::declare("things", columns).unwrap()].into()
}

/// Rows that have every value of every type; where a type has fewer, NULL.
fn rows() -> Vec<Vec<Value>> {
    let types = types();
    let longest = types.iter().map(|(_, values)| values.len()).max().unwrap();
    let of = |values: &Vec<Value>, row: usize| values.get(row).cloned().unwrap_or(Value::Null);
    (0..=longest).map(|row| types.iter().map(|(_, values)| of(values, row)).collect()).collect()
}

/// The columns in which the values differ.
fn differing(found: &[Value], expected: &[Value]) -> Vec<(usize, Value, Value)> {
    let pairs = found.iter().zip(expected).enumerate().filter(|(_, (one, other))| one != other);
    pairs.map(|(at, (one, other))| (at, one.clone(), other.clone())).collect()
}

async fn go_round(server: &'static Server) {
    let scene = scene(server);
    let url = scene.database.url();
    let first = Node::keeping(&url, &scene.path("first.db"), tables()).await;
    let second = Node::keeping(&url, &scene.path("second.db"), tables()).await;
    first.sync().await;
    second.sync().await;
    let pool = Pool::new(Settings::parse(&url).unwrap(), limits(), tables(), 4);
    pool.prepare().await.unwrap();
    let session = pool.get().await.unwrap();
    let primary = session.primary(first.state().await.file).unwrap();

    // The odd ones go into a file, are pushed, and pulled into the other file; the even ones are written
    // to PostgreSQL, and pulled into both. Each is first something else.
    let blank = vec![Value::Null; types().len()];
    for (row, values) in (1_i64..).zip(rows()) {
        for ((kind, _), value) in types().into_iter().zip(&values) {
            assert_eq!(kind.accept(value.clone()).as_ref(), Ok(value));
        }
        let update = Change::Update(values.into_iter().enumerate().collect());
        for change in [Change::Insert(blank.clone()), update] {
            if row % 2 == 1 {
                first.change(1, row, change).await;
                let exchange = first.sync().await;
                let why = first.look(|content| content.quarantine()).await;
                assert_eq!(exchange.quarantined, 0, "row {row}: {why:?}");
            } else {
                let stamp = first.shared.clock().propose(Default::default());
                let written = primary.write(&[(RowId::new(1, row), change)], stamp, &[]).await;
                written.unwrap().unwrap();
            }
        }
    }
    first.sync().await;
    second.sync().await;

    let things = &tables()[1];
    for (row, values) in (1_i64..).zip(rows()) {
        let id = RowId::new(1, row);
        let remote = primary.row(&id).await.unwrap().unwrap();
        assert_eq!(remote.unreadable, None, "row {row}");
        let has = |columns: &[Register<Value>]| {
            columns.iter().map(|column| column.value.clone()).collect::<Vec<_>>()
        };
        let wrong = differing(&has(&remote.version.columns), &values);
        assert!(wrong.is_empty(), "PostgreSQL, row {row}: {wrong:?}");
        // Nobody but the call has set it.
        let stamps = || remote.version.columns.iter().map(|column| column.stamp);
        assert!(stamps().max() == stamps().min(), "row {row}: {:?}", remote.version.columns);
        for node in [&first, &second] {
            let id = id.clone();
            let local = node.look(move |content| content.row(&id)).await.unwrap();
            let wrong = differing(&has(&local.tracked.version.columns), &values);
            assert!(wrong.is_empty(), "a file, row {row}: {wrong:?}");
            assert_eq!(local.unreadable, None);
            assert_eq!(local.tracked.version, remote.version, "row {row}");
            // A file keeps the canonical form.
            for (at, value) in values.iter().enumerate() {
                let kept: rusqlite::types::Value =
                    node.one(&format!("SELECT c{at} FROM things WHERE code = {row}"));
                let expected = match (&things.columns()[at + 1].kind, value) {
                    // In a column that makes binary numbers of it.
                    (LogicalType::Decimal(_), Value::Text(text)) => text.parse::<f64>().unwrap(),
                    _ => {
                        assert_eq!(kept, to_sqlite(value), "a file, row {row}, column {at}");
                        continue;
                    }
                };
                assert!(
                    matches!(kept, Real(found) if found == expected)
                        || kept == Integer(expected as i64)
                );
            }
        }
        // PostgreSQL makes the same texts.
        let with_key = [vec![Value::Int(row)], values].concat();
        let mut canonical = RangeHasher::default();
        canonical.row_of(with_key.iter().map(canonical_bytes));
        let (after, upto) = (Key::from(row - 1), Key::from(row));
        let digest = primary.range_digest(1, Some(&after), Some(&upto)).await.unwrap();
        assert_eq!(digest, canonical.finish(), "row {row}");
    }
    assert_eq!(scene.conflicts(), Vec::<Vec<_>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn extreme_values_of_every_type_go_round() {
    go_round(shared().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn they_do_on_the_oldest_and_the_newest_server_too() {
    for version in OLDEST_AND_NEWEST {
        go_round(shared_with(&Version::exact(version)).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_program_s_update_stamps_the_columns_that_it_changes_on_either_side() {
    let scene = scene(shared().unwrap());
    let node = Node::keeping(&scene.database.url(), &scene.path("bot.db"), tables()).await;
    let columns: Vec<String> = (0..types().len()).map(|at| format!("c{at}")).collect();
    for (code, side) in [(1, Dialect::Postgres), (2, Dialect::Sqlite)] {
        node.change(1, code, Change::Insert(vec![Value::Null; types().len()])).await;
        node.sync().await;
        let update = |values: &[Value]| {
            let set = columns.iter().zip(values);
            let set: Vec<_> = set.map(|(c, v)| format!("{c} = {}", literal(v, side))).collect();
            let update = format!("UPDATE things SET {} WHERE code = {code}", set.join(", "));
            match side {
                Dialect::Postgres => drop(scene.sql(&update)),
                Dialect::Sqlite => node.script(&update),
            }
        };
        let stamps = || {
            let stamps: Vec<_> =
                columns.iter().map(|c| format!("coalesce(s_{c}, stamp)")).collect();
            let stamps = stamps.join(" || ' ' || ");
            let of = |sidecar| format!("SELECT {stamps} FROM {sidecar} WHERE key = {code}");
            let remote = scene.one(&of("dual.side_things"));
            assert_eq!(remote, node.one::<String>(&of("dual_side_things")));
            remote.split(' ').map(str::to_owned).collect::<Vec<_>>()
        };
        let mut last = vec![Value::Null; types().len()];
        for row in rows() {
            let before = stamps();
            update(&last);
            node.sync().await;
            assert_eq!(stamps(), before);
            update(&row);
            node.sync().await;
            let after = stamps();
            for at in 0..row.len() {
                let (was, is) = (&last[at], &row[at]);
                assert_eq!(
                    before[at] != after[at],
                    was != is,
                    "{side:?}, column {at}: {was:?} {is:?}"
                );
            }
            last = row;
        }
    }
}
