//! How each table follows by itself: whether the epoch that the cursor belongs to speaks of it, whether it
//! is apart from the others until it has been compared, whether it is left alone.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};

use super::super::capture::has_notes;
use super::super::{failed, readable};
use super::{Content, Paused, follow};
use crate::protocol::{Break, Epoch, Event, Follow};
use crate::{Result, Store};

const OPERATION: &str = "look how the tables follow";

/// Why a table is left alone, as the file keeps it.
#[derive(Serialize, Deserialize)]
struct Note {
    postgres: bool,
    reason: String,
    hint: Option<String>,
}

/// The tables that are left alone, and why.
///
/// # Errors
/// Those of [`failed`].
pub(crate) fn paused(connection: &Connection) -> Result<Vec<Paused>> {
    if !has_notes(connection)? {
        return Ok(Vec::new());
    }
    let sql = "SELECT name, paused FROM dual_tracked WHERE paused IS NOT NULL";
    let read = |row: &rusqlite::Row<'_>| -> rusqlite::Result<Paused> {
        let (table, text): (String, String) = (readable(row, 0)?, readable(row, 1)?);
        // Whatever somebody has written there is a reason.
        let note = serde_json::from_str(&text);
        let Note { postgres, reason, hint } =
            note.unwrap_or(Note { postgres: false, reason: text, hint: None });
        let store = if postgres { Store::Postgres } else { Store::Sqlite };
        Ok(Paused { table: Arc::from(table), store, reason, hint })
    };
    let found = connection.prepare(sql).and_then(|mut look| look.query_map([], read)?.collect());
    found.map_err(|cause| failed(OPERATION, cause))
}

impl Content<'_> {
    /// Leaves these tables alone from now on, and takes back those of this file's that are none of them:
    /// they have to be compared, as nobody has followed them.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(super) fn leave_alone(&self, aside: &[Paused]) -> Result<()> {
        let before = paused(self.connection())?;
        for one in aside.iter().filter(|one| !before.contains(one)) {
            self.uncount(&one.table)?;
            let note = Note {
                postgres: one.store == Store::Postgres,
                reason: one.reason.clone(),
                hint: one.hint.clone(),
            };
            let note = serde_json::json!(note).to_string();
            let sql = "UPDATE dual_tracked SET paused = ?1 WHERE name = ?2";
            self.execute(OPERATION, sql, &[&note, &&*one.table])?;
            tracing::warn!(
                table = &*one.table,
                reason = one.reason,
                "the table is left alone: everything else goes on"
            );
        }
        for (table, local) in self.tables().iter().enumerate() {
            let name = local.table.name();
            let is_meant = |one: &Paused| *one.table == *name;
            if before.iter().any(is_meant) && !aside.iter().any(is_meant) {
                let sql = "UPDATE dual_tracked SET paused = NULL WHERE name = ?1";
                self.execute(OPERATION, sql, &[&name])?;
                self.compare_alone(table, Break::CaptureGap)?;
                self.passes_no_birth()?;
                tracing::info!(table = name, "the table is followed again: it is compared");
            }
        }
        Ok(())
    }

    /// The epoch that is followed does not speak of the table any more.
    fn uncount(&self, name: &str) -> Result<()> {
        let sql = "SELECT relation FROM dual_tracked WHERE name = ?1";
        let relation: Option<i64> = self
            .connection()
            .query_row(sql, [name], |row| row.get(0))
            .optional()
            .map_err(|cause| failed(OPERATION, cause))?
            .flatten();
        let Some(relation) = relation else { return Ok(()) };
        let mut node = self.node()?;
        if let Some(epoch) = node.follow.followed_mut() {
            epoch.relations = epoch.relations.wrapping_sub(relation.cast_unsigned());
            self.set_node(&node)?;
        }
        let sql = "UPDATE dual_tracked SET relation = NULL WHERE name = ?1";
        self.execute(OPERATION, sql, &[&name]).map(|_| ())
    }

    /// Where these tables stand: like the file, unless one of them has to be compared by itself.
    ///
    /// # Errors
    /// Those of [`Content::node`].
    pub(crate) fn follow_of(&self, tables: impl IntoIterator<Item = usize>) -> Result<Follow> {
        let state = self.node()?.follow;
        tables.into_iter().try_fold(state, |state, table| {
            Ok(match self.cause_of(table)? {
                Some(cause) => state.with(cause),
                None => state,
            })
        })
    }

    /// The tables that are apart from the others, which follow: they have to be compared before they are
    /// exchanged like those. None if everything has to be compared in any case.
    ///
    /// # Errors
    /// Those of [`Content::node`].
    pub fn apart(&self) -> Result<Vec<usize>> {
        Ok(self.apart_for()?.into_iter().map(|(table, _)| table).collect())
    }

    /// The same, with the reason for which each of them has to be compared.
    ///
    /// # Errors
    /// Those of [`Content::node`].
    pub fn apart_for(&self) -> Result<Vec<(usize, Break)>> {
        let follows = matches!(self.node()?.follow, Follow::Following { .. });
        let mut apart = Vec::new();
        for table in (0..self.tables().len()).filter(|_| follows) {
            apart.extend(self.cause_of(table)?.map(|cause| (table, cause)));
        }
        Ok(apart)
    }

    /// The tables that have to be compared next, but for some, with the reason that they share: what is done
    /// unasked for the one reason takes a person's word for another. None if there are none.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn to_compare(&self, but: &[usize]) -> Result<Option<(Vec<usize>, Break)>> {
        let mut found: Option<(Vec<usize>, Break)> = None;
        for table in (0..self.tables().len()).filter(|table| !but.contains(table)) {
            let Some(cause) = self.cause_of(table)? else { continue };
            let (tables, shared) = found.get_or_insert_with(|| (Vec::new(), cause));
            if *shared == cause {
                tables.push(table);
            }
        }
        Ok(found)
    }

    /// The how many-th time it is that each of these tables has to be compared by itself: a comparison that has
    /// begun for one of them ends no later one. `None` of a table that does not have to.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn marks(&self, tables: &[usize]) -> Result<Vec<Option<i64>>> {
        let sql =
            "SELECT coalesce(marked, 0) FROM dual_tracked WHERE name = ?1 AND compare IS NOT NULL";
        let of = |table: &usize| {
            let name = self.local(*table)?.table.name();
            let look = self.connection().prepare_cached(sql);
            let mark =
                look.and_then(|mut look| look.query_row([name], |row| row.get(0)).optional());
            mark.map_err(|cause| failed(OPERATION, cause))
        };
        tables.iter().map(of).collect()
    }

    /// Notes that the table has to be compared by itself.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn compare_alone(&self, table: usize, cause: Break) -> Result<()> {
        let cause = self.cause_of(table)?.map_or(cause, |before| before.graver(cause));
        let sql = "UPDATE dual_tracked SET compare = ?1, marked = coalesce(marked, 0) + 1 WHERE name = ?2";
        let name = self.local(table)?.table.name();
        self.execute(OPERATION, sql, &[&follow::cause_text(cause)?, &name]).map(|_| ())
    }

    /// Writes to these tables may have been missed in the file: they have to be compared by themselves, or all of
    /// them if they have to be in any case, so that what is suspected is suspected there. They are marked in either
    /// case: a comparison that is under way may be past the rows in question.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn has_gaps(&self, tables: &[usize]) -> Result<()> {
        tables.iter().try_for_each(|table| self.compare_alone(*table, Break::LocalGap))?;
        let mut node = self.node()?;
        if tables.is_empty() || matches!(node.follow, Follow::Following { .. }) {
            return Ok(());
        }
        if let Ok(follow) = node.follow.next(Event::Broken(Break::LocalGap)) {
            node.follow = follow;
            self.set_node(&node)?;
        }
        Ok(())
    }

    /// What has been written to these tables since the file had the position `upto`, and is pending, is as if it
    /// were written now: what the others have pushed meanwhile has moved the position of all. What was settled
    /// since is not pushed once more.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn waits_since(&self, tables: &[usize], upto: i64) -> Result<()> {
        for table in tables {
            let seq = self.next_seq()?;
            let sql = self.local(*table)?.layout.moved_behind();
            self.execute(OPERATION, &sql, &[&upto, &seq])?;
        }
        Ok(())
    }

    /// Lets the file's position be where it is now, if everything in the tables that follow has been pushed.
    /// What is pending in the others is given by their comparison.
    ///
    /// # Errors
    /// Those of [`Content::node`].
    pub(crate) fn passes_apart(&self) -> Result<()> {
        let mut node = self.node()?;
        if node.pushed < node.seq {
            node.pushed = node.seq;
            self.set_node(&node)?;
            self.passes_no_birth()?;
        }
        Ok(())
    }

    /// These tables have been compared. One that refers to another may have come before it, so what waits
    /// becomes due, all of it at once: rows that refer to each other go over together or not at all.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn compared(&self, tables: &[usize]) -> Result<()> {
        for table in tables {
            let name = self.local(*table)?.table.name();
            let sql = "UPDATE dual_tracked SET compare = NULL WHERE name = ?1";
            self.execute(OPERATION, sql, &[&name])?;
        }
        self.retry_all()
    }

    /// Lets an epoch that was followed speak of the tables that have come since: what they add, in their
    /// order, is given.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn count_relations(&self, epoch: &mut Epoch, adds: &[u64]) -> Result<()> {
        for (local, adds) in self.tables().iter().zip(adds) {
            let sql = "UPDATE dual_tracked SET relation = ?1 WHERE name = ?2 AND relation IS NULL \
                       AND paused IS NULL";
            if self.execute(OPERATION, sql, &[&adds.cast_signed(), &local.table.name()])? > 0 {
                epoch.relations = epoch.relations.wrapping_add(*adds);
            }
        }
        Ok(())
    }

    /// Whether the epoch that is followed speaks of each of these tables: not of one that was left alone, and is
    /// followed again, before somebody has met PostgreSQL with it.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn counts_all(&self) -> Result<bool> {
        let sql =
            "SELECT EXISTS (SELECT 1 FROM dual_tracked WHERE name = ?1 AND relation IS NOT NULL)";
        for local in self.tables() {
            let look = self.connection().prepare_cached(sql);
            let counts =
                look.and_then(|mut look| look.query_row([local.table.name()], |row| row.get(0)));
            if !counts.map_err(|cause| failed(OPERATION, cause))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Notes of which tables the epoch that is followed from now on speaks: of these, and no others.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn relations_are(&self, adds: &[u64]) -> Result<()> {
        self.execute(OPERATION, "UPDATE dual_tracked SET relation = NULL", &[])?;
        let sql = "UPDATE dual_tracked SET relation = ?1 WHERE name = ?2";
        for (local, adds) in self.tables().iter().zip(adds) {
            self.execute(OPERATION, sql, &[&adds.cast_signed(), &local.table.name()])?;
        }
        Ok(())
    }

    /// Whether the table has never been exchanged, in a file that follows.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn is_first_contact(&self, table: usize) -> Result<bool> {
        Ok(self.cause_of(table)? == Some(Break::FirstContact))
    }

    fn cause_of(&self, table: usize) -> Result<Option<Break>> {
        cause_of(self.connection(), self.local(table)?.table.name())
    }
}

/// Whether the file has the table, and has not been through it with PostgreSQL yet.
///
/// # Errors
/// As for [`Content::node`].
pub(crate) fn is_first_contact(connection: &Connection, table: &str) -> Result<bool> {
    Ok(cause_of(connection, table)? == Some(Break::FirstContact))
}

fn cause_of(connection: &Connection, table: &str) -> Result<Option<Break>> {
    let sql = "SELECT compare FROM dual_tracked WHERE name = ?1";
    let look = connection.prepare_cached(sql).and_then(|mut look| {
        look.query_row([table], |row| match row.get_ref(0)? {
            rusqlite::types::ValueRef::Null => Ok(None),
            _ => readable(row, 0).map(Some),
        })
        .optional()
    });
    let text: Option<String> = look.map_err(|cause| failed(OPERATION, cause))?.flatten();
    text.map(|text| follow::cause(&text)).transpose()
}
