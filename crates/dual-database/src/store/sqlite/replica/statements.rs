//! The statements on a table that do not depend on the row. Pure text.

use super::super::capture::Layout;
use crate::schema::{Dialect, Table, behind, quoted};
use crate::stamp::Stamp;

#[derive(Debug)]
pub(super) struct Statements {
    /// The sidecar's row with the data row, up to `WHERE`: key, live, stamp, seq, live_base; for
    /// each column its stamp and base; the data row's key and surrogate; the columns.
    pub select: String,
    /// The same of the key `?1`; of a row that the sidecar does not know, as it would be taken in, with
    /// the position -1.
    pub row: String,
    /// How many bytes the texts of the data row `u` take that are carried, an expression.
    pub bytes: String,
    /// The surrogate, the key, the data columns.
    pub insert: String,
    /// By the key.
    pub delete: String,
    /// For a table with a surrogate.
    pub numbering: Option<Numbering>,
}

/// What numbers rows.
#[derive(Debug)]
pub(super) struct Numbering {
    /// A surrogate below all that are there.
    pub provisional: String,
    /// Whether anybody has the surrogate `?1` and not the key `?2`.
    pub taken: String,
    /// Gives whoever has the surrogate `?1` and not the key `?2` that other one, `?3`.
    pub vacate: String,
}

impl Numbering {
    fn new(layout: &Layout, id: &str) -> Numbering {
        let target = &layout.target;
        let another = format!("{id} = ?1 AND NOT ({})", layout.key.is("", "IS", 2));
        Numbering {
            provisional: format!("SELECT min(0, coalesce(min({id}), 0)) - 1 FROM {target}"),
            taken: format!("SELECT EXISTS (SELECT 1 FROM {target} WHERE {another})"),
            vacate: format!("UPDATE OR ABORT {target} SET {id} = ?3 WHERE {another}"),
        }
    }
}

impl Statements {
    pub(super) fn new(table: &Table, layout: &Layout) -> Statements {
        let (target, sidecar) = (&layout.target, &layout.sidecar);
        let key = layout.key.list("");
        let number = match &layout.surrogate {
            Some(id) => format!("u.{id}"),
            None => "NULL".to_owned(),
        };
        let there = layout.key.first("u");
        let (own, unseen) = (&layout.own_key, format!("{} IS NULL", layout.own_key.first("s")));
        let stamps =
            layout.each(", ", |r| format!("coalesce(s.{0}, s.stamp), s.{1}", r.stamp, r.base));
        let stamps = behind(", ", stamps);
        let columns =
            layout.each(", ", |r| r.kind.description().stored(&format!("u.{}", r.column)));
        let columns = behind(", ", columns);
        let adopted = Stamp::ADOPTED_SQLITE.raw();
        let unknown = layout.each(", ", |r| {
            let silent = format!("CASE WHEN {unseen} AND {} THEN 0 END", r.silent("u"));
            format!(
                "coalesce(s.{}, {silent}, s.stamp, {adopted}), CASE WHEN {unseen} THEN 0 ELSE s.{} END",
                r.stamp, r.base,
            )
        });
        let unknown = behind(", ", unknown);
        let names = table.data_columns().map(|c| quoted(&c.name));
        let written: Vec<String> =
            layout.surrogate.iter().cloned().chain([key]).chain(names).collect();
        let numbers = layout.surrogate.iter().map(|_| "?1".to_owned());
        let key_at = format!("?{}", 1 + layout.surrogate.iter().count());
        let given = numbers.chain([layout.key.taken(&key_at)]);
        let given: Vec<String> = given.chain(layout.registers.iter().map(|_| "?".into())).collect();
        Statements {
            select: format!(
                "SELECT {}, s.live, s.stamp, s.seq, s.live_base{stamps}, {there}, {number}{columns} \
                 FROM {known} AS s LEFT JOIN {target} AS u ON {}",
                own.given("s"),
                layout.is_of("s"),
                // Of a text that is none nothing can be said to anybody.
                known = match own.is_number() {
                    true => sidecar.clone(),
                    false => format!("(SELECT * FROM {sidecar} WHERE {})", own.is_carried("")),
                },
            ),
            row: format!(
                "SELECT {}, coalesce(s.live, 1), coalesce(s.stamp, {adopted}), coalesce(s.seq, -1), \
                 CASE WHEN {unseen} THEN {base} ELSE s.live_base END{unknown}, {there}, {number}\
                 {columns} FROM (SELECT {}) AS k LEFT JOIN {sidecar} AS s ON {} \
                 LEFT JOIN {target} AS u ON {} AND {} \
                 WHERE NOT ({unseen}) OR {there} IS NOT NULL",
                own.given("k"),
                own.taken_as("?1"),
                own.same("s", "=", own, "k"),
                layout.is_of("k"),
                layout.is_keyed("u"),
                base = layout.adopted_base(),
            ),
            bytes: format!(
                "(0{})",
                layout.each("", |r| {
                    let column = format!("u.{}", r.column);
                    let bytes = r.kind.description().bytes(Dialect::Sqlite, &column);
                    bytes.map_or_else(String::new, |bytes| format!(" + {bytes}"))
                })
            ),
            // The conflict clauses that the table declares for itself do not count here.
            insert: format!(
                "INSERT OR ABORT INTO {target} ({}) VALUES ({})",
                written.join(", "),
                given.join(", "),
            ),
            delete: format!("DELETE FROM {target} WHERE {}", layout.key.is("", "=", 1)),
            numbering: layout.surrogate.as_ref().map(|id| Numbering::new(layout, id)),
        }
    }
}
