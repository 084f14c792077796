//! The cursor into PostgreSQL's feed: a transaction snapshot.

use std::fmt;
use std::str::FromStr;

/// What was visible when the feed was last read: the text form of `txid_current_snapshot()`,
/// `xmin:xmax:xip,…`.
///
/// ```
/// use dual_database::protocol::Snapshot;
/// let snapshot: Snapshot = "10:14:10,12".parse()?;
/// let new: Vec<u64> = (8..16).filter(|txid| snapshot.is_new(*txid)).collect();
/// assert_eq!(new, [10, 12, 14, 15]);
/// assert_eq!(snapshot.to_string(), "10:14:10,12");
/// # Ok::<(), dual_database::protocol::SnapshotSyntax>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    xmin: u64,
    xmax: u64,
    xip: Vec<u64>,
}

/// A text that is not a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotSyntax;

impl Snapshot {
    /// The snapshot of a server where everything below `xmax` has ended but for `xip`.
    #[must_use]
    pub fn new(xmax: u64, mut xip: Vec<u64>) -> Snapshot {
        xip.retain(|txid| *txid < xmax);
        xip.sort_unstable();
        xip.dedup();
        Snapshot { xmin: xip.first().copied().unwrap_or(xmax), xmax, xip }
    }

    /// The first transaction id that had not been handed out.
    #[must_use]
    pub fn xmax(&self) -> u64 {
        self.xmax
    }

    /// The transactions that were in progress, in order.
    #[must_use]
    pub fn in_progress(&self) -> &[u64] {
        &self.xip
    }

    /// Whether a row that carries `txid` has changed since: the transaction had not begun, or
    /// had not ended. Exact, and not slowed by a transaction that stays open.
    #[must_use]
    pub fn is_new(&self, txid: u64) -> bool {
        txid >= self.xmax || self.xip.binary_search(&txid).is_ok()
    }

    /// Whether every transaction up to and with `txid` had ended.
    #[must_use]
    pub fn has_passed(&self, txid: u64) -> bool {
        txid < self.xmin
    }

    /// Whether a server that once showed `earlier` can show this one.
    #[must_use]
    pub fn follows(&self, earlier: &Snapshot) -> bool {
        self.xmax >= earlier.xmax && self.xmin >= earlier.xmin
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:", self.xmin, self.xmax)?;
        for (position, txid) in self.xip.iter().enumerate() {
            write!(f, "{}{txid}", if position == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Snapshot {
    type Err = SnapshotSyntax;

    /// Reads the text form, held to what PostgreSQL writes: `xmin <= xmax`, the transactions
    /// in progress rising and between the two.
    fn from_str(text: &str) -> Result<Snapshot, SnapshotSyntax> {
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u64>().map_err(|_| SnapshotSyntax),
            false => Err(SnapshotSyntax),
        };
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().ok_or(SnapshotSyntax);
        let (xmin, xmax, list) = (number(part()?)?, number(part()?)?, part()?);
        let xip = match list {
            "" => Vec::new(),
            list => list.split(',').map(number).collect::<Result<Vec<_>, _>>()?,
        };
        let rising = xip.iter().zip(xip.iter().skip(1)).all(|(one, next)| one < next);
        let within = xip.iter().all(|txid| (xmin..xmax).contains(txid));
        if xmin > xmax || !rising || !within {
            return Err(SnapshotSyntax);
        }
        Ok(Snapshot { xmin, xmax, xip })
    }
}

impl fmt::Display for SnapshotSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a transaction snapshot")
    }
}

impl std::error::Error for SnapshotSyntax {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_text_form_round_trips(xmax in 0u64..100, xip in prop::collection::vec(0u64..100, 0..6)) {
            let snapshot = Snapshot::new(xmax, xip);
            prop_assert_eq!(snapshot.to_string().parse(), Ok(snapshot));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9:,+ -]{0,12}") {
            if let Ok(snapshot) = text.parse::<Snapshot>() {
                prop_assert!(!snapshot.has_passed(snapshot.xmax()));
            }
        }
    }

    #[test]
    fn refuses_what_postgresql_does_not_write() {
        for text in ["", "1:2", "5:4:", "1:9:3,2", "1:9:9", "2:9:1", "1:2:+1", "1:2:x", "-1:2:"] {
            assert_eq!(text.parse::<Snapshot>(), Err(SnapshotSyntax), "{text}");
        }
    }

    #[test]
    fn a_snapshot_follows_only_what_lies_behind_it() {
        let read = |text: &str| text.parse::<Snapshot>().unwrap();
        assert!(read("10:14:10").follows(&read("10:12:10,11")));
        assert!(!read("10:12:10").follows(&read("10:14:10")));
        assert!(!read("9:15:9").follows(&read("10:14:10")));
    }
}
