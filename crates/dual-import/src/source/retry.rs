//! When a request is repeated, and how long to wait before.

use std::time::Duration;

use dual_database::error::{Error, Kind, Result};

use crate::{Event, Observer};

/// Attempts of one request that may run into a time-out: each is long by itself.
const TIME_OUTS: u32 = 4;

/// How long to wait between attempts: full jitter, that is a random part of
/// `min(cap, base × 2ⁿ)`.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// The upper limit of the first wait.
    pub base: Duration,
    /// The upper limit of every wait.
    pub cap: Duration,
    /// All waits of one request together. Google's read quota is refilled each minute, so
    /// that less than a minute fails for nothing.
    pub budget: Duration,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            base: Duration::from_secs(1),
            cap: Duration::from_secs(32),
            budget: Duration::from_secs(120),
        }
    }
}

/// An attempt that failed in a way that a repetition can mend.
#[derive(Debug)]
pub(crate) struct Again {
    /// One clause for a person.
    pub reason: String,
    /// What the server asked for.
    pub retry_after: Option<Duration>,
    pub timed_out: bool,
    /// For the error, should no attempt succeed.
    pub hint: Option<&'static str>,
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Again {
    pub fn new(reason: impl Into<String>) -> Again {
        Again {
            reason: reason.into(),
            retry_after: None,
            timed_out: false,
            hint: None,
            source: None,
        }
    }
}

/// What to do after a failed attempt.
#[derive(Debug, PartialEq)]
enum Step {
    Wait(Duration),
    GiveUp(String),
}

/// The waits of one request.
#[derive(Debug)]
pub(crate) struct Backoff<'a> {
    policy: &'a RetryPolicy,
    operation: &'static str,
    attempts: u32,
    time_outs: u32,
    spent: Duration,
}

impl<'a> Backoff<'a> {
    pub fn new(policy: &'a RetryPolicy, operation: &'static str) -> Backoff<'a> {
        Backoff { policy, operation, attempts: 0, time_outs: 0, spent: Duration::ZERO }
    }

    /// Waits before the next attempt, telling `observer`; fails with
    /// [`Kind::SourceUnavailable`] when the budget is used up.
    pub async fn pause(&mut self, again: Again, observer: &dyn Observer) -> Result<()> {
        let unit: f64 = rand::random();
        match self.next(unit, again.retry_after, again.timed_out) {
            Step::Wait(wait) => {
                observer.event(Event::Waiting {
                    reason: &again.reason,
                    wait,
                    budget_left: self.policy.budget.saturating_sub(self.spent),
                });
                tokio::time::sleep(wait).await;
                Ok(())
            }
            Step::GiveUp(why) => {
                let message = format!("{}; {why}", again.reason);
                let mut error = Error::new(Kind::SourceUnavailable, self.operation, message)
                    .with_hint(again.hint.unwrap_or("nothing was changed; run it again later"));
                if let Some(source) = again.source {
                    error = error.with_source(source);
                }
                Err(error)
            }
        }
    }

    fn next(&mut self, unit: f64, retry_after: Option<Duration>, timed_out: bool) -> Step {
        self.attempts = self.attempts.saturating_add(1);
        self.time_outs = self.time_outs.saturating_add(u32::from(timed_out));
        let tries = if self.attempts == 1 { "try" } else { "tries" };
        if self.time_outs >= TIME_OUTS {
            return Step::GiveUp(format!("given up after {} {tries}", self.attempts));
        }
        let left = self.policy.budget.saturating_sub(self.spent);
        if left < Duration::from_millis(1) {
            return Step::GiveUp(format!(
                "given up after {} {tries} and {} of waiting",
                self.attempts,
                in_words(self.spent)
            ));
        }
        let wait = match retry_after {
            Some(asked) if asked > left => {
                return Step::GiveUp(format!(
                    "the server asks to wait {}, longer than the {} that are left",
                    in_words(asked),
                    in_words(left)
                ));
            }
            Some(asked) => asked,
            None => {
                let doublings = (self.attempts - 1).min(20);
                let limit = self.policy.base.saturating_mul(1 << doublings).min(self.policy.cap);
                // Never nothing at all: an unlucky draw must not become a busy loop.
                limit.mul_f64(unit.clamp(0.02, 1.0)).min(left)
            }
        };
        self.spent = self.spent.saturating_add(wait.max(Duration::from_millis(1)));
        Step::Wait(wait)
    }
}

/// A duration as a person says it: `0.3 s`, `45 s`, `2 min`, `2 h 13 min`, `3 d 4 h`.
pub(crate) fn in_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let pair = |large: u64, unit: &str, small: u64, small_unit: &str| {
        if small == 0 {
            format!("{large} {unit}")
        } else {
            format!("{large} {unit} {small} {small_unit}")
        }
    };
    match seconds {
        0..10 if duration.subsec_millis() > 0 => format!("{:.1} s", duration.as_secs_f64()),
        0..60 => format!("{seconds} s"),
        60..3_600 => pair(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => pair(seconds / 3_600, "h", seconds / 60 % 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds / 3_600 % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(unit: f64) -> (Vec<Duration>, String) {
        let policy = RetryPolicy::default();
        let mut backoff = Backoff::new(&policy, "test");
        let mut waits = Vec::new();
        loop {
            match backoff.next(unit, None, false) {
                Step::Wait(wait) => waits.push(wait),
                Step::GiveUp(why) => return (waits, why),
            }
        }
    }

    #[test]
    fn waits_double_to_the_cap_and_add_up_to_the_budget() {
        let (waits, why) = schedule(1.0);
        let seconds: Vec<u64> = waits.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 32, 25]);
        assert_eq!(why, "given up after 9 tries and 2 min of waiting");
        for unit in [0.0, 0.3, 0.7] {
            let (waits, _) = schedule(unit);
            let total: Duration = waits.iter().sum();
            assert!(total.abs_diff(Duration::from_secs(120)) < Duration::from_millis(10));
            assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(32)));
        }
    }

    #[test]
    fn the_servers_wish_is_honoured_within_the_budget() {
        let policy = RetryPolicy::default();
        let mut backoff = Backoff::new(&policy, "test");
        let asked = Duration::from_secs(70);
        assert_eq!(backoff.next(0.5, Some(asked), false), Step::Wait(asked));
        assert!(matches!(
            backoff.next(0.5, Some(asked), false),
            Step::GiveUp(why) if why == "the server asks to wait 1 min 10 s, longer than the 50 s that are left"
        ));
        let zero = Duration::ZERO;
        assert_eq!(backoff.next(0.5, Some(zero), false), Step::Wait(zero));
    }

    #[test]
    fn asking_for_no_wait_for_ever_ends() {
        let policy = RetryPolicy { budget: Duration::from_millis(20), ..RetryPolicy::default() };
        let mut backoff = Backoff::new(&policy, "test");
        let mut tries = 0;
        while let Step::Wait(_) = backoff.next(0.5, Some(Duration::ZERO), false) {
            tries += 1;
            assert!(tries < 100);
        }
    }

    #[test]
    fn time_outs_are_few() {
        let policy = RetryPolicy::default();
        let mut backoff = Backoff::new(&policy, "test");
        for _ in 1..TIME_OUTS {
            assert!(matches!(backoff.next(0.5, None, true), Step::Wait(_)));
        }
        assert!(matches!(backoff.next(0.5, None, true), Step::GiveUp(_)));
    }

    #[test]
    fn durations_in_words() {
        for (seconds, words) in [
            (0.25, "0.2 s"),
            (45.0, "45 s"),
            (120.0, "2 min"),
            (125.0, "2 min 5 s"),
            (7_980.0, "2 h 13 min"),
            (273_600.0, "3 d 4 h"),
        ] {
            assert_eq!(in_words(Duration::from_secs_f64(seconds)), words);
        }
    }
}
