//! Files that hold people's data: made so that nobody else can read them, from their first moment on.
//!
//! A file that is there already is somebody's decision and keeps its permissions; that others can
//! read it is told. Nothing here follows a link that is no file's yet.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use rustix::fs::OFlags;

/// Makes an empty file that only its owner can read and write.
///
/// # Errors
/// `AlreadyExists` if the name is taken, by a link too; others of the system.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Puts an empty file at the path, for its owner alone or for those who have these rights. It is made
/// under another name: closing a file drops the locks that SQLite, in another thread, has on it.
///
/// # Errors
/// As [`create`].
pub(crate) fn place(path: &Path, rights: Option<Rights>) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".dual-new-{}", uuid::Uuid::now_v7()));
    let new = Path::new(&name);
    let file = create(new)?;
    let placed = rights
        .map_or(Ok(()), |rights| rights.give(&file))
        // Never replaces what is there; not every file system has it.
        .and_then(|()| match std::fs::hard_link(new, path) {
            Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                create(path).and_then(|file| rights.map_or(Ok(()), |rights| rights.give(&file)))
            }
            linked => linked,
        });
    drop(file);
    std::fs::remove_file(new).and(placed)
}

/// Opens a file that is there to be written anew, and no link in its place.
///
/// # Errors
/// Those of the system.
pub fn replace(path: &Path) -> io::Result<File> {
    // Emptied only when it is known to be none of the folder's devices and pipes.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32;
    let file = OpenOptions::new().write(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    file.set_len(0)?;
    Ok(file)
}

/// Opens a file without content beside another one, or makes it for those who may use that one, whose
/// rights these are.
///
/// # Errors
/// Those of the system.
pub(crate) fn open_beside(path: &Path, rights: Option<Rights>) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits() as i32;
    let open = || OpenOptions::new().read(true).write(true).custom_flags(flags).open(path);
    match create(path) {
        Ok(file) => {
            if let Some(rights) = rights {
                rights.give(&file)?;
            }
            Ok(file)
        }
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => open(),
        Err(cause) => Err(cause),
    }
}

/// Who may do what with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    mode: u32,
    owner: u32,
    group: u32,
}

impl Rights {
    /// Those of the file at the path, if there is one.
    pub(crate) fn of(path: &Path) -> Option<Rights> {
        std::fs::metadata(path).ok().map(|found| Rights::found(&found))
    }

    fn found(found: &std::fs::Metadata) -> Rights {
        Rights { mode: found.mode() & 0o777, owner: found.uid(), group: found.gid() }
    }

    /// The same owner, and nobody else.
    pub(crate) fn alone(self) -> Rights {
        Rights { mode: 0o600, ..self }
    }

    /// Gives them to a file. If it cannot be given away, it stays with whoever has made it, and
    /// nobody else can read it.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn give(self, file: &File) -> io::Result<()> {
        let now = Rights::found(&file.metadata()?);
        let is_same = (now.owner, now.group) == (self.owner, self.group);
        if is_same || fchown(file, Some(self.owner), Some(self.group)).is_ok() {
            file.set_permissions(Permissions::from_mode(self.mode))?;
        }
        Ok(())
    }

    /// How it is written, if others than the owner may read or write it.
    pub(crate) fn exposed(self) -> Option<String> {
        (self.mode & 0o066 != 0).then(|| format!("{:04o}", self.mode))
    }
}

/// The permissions of the file at the path, as four octal digits, if others than its owner may read
/// or write it.
#[must_use]
pub fn exposed(path: &Path) -> Option<String> {
    Rights::of(path)?.exposed()
}
