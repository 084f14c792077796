//! What a failed step of the exchange means, by the kind of its error, and where people see it.
//!
//! | meaning | the side | `status` |
//! |---|---|---|
//! | away | does not answer, or answers nobody; calls go on with the other one | `down`, as long as it does not |
//! | in the way | answers, and its tables are not what is declared | `needs_init` |
//! | foreign | is the file of another installation, and is left alone until the next start | `needs_init` |
//! | failing | answers, and the exchange does not get on | `failing` |
//!
//! What fails is kept in the file until a round has come to its end, whatever it means: a short
//! command beside the program that meets it tells it, too. What is merely away it tells only while
//! a program keeps on failing; otherwise it looks for itself.
//!
//! What concerns one row never gets here: a row that is refused is set aside by the step. What keeps the comparison
//! of some tables from getting on is told until that has come to its end, and keeps no other table waiting.

use tracing::debug;

use super::rounds::{Rounds, now_ms};
use super::step::Step;
use super::{Outdated, Shared};
use crate::adoption::{Kept, Stores, troubles};
use crate::store::postgres::primary::LOCKED;
use crate::store::postgres::sqlstate;
use crate::store::sqlite::replica::{Content, Durability};
use crate::{Error, Kind, Store};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Away,
    InTheWay,
    Foreign,
    Failing,
}

/// What the failure of a step on that side means.
pub(super) fn meaning(store: Store, error: &Error) -> Meaning {
    match error.kind() {
        // A lock of somebody's says nothing of the server.
        _ if is_locked(error) => Meaning::Failing,
        Kind::Unavailable(of) | Kind::NoSpace(of) | Kind::OutcomeUnknown(of) if of == store => {
            Meaning::Away
        }
        Kind::Configuration if store == Store::Sqlite => Meaning::Foreign,
        Kind::AccessDenied | Kind::Configuration => Meaning::Away,
        Kind::Schema(of) if of == store => Meaning::InTheWay,
        Kind::Unavailable(_)
        | Kind::NoSpace(_)
        | Kind::OutcomeUnknown(_)
        | Kind::Schema(_)
        | Kind::SourceUnavailable
        | Kind::InvalidData
        | Kind::Interrupted
        | Kind::AlreadyExists
        | Kind::NotFound
        | Kind::Conflict
        | Kind::Partial(_)
        | Kind::Internal => Meaning::Failing,
    }
}

/// Whether somebody's lock is in the way: on a table, or where it cannot be told on what.
pub(super) fn is_locked(error: &Error) -> bool {
    sqlstate(error) == Some(LOCKED)
}

/// Whether the side may be well again at any moment, without anybody doing anything.
fn is_away(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unavailable(_) | Kind::OutcomeUnknown(_) | Kind::Interrupted)
        && !is_locked(error)
}

/// Whether something may be noted in the file as failing: of the rounds, and of the background
/// verification, which does not keep a round from its end.
#[derive(Debug)]
pub(super) struct FailureNotes {
    round: bool,
    scrub: bool,
}

impl Default for FailureNotes {
    /// What an earlier process has left is not known.
    fn default() -> FailureNotes {
        FailureNotes { round: true, scrub: true }
    }
}

impl Rounds {
    /// Tells the breakers, and everybody who reads the file.
    pub(super) async fn fails(&mut self, step: Step, error: &Error) {
        let (store, health) = (step.store(), &self.shared.health);
        let meaning = meaning(store, error);
        self.shared.meets(error);
        if self.leave_some(error).await {
            return;
        }
        match meaning {
            Meaning::Away => health.failed(store, error),
            Meaning::InTheWay => health.needs_init(store, error),
            Meaning::Foreign => self.shared.leave_file(error),
            Meaning::Failing => health.remember(store, error),
        }
        // What is wrong with the file cannot be noted there, and every process meets it.
        let Some(replica) = self.shared.replica() else { return };
        if store == Store::Sqlite && meaning != Meaning::Failing {
            return;
        }
        let (name, now, away) = (step.name(), now_ms(), is_away(error));
        let (message, hint) = (error.chain(), error.hint().map(str::to_owned));
        let note = move |content: &Content<'_>| {
            content.note_failing(name, store, &message, hint.as_deref(), away, now)
        };
        *self.noted(step) = true;
        if let Err(error) = replica.write("note a failure", Durability::Normal, note).await {
            debug!(error = error.chain(), "what fails could not be noted in the file");
        }
    }

    /// If what fails is about some of the tables, it is opened once more without them; says whether.
    async fn leave_some(&self, error: &Error) -> bool {
        let may_be = matches!(error.kind(), Kind::Schema(_) | Kind::AccessDenied);
        let Shared { postgres, limits, sqlite, outdated, .. } = &*self.shared;
        // Who is to be opened once more, and fails still, tells it like anything else.
        if !may_be || sqlite.tables.len() < 2 || self.shared.is_outdated() {
            return false;
        }
        let stores = Stores { postgres: postgres.clone(), limits: *limits, sqlite: sqlite.clone() };
        let mut kept = Kept { tables: sqlite.tables.to_vec(), ..Kept::default() };
        let troubles = troubles(&stores).await;
        let some = kept.leave(&troubles);
        if some {
            outdated.send_replace(Outdated::Troubled(troubles));
        }
        some
    }

    /// A round, or the background verification, has come to its end.
    pub(super) async fn passes(&mut self, step: Step) {
        if !*self.noted(step) {
            return;
        }
        // A round of the others tells nothing of a comparison that has failed.
        if self.apart.has_failed() && step != Step::Scrub {
            return;
        }
        let is_scrub = step == Step::Scrub;
        let forget =
            move |content: &Content<'_>| content.fails_no_more(Step::Scrub.name(), is_scrub);
        match self.write("note a success", Durability::Normal, forget).await {
            Ok(()) => *self.noted(step) = false,
            Err(error) => debug!(error = error.chain(), "a success could not be noted in the file"),
        }
    }

    fn noted(&mut self, step: Step) -> &mut bool {
        if step == Step::Scrub { &mut self.noted.scrub } else { &mut self.noted.round }
    }
}
