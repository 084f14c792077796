//! Numbers that a side hands out: what PostgreSQL answers to a file that asks for the number of a
//! row that it has never offered.

use crate::schema::Key;
use crate::stamp::{Stamp, Writer};

/// What PostgreSQL has under a number, looked at after its sequence has been let go on behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NumberView {
    /// A row.
    pub is_there: bool,
    /// A tombstone, with its stamp.
    pub tombstone: Option<Stamp>,
    /// It was handed out there, and whoever has it may not have committed yet.
    pub may_come: bool,
}

/// Numbers that are to be kept.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Of which table.
    pub table: usize,
    /// How many.
    pub count: usize,
    /// The highest number that a row of the file has: what is kept at or below it would be that row's.
    pub behind: i64,
}

/// To whom a number belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberVerdict {
    /// Nobody has it: it can be reserved for the file.
    Free,
    /// It was reserved for this file, under that stamp, and the answer was lost.
    Reserved(Stamp),
    /// Somebody has it, or had it: the file's row takes another one.
    Taken,
}

impl NumberView {
    /// To whom the number belongs. A reservation is a tombstone under the number of the file that asks;
    /// that of its own delete would be one that it remembers, and then it does not ask.
    #[must_use]
    pub fn judge(self, file: Writer) -> NumberVerdict {
        match self.tombstone {
            _ if self.is_there => NumberVerdict::Taken,
            Some(stamp) if stamp.writer() == file => NumberVerdict::Reserved(stamp),
            Some(_) => NumberVerdict::Taken,
            None if self.may_come => NumberVerdict::Taken,
            None => NumberVerdict::Free,
        }
    }
}

/// A number that PostgreSQL keeps for a row of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reservation {
    /// Which: the row's own, or another one.
    pub number: i64,
    /// The stamp of the tombstone by which it is kept.
    pub stamp: Stamp,
}

/// What PostgreSQL says of the surrogate of a row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surrogate {
    /// The one that it has, or a fresh one; `None`: the sequence may not be used, or there is none.
    pub number: Option<i64>,
    /// Who has the file's own one here, of a row that is not here: it may be the same one under the key that it had.
    pub holder: Option<Key>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_free_if_nobody_has_it_had_it_or_may_have_it() {
        let (mine, other) = (Writer::new(7).unwrap(), Writer::new(8).unwrap());
        let at = |writer| Some(Stamp::at(1_700_000_000_000, writer));
        let judge = |view: NumberView| view.judge(mine);
        let none = NumberView::default();
        assert_eq!(judge(none), NumberVerdict::Free);
        assert_eq!(judge(NumberView { may_come: true, ..none }), NumberVerdict::Taken);
        assert_eq!(judge(NumberView { is_there: true, ..none }), NumberVerdict::Taken);
        for writer in [other, Writer::POSTGRES] {
            assert_eq!(judge(NumberView { tombstone: at(writer), ..none }), NumberVerdict::Taken);
        }
        let own = NumberView { tombstone: at(mine), may_come: true, ..none };
        assert_eq!(judge(own), NumberVerdict::Reserved(at(mine).unwrap()));
    }
}
