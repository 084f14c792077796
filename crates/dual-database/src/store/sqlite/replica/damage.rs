//! What was lost with damaged files, until a person has seen it. It is kept in the file that was
//! made anew, and goes along if that one is damaged or lost in its turn.

use super::super::failed;
use super::{Content, Damage};
use crate::Result;

const OPERATION: &str = "use the list of damages of the SQLite file";

const COLUMNS: &str = "aside, noted, taken, unreadable, refused";

impl Content<'_> {
    /// Notes a damage; of the same file only once.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(super) fn note_damage(&self, damage: &Damage) -> Result<()> {
        let sql = format!(
            "INSERT INTO dual_damage ({COLUMNS}, reviewed) SELECT ?1, ?2, ?3, ?4, ?5, 0 \
             WHERE NOT EXISTS (SELECT 1 FROM dual_damage WHERE aside = ?1)"
        );
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.execute(
            OPERATION,
            &sql,
            &[
                &damage.aside,
                &damage.noted_ms,
                &number(damage.taken),
                &damage.unreadable.map(number),
                &number(damage.refused),
            ],
        )
        .map(|_| ())
    }

    /// The damages that no person has seen, the oldest first.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn damage(&self) -> Result<Vec<Damage>> {
        let wrap = |cause| failed(OPERATION, cause);
        let sql = format!("SELECT {COLUMNS} FROM dual_damage WHERE reviewed = 0 ORDER BY noted");
        let mut look = self.connection().prepare_cached(&sql).map_err(wrap)?;
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let rows = look.query_map([], |row| {
            Ok(Damage {
                aside: row.get(0)?,
                noted_ms: row.get(1)?,
                taken: count(row.get(2)?),
                unreadable: row.get::<_, Option<i64>>(3)?.map(count),
                refused: count(row.get(4)?),
            })
        });
        rows.and_then(Iterator::collect).map_err(wrap)
    }

    /// A person has seen these; says how many were new.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn review_damage(&self) -> Result<u64> {
        let sql = "UPDATE dual_damage SET reviewed = 1 WHERE reviewed = 0";
        Ok(self.execute(OPERATION, sql, &[])? as u64)
    }
}
