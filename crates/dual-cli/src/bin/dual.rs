//! `dual`: PostgreSQL and SQLite kept as one logical database.

fn main() -> std::process::ExitCode {
    dual_cli::dual()
}
