//! The mapping: which cell means what, as data.
//!
//! A mapping is a TOML file; [`Mapping::built_in`] is the bot's own, and reading it is the
//! quickest way to learn the form:
//!
//! - `[columns.NAME]`, one a column of the table: `kind` (`id`, `integer`, `timestamp`,
//!   `status`, `yes_no`, `phone`, `username`, `text`, `text_date`), `headers` (headings that
//!   mean it, in any case), `on_bad` (`reject` the row or `report` the cell and keep the row
//!   with that value unknown), `duplicates` (`latest`, `earliest`, `most_advanced`), `null`
//!   and `unknown` (words that stand for NULL, or for nothing known), `zones` (of a timestamp
//!   without a zone), `order` and `labels` (of a status);
//! - `[ignored.NAME]`, in the same form: what a sheet has and the table has not;
//! - `[defaults]`: what a new row gets from another of its columns where nothing is known;
//! - `[[layouts]]`: `name` and `columns` of rows that are written by position (`"-"` for a
//!   column of no meaning), and the `status` words (`labels` or `values`) of that writer;
//! - `[[remarks]]`: what is said once for all rows with something in `column` (that begins
//!   with `prefix`);
//! - `repair_shift`: whether rows that begin in another column are read all the same.
//!
//! A heading that is the table's own column name needs no entry in `headers`; a timestamp
//! under it is the database's own value, so it is in UTC.

mod compile;
mod file;
mod zones;

use std::collections::HashMap;
use std::sync::Arc;

pub(super) use file::StatusWords;
pub use file::{OnBad, Precedence};
pub(super) use zones::Zones;

use dual_database::error::Result;
use dual_database::schema::Table;
use dual_database::value::Value;

const BUILT_IN: &str = include_str!("bot.toml");

/// A checked mapping for one table.
#[derive(Debug, Clone)]
pub struct Mapping {
    pub(super) fields: Vec<Field>,
    pub(super) layouts: Vec<SheetLayout>,
    pub(super) headings: HashMap<String, Heading>,
    /// The initials of the headings of the key.
    pub(super) key_initials: Vec<char>,
    pub(super) words: StatusVocabulary,
    pub(super) remarks: Vec<Remark>,
    /// The field that is the table's key.
    pub(super) key: usize,
    /// The names of the table's columns.
    pub(super) columns: Vec<Arc<str>>,
    /// For each column of the table, the field that fills it.
    targets: Vec<Option<usize>>,
    fallbacks: Vec<(usize, usize)>,
    pub(super) repair_shift: bool,
}

/// A kind of cell with a name: a column of the table or one that the table has no place for.
#[derive(Debug, Clone)]
pub(super) struct Field {
    pub name: String,
    /// The position in the table.
    pub target: Option<usize>,
    pub kind: FieldKind,
    pub on_bad: OnBad,
    pub duplicates: Precedence,
    /// Words that stand for NULL, in lower case.
    pub null: Vec<String>,
    /// Words that stand for nothing known, in lower case.
    pub unknown: Vec<String>,
    /// The first heading that means it, for messages.
    pub heading: String,
}

#[derive(Debug, Clone)]
pub(super) enum FieldKind {
    Id,
    /// With the bounds of the column's type.
    Integer(i64, i64),
    Timestamp(Zones),
    Status(StatusKind),
    YesNo,
    Phone,
    Username,
    Text,
    TextDate,
}

#[derive(Debug, Clone, Default)]
pub(super) struct StatusKind {
    /// From the least to the most advanced.
    pub order: Vec<String>,
    /// Label or value in lower case, to the value and whether it is a label.
    pub words: HashMap<String, (String, StatusWords)>,
}

/// The words of every status of the mapping, by which a status is known in a wrong place.
#[derive(Debug, Clone, Default)]
pub(super) struct StatusVocabulary(pub std::collections::HashSet<String>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heading {
    pub field: usize,
    /// The table's own name: the database's own value.
    pub native: bool,
}

#[derive(Debug, Clone)]
pub(super) struct SheetLayout {
    pub name: String,
    pub fields: Vec<Option<usize>>,
    pub status: Option<StatusWords>,
}

#[derive(Debug, Clone)]
pub(super) struct Remark {
    pub field: usize,
    /// In lower case.
    pub prefix: Option<String>,
    pub says: String,
}

impl Mapping {
    /// Reads and checks a mapping for `table`. `origin` names the text in errors: a file's
    /// path as the user gave it.
    ///
    /// # Errors
    /// [`Kind::Configuration`](dual_database::Kind::Configuration) with the line and the key, and the
    /// nearest name where one was mistyped.
    pub fn from_toml(text: &str, origin: &str, table: &Table) -> Result<Mapping> {
        compile::compile(text, origin, table)
    }

    /// The bot's own mapping.
    ///
    /// # Errors
    /// [`Kind::Configuration`](dual_database::Kind::Configuration) where `table` lacks a column that
    /// the bot's sheet has.
    pub fn built_in(table: &Table) -> Result<Mapping> {
        Mapping::from_toml(BUILT_IN, "the built-in mapping", table)
    }

    /// The text of [`Mapping::built_in`], to begin another one from.
    #[must_use]
    pub fn built_in_text() -> &'static str {
        BUILT_IN
    }

    /// The same mapping, with shifted rows read as if they stood in their place (`true`), or
    /// set aside.
    #[must_use]
    pub fn with_repaired_shifts(mut self, repair: bool) -> Mapping {
        self.repair_shift = repair;
        self
    }

    /// Fills what is unknown (`None`) in a row that no store has yet from the row's other
    /// columns, as `[defaults]` says; the table's constant defaults are not applied here.
    /// `values` are in the table's order.
    pub fn complete_new(&self, values: &mut [Option<Value>]) {
        for &(column, from) in &self.fallbacks {
            if values.get(column).is_some_and(Option::is_none) {
                let copy = values.get(from).cloned().flatten();
                if let Some(place) = values.get_mut(column) {
                    *place = copy;
                }
            }
        }
    }

    /// `[defaults]` as pairs of positions in the table: a column, and the one it is taken from.
    #[must_use]
    pub fn fallbacks(&self) -> &[(usize, usize)] {
        &self.fallbacks
    }

    /// The field that fills a column of the table.
    pub(super) fn field_of(&self, column: usize) -> Option<&Field> {
        self.targets.get(column).copied().flatten().and_then(|field| self.fields.get(field))
    }

    /// Whether a text may be a heading of the key, judged by its first letter.
    pub(super) fn may_head_key(&self, text: &str) -> bool {
        initial(text).is_some_and(|letter| self.key_initials.contains(&letter))
    }

    /// What a heading means.
    pub(super) fn heading(&self, text: &str) -> Option<Heading> {
        self.headings.get(&normalised(text)).copied()
    }
}

/// A word for comparison: without invisible marks, stray spaces and capitals, `ё` as `е`.
pub(super) fn normalised(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    let mut gap = false;
    let mut combining = false;
    for c in text.chars() {
        // Most cells are plain ASCII, and every cell passes here several times.
        if c.is_ascii_alphanumeric() || c.is_ascii_punctuation() {
            if std::mem::take(&mut gap) && !word.is_empty() {
                word.push(' ');
            }
            word.push(c.to_ascii_lowercase());
        } else if c.is_whitespace() {
            gap = true;
        } else if !is_invisible(c) {
            if std::mem::take(&mut gap) && !word.is_empty() {
                word.push(' ');
            }
            combining |= matches!(c, '\u{306}' | '\u{308}');
            word.extend(c.to_lowercase().map(|c| if c == 'ё' { 'е' } else { c }));
        }
    }
    if combining {
        // A capital Й typed as two characters, on a Mac, is the same letter.
        word = word.replace("и\u{306}", "й").replace("е\u{308}", "е");
    }
    word
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{FEFF}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}')
}

/// The first letter or digit of a word, by which most cells are told from a few known words
/// without normalising them: words that are the same when normalised have the same one.
pub(super) fn initial(text: &str) -> Option<char> {
    let letter = text.chars().find(|c| c.is_alphanumeric())?.to_lowercase().next()?;
    Some(match letter {
        'ё' => 'е',
        'й' => 'и',
        other => other,
    })
}

/// Whether a text is one of a few words, which are normalised already.
pub(super) fn is_one_of(words: &[String], text: &str) -> bool {
    let letter = initial(text);
    words.iter().any(|word| initial(word) == letter) && words.contains(&normalised(text))
}
