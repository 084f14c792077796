/// A logical type: how it is kept on each side is in `docs/design.md`, "Types".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LogicalType {
    /// PostgreSQL `boolean`, SQLite `INTEGER` 0 or 1.
    Bool,
    /// 32 bits: PostgreSQL `integer`, SQLite `INTEGER`.
    Int,
    /// 64 bits: PostgreSQL `bigint`, SQLite `INTEGER`.
    BigInt,
    /// PostgreSQL `character varying`, SQLite `TEXT`.
    Text,
    /// Without a zone, always UTC, microseconds: PostgreSQL `timestamp`, SQLite `TEXT`
    /// `YYYY-MM-DD HH:MM:SS[.ffffff]`, years 1 to 9999.
    Timestamp,
}
