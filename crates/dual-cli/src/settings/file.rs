//! `dual.toml`: what can stand in it, and what is wrong with it.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use dual_database::init::Declared;
use dual_database::store::postgres::{Masked, mask};
use dual_database::{Error, Kind, Result};

use super::tables::TABLES;
use super::{beside, unreadable};
use crate::arguments::Interval;
use crate::output::message;

/// Looked for in the current folder.
pub(super) const NAME: &str = "dual.toml";
const OPERATION: &str = "read the settings file";
const URL: &str = "pg_db_url";
const EXTENSIONS: &str = "sqlite_extensions";
const VERIFY: &str = "verify_interval";
const SCHEMA: &str = "pg_schema";
const FOLLOW: &str = "follow_schema";
const KEYS: [&str; 7] = [URL, SCHEMA, "sqlite_db_path", EXTENSIONS, VERIFY, FOLLOW, TABLES];

/// What the file says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SettingsFile {
    pub pg_db_url: Option<Masked>,
    pub pg_schema: Option<String>,
    /// Seen from where the program runs.
    pub sqlite_db_path: Option<PathBuf>,
    /// Seen from where the program runs.
    pub sqlite_extensions: Vec<PathBuf>,
    pub verify_interval: Option<Interval>,
    pub follow_schema: Option<bool>,
    /// Counted when tables are joined.
    tables: BTreeMap<String, Declared>,
}

impl SettingsFile {
    /// Reads the named file, or the one in the current folder; none there is an empty one.
    ///
    /// # Errors
    /// [`Kind::Configuration`] with the line, without the values.
    pub fn read(named: Option<&Path>) -> Result<SettingsFile> {
        let path = named.unwrap_or(Path::new(NAME));
        let Some((found, file)) = SettingsFile::found(named)? else {
            return Ok(SettingsFile::default());
        };
        if !file.sqlite_extensions.is_empty() && others_write(&found) {
            // It lies in the folder in which the program happens to run, and names code that runs.
            let message = format!("{EXTENSIONS} stands in a file that another user can write");
            return Err(wrong(path, &message).with_hint(format!(
                "if you trust it: chown it to yourself and chmod go-w {0}; or name the extension with \
                 --sqlite-extension",
                path.display()
            )));
        }
        if file.pg_db_url.as_ref().is_some_and(|url| mask(url.reveal()) != url.reveal())
            && others_read(&found)
        {
            message(&format!(
                "warning: {0} holds a password and other users of this machine can read it; \
                 chmod 600 {0}",
                path.display()
            ));
        }
        Ok(file)
    }

    /// The tables that it declares.
    ///
    /// # Errors
    /// As for [`SettingsFile::read`].
    pub fn tables(named: Option<&Path>) -> Result<BTreeMap<String, Declared>> {
        Ok(SettingsFile::found(named)?.map(|(_, file)| file.tables).unwrap_or_default())
    }

    fn found(named: Option<&Path>) -> Result<Option<(Metadata, SettingsFile)>> {
        let path = named.unwrap_or(Path::new(NAME));
        // What is read is what is looked at: whoever owns the folder could put another file there.
        let read = || {
            let mut opened = std::fs::File::open(path)?;
            let (found, mut bytes) = (opened.metadata()?, Vec::new());
            opened.read_to_end(&mut bytes).map(|_| (found, bytes))
        };
        let (found, bytes) = match read() {
            Err(cause) if named.is_none() && cause.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            read => read.map_err(|cause| unreadable(OPERATION, path, cause))?,
        };
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong(path, "it is not UTF-8"))?;
        Ok(Some((found, SettingsFile::parse(text, path)?)))
    }

    fn parse(text: &str, path: &Path) -> Result<SettingsFile> {
        let text = text.trim_start_matches('\u{feff}');
        // The parser's own display repeats the line, and the line may hold a password.
        let table: toml::Table = toml::from_str(text).map_err(|cause| {
            let offset = cause.span().map_or(0, |span| span.start);
            let line = 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
            wrong(path, &format!("line {line} is not TOML"))
                .with_hint("write key = \"value\", with the value in quotes")
        })?;
        let mut file = SettingsFile::default();
        for (key, value) in table {
            if !KEYS.contains(&key.as_str()) {
                return Err(unknown(path, &key));
            }
            if key == EXTENSIONS {
                file.sqlite_extensions = paths(path, value)?;
                continue;
            }
            if key == TABLES {
                file.tables = super::tables::parse(path, value)?;
                continue;
            }
            if key == VERIFY {
                file.verify_interval = Some(interval(path, &value)?);
                continue;
            }
            if key == FOLLOW {
                let toml::Value::Boolean(follow) = value else {
                    let message = format!("{key} is neither true nor false");
                    return Err(wrong(path, &message).with_hint(format!("write {key} = false")));
                };
                file.follow_schema = Some(follow);
                continue;
            }
            let toml::Value::String(text) = value else {
                let message = format!("{key} is not text");
                return Err(wrong(path, &message).with_hint("put its value in quotes"));
            };
            if text.trim().is_empty() {
                continue;
            }
            match key.as_str() {
                URL => file.pg_db_url = Some(Masked::from(text)),
                SCHEMA => file.pg_schema = Some(text),
                _ => file.sqlite_db_path = Some(beside(path, text.into())),
            }
        }
        Ok(file)
    }
}

fn paths(path: &Path, value: toml::Value) -> Result<Vec<PathBuf>> {
    let texts: Option<Vec<String>> = value.try_into().ok();
    let texts = texts.ok_or_else(|| {
        wrong(path, &format!("{EXTENSIONS} is no list of texts"))
            .with_hint(format!("write {EXTENSIONS} = [\"FILE\"]"))
    })?;
    Ok(texts.into_iter().map(|text| beside(path, text.into())).collect())
}

fn interval(path: &Path, value: &toml::Value) -> Result<Interval> {
    let text = match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(seconds) => seconds.to_string(),
        toml::Value::Float(seconds) => seconds.to_string(),
        _ => String::new(),
    };
    text.parse().map_err(|hint| wrong(path, &format!("{VERIFY} is no interval")).with_hint(hint))
}

pub(super) fn wrong(path: &Path, message: &str) -> Error {
    Error::new(Kind::Configuration, OPERATION, format!("{}: {message}", path.display()))
}

fn unknown(path: &Path, key: &str) -> Error {
    let error = wrong(path, &format!("unknown key `{}`", key.escape_debug()));
    let near = |known: &&str| strsim::normalized_damerau_levenshtein(known, key);
    match KEYS.iter().max_by(|one, other| near(one).total_cmp(&near(other))) {
        Some(nearest) if near(nearest) > 0.5 => {
            error.with_hint(format!("did you mean `{nearest}`?"))
        }
        _ => error.with_hint(format!("the keys are {}", KEYS.join(", "))),
    }
}

/// Whether anybody but its owner can read it.
fn others_read(found: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    found.permissions().mode() & 0o044 != 0
}

/// Whether anybody but this user and root can write it.
fn others_write(found: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let own = rustix::process::geteuid().as_raw();
    !(found.mode() & 0o022 == 0 && [0, own].contains(&found.uid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<SettingsFile> {
        SettingsFile::parse(text, Path::new("/etc/bar/dual.toml"))
    }

    #[test]
    fn a_relative_path_is_seen_from_the_file() {
        let file = parsed("\u{feff}sqlite_db_path = \"users.db\"\r\npg_db_url = \"\"\r\n").unwrap();
        assert_eq!(file.sqlite_db_path.unwrap(), Path::new("/etc/bar/users.db"));
        assert_eq!(file.pg_db_url, None);
        let file = parsed("sqlite_extensions = ['slug.so', '/lib/icu.so']").unwrap();
        let expected = ["/etc/bar/slug.so", "/lib/icu.so"].map(PathBuf::from);
        assert_eq!(file.sqlite_extensions, expected);
        parsed("sqlite_extensions = 'slug.so'").unwrap_err();
        let file = parsed("sqlite_db_path = '/var/users.db'").unwrap();
        assert_eq!(file.sqlite_db_path.unwrap(), Path::new("/var/users.db"));
    }

    #[test]
    fn an_interval_is_a_number_or_never() {
        let interval = |text: &str| parsed(text).unwrap().verify_interval.map(Interval::every);
        let hour = std::time::Duration::from_secs(3600);
        for same in ["3600", "3600.0", "'3600'"] {
            assert_eq!(interval(&format!("verify_interval = {same}")), Some(Some(hour)), "{same}");
        }
        assert_eq!(interval("verify_interval = 'never'"), Some(None));
        assert_eq!(interval(""), None);
        for wrong in ["0", "-1", "false", "'daily'", "[3600]"] {
            let error = parsed(&format!("verify_interval = {wrong}")).unwrap_err();
            assert_eq!(error.message(), "/etc/bar/dual.toml: verify_interval is no interval");
            assert!(error.hint().unwrap().contains("seconds"), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_without_the_values() {
        let told = |text: &str| {
            let error = parsed(text).unwrap_err();
            assert!(error.is_configuration());
            (error.message().to_string(), error.hint().unwrap().to_string())
        };
        let (message, hint) = told("pg_db_ulr = \"postgresql://u:hunter2@h/d\"");
        assert_eq!(message, "/etc/bar/dual.toml: unknown key `pg_db_ulr`");
        assert_eq!(hint, "did you mean `pg_db_url`?");
        let (_, hint) = told("colour = 1");
        assert_eq!(
            hint,
            "the keys are pg_db_url, pg_schema, sqlite_db_path, sqlite_extensions, verify_interval, \
             follow_schema, tables"
        );
        let (message, _) = told("sqlite_db_path = 'a'\npg_db_url = postgresql://u:hunter2@h/d");
        assert_eq!(message, "/etc/bar/dual.toml: line 2 is not TOML");
        let (message, hint) = told("follow_schema = 'no'");
        assert_eq!(message, "/etc/bar/dual.toml: follow_schema is neither true nor false");
        assert_eq!(hint, "write follow_schema = false");
        let (message, _) = told("pg_db_url = 5");
        assert_eq!(message, "/etc/bar/dual.toml: pg_db_url is not text");
    }
}
