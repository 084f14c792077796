//! What a write does to the registers of a row, and whether a store may take it.

use super::{Register, Version};
use crate::stamp::Stamp;
use crate::value::Value;

/// A change of one row, as a caller or an outside client makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The whole new row, defaults filled in. Also what `INSERT OR REPLACE` does.
    Insert(Vec<Value>),
    /// The columns that get another value, by position.
    Update(Vec<(usize, Value)>),
    /// The row goes.
    Delete,
}

/// The declared defaults of the columns, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults(Vec<Value>);

impl Defaults {
    /// The defaults of a table; NULL where none is declared.
    #[must_use]
    pub fn new(values: Vec<Value>) -> Defaults {
        Defaults(values)
    }

    /// How many columns the table has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The default of the column at that position.
    #[must_use]
    pub fn of(&self, column: usize) -> &Value {
        self.0.get(column).unwrap_or(&Value::Null)
    }

    /// Whether nothing was said about the column: NULL, or its default.
    #[must_use]
    pub fn says_nothing(&self, column: usize, value: &Value) -> bool {
        value.is_null() || value == self.of(column)
    }
}

impl Change {
    /// The highest stamp that the change replaces in a store that has `existing`: what it is
    /// stamped with has to lie above it.
    ///
    /// An update counts the row's insert too: it must not slip under the life that it changes.
    #[must_use]
    pub fn replaces(&self, existing: Option<&Version>) -> Stamp {
        let Some(existing) = existing else { return Stamp::ZERO };
        match self {
            Change::Insert(_) | Change::Delete => existing.highest(),
            Change::Update(columns) => columns
                .iter()
                .map(|(column, _)| existing.stamp_of(*column))
                .fold(existing.live.stamp, Stamp::max),
        }
    }
}

/// The row after a change that carries `stamp`.
///
/// An insert over anything that the sidecar has seen, a tombstone above all, stamps every
/// column: the new person must not inherit the dead row's telephone. Over a key that it has
/// never seen, a column about which nothing was said gets `unseen`: the store's purge horizon,
/// [`Stamp::ZERO`] before the first purge. (Zero after a purge would lose to whatever stamps
/// of the purged life another store still has.)
#[must_use]
pub fn written(
    existing: Option<&Version>,
    change: &Change,
    stamp: Stamp,
    unseen: Stamp,
    defaults: &Defaults,
) -> Version {
    match (change, existing) {
        (Change::Insert(values), _) => {
            let columns = values.iter().enumerate().map(|(position, value)| {
                let silent = existing.is_none() && defaults.says_nothing(position, value);
                Register { stamp: if silent { unseen } else { stamp }, value: value.clone() }
            });
            Version { live: Register { stamp, value: true }, columns: columns.collect() }
        }
        (Change::Update(columns), Some(existing)) => {
            let mut version = existing.clone();
            for (position, value) in columns {
                if let Some(register) = version.columns.get_mut(*position) {
                    *register = Register { stamp, value: value.clone() };
                }
            }
            version
        }
        (Change::Delete, Some(existing)) => {
            let live = Register { stamp, value: false };
            Version { live, columns: existing.columns.clone() }.stored(defaults)
        }
        // A tombstone of a row that was never here.
        (_, None) => {
            let live = Register { stamp, value: false };
            Version { live, columns: Vec::new() }.stored(defaults)
        }
    }
}

/// What PostgreSQL does with a library's write that carries a proposed stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Execute it under the proposed stamp.
    Admit,
    /// Leave everything as it is and say so: something above the proposal is already there.
    /// A caller who still waits proposes again, above `above`; a statement whose caller has
    /// gone loses, as it should.
    Stale {
        /// What the next proposal has to exceed.
        above: Stamp,
    },
    /// Leave everything as it is: the proposal is too far ahead of PostgreSQL's clock.
    Ahead,
}

/// Whether a library's write may be executed.
///
/// Raising a low proposal instead (`greatest(proposal, next(existing))`) would let a statement
/// that was stuck win against a later write of the same caller that has reached PostgreSQL by
/// then. A proposal below the purge horizon is refused too: nothing is known there any more.
#[must_use]
pub fn admit(
    existing: Option<&Version>,
    change: &Change,
    proposal: Stamp,
    horizon: Stamp,
    now_unix_ms: i64,
) -> Admission {
    let above = change.replaces(existing).max(horizon);
    if proposal <= above {
        Admission::Stale { above }
    } else if proposal.is_ahead_of(now_unix_ms) && !above.is_ahead_of(now_unix_ms) {
        Admission::Ahead
    } else {
        Admission::Admit
    }
}

/// Whether a file may take a direct write, or the fall-back of one whose answer was lost after
/// PostgreSQL was read: only if it misses nothing of what PostgreSQL had in the row
/// (`previous`, before the write). Otherwise half of somebody's transaction would show.
#[must_use]
pub fn misses_none(local: Option<&Version>, previous: Option<&Version>) -> bool {
    match (local, previous) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(local), Some(previous)) => {
            local.live.stamp >= previous.live.stamp
                && (0..previous.columns.len())
                    .all(|column| local.stamp_of(column) >= previous.stamp_of(column))
        }
    }
}

/// Whether a file may take the fall-back of a transaction that read this row at PostgreSQL: only if it
/// [misses none](misses_none) of it. A stamp of the future in the file, by the clock that shows
/// `now_unix_ms`, is above everything, and says nothing about what the file has seen.
#[must_use]
pub fn has_what_was_read(
    local: Option<&Version>,
    read: Option<&Version>,
    now_unix_ms: i64,
) -> bool {
    let of_the_future = |local: Stamp, read: Stamp| local != read && local.is_ahead_of(now_unix_ms);
    misses_none(local, read)
        && !local.zip(read).is_some_and(|(local, read)| {
            of_the_future(local.live.stamp, read.live.stamp)
                || (0..read.columns.len())
                    .any(|column| of_the_future(local.stamp_of(column), read.stamp_of(column)))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Writer;

    const NOW: i64 = 1_700_000_000_000;

    fn at(ms: i64) -> Stamp {
        Stamp::at(NOW + ms, Writer::POSTGRES)
    }

    fn defaults() -> Defaults {
        Defaults::new(vec![Value::Null, Value::Text("registered".into())])
    }

    #[test]
    fn a_stamp_of_the_future_has_seen_nothing() {
        let row = |stamp: Stamp| written(None, &insert("x"), stamp, Stamp::ZERO, &defaults());
        let (read, year) = (row(at(5)), 365 * 24 * 3_600_000);
        let has = |local: &Version| has_what_was_read(Some(local), Some(&read), NOW);
        assert!(has(&read) && has(&row(at(6))) && !has(&row(at(4))));
        assert!(!has(&row(at(year))));
        assert!(misses_none(Some(&row(at(year))), Some(&read)));
        // What was read there, the future and all, has been seen.
        let read = row(at(year));
        assert!(has_what_was_read(Some(&read), Some(&read), NOW));
    }

    fn insert(name: &str) -> Change {
        Change::Insert(vec![Value::Text(name.into()), Value::Text("registered".into())])
    }

    #[test]
    fn a_default_never_beats_data_but_a_new_life_owes_nothing_to_the_old() {
        let first = written(None, &insert("first"), at(1), Stamp::ZERO, &defaults());
        assert_eq!((first.stamp_of(0), first.stamp_of(1)), (at(1), Stamp::ZERO));

        let dead = written(Some(&first), &Change::Delete, at(2), Stamp::ZERO, &defaults());
        assert!(!dead.live.value);
        assert_eq!(dead.columns[0], Register { stamp: at(2), value: Value::Null });
        assert_eq!(dead.columns[1].value, Value::Text("registered".into()));

        let second = written(Some(&dead), &insert("second"), at(3), Stamp::ZERO, &defaults());
        assert_eq!((second.stamp_of(0), second.stamp_of(1)), (at(3), at(3)));

        let after_purge = written(None, &insert("third"), at(9), at(5), &defaults());
        assert_eq!((after_purge.stamp_of(0), after_purge.stamp_of(1)), (at(9), at(5)));
    }

    #[test]
    fn a_stuck_statement_loses_to_what_came_later() {
        let row = written(None, &insert("a"), at(5), Stamp::ZERO, &defaults());
        let update = Change::Update(vec![(0, Value::Null)]);
        let judge = |stamp, horizon| admit(Some(&row), &update, stamp, horizon, NOW);
        assert_eq!(judge(at(6), Stamp::ZERO), Admission::Admit);
        assert_eq!(judge(at(4), Stamp::ZERO), Admission::Stale { above: at(5) });
        assert_eq!(judge(at(6), at(7)), Admission::Stale { above: at(7) });
        assert_eq!(judge(at(61_000), Stamp::ZERO), Admission::Ahead);
        // The insert counts even for a column that it left unstamped.
        let status = Change::Update(vec![(1, Value::Null)]);
        assert_eq!(
            admit(Some(&row), &status, at(4), Stamp::ZERO, NOW),
            Admission::Stale { above: at(5) }
        );
    }

    #[test]
    fn a_file_that_misses_something_waits_for_the_feed() {
        let old = written(None, &insert("a"), at(1), Stamp::ZERO, &defaults());
        let update = Change::Update(vec![(0, Value::Text("b".into()))]);
        let new = written(Some(&old), &update, at(2), Stamp::ZERO, &defaults());
        assert!(misses_none(Some(&new), Some(&old)));
        assert!(misses_none(Some(&old), None));
        assert!(!misses_none(Some(&old), Some(&new)));
        assert!(!misses_none(None, Some(&old)));
    }
}
