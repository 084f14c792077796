//! The steps of a round, as data: each is one short transaction on one side, and any of them can
//! be refused, or done and its answer lost.

use std::fmt;

use crate::Store;

macro_rules! steps {
    ($($(#[doc = $doc:literal])+ $name:ident on $store:ident as $text:literal,)+) => {
        /// A step of a round.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Step { $($(#[doc = $doc])+ $name,)+ }

        impl Step {
            /// All of them, in the order in which a first round meets them.
            pub const ALL: &'static [Step] = &[$(Step::$name,)+];

            /// What it is called in the log.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Step::$name => $text,)+ }
            }

            /// On which side it works.
            #[must_use]
            pub fn store(self) -> Store {
                match self { $(Step::$name => Store::$store,)+ }
            }
        }
    };
}

steps! {
    /// Opens a connection, brings the server's tables to the declared form, reads the epoch.
    Connect on Postgres as "connect",
    /// Notes a break, takes another identity if need be, proposes a token.
    Propose on Sqlite as "propose a token",
    /// Sets the token.
    Rotate on Postgres as "rotate the token",
    /// Confirms it.
    Confirm on Sqlite as "confirm the token",
    /// Looks whether capture is as it was installed.
    Inspect on Sqlite as "inspect capture",
    /// Reads what is pending.
    PushRead on Sqlite as "read what is pending",
    /// Claims the writer numbers of the file and its processes.
    Claim on Postgres as "claim numbers",
    /// Takes others for those that belong to somebody else.
    Renumber on Sqlite as "take other numbers",
    /// Reads who the server is: the cursor after the comparison.
    Compare on Postgres as "begin a comparison",
    /// Reads a range of keys.
    ReadThere on Postgres as "compare: read PostgreSQL",
    /// Reads the same range and plans what is to be done.
    ReadHere on Sqlite as "compare: read SQLite",
    /// Gives what PostgreSQL lacks.
    Give on Postgres as "compare: give",
    /// Acknowledges that and takes what the file lacks.
    Settle on Sqlite as "compare: settle",
    /// The cursor follows from here on.
    Finish on Sqlite as "finish a comparison",
    /// The comparison waits for a person.
    Hold on Sqlite as "hold a comparison",
    /// Merges what is pending.
    Push on Postgres as "push",
    /// Gives other stamps to what lay too far ahead of PostgreSQL's clock.
    Restamp on Sqlite as "restamp",
    /// Notes what PostgreSQL has, and what it refuses.
    Acknowledge on Sqlite as "acknowledge",
    /// Adds the file's conflicts to PostgreSQL's log.
    Tell on Postgres as "tell conflicts",
    /// Notes that it has them.
    Told on Sqlite as "note told conflicts",
    /// Reads what is new.
    Poll on Postgres as "poll",
    /// Takes it in.
    Apply on Sqlite as "apply",
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a test does to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is not done.
    Refused,
    /// It is done, and nobody hears of it.
    Lost,
}

/// Asked before each step of a round.
pub trait StepHook: fmt::Debug + Send + Sync {
    /// What is to happen to it.
    fn fault(&self, step: Step) -> Fault;
}
