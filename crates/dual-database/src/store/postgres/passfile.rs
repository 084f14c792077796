//! The password file (PostgreSQL manual, section "The Password File").

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Once;

use super::url::Settings;
use crate::{Error, Kind};

/// The folder of sockets that libpq, as systems package it, takes for the host `localhost`.
const SOCKETS: &str = "/var/run/postgresql";

/// The password of one host.
pub(super) struct Secret {
    pub password: Option<Vec<u8>>,
    /// The file that it came from.
    file: Option<PathBuf>,
    /// Why there is none.
    unused: Option<String>,
}

impl Secret {
    pub(super) fn of(settings: &Settings, host: &str, port: u16) -> Secret {
        let mut secret = Secret { password: None, file: None, unused: None };
        if let Some(password) = settings.password.as_ref().filter(|given| !given.is_empty()) {
            secret.password = Some(password.clone().into_bytes());
        } else if let Some(path) = &settings.passfile {
            let host = if host == SOCKETS { "localhost" } else { host };
            let system = settings.user().is_none().then(super::peer::own_name).flatten();
            let user = settings.user().or(system.as_deref()).unwrap_or_default();
            let database = settings.database().unwrap_or(user);
            match look_up(path, host, port, database, user) {
                PasswordEntry::Password(password) => {
                    secret.password = Some(password);
                    secret.file = Some(path.clone());
                }
                PasswordEntry::Nothing => {}
                PasswordEntry::Unused(why) => {
                    static TOLD: Once = Once::new();
                    TOLD.call_once(|| tracing::warn!("{why}"));
                    secret.unused = Some(why);
                }
            }
        }
        secret
    }

    /// Says with an error about the password where that came from, or why there is none.
    pub(super) fn explain(&self, error: Error) -> Error {
        if error.kind() != Kind::AccessDenied {
            return error;
        }
        match (&self.file, &self.unused) {
            (Some(file), _) => error
                .with_hint(format!("the password came from {}: correct it there", file.display())),
            (_, Some(why)) => error.with_hint(why.clone()),
            _ => error,
        }
    }
}

/// What the file says about a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PasswordEntry {
    Password(Vec<u8>),
    Nothing,
    /// It was not read, and why.
    Unused(String),
}

/// The password of the first line that fits. The file is read anew for each connection, so that a
/// password can be changed while the program runs.
pub(super) fn look_up(
    path: &Path,
    host: &str,
    port: u16,
    database: &str,
    user: &str,
) -> PasswordEntry {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => {
            return PasswordEntry::Unused(format!("the password file {shown} is not a plain file"));
        }
        Ok(found) if found.mode() & 0o077 != 0 => {
            return PasswordEntry::Unused(format!(
                "the password file {shown} is not used, because others than its owner can use it: \
                 chmod 600 {shown}"
            ));
        }
        Ok(_) => {}
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
            return PasswordEntry::Nothing;
        }
        Err(cause) => return PasswordEntry::Unused(format!("the password file {shown}: {cause}")),
    }
    match std::fs::read(path) {
        Ok(text) => {
            let port = port.to_string();
            let wanted = [host, &port, database, user].map(str::as_bytes);
            let mut lines = text.split(|byte| *byte == b'\n');
            lines
                .find_map(|line| password(line, wanted))
                .map_or(PasswordEntry::Nothing, PasswordEntry::Password)
        }
        Err(cause) => PasswordEntry::Unused(format!("the password file {shown}: {cause}")),
    }
}

/// `host:port:database:user:password`
fn password(line: &[u8], wanted: [&[u8]; 4]) -> Option<Vec<u8>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.starts_with(b"#") {
        return None;
    }
    let rest = wanted.into_iter().try_fold(line, after)?;
    let mut bytes = rest.iter();
    let mut password = Vec::with_capacity(rest.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => password.push(*bytes.next().unwrap_or(byte)),
            byte => password.push(*byte),
        }
    }
    Some(password)
}

/// What stands behind a field that is `wanted`, or a star; a backslash takes `:` and `\` as they are.
fn after<'a>(field: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    if let Some(rest) = field.strip_prefix(b"*:") {
        return Some(rest);
    }
    let (mut rest, mut wanted) = (field, wanted.iter());
    loop {
        rest = match (rest.split_first()?, wanted.next()) {
            ((b':', rest), None) => return Some(rest),
            ((b'\\', escaped), Some(byte)) => escaped.strip_prefix(std::slice::from_ref(byte))?,
            ((found, rest), Some(byte)) if found == byte => rest,
            _ => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<String> {
        let wanted = ["db", "5432", "a:b", "bot"].map(str::as_bytes);
        password(line.as_bytes(), wanted).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn lines_as_libpq_reads_them() {
        assert_eq!(of("*:*:*:*:secret").as_deref(), Some("secret"));
        assert_eq!(of("db:5432:a\\:b:bot:s:e\\:c\\\\r\r").as_deref(), Some("s:e:c\\r"));
        assert_eq!(of("db:5432:*:bot:").as_deref(), Some(""));
        assert_eq!(of("db:5432:a:b:bot:x").as_deref(), Some("x"));
        for line in
            ["", "#*:*:*:*:x", "db2:*:*:*:x", "d:*:*:*:x", "*:*:*:*", "**:*:*:*:x", "db:5432:*:bot"]
        {
            assert_eq!(of(line), None, "{line}");
        }
    }
}
