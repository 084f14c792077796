//! The search for the rows that a store refuses, by halves, so that one bad row among a million costs
//! some twenty statements and stops no other.

/// What is still to be tried: ranges of rows of the source, both ends included.
pub(super) struct Halves(Vec<(i64, i64)>);

impl Halves {
    pub(super) fn of(all: (i64, i64)) -> Halves {
        Halves(vec![all])
    }

    /// The next range, from the first row to the last.
    pub(super) fn next(&mut self) -> Option<(i64, i64)> {
        self.0.pop()
    }

    /// The range was refused: its halves are to be tried, unless it is a single row, which is returned.
    pub(super) fn refused(&mut self, (low, high): (i64, i64)) -> Option<i64> {
        if low >= high {
            return Some(low);
        }
        let middle = low + (high - low) / 2;
        self.0.extend([(middle + 1, high), (low, middle)]);
        None
    }
}
