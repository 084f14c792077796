//! Applies recorded writes to a book, as far as the recordings use them.

use serde_json::Value;
use sheets_double::{Book, Cell, Node, Sheet};

fn node(value: &Value) -> Node {
    serde_json::from_value(value.clone()).unwrap()
}

/// A recorded exchange that changed the workbook.
pub fn apply(book: &mut Book, exchange: &Value) {
    let request = &exchange["request"];
    let path = request["path_decoded"].as_str().unwrap();
    let answer = &exchange["response"]["body_json"];
    let sent: Value = match &request["body"] {
        Value::String(text) if !text.is_empty() => serde_json::from_str(text).unwrap(),
        Value::String(_) | Value::Null => Value::Null,
        other => other.clone(),
    };
    if exchange["response"]["status"] != 200 {
        return;
    }
    let entered = request["query_raw"].as_str().unwrap_or("").contains("USER_ENTERED");
    if path.ends_with(":batchUpdate") {
        let replies = answer["replies"].as_array().unwrap();
        for (update, reply) in sent["requests"].as_array().unwrap().iter().zip(replies) {
            for (kind, update) in update.as_object().unwrap() {
                batch_update(book, kind, update, &reply[kind]);
            }
        }
    } else if path.ends_with(":clear") {
        let (title, rows, columns) = area(answer["clearedRange"].as_str().unwrap());
        let sheet = sheet_named(book, &title);
        for row in rows.0..=rows.1 {
            for column in columns.0..=columns.1 {
                put(sheet, row, column, Cell::Empty);
            }
        }
    } else {
        // Where an append landed is what Google answered.
        let updated = answer.get("updates").unwrap_or(answer)["updatedRange"].as_str().unwrap();
        write(book, updated, &sent["values"], entered);
    }
}

/// Puts the values of a recorded answer where they were read, for a recording that starts
/// in the middle.
pub fn seed(book: &mut Book, exchange: &Value) {
    let answer = &exchange["response"]["body_json"];
    let Some(range) = answer["range"].as_str() else { return };
    let (title, rows, columns) = area(range);
    let request = &exchange["request"];
    let asked = request["path_decoded"].as_str().unwrap();
    if !book.sheets.iter().any(|sheet| sheet.title == title) {
        book.sheets[0].title = title.clone();
    }
    let whole = !asked.contains('!');
    let sheet = sheet_named(book, &title);
    if whole {
        sheet.row_count = u32::try_from(rows.1 + 1).unwrap();
        sheet.column_count = u32::try_from(columns.1 + 1).unwrap();
    }
    let formulas = request["query_raw"].as_str().unwrap_or("").contains("FORMULA");
    if let Some(values) = answer.get("values") {
        write(book, range, values, formulas);
    }
    if let Some((_, name)) = asked.rsplit_once('!')
        && name.bytes().all(|byte| byte.is_ascii_alphabetic())
    {
        let (rows, columns) = (span(rows), span(columns));
        book.named_ranges.push(sheets_double::NamedRange {
            id: "1".to_owned(),
            name: name.to_owned(),
            sheet_id: 0,
            rows,
            columns,
        });
    }
}

fn span((first, last): (usize, usize)) -> sheets_double::Span {
    let position = |value: usize| Some(u32::try_from(value).unwrap());
    sheets_double::Span { start: position(first), end: position(last + 1) }
}

fn write(book: &mut Book, range: &str, values: &Value, entered: bool) {
    let (title, rows, columns) = area(range);
    let sheet = sheet_named(book, &title);
    for (row, line) in values.as_array().unwrap().iter().enumerate() {
        for (column, value) in line.as_array().unwrap().iter().enumerate() {
            let cell = if entered {
                user_entered(value)
            } else {
                serde_json::from_value(value.clone()).unwrap()
            };
            put(sheet, rows.0 + row, columns.0 + column, cell);
        }
    }
}

/// What a person's typing makes of a text: formulas, dates, numbers.
fn user_entered(value: &Value) -> Cell {
    let plain = || serde_json::from_value(value.clone()).unwrap();
    let Some(text) = value.as_str() else { return plain() };
    let styled = |form: Value| serde_json::from_value::<Cell>(form).unwrap();
    if let Some(formula) = text.strip_prefix('=') {
        let number = |text: &str| text.trim().parse::<f64>().unwrap();
        let result = match (formula.split_once('/'), formula.split_once('+')) {
            (Some((a, b)), _) => number(a) / number(b),
            (None, Some((a, b))) => number(a) + number(b),
            (None, None) => panic!("no recorded formula looks like {text}"),
        };
        return styled(serde_json::json!({"v": result, "formula": text}));
    }
    if text.len() == 10 && text.split('-').count() == 3 {
        return styled(serde_json::json!({"v": text, "date": true}));
    }
    if text.starts_with(|first: char| first.is_ascii_digit())
        && let Ok(number) = text.replace(',', "").parse::<f64>()
    {
        return match text.contains(',') {
            true => styled(serde_json::json!({"v": number, "f": text})),
            false => Cell::Number(number),
        };
    }
    plain()
}

fn batch_update(book: &mut Book, kind: &str, update: &Value, reply: &Value) {
    match kind {
        "addSheet" => {
            let made = &reply["properties"];
            let side =
                |key: &str| u32::try_from(made["gridProperties"][key].as_u64().unwrap()).unwrap();
            let (rows, columns) = (side("rowCount"), side("columnCount"));
            let id = made["sheetId"].as_i64().unwrap();
            book.sheets.push(Sheet::new(id, made["title"].as_str().unwrap(), rows, columns));
        }
        "updateSheetProperties" => {
            let properties = &update["properties"];
            let sheet = sheet_of(book, properties);
            let grid = &properties["gridProperties"];
            if let Some(rows) = grid["rowCount"].as_u64() {
                sheet.row_count = u32::try_from(rows).unwrap();
            }
            if let Some(columns) = grid["columnCount"].as_u64() {
                sheet.column_count = u32::try_from(columns).unwrap();
            }
            if let Some(title) = properties["title"].as_str() {
                sheet.title = title.to_owned();
            }
            if let Some(hidden) = properties["hidden"].as_bool() {
                sheet.hidden = hidden;
            }
        }
        "updateSpreadsheetProperties" => {
            let properties = &update["properties"];
            if let Some(locale) = properties["locale"].as_str() {
                book.locale = locale.to_owned();
            }
            if let Some(zone) = properties["timeZone"].as_str() {
                book.time_zone = zone.to_owned();
            }
        }
        "mergeCells" => {
            let range = node(&update["range"]);
            let sheet = sheet_of(book, &update["range"]);
            match sheet.members.iter_mut().find(|(key, _)| key == "merges") {
                Some((_, Node::Array(ranges))) => ranges.push(range),
                _ => sheet.members.push(("merges".to_owned(), Node::Array(vec![range]))),
            }
        }
        "setBasicFilter" => {
            let filter = node(&update["filter"]);
            let sheet = sheet_of(book, &update["filter"]["range"]);
            sheet.members.push(("basicFilter".to_owned(), filter));
        }
        "addNamedRange" => {
            let json = serde_json::json!({
                "title": "", "sheets": [{"title": "Sheet1"}],
                "namedRanges": [reply["namedRange"]],
            });
            let read = Book::from_json(&json.to_string()).unwrap();
            book.named_ranges.extend(read.named_ranges);
        }
        "deleteNamedRange" => {
            let id = update["namedRangeId"].as_str().unwrap();
            book.named_ranges.retain(|range| range.id != id);
        }
        // Values do not depend on it.
        "updateDimensionProperties" => {}
        other => panic!("no replay of {other}"),
    }
}

fn sheet_of<'b>(book: &'b mut Book, object: &Value) -> &'b mut Sheet {
    let id = object["sheetId"].as_i64().unwrap();
    book.sheets.iter_mut().find(|sheet| sheet.sheet_id == id).unwrap()
}

fn sheet_named<'b>(book: &'b mut Book, title: &str) -> &'b mut Sheet {
    book.sheets.iter_mut().find(|sheet| sheet.title == title).unwrap()
}

fn put(sheet: &mut Sheet, row: usize, column: usize, cell: Cell) {
    if sheet.cells.len() <= row {
        sheet.cells.resize_with(row + 1, Vec::new);
    }
    let line = &mut sheet.cells[row];
    if line.len() <= column {
        line.resize(column + 1, Cell::Empty);
    }
    line[column] = cell;
}

type Side = (usize, usize);

/// Title, rows and columns (first and last) of a range as Google answers it.
fn area(range: &str) -> (String, Side, Side) {
    let (title, cells) = range.rsplit_once('!').unwrap();
    let title = match title.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(inner) => inner.replace("''", "'"),
        None => title.to_owned(),
    };
    let corner = |text: &str| {
        let split = text.find(|c: char| c.is_ascii_digit()).unwrap();
        let column = text[..split].bytes().fold(0, |n, c| n * 26 + usize::from(c - b'A') + 1);
        (text[split..].parse::<usize>().unwrap() - 1, column - 1)
    };
    let (first, last) = cells.split_once(':').unwrap_or((cells, cells));
    let (first, last) = (corner(first), corner(last));
    (title, (first.0, last.0), (first.1, last.1))
}
