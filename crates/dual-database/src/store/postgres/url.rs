//! Connection settings from a URL or from `key=value` text, by libpq's rules (PostgreSQL
//! manual, section "Connection Strings").
//!
//! What was read is kept in the driver's [`Config`], but its parser does not read it. That one ends the
//! account at the first `@` wherever that stands, so that of the password `a@b` the `b` becomes a host, which
//! is shown; takes a `%` that encodes nothing as it is; adds a host of the query to that of the
//! authority, where libpq takes the last one; and puts 5432 where no port stands, so that nobody
//! could tell any more what a service or `PGPORT` may fill in. It refuses most of libpq's
//! parameters, and of a wrong value it says neither where it stands nor which are right.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use tokio_postgres::Config;

use super::environment::Environment;
use super::keyword;
use super::mask::is_scheme;
use super::parameter::{self, ClientCertificate, TlsVersions};
use super::schema_name::SchemaName;
use crate::{Error, Kind, Result};

const OPERATION: &str = "read the PostgreSQL URL";
const SHAPE: &str = "write it as postgresql://USER:PASSWORD@HOST:PORT/DATABASE";

/// How much TLS is demanded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SslMode {
    /// No TLS.
    Disable,
    /// TLS if the server has it; its certificate is not looked at.
    #[default]
    Prefer,
    /// TLS; the certificate is checked only if `sslrootcert` names a file.
    Require,
    /// TLS, and the certificate comes from a trusted authority.
    VerifyCa,
    /// TLS, from a trusted authority, and for the host that was asked for.
    VerifyFull,
}

/// Which authorities are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum RootCertificates {
    /// Those of the operating system.
    #[default]
    System,
    /// Those in a PEM file, and no others.
    File(PathBuf),
}

/// Where and as whom to connect.
///
/// `Display` and `Debug` show `***` for the password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// What the driver is told as it is.
    pub(super) driver: Config,
    pub(super) hosts: Vec<(String, u16)>,
    /// Those that are not to be looked up, one for each host.
    pub(super) addresses: Vec<Option<IpAddr>>,
    /// The hosts are tried in any order.
    pub(super) any_order: bool,
    pub(super) password: Option<String>,
    pub(super) passfile: Option<PathBuf>,
    pub(super) ssl_mode: SslMode,
    pub(super) roots: RootCertificates,
    pub(super) revoked: Option<PathBuf>,
    pub(super) certificate: Option<ClientCertificate>,
    pub(super) tls_versions: TlsVersions,
    pub(super) no_sni: bool,
    /// The user of the operating system whose server it has to be, behind a socket.
    pub(super) peer: Option<String>,
    pub(super) schema: SchemaName,
}

impl Settings {
    /// Reads a `postgresql://` or `postgres://` URL, or `key=value` text, and nothing else.
    ///
    /// A password may hold an unencoded `@`: the last one before the host counts. The default
    /// host is `localhost`, the default port 5432.
    ///
    /// ```
    /// use dual_database::store::postgres::Settings;
    ///
    /// let settings = Settings::parse("postgres://bot:s3cr@t@db.example:6432/bot?sslmode=require")?;
    /// assert_eq!(settings.to_string(), "postgresql://bot:***@db.example:6432/bot");
    /// let error = Settings::parse("postgres://db.example/bot?sslmod=require").unwrap_err();
    /// assert_eq!(error.hint(), Some("did you mean `sslmode`?"));
    /// # Ok::<(), dual_database::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Kind::Configuration`] that says which part is wrong, never the password.
    pub fn parse(text: &str) -> Result<Settings> {
        Settings::resolve(text, &Environment::default())
    }

    /// The same, and takes what the text leaves out from where libpq takes it.
    ///
    /// # Errors
    /// Those of [`Settings::parse`], also for what comes from there: they say where it stands.
    pub fn resolve(text: &str, environment: &Environment) -> Result<Settings> {
        let text = text.trim();
        if text.is_empty() {
            return Err(refused("it is empty").with_hint(SHAPE));
        }
        if text.contains('\0') {
            return Err(refused("it holds a NUL character"));
        }
        let mut parts = match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => {
                check_scheme(scheme)?;
                url_parts(rest)?
            }
            _ if text.contains('=') => keyword::parse_pairs(text)?,
            _ => {
                return Err(refused("it has no scheme").with_hint(format!(
                    "{SHAPE}; a path of an SQLite file belongs to the option for SQLite"
                )));
            }
        };
        environment.complete(&mut parts)?;
        parameter::settings(parts)
    }

    /// The hosts to try, in order, with their ports.
    #[must_use]
    pub fn hosts(&self) -> &[(String, u16)] {
        &self.hosts
    }

    /// The database; by default the server takes the user's name.
    #[must_use]
    pub fn database(&self) -> Option<&str> {
        self.driver.get_dbname()
    }

    /// The user; by default the operating system's.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.driver.get_user()
    }

    /// How much TLS is demanded, after libpq's rule that `require` with a file of
    /// authorities checks the certificate.
    #[must_use]
    pub(crate) fn ssl_mode(&self) -> SslMode {
        match (self.ssl_mode, &self.roots) {
            (SslMode::Require, RootCertificates::File(_)) => SslMode::VerifyCa,
            (mode, _) => mode,
        }
    }

    /// The name that the server shows for our sessions, unless the URL gives one.
    #[must_use]
    pub fn with_application_name(mut self, name: &str) -> Settings {
        if self.driver.get_application_name().is_none() {
            self.driver.application_name(name);
        }
        self
    }

    /// The schema in which everything of ours stands there.
    #[must_use]
    pub fn with_schema(self, schema: SchemaName) -> Settings {
        Settings { schema, ..self }
    }

    /// The schema in which everything of ours stands there.
    #[must_use]
    pub fn schema(&self) -> &SchemaName {
        &self.schema
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgresql://")?;
        f.write_str(self.user().unwrap_or_default())?;
        if self.password.is_some() {
            f.write_str(":***")?;
        }
        if self.user().is_some() || self.password.is_some() {
            f.write_str("@")?;
        }
        for (number, (host, port)) in self.hosts.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            if host.contains(':') {
                write!(f, "{comma}[{host}]:{port}")?;
            } else {
                write!(f, "{comma}{host}:{port}")?;
            }
        }
        write!(f, "/{}", self.database().unwrap_or_default())
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Settings({self}, {:?}, {:?})", self.ssl_mode, self.roots)
    }
}

fn check_scheme(scheme: &str) -> Result<()> {
    let lower = scheme.to_ascii_lowercase();
    match lower.as_str() {
        "postgresql" | "postgres" => Ok(()),
        "sqlite" | "sqlite3" | "file" => Err(refused(format!("`{scheme}://` names a file"))
            .with_hint("the path of the SQLite file belongs to its own option")),
        other if other.starts_with("postgresql+") || other.starts_with("postgres+") => {
            Err(refused(format!("`{scheme}://` names the driver of another program"))
                .with_hint("write postgresql:// instead"))
        }
        _ => Err(refused(format!("`{scheme}://` is no PostgreSQL")).with_hint(SHAPE)),
    }
}

/// `[user[:password]@][host[:port][,…]][/database][?key=value&…]`
fn url_parts(rest: &str) -> Result<keyword::Parts> {
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = before_query.split_once('/').unwrap_or((before_query, ""));
    // A database's name may hold an @, but behind a colon it may be the end of a password
    // with a slash in it, and the name is shown.
    let before_at = database.rsplit_once('@').map(|(before, _)| before);
    if before_at.is_some_and(|name| authority.contains([':', '@']) || name.contains(':')) {
        return Err(ended_password());
    }
    if !authority.contains('@') && authority.contains(':') && query.contains('@') {
        let port = authority.rsplit_once(':').map_or("", |(_, port)| port);
        if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit() || byte == b',') {
            return Err(ended_password());
        }
    }
    let (account, hosts) = match authority.rsplit_once('@') {
        Some((account, hosts)) => (Some(account), hosts),
        None => (None, authority),
    };
    let mut parts = keyword::Parts::default();
    if query.contains('@') {
        parts.hide_unknown_names(ended_password());
    }
    if let Some(account) = account {
        let (user, password) = match account.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (account, None),
        };
        if !user.is_empty() {
            parts.push("user", decoded("user", user)?);
        }
        if let Some(password) = password {
            parts.push("password", decoded("password", password)?);
        }
    }
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = host_and_port(host)?;
        names.push(decoded("host", name)?);
        ports.push(port.to_owned());
    }
    for (name, all) in [("host", names), ("port", ports)] {
        if all.iter().any(|one| !one.is_empty()) || all.len() > 1 {
            parts.push(name, all.join(","));
        }
    }
    if !database.is_empty() {
        parts.push("dbname", decoded("database", database)?);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else {
            // What stands here may be a part of a password with an unencoded question mark.
            return Err(refused("a parameter after the question mark has no value")
                .with_hint("write ? as %3F in a password"));
        };
        parts.push(&decoded("parameter's name", key)?, decoded("parameter", value)?);
    }
    Ok(parts)
}

pub(super) fn ended_password() -> Error {
    refused("the password holds a character that ends it")
        .with_hint("write / as %2F, ? as %3F, @ as %40 and % as %25 in the password")
}

fn host_and_port(text: &str) -> Result<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (name, after) =
            rest.split_once(']').ok_or_else(|| refused("an IPv6 address lacks its `]`"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((name, port)),
            None if after.is_empty() => Ok((name, "")),
            None => Err(refused("there is text between the `]` of an address and its port")),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(refused("a host has two ports")
            .with_hint("write an IPv6 address in brackets: [::1]:5432")),
        Some((name, port)) => Ok((name, port)),
        None => Ok((text, "")),
    }
}

/// Percent-decoding; `part` names what it is in an error, which does not show the text.
fn decoded(part: &str, text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = after
            .split_at_checked(2)
            .and_then(|(digits, after)| Some((std::str::from_utf8(digits).ok()?, after)))
            .filter(|(digits, _)| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|(digits, after)| Some((u8::from_str_radix(digits, 16).ok()?, after)));
        let Some((value, after)) = digits else {
            return Err(refused(format!("the {part} holds a % that encodes nothing"))
                .with_hint("write % as %25"));
        };
        if value == 0 {
            return Err(refused(format!("the {part} holds a NUL character")));
        }
        bytes.push(value);
        rest = after;
    }
    String::from_utf8(bytes).map_err(|_| refused(format!("the {part} is not UTF-8")))
}

pub(super) fn refused(message: impl Into<String>) -> Error {
    Error::new(Kind::Configuration, OPERATION, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::postgres::mask;

    fn parsed(text: &str) -> Settings {
        Settings::parse(text).unwrap()
    }

    fn message(text: &str) -> String {
        let error = Settings::parse(text).unwrap_err();
        assert!(error.is_configuration());
        format!("{} ({})", error.message(), error.hint().unwrap_or("no hint"))
    }

    #[test]
    fn parts_of_a_url() {
        let settings = parsed("postgresql://bot:p%40ss%2F%25@db.example:6432/main?sslmode=require");
        assert_eq!(settings.hosts(), [("db.example".to_owned(), 6432)]);
        assert_eq!(settings.user(), Some("bot"));
        assert_eq!(settings.password.as_deref(), Some("p@ss/%"));
        assert_eq!(settings.database(), Some("main"));
        assert_eq!(settings.ssl_mode(), SslMode::Require);
        assert_eq!(parsed("postgres://").hosts(), [("localhost".to_owned(), 5432)]);
        assert_eq!(parsed("POSTGRES:///x").database(), Some("x"));
    }

    #[test]
    fn the_last_at_sign_before_the_host_counts() {
        for (text, password) in [
            ("postgres://u:a@b@h/d", "a@b"),
            ("postgres://u:@@@h/d", "@@"),
            ("postgres://u:a#b@h/d", "a#b"),
            ("postgres://u:a:b@h/d", "a:b"),
            ("postgres://u:@h/d", ""),
        ] {
            let settings = parsed(text);
            assert_eq!(settings.password.as_deref(), Some(password), "{text}");
            assert_eq!(settings.hosts(), [("h".to_owned(), 5432)], "{text}");
        }
    }

    #[test]
    fn several_hosts_and_addresses() {
        let settings = parsed("postgres://a:1,b,[::1]:3/d?target_session_attrs=read-write");
        let hosts = [("a", 1), ("b", 5432), ("::1", 3)].map(|(h, p)| (h.to_owned(), p));
        assert_eq!(settings.hosts(), hosts);
        assert_eq!(settings.to_string(), "postgresql://a:1,b:5432,[::1]:3/d");
        let settings = parsed("postgres://u@%2Frun%2Fpg/d");
        assert_eq!(settings.hosts(), [("/run/pg".to_owned(), 5432)]);
    }

    #[test]
    fn errors_name_the_part_and_never_the_password() {
        insta::assert_snapshot!(
            [
                "",
                "mysql://u:hunter2@h/d",
                "sqlite:///data.db",
                "postgresql+asyncpg://u:hunter2@h/d",
                "data/users.db",
                "postgres://u:hunter2/x@h/d",
                "postgres://u:hunter2?x@h/d",
                "postgres://u:hunter2%zz@h/d",
                "postgres://u:hunter2%@h/d",
                "postgres://h:99999/d",
                "postgres://h:port/d",
                "postgres://::1/d",
                "postgres://[::1/d",
                "postgres://h/d?sslmode=always",
                "postgres://h/d?sslmod=require",
                "postgres://h/d?pgbouncer=true",
                "postgres://h/d?connect_timeout=soon",
                "postgres://h/d?sslcert=me.crt",
                "postgres://h/d?target_session_attrs=read-only",
                "postgres://h/d?sslrootcert=system&sslmode=require",
                "host=h password='hunter2",
                "host=h hunter2",
            ]
            .map(|text| format!("{}\n    {}", mask(text), message(text)))
            .join("\n")
        );
    }

    #[test]
    fn a_password_that_looks_like_other_parts_is_not_told() {
        for text in [
            "postgres://u:12/hunter2@h/d",
            "postgres://u:a@b/hunter2@h/d",
            "postgres://u:a@b:5/x/hunter2@h/d?sslmode=require",
            "postgres://u:12?hunter2=x@h/d",
            "postgres://u:a@b?x=1&hunter2=x@h/d",
            "postgres://u/v:hunter2@h/d",
            "postgres://u:a@b:?host=x:hunter2@h/d",
            "postgres://u?v=x&hunter2=x@h/d",
        ] {
            let error = Settings::parse(text).unwrap_err();
            let told = format!("{error:?} {} {}", error.chain(), error.hint().unwrap_or_default());
            assert!(!told.contains("hunter2"), "{told}");
            assert!(told.contains("%40"), "{told}");
        }
        assert_eq!(parsed("postgres://h/d@x").database(), Some("d@x"));
        assert_eq!(parsed("postgres://u:p@h:1/d%40x").database(), Some("d@x"));
        assert_eq!(parsed("postgres://h/d?user=u@server").user(), Some("u@server"));
    }

    #[test]
    fn settings_that_are_shown_show_no_password() {
        let settings = parsed("postgres://u:hunter2@h/d");
        assert_eq!(settings.to_string(), "postgresql://u:***@h:5432/d");
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
