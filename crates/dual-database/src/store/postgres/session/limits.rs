//! How long is waited.

use std::time::Duration;

/// See [`Limits::idle`].
const IDLE: Duration = Duration::from_secs(10);
const MASSES: Duration = Duration::from_secs(60);

/// How long is waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For each address of a host: connection, TLS, password and the look at the server.
    pub connect: Duration,
    /// For one statement, in the server. A COPY counts as one statement. Zero: no limit.
    pub statement: Duration,
    /// For a lock, in the server.
    pub lock: Duration,
    /// By how much a wait here is longer than the server's own limit, so that the server, which
    /// can say why, is heard first.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connect: Duration::from_secs(10),
            statement: Duration::from_secs(30),
            lock: Duration::from_secs(10),
            grace: Duration::from_secs(5),
        }
    }
}

impl Limits {
    /// How long an answer is waited for; then the server or the network is taken for dead.
    pub(in super::super) fn answer(&self) -> Duration {
        if self.statement.is_zero() {
            return Duration::MAX;
        }
        self.statement.saturating_add(self.grace)
    }

    /// How long the answer to a COMMIT is waited for, however large what it commits is: locks are held
    /// meanwhile, and what it can wait for is a disk or a standby.
    pub(super) fn commit(&self) -> Duration {
        self.answer().min(MASSES.saturating_add(self.grace))
    }

    /// How long the server leaves a transaction open in which nothing happens: a program that was
    /// stopped, or a network that was cut, must not hold its locks. Time enough for what is done
    /// between two statements of a transaction; more for those that move masses of rows.
    pub(super) fn idle(&self) -> Duration {
        match self.statement {
            Duration::ZERO => Duration::ZERO,
            statement if statement > MASSES => statement,
            _ => IDLE,
        }
    }
}

/// As the server takes it: zero means "no limit" there, and so it does here.
pub(super) fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
