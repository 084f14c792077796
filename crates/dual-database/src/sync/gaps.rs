//! What came past the triggers: people drop and replace tables, load rows with triggers disabled, apply
//! what was replicated. What was put there is taken in; what was taken away is not taken for deleted.

use std::sync::atomic::Ordering;

use tracing::{debug, warn};

use super::Outdated;
use super::connect::schema_version;
use super::round_state::{Flow, RoundState};
use super::rounds::Rounds;
use crate::health::StoreState;
use crate::protocol::reconcile::Loose;
use crate::schema::Key;
use crate::store::sqlite::replica::{Content, Durability, outdated};
use crate::{Result, Store};

/// So many rows of the file are looked at in one go: others read there as well.
const PART: usize = 20_000;

impl Rounds {
    /// Whoever does not keep `besides`, which the file does, exchanges nothing any more.
    pub(super) fn keeps_all(&self, besides: Option<String>) -> Result<()> {
        let Some(table) = besides else { return Ok(()) };
        self.shared.outdated.send_replace(Outdated::Joined);
        Err(outdated(&table))
    }

    /// Whether capture in the file is as it was installed, and nothing came past it. Looked at again
    /// only when the file's schema has changed since anybody looked, or if it is asked for.
    pub(super) async fn inspect(&mut self) -> Result<Flow> {
        let asked = self.shared.looks.load(Ordering::Acquire);
        let (version, noted, besides) = self
            .read("inspect capture", |content| {
                Ok((schema_version(content)?, content.inspected()?, content.kept_besides()?))
            })
            .await?;
        self.keeps_all(besides)?;
        // What was in the way may be gone: the file is up once it was looked at.
        let waits = matches!(self.shared.state(Store::Sqlite), StoreState::NeedsInit { .. });
        if self.inspected == Some(version) && !asked && !waits {
            return Flow::to(RoundState::PushRead);
        }
        if let Err(error) = self.read("inspect capture", |content| content.whole()).await {
            // What is in the way is what counts.
            let letting_go = |content: &Content<'_>| content.hinder_nobody();
            let given = self.write("inspect capture", Durability::Full, letting_go).await;
            if let Err(besides) = given {
                debug!(error = %besides.chain(), "nothing was taken out of the writers' way");
            }
            return Err(error);
        }
        let loose = match asked || noted != Some(version) {
            true => self.loose_local(|_| true).await?,
            false => Loose::default(),
        };
        let (version, drifted) = self
            .write_many("inspect capture", Durability::Full, move |content| {
                let drifted = content.reinstall()?;
                content.has_gaps(&drifted)?;
                if !loose.is_none() {
                    mend(content, |_| true)?;
                }
                // What somebody has changed may be what refused the rows that wait.
                if noted != Some(version) {
                    content.retry_all()?;
                }
                let version = schema_version(content)?;
                content.set_inspected(version)?;
                Ok((version, drifted.len()))
            })
            .await?;
        if drifted > 0 {
            warn!(
                tables = drifted,
                "capture in the file was not as installed: both sides will be compared"
            );
        }
        report_gaps("the file", loose);
        self.inspected = Some(version);
        self.shared.health.joined(Store::Sqlite);
        Flow::to(if asked { RoundState::Gaps } else { RoundState::PushRead })
    }

    /// The same at PostgreSQL.
    pub(super) async fn gaps(&mut self) -> Result<Flow> {
        let link = self.take_link("look for gaps")?;
        let found = self.primary(&link).mend().await;
        self.put_link(link);
        report_gaps("PostgreSQL", found?);
        self.shared.looks.store(false, Ordering::Release);
        Flow::to(RoundState::PushRead)
    }

    /// Counts the rows of some of the file's tables that came past its triggers, part by part.
    pub(super) async fn loose_local(&self, is_meant: impl Fn(usize) -> bool) -> Result<Loose> {
        let mut found = Loose::default();
        for table in (0..self.shared.tables.len()).filter(|table| is_meant(*table)) {
            let mut after: Option<Key> = None;
            loop {
                let (part, upto) = self
                    .read("look for gaps", move |content| {
                        let upto = content.key_after(table, after.as_ref(), PART)?;
                        Ok((content.loose(table, after.as_ref(), upto.as_ref())?, upto))
                    })
                    .await?;
                found.add(part);
                match upto {
                    Some(upto) => after = Some(upto),
                    None => break,
                }
            }
        }
        Ok(found)
    }

    /// Notes what came past the triggers of some of the file's tables.
    pub(super) async fn note_gaps(
        &self,
        is_meant: impl Fn(usize) -> bool + Send + Sync + 'static,
    ) -> Result<()> {
        let work = move |content: &Content<'_>| mend(content, &is_meant);
        let noted = self.write_many("note gaps", Durability::Full, work).await?;
        report_gaps("the file", noted);
        Ok(())
    }
}

/// Notes what came past the file's triggers. A table from which rows were taken away has to be compared, so
/// that they come back.
fn mend(content: &Content<'_>, is_meant: impl Fn(usize) -> bool) -> Result<Loose> {
    let (noted, lacking) = content.mend(is_meant)?;
    content.has_gaps(&lacking)?;
    Ok(noted)
}

pub(super) fn report_gaps(place: &str, found: Loose) {
    let Loose { loaded, removed } = found;
    if !found.is_none() {
        warn!(
            loaded,
            removed,
            "rows came past the triggers of {place}: what was loaded is taken in, what was taken away \
             comes back if the other side has it"
        );
    }
}
