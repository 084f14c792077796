//! The server's main process: starting, waiting until it is ready, ending.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::account::{Account, lend};
use crate::binaries::Binaries;
use crate::command::{tail, without_postgres_settings};
use crate::error::Error;

/// Crash recovery of a large database takes longest.
const READY_LIMIT: Duration = Duration::from_secs(120);
const STOP_LIMIT: Duration = Duration::from_secs(60);
const LOG_LINES: usize = 20;

/// Where a server's files lie.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) data: PathBuf,
    pub(crate) log: PathBuf,
}

impl Layout {
    pub(crate) fn log_text(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    pub(crate) fn log_tail(&self) -> String {
        tail(&self.log_text(), LOG_LINES)
    }
}

/// How a start failed.
pub(crate) enum StartFailure {
    /// Somebody else listens on the port.
    PortInUse,
    /// The processes of the server that was there before have not all ended.
    PreviousStillEnding,
    /// Anything else.
    Fatal(Error),
}

/// Starts `postgres` and waits until it accepts connections.
pub(crate) fn start(
    binaries: &Binaries,
    layout: &Layout,
    port: u16,
    account: Option<Account>,
) -> Result<Child, StartFailure> {
    let fatal = |action: &str| {
        let action = action.to_owned();
        move |error| StartFailure::Fatal(Error::io(action)(error))
    };
    let log = File::options()
        .create(true)
        .append(true)
        .open(&layout.log)
        .map_err(fatal("open the server's log"))?;
    let before = layout.log_text().len();
    let mut command = Command::new(binaries.program("postgres"));
    command
        .arg("-D")
        .arg(&layout.data)
        .arg("-p")
        .arg(port.to_string())
        .current_dir(&layout.data)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(fatal("open the server's log"))?)
        .stderr(log)
        // Ctrl-C in a terminal must not stop it before we do.
        .process_group(0);
    lend(without_postgres_settings(&mut command), account);
    let mut child = command.spawn().map_err(fatal("start postgres"))?;
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        if is_ready(&layout.data, child.id()) {
            return Ok(child);
        }
        let reason = match child.try_wait() {
            Ok(Some(status)) => {
                let log = layout.log_text();
                let news = log.get(before..).unwrap_or(&log);
                if news.contains("Address already in use") {
                    return Err(StartFailure::PortInUse);
                }
                if news.contains("is still in use") || news.contains("lock file \"postmaster.pid\"")
                {
                    return Err(StartFailure::PreviousStillEnding);
                }
                ended(status)
            }
            Ok(None) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            Ok(None) => format!("not ready within {} s", READY_LIMIT.as_secs()),
            Err(error) => error.to_string(),
        };
        end(&mut child);
        let log = layout.log_tail();
        return Err(StartFailure::Fatal(Error::Server { program: "postgres", reason, log }));
    }
}

/// What `pg_ctl` looks at, too: the first line is the process, the eighth its state. A standby
/// takes readers in a state of its own.
fn is_ready(data: &Path, pid: u32) -> bool {
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else { return false };
    let mut lines = text.lines();
    lines.next().is_some_and(|line| line.trim() == pid.to_string())
        && lines.nth(6).is_some_and(|line| matches!(line.trim(), "ready" | "standby"))
}

/// Sends a signal by name; the process is our child and not yet waited for, so that its
/// number cannot belong to another.
pub(crate) fn signal(child: &Child, name: &str) -> Result<(), Error> {
    let action = || Error::io(format!("send SIG{name} to the server"));
    let status = Command::new("sh")
        .args(["-c", "kill -s \"$1\" \"$2\"", "kill", name])
        .arg(child.id().to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(action())?;
    if status.success() { Ok(()) } else { Err(action()(io::Error::other(ended(status)))) }
}

/// Signals and waits for the end.
pub(crate) fn stop(child: &mut Child, name: &str, layout: &Layout) -> Result<(), Error> {
    let wait = |child: &mut Child| child.try_wait().map_err(Error::io("wait for the server"));
    if wait(child)?.is_some() {
        return Ok(());
    }
    signal(child, name)?;
    let deadline = Instant::now() + STOP_LIMIT;
    while wait(child)?.is_none() {
        if Instant::now() >= deadline {
            return Err(Error::Server {
                program: "postgres",
                reason: format!("no end {} s after SIG{name}", STOP_LIMIT.as_secs()),
                log: layout.log_tail(),
            });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Ends it at once, whatever it does.
pub(crate) fn end(child: &mut Child) {
    // Both fail only if it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with code {code}"),
        (None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}
