use std::fmt::Write as _;

use dual_database::init::{Plan, RowCounts, SidePlan, TablePlan};
use dual_database::sync::engine::Exchange;
use serde::Serialize;

use super::json::line;
use crate::exit::Exit;

/// The plan of `dual init`, and what became of it.
pub struct InitReport<'a> {
    /// What there was.
    pub plan: &'a Plan,
    /// The first exchange, if the plan was applied.
    pub exchange: Option<&'a Exchange>,
}

#[derive(Serialize)]
struct SideBody<'a> {
    exists: bool,
    captured: bool,
    steps: &'a [String],
    obstacles: &'a [String],
    hint: Option<&'a str>,
}

#[derive(Serialize)]
struct RowsBody {
    postgres: u64,
    sqlite: u64,
    only_postgres: u64,
    only_sqlite: u64,
    different: u64,
}

#[derive(Serialize)]
struct TableBody<'a> {
    table: &'static str,
    postgres: SideBody<'a>,
    sqlite: SideBody<'a>,
    rows: Option<RowsBody>,
}

#[derive(Serialize)]
struct InitBody<'a> {
    version: u8,
    applied: bool,
    done: bool,
    tables: Vec<TableBody<'a>>,
    pending: Option<u64>,
    quarantined: Option<u64>,
    held_losses: Option<usize>,
}

impl InitReport<'_> {
    /// The exit code. A plan that additions cannot fulfil is a check that found something.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self.exchange {
            None if self.plan.is_additive() => Exit::Done,
            None => Exit::WithRejects,
            Some(exchange) => Exit::of(exchange),
        }
    }

    /// For programs.
    #[must_use]
    pub fn document(&self) -> String {
        line(&InitBody {
            version: 1,
            applied: self.exchange.is_some(),
            done: self.exchange.map_or(self.plan.is_done(), |exchange| exchange.caught_up),
            tables: self.plan.tables.iter().map(TableBody::new).collect(),
            pending: self.exchange.map(|exchange| exchange.pending),
            quarantined: self.exchange.map(|exchange| exchange.quarantined),
            held_losses: self.exchange.and_then(|exchange| exchange.held),
        })
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for table in &self.plan.tables {
            let _ = writeln!(text, "table {}", table.table);
            side(&mut text, "PostgreSQL", &table.postgres);
            side(&mut text, "SQLite", &table.sqlite);
            if let Some(rows) = &table.rows {
                counts(&mut text, rows);
            }
        }
        text.push_str(match (self.exchange, self.exit()) {
            (Some(_), Exit::Done) => "\ndone: both sides are one database\n",
            (Some(_), Exit::WithRejects) => {
                "\ndone, but something waits for you: `dual status` says what\n"
            }
            (Some(_), _) => "\nnot everything has been exchanged yet: `dual sync --once`\n",
            (None, _) if !self.plan.is_additive() => {
                "\nthis cannot be joined by additions: see to the obstacles first\n"
            }
            (None, _) if self.plan.is_done() => "\nnothing is left to do\n",
            (None, _) => "\nnothing was changed; `dual init --apply` does it\n",
        });
        text
    }
}

fn side(text: &mut String, name: &str, side: &SidePlan) {
    let state = match (side.exists, side.steps.is_empty() && side.obstacles.is_empty()) {
        (_, true) => "ready",
        (true, false) => "is there",
        (false, false) => "is not there",
    };
    let _ = writeln!(text, "  {name}: {state}");
    for step in &side.steps {
        let _ = writeln!(text, "    + {step}");
    }
    for obstacle in &side.obstacles {
        let _ = writeln!(text, "    ! {obstacle}");
    }
    if let Some(hint) = &side.hint {
        let _ = writeln!(text, "    hint: {hint}");
    }
}

fn counts(text: &mut String, rows: &RowCounts) {
    let _ = writeln!(
        text,
        "  rows: {} in PostgreSQL, {} in SQLite; {} only in PostgreSQL, {} only in SQLite",
        rows.postgres, rows.sqlite, rows.only_postgres, rows.only_sqlite
    );
    if rows.different > 0 {
        let _ = writeln!(
            text,
            "  {} differ: PostgreSQL's values stand, the file's go to the conflict log",
            rows.different
        );
    }
}

impl TableBody<'_> {
    fn new(plan: &TablePlan) -> TableBody<'_> {
        TableBody {
            table: plan.table,
            postgres: SideBody::new(&plan.postgres),
            sqlite: SideBody::new(&plan.sqlite),
            rows: plan.rows.as_ref().map(|rows| RowsBody {
                postgres: rows.postgres,
                sqlite: rows.sqlite,
                only_postgres: rows.only_postgres,
                only_sqlite: rows.only_sqlite,
                different: rows.different,
            }),
        }
    }
}

impl SideBody<'_> {
    fn new(side: &SidePlan) -> SideBody<'_> {
        SideBody {
            exists: side.exists,
            captured: side.captured,
            steps: &side.steps,
            obstacles: &side.obstacles,
            hint: side.hint.as_deref(),
        }
    }
}
