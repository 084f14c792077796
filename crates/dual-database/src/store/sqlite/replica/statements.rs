//! The statements on a table that do not depend on the row. Pure text.

use super::super::capture::Layout;
use super::super::codec::{bytes, carried};
use crate::schema::{Table, quoted};
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
    /// A surrogate below all that are there.
    pub provisional: String,
    /// Gives whoever has the surrogate `?1` and not the key `?2` that other one, `?3`.
    pub vacate: String,
}

impl Statements {
    pub(super) fn new(table: &Table, layout: &Layout) -> Statements {
        let (target, sidecar) = (&layout.target, &layout.sidecar);
        let (key, id) = (&layout.key, &layout.surrogate);
        let stamps =
            layout.each(", ", |r| format!("coalesce(s.{0}, s.stamp), s.{1}", r.stamp, r.base));
        let columns = layout.each(", ", |r| carried(&format!("u.{}", r.column), r.kind));
        let adopted = Stamp::ADOPTED_SQLITE.raw();
        let unknown = layout.each(", ", |r| {
            let silent = format!("CASE WHEN s.key IS NULL AND {} THEN 0 END", r.silent("u"));
            format!(
                "coalesce(s.{}, {silent}, s.stamp, {adopted}), CASE WHEN s.key IS NULL THEN 0 ELSE s.{} END",
                r.stamp, r.base,
            )
        });
        let names: Vec<String> = table.data_columns().map(|(_, c)| quoted(&c.name)).collect();
        Statements {
            select: format!(
                "SELECT s.key, s.live, s.stamp, s.seq, s.live_base, {stamps}, u.{key}, u.{id}, {columns} \
                 FROM {sidecar} AS s LEFT JOIN {target} AS u ON u.{key} = s.key"
            ),
            row: format!(
                "SELECT k.key, coalesce(s.live, 1), coalesce(s.stamp, {adopted}), coalesce(s.seq, -1), \
                 CASE WHEN s.key IS NULL THEN 0 ELSE s.live_base END, {unknown}, u.{key}, u.{id}, \
                 {columns} FROM (SELECT ?1 AS key) AS k LEFT JOIN {sidecar} AS s ON s.key = k.key \
                 LEFT JOIN {target} AS u ON u.{key} = k.key AND typeof(u.{key}) = 'integer' \
                 WHERE s.key IS NOT NULL OR u.{key} IS NOT NULL"
            ),
            bytes: format!(
                "(0 + {})",
                layout.each(" + ", |r| bytes(&format!("u.{}", r.column), r.kind))
            ),
            // The conflict clauses that the table declares for itself do not count here.
            insert: format!(
                "INSERT OR ABORT INTO {target} ({id}, {key}, {}) VALUES ({})",
                names.join(", "),
                vec!["?"; names.len() + 2].join(", "),
            ),
            delete: format!("DELETE FROM {target} WHERE {key} = ?1"),
            provisional: format!("SELECT min(0, coalesce(min({id}), 0)) - 1 FROM {target}"),
            vacate: format!(
                "UPDATE OR ABORT {target} SET {id} = ?3 WHERE {id} = ?1 AND {key} IS NOT ?2"
            ),
        }
    }
}
