//! `sheets-double`: serves a book file until it is ended.

#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use sheets_double::{Books, Double, Fault, Options};
use tokio::signal::unix::{SignalKind, signal};

/// Serve a workbook as the Google Sheets API would, on 127.0.0.1.
///
/// Prints the base address on one line and serves until SIGTERM or SIGINT.
#[derive(Parser)]
#[command(name = "sheets-double", version)]
struct Arguments {
    /// Workbook: JSON of one book, or an object from spreadsheet id to book
    #[arg(long, value_name = "FILE")]
    book: PathBuf,

    /// Where to write the service account's key file (mode 0600)
    #[arg(long, value_name = "FILE")]
    creds_out: PathBuf,

    /// Port on 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,

    /// Fault, as KIND[=VALUE][,on=ENDPOINT][,times=N][,after=N]; may be given again
    ///
    /// Kinds: 429[=RETRY-AFTER], 500, 502, 503, cut, cut-body, slow[=MS], slow-body[=MS],
    /// 401, 404, not-shared, wrong-scope, api-disabled, xlsx, expiring-token[=S],
    /// revoked-token[=S], wrong-clock[=S], account-deleted, key-deleted.
    /// Endpoints: token, metadata, values, drive.
    #[arg(long, value_name = "FAULT", verbatim_doc_comment)]
    fault: Vec<Fault>,
}

/// A wrong option or a book that cannot be served.
const EXIT_USAGE: u8 = 2;
const EXIT_FAILURE: u8 = 1;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, message)) => {
            say(&format!("error: {message}"));
            ExitCode::from(code)
        }
    }
}

fn run(arguments: Arguments) -> Result<(), (u8, String)> {
    let books = Books::from_file(&arguments.book).map_err(|error| (EXIT_USAGE, chain(&error)))?;
    for (id, book) in books.iter() {
        for warning in &book.warnings {
            say(&format!("warning: {}: {id}: {warning}", arguments.book.display()));
        }
    }
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| (EXIT_FAILURE, format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let failed = |error: io::Error| (EXIT_FAILURE, format!("cannot wait for signals: {error}"));
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let options =
            Options { port: arguments.port, faults: arguments.fault, ..Options::default() };
        let double =
            Double::start(books, options).await.map_err(|error| (EXIT_FAILURE, chain(&error)))?;
        let path = &arguments.creds_out;
        write_private(path, &double.credentials_json()).map_err(|error| {
            (EXIT_USAGE, format!("cannot write key file {}: {error}", path.display()))
        })?;
        // Whoever reads the line may connect and find the key file whole.
        let mut out = io::stdout();
        writeln!(out, "{}", double.base_url())
            .and_then(|()| out.flush())
            .map_err(|error| (EXIT_FAILURE, format!("cannot print the address: {error}")))?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

/// Writes a file that only its owner may read, also where it was there before.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    if file.metadata()?.is_file() {
        file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    file.write_all(text.as_bytes())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

/// One line on stderr; stdout carries the address alone.
fn say(text: &str) {
    // With stderr closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}
