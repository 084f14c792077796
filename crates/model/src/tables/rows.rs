//! Three tables: parents, of which each may have a badge that no other has; children, which refer to
//! them; others, which have to do with neither.
//!
//! Every value that is set is another number, so that the check finds it wherever it went. What a
//! constraint sees of it is its remainder: the badge, the parent's key, the note that PostgreSQL refuses.

use dual_database::merge::{Conflict, Defaults, Register, RegisterId, Version};
use dual_database::stamp::Stamp;
use dual_database::value::Value;

pub const PARENTS: usize = 0;
pub const CHILDREN: usize = 1;
pub const OTHERS: usize = 2;
/// Whoever is referred to comes first.
pub const TABLES: usize = 3;
pub const KEYS: i64 = 4;
pub const COLUMNS: usize = 2;
/// How far apart two values are.
pub const APART: i64 = 8;
/// What PostgreSQL's check does not let a parent's note be.
const BAD: i64 = APART - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    pub table: usize,
    pub key: i64,
}

/// Why a side does not take a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Check,
    /// A child without its parent, or the death of a parent that has children.
    Orphan,
    Unique,
}

/// An entry of a conflict log, with the values that lost.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub id: Id,
    pub conflict: Conflict,
    pub losing: Vec<i64>,
}

pub fn all_ids() -> impl Iterator<Item = Id> {
    (0..TABLES).flat_map(|table| (0..KEYS).map(move |key| Id { table, key }))
}

pub fn defaults() -> Defaults {
    Defaults::new(vec![Value::Null; COLUMNS])
}

/// What the row has in that column, if it lives.
pub fn value(version: &Version, column: usize) -> Option<i64> {
    match version.columns.get(column)?.value {
        Value::Int(value) if version.lives() => Some(value),
        _ => None,
    }
}

pub fn meaning(version: &Version, column: usize) -> Option<i64> {
    value(version, column).map(|value| value.rem_euclid(APART))
}

pub fn values(version: &Version) -> impl Iterator<Item = i64> + '_ {
    (0..COLUMNS).filter_map(|column| value(version, column))
}

/// The parent of a child.
pub fn parent_of(id: Id, version: &Version) -> Option<Id> {
    let key = meaning(version, 1).filter(|_| id.table == CHILDREN)?;
    Some(Id { table: PARENTS, key })
}

/// Who else has the badge of that row.
pub fn rival<'v>(id: Id, version: &Version, get: impl Fn(Id) -> Option<&'v Version>) -> Option<Id> {
    let badge = meaning(version, 1).filter(|_| id.table == PARENTS)?;
    let others = (0..KEYS).filter(|key| *key != id.key).map(|key| Id { key, ..id });
    others.into_iter().find(|other| get(*other).and_then(|v| meaning(v, 1)) == Some(badge))
}

pub fn has_children<'v>(parent: Id, get: impl Fn(Id) -> Option<&'v Version>) -> bool {
    let mut children = (0..KEYS).map(|key| Id { table: CHILDREN, key });
    let is_its = |id: Id| get(id).and_then(|version| parent_of(id, version)) == Some(parent);
    parent.table == PARENTS && children.any(is_its)
}

/// Why PostgreSQL does not take a row as that.
pub fn refusal<'v>(
    id: Id,
    after: &Version,
    get: impl Fn(Id) -> Option<&'v Version>,
) -> Option<Refusal> {
    let lives = |id| get(id).is_some_and(Version::lives);
    if !after.lives() {
        return (lives(id) && has_children(id, &get)).then_some(Refusal::Orphan);
    }
    if id.table == PARENTS && meaning(after, 0) == Some(BAD) {
        return Some(Refusal::Check);
    }
    if rival(id, after, &get).is_some() {
        return Some(Refusal::Unique);
    }
    let orphan = parent_of(id, after).is_some_and(|parent| !lives(parent));
    orphan.then_some(Refusal::Orphan)
}

/// The entry, with every value that one of these had under the stamp that lost.
pub fn entry(id: Id, conflict: Conflict, sides: &[&Version]) -> Entry {
    let lost = |version: &&Version| match conflict.register {
        RegisterId::Column(at) => {
            let register = version.columns.get(at).filter(|c| c.stamp == conflict.loser);
            register.and_then(|_| value(version, at))
        }
        RegisterId::Live | RegisterId::Number => None,
    };
    Entry { id, conflict, losing: sides.iter().filter_map(lost).collect() }
}

/// What was there before anybody looked.
pub fn adopted(values: &[Value], stamp: Stamp) -> Version {
    let of = |value: &Value| if value.is_null() { Stamp::ZERO } else { stamp };
    let column = |value: &Value| Register { stamp: of(value), value: value.clone() };
    Version { live: Register { stamp, value: true }, columns: values.iter().map(column).collect() }
}
