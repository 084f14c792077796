//! Any other type of PostgreSQL's (an enum, an array, a range, `interval`, `inet`, what an extension
//! brings), known by its text alone: the file has what PostgreSQL prints, under the settings of our
//! sessions and functions. What a file says in other words (`1 DAY`) comes back in PostgreSQL's, like a value
//! that a trigger there has changed; what is none of the type is refused by it.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Description, LogicalType, Unfit};
use crate::schema::{Affinity, Dialect, quoted};
use crate::value::Value;

/// The name of a type of PostgreSQL's.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Named", into = "Named")]
pub struct OtherType {
    name: Named,
    /// With its schema, quoted: it means the same under any search path.
    sql: Box<str>,
}

impl OtherType {
    /// The type `name` (`pg_type.typname`) of that schema; `shown` is what `format_type(oid, NULL)` says
    /// under a search path of `pg_catalog` alone.
    #[must_use]
    pub fn new(schema: &str, name: &str, shown: &str) -> OtherType {
        Named { schema: schema.into(), name: name.into(), shown: shown.into() }.into()
    }

    /// The two rows of one column have the same bytes of it, or both none. No type needs an equality of
    /// its own for that, no setting and no collation counts, and neither does the writer's search path.
    fn is_image(&self, left: &str, right: &str) -> String {
        let row = |value: &str| format!("ROW(({value})::{})::pg_catalog.record", self.sql);
        format!("{} OPERATOR(pg_catalog.*=) {}", row(left), row(right))
    }
}

/// How it is kept in a declaration: nothing in there goes into a statement as it is.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Named {
    schema: Box<str>,
    name: Box<str>,
    /// As `format_type` has it under a search path of `pg_catalog` alone.
    shown: Box<str>,
}

impl From<Named> for OtherType {
    fn from(name: Named) -> OtherType {
        let sql = format!("{}.{}", quoted(&name.schema), quoted(&name.name));
        OtherType { name, sql: sql.into() }
    }
}

impl From<OtherType> for Named {
    fn from(other: OtherType) -> Named {
        other.name
    }
}

/// What a person reads of it.
impl fmt::Display for OtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name.shown)
    }
}

impl fmt::Debug for OtherType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OtherType({})", self.sql)
    }
}

impl From<OtherType> for LogicalType {
    fn from(other: OtherType) -> LogicalType {
        LogicalType::Other(other.into())
    }
}

impl Description for OtherType {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => &self.sql,
            Dialect::Sqlite => "TEXT",
        }
    }

    fn is_text(&self) -> bool {
        true
    }

    fn by_text(&self) -> bool {
        true
    }

    fn has_settings(&self) -> bool {
        true
    }

    fn wanted(&self) -> &'static str {
        "text as PostgreSQL reads it"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        match &value {
            Value::Text(_) if self.holds(&value) => Ok(value),
            Value::Text(_) => {
                Err(Unfit::Value("it contains a NUL character, which PostgreSQL cannot keep"))
            }
            other => Err(self.other(other)),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Text(text) if !text.contains('\0'))
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        Some(Value::Text(text.into_owned()))
    }

    fn decode_text(&self, text: &str) -> Option<Value> {
        (!text.contains('\0')).then(|| Value::Text(text.into()))
    }

    /// The cast gives every address a mask.
    fn read_as(&self, value: &str) -> String {
        match &*self.name.shown {
            "inet" => format!("pg_catalog.abbrev({value})"),
            _ => value.to_owned(),
        }
    }

    /// In anybody's session.
    fn equals(&self, dialect: Dialect, left: &str, right: &str) -> String {
        match dialect {
            Dialect::Postgres => self.is_image(left, right),
            Dialect::Sqlite => format!("{left} = {right} COLLATE BINARY"),
        }
    }

    /// In anybody's session.
    fn differs(&self, dialect: Dialect, left: &str, right: &str) -> String {
        match dialect {
            Dialect::Postgres => format!("NOT {}", self.is_image(left, right)),
            Dialect::Sqlite => format!("{left} IS NOT {right} COLLATE BINARY"),
        }
    }

    /// Few types have such a value; the others are refused it, as they would be the exchange.
    fn aside(&self, number: &str) -> Option<String> {
        let text = format!("('parked ' OPERATOR(pg_catalog.||) {number}::pg_catalog.text)");
        Some(format!("{text}::{}", self.sql))
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        base == &*self.name.shown
    }

    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        matches!(affinity, Affinity::Text | Affinity::Blob)
    }
}
