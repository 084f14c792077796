//! How both stores stand, and what has been set aside.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::DualDatabase;
use super::core::{Core, neither};
use super::status::{
    Comparing, Conflict, Damage, Failing, NotCarried, Paused, QuarantinedRow, SideStatus, Status,
    Verified,
};
use crate::health::StoreState;
use crate::merge::{RegisterId, Tracked};
use crate::protocol::{Break, ConflictEntry, Follow, register_name};
use crate::schema::{Dialect, RowId, Table};
use crate::stamp::Stamp;
use crate::store::postgres::primary::RemoteRow;
use crate::store::sqlite::replica::{Content, Durability, Node, Scrub};
use crate::{Error, Kind, Result, Store};

/// How many changed rows are compared one by one before their number is told.
const LOOKED_AT: u64 = 1_000;

/// What the file tells of itself.
struct LocalReport {
    node: Node,
    pending: u64,
    quarantined: u64,
    conflicts: u64,
    damage: Vec<Damage>,
    failing: Vec<Failing>,
    paused: Vec<Paused>,
    apart: Vec<(usize, Break)>,
    besides: Vec<(usize, Arc<str>)>,
    verified: Option<Verified>,
    ahead: Option<Stamp>,
}

impl LocalReport {
    /// What fails now: that a side was away is past if no program has met it again since.
    fn failing(&self, now_ms: i64) -> Vec<Failing> {
        let is_driven = self.node.lease.is_some_and(|lease| lease.until_unix_ms > now_ms);
        self.failing.iter().filter(|one| is_driven || !one.is_away).cloned().collect()
    }
}

/// What PostgreSQL tells.
struct RemoteReport {
    unseen: Option<u64>,
    conflicts: u64,
    besides: Vec<(usize, Arc<str>)>,
}

/// What an answer of the file's says of it.
fn met(error: &Error) -> StoreState {
    match error.kind() {
        Kind::Schema(_) => StoreState::needs_init(error),
        _ => StoreState::down(error),
    }
}

fn verified(scrub: Scrub) -> Option<Verified> {
    scrub.ended_ms.map(|ended_ms| Verified { ended_ms, found: scrub.found_before })
}

impl Core {
    /// How both stores stand; asks both, whatever the breakers say.
    pub async fn status(&self) -> Status {
        let operation = "report the status";
        let asked = self
            .ask_file(operation, |content| {
                content.whole()?;
                Ok(LocalReport {
                    node: content.node()?,
                    pending: content.pending_count()?,
                    quarantined: content.quarantined()?,
                    conflicts: content.unreviewed_conflicts()?,
                    damage: content.damage()?,
                    failing: content.failing()?,
                    paused: content.lacking(),
                    apart: content.apart_for()?,
                    besides: content.columns_besides()?,
                    verified: verified(content.scrub()?),
                    ahead: content.met_ahead()?,
                })
            })
            .await;
        // Who asks now may be the first who meets it.
        let met = asked.as_ref().err().map(met);
        let local = asked.ok();
        if let Ok(replica) = self.replica(operation) {
            for left in replica.left() {
                let error =
                    Error::new(Kind::Schema(Store::Sqlite), "merge a salvaged SQLite file", left);
                self.shared.health.remember(Store::Sqlite, &error);
            }
        }
        let remote = self.remote_status(operation, local.as_ref().map(|local| &local.node)).await;
        let remote = remote.ok();
        let side = |store| {
            let state = self.shared.state(store);
            match &met {
                Some(met) if store == Store::Sqlite && state == StoreState::Up => {
                    SideStatus { state: met.clone() }
                }
                _ => SideStatus { state },
            }
        };
        let follow = local.as_ref().map(|local| &local.node.follow);
        let now_ms = crate::clock::now().as_millisecond();
        let failing = local.as_ref().map(|local| local.failing(now_ms)).unwrap_or_default();
        let is_up = |store| self.shared.state(store) == StoreState::Up;
        let (sync, held_losses) = match follow {
            // Where a side is away, or in the way, that says it.
            _ if !failing.is_empty() && is_up(Store::Postgres) && is_up(Store::Sqlite) => {
                ("failing", None)
            }
            Some(Follow::Following { .. }) => ("following", None),
            Some(Follow::Held { losses, .. }) => ("held", Some(*losses)),
            Some(Follow::Reconciling { .. }) | None => ("converging", None),
        };
        let there = remote.as_ref().map(|remote| remote.besides.as_slice()).unwrap_or_default();
        let here = local.as_ref().map(|local| local.besides.as_slice()).unwrap_or_default();
        let named = |store| {
            let table = |at: usize| self.table(at).shared_name();
            move |(at, column): &(usize, Arc<str>)| NotCarried {
                table: table(*at),
                column: Arc::clone(column),
                store,
            }
        };
        let there = there.iter().map(named(Store::Postgres));
        let not_carried = there.chain(here.iter().map(named(Store::Sqlite))).collect();
        let apart = local.as_ref().map(|local| local.apart.as_slice()).unwrap_or_default();
        let comparing =
            |(at, cause): &(usize, Break)| Comparing::new(self.table(*at).shared_name(), *cause);
        let exchanged_ms = local.as_ref().and_then(|local| local.node.exchanged_ms);
        Status {
            postgres: side(Store::Postgres),
            sqlite: side(Store::Sqlite),
            pending_to_postgres: local.as_ref().map(|local| local.pending),
            pending_to_sqlite: remote.as_ref().and_then(|remote| remote.unseen),
            // Every file sends its conflicts to PostgreSQL, so its log has them all.
            conflicts: remote
                .map(|remote| remote.conflicts)
                .or(local.as_ref().map(|local| local.conflicts)),
            quarantined: local.as_ref().map(|local| local.quarantined),
            last_sync_age_ms: exchanged_ms.map(|then| now_ms.saturating_sub(then).max(0)),
            sync,
            held_losses,
            wal_bytes: self.wal_bytes(),
            exposed: crate::private::exposed(&self.shared.sqlite.path),
            recent_errors: self.shared.health.recent(),
            failing,
            paused: local.as_ref().map(|local| local.paused.clone()).unwrap_or_default(),
            comparing: apart.iter().map(comparing).collect(),
            not_carried,
            verified: local.as_ref().and_then(|local| local.verified),
            ahead_until_ms: local
                .as_ref()
                .and_then(|local| local.ahead)
                .filter(|stamp| stamp.is_ahead_of(now_ms))
                .map(Stamp::unix_ms),
            damage: local.map(|local| local.damage),
        }
    }

    async fn remote_status(
        &self,
        operation: &'static str,
        node: Option<&Node>,
    ) -> Result<RemoteReport> {
        // Who opened it only to look has just met PostgreSQL.
        if !self.shared.adopt && self.shared.state(Store::Postgres) != StoreState::Up {
            return Err(self.away(operation, Store::Postgres));
        }
        let deadline = self.deadline();
        let file = node.map(|node| node.file).unwrap_or_default();
        let contact = self.contact(operation, file, deadline).await?;
        let primary = contact.primary()?;
        self.ask(operation, deadline, async {
            let unseen = match node.map(|node| &node.follow) {
                Some(Follow::Following { snapshot, .. }) => {
                    match primary.count_unseen(snapshot).await? {
                        // Few enough to look at: the file's own writes come back, too.
                        count @ 1..=LOOKED_AT => {
                            let rows = primary.poll(snapshot, &[]).await?.rows;
                            Some(self.count_lacking(operation, rows).await.unwrap_or(count))
                        }
                        count => Some(count),
                    }
                }
                _ => None,
            };
            let conflicts = primary.unreviewed_count().await?;
            Ok(RemoteReport { unseen, conflicts, besides: primary.columns_besides().await? })
        })
        .await
    }

    /// How many of these rows of PostgreSQL's would change the file.
    async fn count_lacking(&self, operation: &'static str, rows: Vec<RemoteRow>) -> Result<u64> {
        self.ask_file(operation, move |content| {
            let mut lacking = 0;
            for row in &rows {
                let defaults = &content.tables()[row.id.table].defaults;
                let local = content.row(&row.id)?.map(|local| local.tracked);
                lacking += u64::from(match &local {
                    Some(_) => {
                        Tracked::absorb(local.as_ref(), &row.version, true, defaults).changed
                    }
                    None => row.version.lives(),
                });
            }
            Ok(lacking)
        })
        .await
    }

    fn wal_bytes(&self) -> Option<u64> {
        let mut path = self.shared.sqlite.path.clone().into_os_string();
        path.push("-wal");
        std::fs::metadata(path).ok().map(|found| found.len())
    }

    /// The conflict log: PostgreSQL's, with what the file has not told it yet.
    ///
    /// # Errors
    /// Unavailable if neither store answers.
    pub async fn conflicts(&self, limit: usize) -> Result<Vec<Conflict>> {
        let operation = "read the conflict log";
        let local = self.ask_file(operation, move |content| content.conflicts(limit)).await;
        let remote = async {
            self.ready(operation)?;
            let deadline = self.deadline();
            let contact = self.contact(operation, uuid::Uuid::nil(), deadline).await?;
            self.ask(operation, deadline, contact.primary()?.conflicts(limit)).await
        };
        let (known, more) = match (remote.await, local) {
            (Ok(remote), Ok(local)) => (remote, local),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => (one, Vec::new()),
            (Err(primary), Err(file)) => return Err(neither(operation, primary, &file)),
        };
        let mut told = BTreeSet::<(RowId, RegisterId, Stamp, Stamp, Option<String>)>::new();
        let mut entries: Vec<ConflictEntry> = known
            .into_iter()
            .chain(more)
            .filter(|entry| {
                let of = entry.conflict;
                // The stamps of what was there before anybody looked do not tell it apart.
                let losing = entry.losing.clone().filter(|_| of.loser.is_adopted());
                told.insert((entry.id.clone(), of.register, of.winner, of.loser, losing))
            })
            .collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.noted_ms));
        entries.truncate(limit);
        Ok(entries.into_iter().map(|entry| self.shown(entry)).collect())
    }

    fn shown(&self, entry: ConflictEntry) -> Conflict {
        let table = self.table(entry.id.table);
        Conflict {
            table: table.shared_name(),
            key: entry.id.key,
            column: register_name(table, entry.conflict.register).into(),
            winning: entry.winning,
            losing: entry.losing,
            winner_ms: entry.conflict.winner.made_ms(),
            loser_ms: entry.conflict.loser.made_ms(),
            noted_ms: entry.noted_ms,
            reviewed: entry.reviewed,
        }
    }

    /// Marks all conflicts as reviewed, on both sides.
    ///
    /// # Errors
    /// Unavailable if neither store answers.
    pub async fn review_conflicts(&self) -> Result<u64> {
        let operation = "review the conflicts";
        let local = self
            .change_file(operation, None, Durability::Full, |content| content.review_conflicts());
        let remote = async {
            self.ready(operation)?;
            let deadline = self.deadline();
            let contact = self.contact(operation, uuid::Uuid::nil(), deadline).await?;
            self.ask(operation, deadline, contact.primary()?.review_all()).await
        };
        match (remote.await, local.await) {
            (Ok(remote), Ok(local)) => Ok(remote.max(local)),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) => Ok(one),
            (Err(primary), Err(file)) => Err(neither(operation, primary, &file)),
        }
    }

    /// Marks all damages of the file as reviewed.
    ///
    /// # Errors
    /// Those of writing to the file.
    pub async fn review_damage(&self) -> Result<u64> {
        let review = |content: &Content<'_>| content.review_damage();
        self.change_file("review the damages", None, Durability::Full, review).await
    }

    /// The rows that one side refuses.
    ///
    /// # Errors
    /// Unavailable if the file does not answer.
    pub async fn quarantine(&self) -> Result<Vec<QuarantinedRow>> {
        let question = |content: &Content<'_>| Ok((content.quarantine()?, content.keyless()?));
        let (rows, keyless) = self.ask_file("read the quarantine", question).await?;
        let now_ms = crate::clock::now().as_millisecond();
        let nameless = keyless.into_iter().map(|(table, number)| {
            let table = self.table(table);
            let which = match (table.surrogate(), number) {
                (Some(column), number) => {
                    let number = number.map_or("?".to_owned(), |number| number.to_string());
                    format!("the row whose {} is {number}", column.quoted(Dialect::Sqlite))
                }
                (None, Some(rowid)) => format!("the row whose rowid is {rowid}"),
                (None, None) => "a row".to_owned(),
            };
            QuarantinedRow {
                table: table.shared_name(),
                key: None,
                refused_by: Store::Postgres,
                code: "unreadable".to_owned(),
                reason: format!("{} in {which}", no_key(table)),
                since_ms: now_ms,
            }
        });
        let shown = rows.into_iter().map(|row| QuarantinedRow {
            table: self.table(row.id.table).shared_name(),
            key: Some(row.id.key),
            refused_by: row.refused_by,
            code: row.code,
            reason: row.reason,
            since_ms: row.since_ms,
        });
        Ok(shown.chain(nameless).collect())
    }
}

/// Why a row of the file has no key.
fn no_key(table: &Table) -> String {
    if table.has_whole_key() {
        return format!("{} is no whole number", table.key().quoted(Dialect::Sqlite));
    }
    let columns = table.key_columns().map(|column| column.quoted(Dialect::Sqlite));
    let columns: Vec<String> = columns.collect();
    format!("{} is no key of its type", columns.join(", "))
}

impl DualDatabase {
    /// How both stores stand.
    ///
    /// # Errors
    /// None that matters: a store that does not answer is `down` in the answer.
    pub async fn status(&self) -> Result<Status> {
        let mut status = self.core().status().await;
        for aside in self.asides() {
            let pending = aside.core.ask_file("report the status", |content| content.unmet_count());
            // Of a file that does not have the table as it was, nobody can tell.
            let own = pending.await.ok();
            status.pending_to_postgres = status.pending_to_postgres.zip(own).map(|(a, b)| a + b);
            status.paused.push(aside.why);
        }
        Ok(status)
    }

    /// The tables that are left alone now, and why: what waits in them is exchanged with nobody.
    #[must_use]
    pub fn left_alone(&self) -> Vec<Paused> {
        self.asides().into_iter().map(|aside| aside.why).collect()
    }

    /// How a store stands as the calls so far have found it; asks nobody.
    #[must_use]
    pub fn state(&self, store: Store) -> StoreState {
        self.core().shared.state(store)
    }

    /// The conflict log, the newest first.
    ///
    /// # Errors
    /// Unavailable if neither store answers.
    pub async fn conflicts(&self, limit: usize) -> Result<Vec<Conflict>> {
        self.core().conflicts(limit).await
    }

    /// Marks all conflicts as reviewed; says how many there were.
    ///
    /// # Errors
    /// Unavailable if neither store answers.
    pub async fn review_conflicts(&self) -> Result<u64> {
        self.core().review_conflicts().await
    }

    /// A person has seen what [`Status::damage`] tells; says how many of them there were.
    ///
    /// # Errors
    /// Those of writing to the file.
    pub async fn review_damage(&self) -> Result<u64> {
        self.core().review_damage().await
    }

    /// The rows that one side refuses.
    ///
    /// # Errors
    /// Unavailable if the file does not answer.
    pub async fn quarantine(&self) -> Result<Vec<QuarantinedRow>> {
        self.core().quarantine().await
    }
}
