//! Stamps of the future: a person has them set back. PostgreSQL's clock judges.
//!
//! At PostgreSQL it is one transaction, which keeps for good that it was done and makes the epoch
//! another one. All else follows from that: whatever file comes, however late, finds its cursor broken,
//! sets back what it holds, and compares.

use tracing::{info, warn};

use super::rounds::{LONGEST, Rounds, now_ms};
use crate::protocol::{Ahead, SetBack};
use crate::stamp::FUTURE_TOLERANCE_MS;
use crate::store::sqlite::replica::{Durability, Paused};
use crate::{Error, Kind, Result};

const OPERATION: &str = "set back stamps of the future";

impl Rounds {
    /// Sets back what lies in the future, if there is anything on either side; says whether there was.
    pub(super) async fn set_back(&mut self) -> Result<bool> {
        self.abandon();
        // What is left alone would keep the future, and a file that follows it would take it back for what
        // PostgreSQL has set back.
        if let Some(paused) = self.shared.sqlite.aside.first() {
            return Err(in_part(paused));
        }
        self.meet().await?;
        let mut link = self.take_link(OPERATION)?;
        // Everybody who writes is waited for, and all of the sidecars is gone through.
        link.set_patience(&self.shared, LONGEST);
        let primary = self.primary(&link);
        let sent_ms = now_ms();
        let header = primary.header().await?;
        if let Some(apart_ms) = apart_ms(sent_ms, header.now_ms, now_ms()) {
            return Err(disagree(apart_ms));
        }
        let limit = SetBack::limit(header.now_ms);
        let there = primary.ahead(limit).await?;
        let (here, horizon) = self
            .read(OPERATION, move |content| Ok((content.ahead(limit)?, content.node()?.horizon)))
            .await?;
        let rows = |found: &[Ahead]| found.iter().map(|table| table.rows).sum::<u64>();
        let (there, here) = (rows(&there), rows(&here));
        let is_any = there + here > 0 || horizon.max(header.horizon) > limit;
        if is_any {
            primary.set_back().await?;
            info!(there, here, "a person has set back the stamps that lie in the future");
        }
        self.put_link(link);
        self.restart();
        Ok(is_any)
    }

    /// Sets back in the file what was set back at PostgreSQL and is not known here yet, before both are
    /// compared.
    pub(super) async fn set_back_locally(&self, all: Vec<SetBack>) -> Result<()> {
        let asked = all.clone();
        let operation = "set back stamps of the future here";
        if !self.read(operation, move |content| content.lacks_any(&asked)).await? {
            return Ok(());
        }
        let work =
            move |content: &crate::store::sqlite::replica::Content<'_>| content.set_back(&all);
        let rows = self.write_many(operation, Durability::Full, work).await?;
        if rows > 0 {
            warn!(rows, "stamps of the future were set back in the file, as at PostgreSQL");
        }
        Ok(())
    }
}

/// How far PostgreSQL's clock, which showed `primary_ms` between the two moments of this machine's, is
/// from that; `None` if no further than clocks may be.
fn apart_ms(sent_ms: i64, primary_ms: i64, received_ms: i64) -> Option<i64> {
    let ahead = primary_ms.saturating_sub(received_ms);
    let behind = sent_ms.saturating_sub(primary_ms);
    let apart = ahead.max(behind);
    (apart > FUTURE_TOLERANCE_MS).then_some(if ahead > behind { ahead } else { -behind })
}

fn in_part(paused: &Paused) -> Error {
    let message = format!(
        "the table {} is left alone ({}: {}), and stamps are set back in every table or in none",
        paused.table, paused.store, paused.reason
    );
    let hint = paused.hint.as_deref().unwrap_or("mend the table");
    Error::new(Kind::Configuration, OPERATION, message).with_hint(format!("{hint}; then repeat it"))
}

fn disagree(apart_ms: i64) -> Error {
    let (seconds, side) =
        (apart_ms.unsigned_abs() / 1_000, if apart_ms > 0 { "ahead of" } else { "behind" });
    let message = format!(
        "PostgreSQL's clock is {seconds} s {side} this machine's: nobody knows which stamps lie in the \
         future, and none was set back"
    );
    Error::new(Kind::Configuration, OPERATION, message)
        .with_hint("set the clocks of both machines right, then repeat it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_may_differ_by_the_allowance_and_the_answer_may_take_its_time() {
        assert_eq!(apart_ms(1_000, 61_500, 1_500), None);
        assert_eq!(apart_ms(1_000, 61_501, 1_500), Some(60_001));
        assert_eq!(apart_ms(100_000, 40_000, 200_000), None);
        assert_eq!(apart_ms(100_000, 39_999, 200_000), Some(-60_001));
        assert!(disagree(-3_600_000).message().contains("3600 s behind this machine's"));
    }
}
