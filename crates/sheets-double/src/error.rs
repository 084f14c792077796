//! What can go wrong before the double answers its first request.

use std::path::PathBuf;

/// Why a book, a fault or a listening address was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The book file cannot be read.
    #[error("cannot read book file {}", path.display())]
    ReadBook {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not a book: not JSON, or JSON of another shape.
    #[error("{origin}:{line}:{column}: {message}")]
    Book {
        /// The file, or `book` for text that came from elsewhere.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Byte within the line, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A fault's description does not follow the grammar of [`Fault`](crate::Fault).
    #[error("fault `{text}`: {reason}")]
    Fault {
        /// The description.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The address is taken or forbidden.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port asked for.
        port: u16,
        /// What the system said.
        source: std::io::Error,
    },
    /// The service account's key could not be made.
    #[error("cannot generate an RSA key")]
    Key,
}
