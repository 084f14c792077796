//! A process of the product: what it remembers between two steps.

use std::collections::BTreeMap;

use dual_database::merge::{Change, Tracked, Version};
use dual_database::protocol::{Epoch, Follow, Pace, Token, Tokens};
use dual_database::stamp::{Clock, Stamp, StampClock, Writer};

use crate::file::Content;
use crate::primary::{Answer, Late, Poll, Pushed};
use crate::rules::Key;
use crate::truth::WriteId;

/// The machine's clock, set by the world before each step.
#[derive(Clone, Copy, Debug)]
pub struct Wall(pub i64);

impl Clock for Wall {
    fn unix_ms(&self) -> i64 {
        self.0
    }
}

/// A library call between PostgreSQL's answer, or its absence, and the file.
#[derive(Debug)]
pub enum Call {
    /// PostgreSQL has it.
    Answered { write: WriteId, statement: Late, answer: Answer, epoch: Epoch },
    /// PostgreSQL is away, or its answer was `lost`.
    Alone {
        write: WriteId,
        changes: Vec<(Key, Change)>,
        proposal: Stamp,
        lost: bool,
        /// What was read at PostgreSQL to compute it.
        read: Vec<(Key, Version)>,
    },
    /// With a trap: the caller has its answer, the file does not have the write.
    Uncommitted(Box<Content>),
}

/// A batch on its way.
#[derive(Clone, Debug)]
pub struct Batch {
    pub rows: BTreeMap<Key, Tracked>,
    pub upto: u64,
    pub stale: Option<BTreeMap<Key, Version>>,
    /// The server for which it was read.
    pub followed: Epoch,
}

/// Where a round of the synchroniser stands.
#[derive(Clone, Debug)]
pub enum Round {
    Connect,
    Rotate {
        seen: Option<Token>,
        fresh: Token,
    },
    Confirm {
        fresh: Token,
    },
    PushRead,
    /// PostgreSQL's clock has refused what was pushed.
    Restamp {
        primary_ms: i64,
    },
    Push(Batch),
    PushAcknowledge {
        batch: Batch,
        pushed: Pushed,
    },
    Poll,
    Apply {
        poll: Poll,
        follow: Follow,
        /// The file's, from before the poll.
        tokens: Tokens,
    },
    Compare,
    Plan {
        poll: Poll,
    },
    Give {
        poll: Poll,
        batch: Batch,
        follow: Follow,
    },
    Finish {
        poll: Poll,
        batch: Batch,
        pushed: Pushed,
        follow: Follow,
    },
}

#[derive(Debug)]
pub struct Process {
    pub file: usize,
    pub alive: bool,
    /// Stopped by SIGSTOP.
    pub stopped: bool,
    pub clock: StampClock<Wall>,
    /// The server's incarnation that its connection belongs to.
    pub connection: Option<u64>,
    pub call: Option<Call>,
    pub round: Option<Round>,
    /// It will wake up by itself.
    pub armed: bool,
    pub pace: Pace,
}

impl Process {
    pub fn new(file: usize, writer: Writer) -> Process {
        Process {
            file,
            alive: true,
            stopped: false,
            clock: StampClock::new(Wall(0), writer),
            connection: None,
            call: None,
            round: None,
            armed: true,
            pace: Pace::new(1_000),
        }
    }

    pub fn runs(&self) -> bool {
        self.alive && !self.stopped
    }

    pub fn kill(&mut self) {
        self.alive = false;
        self.stopped = false;
        self.connection = None;
        self.call = None;
        self.round = None;
    }
}
