//! The row of headings: found by what it says, wherever it stands.

use dual_database::error::{Error, Kind, Result};

use super::Mapping;
use super::candidate::{Candidate, Slot};
use super::cells::is_blank;
use super::declaration::{Heading, normalised};
use crate::source::{Cell, SourceRow, column_name};

/// A row of headings.
#[derive(Debug)]
pub(super) struct Header {
    /// The first column with a heading.
    pub start: usize,
    /// The columns from `start` on; `None` where no heading means the key, so that rows can
    /// only be read by position.
    pub candidate: Option<Candidate>,
    /// Headings that the mapping does not know, with their cells.
    pub unknown: Vec<(String, String)>,
}

/// Whether a row is a header: it has the key's heading and another known one, or nothing but
/// the key's. Where nothing has been read yet (`first`), two known headings among texts will
/// do, so that a header without an id is not taken for a guest.
///
/// # Errors
/// [`Kind::InvalidData`] where two headings mean the same column of the table.
pub(super) fn recognise(mapping: &Mapping, row: &SourceRow, first: bool) -> Result<Option<Header>> {
    // Any row may be a header, nearly none is: without a heading of the key only the first.
    let may_head_key = |cell: &Cell| matches!(cell, Cell::Text(text) if mapping.may_head_key(text));
    if !first && !row.cells.iter().any(may_head_key) {
        return Ok(None);
    }
    let found: Vec<(usize, &Cell, Option<Heading>)> = row
        .cells
        .iter()
        .enumerate()
        .filter(|(_, cell)| !is_blank(cell))
        .map(|(position, cell)| {
            let heading = match cell {
                Cell::Text(text) if text.len() <= 200 => mapping.heading(text),
                _ => None,
            };
            (position, cell, heading)
        })
        .collect();
    let known = || found.iter().filter_map(|(_, _, heading)| *heading);
    let has_key = known().any(|heading| heading.field == mapping.key);
    let all_text = found.iter().all(|(_, cell, _)| matches!(cell, Cell::Text(_)));
    let is_header = match has_key {
        true => known().count() >= 2 || found.len() == 1,
        false => first && all_text && known().count() >= 2,
    };
    let (Some(&(start, _, _)), true) = (found.first(), is_header) else { return Ok(None) };

    let mut slots: Vec<Slot> = Vec::new();
    let mut unknown = Vec::new();
    let mut seen: Vec<(usize, usize)> = Vec::new();
    for &(position, cell, heading) in &found {
        slots.resize(position - start, Slot::NONE);
        let Some(heading) = heading else {
            slots.push(Slot::NONE);
            unknown.push((address(position, row.number), cell.raw().trim().to_string()));
            continue;
        };
        slots.push(Slot { field: Some(heading.field), native: heading.native });
        let field = mapping.fields.get(heading.field);
        let other = seen.iter().find(|(_, field)| *field == heading.field);
        if let (Some((other, _)), Some(field)) =
            (other, field.filter(|field| field.target.is_some()))
        {
            let message = format!(
                "the headings in {} and {} both mean `{}`",
                address(*other, row.number),
                address(position, row.number),
                field.name,
            );
            return Err(Error::new(Kind::InvalidData, "read the header", message)
                .with_hint("rename one of them, or give a mapping in which they differ"));
        }
        seen.push((position, heading.field));
    }
    let name = format!("header in row {}", row.number);
    let candidate = has_key.then(|| Candidate::of_header(mapping, name, slots));
    Ok(Some(Header { start, candidate, unknown }))
}

/// The headings that a row seems to consist of, for the message about a tab of another kind;
/// nothing where it may be data, which no message shows.
pub(super) fn seen(row: &SourceRow) -> Vec<String> {
    let filled: Vec<&Cell> = row.cells.iter().filter(|cell| !is_blank(cell)).collect();
    let headings: Vec<String> = filled
        .iter()
        .filter_map(|cell| match cell {
            Cell::Text(text) => Some(normalised(text).len()).and_then(|length| {
                let harmless = !text.contains(|c: char| c.is_numeric() || "@+\0".contains(c));
                (length <= 80 && harmless)
                    .then(|| text.split_whitespace().collect::<Vec<_>>().join(" "))
            }),
            _ => None,
        })
        .collect();
    if headings.len() == filled.len() { headings } else { Vec::new() }
}

pub(super) fn address(position: usize, row: u64) -> String {
    format!("{}{row}", column_name(position))
}
