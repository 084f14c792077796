//! Whether both stores have the same: every column of every living row, in canonical form.
//!
//! The tables are walked in parts of `PART` rows by key. Of each part both sides make a digest
//! of the same bytes ([`crate::value::RangeHasher`]); rows are looked at, as digests of their
//! own, only where those differ. Memory does not grow with the tables.
//!
//! Both sides are never seen at one moment, and others write meanwhile. So a difference counts
//! only if it stands: the same contents of a column on both sides in two looks, between which
//! everything that the first had seen was exchanged. One that changes from look to look is being
//! written, not forgotten.
//!
//! Rows in quarantine are no difference that anybody could mend by an exchange: they are left out and
//! counted, and both sides are not called equal while there are any. A value that cannot be carried equals nothing.

mod look;
mod part;

use std::sync::Arc;

use crate::Result;
use crate::protocol::SetBack;
use crate::schema::Key;
use crate::stamp::Stamp;
use crate::store::postgres::primary::Pool;
use crate::store::sqlite::replica::{Content, Paused, Replica};

pub(crate) use look::Looks;
pub(crate) use part::{Part, Sides};

/// So many rows of either side are compared at once.
pub(crate) const PART: i64 = 5_000;

/// How many differing keys of a table are named.
const NAMED: usize = 20;

/// What a comparison found in a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableDifference {
    /// The table.
    pub table: Arc<str>,
    /// Living rows in PostgreSQL.
    pub rows_postgres: u64,
    /// Living rows in the file.
    pub rows_sqlite: u64,
    /// Rows on both sides that differ.
    pub different: u64,
    /// Rows that only PostgreSQL has.
    pub only_postgres: u64,
    /// Rows that only the file has.
    pub only_sqlite: u64,
    /// Rows that were left out because one side refuses them.
    pub quarantined: u64,
    /// Rows of PostgreSQL whose stamps lie in the future by its clock, or are none: until
    /// `repair_stamps` sets them back they win over what is written later by whoever has not seen them.
    pub ahead_postgres: u64,
    /// The same of the file, by PostgreSQL's clock.
    pub ahead_sqlite: u64,
    /// The first keys that differ, at most 20.
    pub keys: Vec<Key>,
}

impl TableDifference {
    /// Whether both sides have the same in this table: nothing differs, nothing is set aside.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        !self.differs() && self.quarantined == 0
    }

    /// Whether rows differ that are not in quarantine.
    #[must_use]
    pub fn differs(&self) -> bool {
        (self.different, self.only_postgres, self.only_sqlite) != (0, 0, 0)
    }
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Both sides are equal in every table: nothing differs, nothing is in quarantine, none is left alone.
    pub equal: bool,
    /// Per table.
    pub tables: Vec<TableDifference>,
    /// Tables that are left alone, and were not compared.
    pub paused: Vec<Paused>,
    /// The purge horizon of a side, below which deletes are forgotten, lies in the future.
    pub horizon_ahead: bool,
    /// The latest time that a stamp of the future tells, in milliseconds since 1970.
    pub ahead_until_ms: Option<i64>,
}

impl Verification {
    /// Whether nothing was found: both sides are equal, and no stamp lies in the future.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.equal && !self.is_ahead()
    }

    /// Whether something lies in the future.
    #[must_use]
    pub fn is_ahead(&self) -> bool {
        let is_ahead = |one: &TableDifference| one.ahead_postgres + one.ahead_sqlite > 0;
        self.horizon_ahead || self.tables.iter().any(is_ahead)
    }
}

/// Compares both stores. `exchange` runs push and pull until nothing is pending either way that
/// was there when it was called; it is called before the first look and again wherever the two
/// sides differ. [`Pool::prepare`] must have been called.
///
/// # Errors
/// What `exchange` answers; those of reading either side. Nothing is said about the rows then.
pub async fn compare<E: Future<Output = Result<()>>>(
    pool: &Pool,
    replica: &Replica,
    exchange: impl Fn() -> E,
) -> Result<Verification> {
    exchange().await?;
    let file = replica.read("compare both stores", |content| content.node()).await?.file;
    let session = pool.get().await?;
    let sides = Sides { primary: session.primary(file)?, replica };
    let mut tables = Vec::new();
    for (at, local) in replica.tables().iter().enumerate() {
        let mut found = TableDifference { table: local.table.shared_name(), ..Default::default() };
        let mut after: Option<Key> = None;
        loop {
            let part = sides.part(at, after.as_ref(), PART).await?;
            table_part(&sides, &part, &exchange, &mut found).await?;
            match part.upto {
                Some(upto) => after = Some(upto),
                None => break,
            }
        }
        found.quarantined += sides.quarantined(at).await?;
        tables.push(found);
    }
    let equal = tables.iter().all(TableDifference::is_equal);
    let paused = Vec::new();
    let mut found =
        Verification { equal, tables, paused, horizon_ahead: false, ahead_until_ms: None };
    look_ahead(&sides, &mut found).await?;
    Ok(found)
}

/// Counts what lies in the future, by PostgreSQL's clock.
async fn look_ahead(sides: &Sides<'_>, found: &mut Verification) -> Result<()> {
    let header = sides.primary.header().await?;
    let limit = SetBack::limit(header.now_ms);
    let there = sides.primary.ahead(limit).await?;
    let look = move |content: &Content<'_>| Ok((content.ahead(limit)?, content.node()?.horizon));
    let (here, horizon) = sides.replica.read("look for stamps of the future", look).await?;
    let horizon = horizon.max(header.horizon);
    found.horizon_ahead = horizon > limit;
    let highest = there.iter().chain(&here).filter_map(|table| table.highest).max();
    let highest = highest.max(Some(horizon)).filter(|stamp| *stamp > limit);
    found.ahead_until_ms = highest.map(Stamp::unix_ms);
    for (table, (there, here)) in found.tables.iter_mut().zip(there.into_iter().zip(here)) {
        (table.ahead_postgres, table.ahead_sqlite) = (there.rows, here.rows);
    }
    Ok(())
}

/// One part: by its digests, and if those differ by its rows, until each difference stands or
/// is gone.
async fn table_part<E: Future<Output = Result<()>>>(
    sides: &Sides<'_>,
    part: &Part,
    exchange: &impl Fn() -> E,
    found: &mut TableDifference,
) -> Result<()> {
    let (there, here) = sides.digests(part).await?;
    if there == here {
        found.rows_postgres += there.rows;
        found.rows_sqlite += here.rows;
        return Ok(());
    }
    let mut looks = Looks::default();
    loop {
        let (there, here) = sides.rows(part).await?;
        let set_aside = sides.set_aside(part, &there).await?;
        if looks.look(&there, &here, &set_aside) {
            found.rows_postgres += there.count();
            found.rows_sqlite += here.count();
            looks.count(found);
            return Ok(());
        }
        exchange().await?;
    }
}
