//! Where rows come from: a tab of a Google Sheet, or a CSV file. Cells arrive as they are,
//! with their row numbers; nothing is interpreted here.
//!
//! ```no_run
//! use dual_import::{Silent, source::*};
//!
//! # async fn example() -> dual_database::Result<()> {
//! let account = ServiceAccount::from_file("creds.json".as_ref())?;
//! let endpoint = Endpoint::parse(Endpoint::GOOGLE, "the Sheets endpoint")?;
//! let client = SheetsClient::new(account, SheetsOptions::new(endpoint));
//! let sheet = SheetSource::open(client, "1VZAm6CIalFAZmx", "Лист1", &Silent).await?;
//! let mut source = Source::from(sheet);
//! let mut staged = Vec::new();
//! loop {
//!     match source.next_page(&Silent).await? {
//!         Page::Rows(rows) => staged.extend(rows),
//!         Page::Restart => staged.clear(),
//!         Page::End => break,
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod a1;
mod cells;
mod client;
mod credentials;
mod csv;
mod endpoint;
mod errors;
mod key;
mod retry;
mod sheet;
mod tabs;
mod token;
mod transport;

use std::collections::BTreeMap;

pub use client::{SheetsClient, SheetsOptions};
pub use credentials::ServiceAccount;
pub use csv::CsvSource;
pub use endpoint::Endpoint;
pub use key::SpreadsheetKey;
pub use retry::RetryPolicy;
pub use sheet::SheetSource;

use dual_database::error::Result;

use super::Observer;

/// A cell as the source has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Nothing, or an empty text.
    Empty,
    /// Text; from a CSV file every cell that is not empty.
    Text(String),
    /// A number that the source wrote as an integer.
    Int(i64),
    /// Any other number; dates arrive so, as serial days since 1899-12-30.
    Float(f64),
    /// A tick box or a logical value.
    Bool(bool),
}

impl Cell {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Cell::Empty)
    }

    /// The cell as a report shows it: text as it is, numbers in full, booleans in capitals.
    #[must_use]
    pub fn raw(&self) -> String {
        match self {
            Cell::Empty => String::new(),
            Cell::Text(text) => text.clone(),
            Cell::Int(number) => number.to_string(),
            Cell::Float(number) => number.to_string(),
            Cell::Bool(flag) => if *flag { "TRUE" } else { "FALSE" }.to_string(),
        }
    }
}

/// A row of the source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceRow {
    /// The row's number as the source counts it, from 1 (a CSV file: the record's number,
    /// the header being 1).
    pub number: u64,
    /// Its cells from column A on; empty ones at the end may be missing.
    pub cells: Vec<Cell>,
}

/// What comes next from a source.
#[derive(Clone, Debug, PartialEq)]
pub enum Page {
    /// Rows, in ascending order of their numbers, at least one. A row with nothing in it is
    /// left out; the numbers show the gap.
    Rows(Vec<SourceRow>),
    /// The source changed while it was read and begins anew: forget every row taken so far.
    Restart,
    /// There is nothing more.
    End,
}

/// A source of either sort, so that what follows is written once.
#[derive(Debug)]
pub enum Source {
    /// A tab of a Google Sheet.
    Sheet(Box<SheetSource>),
    /// A CSV file.
    Csv(CsvSource),
}

impl From<SheetSource> for Source {
    fn from(sheet: SheetSource) -> Source {
        Source::Sheet(Box::new(sheet))
    }
}

impl From<CsvSource> for Source {
    fn from(csv: CsvSource) -> Source {
        Source::Csv(csv)
    }
}

impl Source {
    /// The next rows; after an error or [`Page::End`] there is nothing more to ask for. Only
    /// one page is in memory at a time. `observer` is told of rows, waits and warnings.
    ///
    /// # Errors
    /// [`Kind::SourceUnavailable`](dual_database::Kind::SourceUnavailable),
    /// [`Kind::AccessDenied`](dual_database::Kind::AccessDenied) or
    /// [`Kind::InvalidData`](dual_database::Kind::InvalidData); see [`SheetSource::next_page`] and
    /// [`CsvSource::next_page`].
    pub async fn next_page(&mut self, observer: &dyn Observer) -> Result<Page> {
        match self {
            Source::Sheet(sheet) => sheet.next_page(observer).await,
            Source::Csv(csv) => csv.next_page(observer).await,
        }
    }

    /// The source's name in a report: `tab «…» of the spreadsheet «…» (key)` or `file …`.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Source::Sheet(sheet) => sheet.describe(),
            Source::Csv(csv) => csv.describe(),
        }
    }

    /// How the source displays these rows, where that differs from what they hold: nothing
    /// for a CSV file; see [`SheetSource::displayed`].
    pub async fn displayed(
        &mut self,
        rows: &[u64],
        observer: &dyn Observer,
    ) -> BTreeMap<u64, Vec<String>> {
        match self {
            Source::Sheet(sheet) => sheet.displayed(rows, observer).await,
            Source::Csv(_) => BTreeMap::new(),
        }
    }
}

/// The name of a column from its position: 0 → `A`, 26 → `AA`.
///
/// ```
/// assert_eq!(dual_import::source::column_name(27), "AB");
/// ```
#[must_use]
pub fn column_name(position: usize) -> String {
    let mut name = Vec::new();
    let mut rest = position + 1;
    while rest > 0 {
        let letter = u8::try_from((rest - 1) % 26).unwrap_or(0);
        name.insert(0, b'A' + letter);
        rest = (rest - 1) / 26;
    }
    String::from_utf8(name).unwrap_or_default()
}
