//! What a person or a program reads: data on stdout, messages on stderr.

mod aside;
mod fold;
mod init;
mod json;
mod list;
#[cfg(feature = "import")]
mod migration;
#[cfg(feature = "import")]
mod progress;
mod rows;
mod schema;
mod state;
#[cfg(feature = "import")]
mod summary;
mod sync;
mod table;
mod uninstalled;
mod verification;

pub use aside::{conflicts_document, conflicts_text, quarantine_document, quarantine_text};
pub use init::{InitReport, sql_document};
pub use json::error_document;
pub use list::RowListing;
#[cfg(feature = "import")]
pub use migration::{LISTED as JSON_LISTED, MigrationDocument};
#[cfg(feature = "import")]
pub use progress::Progress;
pub use rows::{Shown, Words, away, rows_of_sql};
pub use schema::{SchemaReport, schema_document, schema_text};
pub use state::Away;
pub use state::{state_line, status_document, status_text};
#[cfg(feature = "import")]
pub use summary::{LISTED as SUMMARY_LISTED, reasons, summary};
pub use sync::SyncReport;
pub use table::table;
pub use uninstalled::{
    FILE_UNINSTALLED, file_uninstalled_document, uninstalled_document, uninstalled_text,
};
pub use verification::{verification_document, verification_text};

use std::io::{IsTerminal as _, Write as _};

use clap::error::ErrorKind;
use dual_database::Error;
use dual_database::store::postgres::mask;
use tracing_subscriber::EnvFilter;

use crate::exit;

/// Writes to stdout; a reader that has gone away (`| head`) is no error.
pub fn data(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Writes one line to stderr.
pub fn message(text: &str) {
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "{text}");
}

/// Shows an error with its causes and its hint, and gives the exit code for it.
#[must_use]
pub fn error(error: &Error, json: bool) -> u8 {
    tell(error, json);
    exit::code_of(error)
}

fn tell(error: &Error, json: bool) {
    if json {
        data(&error_document(exit::word_of(error.kind()), &error.chain(), error.hint()));
    } else {
        message(&format!("error: {}", error.chain()));
        if let Some(hint) = error.hint() {
            message(&format!("hint: {hint}"));
        }
    }
}

/// Shows what the argument parser says: help on stdout with 0, anything wrong with 2.
#[must_use]
pub fn usage(error: &clap::Error, json: bool) -> u8 {
    if !error.use_stderr() {
        data(&styled(error, std::io::stdout().is_terminal()));
        return 0;
    }
    if json {
        let text = mask(&error.render().to_string());
        let tip = text.lines().find_map(|line| line.trim().strip_prefix("tip: "));
        let message = sentence(error, &text);
        data(&error_document("configuration", &message, Some(tip.unwrap_or("see --help"))));
    } else {
        message(styled(error, std::io::stderr().is_terminal()).trim_end());
    }
    2
}

/// What is wrong, on one line: the parser puts what is missing on lines of their own, and shows
/// the help instead if it is the subcommand.
fn sentence(error: &clap::Error, text: &str) -> String {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand
    ) {
        return "a subcommand is missing".to_owned();
    }
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default().trim_start_matches("error: ");
    let details: Vec<&str> =
        lines.map_while(|line| line.strip_prefix("  ")).map(str::trim).collect();
    match first.ends_with(':') {
        true => format!("{first} {}", details.join(", ")),
        false => first.to_owned(),
    }
}

fn styled(error: &clap::Error, terminal: bool) -> String {
    let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let text = if colours { error.render().ansi().to_string() } else { error.render().to_string() };
    // It repeats words that it does not know; a URL among them has a password.
    mask(&text)
}

/// A moment as `YYYY-MM-DD HH:MM:SS`, UTC; empty outside the calendar.
fn time(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms)
        .map(|moment| moment.strftime("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_default()
}

/// Sends the library's log to stderr: what `DUAL_LOG` asks for (`DUAL_LOG=debug`), else
/// `RUST_LOG`, else what `--verbose` does, else warnings.
pub fn log_to_stderr(verbose: u8) {
    let asked = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let filter = asked("DUAL_LOG")
        .or_else(|| asked("RUST_LOG"))
        .and_then(|text| EnvFilter::try_new(text).ok())
        .unwrap_or_else(|| {
            EnvFilter::new(match verbose {
                0 => "warn",
                1 => "info",
                _ => "debug",
            })
        });
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    // A second program in one process (tests) keeps the first one's subscriber.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !plain)
        .try_init();
}
