//! The logical type of a column that PostgreSQL has.

use super::{LogicalType, OtherType};

/// What PostgreSQL's catalog says of a column's type, of a domain's base type.
///
/// ```
/// use dual_database::schema::{FoundType, LogicalType};
/// let found = FoundType { shown: "timestamp with time zone", schema: "pg_catalog", name: "timestamptz" };
/// assert_eq!(found.logical(), LogicalType::TimestampTz);
/// let mood = FoundType { shown: "shop.mood", schema: "shop", name: "mood" }.logical();
/// assert!(matches!(mood, LogicalType::Other(other) if other.to_string() == "shop.mood"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundType<'c> {
    /// `format_type(oid, NULL)`, under a search path of `pg_catalog` alone.
    pub shown: &'c str,
    /// The name of its schema (`pg_type.typnamespace`).
    pub schema: &'c str,
    /// `pg_type.typname`.
    pub name: &'c str,
}

impl FoundType<'_> {
    /// The logical type. What has no description of its own is known by its text.
    #[must_use]
    pub fn logical(&self) -> LogicalType {
        match self.shown {
            "boolean" => LogicalType::Bool,
            "smallint" => LogicalType::SmallInt,
            "integer" => LogicalType::Int,
            "bigint" => LogicalType::BigInt,
            "real" => LogicalType::Real,
            "double precision" => LogicalType::Double,
            "numeric" => LogicalType::Numeric,
            "text" | "character varying" => LogicalType::Text,
            "character" => LogicalType::Char,
            "date" => LogicalType::Date,
            "time without time zone" => LogicalType::Time,
            "timestamp without time zone" => LogicalType::Timestamp,
            "timestamp with time zone" => LogicalType::TimestampTz,
            "bytea" => LogicalType::Bytes,
            "uuid" => LogicalType::Uuid,
            "json" => LogicalType::Json,
            "jsonb" => LogicalType::Jsonb,
            shown => OtherType::new(self.schema, self.name, shown).into(),
        }
    }
}
