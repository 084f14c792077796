//! Raw arguments, the environment and the settings file → validated settings.
//!
//! A flag beats its variable, a variable beats the file. (The variables are read where the
//! flags are: [`crate::arguments::Global`].)

mod file;
#[cfg(feature = "import")]
mod migration;
mod tables;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dual_database::init::{Stores as Both, joined_tables};
use dual_database::schema::{Making, Table};
use dual_database::store::postgres::{Environment, Limits, Masked, SchemaName, Settings};
use dual_database::store::sqlite::File;
use dual_database::store::sqlite::replica::Settings as ReplicaSettings;
use dual_database::{DualDatabase, Error, Kind, Result};

#[cfg(feature = "import")]
pub use migration::{From, Migration};
pub use tables::{declared, write as write_declared};

use crate::arguments::{Global, Interval};
use file::SettingsFile;

/// Said of a URL that is none.
const SHAPE: &str = "write postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for @ and %25 \
                     for % in the password";

/// How long PostgreSQL is waited for by a look.
const LOOK: Duration = Duration::from_secs(5);
/// How long a lock of another program's on the file is waited for.
const BUSY: Duration = Duration::from_secs(5);

/// What both stores are opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Nothing is made on either side.
    ToLook,
    /// What is not joined yet is joined; the command exchanges what it wants to.
    ToExchange,
    /// The same, and the synchroniser runs by itself.
    ToWrite,
}

/// Where both stores are; both are checked as far as can be without opening them.
#[derive(Clone, Debug)]
pub struct Stores {
    postgres_url: Masked,
    environment: Environment,
    /// PostgreSQL's settings.
    pub postgres: Settings,
    /// The SQLite file.
    pub sqlite: File,
    verify_interval: Option<Interval>,
    follow_schema: bool,
}

impl Stores {
    /// From the arguments, the environment and the settings file. The file is read only if it
    /// was named or if something is missing.
    ///
    /// # Errors
    /// [`Kind::Configuration`], naming the option, the variable or the line of the file.
    pub fn new(global: &Global) -> Result<Stores> {
        let is_given = |url: &Masked| !url.reveal().trim().is_empty();
        let mut url = global.pg_db_url.clone().filter(is_given);
        let mut path = global.sqlite_db_path.clone().filter(|path| !path.as_os_str().is_empty());
        let mut schema = given(global.pg_schema.clone());
        let mut extensions = global.sqlite_extensions.clone();
        let mut verify_interval = global.verify_interval;
        let mut follow_schema = !global.no_follow_schema;
        if global.config.is_some() || url.is_none() || path.is_none() {
            let file = SettingsFile::read(global.config.as_deref())?;
            url = url.or(file.pg_db_url);
            path = path.or(file.sqlite_db_path);
            schema = schema.or(file.pg_schema);
            if extensions.is_empty() {
                extensions = file.sqlite_extensions;
            }
            verify_interval = verify_interval.or(file.verify_interval);
            follow_schema &= file.follow_schema.unwrap_or(true);
        }
        let url = url.ok_or_else(|| missing("--pg-db-url", "DATABASE_URL", "pg_db_url"))?;
        let path = path.ok_or_else(no_path)?;
        let shaped = |error: Error| match error.hint() {
            Some(_) => error,
            None => error.with_hint(SHAPE),
        };
        let schema = schema.as_deref().map(SchemaName::new).transpose()?.unwrap_or_default();
        let postgres = Settings::resolve(url.reveal(), &global.environment).map_err(shaped)?;
        let postgres = postgres.with_schema(schema);
        let sqlite = File { extensions, ..File::look(&path)? };
        let environment = global.environment.clone();
        let postgres_url = url;
        Ok(Stores { postgres_url, environment, postgres, sqlite, verify_interval, follow_schema })
    }

    /// Where the file is, for who does nothing with PostgreSQL.
    ///
    /// # Errors
    /// As for [`Stores::new`].
    pub fn file_alone(global: &Global) -> Result<File> {
        let path = global.sqlite_db_path.clone().filter(|path| !path.as_os_str().is_empty());
        let path = match (path, &global.config) {
            (Some(path), None) => path,
            (path, config) => {
                let file = SettingsFile::read(config.as_deref())?;
                path.or(file.sqlite_db_path).ok_or_else(no_path)?
            }
        };
        File::look(&path)
    }

    /// How the table of that name is declared, as far as can be known without opening anything for good.
    ///
    /// # Errors
    /// [`Kind::Configuration`] if it is not kept.
    pub async fn declared(&self, name: &str) -> Result<Table> {
        let tables = joined_tables(&self.both(Limits::default()), LOOK).await;
        tables.iter().find(|table| table.name() == name).cloned().ok_or_else(|| {
            let message = format!("no table {name} is kept; `dual init` shows which could be");
            Error::new(Kind::Configuration, "find a table", message)
                .suggesting(name, tables.iter().map(Table::name))
        })
    }

    /// Both sides, before it is known which tables they keep together.
    pub fn both(&self, limits: Limits) -> Both {
        Both {
            postgres: self.postgres.clone(),
            limits,
            sqlite: ReplicaSettings {
                path: self.sqlite.path.clone(),
                busy: BUSY,
                tables: Arc::default(),
                making: Making::Nothing,
                extensions: self.sqlite.extensions.clone(),
                aside: [].into(),
            },
        }
    }

    /// Opens both as one database; `opening` says what for.
    ///
    /// # Errors
    /// Those of [`dual_database::database::Builder::open`].
    pub async fn open(&self, opening: Opening) -> Result<DualDatabase> {
        let builder = DualDatabase::builder();
        let builder = match self.verify_interval {
            Some(interval) => builder.verify_interval(interval.every()),
            None => builder,
        };
        let extensions = self.sqlite.extensions.iter();
        extensions
            .fold(builder, |builder, extension| builder.sqlite_extension(extension))
            .postgres_url(self.postgres_url.reveal())
            .environment(self.environment.clone())
            .postgres_schema(self.postgres.schema().name())
            .sqlite_path(&self.sqlite.path)
            .background(opening == Opening::ToWrite)
            .follow_schema(self.follow_schema)
            .adopt(opening != Opening::ToLook)
            .open()
            .await
    }
}

fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

fn no_path() -> Error {
    missing("--sqlite-db-path", "DATABASE_PATH", "sqlite_db_path")
}

fn missing(option: &str, variable: &str, key: &str) -> Error {
    Error::new(Kind::Configuration, "read the settings", format!("{option} is missing")).with_hint(
        format!(
            "give {option}, set {variable}, or write {key} into dual.toml; --help shows all options"
        ),
    )
}

fn unreadable(operation: &'static str, path: &Path, cause: std::io::Error) -> Error {
    let message = format!("{}: {cause}", path.display());
    Error::new(Kind::Configuration, operation, message)
        .with_hint("give the path of a file that this user can read")
        .with_source(cause)
}

/// A path that stands in a file, seen from where the program runs.
fn beside(file: &Path, path: PathBuf) -> PathBuf {
    file.parent().map_or(path.clone(), |folder| folder.join(path))
}
