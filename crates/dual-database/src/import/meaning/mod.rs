//! What rows mean: cells into records, by a mapping that is data.

use crate::value::Value;

/// A row that was understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
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
    /// The cell as the source has it.
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
    /// The row fits no layout.
    NoLayout,
    /// The row fits two layouts that read it differently.
    TwoLayouts,
    /// The row begins in another column.
    Shifted,
}
