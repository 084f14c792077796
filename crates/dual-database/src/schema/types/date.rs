//! Days, times of day, and moments with a zone: texts in one form, which both sides order alike.

use std::borrow::Cow;

use jiff::civil::{Date as Day, Time as TimeOfDay};

use super::{Description, Unfit};
use crate::schema::{Affinity, Dialect};
use crate::value::{Value, parse_timestamp_text, timestamp_text};

/// `YYYY-MM-DD`, years 1 to 9999.
pub(super) struct Date;

/// `HH:MM:SS[.ffffff]`, without a zone, 24:00:00 included.
pub(super) struct Time;

/// `YYYY-MM-DD HH:MM:SS[.ffffff]+00:00`.
pub(super) struct TimestampTz;

/// `NUMERIC` is what `DATE`, `TIME` and `DATETIME` are by SQLite's rules, but our texts never look like a
/// number.
fn keeps_text(affinity: Affinity) -> bool {
    matches!(affinity, Affinity::Text | Affinity::Blob | Affinity::Numeric)
}

fn day(text: &str) -> Option<Value> {
    let bytes = text.as_bytes();
    let in_form = bytes.len() == 10 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[0] != b'-';
    let day: Day = in_form.then(|| text.parse().ok())??;
    (1..=9999).contains(&day.year()).then(|| Value::Text(text.to_owned()))
}

/// A fraction has 1 to 9 digits, of which 6 are kept.
fn time_of_day(text: &str) -> Option<Value> {
    if matches!(text, "24:00" | "24:00:00") {
        return Some(Value::Text("24:00:00".to_owned()));
    }
    let bytes = text.as_bytes();
    let allowed = bytes.iter().all(|byte| byte.is_ascii_digit() || b":.".contains(byte));
    let in_form =
        allowed && bytes.get(2) == Some(&b':') && matches!(bytes.get(5), None | Some(b':'));
    let time: TimeOfDay = in_form.then(|| text.parse().ok())??;
    let day = jiff::civil::date(2000, 1, 1).to_datetime(time);
    Some(Value::Text(timestamp_text(day)[11..].to_owned()))
}

fn moment(text: &str) -> Option<Value> {
    let moment = parse_timestamp_text(text)?;
    Some(Value::Text(format!("{}+00:00", timestamp_text(moment))))
}

/// The text of a file's column, which has the form `YYYY-MM-DD` in its first characters, is of a day that there
/// is. It uses what SQLite 3.7.0 knows.
pub(super) fn is_day(column: &str) -> String {
    let two = |at: u32| format!("substr({column}, {at}, 2)");
    let year = format!("CAST(substr({column}, 1, 4) AS INTEGER)");
    let (month, day) = (two(6), two(9));
    format!(
        "{year} > 0 AND {month} BETWEEN '01' AND '12' AND {day} BETWEEN '01' AND \
         CASE WHEN {month} IN ('04', '06', '09', '11') THEN '30' WHEN {month} <> '02' THEN '31' \
         WHEN {year} % 4 = 0 AND ({year} % 100 <> 0 OR {year} % 400 = 0) THEN '29' ELSE '28' END"
    )
}

/// PostgreSQL's expression of a moment, or a time, as our text: `form` is that of the whole seconds.
fn with_fraction(column: &str, form: &str) -> String {
    format!(
        "to_char({column}, '{form}') || CASE WHEN to_char({column}, 'US') <> '000000' \
         THEN '.' || to_char({column}, 'US') ELSE '' END"
    )
}

impl Description for Date {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => "date",
            Dialect::Sqlite => "TEXT",
        }
    }

    /// Only keywords mean the same under any search path.
    fn carried(&self) -> &str {
        "pg_catalog.date"
    }

    fn wanted(&self) -> &'static str {
        "a date as text"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        let found = match &value {
            Value::Text(text) => day(text),
            Value::Timestamp(instant) => {
                timestamp_text(*instant).strip_suffix(" 00:00:00").and_then(day)
            }
            other => return Err(self.other(other)),
        };
        found.ok_or(Unfit::Value("a date is wanted: YYYY-MM-DD, years 1 to 9999"))
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Text(text) if day(text).as_ref() == Some(value))
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        day(&text)
    }

    fn decode_text(&self, text: &str) -> Option<Value> {
        day(text)
    }

    fn canonical(&self, column: &str, _: bool) -> String {
        format!(
            "CASE WHEN {column} >= '0001-01-01' AND {column} < '10000-01-01' \
             THEN to_char({column}, 'YYYY-MM-DD') ELSE '?' || {column}::text END"
        )
    }

    fn aside(&self, number: &str) -> Option<String> {
        Some(format!("'0001-01-01'::pg_catalog.date OPERATOR(pg_catalog.+) {number}"))
    }

    fn makes_keys(&self) -> bool {
        true
    }

    /// What cannot be carried is no canonical text, and lies before all of them or behind.
    fn keyed(&self, dialect: Dialect, column: &str) -> String {
        match dialect {
            Dialect::Postgres => format!(
                "CASE WHEN {column} OPERATOR(pg_catalog.<) '0001-01-01' \
                 THEN '!' OPERATOR(pg_catalog.||) {column}::pg_catalog.text \
                 WHEN {column} OPERATOR(pg_catalog.>=) '10000-01-01' \
                 THEN '?' OPERATOR(pg_catalog.||) {column}::pg_catalog.text \
                 ELSE pg_catalog.to_char({column}::pg_catalog.timestamp, 'YYYY-MM-DD') END"
            ),
            Dialect::Sqlite => column.to_owned(),
        }
    }

    fn unkeyed(&self, dialect: Dialect, part: &str) -> String {
        match dialect {
            Dialect::Postgres => format!("pg_catalog.ltrim({part}, '!?')::{}", self.carried()),
            Dialect::Sqlite => part.to_owned(),
        }
    }

    fn is_carried(&self, column: &str) -> String {
        self.is_keyed(column)
    }

    fn is_keyed(&self, column: &str) -> String {
        let [year, pair] = [4, 2].map(|count| "[0-9]".repeat(count));
        let form = format!("{column} GLOB '{year}-{pair}-{pair}'");
        format!("typeof({column}) = 'text' AND {form} AND {}", is_day(column))
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        base == "date"
    }

    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        keeps_text(affinity)
    }
}

impl Description for Time {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => "time without time zone",
            Dialect::Sqlite => "TEXT",
        }
    }

    fn wanted(&self) -> &'static str {
        "a time of day as text"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        let Value::Text(text) = &value else { return Err(self.other(&value)) };
        time_of_day(text)
            .ok_or(Unfit::Value("a time of day is wanted: HH:MM:SS, with an optional fraction"))
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Text(text) if time_of_day(text).as_ref() == Some(value))
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        time_of_day(&text)
    }

    fn decode_text(&self, text: &str) -> Option<Value> {
        time_of_day(text)
    }

    fn canonical(&self, column: &str, _: bool) -> String {
        with_fraction(&format!("{column}::interval"), "HH24:MI:SS")
    }

    fn aside(&self, number: &str) -> Option<String> {
        let step = "OPERATOR(pg_catalog.*) interval '1 microsecond'";
        Some(format!("time '00:00' OPERATOR(pg_catalog.+) ({number} {step})"))
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        base == "time without time zone"
    }

    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        keeps_text(affinity)
    }
}

impl Description for TimestampTz {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => "timestamp with time zone",
            Dialect::Sqlite => "TEXT",
        }
    }

    fn wanted(&self) -> &'static str {
        "a timestamp as text"
    }

    /// What says nothing of a zone is UTC.
    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        let (text, why) = match value {
            Value::Timestamp(instant) => {
                (timestamp_text(instant), "the year is not one of 1 to 9999")
            }
            Value::Text(text) => (
                text,
                "a timestamp is wanted: YYYY-MM-DD HH:MM:SS with an optional fraction and zone",
            ),
            other => return Err(self.other(&other)),
        };
        moment(&text).ok_or(Unfit::Value(why))
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Text(text) if moment(text).as_ref() == Some(value))
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        moment(&text)
    }

    fn decode_text(&self, text: &str) -> Option<Value> {
        moment(text)
    }

    /// Whatever zone the session has.
    fn printed(&self, column: &str, _: bool) -> String {
        format!("({column} AT TIME ZONE 'UTC')::pg_catalog.text")
    }

    fn canonical(&self, column: &str, _: bool) -> String {
        let utc = format!("({column} AT TIME ZONE 'UTC')");
        format!(
            "CASE WHEN {utc} >= '0001-01-01' AND {utc} < '10000-01-01' THEN {} || '+00:00' \
             ELSE '?' || {utc}::text END",
            with_fraction(&utc, "YYYY-MM-DD HH24:MI:SS")
        )
    }

    fn ordered(&self, dialect: Dialect, value: &str) -> Option<String> {
        Some(match dialect {
            Dialect::Postgres => value.to_owned(),
            Dialect::Sqlite => format!("dual_timestamp({value})"),
        })
    }

    fn tidied(&self, column: &str) -> Option<String> {
        Some(format!("dual_timestamp({column}) || '+00:00'"))
    }

    fn makes_keys(&self) -> bool {
        true
    }

    /// As of a day, in UTC.
    fn keyed(&self, dialect: Dialect, column: &str) -> String {
        let utc = format!("pg_catalog.timezone('UTC', {column})");
        match dialect {
            Dialect::Postgres => format!(
                "CASE WHEN {utc} OPERATOR(pg_catalog.<) '0001-01-01' \
                 THEN '!' OPERATOR(pg_catalog.||) {column}::pg_catalog.text \
                 WHEN {utc} OPERATOR(pg_catalog.>=) '10000-01-01' \
                 THEN '?' OPERATOR(pg_catalog.||) {column}::pg_catalog.text \
                 ELSE pg_catalog.regexp_replace(pg_catalog.to_char({utc}, \
                 'YYYY-MM-DD HH24:MI:SS.US'), '[.]000000$', '') OPERATOR(pg_catalog.||) '+00:00' END"
            ),
            Dialect::Sqlite => column.to_owned(),
        }
    }

    fn unkeyed(&self, dialect: Dialect, part: &str) -> String {
        match dialect {
            Dialect::Postgres => format!("pg_catalog.ltrim({part}, '!?')::{}", self.carried()),
            Dialect::Sqlite => part.to_owned(),
        }
    }

    fn is_carried(&self, column: &str) -> String {
        self.is_keyed(column)
    }

    fn is_keyed(&self, column: &str) -> String {
        let [year, pair, micros] = [4, 2, 6].map(|count| "[0-9]".repeat(count));
        let seconds = format!("{year}-{pair}-{pair} {pair}:{pair}:{pair}");
        let below = |at: u32, end: u32| format!("substr({column}, {at}, 2) < '{end}'");
        format!(
            "typeof({column}) = 'text' AND ({column} GLOB '{seconds}+00:00' OR {column} GLOB \
             '{seconds}.{micros}+00:00' AND {column} NOT GLOB '*.000000+00:00') \
             AND {} AND {} AND {} AND {}",
            is_day(column),
            below(12, 24),
            below(15, 60),
            below(18, 60),
        )
    }

    fn aside(&self, number: &str) -> Option<String> {
        let step = "OPERATOR(pg_catalog.*) interval '1 microsecond'";
        Some(format!(
            "'0001-01-03 00:00+00'::pg_catalog.timestamptz OPERATOR(pg_catalog.+) ({number} {step})"
        ))
    }

    /// What a column of fewer digits keeps comes back.
    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        base == self.sql(Dialect::Postgres)
    }

    fn converted(&self, column: &str, base: &str) -> String {
        match base {
            "timestamp without time zone" => format!("{column} AT TIME ZONE 'UTC'"),
            _ => format!("{column}::{}", self.sql(Dialect::Postgres)),
        }
    }

    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        keeps_text(affinity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_have_one_form() {
        let of = |read: fn(&str) -> Option<Value>, text: &str| match read(text) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        };
        for text in ["0001-01-01", "9999-12-31", "2024-02-29"] {
            assert_eq!(of(day, text).as_deref(), Some(text));
        }
        for none in [
            "",
            "0000-01-01",
            "2023-02-29",
            "2024-2-9",
            "01.02.1990",
            "20240229",
            "-024-02-29",
            "2024-02-29 00:00:00",
            "infinity",
            "2024-W09-4",
            "0044-03-15 BC",
        ] {
            assert_eq!(of(day, none), None, "{none}");
        }
        for (text, time) in [
            ("00:00", "00:00:00"),
            ("23:59:59.1", "23:59:59.100000"),
            ("12:00:00.123456789", "12:00:00.123456"),
            ("24:00:00", "24:00:00"),
        ] {
            assert_eq!(of(time_of_day, text).as_deref(), Some(time));
        }
        for none in ["", "1:00", "24:00:01", "12", "120000", "12:00:00+03", "12:60", "12:0", "noon"]
        {
            assert_eq!(of(time_of_day, none), None, "{none}");
        }
        for (text, utc) in [
            ("2024-05-06 07:08:09+03", "2024-05-06 04:08:09+00:00"),
            ("2024-05-06T07:08:09.5Z", "2024-05-06 07:08:09.500000+00:00"),
            ("2024-05-06", "2024-05-06 00:00:00+00:00"),
        ] {
            assert_eq!(of(moment, text).as_deref(), Some(utc));
        }
        let midnight = Value::Timestamp(jiff::civil::date(2024, 5, 6).at(0, 0, 0, 0));
        assert_eq!(Date.accept(midnight), Ok("2024-05-06".into()));
        let noon = Value::Timestamp(jiff::civil::date(2024, 5, 6).at(12, 0, 0, 0));
        assert!(Date.accept(noon).is_err() && Date.accept(7.into()).is_err());
    }
}
