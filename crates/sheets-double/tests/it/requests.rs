//! Requests beyond the recordings: errors, masks, grid data, sizes.

use sheets_double::{Book, Books, Cell, Double, Options};

use crate::client::{self, DRIVE, Got};

const BOOKS: &str = r##"{
  "BOOK": {"title": "Гости", "locale": "ru_RU", "timeZone": "Europe/Moscow", "sheets": [
    {"title": "Скрытый", "hidden": true, "rowCount": 2, "columnCount": 2, "cells": [["no"]]},
    {"title": "Лист 1/2 #%&+", "sheetId": 7, "rowCount": 5, "columnCount": 3, "frozenRowCount": 1,
     "merges": [{"startRowIndex": 0, "endRowIndex": 1, "startColumnIndex": 0, "endColumnIndex": 2}],
     "cells": [["id", "", "x < y"],
               [7000000005, {"v": 45876.52425925926, "f": "07.08.2025 12:34:56", "date": true}, true],
               [],
               [{"v": "#REF!", "formula": "=A0"}, {"v": "", "formula": "=\"\""}]]}],
    "namedRanges": {"Ids": "'Лист 1/2 #%&+'!A2:A"}},
  "PRIVATE": {"title": "p", "shared": false, "sheets": [{"title": "Sheet1"}]}
}"##;
const TAB: &str = "%27%D0%9B%D0%B8%D1%81%D1%82%201%2F2%20%23%25%26%2B%27";

async fn asked(target: &str) -> Got {
    let books = Books::from_json(BOOKS).unwrap();
    let double = Double::start(books, Options::default()).await.unwrap();
    let token = client::sign_in(&double, DRIVE).await;
    client::get(double.base_url(), target, &token).await
}

async fn compact(target: &str) -> String {
    let got = asked(target).await;
    serde_json::to_string(&got.json()).unwrap()
}

#[tokio::test]
async fn odd_titles_and_typed_values() {
    let range = format!("/v4/spreadsheets/BOOK/values/{TAB}");
    assert_eq!(
        compact(&format!("{range}?valueRenderOption=UNFORMATTED_VALUE")).await,
        r##"{"majorDimension":"ROWS","range":"'Лист 1/2 #%&+'!A1:C5","values":[["id","","x < y"],[7000000005,45876.52425925926,true],[],["#REF!",""]]}"##
    );
    assert_eq!(
        compact(&format!("{range}%21A2%3AC2")).await,
        r#"{"majorDimension":"ROWS","range":"'Лист 1/2 #%&+'!A2:C2","values":[["7000000005","07.08.2025 12:34:56","ИСТИНА"]]}"#
    );
    assert_eq!(
        compact(
            "/v4/spreadsheets/BOOK/values/Ids?majorDimension=COLUMNS&valueRenderOption=FORMULA"
        )
        .await,
        r#"{"majorDimension":"COLUMNS","range":"'Лист 1/2 #%&+'!A2:A5","values":[[7000000005,"","=A0"]]}"#
    );
    // Without a sheet: the first visible one.
    assert_eq!(
        compact(
            "/v4/spreadsheets/BOOK/values:batchGet?ranges=A1&ranges=C5&fields=valueRanges.values"
        )
        .await,
        r#"{"valueRanges":[{"values":[["id"]]},{}]}"#
    );
}

#[tokio::test]
async fn requests_that_cannot_be_served() {
    let bad = |message: &str| (400, message.to_owned());
    for (target, (status, message)) in [
        ("BOOK/values/Class%20Data!A2:E", bad("Unable to parse range: Class Data!A2:E")),
        (
            "BOOK/values/A6",
            bad("Range ('Лист 1/2 #%&+'!A6) exceeds grid limits. Max rows: 5, max columns: 3"),
        ),
        ("BOOK/values:batchGet?ranges=A1&ranges=Nobody", bad("Unable to parse range: Nobody")),
        (
            "BOOK/values/A1?valueRenderOption=PRETTY",
            bad("Invalid value at 'value_render_option' \
                 (type.googleapis.com/google.apps.sheets.v4.ValueRenderOption), \"PRETTY\""),
        ),
        (
            "BOOK/values/A1?tea=1",
            bad("Invalid JSON payload received. Unknown name \"tea\": Cannot bind query \
                 parameter. Field 'tea' could not be found in request message."),
        ),
        ("BOOK?fields=sheets.tea", bad("Request contains an invalid argument.")),
        (
            "BOOK?includeGridData=perhaps",
            bad("Invalid value at 'include_grid_data' (TYPE_BOOL), \"perhaps\""),
        ),
        ("NOBODY", (404, "Requested entity was not found.".to_owned())),
        ("PRIVATE/values/A1", (403, "The caller does not have permission".to_owned())),
    ] {
        let got = asked(&format!("/v4/spreadsheets/{target}")).await;
        assert_eq!(
            (u32::from(got.status), got.json()["error"]["message"].as_str().unwrap()),
            (status, message.as_str()),
            "{target}"
        );
    }
    for target in [
        "/",
        "/v4/spreadsheets",
        "/v4/spreadsheets/BOOK/values/a/b",
        "/v4/x",
        "/v4/spreadsheets/%zz",
    ] {
        let got = asked(target).await;
        assert_eq!(
            (got.status, got.header("content-type")),
            (404, Some("text/html; charset=UTF-8")),
            "{target}"
        );
    }
}

#[tokio::test]
async fn masks_and_grid_data() {
    assert_eq!(
        compact("/v4/spreadsheets/BOOK?fields=sheets(properties(title,gridProperties))").await,
        r##"{"sheets":[{"properties":{"gridProperties":{"columnCount":2,"rowCount":2},"title":"Скрытый"}},{"properties":{"gridProperties":{"columnCount":3,"frozenRowCount":1,"rowCount":5},"title":"Лист 1/2 #%&+"}}]}"##
    );
    assert_eq!(
        compact("/v4/spreadsheets/BOOK?fields=sheets.merges,namedRanges(name,range)").await,
        r#"{"namedRanges":[{"name":"Ids","range":{"endColumnIndex":1,"sheetId":7,"startColumnIndex":0,"startRowIndex":1}}],"sheets":[{},{"merges":[{"endColumnIndex":2,"endRowIndex":1,"sheetId":7,"startColumnIndex":0,"startRowIndex":0}]}]}"#
    );
    let fields = "sheets.data(startRow,rowData.values(effectiveValue,formattedValue,effectiveFormat.numberFormat))";
    assert_eq!(
        compact(&format!("/v4/spreadsheets/BOOK?ranges={TAB}%21A2%3AC4&fields={fields}")).await,
        r##"{"sheets":[{"data":[{"rowData":[{"values":[{"effectiveFormat":{},"effectiveValue":{"numberValue":7000000005},"formattedValue":"7000000005"},{"effectiveFormat":{"numberFormat":{"pattern":"yyyy-mm-dd h:mm:ss","type":"DATE_TIME"}},"effectiveValue":{"numberValue":45876.52425925926},"formattedValue":"07.08.2025 12:34:56"},{"effectiveFormat":{},"effectiveValue":{"boolValue":true},"formattedValue":"ИСТИНА"}]},{},{"values":[{"effectiveFormat":{},"effectiveValue":{"errorValue":{"type":"REF"}},"formattedValue":"#REF!"},{"effectiveFormat":{},"effectiveValue":{"stringValue":""},"formattedValue":""}]}],"startRow":1}]}]}"##
    );
    let all = asked("/v4/spreadsheets/BOOK?includeGridData=true").await.json();
    assert_eq!(all["sheets"][1]["data"][0]["rowMetadata"].as_array().unwrap().len(), 5);
}

/// The shapes are those of gspread's cassettes `test_get_notes` and `test_clear_tab_color`.
#[tokio::test]
async fn notes_and_absent_members() {
    let json = r#"{"title": "n", "sheets": [
        {"title": "Sheet1", "cells": [[{"note": "read my note"}], ["", {"note": "second"}, ""]]},
        {"title": "bare"}]}"#;
    let double = Double::start(Books::from_json(json).unwrap(), Options::default()).await.unwrap();
    let token = client::sign_in(&double, DRIVE).await;
    for (query, body) in [
        (
            "fields=sheets%2Fdata%2FrowData%2Fvalues%2Fnote&ranges=%27Sheet1%27",
            r#"{"sheets":[{"data":[{"rowData":[{"values":[{"note":"read my note"}]},{"values":[{},{"note":"second"}]}]}]}]}"#,
        ),
        (
            "includeGridData=False&fields=sheets.data.rowData.values.note&ranges=bare",
            r#"{"sheets":[{"data":[{}]}]}"#,
        ),
        (
            "fields=sheets.properties.tabColorStyle",
            r#"{"sheets":[{"properties":{}},{"properties":{}}]}"#,
        ),
    ] {
        let target = format!("/v4/spreadsheets/x?{query}");
        let got = client::get(double.base_url(), &target, &token).await;
        assert_eq!(serde_json::to_string(&got.json()).unwrap(), body, "{query}");
    }
    // For values a note is nothing.
    let got = client::get(double.base_url(), "/v4/spreadsheets/x/values/Sheet1", &token).await;
    assert_eq!(got.json().get("values"), None);
}

#[tokio::test]
async fn drive_finds_by_title() {
    let listed = compact(
        "/drive/v3/files?q=mimeType%3D%22application%2Fvnd.google-apps.spreadsheet%22+and+name+%3D+%22%D0%93%D0%BE%D1%81%D1%82%D0%B8%22&fields=nextPageToken,files(id,name)",
    )
    .await;
    assert_eq!(listed, r#"{"files":[{"id":"BOOK","name":"Гости"}]}"#);
    // What is not shared is not there for Drive.
    assert_eq!(asked("/drive/v3/files/PRIVATE").await.status, 404);
}

#[tokio::test]
async fn a_big_sheet_is_served_whole_and_compressed() {
    const ROWS: u32 = 200_000;
    let mut book = Book::new("big");
    book.sheets[0].row_count = ROWS;
    book.sheets[0].cells = (0..ROWS)
        .map(|row| {
            let row = f64::from(row);
            (0..11).map(|column| Cell::Number(row + f64::from(column) / 8.0)).collect()
        })
        .collect();
    let double = Double::start(Books::single(book), Options::default()).await.unwrap();
    let token = client::sign_in(&double, DRIVE).await;
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Accept-Encoding", "gzip, deflate")];
    let target = "/v4/spreadsheets/any/values/Sheet1?valueRenderOption=UNFORMATTED_VALUE";
    let got = client::send(double.base_url(), "GET", target, &headers, "").await.unwrap();
    assert_eq!(got.header("content-encoding"), Some("gzip"));
    let text = got.gunzipped();
    assert!(text.starts_with("{\n  \"range\": \"Sheet1!A1:Z200000\",\n"));
    assert!(text.ends_with("      200000.25\n    ]\n  ]\n}\n"));
    assert_eq!(text.matches("    [\n").count(), 200_000);
    let page = "/v4/spreadsheets/any/values/Sheet1!A199999:B199999";
    let got = client::get(double.base_url(), page, &token).await;
    assert_eq!(got.json()["values"][0][1], "199998.125");
}
