//! Writing what a merge has decided.

use std::borrow::Cow;

use super::super::failure::code_of;
use super::{Content, LocalRow, Side, Taken};
use crate::merge::{Absorbed, Conflict, RegisterId, Version};
use crate::protocol::{ConflictEntry, Quarantined};
use crate::schema::RowId;
use crate::stamp::Stamp;
use crate::value::plain_text;
use crate::{Error, Result};

/// When a row that SQLite refuses is tried again by itself, in milliseconds.
const RETRY_MS: i64 = 300_000;

impl Content<'_> {
    /// Writes what a merge has decided, with its entries in the conflict log, as the model's
    /// `Content::take` does. `incoming` is what was merged into `before`, for the images of what
    /// lost; `surrogate` is PostgreSQL's and wins; who has that number here gets a provisional
    /// one. What a trigger of the user's makes of the row stays pending.
    ///
    /// # Errors
    /// Those of [`super::super::failed`] that are not about the row.
    pub fn take(
        &self,
        id: &RowId,
        before: Option<&LocalRow>,
        incoming: Option<&Version>,
        absorbed: &Absorbed,
        surrogate: Option<i64>,
    ) -> Result<Taken> {
        self.take_over(id, (before, before), incoming, absorbed, surrogate)
    }

    /// The same of a row that is stored otherwise for the moment than it was `before`.
    pub(super) fn take_over(
        &self,
        id: &RowId,
        (before, stored): (Option<&LocalRow>, Option<&LocalRow>),
        incoming: Option<&Version>,
        absorbed: &Absorbed,
        surrogate: Option<i64>,
    ) -> Result<Taken> {
        let lives = absorbed.row.version.lives();
        let own = before.and_then(|row| row.surrogate);
        let surrogate = if lives { surrogate.or(own) } else { None };
        let touches = absorbed.changed || absorbed.other_is_behind || (lives && surrogate != own);
        if touches && self.take_row(id, stored, absorbed, surrogate)? == Taken::Refused {
            return Ok(Taken::Refused);
        }
        let now = crate::clock::now().as_millisecond();
        let images: Vec<&Version> =
            [Some(&absorbed.row.version), before.map(|row| &row.tracked.version), incoming]
                .into_iter()
                .flatten()
                .collect();
        let entries: Vec<ConflictEntry> =
            absorbed.conflicts.iter().map(|conflict| entry(id, *conflict, &images, now)).collect();
        self.log_conflicts(&entries)?;
        Ok(Taken::Done)
    }

    fn take_row(
        &self,
        id: &RowId,
        before: Option<&LocalRow>,
        absorbed: &Absorbed,
        surrogate: Option<i64>,
    ) -> Result<Taken> {
        let mut seq = before.map_or(0, |row| row.seq);
        if absorbed.other_is_behind && !self.waits(id, seq)? {
            seq = self.next_seq()?;
        }
        let surrogate = match surrogate {
            None if absorbed.row.version.live.value => self.provisional(id.table)?,
            other => other,
        };
        let taken = self.attempt(id, || {
            self.write_row(id, before, &absorbed.row, surrogate)?;
            self.write_sidecar_row(id, &absorbed.row, seq).map(|_| ())
        })?;
        if taken == Taken::Done {
            self.release(id, Side::Sqlite)?;
        }
        Ok(taken)
    }

    /// Does it with a row of the table; if that refuses it, nothing of it was done, and the row is in
    /// quarantine.
    pub(super) fn attempt(&self, id: &RowId, work: impl FnOnce() -> Result<()>) -> Result<Taken> {
        let operation = "write a row of the SQLite file";
        self.execute(operation, "SAVEPOINT dual_attempt", &[])?;
        match self.local(id.table)?.endless.attempt(operation, &id.key, work) {
            Ok(()) => {
                self.execute(operation, "RELEASE dual_attempt", &[])?;
                Ok(Taken::Done)
            }
            Err(error) if error.is_invalid_data() && !self.connection().is_autocommit() => {
                self.execute(operation, "ROLLBACK TO dual_attempt", &[])?;
                self.execute(operation, "RELEASE dual_attempt", &[])?;
                self.refuse(id, &error)?;
                Ok(Taken::Refused)
            }
            Err(error) => Err(error.about(self.name_of(id))),
        }
    }

    /// The file's table does not take the row: it is set aside.
    fn refuse(&self, id: &RowId, error: &Error) -> Result<()> {
        let now = crate::clock::now().as_millisecond();
        self.set_aside(&Quarantined {
            id: id.clone(),
            refused_by: Side::Sqlite,
            code: code_of(error).map_or_else(String::new, |code| code.to_string()),
            reason: error.message().to_owned(),
            since_ms: now,
            retry_ms: now.saturating_add(RETRY_MS),
        })
    }

    /// Whether the row is to be pushed as it is.
    fn waits(&self, id: &RowId, seq: i64) -> Result<bool> {
        let sql = "SELECT ?3 > pushed OR EXISTS (SELECT 1 FROM dual_quarantine \
                   WHERE name = ?1 AND key = ?2 AND refused_by = 'postgres') FROM dual_node";
        let name = self.local(id.table)?.table.name();
        self.connection()
            .prepare_cached(sql)
            .and_then(|mut look| look.query_row((name, &id.key, seq), |row| row.get(0)))
            .map_err(|cause| super::super::failed("read what is pending", cause))
    }
}

/// An entry for the conflict log, its images from the versions that the merge has seen, the one
/// that stands first.
pub(super) fn entry(
    id: &RowId,
    conflict: Conflict,
    images: &[&Version],
    noted_ms: i64,
) -> ConflictEntry {
    let winning = images.iter().find_map(|version| image(version, conflict, conflict.winner));
    let losing = images.iter().find_map(|version| {
        image(version, conflict, conflict.loser).filter(|image| Some(image) != winning.as_ref())
    });
    ConflictEntry {
        id: id.clone(),
        conflict,
        winning: winning.flatten(),
        losing: losing.flatten(),
        noted_ms,
        reviewed: false,
    }
}

/// What that version has in the register, if it carries the stamp.
fn image(version: &Version, conflict: Conflict, stamp: Stamp) -> Option<Option<String>> {
    match conflict.register {
        RegisterId::Live | RegisterId::Number => {
            (version.live.stamp == stamp).then(|| version.live.value.then(|| "1".to_owned()))
        }
        // A delete that took the whole row has no value in it.
        RegisterId::Column(_) if !version.live.value => {
            (version.live.stamp == stamp).then_some(None)
        }
        RegisterId::Column(at) => {
            let column = version.columns.get(at).filter(|column| column.stamp == stamp)?;
            Some(plain_text(&column.value).map(Cow::into_owned))
        }
    }
}
