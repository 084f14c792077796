//! Births under a number that a side has handed out: two of them are two rows, whatever the number.

use super::{Change, Defaults, Register, Tracked, Version};
use crate::stamp::{Stamp, Writer};
use crate::value::Value;

impl Tracked {
    /// Whether it is a birth, or what is left of one, that PostgreSQL has never been asked about: whatever it
    /// has under that number is another row. (What was there before anybody looked has no stamp of its own,
    /// and is compared with what PostgreSQL has.)
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        self.bases.live == Some(Stamp::ZERO) && !self.version.live.stamp.is_adopted()
    }

    /// The birth under a number that PostgreSQL has reserved for it with a tombstone of that stamp: from here
    /// on it has seen what is there, and lies above it.
    #[must_use]
    pub fn reserved(&self, reservation: Stamp, by: Writer) -> Tracked {
        let mut row = self.clone();
        let stamp = reservation.next(by).max(row.version.highest());
        row.version.live.stamp = stamp;
        row.version.columns.iter_mut().for_each(|column| column.stamp = stamp);
        row.bases.live = Some(reservation);
        row.bases.columns = vec![Some(reservation); row.version.columns.len()];
        row
    }

    /// The birth of a row under a number of which this file knows no more than that a row with it has died:
    /// whether others have used it again, it does not know.
    #[must_use]
    pub fn over_tombstone(mut self, before: Option<&Tracked>) -> Tracked {
        let was_dead = before.is_some_and(|row| !row.version.live.value && !row.bases.any());
        if was_dead && self.version.live.value {
            self.bases.live = Some(Stamp::ZERO);
        }
        self
    }

    /// What is left under its number when an unsent birth goes: the tombstone over which it was born.
    #[must_use]
    pub fn without_birth(&self, defaults: &Defaults) -> Option<Tracked> {
        let stamp = self.bases.columns.iter().copied().flatten().max().unwrap_or_default();
        (stamp != Stamp::ZERO).then(|| tombstone(stamp, defaults))
    }

    /// The row that a call of the library adds, with these values and that stamp, under a number that is kept
    /// for it with a tombstone of the stamp `reservation`. PostgreSQL was asked for this very row if `is_asked`:
    /// then it has seen what is there. Otherwise the number comes from the file's block, and PostgreSQL is asked
    /// before it is pushed, as for a birth of an outside program.
    #[must_use]
    pub fn numbered(
        before: Option<&Tracked>,
        values: &[Value],
        stamp: Stamp,
        (reservation, is_asked): (Stamp, bool),
        defaults: &Defaults,
    ) -> Tracked {
        let known = before.map_or(Stamp::ZERO, |row| row.version.live.stamp);
        let below = tombstone(reservation.max(known), defaults);
        let change = Change::Insert(values.to_vec());
        let row = Tracked::changed(Some(&below), &change, stamp, Stamp::ZERO, defaults);
        if is_asked { row } else { row.over_tombstone(Some(&below)) }
    }

    /// Whether it lives under a number that its caller has named, and nobody has heard of it. A tombstone that it
    /// meets there is what keeps the number for somebody, or of a life that it has nothing to do with: it stands
    /// above that.
    #[must_use]
    pub fn is_named_unheard(&self) -> bool {
        self.version.live.value
            && self.bases.live == Some(Stamp::ADOPTED_SQLITE)
            && !self.version.live.stamp.is_adopted()
    }

    /// The birth of a row whose number its caller has named: it is that row, wherever else it was born.
    #[must_use]
    pub fn named(mut self) -> Tracked {
        if self.is_unsent() {
            self.bases.live = Some(Stamp::ADOPTED_SQLITE);
        }
        self
    }
}

fn tombstone(stamp: Stamp, defaults: &Defaults) -> Tracked {
    let live = Register { stamp, value: false };
    Tracked::settled(Version { live, columns: Vec::new() }.stored(defaults))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::{Bases, conflicts, merge, written};

    fn at(ms: i64) -> Stamp {
        Stamp::at(1_700_000_000_000 + ms, Writer::POSTGRES)
    }

    fn born(ms: i64) -> Tracked {
        let change = Change::Insert(vec![Value::Int(1), Value::Null]);
        Tracked::changed(None, &change, at(ms), Stamp::ZERO, &Defaults::default())
    }

    #[test]
    fn a_birth_is_unsent_until_its_number_is_reserved_or_named() {
        let file = Writer::new(7).unwrap();
        let row = born(1);
        assert!(row.is_unsent());
        assert!(!row.clone().named().is_unsent());
        assert!(!row.reserved(at(9), file).is_unsent());
        let none = Defaults::default();
        let dead = Tracked::changed(Some(&row), &Change::Delete, at(2), Stamp::ZERO, &none);
        assert!(dead.is_unsent());
        let mut adopted = row.clone();
        adopted.version.live.stamp = Stamp::ADOPTED_SQLITE;
        assert!(!adopted.is_unsent());
        assert!(!Tracked::settled(row.version).is_unsent());
    }

    #[test]
    fn a_birth_over_a_tombstone_is_unsent_and_leaves_it() {
        let none = Defaults::default();
        let dead = Tracked::settled(
            Tracked::changed(Some(&born(1)), &Change::Delete, at(5), Stamp::ZERO, &none).version,
        );
        let change = Change::Insert(vec![Value::Int(2), Value::Null]);
        let again = Tracked::changed(Some(&dead), &change, at(9), Stamp::ZERO, &none);
        assert!(!again.is_unsent());
        let again = again.over_tombstone(Some(&dead));
        assert!(again.is_unsent());
        assert_eq!(again.without_birth(&none).map(|row| row.version.live), Some(dead.version.live));
        assert_eq!(born(1).without_birth(&none), None);
        // One that is not settled is this file's own.
        let own = Tracked::changed(Some(&born(1)), &Change::Delete, at(5), Stamp::ZERO, &none);
        let again = Tracked::changed(Some(&own), &change, at(9), Stamp::ZERO, &none);
        assert_eq!(again.clone().over_tombstone(Some(&own)), again);
    }

    #[test]
    fn a_reserved_birth_stands_above_its_reservation_as_a_whole() {
        let none = Defaults::default();
        let reservation = written(None, &Change::Delete, at(9), Stamp::ZERO, &none);
        let row = born(1).reserved(at(9), Writer::new(7).unwrap());
        let merged = merge(&reservation, &row.version);
        assert_eq!(merged.version, row.version);
        assert_eq!(conflicts(&row.version, &row.bases, &reservation), []);
        let echo = Tracked::absorb(Some(&row), &reservation, true, &none);
        assert_eq!((echo.row, echo.conflicts), (row.clone(), Vec::new()));
        assert_eq!(row.bases, Bases { live: Some(at(9)), columns: vec![Some(at(9)); 2] });
    }

    #[test]
    fn a_numbered_row_stands_above_what_keeps_its_number() {
        let defaults = Defaults::new(vec![Value::Null, Value::Text("new".into())]);
        let values = [Value::Int(1), Value::Null];
        let kept = tombstone(at(5), &defaults).version;
        for (before, is_asked) in [(None, true), (None, false), (Some(at(5)), false)] {
            let before = before.map(|stamp| tombstone(stamp, &defaults));
            let of = (at(5), is_asked);
            let row = Tracked::numbered(before.as_ref(), &values, at(9), of, &defaults);
            assert_eq!(row.is_unsent(), !is_asked);
            assert!(!row.clone().named().is_unsent());
            // What was said stands, also where it is nothing.
            assert_eq!(merge(&kept, &row.version).version, row.version);
            assert_eq!(row.version.columns.last().map(|last| &last.value), Some(&Value::Null));
            let echo = Tracked::absorb(Some(&row), &row.version, true, &defaults);
            assert!(!echo.row.bases.any() && echo.conflicts.is_empty());
            if is_asked {
                assert_eq!(conflicts(&row.version, &row.bases, &kept), []);
            } else {
                assert_eq!(row.without_birth(&defaults).map(|row| row.version), Some(kept.clone()));
            }
        }
    }
}
