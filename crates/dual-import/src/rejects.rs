//! The file of rejects: CSV or JSON lines, by its ending.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use dual_database::error::{Error, Kind, Result};
use dual_database::private;

use super::report::SetAside;

/// The columns of the CSV form, in their order.
const COLUMNS: [&str; 8] =
    ["row", "cell", "column", "outcome", "code", "reason", "raw", "displayed"];

enum Form {
    Csv(Box<csv::Writer<BufWriter<File>>>),
    JsonLines(BufWriter<File>),
}

fn make(path: &Path) -> std::io::Result<File> {
    match private::create(path) {
        Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {
            if path.is_symlink() {
                return Err(std::io::Error::other("it is a link: name the file itself"));
            }
            let file = private::replace(path)?;
            if let Some(permissions) = private::exposed(path) {
                tracing::warn!(
                    path = %path.display(),
                    permissions,
                    "others than its owner can read the file of rejects, which is replaced; `chmod \
                     600` keeps it for its owner"
                );
            }
            Ok(file)
        }
        made => made,
    }
}

/// Writes rows and cells that were set aside into a file: `.csv` (with a heading) or `.jsonl`.
pub struct RejectsFile {
    path: PathBuf,
    form: Form,
}

impl std::fmt::Debug for RejectsFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RejectsFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl RejectsFile {
    /// Checks the ending only; call it before any work, so that a wrong name costs nothing.
    ///
    /// # Errors
    /// [`Kind::Configuration`] for another ending than `.csv` and `.jsonl`.
    pub fn check(path: &Path) -> Result<()> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv" | "jsonl") => Ok(()),
            _ => Err(Error::new(
                Kind::Configuration,
                "name the file of rejects",
                format!("{} ends in neither .csv nor .jsonl", path.display()),
            )
            .with_hint("give --rejects rejects.csv or --rejects rejects.jsonl")),
        }
    }

    /// Makes the file, which nobody else can read; an older one is emptied and keeps its permissions, a
    /// link is refused.
    ///
    /// # Errors
    /// [`Kind::Configuration`] for another ending, [`Kind::AccessDenied`] if it cannot be made.
    pub fn create(path: &Path) -> Result<RejectsFile> {
        RejectsFile::check(path)?;
        let file = BufWriter::new(make(path).map_err(|cause| {
            Error::new(
                Kind::AccessDenied,
                "make the file of rejects",
                format!("{}: {cause}", path.display()),
            )
            .with_source(cause)
        })?);
        let json = path.extension().is_some_and(|ending| ending == "jsonl");
        let mut made = RejectsFile {
            path: path.into(),
            form: if json {
                Form::JsonLines(file)
            } else {
                Form::Csv(Box::new(csv::WriterBuilder::new().has_headers(false).from_writer(file)))
            },
        };
        if let Form::Csv(writer) = &mut made.form {
            let written = writer.write_record(COLUMNS);
            written.map_err(|cause| made.failed(cause))?;
        }
        Ok(made)
    }

    /// Adds one.
    ///
    /// # Errors
    /// [`Kind::AccessDenied`] if the file cannot be written.
    pub fn add(&mut self, aside: &SetAside) -> Result<()> {
        let line = aside.line();
        let written = match &mut self.form {
            Form::Csv(writer) => writer.serialize(line).map_err(std::io::Error::other),
            Form::JsonLines(writer) => serde_json::to_writer(&mut *writer, &line)
                .map_err(std::io::Error::other)
                .and_then(|()| writer.write_all(b"\n")),
        };
        written.map_err(|cause| self.failed(cause))
    }

    /// Writes out what is still buffered.
    ///
    /// # Errors
    /// [`Kind::AccessDenied`] if the file cannot be written.
    pub fn finish(mut self) -> Result<()> {
        let flushed = match &mut self.form {
            Form::Csv(writer) => writer.flush(),
            Form::JsonLines(writer) => writer.flush(),
        };
        flushed.map_err(|cause| self.failed(cause))
    }

    fn failed(&self, cause: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::new(
            Kind::AccessDenied,
            "write the file of rejects",
            format!("{}: {cause}", self.path.display()),
        )
        .with_source(cause)
    }
}
