//! The programs `dual` and `dual_migrate`: arguments, settings, one file a command, printers.
//!
//! Data goes to stdout, everything else to stderr. Exit codes are those of [`exit`].

pub mod arguments;
pub mod commands;
pub mod exit;
pub mod output;
pub mod settings;

use std::ffi::OsString;
use std::process::ExitCode;

use arguments::{Command, Dual, DualMigrate};
use clap::Parser;

/// The program `dual`, with the process's arguments.
#[must_use]
pub fn dual() -> ExitCode {
    run::<Dual>(|arguments| arguments.command)
}

/// The program `dual_migrate`: the same job as `dual migrate`, with the flags that people have
/// in their scripts.
#[must_use]
pub fn dual_migrate() -> ExitCode {
    run::<DualMigrate>(|arguments| Command::Migrate(Box::new(arguments.migrate)))
}

fn run<A: Parser>(command: impl FnOnce(A) -> Command) -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    let json = words.iter().any(|word| word == "--json");
    let arguments = match A::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => return output::usage(&error, json),
    };
    output::log_to_stderr();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            let error = dual_database::Error::new(
                dual_database::Kind::Internal,
                "start the program",
                "the system gives no threads",
            );
            return output::error(&error.with_source(cause), json);
        }
    };
    let ended = runtime.block_on(async {
        match command(arguments) {
            Command::Migrate(arguments) => commands::migrate::run(*arguments).await,
            Command::Demo(arguments) => commands::demo::run(arguments).await,
        }
    });
    // A blocking read (a prompt, a file) must not hold the end of the program.
    runtime.shutdown_background();
    match ended {
        Ok(code) => code.into(),
        Err(error) => output::error(&error, json),
    }
}
