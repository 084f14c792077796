//! The block of a table whose key is numbered by itself: numbers that PostgreSQL keeps for this file, for rows
//! that the library adds without a key while PostgreSQL is away.

use rusqlite::OptionalExtension as _;

use super::super::capture::state;
use super::super::failed;
use super::{Content, LocalRow};
use crate::merge::Tracked;
use crate::protocol::{Reservation, Wanted};
use crate::schema::RowId;
use crate::stamp::{Stamp, Writer};
use crate::{Error, Kind, Result};

const OPERATION: &str = "use the numbers that are kept for the SQLite file";

/// How many numbers a file keeps for a table at first, and at most.
const FIRST: i64 = 20;
const MOST: i64 = 1_000;

/// For how long, in milliseconds, others leave it to whoever has asked PostgreSQL last.
const ASKED_MS: i64 = 10_000;

/// How many it is to keep, of a table: more whenever more than half were used since they were fetched.
const WANTED: &str =
    "CASE WHEN b.taken * 2 > b.wanted THEN min(b.wanted * 2, ?1) ELSE b.wanted END";

impl Content<'_> {
    /// Whether numbers are kept for rows that the library adds to the table.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn keeps_numbers(&self, table: usize) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM dual_block WHERE name = ?1)";
        let name = self.local(table)?.table.name();
        self.connection()
            .prepare_cached(sql)
            .and_then(|mut look| look.query_row([name], |row| row.get(0)))
            .map_err(|cause| failed(OPERATION, cause))
    }

    /// From now on they are: the library has added a row without a key.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn keep_numbers(&self, table: usize) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO dual_block (name, wanted, taken, asked) \
                   VALUES (?1, ?2, 0, 0)";
        let name = self.local(table)?.table.name();
        self.execute(OPERATION, sql, &[&name, &FIRST]).map(|_| ())
    }

    /// The tables of whose numbers less than half are above the stamp `lasting`, and how many are lacking;
    /// unless somebody has just asked for them.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn lacking_numbers(&self, lasting: Stamp) -> Result<Vec<Wanted>> {
        let wrap = |cause| failed(OPERATION, cause);
        let sql = format!(
            "SELECT name, wanted - kept FROM (SELECT b.name, {WANTED} AS wanted, \
             (SELECT count(*) FROM dual_number AS n WHERE n.name = b.name AND n.stamp > ?2) AS kept \
             FROM dual_block AS b WHERE b.asked NOT BETWEEN ?3 - {ASKED_MS} AND ?3) \
             WHERE kept * 2 < wanted"
        );
        let now = crate::clock::now().as_millisecond();
        let mut look = self.connection().prepare_cached(&sql).map_err(wrap)?;
        let found = look.query_map((MOST, lasting.raw(), now), |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        });
        let mut lacking = Vec::new();
        for one in found.map_err(wrap)? {
            let (name, count) = one.map_err(wrap)?;
            let of = |local: &super::LocalTable| local.table.name() == name;
            let at = self.tables().iter().position(|local| of(local) && local.layout.is_automatic);
            if let (Some(table), Ok(count)) = (at, usize::try_from(count)) {
                lacking.push(Wanted { table, count, behind: self.highest_number(table)? });
            }
        }
        Ok(lacking)
    }

    /// Says that PostgreSQL is being asked for them.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn asks_numbers(&self, wanted: &[Wanted]) -> Result<()> {
        let now = crate::clock::now().as_millisecond();
        for Wanted { table, .. } in wanted {
            let name = self.local(*table)?.table.name();
            let sql = "UPDATE dual_block SET asked = ?2 WHERE name = ?1";
            self.execute(OPERATION, sql, &[&name, &now])?;
        }
        Ok(())
    }

    /// Writes down what PostgreSQL keeps for the file, whose triggers had that number; of those of before it
    /// forgets what is not above the stamp `good`.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn note_numbers(
        &self,
        writer: Writer,
        good: Stamp,
        kept: &[(usize, Reservation)],
    ) -> Result<()> {
        if state(self.connection())?.writer != writer {
            return Ok(());
        }
        for (table, Reservation { number, stamp }) in kept {
            let name = self.local(*table)?.table.name();
            let grow = format!(
                "UPDATE dual_block AS b SET wanted = {WANTED}, taken = 0 WHERE b.name = ?2"
            );
            self.execute(OPERATION, &grow, &[&MOST, &name])?;
            let old = "DELETE FROM dual_number WHERE name = ?1 AND stamp <= ?2";
            self.execute(OPERATION, old, &[&name, &good.raw()])?;
            let note =
                "INSERT OR IGNORE INTO dual_number (name, number, stamp) VALUES (?1, ?2, ?3)";
            self.execute(OPERATION, note, &[&name, number, &stamp.raw()])?;
        }
        Ok(())
    }

    /// Takes a number above the stamp `good` out of the block, for one row; `None` if it has none.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn take_of_block(&self, table: usize, good: Stamp) -> Result<Option<Reservation>> {
        let wrap = |cause| failed(OPERATION, cause);
        let name = self.local(table)?.table.name();
        let next = "SELECT number, stamp FROM dual_number WHERE name = ?1 AND stamp > ?2 \
                    ORDER BY number LIMIT 1";
        loop {
            let found: Option<(i64, i64)> = self
                .connection()
                .prepare_cached(next)
                .and_then(|mut look| {
                    let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
                    look.query_row((name, good.raw()), read).optional()
                })
                .map_err(wrap)?;
            let Some((number, raw)) = found else { return Ok(None) };
            let take = "DELETE FROM dual_number WHERE name = ?1 AND number = ?2";
            self.execute(OPERATION, take, &[&name, &number])?;
            let id = RowId { table, key: number.into() };
            let stamp = Stamp::from_raw(raw).unwrap_or_default();
            if is_unused(self.row(&id)?.as_ref(), stamp) {
                let count = "UPDATE dual_block SET taken = taken + 1 WHERE name = ?1";
                self.execute(OPERATION, count, &[&name])?;
                return Ok(Some(Reservation { number, stamp }));
            }
        }
    }

    /// The numbers that are kept may be somebody else's: they are forgotten.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn forget_numbers(&self) -> Result<()> {
        self.execute(OPERATION, "DELETE FROM dual_number", &[]).map(|_| ())
    }

    /// A row that the library adds under a number that is kept for it, under `stamp`, pending. PostgreSQL was
    /// asked for this row if `is_asked`, or will be ([`Tracked::numbered`]).
    ///
    /// # Errors
    /// As for [`Content::change`]; already exists if there is a row.
    pub(crate) fn add_numbered(
        &self,
        id: &RowId,
        values: &[crate::value::Value],
        stamp: Stamp,
        kept: (Stamp, bool),
    ) -> Result<()> {
        let before = self.captured(id)?;
        let seen = before.as_ref().map(|row| &row.tracked);
        if seen.is_some_and(|row| row.version.lives()) {
            let message = "there is a row under the number";
            return Err(Error::new(Kind::AlreadyExists, OPERATION, message));
        }
        let defaults = &self.local(id.table)?.defaults;
        let row = Tracked::numbered(seen, values, stamp, kept, defaults);
        self.write_row(id, before.as_ref(), &row, None)
            .map_err(|error| error.about(self.name_of(id)))?;
        self.write_sidecar_row(id, &row, self.next_seq()?).map(|_| ())
    }
}

/// Whether the file knows no more of a number of its block than that it is kept for it by a tombstone of that
/// stamp: under another one a row has lived there.
pub(crate) fn is_unused(row: Option<&LocalRow>, kept: Stamp) -> bool {
    row.map(|row| &row.tracked).is_none_or(|row| {
        !row.version.live.value && row.version.live.stamp == kept && !row.bases.any()
    })
}
