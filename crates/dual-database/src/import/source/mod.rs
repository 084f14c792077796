//! Where rows come from: a tab of a Google Sheet, or a CSV file. Cells arrive as they are,
//! with their row numbers; nothing is interpreted here.

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

/// The name of a column from its position: 0 → `A`, 26 → `AA`.
///
/// ```
/// assert_eq!(dual_database::import::source::column_name(27), "AB");
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
