//! Byte for byte what Google answered.

use std::path::{Path, PathBuf};

use serde_json::Value;
use sheets_double::{Book, Books, Double, Options};

use crate::client::{self, DRIVE};
use crate::replay;

fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded")
}

fn reads() -> Vec<Value> {
    let text = std::fs::read_to_string(recordings().join("reads.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `reads.jsonl` has the query as pairs only.
fn query_of(request: &Value) -> String {
    if let Some(raw) = request["query_raw"].as_str() {
        return raw.to_owned();
    }
    let pairs = request["query"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| format!("{}={}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
    pairs.collect::<Vec<_>>().join("&")
}

fn target_of(request: &Value) -> String {
    let path = request["path"].as_str().unwrap();
    let query = query_of(request);
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

fn id_of(request: &Value) -> String {
    let path = request["path"].as_str().unwrap();
    path.split('/').nth(3).unwrap().split(':').next().unwrap().to_owned()
}

#[tokio::test]
async fn every_recorded_read_of_a_known_book() {
    let double = Double::start(Books::new(), Options::default()).await.unwrap();
    let token = client::sign_in(&double, DRIVE).await;
    let reads = reads();
    assert!(reads.len() >= 56);
    for read in reads {
        let request = &read["request"];
        let mut books = Books::new();
        books.insert(id_of(request), Book::from_json(&read["book"].to_string()).unwrap());
        double.set_books(books);
        let got = client::get(double.base_url(), &target_of(request), &token).await;
        assert_eq!(got.text(), read["response"]["body_text"].as_str().unwrap(), "{read}");
        assert_eq!(u64::from(got.status), read["response"]["status"].as_u64().unwrap());
    }
}

/// Every GET of every recording, after the writes that were recorded before it.
#[tokio::test]
async fn every_recorded_exchange() {
    let double = Double::start(Books::new(), Options::default()).await.unwrap();
    let token = client::sign_in(&double, DRIVE).await;
    let reads = reads();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(recordings()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut compared = 0;
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let recording: Value =
            serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let cassette = recording["source"]["cassette"].as_str().unwrap();
        let cassette = cassette.rsplit('/').next().unwrap();
        let exchanges = recording["exchanges"].as_array().unwrap();
        let first = exchanges[0]["interaction_index"].as_i64().unwrap();
        // The earliest book of the same cassette tells the grid that the recording starts on.
        // Cassettes of the history had other content under the same name.
        let current = recording["source"]["commit"].is_string();
        let earlier = reads.iter().find(|read| current && read["cassette"] == cassette);
        let mut book = match earlier {
            Some(read) => {
                let mut book = Book::from_json(&read["book"].to_string()).unwrap();
                if read["interaction"].as_i64().unwrap() > first {
                    book.sheets.iter_mut().for_each(|sheet| sheet.cells.clear());
                }
                book
            }
            None => Book::new("as recorded"),
        };
        for exchange in exchanges {
            let (request, response) = (&exchange["request"], &exchange["response"]);
            if let Some(title) = response["body_json"]["properties"]["title"].as_str() {
                book.title = title.to_owned();
            }
            let status = response["status"].as_u64().unwrap();
            if request["method"] != "GET" {
                // A recorded 32 starts with a clear that tells the grid.
                if let Some(range) = response["body_json"]["clearedRange"].as_str() {
                    let whole = serde_json::json!({
                        "request": {"path_decoded": "whole"},
                        "response": {"body_json": {"range": range}},
                    });
                    if earlier.is_none() {
                        replay::seed(&mut book, &whole);
                    }
                }
                replay::apply(&mut book, exchange);
                continue;
            }
            // The form of 2020 and before; today's is 42.
            if name.starts_with("44_") {
                continue;
            }
            let interaction = exchange["interaction_index"].as_i64().unwrap();
            let exact = reads.iter().find(|read| {
                current
                    && read["cassette"] == cassette
                    && read["interaction"].as_i64() == Some(interaction)
            });
            let written = exchanges
                .iter()
                .take_while(|other| !std::ptr::eq(*other, exchange))
                .any(|other| other["request"]["method"] != "GET");
            match exact {
                Some(read) if !written => {
                    book = Book::from_json(&read["book"].to_string()).unwrap();
                }
                None if !written && status == 200 => replay::seed(&mut book, exchange),
                _ => {}
            }
            let mut books = Books::new();
            let id = request["path"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
            let drive = request["host"] == "www.googleapis.com";
            match (status, drive) {
                (200, true) => {
                    let file = &response["body_json"];
                    let time = |key: &str| file[key].as_str().map(str::to_owned);
                    book.title = file["name"].as_str().unwrap().to_owned();
                    book.created_time = time("createdTime");
                    book.modified_time = time("modifiedTime");
                    books.insert(id, book.clone());
                }
                (404, _) => {}
                (403, _) => {
                    book.shared = false;
                    books.insert(id_of(request), book.clone());
                }
                (429, _) => {
                    double.set_faults(vec!["429,times=1".parse().unwrap()]);
                }
                _ => books.insert(id_of(request), book.clone()),
            }
            double.set_books(books);
            let got = client::get(double.base_url(), &target_of(request), &token).await;
            assert_eq!(got.text(), response["body_text"].as_str().unwrap(), "{name} {interaction}");
            assert_eq!(u64::from(got.status), status, "{name} {interaction}");
            let kind = response["headers"]["Content-Type"].as_str().unwrap();
            assert_eq!(got.header("content-type"), Some(kind), "{name}");
            compared += 1;
        }
    }
    assert!(compared >= 55, "only {compared} compared");
}

/// What Google says of a spreadsheet is a book too, and is served as it was said: all
/// the properties that a recording has survive.
#[tokio::test]
async fn a_recorded_answer_is_a_book() {
    let double = Double::start(Books::new(), Options::default()).await.unwrap();
    let token = client::sign_in(&double, DRIVE).await;
    let mut served = 0;
    for entry in std::fs::read_dir(recordings()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let recording: Value =
            serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for exchange in recording["exchanges"].as_array().unwrap() {
            let body = exchange["response"]["body_text"].as_str().unwrap();
            if !body.contains("\"spreadsheetTheme\"") {
                continue;
            }
            let book = Book::from_json(body).unwrap();
            assert!(book.warnings.is_empty(), "{:?}", book.warnings);
            double.set_books(Books::single(book));
            let got =
                client::get(double.base_url(), &target_of(&exchange["request"]), &token).await;
            assert_eq!(got.text(), body, "{}", path.display());
            served += 1;
        }
    }
    assert!(served >= 5, "only {served} served");
}
