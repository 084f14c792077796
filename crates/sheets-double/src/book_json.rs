//! Reading a book's JSON form. Members are taken one by one, so that a big `cells` array
//! goes straight into cells and never through a tree.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::a1;
use crate::book::{Book, NamedRange, Sheet, Span, complete, default_size};
use crate::cell::Cell;
use crate::json::Node;

const GRID_PROPERTIES: [&str; 5] = [
    "frozenRowCount",
    "frozenColumnCount",
    "hideGridlines",
    "rowGroupControlAfter",
    "columnGroupControlAfter",
];
const SHEET_PROPERTIES: [&str; 5] =
    ["sheetType", "tabColor", "rightToLeft", "tabColorStyle", "dataSourceSheetProperties"];
const SHEET_MEMBERS: [&str; 12] = [
    "merges",
    "conditionalFormats",
    "filterViews",
    "protectedRanges",
    "basicFilter",
    "charts",
    "bandedRanges",
    "developerMetadata",
    "rowGroups",
    "columnGroups",
    "slicers",
    "tables",
];
const BOOK_PROPERTIES: [&str; 5] = [
    "autoRecalc",
    "defaultFormat",
    "iterativeCalculationSettings",
    "spreadsheetTheme",
    "importFunctionsExternalUrlAccessAllowed",
];

type Members = Vec<(String, Node)>;

/// A sheet before the book gives it an id and an order.
struct Draft {
    sheet: Sheet,
    id: Option<i64>,
    index: Option<i64>,
    unknown: Vec<String>,
}

impl<'de> Deserialize<'de> for Book {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BookVisitor)
    }
}

struct BookVisitor;

impl<'de> Visitor<'de> for BookVisitor {
    type Value = Book;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a book: an object with `title` and `sheets`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Book, A::Error> {
        let mut drafts: Option<Vec<Draft>> = None;
        let mut members: Members = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "sheets" => drafts = Some(map.next_value()?),
                // Google nests these; the flat form is ours.
                "properties" => {
                    flatten(&mut members, &key, map.next_value()?).map_err(A::Error::custom)?
                }
                _ => members.push((key, map.next_value()?)),
            }
        }
        let drafts = drafts.ok_or_else(|| A::Error::missing_field("sheets"))?;
        assemble(drafts, members).map_err(A::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Draft {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DraftVisitor)
    }
}

struct DraftVisitor;

impl<'de> Visitor<'de> for DraftVisitor {
    type Value = Draft;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a sheet: an object with `title` and `cells`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Draft, A::Error> {
        let mut cells: Vec<Vec<Cell>> = Vec::new();
        let mut members: Members = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "cells" => cells = map.next_value()?,
                "properties" | "gridProperties" => {
                    flatten(&mut members, &key, map.next_value()?).map_err(A::Error::custom)?
                }
                _ => members.push((key, map.next_value()?)),
            }
        }
        draft(cells, members).map_err(A::Error::custom)
    }
}

/// Moves the members of `object` up into `members`, one more level for `gridProperties`.
fn flatten(members: &mut Members, key: &str, object: Node) -> Result<(), String> {
    let Node::Object(inner) = object else {
        return Err(format!("`{key}` must be an object"));
    };
    for (key, node) in inner {
        if key == "gridProperties" {
            flatten(members, &key, node)?;
        } else {
            members.push((key.into_owned(), node));
        }
    }
    Ok(())
}

fn draft(cells: Vec<Vec<Cell>>, members: Members) -> Result<Draft, String> {
    let (rows, columns) = default_size();
    let mut sheet = Sheet::new(0, "", rows, columns);
    sheet.cells = cells;
    let (mut title, mut id, mut index, mut unknown) = (None, None, None, Vec::new());
    for (key, node) in members {
        match key.as_str() {
            "title" => title = Some(text(&key, node)?),
            "sheetId" => id = Some(whole(&key, &node)?),
            "index" => index = Some(whole(&key, &node)?),
            "hidden" => sheet.hidden = boolean(&key, &node)?,
            "rowCount" => sheet.row_count = count(&key, &node)?,
            "columnCount" => sheet.column_count = count(&key, &node)?,
            known if GRID_PROPERTIES.contains(&known) => sheet.grid_properties.push((key, node)),
            known if SHEET_PROPERTIES.contains(&known) => sheet.properties.push((key, node)),
            known if SHEET_MEMBERS.contains(&known) => sheet.members.push((key, node)),
            _ => unknown.push(key),
        }
    }
    sheet.title = title.ok_or("a sheet has no `title`")?;
    order(&mut sheet.grid_properties, &GRID_PROPERTIES);
    order(&mut sheet.properties, &SHEET_PROPERTIES);
    order(&mut sheet.members, &SHEET_MEMBERS);
    Ok(Draft { sheet, id, index, unknown })
}

fn assemble(mut drafts: Vec<Draft>, members: Members) -> Result<Book, String> {
    let mut book = Book::new("");
    let (mut title, mut names) = (None, Node::Array(Vec::new()));
    for (key, node) in members {
        match key.as_str() {
            "title" => title = Some(text(&key, node)?),
            "locale" => book.locale = text(&key, node)?,
            "timeZone" => book.time_zone = text(&key, node)?,
            "spreadsheetId" => book.spreadsheet_id = Some(text(&key, node)?),
            "shared" => book.shared = boolean(&key, &node)?,
            "namedRanges" => names = node,
            // Derived from the id.
            "spreadsheetUrl" => {}
            "createdTime" => book.created_time = Some(text(&key, node)?),
            "modifiedTime" => book.modified_time = Some(text(&key, node)?),
            known if BOOK_PROPERTIES.contains(&known) => book.properties.push((key, node)),
            _ => book.warnings.push(format!("unknown member `{key}` is ignored")),
        }
    }
    book.title = title.ok_or("a book has no `title`")?;
    order(&mut book.properties, &BOOK_PROPERTIES);
    // Sheets without an index keep the place they have in the file.
    if drafts.iter().all(|draft| draft.index.is_some()) {
        drafts.sort_by_key(|draft| draft.index);
    }
    let mut taken: Vec<i64> = drafts.iter().filter_map(|draft| draft.id).collect();
    book.sheets.clear();
    for (position, draft) in drafts.into_iter().enumerate() {
        let mut sheet = draft.sheet;
        sheet.sheet_id = draft.id.unwrap_or_else(|| {
            let mut id = if position == 0 { 0 } else { id_of_title(&sheet.title) };
            while taken.contains(&id) {
                id = (id + 1) & 0x7fff_ffff;
            }
            taken.push(id);
            id
        });
        for key in draft.unknown {
            let title = &sheet.title;
            book.warnings.push(format!("sheet `{title}`: unknown member `{key}` is ignored"));
        }
        book.sheets.push(sheet);
    }
    complete(&mut book)?;
    book.named_ranges = named_ranges(&book, names)?;
    Ok(book)
}

/// A list of Google's `NamedRange` objects, or an object from name to area; an area is a
/// `GridRange` or text in A1 notation.
fn named_ranges(book: &Book, names: Node) -> Result<Vec<NamedRange>, String> {
    let entries: Vec<(Option<String>, String, Node)> = match names {
        Node::Array(items) => items
            .into_iter()
            .map(|item| {
                let name = item.get("name").and_then(Node::as_str);
                let area = item.get("range").cloned();
                let id = item.get("namedRangeId").and_then(Node::as_str).map(str::to_owned);
                match (name, area) {
                    (Some(name), Some(area)) => Ok((id, name.to_owned(), area)),
                    _ => Err("a named range needs `name` and `range`"),
                }
            })
            .collect::<Result<_, _>>()?,
        Node::Object(members) => {
            members.into_iter().map(|(name, area)| (None, name.into_owned(), area)).collect()
        }
        _ => return Err("`namedRanges` must be a list or an object".to_owned()),
    };
    let mut ranges = Vec::new();
    for (id, name, area) in entries {
        let (sheet_id, rows, columns) = match &area {
            Node::Text(text) => {
                let found = a1::locate(book, text)
                    .ok_or_else(|| format!("named range `{name}`: no such area `{text}`"))?;
                let sheet = book.sheets.get(found.sheet).map_or(0, |sheet| sheet.sheet_id);
                (sheet, found.rows, found.columns)
            }
            Node::Object(_) => {
                let side = |key: &str| area.get(key).map(|node| count(key, node)).transpose();
                let sheet = area.get("sheetId").map(|node| whole("sheetId", node)).transpose()?;
                (
                    sheet.unwrap_or(0),
                    Span { start: side("startRowIndex")?, end: side("endRowIndex")? },
                    Span { start: side("startColumnIndex")?, end: side("endColumnIndex")? },
                )
            }
            _ => return Err(format!("named range `{name}`: `range` must be an area")),
        };
        if !book.sheets.iter().any(|sheet| sheet.sheet_id == sheet_id) {
            return Err(format!("named range `{name}`: no sheet has the sheetId {sheet_id}"));
        }
        let id = id.unwrap_or_else(|| id_of_title(&name).to_string());
        ranges.push(NamedRange { id, name, sheet_id, rows, columns });
    }
    Ok(ranges)
}

/// A stable id of 31 bits, so that two runs over one book give the same answers (FNV-1a).
fn id_of_title(title: &str) -> i64 {
    let hash = title
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    i64::from(hash & 0x7fff_ffff)
}

/// Sorts members into the order in which Google prints them.
fn order(members: &mut Members, printed: &[&str]) {
    members.sort_by_key(|(key, _)| printed.iter().position(|name| name == key));
}

fn text(key: &str, node: Node) -> Result<String, String> {
    match node {
        Node::Text(text) => Ok(text.into_owned()),
        _ => Err(format!("`{key}` must be text")),
    }
}

fn boolean(key: &str, node: &Node) -> Result<bool, String> {
    match node {
        Node::Bool(value) => Ok(*value),
        _ => Err(format!("`{key}` must be true or false")),
    }
}

fn whole(key: &str, node: &Node) -> Result<i64, String> {
    node.as_i64().ok_or_else(|| format!("`{key}` must be a whole number"))
}

fn count(key: &str, node: &Node) -> Result<u32, String> {
    let value = whole(key, node)?;
    u32::try_from(value).map_err(|_| format!("`{key}` is out of range: {value}"))
}
