//! The logical types, what each of them is on both sides in a file of its own. A new one is a file, a
//! line in [`LogicalType`], and its values in the round-trip test. How a [`Value`] prints is in
//! [`crate::value`] and takes no type.

mod bigint;
mod boolean;
mod bytes;
mod catalog;
mod date;
mod decimal;
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

/// What a type is on both sides. Values are never NULL here, and columns are expressions.
pub(crate) trait Description: Sync {
    /// Its name in that side's DDL.
    fn sql(&self, dialect: Dialect) -> &str;

    /// The type in which its values go to PostgreSQL and come back.
    fn carried(&self) -> &str {
        self.sql(Dialect::Postgres)
    }

    /// The type in which a mark in JSON has them.
    fn marked(&self) -> &str {
        if self.by_text() { "pg_catalog.text" } else { self.carried() }
    }

    /// As [`LogicalType::is_text`].
    fn is_text(&self) -> bool {
        false
    }

    /// Whether two values are the same if PostgreSQL prints them alike: what it calls equal is something
    /// else, or there is no such thing.
    fn by_text(&self) -> bool {
        false
    }

    /// Whether what PostgreSQL prints depends on settings, besides `DateStyle`.
    fn has_settings(&self) -> bool {
        false
    }

    /// What a caller is told that it takes.
    fn wanted(&self) -> &'static str;

    /// As [`LogicalType::accept`].
    fn accept(&self, value: Value) -> Result<Value, Unfit>;

    /// The value is of another type.
    fn other(&self, given: &Value) -> Unfit {
        let given = match given {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Int(_) => "a number",
            Value::Real(_) | Value::Float(_) => "a floating-point number",
            Value::Text(_) => "text",
            Value::Timestamp(_) => "a timestamp",
            Value::Bytes(_) => "bytes",
        };
        Unfit::OtherType { wanted: self.wanted(), given }
    }

    /// Whether both sides can hold the value in a column of the type.
    fn holds(&self, value: &Value) -> bool;

    /// As [`LogicalType::parse`].
    fn parse(&self, text: Cow<'_, str>) -> Option<Value>;

    /// What a file has as an integer. SQLite keeps any value in any column, so it may be none.
    fn decode_integer(&self, _: i64) -> Option<Value> {
        None
    }

    /// What a file has as a floating-point number.
    fn decode_real(&self, _: f64) -> Option<Value> {
        None
    }

    /// What a file has as text.
    fn decode_text(&self, _: &str) -> Option<Value> {
        None
    }

    /// What a file has as bytes.
    fn decode_blob(&self, _: &[u8]) -> Option<Value> {
        None
    }

    /// The collation in which PostgreSQL compares its values as [`crate::value::canonical_bytes`] are
    /// compared. A nondeterministic one would call `Anna` and `anna` equal.
    fn collation(&self) -> &'static str {
        if self.by_text() { text::BYTES } else { "" }
    }

    /// A column, or a value of the type, as what both sides order alike; `None` if they do not.
    fn ordered(&self, dialect: Dialect, value: &str) -> Option<String> {
        let collation = match dialect {
            Dialect::Postgres => self.collation(),
            Dialect::Sqlite => " COLLATE BINARY",
        };
        (!self.by_text()).then(|| format!("{value}{collation}"))
    }

    /// PostgreSQL's value as something whose cast to text is what the server prints of it.
    fn read_as(&self, value: &str) -> String {
        value.to_owned()
    }

    /// PostgreSQL's value as what is compared.
    fn compared(&self, value: &str) -> String {
        match self.by_text() {
            true => format!("({})::pg_catalog.text", self.read_as(value)),
            false => value.to_owned(),
        }
    }

    /// The values are equal, neither being NULL.
    fn equals(&self, dialect: Dialect, left: &str, right: &str) -> String {
        match dialect {
            Dialect::Postgres => {
                let (left, right) = (self.compared(left), self.compared(right));
                format!("{left} {EQUALS} {right}{}", self.collation())
            }
            Dialect::Sqlite => format!("{left} = {right} COLLATE BINARY"),
        }
    }

    /// PostgreSQL's column has the value that a mark gives it, or both are NULL.
    fn is_marked(&self, column: &str, mark: &str) -> String {
        format!("{} IS NOT DISTINCT FROM {mark}{}", self.compared(column), self.collation())
    }

    /// The value of the text, an expression, in PostgreSQL.
    fn given(&self, text: &str) -> String {
        format!("{text}::{}", self.carried())
    }

    /// PostgreSQL's column has the value of the text, neither being NULL.
    fn is_given(&self, column: &str, text: &str) -> String {
        match self.by_text() {
            true => format!("{} {EQUALS} {text}{}", self.compared(column), self.collation()),
            false => self.equals(Dialect::Postgres, column, &format!("({})", self.given(text))),
        }
    }

    /// The values differ, or one is NULL. In SQLite a `NOCASE` column would call `Anna` and `anna` equal.
    fn differs(&self, dialect: Dialect, left: &str, right: &str) -> String {
        match dialect {
            Dialect::Postgres => {
                let (left, right) = (self.compared(left), self.compared(right));
                format!("{left} IS DISTINCT FROM {right}{}", self.collation())
            }
            Dialect::Sqlite => format!("{left} IS NOT {right} COLLATE BINARY"),
        }
    }

    /// PostgreSQL's column has the value that is looked for.
    fn is(&self, column: &str, value: &str) -> String {
        match self.by_text() {
            true => self.equals(Dialect::Postgres, column, value),
            false => format!("{column} = {value}"),
        }
    }

    /// PostgreSQL's column as the text that [`Description::parse`] reads, NULL if that cannot be
    /// carried; `any_bytes` if the database takes bytes that are no text.
    fn printed(&self, column: &str, any_bytes: bool) -> String {
        match self.is_text() {
            true => text::printed(&self.read_as(column), any_bytes),
            false => format!("{column}::pg_catalog.text"),
        }
    }

    /// What makes a value of PostgreSQL's one that cannot be carried, any of these.
    fn uncarried(&self, column: &str, any_bytes: bool) -> Vec<String> {
        match self.is_text() {
            true => text::uncarried(&self.read_as(column), any_bytes),
            false => Vec::new(),
        }
    }

    /// How many bytes of the column are carried, if that can be many.
    fn bytes(&self, dialect: Dialect, column: &str) -> Option<String> {
        let read = match dialect {
            Dialect::Postgres => self.read_as(column),
            Dialect::Sqlite => column.to_owned(),
        };
        self.is_text().then(|| text::bytes(dialect, &read))
    }

    /// PostgreSQL's column as [`crate::value::canonical_bytes`] gives it; `?` and whatever the server
    /// prints for what cannot be carried, of a long text how long it is, of bytes that are no text
    /// their digits.
    fn canonical(&self, column: &str, any_bytes: bool) -> String {
        match self.is_text() {
            true => text::canonical(&self.read_as(column), any_bytes),
            false => format!("{column}::text"),
        }
    }

    /// Whether a column of the type can be of a key: both sides have one text, or number, for each value, by
    /// which they tell rows apart and order them.
    fn makes_keys(&self) -> bool {
        false
    }

    /// The column as what a key has of it ([`crate::schema::Key::values`]). Everything is said by its full name.
    fn keyed(&self, dialect: Dialect, column: &str) -> String {
        match dialect {
            Dialect::Postgres => format!("{column}::pg_catalog.text"),
            Dialect::Sqlite => column.to_owned(),
        }
    }

    /// What a key has of a column, an expression, as the column keeps it.
    fn unkeyed(&self, dialect: Dialect, part: &str) -> String {
        match dialect {
            Dialect::Postgres => format!("({part})::{}", self.carried()),
            Dialect::Sqlite => part.to_owned(),
        }
    }

    /// In a file, where any column can hold anything: what the row has in that column can be of a key
    /// that goes over. Triggers say it, and an index, so it uses what SQLite 3.7.0 knows.
    fn is_keyed(&self, column: &str) -> String {
        format!("typeof({column}) = 'text'")
    }

    /// The same, as our own statements can tell it.
    fn is_carried(&self, column: &str) -> String {
        format!("{} AND dual_utf8({column})", self.is_keyed(column))
    }

    /// The file's column as our own statements read it: instead of what cannot be carried they give
    /// something that is none of the type.
    fn stored(&self, column: &str) -> String {
        if self.is_text() { text::stored(column) } else { column.to_owned() }
    }

    /// The file's column, which has a text, in the canonical form, if other programs have others; NULL
    /// if that text is none of the type.
    fn tidied(&self, _column: &str) -> Option<String> {
        None
    }

    /// Something that no other row has in PostgreSQL's column, for that number from one on: from the
    /// far end of the type.
    fn aside(&self, number: &str) -> Option<String>;

    /// Whether a column of PostgreSQL's with that base type, and so many digits behind the point of a
    /// timestamp or a `numeric`, will do.
    fn fits_postgres(&self, base: &str, precision: Option<u32>) -> bool;

    /// Whether a column of that base type takes more values than both sides can hold.
    fn is_wider(&self, _base: &str) -> bool {
        false
    }

    /// A column of that base type as one of this type.
    fn converted(&self, column: &str, _base: &str) -> String {
        format!("{column}::{}", self.sql(Dialect::Postgres))
    }

    /// Whether a file's column of that affinity keeps the values as they are.
    fn fits_sqlite(&self, affinity: Affinity) -> bool;
}
