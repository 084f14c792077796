//! That others can read the file is told once, and again when its permissions have changed.

use std::fs::File as Plain;
use std::io::{Read as _, Seek as _, Write as _};

use super::place::{LOCK, SharedFile};
use crate::private;

impl SharedFile {
    /// Tells it, unless it was told; with which permissions, stands in the lock file, which has no
    /// other content.
    pub(super) fn warn_exposure(&self) {
        let now = private::exposed(self.path()).unwrap_or_default();
        match self.open_beside(LOCK).and_then(|mut lock| replace(&mut lock, &now)) {
            Ok(told) if told == now || now.is_empty() => {}
            Ok(_) => tracing::warn!(
                path = %self.path().display(),
                permissions = now,
                "others than its owner can read the SQLite file; `chmod 600` keeps it for its owner"
            ),
            Err(cause) => tracing::debug!(%cause, "the lock file cannot be written"),
        }
    }
}

/// Says what was there before.
fn replace(file: &mut Plain, text: &str) -> std::io::Result<String> {
    let mut before = String::new();
    file.read_to_string(&mut before)?;
    if before != text {
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(text.as_bytes())?;
    }
    Ok(before)
}
