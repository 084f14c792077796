use dual_database::Error;
use dual_database::store::postgres::capture::Uninstalled as Removed;
use dual_database::uninstall::Uninstalled;
use serde::Serialize;

use super::json::{ErrorOwned, line};

#[derive(Serialize)]
struct Sides {
    postgres: bool,
    sqlite: bool,
}

#[derive(Serialize)]
struct UninstalledBody<'a> {
    version: u8,
    removed: Sides,
    /// Whether there was anything of ours in PostgreSQL; null if it was not looked at.
    was_installed: Option<bool>,
    /// What others have in the schema of ours in PostgreSQL.
    left: &'a [String],
    error: Option<ErrorOwned>,
}

/// What `dual uninstall --json` prints.
#[must_use]
pub fn uninstalled_document(found: &Uninstalled) -> String {
    let error = found.postgres.as_ref().err().or(found.sqlite.as_ref().err());
    line(&UninstalledBody {
        version: 1,
        removed: Sides { postgres: found.postgres.is_ok(), sqlite: found.sqlite.is_ok() },
        was_installed: found.postgres.as_ref().ok().map(|postgres| postgres.was_there),
        left: found.postgres.as_ref().map_or(&[], |postgres| &postgres.left),
        error: error.map(ErrorOwned::new),
    })
}

/// What `dual uninstall --file-only --json` prints.
#[must_use]
pub fn file_uninstalled_document() -> String {
    let removed = Sides { postgres: false, sqlite: true };
    line(&UninstalledBody { version: 1, removed, was_installed: None, left: &[], error: None })
}

/// What `dual uninstall --file-only` prints.
pub const FILE_UNINSTALLED: &str = "SQLite: only the tables are left\n";

/// What `dual uninstall` prints.
#[must_use]
pub fn uninstalled_text(found: &Uninstalled) -> String {
    let failed =
        |name: &str, error: &Error| format!("{name}: nothing was removed: {}\n", error.chain());
    let postgres = match &found.postgres {
        Ok(Removed { was_there: false, .. }) => {
            "PostgreSQL: nothing of ours was there\n".to_owned()
        }
        Ok(Removed { left, .. }) if left.is_empty() => {
            "PostgreSQL: only the tables are left\n".to_owned()
        }
        Ok(Removed { left, .. }) => format!(
            "PostgreSQL: only the tables are left, and what others have in our schema: {}\n",
            left.join(", ")
        ),
        Err(error) => failed("PostgreSQL", error),
    };
    postgres
        + &match &found.sqlite {
            Ok(()) => FILE_UNINSTALLED.to_owned(),
            Err(error) => failed("SQLite", error),
        }
}
