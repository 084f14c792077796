//! `dual demo`: the main job on throwaway servers, with a sample workbook.

use std::path::{Path, PathBuf};

use dual_database::{Error, Kind, Result, Store};
use dual_import::{Import, Report, SetAside};
use sheets_double::{Books, Double, Options};
use throwaway_postgres::Server;

use crate::arguments::{Demo, Global, Migrate};
use crate::commands::migrate::{exit_of, migrate};
use crate::commands::stop_signal;
use crate::exit::Exit;
use crate::output::{self, Progress, message};
use crate::settings::Migration;

/// A sheet that holds every layout and most of the mistakes of the real one; the persons are
/// invented.
const WORKBOOK: &str = include_str!("../demo/workbook.json");
const SPREADSHEET: &str = "demo-spreadsheet";
const TAB: &str = "Выгрузка Пользователей";

/// The columns that fit on a screen.
const SHOWN: &str = "id, user_id, first_name, username, status, phone_number, \
                     register_date, redeem_date, referrer_id";

/// Runs the demonstration: starts the servers, migrates, shows both sides, migrates again,
/// cleans up.
///
/// # Errors
/// [`Kind::Unavailable`] if no PostgreSQL can be started here; those of the migration.
pub async fn run(arguments: Demo) -> Result<Exit> {
    let demonstration = demonstrate(&arguments);
    tokio::select! {
        ended = demonstration => ended,
        () = stop_signal() => {
            Err(Error::new(Kind::Interrupted, "show the demonstration", "stopped; everything is cleaned up"))
        }
    }
}

async fn demonstrate(arguments: &Demo) -> Result<Exit> {
    let folder = tempfile::tempdir().map_err(|cause| failed("make a folder", cause))?;
    message("starting a throwaway PostgreSQL (the first time it may have to be fetched) …");
    let server = tokio::task::spawn_blocking(|| Server::builder().start())
        .await
        .map_err(|cause| failed("start PostgreSQL", cause))?
        .map_err(|cause| {
            failed("start PostgreSQL", cause).with_hint(
                "install PostgreSQL, or name a folder with its programs in DUAL_POSTGRES_BIN",
            )
        })?;
    let url = server.create_database("demo").map_err(|cause| failed("make a database", cause))?;
    message("starting a stand-in for the Google Sheets API with a sample workbook …");
    let books = Books::from_json(WORKBOOK).map_err(|cause| failed("read the workbook", cause))?;
    let double = Double::start(books, Options::default())
        .await
        .map_err(|cause| failed("start the stand-in", cause))?;
    let creds = folder.path().join("creds.json");
    std::fs::write(&creds, double.credentials_json())
        .map_err(|cause| failed("write the credentials", cause))?;
    let sqlite = folder.path().join("users.db");

    message(&format!(
        "\nthe same job by hand:\n  dual_migrate --pg-db-url='{}' \\\n    --sqlite-db-path='{}' \\\n    \
         --creds-file='{}' --sheet-key='{SPREADSHEET}' --sheet-name='{TAB}' \\\n    --sheets-endpoint='{}'\n",
        dual_database::store::postgres::mask(&url),
        sqlite.display(),
        creds.display(),
        double.base_url(),
    ));
    let settings = || {
        let global = Global {
            pg_db_url: Some(url.clone().into()),
            sqlite_db_path: Some(sqlite.clone()),
            ..Global::default()
        };
        let migrate = Migrate {
            creds_file: Some(creds.clone()),
            sheet_key: Some(SPREADSHEET.into()),
            sheet_name: TAB.into(),
            csv: None,
            mapping: None,
            recreate_tables: false,
            dry_run: false,
            rejects: None,
            max_rejects: dual_import::MaxRejects::default(),
            yes: false,
            sheets_endpoint: Some(double.base_url().to_string()),
        };
        Migration::new(&global, migrate)
    };
    let (import, report, aside) = once(settings()?).await?;
    output::data(&output::summary(&import, &report, Some(&aside), false));
    let exit = exit_of(&report);
    output::data(&format!("\nwhat the rejected cells held\n{}", held(&aside)));
    output::data(&format!("\nin PostgreSQL\n{}", shown(&postgres_rows(&server)?)));
    output::data(&format!("\nin the SQLite file\n{}", shown(&sqlite_rows(&sqlite)?)));

    message("\nthe same command again …");
    let (import, report, _) = once(settings()?).await?;
    output::data(&format!("\n{}", output::summary(&import, &report, None, false)));
    if arguments.keep {
        keep(&url, &sqlite).await;
    }
    message("cleaning up");
    // A rejected row is what the demonstration shows, not a failure of it.
    Ok(if exit == Exit::WithRejects { Exit::Done } else { exit })
}

async fn once(settings: Migration) -> Result<(Import, Report, Vec<SetAside>)> {
    let progress = Progress::new();
    let migrated = migrate(settings, &progress).await;
    progress.finish();
    let (import, report) = migrated?;
    let aside = import.set_aside(0, output::SUMMARY_LISTED).await?;
    Ok((import, report, aside))
}

async fn keep(url: &str, sqlite: &Path) {
    message(&format!(
        "kept until Enter is pressed:\n  psql '{url}'\n  sqlite3 '{}'",
        sqlite.display()
    ));
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await;
}

fn failed(operation: &'static str, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::Unavailable(Store::Postgres), operation, cause.to_string()).with_source(cause)
}

fn held(aside: &[SetAside]) -> String {
    aside
        .iter()
        .filter_map(|one| {
            let cell = one.problem.cell.as_deref()?;
            let shown = one.problem.displayed.as_deref().unwrap_or(&one.problem.raw);
            Some(format!("  {cell:<6} «{shown}»\n"))
        })
        .collect()
}

type Rows = Vec<Vec<String>>;

fn postgres_rows(server: &Server) -> Result<Rows> {
    let rows = server
        .execute("demo", &format!("SELECT {SHOWN} FROM users ORDER BY id"))
        .map_err(|cause| failed("read PostgreSQL", cause))?;
    let shown = |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap_or_default).collect();
    Ok(rows.into_iter().map(shown).collect())
}

fn sqlite_rows(path: &PathBuf) -> Result<Rows> {
    let read = || -> rusqlite::Result<Rows> {
        let connection = rusqlite::Connection::open(path)?;
        let mut statement =
            connection.prepare(&format!("SELECT {SHOWN} FROM users ORDER BY id"))?;
        let width = statement.column_count();
        statement
            .query_map([], |row| {
                (0..width)
                    .map(|index| {
                        row.get::<_, rusqlite::types::Value>(index).map(|value| match value {
                            rusqlite::types::Value::Integer(number) => number.to_string(),
                            rusqlite::types::Value::Text(text) => text,
                            _ => String::new(),
                        })
                    })
                    .collect()
            })?
            .collect()
    };
    read().map_err(|cause| failed("read SQLite", cause))
}

/// Rows under the names of [`SHOWN`], indented.
fn shown(rows: &Rows) -> String {
    let headings: Vec<&str> = SHOWN.split(", ").collect();
    output::table(&headings, rows).lines().map(|line| format!("  {line}\n")).collect()
}
