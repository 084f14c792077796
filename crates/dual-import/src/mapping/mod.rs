//! What rows mean: cells into records, by a mapping that is data. Pure: no I/O, no clock.
//!
//! One tab holds rows of several writers, most of them by position and some under a header
//! that is not theirs. A [`Reader`] therefore asks of every row which layouts it fits, and
//! takes it only where there is one answer:
//!
//! ```
//! use dual_import::mapping::{Mapping, RowOutcome, Reader};
//! use dual_import::source::{Cell, SourceRow};
//! use dual_database::value::Value;
//!
//! # fn main() -> dual_database::Result<()> {
//! let users = dual_database::schema::users();
//! let mapping = Mapping::built_in(&users)?;
//! let mut reader = Reader::new(&mapping);
//! let cells = ["2025-08-07 9:00:01", "5 123 456 789", "Анна", "N/A", "issued"];
//! let cells = cells.map(|cell| Cell::Text(cell.to_string())).to_vec();
//! let RowOutcome::Record { record, layout, .. } = reader.read(&SourceRow { number: 1, cells })?
//! else {
//!     unreachable!("the row fits one layout");
//! };
//! assert_eq!(layout, "bot of 8 columns");
//! assert_eq!(record.values[1], Some(Value::Int(5_123_456_789)));
//! assert_eq!(record.values[2], None); // nothing known: a new row gets NULL
//! # Ok(())
//! # }
//! ```
//!
//! An empty cell is nothing known, so that it never erases what a store has, and neither does
//! a word that the mapping calls `unknown` (the bot's `N/A`). A word that it calls `null` is a
//! known NULL; among duplicates it gives way to any value.

mod candidate;
mod cells;
pub mod declaration;
mod duplicates;
mod header;
mod layout;
mod reader;
mod sentences;
mod verdict;

pub use declaration::Mapping;
pub use duplicates::{Merge, MergedColumn, merge};
pub use reader::{Contents, LayoutCount, Reader, RowOutcome, Summary};

use dual_database::value::Value;

/// A row that was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct SheetRecord {
    /// The row's number in the source; of merged duplicates the last one.
    pub row: u64,
    /// One entry a column of the table, in its order; `None`: not known, so that whatever a
    /// store has stays. The surrogate is always `None`, the key never.
    pub values: Vec<Option<Value>>,
}

/// Why a row or a cell was set aside; `code` is stable, for machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The row's number in the source.
    pub row: u64,
    /// The cell, such as `B17`, where one cell is to blame.
    pub cell: Option<String>,
    /// The table's column that the cell was read for.
    pub column: Option<String>,
    /// The stable code.
    pub code: Code,
    /// One sentence for a person, without the cell's value.
    pub sentence: String,
    /// The cell as the source has it; where the whole row is to blame, its cells between bars.
    pub raw: String,
    /// The cell as the sheet shows it, where that was asked for and answered.
    pub displayed: Option<String>,
}

/// The stable codes of [`Problem`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Code {
    /// The row has no id.
    MissingId,
    /// The id cannot be read exactly.
    BadId,
    /// The date is in no known form, or there is no such date.
    BadDate,
    /// A status that is no label and no English value.
    UnknownStatus,
    /// Not one of the words for yes and no.
    BadBoolean,
    /// Not a whole number that fits.
    BadNumber,
    /// Not a phone number.
    BadPhone,
    /// The cell holds a formula's error.
    ErrorCell,
    /// Text with a NUL character, which PostgreSQL cannot keep.
    NulInText,
    /// Longer than a store's column takes.
    TooLong,
    /// A constraint or a trigger of a store refuses the row.
    Refused,
    /// The row fits no layout.
    NoLayout,
    /// The row fits two layouts that read it differently.
    TwoLayouts,
    /// The row begins in another column.
    Shifted,
    /// Another row has the same id; the two were merged.
    Duplicate,
}

impl Code {
    const ALL: [Code; 15] = [
        Code::MissingId,
        Code::BadId,
        Code::BadDate,
        Code::UnknownStatus,
        Code::BadBoolean,
        Code::BadNumber,
        Code::BadPhone,
        Code::ErrorCell,
        Code::NulInText,
        Code::TooLong,
        Code::Refused,
        Code::NoLayout,
        Code::TwoLayouts,
        Code::Shifted,
        Code::Duplicate,
    ];

    /// Every code there is.
    #[must_use]
    pub fn all() -> &'static [Code] {
        &Code::ALL
    }

    /// The code of that text; the reverse of [`Code::as_str`].
    pub(super) fn of(text: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// The code in reports: `bad_id`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Code::MissingId => "missing_id",
            Code::BadId => "bad_id",
            Code::BadDate => "bad_date",
            Code::UnknownStatus => "unknown_status",
            Code::BadBoolean => "bad_boolean",
            Code::BadNumber => "bad_number",
            Code::BadPhone => "bad_phone",
            Code::ErrorCell => "error_cell",
            Code::NulInText => "nul_in_text",
            Code::TooLong => "too_long",
            Code::Refused => "refused",
            Code::NoLayout => "no_layout",
            Code::TwoLayouts => "two_layouts",
            Code::Shifted => "shifted",
            Code::Duplicate => "duplicate",
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
