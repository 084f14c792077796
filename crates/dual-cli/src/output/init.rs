use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use dual_database::Store;
use dual_database::init::{
    Bond, Choice, Chosen, ChosenColumn, ColumnCounts, Joined, Plan, RowCounts, SidePlan, Skipped,
    Survey, TablePlan,
};
use dual_database::sync::Exchange;
use serde::Serialize;

use super::fold::fold;
use super::json::{line, store_word};
use super::state::exposure;
use crate::exit::Exit;

/// The plan of `dual init`, and what became of it.
pub struct InitReport {
    survey: Survey,
    plan: Plan,
    /// The options with which the tables were chosen.
    chosen: String,
    copy: Option<PathBuf>,
    exchange: Option<Exchange>,
}

#[derive(Serialize)]
struct SqlBody<'a> {
    version: u8,
    sql: &'a str,
}

/// What an administrator can run, for programs.
#[must_use]
pub fn sql_document(sql: &str) -> String {
    line(&SqlBody { version: 1, sql })
}

#[derive(Serialize)]
struct SideBody<'a> {
    exists: bool,
    captured: bool,
    steps: &'a [String],
    obstacles: &'a [String],
    hint: Option<&'a str>,
    untried: Option<&'a str>,
    lacks: Option<&'a str>,
}

#[derive(Serialize)]
struct RowsBody {
    postgres: u64,
    sqlite: u64,
    only_postgres: u64,
    only_sqlite: u64,
    different: u64,
    conflicting: u64,
    columns: Vec<ColumnBody>,
}

#[derive(Serialize)]
struct ColumnBody {
    column: Arc<str>,
    different: u64,
    from_postgres: u64,
    from_sqlite: u64,
    conflicts: u64,
}

#[derive(Serialize)]
struct TableBody<'a> {
    table: Arc<str>,
    state: &'static str,
    key: Vec<Arc<str>>,
    key_reason: Option<&'a str>,
    columns: Vec<TypeBody<'a>>,
    postgres: SideBody<'a>,
    sqlite: SideBody<'a>,
    rows: Option<RowsBody>,
    renumbered: u64,
    different_columns: BTreeMap<Arc<str>, u64>,
}

#[derive(Serialize)]
struct TypeBody<'a> {
    name: &'a str,
    sqlite_name: Option<&'a str>,
    r#type: Option<&'a str>,
    postgres: Option<&'a str>,
    sqlite: Option<&'a str>,
    remark: Option<&'a str>,
    too_large: Option<u64>,
    widened: bool,
}

#[derive(Serialize)]
struct SkippedBody<'a> {
    table: &'a str,
    reason: &'a str,
    hint: &'a str,
}

#[derive(Serialize)]
struct InitBody<'a> {
    version: u8,
    applied: bool,
    done: bool,
    joined: bool,
    rejoins_with: Option<u64>,
    prefer: &'static str,
    copy: Option<String>,
    tables: Vec<TableBody<'a>>,
    skipped: Vec<SkippedBody<'a>>,
    pending: Option<u64>,
    quarantined: Option<u64>,
    held_losses: Option<usize>,
    exposed: Option<&'a str>,
}

impl InitReport {
    /// What would be done.
    #[must_use]
    pub fn planned(survey: Survey, plan: Plan, choice: &Choice) -> InitReport {
        let chosen = chosen(choice);
        InitReport { survey, plan, chosen, copy: None, exchange: None }
    }

    /// What was done.
    #[must_use]
    pub fn joined(survey: Survey, joined: Joined) -> InitReport {
        let Joined { plan, copy, exchange } = joined;
        InitReport { survey, plan, chosen: String::new(), copy, exchange: Some(exchange) }
    }

    fn tables(&self) -> impl Iterator<Item = (&Chosen, &TablePlan)> {
        self.survey.chosen.iter().zip(&self.plan.tables)
    }

    /// The exit code. A plan that additions cannot fulfil is a check that found something.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match &self.exchange {
            None if self.plan.is_additive() => Exit::Done,
            None => Exit::WithRejects,
            Some(exchange) => Exit::of(exchange),
        }
    }

    /// How many rows of a file that leaves another installation have something that waits.
    fn rejoins_with(&self) -> Option<u64> {
        match self.plan.bond {
            Bond::Rejoining { pending } => Some(pending),
            Bond::New | Bond::Joined => None,
        }
    }

    fn exchange(&self) -> Option<&Exchange> {
        self.exchange.as_ref()
    }

    /// The command that does what the plan says.
    fn again(&self) -> String {
        let mut words = format!("dual init --apply{}", self.chosen);
        if self.plan.prefer == Store::Sqlite {
            words.push_str(" --prefer sqlite");
        }
        if self.rejoins_with().is_some() {
            words.push_str(" --rejoin");
        }
        words
    }

    /// For programs.
    #[must_use]
    pub fn document(&self) -> String {
        line(&InitBody {
            version: 1,
            applied: self.exchange.is_some(),
            done: self.exchange().map_or(self.plan.is_done(), |exchange| exchange.caught_up),
            joined: self.plan.bond == Bond::Joined,
            rejoins_with: self.rejoins_with(),
            prefer: store_word(self.plan.prefer),
            copy: self.copy.as_ref().map(|path| path.display().to_string()),
            tables: self.tables().map(|(chosen, plan)| self.table(chosen, plan)).collect(),
            skipped: self.survey.skipped.iter().map(SkippedBody::new).collect(),
            pending: self.exchange().map(|exchange| exchange.pending),
            quarantined: self.exchange().map(|exchange| exchange.quarantined),
            held_losses: self.exchange().and_then(|exchange| exchange.held),
            exposed: self.plan.exposed.as_deref(),
        })
    }

    /// For people, in 80 columns.
    #[must_use]
    pub fn text(&self) -> String {
        fold(&self.lines())
    }

    fn lines(&self) -> String {
        let mut text = String::new();
        for (chosen, table) in self.tables() {
            let _ = writeln!(text, "table {}", table.table);
            if let Some(reason) = &chosen.keyed {
                let _ = writeln!(text, "  told apart by {reason}");
            }
            columns(&mut text, &chosen.columns);
            side(&mut text, "PostgreSQL", &table.postgres);
            side(&mut text, "SQLite", &table.sqlite);
            if let Some(rows) = &table.rows {
                let follows = chosen.table.surrogate().is_some();
                if follows && table.renumbered > 0 {
                    let _ = writeln!(
                        text,
                        "  rows of SQLite that get PostgreSQL's numbers: {}; what refers to them follows",
                        table.renumbered
                    );
                }
                let renumbered = if follows { 0 } else { table.renumbered };
                counts(&mut text, rows, renumbered, &self.plan);
            }
        }
        for Skipped { table, reason, hint, .. } in &self.survey.skipped {
            let _ = writeln!(text, "left out: {table}: {reason}");
            if !hint.is_empty() {
                let _ = writeln!(text, "    hint: {hint}");
            }
        }
        if let Some(pending) = self.rejoins_with() {
            let _ = writeln!(
                text,
                "\nthe file leaves another installation: what waits in it, in {pending} rows, goes to \
                 PostgreSQL as it is, deletes included; everything else joins as counted above"
            );
        }
        if let Some(permissions) = &self.plan.exposed {
            let _ = writeln!(text, "\nothers can read the file: {}", exposure(permissions));
        }
        if let Some(copy) = &self.copy {
            let _ = writeln!(text, "\nthe file as it was before: {}", copy.display());
        }
        let again = format!("\nnothing was changed; `{}` does it\n", self.again());
        text.push_str(match (self.exchange(), self.exit()) {
            (Some(_), Exit::Done) => "\ndone: both sides are one database\n",
            (Some(_), Exit::WithRejects) => {
                "\ndone, but something waits for you: `dual status` says what\n"
            }
            (Some(_), _) => "\nnot everything has been exchanged yet: `dual sync --once`\n",
            (None, _) if !self.plan.is_additive() => {
                "\nthis cannot be joined by additions: see to the obstacles first\n"
            }
            (None, _) if self.plan.is_done() => "\nnothing is left to do\n",
            (None, _) => &again,
        });
        text
    }
}

/// The options that chose the tables, as a shell takes them.
fn chosen(choice: &Choice) -> String {
    let quoted = |text: &str| {
        let is_plain = |c: char| c.is_alphanumeric() || "_-,.".contains(c);
        match text.chars().all(is_plain) {
            true => text.to_owned(),
            false => format!("'{}'", text.replace('\'', r"'\''")),
        }
    };
    let mut words = String::new();
    if choice.all {
        words.push_str(" --all");
    }
    let lists = [
        ("--tables", &choice.tables),
        ("--except", &choice.except),
        ("--same", &choice.same),
        ("--different", &choice.different),
        ("--widen", &choice.widen),
    ];
    for (option, list) in lists {
        if !list.is_empty() {
            let _ = write!(words, " {option} {}", quoted(&list.join(",")));
        }
    }
    if let Some(schema) = &choice.schema {
        let _ = write!(words, " --schema {}", quoted(schema));
    }
    words
}

/// Only what is not to be expected: columns that are not carried, those that the file calls otherwise, and types
/// that were judged by values.
fn columns(text: &mut String, columns: &[ChosenColumn]) {
    for column in columns {
        if let Some(local) = &column.local {
            let _ = writeln!(text, "  {}: {local} in the file", column.name);
        }
        let Some(remark) = &column.remark else { continue };
        let _ = match &column.kind {
            Some(kind) => writeln!(text, "  {}: {kind}, {remark}", column.name),
            None => writeln!(text, "  {} is not carried: {remark}", column.name),
        };
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
    if let Some(reason) = &side.untried {
        let _ = writeln!(text, "    ? could not be tried: {reason}");
    }
    if let Some(reason) = &side.lacks {
        let _ = writeln!(text, "    ? rows will wait in quarantine: {reason}");
    }
    if let Some(hint) = &side.hint {
        let _ = writeln!(text, "    hint: {hint}");
    }
}

fn counts(text: &mut String, rows: &RowCounts, renumbered: u64, plan: &Plan) {
    let _ = writeln!(
        text,
        "  rows: {} in PostgreSQL, {} in SQLite; {} only in PostgreSQL, {} only in SQLite",
        rows.postgres, rows.sqlite, rows.only_postgres, rows.only_sqlite
    );
    if rows.different == 0 {
        return;
    }
    if renumbered > 0 {
        let _ = writeln!(
            text,
            "  rows of both under one number that differ: {renumbered}; those of SQLite get other \
             numbers, and what refers to them follows"
        );
        return;
    }
    let _ = writeln!(text, "  rows of both that differ: {}", rows.different);
    for column in &rows.columns {
        let parts = [
            (column.from_sqlite, "SQLite's value goes to PostgreSQL"),
            (column.from_postgres, "PostgreSQL's value goes to SQLite"),
            (column.conflicts, "both have a value"),
        ];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{what} in {count}"))
            .collect();
        let _ = writeln!(text, "    {}: {}", column.column, parts.join(", "));
    }
    if rows.conflicting > 0 {
        let other = plan.prefer.other();
        let _ = writeln!(
            text,
            "  rows in which both have a value: {}; that of {} stands, that of {other} goes to the \
             conflict log (--prefer {} turns that round)",
            rows.conflicting,
            plan.prefer,
            store_word(other)
        );
    }
}

impl InitReport {
    fn table<'a>(&self, chosen: &'a Chosen, plan: &'a TablePlan) -> TableBody<'a> {
        let sides = [&plan.postgres, &plan.sqlite];
        let is_done = sides.iter().all(|side| side.captured && side.steps.is_empty());
        TableBody {
            table: Arc::clone(&plan.table),
            state: match sides.iter().any(|side| !side.obstacles.is_empty()) {
                true => "refused",
                false if is_done || self.exchange.is_some() => "joined",
                false => "ready",
            },
            key: chosen.table.key_columns().map(|column| Arc::clone(&column.name)).collect(),
            key_reason: chosen.keyed.as_deref(),
            columns: chosen.columns.iter().map(TypeBody::new).collect(),
            different_columns: plan
                .rows
                .iter()
                .flat_map(|rows| &rows.columns)
                .map(|counts| (Arc::clone(&counts.column), counts.different))
                .collect(),
            renumbered: plan.renumbered,
            postgres: SideBody::new(&plan.postgres),
            sqlite: SideBody::new(&plan.sqlite),
            rows: plan.rows.as_ref().map(|rows| RowsBody {
                postgres: rows.postgres,
                sqlite: rows.sqlite,
                only_postgres: rows.only_postgres,
                only_sqlite: rows.only_sqlite,
                different: rows.different,
                conflicting: rows.conflicting,
                columns: rows.columns.iter().map(ColumnBody::new).collect(),
            }),
        }
    }
}

impl TypeBody<'_> {
    fn new(column: &ChosenColumn) -> TypeBody<'_> {
        TypeBody {
            name: &column.name,
            sqlite_name: column.local.as_deref(),
            r#type: column.kind.as_deref(),
            postgres: column.postgres.as_deref(),
            sqlite: column.sqlite.as_deref(),
            remark: column.remark.as_deref(),
            too_large: column.width.map(|width| width.too_large),
            widened: column.width.is_some_and(|width| width.widened),
        }
    }
}

impl SkippedBody<'_> {
    fn new(skipped: &Skipped) -> SkippedBody<'_> {
        SkippedBody { table: &skipped.table, reason: &skipped.reason, hint: &skipped.hint }
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
            untried: side.untried.as_deref(),
            lacks: side.lacks.as_deref(),
        }
    }
}

impl ColumnBody {
    fn new(counts: &ColumnCounts) -> ColumnBody {
        let &ColumnCounts { ref column, different, from_postgres, from_sqlite, conflicts } = counts;
        ColumnBody { column: Arc::clone(column), different, from_postgres, from_sqlite, conflicts }
    }
}
