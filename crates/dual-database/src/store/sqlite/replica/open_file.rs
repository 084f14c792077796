//! The file in the hands of the writing thread: open, lost, brought back. The states and what a
//! failure of each step leaves are in `DESIGN.md` beside this file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

use super::super::failed;
use super::open::{self, Opened};
use super::place::{COMPANIONS, FileStatus, Identity, SharedFile, beside};
use super::salvage::{self, Extent, SalvageReport};
use super::{Content, Damage, LocalTable, number};
use crate::{Error, Kind, Result, Store, private};

#[derive(Debug)]
pub(super) struct OpenFile {
    place: Arc<SharedFile>,
    open: Option<Opened>,
    /// The installation that the file belongs to.
    installation: Option<u128>,
    /// A copy of the lost file that is still open.
    salvage: Option<PathBuf>,
    /// The last recovery put the whole file back.
    is_whole: bool,
}

impl OpenFile {
    /// Opens the file.
    ///
    /// # Errors
    /// See [`super::Replica::open`].
    pub(super) fn start(place: Arc<SharedFile>) -> Result<OpenFile> {
        let _lock = place.was_ours().then(|| place.lock()).transpose()?;
        let mut open_file =
            OpenFile { place, open: None, installation: None, salvage: None, is_whole: false };
        match open::connect(&open_file.place, None) {
            Ok(opened) => open_file.use_file(opened),
            Err(error) if open::is_damage(&error) && open_file.place.was_ours() => {
                open_file.make_anew(&error)?;
            }
            Err(error) => return Err(error),
        }
        open_file.take_over()?;
        // From now on a file here that cannot be read is a damaged one of ours.
        if !open_file.place.was_ours() {
            drop(open_file.place.lock()?);
        }
        open_file.place.warn_exposure();
        Ok(open_file)
    }

    pub(super) fn tables(&self) -> &[LocalTable] {
        self.place.tables()
    }

    pub(super) fn connection(&self) -> Result<&Connection> {
        self.open.as_ref().map(|open| &open.connection).ok_or_else(|| {
            Error::new(
                Kind::Unavailable(Store::Sqlite),
                "use the SQLite file",
                "the file could not be opened again",
            )
        })
    }

    pub(super) fn fate(&self) -> Result<FileStatus> {
        self.place.fate()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Makes sure that the file at the path is open; says its generation.
    ///
    /// # Errors
    /// Those of bringing it back.
    pub(super) fn ready(&mut self) -> Result<u64> {
        if self.open.is_none() {
            let place = Arc::clone(&self.place);
            let _lock = place.lock()?;
            self.reopen()?;
        } else if self.place.fate()? != FileStatus::Same {
            self.recover()?;
        } else if let Some(stale) = self.salvage.take() {
            // Somebody has put our file back.
            let _ = std::fs::remove_file(stale);
        }
        Ok(self.place.generation())
    }

    /// Brings the file back after it was deleted or replaced: what is in the one that is still
    /// open is kept, and goes on at the path.
    ///
    /// # Errors
    /// About the schema if a foreign file is there; those of copying and opening. Then the old
    /// one stays open, and it is tried again.
    pub(super) fn recover(&mut self) -> Result<()> {
        let place = Arc::clone(&self.place);
        let _lock = place.lock()?;
        self.is_whole = false;
        let fate = place.fate()?;
        match fate {
            FileStatus::Same => return Ok(()),
            FileStatus::Emptied => {
                let message = "the file has no content any more";
                let cause =
                    Error::new(Kind::Schema(Store::Sqlite), "look at the SQLite file", message);
                return self.make_anew(&cause);
            }
            FileStatus::Missing | FileStatus::Replaced => {}
        }
        if self.salvage.is_none() {
            tracing::error!(path = %place.path().display(), ?fate, "the SQLite file was lost while open");
        }
        self.remember_installation();
        let salvage = self.copy_out()?;
        if let Some(open) = &self.open {
            remove_companions(&place, open);
        }
        if place.fate()? == FileStatus::Missing {
            self.put_back(&salvage)?;
        }
        match self.reopen() {
            Err(error) if open::is_damage(&error) => {
                tracing::error!(error = %error.chain(), "what replaced the SQLite file is no database");
                place.set_aside()?;
                self.put_back(&salvage)?;
                self.reopen()
            }
            other => other,
        }
    }

    /// The file is damaged: it is set aside, and a new one is made with what can be read of it.
    ///
    /// # Errors
    /// Those of renaming it and of opening the new one.
    pub(super) fn renew(&mut self) -> Result<()> {
        let place = Arc::clone(&self.place);
        if place.is_alone() {
            let message = "the file is damaged: it is made anew with the tables that are followed";
            let error =
                Error::new(Kind::Unavailable(Store::Sqlite), "use the SQLite file", message);
            return Err(error.with_hint("`dual status` says when that is done"));
        }
        let _lock = place.lock()?;
        match place.fate()? {
            FileStatus::Same | FileStatus::Emptied => {
                let message = "SQLite reports that the file is damaged";
                let cause = Error::new(Kind::Schema(Store::Sqlite), "use the SQLite file", message);
                self.make_anew(&cause)
            }
            // Another process has been faster.
            FileStatus::Missing | FileStatus::Replaced => {
                self.open = None;
                self.reopen()
            }
        }
    }

    /// Gives the number back and closes the file. One that was deleted is put back before.
    pub(super) fn close(mut self) {
        if self.open.is_some()
            && self.place.fate().is_ok_and(|fate| fate != FileStatus::Same)
            && let Err(error) = self.recover()
        {
            tracing::error!(error = %error.chain(), "the SQLite file could not be put back");
        }
        if let Some(open) = &self.open
            && self.place.fate().is_ok_and(|fate| fate == FileStatus::Same)
            && open.connection.busy_timeout(Duration::from_millis(100)).is_ok()
            && let Err(cause) = number::give_back(&open.connection, self.place.process())
        {
            tracing::debug!(%cause, "the writer number was not given back");
        }
    }

    /// Opens the file at the path, and takes over what lies beside it. With the lock held.
    fn reopen(&mut self) -> Result<()> {
        let opened = open::connect(&self.place, self.installation)?;
        self.use_file(opened);
        self.salvage = None;
        self.take_over()
    }

    /// Takes over what lies beside the file, unless that is somebody else's to do.
    fn take_over(&mut self) -> Result<()> {
        if self.place.is_alone() {
            return Ok(());
        }
        self.take_damaged()?;
        self.take_salvages()
    }

    fn use_file(&mut self, opened: Opened) {
        self.place.identify(opened.identity);
        self.open = Some(opened);
        self.remember_installation();
    }

    /// It is met at PostgreSQL, while the file is open.
    fn remember_installation(&mut self) {
        if let Some(open) = &self.open
            && let Ok(node) = self.content(&open.connection).node()
        {
            self.installation = node.installation.or(self.installation);
        }
    }

    fn content<'c>(&'c self, connection: &'c Connection) -> Content<'c> {
        Content::new(connection, self.place.tables(), self.place.generation())
    }

    /// With the lock held.
    fn make_anew(&mut self, cause: &Error) -> Result<()> {
        tracing::error!(
            error = %cause.chain(),
            path = %self.place.path().display(),
            "the SQLite file is damaged: it is set aside and rebuilt from PostgreSQL"
        );
        // Renamed while it is open: closing it then leaves what lies under its name alone.
        self.remember_installation();
        self.place.set_aside()?;
        self.open = None;
        self.reopen()
    }

    /// Takes over what can be read in damaged files.
    fn take_damaged(&mut self) -> Result<()> {
        self.place.set_left(None);
        for damaged in self.place.damaged() {
            let merged = salvage::merge(
                &self.place,
                self.connection()?,
                &damaged,
                self.installation,
                Extent::Whole,
            );
            let report = match merged {
                Ok(report) => {
                    tracing::warn!(
                        rows = report.taken,
                        unreadable = report.unreadable,
                        refused = report.refused,
                        "what can be read of the damaged file was taken over"
                    );
                    Some(report)
                }
                Err(error) if is_about(&error) => {
                    tracing::error!(error = %error.chain(), "nothing can be read of the damaged file");
                    None
                }
                Err(error) => return Err(error),
            };
            // What is left alone cannot be taken over yet.
            let aside = match self.place.aside().is_empty() {
                true => self.place.last_name(&damaged),
                false => self.place.salvage(),
            };
            self.note_damage(&Damage {
                noted_ms: crate::clock::now().as_millisecond(),
                taken: report.map_or(0, |report| report.taken),
                unreadable: report.and_then(SalvageReport::lost),
                refused: report.map_or(0, |report| report.refused),
                aside: aside.display().to_string(),
            })?;
            self.place.put_away(&damaged, &aside)?;
            tracing::warn!(aside = %aside.display(), "the damaged file is kept");
        }
        Ok(())
    }

    /// On disk before the damaged file has its last name: from then on nothing else tells of it.
    fn note_damage(&self, damage: &Damage) -> Result<()> {
        let connection = self.connection()?;
        connection
            .execute_batch("PRAGMA synchronous = FULL")
            .map_err(|cause| failed("note a damage", cause))?;
        self.content(connection).note_damage(damage)
    }

    /// A copy of the file that is open, write-ahead log and all, beside the path.
    fn copy_out(&mut self) -> Result<PathBuf> {
        if let Some(salvage) = self.salvage.clone().filter(|salvage| salvage.exists()) {
            return Ok(salvage);
        }
        let operation = "copy out the SQLite file";
        let salvage = self.place.salvage();
        let file = private::create(&salvage).map_err(|cause| self.place.io(operation, cause))?;
        let copied = copy(self.connection()?, &salvage)
            .map_err(|cause| failed(operation, cause).about(salvage.display()));
        if copied.is_err() {
            let _ = std::fs::remove_file(&salvage);
        }
        copied?;
        // It is put back as the file, or taken over by whichever process opens that next.
        if let Some(rights) = self.place.rights() {
            rights.give(&file).map_err(|cause| self.place.io(operation, cause))?;
        }
        self.place.sync_folder();
        self.salvage = Some(salvage.clone());
        Ok(salvage)
    }

    /// Puts the copy at the path, unless somebody else has put a file there.
    fn put_back(&mut self, salvage: &Path) -> Result<()> {
        let operation = "put the SQLite file back";
        let real = self.place.real();
        // A hard link never replaces what is there; not every file system has them.
        match std::fs::hard_link(salvage, &real) {
            Ok(()) => {
                std::fs::remove_file(salvage).map_err(|cause| self.place.io(operation, cause))?;
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            Err(_) => {
                std::fs::rename(salvage, &real).map_err(|cause| self.place.io(operation, cause))?;
            }
        }
        self.place.sync_folder();
        self.salvage = None;
        self.is_whole = true;
        Ok(())
    }

    /// Merges every salvage that lies beside the file. One of which something is left stays as it
    /// is, to be tried again at the next opening: what is pending in it is nowhere else.
    fn take_salvages(&mut self) -> Result<()> {
        for salvage in self.place.salvages() {
            let merged = salvage::merge(
                &self.place,
                self.connection()?,
                &salvage,
                self.installation,
                Extent::Pending,
            );
            match merged {
                Ok(report) if !report.is_complete() => {
                    let sentence = format!(
                        "{}: {} rows are refused by the table, {} cannot be read",
                        salvage.display(),
                        report.refused,
                        report.unreadable
                    );
                    tracing::error!(rows = report.taken, left = sentence, "a salvage stays");
                    self.place.set_left(Some(sentence));
                }
                // It stays for what is left alone.
                Ok(_) if !self.place.aside().is_empty() => {}
                Ok(report) => {
                    tracing::warn!(salvage = %salvage.display(), rows = report.taken, "a salvage was merged");
                    std::fs::rename(&salvage, beside(&salvage, ".merged"))
                        .map_err(|cause| self.place.io("put a salvage away", cause))?;
                }
                Err(error) if is_about(&error) => {
                    tracing::warn!(salvage = %salvage.display(), error = %error.chain(), "a salvage is left alone");
                    let sentence = format!("{}: {}", salvage.display(), error.message());
                    self.place.set_left(Some(sentence));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether the file that was to be merged is none of ours, or cannot be read: trying again does
/// not help.
fn is_about(error: &Error) -> bool {
    matches!(error.kind(), Kind::Schema(_) | Kind::Configuration | Kind::Internal)
}

fn copy(connection: &Connection, to: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target = Connection::open_with_flags(to, flags)?;
    Backup::new(connection, &mut target)?.run_to_completion(1_024, Duration::ZERO, None)
}

/// What belonged to the lost file under its name would be played into the next one. Only what is
/// surely the lost one's: another program may have made the next already.
fn remove_companions(place: &SharedFile, lost: &Opened) {
    for (companion, identity) in COMPANIONS.iter().zip(&lost.companions) {
        let path = place.beside(companion);
        if identity.is_some()
            && Identity::of(&path) == *identity
            && let Err(cause) = std::fs::remove_file(&path)
        {
            tracing::warn!(%cause, "a file of the lost database could not be removed");
        }
    }
}
