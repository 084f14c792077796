//! Where libpq takes from what a URL leaves out (PostgreSQL manual, sections "Environment Variables",
//! "The Connection Service File" and "The Password File").

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::keyword::{Origin, Parts};
use super::url::refused;
use crate::Result;

/// The variables that are read, with the parameters for which they stand.
pub(super) const VARIABLES: [(&str, &str); 27] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGREQUIREAUTH", "require_auth"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGREQUIREPEER", "requirepeer"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGOPTIONS", "options"),
    ("PGAPPNAME", "application_name"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGSSLCERTMODE", "sslcertmode"),
    ("PGSSLCRL", "sslcrl"),
    ("PGSSLCRLDIR", "sslcrldir"),
    ("PGSSLSNI", "sslsni"),
    ("PGSSLMINPROTOCOLVERSION", "ssl_min_protocol_version"),
    ("PGSSLMAXPROTOCOLVERSION", "ssl_max_protocol_version"),
    ("PGGSSENCMODE", "gssencmode"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
];

/// Variables that say where something is, or that are older names.
const BESIDES: [&str; 4] = ["PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGREQUIRESSL"];

/// Where services of the whole machine are described, unless `PGSYSCONFDIR` says otherwise.
const SYSTEM: [&str; 2] = ["/etc/postgresql-common", "/etc"];

/// What a connection takes from where it runs: `PG…` variables, and files of the user.
///
/// The default is nothing, so that a URL means the same everywhere. `Debug` shows no values.
///
/// ```
/// use dual_database::store::postgres::{Environment, Settings};
///
/// let environment = Environment::of([("PGUSER", "bot"), ("PGPORT", "6432")]);
/// let settings = Settings::resolve("postgresql://db.example/bar", &environment)?;
/// assert_eq!(settings.to_string(), "postgresql://bot@db.example:6432/bar");
/// # Ok::<(), dual_database::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Environment {
    /// `None`: it is set, and not UTF-8.
    variables: HashMap<String, Option<String>>,
    home: Option<PathBuf>,
    /// Folders with a `pg_service.conf` for everybody.
    system: Vec<PathBuf>,
}

impl Environment {
    /// That of this process.
    #[must_use]
    pub fn of_process() -> Environment {
        let known = |name: &str| {
            BESIDES.contains(&name) || VARIABLES.iter().any(|(variable, _)| *variable == name)
        };
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok())))
            .filter(|(name, _)| known(name))
            .collect();
        Environment {
            variables,
            // An empty HOME is none: its files would be those of the current folder.
            home: std::env::home_dir().filter(|home| !home.as_os_str().is_empty()),
            system: SYSTEM.map(PathBuf::from).to_vec(),
        }
    }

    /// These variables, and no files but those that they name.
    pub fn of<N: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Environment {
        let variables = variables.into_iter();
        Environment {
            variables: variables.map(|(name, value)| (name.into(), Some(value.into()))).collect(),
            ..Environment::default()
        }
    }

    /// The user's folder, in which `.pgpass`, `.pg_service.conf` and `.postgresql/` are looked for.
    #[must_use]
    pub fn with_home(mut self, home: impl Into<PathBuf>) -> Environment {
        self.home = Some(home.into());
        self
    }

    /// Adds what `parts` leave out: the service's, then the variables', then what lies in the user's
    /// folder.
    pub(super) fn complete(&self, parts: &mut Parts) -> Result<()> {
        let service = match parts.take("service") {
            Some(service) => Some(service),
            None => self.variable("PGSERVICE")?,
        };
        let file = match parts.take("servicefile") {
            Some(file) => Some(file),
            None => self.variable("PGSERVICEFILE")?,
        };
        if let Some(service) = service {
            for (name, value) in self.service(&service, file.as_deref())? {
                parts.add(&name, value, &Origin::Service(service.clone()));
            }
        }
        for (variable, name) in VARIABLES {
            if let Some(value) = self.variable(variable)? {
                parts.add(name, value, &Origin::Variable(variable));
            }
        }
        if let Some(one) = self.variable("PGREQUIRESSL")?.filter(|value| value.starts_with('1')) {
            parts.add("requiressl", one, &Origin::Variable("PGREQUIRESSL"));
        }
        for (name, file) in [
            ("passfile", ".pgpass"),
            ("sslrootcert", ".postgresql/root.crt"),
            ("sslcert", ".postgresql/postgresql.crt"),
            ("sslkey", ".postgresql/postgresql.key"),
            ("sslcrl", ".postgresql/root.crl"),
        ] {
            // A password file may come later.
            let path = self.home.as_ref().map(|home| home.join(file));
            let path = path.filter(|path| name == "passfile" || path.exists());
            if let Some(path) = path.as_deref().and_then(Path::to_str) {
                parts.add(name, path.to_owned(), &Origin::Home);
            }
        }
        Ok(())
    }

    fn variable(&self, name: &'static str) -> Result<Option<String>> {
        match self.variables.get(name) {
            Some(None) => Err(refused("it is not UTF-8").about(name)),
            found => Ok(found.cloned().flatten()),
        }
    }

    /// What is said of a service in the file that is named, else in the user's, else in that of the
    /// machine.
    fn service(&self, service: &str, named: Option<&str>) -> Result<Vec<(String, String)>> {
        let users = self.home.as_ref().map(|home| home.join(".pg_service.conf"));
        let first = match named {
            Some(named) => Some(PathBuf::from(named)),
            None => users.filter(|path| path.exists()),
        };
        let system = match self.variable("PGSYSCONFDIR")? {
            Some(folder) => vec![PathBuf::from(folder)],
            None => self.system.clone(),
        };
        let system = system.into_iter().map(|folder| folder.join("pg_service.conf"));
        for path in first.into_iter().chain(system.filter(|path| path.exists())) {
            let text = std::fs::read_to_string(&path).map_err(|cause| {
                refused(format!("the service file {}: {cause}", path.display())).with_source(cause)
            })?;
            let found = section(&text, service);
            if let Some(pairs) = found.map_err(|error| error.about(path.display()))? {
                return Ok(pairs);
            }
        }
        Err(refused(format!("the service `{}` is described nowhere", service.escape_debug()))
            .with_hint("describe it in ~/.pg_service.conf, or name the file in PGSERVICEFILE"))
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.variables.keys().collect();
        names.sort();
        f.debug_struct("Environment").field("variables", &names).field("home", &self.home).finish()
    }
}

/// The parameters under `[service]`.
fn section(text: &str, service: &str) -> Result<Option<Vec<(String, String)>>> {
    let mut found: Option<Vec<(String, String)>> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            let name = rest.split_once(']').map(|(name, _)| name);
            found = (name == Some(service)).then(Vec::new);
            continue;
        }
        let Some(pairs) = &mut found else { continue };
        let wrong = |what: &str| Err(refused(format!("line {}: {what}", number + 1)));
        if line.starts_with("ldap://") {
            return wrong("services are not looked up in a directory");
        }
        match line.split_once('=') {
            Some(("service" | "servicefile", _)) => {
                return wrong("a service cannot name another service");
            }
            // Of a parameter that stands there twice the first one counts.
            Some((name, _)) if pairs.iter().any(|(known, _)| known == name) => {}
            Some((name, value)) => pairs.push((name.to_owned(), value.to_owned())),
            None => return wrong("it has no `=`"),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_as_libpq_reads_it() {
        let text = "# all\nhost=nowhere\n[other]\nhost=x\n[bar]\n  host=db  \nport=1\nport=2\n\n[bar]\nuser=u\n";
        let pairs = section(text, "bar").unwrap().unwrap();
        assert_eq!(pairs, [("host".into(), "db".into()), ("port".into(), "1".to_owned())]);
        assert_eq!(section(text, "ba").unwrap(), None);
        for text in ["[bar]\nservice=x", "[bar]\nhost", "[bar]\nldap://x"] {
            assert!(section(text, "bar").unwrap_err().message().contains("line 2"));
        }
    }

    #[test]
    fn what_is_shown_has_no_password() {
        let environment = Environment::of([("PGPASSWORD", "hunter2")]);
        let shown = format!("{environment:?}");
        assert!(shown.contains("PGPASSWORD") && !shown.contains("hunter2"), "{shown}");
    }
}
