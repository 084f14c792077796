//! The tests of `dual-database` in the copy.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Outcome;

/// A test binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Unit,
    Integration,
}

impl Target {
    pub const ALL: [Target; 2] = [Target::Unit, Target::Integration];

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Target::Unit => &["--lib"],
            Target::Integration => &["--test", "it"],
        }
    }
}

pub struct Suite {
    pub tree: PathBuf,
    pub build: PathBuf,
}

impl Suite {
    fn cargo(&self, what: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command
            .args(what)
            .args(["--quiet", "--package", "dual-database"])
            .current_dir(&self.tree)
            .env("CARGO_TARGET_DIR", &self.build)
            .env("INSTA_UPDATE", "no")
            .stdin(Stdio::null());
        command
    }

    fn test(&self, target: Target) -> Command {
        let mut command = self.cargo(&["test"]);
        command.args(target.arguments());
        command
    }

    /// Builds the tests.
    ///
    /// # Errors
    /// What the compiler said, if they do not build.
    pub fn build(&self, target: Target) -> Result<(), String> {
        let mut tests = self.test(target);
        tests.arg("--no-run");
        // The program that some of the integration tests run.
        let worker = match target {
            Target::Unit => None,
            Target::Integration => {
                let mut worker = self.cargo(&["build"]);
                worker.args(["--example", "worker"]);
                Some(worker)
            }
        };
        for mut build in [Some(tests), worker].into_iter().flatten() {
            let output = build.output().map_err(|error| error.to_string())?;
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr);
                let errors = said.lines().filter(|line| line.starts_with("error"));
                return Err(errors.take(3).collect::<Vec<_>>().join("; "));
            }
        }
        Ok(())
    }

    /// Sees that every filter chooses a test, and that all of them pass.
    pub fn passes(&self, target: Target, filters: &[&str], limit: Duration) -> Outcome<()> {
        if filters.is_empty() {
            return Ok(());
        }
        self.build(target)?;
        let listed = self.test(target).args(["--", "--list"]).output()?;
        let listed = String::from_utf8(listed.stdout)?;
        let tests = || listed.lines().filter_map(|line| line.strip_suffix(": test"));
        if let Some(filter) = filters.iter().find(|filter| !tests().any(|t| t.contains(**filter))) {
            return Err(format!("no test is called {filter}").into());
        }
        match self.failures(target, filters, limit)?.as_slice() {
            [] => Ok(()),
            failed => Err(format!("without a mistake {} fail", failed.join(", ")).into()),
        }
    }

    /// Runs the chosen tests; says which have failed. Tests that have not come to an end within
    /// the limit have failed too.
    pub fn failures(
        &self,
        target: Target,
        filters: &[&str],
        limit: Duration,
    ) -> Outcome<Vec<String>> {
        let mut child = self
            .test(target)
            .args(["--", "--format=pretty"])
            .args(filters)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut pipe = child.stdout.take().ok_or("no output to read")?;
        let reader = thread::spawn(move || {
            let mut said = Vec::new();
            let _ = pipe.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        });
        let until = Instant::now() + limit;
        let status = loop {
            match child.try_wait()? {
                Some(status) => break Some(status),
                None if Instant::now() >= until => {
                    child.kill()?;
                    child.wait()?;
                    break None;
                }
                None => thread::sleep(Duration::from_millis(50)),
            }
        };
        if status.is_none() {
            return Ok(filters.iter().map(|filter| format!("{filter} (no end)")).collect());
        }
        let said = reader.join().map_err(|_| "the output could not be read")?;
        let failed = said.lines().filter_map(|line| {
            line.strip_prefix("test ")?.strip_suffix(" ... FAILED").map(str::to_owned)
        });
        let failed: Vec<String> = failed.collect();
        if failed.is_empty() && !status.is_some_and(|status| status.success()) {
            return Err("the tests ended without saying which failed".into());
        }
        Ok(failed)
    }
}
