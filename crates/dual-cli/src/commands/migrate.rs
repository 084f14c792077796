//! `dual migrate` and `dual_migrate`.

use dual_database::schema::users;
use dual_database::{Error, Kind, Result};
use dual_import::{Import, RejectsFile, Report};

use super::{confirm, stop_signal};
use crate::arguments::{Global, Migrate};
use crate::exit::Exit;
use crate::output::{self, MigrationDocument, Progress};
use crate::settings::Migration;

/// Runs the migration and prints what it did.
///
/// # Errors
/// When nothing was changed in either database, whatever the reason.
pub async fn run(global: &Global, arguments: Migrate) -> Result<Exit> {
    let settings = Migration::new(global, arguments)?;
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
            confirm_replacement(&import, &target, progress).await?;
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

/// Asks before tables are replaced.
async fn confirm_replacement(
    import: &Import,
    target: &dual_import::Target,
    progress: &Progress,
) -> Result<()> {
    let counts = import.counts().await?;
    progress.finish();
    let question = format!(
        "Replace table users in {} and in {} with {} rows? Rows that are only there are lost.",
        target.postgres,
        target.sqlite.path.display(),
        counts.staged
    );
    confirm("replace the tables", &question).await
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
