//! When the synchroniser wakes up again, and which process does its work.

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that was there has been exchanged.
    Idle,
    /// There is more: another process was faster, or something changed meanwhile.
    More,
    /// A side was away, or refused for a passing reason.
    Failed,
}

/// The pace of rounds. There is no state without a next wake-up, so that no retry waits for
/// the next write to arm it; doorbells and local writes only bring it forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    poll_ms: u64,
    failures: u32,
}

impl Pace {
    /// The longest wait after failures, in milliseconds.
    pub(crate) const MAX_BACKOFF_MS: u64 = 5_000;

    /// Rounds every `poll_ms` milliseconds while all is quiet.
    #[must_use]
    pub fn new(poll_ms: u64) -> Pace {
        Pace { poll_ms, failures: 0 }
    }

    /// The pace after a round, and the milliseconds until the next. After failures the wait
    /// doubles, between half and all of it by `random`, so that nodes do not return in step.
    ///
    /// ```
    /// use dual_database::protocol::{Outcome, Pace};
    /// let pace = Pace::new(1_000);
    /// assert_eq!(pace.next(Outcome::Idle, 7).1, 1_000);
    /// assert_eq!(pace.next(Outcome::More, 7).1, 0);
    /// let (pace, first) = pace.next(Outcome::Failed, u32::MAX);
    /// let (_, second) = pace.next(Outcome::Failed, u32::MAX);
    /// assert_eq!((first, second), (200, 400));
    /// ```
    #[must_use]
    pub fn next(self, outcome: Outcome, random: u32) -> (Pace, u64) {
        match outcome {
            Outcome::Idle => (Pace { failures: 0, ..self }, self.poll_ms),
            Outcome::More => (Pace { failures: 0, ..self }, 0),
            Outcome::Failed => {
                let longest = (200u64 << self.failures.min(16)).min(Pace::MAX_BACKOFF_MS);
                let jitter = longest / 2 * u64::from(random) / u64::from(u32::MAX);
                let failures = self.failures.saturating_add(1);
                (Pace { failures, ..self }, longest / 2 + jitter)
            }
        }
    }
}

/// Which process of a file runs the synchroniser: kept in the file, renewed by a heartbeat.
/// It saves work; correctness rests on the compare-and-swap of the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The process's writer number.
    pub holder: u16,
    /// Milliseconds since 1970 by the machine's clock.
    pub until_unix_ms: i64,
}

impl Lease {
    /// How long a process that has stopped keeps the others out, in milliseconds.
    pub(crate) const LENGTH_MS: i64 = 3_000;

    /// The lease that `process` holds from `now_unix_ms` on; `None` while another holds it.
    /// An end further ahead than any lease is long was made by a clock that has since been
    /// set back: it does not count.
    ///
    /// ```
    /// use dual_database::protocol::Lease;
    /// let first = Lease::take(None, 1, 10_000).unwrap();
    /// assert_eq!(Lease::take(Some(first), 2, 12_999), None);
    /// assert!(Lease::take(Some(first), 1, 12_999).is_some());
    /// assert!(Lease::take(Some(first), 2, 13_000).is_some());
    /// assert!(Lease::take(Some(first), 2, 9_000).is_some());
    /// ```
    #[must_use]
    pub fn take(current: Option<Lease>, process: u16, now_unix_ms: i64) -> Option<Lease> {
        let taken = current.is_some_and(|lease| {
            let left = lease.until_unix_ms.saturating_sub(now_unix_ms);
            lease.holder != process && (1..=Lease::LENGTH_MS).contains(&left)
        });
        let until_unix_ms = now_unix_ms.saturating_add(Lease::LENGTH_MS);
        (!taken).then_some(Lease { holder: process, until_unix_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_is_bounded_and_ends_with_the_first_success() {
        let mut pace = Pace::new(1_000);
        for round in 0..100u32 {
            let wait;
            (pace, wait) = pace.next(Outcome::Failed, round.wrapping_mul(0x9e37_79b9));
            assert!((100..=Pace::MAX_BACKOFF_MS).contains(&wait));
        }
        (pace, _) = pace.next(Outcome::Idle, 0);
        assert!(pace.next(Outcome::Failed, u32::MAX).1 <= 200);
    }
}
