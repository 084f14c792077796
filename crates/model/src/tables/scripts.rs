//! What programs do on either side: they keep to the references and to the badges of the side that they
//! write to, and know nothing of the other one.

use dual_database::merge::{Change, Version};
use dual_database::value::Value;

use super::rows::{
    APART, CHILDREN, COLUMNS, Id, KEYS, OTHERS, PARENTS, TABLES, has_children, meaning, parent_of,
    rival,
};
use super::{FILES, World};

/// What one transaction does.
pub type Deed = Vec<(Id, Change)>;

impl World {
    /// A transaction of a program on a side: a file, or PostgreSQL after the files.
    pub fn script(&mut self, side: usize) {
        let deed = match self.rng.below(10) {
            0..2 => self.pair(side),
            2 => self.swap(side),
            3 => self.family(side),
            4 => self.death(side),
            _ => self.single(side),
        };
        self.does(side, deed);
    }

    fn does(&mut self, side: usize, deed: Deed) {
        let ahead = if self.primary_is_ahead { 86_400_000 } else { 0 };
        let now = self.now;
        for (id, change) in &deed {
            let before = self.version(side, *id).cloned();
            self.truth.changed(*id, before.as_ref(), change, self.is_captured(side, id.table));
            match side {
                FILES => self.primary.change(*id, change, ahead),
                file => self.files[file].change(*id, change, now),
            }
        }
        if side == FILES && !deed.is_empty() {
            self.primary.commits();
        }
    }

    fn is_captured(&self, side: usize, table: usize) -> bool {
        match side {
            FILES => self.primary.tracked[table],
            file => self.files[file].tables[table].captured,
        }
    }

    pub fn version(&self, side: usize, id: Id) -> Option<&Version> {
        match side {
            FILES => self.primary.version(id),
            file => self.files[file].version(id),
        }
    }

    fn lives(&self, side: usize, id: Id) -> bool {
        self.version(side, id).is_some_and(Version::lives)
    }

    fn any_id(&mut self, table: usize) -> Id {
        Id { table, key: self.rng.range(0, KEYS) }
    }

    /// Another value with that remainder.
    fn set(&mut self, id: Id, column: usize, meaning: i64) -> Value {
        self.truth.values += 1;
        let value = self.truth.values * APART + meaning;
        self.truth.set(value, id, column);
        Value::Int(value)
    }

    fn note(&mut self, id: Id) -> Value {
        // Now and then one that PostgreSQL refuses.
        let is_bad = id.table == PARENTS && self.rng.once_in(6);
        let meaning = if is_bad { APART - 1 } else { self.rng.range(0, APART - 1) };
        self.set(id, 0, meaning)
    }

    /// A row with its second column: a badge that nobody has here, a parent that is here.
    fn row(&mut self, side: usize, id: Id) -> Option<Vec<Value>> {
        let note = self.note(id);
        let second = match id.table {
            PARENTS => match self.rng.below(6) {
                badge @ 0..4 => self.badge(side, id, badge),
                _ => Value::Null,
            },
            CHILDREN => {
                let parent = self.any_id(PARENTS);
                let is_sloppy = side < FILES && self.rng.once_in(10);
                if !is_sloppy && !self.lives(side, parent) {
                    return None;
                }
                self.set(id, 1, parent.key)
            }
            _ => self.set(id, 1, 0),
        };
        Some(vec![note, second])
    }

    fn badge(&mut self, side: usize, id: Id, badge: u64) -> Value {
        let value = self.set(id, 1, i64::try_from(badge).unwrap_or_default());
        let mut version = super::rows::adopted(&[Value::Null, value.clone()], Default::default());
        version.live.stamp = dual_database::stamp::Stamp::ADOPTED_SQLITE;
        match rival(id, &version, |id| self.version(side, id)) {
            Some(_) => Value::Null,
            None => value,
        }
    }

    /// PostgreSQL's check is PostgreSQL's programs' too.
    fn is_taken(&self, side: usize, id: Id, values: &[(usize, Value)]) -> bool {
        let is_bad = |(at, value): &(usize, Value)| {
            let Value::Int(value) = value else { return false };
            *at == 0 && id.table == PARENTS && value.rem_euclid(APART) == APART - 1
        };
        side < FILES || !values.iter().any(is_bad)
    }

    fn single(&mut self, side: usize) -> Deed {
        let table = self.rng.index(TABLES);
        let id = self.any_id(table);
        if !self.lives(side, id) {
            let Some(values) = self.row(side, id) else { return Vec::new() };
            let set: Vec<(usize, Value)> = values.iter().cloned().enumerate().collect();
            let fits = self.is_taken(side, id, &set);
            return if fits { vec![(id, Change::Insert(values))] } else { Vec::new() };
        }
        if self.rng.once_in(5) {
            return self.delete(side, id);
        }
        let column = self.rng.index(COLUMNS);
        let Some(mut values) = self.row(side, id) else { return Vec::new() };
        let set = vec![(column, values.swap_remove(column))];
        let fits = self.is_taken(side, id, &set);
        if fits { vec![(id, Change::Update(set))] } else { Vec::new() }
    }

    fn delete(&mut self, side: usize, id: Id) -> Deed {
        let has_any = has_children(id, |id| self.version(side, id));
        if has_any { Vec::new() } else { vec![(id, Change::Delete)] }
    }

    /// A parent dies with its children.
    fn death(&mut self, side: usize) -> Deed {
        let parent = self.any_id(PARENTS);
        if !self.lives(side, parent) {
            return Vec::new();
        }
        let is_its = |id: &Id| {
            let version = self.version(side, *id);
            version.and_then(|version| parent_of(*id, version)) == Some(parent)
        };
        let children = (0..KEYS).map(|key| Id { table: CHILDREN, key }).filter(is_its);
        children.chain([parent]).map(|id| (id, Change::Delete)).collect()
    }

    /// A parent is born with a child.
    fn family(&mut self, side: usize) -> Deed {
        let (parent, child) = (self.any_id(PARENTS), self.any_id(CHILDREN));
        if self.lives(side, parent) || self.lives(side, child) {
            return Vec::new();
        }
        let Some(values) = self.row(side, parent) else { return Vec::new() };
        let set: Vec<(usize, Value)> = values.iter().cloned().enumerate().collect();
        if !self.is_taken(side, parent, &set) {
            return Vec::new();
        }
        let born = vec![self.note(child), self.set(child, 1, parent.key)];
        self.pairs_with(&values[0], &born[0]);
        vec![(parent, Change::Insert(values)), (child, Change::Insert(born))]
    }

    /// Two parents exchange their badges.
    fn swap(&mut self, side: usize) -> Deed {
        let (one, other) = (self.any_id(PARENTS), self.any_id(PARENTS));
        let badge = |id: Id| self.version(side, id).and_then(|version| meaning(version, 1));
        let (Some(of_one), Some(of_other)) = (badge(one), badge(other)) else { return Vec::new() };
        if one == other {
            return Vec::new();
        }
        let (for_one, for_other) = (self.set(one, 1, of_other), self.set(other, 1, of_one));
        let set = |id, value| (id, Change::Update(vec![(1, value)]));
        vec![set(one, Value::Null), set(other, for_other), set(one, for_one)]
    }

    /// A sum goes from a row of one table to a row of another, all of it or nothing.
    fn pair(&mut self, side: usize) -> Deed {
        let one = if self.rng.once_in(2) { self.any_id(PARENTS) } else { self.any_id(CHILDREN) };
        let other = self.any_id(OTHERS);
        if !self.lives(side, one) || !self.lives(side, other) {
            return Vec::new();
        }
        let from = self.rng.range(0, APART - 1);
        let (one_note, other_note) = (self.set(one, 0, from), self.set(other, 0, from));
        self.pairs_with(&one_note, &other_note);
        let set = |id, value| (id, Change::Update(vec![(0, value)]));
        vec![set(one, one_note), set(other, other_note)]
    }

    /// Both were set in one transaction.
    fn pairs_with(&mut self, one: &Value, other: &Value) {
        if let (Value::Int(one), Value::Int(other)) = (one, other) {
            self.truth.pairs.push([*one, *other]);
        }
    }
}
