//! What is asked of a type.

use std::borrow::Cow;

use super::{EQUALS, Unfit, text};
use crate::schema::{Affinity, Dialect};
use crate::value::Value;

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
