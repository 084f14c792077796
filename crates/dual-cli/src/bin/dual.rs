//! `dual`: PostgreSQL and SQLite kept as one logical database.

fn main() -> std::process::ExitCode {
    dual_cli::dual(std::env::args_os()).into()
}
