//! Ranges in A1 notation: which sheet and which rectangle a text means.

use std::ops::Range;

use crate::book::{Book, Sheet, Span};
use crate::json::Node;

/// A place that exists in a book, not yet cut to the grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    /// Position of the sheet in the book.
    pub sheet: usize,
    pub rows: Span,
    pub columns: Span,
}

/// A rectangle within the grid of a sheet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Area {
    pub sheet: usize,
    pub rows: Range<u32>,
    pub columns: Range<u32>,
}

/// Why a range was refused; the text is Google's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RangeError(pub String);

/// Finds what `text` means and cuts it to the grid.
pub(crate) fn resolve(book: &Book, text: &str) -> Result<Area, RangeError> {
    let unknown = || RangeError(format!("Unable to parse range: {text}"));
    let located = locate(book, text).ok_or_else(unknown)?;
    let sheet = book.sheets.get(located.sheet).ok_or_else(unknown)?;
    let within = |span: Span, size: u32| {
        let start = span.start.unwrap_or(0);
        let end = span.end.unwrap_or(size).min(size);
        (start < end).then_some(start..end)
    };
    match (within(located.rows, sheet.row_count), within(located.columns, sheet.column_count)) {
        (Some(rows), Some(columns)) => Ok(Area { sheet: located.sheet, rows, columns }),
        _ => Err(RangeError(format!(
            "Range ({}!{}) exceeds grid limits. Max rows: {}, max columns: {}",
            quoted_title(&sheet.title),
            open_text(located.rows, located.columns),
            sheet.row_count,
            sheet.column_count
        ))),
    }
}

/// Finds what `text` means: a sheet with a range or a name, a range of the first visible
/// sheet, a named range, or a whole sheet.
pub(crate) fn locate(book: &Book, text: &str) -> Option<Located> {
    if text.starts_with('\'') {
        return split_quoted(book, text).and_then(|(sheet, rest)| inside(book, sheet, rest));
    }
    if let Some((title, rest)) = text.rsplit_once('!')
        && let Some(sheet) = sheet_of_title(book, title)
    {
        return inside(book, sheet, Some(rest));
    }
    // What looks like cells is cells, even where a sheet has that title.
    if let Some((rows, columns)) = cells(text) {
        let sheet = book.sheets.iter().position(|sheet| !sheet.hidden).unwrap_or(0);
        return Some(Located { sheet, rows, columns });
    }
    named(book, text)
        .or_else(|| sheet_of_title(book, text).and_then(|sheet| inside(book, sheet, None)))
}

/// The sheet and what follows its quoted title. Inner quotes may be doubled or not.
fn split_quoted<'t>(book: &Book, text: &'t str) -> Option<(usize, Option<&'t str>)> {
    let ends: Vec<(usize, Option<&str>)> = text
        .char_indices()
        .skip(1)
        .filter(|(_, character)| *character == '\'')
        .filter_map(|(at, _)| {
            let rest = text.get(at.saturating_add(1)..)?;
            match rest.strip_prefix('!') {
                Some(range) => Some((at, Some(range))),
                None => rest.is_empty().then_some((at, None)),
            }
        })
        .collect();
    let inner = |at: &usize| text.get(1..*at);
    // The doubled form is unambiguous, so it goes first.
    let doubled = ends.iter().find_map(|(at, rest)| {
        let title = inner(at)?;
        let single = title.replace("''", "");
        if single.contains('\'') {
            return None;
        }
        Some((sheet_of_title(book, &title.replace("''", "'"))?, *rest))
    });
    doubled.or_else(|| {
        ends.iter().rev().find_map(|(at, rest)| Some((sheet_of_title(book, inner(at)?)?, *rest)))
    })
}

/// [K] Google may also take another case of letters; titles that differ are refused here,
/// as gspread refuses them.
fn sheet_of_title(book: &Book, title: &str) -> Option<usize> {
    book.sheets.iter().position(|sheet| sheet.title == title)
}

fn inside(book: &Book, sheet: usize, rest: Option<&str>) -> Option<Located> {
    match rest {
        None => Some(Located { sheet, rows: Span::default(), columns: Span::default() }),
        Some(text) => match cells(text) {
            Some((rows, columns)) => Some(Located { sheet, rows, columns }),
            None => named(book, text),
        },
    }
}

fn named(book: &Book, name: &str) -> Option<Located> {
    let range = book.named_ranges.iter().find(|range| range.name == name)?;
    let sheet = book.sheets.iter().position(|sheet| sheet.sheet_id == range.sheet_id)?;
    Some(Located { sheet, rows: range.rows, columns: range.columns })
}

/// Rows and columns of `A1`, `A1:B2`, `A:B`, `1:2`, `A2:B`, `A2:2` and of R1C1 notation.
/// Corners may come in any order.
fn cells(text: &str) -> Option<(Span, Span)> {
    let mut parts = text.split(':');
    let first = parts.next()?;
    let second = parts.next();
    if parts.next().is_some() {
        return None;
    }
    let first = corner(first).or_else(|| numbered_corner(first))?;
    let Some(second) = second else {
        return match first {
            (Some(column), Some(row)) => Some((one(row), one(column))),
            _ => None,
        };
    };
    let second = corner(second).or_else(|| numbered_corner(second))?;
    // "A:2" has a column at one end only and a row at the other only.
    if let ((Some(_), None), (None, Some(_))) | ((None, Some(_)), (Some(_), None)) = (first, second)
    {
        return None;
    }
    Some((between(first.1, second.1), between(first.0, second.0)))
}

fn one(position: u32) -> Span {
    Span { start: Some(position), end: position.checked_add(1) }
}

fn between(first: Option<u32>, second: Option<u32>) -> Span {
    match (first, second) {
        (Some(a), Some(b)) => Span { start: Some(a.min(b)), end: a.max(b).checked_add(1) },
        // One end is open: up to the edge of the grid.
        (Some(start), None) | (None, Some(start)) => Span { start: Some(start), end: None },
        (None, None) => Span::default(),
    }
}

/// Column and row of `B3`, `B` or `3`, from 0; dollar signs are taken [K].
fn corner(text: &str) -> Option<(Option<u32>, Option<u32>)> {
    let text = text.strip_prefix('$').unwrap_or(text);
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (letters, digits) = text.split_at_checked(letters)?;
    let digits =
        if letters.is_empty() { digits } else { digits.strip_prefix('$').unwrap_or(digits) };
    if letters.is_empty() && digits.is_empty() {
        return None;
    }
    Some((
        if letters.is_empty() { None } else { Some(column_of_letters(letters)?) },
        if digits.is_empty() { None } else { Some(row_of_digits(digits)?) },
    ))
}

/// Column and row of `R3C2`.
fn numbered_corner(text: &str) -> Option<(Option<u32>, Option<u32>)> {
    let (row, column) = text.strip_prefix(['R', 'r'])?.split_once(['C', 'c'])?;
    Some((Some(row_of_digits(column)?), Some(row_of_digits(row)?)))
}

/// Up to three letters, as the widest grid ends at ZZZ; longer words are names.
fn column_of_letters(letters: &str) -> Option<u32> {
    if letters.len() > 3 {
        return None;
    }
    let number = letters.bytes().fold(0_u32, |number, letter| {
        number * 26 + u32::from(letter.to_ascii_uppercase() - b'A') + 1
    });
    number.checked_sub(1)
}

fn row_of_digits(digits: &str) -> Option<u32> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u32>().ok()?.checked_sub(1)
}

/// The letters of a column, from 0.
pub(crate) fn letters(column: u32) -> String {
    let mut text = Vec::new();
    let mut rest = column;
    loop {
        // A remainder by 26 fits a byte.
        #[allow(clippy::cast_possible_truncation)]
        text.push(char::from(b'A' + (rest % 26) as u8));
        match (rest / 26).checked_sub(1) {
            Some(next) => rest = next,
            None => break,
        }
    }
    text.iter().rev().collect()
}

/// The title as answers print it: plain when it is an ASCII word that cannot be taken for
/// a cell, otherwise quoted with inner quotes doubled.
pub(crate) fn quoted_title(title: &str) -> String {
    let word = title.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && title.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let cell_like =
        matches!(corner(title), Some((Some(_), Some(_)))) || numbered_corner(title).is_some();
    if word && !cell_like { title.to_owned() } else { format!("'{}'", title.replace('\'', "''")) }
}

/// `Sheet1!A1:D4`, or `Sheet1!D4` for one cell.
pub(crate) fn text_of(sheet: &Sheet, area: &Area) -> String {
    let title = quoted_title(&sheet.title);
    let first = format!("{}{}", letters(area.columns.start), u64::from(area.rows.start) + 1);
    let last = format!("{}{}", letters(area.columns.end.saturating_sub(1)), area.rows.end);
    if first == last { format!("{title}!{first}") } else { format!("{title}!{first}:{last}") }
}

/// The range as asked for, open ends left open.
fn open_text(rows: Span, columns: Span) -> String {
    let corner = |column: Option<u32>, row: Option<u64>| {
        let column = column.map(letters).unwrap_or_default();
        row.map_or(column.clone(), |row| format!("{column}{row}"))
    };
    let first = corner(columns.start, rows.start.map(|row| u64::from(row) + 1));
    let last = corner(columns.end.map(|end| end.saturating_sub(1)), rows.end.map(u64::from));
    if first == last && rows.start.is_some() && columns.start.is_some() {
        first
    } else {
        format!("{first}:{last}")
    }
}

/// Google's `GridRange`: the sheet 0 is left out, as are open ends.
pub(crate) fn grid_range(sheet_id: i64, rows: Span, columns: Span) -> Node {
    let sheet = (sheet_id != 0).then_some(("sheetId", Node::Int(sheet_id)));
    let side = |key, value: Option<u32>| value.map(|value| (key, Node::Int(i64::from(value))));
    let sides = [
        side("startRowIndex", rows.start),
        side("endRowIndex", rows.end),
        side("startColumnIndex", columns.start),
        side("endColumnIndex", columns.end),
    ];
    Node::object(sheet.into_iter().chain(sides.into_iter().flatten()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn book() -> Book {
        let mut book = Book::new("b");
        let titles = [
            ("Sheet1", 1_000, 26),
            ("D3", 4, 4),
            ("Jon's Data", 10, 3),
            ("a!b", 5, 5),
            ("🌵 test", 10, 10),
            ("Лист 1/2 #%&+", 7, 2),
            ("it''s", 3, 3),
        ];
        book.sheets = titles
            .iter()
            .zip(0..)
            .map(|((title, rows, columns), id)| Sheet::new(id, title, *rows, *columns))
            .collect();
        book.named_ranges.push(crate::book::NamedRange {
            id: "1".to_owned(),
            name: "Names".to_owned(),
            sheet_id: 1,
            rows: Span { start: Some(0), end: Some(3) },
            columns: Span { start: Some(1), end: Some(3) },
        });
        book
    }

    fn answered(text: &str) -> String {
        let book = book();
        match resolve(&book, text) {
            Ok(area) => text_of(&book.sheets[area.sheet], &area),
            Err(RangeError(message)) => message,
        }
    }

    #[test]
    fn ranges_are_normalised() {
        for (asked, answer) in [
            ("Sheet1", "Sheet1!A1:Z1000"),
            ("'Sheet1'", "Sheet1!A1:Z1000"),
            ("Sheet1!D4", "Sheet1!D4"),
            ("Sheet1!$b$2:A1", "Sheet1!A1:B2"),
            ("Sheet1!D4:A1", "Sheet1!A1:D4"),
            ("Sheet1!D1:A4", "Sheet1!A1:D4"),
            ("Sheet1!A:C", "Sheet1!A1:C1000"),
            ("Sheet1!C:A", "Sheet1!A1:C1000"),
            ("Sheet1!2:3", "Sheet1!A2:Z3"),
            ("Sheet1!A2:2", "Sheet1!A2:Z2"),
            ("Sheet1!A5:B", "Sheet1!A5:B1000"),
            ("Sheet1!A999:A2000", "Sheet1!A999:A1000"),
            ("Sheet1!A1000:A2000", "Sheet1!A1000"),
            ("Sheet1!Z1:AC1", "Sheet1!Z1"),
            ("Sheet1!R2C3", "Sheet1!C2"),
            ("Sheet1!R2C3:R1C1", "Sheet1!A1:C2"),
            ("A1:B2", "Sheet1!A1:B2"),
            ("D3", "Sheet1!D3"),
            ("'D3'", "'D3'!A1:D4"),
            ("'D3'!A1", "'D3'!A1"),
            ("D3!A1", "'D3'!A1"),
            ("'Jon''s Data'!A1", "'Jon''s Data'!A1"),
            ("'Jon's Data'!A1", "'Jon''s Data'!A1"),
            ("'Jon's Data'", "'Jon''s Data'!A1:C10"),
            ("Jon's Data!A1", "'Jon''s Data'!A1"),
            ("'it''''s'!A1", "'it''''s'!A1"),
            ("'a!b'!B2", "'a!b'!B2"),
            ("a!b!B2", "'a!b'!B2"),
            ("🌵 test!A:A", "'🌵 test'!A1:A10"),
            ("'Лист 1/2 #%&+'!A1", "'Лист 1/2 #%&+'!A1"),
            ("Names", "'D3'!B1:C3"),
            ("'D3'!Names", "'D3'!B1:C3"),
        ] {
            assert_eq!(answered(asked), answer, "{asked}");
        }
    }

    #[test]
    fn what_is_not_a_range_is_refused_as_asked() {
        for asked in [
            "Nobody",
            "'Nobody'!A1",
            "Sheet1!",
            "Sheet1!A",
            "Sheet1!1",
            "Sheet1!A:2",
            "Sheet1!A0",
            "Sheet1!A1:B2:C3",
            "Sheet1!A1,B2",
            "'Sheet1",
            "'",
            "",
            "!",
            "Sheet1!AAAA1",
            "sheet1!A1",
            "Sheet1!A99999999999",
            "'Sheet1'A1",
            "Sheet1!R0C1",
            "é!é",
        ] {
            assert_eq!(answered(asked), format!("Unable to parse range: {asked}"));
        }
    }

    #[test]
    fn a_start_outside_the_grid_is_refused() {
        let limits = "exceeds grid limits. Max rows: 1000, max columns: 26";
        for (asked, named) in [
            ("Sheet1!A1001", "Sheet1!A1001"),
            ("Sheet1!1001:2000", "Sheet1!1001:2000"),
            ("Sheet1!A1001:B2000", "Sheet1!A1001:B2000"),
            ("Sheet1!AA:AB", "Sheet1!AA:AB"),
            ("tab01", "Sheet1!TAB1"),
            ("Sheet1!A1001:B", "Sheet1!A1001:B"),
        ] {
            assert_eq!(answered(asked), format!("Range ({named}) {limits}"));
        }
    }

    #[test]
    fn column_letters_count_without_a_zero() {
        for (column, text) in [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA")] {
            assert_eq!(letters(column), text);
            assert_eq!(column_of_letters(text), Some(column));
        }
        assert_eq!(letters(18_277), "ZZZ");
    }
}
