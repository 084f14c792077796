//! (o) Every row that refers to another one refers to the one that its writer meant, whatever number
//! that has got, and that one is there; in each store.

use std::collections::BTreeMap;

use super::{Case, Findings};
use crate::dump::{Dump, may_wait};
use crate::tables::{Kind, TABLE};

const REFERENCES: &str = "(o) references";

pub(super) fn check(case: &Case<'_>, findings: &mut Findings) {
    let files = case.files.iter().enumerate().map(|(node, file)| (format!("node {node}"), file));
    for (name, dump) in files.chain([("PostgreSQL".to_owned(), case.postgres)]) {
        of_store(case, &name, dump, findings);
    }
}

fn of_store(case: &Case<'_>, name: &str, dump: &Dump, findings: &mut Findings) {
    let id = |row: &crate::dump::Row, column: &str| row.get(column).cloned().flatten();
    let numbers: BTreeMap<String, i64> = dump
        .rows
        .range(Kind::Numbers.row(0)..Kind::Numbers.row(TABLE))
        .filter_map(|(key, row)| Some((id(row, "id")?, key % TABLE)))
        .collect();
    for (key, row) in &dump.rows {
        let Some((column, to, label)) = Kind::of(*key).reference(key % TABLE) else { continue };
        let refers = id(row, column);
        let found = match to {
            Kind::Numbers => refers.as_ref().and_then(|id| numbers.get(id)).copied(),
            _ => refers.as_ref().and_then(|id| id.parse().ok()),
        };
        let is_there = dump.rows.contains_key(&to.row(label));
        let set_aside = |key: i64| dump.quarantine.contains(&key) && may_wait(key, case.postgres);
        if found == Some(label) && is_there {
            findings.checked(REFERENCES, 1);
        } else if set_aside(*key) || set_aside(to.row(label)) {
            findings.excuse(REFERENCES, "one of the two waits in quarantine");
        } else {
            findings.violates(format!(
                "(o) in {name} row {key} refers to {refers:?}, which is {found:?}, not {label}; \
                 there: {is_there}"
            ));
        }
    }
}
