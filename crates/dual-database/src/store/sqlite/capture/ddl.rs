//! The tables that stand beside the user's, and what fills them. Pure text.

use super::layout::Layout;
use super::triggers::trigger_names;
use crate::schema::{KeyColumns, behind};
use crate::stamp::Stamp;

/// The version of everything whose name begins with `dual_`.
pub(crate) const FORMAT: i64 = 3;

/// What every file has, whatever its tables: each statement can be repeated.
///
/// `seq` counts the changes; `moment` is the stamp that a trigger is just giving; `horizon` is
/// what is below every stamp that was purged. `dual_tracked` keeps how each table is declared, what it adds
/// to the epoch that is followed, why it has to be compared by itself, why it is left alone, and how often it had
/// to be compared so far.
pub(crate) const COMMON: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS dual_state (\n  \
       one INTEGER PRIMARY KEY CHECK (one = 1),\n  \
       format INTEGER NOT NULL,\n  \
       writer INTEGER NOT NULL,\n  \
       seq INTEGER NOT NULL,\n  \
       moment INTEGER NOT NULL,\n  \
       horizon INTEGER NOT NULL\n)",
    "CREATE TABLE IF NOT EXISTS dual_tracked (\n  \
       name TEXT PRIMARY KEY,\n  \
       triggers TEXT NOT NULL,\n  \
       columns TEXT NOT NULL,\n  \
       declaration TEXT,\n  \
       relation INTEGER,\n  \
       compare TEXT,\n  \
       paused TEXT,\n  \
       marked INTEGER\n)",
];

/// What is not of one table but of the file: that of the node and of an import too.
pub(super) const OF_THE_FILE: [&str; 14] = [
    "dual_state",
    "dual_tracked",
    "dual_node",
    "dual_scrub",
    "dual_writer",
    "dual_conflict",
    "dual_quarantine",
    "dual_damage",
    "dual_failing",
    "dual_set_back",
    "dual_block",
    "dual_number",
    "dual_given",
    "dual_import_run",
];

/// What stands beside the table of that label: the kind of each thing, and its name.
pub(super) fn made_beside(label: &str) -> Vec<(&'static str, String)> {
    // Triggers first: they stand on the user's table.
    let mut made: Vec<_> = trigger_names(label).into_iter().map(|name| ("trigger", name)).collect();
    made.push(("table", format!("dual_side_{label}")));
    made.push(("table", format!("dual_look_{label}")));
    made.push(("index", format!("dual_{label}_surrogate")));
    made.push(("index", format!("dual_{label}_keyless")));
    made
}

impl Layout {
    /// The sidecar, its index and the list of keys to look at again.
    ///
    /// `stamp` is that of `live`, and of every column whose own (`s_…`) is NULL. A base (`b_…`,
    /// `live_base`) is NULL unless the register is pending.
    #[must_use]
    pub fn sidecar_ddl(&self) -> Vec<String> {
        let (sidecar, look) = (&self.sidecar, &self.look);
        let index = crate::schema::quoted(&format!("dual_side_{}_seq", self.label));
        let (key, primary) = self.own_key.definitions();
        let kept = if self.own_key.is_number() { "" } else { " WITHOUT ROWID" };
        vec![
            format!(
                "CREATE TABLE IF NOT EXISTS {sidecar} (\n  {key},\n  \
                   live INTEGER NOT NULL,\n  stamp INTEGER NOT NULL,\n  seq INTEGER NOT NULL,\n  \
                   live_base INTEGER{}{primary}\n){kept}",
                behind(
                    ",\n  ",
                    self.each(",\n  ", |r| format!("{} INTEGER,\n  {} INTEGER", r.stamp, r.base))
                ),
            ),
            format!("CREATE INDEX IF NOT EXISTS {index} ON {sidecar} (seq)"),
            format!("CREATE TABLE IF NOT EXISTS {look} ({key}{primary}){kept}"),
        ]
    }

    /// What adds to an existing sidecar the columns that `has` does not know; there they count
    /// as never set.
    #[must_use]
    pub fn additions(&self, has: impl Fn(&str) -> bool) -> Vec<String> {
        self.registers
            .iter()
            .flat_map(|r| [(&r.stamp, " DEFAULT 0"), (&r.base, "")])
            .filter(|(name, _)| !has(name))
            .map(|(name, default)| {
                format!("ALTER TABLE {} ADD COLUMN {name} INTEGER{default}", self.sidecar)
            })
            .collect()
    }

    /// Takes in the rows that have no sidecar row, or the one with the key `?1`, as pending, under the
    /// stamp of rows that were there before; what a row says nothing about is nobody's.
    #[must_use]
    pub fn adopt(&self, of_key: bool) -> String {
        let this = match of_key {
            true => format!("{} AND ", self.key.is("u", "=", 1)),
            false => String::new(),
        };
        let silent = self.each(", ", |r| format!("CASE WHEN {} THEN 0 END", r.silent("u")));
        format!(
            "INSERT INTO {sidecar} ({own}, live, stamp, seq, live_base{bases}{stamps})\n\
             SELECT {key}, 1, {adopted}, (SELECT seq FROM dual_state), {base}{zeros}{silent}\n\
             FROM {target} AS u WHERE {this}{keyed}\n  \
               AND NOT EXISTS (SELECT 1 FROM {sidecar} AS s WHERE {tells_of})",
            sidecar = self.sidecar,
            target = self.target,
            own = self.own_key.list(""),
            key = self.key.list("u"),
            keyed = self.is_keyed("u"),
            tells_of = self.tells_of("u"),
            adopted = Stamp::ADOPTED_SQLITE.raw(),
            base = self.adopted_base(),
            bases = behind(", ", self.each(", ", |r| r.base.clone())),
            stamps = behind(", ", self.each(", ", |r| r.stamp.clone())),
            zeros = behind(", ", self.each(", ", |_| "0".into())),
            silent = behind(", ", silent),
        )
    }

    /// How many rows with keys above `?1` and up to `?2`, those of them that there are, came past the
    /// triggers: rows that the sidecar does not know, rows that live by it and are not in the table, rows
    /// that are dead by it and are.
    #[must_use]
    pub fn loose(&self, bounds: [bool; 2]) -> String {
        let there = self.there(&self.own_key, "s");
        let within = |key: &KeyColumns, row| key.bounded(row, bounds, 1);
        format!(
            "SELECT (SELECT count(*) FROM {target} AS u WHERE {} AND {keyed} \
             AND NOT EXISTS (SELECT 1 FROM {sidecar} AS s WHERE {tells_of})), \
             (SELECT count(*) FROM {sidecar} AS s WHERE {} AND s.live = 1 AND s.stamp <> 0 \
             AND NOT {there}), \
             (SELECT count(*) FROM {sidecar} AS s WHERE {} AND (s.live = 0 OR s.stamp = 0) \
             AND {there})",
            within(&self.key, "u"),
            within(&self.own_key, "s"),
            within(&self.own_key, "s"),
            target = self.target,
            sidecar = self.sidecar,
            keyed = self.is_keyed("u"),
            tells_of = self.tells_of("u"),
        )
    }

    /// The index over a surrogate that the table does not index itself.
    pub(in crate::store::sqlite) fn surrogate_index(&self) -> String {
        crate::schema::quoted(&format!("dual_{}_surrogate", self.label))
    }

    /// The index of the rows whose key is no whole number: hardly ever has it any.
    pub(in crate::store::sqlite) fn keyless_index(&self) -> String {
        let (index, key) = (format!("dual_{}_keyless", self.label), self.key.list(""));
        let index = crate::schema::quoted(&index);
        format!(
            "CREATE INDEX IF NOT EXISTS {index} ON {} ({key}) WHERE {}",
            self.target,
            self.keyless()
        )
    }

    /// What is so of a row whose key is no whole number.
    pub(in crate::store::sqlite) fn keyless(&self) -> String {
        match self.key.is_number() {
            true => format!("typeof({}) <> 'integer'", self.key.list("")),
            false => format!("NOT ({})", self.is_keyed("")),
        }
    }

    pub(in crate::store::sqlite) fn drop_triggers(&self) -> Vec<String> {
        let names = self.trigger_names();
        let drop =
            |name: &String| format!("DROP TRIGGER IF EXISTS {}", crate::schema::quoted(name));
        names.iter().map(drop).collect()
    }
}
