//! Known mistakes, to be put back one at a time: a model that does not notice them proves
//! nothing.

macro_rules! traps {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal,)+) => {
        /// A mistake that can be put back.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Trap { $($(#[doc = $doc])+ $name,)+ }

        impl Trap {
            /// Every trap.
            pub const ALL: &'static [Trap] = &[$(Trap::$name,)+];

            /// Its name on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Trap::$name => $text,)+ }
            }
        }

        impl std::str::FromStr for Trap {
            type Err = String;

            fn from_str(text: &str) -> Result<Trap, String> {
                let names = || Trap::ALL.iter().map(|trap| trap.name()).collect::<Vec<_>>().join(", ");
                Trap::ALL
                    .iter()
                    .copied()
                    .find(|trap| trap.name() == text)
                    .ok_or_else(|| format!("unknown trap `{text}`; there are: {}", names()))
            }
        }
    };
}

traps! {
    /// PostgreSQL stamps a library's write by its own clock.
    ServerClock = "server-clock",
    /// PostgreSQL raises a low proposal above what exists instead of refusing it: the rule
    /// `greatest(proposal, next(existing))`.
    RaiseProposal = "raise-proposal",
    /// The feed leaves out rows that this file wrote last.
    SkipByOrigin = "skip-by-origin",
    /// The cursor is the highest transaction id seen.
    CursorByMaximum = "cursor-by-maximum",
    /// An insert over a tombstone leaves unnamed columns at stamp zero.
    ZeroAfterDelete = "zero-after-delete",
    /// The epoch has no token.
    NoToken = "no-token",
    /// A server that has an earlier token of the file is taken for one that a copy has met.
    PastTokenIsACopys = "past-token-is-a-copys",
    /// The server has no token of its own.
    NoLife = "no-life",
    /// The epoch does not notice that the tables were recreated.
    NoRelations = "no-relations",
    /// The file takes a direct write without looking at the previous stamps.
    DirectWithoutPrevious = "direct-without-previous",
    /// After a lost answer the file takes what was computed from rows that it does not have.
    FallbackWithoutPrevious = "fallback-without-previous",
    /// The push reads the stamps before it has the row locks.
    StampsBeforeLocks = "stamps-before-locks",
    /// The next stamp is the existing one plus one.
    PlusOne = "plus-one",
    /// The caller has its answer before the file has committed.
    AckBeforeCommit = "ack-before-commit",
    /// The file commits without syncing while PostgreSQL does not have the write.
    NormalWhileAlone = "normal-while-alone",
    /// What is pushed counts as pushed before PostgreSQL has committed.
    PushedBeforeCommit = "pushed-before-commit",
    /// The row with the highest stamp wins as a whole.
    MergeByRow = "merge-by-row",
    /// On equal stamps each store keeps its own.
    KeepMine = "keep-mine",
    /// "Not found" in PostgreSQL falls through to the file.
    NotFoundFallsThrough = "not-found-falls-through",
    /// Conflicts are not logged.
    NoConflictLog = "no-conflict-log",
    /// A failed round waits for the next write.
    RetryNotArmed = "retry-not-armed",
    /// A refused row is dropped.
    QuarantineDropped = "quarantine-dropped",
    /// A row that PostgreSQL does not know is judged by its highest stamp, not by its birth.
    HorizonByHighest = "horizon-by-highest",
    /// A file that has not passed the purged deletes goes on from its cursor.
    PurgeUnnoticed = "purge-unnoticed",
    /// What a server that lost transactions overwrites is not logged.
    SilentReconcile = "silent-reconcile",
    /// What a delete had beaten counts against the next life.
    OldLifeCounts = "old-life-counts",
    /// The file takes the answer to a direct write whatever epoch it came from.
    AnswerOfAnotherEpoch = "answer-of-another-epoch",
    /// The file takes the answer to a direct write though the feed has passed it.
    AnswerAfterFeed = "answer-after-feed",
    /// A new birth in the file lies above the tombstone, not above what the delete has met.
    BirthBelowBase = "birth-below-base",
    /// An acknowledgement clears a row's quarantine though the row has changed since.
    LateAcknowledgement = "late-acknowledgement",
    /// What PostgreSQL has lost of a row that it refuses stays settled.
    RefusedStaysSettled = "refused-stays-settled",
    /// The file restamps by an offset that it measured earlier.
    StaleOffset = "stale-offset",
    /// PostgreSQL counts as up although something is pending.
    WriteBeforePush = "write-before-push",
    /// Nobody looks whether the triggers are there.
    DriftUnnoticed = "drift-unnoticed",
    /// A row that was taken away past the triggers is taken for deleted.
    AbsenceIsDelete = "absence-is-delete",
    /// A push does not look whether the server is still the one that is followed.
    PushUnlooked = "push-unlooked",
    /// Of a row that came past the triggers nobody hears.
    LoadedUnseen = "loaded-unseen",
    /// What has two values under one stamp is left to the order of equal stamps, without a word.
    SilentGap = "silent-gap",
    /// Values that were set while only the file's triggers were missing lose to older ones.
    GapLoses = "gap-loses",
    /// A token that another process of the file has rotated during a poll is taken for a loss.
    StaleTokenIsALoss = "stale-token-is-a-loss",
    /// A row that a trigger of the user's has kept from being changed counts as pushed.
    CancelledCounts = "cancelled-counts",
    /// A mass of values set past the triggers is taken in without asking.
    NobodyIsAsked = "nobody-is-asked",
    /// A trigger stamps by its clock, whatever it replaces.
    ClockAlone = "clock-alone",
    /// Stamps of the future are set back at PostgreSQL only.
    SetBackThereOnly = "set-back-there-only",
    /// A file forgets its tombstones by a purge horizon that lies in the future.
    HorizonBelieved = "horizon-believed",
    /// What was read before both sides were compared is pushed to the server that is followed since.
    PushReadForAnother = "push-read-for-another",
    /// All files set back to one stamp.
    SetBackSharesAStamp = "set-back-shares-a-stamp",
    /// PostgreSQL gives what is pushed a stamp of its own.
    PushByServerClock = "push-by-server-clock",
}

/// The traps that are set: none or one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traps(pub Option<Trap>);

impl Traps {
    pub fn has(self, trap: Trap) -> bool {
        self.0 == Some(trap)
    }
}
