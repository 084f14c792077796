//! `torture`: real servers, several processes, other people's programs and a nemesis; then the
//! question whether what was acknowledged is still there. See `DESIGN.md`.

#![forbid(unsafe_code)]

mod check;
mod crew;
mod dump;
mod heal;
mod ledger;
mod nemesis;
mod node;
mod observer;
mod operator;
mod options;
mod outside;
mod proxy;
mod report;
mod run;
mod schedule;
mod servers;
mod shell;
mod tables;
mod worker;
mod world;

use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

/// Set for the program that runs in a mount namespace of its own.
const ALONE: &str = "TORTURE_ALONE";

/// Breaks everything around real stores and looks whether what was acknowledged is still there.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Inject faults for a while, heal, wait for quiet, check
    Run(options::Options),
    /// Run the schedule of a folder again, until a violation shows
    Replay {
        /// The folder of a run
        folder: PathBuf,
        /// At most so often
        #[arg(long, default_value_t = 5)]
        times: u32,
    },
    /// Look through the ledgers and dumps of a folder once more
    Check {
        /// The folder of a run
        folder: PathBuf,
    },
    /// A process that uses the product; started by `run`
    #[command(hide = true)]
    Worker(worker::Options),
}

fn main() -> ExitCode {
    // Under that name it is the product's own program.
    if std::env::args_os().next().is_some_and(|name| name == "dual") {
        return dual_cli::dual(std::env::args_os()).into();
    }
    let arguments = Arguments::parse();
    let ran = match arguments.command {
        Task::Worker(options) => return code(worker::run(options).map(|()| true)),
        Task::Run(options) => in_own_namespace().and_then(|()| run::run(options)),
        Task::Check { folder } => run::check_again(&folder),
        Task::Replay { folder, times } => {
            in_own_namespace().and_then(|()| run::replay(&folder, times))
        }
    };
    code(ran.map(|report| {
        let mut out = std::io::stdout();
        let _ = out.write_all(report.text().as_bytes());
        if !report.violations.is_empty() {
            let _ = writeln!(
                out,
                "again: torture run --seed {}, or torture replay FOLDER",
                report.seed
            );
        }
        report.violations.is_empty()
    }))
}

/// Root can have disks of its own, which vanish with it: begins again where they can be mounted.
fn in_own_namespace() -> std::io::Result<()> {
    if std::env::var_os(ALONE).is_some() {
        return Ok(());
    }
    let may = Command::new("unshare").args(["-m", "true"]).output();
    if may.is_ok_and(|output| output.status.success()) {
        let program = std::env::current_exe()?;
        let words = std::env::args_os().skip(1);
        let mut again = Command::new("unshare");
        return Err(again.arg("-m").arg(program).args(words).env(ALONE, "1").exec());
    }
    Ok(())
}

fn code(ran: std::io::Result<bool>) -> ExitCode {
    match ran {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(2)
        }
    }
}
