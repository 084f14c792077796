//! The programs `dual` and `dual_migrate`: arguments, settings, one file a command, printers.
//!
//! Data goes to stdout, everything else to stderr. Exit codes are those of [`exit`].

#![forbid(unsafe_code)]

pub mod arguments;
pub mod commands;
pub mod exit;
pub mod output;
pub mod settings;
mod unlisted;

use std::ffi::OsString;

#[cfg(feature = "import")]
use arguments::DualMigrate;
use arguments::{Command, Dual, Global};
use clap::Parser;
use dual_database::store::postgres::Environment;
use dual_database::{Error, Kind, Result};
use exit::Exit;
use settings::Stores;

/// The program `dual`: runs it with these words, its own name first, and gives its exit code.
#[must_use]
pub fn dual(words: impl IntoIterator<Item = OsString>) -> u8 {
    run::<Dual>(words, |arguments| (arguments.global, arguments.command))
}

/// The program `dual_migrate`: the same job as `dual migrate`, with the flags that people have
/// in their scripts.
#[cfg(feature = "import")]
#[must_use]
pub fn dual_migrate(words: impl IntoIterator<Item = OsString>) -> u8 {
    run::<DualMigrate>(words, |arguments| {
        (arguments.global, Command::Migrate(Box::new(arguments.migrate)))
    })
}

fn run<A: Parser>(
    words: impl IntoIterator<Item = OsString>,
    parts: impl FnOnce(A) -> (Global, Command),
) -> u8 {
    let words: Vec<OsString> = words.into_iter().collect();
    unlisted::without_password(&words);
    let json = words.iter().any(|word| word == "--json");
    let (mut global, command) = match A::try_parse_from(words) {
        Ok(arguments) => parts(arguments),
        Err(error) => return output::usage(&error, json),
    };
    global.environment = Environment::of_process();
    output::log_to_stderr(global.verbose);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            let error =
                Error::new(Kind::Internal, "start the program", "the system gives no threads");
            return output::error(&error.with_source(cause), json);
        }
    };
    let ended = runtime.block_on(execute(&global, command));
    // A blocking read (a prompt, a file) must not hold the end of the program.
    runtime.shutdown_background();
    match ended {
        Ok(end) => end.code(),
        Err(error) => output::error(&error, json),
    }
}

async fn execute(global: &Global, command: Command) -> Result<Exit> {
    use commands::{conflicts, init, quarantine, repair, row, schema, sql, status, sync};
    #[cfg(feature = "import")]
    use commands::{demo, migrate};
    use commands::{uninstall, user, verify};
    let (json, stores) = (global.json, || Stores::new(global));
    match command {
        Command::Init(arguments) => {
            init::run(&stores()?, json, global.config.as_deref(), arguments).await
        }
        Command::Status(arguments) => status::run(&stores()?, json, arguments).await,
        Command::Verify => verify::run(&stores()?, json).await,
        Command::Repair(arguments) => repair::run(&stores()?, json, arguments).await,
        Command::Sync(arguments) => sync::run(&stores()?, json, arguments).await,
        Command::User(command) => user::run(&stores()?, json, command).await,
        Command::Row(command) => row::run(&stores()?, json, output::Words::Rows, command).await,
        Command::Schema(arguments) => schema::run(&stores()?, json, arguments).await,
        Command::Sql(arguments) => sql::run(&stores()?, json, &arguments).await,
        Command::Conflicts(arguments) => conflicts::run(&stores()?, json, arguments).await,
        Command::Quarantine => quarantine::run(&stores()?, json).await,
        Command::Uninstall(arguments) => uninstall::run(global, json, arguments).await,
        #[cfg(feature = "import")]
        Command::Migrate(arguments) => migrate::run(global, *arguments).await,
        #[cfg(feature = "import")]
        Command::Demo(arguments) => demo::run(arguments).await,
    }
}
