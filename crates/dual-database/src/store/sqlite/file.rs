use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use super::functions::define_functions;
use super::{failed, kind_of};
use crate::error::{Error, Kind, Result, Store};
use crate::private::{self, Rights};

/// The name under which the store's file is attached to a connection.
pub const SCHEMA: &str = "store";

/// A SQLite file as it was found before anything was done to it.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it was there.
    pub existed: bool,
    /// Extensions of SQLite that every connection to it loads.
    pub extensions: Vec<PathBuf>,
}

impl File {
    /// The path so that SQLite takes it for a file: it would take a name that begins with `:` or
    /// `file:` for a database in memory and for a URI.
    #[must_use]
    pub fn literal(path: &Path) -> PathBuf {
        let name = path.as_os_str().as_encoded_bytes();
        if name.starts_with(b":") || name.starts_with(b"file:") {
            Path::new(".").join(path)
        } else {
            path.into()
        }
    }

    /// Looks at the path without opening it.
    ///
    /// # Errors
    /// [`Kind::Configuration`] for an empty path, a folder, a path that is no regular file,
    /// or whose folder does not exist.
    pub fn look(path: &Path) -> Result<File> {
        let operation = "look at the SQLite path";
        let wrong = |message: String| Error::new(Kind::Configuration, operation, message);
        if path.as_os_str().is_empty() {
            return Err(wrong("the path is empty".into()).with_hint("give --sqlite-db-path FILE"));
        }
        let here = File::literal(path);
        let path = here.as_path();
        let shown = path.display();
        match std::fs::metadata(path) {
            Ok(found) if found.is_file() => {
                Ok(File { path: path.into(), existed: true, extensions: Vec::new() })
            }
            Ok(found) if found.is_dir() => Err(wrong(format!("{shown} is a folder"))
                .with_hint("name a file in it, such as users.db")),
            Ok(_) => Err(wrong(format!("{shown} is not a regular file"))),
            Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => {
                let folder = match path.parent() {
                    Some(parent) if !parent.as_os_str().is_empty() => parent,
                    _ => Path::new("."),
                };
                if folder.is_dir() {
                    Ok(File { path: path.into(), existed: false, extensions: Vec::new() })
                } else {
                    Err(wrong(format!("the folder {} does not exist", folder.display()))
                        .with_hint("create the folder, or correct --sqlite-db-path"))
                }
            }
            Err(cause) => {
                Err(Error::new(Kind::AccessDenied, operation, format!("{shown}: {cause}"))
                    .with_hint("the SQLite file and its folder must be readable and writable")
                    .with_source(cause))
            }
        }
    }
}

/// Makes the file, empty, for its owner alone or for those who have these rights; what SQLite puts
/// beside it takes its permissions from it. One that somebody else has made meanwhile is left as it is.
///
/// # Errors
/// [`Kind::Configuration`] if a link is there that leads nowhere; those of the system.
pub fn make(path: &Path, rights: Option<Rights>) -> Result<()> {
    let operation = "make the SQLite file";
    let shown = path.display();
    match private::place(path, rights) {
        Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {
            if path.exists() {
                return Ok(());
            }
            let message = format!("{shown} is a link to a file that is not there");
            Err(Error::new(Kind::Configuration, operation, message).with_hint(
                "give the path of the file itself, or make it there: an empty one is enough",
            ))
        }
        made => made.map_err(|cause| {
            // The folder is there: it is one that takes no files.
            let takes_none = cause.kind() == std::io::ErrorKind::NotFound;
            let kind = if takes_none { Kind::AccessDenied } else { kind_of(&cause) };
            Error::new(kind, operation, format!("{shown}: {cause}"))
                .with_hint("make the folder writable, or choose another --sqlite-db-path")
                .with_source(cause)
        }),
    }
}

/// Attaches the file as schema `store` and makes sure that it is a database that can be
/// read; `busy` bounds every wait for another process's lock. It is there: see `make`.
///
/// # Errors
/// [`Kind::Schema`] if it is no database, [`Kind::AccessDenied`] if it cannot be opened,
/// [`Kind::Unavailable`] if another process holds it longer than `busy`.
pub fn attach(connection: &Connection, file: &File, busy: Duration) -> Result<()> {
    let operation = "open the SQLite file";
    let path = file
        .path
        .to_str()
        .ok_or_else(|| Error::new(Kind::Configuration, operation, "the path is not valid UTF-8"))?;
    let with_path = |cause| failed(operation, cause).about(file.path.display());
    define_functions(connection, &file.extensions)?;
    connection.busy_timeout(busy).map_err(|cause| failed(operation, cause))?;
    connection.execute(&format!("ATTACH ?1 AS {SCHEMA}"), [path]).map_err(with_path)?;
    connection
        .query_row(&format!("SELECT count(*) FROM {SCHEMA}.sqlite_schema"), [], |row| {
            row.get::<_, i64>(0)
        })
        .map_err(with_path)?;
    if connection.is_readonly(SCHEMA).map_err(|cause| failed(operation, cause))? {
        return Err(Error::new(
            Kind::AccessDenied,
            operation,
            format!("{} is read-only for this user", file.path.display()),
        )
        .with_hint("make the file and its folder writable, or choose another --sqlite-db-path"));
    }
    Ok(())
}

/// Removes a file that was not there before and that nobody has written to: an attempt that
/// failed leaves no trace. Call it only after the connection is closed.
pub fn remove_if_empty(file: &File) {
    let untouched = !file.existed
        && std::fs::metadata(&file.path).is_ok_and(|found| found.is_file() && found.len() == 0);
    if untouched && let Err(cause) = std::fs::remove_file(&file.path) {
        tracing::warn!(store = %Store::Sqlite, %cause, "an empty database file could not be removed");
    }
}
