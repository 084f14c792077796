//! What the pure rules say that a change leaves in a sidecar, compared with what it left.

use std::collections::{BTreeMap, BTreeSet};

use dual_database::merge::{Bases, Change, Defaults, Register, Tracked, Version};
use dual_database::schema::{Column, LogicalType, Role, Table};
use dual_database::stamp::{Stamp, Writer, captured};
use dual_database::value::Value;

/// A second table: nothing in capture knows it.
pub fn visits() -> Table {
    let column =
        |name: &str, kind, role, default| Column { default, ..Column::new(name, kind, role) };
    let columns = vec![
        column("id", LogicalType::BigInt, Role::Surrogate, None),
        column("visit_id", LogicalType::Int, Role::Key, None),
        column("guest", LogicalType::BigInt, Role::Data, None),
        column("note", LogicalType::Text, Role::Data, Some(Value::Text("it's new".into()))),
        column("paid", LogicalType::Bool, Role::Data, Some(Value::Bool(false))),
        column("at \"now\"", LogicalType::Timestamp, Role::Data, None),
    ];
    Table::declare("visits", columns).unwrap()
}

/// A table with its sidecar; every value as the text that its store prints.
pub type State = BTreeMap<i64, Tracked>;

pub fn version(live: bool, stamps: &[i64], values: &[Option<String>]) -> Version {
    let stamp = |at: usize| Stamp::from_raw(stamps[at]).unwrap();
    let columns = values.iter().enumerate().map(|(at, value)| Register {
        stamp: stamp(at + 1),
        value: value.clone().map_or(Value::Null, Value::Text),
    });
    Version { live: Register { stamp: stamp(0), value: live }, columns: columns.collect() }
}

pub struct Oracle {
    pub defaults: Defaults,
    pub horizon: Stamp,
    pub writer: Writer,
    /// Whether the store keeps what is pending.
    pub pending: bool,
}

impl Oracle {
    /// Compares the state after a change with what it has to be. `reborn` are keys that lived
    /// before and after but were inserted anew. `clock` is when the change can have happened.
    pub fn check(
        &self,
        before: &State,
        after: &State,
        reborn: &BTreeSet<i64>,
        clock: (i64, i64),
        what: &str,
    ) {
        let keys: BTreeSet<i64> = before.keys().chain(after.keys()).copied().collect();
        for key in keys {
            let row = before.get(&key);
            let was = row.map(|row| &row.version);
            let Some(found) = after.get(&key) else { panic!("{what}: key {key} left the sidecar") };
            let is = &found.version;
            let lived = was.is_some_and(|version| version.live.value);
            let change = match (lived, is.live.value) {
                (true, true) if !reborn.contains(&key) => {
                    let was = was.unwrap();
                    let changed = is.columns.iter().zip(&was.columns).enumerate();
                    Change::Update(
                        changed
                            .filter(|(_, (is, was))| is.value != was.value)
                            .map(|(at, (is, _))| (at, is.value.clone()))
                            .collect(),
                    )
                }
                (_, true) => {
                    Change::Insert(is.columns.iter().map(|column| column.value.clone()).collect())
                }
                (true, false) => Change::Delete,
                (false, false) if was.is_some() => {
                    assert_eq!(was, Some(is), "{what}: key {key} was dead and is touched");
                    continue;
                }
                (false, false) => Change::Delete,
            };
            let window = |replaced: Stamp, stamp: Stamp| {
                let least = captured(clock.0, replaced, self.writer);
                let most = captured(clock.1, replaced, self.writer);
                assert!(least <= stamp && stamp <= most, "{what}: {least} {stamp} {most}");
            };
            // Of what was purged PostgreSQL knows that it lay below the horizon.
            let unseen = match (lived, self.pending) {
                (false, false) => self.horizon,
                _ => Stamp::ZERO,
            };
            let replaces = |change: &Change| row.map_or(unseen, |row| row.replaces(change));
            let mut expected = match &change {
                Change::Update(columns) => {
                    let first = columns.first().map_or(Stamp::ZERO, |(at, _)| is.stamp_of(*at));
                    let mut expected =
                        Tracked::changed(row, &change, first, self.horizon, &self.defaults);
                    for (at, value) in columns {
                        // PostgreSQL raises each column by itself, the file all of them.
                        let change = match self.pending {
                            true => change.clone(),
                            false => Change::Update(vec![(*at, value.clone())]),
                        };
                        window(replaces(&change), is.stamp_of(*at));
                        if !self.pending {
                            expected.version.columns[*at].stamp = is.stamp_of(*at);
                        }
                    }
                    expected
                }
                _ => {
                    window(replaces(&change), is.live.stamp);
                    let stamp = is.live.stamp;
                    Tracked::changed(row, &change, stamp, self.horizon, &self.defaults)
                }
            };
            if !self.pending {
                expected.bases = Bases::default();
            }
            assert_eq!(&expected, found, "{what}: key {key}, {change:?}\nbefore {row:#?}");
        }
    }
}
