//! `spreadsheets.get`: properties, and grid data where it was asked for.

use crate::a1::{self, Area};
use crate::answer::Answer;
use crate::book::{Book, NamedRange, Sheet, Span};
use crate::cell::{Cell, Locale};
use crate::json::Node;
use crate::mask::{Known, Mask};
use crate::query::Query;
use crate::values::{mask_of, used_cells, used_lines};

const OPTIONS: [&str; 3] = ["includeGridData", "ranges", "excludeTablesInBandedRanges"];

const CELL: Known = Known(&[
    ("userEnteredValue", None),
    ("effectiveValue", None),
    ("formattedValue", None),
    ("userEnteredFormat", None),
    ("effectiveFormat", None),
    ("hyperlink", None),
    ("note", None),
    ("textFormatRuns", None),
    ("dataValidation", None),
    ("pivotTable", None),
    ("dataSourceTable", None),
    ("dataSourceFormula", None),
    ("chipRuns", None),
]);
const ROW: Known = Known(&[("values", Some(&CELL))]);
const GRID: Known = Known(&[
    ("startRow", None),
    ("startColumn", None),
    ("rowData", Some(&ROW)),
    ("rowMetadata", None),
    ("columnMetadata", None),
]);
const SHEET_PROPERTIES: Known = Known(&[
    ("sheetId", None),
    ("title", None),
    ("index", None),
    ("sheetType", None),
    ("gridProperties", None),
    ("hidden", None),
    ("tabColor", None),
    ("rightToLeft", None),
    ("tabColorStyle", None),
    ("dataSourceSheetProperties", None),
]);
const SHEET: Known = Known(&[
    ("properties", Some(&SHEET_PROPERTIES)),
    ("data", Some(&GRID)),
    ("merges", None),
    ("conditionalFormats", None),
    ("filterViews", None),
    ("protectedRanges", None),
    ("basicFilter", None),
    ("charts", None),
    ("bandedRanges", None),
    ("developerMetadata", None),
    ("rowGroups", None),
    ("columnGroups", None),
    ("slicers", None),
    ("tables", None),
]);
const PROPERTIES: Known = Known(&[
    ("title", None),
    ("locale", None),
    ("autoRecalc", None),
    ("timeZone", None),
    ("defaultFormat", None),
    ("iterativeCalculationSettings", None),
    ("spreadsheetTheme", None),
    ("importFunctionsExternalUrlAccessAllowed", None),
]);
const SPREADSHEET: Known = Known(&[
    ("spreadsheetId", None),
    ("properties", Some(&PROPERTIES)),
    ("sheets", Some(&SHEET)),
    ("namedRanges", None),
    ("spreadsheetUrl", None),
    ("developerMetadata", None),
    ("dataSources", None),
    ("dataSourceSchedules", None),
]);

/// Answers `spreadsheets/{id}`.
pub(crate) fn get(book: &Book, id: &str, query: &Query) -> Result<Answer, Answer> {
    query.check_names(&OPTIONS)?;
    let include = query.boolean("includeGridData", "include_grid_data")?;
    let mask = mask_of(query, &SPREADSHEET)?;
    let areas = query
        .all("ranges")
        .map(|range| a1::resolve(book, range).map_err(|error| Answer::bad_range(&error.0)))
        .collect::<Result<Vec<_>, _>>()?;
    // includeGridData is ignored where a mask says what is wanted [D].
    let grid = if query.get("fields").is_some() {
        mask.below("sheets").and_then(|sheets| sheets.below("data"))
    } else {
        include.then(Mask::everything)
    };
    let sheets = book
        .sheets
        .iter()
        .enumerate()
        // [K] With ranges, only the sheets that they are in.
        .filter(|(position, _)| {
            areas.is_empty() || areas.iter().any(|area| area.sheet == *position)
        })
        .map(|(position, sheet)| {
            let data = grid.as_ref().map(|mask| grid_data(book, position, sheet, &areas, mask));
            sheet_node(position, sheet, data)
        })
        .collect();
    let mut members = vec![
        ("spreadsheetId", Node::text(id.to_owned())),
        ("properties", properties(book)),
        ("sheets", Node::Array(sheets)),
    ];
    if !book.named_ranges.is_empty() {
        members.push(("namedRanges", Node::Array(book.named_ranges.iter().map(name).collect())));
    }
    let url = format!("https://docs.google.com/spreadsheets/d/{id}/edit");
    members.push(("spreadsheetUrl", Node::text(url)));
    Ok(Answer::ok(mask.select(Node::object(members)).to_body()))
}

fn properties(book: &Book) -> Node {
    let own = |key: &str| {
        book.properties.iter().find(|(name, _)| name == key).map(|(_, node)| node.clone())
    };
    let mut members = vec![
        ("title", Node::text(book.title.clone())),
        ("locale", Node::text(book.locale.clone())),
        ("autoRecalc", own("autoRecalc").unwrap_or(Node::text("ON_CHANGE"))),
        ("timeZone", Node::text(book.time_zone.clone())),
        ("defaultFormat", own("defaultFormat").unwrap_or_else(default_format)),
    ];
    let iterative = "iterativeCalculationSettings";
    members.extend(own(iterative).map(|node| (iterative, node)));
    members.push(("spreadsheetTheme", own("spreadsheetTheme").unwrap_or_else(theme)));
    let imports = "importFunctionsExternalUrlAccessAllowed";
    members.extend(own(imports).map(|node| (imports, node)));
    Node::object(members)
}

fn sheet_node(position: usize, sheet: &Sheet, data: Option<Node>) -> Node {
    let own = |key: &str| {
        sheet.properties.iter().find(|(name, _)| name == key).map(|(_, node)| node.clone())
    };
    let grid = [
        ("rowCount".to_owned(), Node::Int(i64::from(sheet.row_count))),
        ("columnCount".to_owned(), Node::Int(i64::from(sheet.column_count))),
    ];
    let mut properties = vec![
        ("sheetId", Node::Int(sheet.sheet_id)),
        ("title", Node::text(sheet.title.clone())),
        ("index", Node::Int(i64::try_from(position).unwrap_or(0))),
        ("sheetType", own("sheetType").unwrap_or(Node::text("GRID"))),
        ("gridProperties", Node::object(grid.into_iter().chain(sheet.grid_properties.clone()))),
    ];
    if sheet.hidden {
        properties.push(("hidden", Node::Bool(true)));
    }
    for key in ["tabColor", "rightToLeft", "tabColorStyle", "dataSourceSheetProperties"] {
        properties.extend(own(key).map(|node| (key, node)));
    }
    let mut members = vec![("properties".to_owned(), Node::object(properties))];
    members.extend(data.map(|data| ("data".to_owned(), data)));
    members.extend(sheet.members.iter().map(|(key, node)| {
        let node = match (key.as_str(), node) {
            ("merges", Node::Array(ranges)) => {
                Node::Array(ranges.iter().map(|range| whole_range(range, sheet, false)).collect())
            }
            ("basicFilter", filter) => with_range(filter, sheet, true),
            ("protectedRanges", Node::Array(ranges)) => {
                Node::Array(ranges.iter().map(|item| with_range(item, sheet, false)).collect())
            }
            _ => node.clone(),
        };
        (key.clone(), node)
    }));
    Node::object(members)
}

/// The object with its `range` in Google's form.
fn with_range(object: &Node, sheet: &Sheet, fill: bool) -> Node {
    let Node::Object(members) = object else { return object.clone() };
    Node::object(members.iter().map(|(key, node)| {
        let range = (key == "range").then(|| whole_range(node, sheet, fill));
        (key.clone(), range.unwrap_or_else(|| node.clone()))
    }))
}

/// A `GridRange` of this sheet in Google's order; open ends filled from the grid if asked.
fn whole_range(range: &Node, sheet: &Sheet, fill: bool) -> Node {
    let side = |key: &str| {
        range.get(key).and_then(Node::as_i64).and_then(|value| u32::try_from(value).ok())
    };
    let edge = |value: Option<u32>, edge: u32| if fill { value.or(Some(edge)) } else { value };
    let rows = Span {
        start: edge(side("startRowIndex"), 0),
        end: edge(side("endRowIndex"), sheet.row_count),
    };
    let columns = Span {
        start: edge(side("startColumnIndex"), 0),
        end: edge(side("endColumnIndex"), sheet.column_count),
    };
    a1::grid_range(sheet.sheet_id, rows, columns)
}

fn name(range: &NamedRange) -> Node {
    Node::object([
        ("namedRangeId", Node::text(range.id.clone())),
        ("name", Node::text(range.name.clone())),
        ("range", a1::grid_range(range.sheet_id, range.rows, range.columns)),
    ])
}

/// `GridData` of every asked area of the sheet, of the whole sheet when none was asked.
fn grid_data(book: &Book, position: usize, sheet: &Sheet, areas: &[Area], mask: &Mask) -> Node {
    let whole =
        [Area { sheet: position, rows: 0..sheet.row_count, columns: 0..sheet.column_count }];
    let areas = if areas.is_empty() { &whole } else { areas };
    let own = areas.iter().filter(|area| area.sheet == position);
    Node::Array(own.map(|area| grid(book, sheet, area, mask)).collect())
}

/// One `GridData`. Only what the mask wants is built: a page of a big sheet stays small.
fn grid(book: &Book, sheet: &Sheet, area: &Area, mask: &Mask) -> Node {
    let locale = Locale::of(&book.locale);
    let mut members = Vec::new();
    for (key, start) in [("startRow", area.rows.start), ("startColumn", area.columns.start)] {
        if start > 0 {
            members.push((key, Node::Int(i64::from(start))));
        }
    }
    if let Some(mask) = mask.below("rowData") {
        let cells = mask.below("values");
        // The same for every cell, so it is cut to the mask once.
        let base = cells
            .as_ref()
            .and_then(|mask| mask.below("effectiveFormat"))
            .map(|mask| mask.select(default_format()));
        let rows: Vec<Node> = (0..used_lines(sheet, area, false, Cell::is_blank))
            .map(|line| {
                let row = area.rows.start.saturating_add(line);
                let columns = area.columns.clone();
                let used = used_cells(sheet, area, false, line, Cell::is_blank);
                let values = cells.as_ref().filter(|_| used > 0).map(|mask| {
                    let first = columns.start;
                    let cells = (first..first.saturating_add(used)).map(|column| {
                        let cell = sheet.cell(row, column).unwrap_or(&Cell::Empty);
                        cell_data(cell, locale, mask, base.as_ref())
                    });
                    ("values", Node::Array(cells.collect()))
                });
                Node::object(values)
            })
            .collect();
        if !rows.is_empty() {
            members.push(("rowData", Node::Array(rows)));
        }
    }
    // [K] The sizes of a fresh sheet, in pixels.
    for (key, count, pixels) in
        [("rowMetadata", area.rows.len(), 21), ("columnMetadata", area.columns.len(), 100)]
    {
        if mask.has(key) {
            let size = Node::object([("pixelSize", Node::Int(pixels))]);
            members.push((key, Node::Array(vec![size; count])));
        }
    }
    Node::object(members)
}

fn cell_data(cell: &Cell, locale: Locale, mask: &Mask, base: Option<&Node>) -> Node {
    if cell.is_blank() {
        return Node::Object(Vec::new());
    }
    let mut members = Vec::new();
    let format = |base: Option<&Node>| {
        let own = cell.number_format().map(|format| ("numberFormat".into(), format));
        let base = match base {
            Some(Node::Object(members)) => members.clone(),
            _ => Vec::new(),
        };
        let all: Vec<_> = own.into_iter().chain(base).collect();
        (!all.is_empty()).then_some(Node::Object(all))
    };
    for (key, make) in [
        ("userEnteredValue", &(|| cell.entered_value()) as &dyn Fn() -> Option<Node>),
        ("effectiveValue", &|| cell.effective_value()),
        ("formattedValue", &|| (!cell.is_empty()).then(|| Node::text(cell.shown(locale)))),
        ("userEnteredFormat", &|| format(None)),
        ("effectiveFormat", &|| base.map(|_| format(base).unwrap_or(Node::Object(Vec::new())))),
        ("note", &|| cell.note().map(|note| Node::text(note.to_owned()))),
    ] {
        if let Some(mask) = mask.below(key)
            && let Some(node) = make()
        {
            members.push((key, mask.select(node)));
        }
    }
    Node::object(members)
}

fn rgb(members: &[(&'static str, f64)]) -> Node {
    Node::object(members.iter().map(|(key, part)| (*key, Node::Float(*part))))
}

fn style(color: Node) -> Node {
    Node::object([("rgbColor", color)])
}

/// The format of every cell of a fresh spreadsheet [R 01].
fn default_format() -> Node {
    let white = || rgb(&[("red", 1.0), ("green", 1.0), ("blue", 1.0)]);
    let padding = [("top", 2), ("right", 3), ("bottom", 2), ("left", 3)];
    let off = |key| (key, Node::Bool(false));
    Node::object([
        ("backgroundColor", white()),
        ("padding", Node::object(padding.map(|(side, pixels)| (side, Node::Int(pixels))))),
        ("verticalAlignment", Node::text("BOTTOM")),
        ("wrapStrategy", Node::text("OVERFLOW_CELL")),
        (
            "textFormat",
            Node::object([
                ("foregroundColor", rgb(&[])),
                ("fontFamily", Node::text("arial,sans,sans-serif")),
                ("fontSize", Node::Int(10)),
                off("bold"),
                off("italic"),
                off("strikethrough"),
                off("underline"),
                ("foregroundColorStyle", style(rgb(&[]))),
            ]),
        ),
        ("backgroundColorStyle", style(white())),
    ])
}

/// The theme of a fresh spreadsheet [R 01].
fn theme() -> Node {
    let colors: [(&str, &[f64]); 9] = [
        ("TEXT", &[]),
        ("BACKGROUND", &[1.0, 1.0, 1.0]),
        ("ACCENT1", &[0.258_823_54, 0.521_568_66, 0.956_862_75]),
        ("ACCENT2", &[0.917_647_06, 0.262_745_1, 0.207_843_14]),
        ("ACCENT3", &[0.984_313_7, 0.737_254_9, 0.015_686_275]),
        ("ACCENT4", &[0.203_921_57, 0.658_823_55, 0.325_490_2]),
        ("ACCENT5", &[1.0, 0.427_450_98, 0.003_921_569]),
        ("ACCENT6", &[0.274_509_82, 0.741_176_5, 0.776_470_6]),
        ("LINK", &[0.066_666_67, 0.333_333_34, 0.8]),
    ];
    let colors = colors.map(|(kind, parts)| {
        let parts: Vec<_> =
            ["red", "green", "blue"].into_iter().zip(parts.iter().copied()).collect();
        Node::object([("colorType", Node::text(kind)), ("color", style(rgb(&parts)))])
    });
    Node::object([
        ("primaryFontFamily", Node::text("Arial")),
        ("themeColors", Node::Array(colors.into())),
    ])
}
