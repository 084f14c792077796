//! The steps, as data: those of a round, of a call, of an import. Each is one short transaction on one
//! side, and a test can have any of them refused, or done and its answer lost, or done twice, or
//! can end the process before or after it.

use std::fmt;
use std::sync::Arc;

use crate::{Error, Kind, Result, Store};

macro_rules! steps {
    ($(
        $(#[doc = $about:literal])+
        $group:ident {$($(#[doc = $doc:literal])+ $name:ident on $store:ident as $text:literal,)+}
    )+) => {
        /// A step: of a round, of a call, of an import.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Step { $($($(#[doc = $doc])+ $name,)+)+ }

        impl Step {
            $(
                $(#[doc = $about])+
                pub const $group: &'static [Step] = &[$(Step::$name,)+];
            )+

            /// What it is called in the log.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($(Step::$name => $text,)+)+ }
            }

            /// On which side it works.
            #[must_use]
            pub fn store(self) -> Store {
                match self { $($(Step::$name => Store::$store,)+)+ }
            }
        }
    };
}

steps! {
    /// Those of the rounds, in the order in which a first one meets them.
    ROUND {
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
        /// Notes rows that came past the triggers there.
        Gaps on Postgres as "look for gaps",
        /// Reads what is pending.
        PushRead on Sqlite as "read what is pending",
        /// Claims the writer numbers of the file and its processes.
        Claim on Postgres as "claim numbers",
        /// Takes others for those that belong to somebody else.
        Renumber on Sqlite as "take other numbers",
        /// Has numbers kept for births under numbers that both sides hand out.
        Reserve on Postgres as "reserve numbers",
        /// Writes them down, and moves what takes another one.
        Number on Sqlite as "number rows",
        /// Reads who the server is: the cursor after the comparison.
        Compare on Postgres as "begin a comparison",
        /// Reads a range of keys.
        ReadRemote on Postgres as "compare: read PostgreSQL",
        /// Reads the same range and plans what is to be done.
        ReadLocal on Sqlite as "compare: read SQLite",
        /// Decides which of two values under one stamp stands.
        Uncaptured on Sqlite as "compare: settle what nobody captured",
        /// Gives what PostgreSQL lacks.
        Give on Postgres as "compare: give",
        /// Acknowledges that and takes what the file lacks.
        ApplyRange on Sqlite as "compare: settle",
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
        Forward on Postgres as "tell conflicts",
        /// Notes that it has them.
        NoteForwarded on Sqlite as "note told conflicts",
        /// Reads what is new.
        Poll on Postgres as "poll",
        /// Takes it in.
        Apply on Sqlite as "apply",
        /// Has numbers kept for rows that the library will add to the file.
        KeepNumbers on Postgres as "keep numbers",
        /// Writes them down.
        NoteNumbers on Sqlite as "note kept numbers",
        /// Compares the values of both sides, a part at a time.
        Scrub on Postgres as "verify a part",
    }

    /// Those of a call that writes, and of opening the file.
    CALL {
        /// Makes and adopts the file's tables and capture.
        Open on Sqlite as "open the file",
        /// Reads what the file knows of the rows.
        Look on Sqlite as "look into the file",
        /// Has a number kept for a row without a key.
        AskNumber on Postgres as "ask for a number",
        /// Takes one that is kept for the file.
        TakeNumber on Sqlite as "take a number",
        /// The write at PostgreSQL, in one round trip.
        Ask on Postgres as "write at PostgreSQL",
        /// The file takes what PostgreSQL has answered.
        Take on Sqlite as "take the answer",
        /// The file alone has the write.
        Alone on Sqlite as "write to the file alone",
        /// The file has what PostgreSQL was sent before its answer was lost.
        Resume on Sqlite as "write what was sent",
    }

    /// Those of an import, as `crates/dual-import/src/load/DESIGN.md` has them.
    IMPORT {
        /// Exchanges what is pending in stores that are one database already.
        ImportSettle on Postgres as "import: exchange before",
        /// Attaches the file.
        ImportAttach on Sqlite as "import: attach",
        /// Connects, waits for another import, looks at the table.
        ImportBegin on Postgres as "import: begin",
        /// Copies the staged rows.
        ImportCopy on Postgres as "import: copy",
        /// Adopts the table, locks it, counts what differs.
        ImportCompare on Postgres as "import: compare",
        /// Issues the ids of new rows.
        ImportIssue on Postgres as "import: issue ids",
        /// Sends the rows that SQLite lacks.
        ImportComplete on Postgres as "import: complete",
        /// Adopts the file's table and counts what differs.
        ImportBeginHere on Sqlite as "import: begin in the file",
        /// Writes at PostgreSQL.
        ImportWrite on Postgres as "import: write",
        /// Writes in the file.
        ImportWriteHere on Sqlite as "import: write in the file",
        /// Commits at PostgreSQL.
        ImportCommit on Postgres as "import: commit",
        /// Commits in the file.
        ImportCommitHere on Sqlite as "import: commit in the file",
        /// Puts capture on both sides and exchanges everything.
        ImportUnite on Postgres as "import: exchange after",
    }
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
    /// It is not done, and fails with an error of that kind.
    Fails(Kind),
    /// It is done, and nobody hears of it.
    Lost,
    /// It is done twice, the second time as it was the first time.
    Twice,
}

impl Fault {
    /// Whether the step is not done at all.
    pub(super) fn is_refusal(self) -> bool {
        matches!(self, Fault::Refused | Fault::Fails(_))
    }
}

/// Asked before each step.
pub trait StepHook: fmt::Debug + Send + Sync {
    /// What is to happen to it.
    fn fault(&self, step: Step) -> Fault;

    /// It was done, and nobody has heard of it yet.
    fn done(&self, step: Step) {
        let _ = step;
    }
}

/// Does a step as the hook wants it. Of what is done twice the first answer is heard, as if the
/// network had repeated the question.
pub(crate) async fn hooked<T, W: Future<Output = Result<T>>>(
    hook: Option<&Arc<dyn StepHook>>,
    step: Step,
    mut work: impl FnMut() -> W,
) -> Result<T> {
    let Some(hook) = hook else { return Box::pin(work()).await };
    let fault = hook.fault(step);
    if fault.is_refusal() {
        return Err(injected(step, fault));
    }
    let answer = Box::pin(work()).await;
    if fault == Fault::Twice {
        let _ = Box::pin(work()).await;
    }
    hook.done(step);
    if fault == Fault::Lost { answer.and(Err(injected(step, fault))) } else { answer }
}

/// Does a step that can only be done once as the hook wants it.
///
/// # Errors
/// Those of the work; what the hook wants the step to fail with.
pub async fn hooked_once<T>(
    hook: Option<&Arc<dyn StepHook>>,
    step: Step,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let Some(hook) = hook else { return work.await };
    let fault = hook.fault(step);
    if fault.is_refusal() {
        return Err(injected(step, fault));
    }
    let answer = work.await;
    hook.done(step);
    if fault == Fault::Lost { answer.and(Err(injected(step, fault))) } else { answer }
}

/// What a step that is not done, or not heard of, says.
pub(super) fn injected(step: Step, fault: Fault) -> Error {
    let kind = match (step, fault) {
        (_, Fault::Fails(kind)) => kind,
        (Step::Ask | Step::ImportCommit, Fault::Lost) => Kind::OutcomeUnknown(step.store()),
        _ => Kind::Unavailable(step.store()),
    };
    Error::new(kind, step.name(), "a test says so")
}
