//! A file that has met one PostgreSQL, as one that has met nobody: it is to join another.

use rusqlite::Connection;

use super::install::mend;
use super::layout::Layout;
use crate::Result;
use crate::schema::behind;
use crate::stamp::Stamp;
use crate::store::sqlite::failed;

/// Forgets what the table has agreed on with anybody. What is pending keeps its stamps, and is pending
/// towards whoever comes next: what that one has in its place was not seen here. Everything else is
/// taken in as what was there before anybody looked; of what was deleted, and given, nothing is
/// known any more.
///
/// # Errors
/// Those of [`failed`].
pub(crate) fn unmeet(connection: &Connection, layout: &Layout) -> Result<()> {
    let wrap = |cause| failed("forget what the SQLite file has met", cause);
    mend(connection, layout, None)?;
    connection.execute_batch(&layout.unmeet()).map_err(wrap)?;
    mend(connection, layout, None).map(|_| ())
}

impl Layout {
    /// Counts the rows in which something is pending.
    #[must_use]
    pub fn pending(&self) -> String {
        format!("SELECT count(*) FROM {} WHERE {}", self.sidecar, self.is_pending())
    }

    /// Looks whether there are such rows.
    #[must_use]
    pub fn any_pending(&self) -> String {
        format!("SELECT EXISTS (SELECT 1 FROM {} WHERE {})", self.sidecar, self.is_pending())
    }

    /// Gives the rows behind the position `?1` in which something is pending the position `?2`, and those that are
    /// settled the position `?1`.
    #[must_use]
    pub fn moved_behind(&self) -> String {
        let (sidecar, pending) = (&self.sidecar, self.is_pending());
        format!("UPDATE {sidecar} SET seq = CASE WHEN {pending} THEN ?2 ELSE ?1 END WHERE seq > ?1")
    }

    fn is_pending(&self) -> String {
        let bases = self.each(" OR ", |r| format!("{} IS NOT NULL", r.base));
        format!("(live_base IS NOT NULL{})", behind(" OR ", bases))
    }

    /// Rows of which nothing is pending go, to be taken in anew.
    fn unmeet(&self) -> String {
        let adopted = Stamp::ADOPTED_SQLITE.raw();
        let there = format!(" FROM {} AS u WHERE {}", self.target, self.is_of(&self.sidecar));
        let stamps = self.each(",\n  ", |r| {
            // A purge of theirs has lifted what an insert says nothing about.
            let unset = format!(
                "EXISTS (SELECT 1{there} AND {}) AND (live_base IS NULL OR coalesce({}, stamp) <= \
                 (SELECT horizon FROM dual_state))",
                r.silent("u"),
                r.stamp
            );
            format!(
                "{stamp} = CASE WHEN live_base IS NULL AND {base} IS NOT NULL \
                 THEN coalesce({stamp}, stamp) WHEN live = 1 AND {unset} THEN 0 \
                 WHEN live_base IS NOT NULL THEN {stamp} END",
                stamp = r.stamp,
                base = r.base,
            )
        });
        format!(
            "DELETE FROM {sidecar} WHERE NOT {pending};\n\
             UPDATE {sidecar} SET\n  \
             stamp = CASE WHEN live_base IS NULL THEN {adopted} ELSE stamp END, live_base = {base}{stamps}{zeros}",
            sidecar = self.sidecar,
            pending = self.is_pending(),
            stamps = behind(",\n  ", stamps),
            zeros = behind(",\n  ", self.each(", ", |r| format!("{} = 0", r.base))),
            // What was never offered to anybody is not what the next one has under its number.
            base = match self.is_automatic {
                true => format!("CASE live_base WHEN 0 THEN 0 ELSE {} END", self.adopted_base()),
                false => "0".to_owned(),
            },
        )
    }
}
