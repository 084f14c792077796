//! The logical types, what each of them is on both sides in a file of its own. A new one is a file, a
//! line in [`LogicalType`], and its values in the round-trip test. How a [`Value`] prints is in
//! [`crate::value`] and takes no type.

mod bigint;
mod boolean;
mod bytes;
mod catalog;
mod date;
mod decimal;
mod description;
mod float;
mod infer;
mod int;
mod json;
mod numeric;
mod order;
mod other;
mod text;
mod timestamp;
mod uuid;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

pub use catalog::FoundType;
pub use decimal::Decimal;
pub(crate) use description::Description;
pub use infer::{Evidence, Inferred, inferred};
pub(crate) use order::numeric_order;
pub use other::OtherType;
use serde::{Deserialize, Serialize};
pub use text::is_utf8;

use super::{Affinity, Dialect};
use crate::value::Value;

/// `=`, of the server's own. What is said by full names means the same under any search path.
pub(crate) const EQUALS: &str = "OPERATOR(pg_catalog.=)";

/// A logical type: how it is kept on each side is in `docs/design.md`, "Types".
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LogicalType {
    /// PostgreSQL `boolean`, SQLite `INTEGER` 0 or 1.
    Bool,
    /// 16 bits: PostgreSQL `smallint`, SQLite `INTEGER`.
    SmallInt,
    /// 32 bits: PostgreSQL `integer`, SQLite `INTEGER`.
    Int,
    /// 64 bits: PostgreSQL `bigint`, SQLite `INTEGER`.
    BigInt,
    /// Floating point of 32 bits: PostgreSQL `real`, SQLite `REAL`, which has the shortest decimal.
    Real,
    /// Floating point of 64 bits: PostgreSQL `double precision`, SQLite `REAL`.
    Double,
    /// PostgreSQL `numeric`, SQLite `TEXT`. The scale is the value's: 1.10 is not 1.1.
    Numeric,
    /// PostgreSQL `numeric(p, s)` of at most 15 digits, SQLite `DECIMAL(p, s)`, where it is a binary number.
    Decimal(Arc<Decimal>),
    /// PostgreSQL `character varying`, SQLite `TEXT`.
    Text,
    /// PostgreSQL `character`, SQLite `TEXT` without the blanks at the end, which say nothing there.
    Char,
    /// PostgreSQL `date`, SQLite `TEXT` `YYYY-MM-DD`, years 1 to 9999.
    Date,
    /// PostgreSQL `time`, SQLite `TEXT` `HH:MM:SS[.ffffff]`.
    Time,
    /// Without a zone, always UTC, microseconds: PostgreSQL `timestamp`, SQLite `TEXT`
    /// `YYYY-MM-DD HH:MM:SS[.ffffff]`, years 1 to 9999.
    Timestamp,
    /// PostgreSQL `timestamptz`, SQLite `TEXT` `YYYY-MM-DD HH:MM:SS[.ffffff]+00:00`, years 1 to 9999.
    TimestampTz,
    /// PostgreSQL `bytea`, SQLite `BLOB`.
    Bytes,
    /// PostgreSQL `uuid`, SQLite `TEXT` in lower case.
    Uuid,
    /// PostgreSQL `json`, SQLite `TEXT`, as it was written.
    Json,
    /// PostgreSQL `jsonb`, SQLite `TEXT`, as PostgreSQL prints it.
    Jsonb,
    /// Any other type of PostgreSQL's, SQLite `TEXT`, as PostgreSQL prints it.
    Other(Arc<OtherType>),
}

impl LogicalType {
    pub(crate) fn description(&self) -> &dyn Description {
        match self {
            LogicalType::Bool => &boolean::Bool,
            LogicalType::SmallInt => &int::SMALLINT,
            LogicalType::Int => &int::INT,
            LogicalType::BigInt => &bigint::BigInt,
            LogicalType::Real => &float::Real,
            LogicalType::Double => &float::Double,
            LogicalType::Numeric => &numeric::Numeric,
            LogicalType::Decimal(decimal) => &**decimal,
            LogicalType::Text => &text::Text,
            LogicalType::Char => &text::Char,
            LogicalType::Date => &date::Date,
            LogicalType::Time => &date::Time,
            LogicalType::Timestamp => &timestamp::Timestamp,
            LogicalType::TimestampTz => &date::TimestampTz,
            LogicalType::Bytes => &bytes::Bytes,
            LogicalType::Uuid => &uuid::Uuid,
            LogicalType::Json => &json::Json,
            LogicalType::Jsonb => &json::Jsonb,
            LogicalType::Other(other) => &**other,
        }
    }

    /// The type that PostgreSQL calls so, in any of the usual ways; `None` if it is none that needs no more said.
    ///
    /// ```
    /// use dual_database::schema::LogicalType;
    /// assert_eq!(LogicalType::named("timestamptz"), Some(LogicalType::TimestampTz));
    /// assert_eq!(LogicalType::named("VARCHAR"), Some(LogicalType::Text));
    /// assert_eq!(LogicalType::named("colour"), None);
    /// ```
    #[must_use]
    pub fn named(name: &str) -> Option<LogicalType> {
        use LogicalType::{
            BigInt, Bool, Bytes, Char, Date, Double, Int, Json, Jsonb, Numeric, Real, SmallInt,
            Text, Time, Timestamp, TimestampTz, Uuid,
        };
        let kinds = [
            (Bool, ["boolean", "bool"]),
            (SmallInt, ["smallint", "int2"]),
            (Int, ["integer", "int"]),
            (BigInt, ["bigint", "int8"]),
            (Real, ["real", "float4"]),
            (Double, ["double precision", "float8"]),
            (Numeric, ["numeric", "decimal"]),
            (Text, ["text", "varchar"]),
            (Char, ["character", "char"]),
            (Date, ["date", "date"]),
            (Time, ["time", "time without time zone"]),
            (Timestamp, ["timestamp", "timestamp without time zone"]),
            (TimestampTz, ["timestamptz", "timestamp with time zone"]),
            (Bytes, ["bytea", "bytes"]),
            (Uuid, ["uuid", "uuid"]),
            (Json, ["json", "json"]),
            (Jsonb, ["jsonb", "jsonb"]),
        ];
        let is_it = |kind: &LogicalType, words: &[&str]| {
            words
                .iter()
                .copied()
                .chain([kind.sql(Dialect::Postgres)])
                .any(|w| w.eq_ignore_ascii_case(name))
        };
        kinds.into_iter().find(|(kind, words)| is_it(kind, words)).map(|(kind, _)| kind)
    }

    /// The type's name in that side's DDL.
    #[must_use]
    pub fn sql(&self, dialect: Dialect) -> &str {
        self.description().sql(dialect)
    }

    /// A caller's value as a column of the type keeps it.
    ///
    /// ```
    /// use dual_database::schema::LogicalType;
    /// assert_eq!(LogicalType::Int.accept(7.into()), Ok(7.into()));
    /// let unfit = LogicalType::Int.accept("7".into()).unwrap_err();
    /// assert_eq!(unfit.to_string(), "a whole number is wanted, not text");
    /// ```
    ///
    /// # Errors
    /// Why it cannot.
    pub fn accept(&self, value: Value) -> Result<Value, Unfit> {
        if value.is_null() { Ok(value) } else { self.description().accept(value) }
    }

    /// Reads what PostgreSQL prints for a column of the type (`column::text`, DateStyle ISO).
    /// `None` if the value cannot be kept on the other side: `infinity`, years before 1 or after
    /// 9999.
    ///
    /// ```
    /// use dual_database::schema::LogicalType;
    /// assert_eq!(LogicalType::Bool.parse("true"), Some(true.into()));
    /// assert_eq!(LogicalType::Timestamp.parse("infinity"), None);
    /// ```
    pub fn parse<'t>(&self, text: impl Into<Cow<'t, str>>) -> Option<Value> {
        self.description().parse(text.into())
    }

    /// Whether its values are whole numbers.
    #[must_use]
    pub fn is_whole_number(&self) -> bool {
        matches!(self, LogicalType::SmallInt | LogicalType::Int | LogicalType::BigInt)
    }

    /// The least and the greatest whole number that it holds, if it holds only such of fewer bits than 64.
    #[must_use]
    pub fn bounds(&self) -> Option<(i64, i64)> {
        match self {
            LogicalType::SmallInt => Some((i16::MIN.into(), i16::MAX.into())),
            LogicalType::Int => Some((i32::MIN.into(), i32::MAX.into())),
            _ => None,
        }
    }

    /// Whether a file's column that is declared so keeps its values as they are. A text in a `DATE` is a date of
    /// some form, which never looks like a number.
    ///
    /// ```
    /// use dual_database::schema::LogicalType;
    /// assert!(LogicalType::Numeric.fits("TEXT") && !LogicalType::Numeric.fits("DECIMAL(10,2)"));
    /// ```
    #[must_use]
    pub fn fits(&self, declared: &str) -> bool {
        let upper = declared.to_ascii_uppercase();
        let is_moment = upper.contains("DATE") || upper.contains("TIME");
        self.description().fits_sqlite(Affinity::of(declared)) || self.is_text() && is_moment
    }

    /// Whether its values are texts of any length, and, in a database that takes any bytes, any bytes.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.description().is_text()
    }
}

/// Why a value is none for a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is of another type.
    OtherType {
        /// What the column takes.
        wanted: &'static str,
        /// What it was given.
        given: &'static str,
    },
    /// It is of the type, but not one that both sides can keep.
    Value(&'static str),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unfit::OtherType { wanted, given } => write!(f, "{wanted} is wanted, not {given}"),
            Unfit::Value(why) => f.write_str(why),
        }
    }
}
