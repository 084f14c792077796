//! One error type for everything public: a closed [`Kind`], what was being done, on what,
//! why it failed and what a person can do about it.
//!
//! ```
//! use dual_database::{Error, Kind};
//!
//! let error = Error::new(Kind::Configuration, "read the mapping", "line 3: unknown column `nmae`")
//!     .with_hint("did you mean `name`?");
//! assert!(error.is_configuration());
//! assert_eq!(error.to_string(), "read the mapping: line 3: unknown column `nmae`");
//! assert_eq!(error.hint(), Some("did you mean `name`?"));
//! ```

use std::borrow::Cow;
use std::fmt;

/// The result of everything public.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One of the two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Store {
    /// The primary, remote store.
    Postgres,
    /// The local file.
    Sqlite,
}

impl Store {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Store {
        match self {
            Store::Postgres => Store::Sqlite,
            Store::Sqlite => Store::Postgres,
        }
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Store::Postgres => "PostgreSQL",
            Store::Sqlite => "SQLite",
        })
    }
}

/// What sort of failure it was; it decides the exit code of a program and whether a
/// repetition can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A setting, an option, a URL, a mapping or a credentials file is wrong.
    Configuration,
    /// The source (sheet, CSV file) cannot be reached or read now.
    SourceUnavailable,
    /// Somebody said no: wrong password, missing right, sheet not shared, read-only file.
    AccessDenied,
    /// A store does not answer now; the other one can go on.
    Unavailable(Store),
    /// A store has no room left (disk full, quota).
    NoSpace(Store),
    /// Data was refused: a tab of another kind, too many rejects, a constraint.
    InvalidData,
    /// A table stands in the way: wrong column types, no unique key, another installation.
    Schema(Store),
    /// The caller or a signal stopped it.
    Interrupted,
    /// A statement may or may not have been committed: its answer was lost.
    OutcomeUnknown(Store),
    /// An insert of a row that is there.
    AlreadyExists,
    /// An update or delete of a row that is not there.
    NotFound,
    /// What a transaction has read was changed by somebody else before it was committed:
    /// nothing was done, it can be repeated.
    Conflict,
    /// Both stores are required; this one failed, the other one has it.
    Partial(Store),
    /// A defect of ours.
    Internal,
}

/// An error of this library.
///
/// `Display` prints the operation and the message of this error only; walk
/// [`std::error::Error::source`] for the chain ([`Error::chain`] does it). It never contains
/// a password, a token or the value of a cell.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    operation: Cow<'static, str>,
    message: String,
    hint: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` that happened during `operation` (a verb phrase, "read the tab").
    /// `message` is lowercase, without a full stop.
    pub fn new(
        kind: Kind,
        operation: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Error {
        Error(Box::new(Inner {
            kind,
            operation: operation.into(),
            message: message.into(),
            hint: None,
            source: None,
        }))
    }

    /// Adds what a person can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.0.hint = Some(hint.into());
        self
    }

    /// Adds the nearest of the names that there are as a hint, if one is near at all.
    #[must_use]
    pub fn suggesting<'n>(self, given: &str, known: impl IntoIterator<Item = &'n str>) -> Error {
        let nearest = known
            .into_iter()
            .map(|name| (strsim::normalized_damerau_levenshtein(given, name), name))
            .filter(|(likeness, _)| *likeness >= 0.5)
            .max_by(|one, other| one.0.total_cmp(&other.0));
        match nearest {
            Some((_, name)) => self.with_hint(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Says what it is about, before the message: a path, a table with its key.
    #[must_use]
    pub fn about(mut self, subject: impl fmt::Display) -> Error {
        self.0.message = format!("{subject}: {}", self.0.message);
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// The sort of failure.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What was being done.
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// What went wrong, without the operation and the causes.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// A store, or both, is away; the same call can succeed later.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self.0.kind, Kind::Unavailable(_) | Kind::SourceUnavailable)
    }

    /// The data itself was refused; a repetition cannot help.
    #[must_use]
    pub fn is_invalid_data(&self) -> bool {
        matches!(self.0.kind, Kind::InvalidData)
    }

    /// The row is there already.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        matches!(self.0.kind, Kind::AlreadyExists)
    }

    /// The row is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self.0.kind, Kind::NotFound)
    }

    /// Somebody else was faster: the transaction can be repeated.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self.0.kind, Kind::Conflict)
    }

    /// It may have been done or not: the answer was lost.
    #[must_use]
    pub fn is_outcome_unknown(&self) -> bool {
        matches!(self.0.kind, Kind::OutcomeUnknown(_))
    }

    /// Both stores are required, and one of them has it already.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        matches!(self.0.kind, Kind::Partial(_))
    }

    /// A setting is wrong.
    #[must_use]
    pub fn is_configuration(&self) -> bool {
        matches!(self.0.kind, Kind::Configuration)
    }

    /// This error and its causes, one clause each, the outermost first; a cause that says
    /// only what was said is left out.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let clause = error.to_string();
            let last = text.rsplit(": ").next().unwrap_or_default();
            if !text.contains(&clause) && !clause.ends_with(last) {
                text.push_str(": ");
                text.push_str(&clause);
            }
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.operation, self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
