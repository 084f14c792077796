//! Other people's programs: `psql` and the `sqlite3` shell, each run once for a question.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What a program answered.
#[derive(Debug)]
pub struct Answer {
    /// Whether it ended with 0.
    pub ok: bool,
    /// With what it ended, unless its time was up.
    pub code: Option<i32>,
    /// What it printed.
    pub out: String,
    /// What it complained about.
    pub complaint: String,
}

/// How long a program may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Runs SQL with `psql`; several statements are a transaction each unless they say otherwise.
///
/// # Errors
/// The program cannot be started.
pub fn psql(port: u16, sql: &str) -> io::Result<Answer> {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"]).arg(format!(
        "host=127.0.0.1 port={port} user=postgres dbname=postgres connect_timeout=2 \
             options='-c statement_timeout=5000 -c search_path=public'"
    ));
    run(&mut command, sql)
}

/// Runs SQL on a file that is there with the `sqlite3` shell; it waits two seconds for locks.
///
/// # Errors
/// The program cannot be started.
pub fn sqlite(file: &Path, mode: &str, sql: &str) -> io::Result<Answer> {
    let mut command = sqlite_command(file, mode);
    run(&mut command, &format!(".timeout 2000\n{sql}\n"))
}

/// The `sqlite3` shell on a file that is there: it never makes a new one.
pub fn sqlite_command(file: &Path, mode: &str) -> Command {
    let mut command = Command::new("sqlite3");
    command.args(["-batch", "-bail", "-noheader", mode]);
    command.arg(format!("file:{}?mode=rw", file.display()));
    command
}

/// Runs a program with that input.
///
/// # Errors
/// It cannot be started.
pub fn run(command: &mut Command, input: &str) -> io::Result<Answer> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that has ended early says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let out = drain(child.stdout.take());
    let complaint = drain(child.stderr.take());
    let code = wait(&mut child, LIMIT)?;
    let text = |thread: std::thread::JoinHandle<String>| thread.join().unwrap_or_default();
    Ok(Answer { ok: code == Some(0), code, out: text(out), complaint: text(complaint) })
}

fn drain<R: Read + Send + 'static>(pipe: Option<R>) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Waits for the end, which is brought about when the time is up. Says with what it ended.
///
/// # Errors
/// The system does not know the process.
pub fn wait(child: &mut Child, within: Duration) -> io::Result<Option<i32>> {
    let end = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code());
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
