//! What programs have set, what they have replaced, and which of it belongs together.

use std::collections::{BTreeMap, BTreeSet};

use dual_database::merge::{Change, Version};
use dual_database::value::Value;

use super::rows::{Id, value, values};

#[derive(Debug, Default)]
pub struct Truth {
    /// How many values were given.
    pub values: i64,
    /// Where a value was meant to be.
    pub meant: BTreeMap<i64, (Id, usize)>,
    /// Those that were set.
    pub written: BTreeMap<i64, (Id, usize)>,
    /// Those that somebody who saw them has replaced.
    pub replaced: BTreeSet<i64>,
    /// The rows that programs have inserted, and deleted.
    pub born: BTreeSet<Id>,
    pub deleted: BTreeSet<Id>,
    /// Two values of one transaction over two tables.
    pub pairs: Vec<[i64; 2]>,
    /// Rows of which PostgreSQL has lost something.
    pub excused: BTreeSet<Id>,
    /// What each side has shown so far: the files, then PostgreSQL.
    pub seen: Vec<BTreeSet<i64>>,
}

impl Truth {
    pub fn set(&mut self, value: i64, id: Id, column: usize) {
        self.meant.insert(value, (id, column));
    }

    /// A program makes that change; nobody hears of it where nothing is captured.
    pub fn changed(&mut self, id: Id, before: Option<&Version>, change: &Change, captured: bool) {
        match change {
            Change::Insert(_) => drop(self.born.insert(id)),
            Change::Delete => drop(self.deleted.insert(id)),
            Change::Update(_) => {}
        }
        let lives = before.filter(|version| version.lives());
        let set: Vec<(usize, i64)> = match change {
            Change::Insert(values) => numbered(values.iter().enumerate()),
            Change::Update(set) => numbered(set.iter().map(|(at, value)| (*at, value))),
            Change::Delete => Vec::new(),
        };
        if let Some(before) = lives {
            match change {
                Change::Update(set) => {
                    self.replaced.extend(set.iter().filter_map(|(at, _)| value(before, *at)));
                }
                Change::Insert(_) | Change::Delete => self.replaced.extend(values(before)),
            }
        }
        self.written.extend(set.into_iter().map(|(at, value)| (value, (id, at))));
        if !captured {
            // Which of two counts nothing tells.
            self.pairs.retain(|pair| !pair.iter().any(|one| self.meant[one].0.table == id.table));
        }
    }

    pub fn of(&self, value: i64) -> Option<(Id, usize)> {
        self.meant.get(&value).copied()
    }

    /// What is under way in these tables need not arrive whole.
    pub fn taint(&mut self, tables: &[usize]) {
        let meant = &self.meant;
        let is_of =
            |value: &i64| meant.get(value).is_some_and(|(id, _)| tables.contains(&id.table));
        self.pairs.retain(|pair| !pair.iter().any(is_of));
    }
}

fn numbered<'v>(values: impl Iterator<Item = (usize, &'v Value)>) -> Vec<(usize, i64)> {
    let number = |(at, value): (usize, &Value)| match value {
        Value::Int(value) => Some((at, *value)),
        _ => None,
    };
    values.filter_map(number).collect()
}
