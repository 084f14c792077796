//! A copy of the file beside itself, before anything is done to it: whoever regrets the joining has
//! the file as it was.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::clock;
use crate::error::{Error, Kind, Result, Store};
use crate::private::{self, Rights};
use crate::store::sqlite::{File, failed, kind_of};

const OPERATION: &str = "copy the SQLite file before it is joined";

/// How long a lock of somebody else's is let be before it is tried again.
const PAUSE: Duration = Duration::from_millis(20);

/// Copies the file, if there is anything in it, with what stands in its write-ahead log, under a name
/// that nobody has; another program's lock is waited for no longer than `busy`. Returns where the copy
/// is.
///
/// # Errors
/// Access denied, no space, unavailable: then there is no copy, and nothing was changed.
pub(super) async fn copy(path: PathBuf, busy: Duration) -> Result<Option<PathBuf>> {
    let copied = tokio::task::spawn_blocking(move || copy_now(&path, busy)).await;
    let lost =
        |cause| Error::new(Kind::Internal, OPERATION, "the work ended early").with_source(cause);
    copied.map_err(lost).flatten().map_err(explained)
}

/// What a person can do about it depends on what it was.
fn explained(error: Error) -> Error {
    let hint = match error.kind() {
        Kind::NoSpace(_) => {
            "nothing was changed; free space on its disk, or leave the copy out with --no-copy"
        }
        Kind::AccessDenied => "nothing was changed; make the file and its folder writable",
        Kind::Unavailable(_) => {
            "nothing was changed; close the program that holds the file, and repeat the command"
        }
        _ => "nothing was changed; mend the file first, or leave the copy out with --no-copy",
    };
    error.with_hint(hint)
}

fn copy_now(path: &Path, busy: Duration) -> Result<Option<PathBuf>> {
    let wrap = |cause| failed(OPERATION, cause).about(path.display());
    let file = File::look(path)?;
    if !file.existed {
        return Ok(None);
    }
    // Beside the file itself, where its log has to be written too, and not beside a link to it.
    let path = fs::canonicalize(&file.path).map_err(|cause| io(path, cause))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(&path, flags).map_err(wrap)?;
    source.busy_timeout(busy).map_err(wrap)?;
    let count = "SELECT count(*) FROM sqlite_schema";
    if source.query_row(count, [], |row| row.get::<_, i64>(0)).map_err(wrap)? == 0 {
        return Ok(None);
    }
    let target = reserve(&path)?;
    let copied = fill(&source, &target, busy).and_then(|()| entitle(&path, &target));
    if let Err(error) = copied {
        // What is left of it is no copy.
        for suffix in ["", "-journal", "-wal", "-shm"] {
            let _ = fs::remove_file(with_suffix(&target, suffix));
        }
        return Err(error);
    }
    Ok(Some(target))
}

/// Makes an empty file that nobody else can read, with the moment in its name.
fn reserve(path: &Path) -> Result<PathBuf> {
    let moment = clock::now().strftime("%Y%m%d-%H%M%S").to_string();
    let mut tries = 1;
    loop {
        let again = if tries > 1 { format!("-{tries}") } else { String::new() };
        let target = with_suffix(path, &format!(".before-dual-{moment}{again}"));
        match private::create(&target) {
            Ok(_) => return Ok(target),
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => tries += 1,
            Err(cause) => return Err(io(&target, cause)),
        }
    }
}

/// In one step: a write of somebody else's in between would make it begin again.
fn fill(source: &Connection, target: &Path, busy: Duration) -> Result<()> {
    let wrap = |cause| failed(OPERATION, cause).about(target.display());
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(target, flags).map_err(wrap)?;
    let backup = Backup::new(source, &mut copy).map_err(wrap)?;
    let begun = Instant::now();
    loop {
        match backup.step(-1).map_err(wrap)? {
            StepResult::Done => break,
            _ if begun.elapsed() >= busy => {
                let message = "another process holds the file";
                return Err(Error::new(Kind::Unavailable(Store::Sqlite), OPERATION, message));
            }
            _ => std::thread::sleep(PAUSE),
        }
    }
    drop(backup);
    copy.close().map_err(|(_, cause)| wrap(cause))
}

/// It is its owner's, whoever has made it, and nobody else's; it is on the disk then.
fn entitle(path: &Path, target: &Path) -> Result<()> {
    if let Some(rights) = Rights::of(path) {
        let given = fs::File::open(target).and_then(|file| rights.alone().give(&file));
        given.map_err(|cause| io(target, cause))?;
    }
    let folder = target.parent().unwrap_or(Path::new("."));
    let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|cause| io(folder, cause))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn io(path: &Path, cause: std::io::Error) -> Error {
    Error::new(kind_of(&cause), OPERATION, format!("{}: {cause}", path.display()))
        .with_source(cause)
}
