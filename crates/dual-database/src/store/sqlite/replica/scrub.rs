//! Where the background verification stands.

use rusqlite::types::ValueRef;

use super::super::{failed, readable};
use super::Content;
use crate::Result;
use crate::schema::Key;

const OPERATION: &str = "read the state of the SQLite file";

/// Where the background verification of the file stands, and what the last full pass has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scrub {
    /// The table that is looked at.
    pub table: usize,
    /// The key after which the next part begins.
    pub after: Option<Key>,
    /// Parts that this pass has looked at.
    pub parts: i64,
    /// Rows that it has found to differ.
    pub found: u64,
    /// Parts of the last full pass.
    pub parts_before: Option<i64>,
    /// When that ended, in milliseconds since 1970.
    pub ended_ms: Option<i64>,
    /// Rows that it has found to differ, which were then compared.
    pub found_before: u64,
}

impl Scrub {
    /// Whether no pass is under way.
    #[must_use]
    pub(crate) fn is_at_start(&self) -> bool {
        self.table == 0 && self.after.is_none()
    }

    /// The state after a part that ends with the key `upto`, or with its table.
    #[must_use]
    pub fn after(
        self,
        table: usize,
        upto: Option<Key>,
        tables: usize,
        different: u64,
        now_ms: i64,
    ) -> Scrub {
        let table = table + usize::from(upto.is_none());
        let (parts, found) = (self.parts + 1, self.found + different);
        if table < tables {
            return Scrub { table, after: upto, parts, found, ..self };
        }
        Scrub {
            parts_before: Some(parts),
            ended_ms: Some(now_ms),
            found_before: found,
            ..Scrub::default()
        }
    }
}

impl Content<'_> {
    /// Where the background verification stands.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn scrub(&self) -> Result<Scrub> {
        let sql = "SELECT at_table, after, parts, found, parts_before, ended, found_before \
                   FROM dual_scrub";
        let wrap = |cause| failed(OPERATION, cause);
        let mut look = self.connection().prepare_cached(sql).map_err(wrap)?;
        let mut rows = look.query([]).map_err(wrap)?;
        let Some(row) = rows.next().map_err(wrap)? else { return Ok(Scrub::default()) };
        let count = |at| row.get::<_, i64>(at).map(i64::unsigned_abs).map_err(wrap);
        // A pass that was in a table which is not followed any more begins anew. (A name of digits is kept as
        // a number.)
        let name: Option<String> = match row.get_ref(0).map_err(wrap)? {
            ValueRef::Integer(number) => Some(number.to_string()),
            ValueRef::Text(_) => Some(readable(row, 0).map_err(wrap)?),
            ValueRef::Null | ValueRef::Real(_) | ValueRef::Blob(_) => None,
        };
        let table = name.and_then(|name| self.position(&name));
        let of_pass = |found: Scrub| if table.is_some() { found } else { Scrub::default() };
        let pass = of_pass(Scrub {
            table: table.unwrap_or_default(),
            after: row.get(1).map_err(wrap)?,
            parts: row.get(2).map_err(wrap)?,
            found: count(3)?,
            ..Scrub::default()
        });
        Ok(Scrub {
            parts_before: row.get(4).map_err(wrap)?,
            ended_ms: row.get(5).map_err(wrap)?,
            found_before: count(6)?,
            ..pass
        })
    }

    /// Notes it.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn set_scrub(&self, state: &Scrub) -> Result<()> {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let table = self.local(state.table)?.table.name();
        self.execute(
            "write the state of the SQLite file",
            "INSERT OR REPLACE INTO dual_scrub \
             (one, at_table, after, parts, found, parts_before, ended, found_before) \
             VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            &[
                &table,
                &state.after,
                &state.parts,
                &number(state.found),
                &state.parts_before,
                &state.ended_ms,
                &number(state.found_before),
            ],
        )
        .map(|_| ())
    }
}
