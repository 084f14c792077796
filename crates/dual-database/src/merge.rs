//! Merging two versions of a row: pure, column by column, the higher stamp wins.
//!
//! A row is a set of registers: one for each column, and `live`, which an insert and a delete
//! set and an update does not touch (so a delete beats the updates that it did not see). The
//! merge is commutative, associative and idempotent.
//!
//! ```
//! use dual_database::merge::{Register, Version, merge};
//! use dual_database::stamp::{Stamp, Writer};
//! use dual_database::value::Value;
//!
//! let at = |ms: i64| Stamp::at(1_700_000_000_000 + ms, Writer::POSTGRES);
//! let text = |ms: i64, text: &str| Register { stamp: at(ms), value: Value::Text(text.into()) };
//! let live = Register { stamp: at(0), value: true };
//! let here = Version { live, columns: vec![text(5, "name here"), text(0, "old phone")] };
//! let there = Version { live, columns: vec![text(0, "old name"), text(3, "phone there")] };
//!
//! let merged = merge(&here, &there);
//! assert_eq!(merged.version.columns, [text(5, "name here"), text(3, "phone there")]);
//! assert!(merged.left_is_behind && merged.right_is_behind);
//! ```

mod birth;
mod change;
mod conflict;
mod pending;

use std::cmp::Ordering;

pub use change::{Admission, Change, Defaults, admit, has_what_was_read, misses_none, written};
pub use conflict::{Conflict, RegisterId, conflicts, overwritten};
pub use pending::{Absorbed, Bases, Tracked};

use crate::stamp::Stamp;
use crate::value::{Value, canonical_bytes};

/// A value and the stamp of whoever set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register<T> {
    /// Who set it, and when.
    pub stamp: Stamp,
    /// What it was set to.
    pub value: T,
}

/// A row with its sidecar, as one store has it.
///
/// Where `live` is false the row is not in the table and nothing of it is kept but the stamp of
/// its delete: every column reads as its declared default, set by the delete
/// ([`Version::stored`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Whether the row exists.
    pub live: Register<bool>,
    /// The columns in their declared order.
    pub columns: Vec<Register<Value>>,
}

impl Version {
    /// A row that a store once had and has no more, though nobody has deleted it: it was taken away
    /// past the triggers. The store knows nothing of it, so whoever knows anything stands, and
    /// gives it back.
    #[must_use]
    pub fn absent(columns: usize) -> Version {
        let unknown = Register { stamp: Stamp::ZERO, value: Value::Null };
        let live = Register { stamp: Stamp::ZERO, value: true };
        Version { live, columns: vec![unknown; columns] }
    }

    /// Whether it is one of those. (An insert has a stamp, that of an adopted row too.)
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.live.value && self.live.stamp == Stamp::ZERO
    }

    /// Whether the row is in the table.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.live.value && !self.is_absent()
    }

    /// How many bytes its texts take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(|column| column.value.bytes()).sum()
    }

    /// The highest stamp of any register.
    #[must_use]
    pub fn highest(&self) -> Stamp {
        self.columns.iter().map(|column| column.stamp).fold(self.live.stamp, Stamp::max)
    }

    /// The stamp of that column; [`Stamp::ZERO`] for one that this version does not have yet.
    #[must_use]
    pub fn stamp_of(&self, column: usize) -> Stamp {
        self.columns.get(column).map_or(Stamp::ZERO, |register| register.stamp)
    }

    /// What a store keeps of it. Of a dead row only the delete: a delete sets every column to its
    /// default, and takes with it even a column that was set later by somebody who had not seen
    /// it. (Kept, that column's stamp would sit in the tombstone without a value and beat what
    /// the next insert sets.)
    #[must_use]
    pub fn stored(mut self, defaults: &Defaults) -> Version {
        if !self.live.value {
            let (stamp, columns) = (self.live.stamp, self.columns.len().max(defaults.len()));
            let voided = |column| Register { stamp, value: defaults.of(column).clone() };
            self.columns = (0..columns).map(voided).collect();
        }
        self
    }
}

/// Two versions made one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The higher of each register.
    pub version: Version,
    /// The left one lacks something of the result: it has to be written there.
    pub left_is_behind: bool,
    /// The right one lacks something of the result: that side has to be told.
    pub right_is_behind: bool,
}

/// Takes the higher of each register. A column that only one of them has is taken from it.
#[must_use]
pub fn merge(left: &Version, right: &Version) -> Merged {
    let live_order = live_order(left.live, right.live);
    let live = if live_order.is_lt() { right.live } else { left.live };
    let mut merged = Merged {
        version: Version { live, columns: Vec::with_capacity(left.columns.len()) },
        left_is_behind: live_order.is_lt(),
        right_is_behind: live_order.is_gt(),
    };
    for position in 0..left.columns.len().max(right.columns.len()) {
        let pair = (left.columns.get(position), right.columns.get(position));
        let order = match pair {
            (Some(left), Some(right)) => order(left, right),
            (None, _) => Ordering::Less,
            (_, None) => Ordering::Greater,
        };
        let higher = if order.is_lt() { pair.1 } else { pair.0 };
        merged.version.columns.extend(higher.cloned());
        merged.left_is_behind |= order.is_lt();
        merged.right_is_behind |= order.is_gt();
    }
    merged
}

/// The order of two settings of one column: by stamp; on equal stamps a value is above NULL,
/// and of two values the one with the greater canonical bytes.
///
/// Equal stamps occur: defaults, adopted rows, and a copied file before it has taken a new
/// number. "Keep mine" would leave each store with its own.
#[must_use]
pub fn order(left: &Register<Value>, right: &Register<Value>) -> Ordering {
    left.stamp
        .cmp(&right.stamp)
        .then_with(|| canonical_bytes(&left.value).cmp(&canonical_bytes(&right.value)))
}

/// The same for `live`: on equal stamps a living row is above a dead one.
fn live_order(left: Register<bool>, right: Register<bool>) -> Ordering {
    left.stamp.cmp(&right.stamp).then(left.value.cmp(&right.value))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stamp::Writer;

    /// Few stamps and few values, so that ties are common.
    fn stamp() -> impl Strategy<Value = Stamp> {
        (0i64..4, 0u16..3).prop_map(|(ms, writer)| {
            Stamp::at(1_700_000_000_000 + ms, Writer::new(writer).unwrap())
        })
    }

    /// One column holds values of one type; two types stand for many here, without bytes in
    /// common.
    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            (-2i64..3).prop_map(Value::Int),
            "[aЯ]{0,2}".prop_map(Value::Text),
        ]
    }

    pub(crate) fn version() -> impl Strategy<Value = Version> {
        let column = (stamp(), value()).prop_map(|(stamp, value)| Register { stamp, value });
        (stamp(), any::<bool>(), prop::collection::vec(column, 0..4)).prop_map(
            |(stamp, live, columns)| Version { live: Register { stamp, value: live }, columns },
        )
    }

    proptest! {
        #[test]
        fn commutative(a in version(), b in version()) {
            let (ab, ba) = (merge(&a, &b), merge(&b, &a));
            prop_assert_eq!(&ab.version, &ba.version);
            prop_assert_eq!(ab.left_is_behind, ba.right_is_behind);
            prop_assert_eq!(ab.right_is_behind, ba.left_is_behind);
        }

        #[test]
        fn associative(a in version(), b in version(), c in version()) {
            prop_assert_eq!(
                merge(&merge(&a, &b).version, &c).version,
                merge(&a, &merge(&b, &c).version).version
            );
        }

        #[test]
        fn idempotent_and_says_who_is_behind(a in version(), b in version()) {
            let merged = merge(&a, &b);
            let again = merge(&merged.version, &b);
            prop_assert_eq!(&again.version, &merged.version);
            prop_assert!(!again.left_is_behind);
            prop_assert_eq!(merged.left_is_behind, merged.version != a);
            prop_assert_eq!(merged.right_is_behind, merged.version != b);
        }

        #[test]
        fn a_delete_beats_an_update_that_it_did_not_see(
            row in version(), column in 0usize..4, ahead in 1i64..1000,
        ) {
            let at = |ms| Stamp::at(1_700_000_001_000 + ms, Writer::POSTGRES);
            let mut alive = row.clone();
            alive.live = Register { stamp: at(0), value: true };
            let deleted = Version { live: Register { stamp: at(1), value: false }, ..alive.clone() };
            let mut updated = alive;
            if let Some(register) = updated.columns.get_mut(column) {
                *register = Register { stamp: at(1 + ahead), value: Value::Int(7) };
            }
            prop_assert!(!merge(&deleted, &updated).version.live.value);
        }
    }

    #[test]
    fn on_equal_stamps_a_value_beats_null_and_the_greater_bytes_beat_the_rest() {
        let register = |value| Register { stamp: Stamp::ZERO, value };
        let text = |text: &str| register(Value::Text(text.into()));
        assert!(order(&text(""), &register(Value::Null)).is_gt());
        assert!(order(&text("10:00:07"), &text("10:00:00")).is_gt());
        assert!(order(&register(Value::Bool(true)), &register(Value::Bool(false))).is_gt());
        assert!(order(&text("я"), &text("z")).is_gt());
    }
}
