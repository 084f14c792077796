//! The workbook: what the double serves.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::de::Error as _;
use serde_json::value::RawValue;

use crate::cell::Cell;
use crate::error::Error;
use crate::json::Node;

/// Rows and columns of a fresh sheet.
const DEFAULT_ROWS: u32 = 1_000;
const DEFAULT_COLUMNS: u32 = 26;
/// The widest grid that Sheets has (column ZZZ).
pub(crate) const MAX_COLUMNS: u32 = 18_278;
/// Cells of a whole spreadsheet.
const MAX_CELLS: u64 = 10_000_000;

/// A spreadsheet: its properties and its sheets in their order.
///
/// Its JSON form is an object with `title` and `sheets`, optionally `locale` (`en_US`),
/// `timeZone` (`Etc/GMT`), `spreadsheetId`, `namedRanges`, `shared` (false: the service
/// account may not read it) and other members of Google's `SpreadsheetProperties`.
#[derive(Debug, Clone)]
pub struct Book {
    /// The id that the book names itself; `None` serves it under the id it is filed under.
    pub spreadsheet_id: Option<String>,
    /// Title of the spreadsheet.
    pub title: String,
    /// Locale as `ll_CC`: governs how values are displayed.
    pub locale: String,
    /// Zone name, as `Europe/Moscow`.
    pub time_zone: String,
    /// Whether the service account may read it.
    pub shared: bool,
    /// The sheets in the order of their tabs.
    pub sheets: Vec<Sheet>,
    /// Named ranges.
    pub named_ranges: Vec<NamedRange>,
    /// Further members of the spreadsheet's `properties`, as given.
    pub properties: Vec<(String, Node)>,
    /// When Drive says that the file was made and last changed, as
    /// `2023-07-25T15:39:15.028Z`; `None` is the start of the double.
    pub created_time: Option<String>,
    /// See `created_time`.
    pub modified_time: Option<String>,
    /// What was accepted but is probably not meant so, one sentence each.
    pub warnings: Vec<String>,
}

/// One tab.
///
/// Its JSON form is an object with `title` and `cells` (rows of cells), optionally
/// `rowCount` (1000), `columnCount` (26), `sheetId`, `index`, `hidden`, `frozenRowCount`
/// and the other members of Google's `SheetProperties` and `GridProperties`, and
/// `merges`, `basicFilter`, `protectedRanges` and the other members of Google's `Sheet`.
#[derive(Debug, Clone)]
pub struct Sheet {
    /// The number after `gid=` in the sheet's address.
    pub sheet_id: i64,
    /// Title of the tab.
    pub title: String,
    /// Rows of the grid.
    pub row_count: u32,
    /// Columns of the grid.
    pub column_count: u32,
    /// Whether the tab is hidden.
    pub hidden: bool,
    /// The cells, row by row; short and missing rows are empty.
    pub cells: Vec<Vec<Cell>>,
    /// Further members of `gridProperties`, as given.
    pub grid_properties: Vec<(String, Node)>,
    /// Further members of `properties`, as given.
    pub properties: Vec<(String, Node)>,
    /// Members beside `properties` (`merges`, `basicFilter`, …), as given.
    pub members: Vec<(String, Node)>,
}

/// A name for an area.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedRange {
    /// Id of the name.
    pub id: String,
    /// The name.
    pub name: String,
    /// Sheet of the area.
    pub sheet_id: i64,
    /// Rows of the area.
    pub rows: Span,
    /// Columns of the area.
    pub columns: Span,
}

/// Positions along one side of a grid, from 0; an absent end means the grid's edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First position.
    pub start: Option<u32>,
    /// Position after the last one.
    pub end: Option<u32>,
}

impl Sheet {
    /// A visible sheet of `rows` by `columns` without a cell.
    pub fn new(sheet_id: i64, title: &str, rows: u32, columns: u32) -> Self {
        Self {
            sheet_id,
            title: title.to_owned(),
            row_count: rows,
            column_count: columns,
            hidden: false,
            cells: Vec::new(),
            grid_properties: Vec::new(),
            properties: Vec::new(),
            members: Vec::new(),
        }
    }

    /// The cell at `row` and `column`, both from 0; `None` where nothing was ever written.
    pub fn cell(&self, row: u32, column: u32) -> Option<&Cell> {
        self.cells.get(usize::try_from(row).ok()?)?.get(usize::try_from(column).ok()?)
    }
}

impl Book {
    /// A book of one empty sheet `Sheet1` of 1000 rows by 26 columns, as Google makes it.
    pub fn new(title: &str) -> Self {
        Self {
            spreadsheet_id: None,
            title: title.to_owned(),
            locale: "en_US".to_owned(),
            time_zone: "Etc/GMT".to_owned(),
            shared: true,
            sheets: vec![Sheet::new(0, "Sheet1", DEFAULT_ROWS, DEFAULT_COLUMNS)],
            named_ranges: Vec::new(),
            properties: Vec::new(),
            created_time: None,
            modified_time: None,
            warnings: Vec::new(),
        }
    }

    /// Reads one book from its JSON form.
    ///
    /// # Errors
    /// [`Error::Book`] with line and column.
    pub fn from_json(json: &str) -> Result<Self, Error> {
        serde_json::from_str(json).map_err(|error| book_error("book", json, 0, &error))
    }
}

/// The books that a double serves, by spreadsheet id.
#[derive(Debug, Clone, Default)]
pub struct Books {
    by_id: BTreeMap<String, Arc<Book>>,
    every_id: Option<Arc<Book>>,
}

impl Books {
    /// No book: every id is unknown.
    pub fn new() -> Self {
        Self::default()
    }

    /// One book. It is served under its own `spreadsheetId`; without one there is no id
    /// that a client could know, so it is served under whatever id is asked for.
    pub fn single(book: Book) -> Self {
        let book = Arc::new(book);
        match &book.spreadsheet_id {
            Some(id) => {
                Self { by_id: BTreeMap::from([(id.clone(), Arc::clone(&book))]), every_id: None }
            }
            None => Self { by_id: BTreeMap::new(), every_id: Some(book) },
        }
    }

    /// Files `book` under `id`, in place of an earlier one.
    pub fn insert(&mut self, id: impl Into<String>, book: Book) {
        self.by_id.insert(id.into(), Arc::new(book));
    }

    /// The book that is served under `id`.
    pub fn get(&self, id: &str) -> Option<&Arc<Book>> {
        self.by_id.get(id).or(self.every_id.as_ref())
    }

    /// Ids and books; a book that is served under every id has the id `book`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Book)> {
        let filed = self.by_id.iter().map(|(id, book)| (id.as_str(), book.as_ref()));
        filed.chain(self.every_id.iter().map(|book| ("book", book.as_ref())))
    }

    /// Reads a book file: one book, or an object from spreadsheet id to book.
    ///
    /// # Errors
    /// [`Error::ReadBook`] when the file cannot be read, [`Error::Book`] with file, line and
    /// column when it holds anything else.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let read = |source| Error::ReadBook { path: path.to_owned(), source };
        let bytes = std::fs::read(path).map_err(read)?;
        let origin = path.display().to_string();
        match std::str::from_utf8(&bytes) {
            Ok(text) => Self::parse(&origin, text),
            Err(error) => {
                let (line, column) = position(&bytes, error.valid_up_to());
                let message = "not UTF-8 text".to_owned();
                Err(Error::Book { origin, line, column, message })
            }
        }
    }

    /// Reads the text of a book file.
    ///
    /// # Errors
    /// [`Error::Book`] with line and column.
    pub fn from_json(json: &str) -> Result<Self, Error> {
        Self::parse("book", json)
    }

    fn parse(origin: &str, text: &str) -> Result<Self, Error> {
        // Editors on Windows put a mark in front.
        let json = text.strip_prefix('\u{feff}').unwrap_or(text);
        let parts: BTreeMap<String, &RawValue> =
            serde_json::from_str(json).map_err(|error| book_error(origin, json, 0, &error))?;
        if parts.contains_key("sheets") || parts.contains_key("title") {
            let book: Book =
                serde_json::from_str(json).map_err(|error| book_error(origin, json, 0, &error))?;
            return Ok(Self::single(book));
        }
        let mut books = Self::new();
        for (id, raw) in parts {
            let offset = (raw.get().as_ptr() as usize).saturating_sub(json.as_ptr() as usize);
            let read = serde_json::from_str::<Book>(raw.get()).and_then(|book| {
                match book.spreadsheet_id.as_deref() {
                    Some(own) if own != id => Err(serde_json::Error::custom(format!(
                        "filed under `{id}` but names itself `{own}`"
                    ))),
                    _ => Ok(book),
                }
            });
            books.insert(id, read.map_err(|error| book_error(origin, json, offset, &error))?);
        }
        if books.by_id.is_empty() {
            return Err(Error::Book {
                origin: origin.to_owned(),
                line: 1,
                column: 1,
                message: "no book: expected `title` and `sheets`, or spreadsheet ids".to_owned(),
            });
        }
        Ok(books)
    }
}

/// Checks and completes a book that was read: what Google would refuse is refused.
pub(crate) fn complete(book: &mut Book) -> Result<(), String> {
    if book.sheets.is_empty() {
        return Err("a spreadsheet has at least one sheet".to_owned());
    }
    let mut cells = 0_u64;
    let mut titles = std::collections::BTreeSet::new();
    let mut ids = std::collections::BTreeSet::new();
    for sheet in &mut book.sheets {
        let title = &sheet.title;
        if title.is_empty() {
            return Err("a sheet has an empty title".to_owned());
        }
        if !titles.insert(title.clone()) {
            return Err(format!("two sheets have the title `{title}`"));
        }
        if !ids.insert(sheet.sheet_id) {
            return Err(format!("two sheets have the sheetId {}", sheet.sheet_id));
        }
        // Cells outside the grid cannot exist: the grid is what was stated too small.
        let used_rows = sheet
            .cells
            .iter()
            .rposition(|row| row.iter().any(|cell| !cell.is_empty()))
            .map_or(0, |last| last.saturating_add(1));
        let used_columns = sheet
            .cells
            .iter()
            .filter_map(|row| row.iter().rposition(|cell| !cell.is_empty()))
            .max()
            .map_or(0, |last| last.saturating_add(1));
        let rows = u32::try_from(used_rows).map_err(|_| "too many rows".to_owned())?;
        let columns = u32::try_from(used_columns).map_err(|_| "too many columns".to_owned())?;
        if rows > sheet.row_count || columns > sheet.column_count {
            book.warnings.push(format!(
                "sheet `{title}`: cells reach {rows}x{columns}, the grid of {}x{} is enlarged",
                sheet.row_count, sheet.column_count
            ));
            sheet.row_count = sheet.row_count.max(rows);
            sheet.column_count = sheet.column_count.max(columns);
        }
        if sheet.row_count == 0 || sheet.column_count == 0 {
            return Err(format!("sheet `{title}`: a grid has at least one row and one column"));
        }
        if sheet.column_count > MAX_COLUMNS {
            return Err(format!("sheet `{title}`: more than {MAX_COLUMNS} columns"));
        }
        let size = u64::from(sheet.row_count).saturating_mul(u64::from(sheet.column_count));
        cells = cells.saturating_add(size);
    }
    if cells > MAX_CELLS {
        book.warnings.push(format!(
            "the grids have {cells} cells together; Google allows {MAX_CELLS} a spreadsheet"
        ));
    }
    Ok(())
}

fn book_error(origin: &str, json: &str, offset: usize, error: &serde_json::Error) -> Error {
    let full = error.to_string();
    // The position is said once, and within the file rather than within the book.
    let suffix = format!(" at line {} column {}", error.line(), error.column());
    let message = full.strip_suffix(&suffix).unwrap_or(&full).to_owned();
    let (before_line, before_column) = position(json.as_bytes(), offset);
    let (line, column) = match error.line() {
        0 => (before_line, before_column),
        1 => (before_line, before_column.saturating_add(error.column()).saturating_sub(1)),
        line => (before_line.saturating_add(line).saturating_sub(1), error.column()),
    };
    Error::Book { origin: origin.to_owned(), line, column: column.max(1), message }
}

/// Line and column, from 1, of the byte at `offset`.
fn position(text: &[u8], offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.iter().filter(|byte| **byte == b'\n').count().saturating_add(1);
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count().saturating_add(1);
    (line, column)
}

pub(crate) const fn default_size() -> (u32, u32) {
    (DEFAULT_ROWS, DEFAULT_COLUMNS)
}
