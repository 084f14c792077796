//! `values.get` and `values:batchGet`.

use crate::a1::{self, Area};
use crate::answer::Answer;
use crate::book::{Book, Sheet};
use crate::cell::{Cell, Locale, Render};
use crate::json::{new_line, write_text};
use crate::mask::{Known, Mask};
use crate::query::Query;

const OPTIONS: [&str; 3] = ["majorDimension", "valueRenderOption", "dateTimeRenderOption"];
const BATCH_OPTIONS: [&str; 4] =
    ["ranges", "majorDimension", "valueRenderOption", "dateTimeRenderOption"];

const VALUE_RANGE: Known = Known(&[("range", None), ("majorDimension", None), ("values", None)]);
const BATCH: Known = Known(&[("spreadsheetId", None), ("valueRanges", Some(&VALUE_RANGE))]);

/// How a request wants its values.
struct Wanted {
    by_columns: bool,
    render: Render,
    mask: Mask,
}

fn wanted(query: &Query, options: &[&str], known: &Known) -> Result<Wanted, Answer> {
    query.check_names(options)?;
    Ok(Wanted {
        by_columns: query.by_columns()?,
        render: query.render()?,
        mask: mask_of(query, known)?,
    })
}

/// The `fields` option, everything without one.
pub(crate) fn mask_of(query: &Query, known: &Known) -> Result<Mask, Answer> {
    let Some(fields) = query.get("fields") else { return Ok(Mask::everything()) };
    let mask = Mask::parse(fields).map_err(|error| Answer::unknown_field(&error.0))?;
    match mask.unknown(known) {
        Some(path) => Err(Answer::unknown_field(&path)),
        None => Ok(mask),
    }
}

/// Answers `values/{range}`.
pub(crate) fn get(book: &Book, range: &str, query: &Query) -> Result<Answer, Answer> {
    let wanted = wanted(query, &OPTIONS, &VALUE_RANGE)?;
    let area = a1::resolve(book, range).map_err(|error| Answer::bad_range(&error.0))?;
    let mut out = String::new();
    write_range(&mut out, book, &area, &wanted, &wanted.mask, 0);
    out.push('\n');
    Ok(Answer::ok(out.into_bytes()))
}

/// Answers `values:batchGet`: every range or none.
pub(crate) fn batch_get(book: &Book, id: &str, query: &Query) -> Result<Answer, Answer> {
    let wanted = wanted(query, &BATCH_OPTIONS, &BATCH)?;
    let areas = query
        .all("ranges")
        .map(|range| a1::resolve(book, range).map_err(|error| Answer::bad_range(&error.0)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut out = String::new();
    let mut object = Members::open(&mut out, 0);
    if wanted.mask.has("spreadsheetId") {
        write_text(object.key("spreadsheetId"), id);
    }
    if let Some(mask) = wanted.mask.below("valueRanges").filter(|_| !areas.is_empty()) {
        let out = object.key("valueRanges");
        out.push('[');
        for (position, area) in areas.iter().enumerate() {
            if position > 0 {
                out.push(',');
            }
            new_line(out, 2);
            write_range(out, book, area, &wanted, &mask, 2);
        }
        new_line(out, 1);
        out.push(']');
    }
    object.close();
    out.push('\n');
    Ok(Answer::ok(out.into_bytes()))
}

/// An object whose members are written straight into the body, so that a big sheet is
/// never held as a tree.
struct Members<'o> {
    out: &'o mut String,
    level: usize,
    empty: bool,
}

impl<'o> Members<'o> {
    fn open(out: &'o mut String, level: usize) -> Self {
        out.push('{');
        Self { out, level, empty: true }
    }

    fn key(&mut self, key: &str) -> &mut String {
        if !self.empty {
            self.out.push(',');
        }
        self.empty = false;
        new_line(self.out, self.level.saturating_add(1));
        write_text(self.out, key);
        self.out.push_str(": ");
        self.out
    }

    fn close(self) {
        if !self.empty {
            new_line(self.out, self.level);
        }
        self.out.push('}');
    }
}

fn write_range(
    out: &mut String,
    book: &Book,
    area: &Area,
    wanted: &Wanted,
    mask: &Mask,
    level: usize,
) {
    let Some(sheet) = book.sheets.get(area.sheet) else { return };
    let mut object = Members::open(out, level);
    if mask.has("range") {
        write_text(object.key("range"), &a1::text_of(sheet, area));
    }
    if mask.has("majorDimension") {
        let dimension = if wanted.by_columns { "COLUMNS" } else { "ROWS" };
        write_text(object.key("majorDimension"), dimension);
    }
    let lines = used_lines(sheet, area, wanted.by_columns, Cell::is_empty);
    if mask.has("values") && lines > 0 {
        let locale = Locale::of(&book.locale);
        let inner = level.saturating_add(2);
        let out = object.key("values");
        out.push('[');
        for line in 0..lines {
            if line > 0 {
                out.push(',');
            }
            new_line(out, inner);
            write_line(out, sheet, area, wanted, locale, line, inner);
        }
        new_line(out, level.saturating_add(1));
        out.push(']');
    }
    object.close();
}

/// Writes a row or a column up to its last cell that is not empty.
fn write_line(
    out: &mut String,
    sheet: &Sheet,
    area: &Area,
    wanted: &Wanted,
    locale: Locale,
    line: u32,
    level: usize,
) {
    let used = used_cells(sheet, area, wanted.by_columns, line, Cell::is_empty);
    if used == 0 {
        out.push_str("[]");
        return;
    }
    out.push('[');
    for position in 0..used {
        if position > 0 {
            out.push(',');
        }
        new_line(out, level.saturating_add(1));
        let cell = cell_at(sheet, area, wanted.by_columns, line, position);
        cell.unwrap_or(&Cell::Empty).write(out, wanted.render, locale);
    }
    new_line(out, level);
    out.push(']');
}

fn cell_at<'s>(
    sheet: &'s Sheet,
    area: &Area,
    by_columns: bool,
    line: u32,
    position: u32,
) -> Option<&'s Cell> {
    let (row, column) = if by_columns { (position, line) } else { (line, position) };
    sheet.cell(area.rows.start.checked_add(row)?, area.columns.start.checked_add(column)?)
}

/// Cells of a line up to the last one that is not `left_out`.
pub(crate) fn used_cells(
    sheet: &Sheet,
    area: &Area,
    by_columns: bool,
    line: u32,
    left_out: fn(&Cell) -> bool,
) -> u32 {
    // Nothing is stored past the last row, so a million empty rows cost nothing.
    let size = if by_columns {
        stored_rows(sheet, area)
    } else {
        area.columns.end.saturating_sub(area.columns.start)
    };
    (0..size)
        .rev()
        .find(|position| {
            cell_at(sheet, area, by_columns, line, *position).is_some_and(|cell| !left_out(cell))
        })
        .map_or(0, |last| last.saturating_add(1))
}

/// Lines up to the last one with a cell that is not `left_out`.
pub(crate) fn used_lines(
    sheet: &Sheet,
    area: &Area,
    by_columns: bool,
    left_out: fn(&Cell) -> bool,
) -> u32 {
    let size = if by_columns {
        area.columns.end.saturating_sub(area.columns.start)
    } else {
        stored_rows(sheet, area)
    };
    (0..size)
        .rev()
        .find(|line| used_cells(sheet, area, by_columns, *line, left_out) > 0)
        .map_or(0, |last| last.saturating_add(1))
}

/// Rows of the area that have anything stored.
fn stored_rows(sheet: &Sheet, area: &Area) -> u32 {
    let stored = u32::try_from(sheet.cells.len()).unwrap_or(u32::MAX);
    area.rows.end.min(stored).saturating_sub(area.rows.start)
}
