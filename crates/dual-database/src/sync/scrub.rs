//! The scrub: in the background both sides are compared by their values, a part at a time, a full pass
//! in each [`super::Shared::scrub_every`]. It finds what came past the triggers without any other
//! trace; a comparison of the table then takes that in, under the guard.
//!
//! A difference counts if it stands in two looks between which everything was exchanged, as in
//! [`crate::verify`]. Where a pass is stands in the file, so that programs may come and go.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::round_state::Flow;
use super::rounds::{Rounds, now_ms};
use crate::Result;
use crate::protocol::{Break, Follow};
use crate::store::sqlite::replica::{Content, Durability, Scrub};
use crate::verify::{Looks, PART, Part, Sides, TableDifference};

/// The shortest pause between two parts, and the pause in the first pass, when nothing is known of how
/// many parts there are.
const PAUSE: Duration = Duration::from_secs(1);

/// What a process remembers of the part that it looks at.
#[derive(Debug, Default)]
pub(super) struct Scrubber {
    /// A part that differs, looked at when so many rounds had exchanged everything.
    suspect: Option<(Part, Looks, u64)>,
    due: Option<Instant>,
}

impl Rounds {
    /// Whether a part is to be looked at now: nothing else is to be done, and the last one was long
    /// enough ago.
    pub(super) fn is_scrub_due(&self) -> bool {
        let exchanged = self.scrubber.suspect.as_ref().is_none_or(|(.., at)| self.caught_up > *at);
        let waits = self.scrubber.due.is_some_and(|due| Instant::now() < due);
        self.shared.scrub_every.is_some() && self.is_linked() && exchanged && !waits
    }

    /// Looks at a part.
    pub(super) async fn scrub(&mut self) -> Result<Flow> {
        let (state, follows) = self
            .read("verify a part", |content| {
                let follows = matches!(content.node()?.follow, Follow::Following { .. });
                let follows = follows && content.apart()?.is_empty();
                Ok((content.scrub()?, follows && !content.is_pending()?))
            })
            .await?;
        let (now, every) = (now_ms(), self.shared.scrub_every.unwrap_or(Duration::MAX));
        let pause = state.parts_before.map_or(PAUSE, |parts| {
            (every / u32::try_from(parts.max(1)).unwrap_or(u32::MAX)).max(PAUSE)
        });
        let rests = state.is_at_start()
            && state.ended_ms.is_some_and(|then| {
                let since = u128::try_from(now.saturating_sub(then)).unwrap_or_default();
                since < every.as_millis()
            });
        if !follows || rests {
            self.scrubber.due = Some(Instant::now() + PAUSE);
            return Flow::idle();
        }
        let link = self.take_link("verify a part")?;
        let replica = self.replica("verify a part")?;
        let sides = Sides { primary: self.primary(&link), replica: &replica };
        let suspect = self.scrubber.suspect.take();
        let looked = look(&sides, &state, suspect).await;
        drop(replica);
        self.put_link(link);
        // What has failed is told as failing until it is done: soon, and not at the pace of a pass.
        let pause = if looked.is_ok() { pause } else { PAUSE };
        self.scrubber.due = Some(Instant::now() + pause);
        match looked? {
            Looked::Again(part, looks) => {
                self.scrubber.suspect = Some((part, looks, self.begun));
                self.scrubber.due = None;
            }
            Looked::Done(part, different) => {
                if different > 0 {
                    warn!(
                        rows = different,
                        "both sides differ though everything was exchanged: the table will be compared"
                    );
                }
                self.scrubbed(part, different).await?;
            }
        }
        Flow::idle()
    }

    /// Notes where the pass stands; if something differs, that the table has to be compared.
    async fn scrubbed(&self, part: Part, different: u64) -> Result<()> {
        let (tables, table) = (self.shared.tables.len(), part.table);
        let (durability, now) = match different {
            0 => (Durability::Normal, now_ms()),
            _ => (Durability::Full, now_ms()),
        };
        let work = move |content: &Content<'_>| {
            let state =
                content.scrub()?.after(part.table, part.upto.clone(), tables, different, now);
            content.set_scrub(&state)?;
            let follow = content.node()?.follow;
            Ok((state.is_at_start(), state.found_before, follow))
        };
        let (ended, found, follow) = self.write("verify a part", durability, work).await?;
        if ended {
            info!(different = found, "a full pass of the background verification has ended");
        }
        if different > 0 {
            self.compare_some(follow, vec![table], Break::CaptureGap, durability).await?;
        }
        Ok(())
    }
}

enum Looked {
    /// It differs, and what differs may be on its way.
    Again(Part, Looks),
    /// So many rows of it differ for good.
    Done(Part, u64),
}

async fn look(
    sides: &Sides<'_>,
    state: &Scrub,
    suspect: Option<(Part, Looks, u64)>,
) -> Result<Looked> {
    let (part, mut looks) = match suspect {
        Some((part, looks, _)) => (part, looks),
        None => {
            let part = sides.part(state.table, state.after.as_ref(), PART).await?;
            let (there, here) = sides.digests(&part).await?;
            if there == here {
                return Ok(Looked::Done(part, 0));
            }
            (part, Looks::default())
        }
    };
    let (there, here) = sides.rows(&part).await?;
    if !looks.look(&there, &here, &sides.set_aside(&part, &there).await?) {
        return Ok(Looked::Again(part, looks));
    }
    let mut found = TableDifference::default();
    looks.count(&mut found);
    Ok(Looked::Done(part, found.different + found.only_postgres + found.only_sqlite))
}
