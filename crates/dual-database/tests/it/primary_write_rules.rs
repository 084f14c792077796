//! Any history of writes beside what the pure code makes of it.

use dual_database::merge::{Change, Defaults, Version, written};
use dual_database::schema::{RowId, Table, users};
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::postgres::primary::Header;
use dual_database::value::Value;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use throwaway_postgres::shared;

use crate::primary_scene::{FILE, Scene, id as user, text};

/// A change of a random row, and the column where it changes one.
fn changes() -> impl Strategy<Value = Vec<(i64, u8, usize, u8)>> {
    prop::collection::vec((1i64..5, 0u8..3, 0usize..3, 0u8..3), 1..4)
}

fn rows_of(history: &[(i64, u8, usize, u8)]) -> Vec<(RowId, Change)> {
    let mut once = std::collections::BTreeSet::new();
    let value = |number: u8| if number == 0 { Value::Null } else { text(&number.to_string()) };
    let change = |what: u8, column: usize, number: u8| match what {
        0 => {
            let mut values = users().defaults();
            values[column] = value(number);
            Change::Insert(values)
        }
        1 => Change::Update(vec![(column, value(number))]),
        _ => Change::Delete,
    };
    let row = |(key, what, column, number): &(i64, u8, usize, u8)| {
        (user(*key), change(*what, *column, *number))
    };
    history.iter().filter(|(key, ..)| once.insert(*key)).map(row).collect()
}

/// What the pure code says that a write does.
fn oracle(
    state: &std::collections::BTreeMap<RowId, Version>,
    changes: &[(RowId, Change)],
    stamp: Stamp,
    header: &Header,
    table: &Table,
) -> Option<std::collections::BTreeMap<RowId, Version>> {
    use dual_database::merge::{Admission, admit};
    let defaults = Defaults::new(table.defaults());
    let mut after = state.clone();
    for (id, change) in changes {
        let existing = state.get(id);
        let alive = existing.is_some_and(|version| version.live.value);
        if alive == matches!(change, Change::Insert(_)) {
            return None;
        }
        let now = header.now_ms;
        if admit(existing, change, stamp, header.horizon, now) != Admission::Admit {
            return None;
        }
        after.insert(id.clone(), written(existing, change, stamp, header.horizon, &defaults));
    }
    Some(after)
}

#[test]
fn any_history_of_writes_agrees_with_the_pure_code() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scene = runtime.block_on(Scene::on(shared().unwrap(), vec![users()]));
    let mut runner = TestRunner::new(Config { cases: 24, ..Config::default() });
    let histories = prop::collection::vec((changes(), 0i64..4), 1..8);
    runner
        .run(&histories, |history| {
            runtime.block_on(async {
                scene.sql("DELETE FROM users");
                scene.sql("DELETE FROM dual.side_users");
                let session = scene.session().await;
                let primary = session.primary(FILE).unwrap();
                let header = primary.header().await.unwrap();
                let mut state = std::collections::BTreeMap::new();
                for (changes, ms) in history {
                    let changes = rows_of(&changes);
                    let stamp = Stamp::at(header.now_ms + ms, Writer::new(9).unwrap());
                    let expected = oracle(&state, &changes, stamp, &header, &users());
                    let answer = primary.write(&changes, stamp, &[]).await.unwrap();
                    match expected {
                        None => assert!(answer.is_err(), "{changes:?} at {stamp}"),
                        Some(after) => {
                            for row in answer.unwrap().rows {
                                assert_eq!(Some(&row.row.version), after.get(&row.row.id));
                            }
                            state = after;
                        }
                    }
                    for (id, version) in &state {
                        let row = primary.row(id).await.unwrap().unwrap();
                        assert_eq!(&row.version, version, "{id:?}");
                    }
                }
            });
            Ok(())
        })
        .unwrap();
}
