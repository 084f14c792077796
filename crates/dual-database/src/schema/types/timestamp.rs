use std::borrow::Cow;

use super::date::is_day;
use super::{Description, Unfit};
use crate::schema::{Affinity, Dialect};
use crate::value::{Value, parse_timestamp_text, timestamp_text};

pub(super) struct Timestamp;

impl Description for Timestamp {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => "timestamp without time zone",
            Dialect::Sqlite => "TEXT",
        }
    }

    fn wanted(&self) -> &'static str {
        "a timestamp as text"
    }

    /// Through the text form, which cuts to microseconds and knows the years.
    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        let (text, why) = match value {
            Value::Timestamp(instant) => {
                (timestamp_text(instant), "the year is not one of 1 to 9999")
            }
            Value::Text(text) => (
                text,
                "a timestamp is wanted: YYYY-MM-DD, or YYYY-MM-DD HH:MM:SS with an optional \
                 fraction and zone",
            ),
            other => return Err(self.other(&other)),
        };
        parse_timestamp_text(&text).map(Value::Timestamp).ok_or(Unfit::Value(why))
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Timestamp(instant) if (1..=9999).contains(&instant.year()))
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        self.decode_text(&text)
    }

    fn decode_text(&self, text: &str) -> Option<Value> {
        parse_timestamp_text(text).map(Value::Timestamp)
    }

    fn canonical(&self, column: &str, _: bool) -> String {
        format!(
            "CASE WHEN {column} >= '0001-01-01' AND {column} < '10000-01-01' \
             THEN to_char({column}, 'YYYY-MM-DD HH24:MI:SS') || \
             CASE WHEN to_char({column}, 'US') <> '000000' THEN '.' || to_char({column}, 'US') \
             ELSE '' END ELSE '?' || {column}::text END"
        )
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
                 ELSE pg_catalog.regexp_replace(pg_catalog.to_char({column}, \
                 'YYYY-MM-DD HH24:MI:SS.US'), '[.]000000$', '') END"
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

    /// The canonical form of a day that there is: two texts for one moment would be two keys.
    fn is_keyed(&self, column: &str) -> String {
        let two = |at: u32| format!("substr({column}, {at}, 2)");
        let glob = |digits: u32| {
            let [year, pair] = [4, 2].map(|count| "[0-9]".repeat(count));
            let seconds = format!("{year}-{pair}-{pair} {pair}:{pair}:{pair}");
            match digits {
                0 => format!("{column} GLOB '{seconds}'"),
                _ => format!("{column} GLOB '{seconds}.{}'", pair.repeat(3)),
            }
        };
        format!(
            "typeof({column}) = 'text' AND ({} OR {} AND {column} NOT GLOB '*.000000') \
             AND {} AND {} < '24' AND {} < '60' AND {} < '60'",
            glob(0),
            glob(6),
            is_day(column),
            two(12),
            two(15),
            two(18),
        )
    }

    fn tidied(&self, column: &str) -> Option<String> {
        Some(format!("dual_timestamp({column})"))
    }

    /// Other programs write other forms into a file (`2025-08-07T09:00:00Z`).
    fn ordered(&self, dialect: Dialect, value: &str) -> Option<String> {
        Some(match dialect {
            Dialect::Postgres => value.to_owned(),
            Dialect::Sqlite => format!("dual_timestamp({value})"),
        })
    }

    fn aside(&self, number: &str) -> Option<String> {
        let step = "OPERATOR(pg_catalog.*) interval '1 microsecond'";
        Some(format!("timestamp '0001-01-01' OPERATOR(pg_catalog.+) ({number} {step})"))
    }

    fn fits_postgres(&self, base: &str, precision: Option<u32>) -> bool {
        base == "timestamp without time zone" && precision.is_none_or(|digits| digits >= 6)
    }

    fn converted(&self, column: &str, base: &str) -> String {
        match base {
            "timestamp with time zone" => format!("{column} AT TIME ZONE 'UTC'"),
            _ => format!("{column}::{}", self.sql(Dialect::Postgres)),
        }
    }

    /// `DATETIME` is numeric by the rules, but our text never looks like a number.
    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        matches!(affinity, Affinity::Text | Affinity::Blob | Affinity::Numeric)
    }
}
