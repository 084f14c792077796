//! A CSV file into both stores.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dual_database::schema::users;
use dual_database::store::postgres::{Limits, Settings};
use dual_database::store::sqlite::File;
use dual_database::sync::StepHook;
use dual_import::mapping::Mapping;
use dual_import::source::{CsvSource, Source};
use dual_import::{Import, Report, Silent, StoreOutcome, Target, WriteOptions};

use super::LIMIT;
use super::strike::Ledger;
use crate::scenario::scene::open_with;

/// The rows, under the names of the columns.
pub fn write_csv(folder: &Path) {
    let rows: String = (100..120).map(|key| format!("{key},row{key}\n")).collect();
    std::fs::write(folder.join("rows.csv"), format!("user_id,first_name\n{rows}")).unwrap();
}

async fn import(
    url: &str,
    file: &Path,
    hook: Option<Arc<dyn StepHook>>,
) -> dual_database::Result<Report> {
    let csv = file.with_file_name("rows.csv");
    let mut source = Source::from(CsvSource::open(&csv).await?);
    let mapping = Mapping::built_in(&users())?;
    let mut import = Import::stage(&mut source, mapping, users(), &Silent).await?;
    if let Some(hook) = hook {
        import = import.step_hook(hook);
    }
    let target = Target {
        postgres: Settings::parse(url)?,
        limits: Limits::default(),
        sqlite: File::look(file)?,
        busy: Duration::from_secs(5),
    };
    import.write(&target, WriteOptions::default(), &Silent, std::future::pending()).await
}

/// Struck, it tries it once. The next one does it, does it again to no effect, and exchanges what is
/// left.
pub async fn process(url: &str, file: &Path, ledger: &Ledger, hook: Option<Arc<dyn StepHook>>) {
    if hook.is_some() {
        match import(url, file, hook).await {
            Ok(report) => ledger.note(&format!("{:?} and {:?}", report.postgres, report.sqlite)),
            Err(error) => ledger.note(&format!("failed: {}", error.chain())),
        }
        return;
    }
    import(url, file, None).await.unwrap();
    for key in 100..120 {
        ledger.note(&format!("has {key} row{key}"));
    }
    ledger.note("has 40 newer");
    let again = import(url, file, None).await.unwrap();
    for outcome in [again.postgres, again.sqlite] {
        assert!(matches!(outcome, StoreOutcome::Unchanged(_)), "{outcome:?}");
    }
    let db = open_with(url, file).open().await.unwrap();
    let done = db.sync_now(LIMIT).await.unwrap();
    assert_eq!((done.pending, done.quarantined, done.held), (0, 0, None));
    db.close(LIMIT).await;
}
