//! A full comparison by stamps: what becomes of a row that one side does not know, what of a value
//! that came past the triggers, and when a person has to be asked.

use crate::error::Store;
use crate::merge::{Conflict, Defaults, RegisterId, Tracked, Version, merge};
use crate::stamp::{Stamp, Writer, captured};

/// What becomes of a row of the file that PostgreSQL does not know, not even as a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// PostgreSQL gets it: it was born here and never arrived, or PostgreSQL has lost it.
    Give,
    /// The same, but its tombstone may have been purged: it rises above the horizon, and that
    /// is logged ([`risen`]).
    GiveAndLog,
    /// It was deleted there and the tombstone purged; what was pending in it goes to the log.
    Delete,
}

/// Decides about a row that PostgreSQL does not know, from its purge horizon.
///
/// What counts is the row's birth, not its highest stamp: PostgreSQL once had the row if the
/// birth is not pending, and a later update that the delete did not see must not bring it back.
#[must_use]
pub fn unknown(row: &Tracked, horizon: Stamp) -> Unknown {
    let below = row.version.live.stamp < horizon;
    match (row.bases.live.is_some(), below) {
        (_, false) => Unknown::Give,
        (true, true) => Unknown::GiveAndLog,
        (false, true) => Unknown::Delete,
    }
}

/// A row that PostgreSQL does not know, as PostgreSQL takes it when it is given
/// ([`Unknown::Give`]): zero means the purge horizon after a purge. A file that had not heard of
/// the purge has stamped 0 what its insert said nothing about, and would lose to whatever stamps
/// of the purged life another file still has.
#[must_use]
pub fn given(row: &Version, horizon: Stamp) -> Version {
    let mut version = row.clone();
    version.columns.iter_mut().for_each(|column| column.stamp = column.stamp.max(horizon));
    version
}

/// A birth below the purge horizon that PostgreSQL does not know, as PostgreSQL takes it: with
/// one stamp above the horizon, because tombstones of that key which other files still have
/// lie below it and would delete it again without a word. It may itself be one of the deleted
/// (pushed once, the answer lost): the entry for the conflict log names it as winner and loser.
///
/// The stamp is PostgreSQL's, made by its clock with its number: with the number of the process
/// that pushes it could be one that this process gives to a write of its own.
#[must_use]
pub fn risen(birth: &Version, horizon: Stamp, primary_unix_ms: i64) -> (Version, Conflict) {
    let stamp = captured(primary_unix_ms, horizon.max(birth.highest()), Writer::POSTGRES);
    let mut version = birth.clone();
    version.live.stamp = stamp;
    version.columns.iter_mut().for_each(|column| column.stamp = stamp);
    (version, Conflict { register: RegisterId::Live, winner: stamp, loser: stamp })
}

/// Whether a tombstone may be purged: everything that it knows lies below the horizon.
/// On PostgreSQL its transaction must besides be one that has been passed.
#[must_use]
pub fn purgeable(version: &Version, horizon: Stamp) -> bool {
    !version.live.value && version.highest() < horizon
}

/// Whether a comparison takes something away that somebody could miss: the version on that
/// side, if it lives, would be deleted or overwritten.
#[must_use]
pub fn loses(version: &Version, other: &Version) -> bool {
    let merged = merge(version, other).version;
    let overwritten =
        version.columns.iter().zip(&merged.columns).any(|(was, is)| was.value != is.value);
    version.lives() && (!merged.live.value || overwritten)
}

/// The file's row without what is pending in it on top of just what PostgreSQL has: what the
/// file asserts against PostgreSQL although nobody wrote it since they agreed.
#[must_use]
pub fn unexplained(row: &Tracked, primary: &Version) -> Version {
    let mut version = row.version.clone();
    if row.bases.live == Some(primary.live.stamp) {
        version.live = primary.live;
    }
    for (position, (own, theirs)) in version.columns.iter_mut().zip(&primary.columns).enumerate() {
        if row.bases.column(position) == Some(theirs.stamp) {
            *own = theirs.clone();
        }
    }
    version
}

/// How many rows came past the triggers of a side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loose {
    /// They were put into the table, and the sidecar did not know them, or had them as dead.
    pub loaded: u64,
    /// They live by the sidecar, and are not in the table.
    pub removed: u64,
}

impl Loose {
    /// There are none.
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Loose::default()
    }

    /// Those of another table, too.
    pub fn add(&mut self, other: Loose) {
        self.loaded += other.loaded;
        self.removed += other.removed;
    }
}

/// A column that has two values under one stamp: on one side it was set past the triggers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncaptured {
    /// Its position.
    pub column: usize,
    /// Whose value stands.
    pub stands: Store,
    /// The other value is one that somebody could miss: neither NULL nor the declared default.
    pub loses: bool,
}

/// The columns of a living row that were set past the triggers, on one side or the other, and which
/// value stands: what is known beats NULL and a declared default; of two that are known
/// PostgreSQL's stands, unless the triggers were missing `here` alone, in the file, so that it must
/// be the file's that is the newer.
///
/// What stands gets a stamp of its own: left to the order of equal stamps, whoever did not take
/// part would go on with the other value.
#[must_use]
pub fn uncaptured(
    own: &Tracked,
    primary: &Version,
    here: bool,
    defaults: &Defaults,
) -> Vec<Uncaptured> {
    if !own.version.lives() || !primary.lives() {
        return Vec::new();
    }
    let pairs = own.version.columns.iter().zip(&primary.columns).enumerate();
    pairs
        .filter(|(column, (ours, theirs))| {
            ours.stamp == theirs.stamp
                && ours.value != theirs.value
                && own.bases.column(*column).is_none()
        })
        .filter_map(|(column, (ours, theirs))| {
            let silent = |value| defaults.says_nothing(column, value);
            let (stands, loses) = match (silent(&ours.value), silent(&theirs.value)) {
                (true, false) => (Store::Postgres, false),
                (false, true) => (Store::Sqlite, false),
                // Nobody has set either: the order of equal stamps is enough.
                (true, true) => return None,
                (false, false) if here => (Store::Sqlite, true),
                (false, false) => (Store::Postgres, true),
            };
            Some(Uncaptured { column, stands, loses })
        })
        .collect()
}

/// When a comparison waits for a person: more than a share of the rows *and* more than a
/// number of them, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Percent of the table's rows.
    pub percent: usize,
    /// Rows.
    pub rows: usize,
}

impl Default for Guard {
    fn default() -> Guard {
        Guard { percent: 1, rows: 3 }
    }
}

impl Guard {
    /// Whether so many `losses` on one side, of the `rows` that live there, may happen unasked.
    ///
    /// ```
    /// use dual_database::sync::reconcile::Guard;
    /// let guard = Guard::default();
    /// assert!(guard.allows(3, 100));
    /// assert!(!guard.allows(3, 3));
    /// assert!(guard.allows(1_000, 100_000));
    /// assert!(!guard.allows(1_001, 100_000));
    /// ```
    #[must_use]
    pub fn allows(&self, losses: usize, rows: usize) -> bool {
        let few =
            losses <= self.rows || losses.saturating_mul(100) <= rows.saturating_mul(self.percent);
        losses == 0 || (few && losses < rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::{Bases, Register};
    use crate::value::Value;

    fn at(ms: i64) -> Stamp {
        Stamp::at(1_700_000_000_000 + ms, Writer::POSTGRES)
    }

    fn row(live: bool, born: i64, column: i64) -> Version {
        let columns = vec![Register { stamp: at(column), value: Value::Int(column) }];
        Version { live: Register { stamp: at(born), value: live }, columns }
    }

    #[test]
    fn what_an_insert_said_nothing_about_is_given_at_the_horizon() {
        let born = given(&row(true, 90, 0), at(50));
        assert_eq!((born.live.stamp, born.columns[0].stamp), (at(90), at(50)));
        assert_eq!(given(&row(true, 90, 95), at(50)), row(true, 90, 95));
    }

    #[test]
    fn the_birth_decides_not_a_later_update() {
        let known = Tracked::settled(row(true, 10, 90));
        assert_eq!(unknown(&known, at(50)), Unknown::Delete);
        assert_eq!(unknown(&known, at(10)), Unknown::Give);
        let born_here =
            Tracked { bases: Bases { live: Some(Stamp::ZERO), columns: Vec::new() }, ..known };
        assert_eq!(unknown(&born_here, at(50)), Unknown::GiveAndLog);
        assert_eq!(unknown(&born_here, at(5)), Unknown::Give);
    }

    #[test]
    fn a_birth_below_the_horizon_rises_above_it() {
        let (version, logged) = risen(&row(true, 10, 20), at(50), 0);
        assert!(version.live.stamp > at(50) && version.columns[0].stamp > at(50));
        assert_eq!(logged.winner, version.live.stamp);
    }

    #[test]
    fn what_nobody_has_deleted_comes_back() {
        let own = row(true, 10, 90);
        let absent = Version::absent(1);
        let merged = merge(&absent, &own);
        assert_eq!(merged.version, own);
        assert!(merged.left_is_behind && !merged.right_is_behind);
        assert!(!loses(&absent, &own) && !loses(&own, &absent));
        assert!(absent.is_absent() && !absent.lives() && own.lives());
        // A delete that was captured stands all the same.
        assert!(!merge(&absent, &row(false, 20, 20)).version.live.value);
    }

    #[test]
    fn past_the_triggers_what_is_known_stands_and_then_postgresql() {
        let (null, default) = (Value::Null, Value::Text("registered".into()));
        let defaults = Defaults::new(vec![default.clone()]);
        let (one, two) = (Value::Text("one".into()), Value::Text("two".into()));
        let of = |value: &Value| {
            let columns = vec![Register { stamp: at(5), value: value.clone() }];
            Version { live: Register { stamp: at(1), value: true }, columns }
        };
        let judge = |ours: &Value, theirs: &Value, here| {
            let own = Tracked::settled(of(ours));
            uncaptured(&own, &of(theirs), here, &defaults).pop().map(|u| (u.stands, u.loses))
        };
        assert_eq!(judge(&one, &two, false), Some((Store::Postgres, true)));
        assert_eq!(judge(&one, &two, true), Some((Store::Sqlite, true)));
        for unknown in [&null, &default] {
            for here in [false, true] {
                assert_eq!(judge(&one, unknown, here), Some((Store::Sqlite, false)));
                assert_eq!(judge(unknown, &two, here), Some((Store::Postgres, false)));
            }
        }
        assert_eq!(judge(&null, &default, true), None);
        assert_eq!(judge(&one, &one, false), None);
        // What is pending has a stamp of its own in due course.
        let own =
            Tracked { version: of(&one), bases: Bases { live: None, columns: vec![Some(at(3))] } };
        assert_eq!(uncaptured(&own, &of(&two), false, &defaults), []);
    }

    #[test]
    fn only_tombstones_wholly_below_the_horizon_are_purged() {
        assert!(purgeable(&row(false, 10, 20), at(21)));
        assert!(!purgeable(&row(false, 10, 20), at(20)));
        assert!(!purgeable(&row(true, 10, 20), at(21)));
    }

    #[test]
    fn a_loss_is_what_somebody_could_miss() {
        assert!(loses(&row(true, 1, 1), &row(false, 2, 1)));
        assert!(loses(&row(true, 1, 1), &row(true, 1, 2)));
        assert!(!loses(&row(true, 1, 2), &row(true, 1, 1)));
        assert!(!loses(&row(false, 1, 1), &row(true, 2, 2)));
    }

    #[test]
    fn an_ordinary_change_is_no_loss_and_what_a_backup_lacks_is() {
        let backup = row(true, 1, 5);
        let pending = |base: i64, of: Version| Tracked {
            version: of,
            bases: Bases { live: Some(at(1)), columns: vec![Some(at(base))] },
        };
        let deleted = pending(5, row(false, 9, 9));
        assert!(!loses(&backup, &unexplained(&deleted, &backup)));
        let changed = pending(5, row(true, 1, 9));
        assert!(!loses(&backup, &unexplained(&changed, &backup)));
        // It was set when PostgreSQL had more than it has now.
        let settled = Tracked::settled(row(true, 1, 9));
        assert!(loses(&backup, &unexplained(&settled, &backup)));
        assert!(loses(&backup, &unexplained(&pending(7, row(true, 1, 9)), &backup)));
    }
}
