//! Folders that the server's account can reach.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::account::Account;
use crate::error::Error;

/// A new folder for one server, removed when dropped, under a parent that the account can
/// walk through.
pub(crate) fn for_server(account: Option<Account>) -> Result<TempDir, Error> {
    let usual = std::env::temp_dir();
    let parent = if account.is_none() || open_to_all(&usual) {
        usual
    } else {
        ["/tmp", "/var/tmp", "/dev/shm"]
            .iter()
            .map(PathBuf::from)
            .find(|path| open_to_all(path))
            .unwrap_or(usual)
    };
    let folder = tempfile::Builder::new()
        .prefix("throwaway-postgres-")
        .tempdir_in(&parent)
        .map_err(Error::io(format!("make a folder in {}", parent.display())))?;
    if let Some(account) = account {
        account
            .own_plain(folder.path())
            .map_err(Error::io("give the server's folder to an unprivileged account"))?;
    }
    Ok(folder)
}

/// Whether any account can reach what is in the folder: each folder on the way has the
/// "search" right for others.
pub(crate) fn open_to_all(folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    folder
        .ancestors()
        .all(|step| fs::metadata(step).is_ok_and(|metadata| metadata.mode() & 0o001 != 0))
}

/// Lets everybody read a tree (and run what its owner can run), whatever the umask was.
pub(crate) fn open_tree(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            open_tree(&entry.path())?;
        } else if kind.is_file() {
            let runs = entry.metadata()?.mode() & 0o100 != 0;
            let mode = if runs { 0o755 } else { 0o644 };
            fs::set_permissions(entry.path(), Permissions::from_mode(mode))?;
        }
    }
    Ok(())
}

/// Copies a tree with its symbolic links.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
