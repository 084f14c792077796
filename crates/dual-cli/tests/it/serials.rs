//! Dates of a sheet are serial numbers; every one reaches both databases as the second that
//! it stands for.

use serde_json::{Value, json};

use crate::scene::{Row, Scene, TAB};

/// Serial numbers of days, and the days.
const DAYS: [(u32, &str); 4] =
    [(2, "1900-01-01"), (36_525, "1999-12-31"), (45_351, "2024-02-29"), (45_876, "2025-08-07")];

/// A prime, so that all minutes and seconds come up.
const STEP: usize = 97;

/// The number as sheets and files send it: cut to so many significant digits.
fn cut(serial: f64, digits: usize) -> f64 {
    format!("{serial:.*e}", digits - 1).parse().unwrap()
}

fn date(serial: f64) -> Value {
    json!({ "v": serial, "f": "дата", "date": true })
}

#[test]
fn serial_dates_are_the_same_second_in_both_databases() {
    let mut cells = vec![json!(["user_id", "register_date", "last_activity", "redeem_date"])];
    let mut expected: Vec<Row> = Vec::new();
    for (days, day) in DAYS {
        for second in (0..86_400_u32).step_by(STEP).chain([86_399]) {
            let user = 1_000_000_000 + expected.len();
            let serial = f64::from(days) + f64::from(second) / 86_400.0;
            cells.push(json!([user, date(serial), date(cut(serial, 15)), date(cut(serial, 10))]));
            let (hours, minutes) = (second / 3_600, second / 60 % 60);
            let text = format!("{day} {hours:02}:{minutes:02}:{:02}", second % 60);
            expected.push([user.to_string(), text.clone(), text.clone(), text].map(Some).into());
        }
    }
    assert_eq!(expected.len(), 4 * 892);
    let scene = Scene::new(json!([]));
    scene.sheets(json!([
        { "title": TAB, "rowCount": 5_000, "columnCount": 4, "cells": cells }
    ]));
    scene.migrate(&[]).ended(0);
    let columns = "user_id, register_date, last_activity, redeem_date";
    let select = format!("SELECT {columns} FROM users ORDER BY user_id");
    assert_eq!(scene.postgres(&select), expected);
    assert_eq!(scene.sqlite(&select), expected);
}
