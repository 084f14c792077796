use std::path::PathBuf;

use clap::Args;
use dual_import::MaxRejects;

/// Arguments of the migration.
#[derive(Args, Debug)]
pub struct Migrate {
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
