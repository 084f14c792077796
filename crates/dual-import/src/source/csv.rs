//! A CSV file, streamed: a thread of its own reads and decodes, a few pages ahead at most.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::thread;

use csv::{ByteRecord, Reader, ReaderBuilder};
use dual_database::error::{Error, Kind, Result};
use tokio::sync::mpsc;

use super::{Cell, Page, SourceRow};
use crate::{Event, Observer};

const OPERATION: &str = "read the CSV file";
const PAGE_ROWS: usize = 1_000;
/// A page ends early at this many bytes.
const PAGE_BYTES: usize = 1_000_000;
/// Pages decoded ahead of the one that is being used.
const AHEAD: usize = 2;
/// So much of the beginning is looked at for the delimiter and the encoding.
const SAMPLE: u64 = 64 * 1024;
/// No record is larger; a quote that is never closed would otherwise swallow the file.
const LARGEST_RECORD: u64 = 8 * 1024 * 1024;
/// A record put behind the file's end: if it does not come out as one of its own, a quote
/// was open.
const SENTINEL: &str = "\u{1}end of file\u{1}";

/// A CSV file that is being read.
#[derive(Debug)]
pub struct CsvSource {
    name: String,
    pages: mpsc::Receiver<Result<Vec<SourceRow>>>,
    rows: u64,
}

impl CsvSource {
    /// Opens a file: UTF-8, with or without a byte order mark; the delimiter (comma,
    /// semicolon or tab) is recognised from the first line; quoted fields may hold line
    /// breaks; records may differ in length.
    ///
    /// # Errors
    /// [`Kind::SourceUnavailable`]: missing, a folder, unreadable. [`Kind::AccessDenied`]: no
    /// right to read it. [`Kind::InvalidData`]: another encoding or another sort of file.
    pub async fn open(path: impl Into<PathBuf>) -> Result<CsvSource> {
        let path = path.into();
        let name = path.display().to_string();
        let (pages, receiver) = mpsc::channel(AHEAD);
        let (opened, opening) = tokio::sync::oneshot::channel();
        let file = name.clone();
        thread::Builder::new()
            .name("csv".to_string())
            .spawn(move || match Decoder::open(&path, file) {
                Ok(decoder) => {
                    if opened.send(Ok(())).is_ok() {
                        decoder.run(&pages);
                    }
                }
                // Nobody waits any more: nothing to tell.
                Err(error) => drop(opened.send(Err(error))),
            })
            .map_err(|error| {
                Error::new(Kind::Internal, OPERATION, "no thread for it").with_source(error)
            })?;
        opening.await.map_err(|_| stopped(&name))??;
        Ok(CsvSource { name, pages: receiver, rows: 0 })
    }

    /// For reports: `file …`.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("file {}", self.name)
    }

    /// The next rows; see [`super::Source::next_page`].
    ///
    /// # Errors
    /// [`Kind::InvalidData`]: not UTF-8, a quote that is never closed;
    /// [`Kind::SourceUnavailable`]: the file cannot be read on.
    pub async fn next_page(&mut self, observer: &dyn Observer) -> Result<Page> {
        let Some(page) = self.pages.recv().await else { return Ok(Page::End) };
        let rows = page?;
        self.rows += u64::try_from(rows.len()).unwrap_or(u64::MAX);
        observer.event(Event::Read { rows: self.rows, total: None });
        Ok(Page::Rows(rows))
    }
}

fn stopped(name: &str) -> Error {
    Error::new(Kind::Internal, OPERATION, format!("the reader of {name} stopped"))
}

fn unreadable(name: &str, error: std::io::Error) -> Error {
    let (kind, message) = match error.kind() {
        std::io::ErrorKind::NotFound => {
            (Kind::SourceUnavailable, format!("there is no file {name}"))
        }
        std::io::ErrorKind::PermissionDenied => {
            (Kind::AccessDenied, format!("{name} may not be read by this user"))
        }
        std::io::ErrorKind::IsADirectory => {
            (Kind::SourceUnavailable, format!("{name} is a folder"))
        }
        _ => (Kind::SourceUnavailable, format!("{name} cannot be read")),
    };
    Error::new(kind, OPERATION, message).with_source(error)
}

struct Decoder {
    name: String,
    records: Reader<Bounded>,
    /// The record read last; its memory is used again.
    record: ByteRecord,
    number: u64,
}

impl Decoder {
    fn open(path: &Path, name: String) -> Result<Decoder> {
        let mut file = File::open(path).map_err(|error| unreadable(&name, error))?;
        let mut sample = Vec::new();
        Read::by_ref(&mut file)
            .take(SAMPLE)
            .read_to_end(&mut sample)
            .map_err(|error| unreadable(&name, error))?;
        if let Some(other) = other_format(&sample) {
            return Err(Error::new(Kind::InvalidData, OPERATION, format!("{name} is {other}"))
                .with_hint("save it as CSV in UTF-8"));
        }
        let text = sample.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&sample).to_vec();
        let delimiter = delimiter(&text);
        let end = format!("\n{SENTINEL}\n").into_bytes();
        let input = Cursor::new(text).chain(file).chain(Cursor::new(end));
        let records = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(Bounded { input: Box::new(input), read: 0, limit: 0 });
        Ok(Decoder { name, records, record: ByteRecord::new(), number: 0 })
    }

    /// Sends pages until the end, an error, or until nobody receives them any more.
    fn run(mut self, pages: &mpsc::Sender<Result<Vec<SourceRow>>>) {
        let mut more = true;
        while more {
            let mut rows = Vec::new();
            let mut bytes = 0;
            more = false;
            while let Some(record) = self.next().transpose() {
                match record {
                    Ok((row, length)) => {
                        bytes += length;
                        if row.cells.iter().any(|cell| !cell.is_empty()) {
                            rows.push(row);
                        }
                    }
                    Err(error) => {
                        // The rows before it are good, the error is what matters.
                        drop(pages.blocking_send(Err(error)));
                        return;
                    }
                }
                if rows.len() >= PAGE_ROWS || bytes >= PAGE_BYTES {
                    more = true;
                    break;
                }
            }
            if !rows.is_empty() && pages.blocking_send(Ok(rows)).is_err() {
                return;
            }
        }
    }

    /// The next record and its size in bytes.
    fn next(&mut self) -> Result<Option<(SourceRow, usize)>> {
        let number = self.number + 1;
        let reader = self.records.get_mut();
        reader.limit = reader.read.saturating_add(LARGEST_RECORD);
        let line = self.records.position().line();
        let found = self.records.read_byte_record(&mut self.record);
        let record = &self.record;
        let place = || format!("{}, record {number} (line {line})", self.name);
        let invalid = |message: String| Error::new(Kind::InvalidData, OPERATION, message);
        match found {
            Ok(true) => {}
            // The sentinel was swallowed or is missing.
            Ok(false) => return Ok(None),
            Err(_) if self.records.get_ref().is_exceeded() => {
                return Err(invalid(format!(
                    "{}: the record is larger than {} MiB",
                    place(),
                    LARGEST_RECORD >> 20
                ))
                .with_hint("a quote that is opened there is probably never closed"));
            }
            Err(error) => {
                return Err(match error.into_kind() {
                    csv::ErrorKind::Io(error) => unreadable(&self.name, error),
                    _ => invalid(format!("{}: not CSV", place())),
                });
            }
        }
        if record.len() == 1 && record.get(0) == Some(SENTINEL.as_bytes()) {
            return Ok(None);
        }
        // Only the file's last record can hold it, and only inside an open quote.
        if record.iter().next_back().is_some_and(|field| {
            field.strip_suffix(b"\n").is_some_and(|field| field.ends_with(SENTINEL.as_bytes()))
        }) {
            let message = format!("{}: a quote that is opened there is never closed", place());
            return Err(invalid(message));
        }
        let mut cells = Vec::with_capacity(record.len());
        for (position, field) in record.iter().enumerate() {
            match std::str::from_utf8(field) {
                Ok("") => cells.push(Cell::Empty),
                Ok(text) => cells.push(Cell::Text(text.to_owned())),
                Err(_) => {
                    return Err(invalid(format!(
                        "{}, field {}: not UTF-8{}",
                        place(),
                        position + 1,
                        guess(field)
                    ))
                    .with_hint("save the file as CSV in UTF-8"));
                }
            }
        }
        self.number = number;
        Ok(Some((SourceRow { number, cells }, record.as_slice().len())))
    }
}

/// The file with a limit on what one record may take.
struct Bounded {
    input: Box<dyn Read + Send>,
    read: u64,
    limit: u64,
}

impl Bounded {
    fn is_exceeded(&self) -> bool {
        self.read > self.limit
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.is_exceeded() {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        let read = self.input.read(buffer)?;
        self.read = self.read.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        Ok(read)
    }
}

/// What a file is that is not text in UTF-8, by its first bytes.
fn other_format(start: &[u8]) -> Option<&'static str> {
    let nuls = start.iter().take(256).filter(|byte| **byte == 0).count();
    if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
        Some("in UTF-16, not in UTF-8")
    } else if start.starts_with(b"PK\x03\x04") {
        Some("an Excel workbook or another ZIP archive, not CSV")
    } else if start.starts_with(&[0x1f, 0x8b]) {
        Some("compressed (gzip)")
    } else if start.starts_with(b"SQLite format 3\0") {
        Some("an SQLite database, not CSV")
    } else if nuls * 3 > start.len().min(256) {
        Some("in UTF-16 or binary, not in UTF-8")
    } else {
        None
    }
}

/// The most frequent of comma, semicolon and tab in the first line, quoted parts aside.
fn delimiter(text: &[u8]) -> u8 {
    let mut counts = [(b',', 0_usize), (b';', 0), (b'\t', 0)];
    let mut quoted = false;
    let mut anything = false;
    for byte in text {
        match byte {
            b'"' => quoted = !quoted,
            b'\n' | b'\r' if !quoted && anything => break,
            _ if quoted => {}
            other => {
                for (candidate, count) in &mut counts {
                    *count += usize::from(candidate == other);
                }
            }
        }
        anything |= !matches!(byte, b'\n' | b'\r');
    }
    let mut best = (b',', 0);
    for candidate in counts {
        if candidate.1 > best.1 {
            best = candidate;
        }
    }
    best.0
}

/// ", it looks like Windows-1251" where most bytes beyond ASCII are letters there.
fn guess(field: &[u8]) -> &'static str {
    let high = field.iter().filter(|byte| **byte >= 0x80).count();
    let letters = field.iter().filter(|byte| matches!(byte, 0xc0..|0xa8| 0xb8)).count();
    if letters * 4 >= high * 3 { ", it looks like Windows-1251" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_of_the_first_line() {
        for (text, expected) in [
            ("a,b,c\n1;2;3;4;5", b','),
            ("a;b;c\n", b';'),
            ("a\tb\n", b'\t'),
            ("\"a;b;c;d\",e", b','),
            ("\"x\n;;;\",e", b','),
            ("\r\n\na;b\nc,d,e", b';'),
            ("alone", b','),
            ("a,b;c", b','),
            ("", b','),
        ] {
            assert_eq!(delimiter(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn other_formats_are_named() {
        assert_eq!(other_format("имя,id\n".as_bytes()), None);
        assert_eq!(other_format(b""), None);
        assert!(other_format(b"\xff\xfea\0").unwrap().contains("UTF-16"));
        assert!(other_format(b"a\0b\0;\0").unwrap().contains("UTF-16"));
        assert!(other_format(b"PK\x03\x04\x14").unwrap().contains("Excel"));
        assert!(other_format(b"a,nul\0in a text that is long enough").is_none());
    }
}
