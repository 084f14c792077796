//! A full comparison by stamps: what becomes of a row that one side does not know, what of a value
//! that came past the triggers, and when a person has to be asked.

use crate::error::Store;
use crate::merge::{Conflict, Defaults, Register, RegisterId, Tracked, Version, merge};
use crate::stamp::{Stamp, Writer, captured};
use crate::value::Value;

/// What becomes of a row of the file that PostgreSQL does not know, not even as a tombstone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// PostgreSQL gets it: it was inserted here and never arrived, or PostgreSQL has lost it.
    Give,
    /// The same, but its tombstone may have been purged: it rises above the horizon, and that
    /// is logged ([`risen`]).
    GiveAndLog,
    /// It was deleted there and the tombstone purged; what was pending in it goes to the log.
    Delete,
}

/// Decides about a row that PostgreSQL does not know, from its purge horizon.
///
/// What counts is the row's insert, not its highest stamp: PostgreSQL once had the row if the
/// insert is not pending, and a later update that the delete did not see must not bring it back.
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

/// An insert below the purge horizon that PostgreSQL does not know, as PostgreSQL takes it: with
/// one stamp above the horizon for everything that was set, because tombstones of that key which other files still have
/// lie below it and would delete it again without a word. It may itself be one of the deleted
/// (pushed once, the answer lost): the entry for the conflict log names it as winner and loser. None
/// for a row that was there before anybody looked: that was never given, so nobody has deleted it.
///
/// The stamp is PostgreSQL's, made by its clock with its number: with the number of the process
/// that pushes it could be one that this process gives to a write of its own.
#[must_use]
pub fn risen(
    inserted: &Version,
    horizon: Stamp,
    primary_unix_ms: i64,
) -> (Version, Option<Conflict>) {
    let stamp = captured(primary_unix_ms, horizon.max(inserted.highest()), Writer::POSTGRES);
    let mut version = inserted.clone();
    version.live.stamp = stamp;
    for column in &mut version.columns {
        // What nobody has set says no more than before.
        column.stamp = if column.stamp == Stamp::ZERO { horizon } else { stamp };
    }
    let logged = Conflict { register: RegisterId::Live, winner: stamp, loser: stamp };
    (version, Some(logged).filter(|_| !inserted.live.stamp.is_adopted()))
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

/// A column of which the stamps do not tell whose value is to stand: on one side it was set past the
/// triggers, or before there were any.
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

/// How much a value that nobody has stamped says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Says {
    /// NULL.
    Nothing,
    /// The declared default, which a row has if nobody says anything.
    Default,
    /// Anything else.
    Something,
}

impl Says {
    /// How much the value of that column says.
    #[must_use]
    pub fn of(value: &Value, column: usize, defaults: &Defaults) -> Says {
        match defaults.says_nothing(column, value) {
            false => Says::Something,
            true if value.is_null() => Says::Nothing,
            true => Says::Default,
        }
    }
}

/// Whether nobody is known to have set the register: it says nothing, and has the stamp of what an
/// insert leaves out (zero, which a purge lifts to its horizon), or of what was there before.
#[must_use]
pub(crate) fn is_unset(stamp: Stamp, says: Says, horizon: Stamp) -> bool {
    says != Says::Something && (stamp <= horizon || stamp.is_adopted() || stamp == Stamp::ZERO)
}

/// Whether the file's value stands of a column that it had before it met PostgreSQL, though its stamp
/// is no higher: what is known beats what nobody has set, however late that was left out. Of two that
/// are known PostgreSQL's stands, unless a person has said that the file's does.
#[must_use]
pub(crate) fn outlasts(ours: (Stamp, Says), theirs: (Stamp, Says), horizon: Stamp) -> bool {
    let is_preferred = ours.0 == Stamp::ADOPTED_PREFERRED && ours.1 == Says::Something;
    let stands = match is_unset(theirs.0, theirs.1, horizon) {
        true => ours.1 > theirs.1,
        false => is_preferred,
    };
    stands && ours.0 <= theirs.0
}

/// Whether a value of PostgreSQL's that lost is one that nobody has set, where the file had its own
/// before it has met that row: nothing was lost there.
#[must_use]
pub fn is_nobodys(one: &Conflict, row: &Tracked, found: &Version, defaults: &Defaults) -> bool {
    let RegisterId::Column(column) = one.register else { return false };
    let Some(theirs) = found.columns.get(column) else { return false };
    row.bases.column(column) == Some(Stamp::ZERO)
        && theirs.stamp == one.loser
        // Below a horizon that has risen it may be what somebody has emptied, and misses.
        && is_unset(theirs.stamp, Says::of(&theirs.value, column, defaults), Stamp::ZERO)
}

/// The columns of a living row that was in the file before it met PostgreSQL, whose stamps would let
/// the wrong value stand (`outlasts`).
#[must_use]
pub fn adopted(
    own: &Tracked,
    primary: &Version,
    horizon: Stamp,
    defaults: &Defaults,
) -> Vec<Uncaptured> {
    if !own.version.lives() || !primary.lives() {
        return Vec::new();
    }
    let pairs = own.version.columns.iter().zip(&primary.columns).enumerate();
    pairs
        .filter(|(column, (ours, theirs))| {
            let was_there = ours.stamp.is_adopted() || ours.stamp == Stamp::ZERO;
            was_there
                && own.bases.column(*column) == Some(Stamp::ZERO)
                && ours.value != theirs.value
        })
        .filter_map(|(column, (ours, theirs))| {
            let says = |register: &Register<Value>| {
                (register.stamp, Says::of(&register.value, column, defaults))
            };
            let (ours, theirs) = (says(ours), says(theirs));
            let loses = !is_unset(theirs.0, theirs.1, horizon);
            let stands = Store::Sqlite;
            outlasts(ours, theirs, horizon).then_some(Uncaptured { column, stands, loses })
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
    /// use dual_database::protocol::reconcile::Guard;
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
    use crate::merge::Bases;

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
        let inserted_locally =
            Tracked { bases: Bases { live: Some(Stamp::ZERO), columns: Vec::new() }, ..known };
        assert_eq!(unknown(&inserted_locally, at(50)), Unknown::GiveAndLog);
        assert_eq!(unknown(&inserted_locally, at(5)), Unknown::Give);
    }

    #[test]
    fn a_birth_below_the_horizon_rises_above_it() {
        let mut born = row(true, 10, 20);
        born.columns.push(Register { stamp: Stamp::ZERO, value: Value::Null });
        let (version, logged) = risen(&born, at(50), 0);
        assert_eq!(version.columns[1].stamp, at(50));
        assert!(version.live.stamp > at(50) && version.columns[0].stamp > at(50));
        assert_eq!(logged.map(|one| one.winner), Some(version.live.stamp));
        let mut adopted = born;
        adopted.live.stamp = Stamp::ADOPTED_SQLITE;
        assert_eq!(risen(&adopted, at(50), 0).1, None);
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
    fn what_is_known_beats_what_nobody_has_set_however_late_that_was_left_out() {
        use Says::{Default, Nothing, Something};
        let (horizon, later) = (at(50), at(60));
        let zero = Stamp::ZERO;
        let [here, there, preferred] =
            [Stamp::ADOPTED_SQLITE, Stamp::ADOPTED_POSTGRES, Stamp::ADOPTED_PREFERRED];
        let stands = |ours, theirs| outlasts(ours, theirs, horizon);
        for says in [Nothing, Default] {
            for unset in [there, horizon, at(40)] {
                assert!(stands((here, Something), (unset, says)));
                assert!(!stands((zero, says), (unset, Something)));
            }
            // Its stamp is enough.
            assert!(!stands((here, Something), (zero, says)));
            // Somebody has said so.
            assert!(!stands((here, Something), (later, says)));
            assert!(stands((preferred, Something), (later, says)));
        }
        assert!(stands((zero, Default), (horizon, Nothing)));
        assert!(!stands((zero, Nothing), (horizon, Default)));
        for known in [there, horizon, later] {
            assert!(!stands((here, Something), (known, Something)));
            assert!(!stands((zero, Default), (known, Something)));
        }
        assert!(stands((preferred, Something), (later, Something)));
        // Another file has been preferred before.
        assert!(stands((preferred, Something), (preferred, Something)));
    }

    #[test]
    fn only_what_the_file_had_before_it_met_anybody_outlasts() {
        let (horizon, value) = (at(50), Value::Int(7));
        let defaults = Defaults::new(vec![Value::Null]);
        let of = |stamp, value: &Value| Version {
            live: Register { stamp: at(1), value: true },
            columns: vec![Register { stamp, value: value.clone() }],
        };
        let tracked = |stamp, base| Tracked {
            version: of(stamp, &value),
            bases: Bases { live: None, columns: vec![base] },
        };
        let found = |own: &Tracked| adopted(own, &of(horizon, &Value::Null), horizon, &defaults);
        let one = Uncaptured { column: 0, stands: Store::Sqlite, loses: false };
        assert_eq!(found(&tracked(Stamp::ADOPTED_SQLITE, Some(Stamp::ZERO))), [one]);
        assert_eq!(found(&tracked(Stamp::ADOPTED_SQLITE, None)), []);
        assert_eq!(found(&tracked(at(3), Some(Stamp::ZERO))), []);
        let preferred = tracked(Stamp::ADOPTED_PREFERRED, Some(Stamp::ZERO));
        let theirs = of(at(60), &Value::Int(8));
        let other = Uncaptured { loses: true, ..one };
        assert_eq!(adopted(&preferred, &theirs, horizon, &defaults), [other]);
        let dead = Version { live: Register { stamp: at(60), value: false }, ..theirs };
        assert_eq!(adopted(&preferred, &dead, horizon, &defaults), []);
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
