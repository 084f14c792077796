use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dual_import::{Event, Observer, Plan, StorePlan};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::message;

/// Plain lines come at most this often; on a terminal the bar shows every row.
const BETWEEN_LINES: Duration = Duration::from_secs(2);

/// Tells on stderr what an import is doing: a bar on a terminal, plain lines otherwise.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    last_line: Mutex<Option<Instant>>,
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}

impl Progress {
    /// For this process's stderr.
    #[must_use]
    pub fn new() -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(spinner());
            bar.set_message("starting:");
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Progress { bar, last_line: Mutex::new(None) }
    }

    /// One line of its own.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| message(text)),
            None => message(text),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// What is going on, with how much of it is done.
    fn step(&self, what: &str, rows: u64, total: Option<u64>) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_string());
            bar.set_position(rows);
            match total {
                Some(total) => {
                    bar.set_length(total);
                    bar.set_style(gauge());
                }
                None => bar.set_style(spinner()),
            }
            return;
        }
        let Ok(mut last) = self.last_line.lock() else { return };
        let done = total == Some(rows);
        if done || last.is_none_or(|at| at.elapsed() >= BETWEEN_LINES) {
            *last = Some(Instant::now());
            match total {
                Some(total) => message(&format!("{what}: {rows} of {total} rows")),
                None => message(&format!("{what}: {rows} rows")),
            }
        }
    }
}

impl Observer for Progress {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Waiting { reason, wait, budget_left } => self.line(&format!(
                "waiting {:.1} s: {reason} (waits allowed for another {} s)",
                wait.as_secs_f64(),
                budget_left.as_secs()
            )),
            Event::Read { rows, total } => self.step("reading", rows, total),
            Event::Warning(text) => self.line(&format!("warning: {text}")),
            Event::Plan(plan) => self.line(&plan_text(plan)),
            Event::Loaded { store, rows, total } => {
                self.step(&format!("copying to {store}"), rows, Some(total));
            }
            _ => {}
        }
    }
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg} {human_pos} rows")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn gauge() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg} {wide_bar} {human_pos}/{human_len} rows")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The plan as lines, a store each.
fn plan_text(plan: &Plan) -> String {
    let line = |name: &str, plan: &Option<StorePlan>| match plan {
        None => format!("plan for {name}: away, nothing"),
        Some(plan) => {
            let mut text = format!(
                "plan for {name}: insert {}, update {}, leave {} as they are",
                plan.inserted, plan.updated, plan.unchanged
            );
            if !plan.columns.is_empty() {
                let columns: Vec<String> =
                    plan.columns.iter().map(|(name, count)| format!("{name} {count}")).collect();
                text.push_str(&format!("\n  rows that change, by column: {}", columns.join(", ")));
            }
            for step in &plan.schema {
                text.push_str(&format!("\n  schema: {step}"));
            }
            text
        }
    };
    format!("{}\n{}", line("PostgreSQL", &plan.postgres), line("SQLite", &plan.sqlite))
}
