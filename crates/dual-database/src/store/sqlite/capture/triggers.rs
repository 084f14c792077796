//! The triggers of a tracked table. Pure: text from a [`Layout`].

use super::layout::{Layout, Unique, moment};
use crate::schema::{any_of, behind};

/// The names of the triggers, behind the table's.
const NAMES: [&str; 8] =
    ["inserting", "inserted", "updating", "updated", "rekeyed", "deleted", "looked_i", "looked_u"];

/// The names of the triggers of a table.
pub(super) fn trigger_names(table: &str) -> Vec<String> {
    NAMES.iter().map(|what| format!("dual_{table}_{what}")).collect()
}

/// The statements of [`Layout::mend`], in the order in which they are run.
pub(super) struct Mend {
    pub removed: String,
    /// Before inserts: their stamp.
    pub moment: String,
    pub born: String,
    pub unknown: String,
}

impl Layout {
    /// The triggers' names, unquoted.
    pub(super) fn trigger_names(&self) -> Vec<String> {
        trigger_names(&self.label)
    }

    /// The triggers. `unique` are the table's unique indexes besides the key's, `rowid` among
    /// them.
    #[must_use]
    pub fn triggers(&self, unique: &[Unique]) -> Vec<String> {
        let target = &self.target;
        let number = |row: &str| self.is_keyed(row);
        let (same, other) =
            (self.key.alike("new", "old", false), self.key.alike("new", "old", true));
        let renumbered = self.surrogate.as_ref().map(|id| format!("new.{id} IS NOT old.{id}"));
        let changed = self.registers.iter().map(|r| r.differs()).chain(renumbered);
        let changed = any_of(changed, "\n    OR ");
        let captured_insert = self.captured_insert("new");
        let captured_delete = self.captured_delete("old");
        let looking = format!("EXISTS (SELECT 1 FROM {})", self.look);
        let triggers = [
            format!("BEFORE INSERT ON {target} BEGIN\n{}END", self.victims(unique, &["new"])),
            format!("AFTER INSERT ON {target} WHEN {} BEGIN\n{captured_insert}END", number("new")),
            format!(
                "BEFORE UPDATE ON {target} BEGIN\n{}END",
                self.victims(unique, &["new", "old"])
            ),
            format!(
                "AFTER UPDATE ON {target} WHEN {} AND {same} AND ({changed}) BEGIN\n{}END",
                number("new"),
                self.update()
            ),
            format!("AFTER UPDATE ON {target} WHEN {other} BEGIN\n{}END", self.rekey()),
            format!("AFTER DELETE ON {target} WHEN {} BEGIN\n{captured_delete}END", number("old")),
            format!("AFTER INSERT ON {target} WHEN {looking} BEGIN\n{}END", self.sweep()),
            format!("AFTER UPDATE ON {target} WHEN {looking} BEGIN\n{}END", self.sweep()),
        ];
        let names = self.trigger_names();
        let pairs = names.iter().zip(&triggers);
        pairs
            .map(|(name, rest)| format!("CREATE TRIGGER {} {rest}", crate::schema::quoted(name)))
            .collect()
    }

    /// Logs the keys of rows that `REPLACE` would delete without a delete trigger: "look again".
    /// Whether the statement replaces is not known here, so nothing more is concluded. An
    /// automatic rowid is -1 here, which is at worst a row that lives on.
    fn victims(&self, unique: &[Unique], others: &[&str]) -> String {
        let (target, look) = (&self.target, &self.look);
        let not = others.iter().map(|other| format!(" AND {}", self.key.alike("u", other, true)));
        let not: String = not.collect();
        let statements = unique.iter().map(|index| {
            let same = index.columns.iter().map(|(column, collation)| {
                let [column, collation] = [column, collation].map(|it| crate::schema::quoted(it));
                format!("u.{column} = new.{column} COLLATE {collation} AND ")
            });
            format!(
                "  INSERT INTO {look} ({own}) SELECT {key} FROM {target} AS u\n  \
                   WHERE {}{keyed}{not}\n    \
                   AND NOT EXISTS (SELECT 1 FROM {look} WHERE {known});\n",
                same.collect::<String>(),
                own = self.own_key.list(""),
                key = self.key.list("u"),
                keyed = self.is_keyed("u"),
                known = self.own_key.same("", "=", &self.key, "u"),
            )
        });
        let text: String = statements.collect();
        // A trigger needs a statement.
        if text.is_empty() { "  SELECT 1;\n".into() } else { text }
    }

    /// What the row's life, new or over, does to a sidecar row that is there: one stamp for
    /// everything. What PostgreSQL and the file last agreed on stays the base.
    fn relive(&self, live: u8, condition: &str) -> String {
        self.relived(live, "coalesce(live_base, stamp)", condition)
    }

    fn relived(&self, live: u8, base: &str, condition: &str) -> String {
        format!(
            "  UPDATE {} SET live = {live}, live_base = {base}{}{},\n    \
             stamp = (SELECT moment FROM dual_state), seq = (SELECT seq FROM dual_state)\n  \
             WHERE {condition};\n",
            self.sidecar,
            behind(
                ",\n    ",
                self.each(", ", |r| format!("{0} = coalesce({0}, {1}, stamp)", r.base, r.stamp))
            ),
            behind(",\n    ", self.each(", ", |r| format!("{} = NULL", r.stamp))),
        )
    }

    /// A sidecar row for a key that never had one. No `INSERT OR …`: the conflict clause of the
    /// statement outside would take its place.
    fn first(
        &self,
        row: &str,
        live: u8,
        (stamp, base): (&str, i64),
        silent: &str,
        condition: &str,
    ) -> String {
        format!(
            "  INSERT INTO {sidecar} ({own}, live, stamp, seq, live_base{bases}{stamps})\n  \
             SELECT {key}, {live}, {stamp}, seq, {base}{zeros}{silent}\n  FROM dual_state\n  \
             WHERE {keyed} AND {condition}\n    \
               AND NOT EXISTS (SELECT 1 FROM {sidecar} WHERE {known});\n",
            sidecar = self.sidecar,
            own = self.own_key.list(""),
            key = self.key.list(row),
            keyed = self.is_keyed(row),
            known = self.known(row),
            bases = behind(", ", self.each(", ", |r| r.base.clone())),
            stamps = behind(", ", self.each(", ", |r| r.stamp.clone())),
            zeros = behind(", ", self.each(", ", |_| "0".into())),
            silent = behind(",\n    ", silent.to_owned()),
        )
    }

    /// The sidecar's row is that of a row of the table.
    fn known(&self, row: &str) -> String {
        self.own_key.same("", "=", &self.key, row)
    }

    /// The same, and the row's key is one that can go over: a number may equal the text of another key.
    fn known_whole(&self, row: &str) -> String {
        match self.key.is_number() {
            true => self.known(row),
            false => format!("{} AND {}", self.known(row), self.is_keyed(row)),
        }
    }

    fn take_moment(&self, highest: &str, row: &str) -> String {
        let replaced = format!("SELECT {highest} FROM {} WHERE {}", self.sidecar, self.known(row));
        format!("  {};\n", moment(&replaced))
    }

    fn captured_insert(&self, row: &str) -> String {
        let there = self.there(&self.key, row);
        let silent =
            self.each(",\n    ", |r| format!("CASE WHEN {} THEN horizon END", r.silent("new")));
        format!(
            "{}{}{}",
            self.take_moment(&self.highest(), row),
            self.relived(
                1,
                &self.base_of_birth(),
                &format!("{} AND {there}", self.known_whole(row))
            ),
            self.first(row, 1, ("moment", 0), &silent, &there),
        )
    }

    /// What a birth over a sidecar row has for its base. Whether others have used the number of a row that is
    /// dead again, a file does not know: PostgreSQL has to be asked.
    fn base_of_birth(&self) -> String {
        let agreed = "coalesce(live_base, stamp)";
        match self.is_automatic {
            true => format!("CASE WHEN live = 0 AND live_base IS NULL THEN 0 ELSE {agreed} END"),
            false => agreed.to_owned(),
        }
    }

    fn captured_delete(&self, row: &str) -> String {
        let gone = format!("NOT {}", self.there(&self.key, row));
        let nulls = self.each(", ", |_| "NULL".into());
        format!(
            "{}{}{}",
            self.take_moment(&self.highest(), row),
            self.relive(0, &format!("{} AND {gone}", self.known_whole(row))),
            self.first(row, 0, ("moment", self.adopted_base()), &nulls, &gone),
        )
    }

    /// Delete of the old key and insert of the new one, as far as they are whole numbers.
    fn rekey(&self) -> String {
        format!("{}{}", self.captured_delete("old"), self.captured_insert("new"))
    }

    /// What has changed gets one stamp. A row without a sidecar row was there before the
    /// triggers: it is adopted as it is.
    fn update(&self) -> String {
        let replaced = self.each(",\n      ", |r| {
            format!(
                "CASE WHEN {} THEN max(coalesce({}, stamp), coalesce({}, 0)) ELSE 0 END",
                r.differs(),
                r.stamp,
                r.base
            )
        });
        // `max` of one is that of all rows.
        let highest = match replaced.is_empty() {
            true => "stamp".to_owned(),
            false => format!("max(stamp,\n      {replaced})"),
        };
        let adopted = crate::stamp::Stamp::ADOPTED_SQLITE.raw().to_string();
        let nulls = self.each(", ", |_| "NULL".into());
        format!(
            "{}{}  UPDATE {} SET\n    {}seq = (SELECT seq FROM dual_state)\n  \
             WHERE {known} AND live = 1;\n",
            self.first(
                "new",
                1,
                (&adopted, self.adopted_base()),
                &nulls,
                &self.there(&self.key, "new")
            ),
            self.take_moment(&highest, "new"),
            self.sidecar,
            self.each("", |r| {
                let (changed, stamp, base) = (r.differs(), &r.stamp, &r.base);
                format!(
                    "{base} = CASE WHEN {changed} THEN coalesce({base}, {stamp}, stamp) ELSE {base} END,\n    \
                     {stamp} = CASE WHEN {changed} THEN (SELECT moment FROM dual_state) ELSE {stamp} END,\n    "
                )
            }),
            known = self.known("new"),
        )
    }

    /// What notes in the sidecar what came past the triggers, of all rows or of the one with the key
    /// `?1`. Rows that were taken away: that is not to say that somebody has deleted them, so nothing
    /// is known of them any more, and nothing of them is pending. Rows that were put where the sidecar
    /// has none: inserts. Rows that it does not know: they were there before.
    pub(super) fn mend(&self, of_key: bool) -> Mend {
        let there = self.there(&self.own_key, &self.sidecar);
        let this = match of_key {
            true => format!("{} AND ", self.own_key.is("", "=", 1)),
            false => String::new(),
        };
        let removed = format!("{this}live = 1 AND stamp <> 0 AND NOT {there}");
        let born = format!("{this}(live = 0 OR stamp = 0) AND {there}");
        let take = format!("SELECT max({}) FROM {} WHERE {born}", self.highest(), self.sidecar);
        let nulls = self.each(", ", |r| format!("{} = NULL, {} = NULL", r.stamp, r.base));
        let nulls = behind(", ", nulls);
        Mend {
            removed: format!(
                "UPDATE {} SET stamp = 0, seq = 0, live_base = NULL{nulls} WHERE {removed}",
                self.sidecar
            ),
            moment: moment(&take),
            born: self.relive(1, &born),
            unknown: self.adopt(of_key),
        }
    }

    /// Looks again at the keys that were logged: rows that have gone are dead.
    fn sweep(&self) -> String {
        let logged = match self.key.is_number() {
            true => format!("key IN (SELECT key FROM {})", self.look),
            false => format!(
                "EXISTS (SELECT 1 FROM {} AS l WHERE {})",
                self.look,
                self.own_key.same("l", "=", &self.own_key, &self.sidecar)
            ),
        };
        let there = self.there(&self.own_key, &self.sidecar);
        let gone = format!("live = 1 AND {logged} AND NOT {there}");
        let replaced = format!("SELECT max({}) FROM {} WHERE {gone}", self.highest(), self.sidecar);
        format!("  {};\n{}  DELETE FROM {};\n", moment(&replaced), self.relive(0, &gone), self.look)
    }
}
