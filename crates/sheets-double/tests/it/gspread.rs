//! The real Python client against the double.

use serde_json::{Value, json};
use sheets_double::{Books, Double, Options};

use super::python::gspread;

const TITLES: [&str; 7] = [
    "D3",
    "🌵 emoji",
    "Jon's \"Data\"",
    "Выгрузка Пользователей",
    "Лист 1/2 #%&+",
    "a!b",
    "Sheet1",
];

fn book() -> Value {
    let cells = json!([
        ["id", "name", "when"],
        [7_000_000_005_i64, "Артур", {"v": 45876.5, "f": "2025-08-07 12:00:00", "date": true}],
        [],
        [2, "two\nlines", ""],
    ]);
    let mut sheets: Vec<Value> = TITLES
        .iter()
        .map(|title| json!({"title": title, "rowCount": 10, "columnCount": 5, "cells": cells}))
        .collect();
    sheets[6]["hidden"] = json!(true);
    json!({
        "BOOK": {"title": "Гости бота", "sheets": sheets},
        "PRIVATE": {"title": "p", "shared": false, "sheets": [{"title": "Sheet1"}]},
    })
}

async fn read_by(requirement: &'static str, version: &str) {
    let books = Books::from_json(&book().to_string()).unwrap();
    let double = Double::start(books, Options::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("creds.json");
    std::fs::write(&key_file, double.credentials_json()).unwrap();
    let base = double.base_url().to_owned();
    let seen = tokio::task::spawn_blocking(move || {
        let key_file = key_file.to_str().unwrap();
        gspread(requirement, "read_book.py", &[key_file, &base, "BOOK", "Гости бота"])
    })
    .await
    .unwrap();
    assert!(seen["version"].as_str().unwrap().starts_with(version), "{}", seen["version"]);
    assert_eq!(seen["title"], "Гости бота");
    assert_eq!(seen["by_title"], "BOOK");
    assert_eq!(seen["worksheets"], json!(TITLES));
    assert_eq!(seen["visible"], json!(TITLES[..6]));
    assert_eq!(seen["no_such_tab"], "WorksheetNotFound");
    assert_eq!(seen["not_shared"], "PermissionError");
    assert!(["SpreadsheetNotFound", "APIError"].contains(&seen["no_such_key"].as_str().unwrap()));
    for title in TITLES {
        let tab = &seen["tabs"][title];
        let row = |id: &str, name: &str, when: &str| json!([id, name, when]);
        assert_eq!(
            tab["values"],
            json!([
                row("id", "name", "when"),
                row("7000000005", "Артур", "2025-08-07 12:00:00"),
                row("", "", ""),
                row("2", "two\nlines", ""),
            ]),
            "{title}"
        );
        assert_eq!(tab["unformatted"][1], json!([7_000_000_005_i64, "Артур", 45876.5]));
        assert_eq!(
            tab["records"][0],
            json!({"id": 7_000_000_005_i64, "name": "Артур", "when": "2025-08-07 12:00:00"})
        );
        assert_eq!(tab["records"].as_array().unwrap().len(), 3);
        assert_eq!(tab["batch"], json!([[["id", "name"]], [["7000000005"], [], ["2"]]]));
        assert_eq!(tab["cell"], "Артур");
        assert_eq!(tab["size"], json!([10, 5]));
    }
}

#[tokio::test]
async fn gspread_5_12_0_reads_unchanged() {
    read_by("gspread==5.12.0", "5.12.0").await;
}

#[tokio::test]
async fn gspread_6_reads_unchanged() {
    read_by("gspread>=6,<7", "6.").await;
}
