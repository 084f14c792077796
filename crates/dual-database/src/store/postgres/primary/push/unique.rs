//! Unique values: rows of a batch that exchange them, and rows that have to give up one that is taken.

use std::collections::HashMap;

use tokio_postgres::types::Type;

use super::Job;
use super::decide::text;
use crate::Result;
use crate::merge::Version;
use crate::store::postgres::answer::column;
use crate::store::postgres::primary::{Primary, RemoteTable};

/// A unique index of a tracked table, as far as its columns can be changed by a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unique {
    /// Its name, which is that of its constraint, too.
    pub name: String,
    /// The data columns that it is made of, expressions included, and whether they may be NULL.
    pub columns: Vec<(usize, bool)>,
}

impl Primary<'_> {
    /// The unique indexes of a table in which a push can change something.
    pub(super) async fn uniques(
        &self,
        table: &RemoteTable,
        operation: &'static str,
    ) -> Result<Vec<Unique>> {
        // A column inside an expression is known by the index's dependencies only.
        let sql = "SELECT c.relname, a.attname, a.attnotnull FROM pg_index AS i \
             JOIN pg_class AS c ON c.oid = i.indexrelid \
             JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum > 0 \
               AND (a.attnum = ANY (i.indkey) OR EXISTS (SELECT FROM pg_depend AS d \
                 WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid \
                 AND d.refobjid = i.indrelid AND d.refobjsubid = a.attnum)) \
             WHERE i.indrelid = to_regclass($1) AND i.indisunique ORDER BY 1, a.attnum";
        let target = table.layout.target.as_str();
        let rows = self.session.query(operation, sql, &[(&target, Type::TEXT)]).await?;
        let mut uniques: Vec<Unique> = Vec::new();
        for row in &rows {
            let (name, attribute): (String, String) =
                (column(row, 0, operation)?, column(row, 1, operation)?);
            let required: bool = column(row, 2, operation)?;
            let at = table.layout.registers.iter().position(|r| *r.name == *attribute);
            let Some(at) = at else { continue };
            match uniques.last_mut().filter(|last| last.name == name) {
                Some(last) => last.columns.push((at, !required)),
                None => uniques.push(Unique { name, columns: vec![(at, !required)] }),
            }
        }
        Ok(uniques)
    }
}

impl Unique {
    /// What the index is asked about, coarsely: without case, whatever expression or collation
    /// it has, because rows that are taken for related by mistake cost nothing. `None` where
    /// nothing can collide.
    fn value(&self, version: &Version) -> Option<String> {
        let mut value = String::new();
        for (column, _) in &self.columns {
            let text = text(&version.columns.get(*column)?.value)?;
            value.push_str(&text.to_lowercase());
            value.push('\0');
        }
        version.live.value.then_some(value)
    }

    /// The column of the index that a row can leave empty, if its version has a value there.
    pub(super) fn column_to_clear(&self, version: &Version) -> Option<usize> {
        let has = |at: usize| version.columns.get(at).is_some_and(|c| !c.value.is_null());
        self.columns.iter().find(|(at, nullable)| *nullable && has(*at)).map(|(at, _)| *at)
    }
}

/// Puts jobs into groups, in the order of their first ones: a row that takes a unique value which
/// another one of them gives up belongs together with it.
pub(super) fn unique_groups(
    jobs: &[Job<'_>],
    which: &[usize],
    uniques: &[Unique],
) -> Vec<Vec<usize>> {
    let mut given: HashMap<(usize, String), usize> = HashMap::new();
    for (place, at) in which.iter().enumerate() {
        let Some(job) = jobs.get(*at) else { continue };
        for (number, unique) in uniques.iter().enumerate() {
            let had = job.before().and_then(|before| unique.value(before));
            if let Some(had) = had
                && job.after().and_then(|after| unique.value(after)).as_ref() != Some(&had)
            {
                given.insert((number, had), place);
            }
        }
    }
    let mut parents: Vec<usize> = (0..which.len()).collect();
    for (place, at) in which.iter().enumerate() {
        let Some(job) = jobs.get(*at) else { continue };
        for (number, unique) in uniques.iter().enumerate() {
            let wanted = job.after().and_then(|after| unique.value(after));
            let giver = wanted.and_then(|wanted| given.get(&(number, wanted)));
            if let Some(giver) = giver {
                let (one, other) = (root(&mut parents, place), root(&mut parents, *giver));
                if let Some(parent) = parents.get_mut(one.max(other)) {
                    *parent = one.min(other);
                }
            }
        }
    }
    let mut unique_groups: Vec<Vec<usize>> = Vec::new();
    let mut unit_of: HashMap<usize, usize> = HashMap::new();
    for (place, at) in which.iter().enumerate() {
        let root = root(&mut parents, place);
        let unit = *unit_of.entry(root).or_insert_with(|| {
            unique_groups.push(Vec::new());
            unique_groups.len() - 1
        });
        if let Some(unit) = unique_groups.get_mut(unit) {
            unit.push(*at);
        }
    }
    unique_groups
}

/// The representative of a set, its way shortened.
pub(super) fn root(parents: &mut [usize], mut at: usize) -> usize {
    while let Some(parent) = parents.get(at).copied().filter(|parent| *parent != at) {
        let above = parents.get(parent).copied().unwrap_or(parent);
        if let Some(slot) = parents.get_mut(at) {
            *slot = above;
        }
        at = above;
    }
    at
}
