//! Stamps in the file that lie in the future, or are none: how many there are, and setting them back.

use uuid::Uuid;

use super::super::capture::{Layout, declared, state};
use super::super::failed;
use super::Content;
use crate::protocol::{Ahead, SetBack};
use crate::schema::Table;
use crate::stamp::{Stamp, Writer};
use crate::{Kind, Result};

const OPERATION: &str = "set back stamps of the future in the SQLite file";

impl Content<'_> {
    /// How many rows of each table have a stamp above `limit` that is settled or was replaced by what
    /// is pending, or one that is none. (What is pending on top of what is sound is refused by
    /// PostgreSQL, and made anew.)
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn ahead(&self, limit: Stamp) -> Result<Vec<Ahead>> {
        let look = |layout: &Layout| {
            let beyond = |(stamp, base): (String, &str)| {
                let highest = format!("max(coalesce({stamp}, 0), coalesce({base}, 0))");
                (Condition::of(&stamp, base).any(), highest)
            };
            let (beyond, highest): (Vec<String>, Vec<String>) =
                registers(layout).map(beyond).unzip();
            let sql = format!(
                "SELECT count(*), max(max({}, 0)) FROM {} WHERE {}",
                highest.join(", "),
                layout.sidecar(),
                beyond.join(" OR ")
            );
            let mut look = self.connection().prepare_cached(&sql)?;
            look.query_row([limit.raw()], |row| {
                let highest = row.get_ref(1)?.as_i64_or_null().ok().flatten();
                let rows = u64::try_from(row.get::<_, i64>(0)?).unwrap_or_default();
                Ok(Ahead { rows, highest: highest.and_then(Stamp::from_raw) })
            })
        };
        let found = self.tables().iter().map(|local| look(&local.layout));
        found.collect::<rusqlite::Result<_>>().map_err(|cause| failed(OPERATION, cause))
    }

    /// Notes that an exchange has met a stamp of the future, for whoever asks how things stand.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn note_ahead(&self, stamp: Stamp) -> Result<()> {
        let sql = "UPDATE dual_node SET ahead = max(coalesce(ahead, 0), ?1)";
        self.execute(OPERATION, sql, &[&stamp.raw()]).map(|_| ())
    }

    /// The highest stamp of the future that an exchange has met, if none was set back since.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn met_ahead(&self) -> Result<Option<Stamp>> {
        let raw: Option<i64> = self
            .connection()
            .prepare_cached("SELECT ahead FROM dual_node")
            .and_then(|mut look| look.query_row([], |row| row.get(0)))
            .map_err(|cause| failed(OPERATION, cause))?;
        Ok(raw.and_then(Stamp::from_raw))
    }

    /// Whether something was set back at PostgreSQL of which the file does not know.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn lacks_any(&self, all: &[SetBack]) -> Result<bool> {
        for one in all {
            if !self.has_met(one)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sets back here what was set back at PostgreSQL, in the same order, each once.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn set_back(&self, all: &[SetBack]) -> Result<u64> {
        let mut rows = 0;
        for one in all {
            if self.has_met(one)? {
                continue;
            }
            for local in self.tables() {
                rows += self.set_back_table(&local.layout, one)?;
            }
            for table in self.left_alone()? {
                // Its trouble is its own: what cannot be set back there is compared as it is.
                let layout = Layout::new(&table);
                match self.set_back_table(&layout, one) {
                    Ok(some) => rows += some,
                    // What ends the transaction, or has nothing to do with the table, is everybody's.
                    Err(error)
                        if !matches!(error.kind(), Kind::Schema(_))
                            || self.connection().is_autocommit() =>
                    {
                        return Err(error);
                    }
                    Err(error) => tracing::warn!(
                        table = table.name(),
                        error = error.chain(),
                        "stamps of the future stay in a table that is left alone"
                    ),
                }
            }
            let sql = "UPDATE dual_state SET horizon = ?2 \
                       WHERE typeof(horizon) <> 'integer' OR horizon NOT BETWEEN 0 AND ?1";
            self.execute(OPERATION, sql, &[&one.limit.raw(), &one.stamp.raw()])?;
            let sql = "UPDATE dual_node SET ahead = NULL, purged = min(purged, ?1)";
            self.execute(OPERATION, sql, &[&one.limit.raw()])?;
            let sql = "INSERT INTO dual_set_back (id) VALUES (?1)";
            self.execute(OPERATION, sql, &[&Uuid::from_u128(one.id).to_string()])?;
        }
        Ok(rows)
    }

    /// The tables that the file keeps, as far as this process has nothing to do with them: once they are
    /// followed again nothing tells that they have not met a decision.
    ///
    /// # Errors
    /// About the schema if a declaration cannot be read; those of [`failed`].
    pub(crate) fn left_alone(&self) -> Result<Vec<Table>> {
        let mut kept = declared(self.connection())?;
        kept.retain(|table| self.position(table.name()).is_none());
        Ok(kept)
    }

    fn has_met(&self, one: &SetBack) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM dual_set_back WHERE id = ?1)";
        self.connection()
            .prepare_cached(sql)
            .and_then(|mut look| {
                look.query_row([Uuid::from_u128(one.id).to_string()], |row| row.get(0))
            })
            .map_err(|cause| failed(OPERATION, cause))
    }

    /// As [`SetBack::tracked`]: `?1` is the limit, `?2` what is settled gets, `?3` what is pending, `?4`
    /// what that has replaced.
    fn set_back_table(&self, layout: &Layout, one: &SetBack) -> Result<u64> {
        let set = |(at, (stamp, base)): (usize, (String, &str))| {
            let is = Condition::of(&stamp, base);
            let name = if at == 0 { "stamp".to_owned() } else { own_name(layout, at) };
            // A tombstone is one stamp.
            let dead = if at == 0 { "" } else { "WHEN live = 0 THEN NULL " };
            format!(
                "{name} = CASE {dead}WHEN ({base} IS NULL OR {base} = {stamp}) AND {} THEN ?2 \
                 WHEN {base} IS NOT NULL AND ({} OR {}) THEN ?3 | (CAST({stamp} AS INTEGER) & {}) \
                 ELSE {stamp} END, \
                 {base} = CASE WHEN {base} IS NOT NULL AND {} THEN ?4 ELSE {base} END",
                is.beyond,
                is.base_beyond,
                is.none,
                Writer::MAX.number(),
                is.base_beyond,
            )
        };
        let sets: Vec<String> = registers(layout).enumerate().map(set).collect();
        let any: Vec<String> =
            registers(layout).map(|(stamp, base)| Condition::of(&stamp, base).any()).collect();
        let sql = format!(
            "UPDATE {} SET {} WHERE {}",
            layout.sidecar(),
            sets.join(", "),
            any.join(" OR ")
        );
        let file = state(self.connection())?.writer;
        let (settled, base) = (one.local(Stamp::MAX, file), one.base(Stamp::MAX));
        let next = one.stamp.next(Writer::POSTGRES);
        let values = [one.limit, settled, next, base].map(Stamp::raw);
        self.execute(OPERATION, &sql, &[&values[0], &values[1], &values[2], &values[3]])
            .map(|rows| u64::try_from(rows).unwrap_or(u64::MAX))
    }
}

/// The stamps of a sidecar row with their bases, that of the row first. A column without a stamp of its
/// own has that one; in a tombstone, which is one stamp, it has none to look at.
fn registers(layout: &Layout) -> impl Iterator<Item = (String, &str)> {
    let own = layout.stamps().map(|(stamp, base)| {
        (format!("coalesce({stamp}, CASE live WHEN 0 THEN 0 ELSE stamp END)"), base)
    });
    std::iter::once(("stamp".to_owned(), "live_base")).chain(own)
}

/// The name of the stamp that comes at that place among [`registers`].
fn own_name(layout: &Layout, at: usize) -> String {
    layout.stamps().nth(at - 1).map_or_else(String::new, |(stamp, _)| stamp.to_owned())
}

/// What can be so of a stamp and of its base.
struct Condition {
    /// It is no stamp.
    none: String,
    /// It is none, or above `?1`.
    beyond: String,
    /// The same of its base.
    base_beyond: String,
    is_pending: String,
}

impl Condition {
    fn of(stamp: &str, base: &str) -> Condition {
        let none = |of: &str| format!("(typeof({of}) <> 'integer' OR {of} < 0)");
        Condition {
            none: none(stamp),
            beyond: format!("({} OR {stamp} > ?1)", none(stamp)),
            base_beyond: format!("({} OR {base} > ?1)", none(base)),
            is_pending: format!("{base} IS NOT NULL"),
        }
    }

    /// Something of it is to be set back.
    fn any(&self) -> String {
        format!(
            "CASE WHEN {} THEN {} OR {} ELSE {} END",
            self.is_pending, self.base_beyond, self.none, self.beyond
        )
    }
}
