//! What keeps failing: kept in the file, so that every process of it can tell.

use super::super::failed;
use super::Content;
use crate::{Result, Store};

const OPERATION: &str = "use the list of what fails in the SQLite file";

/// A step of the exchange that has failed, until a round comes to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// What was being done.
    pub step: String,
    /// On which side.
    pub store: Store,
    /// Why, with its causes, without values and secrets.
    pub message: String,
    /// What a person can do.
    pub hint: Option<String>,
    /// Whether the side did not answer. Otherwise it does, and it does not get on.
    pub is_away: bool,
    /// When it failed for the first time, in milliseconds since 1970.
    pub since_ms: i64,
    /// When it failed last.
    pub last_ms: i64,
    /// How often.
    pub times: u64,
}

impl Content<'_> {
    /// The step has failed at `now_ms`, once more or for the first time.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn note_failing(
        &self,
        step: &str,
        store: Store,
        message: &str,
        hint: Option<&str>,
        is_away: bool,
        now_ms: i64,
    ) -> Result<()> {
        self.execute(
            OPERATION,
            "INSERT INTO dual_failing (step, store, message, hint, away, since, last, times) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 1) \
             ON CONFLICT (step) DO UPDATE SET store = excluded.store, message = excluded.message, \
               hint = excluded.hint, away = excluded.away, last = excluded.last, times = times + 1",
            &[&step, &name(store), &message, &hint, &is_away, &now_ms],
        )
        .map(|_| ())
    }

    /// The step `apart` has succeeded, or (`is_apart` false) everything else has: what failed
    /// there before does no more.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn fails_no_more(&self, apart: &str, is_apart: bool) -> Result<()> {
        let sql = "DELETE FROM dual_failing WHERE (step = ?1) = ?2";
        self.execute(OPERATION, sql, &[&apart, &is_apart]).map(|_| ())
    }

    /// What fails, the last one first.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn failing(&self) -> Result<Vec<Failing>> {
        let wrap = |cause| failed(OPERATION, cause);
        let sql = "SELECT step, store, message, hint, away, since, last, times \
                   FROM dual_failing ORDER BY last DESC";
        let mut look = self.connection().prepare_cached(sql).map_err(wrap)?;
        let rows = look.query_map([], |row| {
            Ok(Failing {
                step: row.get(0)?,
                store: store(&row.get::<_, String>(1)?),
                message: row.get(2)?,
                hint: row.get(3)?,
                is_away: row.get(4)?,
                since_ms: row.get(5)?,
                last_ms: row.get(6)?,
                times: row.get::<_, i64>(7)?.unsigned_abs(),
            })
        });
        rows.and_then(Iterator::collect).map_err(wrap)
    }
}

fn name(store: Store) -> &'static str {
    match store {
        Store::Postgres => "postgres",
        Store::Sqlite => "sqlite",
    }
}

fn store(name: &str) -> Store {
    if name == "sqlite" { Store::Sqlite } else { Store::Postgres }
}
