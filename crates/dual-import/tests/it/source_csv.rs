//! CSV files as a source.

use std::path::{Path, PathBuf};

use dual_database::{Error, Kind, Result};
use dual_import::Silent;
use dual_import::source::{Cell, CsvSource, Page, Source, SourceRow};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn file(&self, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join("гости.csv");
        std::fs::write(&path, content).unwrap();
        path
    }
}

async fn read(path: &Path) -> Result<Vec<SourceRow>> {
    let mut source = Source::from(CsvSource::open(path).await?);
    let mut all = Vec::new();
    loop {
        match source.next_page(&Silent).await? {
            Page::Rows(rows) => {
                assert!(!rows.is_empty() && rows.len() <= 1_000);
                all.extend(rows);
            }
            Page::Restart => panic!("a file does not restart"),
            Page::End => {
                assert_eq!(source.next_page(&Silent).await?, Page::End);
                return Ok(all);
            }
        }
    }
}

async fn refused(content: impl AsRef<[u8]>) -> Error {
    let folder = Folder::new();
    let error = read(&folder.file(content)).await.unwrap_err();
    assert!(error.message().contains("гости.csv"), "{error}");
    error
}

fn texts(rows: &[SourceRow]) -> Vec<(u64, Vec<String>)> {
    rows.iter().map(|row| (row.number, row.cells.iter().map(Cell::raw).collect())).collect()
}

fn row(number: u64, cells: &[&str]) -> (u64, Vec<String>) {
    (number, cells.iter().map(ToString::to_string).collect())
}

#[tokio::test]
async fn the_delimiter_the_mark_and_the_line_ends_do_not_matter() {
    let expected = [row(1, &["ID", "Имя"]), row(2, &["7", "Ольга, \"мама\"\nи папа"])];
    for delimiter in [",", ";", "\t"] {
        for mark in ["", "\u{feff}"] {
            for end in ["\n", "\r\n", "\r"] {
                let text = format!(
                    "{mark}ID{delimiter}Имя{end}7{delimiter}\"Ольга, \"\"мама\"\"\nи папа\""
                );
                for text in [text.clone(), format!("{text}{end}")] {
                    let folder = Folder::new();
                    let rows = read(&folder.file(&text)).await.unwrap();
                    assert_eq!(texts(&rows), expected, "{text:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn cells_are_not_interpreted_and_rows_keep_their_numbers() {
    let folder = Folder::new();
    let path = folder.file("a,b,c\n0042,,TRUE\n,,\n 1e5 ,x\nN/A,'y',z,more\n");
    let rows = read(&path).await.unwrap();
    assert_eq!(
        texts(&rows),
        [
            row(1, &["a", "b", "c"]),
            row(2, &["0042", "", "TRUE"]),
            row(4, &[" 1e5 ", "x"]),
            row(5, &["N/A", "'y'", "z", "more"]),
        ]
    );
    assert_eq!(rows[1].cells[1], Cell::Empty);
    assert_eq!(rows[1].cells[2], Cell::Text("TRUE".to_string()));
    assert!(read(&folder.file("")).await.unwrap().is_empty());
    assert!(read(&folder.file("\u{feff}")).await.unwrap().is_empty());
    assert!(read(&folder.file("\n\n\r\n")).await.unwrap().is_empty());
    let wild = "a\0b,🌵,\u{202e}ישראל\n";
    assert_eq!(
        texts(&read(&folder.file(wild)).await.unwrap()),
        [row(1, &["a\0b", "🌵", "\u{202e}ישראל"])]
    );
}

#[tokio::test]
async fn many_rows_come_in_pages() {
    let folder = Folder::new();
    let mut text = String::from("id;name\n");
    for id in 0..12_344 {
        text.push_str(&format!("{id};имя {id}\n"));
    }
    let rows = read(&folder.file(text)).await.unwrap();
    assert_eq!(rows.len(), 12_345);
    for (position, row) in (0_u64..).zip(&rows) {
        assert_eq!(row.number, position + 1);
    }
    assert_eq!(rows[12_344].cells[0], Cell::Text("12343".to_string()));
    let long = format!("id,text\n1,{}\n", "ж".repeat(50_000));
    assert_eq!(read(&folder.file(long)).await.unwrap()[1].cells[1].raw().len(), 100_000);
}

#[tokio::test]
async fn other_encodings_are_named_with_their_place() {
    let cp1251 = [&b"id,name\n1,ok\n2,\xce\xeb\xfc\xe3\xe0\n"[..]].concat();
    let error = refused(cp1251).await;
    assert_eq!(error.kind(), Kind::InvalidData);
    assert!(error.message().contains("record 3 (line 3), field 2: not UTF-8"), "{error}");
    assert!(error.message().contains("Windows-1251"), "{error}");
    assert!(error.hint().unwrap().contains("UTF-8"));
    let stray = refused(b"id,name\n1,ab\x80\x81\x82\n").await;
    assert!(!stray.message().contains("1251"), "{stray}");
    for (content, what) in [
        (&b"\xff\xfei\0d\0\n\0"[..], "UTF-16"),
        (b"\xfe\xff\0i\0d\0\n", "UTF-16"),
        (b"PK\x03\x04rest", "Excel"),
        (b"\x1f\x8b\x08rest", "gzip"),
    ] {
        let error = refused(content).await;
        assert!(error.kind() == Kind::InvalidData && error.message().contains(what), "{error}");
    }
}

#[tokio::test]
async fn a_quote_that_is_never_closed_is_found() {
    for text in ["a,b\n1,\"open\n2,x\n3,y\n", "a,b\n1,\"open", "a,b\n1,\"", "a,b\n1,\"x\"\"\n"] {
        let error = refused(text).await;
        assert_eq!(error.kind(), Kind::InvalidData);
        assert!(
            error.message().contains("record 2 (line 2): a quote that is opened there is never"),
            "{text:?}: {error}"
        );
    }
    let mut endless = b"a,b\n1,\"".to_vec();
    endless.resize(9 << 20, b'x');
    let error = refused(endless).await;
    assert!(error.message().contains("record 2 (line 2): the record is larger than 8"), "{error}");
}

#[tokio::test]
async fn files_that_are_not_there() {
    let folder = Folder::new();
    let missing = CsvSource::open(folder.0.path().join("none.csv")).await.unwrap_err();
    assert_eq!(missing.kind(), Kind::SourceUnavailable);
    assert!(
        missing.message().contains("there is no file") && missing.message().contains("none.csv")
    );
    let is_folder = CsvSource::open(folder.0.path()).await.unwrap_err();
    assert!(is_folder.message().contains("is a folder"), "{is_folder}");
}

#[tokio::test]
async fn dropping_a_half_read_file_ends_its_thread() {
    let folder = Folder::new();
    let path = folder.file("a,b\n".repeat(100_000));
    let mut source = CsvSource::open(&path).await.unwrap();
    assert!(matches!(source.next_page(&Silent).await.unwrap(), Page::Rows(_)));
    assert_eq!(source.describe(), format!("file {}", path.display()));
    let open = || {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
            .any(|target| target == path)
    };
    assert!(open());
    drop(source);
    while open() {
        tokio::task::yield_now().await;
    }
}
