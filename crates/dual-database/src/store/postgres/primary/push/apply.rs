//! Writing what was decided: set by set, under savepoints; halved until what is refused is
//! single.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::types::Type;

use super::decide::{ServerView, Verdict, decide, text};
use super::refusal::{Refusal, locked, number_taken, suppressed};
use super::reserve::SEQUENCE;
use super::statements::{CHUNK, moved_aside, statements};
use super::unique::{Unique, unique_groups};
use super::{Job, LOCKED, OPERATION};
use crate::Result;
use crate::merge::{Conflict, Register, RegisterId};
use crate::schema::RowId;
use crate::stamp::{Writer, captured};
use crate::store::postgres::Parameter;
use crate::store::postgres::answer::column;
use crate::store::postgres::primary::Primary;
use crate::store::postgres::primary::conflicts::LoggedConflict;
use crate::value::Value;

const UNIQUE_VIOLATION: &str = "23505";

/// `program_limit_exceeded`, of a row of an index among others.
const TOO_LONG: &str = "54000";

/// How often a row that somebody else inserts at the same time is looked at again.
const LOOKS: usize = 3;

/// How often a lock is waited for in search of the rows that are locked; then those that are
/// still together are left out together.
const LOCK_WAITS: usize = 32;

/// How often what may have failed for want of another row is tried again.
const RETRIES: usize = 6;

/// The single jobs that the server does not take.
pub(super) type Failed = BTreeMap<usize, Refusal>;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// By the job's place.
    pub refused: Failed,
    pub gone: Vec<RowId>,
    pub surrogates: Vec<(RowId, i64)>,
}

/// Jobs of one table that are written together. A unit is not divided unless it fails alone.
#[derive(Clone, Debug)]
struct Slice {
    table: usize,
    unique_groups: Vec<Vec<usize>>,
}

impl Slice {
    fn jobs(&self) -> Vec<usize> {
        self.unique_groups.iter().flatten().copied().collect()
    }
}

pub(super) enum SliceEnd {
    Done,
    /// Somebody else has inserted these rows meanwhile, or something keeps them out.
    Missed(BTreeSet<usize>),
    Refused(Refusal),
}

/// The work on one batch.
pub(super) struct Applier<'a, 's, 'b> {
    pub(super) primary: &'a Primary<'s>,
    pub(super) server: ServerView,
    pub(super) jobs: &'a mut Vec<Job<'b>>,
    /// The unique indexes of a table, once one of them has mattered.
    uniques: BTreeMap<usize, Vec<Unique>>,
    looks: BTreeMap<usize, usize>,
    lock_waits: usize,
    pub(super) applied: Applied,
}

impl<'a, 's, 'b> Applier<'a, 's, 'b> {
    pub(super) fn new(
        primary: &'a Primary<'s>,
        server: ServerView,
        jobs: &'a mut Vec<Job<'b>>,
    ) -> Applier<'a, 's, 'b> {
        let (uniques, looks) = (BTreeMap::new(), BTreeMap::new());
        let applied = Applied::default();
        Applier { primary, server, jobs, uniques, looks, lock_waits: 0, applied }
    }

    /// Writes everything that the server takes.
    pub(super) async fn run(mut self) -> Result<Applied> {
        let unnumbered = self.make_room().await?;
        let written = |at: &usize| {
            !unnumbered.contains_key(at)
                && self.jobs.get(*at).is_some_and(|job| job.version.is_some())
        };
        let all: Vec<usize> = (0..self.jobs.len()).filter(written).collect();
        let mut failed = self.pass(self.slices(&all, false)).await?;
        failed = self.again(failed).await?;
        failed = self.circles(failed).await?;
        failed = self.again(failed).await?;
        // A swap has had its chance; who still finds his value taken cedes it.
        if failed.values().any(|refusal| refusal.code == UNIQUE_VIOLATION) {
            failed = self.clear_taken_value(failed).await?;
            failed = self.again(failed).await?;
        }
        failed.retain(|at, refusal| !self.is_needless(*at, refusal));
        failed.extend(unnumbered);
        self.applied.refused = failed;
        Ok(self.applied)
    }

    /// The server cannot keep the key (a text can be longer than an index takes) of a row that is dead and
    /// was never here: nobody can have it from here.
    fn is_needless(&self, at: usize, refusal: &Refusal) -> bool {
        let is_gone = |job: &Job<'_>| !job.lives() && !job.is_there();
        refusal.code == TOO_LONG && self.jobs.get(at).is_some_and(is_gone)
    }

    /// Lets the sequence of each table go on behind the numbers that rows are to have again, or that the file
    /// has given them. Where it may not be set, or they are none that counting can come to, surrogates to which it
    /// has not come are new ones, like any other; rows for which such a one was said are refused.
    async fn make_room(&mut self) -> Result<Failed> {
        let mut refused = Failed::new();
        for (at, table) in self.primary.tables.iter().enumerate() {
            let Some(numbered) = table.table.numbered() else { continue };
            let is_key = table.table.surrogate().is_none();
            let of = |job: &&Job<'_>| job.id.table == at;
            let number = |job: &Job<'_>| match is_key {
                true => job.id.key.number().filter(|_| !job.dies()),
                false => job.number,
            };
            let highest = self.jobs.iter().filter(of).filter_map(number).max();
            let Some(highest) = highest else { continue };
            // Not to where it is: somebody may take a number between the look and the setting, and the
            // next would get the same.
            let sql = format!(
                "SELECT CASE WHEN coalesce(pg_sequence_last_value(s.name::regclass), \
                   nextval(s.name::regclass)) < $3 THEN setval(s.name::regclass, $3) END FROM (SELECT {SEQUENCE} AS name) AS s \
                 WHERE has_sequence_privilege(s.name, 'UPDATE') AND $3 <= (SELECT q.seqmax / 2 \
                   FROM pg_sequence AS q WHERE q.seqrelid = s.name::regclass)"
            );
            let target = table.layout.target.as_str();
            let name = &*numbered.name;
            let parameters: [Parameter<'_>; 3] =
                [(&target, Type::TEXT), (&name, Type::TEXT), (&highest, Type::INT8)];
            if !self.primary.session.query(OPERATION, &sql, &parameters).await?.is_empty() {
                continue;
            }
            let sql = format!(
                "SELECT CASE WHEN has_sequence_privilege(s.name, 'USAGE, SELECT') \
                   THEN pg_sequence_last_value(s.name::regclass) END FROM (SELECT {SEQUENCE} AS name) AS s"
            );
            let parameters: [Parameter<'_>; 2] = [(&target, Type::TEXT), (&name, Type::TEXT)];
            let rows = self.primary.session.query(OPERATION, &sql, &parameters).await?;
            let last: Option<i64> =
                rows.first().map_or(Ok(None), |row| column(row, 0, OPERATION))?;
            let jobs = self.jobs.iter_mut().enumerate().filter(|(_, job)| job.id.table == at);
            for (place, job) in jobs.filter(|(_, job)| job.number > last) {
                if job.is_said {
                    refused.insert(place, number_taken());
                }
                job.number = None;
            }
        }
        Ok(refused)
    }

    /// Tries again what may have failed for want of another row, as long as that helps, forwards
    /// and backwards: a chain of rows in which each waits for the next ends in one of the two.
    async fn again(&mut self, mut failed: Failed) -> Result<Failed> {
        for look in 0..RETRIES {
            let waits = |code: &str| {
                code.starts_with("P0") || ["23001", "23503", UNIQUE_VIOLATION].contains(&code)
            };
            let (retried, kept): (Failed, Failed) =
                failed.into_iter().partition(|(_, refusal)| waits(&refusal.code));
            let which: Vec<usize> = retried.keys().copied().collect();
            failed = kept;
            let still = self.pass(self.slices(&which, look % 2 == 0)).await?;
            let stuck = still.len() == which.len();
            failed.extend(still);
            if stuck && look > 0 {
                break;
            }
        }
        Ok(failed)
    }

    /// Deletes from the last table to the first, then everything else from the first to the
    /// last: who refers to others goes before them and comes after them.
    fn slices(&self, which: &[usize], backwards: bool) -> Vec<Slice> {
        let job = |at: &usize| self.jobs.get(*at);
        let (dying, others): (Vec<usize>, Vec<usize>) =
            which.iter().copied().partition(|at| job(at).is_some_and(Job::dies));
        let mut order: Vec<usize> = others;
        order.sort_by_key(|at| job(at).map(|job| job.id.clone()));
        if backwards {
            order.reverse();
        }
        let mut slices = Vec::new();
        let of = |table: usize, from: &[usize]| -> Vec<usize> {
            let is_here = |at: &&usize| job(at).is_some_and(|job| job.id.table == table);
            from.iter().filter(is_here).copied().collect()
        };
        for table in (0..self.primary.tables.len()).rev() {
            slices.extend(self.cut(table, &of(table, &dying)));
        }
        for table in 0..self.primary.tables.len() {
            slices.extend(self.cut(table, &of(table, &order)));
        }
        slices
    }

    fn cut(&self, table: usize, which: &[usize]) -> Vec<Slice> {
        let unique_groups = match self.uniques.get(&table) {
            Some(uniques) => unique_groups(self.jobs, which, uniques),
            None => which.iter().map(|at| vec![*at]).collect(),
        };
        let mut slices: Vec<Slice> = Vec::new();
        let mut room = 0;
        for unit in unique_groups {
            let size = unit.len();
            match slices.last_mut().filter(|_| size <= room) {
                Some(slice) => slice.unique_groups.push(unit),
                None => {
                    slices.push(Slice { table, unique_groups: vec![unit] });
                    room = CHUNK;
                }
            }
            room = room.saturating_sub(size);
        }
        slices
    }

    /// Writes the slices in their order; returns the single rows that were refused.
    async fn pass(&mut self, slices: Vec<Slice>) -> Result<Failed> {
        let mut failed = BTreeMap::new();
        let mut stack: Vec<Slice> = slices.into_iter().rev().collect();
        while let Some(slice) = stack.pop() {
            match Box::pin(self.attempt_slice(&slice)).await? {
                SliceEnd::Done => {}
                SliceEnd::Missed(missed) => {
                    let looked = self.look_again(slice.table, &missed, &mut failed).await?;
                    let rest = self.jobs_left(&slice, &failed);
                    let rest: Vec<usize> = rest
                        .into_iter()
                        .filter(|at| !missed.contains(at) || looked.contains(at))
                        .collect();
                    stack.extend(self.cut(slice.table, &rest).into_iter().rev());
                }
                SliceEnd::Refused(refusal) => {
                    let fresh = refusal.code == UNIQUE_VIOLATION
                        && !self.uniques.contains_key(&slice.table);
                    let locked = refusal.code == LOCKED;
                    self.lock_waits += usize::from(locked);
                    if fresh {
                        self.regroup(slice, &mut stack).await?;
                    } else if locked && self.lock_waits > LOCK_WAITS {
                        failed.extend(slice.jobs().into_iter().map(|at| (at, refusal.clone())));
                    } else {
                        divide(slice, refusal, &mut stack, &mut failed);
                    }
                }
            }
        }
        Ok(failed)
    }

    fn jobs_left(&self, slice: &Slice, failed: &Failed) -> Vec<usize> {
        let mut jobs = slice.jobs();
        jobs.retain(|at| {
            !failed.contains_key(at) && self.jobs.get(*at).is_some_and(|job| job.version.is_some())
        });
        jobs
    }

    /// The first unique value that collides in a table: from here on its rows go together with
    /// those that make room for them.
    async fn regroup(&mut self, slice: Slice, stack: &mut Vec<Slice>) -> Result<()> {
        let Some(table) = self.primary.tables.get(slice.table) else { return Ok(()) };
        let uniques = self.primary.uniques(table, OPERATION).await?;
        self.uniques.insert(slice.table, uniques);
        let mut which = slice.jobs();
        let (own, other): (Vec<Slice>, Vec<Slice>) =
            std::mem::take(stack).into_iter().partition(|one| one.table == slice.table);
        which.extend(own.iter().rev().flat_map(Slice::jobs));
        which.sort_unstable();
        *stack = other;
        stack.extend(self.cut(slice.table, &which).into_iter().rev());
        Ok(())
    }

    /// Reads and decides anew what somebody else has inserted; returns what is still to be
    /// written.
    async fn look_again(
        &mut self,
        table: usize,
        missed: &BTreeSet<usize>,
        failed: &mut Failed,
    ) -> Result<BTreeSet<usize>> {
        let Some(remote) = self.primary.tables.get(table) else { return Ok(BTreeSet::new()) };
        let mut left = BTreeSet::new();
        for at in missed {
            let Some(job) = self.jobs.get_mut(*at) else { continue };
            let looks = self.looks.entry(*at).or_default();
            *looks += 1;
            if *looks > LOOKS {
                let said = job.number.filter(|_| job.is_said);
                let is_held = match said {
                    Some(number) => self.primary.holds_number(remote, number).await?,
                    None => false,
                };
                failed.insert(*at, if is_held { number_taken() } else { suppressed() });
                continue;
            }
            let leaves = self.server.leaves_locked;
            let (found, held) =
                self.primary.locked_rows(table, std::slice::from_ref(&job.id.key), leaves).await?;
            if !held.is_empty() {
                failed.insert(*at, locked());
                continue;
            }
            job.existing = found.into_iter().next();
            let existing = job.existing.as_ref();
            match decide(&job.id, job.pushed, existing, self.server, &remote.defaults) {
                Verdict::Gone => {
                    (job.version, job.noted) = (None, Vec::new());
                    self.applied.gone.push(job.id.clone());
                }
                Verdict::Stands(version, noted) => {
                    if version.is_some() {
                        left.insert(*at);
                    }
                    (job.version, job.noted) = (version, noted);
                }
                Verdict::Beats(noted) => {
                    (job.version, job.beats, job.noted) = (None, true, noted);
                }
            }
        }
        Ok(left)
    }

    /// One slice: all of it or nothing.
    async fn attempt_slice(&mut self, slice: &Slice) -> Result<SliceEnd> {
        let Some(table) = self.primary.tables.get(slice.table) else { return Ok(SliceEnd::Done) };
        let which = slice.jobs();
        let jobs: Vec<&Job<'_>> = which.iter().filter_map(|at| self.jobs.get(*at)).collect();
        let moved_aside = match self.uniques.get(&slice.table) {
            Some(uniques) => {
                let together = slice.unique_groups.iter().filter(|unit| unit.len() > 1).flatten();
                let together: Vec<_> = together.filter_map(|at| self.jobs.get(*at)).collect();
                moved_aside(&together, uniques)
            }
            None => Vec::new(),
        };
        let statements = statements(table, &jobs, &moved_aside);
        let statements = statements.into_iter().map(|one| (slice.table, one)).collect();
        self.attempt(&which, statements, false).await
    }

    /// Lets rows leave empty what others hold, one row at a time.
    async fn clear_taken_value(&mut self, failed: Failed) -> Result<Failed> {
        let mut left = BTreeMap::new();
        for (at, mut refusal) in failed {
            let before = self.jobs.get(at).map(|job| (job.version.clone(), job.noted.clone()));
            while refusal.code == UNIQUE_VIOLATION && self.give_way(at, &refusal) {
                let table = self.jobs.get(at).map_or(0, |job| job.id.table);
                let mut outcome =
                    self.pass(vec![Slice { table, unique_groups: vec![vec![at]] }]).await?;
                match outcome.remove(&at) {
                    Some(next) => refusal = next,
                    None => {
                        refusal.code.clear();
                        break;
                    }
                }
            }
            if !refusal.code.is_empty() {
                if let (Some(job), Some((version, noted))) = (self.jobs.get_mut(at), before) {
                    (job.version, job.noted) = (version, noted);
                }
                left.insert(at, refusal);
            }
        }
        Ok(left)
    }

    /// Empties a column of the index that refused the row; false if there is none to empty.
    fn give_way(&mut self, at: usize, refusal: &Refusal) -> bool {
        let now_ms = self.server.now_ms;
        let Some(job) = self.jobs.get_mut(at) else { return false };
        let Some(version) = job.version.as_mut() else { return false };
        let unique = self.uniques.get(&job.id.table).and_then(|uniques| {
            uniques.iter().find(|unique| Some(&unique.name) == refusal.constraint.as_ref())
        });
        let Some(column_to_clear) = unique.and_then(|unique| unique.column_to_clear(version))
        else {
            return false;
        };
        let Some(register) = version.columns.get_mut(column_to_clear) else { return false };
        let stamp = captured(now_ms, register.stamp, Writer::POSTGRES);
        let lost = std::mem::replace(register, Register { stamp, value: Value::Null });
        let register = RegisterId::Column(column_to_clear);
        job.noted.push(LoggedConflict {
            id: job.id.clone(),
            conflict: Conflict { register, winner: stamp, loser: lost.stamp },
            winning: None,
            losing: text(&lost.value),
            noted_ms: None,
            reviewed: false,
        });
        true
    }
}

/// What was refused, in halves; a unit that fails alone, in its rows.
fn divide(mut slice: Slice, refusal: Refusal, stack: &mut Vec<Slice>, failed: &mut Failed) {
    let table = slice.table;
    if slice.unique_groups.len() > 1 {
        let later = slice.unique_groups.split_off(slice.unique_groups.len() / 2);
        stack.push(Slice { table, unique_groups: later });
        stack.push(slice);
        return;
    }
    match slice.jobs().as_slice() {
        [] => {}
        [at] => {
            failed.insert(*at, refusal);
        }
        several => {
            let unique_groups = several.iter().map(|at| vec![*at]);
            stack
                .extend(unique_groups.rev().map(|unit| Slice { table, unique_groups: vec![unit] }));
        }
    }
}
