//! Keeping numbers for births of a file: each its own, if nobody else has it, or a fresh one.
//!
//! What is kept is a tombstone in the sidecar, under the file's number: whoever else asks finds it, the
//! row's push replaces it, and a file whose answer was lost finds its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_postgres::types::Type;

use super::Primary;
use crate::protocol::{Epoch, NumberVerdict, NumberView, Reservation, Surrogate};
use crate::schema::{EQUALS, RowId};
use crate::stamp::{Stamp, Writer, captured};
use crate::store::postgres::Parameter;
use crate::store::postgres::answer::column;
use crate::store::postgres::primary::RemoteTable;
use crate::{Error, Kind, Result, Store};

const OPERATION: &str = "reserve numbers at PostgreSQL";

/// The sequence of the column `$2` of the table `$1`: that of its default, whoever owns it, or the column's own.
pub(super) const SEQUENCE: &str = "coalesce((SELECT p.refobjid::regclass::text FROM pg_attribute AS a \
       JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
       JOIN pg_depend AS p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid \
         AND p.refclassid = 'pg_class'::regclass \
       JOIN pg_sequence AS q ON q.seqrelid = p.refobjid \
     WHERE a.attrelid = to_regclass($1) AND a.attname = $2 LIMIT 1), \
     pg_get_serial_sequence($1, $2))";

/// How often fresh numbers are asked for that turn out to be in use.
const LOOKS: usize = 1_000;

/// What has become of births that were asked about.
#[derive(Clone, Debug, Default)]
pub struct Reserved {
    /// The numbers that are kept for them.
    pub kept: Vec<(RowId, Reservation)>,
    /// Those of a table that has none to give, and why.
    pub refused: Vec<(RowId, Arc<Error>)>,
    /// The surrogates of rows that were asked for theirs.
    pub surrogates: Vec<(RowId, Surrogate)>,
}

/// The sequence of a table's key.
pub(super) struct Sequence {
    pub(super) name: String,
    /// The last number that it has handed out.
    pub(super) handed_out: i64,
    /// As far as counting can come.
    pub(super) most: i64,
    /// It may be let go on behind a number.
    pub(super) may_be_set: bool,
}

impl Primary<'_> {
    /// Keeps for each of these births of a file, whose triggers have that number, its own number or a
    /// fresh one, in one transaction. A fresh one lies behind the `highest` that a row of the file has: what is kept
    /// there would be that row's. `None`: it is not the server any more that the file follows.
    ///
    /// # Errors
    /// As for [`Primary::push`].
    pub async fn reserve(
        &self,
        asked: &[RowId],
        highest: &BTreeMap<usize, i64>,
        writer: Writer,
        followed: &Epoch,
    ) -> Result<Option<Reserved>> {
        match Box::pin(self.reserve_in(asked, highest, writer, followed)).await {
            Ok(None) => {
                self.leave(OPERATION).await;
                Ok(None)
            }
            reserved => self.end(reserved, OPERATION).await,
        }
    }

    async fn reserve_in(
        &self,
        asked: &[RowId],
        highest: &BTreeMap<usize, i64>,
        writer: Writer,
        followed: &Epoch,
    ) -> Result<Option<Reserved>> {
        let written = asked.iter().map(|id| id.table);
        let (server, epoch) = self.server(None, false, written).await?;
        if !epoch.is_server_of(followed) {
            return Ok(None);
        }
        let stamp = captured(server.now_ms, server.horizon, writer);
        let mut reserved = Reserved::default();
        for (at, table) in self.tables.iter().enumerate() {
            let of = asked.iter().filter(|id| id.table == at);
            let numbers: BTreeSet<i64> = of.filter_map(|id| id.key.number()).collect();
            if numbers.is_empty() {
                continue;
            }
            let id = |own: i64| RowId { table: at, key: own.into() };
            let highest = highest.get(&at).copied().unwrap_or_default();
            let work = self.reserve_of(table, numbers.clone(), highest, (writer, stamp));
            match self.apart(work, OPERATION).await? {
                Ok(kept) => {
                    reserved.kept.extend(kept.into_iter().map(|(own, kept)| (id(own), kept)));
                }
                Err(error) => {
                    let why = Arc::new(error);
                    let all = numbers.into_iter().map(|own| (id(own), Arc::clone(&why)));
                    reserved.refused.extend(all);
                }
            }
        }
        Ok(Some(reserved))
    }

    /// This work on the numbers of one table: what is wrong with them is no other table's. The inner error is what
    /// it was refused for, alone. (The next savepoint covers this one: releasing it were a round trip.)
    ///
    /// # Errors
    /// What is wrong with more than the table.
    pub(super) async fn apart<T>(
        &self,
        work: impl Future<Output = Result<T>>,
        operation: &'static str,
    ) -> Result<Result<T>> {
        self.session.batch(operation, "SAVEPOINT dual_numbers").await?;
        match work.await {
            Err(error) if is_about_numbers(&error) && !self.session.is_closed() => {
                self.session.batch(operation, "ROLLBACK TO SAVEPOINT dual_numbers").await?;
                self.session.trust();
                Ok(Err(error))
            }
            done => done.map(Ok),
        }
    }

    async fn reserve_of(
        &self,
        table: &RemoteTable,
        numbers: BTreeSet<i64>,
        highest: i64,
        (writer, stamp): (Writer, Stamp),
    ) -> Result<BTreeMap<i64, Reservation>> {
        let sequence = self.sequence_behind(table, &numbers).await?;
        // Whoever takes a number from here on gets another one; who has taken one before, and has not
        // committed, writes to the table.
        let is_written = self.is_written(table).await?;
        let handed_out = sequence.as_ref().map_or(i64::MAX, |sequence| sequence.handed_out);
        let is_fixed = sequence.as_ref().is_some_and(|sequence| !sequence.may_be_set);
        let mut kept = BTreeMap::new();
        let (mut free, mut taken) = (Vec::new(), Vec::new());
        for (number, view) in self.views(table, &numbers).await? {
            // A sequence that may not be set comes to what lies before it.
            let may_come = is_written && number <= handed_out || is_fixed && number > handed_out;
            match (NumberView { may_come, ..view }).judge(writer) {
                NumberVerdict::Reserved(stamp) => {
                    kept.insert(number, Reservation { number, stamp });
                }
                NumberVerdict::Free => free.push(number),
                NumberVerdict::Taken => taken.push(number),
            }
        }
        let granted = self.keep(table, &free, stamp).await?;
        taken.extend(free.into_iter().filter(|number| !granted.contains(number)));
        kept.extend(granted.into_iter().map(|number| (number, Reservation { number, stamp })));
        let highest = match taken.is_empty() {
            true => 0,
            false => self.go_on_behind_file(sequence.as_ref(), highest).await?,
        };
        let fresh = self.fresh(table, sequence.as_ref(), (taken.len(), highest), stamp).await?;
        let fresh = fresh.into_iter().map(|number| Reservation { number, stamp });
        kept.extend(taken.into_iter().zip(fresh));
        Ok(kept)
    }

    /// The sequence of the key, and how far it was before it was let go on behind these numbers, as far as
    /// counting can come to them; `None` if there is none that may be used. One that has handed out nothing, or
    /// was set to what it is to give next, says where it is when it has given a number.
    async fn sequence_behind(
        &self,
        table: &RemoteTable,
        numbers: &BTreeSet<i64>,
    ) -> Result<Option<Sequence>> {
        let sql = format!(
            "SELECT s.name, coalesce(pg_sequence_last_value(s.name::regclass), nextval(s.name::regclass)), \
               q.seqmax / 2, has_sequence_privilege(s.name, 'UPDATE') \
             FROM (SELECT {SEQUENCE} AS name) AS s \
             JOIN pg_sequence AS q ON q.seqrelid = s.name::regclass \
             WHERE has_sequence_privilege(s.name, 'USAGE')"
        );
        let (target, name) = (table.layout.target.as_str(), &*table.table.key().name);
        let parameters: [Parameter<'_>; 2] = [(&target, Type::TEXT), (&name, Type::TEXT)];
        let rows = self.session.query(OPERATION, &sql, &parameters).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let name: String = column(row, 0, OPERATION)?;
        let (handed_out, most): (i64, i64) =
            (column(row, 1, OPERATION)?, column(row, 2, OPERATION)?);
        let may_be_set: bool = column(row, 3, OPERATION)?;
        let sequence = Sequence { name, handed_out, most, may_be_set };
        if let Some(highest) = numbers.range(..=most).next_back() {
            self.go_on_behind(&sequence, *highest).await?;
        }
        Ok(Some(sequence))
    }

    /// Lets the sequence go on behind the number, if it may be set, and is not there yet.
    async fn go_on_behind(&self, sequence: &Sequence, number: i64) -> Result<()> {
        if !sequence.may_be_set || number <= sequence.handed_out {
            return Ok(());
        }
        // One that has handed out nothing begins where it was told to.
        let sql = "SELECT CASE WHEN coalesce(pg_sequence_last_value($1::text::regclass), \
               (SELECT q.seqstart - 1 FROM pg_sequence AS q WHERE q.seqrelid = $1::text::regclass)) < $2 \
             THEN setval($1::text::regclass, $2) END";
        let parameters: [Parameter<'_>; 2] = [(&sequence.name, Type::TEXT), (&number, Type::INT8)];
        self.session.query(OPERATION, sql, &parameters).await.map(|_| ())
    }

    /// Lets the sequence go on behind the highest number of the file, as far as counting can come: one that nobody
    /// has counted to is no end of what is counted. Says behind what fresh ones are to lie.
    pub(super) async fn go_on_behind_file(
        &self,
        sequence: Option<&Sequence>,
        highest: i64,
    ) -> Result<i64> {
        let most = sequence.map_or(i64::MAX / 2, |sequence| sequence.most);
        let is_fixed = sequence.is_some_and(|sequence| !sequence.may_be_set);
        if highest <= 0 || highest > most || is_fixed {
            return Ok(0);
        }
        if let Some(sequence) = sequence {
            self.go_on_behind(sequence, highest).await?;
        }
        Ok(highest)
    }

    /// The highest number that the table has, as far as counting can come; 0 without one.
    async fn highest_number(&self, table: &RemoteTable, most: i64) -> Result<i64> {
        let (key, own) = (table.layout.key.list(""), table.layout.own_key.list(""));
        let sql = format!(
            "SELECT greatest(0, (SELECT max({key}) FROM {} WHERE {key} <= $1), \
             (SELECT max({own}) FROM {} WHERE {own} <= $1))::bigint",
            table.layout.target, table.layout.sidecar,
        );
        let rows = self.session.query(OPERATION, &sql, &[(&most, Type::INT8)]).await?;
        rows.first().map_or(Ok(0), |row| column(row, 0, OPERATION))
    }

    /// Whether another transaction that is open has written to the table, or may.
    async fn is_written(&self, table: &RemoteTable) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT FROM pg_locks AS l WHERE l.locktype = 'relation' \
             AND l.relation = to_regclass($1) AND l.granted \
             AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database()) \
             AND l.mode IN ('RowExclusiveLock', 'ShareRowExclusiveLock', 'ExclusiveLock', \
               'AccessExclusiveLock') AND l.pid IS DISTINCT FROM pg_backend_pid())";
        let target = table.layout.target.as_str();
        let rows = self.session.query(OPERATION, sql, &[(&target, Type::TEXT)]).await?;
        rows.first().map_or(Ok(false), |row| column(row, 0, OPERATION))
    }

    async fn views(
        &self,
        table: &RemoteTable,
        numbers: &BTreeSet<i64>,
    ) -> Result<Vec<(i64, NumberView)>> {
        let sql = format!(
            "SELECT n.number, EXISTS (SELECT FROM {target} AS u WHERE {there}) \
             OR coalesce(s.live, false), CASE WHEN NOT s.live THEN s.stamp END \
             FROM unnest($1::bigint[]) AS n (number) LEFT JOIN {sidecar} AS s ON {known} ORDER BY 1",
            target = table.layout.target,
            there = table.layout.key.is_given("u", EQUALS, "n.number"),
            sidecar = table.layout.sidecar,
            known = table.layout.own_key.is_given("s", "=", "n.number"),
        );
        let numbers: Vec<i64> = numbers.iter().copied().collect();
        let rows = self.session.query(OPERATION, &sql, &[(&numbers, Type::INT8_ARRAY)]).await?;
        let view = |row: &tokio_postgres::Row| {
            let raw: Option<i64> = column(row, 2, OPERATION)?;
            let tombstone = raw.map(|raw| Stamp::from_raw(raw).unwrap_or_default());
            let is_there = column(row, 1, OPERATION)?;
            Ok((column(row, 0, OPERATION)?, NumberView { is_there, tombstone, may_come: false }))
        };
        rows.iter().map(view).collect()
    }

    /// Keeps these numbers, as far as nobody has them or had them; says which.
    async fn keep(
        &self,
        table: &RemoteTable,
        numbers: &[i64],
        stamp: Stamp,
    ) -> Result<BTreeSet<i64>> {
        if numbers.is_empty() {
            return Ok(BTreeSet::new());
        }
        let key = table.layout.own_key.list("");
        let sql = format!(
            "INSERT INTO {sidecar} ({key}, stamp, txid, live) \
             SELECT n.number, $2, txid_current(), false FROM unnest($1::bigint[]) AS n (number) \
             WHERE NOT EXISTS (SELECT FROM {target} AS u WHERE {there}) ORDER BY n.number \
             ON CONFLICT ({key}) DO NOTHING RETURNING {key}",
            sidecar = table.layout.sidecar,
            target = table.layout.target,
            there = table.layout.key.is_given("u", EQUALS, "n.number"),
        );
        let parameters: [Parameter<'_>; 2] =
            [(&numbers, Type::INT8_ARRAY), (&stamp.raw(), Type::INT8)];
        let rows = self.session.query(OPERATION, &sql, &parameters).await?;
        rows.iter().map(|row| column(row, 0, OPERATION)).collect()
    }

    /// So many numbers that nobody has had, kept.
    pub(super) async fn fresh(
        &self,
        table: &RemoteTable,
        sequence: Option<&Sequence>,
        (count, of_file): (usize, i64),
        stamp: Stamp,
    ) -> Result<Vec<i64>> {
        let mut fresh: Vec<i64> = Vec::with_capacity(count);
        for _ in 0..LOOKS {
            if fresh.len() >= count {
                return Ok(fresh);
            }
            let lacks = count - fresh.len();
            let wanted = i64::try_from(lacks).unwrap_or(i64::MAX);
            let next = match sequence {
                Some(sequence) => {
                    let sql = "SELECT nextval($1::text::regclass) FROM generate_series(1, $2)";
                    let parameters: [Parameter<'_>; 2] =
                        [(&sequence.name, Type::TEXT), (&wanted, Type::INT8)];
                    self.session.query(OPERATION, sql, &parameters).await?
                }
                None => {
                    let highest = self.highest_number(table, i64::MAX / 2).await?;
                    let highest = highest.max(of_file);
                    let sql = "SELECT $2 + n FROM generate_series(1, $1) AS n";
                    let parameters: [Parameter<'_>; 2] =
                        [(&wanted, Type::INT8), (&highest, Type::INT8)];
                    self.session.query(OPERATION, sql, &parameters).await?
                }
            };
            let next: Vec<i64> =
                next.iter().map(|row| column(row, 0, OPERATION)).collect::<Result<_>>()?;
            let next: Vec<i64> = next.into_iter().filter(|number| *number > of_file).collect();
            fresh.extend(self.keep(table, &next, stamp).await?);
            if let Some(sequence) = sequence.filter(|_| fresh.len() < count) {
                // Rows were loaded beside it.
                let highest = self.highest_number(table, sequence.most).await?;
                self.go_on_behind(sequence, highest).await?;
            }
        }
        let message = "the sequence of its key gives no number that nobody has";
        Err(Error::new(Kind::Schema(Store::Postgres), OPERATION, message)
            .about(format!("table {}", table.table.name()))
            .with_hint("`SELECT setval(…)` lets it go on behind the highest number"))
    }
}

/// Whether the error is about the table's numbers, and nobody else's trouble.
fn is_about_numbers(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::InvalidData | Kind::Schema(_) | Kind::AccessDenied | Kind::Internal
    )
}
