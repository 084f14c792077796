//! Running a program to its end, with a deadline and its output kept.

use std::io::{Read, Seek, SeekFrom};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::error::Error;

/// What a program said and how it ended.
pub(crate) struct Outcome {
    /// `None`: it did not end in time and was ended.
    pub(crate) status: Option<ExitStatus>,
    /// Standard output and error, as they came.
    pub(crate) output: String,
}

impl Outcome {
    pub(crate) fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// How it ended and its last lines, for an error.
    pub(crate) fn describe(&self) -> String {
        let tail = tail(&self.output, 5);
        match self.status {
            None => format!("no end within the time allowed; {tail}"),
            Some(status) => format!("{status}; {tail}"),
        }
    }
}

/// Runs the program without the caller's input, terminal or `PG*` settings. Its output goes
/// through a file: a pipe would fill up, and would stay open in processes that it leaves.
///
/// # Errors
/// The program cannot be started.
pub(crate) fn run(command: &mut Command, limit: Duration) -> std::io::Result<Outcome> {
    let mut output = tempfile::tempfile()?;
    without_postgres_settings(command)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?);
    let mut child = command.spawn()?;
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(2);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            break None;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    };
    output.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    output.read_to_end(&mut bytes)?;
    Ok(Outcome { status, output: String::from_utf8_lossy(&bytes).into_owned() })
}

/// As [`run`], with the failure to start as this crate's error.
pub(crate) fn run_program(
    program: &'static str,
    command: &mut Command,
    limit: Duration,
) -> Result<Outcome, Error> {
    run(command, limit).map_err(Error::io(format!("run {program}")))
}

/// Removes `PGDATA`, `PGPORT`, `PGOPTIONS` and the like: they would change what the server's
/// programs do. Messages come in English, because some are looked at.
pub(crate) fn without_postgres_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command.env("LC_ALL", "C")
}

/// The last lines of a text that are not blank.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let kept: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    kept.get(kept.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}
