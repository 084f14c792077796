//! `dual_migrate`: a Google Sheet or a CSV file into PostgreSQL and SQLite at once.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    dual_cli::dual_migrate(std::env::args_os()).into()
}
