//! Where the file is: its path, the names beside it, and whether it is still the one that was
//! opened. Nothing here opens the file.

use std::fs::File as Plain;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::super::File;
use super::{LocalTable, Paused, Settings};
use crate::private::{self, Rights};
use crate::schema::Making;
use crate::stamp::Writer;
use crate::store::sqlite::kind_of;
use crate::{Error, Kind, Result, Store};

/// Which file a path leads to, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

/// What has become of the file at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileStatus {
    /// It is still there.
    Same,
    /// There is none.
    Missing,
    /// There is another.
    Replaced,
    /// It has no content any more, or next to none.
    Emptied,
}

/// What lies beside a database of SQLite under its name: write-ahead log, its index, and the
/// journal of a rollback.
pub(super) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// SQLite takes anything smaller for an empty database, and writes over it.
pub(super) const SMALLEST: u64 = 512;
/// Held while files are moved about; that it is there says that the file was ours.
pub(crate) const LOCK: &str = ".dual-lock";
const SALVAGE: &str = ".dual-salvage-";
const DAMAGED: &str = ".dual-damaged-";
const CORRUPT: &str = ".corrupt-";

/// What the threads of an open file share.
#[derive(Debug)]
pub(super) struct SharedFile {
    path: PathBuf,
    /// The path without symbolic links, as SQLite names what lies beside the file.
    real: Mutex<PathBuf>,
    busy: Duration,
    extensions: Vec<PathBuf>,
    tables: Arc<[LocalTable]>,
    /// Something may be made in it.
    makes: bool,
    /// Tables that are left alone.
    aside: Arc<[Paused]>,
    process: Uuid,
    number: AtomicU16,
    generation: AtomicU64,
    identity: Mutex<Option<Identity>>,
    /// Who may use the file, as it was last seen: what takes its place is for the same.
    rights: Mutex<Option<Rights>>,
    /// What could not be taken over of files that lie beside this one, in sentences.
    left: Mutex<Vec<String>>,
}

impl Identity {
    /// That of the path now.
    pub(super) fn of(path: &Path) -> Option<Identity> {
        let found = std::fs::metadata(path).ok()?;
        Some(Identity { device: found.dev(), inode: found.ino() })
    }
}

impl SharedFile {
    pub(super) fn new(settings: Settings) -> SharedFile {
        let path = File::literal(&settings.path);
        SharedFile {
            real: Mutex::new(resolve(&path)),
            path,
            busy: settings.busy,
            extensions: settings.extensions,
            makes: settings.making != Making::Nothing,
            aside: settings.aside,
            tables: settings
                .tables
                .iter()
                .map(|table| LocalTable::new(table, settings.making))
                .collect(),
            process: Uuid::now_v7(),
            number: AtomicU16::new(0),
            generation: AtomicU64::new(0),
            identity: Mutex::new(None),
            rights: Mutex::new(None),
            left: Mutex::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn busy(&self) -> Duration {
        self.busy
    }

    pub(super) fn extensions(&self) -> &[PathBuf] {
        &self.extensions
    }

    pub(super) fn tables(&self) -> &[LocalTable] {
        &self.tables
    }

    pub(super) fn makes(&self) -> bool {
        self.makes
    }

    /// Its tables are left alone: another one of the process has the file, and sees to it.
    pub(super) fn is_alone(&self) -> bool {
        let is_aside =
            |local: &LocalTable| self.aside.iter().any(|one| *one.table == *local.table.name());
        self.tables.iter().all(is_aside)
    }

    pub(super) fn aside(&self) -> &[Paused] {
        &self.aside
    }

    pub(super) fn process(&self) -> Uuid {
        self.process
    }

    pub(super) fn number(&self) -> Writer {
        Writer::new(self.number.load(Ordering::Acquire)).unwrap_or(Writer::MAX)
    }

    pub(super) fn set_number(&self, number: Writer) {
        self.number.store(number.number(), Ordering::Release);
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// From now on this is the file.
    pub(super) fn identify(&self, identity: Identity) {
        let mut held = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        *held = Some(identity);
        self.remember_rights();
        *self.real.lock().unwrap_or_else(PoisonError::into_inner) = resolve(&self.path);
    }

    fn remember_rights(&self) {
        let mut held = self.rights.lock().unwrap_or_else(PoisonError::into_inner);
        *held = Rights::of(&self.path).or(*held);
    }

    /// Of the file as it was last seen.
    pub(super) fn rights(&self) -> Option<Rights> {
        *self.rights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has become of the file that was opened.
    ///
    /// # Errors
    /// Unavailable if the folder cannot be looked at.
    pub(super) fn fate(&self) -> Result<FileStatus> {
        let held = *self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        match std::fs::metadata(&self.path) {
            Ok(found) => {
                let identity = Identity { device: found.dev(), inode: found.ino() };
                Ok(match held {
                    Some(held) if held != identity => FileStatus::Replaced,
                    _ if found.len() < SMALLEST => FileStatus::Emptied,
                    _ => FileStatus::Same,
                })
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(FileStatus::Missing),
            Err(cause) => Err(self.io("look at the SQLite file", cause)),
        }
    }

    /// A name beside the file: its own with something behind it.
    pub(super) fn beside(&self, suffix: &str) -> PathBuf {
        beside(&self.real(), suffix)
    }

    /// Where the file really is.
    pub(super) fn real(&self) -> PathBuf {
        self.real.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What could not be taken over, in sentences.
    pub(super) fn left(&self) -> Vec<String> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something could not be taken over; `None`: it is tried again from the start.
    pub(super) fn set_left(&self, sentence: Option<String>) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        match sentence {
            Some(sentence) => left.push(sentence),
            None => left.clear(),
        }
    }

    /// Where a copy of what would be lost is kept.
    pub(super) fn salvage(&self) -> PathBuf {
        self.beside(&format!("{SALVAGE}{}", Uuid::now_v7()))
    }

    /// The salvages that lie beside the file and have not been merged.
    pub(super) fn salvages(&self) -> Vec<PathBuf> {
        self.named(SALVAGE)
    }

    /// The damaged files that lie beside the file and from which nothing has been taken.
    pub(super) fn damaged(&self) -> Vec<PathBuf> {
        self.named(DAMAGED)
    }

    fn named(&self, kind: &str) -> Vec<PathBuf> {
        let real = self.real();
        let Some(name) = real.file_name().and_then(|name| name.to_str()) else {
            return Vec::new();
        };
        let prefix = format!("{name}{kind}");
        let Ok(entries) = std::fs::read_dir(self.folder()) else { return Vec::new() };
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                name.strip_prefix(&prefix).is_some_and(|id| Uuid::parse_str(id).is_ok())
            })
            .collect();
        found.sort();
        found
    }

    /// Moves the file with everything that belongs to it to another name.
    ///
    /// # Errors
    /// Those of renaming it.
    pub(super) fn set_aside(&self) -> Result<()> {
        self.remember_rights();
        let aside = self.beside(&format!("{DAMAGED}{}", Uuid::now_v7()));
        self.rename_all(&self.real(), &aside)?;
        self.sync_folder();
        Ok(())
    }

    /// The last name of a damaged file, when everything has been taken from it. The same whenever
    /// it is asked.
    pub(super) fn last_name(&self, damaged: &Path) -> PathBuf {
        let name = damaged.to_string_lossy();
        let (_, id) = name.rsplit_once(DAMAGED).unwrap_or(("", &name));
        self.beside(&format!("{CORRUPT}{id}"))
    }

    /// Gives it that name.
    ///
    /// # Errors
    /// Those of renaming it.
    pub(super) fn put_away(&self, damaged: &Path, name: &Path) -> Result<()> {
        self.rename_all(damaged, name)
    }

    /// The log first: a program that finds it without its file plays it into a new one.
    fn rename_all(&self, from: &Path, to: &Path) -> Result<()> {
        let operation = "set the damaged SQLite file aside";
        for companion in COMPANIONS {
            match std::fs::rename(beside(from, companion), beside(to, companion)) {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.io(operation, cause));
                }
                _ => {}
            }
        }
        std::fs::rename(from, to).map_err(|cause| self.io(operation, cause))
    }

    /// Makes sure that what was done to names in the folder outlives a power cut.
    pub(super) fn sync_folder(&self) {
        let synced = Plain::open(self.folder()).and_then(|folder| folder.sync_all());
        if let Err(cause) = synced {
            tracing::warn!(%cause, "the folder of the SQLite file could not be synced");
        }
    }

    pub(super) fn folder(&self) -> PathBuf {
        match self.real().parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.into(),
            _ => PathBuf::from("."),
        }
    }

    /// Whether the file, or one before it, was used by this program: only then is one that cannot
    /// be read taken for damaged and not for somebody's.
    pub(super) fn was_ours(&self) -> bool {
        self.beside(LOCK).exists()
    }

    /// Keeps other processes from moving files about, until the answer is dropped.
    ///
    /// # Errors
    /// Unavailable if another holds it for longer than the bound, access denied if the folder
    /// cannot be written.
    pub(super) fn lock(&self) -> Result<Plain> {
        let operation = "lock the name of the SQLite file";
        let lock = self.open_beside(LOCK).map_err(|cause| self.io(operation, cause))?;
        let begun = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(std::fs::TryLockError::WouldBlock) if begun.elapsed() < self.busy => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(std::fs::TryLockError::WouldBlock) => {
                    let message = "another process is recovering the file";
                    return Err(Error::new(Kind::Unavailable(Store::Sqlite), operation, message));
                }
                Err(std::fs::TryLockError::Error(cause)) => return Err(self.io(operation, cause)),
            }
        }
    }

    /// Opens what lies beside the file to be locked, for those who may use the file.
    pub(super) fn open_beside(&self, suffix: &str) -> std::io::Result<Plain> {
        let rights = Rights::of(&self.path).or_else(|| self.rights());
        private::open_beside(&self.beside(suffix), rights)
    }

    pub(super) fn io(&self, operation: &'static str, cause: std::io::Error) -> Error {
        Error::new(kind_of(&cause), operation, cause.to_string())
            .about(self.path.display())
            .with_hint("the SQLite file and its folder must be there and writable")
            .with_source(cause)
    }
}

/// A path with something behind it.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The path without symbolic links, as far as there is something.
fn resolve(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| {
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        match (std::fs::canonicalize(folder), path.file_name()) {
            (Ok(folder), Some(name)) => folder.join(name),
            _ => path.into(),
        }
    })
}

/// The file is not at the path now.
pub(super) fn moved(operation: &'static str) -> Error {
    Error::new(
        Kind::Unavailable(Store::Sqlite),
        operation,
        "the file was deleted or replaced while it was open",
    )
    .with_hint("it has been recovered; the call can be repeated")
}
