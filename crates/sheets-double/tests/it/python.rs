//! Python with a given gspread, and its scripts. The tests of other crates include this file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The interpreter of a virtual environment with gspread in it, made once a build folder.
fn interpreter(requirement: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("gspread-{}", requirement.replace(|c: char| !c.is_alphanumeric(), "-")));
    let lock = File::create(folder.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let (python, made) = (folder.join("bin/python"), folder.join("made"));
    if !made.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement];
        run(Command::new(&python).args(pip));
        fs::write(made, requirement).unwrap();
    }
    python
}

/// Runs a script of `tests/gspread` under that gspread; returns the JSON that it printed.
pub fn gspread(requirement: &str, script: &str, arguments: &[&str]) -> serde_json::Value {
    // Relative to the crate of the test that includes this file: all crates lie side by side.
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sheets-double/tests/gspread");
    let output = run(Command::new(interpreter(requirement))
        .arg(scripts.join(script))
        .args(arguments)
        .env("PYTHONIOENCODING", "utf-8")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("NO_PROXY", "127.0.0.1"));
    serde_json::from_slice(&output.stdout).unwrap()
}
