use std::path::{Path, PathBuf};
use std::time::Duration;

use dual_database::schema::users;
use dual_database::store::postgres::Limits;
use dual_database::{Error, Kind, Result};
use dual_import::mapping::Mapping;
use dual_import::source::{
    CsvSource, Endpoint, ServiceAccount, SheetSource, SheetsClient, SheetsOptions, Source,
};
use dual_import::{Observer, RejectsFile, Target, WriteOptions};

use super::{Stores, given, unreadable};
use crate::arguments::{Global, Migrate};

/// A statement of an import works on all rows at once.
const STATEMENT: Duration = Duration::from_secs(15 * 60);
/// Another import, or a long transaction, may hold the table.
const LOCK: Duration = Duration::from_secs(60);
/// Another process may be writing a large transaction of its own.
const BUSY: Duration = Duration::from_secs(10);

/// Where the rows come from, not opened yet.
pub enum From {
    /// A CSV file.
    Csv(PathBuf),
    /// A tab of a spreadsheet.
    Sheet {
        /// Who signs in.
        account: Box<ServiceAccount>,
        /// The spreadsheet's key or URL.
        key: String,
        /// The tab's title.
        tab: String,
        /// Another address of the API.
        endpoint: Endpoint,
    },
}

/// A migration's settings.
pub struct Migration {
    /// Where the rows come from.
    pub from: From,
    /// Where they go.
    pub target: Target,
    /// What they mean.
    pub mapping: Mapping,
    /// How they are written.
    pub write: WriteOptions,
    /// Where the rejected ones are written.
    pub rejects: Option<PathBuf>,
    /// Whether every question is answered with yes.
    pub yes: bool,
    /// Whether to print JSON.
    pub json: bool,
}

impl Migration {
    /// Checks everything that can be checked without opening a connection.
    ///
    /// # Errors
    /// [`Kind::Configuration`], naming the option or the variable.
    pub fn new(global: &Global, arguments: Migrate) -> Result<Migration> {
        let stores = Stores::new(global)?;
        let target = Target {
            postgres: stores.postgres,
            limits: Limits { statement: STATEMENT, lock: LOCK, ..Limits::default() },
            sqlite: stores.sqlite,
            busy: BUSY,
        };
        if let Some(rejects) = &arguments.rejects {
            RejectsFile::check(rejects)?;
            let read = [
                ("--csv", arguments.csv.as_deref()),
                ("--sqlite-db-path", Some(target.sqlite.path.as_path())),
                ("--creds-file", arguments.creds_file.as_deref()),
            ];
            for (option, read) in read {
                if read.is_some_and(|read| same_file(read, rejects)) {
                    let message = format!("--rejects would overwrite the file of {option}");
                    return Err(Error::new(Kind::Configuration, "read the settings", message)
                        .with_hint("give --rejects another name"));
                }
            }
        }
        let mapping = match &arguments.mapping {
            Some(path) => read_mapping(path)?,
            None => Mapping::built_in(&users())?,
        };
        let from = match arguments.csv {
            Some(path) => From::Csv(path),
            None => From::Sheet {
                account: Box::new(service_account(arguments.creds_file.as_deref())?),
                key: given(arguments.sheet_key)
                    .ok_or_else(|| missing("--sheet-key", "GOOGLE_SHEET_KEY"))?,
                tab: arguments.sheet_name,
                endpoint: Endpoint::parse(
                    given(arguments.sheets_endpoint).as_deref().unwrap_or(Endpoint::GOOGLE),
                    "--sheets-endpoint",
                )?,
            },
        };
        Ok(Migration {
            from,
            target,
            mapping,
            write: WriteOptions {
                dry_run: arguments.dry_run,
                recreate_tables: arguments.recreate_tables,
                max_rejects: arguments.max_rejects,
            },
            rejects: arguments.rejects,
            yes: arguments.yes,
            json: global.json,
        })
    }
}

impl From {
    /// Opens the source.
    ///
    /// # Errors
    /// Those of the source.
    pub async fn open(self, observer: &dyn Observer) -> Result<Source> {
        match self {
            From::Csv(path) => Ok(CsvSource::open(path).await?.into()),
            From::Sheet { account, key, tab, endpoint } => {
                let client = SheetsClient::new(*account, SheetsOptions::new(endpoint));
                Ok(SheetSource::open(client, &key, &tab, observer).await?.into())
            }
        }
    }
}

fn same_file(one: &Path, other: &Path) -> bool {
    one == other
        || matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn service_account(file: Option<&Path>) -> Result<ServiceAccount> {
    if let Some(file) = file {
        return ServiceAccount::from_file(file);
    }
    match std::env::var("GOOGLE_CREDENTIALS_JSON") {
        Ok(text) if !text.trim().is_empty() => {
            ServiceAccount::from_text(&text, "GOOGLE_CREDENTIALS_JSON")
        }
        _ => Err(missing("--creds-file", "GOOGLE_CREDENTIALS_JSON")),
    }
}

fn read_mapping(path: &Path) -> Result<Mapping> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| unreadable("read the mapping", path, cause))?;
    Mapping::from_toml(&text, &path.display().to_string(), &users())
}

fn missing(option: &str, variable: &str) -> Error {
    Error::new(Kind::Configuration, "read the settings", format!("{option} is missing"))
        .with_hint(format!("give {option}, or set {variable}; --help shows all options"))
}
