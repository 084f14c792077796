use dual_database::value::timestamp_text;
use jiff::civil::date;

use super::*;

fn utc(cell: &Cell) -> Result<String, &'static str> {
    match read(cell, None) {
        Ok(Content::Known(Value::Timestamp(instant))) => Ok(timestamp_text(instant)),
        Ok(other) => panic!("{other:?}"),
        Err(fault) => Err(fault.says),
    }
}

fn text(text: &str) -> Result<String, &'static str> {
    utc(&Cell::Text(text.into()))
}

#[test]
fn written_forms() {
    let cases = [
        ("2025-08-07 12:34:56", "2025-08-07 12:34:56"),
        ("2025-08-07T12:34:56", "2025-08-07 12:34:56"),
        ("2025-08-07 9:00:01", "2025-08-07 09:00:01"),
        ("2025-08-07 9:00", "2025-08-07 09:00:00"),
        ("2025-08-07\u{A0}9:00", "2025-08-07 09:00:00"),
        (" 2025-08-07  09:00 ", "2025-08-07 09:00:00"),
        ("2025-08-07 12:34:56.789", "2025-08-07 12:34:56.789000"),
        ("2025-08-07 12:34:56.123456789", "2025-08-07 12:34:56.123456"),
        ("2025-08-07T12:34:56Z", "2025-08-07 12:34:56"),
        ("2025-08-07 12:34:56+03:00", "2025-08-07 09:34:56"),
        ("2025-08-07 12:34:56 +0300", "2025-08-07 09:34:56"),
        ("2025-08-07T23:34-03", "2025-08-08 02:34:00"),
        ("2025-08-07", "2025-08-07 00:00:00"),
        ("07.08.2025", "2025-08-07 00:00:00"),
        ("7.8.2025", "2025-08-07 00:00:00"),
        ("07.08.2025 9:05", "2025-08-07 09:05:00"),
        ("07.08.2025 09:05:06", "2025-08-07 09:05:06"),
        ("29.02.2024", "2024-02-29 00:00:00"),
        ("1900-01-01", "1900-01-01 00:00:00"),
        ("9999-12-31 23:59:59", "9999-12-31 23:59:59"),
    ];
    for (written, read) in cases {
        assert_eq!(text(written).as_deref(), Ok(read), "{written:?}");
    }
}

#[test]
fn other_forms_are_refused() {
    let cases = [
        "",
        "now",
        "вчера",
        "31.02.2025",
        "2025-02-30",
        "29.02.2025",
        "2025-13-01",
        "00.01.2025",
        "8.8.25",
        "08.08.25 9:00",
        "8 авг. 2025 г.",
        "Aug 8, 2025",
        "08/07/2025",
        "2025/08/07",
        "2025-8-7",
        "25-08-07",
        "20250807",
        "45876.5",
        "2025-08-07 24:00",
        "2025-08-07 12:60",
        "2025-08-07 12:00:60",
        "2025-08-07 12",
        "2025-08-07 12:0",
        "2025-08-07 012:00",
        "2025-08-07 12:00:00:00",
        "2025-08-07 12:00.5",
        "2025-08-07 12:00:00.",
        "2025-08-07 12:00:00.1234567890",
        "2025-08-07 12:00 PM",
        "2025-08-07 12:00 MSK",
        "2025-08-07 12:00+3",
        "2025-08-07 12:00+03:60",
        "2025-08-07 12:00+3:000",
        "2025-08-07 12:00-99:00",
        "2025-08-07 -1:00",
        "2025-08-07 ",
        "2025-08-07T",
        "-2025-08-07",
        "07.08.2025T09:05",
        "07.08.2025 09:05:06.5",
        "07.08.2025 9:05 Z",
        "07.08.2025, 9:05",
        "1899-12-31",
        "31.12.1899",
        "10000-01-01",
        "9999-12-31 23:00-05:00",
        "２０２５-08-07",
    ];
    for written in cases {
        if written == "2025-08-07 " {
            assert!(text(written).is_ok(), "the space around is free");
            continue;
        }
        assert!(text(written).is_err(), "{written:?} was read as {:?}", text(written));
    }
}

#[test]
fn serial_numbers() {
    let cases = [
        (Cell::Int(43_831), "2020-01-01 00:00:00"),
        (Cell::Float(43_831.0), "2020-01-01 00:00:00"),
        (Cell::Float(45_876.524_259_259_26), "2025-08-07 12:34:56"),
        (Cell::Int(25_569), "1970-01-01 00:00:00"),
        (Cell::Float(2.5), "1900-01-01 12:00:00"),
        (Cell::Int(2_958_465), "9999-12-31 00:00:00"),
    ];
    for (cell, read) in cases {
        assert_eq!(utc(&cell).as_deref(), Ok(read), "{cell:?}");
    }
    let refused = [
        0.0,
        0.5,
        -1.0,
        1.0,
        1.999,
        2_958_466.0,
        2_958_465.999_999_9,
        5_123_456_789.0,
        f64::NAN,
        f64::INFINITY,
        f64::MAX,
        f64::MIN,
    ];
    for days in refused {
        assert!(utc(&Cell::Float(days)).is_err(), "{days}");
    }
    for days in [0, 1, -1, i64::MAX, i64::MIN] {
        assert!(utc(&Cell::Int(days)).is_err(), "{days}");
    }
}

/// The serial as a sheet would send it: shortest form, or cut to so many significant digits.
fn cut(serial: f64, digits: usize) -> f64 {
    format!("{serial:.*e}", digits - 1).parse().unwrap()
}

#[test]
fn every_second_of_a_day_survives() {
    for day in [date(1900, 1, 1), date(1999, 12, 31), date(2024, 2, 29), date(2026, 1, 4)] {
        let midnight = day.at(0, 0, 0, 0);
        let days = EPOCH.until(day).unwrap().get_days();
        for second in 0..86_400 {
            let expected = midnight.checked_add(SignedDuration::from_secs(second)).unwrap();
            let days = f64::from(days) + second as f64 / 86_400.0;
            for days in [days, cut(days, 15), cut(days, 10)] {
                assert_eq!(serial(&Cell::Float(days)), Ok(expected), "{days}");
            }
        }
    }
}

#[test]
fn dates_kept_as_text() {
    let read = |cell| read_text_date(&cell).ok();
    assert_eq!(read(Cell::Int(33_100)).as_deref(), Some("15.08.1990"));
    assert_eq!(read(Cell::Float(33_100.0)).as_deref(), Some("15.08.1990"));
    assert_eq!(read(Cell::Text(" 15.8.90 ".into())).as_deref(), Some("15.8.90"));
    assert_eq!(read(Cell::Int(-5)), None);
    assert_eq!(read(Cell::Int(987_654_321)), None);
    assert_eq!(read(Cell::Bool(true)), None);
}
