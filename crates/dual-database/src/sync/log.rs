//! Entries of the conflict log.

use std::borrow::Cow;

use super::rounds::now_ms;
use crate::merge::{Conflict, RegisterId, Version};
use crate::protocol::ConflictEntry;
use crate::schema::RowId;
use crate::value::plain_text;

/// The entry for a register that `winner` has taken from `loser`; a winner of `None` is a
/// deletion of which nothing is left.
pub(super) fn entry(
    id: &RowId,
    conflict: Conflict,
    winner: Option<&Version>,
    loser: &Version,
) -> ConflictEntry {
    let text = |version: &Version| match conflict.register {
        RegisterId::Column(column) if version.live.value => {
            let value = &version.columns.get(column)?.value;
            plain_text(value).map(Cow::into_owned)
        }
        RegisterId::Live | RegisterId::Number | RegisterId::Column(_) => None,
    };
    ConflictEntry {
        id: id.clone(),
        conflict,
        winning: winner.and_then(text),
        losing: text(loser),
        noted_ms: now_ms(),
        reviewed: false,
    }
}

/// Every register of a living row, or its delete, with its stamp.
pub(super) fn registers(version: &Version) -> Vec<(RegisterId, crate::stamp::Stamp)> {
    let live = (RegisterId::Live, version.live.stamp);
    let columns = version.columns.iter().enumerate().filter(|_| version.live.value);
    let columns = columns.map(|(at, column)| (RegisterId::Column(at), column.stamp));
    std::iter::once(live).chain(columns).collect()
}
