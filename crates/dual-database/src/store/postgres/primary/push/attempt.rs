//! One savepoint: some rows are written and get their stamps, all of them or none.

use std::collections::{BTreeMap, BTreeSet};

use super::apply::{Applier, SliceEnd};
use super::refusal::{locked, refusal, suppressed};
use super::statements::{CHUNK, Statement, marks};
use super::{Job, OPERATION, is_locked};
use crate::Result;
use crate::schema::RowId;
use crate::store::postgres::answer::column;
use crate::store::postgres::capture::{RowStamps, settle};
use crate::store::postgres::primary::RemoteTable;
use crate::store::postgres::{OURS, USERS, both, every};

impl Applier<'_, '_, '_> {
    /// Runs what writes these jobs under a savepoint, each statement with the table that it is for; what
    /// can be deferred is held against all of them together, if `defers`. All of it or nothing.
    pub(super) async fn attempt(
        &mut self,
        which: &[usize],
        statements: Vec<(usize, Statement)>,
        defers: bool,
    ) -> Result<SliceEnd> {
        let session = self.primary.session;
        let jobs: Vec<&Job<'_>> = which.iter().filter_map(|at| self.jobs.get(*at)).collect();
        match self.write(&jobs, &statements, defers).await {
            Ok((mut written, lives)) => {
                let missed: BTreeSet<usize> = which
                    .iter()
                    .zip(&jobs)
                    .filter(|(_, job)| job.is_inserted() && !written.contains_key(&job.id))
                    .map(|(at, _)| *at)
                    .collect();
                // An update that was not done says nothing about what anybody made of the row.
                let is_kept = |job: &&Job<'_>| {
                    lives.get(&job.id) != Some(&job.lives())
                        || (job.is_updated() && !written.contains_key(&job.id))
                };
                if !missed.is_empty() {
                    self.take_back().await?;
                    return Ok(SliceEnd::Missed(missed));
                }
                if jobs.iter().any(is_kept) {
                    self.take_back().await?;
                    return Ok(SliceEnd::Refused(suppressed()));
                }
                let inserted =
                    jobs.iter().filter(|job| job.is_inserted()).map(|job| job.id.clone());
                let told = inserted.filter_map(|id| Some((id.clone(), written.remove(&id)??)));
                self.applied.surrogates.extend(told);
                session.batch(OPERATION, "RELEASE SAVEPOINT dual_push").await?;
                Ok(SliceEnd::Done)
            }
            Err(error) if self.server.leaves_locked && is_locked(&error) => {
                self.take_back().await?;
                Ok(SliceEnd::Refused(locked()))
            }
            Err(error) => match refusal(&error) {
                Some(refusal) => {
                    self.take_back().await?;
                    Ok(SliceEnd::Refused(refusal))
                }
                None => Err(error),
            },
        }
    }

    /// Sends everything at once, what writes rows under the user's search path; returns the surrogates of
    /// what was inserted or updated, and which rows live by the sidecars.
    async fn write(
        &self,
        jobs: &[&Job<'_>],
        statements: &[(usize, Statement)],
        defers: bool,
    ) -> Result<(BTreeMap<RowId, Option<i64>>, BTreeMap<RowId, bool>)> {
        let session = self.primary.session;
        let parameters: Vec<_> = statements.iter().map(|(_, one)| one.parameters()).collect();
        let tables = self.primary.tables.iter().enumerate();
        let marks: Vec<(usize, &RemoteTable, Vec<RowStamps>)> = tables
            .map(|(at, table)| {
                let of = jobs.iter().copied().filter(|job| job.id.table == at);
                (at, table, marks(&of.collect::<Vec<_>>()))
            })
            .collect();
        let work = async {
            let queries = statements.iter().zip(&parameters);
            every(queries.map(|((_, one), with)| session.query(OPERATION, &one.sql, with))).await
        };
        let chunks = || {
            marks
                .iter()
                .flat_map(|(at, table, marks)| marks.chunks(CHUNK).map(|m| (*at, *table, m)))
        };
        let settling = async {
            let each = chunks()
                .map(|(_, table, marks)| settle(session, &table.table, &table.layout, marks, None));
            every(each).await
        };
        let (deferred, held) = match defers {
            true => ("SET CONSTRAINTS ALL DEFERRED; ", "SET CONSTRAINTS ALL IMMEDIATE; "),
            false => ("", ""),
        };
        let (begin, end) =
            (format!("SAVEPOINT dual_push; {deferred}{USERS}"), format!("{held}{OURS}"));
        let (begin, end) = (session.batch(OPERATION, &begin), session.batch(OPERATION, &end));
        let ((), (answers, ((), settled))) = both(begin, both(work, both(end, settling))).await?;
        let mut written: BTreeMap<RowId, Option<i64>> = BTreeMap::new();
        for ((table, _), rows) in statements.iter().zip(&answers) {
            for row in rows {
                let id = RowId { table: *table, key: column(row, 0, OPERATION)? };
                written.insert(id, column(row, 1, OPERATION)?);
            }
        }
        let mut lives = BTreeMap::new();
        for ((table, ..), settled) in chunks().zip(settled) {
            let told = settled
                .into_iter()
                .map(|one| (RowId { table, key: one.after.key }, one.after.live));
            lives.extend(told);
        }
        Ok((written, lives))
    }

    async fn take_back(&self) -> Result<()> {
        let session = self.primary.session;
        let sql = "ROLLBACK TO SAVEPOINT dual_push; RELEASE SAVEPOINT dual_push";
        session.batch(OPERATION, sql).await?;
        // What had failed since the savepoint has not happened.
        session.trust();
        Ok(())
    }
}
