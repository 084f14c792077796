//! Raw arguments; they become validated settings in [`crate::settings`].

mod database;
mod interval;
#[cfg(feature = "import")]
mod migrate;
mod row;
mod user;

pub use database::{
    Conflicts, Init, Prefer, Repair, Schema, SchemaApply, SchemaChange, Side, Sql, Status, Sync,
    Uninstall,
};
pub use interval::Interval;
#[cfg(feature = "import")]
pub use migrate::{Demo, Migrate};
pub use row::{ByKey, ColumnText, NewRow, Row, RowChanges, RowList};
pub use user::{ById, Changes, List, NewUser, User};

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Parser, Subcommand};
use dual_database::store::postgres::{Environment, Masked};

/// PostgreSQL and SQLite kept as one logical database.
#[derive(Debug, Parser)]
#[command(name = "dual", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub struct Dual {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

#[cfg(feature = "import")]
/// A Google Sheet or a CSV file into PostgreSQL and SQLite at once.
#[derive(Debug, Parser)]
#[command(name = "dual_migrate", version, after_help = EXIT_CODES)]
pub struct DualMigrate {
    /// What every command takes.
    #[command(flatten)]
    pub global: Global,
    /// The job's arguments.
    #[command(flatten)]
    pub migrate: Migrate,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done on both sides; status: could report
  1    done, with rejects; differences found; left: rows in quarantine, a held comparison, damage
  2    bad usage or configuration
  3    done on one side, the other pending
  4    nothing done: source or both databases unreachable, access denied
  5    nothing done: data refused, not found, already exists
  130  stopped by Ctrl-C or SIGTERM";

/// Arguments that may stand before or after the name of a command.
#[derive(Args, Clone, Debug, Default)]
pub struct Global {
    /// The PostgreSQL database: postgresql://user:password@host:port/database
    #[arg(long, global = true, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub pg_db_url: Option<Masked>,

    /// The schema in PostgreSQL in which everything of ours stands [default: dual]
    #[arg(long, global = true, value_name = "NAME", env = "DUAL_SCHEMA")]
    pub pg_schema: Option<String>,

    /// The SQLite file; made if it does not exist
    // An empty variable is as if not set; the parser of paths would refuse it.
    #[arg(long, global = true, value_name = "FILE", env = "DATABASE_PATH",
          value_parser = OsStringValueParser::new().map(PathBuf::from))]
    pub sqlite_db_path: Option<PathBuf>,

    /// An extension of SQLite that the file's triggers and indexes need; can be repeated
    #[arg(long = "sqlite-extension", global = true, value_name = "FILE")]
    pub sqlite_extensions: Vec<PathBuf>,

    /// Compare all values of both sides in the background, once in so many seconds, or never
    /// [default: 86400, a day]
    #[arg(long, global = true, value_name = "SECONDS|never")]
    pub verify_interval: Option<Interval>,

    /// Leave alone what joined tables get in columns: `dual status` shows them, `dual init --apply` joins them
    #[arg(long, global = true)]
    pub no_follow_schema: bool,

    /// The settings file [default: dual.toml in this folder, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub json: bool,

    /// Tell on stderr what is going on; twice for more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Where the URL's missing parts are taken from; nothing, unless a program says so
    #[arg(skip)]
    pub environment: Environment,
}

/// The commands of `dual`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what has to be made or joined on both sides; with --apply do it
    Init(Init),
    /// Show how both sides stand and what is pending
    Status(Status),
    /// Compare every column of every row on both sides
    Verify,
    /// Make both sides equal where a person has to say which one is right
    Repair(Repair),
    /// Exchange what is pending, once or until stopped
    Sync(Sync),
    /// Add, read, change, list and delete users
    #[command(subcommand)]
    User(User),
    /// Add, read, change, list and delete rows of any table that is kept
    #[command(subcommand)]
    Row(Row),
    /// Show how the tables are declared beside what both sides have; declare one as it is now
    Schema(Schema),
    /// Read from the SQLite file by one statement of SQL; nothing can be changed by it
    Sql(Sql),
    /// Show the values that lost against a concurrent write
    Conflicts(Conflicts),
    /// Show the rows that one side refuses, and why
    Quarantine,
    /// Take everything of ours away from both sides; the users' table stays
    Uninstall(Uninstall),
    /// Load a Google Sheet or a CSV file into PostgreSQL and SQLite at once
    #[cfg(feature = "import")]
    #[command(after_help = EXIT_CODES)]
    Migrate(Box<Migrate>),
    /// Watch a migration on throwaway servers: nothing of yours is read or written
    #[cfg(feature = "import")]
    Demo(Demo),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_no_password() {
        let words = ["dual", "--pg-db-url", "postgresql://bot:hunter2@db/bar", "status"];
        let shown = format!("{:?}", Dual::try_parse_from(words).unwrap());
        assert!(shown.contains("db/bar") && !shown.contains("hunter2"), "{shown}");
    }
}
