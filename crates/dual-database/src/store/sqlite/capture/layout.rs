//! The names and expressions that the generated statements share. They use only what SQLite
//! 3.7.0 knows: triggers run inside whatever SQLite the writing program brought along.

use std::sync::Arc;

use crate::schema::{
    Column, Dialect, KeyColumns, LogicalType, Role, Table, behind, literal, quoted,
};
use crate::stamp::Stamp;

/// A unique index other than the key's: a row that conflicts in it is the victim of `REPLACE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unique {
    /// Its columns, each with its collation.
    pub columns: Vec<(String, String)>,
}

/// A column that has a stamp of its own in the sidecar.
#[derive(Clone, Debug)]
pub(in crate::store::sqlite) struct RegisterColumns {
    pub column: String,
    pub stamp: String,
    pub base: String,
    pub kind: LogicalType,
    default: Option<String>,
}

/// A tracked table and the names of what stands beside it.
#[derive(Clone, Debug)]
pub struct Layout {
    pub(super) name: Arc<str>,
    pub(super) label: Arc<str>,
    pub(super) declaration: String,
    pub(in crate::store::sqlite) target: String,
    pub(in crate::store::sqlite) sidecar: String,
    pub(super) look: String,
    pub(in crate::store::sqlite) key: KeyColumns,
    /// The key's columns in the sidecar, and wherever else rows of ours are told apart.
    pub(in crate::store::sqlite) own_key: KeyColumns,
    pub(in crate::store::sqlite) surrogate: Option<String>,
    /// The key is a number that a side hands out.
    pub(in crate::store::sqlite) is_automatic: bool,
    pub(in crate::store::sqlite) registers: Vec<RegisterColumns>,
    pub(super) statements: Statements,
}

/// What is said for each row, so it is put together once.
#[derive(Clone, Debug, Default)]
pub(super) struct Statements {
    /// That the row with the key `?1` is there, and its data columns.
    pub values: String,
    /// The sidecar's rows, up to `WHERE`: key, live, stamp, seq, live_base; for each column its
    /// stamp and base.
    pub entries: String,
    /// A sidecar row as given: key, live, stamp, seq, live_base, the stamps and bases.
    pub put: String,
}

impl Statements {
    fn new(layout: &Layout) -> Statements {
        let sidecar = &layout.sidecar;
        Statements {
            values: format!(
                "SELECT 1{} FROM {} WHERE {}",
                behind(", ", layout.each(", ", |r| r.kind.description().stored(&r.column))),
                layout.target,
                layout.key.is("", "=", 1)
            ),
            entries: format!(
                "SELECT {}, live, stamp, seq, live_base{} FROM {sidecar}",
                layout.own_key.given(""),
                behind(
                    ", ",
                    layout.each(", ", |r| format!("coalesce({}, stamp), {}", r.stamp, r.base))
                ),
            ),
            put: format!(
                "INSERT INTO {sidecar} ({}, live, stamp, seq, live_base{}) \
                 VALUES ({}, {}) ON CONFLICT ({}) DO UPDATE SET live = excluded.live, \
                 stamp = excluded.stamp, seq = excluded.seq, live_base = excluded.live_base{}",
                layout.own_key.list(""),
                behind(", ", layout.each(", ", |r| format!("{}, {}", r.stamp, r.base))),
                layout.own_key.taken("?1"),
                vec!["?"; 4 + 2 * layout.registers.len()].join(", "),
                layout.own_key.list(""),
                // Of columns that another program has joined meanwhile nothing is forgotten.
                behind(
                    ", ",
                    layout.each(", ", |r| format!(
                        "{0} = excluded.{0}, {1} = excluded.{1}",
                        r.stamp, r.base
                    ))
                ),
            ),
        }
    }
}

impl Layout {
    /// The layout for `table` in the main database of a connection.
    #[must_use]
    pub fn new(table: &Table) -> Layout {
        let register = |column: &Column| RegisterColumns {
            column: quoted(&column.name),
            stamp: quoted(&format!("s_{}", column.label)),
            base: quoted(&format!("b_{}", column.label)),
            kind: column.kind.clone(),
            default: column.default.as_ref().map(|value| literal(value, Dialect::Sqlite)),
        };
        let data = table.columns().iter().filter(|column| column.role == Role::Data);
        let mut layout = Layout {
            name: table.shared_name(),
            label: table.label().into(),
            declaration: table.declaration(),
            target: quoted(table.name()),
            sidecar: quoted(&format!("dual_side_{}", table.label())),
            look: quoted(&format!("dual_look_{}", table.label())),
            key: KeyColumns::of(table, Dialect::Sqlite),
            own_key: KeyColumns::of_sidecar(table, Dialect::Sqlite),
            surrogate: table.surrogate().map(|column| quoted(&column.name)),
            is_automatic: table.has_automatic_key(),
            registers: data.map(register).collect(),
            statements: Statements::default(),
        };
        layout.statements = Statements::new(&layout);
        layout
    }

    /// The base of a row that was there before anybody looked. Under a number that a side hands out it is
    /// told apart from a birth, which is another row than whatever PostgreSQL has there.
    pub(in crate::store::sqlite) fn adopted_base(&self) -> i64 {
        if self.is_automatic { Stamp::ADOPTED_SQLITE.raw() } else { 0 }
    }

    /// The sidecar's quoted name.
    #[must_use]
    pub fn sidecar(&self) -> &str {
        &self.sidecar
    }

    /// The quoted names of the sidecar's stamps and bases of the data columns, in their order.
    pub fn stamps(&self) -> impl Iterator<Item = (&str, &str)> {
        self.registers.iter().map(|register| (register.stamp.as_str(), register.base.as_str()))
    }

    /// One piece of text for each register, joined.
    pub(in crate::store::sqlite) fn each(
        &self,
        separator: &str,
        piece: impl Fn(&RegisterColumns) -> String,
    ) -> String {
        self.registers.iter().map(piece).collect::<Vec<_>>().join(separator)
    }

    /// The highest stamp in a sidecar row, what is pending in it remembering: a pending delete has
    /// one stamp, but PostgreSQL still has those that it has met, and an insert has to lie above
    /// them. SQLite's `max` of several is NULL if one is.
    pub(super) fn highest(&self) -> String {
        format!(
            "max(stamp, coalesce(live_base, 0){})",
            behind(
                ", ",
                self.each(", ", |r| format!(
                    "max(coalesce({}, stamp), coalesce({}, 0))",
                    r.stamp, r.base
                ))
            )
        )
    }

    /// The row `u` of the table is that of the sidecar's row.
    pub(in crate::store::sqlite) fn is_of(&self, sidecar_row: &str) -> String {
        self.key.same("u", "=", &self.own_key, sidecar_row)
    }

    /// The same, said the other way about.
    pub(in crate::store::sqlite) fn tells_of(&self, row: &str) -> String {
        self.own_key.same("s", "=", &self.key, row)
    }

    /// The key of the row is one that can go over.
    pub(in crate::store::sqlite) fn is_keyed(&self, row: &str) -> String {
        self.key.is_whole(row)
    }

    /// The table has the row with the key of another one, whose columns are `key`.
    pub(super) fn there(&self, key: &KeyColumns, row: &str) -> String {
        let same = self.key.same("u", "=", key, row);
        format!("EXISTS (SELECT 1 FROM {} AS u WHERE {same})", self.target)
    }
}

impl RegisterColumns {
    /// The row says nothing about the column: NULL, or the declared default.
    pub fn silent(&self, row: &str) -> String {
        let name = format!("{row}.{}", self.column);
        match &self.default {
            Some(default) => {
                let is = self.kind.description().equals(Dialect::Sqlite, &name, default);
                format!("({name} IS NULL OR {is})")
            }
            None => format!("{name} IS NULL"),
        }
    }

    /// The update has changed the column.
    pub fn differs(&self) -> String {
        let of = |row: &str| format!("{row}.{}", self.column);
        self.kind.description().differs(Dialect::Sqlite, &of("new"), &of("old"))
    }
}

/// Takes the next `seq` and makes the stamp of a change: by the clock, above `replaced`.
pub(super) fn moment(replaced: &str) -> String {
    format!(
        "UPDATE dual_state SET seq = seq + 1, moment = max(
    (min(max(CAST((julianday('now') - 2458849.5) * 86400000.0 AS INTEGER), 0), 2199023255551) << 22)
      | writer,
    (min((coalesce(({replaced}), 0) >> 14) + 1, 562949953421311) << 14) | writer)"
    )
}
