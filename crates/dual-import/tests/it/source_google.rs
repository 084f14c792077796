//! The Sheets source against the double.

use dual_database::{Error, Kind, Result};
use dual_import::source::{
    Cell, Endpoint as Address, Page, ServiceAccount, SheetSource, SheetsClient, SheetsOptions,
    SourceRow,
};
use serde_json::{Value, json};
use sheets_double::{Books, Double, Endpoint, Options};

use super::source_scripted::{Witness, quick, read_all};

const TAB: &str = "Выгрузка Пользователей";

struct Stage {
    double: Double,
    options: SheetsOptions,
    witness: Witness,
}

impl Stage {
    async fn new(sheets: Value) -> Stage {
        let book = json!({"KEY": {"title": "Гости", "locale": "ru_RU",
            "timeZone": "Europe/Moscow", "sheets": sheets}});
        let books = Books::from_json(&book.to_string()).unwrap();
        let double = Double::start(books, Options::default()).await.unwrap();
        let endpoint = Address::parse(double.base_url(), "--sheets-endpoint").unwrap();
        let mut options = SheetsOptions::new(endpoint);
        options.retry = quick();
        Stage { double, options, witness: Witness::default() }
    }

    async fn small() -> Stage {
        Stage::new(json!([{"title": TAB, "rowCount": 50, "columnCount": 3,
            "cells": [["id", "имя"], [7, "Анна"], [8, "Олег"]]}]))
        .await
    }

    /// Row n holds n, but for stretches of empty rows.
    async fn long(rows: u64, page_rows: u64) -> Stage {
        let cells: Vec<Value> = (1..=rows)
            .map(|row| if is_empty(row) { json!([]) } else { json!([row, format!("гость {row}")]) })
            .collect();
        let mut stage = Stage::new(json!([{"title": TAB, "rowCount": rows + 700,
            "columnCount": 4, "cells": cells}]))
        .await;
        stage.options.page_rows = page_rows;
        stage
    }

    fn client(&self) -> SheetsClient {
        let account = ServiceAccount::from_text(&self.double.credentials_json(), "test").unwrap();
        SheetsClient::new(account, self.options.clone())
    }

    fn faults(&self, faults: &[&str]) {
        self.double.set_faults(faults.iter().map(|fault| fault.parse().unwrap()).collect());
    }

    async fn open(&self, key: &str, tab: &str) -> Result<SheetSource> {
        SheetSource::open(self.client(), key, tab, &self.witness).await
    }

    async fn read(&self) -> Result<Vec<SourceRow>> {
        read_all(&mut self.open("KEY", TAB).await?, &self.witness).await
    }

    async fn refused(&self) -> Error {
        self.read().await.unwrap_err()
    }
}

fn is_empty(row: u64) -> bool {
    (3_000..5_500).contains(&row) || row.is_multiple_of(1_000)
}

fn check_long(read: &[SourceRow], rows: u64) {
    let expected: Vec<u64> = (1..=rows).filter(|row| !is_empty(*row)).collect();
    assert_eq!(read.iter().map(|row| row.number).collect::<Vec<_>>(), expected);
    for row in read {
        assert_eq!(row.cells[0], Cell::Int(i64::try_from(row.number).unwrap()));
        assert_eq!(row.cells[1], Cell::Text(format!("гость {}", row.number)));
    }
}

#[tokio::test]
async fn cells_arrive_as_they_are() {
    let stage = Stage::new(json!([{"title": TAB, "rowCount": 100, "columnCount": 8, "cells": [
        [],
        ["id", "когда", "да", "текст"],
        [7_000_000_005_i64, {"v": 45876.52425925926, "f": "07.08.2025 12:34:56", "date": true},
            true, "0042"],
        [],
        [1.5, 9_007_199_254_740_991_i64, false, "a\nb", "", "#REF!", "🌵\u{202e}ש"],
        [{"v": 43831, "f": "01.01.2020", "date": true}, "+7 999", "'", "N/A"],
    ]}]))
    .await;
    let text = |text: &str| Cell::Text(text.to_string());
    let read = stage.read().await.unwrap();
    assert_eq!(
        read,
        [
            SourceRow {
                number: 2,
                cells: vec![text("id"), text("когда"), text("да"), text("текст")]
            },
            SourceRow {
                number: 3,
                cells: vec![
                    Cell::Int(7_000_000_005),
                    Cell::Float(45876.52425925926),
                    Cell::Bool(true),
                    text("0042")
                ]
            },
            SourceRow {
                number: 5,
                cells: vec![
                    Cell::Float(1.5),
                    Cell::Int(9_007_199_254_740_991),
                    Cell::Bool(false),
                    text("a\nb"),
                    Cell::Empty,
                    text("#REF!"),
                    text("🌵\u{202e}ש")
                ]
            },
            SourceRow {
                number: 6,
                cells: vec![Cell::Int(43831), text("+7 999"), text("'"), text("N/A")]
            },
        ]
    );
    // Three requests: the token, the properties, the whole small tab at once; compressed.
    assert_eq!(stage.double.requests().len(), 3);
    for request in stage.double.requests() {
        let gzip = request
            .headers
            .iter()
            .any(|(name, value)| name == "accept-encoding" && value.contains("gzip"));
        assert!(gzip, "{:?}", request.headers);
    }
}

#[tokio::test]
async fn displayed_values_of_some_rows() {
    let mut cells = vec![json!(["id", "когда"])];
    for row in 2..=4_000 {
        let shown = format!("{:02}.01.2020 9:00", row % 28 + 1);
        cells.push(json!([row, {"v": 43831.375, "f": shown, "date": true}]));
    }
    let stage =
        Stage::new(json!([{"title": TAB, "rowCount": 4_000, "columnCount": 2, "cells": cells}]))
            .await;
    let mut source = stage.open("KEY", TAB).await.unwrap();
    assert_eq!(source.describe(), "tab «Выгрузка Пользователей» of the spreadsheet «Гости» (KEY)");
    assert_eq!((source.locale(), source.time_zone()), ("ru_RU", "Europe/Moscow"));
    let wanted: Vec<u64> = (1..=39).map(|n| n * 101).chain([3, 2, 3, 0, 9_999]).collect();
    let shown = source.displayed(&wanted, &stage.witness).await;
    let mut expected: Vec<u64> =
        wanted.into_iter().filter(|row| (1..=4_000).contains(row)).collect();
    expected.sort_unstable();
    expected.dedup();
    assert_eq!(shown.keys().copied().collect::<Vec<_>>(), expected);
    for (row, texts) in &shown {
        assert_eq!(*texts, [row.to_string(), format!("{:02}.01.2020 9:00", row % 28 + 1)]);
    }
    assert!(stage.double.requests().iter().all(|request| request.target.len() < 6_000));
    assert!(source.displayed(&[], &stage.witness).await.is_empty());
    assert_eq!(stage.witness.told(""), 0);
    stage.faults(&["not-shared"]);
    assert!(source.displayed(&[5], &stage.witness).await.is_empty());
    assert_eq!(stage.witness.told("warning: the rejected rows are reported without"), 1);
}

#[tokio::test]
async fn pages_with_empty_stretches_are_read_to_the_end() {
    for page_rows in [700, 5_000, 100_000] {
        let stage = Stage::long(12_345, page_rows).await;
        check_long(&stage.read().await.unwrap(), 12_345);
        assert_eq!(stage.witness.told(""), 0);
    }
}

#[tokio::test]
async fn what_passes_is_waited_for_and_told() {
    for (fault, reason) in [
        ("429,times=3", "the read quota of this minute is used up (429)"),
        ("429=0,times=1", "the read quota of this minute is used up (429)"),
        ("503,times=2", "the Sheets API is not available for the moment (503)"),
        ("500,times=1", "the Sheets API failed for the moment (500)"),
        ("502,times=2", "answered a web page instead of data (502)"),
        ("502,on=token,times=1", "answered a web page instead of a token (502)"),
        ("503,on=token,times=1", "answered an error (503)"),
        ("cut,times=1", "cut in the middle"),
        ("cut-body,times=1", "cut in the middle"),
        ("cut-body,on=token,times=1", "cut in the middle"),
    ] {
        let stage = Stage::long(2_500, 700).await;
        let after = if fault.contains("on=token") { "" } else { ",after=2" };
        stage.faults(&[&format!("{fault}{after}")]);
        check_long(&stage.read().await.unwrap(), 2_500);
        assert!(stage.witness.told(reason) > 0, "{fault}: {:?}", stage.witness.0.lock().unwrap());
    }
}

#[tokio::test]
async fn what_does_not_pass_has_one_sentence() {
    let mail = "reader@sheets-double.iam.gserviceaccount.com";
    use Kind::{AccessDenied, SourceUnavailable};
    for (fault, kind, sentence, hint) in [
        ("429", SourceUnavailable, "is used up (429); given up after", "60 reads a minute"),
        ("503", SourceUnavailable, "(503); given up after", "run it again later"),
        ("502", SourceUnavailable, "a web page instead of data (502); given up", ""),
        ("cut", SourceUnavailable, "cut in the middle of an answer; given up", "network"),
        ("404", SourceUnavailable, "no spreadsheet with the key KEY", "between /d/"),
        ("not-shared", AccessDenied, "KEY is not shared with the service account", mail),
        ("wrong-scope", AccessDenied, "lacks the scope spreadsheets.readonly", "token_uri"),
        (
            "api-disabled",
            AccessDenied,
            "the Google Sheets API is not enabled",
            "enable it at https://console.",
        ),
        ("xlsx", SourceUnavailable, "an Office file (.xlsx)", "Save as Google Sheets"),
        ("401", AccessDenied, "does not accept a token", "new key"),
        ("wrong-clock=7200", AccessDenied, "this machine's clock is", "timedatectl"),
        ("wrong-clock=-7980", AccessDenied, "this machine's clock is 2 h 1", "timedatectl"),
        ("account-deleted", AccessDenied, "does not exist any more", "make a service account"),
        ("key-deleted", AccessDenied, "does not know the key of reader@", "was deleted"),
    ] {
        let stage = Stage::small().await;
        stage.faults(&[fault]);
        let error = stage.refused().await;
        assert_eq!(error.kind(), kind, "{fault}: {error}");
        assert!(error.message().contains(sentence), "{fault}: {error}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{fault}: {:?}", error.hint());
        // Refusals are not repeated, but for a token that may have been withdrawn.
        let tries = stage.double.requests().len();
        match fault {
            "429" | "503" | "502" | "cut" => assert!(tries > 3),
            "401" => assert_eq!(tries, 4),
            _ => assert!(tries <= 2, "{fault}: {tries}"),
        }
    }
    let stage = Stage::small().await;
    stage.faults(&["wrong-clock=7200"]);
    assert!(stage.refused().await.message().contains("behind Google's"));
}

#[tokio::test]
async fn tokens_are_renewed_while_pages_are_read() {
    for fault in ["expiring-token=3", "revoked-token=3"] {
        let stage = Stage::long(3_000, 500).await;
        stage.faults(&[fault]);
        let mut source = stage.open("KEY", TAB).await.unwrap();
        let mut read = Vec::new();
        let mut paused = false;
        loop {
            match source.next_page(&stage.witness).await.unwrap() {
                Page::Rows(rows) => read.extend(rows),
                Page::Restart => panic!("nothing changed"),
                Page::End => break,
            }
            if !paused {
                tokio::time::sleep(std::time::Duration::from_millis(3_100)).await;
                paused = true;
            }
        }
        check_long(&read, 2_999);
        assert!(stage.double.count(Endpoint::Token) >= 2, "{fault}");
    }
    // A token that lives long is used for all requests.
    let stage = Stage::long(3_000, 500).await;
    stage.read().await.unwrap();
    assert_eq!(stage.double.count(Endpoint::Token), 1);
}

#[tokio::test]
async fn odd_titles_are_found_and_read() {
    let titles = [
        "D3",
        "tab01",
        "Jon's Data",
        "''",
        "a!b",
        "a/b",
        "a#b",
        "50%",
        "a+b&c=d",
        "🌵 test",
        " x ",
        "Лист1",
        "\"q\"",
        "A1:B2",
        "a?b",
        "..",
        "%2F",
        "ИмЯ\u{306}",
    ];
    let sheets: Vec<Value> = titles
        .iter()
        .map(|title| json!({"title": title, "rowCount": 9, "columnCount": 30, "cells": [[title]]}))
        .collect();
    let stage = Stage::new(json!(sheets)).await;
    for title in titles {
        let mut source = stage.open("KEY", title).await.unwrap();
        let read = read_all(&mut source, &stage.witness).await.unwrap();
        assert_eq!(read.len(), 1, "{title}");
        assert_eq!(read[0].cells, [Cell::Text(title.to_string())]);
        let shown = source.displayed(&[1], &stage.witness).await;
        assert_eq!(shown.get(&1), Some(&vec![title.to_string()]), "{title}");
    }
}

#[tokio::test]
async fn wrong_tabs_and_keys() {
    let stage = Stage::new(json!([
        {"title": "Архив", "cells": []},
        {"title": TAB, "cells": []},
        {"title": "Тайна", "hidden": true, "cells": []},
    ]))
    .await;
    let error = stage.open("KEY", "выгрузка пользователей ").await.unwrap_err();
    assert_eq!(error.kind(), Kind::SourceUnavailable);
    assert_eq!(
        error.message(),
        "there is no tab «выгрузка пользователей » in the spreadsheet «Гости»"
    );
    let hint = error.hint().unwrap();
    assert!(hint.contains("«Выгрузка Пользователей» differs only in"), "{hint}");
    assert!(hint.contains("the tabs there are: «Выгрузка Пользователей», "), "{hint}");
    assert!(hint.contains("«Тайна» (hidden)"), "{hint}");
    assert!(
        read_all(&mut stage.open("KEY", "Тайна").await.unwrap(), &stage.witness)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(stage.open("no key", TAB).await.unwrap_err().is_configuration());
    let address = "https://docs.google.com/spreadsheets/d/KEY/edit#gid=0";
    assert!(stage.open(address, TAB).await.is_ok());
    let other = stage.open("OTHER", TAB).await.unwrap_err();
    assert!(other.message().contains("no spreadsheet with the key OTHER"), "{other}");
}

#[tokio::test]
async fn merged_cells_among_the_data_are_told() {
    let merge = |rows: (u64, u64), columns: (u64, u64)| {
        json!({"sheetId": 0, "startRowIndex": rows.0, "endRowIndex": rows.1,
            "startColumnIndex": columns.0, "endColumnIndex": columns.1})
    };
    let stage = Stage::new(json!([{"title": TAB, "sheetId": 0, "rowCount": 90, "columnCount": 9,
        "cells": [["id", "имя"], [1, "а"], [2, "б"]],
        "merges": [merge((1, 3), (0, 2)), merge((50, 52), (0, 2))]}]))
    .await;
    assert_eq!(stage.read().await.unwrap().len(), 3);
    assert_eq!(stage.witness.told("warning: the tab has merged cells (A2:B3): only"), 1);
}

#[tokio::test]
async fn the_longest_cell_and_a_slow_body() {
    let long = "ж".repeat(50_000);
    let stage = Stage::new(json!([{"title": TAB, "cells": [["id", long]]}])).await;
    stage.faults(&["slow-body=20,on=values"]);
    assert_eq!(stage.read().await.unwrap()[0].cells[1], Cell::Text(long));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_thousand_rows_come_in_small_pages() {
    let cells: Vec<Value> = (1..=200_000).map(|row| json!([row, "гость"])).collect();
    let stage =
        Stage::new(json!([{"title": TAB, "rowCount": 200_000, "columnCount": 2, "cells": cells}]))
            .await;
    drop(cells);
    let mut source = stage.open("KEY", TAB).await.unwrap();
    let (mut next, mut largest) = (1_u64, 0);
    loop {
        match source.next_page(&stage.witness).await.unwrap() {
            Page::Rows(rows) => {
                largest = largest.max(rows.len());
                for row in rows {
                    assert_eq!(row.number, next);
                    next += 1;
                }
            }
            Page::Restart => panic!("nothing changed"),
            Page::End => break,
        }
    }
    assert_eq!(next, 200_001);
    // About 50 bytes a row, so that 2 MB are about 40,000 rows.
    assert!(largest <= 50_000, "{largest}");
    assert!(stage.double.count(Endpoint::Values) < 40);
}
