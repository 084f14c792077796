//! The real Python client against the double.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use sheets_double::{Books, Double, Options};

const TITLES: [&str; 7] = [
    "D3",
    "🌵 emoji",
    "Jon's \"Data\"",
    "Выгрузка Пользователей",
    "Лист 1/2 #%&+",
    "a!b",
    "Sheet1",
];

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The interpreter of a virtual environment with gspread in it, made once a build folder.
fn python(requirement: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("gspread-{}", requirement.replace(|c: char| !c.is_alphanumeric(), "-")));
    let lock = File::create(folder.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let (python, made) = (folder.join("bin/python"), folder.join("made"));
    if !made.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement];
        run(Command::new(&python).args(pip));
        fs::write(made, requirement).unwrap();
    }
    python
}

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
    fs::write(&key_file, double.credentials_json()).unwrap();
    let base = double.base_url().to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gspread/read_book.py");
        let arguments = [base.as_str(), "BOOK", "Гости бота"];
        run(Command::new(python(requirement))
            .arg(script)
            .arg(&key_file)
            .args(arguments)
            .env("PYTHONIOENCODING", "utf-8")
            .env("NO_PROXY", "127.0.0.1"))
    })
    .await
    .unwrap();
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
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
