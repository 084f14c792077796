//! Timestamps in the one text form that both sides order alike.

use jiff::civil::DateTime;

/// The canonical text: `YYYY-MM-DD HH:MM:SS`, then `.ffffff` only where the fraction is not
/// zero, its trailing zeros kept, so that text order is time order within a second.
///
/// ```
/// use dual_database::value::timestamp_text;
/// use jiff::civil::date;
/// assert_eq!(timestamp_text(date(2025, 8, 7).at(9, 0, 1, 0)), "2025-08-07 09:00:01");
/// assert_eq!(timestamp_text(date(2025, 8, 7).at(9, 0, 1, 500_000_000)), "2025-08-07 09:00:01.500000");
/// ```
#[must_use]
pub fn timestamp_text(instant: DateTime) -> String {
    let seconds = instant.strftime("%Y-%m-%d %H:%M:%S");
    match instant.subsec_nanosecond() / 1_000 {
        0 => seconds.to_string(),
        micros => format!("{seconds}.{micros:06}"),
    }
}

/// Reads the canonical text and the forms that other programs leave in a SQLite file: `T`
/// instead of the space, a fraction of 1 to 9 digits (rounded down to microseconds), a `Z` or
/// a numeric offset (converted to UTC), a date alone (midnight). `None` for anything else and
/// for years outside 1 to 9999.
///
/// ```
/// use dual_database::value::{parse_timestamp_text, timestamp_text};
/// let read = |text| parse_timestamp_text(text).map(timestamp_text);
/// assert_eq!(read("2025-08-07T12:00:00+03:00").as_deref(), Some("2025-08-07 09:00:00"));
/// assert_eq!(read("2025-13-07"), None);
/// ```
#[must_use]
pub fn parse_timestamp_text(text: &str) -> Option<DateTime> {
    let bytes = text.as_bytes();
    // jiff reads more than the forms above (week dates, compact forms, zone names); hold it
    // to these.
    let allowed = |byte: &u8| byte.is_ascii_digit() || b"-:. TtZz+".contains(byte);
    if !bytes.iter().all(allowed) || bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (datetime, offset) = if bytes.len() == 10 {
        (text.parse::<jiff::civil::Date>().ok()?.to_datetime(jiff::civil::Time::midnight()), None)
    } else {
        let body_end = text[11..].find(['Z', 'z', '+', '-']).map_or(text.len(), |at| at + 11);
        let (body, zone) = text.split_at(body_end);
        if !matches!(bytes[10], b'T' | b't' | b' ') || bytes.get(13) != Some(&b':') {
            return None;
        }
        (body.parse::<DateTime>().ok()?, (!zone.is_empty()).then_some(zone))
    };
    let utc = match offset {
        None => datetime,
        Some("Z" | "z") => datetime,
        Some(zone) => datetime.checked_sub(offset_seconds(zone)?).ok()?,
    };
    let micros = utc.subsec_nanosecond() / 1_000 * 1_000;
    let utc = utc.with().subsec_nanosecond(micros).build().ok()?;
    (1..=9999).contains(&utc.year()).then_some(utc)
}

/// `+03`, `+0300`, `+03:00`, as a signed duration.
fn offset_seconds(zone: &str) -> Option<jiff::SignedDuration> {
    let (sign, digits) = match zone.split_at(1) {
        ("+", rest) => (1, rest.replace(':', "")),
        ("-", rest) => (-1, rest.replace(':', "")),
        _ => return None,
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !matches!(digits.len(), 2 | 4) {
        return None;
    }
    let hours: i64 = digits[..2].parse().ok()?;
    let minutes: i64 = if digits.len() == 4 { digits[2..].parse().ok()? } else { 0 };
    (hours <= 15 && minutes < 60)
        .then(|| jiff::SignedDuration::from_secs(sign * (hours * 3_600 + minutes * 60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_programs_write_is_read_and_nothing_else() {
        let read = |text: &str| parse_timestamp_text(text).map(timestamp_text);
        for (text, canonical) in [
            ("2025-08-07 09:00:01", "2025-08-07 09:00:01"),
            ("2025-08-07T09:00:01Z", "2025-08-07 09:00:01"),
            ("2025-08-07 09:00:01.5", "2025-08-07 09:00:01.500000"),
            ("2025-08-07 09:00:01.123456789", "2025-08-07 09:00:01.123456"),
            ("2025-08-07T12:00:01.000001+03:00", "2025-08-07 09:00:01.000001"),
            ("2025-08-06 23:30:00-0930", "2025-08-07 09:00:00"),
            ("2025-08-07", "2025-08-07 00:00:00"),
            ("0001-01-01 00:00:00", "0001-01-01 00:00:00"),
            ("9999-12-31 23:59:59.999999", "9999-12-31 23:59:59.999999"),
        ] {
            assert_eq!(read(text).as_deref(), Some(canonical), "{text}");
        }
        for text in [
            "",
            "2025",
            "2025-8-7",
            "07.08.2025",
            "20250807T090001",
            "2025-08-07 9:00",
            "2025-W32-4",
            "2025-08-07 25:00:00",
            "2025-02-30",
            "-001-01-01 00:00:00",
            "0000-01-01 00:00:00",
            "0001-01-01 00:00:00+03:00",
            "9999-12-31 23:59:59-03:00",
            "2025-08-07 09:00:01+99:00",
            "2025-08-07 09:00:01 BC",
            "infinity",
            "２025-08-07",
            "2025-08-07 09:00:01[UTC]",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_microsecond_survives(micros in -62_135_596_800_000_000_i64..253_402_300_800_000_000) {
            let instant = jiff::Timestamp::from_microsecond(micros).unwrap();
            let datetime = jiff::tz::Offset::UTC.to_datetime(instant);
            proptest::prop_assert_eq!(parse_timestamp_text(&timestamp_text(datetime)), Some(datetime));
        }

        #[test]
        fn text_order_is_time_order(one in -62_135_596_800_i64..253_402_300_800, other in -62_135_596_800_i64..253_402_300_800) {
            let text = |seconds| {
                let instant = jiff::Timestamp::from_second(seconds).unwrap();
                timestamp_text(jiff::tz::Offset::UTC.to_datetime(instant))
            };
            proptest::prop_assert_eq!(one.cmp(&other), text(one).cmp(&text(other)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = parse_timestamp_text(&text);
        }
    }
}
