use std::borrow::Cow;

use super::{Description, Unfit};
use crate::schema::{Affinity, Dialect};
use crate::value::{LONGEST, Value};

/// The regular expression of well-formed UTF-8 (Unicode, table 3-7), for a database whose characters are
/// bytes. A function that tries `convert_from` would cost a subtransaction for each value.
const UTF8: &str = concat!(
    r"E'^(?:[\\u0001-\\u007f]|[\\u00c2-\\u00df][\\u0080-\\u00bf]",
    r"|\\u00e0[\\u00a0-\\u00bf][\\u0080-\\u00bf]",
    r"|[\\u00e1-\\u00ec\\u00ee\\u00ef][\\u0080-\\u00bf]{2}",
    r"|\\u00ed[\\u0080-\\u009f][\\u0080-\\u00bf]",
    r"|\\u00f0[\\u0090-\\u00bf][\\u0080-\\u00bf]{2}",
    r"|[\\u00f1-\\u00f3][\\u0080-\\u00bf]{3}",
    r"|\\u00f4[\\u0080-\\u008f][\\u0080-\\u00bf]{2})*$'",
);

/// `>`, of the server's own.
const ABOVE: &str = "OPERATOR(pg_catalog.>)";

/// The collation that compares texts by their bytes.
pub(super) const BYTES: &str = " COLLATE pg_catalog.\"C\"";

pub(super) struct Text;

/// Texts that are filled up with blanks, which say nothing there: they are not carried.
pub(super) struct Char;

impl Description for Text {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => "character varying",
            Dialect::Sqlite => "TEXT",
        }
    }

    fn is_text(&self) -> bool {
        true
    }

    fn wanted(&self) -> &'static str {
        "text"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        match value {
            Value::Text(_) if self.holds(&value) => Ok(value),
            Value::Text(_) => {
                Err(Unfit::Value("it contains a NUL character, which PostgreSQL cannot keep"))
            }
            other => Err(self.other(&other)),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Text(text) if !text.contains('\0'))
    }

    /// As it is: it may be long.
    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        Some(Value::Text(text.into_owned()))
    }

    fn decode_text(&self, text: &str) -> Option<Value> {
        (!text.contains('\0')).then(|| Value::Text(text.into()))
    }

    fn collation(&self) -> &'static str {
        BYTES
    }

    /// The first can use an index, the second is by code points whatever the column's collation.
    fn is(&self, column: &str, value: &str) -> String {
        format!("{column} = {value} AND {column} = ({value}) COLLATE \"C\"")
    }

    fn makes_keys(&self) -> bool {
        true
    }

    /// `length` counts up to a NUL character.
    fn is_keyed(&self, column: &str) -> String {
        format!("typeof({column}) = 'text' AND length({column} || 'x') = length({column}) + 1")
    }

    fn aside(&self, number: &str) -> Option<String> {
        // Short: the column may be, too.
        Some(format!("'parked ' OPERATOR(pg_catalog.||) {number}::pg_catalog.text"))
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        matches!(base, "character varying" | "text")
    }

    fn converted(&self, column: &str, base: &str) -> String {
        match base {
            // It pads with blanks, which a cast keeps.
            "character" => format!("rtrim({column})"),
            _ => format!("{column}::{}", self.sql(Dialect::Postgres)),
        }
    }

    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        matches!(affinity, Affinity::Text | Affinity::Blob)
    }
}

impl Description for Char {
    /// Without a length, which is 1 for `character`.
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => "pg_catalog.bpchar",
            Dialect::Sqlite => "TEXT",
        }
    }

    fn is_text(&self) -> bool {
        true
    }

    /// The cast leaves the blanks out.
    fn by_text(&self) -> bool {
        true
    }

    fn wanted(&self) -> &'static str {
        "text"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        match Text.accept(value)? {
            Value::Text(text) => Ok(unpadded(&text)),
            other => Ok(other),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        Text.holds(value)
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        Some(unpadded(&text))
    }

    fn decode_text(&self, text: &str) -> Option<Value> {
        (!text.contains('\0')).then(|| unpadded(text))
    }

    fn makes_keys(&self) -> bool {
        true
    }

    /// With blanks at its end it would be another key in the file, and the same in PostgreSQL.
    fn is_keyed(&self, column: &str) -> String {
        format!("{} AND {column} NOT GLOB '* '", Text.is_keyed(column))
    }

    /// Blanks at the end are none of its order, either.
    fn ordered(&self, dialect: Dialect, value: &str) -> Option<String> {
        Some(match dialect {
            Dialect::Postgres => format!("{value}::pg_catalog.text{BYTES}"),
            Dialect::Sqlite => format!("rtrim({value}, ' ') COLLATE BINARY"),
        })
    }

    fn aside(&self, number: &str) -> Option<String> {
        Text.aside(number)
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        base == "character"
    }

    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        Text.fits_sqlite(affinity)
    }
}

fn unpadded(text: &str) -> Value {
    Value::Text(text.trim_end_matches(' ').to_owned())
}

/// To learn that it is too long does not take reading it; to learn whether bytes of any kind are
/// UTF-8 does.
pub(super) fn printed(column: &str, any_bytes: bool) -> String {
    let long = format!("{} {ABOVE} {LONGEST}", length(column));
    let utf8 = is_utf8(column);
    match any_bytes {
        true => {
            format!("CASE WHEN {long} THEN NULL WHEN {utf8} THEN {column}::pg_catalog.text END")
        }
        false => format!("CASE WHEN NOT {long} THEN {column}::pg_catalog.text END"),
    }
}

/// As [`Description::uncarried`].
pub(super) fn uncarried(column: &str, any_bytes: bool) -> Vec<String> {
    let mut reasons = vec![format!("{} {ABOVE} {LONGEST}", length(column))];
    reasons.extend(any_bytes.then(|| format!("NOT {}", is_utf8(column))));
    reasons
}

/// As [`Description::bytes`].
pub(super) fn bytes(dialect: Dialect, column: &str) -> String {
    let length = match dialect {
        Dialect::Postgres => length(column),
        Dialect::Sqlite => format!("octet_length({column})"),
    };
    format!("CASE WHEN {length} <= {LONGEST} THEN {length} ELSE 0 END")
}

/// A longer one would be held several times, and a statement takes no more than 1 GB.
pub(super) fn canonical(column: &str, any_bytes: bool) -> String {
    let bytes = match any_bytes {
        true => format!(
            " WHEN NOT {} THEN '?' || encode(convert_to({column}::text, 'SQL_ASCII'), 'hex')",
            is_utf8(column)
        ),
        false => String::new(),
    };
    format!(
        "CASE WHEN octet_length({column}::text) > {LONGEST} \
         THEN '?' || octet_length({column}::text){bytes} ELSE {column}::text END"
    )
}

/// Bytes, which are none of the type, instead of one that is too long. To learn that SQLite does
/// not read it.
pub(super) fn stored(column: &str) -> String {
    format!("CASE WHEN octet_length({column}) > {LONGEST} THEN x'' ELSE {column} END")
}

fn length(column: &str) -> String {
    format!("pg_catalog.octet_length({column}::pg_catalog.text)")
}

/// Whether the value, an expression, is well-formed UTF-8, in a database whose characters are bytes.
#[must_use]
pub fn is_utf8(value: &str) -> String {
    format!("({value}::pg_catalog.text COLLATE pg_catalog.\"C\" OPERATOR(pg_catalog.~) {UTF8})")
}
