//! `dual migrate` and `dual_migrate`.

use std::io::BufRead as _;

use dual_database::import::{Import, RejectsFile, Report};
use dual_database::schema::users;
use dual_database::{Error, Kind, Result};

use crate::arguments::Migrate;
use crate::exit::Exit;
use crate::output::{self, MigrationDocument, Progress};
use crate::settings::Migration;

/// Runs the migration and prints what it did.
///
/// # Errors
/// When nothing was changed in either database, whatever the reason.
pub async fn run(arguments: Migrate) -> Result<Exit> {
    let settings = Migration::new(arguments)?;
    let (json, dry_run) = (settings.json, settings.write.dry_run);
    let progress = Progress::new();
    let migrated = migrate(settings, &progress).await;
    progress.finish();
    let (import, report) = migrated?;
    let limit = if json { output::JSON_LISTED } else { output::SUMMARY_LISTED };
    let aside = import.set_aside(0, limit).await?;
    output::data(&if json {
        MigrationDocument::new(&import, &report, &aside, dry_run).text()
    } else {
        output::summary(&import, &report, Some(&aside), dry_run)
    });
    Ok(exit_of(&report))
}

/// Both phases, and the file of rejects whichever way the second one ended.
pub(super) async fn migrate(settings: Migration, progress: &Progress) -> Result<(Import, Report)> {
    let Migration { from, target, mapping, write, rejects, yes, json } = settings;
    let staged = async {
        let mut source = from.open(progress).await?;
        Import::stage(&mut source, mapping, users(), progress).await
    };
    let import = tokio::select! {
        staged = staged => staged?,
        () = stop_signal() => return Err(stopped("read the source")),
    };
    // Made before anything is written: a wrong folder must not cost the report.
    let rejects = rejects.map(|path| RejectsFile::create(&path)).transpose()?;
    let written = async {
        import.check_rejects(write.max_rejects).await?;
        if write.recreate_tables && !write.dry_run && !yes {
            confirm(&import, &target, progress).await?;
        }
        import.write(&target, write, progress, stop_signal()).await
    };
    let written = written.await;
    progress.finish();
    // What was committed stays told, whatever becomes of the file.
    if let Some(file) = rejects
        && let Err(error) = write_rejects(&import, file).await
    {
        output::message(&format!(
            "warning: the file of rejects is not complete: {}",
            error.chain()
        ));
    }
    match written {
        Ok(report) => Ok((import, report)),
        Err(error) => {
            if error.is_invalid_data() && !json {
                output::reasons(&import.set_aside(0, output::SUMMARY_LISTED).await?);
            }
            Err(error)
        }
    }
}

fn stopped(operation: &'static str) -> Error {
    Error::new(Kind::Interrupted, operation, "stopped; nothing was changed")
}

pub(super) fn exit_of(report: &Report) -> Exit {
    if report.postgres.error().is_some() || report.sqlite.error().is_some() {
        Exit::OneSide
    } else if report.counts.rejected > 0 {
        Exit::WithRejects
    } else {
        Exit::Done
    }
}

/// Completes with Ctrl-C or SIGTERM.
pub(super) async fn stop_signal() {
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = tokio::signal::ctrl_c() => if ended.is_err() { std::future::pending::<()>().await },
        _ = terminate => {}
    }
}

/// Asks before tables are replaced.
async fn confirm(
    import: &Import,
    target: &dual_database::import::Target,
    progress: &Progress,
) -> Result<()> {
    let counts = import.counts().await?;
    progress.finish();
    output::message(&format!(
        "Replace table users in {} and in {} with {} rows? Rows that are only there are lost. [y/N]",
        target.postgres,
        target.sqlite.path.display(),
        counts.staged
    ));
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let refused = || {
        Error::new(Kind::Configuration, "replace the tables", "not confirmed; nothing was changed")
            .with_hint("answer y, or give --yes where nobody can answer")
    };
    let answer = tokio::select! {
        answer = answer => answer.ok().and_then(std::io::Result::ok).ok_or_else(refused)?,
        () = stop_signal() => return Err(stopped("replace the tables")),
    };
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" | "д" | "да" => Ok(()),
        _ => Err(refused()),
    }
}

async fn write_rejects(import: &Import, mut file: RejectsFile) -> Result<()> {
    const PAGE: u64 = 1_000;
    let mut offset = 0;
    loop {
        let page = import.set_aside(offset, PAGE).await?;
        if page.is_empty() {
            return file.finish();
        }
        for aside in &page {
            file.add(aside)?;
        }
        offset += PAGE;
    }
}
