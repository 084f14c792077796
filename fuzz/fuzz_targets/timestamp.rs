//! Any text as a timestamp: what is read has one text, which is read as the same, and texts
//! are ordered as the instants are.
#![no_main]

use arbitrary::Unstructured;
use dual_database::value::{parse_timestamp_text, timestamp_text};
use jiff::civil::DateTime;
use libfuzzer_sys::fuzz_target;

fn round_trip(instant: DateTime) -> String {
    let text = timestamp_text(instant);
    assert!(matches!(text.len(), 19 | 26), "{text}");
    assert_eq!(parse_timestamp_text(&text), Some(instant), "{text}");
    assert_eq!(text.parse::<DateTime>().ok(), Some(instant), "{text}");
    text
}

fuzz_target!(|bytes: &[u8]| {
    if let Some(instant) = std::str::from_utf8(bytes).ok().and_then(parse_timestamp_text) {
        assert!((1..=9999).contains(&instant.year()), "{instant}");
        round_trip(instant);
    }
    let mut bytes = Unstructured::new(bytes);
    let mut any = || -> arbitrary::Result<Option<DateTime>> {
        let (year, month, day) = (
            bytes.int_in_range(1..=9999)?,
            bytes.int_in_range(1..=12)?,
            bytes.int_in_range(1..=31)?,
        );
        let (hour, minute, second) =
            (bytes.int_in_range(0..=23)?, bytes.int_in_range(0..=59)?, bytes.int_in_range(0..=59)?);
        let micros: i32 = bytes.int_in_range(0..=999_999)?;
        Ok(DateTime::new(year, month, day, hour, minute, second, micros * 1_000).ok())
    };
    if let (Ok(Some(one)), Ok(Some(other))) = (any(), any()) {
        let (first, second) = (round_trip(one), round_trip(other));
        assert_eq!(first.cmp(&second), one.cmp(&other), "{first} {second}");
    }
});
