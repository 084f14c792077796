//! What is said about cells and rows; never with a cell's value.

use super::candidate::Candidate;
use super::cells::CellKind;
use super::layout::{Flaw, Reading, View};
use super::{Code, Mapping, Problem};

/// How many flaws of a reading are told.
const TOLD: usize = 4;

fn name(mapping: &Mapping, field: usize) -> &str {
    mapping.fields.get(field).map_or("", |field| field.name.as_str())
}

fn looks(cell_kind: CellKind) -> &'static str {
    match cell_kind {
        CellKind::Status => "looks like a status",
        CellKind::DateTime => "looks like a time",
        CellKind::Date | CellKind::Day => "looks like a date",
        CellKind::YesNo => "looks like a yes or no",
        CellKind::Phone => "looks like a phone number",
        CellKind::LongNumber | CellKind::Number => "looks like a number",
        CellKind::Plain => "looks like other text",
    }
}

/// The problems of the cells that could not be read.
pub(super) fn of_cells(mapping: &Mapping, view: View<'_>, reading: &Reading) -> Vec<Problem> {
    let problem = |flaw: &Flaw| {
        let Flaw::Misfit { position, field, fault, .. } = flaw else { return None };
        let (cell, column) = (view.address(*position), name(mapping, *field));
        Some(Problem {
            row: view.row,
            sentence: format!("{column} in {cell} {}", fault.says),
            cell: Some(cell),
            column: Some(column.to_string()),
            code: fault.code,
            raw: view.get(*position).raw(),
            displayed: None,
        })
    };
    reading.flaws.iter().filter_map(problem).collect()
}

/// A problem of the whole row.
pub(super) fn of_row(view: View<'_>, code: Code, sentence: String) -> Problem {
    let cells: Vec<String> = view.cells.iter().map(|cell| cell.raw()).collect();
    Problem {
        row: view.row,
        cell: None,
        column: None,
        code,
        sentence,
        raw: cells.join(" | "),
        displayed: None,
    }
}

/// The row fits no layout: the readings that come nearest, and what is wrong with each.
pub(super) fn unfit(
    mapping: &Mapping,
    candidates: &[Candidate],
    view: View<'_>,
    readings: &[Option<&Reading>],
) -> String {
    let told: Vec<String> = readings
        .iter()
        .flatten()
        .map(|reading| {
            let mut flaws: Vec<String> = reading
                .flaws
                .iter()
                .take(TOLD)
                .map(|flaw| flaw_text(mapping, view, flaw))
                .collect();
            if reading.flaws.len() > TOLD {
                flaws.push("and more".to_string());
            }
            if flaws.is_empty() {
                flaws.push("much is empty".to_string());
            }
            format!("as “{}”: {}", layout_name(candidates, reading), flaws.join(", "))
        })
        .collect();
    if told.is_empty() {
        "fits no layout".to_string()
    } else {
        format!("fits no layout; {}", told.join("; "))
    }
}

fn flaw_text(mapping: &Mapping, view: View<'_>, flaw: &Flaw) -> String {
    let at = |position: &usize, field: &usize| {
        format!("{} ({})", view.address(*position), name(mapping, *field))
    };
    match flaw {
        Flaw::Misfit { position, field, fault, .. } => {
            format!("{} {}", at(position, field), fault.says)
        }
        Flaw::Clash { position, field, cell_kind }
        | Flaw::Foreign { position, field, cell_kind } => {
            format!("{} {}", at(position, field), looks(*cell_kind))
        }
        Flaw::Unlikely { position, field } => {
            format!("{} is unusual there", at(position, field))
        }
        Flaw::Missing { field } => format!("{} is empty", name(mapping, *field)),
        Flaw::Before { .. } => format!("there are cells to the left of {}", view.address(0)),
        Flaw::Beyond { position, .. } => {
            format!("{} is outside of its columns", view.address(*position))
        }
    }
}

fn layout_name<'c>(candidates: &'c [Candidate], reading: &Reading) -> &'c str {
    candidates.get(reading.candidate).map_or("", |candidate| candidate.name.as_str())
}

/// The row fits two layouts: which columns they read differently.
pub(super) fn ambiguous(
    mapping: &Mapping,
    candidates: &[Candidate],
    readings: [&Reading; 2],
) -> String {
    let [first, second] = readings;
    let differing: Vec<&str> = mapping
        .columns
        .iter()
        .zip(first.values.iter().zip(&second.values))
        .filter(|(_, (one, other))| one != other)
        .map(|(column, _)| &**column)
        .collect();
    format!(
        "fits “{}” and “{}”, which read {} differently",
        layout_name(candidates, first),
        layout_name(candidates, second),
        differing.join(", "),
    )
}

/// The row begins `by` columns to the right of its place.
pub(super) fn shifted(by: usize) -> String {
    let columns = if by == 1 { "column" } else { "columns" };
    format!(
        "shifted by {by} {columns}: its date and id stand to the right of their place; move it \
         back, or read it so with `repair_shift = true`"
    )
}
