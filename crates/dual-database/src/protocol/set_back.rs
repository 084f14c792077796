//! Setting stamps back that lie in the future: what a person decides once, for every file.

use crate::merge::{Tracked, Version};
use crate::stamp::{FUTURE_TOLERANCE_MS, Stamp, Writer};

/// How many rows of a table have stamps that lie in the future, or that are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ahead {
    /// Rows.
    pub rows: u64,
    /// The highest of their stamps.
    pub highest: Option<Stamp>,
}

/// The decision that what lay above `limit` was no time at all. PostgreSQL keeps it for good, made in
/// the transaction that sets its own rows back. A file that meets it, however late, sets back what it
/// holds before it compares: what is settled there had been in PostgreSQL before the decision, so
/// above the limit it is of that future, even if the clock has passed it since.
///
/// Values stay as they are, and the order of what was below the limit.
///
/// ```
/// use dual_database::stamp::{Stamp, Writer};
/// use dual_database::protocol::SetBack;
///
/// let now = 1_700_000_000_000;
/// let one = SetBack::at(7, now, Stamp::ZERO);
/// let future = Stamp::at(now + 86_400_000, Writer::MAX);
/// assert_eq!(one.remote(future), one.stamp);
/// let file = Writer::new(7).unwrap();
/// assert!(!one.stamp.is_ahead_of(now) && one.local(future, file) < one.stamp);
/// let sound = Stamp::at(now + 60_000, Writer::MAX);
/// assert_eq!((one.remote(sound), one.local(sound, file)), (sound, sound));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetBack {
    /// Its own number: a file keeps which ones it has met. (A count would come again after a restore.)
    pub id: u128,
    /// The highest stamp that PostgreSQL's clock did not contradict.
    pub limit: Stamp,
    /// What stands in PostgreSQL instead of a higher one: above everything else that it has.
    pub stamp: Stamp,
}

impl SetBack {
    /// The decision at PostgreSQL's time `now_unix_ms`, where `highest` is the highest stamp that it
    /// has up to then, and a clock's allowance.
    #[must_use]
    pub fn at(id: u128, now_unix_ms: i64, highest: Stamp) -> SetBack {
        let limit = SetBack::limit(now_unix_ms);
        // Two above: the one between is the files'.
        let above = Stamp::at(now_unix_ms, Writer::POSTGRES).max(highest).next(Writer::POSTGRES);
        SetBack { id, limit, stamp: above.next(Writer::POSTGRES) }
    }

    /// The highest stamp that is not ahead of a clock that shows `now_unix_ms`.
    #[must_use]
    pub fn limit(now_unix_ms: i64) -> Stamp {
        let end = now_unix_ms.saturating_add(FUTURE_TOLERANCE_MS).saturating_add(1);
        Stamp::at(end, Writer::POSTGRES).just_below()
    }

    /// A stamp of PostgreSQL's.
    #[must_use]
    pub fn remote(&self, stamp: Stamp) -> Stamp {
        if stamp > self.limit { self.stamp } else { stamp }
    }

    /// A stamp in a file, whose number is `file`, of what PostgreSQL once had: below what PostgreSQL's is
    /// set back to, because nothing tells whether it was the same one; above all of which PostgreSQL may
    /// have nothing else. With the file's own number: two files may have had two stamps of the future,
    /// of which PostgreSQL has lost either.
    #[must_use]
    pub fn local(&self, stamp: Stamp, file: Writer) -> Stamp {
        if stamp > self.limit { self.between(file) } else { stamp }
    }

    /// What something pending in a file has replaced: below what any file's is set back to, and so not
    /// taken for it.
    #[must_use]
    pub fn base(&self, base: Stamp) -> Stamp {
        if base > self.limit { self.between(Writer::POSTGRES) } else { base }
    }

    fn between(&self, writer: Writer) -> Stamp {
        self.stamp.just_below().of(writer)
    }

    /// The purge horizon, on either side. One from the future tells nothing of what was purged but that it
    /// was before the decision.
    #[must_use]
    pub fn horizon(&self, horizon: Stamp) -> Stamp {
        self.remote(horizon)
    }

    /// PostgreSQL's row, set back.
    #[must_use]
    pub fn version(&self, version: &Version) -> Version {
        let mut version = version.clone();
        version.live.stamp = self.remote(version.live.stamp);
        version.columns.iter_mut().for_each(|column| column.stamp = self.remote(column.stamp));
        version
    }

    /// A stamp in a file of what is pending on top of `base`, and was made from it: next to what
    /// PostgreSQL's was set back to. So it is above what it has replaced, and whoever writes at PostgreSQL
    /// afterwards is above it; it may itself be what PostgreSQL has set back, its answer lost.
    ///
    /// On top of what is sound it is as the clock of its process was, and is left to the push.
    #[must_use]
    pub fn pending(&self, stamp: Stamp, base: Stamp) -> Stamp {
        if base > self.limit { self.stamp.next(stamp.writer()) } else { stamp }
    }

    /// A row of the file whose number is `file`, set back.
    #[must_use]
    pub fn tracked(&self, row: &Tracked, file: Writer) -> Tracked {
        let mut row = row.clone();
        let settle = |stamp: &mut Stamp, base: Option<&mut Stamp>| match base {
            // What an insert that has not arrived has met there was not set here.
            Some(base) if *stamp == *base => {
                *stamp = self.local(*stamp, file);
                *base = self.base(*base);
            }
            Some(base) => {
                *stamp = self.pending(*stamp, *base);
                *base = self.base(*base);
            }
            None => *stamp = self.local(*stamp, file),
        };
        settle(&mut row.version.live.stamp, row.bases.live.as_mut());
        for (at, column) in row.version.columns.iter_mut().enumerate() {
            settle(&mut column.stamp, row.bases.columns.get_mut(at).and_then(Option::as_mut));
            if !row.version.live.value {
                // A tombstone is one stamp.
                column.stamp = row.version.live.stamp;
            }
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::{Bases, Register};
    use crate::value::Value;

    const NOW: i64 = 1_700_000_000_000;

    fn at(ms: i64) -> Stamp {
        Stamp::at(NOW + ms, Writer::POSTGRES)
    }

    #[test]
    fn the_limit_is_that_of_the_clock() {
        let limit = SetBack::limit(NOW);
        assert!(!limit.is_ahead_of(NOW) && limit.next(Writer::POSTGRES).is_ahead_of(NOW));
        assert_eq!(SetBack::limit(i64::MAX), SetBack::limit(i64::MAX - 1));
    }

    #[test]
    fn what_was_sound_keeps_its_order_and_lies_below() {
        let one = SetBack::at(1, NOW, at(30_000));
        assert!(one.remote(at(30_000)) < one.stamp && one.stamp < at(31_000));
        let file = Writer::new(7).unwrap();
        let highest = Stamp::at(NOW + 30_000, Writer::MAX);
        let one = SetBack::at(1, NOW, highest);
        let here = one.local(at(90_000), file);
        assert!(one.base(at(90_000)) > highest && here > one.base(at(90_000)));
        assert!(here < one.remote(at(90_000)) && one.local(at(90_000), Writer::MAX) != here);
        assert_eq!(one.horizon(at(-5)), at(-5));
    }

    #[test]
    fn what_is_pending_stays_above_what_it_replaced() {
        let one = SetBack::at(1, NOW, Stamp::ZERO);
        let column = |ms| Register { stamp: at(ms), value: Value::Int(ms) };
        let version = Version {
            live: Register { stamp: at(80_000), value: true },
            columns: vec![column(90_000), column(95_000), column(-5), column(99_000)],
        };
        let bases = Bases { live: None, columns: vec![None, Some(at(90_000)), None, Some(at(0))] };
        let file = Writer::new(7).unwrap();
        let row = one.tracked(&Tracked { version, bases }, file);
        let below = one.local(at(90_000), file);
        assert_eq!(row.version.live.stamp, below);
        assert_eq!(
            row.version.columns,
            [
                Register { stamp: below, ..column(90_000) },
                Register { stamp: one.stamp.next(Writer::POSTGRES), ..column(95_000) },
                column(-5),
                column(99_000)
            ]
        );
        assert_eq!(row.bases.columns, [None, Some(one.base(at(90_000))), None, Some(at(0))]);
        assert!(row.is_refused_as_ahead(NOW), "by the clock of its process");
    }

    #[test]
    fn what_an_insert_has_met_stays_below_what_stands() {
        let one = SetBack::at(1, NOW, Stamp::ZERO);
        let column = Register { stamp: at(90_000), value: Value::Int(1) };
        let live = Register { stamp: at(2), value: true };
        let version = Version { live, columns: vec![column] };
        let bases = Bases { live: Some(at(1)), columns: vec![Some(at(90_000))] };
        let row = one.tracked(&Tracked { version, bases }, Writer::MAX);
        assert!(row.version.stamp_of(0) < one.stamp);
        assert!(row.bases.column(0) < Some(row.version.stamp_of(0)));
    }
}
