//! Libraries of SQLite's that the owner of the settings names. The only unsafe code of the product: why
//! it stands stands beside it, and in `docs/security.md`.

use std::path::Path;

use rusqlite::Connection;

#[expect(unsafe_code, reason = "a library's code cannot be checked: the settings' owner names it")]
pub(super) fn load_extension(connection: &Connection, extension: &Path) -> rusqlite::Result<()> {
    // SAFETY: it runs the library's entry point, as the owner of the settings wants. SQL cannot
    // load any: the permission ends with the guard.
    unsafe {
        let _guard = rusqlite::LoadExtensionGuard::new(connection)?;
        connection.load_extension(extension, None::<&str>)
    }
}
