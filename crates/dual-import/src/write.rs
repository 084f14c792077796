//! The second phase: staged rows into both stores at once. States and failures are in
//! `load/DESIGN.md`.

use std::future::Future;
use std::time::Duration;

use dual_database::error::{Error, Kind, Result, Store};
use dual_database::store::postgres::{Limits, Settings};
use dual_database::store::sqlite::File;
use dual_database::sync::{Step, hooked_once};

use super::load::{Mark, PostgresLoad, SqliteLoad, StorePlan};
use super::report::{Plan, Report, StoreOutcome};
use super::{Event, Import, MaxRejects, Observer};

/// Where an import writes to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The PostgreSQL server and database.
    pub postgres: Settings,
    /// Time-outs of PostgreSQL. A statement of an import works on all rows at once: give it
    /// minutes.
    pub limits: Limits,
    /// The SQLite file.
    pub sqlite: File,
    /// How long to wait for another process's lock on the SQLite file.
    pub busy: Duration,
}

/// How an import writes.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    /// Compare and tell the plan, write nothing.
    pub dry_run: bool,
    /// Replace the tables, in the same transactions; needs both stores.
    pub recreate_tables: bool,
    /// More rejected rows than this, and nothing is written.
    pub max_rejects: MaxRejects,
}

/// How an attempt at both transactions ended before the commits.
enum Attempt<'a> {
    /// Both are written.
    Ready(Box<Prepared<'a>>),
    /// A store refused rows, which are set aside now: once more without them.
    Again,
}

/// Both transactions, written and not committed.
struct Prepared<'a> {
    postgres: Option<(PostgresLoad, StorePlan)>,
    sqlite: Option<(SqliteLoad<'a>, StorePlan)>,
    /// Whether there is anything to commit.
    changed: bool,
    completed_run: Option<String>,
}

impl Import {
    /// Compares the staged rows with both stores, tells the plan as [`Event::Plan`], and
    /// writes it: one transaction a store, PostgreSQL commits first. If one store is away,
    /// the other one is loaded and the report says so. When `cancel` completes before the
    /// commits have begun, everything is rolled back; the commits themselves are not
    /// interrupted.
    ///
    /// # Errors
    /// Nothing was changed in either store, whatever the error: both away
    /// ([`Kind::Unavailable`]), no right ([`Kind::AccessDenied`]), no room
    /// ([`Kind::NoSpace`]), a table in the way ([`Kind::Schema`]), rows refused
    /// ([`Kind::InvalidData`]), cancelled ([`Kind::Interrupted`]).
    pub async fn write(
        &self,
        target: &Target,
        options: WriteOptions,
        observer: &dyn Observer,
        cancel: impl Future<Output = ()>,
    ) -> Result<Report> {
        self.leave_no_empty_file(&target.sqlite);
        let mut cancel = std::pin::pin!(cancel);
        let (mut postgres_away, mut sqlite_away): (Option<Error>, Option<Error>) = (None, None);
        let run_id = new_run_id();
        if !options.dry_run {
            tokio::select! {
                () = self.settle(target) => {}
                () = &mut cancel => {
                    return Err(Error::new(Kind::Interrupted, "import", "stopped; nothing was changed"));
                }
            }
        }
        loop {
            let reach = (postgres_away.is_none(), sqlite_away.is_none());
            let attempt = self.prepare(target, options, reach, &run_id, observer);
            let prepared = tokio::select! {
                prepared = attempt => prepared,
                () = &mut cancel => {
                    self.staging.owner.interrupt();
                    Err(Error::new(Kind::Interrupted, "import", "stopped; nothing was changed"))
                }
            };
            let error = match prepared {
                Ok(Attempt::Again) => continue,
                Ok(Attempt::Ready(prepared)) => {
                    let report =
                        self.commit(*prepared, target, options, run_id, postgres_away, sqlite_away);
                    let report = report.await?;
                    tokio::select! {
                        () = self.attach(target, &report, observer) => {}
                        () = &mut cancel => {}
                    }
                    return Ok(report);
                }
                Err(error) => error,
            };
            SqliteLoad::abandon(&self.staging).await?;
            let slot = match error.kind() {
                Kind::Unavailable(Store::Postgres) => &mut postgres_away,
                Kind::Unavailable(Store::Sqlite) => &mut sqlite_away,
                _ => return Err(error),
            };
            if slot.is_some() {
                return Err(error);
            }
            if options.recreate_tables {
                return Err(error.with_hint(
                    "tables are replaced only when both databases can be reached; nothing was changed",
                ));
            }
            observer.event(Event::Warning(&format!(
                "{} is away, going on with the other database: {}",
                if matches!(error.kind(), Kind::Unavailable(Store::Postgres)) {
                    Store::Postgres
                } else {
                    Store::Sqlite
                },
                error.chain()
            )));
            *slot = Some(error);
            if let (Some(postgres), Some(sqlite)) = (&postgres_away, &sqlite_away) {
                return Err(Error::new(
                    Kind::Unavailable(Store::Postgres),
                    "import",
                    format!("both databases are away: {}; {}", postgres.chain(), sqlite.chain()),
                )
                .with_hint(
                    "nothing was changed; run the same command again when one of them is back",
                ));
            }
        }
    }

    /// Everything up to the commits, with the stores that `reach` names.
    async fn prepare(
        &self,
        target: &Target,
        options: WriteOptions,
        reach: (bool, bool),
        run_id: &str,
        observer: &dyn Observer,
    ) -> Result<Attempt<'_>> {
        let WriteOptions { dry_run, recreate_tables, max_rejects } = options;
        let hook = self.hook.as_ref();
        // Before anything else, so that a wrong path or a file in use costs no copying.
        if reach.1 {
            let attach = SqliteLoad::attach(&self.staging, &target.sqlite, dry_run, target.busy);
            hooked_once(hook, Step::ImportAttach, attach).await?;
        }
        let mut postgres = None;
        if reach.0 {
            let begin =
                PostgresLoad::begin(&target.postgres, &target.limits, &self.staging.table, options);
            let mut load = hooked_once(hook, Step::ImportBegin, begin).await?;
            if let Some(other) = load.shadowed() {
                self.told_of(other, target, observer).await?;
            }
            self.staging.reject_too_long(load.length_limits()).await?;
            self.check_rejects(max_rejects).await?;
            // A table that is replaced keeps nothing, on neither side.
            let complete = reach.1 && !recreate_tables;
            let copy = load.copy(&self.staging, complete, observer);
            let unfit = hooked_once(hook, Step::ImportCopy, copy).await?;
            let plan = hooked_once(hook, Step::ImportCompare, load.compare()).await?;
            load.refuse_unfit(&unfit).await?;
            if !dry_run {
                hooked_once(hook, Step::ImportIssue, load.issue(&self.staging)).await?;
                if reach.1 {
                    let complete = load.complete(&self.staging);
                    hooked_once(hook, Step::ImportComplete, complete).await?;
                }
            }
            postgres = Some((load, plan));
        }
        let mut sqlite = None;
        if reach.1 {
            let begin = SqliteLoad::begin(&self.staging, recreate_tables);
            let (load, plan) = hooked_once(hook, Step::ImportBeginHere, begin).await?;
            if postgres.is_none() && !dry_run {
                load.issue_provisional().await?;
            }
            sqlite = Some((load, plan));
        }
        observer.event(Event::Plan(&Plan {
            postgres: postgres.as_ref().map(|(_, plan)| plan.clone()),
            sqlite: sqlite.as_ref().map(|(_, compared)| compared.plan.clone()),
        }));

        let marks = (
            postgres.as_ref().map(|(load, _)| load.mark().map(String::from)),
            sqlite.as_ref().map(|(_, compared)| compared.mark.clone()),
        );
        let torn = match marks {
            (Some(one), Some(other)) if one != other => one.max(other),
            _ => None,
        };
        let changed = !dry_run
            && (torn.is_some()
                || postgres.as_ref().is_some_and(|(_, plan)| !plan.is_empty())
                || sqlite.as_ref().is_some_and(|(_, c)| !c.plan.is_empty() || c.renumbered > 0));
        if changed {
            let mark = Mark { run_id: run_id.to_string(), source: self.source.clone() };
            let write_postgres = async {
                match &postgres {
                    Some((load, plan)) => {
                        hooked_once(hook, Step::ImportWrite, load.write(&mark, plan)).await
                    }
                    None => Ok(Vec::new()),
                }
            };
            let write_sqlite = async {
                match &sqlite {
                    Some((load, compared)) => {
                        let write = load.write(mark.clone(), &compared.plan);
                        hooked_once(hook, Step::ImportWriteHere, write).await
                    }
                    None => Ok(Vec::new()),
                }
            };
            let written = tokio::try_join!(write_postgres, write_sqlite);
            if written.is_err() {
                self.staging.owner.interrupt();
            }
            let (mut refusals, by_sqlite) = written?;
            refusals.extend(by_sqlite);
            if !refusals.is_empty() {
                observer.event(Event::Warning(&format!(
                    "a database refuses {} rows; they are set aside, and it is done again without them",
                    refusals.len()
                )));
                SqliteLoad::abandon(&self.staging).await?;
                self.staging.reject_refused(refusals).await?;
                return Ok(Attempt::Again);
            }
        }
        Ok(Attempt::Ready(Box::new(Prepared {
            postgres,
            sqlite: sqlite.map(|(load, compared)| (load, compared.plan)),
            changed,
            completed_run: torn,
        })))
    }

    /// PostgreSQL first; a crash after it is seen by the next run, whose mark differs.
    async fn commit(
        &self,
        prepared: Prepared<'_>,
        target: &Target,
        options: WriteOptions,
        run_id: String,
        postgres_away: Option<Error>,
        sqlite_away: Option<Error>,
    ) -> Result<Report> {
        let untouched = |plan| {
            if options.dry_run {
                StoreOutcome::Planned(plan)
            } else {
                StoreOutcome::Unchanged(plan)
            }
        };
        let ended = |plan: StorePlan| {
            if plan.is_empty() { StoreOutcome::Unchanged(plan) } else { StoreOutcome::Done(plan) }
        };
        let absent = |away: Option<Error>| {
            StoreOutcome::Away(away.unwrap_or_else(|| {
                Error::new(Kind::Internal, "import", "a store that is away gave no reason")
            }))
        };
        let there = |commit| hooked_once(self.hook.as_ref(), Step::ImportCommit, commit);
        let here = |commit| hooked_once(self.hook.as_ref(), Step::ImportCommitHere, commit);
        let postgres = match prepared.postgres {
            None => absent(postgres_away),
            Some((load, plan)) if !prepared.changed => {
                load.rollback().await;
                untouched(plan)
            }
            Some((load, plan)) => match there(load.commit(target, &run_id)).await {
                Ok(()) => ended(plan),
                Err(error) if matches!(error.kind(), Kind::OutcomeUnknown(_)) => {
                    StoreOutcome::Unknown(plan, error)
                }
                Err(error) => {
                    SqliteLoad::abandon(&self.staging).await?;
                    return Err(error);
                }
            },
        };
        let sqlite = match prepared.sqlite {
            None => absent(sqlite_away),
            Some((load, plan)) if !prepared.changed => {
                load.rollback().await?;
                untouched(plan)
            }
            Some((load, plan)) => match here(load.commit()).await {
                Ok(()) => ended(plan),
                // PostgreSQL has it all: the next run completes SQLite.
                Err(error) if prepared_has(&postgres) => StoreOutcome::Away(error),
                Err(error) => {
                    SqliteLoad::abandon(&self.staging).await?;
                    return Err(error);
                }
            },
        };
        SqliteLoad::abandon(&self.staging).await?;
        let counts = self.staging.counts().await?;
        Ok(Report { run_id, counts, postgres, sqlite, completed_run: prepared.completed_run })
    }
}

/// Time-ordered, so that lists of runs are in order.
fn new_run_id() -> String {
    let now = dual_database::clock::now();
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or(0);
    let timestamp = uuid::Timestamp::from_unix(uuid::NoContext, seconds, nanoseconds);
    uuid::Uuid::new_v7(timestamp).to_string()
}

fn prepared_has(postgres: &StoreOutcome) -> bool {
    matches!(
        postgres,
        StoreOutcome::Done(_) | StoreOutcome::Unchanged(_) | StoreOutcome::Unknown(..)
    )
}
