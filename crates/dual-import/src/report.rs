//! What an import did, in one value that programs print.

use dual_database::error::Error;
use serde::Serialize;

use super::load::StorePlan;
use super::mapping::Problem;
use super::staging::{Counts, ProblemStatus};

/// What both stores are about to get; told before anything is written.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// PostgreSQL, unless it is away.
    pub postgres: Option<StorePlan>,
    /// SQLite, unless it is away.
    pub sqlite: Option<StorePlan>,
}

/// How it ended for one store.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreOutcome {
    /// Committed; the plan is what was done.
    Done(StorePlan),
    /// Everything was there already; nothing was written.
    Unchanged(StorePlan),
    /// A dry run: nothing was written.
    Planned(StorePlan),
    /// The store is away; it gets the rows when the import, or the synchroniser, runs with it
    /// back.
    Away(Error),
    /// The commit's answer was lost and could not be asked for: the store has all of it or
    /// nothing. A second run settles it.
    Unknown(StorePlan, Error),
}

impl StoreOutcome {
    /// The stable word of reports.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            StoreOutcome::Done(_) => "done",
            StoreOutcome::Unchanged(_) => "unchanged",
            StoreOutcome::Planned(_) => "planned",
            StoreOutcome::Away(_) => "away",
            StoreOutcome::Unknown(..) => "unknown",
        }
    }

    /// Whether the store is known to have everything that the source has.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        matches!(self, StoreOutcome::Done(_) | StoreOutcome::Unchanged(_))
    }

    /// The plan that was, or would be, carried out.
    #[must_use]
    pub fn plan(&self) -> Option<&StorePlan> {
        match self {
            StoreOutcome::Done(plan)
            | StoreOutcome::Unchanged(plan)
            | StoreOutcome::Planned(plan)
            | StoreOutcome::Unknown(plan, _) => Some(plan),
            StoreOutcome::Away(_) => None,
        }
    }

    /// Why the store is away or its state unknown.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match self {
            StoreOutcome::Away(error) | StoreOutcome::Unknown(_, error) => Some(error),
            _ => None,
        }
    }
}

/// What an import did. For each store that was reached
/// `counts.read = inserted + updated + unchanged + counts.merged + counts.rejected`.
#[derive(Debug)]
pub struct Report {
    /// The run's id; time-ordered. Also in both stores' records of runs, where the run
    /// changed anything.
    pub run_id: String,
    /// Rows of the source and what became of them.
    pub counts: Counts,
    /// How it ended for PostgreSQL.
    pub postgres: StoreOutcome,
    /// How it ended for SQLite.
    pub sqlite: StoreOutcome,
    /// An earlier run that had reached only one of the stores; this one completed it.
    pub completed_run: Option<String>,
}

/// A row or cell that was set aside, and what became of its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// What became of the row.
    pub fate: ProblemStatus,
    /// Where and why.
    pub problem: Problem,
}

/// A [`SetAside`] as files of rejects and JSON documents have it; the fields are a contract,
/// in this order.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SetAsideLine<'a> {
    /// The row's number in the source.
    pub row: u64,
    /// The cell, where one is to blame.
    pub cell: Option<&'a str>,
    /// The table's column.
    pub column: Option<&'a str>,
    /// [`ProblemStatus::word`].
    pub outcome: &'static str,
    /// [`Code::as_str`](super::mapping::Code::as_str).
    pub code: &'static str,
    /// One sentence.
    pub reason: &'a str,
    /// The cell as the source has it.
    pub raw: &'a str,
    /// The cell as the sheet shows it.
    pub displayed: Option<&'a str>,
}

impl SetAside {
    /// For files and documents.
    #[must_use]
    pub fn line(&self) -> SetAsideLine<'_> {
        let problem = &self.problem;
        SetAsideLine {
            row: problem.row,
            cell: problem.cell.as_deref(),
            column: problem.column.as_deref(),
            outcome: self.fate.word(),
            code: problem.code.as_str(),
            reason: &problem.sentence,
            raw: &problem.raw,
            displayed: problem.displayed.as_deref(),
        }
    }
}
