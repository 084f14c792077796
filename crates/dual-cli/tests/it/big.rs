//! A long sheet passes through in little memory.

use std::fs::File;
use std::time::Duration;

use serde_json::{Value, json};

use crate::scene::{Ran, Scene, TAB, bot_row, heading};

const ROWS: i64 = 200_000;
/// In kB, as `/proc` tells it.
const MOST_MEMORY: u64 = 100 * 1024;

/// The largest resident size so far, in kB; nothing once the process has ended.
fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
#[cfg(target_os = "linux")]
fn two_hundred_thousand_rows_reach_both_in_little_memory() {
    let mut cells = vec![heading()];
    cells.extend((1..=ROWS).map(|row| {
        bot_row(
            "2025-07-10 12:00:05",
            5_000_000_000 + row,
            if row % 2 == 0 { "Купон выдан" } else { "Купон погашен" },
        )
    }));
    let scene = Scene::new(json!([]));
    let sheet = json!([{ "title": TAB, "rowCount": ROWS + 500, "columnCount": 14, "cells": Value::from(cells) }]);
    scene.sheets(sheet);
    let output = |name: &str| File::create(scene.folder.path().join(name)).unwrap();
    let mut child = scene
        .command(&["--json"])
        .stdout(output("stdout"))
        .stderr(output("stderr"))
        .spawn()
        .unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak_memory(child.id()).unwrap_or(0).max(peak);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text = |name: &str| std::fs::read_to_string(scene.folder.path().join(name)).unwrap();
    let ran = Ran { code: status.code(), stdout: text("stdout"), stderr: text("stderr") };
    let document = ran.ended(0).json();
    for store in ["postgres", "sqlite"] {
        assert_eq!(document["stores"][store]["inserted"], ROWS, "{store}: {document}");
    }
    let select = "SELECT count(*), count(DISTINCT user_id), min(user_id), max(user_id), sum(user_id), \
                  max(id), count(NULLIF(status, 'issued')), min(register_date), max(register_date) FROM users";
    let expected = [
        "200000",
        "200000",
        "5000000001",
        "5000200000",
        "1000020000100000",
        "200000",
        "100000",
        "2025-07-10 12:00:05",
        "2025-07-10 12:00:05",
    ]
    .map(|text| Some(text.to_string()));
    assert_eq!(scene.postgres(select)[0], expected);
    assert_eq!(scene.sqlite(select)[0], expected);
    assert!(peak > 1_024, "the peak was not seen: {peak} kB");
    assert!(peak < MOST_MEMORY, "{peak} kB at the peak");
}
