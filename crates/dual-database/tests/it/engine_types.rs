//! Every type goes round: what a caller gives is what both stores have, however it got there.

use std::sync::Arc;

use dual_database::merge::{Change, Register};
use dual_database::schema::{
    Column, Dialect, Key, LogicalType, Role, RowId, Table, literal, users,
};
use dual_database::store::postgres::{Settings, primary::Pool};
use dual_database::value::{RangeHasher, Value, canonical_bytes, parse_timestamp_text};
use throwaway_postgres::shared;

use crate::engine_scene::{Node, Scene, limits};

/// A new type gets its line.
fn types() -> [(LogicalType, Vec<Value>); 5] {
    let text = |text: &str| Value::from(text);
    let at = |text| Value::Timestamp(parse_timestamp_text(text).unwrap());
    let whole = |numbers: &[i64]| numbers.iter().map(|number| Value::from(*number)).collect();
    [
        (LogicalType::Bool, vec![true.into(), false.into()]),
        (LogicalType::Int, whole(&[i32::MIN.into(), -1, 0, i32::MAX.into()])),
        (LogicalType::BigInt, whole(&[i64::MIN, -1, 0, i64::MAX])),
        (
            LogicalType::Text,
            vec![
                text(""),
                text(" 'Ёж\"\\N\r\n\u{1}{}' "),
                text("NULL"),
                text("1e3"),
                text("\u{feff}e\u{301}\u{10ffff}"),
                "я".repeat(70_000).into(),
            ],
        ),
        (
            LogicalType::Timestamp,
            vec![
                at("0001-01-01"),
                at("1969-12-31 23:59:59.999999"),
                at("2024-02-29 12:00:00.100000"),
                at("9999-12-31 23:59:59.999999"),
            ],
        ),
    ]
}

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

#[tokio::test(flavor = "multi_thread")]
async fn extreme_values_of_every_type_go_round() {
    let scene = Scene::on(shared().unwrap());
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
                first.sync().await;
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
        let has = |columns: &[Register<Value>]| {
            columns.iter().map(|column| column.value.clone()).collect::<Vec<_>>()
        };
        assert!(has(&remote.version.columns) == values, "PostgreSQL, row {row}");
        for node in [&first, &second] {
            let id = id.clone();
            let local = node.look(move |content| content.row(&id)).await.unwrap();
            assert!(has(&local.tracked.version.columns) == values, "a file, row {row}");
            assert_eq!(local.unreadable, None);
        }
        // A file keeps the canonical texts, and PostgreSQL makes the same.
        let texts: Vec<Option<String>> = [vec![Value::Int(row)], values]
            .concat()
            .iter()
            .map(|value| Some(String::from_utf8(canonical_bytes(value)?.into_owned()).unwrap()))
            .collect();
        for node in [&first, &second] {
            assert!(node.rows(things)[&row] == texts, "a file, row {row}");
        }
        let mut canonical = RangeHasher::default();
        canonical.row_of(texts);
        let (after, upto) = (Key::from(row - 1), Key::from(row));
        let digest = primary.range_digest(1, Some(&after), Some(&upto)).await.unwrap();
        assert_eq!(digest, canonical.finish(), "row {row}");
    }
    assert_eq!(scene.conflicts(), Vec::<Vec<_>>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_program_s_update_stamps_the_columns_that_it_changes_on_either_side() {
    let scene = Scene::on(shared().unwrap());
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
                assert_eq!(before[at] != after[at], last[at] != row[at], "{side:?}, column {at}");
            }
            last = row;
        }
    }
}
