//! A key as one value, as records in JSON have it, and as tables of ours do.

use super::{KeyColumns, of, own};
use crate::schema::{Dialect, LogicalType};

impl KeyColumns {
    /// The key of the row as one value, NULL if there is none.
    #[must_use]
    pub fn given(&self, row: &str) -> String {
        if self.is_number() {
            let column = self.first(row);
            return match self.dialect == Dialect::Postgres && !self.ours {
                true => format!("{column}::bigint"),
                false => column,
            };
        }
        let there = format!("{} IS NOT NULL", self.first(row));
        match self.dialect {
            Dialect::Postgres => {
                format!("CASE WHEN {there} THEN {}::pg_catalog.text END", self.json(row))
            }
            Dialect::Sqlite => format!("CASE WHEN {there} THEN {} END", self.json(row)),
        }
    }

    /// The type of that value, of PostgreSQL's.
    #[must_use]
    pub fn given_type(&self) -> &'static str {
        if self.is_number() { "bigint" } else { "text" }
    }

    /// The same as it is compared, and tells rows apart as a text: the number, or JSON.
    #[must_use]
    pub fn compared(&self, row: &str) -> String {
        if self.is_number() { self.first(row) } else { self.json(row) }
    }

    /// The type of that, of PostgreSQL's.
    #[must_use]
    pub fn compared_type(&self) -> &'static str {
        if self.is_number() { "bigint" } else { "jsonb" }
    }

    fn json(&self, row: &str) -> String {
        let parts =
            self.each(row, ", ", |column, kind| kind.description().keyed(self.dialect, &column));
        match (self.dialect, self.columns.len()) {
            (Dialect::Postgres, 1) => format!("pg_catalog.to_jsonb({parts})"),
            (Dialect::Postgres, _) => format!("pg_catalog.jsonb_build_array({parts})"),
            (Dialect::Sqlite, 1) => format!("json_quote({parts})"),
            (Dialect::Sqlite, _) => format!("json_array({parts})"),
        }
    }

    /// The columns of the key that is one value.
    #[must_use]
    pub fn taken(&self, value: &str) -> String {
        self.parts(value).collect::<Vec<_>>().join(", ")
    }

    /// The same under the names of ours, to stand behind `SELECT`.
    #[must_use]
    pub fn taken_as(&self, value: &str) -> String {
        let named =
            self.parts(value).enumerate().map(|(at, part)| format!("{part} AS {}", own(at)));
        named.collect::<Vec<_>>().join(", ")
    }

    /// The key of the row is among those of the array that a parameter gives to PostgreSQL.
    #[must_use]
    pub fn among(&self, row: &str, equals: &str, number: usize) -> String {
        if self.is_number() {
            return format!("{} {equals} ANY (${number})", self.first(row));
        }
        format!(
            "({}) {equals} ANY (SELECT {} FROM pg_catalog.unnest({}) AS k (k))",
            self.list(row),
            self.taken("k.k"),
            self.array(number),
        )
    }

    /// In a file: the key of the row is the one value that is selected `from`.
    #[must_use]
    pub fn within(&self, row: &str, value: &str, from: &str) -> String {
        if self.is_number() {
            return format!("{} IN (SELECT {value} FROM {from})", self.first(row));
        }
        format!("({}) IN (SELECT {} FROM {from})", self.list(row), self.taken(value))
    }

    /// The array of keys that a parameter gives to PostgreSQL, to be taken apart.
    #[must_use]
    pub fn array(&self, number: usize) -> String {
        let kind = if self.is_number() { "bigint" } else { "pg_catalog.text" };
        format!("${number}::{kind}[]")
    }

    /// The same, each as PostgreSQL gives it: of JSON there is more than one text.
    #[must_use]
    pub fn array_as_given(&self, number: usize) -> String {
        if self.is_number() {
            return self.array(number);
        }
        format!(
            "ARRAY(SELECT k.k::pg_catalog.jsonb::pg_catalog.text FROM pg_catalog.unnest({}) AS k (k))",
            self.array(number)
        )
    }

    /// The definitions of the columns in a table of ours, and what comes behind all columns.
    #[must_use]
    pub fn definitions(&self) -> (String, String) {
        let primary = format!(",\n  PRIMARY KEY ({})", self.list(""));
        match self.dialect {
            Dialect::Postgres if self.is_number() => {
                ("key bigint PRIMARY KEY".into(), String::new())
            }
            Dialect::Postgres => (self.declared(), primary),
            Dialect::Sqlite if self.is_number() => {
                ("key INTEGER PRIMARY KEY".into(), String::new())
            }
            Dialect::Sqlite => {
                let define = |column, kind: &LogicalType| {
                    format!("{column} {} NOT NULL", kind.sql(Dialect::Sqlite))
                };
                (self.each("", ",\n  ", define), primary)
            }
        }
    }

    /// The columns with the types that PostgreSQL's tables of ours, and records in JSON, have.
    #[must_use]
    pub fn declared(&self) -> String {
        self.each("", ", ", |column, kind| {
            let description = kind.description();
            format!("{column} {}{}", description.carried(), description.collation())
        })
    }

    /// The names under which records in JSON have the columns.
    pub fn names(&self) -> impl Iterator<Item = String> {
        (0..self.columns.len()).map(own)
    }

    /// Their types.
    pub fn kinds(&self) -> impl Iterator<Item = &LogicalType> {
        self.columns.iter().map(|(_, kind)| kind)
    }

    /// The columns of the key of such a record, in PostgreSQL.
    #[must_use]
    pub fn of_record(&self, record: &str) -> String {
        let parts = self.columns.iter().enumerate().map(|(at, (_, kind))| {
            format!("({record} ->> '{}')::{}", own(at), kind.description().carried())
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    /// The row has the key of such a record.
    #[must_use]
    pub fn is_of_record(&self, row: &str, record: &str) -> String {
        self.every(|at, column, kind| {
            let part = format!("({record} ->> '{}')::{}", own(at), kind.description().carried());
            Some(self.equal(of(row, column), "=", part, kind, false))
        })
    }

    /// The key of such a record as one value.
    #[must_use]
    pub fn given_of_record(&self, record: &str) -> String {
        if self.is_number() {
            return self.of_record(record);
        }
        let parts: Vec<String> = self.names().map(|name| format!("{record} -> '{name}'")).collect();
        match parts.as_slice() {
            [one] => format!("({one})::text"),
            several => format!("jsonb_build_array({})::text", several.join(", ")),
        }
    }

    /// The key that is one value, column by column, of their types.
    pub(super) fn parts(&self, value: &str) -> impl Iterator<Item = String> {
        let alone = self.columns.len() == 1;
        self.columns.iter().enumerate().map(move |(at, (_, kind))| {
            if self.is_number() {
                return value.to_owned();
            }
            let part = match (self.dialect, alone) {
                (Dialect::Postgres, true) => {
                    format!("({value})::pg_catalog.jsonb OPERATOR(pg_catalog.#>>) '{{}}'")
                }
                (Dialect::Postgres, false) => {
                    format!("({value})::pg_catalog.jsonb OPERATOR(pg_catalog.->>) {at}")
                }
                (Dialect::Sqlite, true) => format!("({value} ->> '$')"),
                (Dialect::Sqlite, false) => format!("({value} ->> {at})"),
            };
            kind.description().unkeyed(self.dialect, &part)
        })
    }
}
