//! The file in the hands of the writing thread: open, lost, brought back. The states and what a
//! failure of each step leaves are in `DESIGN.md` beside this file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::Backup;

use super::super::failed;
use super::open::{self, Opened};
use super::place::{COMPANIONS, Fate, Identity, Place};
use super::{Content, LocalTable, number, salvage};
use crate::{Error, Kind, Result, Store};

#[derive(Debug)]
pub(super) struct Station {
    place: Arc<Place>,
    open: Option<Opened>,
    /// The installation that the file belongs to.
    installation: Option<u128>,
    /// A copy of the lost file that is still open.
    salvage: Option<PathBuf>,
    /// The last recovery put the whole file back.
    is_whole: bool,
}

impl Station {
    /// Opens the file.
    ///
    /// # Errors
    /// See [`super::Replica::open`].
    pub(super) fn start(place: Arc<Place>) -> Result<Station> {
        let _lock = place.was_ours().then(|| place.lock()).transpose()?;
        let mut station =
            Station { place, open: None, installation: None, salvage: None, is_whole: false };
        match open::connect(&station.place, None) {
            Ok(opened) => station.settle(opened),
            Err(error) if open::is_damage(&error) && station.place.was_ours() => {
                station.make_anew(&error)?;
            }
            Err(error) => return Err(error),
        }
        station.take_salvages()?;
        // From now on a file here that cannot be read is a damaged one of ours.
        if !station.place.was_ours() {
            drop(station.place.lock()?);
        }
        Ok(station)
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

    pub(super) fn fate(&self) -> Result<Fate> {
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
            let _lock = self.place.lock()?;
            let opened = open::connect(&self.place, self.installation)?;
            self.settle(opened);
            self.take_salvages()?;
        } else if self.place.fate()? != Fate::Same {
            self.recover()?;
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
        match place.fate()? {
            Fate::Same => return Ok(()),
            Fate::Emptied => {
                let message = "the file has no content any more";
                let cause =
                    Error::new(Kind::Schema(Store::Sqlite), "look at the SQLite file", message);
                return self.make_anew(&cause);
            }
            Fate::Missing => {
                tracing::error!(path = %place.path().display(), "the SQLite file was deleted while open");
            }
            Fate::Replaced => {
                tracing::error!(path = %place.path().display(), "the SQLite file was replaced while open");
            }
        }
        let salvage = self.copy_out()?;
        if let Some(open) = &self.open {
            remove_companions(&place, open);
        }
        if place.fate()? == Fate::Missing {
            self.put_back(&salvage)?;
        }
        let opened = match open::connect(&place, self.installation) {
            Err(error) if open::is_damage(&error) => {
                let aside = place.set_aside()?;
                tracing::error!(aside = %aside.display(), "what replaced the SQLite file is no database");
                self.put_back(&salvage)?;
                open::connect(&place, self.installation)
            }
            other => other,
        }?;
        self.settle(opened);
        self.salvage = None;
        self.take_salvages()
    }

    /// The file is damaged: it is set aside, and a new one is made with what can be read of what
    /// was pending.
    ///
    /// # Errors
    /// Those of renaming it and of opening the new one.
    pub(super) fn renew(&mut self) -> Result<()> {
        let place = Arc::clone(&self.place);
        let _lock = place.lock()?;
        if place.fate()? == Fate::Missing || place.fate()? == Fate::Replaced {
            // Another process has been faster.
            self.open = None;
            let opened = open::connect(&place, self.installation)?;
            self.settle(opened);
            return self.take_salvages();
        }
        let message = "SQLite reports that the file is damaged";
        let cause = Error::new(Kind::Schema(Store::Sqlite), "use the SQLite file", message);
        self.make_anew(&cause)
    }

    /// Gives the number back and closes the file.
    pub(super) fn close(self) {
        if let Some(open) = &self.open
            && self.place.fate().is_ok_and(|fate| fate == Fate::Same)
            && open.connection.busy_timeout(Duration::from_millis(100)).is_ok()
            && let Err(cause) = number::give_back(&open.connection, self.place.process())
        {
            tracing::debug!(%cause, "the writer number was not given back");
        }
    }

    fn settle(&mut self, opened: Opened) {
        self.place.settle(opened.identity);
        let content = Content::new(&opened.connection, self.place.tables());
        if let Ok(node) = content.node() {
            self.installation = node.installation.or(self.installation);
        }
        self.open = Some(opened);
    }

    /// With the lock held.
    fn make_anew(&mut self, cause: &Error) -> Result<()> {
        // Renamed while it is open: closing it then leaves what lies under its name alone.
        let aside = self.place.set_aside()?;
        self.place.sync_folder();
        tracing::error!(
            error = %cause.chain(),
            aside = %aside.display(),
            "the SQLite file is damaged: it was set aside and is rebuilt from PostgreSQL"
        );
        self.open = None;
        let opened = open::connect(&self.place, self.installation)?;
        self.settle(opened);
        match salvage::merge(&self.place, self.connection()?, &aside, self.installation) {
            Ok(report) => {
                tracing::warn!(
                    rows = report.taken,
                    unreadable = report.unreadable,
                    "what was pending was salvaged"
                );
            }
            Err(error) => {
                tracing::error!(error = %error.chain(), "nothing could be salvaged of the damaged file");
            }
        }
        self.take_salvages()
    }

    /// A copy of the file that is open, write-ahead log and all, beside the path.
    fn copy_out(&mut self) -> Result<PathBuf> {
        if let Some(salvage) = self.salvage.clone().filter(|salvage| salvage.exists()) {
            return Ok(salvage);
        }
        let operation = "copy out the SQLite file";
        let salvage = self.place.salvage();
        let copied = copy(self.connection()?, &salvage)
            .map_err(|cause| failed(operation, cause).about(salvage.display()));
        if copied.is_err() {
            let _ = std::fs::remove_file(&salvage);
        }
        copied?;
        self.place.sync_folder();
        self.salvage = Some(salvage.clone());
        Ok(salvage)
    }

    /// Puts the copy at the path, unless somebody else has put a file there.
    fn put_back(&mut self, salvage: &Path) -> Result<()> {
        let operation = "put the SQLite file back";
        // A hard link never replaces what is there; not every file system has them.
        match std::fs::hard_link(salvage, self.place.path()) {
            Ok(()) => {
                std::fs::remove_file(salvage).map_err(|cause| self.place.io(operation, cause))?;
            }
            Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => return Ok(()),
            Err(_) => std::fs::rename(salvage, self.place.path())
                .map_err(|cause| self.place.io(operation, cause))?,
        }
        self.place.sync_folder();
        self.salvage = None;
        self.is_whole = true;
        Ok(())
    }

    /// Merges every salvage that lies beside the file.
    fn take_salvages(&mut self) -> Result<()> {
        for salvage in self.place.salvages() {
            let merged =
                salvage::merge(&self.place, self.connection()?, &salvage, self.installation);
            match merged {
                Ok(report) => {
                    tracing::warn!(salvage = %salvage.display(), rows = report.taken, "a salvage was merged");
                    let mut name = salvage.as_os_str().to_owned();
                    name.push(".merged");
                    std::fs::rename(&salvage, PathBuf::from(name))
                        .map_err(|cause| self.place.io("put a salvage away", cause))?;
                }
                Err(error) if matches!(error.kind(), Kind::Schema(_) | Kind::Configuration) => {
                    tracing::warn!(salvage = %salvage.display(), error = %error.chain(), "a salvage is left alone");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn copy(connection: &Connection, to: &Path) -> rusqlite::Result<()> {
    let mut target = Connection::open(to)?;
    Backup::new(connection, &mut target)?.run_to_completion(1_024, Duration::ZERO, None)
}

/// What belonged to the lost file under its name would be played into the next one. Only what is
/// surely the lost one's: another program may have made the next already.
fn remove_companions(place: &Place, lost: &Opened) {
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
