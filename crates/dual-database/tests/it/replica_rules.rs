//! What the pure rules make of a row, beside what the file has of it.

use std::collections::BTreeMap;

use dual_database::Result;
use dual_database::merge::{Change, Tracked, Version};
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::sqlite::replica::Content;
use dual_database::value::Value;
use proptest::prelude::*;

use crate::replica_scene::{Scene, defaults, id};

#[derive(Clone, Debug)]
enum Step {
    /// A change made here, at that time.
    Change(i64, Change, i64),
    /// An outside client's statement.
    Outside(i64, Option<i64>),
    /// PostgreSQL's row, from nothing, with that note and at that time.
    Pull(i64, Change, i64, bool),
    /// Everything was pushed.
    Acknowledge,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || 1i64..4;
    let text = || "[ab]".prop_map(Value::Text);
    let change = move || {
        prop_oneof![
            (text(), any::<bool>()).prop_map(|(note, paid)| Change::Insert(vec![
                Value::Null,
                note,
                Value::Bool(paid),
                Value::Null
            ])),
            text().prop_map(|note| Change::Update(vec![(1, note)])),
            any::<bool>().prop_map(|paid| Change::Update(vec![(2, Value::Bool(paid))])),
            Just(Change::Delete),
        ]
    };
    prop_oneof![
        (key(), change(), 0i64..40).prop_map(|(key, change, ms)| Step::Change(key, change, ms)),
        (key(), prop::option::of(0i64..3)).prop_map(|(key, guest)| Step::Outside(key, guest)),
        (key(), change(), 0i64..40, any::<bool>())
            .prop_map(|(key, change, ms, intact)| Step::Pull(key, change, ms, intact)),
        Just(Step::Acknowledge),
    ]
}

fn at(ms: i64, writer: u16) -> Stamp {
    Stamp::at(1_700_000_000_000 + ms, Writer::new(writer).unwrap())
}

/// Does the step in the file and in `rows`.
fn run(content: &Content<'_>, rows: &mut BTreeMap<i64, Tracked>, step: &Step) -> Result<()> {
    match step {
        Step::Change(key, change, ms) => {
            let seen = rows.get(key);
            let lives = seen.is_some_and(|row| row.version.live.value);
            // A delete of what is dead comes from nobody.
            if lives || matches!(change, Change::Insert(_)) {
                let replaces = seen.map_or(Stamp::ZERO, |row| row.replaces(change));
                let stamp = at(*ms, 5).max(replaces.next(Writer::new(5).unwrap()));
                let row = Tracked::changed(seen, change, stamp, Stamp::ZERO, &defaults());
                content.change(&id(*key), change, stamp)?;
                rows.insert(*key, row);
            }
        }
        Step::Outside(key, guest) => {
            let sql = match guest {
                Some(guest) => format!(
                    "INSERT OR REPLACE INTO visits (visit_id, guest) VALUES ({key}, {guest})"
                ),
                None => format!("DELETE FROM visits WHERE visit_id = {key}"),
            };
            content.connection().execute_batch(&sql).unwrap();
            if let Some(row) = content.row(&id(*key))? {
                rows.insert(*key, row.tracked);
            }
        }
        Step::Pull(key, change, ms, intact) => {
            let base = written(rows, *key, *ms);
            let there = dual_database::merge::written(
                base.as_ref(),
                change,
                at(*ms, 0),
                Stamp::ZERO,
                &defaults(),
            );
            let absorbed = Tracked::absorb(rows.get(key), &there, *intact, &defaults());
            let before = content.row(&id(*key))?;
            let seq = before.as_ref().map(|row| row.seq);
            content.take(&id(*key), before.as_ref(), Some(&there), &absorbed, None)?;
            if absorbed.changed || absorbed.other_is_behind {
                rows.insert(*key, absorbed.row);
            }
            let after = content.row(&id(*key))?.unwrap().seq;
            let waited = seq.unwrap_or(0) > content.node()?.pushed;
            assert!(after == seq.unwrap_or(0) || (absorbed.other_is_behind && !waited));
        }
        Step::Acknowledge => {
            for (id, row) in content.pending(0, true)?.rows {
                let mut tracked = row.tracked.clone();
                tracked.acknowledge(&row.tracked.version);
                content.set_tracked(&id, &tracked)?;
                rows.insert(id.key.number().unwrap(), tracked);
            }
            let mut node = content.node()?;
            node.pushed = node.seq;
            content.set_node(&node)?;
        }
    }
    Ok(())
}

/// What PostgreSQL may have had before: nothing, or what the file has.
fn written(rows: &BTreeMap<i64, Tracked>, key: i64, ms: i64) -> Option<Version> {
    rows.get(&key).filter(|_| ms % 2 == 0).map(|row| row.version.clone())
}

#[test]
fn the_file_follows_the_rules() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let config = ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..40))| {
        let scene = runtime.block_on(Scene::new());
        let outcome = runtime.block_on(scene.go(move |content| {
            let mut rows = BTreeMap::new();
            for step in &steps {
                run(content, &mut rows, step)?;
                for (key, tracked) in &rows {
                    let mut found = content.row(&id(*key))?.unwrap().tracked;
                    let mut wanted = tracked.clone();
                    wanted.bases.columns.resize(4, None);
                    found.bases.columns.resize(4, None);
                    if found != wanted {
                        return Ok(Err(format!("{step:?}: {found:#?}\n{wanted:#?}")));
                    }
                }
            }
            Ok(Ok(()))
        }));
        prop_assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
    });
}
