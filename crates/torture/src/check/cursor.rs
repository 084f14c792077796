//! (g) A cursor never goes backwards within one history of a server.

use std::collections::BTreeMap;

use super::{Case, Findings};
use crate::ledger::Entry;

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    let mut looks: Vec<_> = case
        .book
        .rest
        .iter()
        .filter_map(|(_, _, entry)| match entry {
            Entry::Cursor { t, node, epoch, xmax } => Some((*t, *node, epoch, *xmax)),
            _ => None,
        })
        .collect();
    looks.sort_unstable();
    let mut last: BTreeMap<usize, (u64, &String, u64)> = BTreeMap::new();
    for (t, node, epoch, xmax) in looks {
        findings.checked("(g) looks at cursors", 1);
        if let Some((before, of, was)) = last.insert(node, (t, epoch, xmax))
            && of == epoch
            && xmax < was
            && !case.losses.doubt(before, t)
        {
            findings
                .violates(format!("(g) node {node}: the cursor fell from {was} to {xmax} at {t}"));
        }
    }
}
