//! Rows that refer to each other in a circle: none of them can be written first.
//!
//! They are written together, with every constraint deferred that may be. Where the server holds a
//! reference against each statement it is left empty first, and set when all rows are there; a row
//! that goes lets go of it first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_postgres::types::Type;

use super::apply::{Applier, Failed, SliceEnd};
use super::decide::text;
use super::statements::{MovedAside, Statement, move_aside, set, statements};
use super::unique::root;
use super::{Job, OPERATION};
use crate::Result;
use crate::merge::Version;
use crate::schema::Key;
use crate::store::postgres::answer::column;
use crate::store::postgres::primary::{Primary, RemoteTable};
use crate::value::Value;

/// SQLSTATE `foreign_key_violation`, and `restrict_violation`.
const REFERENCE: [&str; 2] = ["23503", "23001"];

/// A foreign key from one tracked table to another, or to itself.
struct Reference {
    from: usize,
    to: usize,
    columns: Vec<Place>,
    referred: Vec<Place>,
    /// The data columns that can be left empty for a while, where it is not deferred instead.
    emptied: Vec<usize>,
    /// It is held against each statement, whatever is done.
    is_held: bool,
}

/// Where a row has a column.
#[derive(Clone, Copy)]
enum Place {
    Key(usize),
    Data(usize),
    Surrogate,
}

impl Place {
    fn of(table: &RemoteTable, name: &str) -> Option<Place> {
        let in_key = table.table.key_columns().position(|column| *column.name == *name);
        let data = || table.layout.registers.iter().position(|r| *r.name == *name);
        let surrogate = || table.table.surrogate().filter(|column| *column.name == *name);
        in_key
            .map(Place::Key)
            .or_else(|| data().map(Place::Data))
            .or_else(|| surrogate().map(|_| Place::Surrogate))
    }
}

impl Applier<'_, '_, '_> {
    /// Writes what was refused for want of each other.
    pub(super) async fn circles(&mut self, mut failed: Failed) -> Result<Failed> {
        let waits = |refusal: &str| REFERENCE.contains(&refusal);
        let which = failed.iter().filter(|(_, refusal)| waits(&refusal.code));
        let which: Vec<usize> = which.map(|(at, _)| *at).collect();
        if which.len() < 2 {
            return Ok(failed);
        }
        let references = self.primary.references().await?;
        for circle in circles(self.jobs, &which, &references) {
            let written = self.together(&circle, &references);
            match self.attempt(&circle, written, true).await? {
                SliceEnd::Done => failed.retain(|at, _| !circle.contains(at)),
                // What refuses one of them now is not what has brought them together.
                SliceEnd::Missed(_) | SliceEnd::Refused(_) => {}
            }
        }
        Ok(failed)
    }

    /// Everything that writes these rows, in its order, with the table of each.
    fn together(&self, circle: &[usize], references: &[Reference]) -> Vec<(usize, Statement)> {
        let mut rows: BTreeMap<usize, Vec<&Job<'_>>> = BTreeMap::new();
        for job in circle.iter().filter_map(|at| self.jobs.get(*at)) {
            rows.entry(job.id.table).or_default().push(job);
        }
        let among: Vec<&Reference> = references
            .iter()
            .filter(|one| rows.contains_key(&one.from) && rows.contains_key(&one.to))
            .collect();
        let parts: Vec<Part<'_>> = order(rows.keys().copied().collect(), &among)
            .into_iter()
            .filter_map(|at| {
                let emptied = among.iter().filter(|one| one.from == at);
                let emptied = emptied.flat_map(|one| one.emptied.iter().copied()).collect();
                let (going, coming) = rows.remove(&at)?.into_iter().partition(|job| job.dies());
                Some(Part { at, table: self.primary.tables.get(at)?, emptied, going, coming })
            })
            .collect();
        let letting_go = parts.iter().flat_map(|part| part.own(part.let_go()));
        let deletes = parts.iter().rev().flat_map(|part| part.own(part.delete()));
        let writes = parts.iter().flat_map(|part| part.own(part.write()));
        let completions = parts.iter().flat_map(|part| part.own(part.complete()));
        letting_go.chain(deletes).chain(writes).chain(completions).collect()
    }
}

/// The rows of a circle in one table.
struct Part<'j> {
    at: usize,
    table: &'j RemoteTable,
    /// The columns that are left empty until all rows are there.
    emptied: BTreeSet<usize>,
    going: Vec<&'j Job<'j>>,
    coming: Vec<&'j Job<'j>>,
}

impl Part<'_> {
    fn own(&self, statements: Vec<Statement>) -> impl Iterator<Item = (usize, Statement)> + use<> {
        let at = self.at;
        statements.into_iter().map(move |one| (at, one))
    }

    fn let_go(&self) -> Vec<Statement> {
        let keys: Vec<Key> = self.going.iter().map(|job| job.id.key.clone()).collect();
        let columns = self.emptied.iter().filter(|_| !keys.is_empty());
        let aside =
            |column: &usize| MovedAside { column: *column, nullable: true, keys: keys.clone() };
        columns.filter_map(|column| move_aside(self.table, &aside(column), 0, &keys)).collect()
    }

    fn delete(&self) -> Vec<Statement> {
        statements(self.table, &self.going, &[])
    }

    fn write(&self) -> Vec<Statement> {
        let rows: Vec<Job<'_>> =
            self.coming.iter().map(|job| job.without(&self.emptied_of(job))).collect();
        statements(self.table, &rows.iter().collect::<Vec<_>>(), &[])
    }

    fn complete(&self) -> Vec<Statement> {
        let mut rows: BTreeMap<Vec<usize>, Vec<&Job<'_>>> = BTreeMap::new();
        for job in &self.coming {
            rows.entry(self.emptied_of(job)).or_default().push(job);
        }
        let rows = rows.iter().filter(|(columns, _)| !columns.is_empty());
        rows.map(|(columns, jobs)| set(self.table, columns, jobs)).collect()
    }

    /// Of a row that is there only what it is to change: the rest keeps its stamps.
    fn emptied_of(&self, job: &Job<'_>) -> Vec<usize> {
        let changed = job.changed();
        let is_set = |column: &&usize| job.is_inserted() || changed.contains(column);
        self.emptied.iter().filter(is_set).copied().collect()
    }
}

/// The tables of a circle: whoever is referred to first, where that is held against each statement.
fn order(mut left: Vec<usize>, references: &[&Reference]) -> Vec<usize> {
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let is_free = |table: &usize| {
            let mut held = references.iter().filter(|one| one.is_held && one.from == *table);
            !held.any(|one| one.to != *table && left.contains(&one.to))
        };
        order.push(left.remove(left.iter().position(is_free).unwrap_or(0)));
    }
    order
}

impl Job<'_> {
    /// The same with nothing in these columns.
    fn without(&self, columns: &[usize]) -> Job<'_> {
        let mut version = self.version.clone();
        for (at, register) in version.iter_mut().flat_map(|one| one.columns.iter_mut().enumerate())
        {
            if columns.contains(&at) {
                register.value = Value::Null;
            }
        }
        let (existing, noted) = (self.existing.clone(), Vec::new());
        Job { id: self.id.clone(), existing, version, noted, ..*self }
    }

    /// What it has in these columns; `None` if one of them is NULL.
    fn at(&self, version: &Version, places: &[Place]) -> Option<Vec<String>> {
        let value = |place: &Place| match place {
            Place::Key(at) => self.id.key.values().nth(*at).as_ref().and_then(text),
            Place::Data(at) => version.columns.get(*at).and_then(|column| text(&column.value)),
            Place::Surrogate => {
                let there = self.existing.as_ref().and_then(|row| row.surrogate);
                there.or(self.number).map(|number| number.to_string())
            }
        };
        places.iter().map(value).collect()
    }
}

/// The rows that lie in circles, or between two of them, each with all that hang together.
fn circles(jobs: &[Job<'_>], which: &[usize], references: &[Reference]) -> Vec<Vec<usize>> {
    // A row that goes stands in the way of what it referred to.
    let version = |job: &'_ Job<'_>| match job.dies() {
        true => job.before().cloned(),
        false => job.after().cloned(),
    };
    let rows: Vec<(&Job<'_>, Version)> = which
        .iter()
        .filter_map(|at| jobs.get(*at))
        .filter_map(|job| Some((job, version(job)?)))
        .collect();
    let mut edges: Vec<(usize, usize)> = Vec::new();
    for reference in references {
        let is_in = |table: usize| {
            let rows = rows.iter().enumerate();
            rows.filter(move |(_, (job, _))| job.id.table == table)
        };
        let referred: HashMap<(bool, Vec<String>), usize> = is_in(reference.to)
            .filter_map(|(at, (job, row))| {
                Some(((job.dies(), job.at(row, &reference.referred)?), at))
            })
            .collect();
        edges.extend(is_in(reference.from).filter_map(|(at, (job, row))| {
            let to = referred.get(&(job.dies(), job.at(row, &reference.columns)?))?;
            (*to != at).then_some((at, *to))
        }));
    }
    loop {
        let from: BTreeSet<usize> = edges.iter().map(|(from, _)| *from).collect();
        let to: BTreeSet<usize> = edges.iter().map(|(_, to)| *to).collect();
        let before = edges.len();
        edges.retain(|(one, other)| to.contains(one) && from.contains(other));
        if edges.len() == before {
            break;
        }
    }
    let mut parents: Vec<usize> = (0..rows.len()).collect();
    for (from, to) in &edges {
        let (one, other) = (root(&mut parents, *from), root(&mut parents, *to));
        if let Some(parent) = parents.get_mut(one.max(other)) {
            *parent = one.min(other);
        }
    }
    let mut together: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    let rows: BTreeSet<usize> = edges.iter().map(|(from, _)| *from).collect();
    for place in rows {
        let circle = together.entry(root(&mut parents, place)).or_default();
        circle.extend(which.get(place));
    }
    together.into_values().collect()
}

impl Primary<'_> {
    /// The foreign keys among the tracked tables.
    async fn references(&self) -> Result<Vec<Reference>> {
        let attributes = |key: &str, relation: &str| {
            format!(
                "ARRAY(SELECT a.attname::text FROM unnest(k.{key}) WITH ORDINALITY AS c (number, at) \
                 JOIN pg_attribute AS a ON a.attrelid = k.{relation} AND a.attnum = c.number ORDER BY c.at)",
            )
        };
        let sql = format!(
            "WITH t AS (SELECT to_regclass(name) AS oid, at - 1 AS at \
               FROM unnest($1::text[]) WITH ORDINALITY AS n (name, at)) \
             SELECT f.at, p.at, {}, {}, \
               ARRAY(SELECT a.attname::text FROM pg_attribute AS a WHERE a.attrelid = k.conrelid \
                 AND a.attnum = ANY (k.conkey) AND NOT a.attnotnull), k.condeferrable, \
               k.confmatchtype = 'f' \
             FROM pg_constraint AS k JOIN t AS f ON f.oid = k.conrelid JOIN t AS p ON p.oid = k.confrelid \
             WHERE k.contype = 'f' ORDER BY k.oid",
            attributes("conkey", "conrelid"),
            attributes("confkey", "confrelid"),
        );
        let names: Vec<&str> =
            self.tables.iter().map(|table| table.layout.target.as_str()).collect();
        let rows = self.session.query(OPERATION, &sql, &[(&names, Type::TEXT_ARRAY)]).await?;
        let mut references = Vec::new();
        for row in &rows {
            let at = |place: usize| -> Result<usize> {
                let at: i64 = column(row, place, OPERATION)?;
                Ok(usize::try_from(at).unwrap_or(usize::MAX))
            };
            let (from, to) = (at(0)?, at(1)?);
            let (Some(child), Some(parent)) = (self.tables.get(from), self.tables.get(to)) else {
                continue;
            };
            let names = |place: usize| -> Result<Vec<String>> { column(row, place, OPERATION) };
            let places = |table: &RemoteTable, names: &[String]| -> Option<Vec<Place>> {
                names.iter().map(|name| Place::of(table, name)).collect()
            };
            let (columns, referred) = (places(child, &names(2)?), places(parent, &names(3)?));
            let (Some(columns), Some(referred)) = (columns, referred) else { continue };
            let (emptied, deferrable): (_, bool) = (names(4)?, column(row, 5, OPERATION)?);
            // MATCH FULL: all of its columns are empty, or none.
            let is_full: bool = column(row, 6, OPERATION)?;
            let data = child.layout.registers.iter().enumerate();
            let data =
                data.filter(|(_, r)| !deferrable && emptied.iter().any(|name| *name == *r.name));
            let mut emptied: Vec<usize> = data.map(|(at, _)| at).collect();
            if is_full && emptied.len() < columns.len() {
                emptied.clear();
            }
            let is_held = !deferrable && emptied.is_empty();
            references.push(Reference { from, to, columns, referred, emptied, is_held });
        }
        Ok(references)
    }
}
