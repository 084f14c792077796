use dual_database::Result;
use dual_database::uninstall::Uninstalled;
use serde::Serialize;

use super::json::{ErrorOwned, line};

#[derive(Serialize)]
struct Removed {
    postgres: bool,
    sqlite: bool,
}

#[derive(Serialize)]
struct UninstalledBody {
    version: u8,
    removed: Removed,
    error: Option<ErrorOwned>,
}

/// What `dual uninstall --json` prints.
#[must_use]
pub fn uninstalled_document(found: &Uninstalled) -> String {
    let error = found.postgres.as_ref().err().or(found.sqlite.as_ref().err());
    line(&UninstalledBody {
        version: 1,
        removed: Removed { postgres: found.postgres.is_ok(), sqlite: found.sqlite.is_ok() },
        error: error.map(ErrorOwned::new),
    })
}

/// What `dual uninstall --file-only --json` prints.
#[must_use]
pub fn file_uninstalled_document() -> String {
    let removed = Removed { postgres: false, sqlite: true };
    line(&UninstalledBody { version: 1, removed, error: None })
}

/// What `dual uninstall --file-only` prints.
pub const FILE_UNINSTALLED: &str = "SQLite: only the tables are left\n";

/// What `dual uninstall` prints.
#[must_use]
pub fn uninstalled_text(found: &Uninstalled) -> String {
    let side = |name: &str, result: &Result<()>| match result {
        Ok(()) => format!("{name}: only the tables are left\n"),
        Err(error) => format!("{name}: nothing was removed: {}\n", error.chain()),
    };
    side("PostgreSQL", &found.postgres) + &side("SQLite", &found.sqlite)
}
