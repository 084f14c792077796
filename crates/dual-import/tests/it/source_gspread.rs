//! Our client and gspread read the same workbook and agree cell by cell.

use std::collections::BTreeMap;

use dual_import::source::{
    Cell, Endpoint, ServiceAccount, SheetSource, SheetsClient, SheetsOptions,
};
use serde_json::{Value, json};
use sheets_double::{Books, Double, Options};

use super::python::gspread;
use super::source_scripted::{Witness, read_all};

const TITLES: [&str; 16] = [
    "Выгрузка Пользователей",
    "D3",
    "A1:B2",
    "tab01",
    "Jon's \"Data\"",
    "''",
    "a!b",
    "a/b",
    "Лист 1/2 #%&+=?",
    "50%25",
    " x ",
    "..",
    "🌵 emoji",
    "ИмЯ\u{306}",
    "גיליון",
    "R1C1",
];

fn date(serial: f64, shown: &str) -> Value {
    json!({"v": serial, "f": shown, "date": true})
}

/// Every kind of cell that a bar's sheet may hold; the title is among them, so that no tab
/// can be taken for another.
fn every_kind(title: &str) -> Value {
    json!([
        [],
        ["", "", "id", "имя", "когда", "да", title],
        [
            "",
            "",
            7_000_000_005_i64,
            "Артур",
            date(45_876.524_259_259_26, "07.08.2025 12:34:56"),
            true
        ],
        [],
        [],
        [
            "",
            "",
            2_147_483_648_i64,
            "две\nстроки\r\nи три",
            date(43_831.0, "01.01.2020"),
            false,
            "",
            ""
        ],
        ["", "", 9_007_199_254_740_991_i64, "🍺👨‍👩‍👧 e\u{301}", date(0.5, "12:00:00"), "", "#REF!"],
        [
            "",
            "",
            -1,
            "שלום \u{202e}עולם",
            date(2_958_465.999_988_426, "31.12.9999"),
            "TRUE",
            "#ДЕЛ/0!"
        ],
        [0, 0.1, 0.30000000000000004, 1e21, 1.5e-7, 123_456_789.123_456_79, -2.5e300],
        ["'", "''", " ", "\u{A0}", "\t", "0042", "+7 999", "1,5", "N/A", "null", "\\n \\N \""],
        [
            100.0,
            5_708_990_770_823_839_i64,
            "=1+1",
            "<b>&amp;</b>",
            "\u{2028}\u{feff}x",
            "я".repeat(2_000)
        ],
        ["", "", "", "", "", "", "", "", "", "", "", "последняя"],
        [],
    ])
}

fn sheets() -> Value {
    let mut sheets: Vec<Value> = TITLES
        .iter()
        .map(|title| json!({"title": title, "rowCount": 40, "columnCount": 14, "cells": every_kind(title)}))
        .collect();
    sheets[3]["hidden"] = json!(true);
    sheets.push(json!({"title": "пустой", "rowCount": 5, "columnCount": 3, "cells": []}));
    let ids: Vec<Value> = (1..=500_i64)
        .map(|row| match row % 7 {
            0 => json!([]),
            _ => json!([
                row * 4_000_037,
                date(45_000.0 + row as f64 / 86_400.0, "x"),
                format!("гость {row}")
            ]),
        })
        .collect();
    sheets.push(json!({"title": "длинный", "rowCount": 600, "columnCount": 3, "cells": ids}));
    json!(sheets)
}

/// The cell as gspread gives it: an empty one is an empty text.
fn plain(cell: &Cell) -> Value {
    match cell {
        Cell::Empty => json!(""),
        Cell::Text(text) => json!(text),
        Cell::Int(number) => json!(number),
        Cell::Float(number) => json!(number),
        Cell::Bool(flag) => json!(flag),
    }
}

/// The cells that are not empty, by row and column, from 1.
type Filled = BTreeMap<(u64, u64), Value>;

fn filled<'a>(rows: impl Iterator<Item = (u64, &'a [Value])>) -> Filled {
    rows.flat_map(|(row, cells)| {
        (1..).zip(cells).map(move |(column, cell)| ((row, column), cell.clone()))
    })
    .filter(|(_, cell)| *cell != json!(""))
    .collect()
}

fn of_gspread(rows: &Value) -> Filled {
    let rows = rows.as_array().unwrap();
    filled((1..).zip(rows).map(|(row, cells)| (row, cells.as_array().unwrap().as_slice())))
}

async fn ours(double: &Double, title: &str, page_rows: u64) -> Filled {
    let endpoint = Endpoint::parse(double.base_url(), "--sheets-endpoint").unwrap();
    let mut options = SheetsOptions::new(endpoint);
    options.page_rows = page_rows;
    let account = ServiceAccount::from_text(&double.credentials_json(), "test").unwrap();
    let witness = Witness::default();
    let client = SheetsClient::new(account, options);
    let mut source = SheetSource::open(client, "BOOK", title, &witness).await.unwrap();
    let rows = read_all(&mut source, &witness).await.unwrap();
    let rows: Vec<(u64, Vec<Value>)> =
        rows.iter().map(|row| (row.number, row.cells.iter().map(plain).collect())).collect();
    filled(rows.iter().map(|(row, cells)| (*row, cells.as_slice())))
}

async fn agree(requirement: &'static str, version: &str) {
    let book = json!({"BOOK": {"title": "Гости", "locale": "ru_RU",
        "timeZone": "Europe/Moscow", "sheets": sheets()}});
    let books = Books::from_json(&book.to_string()).unwrap();
    let double = Double::start(books, Options::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("creds.json");
    std::fs::write(&key_file, double.credentials_json()).unwrap();
    let base = double.base_url().to_owned();
    let seen = tokio::task::spawn_blocking(move || {
        gspread(requirement, "read_values.py", &[key_file.to_str().unwrap(), &base, "BOOK"])
    })
    .await
    .unwrap();
    assert!(seen["version"].as_str().unwrap().starts_with(version), "{}", seen["version"]);
    let tabs = seen["tabs"].as_object().unwrap();
    assert_eq!(tabs.len(), TITLES.len() + 2);
    for (title, tab) in tabs {
        let (values, batch) = (of_gspread(&tab["values"]), of_gspread(&tab["batch"]));
        for page_rows in [4, 2_000] {
            let ours = ours(&double, title, page_rows).await;
            assert_eq!(ours, values, "{title}, {page_rows} rows a page");
            assert_eq!(ours, batch, "{title}, {page_rows} rows a page");
        }
    }
    // Both could have read nothing, or the wrong tab.
    for title in TITLES {
        let values = of_gspread(&tabs[title]["values"]);
        assert_eq!(values.len(), 47, "{title}");
        assert_eq!(values[&(2, 7)], json!(title));
        assert_eq!(values[&(3, 3)], json!(7_000_000_005_i64));
        assert_eq!(values[&(3, 5)], json!(45_876.524_259_259_26));
        assert_eq!(values[&(12, 12)], json!("последняя"));
    }
    assert_eq!(of_gspread(&tabs["длинный"]["values"]).len(), (500 - 71) * 3);
    assert!(of_gspread(&tabs["пустой"]["values"]).is_empty());
}

#[tokio::test]
async fn gspread_5_12_0_and_our_client_agree_cell_by_cell() {
    agree("gspread==5.12.0", "5.12.0").await;
}

#[tokio::test]
async fn gspread_6_and_our_client_agree_cell_by_cell() {
    agree("gspread>=6,<7", "6.").await;
}
