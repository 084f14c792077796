//! The names and expressions that the generated statements share.

use std::fmt::Display;
use std::sync::Arc;

use crate::schema::{
    Column, Dialect, KeyColumns, LogicalType, Role, Table, behind, literal, quoted, quoted_text,
};
use crate::store::postgres::{SchemaName, Session};

/// A column that has a stamp of its own in the sidecar.
#[derive(Clone, Debug)]
pub(in crate::store::postgres) struct RegisterColumns {
    /// The column's name, as declared.
    pub name: Arc<str>,
    /// How what is ours calls it.
    pub label: Arc<str>,
    /// The column, quoted.
    pub column: String,
    /// The sidecar's column for its stamp, quoted.
    pub stamp: String,
    /// What a mark calls its value, quoted.
    pub(super) value: String,
    /// Its logical type.
    pub kind: LogicalType,
    default: Option<String>,
}

/// A tracked table and the names of what stands beside it.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The schema in which everything of ours stands, as it stands in SQL.
    pub(in crate::store::postgres) dual: String,
    pub(in crate::store::postgres) target: String,
    pub(in crate::store::postgres) sidecar: String,
    name: Arc<str>,
    label: Arc<str>,
    pub(super) declared: Table,
    pub(in crate::store::postgres) key: KeyColumns,
    /// The key's columns in the sidecar, and wherever else rows of ours are told apart.
    pub(in crate::store::postgres) own_key: KeyColumns,
    pub(in crate::store::postgres) surrogate: Option<String>,
    pub(in crate::store::postgres) registers: Vec<RegisterColumns>,
    /// Texts may be bytes of any kind ([`Session::takes_any_bytes`]).
    pub(in crate::store::postgres) any_bytes: bool,
}

impl Layout {
    /// The layout for `table`, which stands on the server as `target` (as SQL has it), with the schema
    /// `dual`.
    #[must_use]
    pub fn new(table: &Table, target: impl Display) -> Layout {
        let register = |column: &Column| RegisterColumns {
            name: Arc::clone(&column.name),
            label: Arc::clone(&column.label),
            column: quoted(&column.name),
            stamp: quoted(&format!("s_{}", column.label)),
            value: quoted(&format!("v_{}", column.label)),
            kind: column.kind.clone(),
            default: column.default.as_ref().map(|value| literal(value, Dialect::Postgres)),
        };
        let data = table.columns().iter().filter(|column| column.role == Role::Data);
        let dual = SchemaName::default().sql().to_owned();
        Layout {
            sidecar: sidecar(&dual, table.label()),
            dual,
            target: target.to_string(),
            name: table.shared_name(),
            label: table.label().into(),
            declared: table.clone(),
            key: KeyColumns::of(table, Dialect::Postgres),
            own_key: KeyColumns::of_sidecar(table, Dialect::Postgres),
            surrogate: table.surrogate().map(|column| quoted(&column.name)),
            registers: data.map(register).collect(),
            any_bytes: false,
        }
    }

    /// The same in the session's database, and in the schema in which everything of ours stands there.
    #[must_use]
    pub fn within(self, session: &Session) -> Layout {
        let (any_bytes, dual) = (session.takes_any_bytes(), session.schema().to_owned());
        Layout { any_bytes, sidecar: sidecar(&dual, &self.label), dual, ..self }
    }

    /// The table's name, as declared.
    pub(in crate::store::postgres) fn name(&self) -> &str {
        &self.name
    }

    /// How what is ours calls the table.
    pub(in crate::store::postgres) fn label(&self) -> &str {
        &self.label
    }

    /// The sidecar's qualified and quoted name.
    #[must_use]
    pub fn sidecar(&self) -> &str {
        &self.sidecar
    }

    /// The quoted names of the sidecar's stamps of the data columns, in their order.
    pub fn stamps(&self) -> impl Iterator<Item = &str> {
        self.registers.iter().map(|register| register.stamp.as_str())
    }

    /// The qualified name of one of the table's functions in the schema of ours.
    pub(in crate::store::postgres) fn function(&self, what: &str) -> String {
        format!("{}.{}", self.dual, quoted(&format!("{}_{what}", self.label)))
    }

    /// One piece of text for each register, joined.
    pub(in crate::store::postgres) fn each(
        &self,
        separator: &str,
        piece: impl Fn(&RegisterColumns) -> String,
    ) -> String {
        self.registers.iter().map(piece).collect::<Vec<_>>().join(separator)
    }

    /// What an `UPDATE` of the row `u` sets. It has to set something: of a table that is nothing but its key
    /// that column stays as it is.
    pub(super) fn assigned(&self, list: String) -> String {
        let key = self.key.first("");
        if list.is_empty() { format!("{key} = u.{key}") } else { list }
    }

    /// The surrogate of the row, an expression: NULL where the table has none.
    pub(in crate::store::postgres) fn number(&self, row: &str) -> String {
        match &self.surrogate {
            Some(column) if row.is_empty() => column.clone(),
            Some(column) => format!("{row}.{column}"),
            None => "NULL::bigint".to_owned(),
        }
    }

    /// The row `u` of the table is that of the sidecar's row.
    pub(in crate::store::postgres) fn is_of(&self, sidecar_row: &str) -> String {
        self.key.same("u", "=", &self.own_key, sidecar_row)
    }

    /// The same, said the other way about.
    pub(in crate::store::postgres) fn tells_of(&self, row: &str) -> String {
        self.own_key.same("s", "=", &self.key, row)
    }

    /// The row's values as texts, the elements of an array, and in the end the position of the first one
    /// that cannot be carried; in its place there is NULL.
    pub(in crate::store::postgres) fn texts(&self, row: &str) -> String {
        let any_bytes = self.any_bytes;
        let texts = self.each("", |r| r.kind.description().printed(&r.read(row), any_bytes) + ", ");
        let bad = self.registers.iter().enumerate().flat_map(|(at, r)| {
            let reasons = r.kind.description().uncarried(&r.read(row), any_bytes);
            reasons.into_iter().map(move |reason| format!(" WHEN {reason} THEN '{at}'"))
        });
        let bad: String = bad.collect();
        match bad.is_empty() {
            true => format!("{texts}NULL"),
            false => format!("{texts}CASE{bad} END"),
        }
    }

    /// How many bytes the texts of the row take that are carried, an expression.
    pub(in crate::store::postgres) fn bytes(&self, row: &str) -> String {
        let bytes =
            |r: &RegisterColumns| r.kind.description().bytes(Dialect::Postgres, &r.read(row));
        let bytes = self.registers.iter().filter_map(bytes).map(|bytes| format!(" + {bytes}"));
        format!("(0::bigint{})", bytes.collect::<String>())
    }

    /// The marks ([`super::RowStamps`]) in `json`, an expression, as rows `m`.
    pub(super) fn marks(&self, json: &str) -> String {
        let columns = self.each(", ", |r| {
            format!("{} bigint, {} {}", r.stamp, r.value, r.kind.description().marked())
        });
        format!(
            "pg_catalog.jsonb_to_recordset({json}) AS m ({}, alive boolean, life bigint{})",
            self.own_key.declared(),
            behind(", ", columns),
        )
    }

    /// How `dual.before` calls the row with that key ([`KeyColumns::compared`]), an expression.
    pub(super) fn kept(&self, key: &str) -> String {
        let name = quoted_text(&format!("{} ", self.setting()));
        match self.own_key.is_number() {
            true => format!("{name} || {key}"),
            false => format!("{name} || ({key})::text"),
        }
    }

    /// How settings of a transaction call the table: it may write to one of the same name that another
    /// installation keeps.
    pub(super) fn setting(&self) -> String {
        match self.dual == SchemaName::default().sql() {
            true => self.name().to_owned(),
            false => format!("{}.{}", self.dual, self.name),
        }
    }

    /// The highest stamp in the sidecar row `s`. `greatest` passes over NULL.
    pub(super) fn highest(&self) -> String {
        let own = self.each(", ", |r| format!("s.{}", r.stamp));
        format!("greatest(s.stamp{})", behind(", ", own))
    }
}

impl RegisterColumns {
    /// The values of the column in two rows differ.
    pub fn differs(&self, left: &str, right: &str) -> String {
        self.kind.description().differs(Dialect::Postgres, &self.read(left), &self.read(right))
    }

    /// The row says nothing about the column: NULL, or the declared default.
    pub fn silent(&self, row: &str) -> String {
        let column = self.read(row);
        match &self.default {
            Some(default) => {
                let is = self.kind.description().equals(Dialect::Postgres, &column, default);
                format!("({column} IS NULL OR {is})")
            }
            None => format!("{column} IS NULL"),
        }
    }

    fn read(&self, row: &str) -> String {
        format!("{row}.{}", self.column)
    }

    /// The value that the mark `m` gives it.
    pub fn stamped_value(&self) -> String {
        let (description, mark) = (self.kind.description(), self.mark());
        match description.marked() == description.carried() {
            true => mark,
            false => description.given(&mark),
        }
    }

    /// The column of the row has the value that the mark `m` gives it.
    pub fn is_as_stamped(&self, row: &str) -> String {
        self.kind.description().is_marked(&self.read(row), &self.mark())
    }

    fn mark(&self) -> String {
        format!("m.{}", self.value)
    }
}

/// An array of these stamps, expressions.
pub(in crate::store::postgres) fn array_of_stamps(list: &str) -> String {
    // Of none it has no type.
    if list.is_empty() { "'{}'::pg_catalog.int8[]".to_owned() } else { format!("ARRAY[{list}]") }
}

/// The qualified name of the table's sidecar in that schema.
fn sidecar(dual: &str, label: &str) -> String {
    format!("{dual}.{}", quoted(&format!("side_{label}")))
}

/// `stamp::Stamp::next` for the writer 0, as an expression.
pub(super) fn next(stamp: &str) -> String {
    format!("(least(({stamp} >> 14) + 1, 562949953421311) << 14)")
}
