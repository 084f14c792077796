//! What a cell looks like, whatever column it stands in: the evidence by which the layout of
//! a row is told where free text would accept anything.

use super::{date, number, text};
use crate::mapping::declaration::{FieldKind, StatusVocabulary, normalised};
use crate::source::Cell;

/// What a cell looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum CellKind {
    /// A status, as a label or as the database writes it.
    Status,
    /// A day and a time of that day, however wrong.
    DateTime,
    /// A day.
    Date,
    /// Yes or no; not 1 or 0.
    YesNo,
    /// A phone number of 11 digits or with a plus.
    Phone,
    /// A number of so many digits that it is no day.
    LongNumber,
    /// A whole number cell that is the serial of a day of birth, from 1920 to 2028.
    Day,
    /// Any other number.
    Number,
    /// Anything else.
    Plain,
}

/// How well a cell goes with a column that takes any text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Doubt {
    /// Nothing speaks against it.
    None,
    /// Unusual there.
    Unlikely,
    /// It has the looks of another column.
    Foreign,
}

pub(in super::super) fn cell_kind(cell: &Cell, statuses: &StatusVocabulary) -> CellKind {
    match cell {
        Cell::Empty => CellKind::Plain,
        Cell::Bool(_) => CellKind::YesNo,
        Cell::Int(number) if (7_306..47_000).contains(number) => CellKind::Day,
        Cell::Int(number) => number_nature(&number.to_string()),
        // The years 1982 to 2064, at a time of day.
        Cell::Float(days) if days.fract() != 0.0 && (30_000.0..60_000.0).contains(days) => {
            CellKind::DateTime
        }
        Cell::Float(_) => text::of(cell).map_or(CellKind::Number, |text| number_nature(&text)),
        Cell::Text(text) => text_nature(text.trim(), cell, statuses),
    }
}

fn number_nature(digits: &str) -> CellKind {
    let whole = digits.bytes().all(|byte| byte.is_ascii_digit());
    match digits.len() {
        11 if whole && digits.starts_with('7') => CellKind::Phone,
        7.. if whole => CellKind::LongNumber,
        _ => CellKind::Number,
    }
}

fn text_nature(text: &str, cell: &Cell, statuses: &StatusVocabulary) -> CellKind {
    // Nothing that has a shape is longer, and long texts are not to be searched.
    if text.len() > 200 {
        return CellKind::Plain;
    }
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if !text.is_empty() && digits == text.len() {
        return number_nature(text);
    }
    if statuses.0.contains(&normalised(text)) {
        return CellKind::Status;
    }
    if number::read_yes_no(cell).is_ok() {
        return CellKind::YesNo;
    }
    if (text.starts_with('+') || text.starts_with('8') || text.starts_with('7'))
        && digits >= 11
        && is_phone_like(text)
        && !text.contains(':')
    {
        return CellKind::Phone;
    }
    date_nature(text).unwrap_or(CellKind::Plain)
}

/// By shape, so that the 31st of February is still a date in the wrong place.
fn date_nature(text: &str) -> Option<CellKind> {
    let mut words = text.split(|c: char| c.is_whitespace() || c == 'T');
    let day = words.next()?;
    let separator = day.chars().find(|c| !c.is_ascii_digit())?;
    let parts: Vec<&str> = day.split(separator).collect();
    let shaped = matches!(separator, '.' | '-' | '/')
        && parts.len() == 3
        && parts.iter().all(|part| {
            (1..=4).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        });
    if !shaped {
        return None;
    }
    // A cell of a day is often shown with a midnight behind it.
    let at_midnight =
        date::parse(text).is_ok_and(|written| written.local.time() == jiff::civil::Time::MIN);
    Some(match words.next() {
        None => CellKind::Date,
        Some(_) if at_midnight => CellKind::Date,
        Some(time) if time.contains(':') => CellKind::DateTime,
        Some(_) => return None,
    })
}

fn is_phone_like(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_ascii_digit() || c.is_whitespace() || matches!(c, '+' | '-' | '(' | ')' | '.' | '–')
    }) && text.bytes().filter(u8::is_ascii_digit).count() >= 5
}

/// How well a cell goes with a column that takes any text.
pub(in super::super) fn doubt(kind: &FieldKind, cell: &Cell, cell_kind: CellKind) -> Doubt {
    match (kind, cell_kind) {
        (_, CellKind::Status | CellKind::YesNo | CellKind::DateTime) => Doubt::Foreign,
        (FieldKind::Phone, CellKind::Date) => Doubt::Foreign,
        (FieldKind::Phone, CellKind::Phone | CellKind::LongNumber) => Doubt::None,
        (FieldKind::Phone, CellKind::Day | CellKind::Number | CellKind::Plain) => {
            let likely = text::of(cell).is_some_and(|text| is_phone_like(&text));
            if likely { Doubt::None } else { Doubt::Unlikely }
        }
        (FieldKind::TextDate, CellKind::Date | CellKind::Day | CellKind::Number) => Doubt::None,
        (FieldKind::TextDate, CellKind::Phone | CellKind::LongNumber) => Doubt::Foreign,
        (FieldKind::TextDate, CellKind::Plain) => {
            let likely = text::of(cell).is_some_and(|text| {
                text.len() <= 60 && text.bytes().any(|byte| byte.is_ascii_digit())
            });
            if likely { Doubt::None } else { Doubt::Unlikely }
        }
        (FieldKind::Username, CellKind::Plain) => {
            let likely = text::of(cell).is_some_and(|text| {
                let name = text.strip_prefix('@').unwrap_or(&text);
                name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            });
            if likely { Doubt::None } else { Doubt::Unlikely }
        }
        (_, CellKind::Date | CellKind::Day | CellKind::Phone | CellKind::LongNumber) => {
            Doubt::Foreign
        }
        (_, CellKind::Number) => Doubt::Unlikely,
        (_, CellKind::Plain) => Doubt::None,
    }
}
