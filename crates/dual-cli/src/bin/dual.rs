//! `dual`: PostgreSQL and SQLite kept as one logical database.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    dual_cli::dual(std::env::args_os()).into()
}
