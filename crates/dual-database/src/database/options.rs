//! How a database is opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::store::postgres::{Environment, Masked};
use crate::sync::StepHook;

/// When a write is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteMode {
    /// After PostgreSQL and the file; with one of them if the other is away.
    #[default]
    Both,
    /// After the file; PostgreSQL gets it at once, in the background.
    LocalFirst,
    /// Only after both; an error says where it stands if one of them failed.
    RequireBoth,
}

/// Who is asked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// PostgreSQL, the file while it is away.
    #[default]
    Postgres,
    /// The file at once; PostgreSQL if it cannot be read.
    Local,
}

/// Settings of a [`DualDatabase`](super::DualDatabase).
#[derive(Clone, Debug)]
pub struct Builder {
    pub(super) postgres_url: Option<Masked>,
    pub(super) environment: Environment,
    pub(super) schema: Option<String>,
    pub(super) sqlite_path: Option<PathBuf>,
    pub(super) mode: WriteMode,
    pub(super) prefer: Prefer,
    pub(super) timeout: Duration,
    pub(super) busy: Duration,
    pub(super) poll: Duration,
    pub(super) background: bool,
    /// Whether it begins with a look at all tables for what came past the triggers: one that takes the place of
    /// another need not, and nobody waits for it.
    pub(super) looks: bool,
    pub(super) adopt: bool,
    pub(super) follow_schema: bool,
    pub(super) verify: Option<Duration>,
    pub(super) extensions: Vec<PathBuf>,
    pub(super) hook: Option<Arc<dyn StepHook>>,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            postgres_url: None,
            environment: Environment::default(),
            schema: None,
            sqlite_path: None,
            mode: WriteMode::Both,
            prefer: Prefer::Postgres,
            timeout: Duration::from_secs(5),
            busy: Duration::from_secs(5),
            poll: Duration::from_secs(1),
            background: true,
            looks: true,
            adopt: true,
            follow_schema: true,
            verify: Some(Duration::from_secs(24 * 60 * 60)),
            extensions: Vec::new(),
            hook: None,
        }
    }
}

impl Builder {
    /// PostgreSQL's URL, as libpq takes it. What it leaves out is taken from nowhere else, unless
    /// [`Builder::environment`] says so.
    #[must_use]
    pub fn postgres_url(mut self, url: impl Into<String>) -> Builder {
        self.postgres_url = Some(Masked::from(url.into()));
        self
    }

    /// Where libpq takes from what the URL leaves out: `PG…` variables, a password file, a service
    /// file. The programs and the Python package take it from the process's own.
    ///
    /// ```
    /// use dual_database::DualDatabase;
    /// use dual_database::store::postgres::Environment;
    ///
    /// let builder = DualDatabase::builder()
    ///     .postgres_url("postgresql://bot@db.example.org/bot")
    ///     .environment(Environment::of_process());
    /// ```
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Builder {
        self.environment = environment;
        self
    }

    /// The schema in PostgreSQL in which everything of ours stands, as it is: upper and lower case
    /// count; `dual` unless told. All programs of a database say the same.
    #[must_use]
    pub fn postgres_schema(mut self, name: impl Into<String>) -> Builder {
        self.schema = Some(name.into());
        self
    }

    /// The SQLite file. It is made if it is not there.
    #[must_use]
    pub fn sqlite_path(mut self, path: impl Into<PathBuf>) -> Builder {
        self.sqlite_path = Some(path.into());
        self
    }

    /// When a write is answered.
    #[must_use]
    pub fn write_mode(mut self, mode: WriteMode) -> Builder {
        self.mode = mode;
        self
    }

    /// Who is asked first.
    #[must_use]
    pub fn prefer(mut self, prefer: Prefer) -> Builder {
        self.prefer = prefer;
        self
    }

    /// How long PostgreSQL is waited for by a call, 100 ms to 5 minutes; 5 s unless told. The
    /// file comes on top, at most [`Builder::busy_timeout`].
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Builder {
        self.timeout = timeout;
        self
    }

    /// How long another process's lock on the file is waited for; 5 s unless told.
    #[must_use]
    pub fn busy_timeout(mut self, busy: Duration) -> Builder {
        self.busy = busy;
        self
    }

    /// How often PostgreSQL is asked for news when no doorbell rings; 1 s unless told.
    #[must_use]
    pub fn poll_interval(mut self, poll: Duration) -> Builder {
        self.poll = poll;
        self
    }

    /// Whether the synchroniser runs by itself (it does unless told); without it only
    /// `sync_now` exchanges anything. For programs that look and go.
    #[must_use]
    pub fn background(mut self, background: bool) -> Builder {
        self.background = background;
        self
    }

    /// Whether what is not joined yet is joined, if that only adds (it is unless told). Without
    /// it no table, sidecar or trigger is made on either side, and no file: a store that lacks
    /// them is `needs_init`.
    #[must_use]
    pub fn adopt(mut self, adopt: bool) -> Builder {
        self.adopt = adopt;
        self
    }

    /// Whether a column that a joined table gets on one side, by hand or by another program, is carried from
    /// then on: added on the other side, with its values (it is unless told, if [`Builder::adopt`] is on and
    /// the role of PostgreSQL's may). Only one that may be NULL or has a constant default; else, and without
    /// it, [`Status::not_carried`](super::Status::not_carried) tells of it.
    #[must_use]
    pub fn follow_schema(mut self, follow: bool) -> Builder {
        self.follow_schema = follow;
        self
    }

    /// How long the synchroniser takes to compare all values of both sides once, in the background
    /// and a part at a time, at least a second; a day unless told, `None`: never. What it finds came
    /// past the triggers: it is taken in as after a gap in capture.
    #[must_use]
    pub fn verify_interval(mut self, every: Option<Duration>) -> Builder {
        self.verify = every;
        self
    }

    /// An extension of SQLite that every connection to the file loads: the application's triggers,
    /// indexes and checks may use what it brings. Whoever may name one runs code here.
    #[must_use]
    pub fn sqlite_extension(mut self, path: impl Into<PathBuf>) -> Builder {
        self.extensions.push(path.into());
        self
    }

    /// For tests: what happens to each step of calls and rounds.
    #[doc(hidden)]
    #[must_use]
    pub fn step_hook(mut self, hook: Arc<dyn StepHook>) -> Builder {
        self.hook = Some(hook);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::Builder;

    #[test]
    fn what_is_shown_has_no_password() {
        for url in ["postgresql://bot:hunter2@db/bar", "host=db password='hunter2'"] {
            let shown = format!("{:?}", Builder::default().postgres_url(url));
            assert!(shown.contains("db") && !shown.contains("hunter2"), "{shown}");
        }
    }
}
