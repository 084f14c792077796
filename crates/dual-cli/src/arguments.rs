//! Raw arguments; they become validated settings in [`crate::settings`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use dual_database::import::MaxRejects;

/// PostgreSQL and SQLite kept as one logical database.
#[derive(Debug, Parser)]
#[command(name = "dual", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub struct Dual {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A Google Sheet or a CSV file into PostgreSQL and SQLite at once.
#[derive(Debug, Parser)]
#[command(name = "dual_migrate", version, after_help = EXIT_CODES)]
pub struct DualMigrate {
    /// The job's arguments.
    #[command(flatten)]
    pub migrate: Migrate,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done on both sides
  1    done, with rejects
  2    bad usage or configuration
  3    done on one side, the other pending
  4    nothing done: source or both databases unreachable, access denied
  5    nothing done: data refused
  130  nothing done: stopped by Ctrl-C or SIGTERM";

/// The commands of `dual`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load a Google Sheet or a CSV file into PostgreSQL and SQLite at once
    #[command(after_help = EXIT_CODES)]
    Migrate(Box<Migrate>),
    /// Watch a migration on throwaway servers: nothing of yours is read or written
    Demo(Demo),
}

/// Arguments of the migration.
#[derive(Args, Debug)]
pub struct Migrate {
    /// The PostgreSQL database: postgresql://user:password@host:port/database
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    pub pg_db_url: Option<String>,

    /// The SQLite file; made if it does not exist
    #[arg(long, value_name = "FILE", env = "DATABASE_PATH")]
    pub sqlite_db_path: Option<PathBuf>,

    /// The key file of a Google service account [or its content in GOOGLE_CREDENTIALS_JSON]
    #[arg(long, value_name = "FILE")]
    pub creds_file: Option<PathBuf>,

    /// The key of the spreadsheet, or its whole URL
    #[arg(long, value_name = "KEY", env = "GOOGLE_SHEET_KEY")]
    pub sheet_key: Option<String>,

    /// The tab
    #[arg(long, value_name = "NAME", default_value = "Выгрузка Пользователей")]
    pub sheet_name: String,

    /// Read this CSV file instead of a sheet
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// A mapping of your own (TOML) instead of the built-in one
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,

    /// Replace the tables instead of adding to them; asks first
    #[arg(long)]
    pub recreate_tables: bool,

    /// Fetch, validate, compare and show the plan; write nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Write rows and cells that were set aside to this file (.csv or .jsonl)
    #[arg(long, value_name = "FILE")]
    pub rejects: Option<PathBuf>,

    /// Write nothing if more rows than this are rejected: a number, or a percentage
    #[arg(long, value_name = "N|N%", default_value_t)]
    pub max_rejects: MaxRejects,

    /// Print one JSON document instead of tables
    #[arg(long)]
    pub json: bool,

    /// Answer yes to every question
    #[arg(long)]
    pub yes: bool,

    /// Another address of the Sheets API (plain http only on this machine)
    #[arg(long, value_name = "URL", env = "DUAL_SHEETS_ENDPOINT", hide_env = true)]
    pub sheets_endpoint: Option<String>,
}

/// Arguments of the demonstration.
#[derive(Args, Debug)]
pub struct Demo {
    /// Keep the servers and files until Enter is pressed
    #[arg(long)]
    pub keep: bool,
}
