use std::str::FromStr;

use clap::{Args, Subcommand};

/// The commands of `dual row`.
#[derive(Debug, Subcommand)]
pub enum Row {
    /// Add a row; a key that is there is refused
    Add(NewRow),
    /// Show a row
    Get(ByKey),
    /// Set columns of a row; the other ones stay
    Update(RowChanges),
    /// Add a row, or set these columns of the one that is there
    Upsert(NewRow),
    /// Show rows, in the order of their keys
    List(RowList),
    /// Delete a row
    Delete(ByKey),
}

/// A row as JSON.
#[derive(Args, Debug)]
pub struct NewRow {
    /// The table
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// A JSON object of columns, with the key unless it is numbered by itself, or - to read it from stdin
    #[arg(value_name = "JSON")]
    pub json_object: String,
}

/// A row by key.
#[derive(Args, Debug)]
pub struct ByKey {
    /// The table
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// The key: of one column as it is, of several as a JSON array or object
    #[arg(value_name = "KEY", allow_negative_numbers = true)]
    pub key: String,
}

/// Changes of a row.
#[derive(Args, Debug)]
pub struct RowChanges {
    /// The table
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// The key: of one column as it is, of several as a JSON array or object
    #[arg(value_name = "KEY", allow_negative_numbers = true)]
    pub key: String,
    /// A JSON object of columns to set, or - to read it from stdin
    #[arg(value_name = "JSON")]
    pub json_object: String,
}

/// Which rows are listed.
#[derive(Args, Debug)]
pub struct RowList {
    /// The table
    #[arg(value_name = "TABLE")]
    pub table: String,

    /// At most so many
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,

    /// Only those with this value in that column, as JSON or as a text
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    pub equals: Vec<ColumnText>,

    /// Only those whose text in that column contains this one; upper and lower case differ
    #[arg(long, value_name = "COLUMN=TEXT")]
    pub contains: Vec<ColumnText>,

    /// By this column, the lowest first; with - before it the highest first. Can be repeated
    #[arg(long, value_name = "[-]COLUMN", allow_hyphen_values = true)]
    pub order: Vec<String>,
}

/// A column and a text.
#[derive(Clone, Debug)]
pub struct ColumnText {
    /// The column.
    pub column: String,
    /// The text.
    pub text: String,
}

impl FromStr for ColumnText {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<ColumnText, Self::Err> {
        match text.split_once('=') {
            Some((column, text)) if !column.is_empty() && !text.is_empty() => {
                Ok(ColumnText { column: column.into(), text: text.into() })
            }
            _ => Err("give COLUMN=TEXT, such as first_name=Anna"),
        }
    }
}
