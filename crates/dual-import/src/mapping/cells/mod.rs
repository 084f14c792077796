//! One cell into one value. Everything here is pure: the same cell, the same answer.
//!
//! Surrounding white space, no-break spaces included, is never meant: it is cut off before
//! anything else, and a cell of nothing else is empty. Inside a text every character stays.

mod date;
mod id;
mod kind;
mod number;
mod text;

pub(super) use kind::{CellKind, Doubt, cell_kind, doubt};

use dual_database::value::Value;

use super::Code;
use super::declaration::{Field, FieldKind, is_one_of, normalised};
use crate::source::Cell;

/// What a cell says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// Nothing: the value is not known.
    Empty,
    /// A value, which may be NULL.
    Known(Value),
    /// A timestamp from the hours in which no zone of the column was in use.
    InGap(Value),
}

/// Why a cell cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub code: Code,
    /// A clause after the name of the column, without the cell's value: "has no such day".
    pub says: &'static str,
    /// Whether the row goes with it, whatever the mapping says.
    pub fatal: bool,
}

impl Fault {
    fn new(code: Code, says: &'static str) -> Fault {
        Fault { code, says, fatal: false }
    }
}

/// Whether there is nothing in the cell, or only white space.
pub(super) fn is_blank(cell: &Cell) -> bool {
    match cell {
        Cell::Empty => true,
        Cell::Text(text) => text.trim().is_empty(),
        _ => false,
    }
}

/// Reads a cell as `field`; `native` for the database's own value, whose times are in UTC.
pub(super) fn read(field: &Field, native: bool, cell: &Cell) -> Result<Content, Fault> {
    if is_blank(cell) {
        return Ok(Content::Empty);
    }
    if let Cell::Text(text) = cell {
        let text = text.trim();
        if is_error(text) {
            return Err(Fault::new(Code::ErrorCell, "is the error of a formula"));
        }
        if is_one_of(&field.null, text) {
            return Ok(Content::Known(Value::Null));
        }
        if is_one_of(&field.unknown, text) {
            return Ok(Content::Empty);
        }
    }
    let value = match &field.kind {
        FieldKind::Id => Value::Int(id::read(cell)?),
        FieldKind::Integer(least, most) => Value::Int(number::read(cell, *least, *most)?),
        FieldKind::Timestamp(zones) => return date::read(cell, (!native).then_some(zones)),
        FieldKind::Status(status) => {
            let word = text::of(cell).and_then(|text| status.words.get(&normalised(&text)));
            match word {
                Some((value, _)) => Value::Text(value.clone()),
                None => {
                    let says = "is neither a label nor a status of the database";
                    return Err(Fault::new(Code::UnknownStatus, says));
                }
            }
        }
        FieldKind::YesNo => Value::Bool(number::read_yes_no(cell)?),
        FieldKind::Phone => Value::Text(text::read_phone(cell)?),
        FieldKind::Username | FieldKind::Text => Value::Text(text::read(cell)?),
        FieldKind::TextDate => Value::Text(date::read_text_date(cell)?),
    };
    Ok(Content::Known(value))
}

/// The texts by which a formula's error, or its being calculated, is known.
fn is_error(text: &str) -> bool {
    matches!(
        text,
        "#REF!"
            | "#N/A"
            | "#VALUE!"
            | "#NAME?"
            | "#DIV/0!"
            | "#NUM!"
            | "#NULL!"
            | "#ERROR!"
            | "#SPILL!"
            | "#CALC!"
            | "Loading..."
            | "Loading…"
            | "Загрузка..."
            | "Загрузка…"
    )
}
