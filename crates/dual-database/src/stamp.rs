//! Stamps: who last set a value, and when, in one integer whose plain order is *the* order.
//!
//! A stamp is a hybrid logical clock in a positive `i64`: 41 bits of milliseconds since 2020,
//! 8 bits of counter, 14 bits of writer number. The counter carries into the milliseconds.
//!
//! ```
//! use dual_database::stamp::{Stamp, Writer};
//!
//! let (five, six) = (Writer::new(5).unwrap(), Writer::new(6).unwrap());
//! let first = Stamp::at(1_700_000_000_000, five);
//! let second = first.next(six);
//! assert!(second > first);
//! assert_eq!((second.writer(), second.counter()), (six, 1));
//! // Adding one to the whole would have handed the stamp to writer 6 without asking it.
//! assert_eq!(Stamp::from_raw(first.raw() + 1).unwrap().writer(), six);
//! assert!(first.next(five) > second || first.next(five).writer() < six);
//! ```

use std::fmt;

/// 2020-01-01T00:00:00Z in milliseconds since 1970.
pub(crate) const EPOCH_UNIX_MS: i64 = 1_577_836_800_000;

/// How far a stamp may lie ahead of PostgreSQL's clock before the file that made it has to
/// make it anew, in milliseconds.
pub(crate) const FUTURE_TOLERANCE_MS: i64 = 60_000;

const WRITER_BITS: u32 = 14;
const COUNTER_BITS: u32 = 8;
const MAX_TICK: i64 = i64::MAX >> WRITER_BITS;

/// The number of somebody who writes: 0 is PostgreSQL's triggers; every process that writes
/// has its own while it runs; a SQLite file's triggers have the file's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Writer(u16);

impl Writer {
    /// The triggers on PostgreSQL.
    pub const POSTGRES: Writer = Writer(0);
    /// The highest number there is.
    pub const MAX: Writer = Writer((1 << WRITER_BITS) - 1);

    /// The writer of that number; `None` above [`Writer::MAX`].
    #[must_use]
    pub fn new(number: u16) -> Option<Writer> {
        (number <= Writer::MAX.0).then_some(Writer(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }
}

/// A point in the order of all writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(i64);

impl Stamp {
    /// Below every write: a value that nobody has set.
    pub const ZERO: Stamp = Stamp(0);
    /// A row that was already in the SQLite file when it was adopted.
    pub const ADOPTED_SQLITE: Stamp = Stamp(1);
    /// A row that was already in PostgreSQL when it was adopted: wins among the adopted.
    pub const ADOPTED_POSTGRES: Stamp = Stamp(2);
    /// A row that was already in the SQLite file, where a person has said that the file is right.
    pub(crate) const ADOPTED_PREFERRED: Stamp = Stamp(3);
    /// The end of the order, in the year 2089.
    pub const MAX: Stamp = Stamp(i64::MAX);

    /// The stamp that a sidecar holds as `raw`; `None` if it is negative, which no writer of
    /// ours produces.
    #[must_use]
    pub fn from_raw(raw: i64) -> Option<Stamp> {
        (raw >= 0).then_some(Stamp(raw))
    }

    /// The integer that the sidecars hold.
    #[must_use]
    pub fn raw(self) -> i64 {
        self.0
    }

    /// The first stamp of `writer` in that millisecond (since 1970). A clock that is before
    /// 2020 or after 2089 is taken as the nearest end.
    #[must_use]
    pub fn at(unix_ms: i64, writer: Writer) -> Stamp {
        let ms = unix_ms.saturating_sub(EPOCH_UNIX_MS).clamp(0, MAX_TICK >> COUNTER_BITS);
        Stamp((ms << (COUNTER_BITS + WRITER_BITS)) | i64::from(writer.0))
    }

    /// The lowest stamp of `writer` that is surely above this one whatever the two numbers:
    /// raises the counter, which carries into the milliseconds, and sets the *own* number.
    /// At the end of the order it stays there; the tie rule then decides.
    ///
    /// ```
    /// use dual_database::stamp::{Stamp, Writer};
    /// let mut stamp = Stamp::at(1_700_000_000_000, Writer::MAX);
    /// for _ in 0..256 {
    ///     stamp = stamp.next(Writer::POSTGRES);
    /// }
    /// assert_eq!(stamp, Stamp::at(1_700_000_000_001, Writer::POSTGRES));
    /// assert_eq!(Stamp::MAX.next(Writer::MAX), Stamp::MAX);
    /// ```
    #[must_use]
    pub fn next(self, writer: Writer) -> Stamp {
        let tick = ((self.0 >> WRITER_BITS) + 1).min(MAX_TICK);
        Stamp(tick << WRITER_BITS).of(writer)
    }

    /// The stamp of the same moment with the number of `writer`.
    #[must_use]
    pub fn of(self, writer: Writer) -> Stamp {
        Stamp((self.0 & !i64::from(Writer::MAX.0)) | i64::from(writer.0))
    }

    /// The bound above which this stamp, and nothing older, counts as unseen; of no use as a stamp.
    #[must_use]
    pub(crate) fn just_below(self) -> Stamp {
        Stamp((self.0 - 1).max(0))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn unix_ms(self) -> i64 {
        (self.0 >> (COUNTER_BITS + WRITER_BITS)) + EPOCH_UNIX_MS
    }

    /// When it was made, in milliseconds since 1970; `None` if nobody has made it: what was there
    /// before, and what nobody has set, has no time.
    ///
    /// ```
    /// use dual_database::stamp::{Stamp, Writer};
    /// assert_eq!(Stamp::ADOPTED_SQLITE.made_ms(), None);
    /// assert_eq!(Stamp::at(1_700_000_000_000, Writer::MAX).made_ms(), Some(1_700_000_000_000));
    /// ```
    #[must_use]
    pub fn made_ms(self) -> Option<i64> {
        Some(self.unix_ms()).filter(|ms| *ms > EPOCH_UNIX_MS)
    }

    /// Whether it is that of what was there before anybody looked.
    #[must_use]
    pub(crate) fn is_adopted(self) -> bool {
        (Stamp::ADOPTED_SQLITE..=Stamp::ADOPTED_PREFERRED).contains(&self)
    }

    /// The counter within the millisecond.
    #[must_use]
    pub fn counter(self) -> u8 {
        u8::try_from((self.0 >> WRITER_BITS) & 0xff).unwrap_or(u8::MAX)
    }

    /// Who made it.
    #[must_use]
    pub fn writer(self) -> Writer {
        Writer(u16::try_from(self.0 & i64::from(Writer::MAX.0)).unwrap_or(Writer::MAX.0))
    }

    /// Whether a server that has lost what had this stamp gives it to nothing else. It does if the
    /// triggers made it from what a change replaced, because that lay ahead of the clock: they have
    /// no memory of their own. What they read from the clock comes only once.
    #[must_use]
    pub(crate) fn is_given_once(self) -> bool {
        self.writer() != Writer::POSTGRES || self.counter() == 0
    }

    /// Whether it lies more than a minute ahead of a clock that shows `now`.
    #[must_use]
    pub fn is_ahead_of(self, now_unix_ms: i64) -> bool {
        self.unix_ms() > now_unix_ms.saturating_add(FUTURE_TOLERANCE_MS)
    }
}

impl fmt::Display for Stamp {
    /// `milliseconds since 1970.counter.writer`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.unix_ms(), self.counter(), self.writer().0)
    }
}

/// What a trigger gives to an outside write: its own clock, but above everything that the
/// change replaces.
#[must_use]
pub fn captured(now_unix_ms: i64, replaced: Stamp, writer: Writer) -> Stamp {
    Stamp::at(now_unix_ms, writer).max(replaced.next(writer))
}

/// Where a process reads the time; a simulation sets it.
pub trait Clock {
    /// Milliseconds since 1970. May drift and jump either way.
    fn unix_ms(&self) -> i64;
}

/// The clock from which one process stamps what it writes.
#[derive(Clone, Debug)]
pub struct StampClock<C> {
    clock: C,
    writer: Writer,
    offset_ms: i64,
    /// The highest that was made or seen and did not lie too far ahead.
    last: Stamp,
    /// The highest of those made here that did.
    wild: Stamp,
    /// The last that a refused write got.
    restamped: Stamp,
}

impl<C: Clock> StampClock<C> {
    /// A clock for the process that holds the number `writer`.
    pub fn new(clock: C, writer: Writer) -> StampClock<C> {
        let (last, wild, restamped) = (Stamp::ZERO, Stamp::ZERO, Stamp::ZERO);
        StampClock { clock, writer, offset_ms: 0, last, wild, restamped }
    }

    /// The process's number.
    pub fn writer(&self) -> Writer {
        self.writer
    }

    /// Another number: somebody else has the one so far. What was seen and made stays known.
    pub fn renumber(&mut self, writer: Writer) {
        self.writer = writer;
    }

    /// The underlying clock.
    pub fn clock_mut(&mut self) -> &mut C {
        &mut self.clock
    }

    /// Milliseconds since 1970 by PostgreSQL's clock, as far as it was measured.
    pub fn unix_ms(&self) -> i64 {
        self.clock.unix_ms().saturating_add(self.offset_ms)
    }

    /// Takes PostgreSQL's clock as the right one: `primary_unix_ms` is what it showed just now.
    pub fn correct(&mut self, primary_unix_ms: i64) {
        self.offset_ms = primary_unix_ms.saturating_sub(self.clock.unix_ms());
    }

    /// The same from an answer that was waited for: asked at `sent_unix_ms` by the machine's
    /// clock, answered just now. What was measured before stands as long as it agrees with the
    /// answer, which may be late by all that time: a slow one would set the clock back, below
    /// what others write.
    pub(crate) fn measure(&mut self, sent_unix_ms: i64, primary_unix_ms: i64) {
        let least = primary_unix_ms.saturating_sub(self.clock.unix_ms());
        let most = primary_unix_ms.saturating_sub(sent_unix_ms).max(least);
        self.offset_ms = self.offset_ms.clamp(least, most);
    }

    /// A stamp for the next write: above what the write `replaces`, and above everything made
    /// here that was not too far ahead. No stamp is handed out twice, even if what it
    /// was made from comes back by a restore: one that has to lie too far ahead, because what it
    /// replaces does, lies above all of those made here before.
    pub fn propose(&mut self, replaces: Stamp) -> Stamp {
        let now = self.unix_ms();
        // The clock may have been corrected since, or has caught up.
        if self.last.is_ahead_of(now) {
            self.wild = self.wild.max(std::mem::take(&mut self.last));
        } else if !self.wild.is_ahead_of(now) {
            self.last = self.last.max(std::mem::take(&mut self.wild));
        }
        let base = self.last.max(replaces);
        let stamp = captured(now, base, self.writer);
        if stamp.is_ahead_of(now) {
            self.wild = captured(now, base.max(self.wild), self.writer);
            return self.wild;
        }
        self.last = stamp;
        stamp
    }

    /// The stamp that a write gets which PostgreSQL refused to take because it lies ahead of its
    /// clock ([`refused_as_ahead`]): the highest that PostgreSQL would take by the clock that it
    /// answered with, above the `base` that the write replaced. Not the present: what the file
    /// sent earlier, and what this write has replaced, may be anywhere below that height.
    pub fn restamp(&mut self, base: Stamp, primary_unix_ms: i64) -> Stamp {
        let height = primary_unix_ms.saturating_add(FUTURE_TOLERANCE_MS);
        let stamp = captured(height, base.max(self.restamped), self.writer);
        // Far ones only serve their own row; the process does not follow them.
        self.restamped = if stamp.is_ahead_of(primary_unix_ms) { self.restamped } else { stamp };
        stamp
    }
}

/// Whether PostgreSQL, whose clock shows `primary_unix_ms`, refuses to take a pending register:
/// it lies ahead, and what it replaced did not. (If that did, PostgreSQL's own clock was once
/// wrong, and it has stamps of that height already.)
///
/// PostgreSQL judges it in the transaction of the push, under its own clock. A file that judged
/// by an offset which it measured earlier would restamp good writes after its clock was set
/// back, below stamps of theirs that PostgreSQL has.
#[must_use]
pub fn refused_as_ahead(pending: Stamp, base: Stamp, primary_unix_ms: i64) -> bool {
    pending.is_ahead_of(primary_unix_ms) && !base.is_ahead_of(primary_unix_ms)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct At(i64);

    impl Clock for At {
        fn unix_ms(&self) -> i64 {
            self.0
        }
    }

    fn writer() -> impl Strategy<Value = Writer> {
        (0..=Writer::MAX.0).prop_map(Writer)
    }

    proptest! {
        #[test]
        fn next_is_above_and_carries_the_own_number(raw in 0..=(i64::MAX >> 15) << 15, by in writer()) {
            let stamp = Stamp(raw);
            let next = stamp.next(by);
            prop_assert!(next > stamp);
            prop_assert_eq!(next.writer(), by);
            prop_assert!(next.unix_ms() - stamp.unix_ms() <= 1);
        }

        #[test]
        fn no_clock_makes_a_stamp_negative_or_overflows(ms: i64, by in writer(), raw in 0..=i64::MAX) {
            prop_assert!(captured(ms, Stamp(raw), by).raw() >= 0);
            prop_assert!(Stamp::at(ms, by).raw() >= 0);
            prop_assert!(StampClock::new(At(ms), by).restamp(Stamp(raw), ms).raw() >= 0);
        }

        #[test]
        fn proposals_rise_whatever_the_clock_does(jumps in prop::collection::vec(-100_000i64..100_000, 1..30)) {
            let mut clock = StampClock::new(At(EPOCH_UNIX_MS + 10_000_000), Writer(7));
            let mut before = Stamp::ZERO;
            for jump in jumps {
                clock.clock_mut().0 += jump;
                // The row holds the process's previous write.
                let stamp = clock.propose(before);
                prop_assert!(stamp > before);
                before = stamp;
            }
        }
    }

    #[test]
    fn a_wild_stamp_is_beaten_on_its_row_but_not_followed() {
        let now = 1_700_000_000_000;
        let mut clock = StampClock::new(At(now), Writer(7));
        let wild = Stamp::at(now + 86_400_000, Writer(3));
        assert!(clock.propose(wild) > wild);
        assert_eq!(clock.propose(Stamp::ZERO), Stamp::at(now, Writer(7)));
    }

    #[test]
    fn the_measured_offset_is_applied() {
        let mut clock = StampClock::new(At(1_700_000_000_000), Writer(7));
        clock.correct(1_700_000_123_456);
        assert_eq!(clock.propose(Stamp::ZERO).unix_ms(), 1_700_000_123_456);
    }

    #[test]
    fn a_slow_answer_does_not_move_a_clock_that_agrees_with_it() {
        let now = 1_700_000_000_000;
        let mut clock = StampClock::new(At(now), Writer(7));
        clock.measure(now - 900, now - 400);
        assert_eq!(clock.unix_ms(), now);
        clock.measure(now - 900, now + 5_000);
        assert_eq!(clock.unix_ms(), now + 5_000);
        clock.measure(now, now + 5_001);
        assert_eq!(clock.unix_ms(), now + 5_001);
    }

    #[test]
    fn a_refused_stamp_is_made_anew_above_all_that_could_have_been_taken() {
        let now = 1_700_000_000_000;
        let mut clock = StampClock::new(At(now - 3_600_000), Writer(9));
        let (taken, wild) =
            (Stamp::at(now + 59_000, Writer(3)), Stamp::at(now + 61_000, Writer(3)));
        assert!(!refused_as_ahead(taken, Stamp::ZERO, now));
        assert!(refused_as_ahead(wild, taken, now));
        assert!(!refused_as_ahead(wild.next(Writer(3)), wild, now));
        let fresh = clock.restamp(Stamp::ZERO, now);
        assert!(fresh > taken && !refused_as_ahead(fresh, Stamp::ZERO, now));
        let second = clock.restamp(Stamp::ZERO, now);
        assert!(second > fresh && !refused_as_ahead(second, Stamp::ZERO, now));
    }

    #[test]
    fn a_wild_stamp_is_not_made_twice_though_its_base_comes_back() {
        let now = 1_700_000_000_000;
        let mut clock = StampClock::new(At(now), Writer(7));
        let base = Stamp::at(now + 3_600_000, Writer(3));
        let first = clock.propose(base);
        assert!(clock.propose(base) > first);
        clock.clock_mut().0 = first.unix_ms();
        assert!(clock.propose(Stamp::ZERO) > first);
    }

    #[test]
    fn a_corrected_clock_forgets_what_it_made_while_it_was_wrong() {
        let now = 1_700_000_000_000;
        let mut clock = StampClock::new(At(now + 3_600_000), Writer(7));
        let wild = clock.propose(Stamp::ZERO);
        clock.correct(now);
        let first = clock.propose(Stamp::ZERO);
        let second = clock.propose(Stamp::ZERO);
        assert!(first < second && second < wild);
    }

    #[test]
    fn reserved_stamps_are_ordered_and_below_every_write() {
        assert!(Stamp::ZERO < Stamp::ADOPTED_SQLITE);
        assert!(Stamp::ADOPTED_SQLITE < Stamp::ADOPTED_POSTGRES);
        assert!(Stamp::ADOPTED_POSTGRES < Stamp::ADOPTED_PREFERRED);
        assert!(Stamp::ADOPTED_PREFERRED < Stamp::ZERO.next(Writer::POSTGRES));
        assert!(!Stamp::ZERO.is_adopted() && Stamp::ADOPTED_PREFERRED.is_adopted());
        assert!(!Stamp::ZERO.next(Writer::POSTGRES).is_adopted());
        assert_eq!(Stamp::from_raw(-1), None);
        assert_eq!(Writer::new(16_384), None);
    }
}
