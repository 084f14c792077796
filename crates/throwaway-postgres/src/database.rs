use std::time::{Duration, Instant};

use crate::error::Error;
use crate::server::Server;

const DROP_LIMIT: Duration = Duration::from_secs(10);

/// A database of its own for a test, dropped with this guard.
#[derive(Debug)]
pub struct Database<'server> {
    server: &'server Server,
    name: String,
}

impl<'server> Database<'server> {
    pub(crate) fn create(server: &'server Server, name: String) -> Result<Self, Error> {
        server.create_database(&name)?;
        Ok(Database { server, name })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its server.
    #[must_use]
    pub fn server(&self) -> &'server Server {
        self.server
    }

    /// Its URL for the superuser `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url_for(&self.name)
    }

    /// Its URL for another role.
    #[must_use]
    pub fn url_as(&self, user: &str, password: Option<&str>) -> String {
        self.server.url_as(user, password, &self.name)
    }

    /// Runs SQL in it as a superuser; see [`Server::execute`].
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub fn execute(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        self.server.execute(&self.name, sql)
    }
}

impl Drop for Database<'_> {
    fn drop(&mut self) {
        if self.server.pid().is_none() {
            return;
        }
        // `WITH (FORCE)` came with PostgreSQL 13. What cannot be dropped goes with the server.
        let deadline = Instant::now() + DROP_LIMIT;
        loop {
            let end = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = {}",
                literal(&self.name)
            );
            let drop = format!("DROP DATABASE IF EXISTS \"{}\"", self.name.replace('"', "\"\""));
            let dropped = self
                .server
                .execute("postgres", &end)
                .and_then(|_| self.server.execute("postgres", &drop));
            match dropped {
                Err(Error::Refused { code, .. })
                    if code == "55006" && Instant::now() < deadline =>
                {
                    std::thread::sleep(Duration::from_millis(50));
                }
                _ => return,
            }
        }
    }
}

/// A string constant of SQL and of `postgresql.conf`.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
