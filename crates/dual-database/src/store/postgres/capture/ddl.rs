//! The sidecar that stands beside a table of the user's, and what fills and reads it. Pure text.

use super::layout::{Layout, array_of_stamps, next};
use crate::schema::{KeyColumns, behind, quoted_text};

/// The stamp of a row that the sidecar does not know, as an expression over `dual.installation` as
/// `i`: that of rows that were there before, above the purge horizon, below which files may still
/// have an earlier life.
pub(in crate::store::postgres) fn adopted() -> String {
    let stamp = crate::stamp::Stamp::ADOPTED_POSTGRES.raw();
    format!("CASE WHEN i.horizon > 0 THEN {} ELSE {stamp} END", next("i.horizon"))
}

impl Layout {
    /// The sidecar, as it is or with what it lacks, in statements that can be repeated.
    ///
    /// `stamp` is that of `live`, and of every column that has none of its own. NULLs cost a
    /// bit each, so a row that was written once is 72 bytes whatever its width. A column that
    /// the declaration gets later counts as never set in the rows that are there.
    #[must_use]
    pub fn sidecar_ddl(&self) -> Vec<String> {
        let sidecar = &self.sidecar;
        let (key, primary) = self.own_key.definitions();
        let mut ddl = vec![
            format!(
                "CREATE TABLE IF NOT EXISTS {sidecar} (\n  \
                   {key},\n  stamp bigint NOT NULL,\n  txid bigint NOT NULL,\n  \
                   live boolean NOT NULL{}{primary}\n)",
                behind(",\n  ", self.each(",\n  ", |r| format!("{} bigint", r.stamp))),
            ),
            format!(
                "CREATE INDEX IF NOT EXISTS {} ON {sidecar} (txid)",
                crate::schema::quoted(&format!("side_{}_txid", self.label())),
            ),
        ];
        // The default is for the rows that are there: a new row is written by those who know.
        ddl.extend(self.registers.iter().flat_map(|r| {
            [
                format!("ADD COLUMN IF NOT EXISTS {} bigint DEFAULT 0", r.stamp),
                format!("ALTER COLUMN {} DROP DEFAULT", r.stamp),
            ]
            .map(|change| format!("ALTER TABLE {sidecar} {change}"))
        }));
        ddl
    }

    /// How many rows came past the triggers, in one pass over table and sidecar: rows that the sidecar
    /// does not know, rows that live by it and are not in the table, rows that are dead by it and are.
    #[must_use]
    pub fn loose(&self) -> String {
        format!(
            "SELECT count(*) FILTER (WHERE s.key IS NULL), \
             count(*) FILTER (WHERE s.live AND s.stamp <> 0 AND {key} IS NULL), \
             count(*) FILTER (WHERE (NOT s.live OR s.stamp = 0) AND {key} IS NOT NULL) \
             FROM {target} AS u FULL JOIN {sidecar} AS s ON {tells_of}",
            sidecar = self.sidecar,
            target = self.target,
            key = self.key.first("u"),
            tells_of = self.tells_of("u"),
        )
    }

    /// What notes in the sidecar what came past the triggers, for all rows or for those with the
    /// keys `$1`: first those that were taken away, which is not to say that somebody has deleted
    /// them; then those that were put where the sidecar has none, as inserts; then those that it does
    /// not know, which were there before. Each is one statement and says how many there were.
    #[must_use]
    pub fn mend(&self, of_keys: bool) -> [String; 3] {
        let Layout { dual, sidecar, target, .. } = self;
        let own = self.own_key.list("");
        let these = |key: &KeyColumns, row| match of_keys {
            true => format!("{} AND ", key.among(row, "=", 1)),
            false => String::new(),
        };
        let (known, found) = (these(&self.own_key, "s"), these(&self.key, "u"));
        let there = format!("EXISTS (SELECT FROM {target} AS u WHERE {})", self.is_of("s"));
        let tells_of = self.tells_of("u");
        let nulls = behind(", ", self.each(", ", |r| format!("{} = NULL", r.stamp)));
        [
            format!(
                "UPDATE {sidecar} AS s SET stamp = 0, txid = txid_current(){nulls}\n\
                 WHERE {known}s.live AND s.stamp <> 0 AND NOT {there}",
            ),
            format!(
                "UPDATE {sidecar} AS s SET live = true, txid = txid_current(){nulls},\n  \
                 stamp = greatest({}, (((date_part('epoch', clock_timestamp()) * 1000)::bigint \
                 - {}) << 22))\nWHERE {known}(NOT s.live OR s.stamp = 0) AND {there}",
                next(&self.highest()),
                crate::stamp::EPOCH_UNIX_MS,
            ),
            format!(
                "INSERT INTO {sidecar} ({own}, live, stamp, txid{})\n\
                 SELECT {key}, true, {adopted}, txid_current(){}\n\
                 FROM {target} AS u, {dual}.installation AS i\n\
                 WHERE {found}{first} IS NOT NULL \
                 AND NOT EXISTS (SELECT FROM {sidecar} AS s WHERE {tells_of})\n\
                 ON CONFLICT ({own}) DO NOTHING",
                behind(", ", self.each(", ", |r| r.stamp.clone())),
                behind(
                    ",\n  ",
                    self.each(",\n  ", |r| format!(
                        "CASE WHEN {} THEN i.horizon END",
                        r.silent("u")
                    ))
                ),
                key = self.key.list("u"),
                first = self.key.first("u"),
                adopted = adopted(),
            ),
        ]
    }

    /// The sidecar rows that are new since a snapshot: `$1` its xmax, `$2` its transactions in
    /// progress. Only under `POLL_SETTINGS` is it surely an index scan.
    #[must_use]
    pub fn changed_since(&self) -> String {
        format!(
            "SELECT {}, live, stamp, txid, {} FROM {} \
             WHERE txid >= $1 OR txid = ANY ($2)",
            self.own_key.given(""),
            array_of_stamps(&self.each(", ", |r| format!("coalesce({}, stamp)", r.stamp))),
            self.sidecar,
        )
    }

    /// What identifies the triggers and the columns of table and sidecar as
    /// they are now, in raw terms that no upgrade of the server rewords. No row if the table is
    /// gone; a trigger that is missing, disabled or other changes the first text, and one that was
    /// disabled for a while: `xmin` tells who has changed it last.
    #[must_use]
    pub(crate) fn fingerprint(&self) -> String {
        let columns = |table: &str| {
            format!(
                "(SELECT string_agg(attname || ' ' || atttypid || ' ' || atttypmod, ',' \
                 ORDER BY attnum) FROM pg_attribute \
                 WHERE attrelid = {table} AND attnum > 0 AND NOT attisdropped)"
            )
        };
        let names: Vec<String> =
            Layout::trigger_names().iter().map(|name| quoted_text(name)).collect();
        format!(
            "SELECT t.oid, md5(coalesce((SELECT string_agg(concat_ws(' ', g.tgname, g.tgtype, \
             g.tgenabled, g.xmin, g.tgoldtable, g.tgnewtable, p.prosecdef, p.proconfig, p.prosrc), ',' \
             ORDER BY g.tgname) FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid \
             WHERE g.tgrelid = t.oid AND g.tgname IN ({})), '')), \
             md5(concat_ws(';', {}, {})) \
             FROM pg_class AS t WHERE t.oid = to_regclass({})",
            names.join(", "),
            columns("t.oid"),
            columns(&format!("to_regclass({})", quoted_text(&self.sidecar))),
            quoted_text(&self.target),
        )
    }
}

/// For the transaction of a poll: a sidecar that was never analysed would be read whole.
pub(crate) const POLL_SETTINGS: &str = "SET LOCAL enable_seqscan = off";

/// Asks for the sidecar's rows as they are before this transaction changes them. Tied to the
/// transaction's id, so that a setting left behind in a pooled session means nothing.
pub(crate) const KEEP_BEFORE: &str =
    "SELECT set_config('dual.before', txid_current() || ':', true)";
