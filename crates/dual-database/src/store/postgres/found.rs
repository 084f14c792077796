//! What the server has of a table, as it was read ([`super::catalog`]).

use crate::schema::{Column, Decimal, Dialect, FoundType, LogicalType, QualifiedName};

/// What stands under the table's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelationKind {
    /// A table, partitioned or not.
    #[default]
    Table,
    /// A view, plain or materialised.
    View,
    /// A foreign table.
    Foreign,
    /// Anything else (a sequence, an index, a type).
    Other,
}

/// A column as the server has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundColumn {
    /// Its name.
    pub name: String,
    /// Its type without length or precision, a domain's base type: "character varying".
    pub base_type: String,
    /// That type's schema and name in the catalog: "pg_catalog", "varchar".
    pub type_name: (String, String),
    /// Its type as it is declared: "character varying(20)".
    pub full_type: String,
    /// The most characters of a `character varying(n)`.
    pub length: Option<u32>,
    /// The digits behind the point that a `timestamp(n)`, or a `numeric(p, s)`, keeps.
    pub precision: Option<u32>,
    /// The digits that a `numeric(p, s)` has in all.
    pub digits: Option<u32>,
    /// Whether it refuses NULL.
    pub not_null: bool,
    /// Its default as an expression; for a generated column the expression.
    pub default: Option<String>,
    /// `GENERATED … AS IDENTITY`.
    pub identity: bool,
    /// `GENERATED ALWAYS AS IDENTITY`.
    pub identity_always: bool,
    /// `GENERATED ALWAYS AS (…)`.
    pub generated: bool,
}

impl FoundColumn {
    /// The logical type that carries its values.
    #[must_use]
    pub fn logical(&self) -> LogicalType {
        let (schema, name) = &self.type_name;
        FoundType { shown: &self.base_type, schema, name }.logical()
    }

    /// The same beside a column of a file that is declared so: where SQLite keeps binary numbers, a
    /// `numeric(p, s)` is carried in them if it has no more digits than they have.
    #[must_use]
    pub fn logical_beside(&self, declared: &str) -> LogicalType {
        let kind = self.logical();
        if kind != LogicalType::Numeric || kind.fits(declared) {
            return kind;
        }
        let digits = self.digits.zip(self.precision);
        digits.and_then(|(all, behind)| Decimal::new(all, behind)).map_or(kind, LogicalType::from)
    }
}

/// A unique index that `ON CONFLICT` can use: whole, valid, without expressions, checked at
/// once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UniqueIndex {
    /// Its name.
    pub name: String,
    /// Its columns in order.
    pub columns: Vec<String>,
    /// Whether it is the primary key's.
    pub primary: bool,
}

/// The sequence that numbers the surrogate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// Its qualified and quoted name.
    pub name: String,
    /// The number that it hands out next; `None` if it may not be read.
    pub next: Option<i64>,
    /// Whether numbers may be taken and looked at (`USAGE`, or `SELECT` and `UPDATE`). An identity column
    /// takes them without any right; an import, and whoever looks how far they are, does not.
    pub usable: bool,
    /// Whether it may be set (`UPDATE`).
    pub settable: bool,
    /// Numbers above that nobody has come to by counting: it does not go on behind them.
    pub limit: i64,
    /// Whether its numbers have fewer than 64 bits.
    pub narrow: bool,
}

/// The table as the server has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its object id.
    pub oid: u32,
    /// Table, view, …
    pub kind: RelationKind,
    /// Its columns in order.
    pub columns: Vec<FoundColumn>,
    /// The unique indexes that `ON CONFLICT` can use.
    pub unique_indexes: Vec<UniqueIndex>,
    /// The sequence of the surrogate.
    pub sequence: Option<Sequence>,
    /// The highest value of the surrogate, if it is a whole number and there is a row.
    pub max_surrogate: Option<i64>,
    /// Rows without a surrogate; looked for only where the column lacks a sequence.
    pub null_surrogates: i64,
    /// Keys that occur more than once; looked for only where the key has no unique index.
    pub duplicate_keys: i64,
    /// Rows without a key.
    pub null_keys: i64,
    /// Whether it has no row (that this user can see).
    pub empty: bool,
    /// Whether policies hide rows from this user.
    pub row_security: bool,
    /// Whether this user is, or belongs to, its owner.
    pub owner: bool,
    /// Which of SELECT, INSERT, UPDATE and DELETE this user lacks.
    pub missing_rights: Vec<String>,
    /// The table that it is a partition of, or inherits from.
    pub parent: Option<String>,
    /// Rules that rewrite writes to it.
    pub rules: Vec<String>,
    /// Columns whose types the server does not change, each with what of others' is made of it; looked for only
    /// where a person lets one be changed.
    pub pinned: Vec<(String, String)>,
}

/// What this user may do in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// The user.
    pub user: String,
    /// The database.
    pub database: String,
    /// The schema in which a new table would be made, if there is one.
    pub schema: Option<String>,
    /// `CREATE` on that schema, or on the found table's.
    pub create_in_schema: bool,
    /// `TEMPORARY` on the database.
    pub temporary: bool,
    /// `CREATE` on the database.
    pub create_in_database: bool,
    /// A schema of the search path that this user may not use, so that the path does not lead there; and
    /// whether something of the table's name is in it. The first with such a thing, else the first.
    pub closed: Option<(String, bool)>,
}

/// What the server has of a declared table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// The table of that name that the search path leads to.
    pub table: Option<FoundTable>,
    /// What this user may do.
    pub rights: Rights,
}

impl FoundTable {
    /// Schema and name.
    #[must_use]
    pub fn qualified(&self) -> QualifiedName {
        QualifiedName::new(&*self.schema, &*self.name)
    }

    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&FoundColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// What there is of a declared column: that of its name, or else of a name that it had.
    pub(crate) fn present(&self, column: &Column) -> Option<&FoundColumn> {
        column.names_in(Dialect::Postgres).find_map(|name| self.column(name))
    }

    /// The unique index on exactly these columns, in any order.
    #[must_use]
    pub(crate) fn unique_on(&self, columns: &[&str]) -> Option<&UniqueIndex> {
        self.unique_indexes.iter().find(|index| {
            index.columns.len() == columns.len()
                && index.columns.iter().all(|column| columns.contains(&column.as_str()))
        })
    }
}
