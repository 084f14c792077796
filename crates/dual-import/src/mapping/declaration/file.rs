//! The mapping as it is written in TOML, before anything is checked.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// A name with its place in the file.
pub(super) type Name = Spanned<String>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub repair_shift: bool,
    pub columns: BTreeMap<Name, ColumnEntry>,
    #[serde(default)]
    pub ignored: BTreeMap<Name, ColumnEntry>,
    #[serde(default)]
    pub defaults: BTreeMap<Name, Name>,
    #[serde(default)]
    pub layouts: Vec<LayoutEntry>,
    #[serde(default)]
    pub remarks: Vec<RemarkEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnEntry {
    pub kind: KindName,
    #[serde(default)]
    pub headers: Vec<Name>,
    pub on_bad: Option<Spanned<OnBad>>,
    pub duplicates: Option<Spanned<Precedence>>,
    #[serde(default)]
    pub null: Vec<String>,
    #[serde(default)]
    pub unknown: Vec<String>,
    pub zones: Option<Spanned<Vec<ZoneEntry>>>,
    pub order: Option<Spanned<Vec<Name>>>,
    pub labels: Option<Spanned<BTreeMap<Name, Name>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum KindName {
    Id,
    Integer,
    Timestamp,
    Status,
    YesNo,
    Phone,
    Username,
    Text,
    TextDate,
}

/// What happens to a row with a cell that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnBad {
    /// The row is set aside.
    Reject,
    /// The row is kept with this value unknown, and the cell is in the report.
    Report,
}

/// Which of two rows with the same key decides a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precedence {
    /// The status that stands later in the declared order.
    MostAdvanced,
    /// The smaller timestamp.
    Earliest,
    /// The last row, in the order of the source, that has a value.
    Latest,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ZoneEntry {
    pub zone: Name,
    pub until: Option<Name>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LayoutEntry {
    pub name: Name,
    pub columns: Vec<Name>,
    pub status: Option<StatusWords>,
}

/// The words that a writer uses for a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in super::super) enum StatusWords {
    Labels,
    Values,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemarkEntry {
    pub column: Name,
    pub prefix: Option<String>,
    pub says: String,
}
