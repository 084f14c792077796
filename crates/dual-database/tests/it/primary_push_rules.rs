//! What the model's `push` leaves in memory, and what the server has after the same pushes.

use std::collections::BTreeMap;

use dual_database::merge::{
    Bases, Conflict, Defaults, Register, Tracked, Version, conflicts, merge, overwritten,
};
use dual_database::protocol::reconcile::{Unknown, given, is_nobodys, risen, unknown};
use dual_database::stamp::Stamp;
use dual_database::store::postgres::primary::PushEnd;
use dual_database::value::Value;
use proptest::prelude::*;
use throwaway_postgres::shared;

use crate::capture_oracle::visits;
use crate::primary_scene::{FILE, File, Scene, id, state, text};

const KEYS: i64 = 4;

fn value(at: usize) -> BoxedStrategy<Value> {
    let some = match at {
        0 => (0i64..3).prop_map(Value::Int).boxed(),
        1 => prop_oneof![Just(text("it's new")), Just(text("a")), Just(text("Ё"))].boxed(),
        2 => any::<bool>().prop_map(Value::Bool).boxed(),
        _ => Just(Value::Timestamp(jiff::civil::date(2025, 8, 7).at(9, 0, 1, 500_000_000))).boxed(),
    };
    prop_oneof![3 => some, 1 => Just(Value::Null)].boxed()
}

/// Few stamps, so that they meet; as offsets.
fn stamp() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![1 => Just(None), 6 => (0i64..6).prop_map(Some)]
}

type Draft = (bool, Option<i64>, Vec<(Option<i64>, Value)>, Vec<Option<Option<i64>>>);

fn draft() -> impl Strategy<Value = Draft> {
    let columns: Vec<_> = (0..4).map(|at| (stamp(), value(at))).collect();
    let bases = prop::collection::vec(prop::option::of(stamp()), 5);
    (any::<bool>(), stamp(), columns, bases)
}

fn batches() -> impl Strategy<Value = Vec<(Option<bool>, BTreeMap<i64, Draft>)>> {
    let batch = prop::collection::btree_map(0..KEYS, draft(), 1..4);
    prop::collection::vec((prop::option::of(any::<bool>()), batch), 1..6)
}

type Told = Vec<(i64, Conflict)>;

/// A port of the model's `Primary::push`.
fn model(
    rows: &mut BTreeMap<i64, Version>,
    batch: &BTreeMap<i64, Tracked>,
    comparison: Option<bool>,
    horizon: Stamp,
    defaults: &Defaults,
) -> (Vec<i64>, Told, bool) {
    let (mut gone, mut log, mut rose) = (Vec::new(), Vec::new(), false);
    for (key, row) in batch {
        let (version, logged) = match rows.get(key) {
            Some(existing) => {
                let mut logged = conflicts(&row.version, &row.bases, existing);
                if comparison == Some(false) {
                    logged.extend(overwritten(existing, &row.version, &row.bases));
                    logged.extend(overwritten(&row.version, existing, &Bases::default()));
                }
                logged.retain(|one| !is_nobodys(one, row, existing, defaults));
                let own = match comparison.unwrap_or(true) {
                    true => row.against(existing),
                    false => row.version.clone(),
                };
                let merged = merge(existing, &own);
                (merged.left_is_behind.then_some(merged.version), logged)
            }
            None => match (unknown(row, horizon), comparison) {
                (Unknown::Delete, _) => {
                    gone.push(*key);
                    continue;
                }
                (Unknown::Give, None) if row.bases.live.is_none() => {
                    gone.push(*key);
                    continue;
                }
                (Unknown::GiveAndLog, _) => {
                    let (version, logged) = risen(&row.version, horizon, 0);
                    rose = true;
                    (Some(version), logged.into_iter().collect())
                }
                (Unknown::Give, _) => (Some(given(&row.version, horizon)), Vec::new()),
            },
        };
        log.extend(logged.into_iter().map(|conflict| (*key, conflict)));
        if let Some(version) = version {
            rows.insert(*key, version.stored(defaults));
        }
    }
    log.sort_unstable();
    log.dedup();
    (gone, log, rose)
}

#[test]
fn any_pushes_leave_the_same() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scene = runtime.block_on(Scene::on(shared().unwrap(), vec![visits()]));
    let session = runtime.block_on(scene.session());
    let primary = session.primary(FILE).unwrap();
    let file = runtime.block_on(File::of(&primary, 7));
    let defaults = Defaults::new(visits().defaults());
    let stamped = |at: Option<i64>| at.map_or(Stamp::ZERO, |ms| file.at(ms));
    let tracked = |(alive, life, columns, bases): Draft| {
        // Who lives has a birth; without one a row would count as absent.
        let life = life.or(alive.then_some(0));
        let live = Register { stamp: stamped(life), value: alive };
        let columns = columns
            .into_iter()
            .map(|(stamp, value)| Register { stamp: stamped(stamp), value })
            .collect();
        let version = Version { live, columns }.stored(&defaults);
        let mut bases = bases.into_iter().map(|base| base.map(stamped));
        let bases = Bases { live: bases.next().flatten(), columns: bases.collect() };
        Tracked { version, bases }
    };
    let config = ProptestConfig::with_cases(150);
    proptest!(config, |(horizon in prop::option::of(0i64..6), batches in batches())| {
        let horizon = stamped(horizon);
        scene.sql(&format!(
            "TRUNCATE visits, dual.side_visits, dual.conflict; \
             UPDATE dual.installation SET horizon = {}", horizon.raw()
        ));
        let mut rows = BTreeMap::new();
        for (comparison, batch) in batches {
            let batch: BTreeMap<i64, Tracked> =
                batch.into_iter().map(|(key, draft)| (key, tracked(draft))).collect();
            let (gone, log, rose) = model(&mut rows, &batch, comparison, horizon, &defaults);
            let pushes: Vec<_> =
                batch.iter().rev().map(|(key, row)| (id(*key), row.clone())).collect();
            let end = runtime.block_on(primary.push(&pushes, comparison, None)).unwrap();
            let PushEnd::Done(pushed) = end else { panic!("ahead") };
            prop_assert_eq!(&pushed.refused, &vec![]);
            let now: BTreeMap<i64, Version> = runtime
                .block_on(state(&primary, 0))
                .into_iter()
                .map(|(key, row)| {
                    assert_eq!(row.unreadable, None);
                    (key, row.version)
                })
                .collect();
            let gone_there: Vec<i64> = pushed.gone.iter().map(|id| id.key.number().unwrap()).collect();
            prop_assert_eq!(gone_there, gone);
            if rose {
                // Its stamp is of the server's clock.
                rows = now;
                continue;
            }
            prop_assert_eq!(&now, &rows);
            let mut told: Told =
                pushed.conflicts.iter().map(|(id, one, ..)| (id.key.number().unwrap(), *one)).collect();
            told.sort_unstable();
            prop_assert_eq!(told, log);
        }
    });
}
