//! Reading rows with their sidecar.

use rusqlite::types::Value as Stored;
use rusqlite::{Row, params_from_iter};

use super::super::capture::{damaged, stamp};
use super::super::{failed, from_sqlite};
use super::{Content, LocalRow, LocalTable, Pending};
use crate::Result;
use crate::merge::{Bases, Register, Tracked, Version};
use crate::schema::{Key, RowId};
use crate::stamp::{Stamp, Writer};
use crate::store::sqlite::stored;
use crate::value::{PORTION, Value};

const OPERATION: &str = "read rows of the SQLite file";

/// So many rows of a table that were refused are tried again at once: enough for those that refer to each other,
/// and can only go together. The others come with a later push.
const RETRIED: i64 = 10_000;

/// Rows of a table.
type Rows = Vec<(RowId, LocalRow)>;

impl Content<'_> {
    /// The row as table and sidecar have it together, dead ones included; `None` for a key never seen.
    /// One that came past the triggers is as it would be noted ([`Content::captured`]).
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn row(&self, id: &RowId) -> Result<Option<LocalRow>> {
        let wrap = |cause| failed(OPERATION, cause);
        let local = self.local(id.table)?;
        let mut look = self.connection().prepare_cached(&local.statements.row).map_err(wrap)?;
        let mut found = look.query([&id.key]).map_err(wrap)?;
        let Some(row) = found.next().map_err(wrap)? else { return Ok(None) };
        decode(local, row, true).map(|(_, row)| Some(row))
    }

    /// The sidecar's rows of that table with keys above `after` and up to `upto`, in key order,
    /// at most `limit` and about a [`PORTION`]; and with which key they end, if not with `upto` or
    /// the table.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn range(
        &self,
        table: usize,
        after: Option<&Key>,
        upto: Option<&Key>,
        limit: usize,
    ) -> Result<(Rows, Option<Key>)> {
        self.range_within(table, (after, upto), limit, PORTION)
    }

    /// The same, at most about `most` bytes of texts.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn range_within(
        &self,
        table: usize,
        (after, upto): (Option<&Key>, Option<&Key>),
        limit: usize,
        most: usize,
    ) -> Result<(Rows, Option<Key>)> {
        let key = &self.local(table)?.layout.own_key;
        let mut values = vec![Stored::Integer(i64::try_from(limit).unwrap_or(i64::MAX))];
        values.extend(after.into_iter().chain(upto).map(stored));
        let which = format!(
            "WHERE {} ORDER BY {} LIMIT ?1",
            key.bounded("s", [after, upto].map(|bound| bound.is_some()), 2),
            key.order("s", "")
        );
        let rows = self.select_some(table, &which, &values, most)?;
        let is_full = rows.len() >= limit || bytes(&rows) >= most;
        let end = rows.last().map(|(id, _)| id.key.clone()).filter(|_| is_full);
        Ok((rows, end))
    }

    /// Whether something is pending that is not in quarantine, in the tables that follow.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn is_pending(&self) -> Result<bool> {
        let apart = self.apart()?;
        let follows = |(at, local)| (!apart.contains(&at)).then_some(local);
        for local in self.tables().iter().enumerate().filter_map(follows) {
            if self.how_many(&format!("SELECT EXISTS (SELECT 1 {})", waiting(local)), local)? > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the file knows of any row of the table, alive or dead.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn knows_any(&self, table: usize) -> Result<bool> {
        let sidecar = &self.local(table)?.layout.sidecar;
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {sidecar})");
        let look = self.connection().prepare_cached(&sql);
        let found = look.and_then(|mut look| look.query_row([], |row| row.get(0)));
        found.map_err(|cause| failed(OPERATION, cause))
    }

    /// How many rows are pending, those in quarantine not counted.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn pending_count(&self) -> Result<u64> {
        self.pending_besides(&[])
    }

    /// The same, those of the tables `apart` not counted.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn pending_besides(&self, apart: &[usize]) -> Result<u64> {
        let mut sum = 0;
        let is_meant = |(at, local)| (!apart.contains(&at)).then_some(local);
        for local in self.tables().iter().enumerate().filter_map(is_meant) {
            let count = self.how_many(&format!("SELECT count(*) {}", waiting(local)), local)?;
            sum += u64::try_from(count).unwrap_or(0);
        }
        Ok(sum)
    }

    /// The same, whatever position the file has come to: of tables that were left out of that.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn unmet_count(&self) -> Result<u64> {
        let count = |local: &LocalTable| {
            let look = self.connection().prepare_cached(&local.layout.pending());
            let count = look.and_then(|mut look| look.query_row([], |row| row.get::<_, i64>(0)));
            count.map(i64::unsigned_abs).map_err(|cause| failed(OPERATION, cause))
        };
        self.tables().iter().map(count).sum()
    }

    /// Whether something is pending in the table, whatever position the file has come to.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn has_unmet(&self, table: usize) -> Result<bool> {
        let sql = self.local(table)?.layout.any_pending();
        let look = self.connection().prepare_cached(&sql);
        let found = look.and_then(|mut look| look.query_row([], |row| row.get(0)));
        found.map_err(|cause| failed(OPERATION, cause))
    }

    /// The tables that follow of which more than `most` rows are pending, or more of texts than is held at
    /// once, the largest of them not counted.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn exceeding(&self, most: u32) -> Result<Vec<usize>> {
        let (apart, mut exceeding) = (self.apart()?, Vec::new());
        let follows = |(at, _): &(usize, &LocalTable)| !apart.contains(at);
        for (at, local) in self.tables().iter().enumerate().filter(follows) {
            let (layout, rest) = (&local.layout, waiting(local));
            let sql = format!(
                "SELECT count(*) > {most} OR coalesce(sum(bytes) - max(bytes), 0) > {PORTION} FROM (SELECT \
                 (SELECT {} FROM {} AS u WHERE {}) AS bytes {rest} LIMIT {most} + 1)",
                local.statements.bytes,
                layout.target,
                layout.is_of("s")
            );
            if self.how_many(&sql, local)? > 0 {
                exceeding.push(at);
            }
        }
        Ok(exceeding)
    }

    /// What is to be pushed now: of the tables that follow, and not the births whose numbers PostgreSQL has not
    /// been asked for.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn to_push(&self, now_ms: i64) -> Result<Pending> {
        let mut pending = self.pending_in(now_ms, &self.apart()?)?;
        pending.rows.retain(|(id, row)| !self.is_unsent(id, &row.tracked));
        Ok(pending)
    }

    /// What is pending: rows above `pushed`, and due ones of the quarantine, so many of each table as go at once,
    /// those that have waited longest (all of them with `all`). `now_ms` by this machine's clock. Rows that cannot be carried are among
    /// them, for the caller to set aside.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn pending(&self, now_ms: i64, all: bool) -> Result<Pending> {
        self.pending_in(if all { i64::MAX } else { now_ms }, &[])
    }

    fn pending_in(&self, due: i64, apart: &[usize]) -> Result<Pending> {
        let mut rows = Vec::new();
        let is_meant = |(at, _): &(usize, &LocalTable)| !apart.contains(at);
        for (table, local) in self.tables().iter().enumerate().filter(is_meant) {
            let name = Stored::Text(local.table.name().into());
            let own = &local.layout.own_key;
            let order = own.order("s", "");
            let which =
                format!("WHERE s.seq > (SELECT pushed FROM dual_node) ORDER BY s.seq, {order}");
            rows.extend(self.select(table, &which, &[])?);
            let (most, bytes) = match due {
                i64::MAX => (i64::MAX, usize::MAX),
                _ => (RETRIED, PORTION),
            };
            let which = format!(
                "WHERE s.seq <= (SELECT pushed FROM dual_node) AND {} ORDER BY s.seq, {order} LIMIT {most}",
                own.within(
                    "s",
                    "q.key",
                    "dual_quarantine AS q \
                     WHERE q.name = ?1 AND q.refused_by = 'postgres' AND q.retry <= ?2",
                )
            );
            let values = [name, Stored::Integer(due)];
            rows.extend(self.select_some(table, &which, &values, bytes)?);
        }
        rows.sort_by(|(one, a), (other, b)| (a.seq, one).cmp(&(b.seq, other)));
        Ok(Pending { rows, upto: super::super::capture::state(self.connection())?.seq })
    }

    fn how_many(&self, sql: &str, local: &LocalTable) -> Result<i64> {
        self.connection()
            .prepare_cached(sql)
            .and_then(|mut look| look.query_row([local.table.name()], |row| row.get(0)))
            .map_err(|cause| failed(OPERATION, cause))
    }

    pub(super) fn select(&self, table: usize, which: &str, values: &[Stored]) -> Result<Rows> {
        self.select_some(table, which, values, usize::MAX)
    }

    /// The same, up to the row with which there are so many bytes of texts.
    fn select_some(
        &self,
        table: usize,
        which: &str,
        values: &[Stored],
        most: usize,
    ) -> Result<Rows> {
        let wrap = |cause| failed(OPERATION, cause);
        let local = self.local(table)?;
        let sql = format!("{} {which}", local.statements.select);
        let mut statement = self.connection().prepare_cached(&sql).map_err(wrap)?;
        let mut found = statement.query(params_from_iter(values)).map_err(wrap)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while bytes < most
            && let Some(row) = found.next().map_err(wrap)?
        {
            let (key, row) = decode(local, row, false)?;
            bytes += row.tracked.version.bytes();
            rows.push((RowId { table, key }, row));
        }
        Ok(rows)
    }
}

fn bytes(rows: &[(RowId, LocalRow)]) -> usize {
    rows.iter().map(|(_, row)| row.tracked.version.bytes()).sum()
}

/// The rows that are to be pushed; `?1` is the table's name.
fn waiting(local: &LocalTable) -> String {
    format!(
        "FROM {} AS s WHERE s.seq > (SELECT pushed FROM dual_node) AND NOT EXISTS \
         (SELECT 1 FROM dual_quarantine AS q \
          WHERE q.name = ?1 AND q.key = {} AND q.refused_by = 'postgres')",
        local.layout.sidecar,
        local.layout.own_key.given("s")
    )
}

/// The row of [`super::statements::Statements::select`]. `as_it_stands`: of a row that was loaded past
/// the triggers the table is believed, not the sidecar that has it as dead.
fn decode(local: &LocalTable, row: &Row<'_>, as_it_stands: bool) -> Result<(Key, LocalRow)> {
    let wrap = |cause| failed(OPERATION, cause);
    let number = |at: usize| row.get::<_, Option<i64>>(at).map_err(wrap);
    let stamped = |at| number(at)?.map(|raw| stamp(raw, OPERATION)).transpose();
    let needed = |at| -> Result<Stamp> { stamped(at)?.ok_or_else(|| damaged(OPERATION)) };
    let integer = |at| -> Result<i64> { number(at)?.ok_or_else(|| damaged(OPERATION)) };
    let count = local.layout.registers.len();
    let live = Register { value: integer(1)? != 0, stamp: needed(2)? };
    let mut bases = Bases { live: stamped(4)?, columns: Vec::with_capacity(count) };
    let mut columns = Vec::with_capacity(count);
    let data = 5 + 2 * count;
    let is_there = !row.get_ref(data).map_err(wrap)?.data_type().eq(&rusqlite::types::Type::Null);
    let key = row.get(0).map_err(wrap)?;
    let (seq, is_unknown) = (integer(3)?.max(0), integer(3)? < 0);
    // The sidecar has it as a row of which nothing is known, or the row was taken away since.
    let is_noted = live.value && live.stamp == Stamp::ZERO;
    let loaded = is_there && (is_noted || !live.value);
    let live = match loaded && as_it_stands {
        true => Register { value: true, stamp: live.stamp.next(Writer::POSTGRES) },
        false => live,
    };
    if live.value && (live.stamp == Stamp::ZERO || !is_there) {
        let tracked = Tracked::settled(Version::absent(local.defaults.len()));
        let (surrogate, unreadable, is_loose) = (None, None, loaded || !is_noted);
        return Ok((key, LocalRow { tracked, surrogate, seq, unreadable, is_loose }));
    }
    let mut unreadable = None;
    for (at, column) in local.table.data_columns().enumerate() {
        let stored = row.get_ref(data + 2 + at).map_err(wrap)?;
        let value = from_sqlite(&column.kind, stored).unwrap_or_else(|_| {
            unreadable.get_or_insert(at);
            Value::Null
        });
        let stamp = if loaded && as_it_stands { live.stamp } else { needed(5 + 2 * at)? };
        columns.push(Register { stamp, value });
        bases.columns.push(stamped(6 + 2 * at)?);
    }
    let surrogate = match row.get_ref(data + 1).map_err(wrap)? {
        rusqlite::types::ValueRef::Integer(number) if live.value => Some(number),
        _ => None,
    };
    if !live.value {
        unreadable = None;
    }
    let version = Version { live, columns }.stored(&local.defaults);
    let tracked = Tracked { version, bases };
    let is_loose = loaded || is_unknown;
    Ok((key, LocalRow { tracked, surrogate, seq, unreadable, is_loose }))
}
