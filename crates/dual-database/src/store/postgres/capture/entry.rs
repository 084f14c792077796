//! A row of a sidecar, as it is read.

use crate::schema::Key;
use crate::stamp::Stamp;

/// A row of a sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteEntry {
    /// The key.
    pub key: Key,
    /// Whether the row lives.
    pub live: bool,
    /// The stamp of its insert or delete.
    pub stamp: Stamp,
    /// The stamps of the data columns in their declared order.
    pub columns: Vec<Stamp>,
    /// The transaction that changed it last.
    pub txid: u64,
}

/// What a write that carries its own stamps has found and left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The row as it was before the transaction; `None` if it was never seen.
    pub before: Option<RemoteEntry>,
    /// The row as it is now.
    pub after: RemoteEntry,
}
