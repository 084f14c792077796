//! The program `sheets-double`.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use crate::client::{self, READONLY};

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sheets-double"))
}

#[tokio::test]
async fn it_prints_its_address_serves_and_ends_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let (book, creds) = (folder.path().join("book.json"), folder.path().join("creds.json"));
    fs::write(&book, r#"{"title": "b", "sheets": [{"title": "Sheet1", "cells": [["x"]]}]}"#)
        .unwrap();
    fs::write(&creds, "an older file").unwrap();
    fs::set_permissions(&creds, fs::Permissions::from_mode(0o644)).unwrap();
    let mut child = program()
        .args(["--book", book.to_str().unwrap(), "--creds-out", creds.to_str().unwrap()])
        .args(["--fault", "503,times=1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let base = line.trim_end().to_owned();
    assert_eq!(fs::metadata(&creds).unwrap().permissions().mode() & 0o777, 0o600);
    let credentials = serde_json::from_str(&fs::read_to_string(&creds).unwrap()).unwrap();
    let assertion = client::assertion(&credentials, &client::claims(&credentials, READONLY));
    let token = client::exchange(&base, &assertion).await.json();
    let token = token["access_token"].as_str().unwrap();
    let target = "/v4/spreadsheets/whatever/values/Sheet1";
    assert_eq!(client::get(&base, target, token).await.status, 503);
    assert_eq!(client::get(&base, target, token).await.json()["values"][0][0], "x");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "stdout carries the address alone");
}

fn refused(book: &str, text: Option<&[u8]>, more: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(book);
    if let Some(text) = text {
        fs::write(&path, text).unwrap();
    }
    let creds = folder.path().join("creds.json");
    let output =
        program().arg("--book").arg(&path).arg("--creds-out").arg(&creds).args(more).output();
    assert!(!creds.exists());
    output.unwrap()
}

#[test]
fn a_bad_book_is_one_clear_error() {
    let sheet = r#"{"title": "S"}"#;
    for (text, error) in [
        ("tea", "book.json:1:2: expected ident"),
        ("[]", "book.json:1:1: invalid type: sequence"),
        ("{}", "book.json:1:1: no book"),
        ("{\"title\": \"b\",\n \"sheets\": [{\"title\": \"S\",\n", "book.json:3:"),
        ("{\"title\": \"b\"}", "book.json:1:14: missing field `sheets`"),
        (r#"{"title": "b", "sheets": []}"#, "a spreadsheet has at least one sheet"),
        (r#"{"title": "b", "sheets": [{"cells": []}]}"#, "a sheet has no `title`"),
        (
            r#"{"title": "b", "sheets": [{"title": "S", "cells": [[[1]]]}]}"#,
            "book.json:1:53: invalid type: sequence, expected a cell",
        ),
        (
            r#"{"title": "b", "sheets": [{"title": "S", "rowCount": -1}]}"#,
            "`rowCount` is out of range: -1",
        ),
        (
            &format!(r#"{{"title": "b", "sheets": [{sheet}, {sheet}]}}"#),
            "two sheets have the title `S`",
        ),
        (
            &format!(
                "{{\"GOOD\": {{\"title\": \"b\", \"sheets\": [{sheet}]}},\n \"ILL\": {{\"title\": 1, \"sheets\": [{sheet}]}}}}"
            ),
            "book.json:2:",
        ),
    ] {
        let output = refused("book.json", Some(text.as_bytes()), &[]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}: {said}");
        assert!(said.starts_with("error: ") && said.lines().count() == 1, "{text}: {said}");
        assert!(said.contains(error), "{text}: {said}");
        assert!(output.stdout.is_empty());
    }
    let output = refused("book.json", Some(b"{\"title\": \"\xff"), &[]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("book.json:1:12: not UTF-8 text"));
    let output = refused("absent.json", None, &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("absent.json"));
    let output = refused("book.json", Some(b"{}"), &["--fault", "tea"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("no fault is called `tea`"));
}
