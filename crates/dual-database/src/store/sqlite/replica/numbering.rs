//! Births under numbers that a side hands out: which PostgreSQL has to be asked about, and what becomes
//! of them when it has answered.

use std::collections::BTreeMap;

use rusqlite::params_from_iter;
use rusqlite::types::Value as Stored;

use super::super::capture::state;
use super::super::failed;
use super::{Content, LocalTable, Side, Taken};
use crate::merge::{Conflict, RegisterId, Tracked};
use crate::protocol::{ConflictEntry, Quarantined, Reservation};
use crate::schema::{Key, RowId};
use crate::stamp::{Stamp, captured};
use crate::store::sqlite::stored;
use crate::{Error, Result};

const OPERATION: &str = "number rows of the SQLite file";

/// How often a row that cannot take its number is tried again by itself, in milliseconds.
const RETRY_MS: i64 = 30_000;

/// Births that PostgreSQL has never been asked about, as far as they are due.
#[derive(Clone, Debug, Default)]
pub struct Unsent {
    /// They live: their numbers are to be asked for.
    pub alive: Vec<RowId>,
    /// They were deleted before anybody heard of them.
    pub dead: Vec<RowId>,
    /// Their surrogates, as they are, are to be PostgreSQL's: those that it has for them, or fresh ones.
    pub surrogates: Vec<(RowId, i64)>,
    /// The highest numbers that rows of the file have, by table: a fresh one lies behind.
    pub highest: BTreeMap<usize, i64>,
}

impl Unsent {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.alive.is_empty() && self.dead.is_empty() && self.surrogates.is_empty()
    }
}

/// What became of a row that was to take a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbered {
    /// It has it, or it does not wait for one any more.
    Done,
    /// It has moved to another number.
    Moved,
    /// Another row has that number here: it asks again.
    Again,
    /// The file's tables do not let it move; it is in quarantine.
    Refused,
}

impl Content<'_> {
    /// Whether the row is a birth under a number that PostgreSQL has not been asked about.
    #[must_use]
    pub fn is_unsent(&self, id: &RowId, row: &Tracked) -> bool {
        let automatic = |local: &LocalTable| local.layout.is_automatic;
        self.tables().get(id.table).is_some_and(automatic) && row.is_unsent()
    }

    /// The births that are to be asked about, at most so many of a table; those in quarantine when they are
    /// due.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn unsent(&self, now_ms: i64, most: usize) -> Result<Unsent> {
        let wrap = |cause| failed(OPERATION, cause);
        let mut unsent = Unsent::default();
        for (table, local) in self.tables().iter().enumerate() {
            if !local.layout.is_automatic {
                continue;
            }
            let aside = "SELECT 1 FROM dual_quarantine AS q WHERE q.name = ?1 AND q.key = s.key \
                         AND q.refused_by = 'postgres'";
            let sql = format!(
                "SELECT s.key, s.live FROM {sidecar} AS s WHERE {unsent} \
                 AND s.seq > (SELECT pushed FROM dual_node) AND NOT EXISTS ({aside}) \
                 UNION ALL SELECT s.key, s.live FROM dual_quarantine AS q \
                 JOIN {sidecar} AS s ON s.key = q.key \
                 WHERE q.name = ?1 AND q.refused_by = 'postgres' AND q.retry <= ?2 AND {unsent} \
                 LIMIT ?3",
                sidecar = local.layout.sidecar,
                unsent = unsent_in(),
            );
            let name = Stored::Text(local.table.name().into());
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let values = [name, Stored::Integer(now_ms), Stored::Integer(most)];
            let mut look = self.connection().prepare_cached(&sql).map_err(wrap)?;
            let mut rows = look.query(params_from_iter(values)).map_err(wrap)?;
            while let Some(row) = rows.next().map_err(wrap)? {
                let (key, lives): (Key, bool) =
                    (row.get(0).map_err(wrap)?, row.get(1).map_err(wrap)?);
                let of = if lives { &mut unsent.alive } else { &mut unsent.dead };
                of.push(RowId { table, key });
            }
            if unsent.alive.last().is_some_and(|id| id.table == table) {
                unsent.highest.insert(table, self.highest_number(table)?);
            }
        }
        Ok(unsent)
    }

    /// Lets a row whose number its caller has named stand above what PostgreSQL keeps there, as a whole.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn stand_above(&self, id: &RowId, row: &Tracked, tombstone: Stamp) -> Result<Taken> {
        let writer = state(self.connection())?.writer;
        self.write_sidecar_row(id, &row.reserved(tombstone, writer), self.next_seq()?)?;
        Ok(Taken::Done)
    }

    /// The highest number that a row of the file's table has which waits to go over; 0 without one.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn highest_number(&self, table: usize) -> Result<i64> {
        let layout = &self.local(table)?.layout;
        let sql = format!(
            "SELECT max({}) FROM {} WHERE live = 1 AND live_base IS NOT NULL",
            layout.own_key.list(""),
            layout.sidecar
        );
        let highest = self.connection().prepare_cached(&sql);
        let highest = highest.and_then(|mut look| look.query_row([], |row| row.get(0)));
        let highest: Option<i64> = highest.map_err(|cause| failed(OPERATION, cause))?;
        Ok(highest.unwrap_or_default())
    }

    /// Lets the file's position lie below each birth that waits to be asked about: a comparison passes by them,
    /// and so does whoever pushes the others while their table is left alone.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn passes_no_birth(&self) -> Result<()> {
        let Some(first) = self.first_unsent()? else { return Ok(()) };
        let mut node = self.node()?;
        if node.pushed >= first {
            node.pushed = first - 1;
            self.set_node(&node)?;
        }
        Ok(())
    }

    /// The position of the first birth that waits to be asked about, those in quarantine not counted.
    fn first_unsent(&self) -> Result<Option<i64>> {
        let mut first: Option<i64> = None;
        for local in self.tables().iter().filter(|local| local.layout.is_automatic) {
            let sql = format!(
                "SELECT min(s.seq) FROM {} AS s WHERE {} AND NOT EXISTS \
                 (SELECT 1 FROM dual_quarantine AS q WHERE q.name = ?1 AND q.key = s.key \
                  AND q.refused_by = 'postgres')",
                local.layout.sidecar,
                unsent_in(),
            );
            let found: Option<i64> = self
                .connection()
                .prepare_cached(&sql)
                .and_then(|mut look| look.query_row([local.table.name()], |row| row.get(0)))
                .map_err(|cause| failed(OPERATION, cause))?;
            first = first.into_iter().chain(found).min();
        }
        Ok(first)
    }

    /// Forgets a birth that was deleted before anybody heard of it, or that has moved: what is left is the
    /// tombstone over which it was born, if there was one.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn leave_number(&self, id: &RowId, row: &Tracked) -> Result<()> {
        let local = self.local(id.table)?;
        let own = &local.layout.own_key;
        let sql = format!("DELETE FROM {} WHERE {}", local.layout.sidecar, own.is("", "=", 1));
        self.execute(OPERATION, &sql, &[&id.key])?;
        if let Some(tombstone) = row.without_birth(&local.defaults) {
            self.write_sidecar_row(id, &tombstone, 0)?;
        }
        let sql = "DELETE FROM dual_quarantine \
                   WHERE name = ?1 AND key = ?2 AND refused_by = 'postgres'";
        self.execute(OPERATION, sql, &[&local.table.name(), &id.key])?;
        self.ask_again(id)
    }

    /// What PostgreSQL has under that number, and could not be taken, is asked for with the next poll.
    fn ask_again(&self, id: &RowId) -> Result<()> {
        let sql = "UPDATE dual_quarantine SET retry = 0 \
                   WHERE name = ?1 AND key = ?2 AND refused_by = 'sqlite'";
        let name = self.local(id.table)?.table.name();
        self.execute(OPERATION, sql, &[&name, &id.key]).map(|_| ())
    }

    /// Makes births of rows that were there before their table met anybody: those that PostgreSQL has under their
    /// numbers are others, and the file's take other numbers. `false`, and nothing is changed, if the table has met
    /// PostgreSQL.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn take_apart(&self, table: &str, keys: &[Key]) -> Result<bool> {
        let is_it = |(_, local): &(usize, &LocalTable)| local.table.name() == table;
        let Some((table, local)) = self.tables().iter().enumerate().find(is_it) else {
            return Ok(true);
        };
        if self.node()?.installation.is_some() && !self.is_first_contact(table)? {
            return Ok(keys.is_empty());
        }
        let writer = state(self.connection())?.writer;
        let sql = format!(
            "UPDATE {} SET stamp = ?2, live_base = 0, seq = ?3 WHERE {} AND live = 1 AND stamp <= {}",
            local.layout.sidecar,
            local.layout.own_key.is("", "=", 1),
            Stamp::ADOPTED_PREFERRED.raw(),
        );
        let mut stamp = Stamp::ZERO;
        for key in keys {
            stamp = captured(crate::clock::now().as_millisecond(), stamp, writer);
            self.execute(OPERATION, &sql, &[key, &stamp.raw(), &self.next_seq()?])?;
        }
        Ok(true)
    }

    /// Writes down what PostgreSQL keeps for a birth; it moves, with what refers to it, if that is another
    /// number.
    ///
    /// # Errors
    /// Those of [`failed`] that are not about the row.
    pub fn take_number(&self, id: &RowId, kept: Reservation) -> Result<Numbered> {
        let Some(before) = self.captured(id)? else { return Ok(Numbered::Done) };
        // Another process has done it, or it was deleted meanwhile.
        if !self.is_unsent(id, &before.tracked) || !before.tracked.version.lives() {
            return Ok(Numbered::Done);
        }
        let writer = state(self.connection())?.writer;
        let row = before.tracked.reserved(kept.stamp, writer);
        let to = RowId { table: id.table, key: kept.number.into() };
        if to == *id {
            self.write_sidecar_row(id, &row, self.next_seq()?)?;
            self.release(id, Side::Postgres)?;
            return Ok(Numbered::Done);
        }
        if self.row(&to)?.is_some_and(|other| other.tracked.version.live.value) {
            return Ok(Numbered::Again);
        }
        let is_waiting = |one: &Quarantined| one.refused_by == Side::Sqlite;
        let waiting = self.aside(id)?.into_iter().find(is_waiting);
        if self.attempt(id, || self.move_row(id, &to, &row))? == Taken::Refused {
            self.refused_to_move(id)?;
            // What PostgreSQL has under the number goes on waiting for it.
            if let Some(waiting) = waiting {
                self.set_aside(&waiting)?;
            }
            return Ok(Numbered::Refused);
        }
        self.leave_number(id, &before.tracked)?;
        let loser = before.tracked.version.live.stamp;
        let conflict = Conflict { register: RegisterId::Number, winner: kept.stamp, loser };
        self.log_conflicts(&[ConflictEntry {
            id: id.clone(),
            conflict,
            winning: Some(to.key.to_string()),
            losing: Some(id.key.to_string()),
            noted_ms: crate::clock::now().as_millisecond(),
            reviewed: false,
        }])?;
        Ok(Numbered::Moved)
    }

    fn move_row(&self, id: &RowId, to: &RowId, row: &Tracked) -> Result<()> {
        let layout = &self.local(id.table)?.layout;
        let key = layout.key.list("");
        let sql = format!("UPDATE OR ABORT {} SET {key} = ?2 WHERE {key} = ?1", layout.target);
        if self.execute(OPERATION, &sql, &[&id.key, &to.key])? == 0 {
            return Err(super::change::left_out(OPERATION));
        }
        self.move_pending_references(id.table, &stored(&id.key), &stored(&to.key))?;
        self.write_sidecar_row(to, row, self.next_seq()?).map(|_| ())
    }

    /// PostgreSQL has no number for a birth: it waits, as what PostgreSQL does not take.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn refuse_number(&self, id: &RowId, why: &Error) -> Result<()> {
        let now = crate::clock::now().as_millisecond();
        self.set_aside(&Quarantined {
            id: id.clone(),
            refused_by: Side::Postgres,
            code: "number".to_owned(),
            reason: why.message().to_owned(),
            since_ms: now,
            retry_ms: now.saturating_add(RETRY_MS),
        })
    }

    /// It waits for a person, as what PostgreSQL does not take: there is nothing to take from there.
    fn refused_to_move(&self, id: &RowId) -> Result<()> {
        let refused = self.aside(id)?.into_iter().find(|one| one.refused_by == Side::Sqlite);
        let name = self.local(id.table)?.table.name();
        let sql = "DELETE FROM dual_quarantine \
                   WHERE name = ?1 AND key = ?2 AND refused_by = 'sqlite'";
        self.execute(OPERATION, sql, &[&name, &id.key])?;
        let Some(refused) = refused else { return Ok(()) };
        self.set_aside(&Quarantined {
            refused_by: Side::Postgres,
            reason: format!(
                "PostgreSQL has another row under this number, and the file does not let this one \
                 take another: {}",
                refused.reason
            ),
            retry_ms: refused.since_ms.saturating_add(RETRY_MS),
            ..refused
        })
    }
}

/// What is so of a birth, or of what is left of one, that PostgreSQL has not been asked about.
fn unsent_in() -> String {
    format!("s.live_base = 0 AND s.stamp > {}", Stamp::ADOPTED_PREFERRED.raw())
}
