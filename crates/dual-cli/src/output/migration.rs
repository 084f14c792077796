//! What `dual migrate --json` prints.

use std::collections::BTreeMap;
use std::sync::Arc;

use dual_import::{Counts, Import, Report, SetAside, SetAsideLine, StoreOutcome};
use serde::Serialize;

use super::json::{ErrorOwned, line};

/// How many rejected and reported cells a document lists; the file of rejects has all.
pub const LISTED: u64 = 1_000;

#[derive(Serialize)]
struct Rows {
    read: u64,
    staged: u64,
    merged: u64,
    rejected: u64,
    reported_cells: u64,
}

#[derive(Serialize)]
struct StoreBody<'a> {
    state: &'static str,
    inserted: Option<u64>,
    updated: Option<u64>,
    unchanged: Option<u64>,
    merged: Option<u64>,
    rejected: Option<u64>,
    changed_columns: Option<&'a BTreeMap<Arc<str>, u64>>,
    schema: Option<&'a [String]>,
    error: Option<ErrorOwned>,
}

#[derive(Serialize)]
struct Stores<'a> {
    postgres: StoreBody<'a>,
    sqlite: StoreBody<'a>,
}

#[derive(Serialize)]
struct Stored {
    postgres: bool,
    sqlite: bool,
}

/// What `dual migrate --json` prints.
#[derive(Serialize)]
pub struct MigrationDocument<'a> {
    version: u8,
    run_id: &'a str,
    dry_run: bool,
    source: &'a str,
    rows: Rows,
    layouts: &'a BTreeMap<String, u64>,
    stores: Stores<'a>,
    stored: Stored,
    completed_run: Option<&'a str>,
    warnings: &'a [String],
    set_aside: Vec<SetAsideLine<'a>>,
    set_aside_listed_all: bool,
}

impl<'a> MigrationDocument<'a> {
    /// From what the import says; `aside` are the first [`LISTED`] rows and cells set aside.
    #[must_use]
    pub fn new(
        import: &'a Import,
        report: &'a Report,
        aside: &'a [SetAside],
        dry_run: bool,
    ) -> MigrationDocument<'a> {
        let counts = report.counts;
        let all = counts.merged + counts.rejected + counts.reported;
        MigrationDocument {
            version: 1,
            run_id: &report.run_id,
            dry_run,
            source: import.source(),
            rows: Rows {
                read: counts.read,
                staged: counts.staged,
                merged: counts.merged,
                rejected: counts.rejected,
                reported_cells: counts.reported,
            },
            layouts: import.layouts(),
            stores: Stores {
                postgres: store(&report.postgres, counts),
                sqlite: store(&report.sqlite, counts),
            },
            stored: Stored {
                postgres: report.postgres.is_stored(),
                sqlite: report.sqlite.is_stored(),
            },
            completed_run: report.completed_run.as_deref(),
            warnings: import.warnings(),
            set_aside: aside.iter().map(SetAside::line).collect(),
            set_aside_listed_all: u64::try_from(aside.len()).is_ok_and(|listed| listed == all),
        }
    }

    /// The document on one line.
    #[must_use]
    pub fn text(&self) -> String {
        line(self)
    }
}

fn store(outcome: &StoreOutcome, counts: Counts) -> StoreBody<'_> {
    let plan = outcome.plan();
    StoreBody {
        state: outcome.word(),
        inserted: plan.map(|plan| plan.inserted),
        updated: plan.map(|plan| plan.updated),
        unchanged: plan.map(|plan| plan.unchanged),
        merged: plan.map(|_| counts.merged),
        rejected: plan.map(|_| counts.rejected),
        changed_columns: plan.map(|plan| &plan.columns),
        schema: plan.map(|plan| plan.schema.as_slice()),
        error: outcome.error().map(ErrorOwned::new),
    }
}
