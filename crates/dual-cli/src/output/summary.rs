//! The table at the end of a migration, for a person.

use std::fmt::Write as _;

use dual_import::{Import, ProblemStatus, Report, SetAside, StoreOutcome};

/// How many rows and cells set aside are listed; the file of rejects has all.
pub const LISTED: u64 = 20;

/// The summary as text; `aside` are the first [`LISTED`] rows and cells set aside, `None`
/// leaves the lists out. It shows no values, only where they are: terminals are recorded.
#[must_use]
pub fn summary(
    import: &Import,
    report: &Report,
    aside: Option<&[SetAside]>,
    dry_run: bool,
) -> String {
    let mut text = String::new();
    let counts = report.counts;
    let _ = writeln!(text, "{}", import.source());
    let layouts: Vec<String> =
        import.layouts().iter().map(|(name, rows)| format!("{name}: {rows}")).collect();
    if !layouts.is_empty() {
        let _ = writeln!(text, "rows by layout: {}", layouts.join(", "));
    }
    let _ = writeln!(text);
    let _ = writeln!(text, "{:<20}{:>12}{:>12}", "", "PostgreSQL", "SQLite");
    let mut line = |name: &str, value: &dyn Fn(&StoreOutcome) -> Option<u64>| {
        let shown = |outcome| value(outcome).map_or_else(|| "–".into(), |n: u64| n.to_string());
        let (postgres, sqlite) = (shown(&report.postgres), shown(&report.sqlite));
        let _ = writeln!(text, "{name:<20}{postgres:>12}{sqlite:>12}");
    };
    line("inserted", &|outcome| outcome.plan().map(|plan| plan.inserted));
    line("updated", &|outcome| outcome.plan().map(|plan| plan.updated));
    line("unchanged", &|outcome| outcome.plan().map(|plan| plan.unchanged));
    line("merged duplicates", &|outcome| outcome.plan().map(|_| counts.merged));
    line("rejected", &|outcome| outcome.plan().map(|_| counts.rejected));
    line("rows read", &|outcome| outcome.plan().map(|_| counts.read));
    let _ =
        writeln!(text, "{:<20}{:>12}{:>12}", "state", report.postgres.word(), report.sqlite.word());
    if let Some(aside) = aside {
        list(&mut text, "rejected rows", ProblemStatus::Rejected, counts.rejected, aside);
        let left_out = "cells left out of rows that were kept";
        list(&mut text, left_out, ProblemStatus::Reported, counts.reported, aside);
        list(&mut text, "merged rows", ProblemStatus::Merged, counts.merged, aside);
    }
    if let Some(run) = &report.completed_run {
        let _ = writeln!(
            text,
            "\nan earlier run ({run}) was in one database only; now both have everything"
        );
    }
    for (name, outcome) in [("PostgreSQL", &report.postgres), ("SQLite", &report.sqlite)] {
        if let Some(error) = outcome.error() {
            let state = match outcome {
                StoreOutcome::Unknown(..) => "may or may not have these rows",
                _ => "does not have these rows yet",
            };
            let _ = writeln!(text, "\n{name} {state}: {}", error.chain());
            let _ = writeln!(
                text,
                "when it is back, `dual sync --once` carries them over; the same command again does, too"
            );
        }
    }
    if dry_run {
        let _ = writeln!(text, "\ndry run: nothing was written");
    }
    text
}

/// Why rows were rejected, where that stopped the import: on stderr.
pub fn reasons(aside: &[SetAside]) {
    let mut text = String::new();
    let rejected = aside.iter().filter(|one| one.fate == ProblemStatus::Rejected).count();
    let all = u64::try_from(rejected).unwrap_or(u64::MAX);
    list(&mut text, "rejected rows, the first ones", ProblemStatus::Rejected, all, aside);
    if !text.is_empty() {
        super::message(text.trim());
    }
}

fn list(text: &mut String, title: &str, fate: ProblemStatus, all: u64, aside: &[SetAside]) {
    if all == 0 {
        return;
    }
    let _ = writeln!(text, "\n{title}: {all}");
    let mut listed = 0;
    for one in aside.iter().filter(|one| one.fate == fate) {
        let problem = &one.problem;
        let place = problem.cell.clone().unwrap_or_else(|| format!("row {}", problem.row));
        let _ = writeln!(text, "  {place:<8} {}: {}", problem.code.as_str(), problem.sentence);
        listed += 1;
    }
    if listed < all {
        let _ = writeln!(text, "  … and {} more; --rejects FILE writes them all", all - listed);
    }
}
