//! Looks at the rows of a part, one after the other: which differences stand.

use std::collections::BTreeMap;

use super::part::{Digests, OneSided, PartRows, SetAside};
use super::{NAMED, TableDifference};
use crate::Store;
use crate::schema::Key;

/// A row that changes from look to look is looked at so often: somebody is writing it all the
/// time, and each of those writes was exchanged.
const MOST: usize = 10;

/// What PostgreSQL and the file have of a key where they differ.
type Difference = (Option<Digests>, Option<Digests>);

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// What differed in the last look.
    last: BTreeMap<Key, Difference>,
    /// What stood in the last two.
    stands: BTreeMap<Key, Difference>,
    /// Rows of the file whose key is none: nothing can be exchanged about them.
    nameless: u64,
    looks: usize,
}

impl Looks {
    /// Takes a look; everything that the one before has seen was exchanged meanwhile. Says
    /// whether it was the last: every difference stands or is gone.
    pub(crate) fn look(&mut self, there: &PartRows, here: &PartRows, set_aside: &SetAside) -> bool {
        let mut differences = BTreeMap::<Key, Difference>::new();
        for (key, digest) in &there.digests {
            differences.entry(key.clone()).or_default().0 = Some(digest.clone());
        }
        for (key, digest) in &here.digests {
            differences.entry(key.clone()).or_default().1 = Some(digest.clone());
        }
        // What the other side refuses differs rightly, but not if who has it has it no more.
        let excused = |key: &Key, (there, here): &Difference| {
            let kept = |by, lives| set_aside.contains(&OneSided { key: key.clone(), by, lives });
            kept(Store::Postgres, there.is_some()) || kept(Store::Sqlite, here.is_some())
        };
        differences.retain(|key, found| found.0 != found.1 && !excused(key, found));
        let stood = |key: &Key, now: &Difference| {
            self.last.get(key).is_some_and(|before| stands(before, now))
        };
        self.stands = differences.clone();
        self.stands.retain(|key, difference| stood(key, difference));
        self.last = differences;
        self.nameless = here.nameless;
        self.looks += 1;
        self.last.len() == self.stands.len() || self.looks >= MOST
    }

    /// Adds what stands.
    pub(crate) fn count(&self, found: &mut TableDifference) {
        found.quarantined += self.nameless;
        for (key, difference) in &self.stands {
            match difference {
                (Some(_), Some(_)) => found.different += 1,
                (Some(_), None) => found.only_postgres += 1,
                (None, _) => found.only_sqlite += 1,
            }
            if found.keys.len() < NAMED {
                found.keys.push(key.clone());
            }
        }
    }
}

/// Whether it is the same in both looks: that one side lacks the row, or what a column has, while
/// somebody may be writing the others.
fn stands(before: &Difference, now: &Difference) -> bool {
    let ((Some(there), Some(here)), (Some(there_now), Some(here_now))) = (before, now) else {
        return before == now;
    };
    let columns = there.iter().zip(here).zip(there_now.iter().zip(here_now));
    columns.into_iter().any(|(before, now)| before == now && now.0 != now.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(i64, u8)]) -> PartRows {
        PartRows {
            digests: rows
                .iter()
                .map(|(key, byte)| ((*key).into(), vec![[0; 32], [*byte; 32]]))
                .collect(),
            nameless: 0,
        }
    }

    fn counted(looks: &Looks) -> (u64, u64, u64, Vec<Key>) {
        let mut found = TableDifference::default();
        looks.count(&mut found);
        (found.different, found.only_postgres, found.only_sqlite, found.keys)
    }

    #[test]
    fn what_stands_in_two_looks_counts_and_what_is_exchanged_does_not() {
        let mut looks = Looks::default();
        let none = SetAside::new();
        assert!(!looks.look(&rows(&[(1, 1), (2, 1), (4, 1)]), &rows(&[(1, 2), (3, 1)]), &none));
        assert!(looks.look(&rows(&[(1, 1), (2, 1)]), &rows(&[(1, 2), (2, 1), (3, 1)]), &none));
        assert_eq!(counted(&looks), (1, 0, 1, vec![1.into(), 3.into()]));
    }

    #[test]
    fn a_row_that_is_written_all_the_time_is_no_difference() {
        let mut looks = Looks::default();
        let none = SetAside::new();
        let mut last = false;
        for byte in 0..u8::try_from(MOST).unwrap() {
            assert!(!last);
            last = looks.look(&rows(&[(1, byte + 1)]), &rows(&[(1, byte)]), &none);
        }
        assert!(last);
        assert_eq!(counted(&looks), (0, 0, 0, vec![]));
    }

    #[test]
    fn a_column_that_differs_for_good_counts_though_another_is_written_all_the_time() {
        let mut looks = Looks::default();
        let row = |lasting: u8, written: u8| PartRows {
            digests: vec![(1.into(), vec![[lasting; 32], [written; 32]])],
            nameless: 0,
        };
        assert!(!looks.look(&row(1, 3), &row(2, 2), &SetAside::new()));
        assert!(looks.look(&row(1, 4), &row(2, 3), &SetAside::new()));
        assert_eq!(counted(&looks), (1, 0, 0, vec![1.into()]));
    }

    fn kept(key: i64, by: Store, lives: bool) -> OneSided {
        OneSided { key: key.into(), by, lives }
    }

    #[test]
    fn rows_set_aside_are_left_out() {
        let mut looks = Looks::default();
        let here = SetAside::from([kept(1, Store::Postgres, true), kept(2, Store::Sqlite, true)]);
        assert!(looks.look(&rows(&[(1, 1)]), &rows(&[(2, 1)]), &here));
        assert_eq!(counted(&looks), (0, 0, 0, vec![]));
        // Who had it, and was refused, has it no more.
        assert!(!looks.look(&rows(&[(2, 1)]), &rows(&[]), &here));
        assert!(looks.look(&rows(&[(2, 1)]), &rows(&[]), &here));
        assert_eq!(counted(&looks), (0, 1, 0, vec![2.into()]));
        // A delete is refused like a row.
        let mut looks = Looks::default();
        let deleted = SetAside::from([kept(2, Store::Sqlite, false)]);
        assert!(looks.look(&rows(&[(2, 1)]), &rows(&[]), &deleted));
        assert_eq!(counted(&looks), (0, 0, 0, vec![]));
    }
}
